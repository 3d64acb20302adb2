/* See gemm.h: packs weights and inputs, divides the work, and calls a kernel block by block.
 *
 * The outputs of a layer are lines of positions: a convolution's are rows of the picture, one picture after the other; a
 * product's are 16 rows each. They are done in strips of lines: the inputs a strip needs are packed, border included, then
 * multiplied from L2. Where there are many lines each thread does its own, and nobody waits. Where there are few, all threads pack a strip
 * together and divide it into rectangles of (positions x columns), so that each weight is still read for hundreds of positions.
 *
 * Within its rectangle a thread keeps the inputs of several hundred positions in L2 while panels of weights pass by, some of them for
 * each two tiles of positions, then as many others, prefetched meanwhile: at 512x512 a step reads gigabytes of weights, and memory is
 * the limit. Where those inputs are too long for L2 (5120 channels, 1280 channels times nine), a part of the depth is done for
 * a group of panels, then the next part; the sums are kept in f32 meanwhile, so the result is the same.
 *
 * Packing costs one copy of the inputs, and pays: a tile is 16 lines in a row instead of 16 places far apart, often in the same
 * cache set; odd channels and borders need no special case. A convolution is never unfolded: its taps read the same lines.
 *
 * The four convolutions that double a picture (tensor/upsample_conv.c) share a strip's packed inputs, one after the other, each
 * with weights, a window and places in the output of its own. A gated unit (tensor/gated.c) is an ordinary product until its
 * sums become outputs. */
#include "tensor/cpu/gemm.h"

#include <omp.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/int8.h"

enum {
    /* Packed inputs at once, of many threads: little beside the activations. */
    MOST_STRIP_BYTES = 32 << 20,
    /* Tiles of positions that share a pass over the weights, if so many there are: 512 uses of each weight. */
    MIN_TILES = 32,
    MAX_TILES = 256,
    /* Steps between keeping sums and loading them again, which takes as long as four of them. */
    MIN_STEPS = 20,
    RANGE_PARTS = 64, /* of a picture, for threads to share */
};

const tt_gemm_kernels *tt__gemm_kernels(const tt_cpu_features *features) {
#if defined(__x86_64__)
    if (features->amx_bf16) return &tt__gemm_amx;
    if (features->avx512_bf16) return &tt__gemm_avx512;
#endif
    (void)features;
    return NULL;
}

static int64_t ceil_div(int64_t n, int64_t by) {
    return (n + by - 1) / by;
}

static int64_t at_most(int64_t n, int64_t most) {
    return n < most ? n : most;
}

static int64_t at_least(int64_t n, int64_t least) {
    return n > least ? n : least;
}

/* ---- weights ---------------------------------------------------------------------------------------- */

/* A tile of weights as rows of columns: what a checkpoint has. */
typedef uint16_t plain_tile[TT_GEMM_TILE][TT_GEMM_DEPTH];

static void store_tile(plain_tile plain, char *to) {
    for (int pair = 0; pair < TT_GEMM_DEPTH / 2; pair++)
        for (int column = 0; column < TT_GEMM_TILE; column++, to += 2 * sizeof plain[0][0])
            memcpy(to, &plain[column][2 * (size_t)pair], 2 * sizeof plain[0][0]);
}

/* Inputs first_in.. of a panel's columns for one tap: plain[(column * n_in + input) * taps + tap]. */
static void load_tile(const tt_weight *w, int taps, int tap, tt_gemm_rows rows, int64_t first_in,
                      const uint16_t *from, plain_tile plain) {
    int64_t columns = rows.end - rows.first;
    int64_t inputs = at_most(w->n_in - first_in, TT_GEMM_DEPTH);
    if (columns < TT_GEMM_TILE || inputs < TT_GEMM_DEPTH) memset(plain, 0, sizeof(plain_tile));
    for (int64_t column = 0; column < columns; column++) {
        const uint16_t *row = from + ((rows.first + column) * w->n_in + first_in) * taps + tap;
        if (taps == 1)
            memcpy(plain[column], row, (size_t)inputs * sizeof *row);
        else
            for (int64_t i = 0; i < inputs; i++) plain[column][i] = row[i * taps];
    }
}

static int64_t panel_bytes(const tt_weight *w, int taps) {
    return ceil_div(w->n_in, TT_GEMM_DEPTH) * taps * TT_GEMM_TILE_BYTES;
}

