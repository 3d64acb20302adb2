/* What int8 means here: the numbers that the reference and all kernels agree on, bit by bit.
 *
 *     weights       w ~ q * scale, one scale per output channel; q in -127 .. 127, scale = largest |w| / 127
 *     activations   x ~ (q - zero) * scale; q in 0 .. 255, so that what a SiLU leaves, nearly all above zero, has all 255 steps.
 *                   One scale and zero per row of a product; per picture for a convolution of several taps, whose window is
 *                   one sum. Neither depends on other rows or pictures: a picture is the same alone and in a batch.
 *     sums          sum of (q - zero) * w in whole numbers, exact; then scale of the row * scale of the column, in f32 or better
 *
 * Zero is always a value that is kept exactly, so borders and unused channels add nothing. A row with a NaN or an infinity has a
 * scale that is none either: its results are not finite, as in the other types. */
#ifndef TT_TENSOR_INT8_H
#define TT_TENSOR_INT8_H

#include <math.h>

#include "tensor/tensor.h"

enum {
    TT_INT8_WEIGHT_STEPS = 127,
    TT_INT8_STEPS = 255,
    TT_INT8_MAX_INPUTS = 66000, /* of a sum, taps included: 255 * 127 * so many fit 31 bits */
};

/* Below it the inverse might overflow; such a row counts as zeros. */
#define TT_INT8_LEAST_RANGE 1e-30f

/* How a row's activations are kept. */
typedef struct tt_int8_quant {
    float scale, inverse;
    int32_t zero;
} tt_int8_quant;

/* lowest <= 0 <= highest, both of the row. */
static inline tt_int8_quant tt_int8_quant_of(float lowest, float highest) {
    float range = highest - lowest;
    if (range < TT_INT8_LEAST_RANGE) return (tt_int8_quant){0};
    tt_int8_quant q = {.scale = range / TT_INT8_STEPS, .inverse = TT_INT8_STEPS / range};
    float zero = rintf(-lowest * q.inverse); /* 0 .. 255, or not a number */
    q.zero = zero <= TT_INT8_STEPS ? (int32_t)zero : 0;
    return q;
}

static inline int32_t tt_int8_activation(float x, const tt_int8_quant *q) {
    float steps = rintf(x * q->inverse);
    if (!(fabsf(steps) <= TT_INT8_STEPS + 1)) return 0; /* no number: its scale shows it */
    int32_t value = (int32_t)steps + q->zero;
    return value < 0 ? 0 : value > TT_INT8_STEPS ? TT_INT8_STEPS : value;
}

/* steps: 127 / largest, or 0 for a column of zeros. */
static inline int8_t tt_int8_weight(float w, float steps) {
    float value = rintf(w * steps);
    if (!(fabsf(value) <= TT_INT8_WEIGHT_STEPS)) return 0; /* no number: its scale shows it */
    return (int8_t)value;
}

static inline float tt_int8_weight_steps(float largest) {
    return largest < TT_INT8_LEAST_RANGE ? 0 : TT_INT8_WEIGHT_STEPS / largest;
}

static inline float tt_int8_weight_scale(float largest) {
    return largest < TT_INT8_LEAST_RANGE ? 0 : largest / TT_INT8_WEIGHT_STEPS;
}

#endif
