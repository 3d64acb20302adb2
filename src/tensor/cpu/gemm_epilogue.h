/* From sums to outputs, a row of a block at a time: bias, activation, mul, add, one rounding. For files that are compiled
 * for AVX-512; with TT_GEMM_INT8 sums are whole numbers and become f32 first. */
#ifndef TT_TENSOR_CPU_GEMM_EPILOGUE_H
#define TT_TENSOR_CPU_GEMM_EPILOGUE_H

#include <math.h>

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/vec.h"

/* erfc(z) for z >= 0 by Abramowitz and Stegun 7.1.26, a polynomial in t = 1 / (1 + p z) times e^-z^2: absolute error below
 * 1.5e-7. */
INLINE vf gemm_erfc_positive(vf z) {
    vf t = vf_reciprocal(1.0f + 0.3275911f * z);
    vf p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    return p * t * vf_exp(-z * z);
}

/* x Phi(x): with q = |x| erfc(|x| / sqrt 2) / 2 it is x - q above zero and -q below, no cancellation on either side. Beyond
 * |x| = 12 the tail is below 1e-31; kept from sinking on, since arithmetic with denormals takes a hundred cycles. */
INLINE vf gemm_gelu(vf x) {
    const float end = 12.0f;
    vf magnitude = vf_min(vf_all(end), (vf)((vi)x & 0x7fffffff));
    vf q = magnitude * 0.5f * gemm_erfc_positive(magnitude * (float)M_SQRT1_2);
    return vf_max(vf_all(0), x) - q;
}

/* tanh written as a sigmoid: (1 + tanh u) / 2 = sigmoid(2 u). */
INLINE vf gemm_gelu_tanh(vf x) {
    const float root = (float)(M_2_SQRTPI * M_SQRT1_2), cubic = 0.044715f;
    return x * vf_sigmoid(2.0f * root * (x + cubic * x * x * x));
}

INLINE vf gemm_activated(tt_activation act, vf v) {
    switch (act) {
    case TT_ACT_SILU:
        return v * vf_sigmoid(v);
    case TT_ACT_QUICK_GELU:
        return v * vf_sigmoid(v * 1.702f);
    case TT_ACT_GELU:
        return gemm_gelu(v);
    case TT_ACT_GELU_TANH:
        return gemm_gelu_tanh(v);
    case TT_ACT_RELU:
        return vf_max(vf_all(0), v);
    case TT_ACT_NONE:
        break;
    }
    return v;
}

/* Up to 16 sums of a row, as they are kept, in f32. */
INLINE vf gemm_sums_of(const tt_gemm_output *o, const float *sums, int64_t row, int64_t column,
                       int64_t n) {
#if defined(TT_GEMM_INT8)
    const tt_gemm_row *r = o->rows + row;
    vi whole = (vi)vf_load(sums) - (vi)vf_load_any(o->column_sums, false, column, n) * r->zero;
    return (vf)_mm512_cvtepi32_ps((__m512i)whole) *
           (vf_load_any(o->scales, false, column, n) * r->scale);
#else
    (void)o, (void)row, (void)column, (void)n;
    return vf_load(sums);
#endif
}

INLINE vf gemm_output_of(const tt_gemm_output *o, vf sum, int64_t at, int64_t column, int64_t n) {
    if (o->bias) sum += vf_load_any(o->bias, false, column, n);
    if (o->act != TT_ACT_NONE) sum = gemm_activated(o->act, sum);
    if (o->mul) sum *= vf_load_any(o->mul, true, at, n);
    if (o->add) sum += vf_load_any(o->add, true, at, n);
    return sum;
}

/* The n < 32 columns that there are. */
INLINE void gemm_finish_part(const tt_gemm_output *o, const float *sums, int64_t row,
                             int64_t column, int64_t n) {
    int64_t at = row * o->pitch + column;
    vf low = gemm_sums_of(o, sums, row, column, n);
    vf_store_any(o->y, true, at, n, gemm_output_of(o, low, at, column, n));
    if (n <= VL) return;
    vf high = gemm_sums_of(o, sums + VL, row, column + VL, n - VL);
    high = gemm_output_of(o, high, at + VL, column + VL, n - VL);
    vf_store_any(o->y, true, at + VL, n - VL, high);
}

/* A panel of values and the panel of their gates: 16 columns of y. Scales and bias lie as the panels do. */
INLINE void gemm_finish_gated(const tt_gemm_output *o, const float *sums, int64_t row,
                              int64_t column) {
    int64_t y_column = column / 2, n = o->columns - y_column;
    vf value = gemm_sums_of(o, sums, row, column, VL);
    vf gate = gemm_sums_of(o, sums + VL, row, column + VL, VL);
    if (o->bias) {
        value += vf_load_any(o->bias, false, column, VL);
        gate += vf_load_any(o->bias, false, column + VL, VL);
    }
    vf_store_any(o->y, true, row * o->pitch + y_column, n, value * gemm_activated(o->act, gate));
}

/* Row `row` of the block that waits, if its tile has that row. */
INLINE void gemm_finish_row(const tt_gemm_thread *t, int row) {
    const tt_gemm_output *o = t->output;
    int tile = row / TT_GEMM_TILE, inside = row % TT_GEMM_TILE;
    if (inside >= t->pending.n_rows[tile]) return;
    int64_t column = t->pending.column, n = o->columns - column;
    int64_t out_row = t->pending.first_row[tile] + inside, at = out_row * o->pitch + column;
    if (o->is_gated) {
        gemm_finish_gated(o, t->sums[row], out_row, column);
        return;
    }
    if (n < TT_GEMM_BLOCK) {
        gemm_finish_part(o, t->sums[row], out_row, column, n);
        return;
    }
    vf low = gemm_sums_of(o, t->sums[row], out_row, column, VL);
    vf high = gemm_sums_of(o, t->sums[row] + VL, out_row, column + VL, VL);
    low = gemm_output_of(o, low, at, column, VL);
    high = gemm_output_of(o, high, at + VL, column + VL, VL);
    vf_store_two(o->y, true, at, low, high); /* a line at once */
}

#endif