static tt_status pack(tt_ops *ops, tt_weight *w, int taps, const void *from, tt_err *err) {
    int64_t panels = ceil_div(w->n_out, TT_GEMM_TILE);
    size_t bytes = 0;
    if (!tt_mul_size((size_t)panels, (size_t)panel_bytes(w, taps), &bytes))
        return tt_fail_nomem(err, "a weight", SIZE_MAX);
    char *to = tt__alloc_weight(ops, bytes);
    if (!to) return tt_fail_nomem(err, "a weight", bytes);
    w->data = to;
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    plain_tile plain;
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t i = 0; i < w->n_in; i += TT_GEMM_DEPTH)
            for (int tap = 0; tap < taps; tap++, to += TT_GEMM_TILE_BYTES) {
                load_tile(w, taps, tap, tt__gemm_rows_of_panel(w, panel), i, from, plain);
                store_tile(plain, to);
            }
    return TT_OK;
}

tt_status tt__gemm_pack_linear(tt_ops *ops, tt_weight *w, const void *plain, tt_err *err) {
    return pack(ops, w, 1, plain, err);
}

tt_status tt__gemm_pack_conv(tt_ops *ops, tt_weight *w, const void *plain, tt_err *err) {
    return pack(ops, w, w->conv.kernel * w->conv.kernel, plain, err);
}

/* ---- one layer -------------------------------------------------------------------------------------- */

typedef struct layer {
    int n_phases; /* layers here, one after the other: they share the packed inputs */
    const tt_gemm_kernels *kernels;
    int64_t threads, l2_bytes;
    tt_gemm_output output;
    const char *weights;
    const uint16_t *x;
    int64_t c, chunks, panels, panel_bytes;
    int taps;
    /* Int8 only (NULL in bf16). A product's rows are filled in while their inputs are packed; a convolution's before, with
     * what all of a picture's inputs are kept by. */
    tt_gemm_row *rows;       /* [out_rows] */
    tt_int8_quant *pictures; /* [n]; NULL: a product */
    tt_int8_range *ranges;   /* [n][RANGE_PARTS] */
    int64_t n_pictures;
    int64_t tap_bytes[TT_GEMM_TAPS];
    /* The input: pictures of h x w positions, `pixels` in all, with a border when packed. */
    int64_t h, w, pixels, pad_top, pad_left, padded_h, padded_w;
    int kernel, stride;
    /* The output: `lines` of out_w positions, out_h of them per picture. */
    int64_t lines, out_h, out_w, tiles_per_line, out_rows;
    int64_t line_rows; /* of the output from one line to the next: out_w, or more */
    /* The packed inputs of a strip. */
    bool is_private; /* each thread packs for itself, a strip of its own lines at a time */
    int64_t lines_per_strip;
    int64_t row_bytes, chunk_bytes; /* from one row, chunk of channels to the next */
    int64_t packed_bytes;
    char *packed;
    /* How a thread walks: so many tiles of positions and so many chunks of the depth at a time stay in L2 while so many pairs
     * of panels pass by for each two tiles, then as many others; between chunks the sums of so many pairs are kept. */
    int64_t tiles_at_once, chunks_at_once, pairs_at_once, group_pairs;
    int64_t carry_floats; /* kept per thread; 0: the depth is done at once */
    float *carry;
    int64_t scratch_bytes;
} layer;

/* The packed row (of all pictures' padded rows, one after the other) at which an output line's window begins. */
static int64_t first_row_of(const layer *l, int64_t line) {
    return line / l->out_h * l->padded_h + line % l->out_h * l->stride;
}

static int64_t rows_of_strip(const layer *l, int64_t first_line, int64_t lines) {
    return first_row_of(l, first_line + lines - 1) + l->kernel - first_row_of(l, first_line);
}

static layer new_layer(tt_ops *ops, const tt_gemm_kernels *kernels) {
    return (layer){.n_phases = 1,
                   .kernels = kernels,
                   .threads = ops->n_threads,
                   .l2_bytes = tt__cpu_state(ops)->l2_bytes};
}

static void set_common(layer *l, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                       tt_tensor *y) {
    l->output = (tt_gemm_output){.y = y->data,
                                 .mul = e->mul ? e->mul->data : NULL,
                                 .add = e->add ? e->add->data : NULL,
                                 .bias = w->bias,
                                 .act = e->act,
                                 .columns = w->n_out,
                                 .pitch = w->n_out,
                                 .scales = w->scales,
                                 .column_sums = w->sums};
    l->weights = w->data;
    l->x = x->data;
    l->c = w->n_in;
    l->chunks = ceil_div(w->n_in, l->kernels->depth);
    l->panels = ceil_div(w->n_out, TT_GEMM_TILE);
    l->out_rows = tt_tensor_rows(y);
}

