/* See resnet.h. The time term is added where norm2 reads, so it costs no pass over memory. */
#include "nn/resnet.h"

tt_status tt_resnet_load(tt_resnet *r, tt_loader *l, const char *prefix, int64_t groups, float eps,
                         tt_err *err) {
    r->groups = groups;
    r->eps = eps;
    TT_TRY(tt_load_size(l, prefix, "conv1", 1, &r->c_in, err));
    TT_TRY(tt_load_size(l, prefix, "conv1", 0, &r->c_out, err));
    TT_TRY(tt_load_norm(l, prefix, "norm1", &r->norm1, err));
    TT_TRY(tt_load_conv(l, prefix, "conv1", 1, 1, &r->conv1, err));
    TT_TRY(tt_load_norm(l, prefix, "norm2", &r->norm2, err));
    TT_TRY(tt_load_conv(l, prefix, "conv2", 1, 1, &r->conv2, err));
    if (r->c_in == r->c_out && !tt_load_has(l, prefix, "conv_shortcut")) return TT_OK;
    bool may = tt_loader_int8(l, false); /* everything goes through it, and it is small */
    tt_status status = tt_load_conv(l, prefix, "conv_shortcut", 1, 0, &r->shortcut, err);
    tt_loader_int8(l, may);
    return status;
}

void tt_resnet_release(tt_resnet *r, tt_ops *ops) {
    tt_weight_free(ops, r->norm1);
    tt_weight_free(ops, r->conv1);
    tt_weight_free(ops, r->norm2);
    tt_weight_free(ops, r->conv2);
    tt_weight_free(ops, r->shortcut);
    *r = (tt_resnet){0};
}

static tt_status normed_of(tt_ops *ops, const tt_weight *norm, const tt_group_norm *args,
                           const tt_tensor *x, tt_tensor *normed, tt_err *err) {
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, x->c, normed, err));
    return tt_op_group_norm(ops, norm, args, x, normed, err);
}

/* *y = residual + the block's branch of x; residual may be y. Where x is `spent`, it goes when it was read for the last time: at
 * the end of a decoder, where it is the largest tensor of all. */
static tt_status run_branch(const tt_resnet *r, tt_ops *ops, const tt_tensor *x, tt_tensor *spent,
                            const tt_group_norm *second, const tt_tensor *residual, tt_tensor *y,
                            tt_err *err) {
    const tt_group_norm first = {.groups = r->groups, .eps = r->eps, .silu = true};
    tt_tensor hidden, normed;
    TT_TRY(normed_of(ops, r->norm1, &first, x, &normed, err));
    if (spent) tt_scratch_free(ops, spent);
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, r->c_out, &hidden, err));
    TT_TRY(tt_op_conv(ops, r->conv1, &normed, NULL, &hidden, err));
    tt_scratch_free(ops, &normed);
    TT_TRY(normed_of(ops, r->norm2, second, &hidden, &normed, err));
    TT_TRY(tt_op_conv(ops, r->conv2, &normed, &(tt_epilogue){.add = residual}, y, err));
    tt_scratch_free(ops, &normed);
    tt_scratch_free(ops, &hidden);
    return TT_OK;
}

static tt_group_norm second_norm(const tt_resnet *r, const tt_tensor *time, int64_t time_offset) {
    return (tt_group_norm){
        .groups = r->groups, .eps = r->eps, .silu = true, .add = time, .add_offset = time_offset};
}

tt_status tt_resnet_run(const tt_resnet *r, tt_ops *ops, const tt_tensor *x, const tt_tensor *time,
                        int64_t time_offset, tt_tensor *y, tt_err *err) {
    const tt_group_norm second = second_norm(r, time, time_offset);
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, r->c_out, y, err));
    if (!r->shortcut) return run_branch(r, ops, x, NULL, &second, x, y, err);
    TT_TRY(tt_op_conv(ops, r->shortcut, x, NULL, y, err));
    return run_branch(r, ops, x, NULL, &second, y, y, err);
}

tt_status tt_resnet_replace(const tt_resnet *r, tt_ops *ops, tt_tensor *x, tt_err *err) {
    const tt_group_norm second = second_norm(r, NULL, 0);
    if (!r->shortcut) return run_branch(r, ops, x, NULL, &second, x, x, err);
    tt_tensor y;
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, r->c_out, &y, err));
    TT_TRY(tt_op_conv(ops, r->shortcut, x, NULL, &y, err));
    TT_TRY(run_branch(r, ops, x, x, &second, &y, &y, err));
    *x = y;
    return TT_OK;
}
