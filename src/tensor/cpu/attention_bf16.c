/* Attention of bf16 activations by products of bf16 pairs, summed in f32: as one instruction per 16
 * sums (vdpbf16ps) or per tile of 16 x 16 (tdpbf16ps). Compiled for AVX-512 with BF16 and AMX.
 *
 * Both instructions read their right operand alike: panels of 16 columns, in which a line of 64 bytes
 * holds two terms of each column (and 16 lines are a tile). So keys and values are packed once, keys
 * as panels of 16 keys over pairs of head_dim, values as panels of 16 channels over pairs of keys:
 *
 *     [block_keys / 16][padded_dim / 2][16][2]    then    [padded_dim / 16][block_keys / 2][16][2]
 *
 * A call takes QUERY_ROWS queries past each block of keys, SUB_ROWS at a time: their scores (32 KiB)
 * are still in L1 when they become weights, the block of keys and values stays in L2. Weights are
 * rounded to bf16 for the second product, as torch does; sums, maxima and what is accumulated stay
 * f32. */
#include "tensor/cpu/attention.h"

#if defined(__AVX512BF16__) && defined(__AMX_BF16__)
#include <string.h>

#include "tensor/cpu/vec.h"

enum {
    QUERY_ROWS = 128,
    SUB_ROWS = 32, /* two tiles */
    BLOCK_KEYS = 256,
    STEP = 32, /* terms of a tile: what keys and head_dim are padded to */
    LINE = 32, /* bf16 of one line of a panel */
    TILE_SIDE = 16,
    SCORE_STRIDE = BLOCK_KEYS + VL /* not a power of two: rows fall into different sets of L1 */
};

/* ---- packing
 * ---------------------------------------------------------------------------------------- */

static int64_t key_elements(const tt_attention_plan *p) {
    return p->padded_dim * p->block_keys;
}

static size_t block_bytes(const tt_attention_plan *p) {
    return (size_t)(2 * key_elements(p)) * sizeof(uint16_t);
}

/* n of the 32 elements at p, zeros for the rest. */
INLINE __m512i load_pairs(const uint16_t *p, int64_t n) {
    if (n >= STEP) return _mm512_loadu_si512(p);
    return _mm512_maskz_loadu_epi16(n <= 0 ? 0 : (1u << n) - 1, p);
}

/* Sixteen keys from `first` on. */
static void pack_keys(const tt_attention_plan *p, const uint16_t *k, int64_t stride, int64_t first,
                      uint16_t *panel) {
    for (int64_t i = 0; i < p->padded_dim; i += STEP) {
        vf pairs[VL] = {{0}}; /* bits of two bf16, which nothing here takes for numbers */
        for (int j = 0; j < VL && first + j < p->keys; j++)
            pairs[j] = (vf)load_pairs(k + (first + j) * stride + i, p->head_dim - i);
        vf_transpose(pairs);
        for (int j = 0; j < VL; j++)
            _mm512_storeu_si512(panel + (i / 2 + j) * LINE, (__m512i)pairs[j]);
    }
}

INLINE __m512i widened(__m256i v) {
    return _mm512_cvtepu16_epi32(v);
}

