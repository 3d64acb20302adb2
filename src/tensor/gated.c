/* Weights of gated units (tt_op_gated).
 *
 * Where the back-end can, a unit is one product: its weights take turns, a few rows of values and the rows of their gates, so that
 * both sums of an output are ready in the same moment. Inputs are read once, and the gates never exist in memory. Rows that fill up
 * the last turn are zero. */
#include "base/alloc.h"
#include "tensor/backend.h"

typedef struct unit {
    const char *w;
    const float *bias;
    int64_t n_out, n_in;
    bool is_int8;
    size_t row_bytes;
} unit;

static tt_status by_two(tt_ops *ops, const unit *u, tt_weight *w, tt_err *err) {
    tt__linear l = {.w = u->w, .bias = u->bias, .n_out = u->n_out, .n_in = u->n_in};
    l.is_int8 = u->is_int8;
    TT_TRY(tt__weight_linear(ops, &l, &w->parts[0], err));
    l.w = u->w + (size_t)u->n_out * u->row_bytes;
    if (u->bias) l.bias = u->bias + u->n_out;
    return tt__weight_linear(ops, &l, &w->parts[1], err);
}

static tt_status make_by_two(tt_ops *ops, const unit *u, tt_weight **out, tt_err *err) {
    tt_weight *w = tt_alloc(sizeof *w);
    if (!w) return tt_fail_nomem(err, "a weight", sizeof *w);
    *w = (tt_weight){.kind = TT_WEIGHT_LINEAR, .n_out = u->n_out, .n_in = u->n_in};
    tt_status status = by_two(ops, u, w, err);
    if (status == TT_OK)
        *out = w;
    else
        tt_weight_free(ops, w);
    return status;
}

/* Zero where nothing is copied to. */
static void bias_in_turns(const unit *u, int64_t rows, float *bias) {
    for (int64_t i = 0; i < u->n_out; i++) {
        int64_t to = i / rows * 2 * rows + i % rows;
        bias[to] = u->bias[i];
        bias[to + rows] = u->bias[u->n_out + i];
    }
}

static tt_status make_as_one(tt_ops *ops, const unit *u, int64_t rows, tt_weight **out,
                             tt_err *err) {
    int64_t n = (u->n_out + rows - 1) / rows * rows * 2;
    tt__linear l = {.w = u->w, .n_out = n, .n_in = u->n_in, .n_gated = u->n_out};
    l.is_int8 = u->is_int8;
    float *bias = NULL;
    if (u->bias) {
        bias = tt_alloc((size_t)n * sizeof *bias);
        if (!bias) return tt_fail_nomem(err, "a bias", (size_t)n * sizeof *bias);
        bias_in_turns(u, rows, bias);
        l.bias = bias;
    }
    tt_status status = tt__weight_linear(ops, &l, out, err);
    tt_free(bias);
    return status;
}

static tt_status make(tt_ops *ops, const unit *u, tt_weight **out, tt_err *err) {
    int64_t rows = ops->backend->gated_rows ? ops->backend->gated_rows(ops, u->is_int8) : 0;
    *out = NULL;
    if (u->n_out < 1 || u->n_in < 1)
        return tt_fail(err, TT_E_INVALID, "weight [2 x %lld, %lld]: not a possible size",
                       (long long)u->n_out, (long long)u->n_in);
    return rows ? make_as_one(ops, u, rows, out, err) : make_by_two(ops, u, out, err);
}

tt_status tt_weight_gated(tt_ops *ops, const void *w, const float *bias, int64_t n_out,
                          int64_t n_in, tt_weight **out, tt_err *err) {
    size_t row_bytes = (size_t)n_in * tt_dtype_size(ops->dtype);
    return make(ops, &(unit){w, bias, n_out, n_in, false, row_bytes}, out, err);
}

tt_status tt_weight_gated_int8(tt_ops *ops, const float *w, const float *bias, int64_t n_out,
                               int64_t n_in, tt_weight **out, tt_err *err) {
    size_t row_bytes = (size_t)n_in * sizeof *w;
    return make(ops, &(unit){(const char *)w, bias, n_out, n_in, true, row_bytes}, out, err);
}
