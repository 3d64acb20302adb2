/* Attention in f32 arithmetic for either storage, written once in 16-lane vectors and compiled per
 * instruction set with TT_ATTENTION naming the table (and -ffp-contract=fast, so that multiply-adds
 * fuse).
 *
 * The scores of a block (query_rows x block_keys, 48 KiB) and its packed keys stay in L2. Both
 * products are one register-blocked microkernel. Queries carry the softmax's scale and log2(e), so
 * that a weight is one power of two. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/attention.h"
#include "tensor/cpu/vec.h"

#ifndef TT_ATTENTION
#define TT_ATTENTION tt__attention_base
#endif
#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* The microkernel's tile: TILE_ROWS x (TILE_VECTORS * VL) sums live in registers. */
#if defined(__AVX512F__)
enum { TILE_ROWS = 12, TILE_VECTORS = 2 }; /* 24 of 32 zmm */
#elif defined(__AVX2__)
enum { TILE_ROWS = 6, TILE_VECTORS = 2 }; /* 12 of 16 ymm */
#else
enum { TILE_ROWS = 4, TILE_VECTORS = 2 }; /* 8 of 16 xmm */
#endif
enum { QUERY_ROWS = 96, MOST_BLOCK_KEYS = 128 }; /* rows: a multiple of VL and every TILE_ROWS */

/* c[TILE_ROWS, vectors * VL] (+)= a[TILE_ROWS, k] b[k, vectors * VL] */
INLINE void tile(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                 int64_t k, bool accumulate, const int vectors) {
    vf sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[r][j] = accumulate ? vf_load(c + r * ldc + j * VL) : vf_all(0);
    for (int64_t p = 0; p < k; p++) {
        vf row[TILE_VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) row[j] = vf_load(b + p * ldb + j * VL);
#pragma GCC unroll 16
        for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++) sum[r][j] += a[r * lda + p] * row[j];
    }
#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) vf_store(c + r * ldc + j * VL, sum[r][j]);
}

/* c[rows, n] (+)= a[rows, k] b[k, n]; rows a multiple of TILE_ROWS, n of VL. */
static void product(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                    int64_t rows, int64_t n, int64_t k, bool accumulate) {
    for (int64_t j = 0; j < n;) {
        bool is_wide = n - j >= TILE_VECTORS * VL;
        for (int64_t r = 0; r < rows; r += TILE_ROWS) {
            if (is_wide)
                tile(a + r * lda, lda, b + j, ldb, c + r * ldc + j, ldc, k, accumulate,
                     TILE_VECTORS);
            else
                tile(a + r * lda, lda, b + j, ldb, c + r * ldc + j, ldc, k, accumulate, 1);
        }
        j += is_wide ? TILE_VECTORS * VL : VL;
    }
}

static int64_t key_floats(const tt_attention_plan *p) { /* one block of transposed keys */
    return p->head_dim * p->block_keys;
}

static size_t block_bytes(const tt_attention_plan *p) {
    return (size_t)(key_floats(p) + p->block_keys * p->padded_dim) * sizeof(float);
}

static size_t workspace_bytes(const tt_attention_plan *p) {
    int64_t row = p->head_dim + p->block_keys + p->padded_dim + 3;
    return (size_t)(QUERY_ROWS * row) * sizeof(float);
}

/* One row of n activations to f32, zero up to padded. */
INLINE void widen_row(const void *x, bool bf16, int64_t at, int64_t n, int64_t padded, float scale,
                      float *out) {
    for (int64_t i = 0; i < padded; i += VL) {
        int64_t left = n - i;
        vf v = left > 0 ? vf_load_any(x, bf16, at + i, left) : vf_all(0);
        vf_store_any(out, false, i, padded - i, v * scale);
    }
}

/* Channels i .. i + VL - 1 of VL keys from `first` on, transposed to columns j .. of the packed keys. */
INLINE void pack_keys(const tt_attention_plan *p, const void *k, int64_t k_stride, int64_t first,
                      int64_t i, float *column) {
    int64_t left = p->head_dim - i;
    vf rows[VL] = {{0}};
    for (int l = 0; l < VL && first + l < p->keys; l++)
        rows[l] = vf_load_any(k, p->bf16, (first + l) * k_stride + i, left);
    vf_transpose(rows);
    for (int l = 0; l < VL && l < left; l++) vf_store(column + (i + l) * p->block_keys, rows[l]);
}

/* Packed: keys transposed [head_dim, block_keys], then values [block_keys, padded_dim]. */
static void pack_block(const tt_attention_plan *p, int64_t block, const void *k, int64_t k_stride,
                       const void *v, int64_t v_stride, void *packed) {
    float *keys = packed, *values = keys + key_floats(p);
    int64_t first = block * p->block_keys;
    for (int64_t j = 0; j < p->block_keys; j += VL)
        for (int64_t i = 0; i < p->head_dim; i += VL)
            pack_keys(p, k, k_stride, first + j, i, keys + j);
    for (int64_t j = 0; j < p->block_keys; j++) {
        float *value = values + j * p->padded_dim;
        if (first + j < p->keys)
            widen_row(v, p->bf16, (first + j) * v_stride, p->head_dim, p->padded_dim, 1, value);
        else
            memset(value, 0, (size_t)p->padded_dim * sizeof *value);
    }
}

typedef struct query_block { /* one attend call's workspace */
    int64_t first, rows;     /* queries of the head; rows: those there, up to a whole tile */
    float *q;                /* [QUERY_ROWS, head_dim], scaled; missing rows are zero */
    float *scores;           /* [QUERY_ROWS, block_keys] */
    float *out;              /* [QUERY_ROWS, padded_dim] */
    float *largest, *total;  /* [QUERY_ROWS]: the running maximum and sum of the softmax */
    float *shrink;           /* [QUERY_ROWS]: what this block makes of earlier sums */
} query_block;