/* Packed rows of as many lines, wherever they begin, at the most: from a picture's last window to the next one's first are
 * some more. */
static int64_t most_rows(const layer *l, int64_t lines) {
    int64_t between = at_least(l->padded_h - l->out_h * l->stride, 0);
    return (lines - 1) * l->stride + l->kernel + ((lines - 1) / l->out_h + 1) * between;
}

/* Threads that have enough lines each to use every weight a thousand times do without the others; fewer lines are packed
 * together, in one strip if they fit. Either way a strip takes half of a thread's L2. Returns a strip's rows. */
static int64_t set_strips(layer *l, int64_t bytes_per_row) {
    enum { LEAST_LINES = 8 }; /* each, so that one more or less does not matter */
    int64_t each = l->lines / l->threads;
    l->is_private = each >= LEAST_LINES && each * l->tiles_per_line >= 2 * MIN_TILES;
    int64_t sharing = l->is_private ? 1 : l->threads;
    int64_t rows = at_most(sharing * l->l2_bytes / 2, MOST_STRIP_BYTES) / bytes_per_row;
    int64_t lines = (rows - l->kernel) / l->stride + 1;
    lines = at_least(lines, ceil_div(MIN_TILES, l->tiles_per_line));
    int64_t all = l->is_private ? ceil_div(l->lines, l->threads) : l->lines;
    l->lines_per_strip = ceil_div(all, ceil_div(all, lines));
    rows = most_rows(l, l->lines_per_strip);
    /* The last tile reads on beyond the last row. */
    int64_t slack =
        (int64_t)TT_GEMM_TILE_BYTES * l->stride + (int64_t)l->kernel * TT_GEMM_LINE_BYTES;
    l->packed_bytes = ceil_div(rows * bytes_per_row + slack, TT_SIMD_ALIGN) * TT_SIMD_ALIGN;
    return rows;
}

/* Shares of L2, of which a little more than half can be counted on: lines of several tensors pass through it, and the pages of
 * virtual memory are not spread evenly over its sets. Found by measuring. */
static int64_t of_l2(const layer *l, int64_t sixteenths) {
    enum { ALL = 16 };
    return l->l2_bytes * sixteenths / ALL;
}

/* Two tiles of inputs are read from L1 while the pairs of panels at once pass by. */
static void set_walk_of_product(layer *l) {
    enum { INPUTS = 5, WEIGHTS = 2, MOST_CHUNKS = 48 };
    int64_t parts = ceil_div(l->chunks, MOST_CHUNKS);
    l->chunks_at_once = ceil_div(l->chunks, parts);
    int64_t bytes_of_tile = TT_GEMM_TILE_BYTES * l->chunks_at_once;
    int64_t tiles = of_l2(l, INPUTS) / bytes_of_tile / 2 * 2;
    l->tiles_at_once = at_most(at_least(tiles, 2), parts > 1 ? 2 * MIN_TILES : MAX_TILES);
    l->pairs_at_once = at_least(of_l2(l, WEIGHTS) / (2 * bytes_of_tile), 1);
}

/* A chunk of inputs is read from L1 for all taps but the first. */
static void set_walk_of_conv(layer *l) {
    enum { INPUTS = 10, WEIGHTS = 2, WEIGHTS_OF_PAIR = 1 };
    int64_t chunk_of_tile = (int64_t)TT_GEMM_TILE_BYTES * l->stride;
    int64_t chunk_of_pair = 2 * (int64_t)TT_GEMM_TILE_BYTES * l->taps;
    int64_t tiles = at_most(l->lines_per_strip * l->tiles_per_line, MIN_TILES);
    int64_t most = at_most(of_l2(l, INPUTS) / (chunk_of_tile * tiles),
                           of_l2(l, WEIGHTS_OF_PAIR) / chunk_of_pair);
    int64_t parts = ceil_div(l->chunks, at_least(most, ceil_div(MIN_STEPS, l->taps)));
    l->chunks_at_once = ceil_div(l->chunks, parts);
    tiles = of_l2(l, INPUTS) / (chunk_of_tile * l->chunks_at_once) / 2 * 2;
    l->tiles_at_once = at_most(at_least(tiles, 2), parts > 1 ? 2 * MIN_TILES : MAX_TILES);
    l->pairs_at_once = at_least(of_l2(l, WEIGHTS) / (chunk_of_pair * l->chunks_at_once), 1);
}

