/* Convolutions: by cuDNN where it has an engine, else as the product of gathered pixels with the weights (a band of rows at a time,
 * so that the gathered matrix stays small). Weights are kept with their channels last, [c_out, k, k, c_in], which serves both. A
 * 1x1 convolution without stride or padding is a matrix product. Bias, residual and the rest follow in one pass. */
#include "tensor/cuda/cuda.h"

/* Of gathered pixels at once. */
static const int64_t MOST_GATHERED_BYTES = (int64_t)128 << 20;

static bool is_product(const tt_conv_shape *s) {
    return s->kernel == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0 &&
           s->pad_bottom == 0 && s->pad_right == 0;
}

tt_status tt__cuda_pack_conv(tt_ops *ops, tt_weight *w, const void *data, tt_err *err) {
    int64_t taps = (int64_t)w->conv.kernel * w->conv.kernel,
            size = (int64_t)tt_dtype_size(ops->dtype);
    size_t bytes = (size_t)(w->n_out * w->n_in * taps * size);
    if (is_product(&w->conv)) return tt__cuda_pack_linear(ops, w, data, err);
    w->data = tt__alloc(ops, bytes);
    void *plain = tt__alloc(ops, bytes);
    if (!w->data || !plain) {
        tt__release(ops, plain);
        return tt_fail_nomem(err, "a convolution's weights", bytes);
    }
    tt_status status = tt__cuda_put(ops, plain, data, bytes, err);
    if (status == TT_OK)
        status = tt__cuda_check(tt__cuda_launch_repack(plain, w->data, w->n_out, w->n_in, taps,
                                                       size, tt__cuda_state(ops)->stream),
                                "a convolution's weights", err);
    tt__release(ops, plain);
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    return status;
}

static tt_cuda_conv_key key_of(const tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                               const tt_tensor *y) {
    return (tt_cuda_conv_key){.kind = TT_CUDA_GRAPH_CONV,
                              .n = x->n,
                              .h = x->h,
                              .w = x->w,
                              .c_in = x->c,
                              .y_h = y->h,
                              .y_w = y->w,
                              .c_out = y->c,
                              .kernel = w->conv.kernel,
                              .stride = w->conv.stride,
                              .pad_h = w->conv.pad_top,
                              .pad_w = w->conv.pad_left,
                              .bf16 = ops->dtype == TT_BF16};
}

/* ---- by products
 * ---------------------------------------------------------------------------------------------------------------- */

static tt_status multiply_band(tt_ops *ops, const tt_weight *w, const tt_cuda_im2col *band, char *y,
                               tt_err *err) {
    int64_t width = band->c * band->kernel * band->kernel;
    bool bf16 = ops->dtype == TT_BF16;
    const tt_cuda_gemm g = {.rows = band->rows,
                            .n_out = w->n_out,
                            .k = width,
                            .x_stride = width,
                            .w_stride = width,
                            .y_stride = w->n_out,
                            .batch = 1,
                            .x = band->columns,
                            .w = w->data,
                            .y = y + (size_t)(band->first * w->n_out * band->size),
                            .alpha = 1,
                            .in_bf16 = bf16,
                            .out_bf16 = bf16};
    if (!ops->scratch.measuring)
        TT_TRY(tt__cuda_check(tt__cuda_launch_im2col(band, tt__cuda_state(ops)->stream),
                              "gathering pixels", err));
    return tt__cuda_product(ops, &g, err);
}

static tt_status by_products(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                             const tt_tensor *y, void *place, tt_err *err) {
    const tt_conv_shape *s = &w->conv;
    int64_t size = (int64_t)tt_dtype_size(x->dtype), rows = tt_tensor_rows(y);
    int64_t row_bytes = x->c * s->kernel * s->kernel * size;
    int64_t most = row_bytes < MOST_GATHERED_BYTES ? MOST_GATHERED_BYTES / row_bytes : 1;
    void *columns;
    if (most > rows) most = rows;
    TT_TRY(tt_scratch_take(&ops->scratch, (size_t)(most * row_bytes), &columns, err));
    tt_cuda_im2col band = {.x = x->data,
                           .columns = columns,
                           .x_h = x->h,
                           .x_w = x->w,
                           .c = x->c,
                           .y_h = y->h,
                           .y_w = y->w,
                           .size = size,
                           .kernel = s->kernel,
                           .stride = s->stride,
                           .pad_top = s->pad_top,
                           .pad_left = s->pad_left};
    tt_status status = TT_OK;
    for (; status == TT_OK && band.first < rows; band.first += most) {
        band.rows = rows - band.first < most ? rows - band.first : most;
        status = multiply_band(ops, w, &band, place, err);
    }
    tt_scratch_give(&ops->scratch, columns);
    return status;
}

/* ---- either way
 * ----------------------------------------------------------------------------------------------------------------- */

static tt_status convolve(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_tensor *y,
                          void *place, tt_err *err) {
    const tt_conv_shape *s = &w->conv;
    const tt_cuda_conv_key key = key_of(ops, w, x, y);
    const tt_cuda_graph *graph = NULL;
    if (s->pad_top == s->pad_bottom && s->pad_left == s->pad_right)
        TT_TRY(tt__cuda_graph_conv(tt__cuda_state(ops), &key, &graph, err));
    void *const tensors[] = {x->data, w->data, place};
    if (graph) return tt__cuda_graph_run(ops, graph, tensors, err);
    return by_products(ops, w, x, y, place, err);
}

tt_status tt__cuda_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                        tt_tensor *y, tt_err *err) {
    void *temporary, *place;
    if (is_product(&w->conv)) return tt__cuda_linear(ops, w, x, e, y, err);
    TT_TRY(tt__cuda_catch_up(ops, err));
    TT_TRY(tt__cuda_bare_result(ops, e, y, &temporary, &place, err));
    tt_status status = convolve(ops, w, x, y, place, err);
    if (status == TT_OK && (w->bias || e->act != TT_ACT_NONE || e->mul || e->add))
        status = tt__cuda_finish(ops, place, w->bias, e, y, err);
    if (temporary) tt_scratch_give(&ops->scratch, temporary);
    return status;
}