/* Two keys' values, as one line of each panel. */
static void pack_values(const tt_attention_plan *p, const uint16_t *v, int64_t stride,
                        int64_t first, uint16_t *line) {
    for (int64_t i = 0; i < p->padded_dim; i += STEP) {
        __m512i even = _mm512_setzero_si512(), odd = even;
        if (first < p->keys) even = load_pairs(v + first * stride + i, p->head_dim - i);
        if (first + 1 < p->keys) odd = load_pairs(v + (first + 1) * stride + i, p->head_dim - i);
        for (int half = 0; half < 2; half++) {
            __m512i low =
                widened(half ? _mm512_extracti64x4_epi64(even, 1) : _mm512_castsi512_si256(even));
            __m512i high =
                widened(half ? _mm512_extracti64x4_epi64(odd, 1) : _mm512_castsi512_si256(odd));
            _mm512_storeu_si512(line + (i / VL + half) * p->block_keys * VL,
                                _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    }
}

static void pack_block(const tt_attention_plan *p, int64_t block, const void *k, int64_t k_stride,
                       const void *v, int64_t v_stride, void *packed) {
    uint16_t *keys = packed, *values = keys + key_elements(p);
    int64_t first = block * p->block_keys;
    for (int64_t j = 0; j < p->block_keys; j += VL)
        pack_keys(p, k, k_stride, first + j, keys + j * p->padded_dim);
    for (int64_t j = 0; j < p->block_keys; j += 2)
        pack_values(p, v, v_stride, first + j, values + j * VL);
}

/* ---- products
 * --------------------------------------------------------------------------------------- */

/* c[SUB_ROWS, 16 n_panels] (+)= a[SUB_ROWS, k] b, where b is panels of panel_lines lines each; k is a
 * multiple of STEP; the strides of a and c are in elements. */
typedef struct product_args {
    const uint16_t *a;
    int64_t a_stride;
    const uint16_t *b;
    int64_t panel_lines, n_panels, k;
    float *c;
    int64_t c_stride;
    bool accumulate;
} product_args;

enum { PAIR_ROWS = 8, PAIR_PANELS = 2 }; /* 16 sums hide the latency of one another */

INLINE __m512bh as_pairs(__m512i v) {
    return (__m512bh)v;
}

INLINE void pair_block(const product_args *g, int64_t row, int64_t panel, const int panels) {
    __m512 sum[PAIR_ROWS][PAIR_PANELS];
    float *c = g->c + row * g->c_stride + panel * VL;
#pragma GCC unroll 8
    for (int r = 0; r < PAIR_ROWS; r++)
#pragma GCC unroll 2
        for (int j = 0; j < panels; j++)
            sum[r][j] =
                g->accumulate ? _mm512_loadu_ps(c + r * g->c_stride + j * VL) : _mm512_setzero_ps();
    const uint16_t *a = g->a + row * g->a_stride, *b = g->b + panel * g->panel_lines * LINE;
    for (int64_t i = 0; i < g->k; i += 2, b += LINE) {
        __m512bh line[PAIR_PANELS];
#pragma GCC unroll 2
        for (int j = 0; j < panels; j++)
            line[j] = as_pairs(_mm512_loadu_si512(b + j * g->panel_lines * LINE));
#pragma GCC unroll 8
        for (int r = 0; r < PAIR_ROWS; r++) {
            int32_t pair;
            memcpy(&pair, a + r * g->a_stride + i, sizeof pair);
#pragma GCC unroll 2
            for (int j = 0; j < panels; j++)
                sum[r][j] = _mm512_dpbf16_ps(sum[r][j], as_pairs(_mm512_set1_epi32(pair)), line[j]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < PAIR_ROWS; r++)
#pragma GCC unroll 2
        for (int j = 0; j < panels; j++) _mm512_storeu_ps(c + r * g->c_stride + j * VL, sum[r][j]);
}

static void product_of_pairs(const product_args *g) {
    int64_t panel = 0;
    for (; panel + PAIR_PANELS <= g->n_panels; panel += PAIR_PANELS)
        for (int64_t row = 0; row < SUB_ROWS; row += PAIR_ROWS)
            pair_block(g, row, panel, PAIR_PANELS);
    if (panel < g->n_panels)
        for (int64_t row = 0; row < SUB_ROWS; row += PAIR_ROWS) pair_block(g, row, panel, 1);
}

/* Tiles 0 to 3 are the sums (two by two), 4 and 5 the left operand, 6 and 7 the right. */
INLINE void tile_pair(const product_args *g, int64_t panel) {
    const size_t c_bytes = (size_t)g->c_stride * sizeof(float), a_bytes = (size_t)g->a_stride * 2;
    const uint16_t *a = g->a, *lower = a + TILE_SIDE * g->a_stride;
    const uint16_t *b = g->b + panel * g->panel_lines * LINE, *next = b + g->panel_lines * LINE;
    float *c = g->c + panel * VL, *c_lower = c + TILE_SIDE * g->c_stride;
    if (g->accumulate) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(1, c + VL, c_bytes);
        _tile_loadd(2, c_lower, c_bytes);
        _tile_loadd(3, c_lower + VL, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t i = 0; i < g->k; i += STEP) {
        _tile_loadd(4, a + i, a_bytes);
        _tile_loadd(6, b + i * TILE_SIDE, LINE * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, next + i * TILE_SIDE, LINE * 2);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, lower + i, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + VL, c_bytes);
    _tile_stored(2, c_lower, c_bytes);
    _tile_stored(3, c_lower + VL, c_bytes);
}

/* The last panel of an odd number. */
INLINE void tile_last(const product_args *g, int64_t panel) {
    const size_t c_bytes = (size_t)g->c_stride * sizeof(float), a_bytes = (size_t)g->a_stride * 2;
    const uint16_t *a = g->a, *lower = a + TILE_SIDE * g->a_stride;
    const uint16_t *b = g->b + panel * g->panel_lines * LINE;
    float *c = g->c + panel * VL, *c_lower = c + TILE_SIDE * g->c_stride;
    if (g->accumulate) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(2, c_lower, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(2);
    }
    for (int64_t i = 0; i < g->k; i += STEP) {
        _tile_loadd(4, a + i, a_bytes);
        _tile_loadd(5, lower + i, a_bytes);
        _tile_loadd(6, b + i * TILE_SIDE, LINE * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(2, c_lower, c_bytes);
}

static void product_of_tiles(const product_args *g) {
    int64_t panel = 0;
    TT_AMX_FENCE();
    for (; panel + 2 <= g->n_panels; panel += 2) tile_pair(g, panel);
    if (panel < g->n_panels) tile_last(g, panel);
    TT_AMX_FENCE();
}

/* ---- softmax
 * ---------------------------------------------------------------------------------------- */

typedef struct query_block { /* one attend call's workspace */
    int64_t first, rows; /* queries of the head; rows: those there, up to a multiple of SUB_ROWS */
    float *scores;       /* [SUB_ROWS, SCORE_STRIDE] */
    uint16_t *weights;   /* [SUB_ROWS, SCORE_STRIDE] */
    uint16_t *q;         /* [QUERY_ROWS, padded_dim]; what is missing is zero */
    float *out;          /* [QUERY_ROWS, padded_dim] */
    float *largest, *total; /* [QUERY_ROWS]: the running maximum (of scaled scores) and sum */
} query_block;

static size_t workspace_bytes(const tt_attention_plan *p) {
    size_t scores = (size_t)(SUB_ROWS * SCORE_STRIDE) * (sizeof(float) + sizeof(uint16_t));
    size_t rows = (size_t)(QUERY_ROWS * p->padded_dim) * (sizeof(float) + sizeof(uint16_t));
    return scores + rows + 2 * QUERY_ROWS * sizeof(float);
}

static query_block carve(const tt_attention_plan *p, int64_t first, void *workspace) {
    int64_t left = p->queries - first;
    query_block b = {.first = first, .rows = (left + SUB_ROWS - 1) / SUB_ROWS * SUB_ROWS};
    if (b.rows > QUERY_ROWS) b.rows = QUERY_ROWS;
    b.scores = workspace;
    b.out = b.scores + SUB_ROWS * SCORE_STRIDE;
    b.largest = b.out + QUERY_ROWS * p->padded_dim;
    b.total = b.largest + QUERY_ROWS;
    b.weights = (uint16_t *)(b.total + QUERY_ROWS);
    b.q = b.weights + SUB_ROWS * SCORE_STRIDE;
    return b;
}

static void load_queries(const tt_attention_plan *p, const uint16_t *q, int64_t stride,
                         query_block *b) {
    for (int64_t r = 0; r < b->rows; r++) {
        int64_t query = b->first + r;
        for (int64_t i = 0; i < p->padded_dim; i += STEP) {
            __m512i v = _mm512_setzero_si512();
            if (query < p->queries) v = load_pairs(q + query * stride + i, p->head_dim - i);
            _mm512_storeu_si512(b->q + r * p->padded_dim + i, v);
        }
        b->largest[r] = TT__LOWEST_SCORE;
        b->total[r] = 0;
    }
}

/* Scores from `visible` up to n as if there were no such keys. */
INLINE void hide_from(float *s, int64_t visible, int64_t n) {
    for (int64_t j = visible / VL * VL; j < n;
         j += VL) { /* whole vectors: so they are loaded next */
        int64_t kept = visible > j ? visible - j : 0;
        vf_store(s + j, vf_first(vf_load(s + j), kept, TT__LOWEST_SCORE));
    }
}

/* Maxima of SUB_ROWS rows of n scores. Hides the keys that a row does not see. */
INLINE void find_largest(const tt_attention_plan *p, const query_block *b, int64_t block,
                         int64_t first, int64_t n, float largest[SUB_ROWS]) {
    for (int64_t r = 0; r < SUB_ROWS; r++) {
        float *s = b->scores + r * SCORE_STRIDE;
        hide_from(s, tt__attention_visible(p, block, first + r), n);
        vf m = vf_load(s);
        for (int64_t j = VL; j < n; j += VL) m = vf_max(m, vf_load(s + j));
        largest[r] = vf_largest(m);
    }
}

/* 2^(scale s - largest) for two vectors of scores, rounded to bf16 in one go; adds them to sum. */
INLINE void weigh_pair(const float *s, float scale, float largest, uint16_t *w, vf *sum) {
    vf low = vf_exp2_bf16(vf_load(s) * scale - largest),
       high = vf_exp2_bf16(vf_load(s + VL) * scale - largest);
    *sum += low + high;
    _mm512_storeu_si512(w, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}

/* Scores to weights; zeros up to `padded`. */
INLINE void weigh(const tt_attention_plan *p, query_block *b, int64_t row, int64_t n,
                  const float shrink[SUB_ROWS]) {
    for (int64_t r = 0; r < SUB_ROWS; r++) {
        const float *s = b->scores + r * SCORE_STRIDE;
        uint16_t *w = b->weights + r * SCORE_STRIDE;
        float largest = b->largest[row + r];
        vf sum = {0};
        int64_t j = 0;
        for (; j + STEP <= n; j += STEP) weigh_pair(s + j, p->scale, largest, w + j, &sum);
        if (j < n) {
            vf last = vf_exp2_bf16(vf_load(s + j) * p->scale - largest);
            sum += last;
            vf_store_bf16(w + j, last);
            vf_store_bf16(w + j + VL, vf_all(0));
        }
        b->total[row + r] = b->total[row + r] * shrink[r] + vf_sum(sum);
    }
}

static void shrink_rows(const tt_attention_plan *p, float *out, const float shrink[SUB_ROWS]) {
    for (int64_t r = 0; r < SUB_ROWS; r++) {
        if (shrink[r] == 1.0f) continue;
        for (int64_t i = 0; i < p->padded_dim; i += VL)
            vf_store(out + r * p->padded_dim + i, vf_load(out + r * p->padded_dim + i) * shrink[r]);
    }
}

/* The scores of rows row .. row + SUB_ROWS - 1 by the n keys of the block to weights. */
INLINE void soften(const tt_attention_plan *p, query_block *b, int64_t block, int64_t row,
                   int64_t n) {
    float largest[SUB_ROWS], shrink[SUB_ROWS];
    find_largest(p, b, block, b->first + row, n, largest);
    for (int64_t r = 0; r < SUB_ROWS; r += VL) {
        vf before = vf_load(b->largest + row + r);
        vf after = vf_max(before, vf_load(largest + r) * p->scale);
        vf_store(b->largest + row + r, after);
        vf_store(shrink + r, vf_exp2(before - after));
    }
    weigh(p, b, row, n, shrink);
    if (block > 0) shrink_rows(p, b->out + row * p->padded_dim, shrink);
}

static void store_rows(const tt_attention_plan *p, const query_block *b, uint16_t *y,
                       int64_t stride) {
    for (int64_t r = 0; r < b->rows && b->first + r < p->queries; r++) {
        float scale = 1.0f / b->total[r];
        for (int64_t i = 0; i < p->head_dim; i += VL)
            vf_store_any(y, true, (b->first + r) * stride + i, p->head_dim - i,
                         vf_load(b->out + r * p->padded_dim + i) * scale);
    }
}

typedef void (*product_fn)(const product_args *g);

/* SUB_ROWS queries past one block of keys; keys: packed. */
INLINE void attend_block(const tt_attention_plan *p, query_block *b, int64_t block, int64_t row,
                         const uint16_t *keys, product_fn product) {
    int64_t visible = tt__attention_visible(p, block, b->first + row + SUB_ROWS - 1);
    if (visible == 0) return;
    int64_t n_panels = (visible + VL - 1) / VL;
    const product_args scores = {.a = b->q + row * p->padded_dim,
                                 .a_stride = p->padded_dim,
                                 .b = keys,
                                 .panel_lines = p->padded_dim / 2,
                                 .n_panels = n_panels,
                                 .k = p->padded_dim,
                                 .c = b->scores,
                                 .c_stride = SCORE_STRIDE};
    product(&scores);
    soften(p, b, block, row, n_panels * VL);
    const product_args sums = {.a = b->weights,
                               .a_stride = SCORE_STRIDE,
                               .b = keys + key_elements(p),
                               .panel_lines = p->block_keys / 2,
                               .n_panels = p->padded_dim / VL,
                               .k = (n_panels * VL + STEP - 1) / STEP * STEP,
                               .c = b->out + row * p->padded_dim,
                               .c_stride = p->padded_dim,
                               .accumulate = block > 0};
    product(&sums);
}

INLINE void attend_by(product_fn product, const tt_attention_plan *p, const void *q,
                      int64_t q_stride, int64_t first, const void *packed, size_t block_stride,
                      void *workspace, void *y, int64_t y_stride) {
    query_block b = carve(p, first, workspace);
    load_queries(p, q, q_stride, &b);
    for (int64_t block = 0; block < p->key_blocks; block++) {
        const void *keys = (const char *)packed + (size_t)block * block_stride;
        for (int64_t row = 0; row < b.rows; row += SUB_ROWS)
            attend_block(p, &b, block, row, keys, product);
    }
    store_rows(p, &b, y, y_stride);
}

static void attend_pairs(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                         const void *packed, size_t block_stride, void *workspace, void *y,
                         int64_t y_stride) {
    attend_by(product_of_pairs, p, q, q_stride, first, packed, block_stride, workspace, y,
              y_stride);
}

static void attend_tiles(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                         const void *packed, size_t block_stride, void *workspace, void *y,
                         int64_t y_stride) {
    attend_by(product_of_tiles, p, q, q_stride, first, packed, block_stride, workspace, y,
              y_stride);
}

#define SHARED                                                                                   \
    .query_rows = QUERY_ROWS, .most_block_keys = BLOCK_KEYS, .key_step = STEP, .dim_step = STEP, \
    .block_bytes = block_bytes, .workspace_bytes = workspace_bytes, .pack_block = pack_block

const tt_attention_kernels tt__attention_pairs = {
    .name = "tt__attention_pairs", SHARED, .attend = attend_pairs};
const tt_attention_kernels tt__attention_tiles = {
    .name = "tt__attention_tiles", SHARED, .uses_tiles = true, .attend = attend_tiles};
#endif
