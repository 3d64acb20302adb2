/* Norms, activations and attention for the CPU, written once in 16-lane vectors and compiled per
 * instruction set with TT_KERNELS naming the table (and -ffp-contract=fast, so that multiply-adds
 * fuse).
 *
 * Attention is the streaming softmax of Milakov and Gimelshein (2018) and Dao et al. (2022): for a
 * block of queries, the keys are walked in blocks; running maxima and sums rescale what was
 * accumulated. The score block (query_rows x block_keys, 48 KiB) and the packed keys of one block
 * stay in L2. Both products are one register-blocked microkernel. */
#include "tensor/cpu/kernels.h"

#include <math.h>

#include "tensor/cpu/vec.h"

#ifndef TT_KERNELS
#define TT_KERNELS tt__kernels_base
#endif
#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* ---- norms
 * ------------------------------------------------------------------------------------------ */

enum { ROWS_AT_ONCE = 4 }; /* the running sums are loaded and stored once per four rows */

INLINE void sums_of(const void *x, bool bf16, int64_t rows, int64_t c, const float *shift,
                    float *sum, float *squares) {
    for (int64_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        int64_t last = row + ROWS_AT_ONCE < rows ? row + ROWS_AT_ONCE : rows;
        for (int64_t i = 0; i < c; i += VL) {
            int64_t n = c - i;
            vf s = vf_load_any(sum, false, i, n), q = vf_load_any(squares, false, i, n);
            vf k = vf_load_any(shift, false, i, n);
            for (int64_t r = row; r < last; r++) {
                vf v = vf_load_any(x, bf16, r * c + i, n) - k;
                s += v;
                q += v * v;
            }
            vf_store_any(sum, false, i, n, s);
            vf_store_any(squares, false, i, n, q);
        }
    }
}

static void channel_sums(const void *x, bool bf16, int64_t rows, int64_t c, const float *shift,
                         float *sum, float *squares) {
    if (bf16)
        sums_of(x, true, rows, c, shift, sum, squares);
    else
        sums_of(x, false, rows, c, shift, sum, squares);
}

INLINE void scale_of(const void *x, void *y, bool bf16, int64_t rows, int64_t c, const float *scale,
                     const float *offset, bool silu) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < c; i += VL) {
            int64_t n = c - i;
            vf v = vf_load_any(x, bf16, row * c + i, n) * vf_load_any(scale, false, i, n) +
                   vf_load_any(offset, false, i, n);
            if (silu) v *= vf_sigmoid(v);
            vf_store_any(y, bf16, row * c + i, n, v);
        }
}

static void scale_channels(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                           const float *scale, const float *offset, bool silu) {
    if (bf16)
        scale_of(x, y, true, rows, c, scale, offset, silu);
    else
        scale_of(x, y, false, rows, c, scale, offset, silu);
}

INLINE void layer_norm_of(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                          const float *gamma, const float *beta, float eps) {
    for (int64_t row = 0; row < rows; row++) {
        vf sum = {0}, squares = {0};
        for (int64_t i = 0; i < c; i += VL) sum += vf_load_any(x, bf16, row * c + i, c - i);
        float mean = vf_sum(sum) / (float)c;
        for (int64_t i = 0; i < c; i += VL) {
            vf d = vf_load_any(x, bf16, row * c + i, c - i) - mean;
            if (c - i < VL) { /* lanes beyond the row would count as (0 - mean)^2 */
                float lanes[VL] = {0};
                vf_store_any(lanes, false, 0, c - i, d);
                d = vf_load(lanes);
            }
            squares += d * d;
        }
        float scale = 1.0f / sqrtf(vf_sum(squares) / (float)c + eps);
        for (int64_t i = 0; i < c; i += VL) {
            int64_t n = c - i;
            vf v = (vf_load_any(x, bf16, row * c + i, n) - mean) * scale;
            v = v * vf_load_any(gamma, false, i, n) + vf_load_any(beta, false, i, n);
            vf_store_any(y, bf16, row * c + i, n, v);
        }
    }
}

static void layer_norm(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                       const float *gamma, const float *beta, float eps) {
    if (bf16)
        layer_norm_of(x, y, true, rows, c, gamma, beta, eps);
    else
        layer_norm_of(x, y, false, rows, c, gamma, beta, eps);
}

/* ---- activations
 * ------------------------------------------------------------------------------------ */

static vf lanewise(vf v, float (*f)(float)) {
    float lanes[VL];
    vf_store(lanes, v);
    for (int i = 0; i < VL; i++) lanes[i] = f(lanes[i]);
    return vf_load(lanes);
}

