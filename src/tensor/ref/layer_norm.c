/* LayerNorm (Ba et al. 2016) over the channels of each row. */
#include <math.h>

#include "tensor/ref/ref.h"

static void normalize_row(const tt_weight *w, float eps, const tt_tensor *x, tt_tensor *y,
                          int64_t row) {
    const float *gamma = w->data;
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < x->c; c++) mean += tt__ref_get(x, row * x->c + c);
    mean /= (double)x->c;
    for (int64_t c = 0; c < x->c; c++) {
        double d = tt__ref_get(x, row * x->c + c) - mean;
        variance += d * d;
    }
    double scale = 1 / sqrt(variance / (double)x->c + (double)eps);
    for (int64_t c = 0; c < x->c; c++)
        tt__ref_set(y, row * x->c + c,
                    (tt__ref_get(x, row * x->c + c) - mean) * scale * gamma[c] + w->bias[c]);
}

tt_status tt__ref_layer_norm(tt_ops *ops, const tt_weight *w, float eps, const tt_tensor *x,
                             tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    for (int64_t row = 0; row < tt_tensor_rows(x); row++) normalize_row(w, eps, x, y, row);
    return TT_OK;
}
