/* Weights of gated units (tt_op_gated).
 *
 * Where the back-end can, a unit is one product: its weights take turns, a few rows of values and the rows of their gates, so that
 * both sums of an output are ready in the same moment. Inputs are read once, and the gates never exist in memory. Rows that fill up
 * the last turn are zero. */
#include <string.h>

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
    const char *gates = u->w + (size_t)u->n_out * u->row_bytes;
    const float *gate_bias = u->bias ? u->bias + u->n_out : NULL;
    TT_TRY(tt__weight_linear(ops, u->w, u->bias, u->n_out, u->n_in, u->is_int8, &w->parts[0], err));
    return tt__weight_linear(ops, gates, gate_bias, u->n_out, u->n_in, u->is_int8, &w->parts[1],
                             err);
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

/* Both are zero where nothing is copied to: [2][turns * rows]. */
static void take_turns(const unit *u, int64_t rows, char *w, float *bias) {
    for (int64_t i = 0; i < u->n_out; i += rows) {
        int64_t n = u->n_out - i < rows ? u->n_out - i : rows;
        for (int64_t gate = 0; gate < 2; gate++) {
            int64_t from = gate * u->n_out + i, to = 2 * i + gate * rows;
            memcpy(w + (size_t)to * u->row_bytes, u->w + (size_t)from * u->row_bytes,
                   (size_t)n * u->row_bytes);
            if (u->bias) memcpy(bias + to, u->bias + from, (size_t)n * sizeof *bias);
        }
    }
}

static tt_status make_as_one(tt_ops *ops, const unit *u, int64_t rows, tt_weight **out,
                             tt_err *err) {
    int64_t n = (u->n_out + rows - 1) / rows * rows * 2;
    size_t bytes = 0;
    if (!tt_mul_size((size_t)n, u->row_bytes, &bytes))
        return tt_fail_nomem(err, "a weight", SIZE_MAX);
    char *w = tt_alloc(bytes);
    float *bias = tt_alloc((size_t)n * sizeof *bias);
    tt_status status = w && bias ? TT_OK : tt_fail_nomem(err, "a weight", bytes);
    if (status == TT_OK) {
        take_turns(u, rows, w, bias);
        status = tt__weight_linear(ops, w, u->bias ? bias : NULL, n, u->n_in, u->is_int8, out, err);
    }
    if (status == TT_OK) (*out)->n_gated = u->n_out;
    tt_free(w);
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
