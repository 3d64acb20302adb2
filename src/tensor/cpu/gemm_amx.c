/* Blocks of sums by AMX's tdpbf16ps: 16 x 16 sums += 16 x 32 inputs x 32 x 16 weights in 16 cycles; compiled again with
 * TT_GEMM_INT8 for tdpbusd, which does 64 inputs in the same time.
 *
 * Tiles 0-3 hold 2 x 2 tiles of sums, 4 and 5 inputs, 6 and 7 weights: a step of four instructions (64 cycles) reads 4 KiB.
 * L1 gives that easily, L2 just about two thirds of it, hence the order of the loops: a convolution walks its nine taps over one
 * chunk of 32 channels, so that the inputs come from L1 and only weights from L2.
 *
 * The matrix unit works beside the rest of the core. So the last block's sums are finished (bias, activation, rounding)
 * a few rows per step between this block's instructions, and the next panels' weights are prefetched there too. */
#include "tensor/cpu/gemm_epilogue.h"

#if defined(TT_GEMM_INT8)
#define TILE_MULTIPLY _tile_dpbusd
#define KERNELS       tt__int8_amx
#define NAME          "amx_int8"
enum { DEPTH = 2 * TT_GEMM_DEPTH };
#else
#define TILE_MULTIPLY _tile_dpbf16ps
#define KERNELS       tt__gemm_amx
#define NAME          "amx_bf16"
enum { DEPTH = TT_GEMM_DEPTH };
#endif

static void begin(tt_gemm_thread *t, const tt_gemm_output *output) {
    tt__amx_begin(&tt__amx_full_tiles);
    t->output = output;
    t->pending = (tt_gemm_target){0};
}

/* What is done beside the matrix unit in each step. */
typedef struct chores {
    int next_row, rows_per_step;
    int64_t next_line, lines, lines_per_step;
} chores;

INLINE chores plan_chores(const tt_gemm_block *b) {
    int64_t steps = b->chunks * b->taps;
    return (chores){.rows_per_step = (int)((TT_GEMM_BLOCK + steps - 1) / steps),
                    .lines = b->prefetch_lines,
                    .lines_per_step = (b->prefetch_lines + steps - 1) / steps};
}

INLINE void do_chores(const tt_gemm_thread *t, const tt_gemm_block *b, chores *c) {
    for (int i = 0; i < c->rows_per_step && c->next_row < TT_GEMM_BLOCK; i++)
        gemm_finish_row(t, c->next_row++);
    for (int64_t i = 0; i < c->lines_per_step && c->next_line < c->lines; i++, c->next_line++) {
        _mm_prefetch(b->prefetch[0] + c->next_line * TT_GEMM_LINE_BYTES, _MM_HINT_T1);
        _mm_prefetch(b->prefetch[1] + c->next_line * TT_GEMM_LINE_BYTES, _MM_HINT_T1);
    }
}

INLINE void begin_sums(const float *carry) {
    enum { FLOATS = TT_GEMM_TILE * TT_GEMM_TILE, STRIDE = TT_GEMM_LINE_BYTES };
    if (carry) {
        _tile_loadd(0, carry, STRIDE);
        _tile_loadd(1, carry + FLOATS, STRIDE);
        _tile_loadd(2, carry + 2 * FLOATS, STRIDE);
        _tile_loadd(3, carry + 3 * FLOATS, STRIDE);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}

INLINE void carry_sums(float *carry) {
    enum { FLOATS = TT_GEMM_TILE * TT_GEMM_TILE, STRIDE = TT_GEMM_LINE_BYTES };
    _tile_stored(0, carry, STRIDE);
    _tile_stored(1, carry + FLOATS, STRIDE);
    _tile_stored(2, carry + 2 * FLOATS, STRIDE);
    _tile_stored(3, carry + 3 * FLOATS, STRIDE);
}

INLINE void complete_sums(tt_gemm_thread *t, bool two_tiles, bool two_panels) {
    enum { STRIDE = sizeof t->sums[0] };
    _tile_stored(0, t->sums[0], STRIDE);
    if (two_panels) _tile_stored(1, t->sums[0] + TT_GEMM_TILE, STRIDE);
    if (two_tiles) _tile_stored(2, t->sums[TT_GEMM_TILE], STRIDE);
    if (two_tiles && two_panels) _tile_stored(3, t->sums[TT_GEMM_TILE] + TT_GEMM_TILE, STRIDE);
}

INLINE void multiply(tt_gemm_thread *t, const tt_gemm_block *b, bool two_tiles, bool two_panels) {
    chores c = plan_chores(b);
    const char *a0 = b->a[0], *a1 = b->a[1], *b0 = b->b[0], *b1 = b->b[1];
    int64_t row_bytes = b->a_row_bytes;
    begin_sums(b->carry_in);
    for (int64_t chunk = 0; chunk < b->chunks; chunk++) {
        for (int tap = 0; tap < b->taps; tap++) {
            int64_t offset = chunk * b->a_chunk_bytes + b->tap_bytes[tap];
            _tile_loadd(6, b0, TT_GEMM_LINE_BYTES);
            _tile_loadd(4, a0 + offset, row_bytes);
            TILE_MULTIPLY(0, 4, 6);
            if (two_panels) _tile_loadd(7, b1, TT_GEMM_LINE_BYTES);
            if (two_panels) TILE_MULTIPLY(1, 4, 7);
            if (two_tiles) _tile_loadd(5, a1 + offset, row_bytes);
            if (two_tiles) TILE_MULTIPLY(2, 5, 6);
            if (two_tiles && two_panels) TILE_MULTIPLY(3, 5, 7);
            b0 += TT_GEMM_TILE_BYTES;
            if (two_panels) b1 += TT_GEMM_TILE_BYTES;
            do_chores(t, b, &c);
        }
    }
    while (c.next_row < TT_GEMM_BLOCK) gemm_finish_row(t, c.next_row++);
    t->pending = (tt_gemm_target){0};
    if (b->carry_out) {
        carry_sums(b->carry_out);
    } else {
        complete_sums(t, two_tiles, two_panels);
        t->pending = b->target;
    }
}

static void block(tt_gemm_thread *t, const tt_gemm_block *b) {
    if (b->a[1] && b->b[1])
        multiply(t, b, true, true);
    else if (b->a[1])
        multiply(t, b, true, false);
    else if (b->b[1])
        multiply(t, b, false, true);
    else
        multiply(t, b, false, false);
}

static void end(tt_gemm_thread *t) {
    for (int row = 0; row < TT_GEMM_BLOCK; row++) gemm_finish_row(t, row);
    tt__amx_end();
}

const tt_gemm_kernels KERNELS = {NAME, DEPTH, begin, block, end};