static void set_walk(layer *l) {
    enum { SUMS = 4 };
    if (l->taps == 1)
        set_walk_of_product(l);
    else
        set_walk_of_conv(l);
    int64_t carry_of_pair = l->tiles_at_once / 2 * TT_GEMM_CARRY_BYTES;
    bool carries = l->chunks_at_once < l->chunks;
    l->group_pairs = carries ? at_least(of_l2(l, SUMS) / carry_of_pair, 1) : ceil_div(l->panels, 2);
    l->carry_floats = carries ? l->group_pairs * carry_of_pair / (int64_t)sizeof *l->carry : 0;
    l->scratch_bytes = (l->is_private ? l->threads : 1) * l->packed_bytes +
                       l->threads * l->carry_floats * (int64_t)sizeof *l->carry;
}

/* A product's rows are pictures of lines of one tile, packed tile after tile. */
static void shape_product(layer *l) {
    l->taps = l->kernel = l->stride = 1;
    l->lines = ceil_div(l->out_rows, TT_GEMM_TILE);
    l->h = l->padded_h = l->out_h = l->lines;
    l->w = l->padded_w = l->out_w = l->line_rows = TT_GEMM_TILE;
    l->pixels = l->out_rows;
    l->tiles_per_line = 1;
    l->panel_bytes = l->chunks * TT_GEMM_TILE_BYTES;
    l->row_bytes = l->chunks * TT_GEMM_TILE_BYTES;
    set_strips(l, l->row_bytes);
    l->chunk_bytes = TT_GEMM_TILE_BYTES;
}

/* A convolution's chunks of channels are packed one after the other: all positions of the strip, then the next chunk. */
static void shape_conv(layer *l, const tt_conv_shape *s, const tt_tensor *x, const tt_tensor *y) {
    l->kernel = s->kernel;
    l->stride = s->stride;
    l->taps = s->kernel * s->kernel;
    l->h = x->h;
    l->w = x->w;
    l->n_pictures = x->n;
    l->pixels = tt_tensor_rows(x);
    l->pad_top = s->pad_top;
    l->pad_left = s->pad_left;
    l->padded_h = x->h + s->pad_top + s->pad_bottom;
    l->padded_w = x->w + s->pad_left + s->pad_right;
    l->out_h = y->h;
    l->out_w = l->line_rows = y->w;
    l->lines = y->n * y->h;
    l->tiles_per_line = ceil_div(y->w, TT_GEMM_TILE);
    l->panel_bytes = l->chunks * l->taps * TT_GEMM_TILE_BYTES;
    l->row_bytes = l->padded_w * TT_GEMM_LINE_BYTES;
    for (int tap = 0; tap < l->taps; tap++)
        l->tap_bytes[tap] = tap / s->kernel * l->row_bytes + tap % s->kernel * TT_GEMM_LINE_BYTES;
    l->chunk_bytes = set_strips(l, l->row_bytes * l->chunks) * l->row_bytes;
}

/* One of the four 2x2 convolutions: it reads its part of a window of 3x3 and leaves room for the others' outputs between its
 * own. */
static void shape_phase(layer *l, int phase, const tt_weight *w, const tt_tensor *x, tt_tensor *y) {
    enum { WINDOW = 3, KERNEL = 2 };
    const tt_conv_shape around = {w->n_out, w->n_in, WINDOW, 1, 1, 1, 1, 1};
    const tt_tensor part = {.n = x->n, .h = x->h, .w = x->w, .c = y->c};
    int row = phase / 2, column = phase % 2;
    shape_conv(l, &around, x, &part);
    l->taps = KERNEL * KERNEL;
    l->panel_bytes = l->chunks * l->taps * TT_GEMM_TILE_BYTES;
    for (int tap = 0; tap < l->taps; tap++)
        l->tap_bytes[tap] = (row + tap / KERNEL) * l->row_bytes +
                            (column + tap % KERNEL) * (int64_t)TT_GEMM_LINE_BYTES;
    l->output.y += (row * y->w + column) * y->c;
    l->output.pitch = 2 * y->c;
    l->line_rows = y->w;
    l->out_rows = tt_tensor_rows(y) / 2;
}

/* ---- packing inputs --------------------------------------------------------------------------------- */

/* All channels of one position; NULL is a position outside the picture. */
static void pack_position(const layer *l, const uint16_t *from, char *to) {
    int64_t whole = from ? l->c / TT_GEMM_DEPTH : 0;
    for (int64_t i = 0; i < whole; i++, to += l->chunk_bytes)
        memcpy(to, from + i * TT_GEMM_DEPTH, TT_GEMM_LINE_BYTES);
    for (int64_t i = whole; i < l->chunks; i++, to += l->chunk_bytes) {
        memset(to, 0, TT_GEMM_LINE_BYTES);
        if (from)
            memcpy(to, from + i * TT_GEMM_DEPTH, (size_t)(l->c % TT_GEMM_DEPTH) * sizeof *from);
    }
}