/* erf and tanh are libm's: no network applies these outside a fused product. */
static float gelu(float x) {
    return x * 0.5f * (1.0f + erff(x * (float)M_SQRT1_2));
}

static float gelu_tanh(float x) {
    const float root = (float)(M_2_SQRTPI * M_SQRT1_2), cubic = 0.044715f;
    return x * 0.5f * (1.0f + tanhf(root * (x + cubic * x * x * x)));
}

static vf activated(tt_activation act, vf v) {
    switch (act) {
    case TT_ACT_SILU:
        return v * vf_sigmoid(v);
    case TT_ACT_QUICK_GELU:
        return v * vf_sigmoid(v * 1.702f);
    case TT_ACT_GELU:
        return lanewise(v, gelu);
    case TT_ACT_GELU_TANH:
        return lanewise(v, gelu_tanh);
    case TT_ACT_RELU:
        return vf_max(v, vf_all(0));
    case TT_ACT_NONE:
        break;
    }
    return v;
}

static void activate(tt_activation act, const void *x, void *y, bool bf16, int64_t count) {
    for (int64_t i = 0; i < count; i += VL)
        vf_store_any(y, bf16, i, count - i, activated(act, vf_load_any(x, bf16, i, count - i)));
}

/* ---- attention
 * -------------------------------------------------------------------------------------- */

/* The microkernel's tile: TILE_ROWS x (TILE_VECTORS * VL) sums live in registers. */
#if defined(__AVX512F__)
enum { TILE_ROWS = 12, TILE_VECTORS = 2 }; /* 24 of 32 zmm */
#elif defined(__AVX2__)
enum { TILE_ROWS = 6, TILE_VECTORS = 1 }; /* 12 of 16 ymm */
#else
enum { TILE_ROWS = 2, TILE_VECTORS = 1 }; /* 8 of 16 xmm */
#endif
enum { QUERY_ROWS = 96 }; /* a multiple of every TILE_ROWS */

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

