/* Elementwise activations. */
#include <math.h>

#include "tensor/ref/ref.h"

static const double QUICK_GELU_SLOPE = 1.702;   /* OpenAI CLIP's sigmoid approximation */
static const double GELU_TANH_CUBIC = 0.044715; /* Hendrycks and Gimpel 2016 */

double tt__ref_activation(tt_activation act, double x) {
    switch (act) {
    case TT_ACT_NONE:
        return x;
    case TT_ACT_SILU:
        return x / (1 + exp(-x));
    case TT_ACT_GELU:
        return x * 0.5 * (1 + erf(x * M_SQRT1_2));
    case TT_ACT_QUICK_GELU:
        return x / (1 + exp(-QUICK_GELU_SLOPE * x));
    case TT_ACT_GELU_TANH:
        return x * 0.5 * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + GELU_TANH_CUBIC * x * x * x)));
    case TT_ACT_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

tt_status tt__ref_activate(tt_ops *ops, tt_activation act, const tt_tensor *x, tt_tensor *y,
                           tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    for (int64_t i = 0; i < tt_tensor_count(x); i++)
        tt__ref_set(y, i, tt__ref_activation(act, tt__ref_get(x, i)));
    return TT_OK;
}