static tt_gemm_row row_of(const tt_int8_quant *q) {
    return (tt_gemm_row){.scale = q->scale, .zero = q->zero};
}

/* The same as bytes. A product's positions are the rows of its outputs, each with a scale of its own. */
static void pack_bytes(const layer *l, const uint16_t *from, int64_t picture, char *to) {
#if defined(__x86_64__)
    tt_int8_quant q = {0};
    if (l->pictures) {
        q = l->pictures[picture];
    } else if (from) {
        q = tt__int8_quant_of_range(tt__int8_range(from, l->c));
        l->rows[(from - l->x) / l->c] = row_of(&q);
    }
    if (from) {
        tt__int8_quantise(from, l->c, &q, to, l->chunk_bytes);
        return;
    }
    for (int64_t i = 0; i < l->chunks; i++, to += l->chunk_bytes)
        memset(to, q.zero, TT_GEMM_LINE_BYTES);
#else
    (void)l, (void)from, (void)picture, (void)to;
#endif
}

static void pack_row(const layer *l, int64_t row, char *to) {
    int64_t picture = row / l->padded_h;
    int64_t y = row % l->padded_h - l->pad_top;
    int64_t first = (picture * l->h + y) * l->w; /* the position at x = 0 */
    bool inside = y >= 0 && y < l->h;
    for (int64_t column = 0; column < l->padded_w; column++, to += TT_GEMM_LINE_BYTES) {
        int64_t x = column - l->pad_left;
        bool there = inside && x >= 0 && x < l->w && first + x < l->pixels;
        const uint16_t *from = there ? l->x + (first + x) * l->c : NULL;
        if (l->rows)
            pack_bytes(l, from, picture, to);
        else
            pack_position(l, from, to);
    }
}

/* ---- a thread's share ------------------------------------------------------------------------------- */

typedef struct range {
    int64_t begin, end;
} range;

typedef struct strip {
    const layer *l;
    int64_t first_line, lines;
    int64_t tiles, pairs; /* of positions; of panels */
    char *packed;
} strip;

/* Share `i` of n things among `among`, as even as they divide. */
static range share(int64_t n, int64_t among, int64_t i) {
    return (range){n * i / among, n * (i + 1) / among};
}

/* How many ways to cut the positions: where the largest rectangle is not much larger than it must be, and its inputs and
 * weights (taps times as many per column as inputs per position) are the fewest. */
static int64_t cuts(int64_t blocks, int64_t pairs, int64_t taps, int64_t threads) {
    enum { SLACK = 20 }; /* a twentieth */
    int64_t least = INT64_MAX, best = 1, best_reads = INT64_MAX;
    for (int64_t n = 1; n <= threads; n++)
        least = at_most(ceil_div(blocks, n) * ceil_div(pairs, threads / n), least);
    for (int64_t n = 1; n <= threads; n++) {
        int64_t height = ceil_div(blocks, n), width = ceil_div(pairs, threads / n);
        int64_t reads = height + width * taps;
        if (height * width > least + least / SLACK || reads >= best_reads) continue;
        best = n;
        best_reads = reads;
    }
    return best;
}

/* A tile's packed inputs (its first position) and its place in the output. */
typedef struct spot {
    const char *a;
    int64_t row;
    int n_rows;
} spot;

static spot place_of(const strip *s, int64_t tile) {
    const layer *l = s->l;
    int64_t line = s->first_line + tile / l->tiles_per_line;
    int64_t x = tile % l->tiles_per_line * TT_GEMM_TILE, row = line * l->line_rows + x;
    int64_t packed_row = first_row_of(l, line) - first_row_of(l, s->first_line);
    return (spot){.a = s->packed + packed_row * l->row_bytes + x * l->stride * TT_GEMM_LINE_BYTES,
                  .row = row,
                  .n_rows = (int)at_most(at_most(l->out_w - x, l->out_rows - row), TT_GEMM_TILE)};
}

/* Tiles that stay in L2 while a thread's pairs of panels pass by, part of the depth by part, in groups of pairs whose sums
 * are kept meanwhile. */
typedef struct walk {
    const layer *l;
    int64_t tiles;
    spot spots[MAX_TILES];
    range pairs;
    float *carry; /* of this thread */
} walk;

