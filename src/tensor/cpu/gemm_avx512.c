/* Blocks of sums by vdpbf16ps, which adds two products to each of 16 f32 lanes (Zen 4, Cooper Lake and later).
 *
 * Eight rows by two panels are sixteen accumulators; each pair of inputs costs two loads of weights and eight broadcasts
 * for sixteen instructions that multiply. The weights of a block (2 panels) come from L2 once per eight rows, which is
 * 8 bytes a cycle. */
#include "tensor/cpu/gemm_epilogue.h"

enum { ROWS = 8, PAIRS = TT_GEMM_DEPTH / 2 };

INLINE __m512bh two_inputs(const char *a) {
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

INLINE __m512bh weights(const char *b) {
    return (__m512bh)_mm512_loadu_si512(b);
}

INLINE void multiply(__m512 sums[ROWS][2], const char *a, int64_t a_row_bytes,
                     const char *const b[2], int64_t at, bool two_panels) {
    for (int pair = 0; pair < PAIRS; pair++) {
        __m512bh b0 = weights(b[0] + at + pair * TT_GEMM_LINE_BYTES);
        __m512bh b1 = two_panels ? weights(b[1] + at + pair * TT_GEMM_LINE_BYTES) : b0;
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            __m512bh x = two_inputs(a + row * a_row_bytes + pair * (int)sizeof(int32_t));
            sums[row][0] = _mm512_dpbf16_ps(sums[row][0], x, b0);
            if (two_panels) sums[row][1] = _mm512_dpbf16_ps(sums[row][1], x, b1);
        }
    }
}

/* Rows of one tile from `first_row` of the block on. */
INLINE void eight_rows(tt_gemm_thread *t, const tt_gemm_block *b, int first_row, bool two_panels) {
    const char *a = b->a[first_row / TT_GEMM_TILE] + first_row % TT_GEMM_TILE * b->a_row_bytes;
    __m512 sums[ROWS][2];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++) sums[row][0] = sums[row][1] = _mm512_setzero_ps();
    int64_t at = 0;
    for (int64_t chunk = 0; chunk < b->chunks; chunk++, a += b->a_chunk_bytes)
        for (int tap = 0; tap < b->taps; tap++, at += TT_GEMM_TILE_BYTES)
            multiply(sums, a + b->tap_bytes[tap], b->a_row_bytes, b->b, at, two_panels);
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++) {
        _mm512_store_ps(t->sums[first_row + row], sums[row][0]);
        if (two_panels) _mm512_store_ps(t->sums[first_row + row] + VL, sums[row][1]);
    }
}

static void block(tt_gemm_thread *t, const tt_gemm_block *b) {
    t->pending = b->target;
    for (int64_t i = 0; i < b->prefetch_lines; i++)
        _mm_prefetch(b->prefetch + i * TT_GEMM_LINE_BYTES, _MM_HINT_T1);
    for (int row = 0; row < TT_GEMM_BLOCK; row += ROWS) {
        if (row % TT_GEMM_TILE >= b->target.n_rows[row / TT_GEMM_TILE]) continue;
        if (b->b[1])
            eight_rows(t, b, row, true);
        else
            eight_rows(t, b, row, false);
        for (int i = row; i < row + ROWS; i++) gemm_finish_row(t, i);
    }
}

static void begin(tt_gemm_thread *t, const tt_gemm_output *output) {
    t->output = output;
    t->pending = (tt_gemm_target){0};
}

static void end(tt_gemm_thread *t) {
    (void)t; /* nothing waits: a block is finished when it ends */
}

const tt_gemm_kernels tt__gemm_avx512 = {"avx512_bf16", begin, block, end};
