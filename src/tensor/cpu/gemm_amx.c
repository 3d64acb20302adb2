/* Blocks of sums by AMX's tdpbf16ps: 16 x 16 sums += 16 x 32 inputs x 32 x 16 weights in 16 cycles; compiled again with
 * TT_GEMM_INT8 for tdpbusd, which does 64 inputs in the same time.
 *
 * Tiles 0-3 hold 2 x 2 tiles of sums, 4 and 5 inputs, 6 and 7 weights: a step of four instructions (64 cycles) reads 4 KiB. L1
 * gives that easily, L2 only 48 bytes a cycle. So what is read again soon is loaded into L1 and all else past it (tileloaddt1),
 * which leaves it there: a convolution walks its nine taps over one chunk of 32 channels; a product reads the first chunks of
 * its inputs again for the next panels.
 *
 * The matrix unit works beside the rest of the core, as far as the core's window of instructions in flight reaches. So a block
 * leaves its sums in their tiles; the next one stores them between its first loads and its first products, and finishes them
 * (bias, activation, rounding) some rows at a time between its steps, in as few instructions as can be. */
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

enum {
    LINE = TT_GEMM_LINE_BYTES,
    FLOATS = TT_GEMM_TILE * TT_GEMM_TILE, /* in a tile of sums */
    BEAT = 4,                             /* steps of a product between chores */
    NEAR_CHUNKS = 16, /* of two tiles, 32 KiB of L1; sums and outputs pass through it, too */
};

/* What is done beside the matrix unit, in each beat a part. */
typedef struct chores {
    int row, rows;
    const char *line[2];
    int64_t left, lines;
} chores;

INLINE chores plan_chores(const tt_gemm_thread *t, const tt_gemm_block *b, unsigned beats) {
    return (chores){.row = t->pending.n_rows[0] > 0 ? 0 : TT_GEMM_BLOCK,
                    .rows = (int)((TT_GEMM_BLOCK + beats - 1) / beats),
                    .line = {b->prefetch[0], b->prefetch[1]},
                    .left = b->prefetch_lines,
                    .lines = ((unsigned)b->prefetch_lines + beats - 1) / beats};
}

INLINE void finish_some(const tt_gemm_thread *t, chores *c) {
    int end = c->row + c->rows < TT_GEMM_BLOCK ? c->row + c->rows : TT_GEMM_BLOCK;
    if (c->row < end) gemm_finish_rows(t, c->row, end);
    c->row = end;
}

INLINE void prefetch_some(chores *c) {
    int64_t lines = c->lines < c->left ? c->lines : c->left;
    c->left -= lines;
    for (; lines > 0; lines--) {
        _mm_prefetch(c->line[0], _MM_HINT_T1);
        _mm_prefetch(c->line[1], _MM_HINT_T1);
        c->line[0] += LINE;
        c->line[1] += LINE;
    }
}

/* What stores tiles goes to sleep when it has had nothing to do for 600 ns (measured on a Xeon of the fourth generation, where
 * it is written down nowhere), and to wake takes it 250. So something is stored, whatever it be. */
INLINE void keep_awake(tt_gemm_thread *t) {
    _tile_stored(4, t->unread, LINE);
}

INLINE void do_chores(tt_gemm_thread *t, chores *c) {
    finish_some(t, c);
    prefetch_some(c);
    keep_awake(t);
}

/* What multiplies next, and which of the block's four tiles there are. */
typedef struct operands {
    const char *a0, *a1, *b0, *b1;
    int64_t row_bytes;
    bool two_tiles, two_panels;
} operands;

/* What stays in L1. */
typedef enum near { NEAR_NONE, NEAR_INPUTS, NEAR_WEIGHTS } near;

#define LOAD(is_near, tile, from, stride)           \
    do {                                            \
        if (is_near)                                \
            _tile_loadd(tile, from, stride);        \
        else                                        \
            _tile_stream_loadd(tile, from, stride); \
    } while (0)

INLINE void load(const operands *o, near n) {
    LOAD(n == NEAR_WEIGHTS, 6, o->b0, LINE);
    if (o->two_panels) LOAD(n == NEAR_WEIGHTS, 7, o->b1, LINE);
    LOAD(n == NEAR_INPUTS, 4, o->a0, o->row_bytes);
    if (o->two_tiles) LOAD(n == NEAR_INPUTS, 5, o->a1, o->row_bytes);
}

INLINE void step(const operands *o, near n) {
    load(o, n);
    TILE_MULTIPLY(0, 4, 6);
    if (o->two_panels) TILE_MULTIPLY(1, 4, 7);
    if (o->two_tiles) TILE_MULTIPLY(2, 5, 6);
    if (o->two_tiles && o->two_panels) TILE_MULTIPLY(3, 5, 7);
}