/* Where a walk is: some pairs of a group that begins with pair `group`, a part of the depth. */
typedef struct position {
    int64_t group, pair, chunk;
} position;

static int64_t group_end(const walk *w, const position *at) {
    return at_most(at->group + w->l->group_pairs, w->pairs.end);
}

static int64_t pairs_of(const walk *w, const position *at) {
    return at_most(w->l->pairs_at_once, group_end(w, at) - at->pair);
}

static int64_t chunks_of(const layer *l, const position *at) {
    return at_most(l->chunks - at->chunk, l->chunks_at_once);
}

/* On to the next pairs of the group, the next part of the depth, the next group; false at the end. */
static bool step(const walk *w, position *at) {
    const layer *l = w->l;
    int64_t end = group_end(w, at);
    at->pair += pairs_of(w, at);
    if (at->pair < end) return true;
    at->pair = at->group;
    at->chunk += l->chunks_at_once;
    if (at->chunk < l->chunks) return true;
    *at = (position){end, end, 0};
    return end < w->pairs.end;
}

/* The weights of a panel there. */
static const char *panel_at(const layer *l, const position *at, int64_t panel) {
    return l->weights + panel * l->panel_bytes + at->chunk * l->taps * TT_GEMM_TILE_BYTES;
}

static void place_tiles(const walk *w, const position *at, int64_t tile, tt_gemm_block *b) {
    int n = (int)at_most(w->tiles - tile, 2);
    for (int i = 0; i < 2; i++) {
        const spot *s = &w->spots[tile + (i < n ? i : 0)];
        b->a[i] = i < n ? s->a + at->chunk * w->l->chunk_bytes : NULL;
        b->target.first_row[i] = s->row;
        b->target.n_rows[i] = i < n ? s->n_rows : 0;
    }
}

/* A block's sums, if they come from an earlier part of the depth, or go on in a later. */
static void place_carry(const walk *w, const position *at, int64_t i, int64_t pair,
                        tt_gemm_block *b) {
    const layer *l = w->l;
    int64_t block = (pair - at->group) * ceil_div(w->tiles, 2) + i;
    float *carry = w->carry + block * (TT_GEMM_CARRY_BYTES / (int64_t)sizeof *carry);
    b->carry_in = at->chunk > 0 ? carry : NULL;
    b->carry_out = at->chunk + l->chunks_at_once < l->chunks ? carry : NULL;
}

/* Share i among n of the weights there: a part of one pair of panels. */
static void place_ahead(const walk *w, const position *at, int64_t n, int64_t i, tt_gemm_block *b) {
    const layer *l = w->l;
    int64_t pairs = pairs_of(w, at), pair = i * pairs / n, panel = 2 * (at->pair + pair);
    int64_t first = ceil_div(pair * n, pairs), end = ceil_div((pair + 1) * n, pairs);
    int64_t lines = chunks_of(l, at) * l->taps * (TT_GEMM_TILE_BYTES / TT_GEMM_LINE_BYTES);
    range part = share(lines, end - first, i - first);
    for (int j = 0; j < 2; j++)
        b->prefetch[j] = panel_at(l, at, panel + j < l->panels ? panel + j : panel) +
                         part.begin * TT_GEMM_LINE_BYTES;
    b->prefetch_lines = part.end - part.begin;
}

/* One pair of panels for two tiles. */
static tt_gemm_block block_of(const walk *w, const position *at, int64_t tiles, int64_t pair) {
    const layer *l = w->l;
    tt_gemm_block b = {.a_row_bytes = (int64_t)TT_GEMM_LINE_BYTES * l->stride,
                       .a_chunk_bytes = l->chunk_bytes,
                       .b = {panel_at(l, at, 2 * pair)},
                       .chunks = chunks_of(l, at),
                       .taps = l->taps,
                       .tap_bytes = l->tap_bytes,
                       .target.column = pair * TT_GEMM_BLOCK};
    if (2 * pair + 1 < l->panels) b.b[1] = panel_at(l, at, 2 * pair + 1);
    place_tiles(w, at, 2 * tiles, &b);
    place_carry(w, at, tiles, pair, &b);
    return b;
}

/* All blocks there, two tiles after two tiles; of the weights that `next` (or NULL) needs, a part is brought nearer with each. */
static void multiply(const walk *w, const position *at, const position *next, tt_gemm_thread *t) {
    int64_t n = ceil_div(w->tiles, 2), pairs = pairs_of(w, at);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < pairs; j++) {
            tt_gemm_block b = block_of(w, at, i, at->pair + j);
            b.same_inputs = pairs > 1;
            if (next) place_ahead(w, next, n * pairs, i * pairs + j, &b);
            w->l->kernels->block(t, &b);
        }
    }
}

