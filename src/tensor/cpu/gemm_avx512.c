/* Blocks of sums by vdpbf16ps, which adds two products to each of 16 f32 lanes (Zen 4, Cooper Lake and later); compiled again
 * with TT_GEMM_INT8 for VNNI's vpdpbusd, which adds four to each of 16 whole numbers (Cascade Lake and later).
 *
 * Eight rows by two panels are sixteen accumulators; each pair of inputs costs two loads of weights and eight broadcasts
 * for sixteen instructions that multiply. The weights of a block (2 panels) come from L2 once per eight rows, which is
 * 8 bytes a cycle. */
#include "tensor/cpu/gemm_epilogue.h"

enum {
    ROWS = 8,
    LANE_GROUPS = TT_GEMM_LINE_BYTES / 4 /* pairs of bf16 or fours of bytes in a line */
};

#if defined(TT_GEMM_INT8)
#define KERNELS tt__int8_vnni
#define NAME    "avx512_vnni"
enum { DEPTH = 2 * TT_GEMM_DEPTH };

/* Whole numbers in registers that call them floats. */
INLINE __m512 multiplied(__m512 sums, __m512i x, __m512i weights) {
    return (__m512)_mm512_dpbusd_epi32((__m512i)sums, x, weights);
}
#else
#define KERNELS tt__gemm_avx512
#define NAME    "avx512_bf16"
enum { DEPTH = TT_GEMM_DEPTH };

INLINE __m512 multiplied(__m512 sums, __m512i x, __m512i weights) {
    return _mm512_dpbf16_ps(sums, (__m512bh)x, (__m512bh)weights);
}
#endif

INLINE __m512i inputs(const char *a) {
    int32_t group;
    memcpy(&group, a, sizeof group);
    return _mm512_set1_epi32(group);
}

INLINE __m512i weights(const char *b) {
    return _mm512_loadu_si512(b);
}

INLINE void multiply(__m512 sums[ROWS][2], const char *a, int64_t a_row_bytes,
                     const char *const b[2], int64_t at, bool two_panels) {
    for (int group = 0; group < LANE_GROUPS; group++) {
        __m512i b0 = weights(b[0] + at + group * TT_GEMM_LINE_BYTES);
        __m512i b1 = two_panels ? weights(b[1] + at + group * TT_GEMM_LINE_BYTES) : b0;
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            __m512i x = inputs(a + row * a_row_bytes + group * (int)sizeof(int32_t));
            sums[row][0] = multiplied(sums[row][0], x, b0);
            if (two_panels) sums[row][1] = multiplied(sums[row][1], x, b1);
        }
    }
}

/* Where the sums of a row lie, those that wait and those that a later block carries on: [tile][panel][row][16]. */
static int64_t carry_place(int row, int panel) {
    return ((int64_t)(row / TT_GEMM_TILE * 2 + panel) * TT_GEMM_TILE + row % TT_GEMM_TILE) * VL;
}

INLINE void begin_sums(__m512 sums[ROWS][2], const float *carry, int first_row) {
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
        for (int panel = 0; panel < 2; panel++)
            sums[row][panel] = carry ? _mm512_load_ps(carry + carry_place(first_row + row, panel))
                                     : _mm512_setzero_ps();
}

INLINE void end_sums(__m512 sums[ROWS][2], tt_gemm_thread *t, float *carry, int first_row) {
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
        for (int panel = 0; panel < 2; panel++)
            _mm512_store_ps((carry ? carry : t->sums[0][0]) + carry_place(first_row + row, panel),
                            sums[row][panel]);
}

/* Rows of one tile from `first_row` of the block on. */
INLINE void eight_rows(tt_gemm_thread *t, const tt_gemm_block *b, int first_row, bool two_panels) {
    const char *a = b->a[first_row / TT_GEMM_TILE] + first_row % TT_GEMM_TILE * b->a_row_bytes;
    __m512 sums[ROWS][2];
    begin_sums(sums, b->carry_in, first_row);
    int64_t at = 0;
    for (int64_t chunk = 0; chunk < b->chunks; chunk++, a += b->a_chunk_bytes)
        for (int tap = 0; tap < b->taps; tap++, at += TT_GEMM_TILE_BYTES)
            multiply(sums, a + b->tap_bytes[tap], b->a_row_bytes, b->b, at, two_panels);
    end_sums(sums, t, b->carry_out, first_row);
}

static void block(tt_gemm_thread *t, const tt_gemm_block *b) {
    t->pending = b->target;
    for (int64_t i = 0; i < b->prefetch_lines; i++) {
        _mm_prefetch(b->prefetch[0] + i * TT_GEMM_LINE_BYTES, _MM_HINT_T1);
        _mm_prefetch(b->prefetch[1] + i * TT_GEMM_LINE_BYTES, _MM_HINT_T1);
    }
    for (int row = 0; row < TT_GEMM_BLOCK; row += ROWS) {
        if (row % TT_GEMM_TILE >= b->target.n_rows[row / TT_GEMM_TILE]) continue;
        if (b->b[1])
            eight_rows(t, b, row, true);
        else
            eight_rows(t, b, row, false);
        if (!b->carry_out) gemm_finish_rows(t, row, row + ROWS);
    }
}

static void begin(tt_gemm_thread *t, const tt_gemm_output *output) {
    t->output = output;
    t->pending = (tt_gemm_target){0};
}

static void end(tt_gemm_thread *t) {
    (void)t; /* nothing waits: a block is finished when it ends */
}

const tt_gemm_kernels KERNELS = {NAME, DEPTH, begin, block, end};
