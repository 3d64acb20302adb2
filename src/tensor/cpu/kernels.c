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

const tt_cpu_kernels TT_KERNELS = {
    .name = STRINGIFY(TT_KERNELS),
    .channel_sums = channel_sums,
    .scale_channels = scale_channels,
    .layer_norm = layer_norm,
    .activate = activate,
};