static void run_walk(const strip *s, tt_gemm_thread *t, range tiles, range pairs, float *carry) {
    walk w = {.l = s->l, .tiles = tiles.end - tiles.begin, .pairs = pairs, .carry = carry};
    for (int64_t i = 0; i < w.tiles; i++) w.spots[i] = place_of(s, tiles.begin + i);
    position at = {pairs.begin, pairs.begin, 0};
    for (bool more = pairs.begin < pairs.end; more;) {
        position next = at;
        more = step(&w, &next);
        multiply(&w, &at, more ? &next : NULL, t);
        at = next;
    }
}

/* Blocks of positions x pairs of panels of the strip, the positions in even parts that stay in L2. */
static void run_rectangle(const strip *s, tt_gemm_thread *t, range blocks, range pairs,
                          int64_t thread) {
    const layer *l = s->l;
    int64_t n = blocks.end - blocks.begin, parts = ceil_div(n, l->tiles_at_once / 2);
    for (int64_t i = 0; i < parts; i++) {
        range part = share(n, parts, i);
        range tiles = {2 * (blocks.begin + part.begin),
                       at_most(2 * (blocks.begin + part.end), s->tiles)};
        run_walk(s, t, tiles, pairs, l->carry + thread * l->carry_floats);
    }
}

/* The same for each layer that reads the strip. What waits in a thread is finished before the output changes. */
static void run_phases(strip *s, tt_gemm_thread *t, range blocks, range pairs, int64_t thread) {
    const layer *first = s->l;
    for (int i = 0; i < first->n_phases; i++) {
        s->l = first + i;
        if (first->n_phases > 1) {
            first->kernels->end(t);
            first->kernels->begin(t, &s->l->output);
        }
        run_rectangle(s, t, blocks, pairs, thread);
    }
    s->l = first;
}

static strip strip_of(const layer *l, int64_t first_line, int64_t lines, char *packed) {
    return (strip){.l = l,
                   .first_line = first_line,
                   .lines = lines,
                   .tiles = lines * l->tiles_per_line,
                   .pairs = ceil_div(l->panels, 2),
                   .packed = packed};
}

/* A strip that all threads pack and then divide. */
static void run_together(const layer *l, int64_t line, tt_gemm_thread *t) {
    strip s = strip_of(l, line, at_most(l->lines - line, l->lines_per_strip), l->packed);
    int64_t first = first_row_of(l, line), rows = rows_of_strip(l, line, s.lines);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        pack_row(l, first + row, s.packed + row * l->row_bytes);
    int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    int64_t blocks = ceil_div(s.tiles, 2), down = cuts(blocks, s.pairs, l->taps, threads);
    int64_t across = threads / down;
    if (thread < down * across)
        run_phases(&s, t, share(blocks, down, thread / across),
                   share(s.pairs, across, thread % across), thread);
}

/* A thread's own lines, strip by strip. */
static void run_alone(const layer *l, tt_gemm_thread *t) {
    int64_t thread = omp_get_thread_num();
    range mine = share(l->lines, omp_get_num_threads(), thread);
    for (int64_t line = mine.begin; line < mine.end; line += l->lines_per_strip) {
        strip s = strip_of(l, line, at_most(mine.end - line, l->lines_per_strip),
                           l->packed + thread * l->packed_bytes);
        int64_t first = first_row_of(l, line), rows = rows_of_strip(l, line, s.lines);
        for (int64_t row = 0; row < rows; row++)
            pack_row(l, first + row, s.packed + row * l->row_bytes);
        run_phases(&s, t, (range){0, ceil_div(s.tiles, 2)}, (range){0, s.pairs}, thread);
    }
}

/* What each picture's inputs are kept by, and so each row of its outputs; all threads together. */
static void find_scales(const layer *l) {
#if defined(__x86_64__)
    int64_t inputs = l->pixels / l->n_pictures * l->c, rows = l->out_rows / l->n_pictures;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < l->n_pictures * RANGE_PARTS; i++) {
        range part = share(inputs, RANGE_PARTS, i % RANGE_PARTS);
        const uint16_t *picture = l->x + i / RANGE_PARTS * inputs;
        l->ranges[i] = tt__int8_range(picture + part.begin, part.end - part.begin);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < l->n_pictures; i++) {
        tt_int8_range all = TT_INT8_NO_RANGE;
        for (int j = 0; j < RANGE_PARTS; j++)
            all = tt__int8_range_join(all, l->ranges[i * RANGE_PARTS + j]);
        l->pictures[i] = tt__int8_quant_of_range(all);
        for (int64_t row = 0; row < rows; row++) l->rows[i * rows + row] = row_of(&l->pictures[i]);
    }
