/* Cross-correlation with zero padding, then the epilogue. */
#include "tensor/ref/ref.h"

/* The sum over taps and input channels for output position (row, column) and channel o of picture
 * n. */
static double conv_at(const tt_ops *ops, const tt_weight *w, const tt_tensor *x, int64_t n,
                      int64_t row, int64_t column, int64_t o) {
    const tt_conv_shape *s = &w->conv;
    double sum = w->bias ? w->bias[o] : 0;
    for (int64_t ky = 0; ky < s->kernel; ky++)
        for (int64_t kx = 0; kx < s->kernel; kx++) {
            int64_t iy = row * s->stride + ky - s->pad_top;
            int64_t ix = column * s->stride + kx - s->pad_left;
            if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w) continue;
            for (int64_t c = 0; c < x->c; c++)
                sum += tt__ref_get(x, ((n * x->h + iy) * x->w + ix) * x->c + c) *
                       tt__ref_weight(ops, w, ((o * x->c + c) * s->kernel + ky) * s->kernel + kx);
        }
    return sum;
}

tt_status tt__ref_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                       tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    if (w->scales) {
        tt__ref_conv_int8(w, x, e, y);
        return TT_OK;
    }
    int64_t i = 0;
    for (int64_t n = 0; n < y->n; n++)
        for (int64_t row = 0; row < y->h; row++)
            for (int64_t column = 0; column < y->w; column++)
                for (int64_t o = 0; o < y->c; o++)
                    tt__ref_store(y, i++, e, conv_at(ops, w, x, n, row, column, o));
    return TT_OK;
}