#define BEGIN_SUMS(tile)                                    \
    do {                                                    \
        _tile_stored(tile, held + (tile)*FLOATS, LINE);     \
        if (carry)                                          \
            _tile_loadd(tile, carry + (tile)*FLOATS, LINE); \
        else                                                \
            _tile_zero(tile);                               \
    } while (0)

/* The first step; before, what the last block left in the tiles goes where it belongs. */
INLINE void first_step(const operands *o, near n, float *held, const float *carry) {
    load(o, n);
    BEGIN_SUMS(0);
    TILE_MULTIPLY(0, 4, 6);
    BEGIN_SUMS(1);
    if (o->two_panels) TILE_MULTIPLY(1, 4, 7);
    BEGIN_SUMS(2);
    if (o->two_tiles) TILE_MULTIPLY(2, 5, 6);
    BEGIN_SUMS(3);
    if (o->two_tiles && o->two_panels) TILE_MULTIPLY(3, 5, 7);
}

INLINE void advance(operands *o, int64_t a_bytes) {
    o->a0 += a_bytes;
    o->a1 += a_bytes;
    o->b0 += TT_GEMM_TILE_BYTES;
    o->b1 += TT_GEMM_TILE_BYTES;
}

INLINE void steps(tt_gemm_thread *t, chores *c, operands *o, near n, int64_t count,
                  int64_t a_bytes) {
    for (; count >= BEAT; count -= BEAT) {
        for (int i = 0; i < BEAT; i++, advance(o, a_bytes)) step(o, n);
        do_chores(t, c);
    }
    for (; count > 0; count--, advance(o, a_bytes)) step(o, n);
}

INLINE void product(tt_gemm_thread *t, const tt_gemm_block *b, operands o, near n) {
    int64_t near_chunks = b->chunks < NEAR_CHUNKS ? b->chunks : NEAR_CHUNKS;
    chores c = plan_chores(t, b, ((unsigned)b->chunks + BEAT - 1) / BEAT);
    first_step(&o, n, t->held, b->carry_in);
    advance(&o, b->a_chunk_bytes);
    steps(t, &c, &o, n, near_chunks - 1, b->a_chunk_bytes);
    steps(t, &c, &o, NEAR_NONE, b->chunks - near_chunks, b->a_chunk_bytes);
    c.rows = TT_GEMM_BLOCK;
    c.lines = INT64_MAX;
    do_chores(t, &c);
}

INLINE void convolution(tt_gemm_thread *t, const tt_gemm_block *b, operands o) {
    const char *a0 = o.a0, *a1 = o.a1;
    chores c = plan_chores(t, b, (unsigned)b->chunks);
    int tap = 1;
    o.a0 = a0 + b->tap_bytes[0];
    o.a1 = a1 + b->tap_bytes[0];
    first_step(&o, NEAR_INPUTS, t->held, b->carry_in);
    advance(&o, 0);
    for (int64_t chunk = 0; chunk < b->chunks; chunk++, tap = 0) {
        for (; tap < b->taps; tap++, advance(&o, 0)) {
            o.a0 = a0 + b->tap_bytes[tap];
            o.a1 = a1 + b->tap_bytes[tap];
            step(&o, NEAR_INPUTS);
        }
        a0 += b->a_chunk_bytes;
        a1 += b->a_chunk_bytes;
        do_chores(t, &c);
    }
}

INLINE void multiply(tt_gemm_thread *t, const tt_gemm_block *b, bool two_tiles, bool two_panels) {
    operands o = {b->a[0],        two_tiles ? b->a[1] : b->a[0],
                  b->b[0],        two_panels ? b->b[1] : b->b[0],
                  b->a_row_bytes, two_tiles,
                  two_panels};
    if (b->taps > 1)
        convolution(t, b, o);
    else if (b->same_inputs)
        product(t, b, o, NEAR_INPUTS);
    else
        product(t, b, o, NEAR_WEIGHTS);
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
    t->pending = b->target;
    t->held = t->sums[0][0];
    if (b->carry_out) {
        t->pending = (tt_gemm_target){0};
        t->held = b->carry_out;
    }
}

static void begin(tt_gemm_thread *t, const tt_gemm_output *output) {
    tt__amx_begin(&tt__amx_full_tiles);
    t->output = output;
    t->pending = (tt_gemm_target){0};
    t->held = t->sums[0][0];
}

static void end(tt_gemm_thread *t) {
    _tile_stored(0, t->held, LINE);
    _tile_stored(1, t->held + FLOATS, LINE);
    _tile_stored(2, t->held + (ptrdiff_t)2 * FLOATS, LINE);
    _tile_stored(3, t->held + (ptrdiff_t)3 * FLOATS, LINE);
    if (t->pending.n_rows[0] > 0) gemm_finish_rows(t, 0, TT_GEMM_BLOCK);
    tt__amx_end();
}

const tt_gemm_kernels KERNELS = {NAME, DEPTH, begin, block, end};