#else
    (void)l;
#endif
}

static void run(const layer *l) {
#pragma omp parallel num_threads((int)l->threads) /* scratch is for so many */
    {
        tt_gemm_thread t;
        l->kernels->begin(&t, &l->output);
        if (l->pictures) find_scales(l);
        if (l->is_private) run_alone(l, &t);
        for (int64_t line = 0; !l->is_private && line < l->lines; line += l->lines_per_strip) {
            if (line > 0) {
#pragma omp barrier
            }
            run_together(l, line, &t);
        }
        l->kernels->end(&t);
    }
}

/* Int8 only: pictures, ranges and rows, one after the other. */
static int64_t scale_bytes(const layer *l) {
    if (!l->output.scales) return 0;
    int64_t picture = (int64_t)(sizeof *l->pictures + RANGE_PARTS * sizeof *l->ranges);
    return l->n_pictures * picture + l->out_rows * (int64_t)sizeof *l->rows;
}

static void place_scales(layer *l, void *at) {
    if (!l->output.scales) return;
    if (l->n_pictures > 0) l->pictures = at;
    l->ranges = (tt_int8_range *)((tt_int8_quant *)at + l->n_pictures);
    l->rows = (tt_gemm_row *)(void *)(l->ranges + l->n_pictures * RANGE_PARTS);
    l->output.rows = l->rows;
}

static void place_scratch(layer *l, void *scratch) {
    l->packed = scratch;
    l->carry = (float *)(void *)(l->packed + (l->is_private ? l->threads : 1) * l->packed_bytes);
    place_scales(l, l->packed + l->scratch_bytes - scale_bytes(l));
}

/* The first of n_phases layers. */
static tt_status run_in_scratch(tt_ops *ops, layer *l, tt_err *err) {
    void *scratch = NULL;
    for (int i = 0; i < l->n_phases; i++) {
        set_walk(&l[i]);
        l[i].scratch_bytes += scale_bytes(&l[i]);
    }
    TT_TRY(tt_scratch_take(&ops->scratch, (size_t)l->scratch_bytes, &scratch, err));
    for (int i = 0; i < l->n_phases; i++) place_scratch(&l[i], scratch);
    if (!ops->scratch.measuring) run(l);
    tt_scratch_give(&ops->scratch, scratch);
    return TT_OK;
}

tt_status tt__gemm_linear(tt_ops *ops, const tt_gemm_kernels *kernels, const tt_weight *w,
                          const tt_tensor *x, const tt_epilogue *e, tt_tensor *y, tt_err *err) {
    layer l = new_layer(ops, kernels);
    set_common(&l, w, x, e, y);
    shape_product(&l);
    return run_in_scratch(ops, &l, err);
}

tt_status tt__gemm_conv(tt_ops *ops, const tt_gemm_kernels *kernels, const tt_weight *w,
                        const tt_tensor *x, const tt_epilogue *e, tt_tensor *y, tt_err *err) {
    layer l = new_layer(ops, kernels);
    set_common(&l, w, x, e, y);
    shape_conv(&l, &w->conv, x, y);
    return run_in_scratch(ops, &l, err);
}

tt_status tt__gemm_upsample_conv(tt_ops *ops, const tt_gemm_kernels *kernels, const tt_weight *w,
                                 const tt_tensor *x, tt_tensor *y, tt_err *err) {
    const tt_epilogue nothing = {.act = TT_ACT_NONE};
    layer l[TT__PARTS];
    for (int i = 0; i < TT__PARTS; i++) {
        l[i] = new_layer(ops, kernels);
        l[i].n_phases = TT__PARTS;
        set_common(&l[i], w->parts[i], x, &nothing, y);
        shape_phase(&l[i], i, w->parts[i], x, y);
    }
    return run_in_scratch(ops, l, err);
}

tt_status tt__gemm_gated(tt_ops *ops, const tt_gemm_kernels *kernels, const tt_weight *w,
                         tt_activation act, const tt_tensor *x, tt_tensor *y, tt_err *err) {
    const tt_epilogue e = {.act = act};
    layer l = new_layer(ops, kernels);
    set_common(&l, w, x, &e, y);
    shape_product(&l);
    l.output.is_gated = true;
    l.output.columns = l.output.pitch = y->c;
    return run_in_scratch(ops, &l, err);
}
