/* y = x W^T + b and what follows. Bias and an added tensor ride on the product; an activation or a factor is one more pass over y,
 * in which bias and sum are f32. */
#include "tensor/cuda/cuda.h"

/* A weight's `packed` is its bias in bf16, which cuBLASLt wants for bf16 results; in f32 there is none. */
static tt_status pack_bias(tt_ops *ops, tt_weight *w, tt_err *err) {
    size_t size = (size_t)w->n_out * sizeof(uint16_t);
    if (!w->bias || ops->dtype != TT_BF16) return TT_OK;
    w->packed = tt__alloc(ops, size);
    if (!w->packed) return tt_fail_nomem(err, "a bias", size);
    w->size_bytes += size;
    ops->weight_bytes += size;
    return tt__cuda_check(
        tt__cuda_launch_round(w->bias, w->packed, w->n_out, tt__cuda_state(ops)->stream), "a bias",
        err);
}

tt_status tt__cuda_pack_linear(tt_ops *ops, tt_weight *w, const void *data, tt_err *err) {
    TT_TRY(tt__weight_copy(ops, w, data, (size_t)(w->n_out * w->n_in), tt_dtype_size(ops->dtype),
                           err));
    return pack_bias(ops, w, err);
}

void tt__cuda_unpack(tt_ops *ops, tt_weight *w) {
    tt__release(ops, w->packed);
    w->packed = NULL;
}

tt_status tt__cuda_finish(tt_ops *ops, const void *x, const float *bias, const tt_epilogue *e,
                          tt_tensor *y, tt_err *err) {
    const tt_cuda_epilogue all = {.x = x,
                                  .bias = bias,
                                  .mul = e->mul ? e->mul->data : NULL,
                                  .add = e->add ? e->add->data : NULL,
                                  .y = y->data,
                                  .rows = tt_tensor_rows(y),
                                  .c = y->c,
                                  .act = (int)e->act,
                                  .bf16 = ops->dtype == TT_BF16};
    if (ops->scratch.measuring) return TT_OK;
    return tt__cuda_check(tt__cuda_launch_epilogue(&all, tt__cuda_state(ops)->stream),
                          "what follows a product", err);
}

tt_status tt__cuda_bare_result(tt_ops *ops, const tt_epilogue *e, const tt_tensor *y,
                               void **temporary, void **place, tt_err *err) {
    bool reads_y = (e->mul && e->mul->data == y->data) || (e->add && e->add->data == y->data);
    *temporary = NULL;
    *place = y->data;
    if (!reads_y) return TT_OK;
    TT_TRY(tt_scratch_take(&ops->scratch, (size_t)tt_tensor_count(y) * tt_dtype_size(y->dtype),
                           temporary, err));
    *place = *temporary;
    return TT_OK;
}

static tt_cuda_gemm product_of(const tt_ops *ops, const tt_weight *w, const tt_tensor *x, void *y) {
    bool bf16 = ops->dtype == TT_BF16;
    return (tt_cuda_gemm){.rows = tt_tensor_rows(x),
                          .n_out = w->n_out,
                          .k = w->n_in,
                          .x_stride = w->n_in,
                          .w_stride = w->n_in,
                          .y_stride = w->n_out,
                          .batch = 1,
                          .x = x->data,
                          .w = w->data,
                          .y = y,
                          .alpha = 1,
                          .in_bf16 = bf16,
                          .out_bf16 = bf16};
}

static tt_status in_one(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                        tt_tensor *y, tt_err *err) {
    tt_cuda_gemm g = product_of(ops, w, x, y->data);
    g.bias = w->bias;
    g.bias_as_y = ops->dtype == TT_BF16 ? w->packed : w->bias;
    g.add = e->add ? e->add->data : NULL;
    return tt__cuda_product(ops, &g, err);
}

tt_status tt__cuda_linear(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                          tt_tensor *y, tt_err *err) {
    void *temporary, *place;
    if (e->act == TT_ACT_NONE && !e->mul) return in_one(ops, w, x, e, y, err);
    TT_TRY(tt__cuda_bare_result(ops, e, y, &temporary, &place, err));
    const tt_cuda_gemm g = product_of(ops, w, x, place);
    tt_status status = tt__cuda_product(ops, &g, err);
    if (status == TT_OK) status = tt__cuda_finish(ops, place, w->bias, e, y, err);
    if (temporary) tt_scratch_give(&ops->scratch, temporary);
    return status;
}
