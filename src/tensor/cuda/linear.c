/* y = x W^T + b and what follows. Bias and an added tensor ride on the product; an activation or a factor is one more pass over y,
 * in which bias and sum are f32.
 *
 * Gated units (a product times the activation of another product of the same x) come as two operations: act(product), then a product
 * with `mul`. The first waits for the second. If that is what follows, the two products run as one batch of two, whose step is the
 * distance between the two weights: half the launches, and twice the tiles to fill the GPU's last round
 * with. One pass then makes value * act(gate). Whatever else comes next first runs what waits. */
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
    tt_cuda_deferred *d = &tt__cuda_state(ops)->deferred;
    if (d->w == w && tt__cuda_catch_up(ops, NULL) != TT_OK) d->w = NULL; /* shows at the download */
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

static tt_status in_two(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                        tt_tensor *y, tt_err *err) {
    void *temporary, *place;
    TT_TRY(tt__cuda_bare_result(ops, e, y, &temporary, &place, err));
    const tt_cuda_gemm g = product_of(ops, w, x, place);
    tt_status status = tt__cuda_product(ops, &g, err);
    if (status == TT_OK) status = tt__cuda_finish(ops, place, w->bias, e, y, err);
    if (temporary) tt_scratch_give(&ops->scratch, temporary);
    return status;
}

/* ---- gated units
 * ---------------------------------------------------------------------------------------------------------------- */

tt_status tt__cuda_catch_up(tt_ops *ops, tt_err *err) {
    tt_cuda_deferred *d = &tt__cuda_state(ops)->deferred;
    if (!d->w) return TT_OK;
    tt_cuda_deferred now = *d;
    d->w = NULL;
    if (now.in_rehearsal != ops->scratch.measuring) return TT_OK;
    const tt_epilogue e = {.act = now.act};
    return in_two(ops, now.w, &now.x, &e, &now.y, err);
}

static bool is_gated_by(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e) {
    const tt_cuda_deferred *d = &tt__cuda_state(ops)->deferred;
    return d->w && d->in_rehearsal == ops->scratch.measuring && e->mul &&
           e->mul->data == d->y.data && e->act == TT_ACT_NONE && !e->add && x->data == d->x.data &&
           tt_tensor_rows(x) == tt_tensor_rows(&d->x) && w->n_out == d->w->n_out &&
           w->n_in == d->w->n_in;
}

/* The two products, the weight at the lower address first (the step must not be negative), into [2, rows, n_out]. */
static tt_status multiply_both(tt_ops *ops, const tt_weight *a, const tt_weight *b,
                               const tt_tensor *x, void *both, tt_err *err) {
    size_t bytes = (size_t)((const char *)b->data - (const char *)a->data);
    tt_cuda_gemm g = product_of(ops, a, x, both);
    g.batch = 2;
    g.w_batch = (int64_t)(bytes / tt_dtype_size(ops->dtype));
    g.y_batch = g.rows * g.n_out;
    return tt__cuda_product(ops, &g, err);
}

static tt_status in_pair(tt_ops *ops, const tt_cuda_deferred *gate, const tt_weight *w,
                         const tt_tensor *x, tt_tensor *y, tt_err *err) {
    size_t size = (size_t)tt_tensor_count(y) * tt_dtype_size(y->dtype);
    bool gate_first = (uintptr_t)gate->w->data < (uintptr_t)w->data;
    void *both;
    TT_TRY(tt_scratch_take(&ops->scratch, 2 * size, &both, err));
    tt_status status = gate_first ? multiply_both(ops, gate->w, w, x, both, err)
                                  : multiply_both(ops, w, gate->w, x, both, err);
    const tt_cuda_gated unit = {.x = (char *)both + (gate_first ? size : 0),
                                .gate = (char *)both + (gate_first ? 0 : size),
                                .bias = w->bias,
                                .gate_bias = gate->w->bias,
                                .y = y->data,
                                .rows = tt_tensor_rows(y),
                                .c = y->c,
                                .act = (int)gate->act,
                                .bf16 = ops->dtype == TT_BF16};
    if (status == TT_OK && !ops->scratch.measuring)
        status = tt__cuda_check(tt__cuda_launch_gated(&unit, tt__cuda_state(ops)->stream),
                                "a gated unit", err);
    tt_scratch_give(&ops->scratch, both);
    return status;
}

tt_status tt__cuda_linear(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                          tt_tensor *y, tt_err *err) {
    tt_cuda_deferred *deferred = &tt__cuda_state(ops)->deferred;
    if (is_gated_by(ops, w, x, e)) {
        const tt_cuda_deferred gate = *deferred;
        deferred->w = NULL;
        return in_pair(ops, &gate, w, x, y, err);
    }
    TT_TRY(tt__cuda_catch_up(ops, err));
    if (e->act == TT_ACT_NONE && !e->mul) return in_one(ops, w, x, e, y, err);
    if (e->mul || e->add) return in_two(ops, w, x, e, y, err);
    *deferred = (tt_cuda_deferred){
        .w = w, .x = *x, .y = *y, .act = e->act, .in_rehearsal = ops->scratch.measuring};
    return TT_OK;
}