/* c[QUERY_ROWS, n] (+)= a[QUERY_ROWS, k] b[k, n]; n is a multiple of VL. */
static void product(const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc,
                    int64_t n, int64_t k, bool accumulate) {
    for (int64_t j = 0; j < n;) {
        bool is_wide = n - j >= TILE_VECTORS * VL;
        for (int64_t r = 0; r < QUERY_ROWS; r += TILE_ROWS) {
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

static int64_t packed_floats(const tt_attention_plan *p) {
    return p->key_blocks * (key_floats(p) + p->block_keys * p->padded_dim);
}

static int64_t workspace_floats(const tt_attention_plan *p) {
    return QUERY_ROWS * (p->head_dim + p->block_keys + p->padded_dim + 2);
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

/* Packed, per block: keys transposed [head_dim, block_keys], then values [block_keys, padded_dim];
 * places beyond the last key are zero. */
static void pack_head(const tt_attention_plan *p, const void *k, int64_t k_stride, const void *v,
                      int64_t v_stride, float *packed) {
    for (int64_t block = 0; block < p->key_blocks; block++) {
        float *keys = packed, *values = packed + key_floats(p);
        for (int64_t j = 0; j < p->block_keys; j++) {
            int64_t key = block * p->block_keys + j;
            bool is_there = key < p->keys;
            float *value = values + j * p->padded_dim;
            if (is_there)
                widen_row(v, p->bf16, key * v_stride, p->head_dim, p->padded_dim, 1, value);
            else
                memset(value, 0, (size_t)p->padded_dim * sizeof *value);
            for (int64_t i = 0; i < p->head_dim; i += VL) {
                int64_t n = p->head_dim - i < VL ? p->head_dim - i : VL;
                float lanes[VL] = {0};
                if (is_there)
                    vf_store(lanes, vf_load_any(k, p->bf16, key * k_stride + i, p->head_dim - i));
                for (int64_t l = 0; l < n; l++) keys[(i + l) * p->block_keys + j] = lanes[l];
            }
        }
        packed = values + p->block_keys * p->padded_dim;
    }
}

typedef struct query_block { /* one attend call's workspace */
    float *q;                /* [QUERY_ROWS, head_dim], scaled; missing rows are zero */
    float *scores;           /* [QUERY_ROWS, block_keys] */
    float *out;              /* [QUERY_ROWS, padded_dim] */
    float *largest, *total;  /* [QUERY_ROWS]: the running maximum and sum of the softmax */
} query_block;

static query_block carve(const tt_attention_plan *p, float *workspace) {
    query_block b;
    b.q = workspace;
    b.scores = b.q + QUERY_ROWS * p->head_dim;
    b.out = b.scores + QUERY_ROWS * p->block_keys;
    b.largest = b.out + QUERY_ROWS * p->padded_dim;
    b.total = b.largest + QUERY_ROWS;
    return b;
}

/* One row of scores to weights: e^(s - maximum), zero from `visible` on; rescales what is there
 * already. */
INLINE void soften_row(const tt_attention_plan *p, query_block *b, int64_t row, int64_t visible) {
    float *s = b->scores + row * p->block_keys;
    for (int64_t j = visible; j < p->block_keys; j++) s[j] = -INFINITY;
    vf m = vf_all(b->largest[row]);
    for (int64_t j = 0; j < p->block_keys; j += VL) m = vf_max(m, vf_load(s + j));
    float largest = vf_largest(m);
    vf sum = {0};
    for (int64_t j = 0; j < p->block_keys; j += VL) {
        vf e = vf_exp(vf_load(s + j) - largest);
        sum += e;
        vf_store(s + j, e);
    }
    vf shrink_all = vf_exp(vf_all(b->largest[row] - largest));
    float shrink = shrink_all[0];
    b->total[row] = b->total[row] * shrink + vf_sum(sum);
    b->largest[row] = largest;
    if (shrink == 1.0f) return;
    float *out = b->out + row * p->padded_dim;
    for (int64_t i = 0; i < p->padded_dim; i += VL) vf_store(out + i, vf_load(out + i) * shrink);
}

/* How many keys of `block` query `query` sees. */
static int64_t visible_keys(const tt_attention_plan *p, int64_t block, int64_t query) {
    int64_t end = p->causal && query + 1 < p->keys ? query + 1 : p->keys;
    int64_t n = end - block * p->block_keys;
    return n < 0 ? 0 : n > p->block_keys ? p->block_keys : n;
}

static void load_queries(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                         query_block *b) {
    for (int64_t r = 0; r < QUERY_ROWS; r++) {
        float *row = b->q + r * p->head_dim;
        if (first + r < p->queries)
            widen_row(q, p->bf16, (first + r) * q_stride, p->head_dim, p->head_dim, p->scale, row);
        else
            memset(row, 0, (size_t)p->head_dim * sizeof *row);
        b->largest[r] = -3e38f; /* below every score, and finite: -inf less -inf would be NaN */
        b->total[r] = 0;
    }
    memset(b->out, 0, (size_t)(QUERY_ROWS * p->padded_dim) * sizeof *b->out);
}

static void store_rows(const tt_attention_plan *p, const query_block *b, int64_t first, void *y,
                       int64_t y_stride) {
    for (int64_t r = 0; r < QUERY_ROWS && first + r < p->queries; r++) {
        float scale = 1.0f / b->total[r];
        for (int64_t i = 0; i < p->head_dim; i += VL)
            vf_store_any(y, p->bf16, (first + r) * y_stride + i, p->head_dim - i,
                         vf_load(b->out + r * p->padded_dim + i) * scale);
    }
}

static void attend(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                   const float *packed, float *workspace, void *y, int64_t y_stride) {
    query_block b = carve(p, workspace);
    load_queries(p, q, q_stride, first, &b);
    for (int64_t block = 0; block < p->key_blocks; block++) {
        const float *keys = packed, *values = packed + key_floats(p);
        packed = values + p->block_keys * p->padded_dim;
        if (p->causal && block * p->block_keys >= first + QUERY_ROWS) break;
        product(b.q, p->head_dim, keys, p->block_keys, b.scores, p->block_keys, p->block_keys,
                p->head_dim, false);
        for (int64_t r = 0; r < QUERY_ROWS; r++)
            soften_row(p, &b, r, visible_keys(p, block, first + r));
        product(b.scores, p->block_keys, values, p->padded_dim, b.out, p->padded_dim, p->padded_dim,
                p->block_keys, true);
    }
    store_rows(p, &b, first, y, y_stride);
}

const tt_cpu_kernels TT_KERNELS = {
    .name = STRINGIFY(TT_KERNELS),
    .channel_sums = channel_sums,
    .scale_channels = scale_channels,
    .layer_norm = layer_norm,
    .activate = activate,
    .query_rows = QUERY_ROWS,
    .packed_floats = packed_floats,
    .workspace_floats = workspace_floats,
    .pack_head = pack_head,
    .attend = attend,
};