static query_block carve(const tt_attention_plan *p, int64_t first, float *workspace) {
    int64_t left = p->queries - first;
    query_block b = {.first = first, .rows = (left + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS};
    if (b.rows > QUERY_ROWS) b.rows = QUERY_ROWS;
    b.q = workspace;
    b.scores = b.q + QUERY_ROWS * p->head_dim;
    b.out = b.scores + QUERY_ROWS * p->block_keys;
    b.largest = b.out + QUERY_ROWS * p->padded_dim;
    b.total = b.largest + QUERY_ROWS;
    b.shrink = b.total + QUERY_ROWS;
    return b;
}

static void load_queries(const tt_attention_plan *p, const void *q, int64_t q_stride,
                         query_block *b) {
    for (int64_t r = 0; r < QUERY_ROWS; r++) {
        float *row = b->q + r * p->head_dim;
        if (b->first + r < p->queries)
            widen_row(q, p->bf16, (b->first + r) * q_stride, p->head_dim, p->head_dim, p->scale,
                      row);
        else
            memset(row, 0, (size_t)p->head_dim * sizeof *row);
        b->largest[r] = TT__LOWEST_SCORE;
        b->total[r] = 0;
    }
    memset(b->out, 0, (size_t)(QUERY_ROWS * p->padded_dim) * sizeof *b->out);
}

/* Scores from `visible` up to n as if there were no such keys. */
INLINE void hide_from(float *s, int64_t visible, int64_t n) {
    for (int64_t j = visible / VL * VL; j < n;
         j += VL) { /* whole vectors: so they are loaded next */
        int64_t kept = visible > j ? visible - j : 0;
        vf_store(s + j, vf_first(vf_load(s + j), kept, TT__LOWEST_SCORE));
    }
}

/* New running maxima, and what they make of earlier sums. Hides the keys that a row does not see. */
static void find_largest(const tt_attention_plan *p, query_block *b, int64_t block, int64_t n) {
    float largest[QUERY_ROWS] = {0};
    for (int64_t r = 0; r < b->rows; r++) {
        float *s = b->scores + r * p->block_keys;
        hide_from(s, tt__attention_visible(p, block, b->first + r), n);
        vf m = vf_load(s);
        for (int64_t j = VL; j < n; j += VL) m = vf_max(m, vf_load(s + j));
        largest[r] = vf_largest(m);
    }
    for (int64_t r = 0; r < b->rows; r += VL) {
        vf before = vf_load(b->largest + r), after = vf_max(before, vf_load(largest + r));
        vf_store(b->largest + r, after);
        vf_store(b->shrink + r, vf_exp2(before - after));
    }
}

/* Scores to weights, and their sums. */
static void weigh(const tt_attention_plan *p, query_block *b, int64_t n) {
    for (int64_t r = 0; r < b->rows; r++) {
        float *s = b->scores + r * p->block_keys, largest = b->largest[r];
        vf sum = {0};
        for (int64_t j = 0; j < n; j += VL) {
            vf e = vf_exp2(vf_load(s + j) - largest);
            sum += e;
            vf_store(s + j, e);
        }
        float shrink = b->shrink[r], *out = b->out + r * p->padded_dim;
        b->total[r] = b->total[r] * shrink + vf_sum(sum);
        if (shrink == 1.0f) continue;
        for (int64_t i = 0; i < p->padded_dim; i += VL)
            vf_store(out + i, vf_load(out + i) * shrink);
    }
}

static void store_rows(const tt_attention_plan *p, const query_block *b, void *y,
                       int64_t y_stride) {
    for (int64_t r = 0; r < QUERY_ROWS && b->first + r < p->queries; r++) {
        float scale = 1.0f / b->total[r];
        for (int64_t i = 0; i < p->head_dim; i += VL)
            vf_store_any(y, p->bf16, (b->first + r) * y_stride + i, p->head_dim - i,
                         vf_load(b->out + r * p->padded_dim + i) * scale);
    }
}

static void attend(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                   const void *packed, size_t block_stride, void *workspace, void *y,
                   int64_t y_stride) {
    query_block b = carve(p, first, workspace);
    load_queries(p, q, q_stride, &b);
    for (int64_t block = 0; block < p->key_blocks; block++) {
        const float *keys = (const void *)((const char *)packed + (size_t)block * block_stride);
        int64_t n = tt__attention_visible(p, block, first + b.rows - 1);
        if (n == 0) break;
        n = (n + VL - 1) / VL * VL;
        product(b.q, p->head_dim, keys, p->block_keys, b.scores, p->block_keys, b.rows, n,
                p->head_dim, false);
        find_largest(p, &b, block, n);
        weigh(p, &b, n);
        product(b.scores, p->block_keys, keys + key_floats(p), p->padded_dim, b.out, p->padded_dim,
                b.rows, p->padded_dim, n, true);
    }
    store_rows(p, &b, y, y_stride);
}

const tt_attention_kernels TT_ATTENTION = {
    .name = STRINGIFY(TT_ATTENTION),
    .query_rows = QUERY_ROWS,
    .most_block_keys = MOST_BLOCK_KEYS,
    .key_step = VL,
    .dim_step = VL,
    .block_bytes = block_bytes,
    .workspace_bytes = workspace_bytes,
    .pack_block = pack_block,
    .attend = attend,
};
