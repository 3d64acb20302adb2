/* The operations that only move data: nearest upsampling, concatenation, transfers. */
#include <string.h>

#include "tensor/ref/ref.h"

tt_status tt__ref_upsample(tt_ops *ops, const tt_tensor *x, tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    size_t pixel = (size_t)x->c * tt_dtype_size(x->dtype);
    const char *src = x->data;
    char *dst = y->data;
    for (int64_t n = 0; n < y->n; n++)
        for (int64_t row = 0; row < y->h; row++) {
            int64_t source_row = n * x->h + row * x->h / y->h;
            for (int64_t column = 0; column < y->w; column++, dst += pixel)
                memcpy(dst, src + (size_t)(source_row * x->w + column * x->w / y->w) * pixel,
                       pixel);
        }
    return TT_OK;
}

tt_status tt__ref_concat(tt_ops *ops, const tt_tensor *a, const tt_tensor *b, tt_tensor *y,
                         tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    size_t a_bytes = (size_t)a->c * tt_dtype_size(a->dtype);
    size_t b_bytes = (size_t)b->c * tt_dtype_size(b->dtype);
    const char *from_a = a->data, *from_b = b->data;
    char *dst = y->data;
    for (int64_t row = 0; row < tt_tensor_rows(y); row++) {
        memcpy(dst, from_a, a_bytes);
        memcpy(dst + a_bytes, from_b, b_bytes);
        dst += a_bytes + b_bytes;
        from_a += a_bytes;
        from_b += b_bytes;
    }
    return TT_OK;
}

tt_status tt__ref_upload(tt_ops *ops, const float *host, tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    tt_convert(y->data, y->dtype, host, TT_F32, (size_t)tt_tensor_count(y));
    return TT_OK;
}

tt_status tt__ref_download(tt_ops *ops, const tt_tensor *x, float *host, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    tt_convert(host, TT_F32, x->data, x->dtype, (size_t)tt_tensor_count(x));
    return TT_OK;
}
