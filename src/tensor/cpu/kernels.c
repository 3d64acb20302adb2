/* Norms and activations for the CPU, written once in 16-lane vectors and compiled per
 * instruction set with TT_KERNELS naming the table (and -ffp-contract=fast, so that multiply-adds
 * fuse). */
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

enum {
    ROWS_AT_ONCE = 8,      /* the running sums are loaded and stored once per so many rows */
    PREFETCH_BYTES = 2048, /* the hardware's own prefetching stops at every page of 4 KiB */
    LINE_BYTES = 64,
};

/* The elements' lines that come PREFETCH_BYTES later than elements i .. i + 2 VL - 1. */
INLINE void prefetch_two(const void *x, bool bf16, int64_t i) {
    const char *p = (const char *)x + (bf16 ? 2 : 4) * i + PREFETCH_BYTES;
    for (int64_t at = 0; at < (bf16 ? 2 : 4) * 2 * VL; at += LINE_BYTES) __builtin_prefetch(p + at);
}

/* Channels i .. i + n - 1 (n <= VL) of up to ROWS_AT_ONCE rows, added to sum and squares. */
INLINE void add_rows(const void *x, bool bf16, int64_t rows, int64_t c, int64_t i, int64_t n,
                     tt_channel_sums out) {
    vf k = vf_load_any(out.shift, false, i, n);
    vf s = vf_load_any(out.sum, false, i, n), q = vf_load_any(out.squares, false, i, n);
    for (int64_t r = 0; r < rows; r++) {
        __builtin_prefetch((const char *)x + ((r + ROWS_AT_ONCE) * c + i) * (bf16 ? 2 : 4));
        vf v = vf_load_any(x, bf16, r * c + i, n) - k;
        s += v;
        q += v * v;
    }
    vf_store_any(out.sum, false, i, n, s);
    vf_store_any(out.squares, false, i, n, q);
}

/* Shifts by the mean of the first rows: one of them alone may be an outlier. */
INLINE void begin_sums(const void *x, bool bf16, int64_t rows, int64_t c, tt_channel_sums out) {
    for (int64_t i = 0; i < c; i += VL) {
        vf sum = {0};
        for (int64_t r = 0; r < rows; r++) sum += vf_load_any(x, bf16, r * c + i, c - i);
        vf_store_any(out.shift, false, i, c - i, sum * (1.0f / (float)rows));
        vf_store_any(out.sum, false, i, c - i, vf_all(0));
        vf_store_any(out.squares, false, i, c - i, vf_all(0));
    }
}

INLINE void sums_of(const void *x, bool bf16, int64_t rows, int64_t c, tt_channel_sums out) {
    begin_sums(x, bf16, rows < ROWS_AT_ONCE ? rows : ROWS_AT_ONCE, c, out);
    for (int64_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        const char *block = (const char *)x + row * c * (bf16 ? 2 : 4);
        int64_t n = rows - row < ROWS_AT_ONCE ? rows - row : ROWS_AT_ONCE, i = 0;
        for (; i + VL <= c; i += VL) add_rows(block, bf16, n, c, i, VL, out);
        if (i < c) add_rows(block, bf16, n, c, i, c - i, out);
    }
}

static void channel_sums(const void *x, bool bf16, int64_t rows, int64_t c, tt_channel_sums out) {
    if (bf16)
        sums_of(x, true, rows, c, out);
    else
        sums_of(x, false, rows, c, out);
}

INLINE vf scaled(const void *x, bool bf16, int64_t at, int64_t i, int64_t n, const float *scale,
                 const float *offset, bool silu) {
    vf v = vf_load_any(x, bf16, at, n) * vf_load_any(scale, false, i, n) +
           vf_load_any(offset, false, i, n);
    if (!silu) return v;
    return v * (bf16 ? vf_sigmoid_bf16(v) : vf_sigmoid(v));
}

