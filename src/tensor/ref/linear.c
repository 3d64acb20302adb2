/* y = x W^T + b, then the epilogue. */
#include "tensor/ref/ref.h"

tt_status tt__ref_linear(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                         tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    if (w->scales) {
        tt__ref_linear_int8(w, x, e, y);
        return TT_OK;
    }
    for (int64_t row = 0; row < tt_tensor_rows(x); row++)
        for (int64_t o = 0; o < w->n_out; o++) {
            double sum = w->bias ? w->bias[o] : 0;
            for (int64_t i = 0; i < w->n_in; i++)
                sum += tt__ref_get(x, row * w->n_in + i) * tt__ref_weight(ops, w, o * w->n_in + i);
            tt__ref_store(y, row * w->n_out + o, e, sum);
        }
    return TT_OK;
}
