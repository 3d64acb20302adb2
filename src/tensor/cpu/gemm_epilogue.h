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

/* Some rows of a block, one below the other in both the sums and the output: what their first element is. */
typedef struct gemm_rows {
    const float *low, *high; /* of a row's sums */
    int64_t row, column, n;  /* in the output; columns that there are: 1 .. 32 */
    int count;
} gemm_rows;

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

INLINE vf gemm_output_of(const tt_gemm_output *o, tt_activation act, vf sum, int64_t at,
                         int64_t column, int64_t n) {
    if (o->bias) sum += vf_load_any(o->bias, false, column, n);
    sum = gemm_activated(act, sum);
    if (o->mul) sum *= vf_load_any(o->mul, true, at, n);
    if (o->add) sum += vf_load_any(o->add, true, at, n);
    return sum;
}

/* Where columns are missing. */
INLINE void gemm_finish_parts(const tt_gemm_output *o, tt_activation act, gemm_rows r) {
    for (; r.count > 0; r.count--, r.row++, r.low += VL, r.high += VL) {
        int64_t at = r.row * o->pitch + r.column, n = r.n - VL;
        vf low = gemm_sums_of(o, r.low, r.row, r.column, r.n);
        vf_store_any(o->y, true, at, r.n, gemm_output_of(o, act, low, at, r.column, r.n));
        if (n <= 0) continue;
        vf high = gemm_sums_of(o, r.high, r.row, r.column + VL, n);
        high = gemm_output_of(o, act, high, at + VL, r.column + VL, n);
        vf_store_any(o->y, true, at + VL, n, high);
    }
}

/* Where none are: a line at once. The matrix unit's instructions share the core's window with these, so few they must be. */
INLINE void gemm_finish_lines(const tt_gemm_output *o, tt_activation act, gemm_rows r) {
    int64_t at = r.row * o->pitch + r.column;
    for (; r.count > 0; r.count--, r.row++, r.low += VL, r.high += VL, at += o->pitch) {
        vf low = gemm_sums_of(o, r.low, r.row, r.column, VL);
        vf high = gemm_sums_of(o, r.high, r.row, r.column + VL, VL);
        low = gemm_output_of(o, act, low, at, r.column, VL);
        high = gemm_output_of(o, act, high, at + VL, r.column + VL, VL);
        vf_store_two(o->y, true, at, low, high);
    }
}

/* A panel of values and the panel of their gates: 16 columns of y. Scales and bias lie as the panels do. */
INLINE void gemm_finish_gated(const tt_gemm_output *o, tt_activation act, gemm_rows r) {
    int64_t y_column = r.column / 2, n = o->columns - y_column;
    for (; r.count > 0; r.count--, r.row++, r.low += VL, r.high += VL) {
        vf value = gemm_sums_of(o, r.low, r.row, r.column, VL);
        vf gate = gemm_sums_of(o, r.high, r.row, r.column + VL, VL);
        if (o->bias) {
            value += vf_load_any(o->bias, false, r.column, VL);
            gate += vf_load_any(o->bias, false, r.column + VL, VL);
        }
        value *= gemm_activated(act, gate);
        vf_store_any(o->y, true, r.row * o->pitch + y_column, n, value);
    }
}

INLINE void gemm_finish(const tt_gemm_output *o, tt_activation act, gemm_rows r) {
    if (o->is_gated)
        gemm_finish_gated(o, act, r);
    else if (r.n < TT_GEMM_BLOCK)
        gemm_finish_parts(o, act, r);
    else
        gemm_finish_lines(o, act, r);
}

/* Rows first .. end - 1 of the block that waits, all of one tile, those that there are. */
INLINE void gemm_finish_tile(const tt_gemm_thread *t, int first, int end) {
    const tt_gemm_output *o = t->output;
    int tile = first / TT_GEMM_TILE, inside = first % TT_GEMM_TILE;
    int count = end - first, there = t->pending.n_rows[tile] - inside;
    gemm_rows r = {.low = t->sums[2 * tile][inside],
                   .high = t->sums[2 * tile + 1][inside],
                   .row = t->pending.first_row[tile] + inside,
                   .column = t->pending.column,
                   .n = o->columns - t->pending.column,
                   .count = count < there ? count : there};
    switch (o->act) {
    case TT_ACT_SILU:
        gemm_finish(o, TT_ACT_SILU, r);
        break;
    case TT_ACT_QUICK_GELU:
        gemm_finish(o, TT_ACT_QUICK_GELU, r);
        break;
    case TT_ACT_GELU:
        gemm_finish(o, TT_ACT_GELU, r);
        break;
    case TT_ACT_GELU_TANH:
        gemm_finish(o, TT_ACT_GELU_TANH, r);
        break;
    case TT_ACT_RELU:
        gemm_finish(o, TT_ACT_RELU, r);
        break;
    case TT_ACT_NONE:
        gemm_finish(o, TT_ACT_NONE, r);
        break;
    }
}

/* The same of both tiles. Out of line, so that the loops of the kernels keep their registers. */
__attribute__((noinline)) static void gemm_finish_rows(const tt_gemm_thread *t, int first,
                                                       int end) {
    while (first < end) {
        int tile_end = (first / TT_GEMM_TILE + 1) * TT_GEMM_TILE;
        gemm_finish_tile(t, first, end < tile_end ? end : tile_end);
        first = tile_end;
    }
}

#endif