INLINE void scale_of(const void *x, void *y, bool bf16, int64_t rows, int64_t c, const float *scale,
                     const float *offset, bool silu) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t i = 0, at = row * c;
        for (; i + 2 * VL <= c; i += 2 * VL) {
            prefetch_two(x, bf16, at + i);
            vf a = scaled(x, bf16, at + i, i, VL, scale, offset, silu);
            vf b = scaled(x, bf16, at + i + VL, i + VL, VL, scale, offset, silu);
            vf_store_two(y, bf16, at + i, a, b);
        }
        for (; i < c; i += VL)
            vf_store_any(y, bf16, at + i, c - i,
                         scaled(x, bf16, at + i, i, c - i, scale, offset, silu));
    }
}

static void scale_channels(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                           const float *scale, const float *offset, bool silu) {
    if (bf16 && silu)
        scale_of(x, y, true, rows, c, scale, offset, true);
    else if (bf16)
        scale_of(x, y, true, rows, c, scale, offset, false);
    else if (silu)
        scale_of(x, y, false, rows, c, scale, offset, true);
    else
        scale_of(x, y, false, rows, c, scale, offset, false);
}

/* The mean of a row and the reciprocal of its deviation, by two walks: the row is in L1 after the first,
 * and differences from the mean itself lose no digits. */
typedef struct row_moments {
    float mean, scale;
} row_moments;

INLINE row_moments moments_of(const void *x, bool bf16, int64_t at, int64_t c, float eps) {
    vf sum[2] = {{0}}, squares[2] = {{0}};
    int64_t i = 0;
    for (; i + 2 * VL <= c; i += 2 * VL) {
        prefetch_two(x, bf16, at + i);
        sum[0] += vf_load_any(x, bf16, at + i, VL);
        sum[1] += vf_load_any(x, bf16, at + i + VL, VL);
    }
    for (; i < c; i += VL) sum[0] += vf_load_any(x, bf16, at + i, c - i);
    float mean = vf_sum(sum[0] + sum[1]) / (float)c;
    for (i = 0; i + 2 * VL <= c; i += 2 * VL) {
        vf a = vf_load_any(x, bf16, at + i, VL) - mean;
        vf b = vf_load_any(x, bf16, at + i + VL, VL) - mean;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    for (; i < c; i += VL) {
        vf d = vf_load_any(x, bf16, at + i, c - i) - mean;
        if (c - i < VL) d = vf_first(d, c - i, 0); /* beyond the row would count (0 - mean)^2 */
        squares[0] += d * d;
    }
    return (row_moments){mean, 1.0f / sqrtf(vf_sum(squares[0] + squares[1]) / (float)c + eps)};
}

INLINE vf normalised(const void *x, bool bf16, int64_t at, int64_t i, int64_t n, row_moments m,
                     const float *gamma, const float *beta) {
    vf v = (vf_load_any(x, bf16, at + i, n) - m.mean) * m.scale;
    return v * vf_load_any(gamma, false, i, n) + vf_load_any(beta, false, i, n);
}

INLINE void layer_norm_of(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                          const float *gamma, const float *beta, float eps) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t i = 0, at = row * c;
        row_moments m = moments_of(x, bf16, at, c, eps);
        for (; i + 2 * VL <= c; i += 2 * VL)
            vf_store_two(y, bf16, at + i, normalised(x, bf16, at, i, VL, m, gamma, beta),
                         normalised(x, bf16, at, i + VL, VL, m, gamma, beta));
        for (; i < c; i += VL)
            vf_store_any(y, bf16, at + i, c - i, normalised(x, bf16, at, i, c - i, m, gamma, beta));
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

const tt_cpu_kernels TT_KERNELS = {
    .name = STRINGIFY(TT_KERNELS),
    .channel_sums = channel_sums,
    .scale_channels = scale_channels,
    .layer_norm = layer_norm,
    .activate = activate,
};
