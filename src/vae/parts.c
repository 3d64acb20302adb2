/* The pieces that both halves of the autoencoder are built from. */
#include "vae/parts.h"

static tt_status load_resnet(tt_resnet *r, const tt__vae_half *half, tt_loader *l,
                             const char *prefix, tt_err *err) {
    return tt_resnet_load(r, l, prefix, half->groups, half->norm_eps, err);
}

tt_status tt__vae_middle_load(tt__vae_middle *m, const tt__vae_half *half, tt_loader *l,
                              tt_err *err) {
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    char name[TT_NAME_BYTES];
    for (int i = 0; i < 2; i++) {
        tt_name(name, "%s.mid_block.resnets.%d", half->prefix, i);
        TT_TRY(load_resnet(&m->resnets[i], half, l, name, err));
    }
    m->width = m->resnets[0].c_out;
    tt_name(name, "%s.mid_block.attentions.0", half->prefix);
    if (!tt_load_has(l, name, "to_q")) return TT_OK;
    TT_TRY(tt_load_norm(l, name, "group_norm", &m->norm, err));
    TT_TRY(tt_load_stacked(l, name, qkv, 3, &m->qkv, err));
    return tt_load_linear(l, name, "to_out.0", &m->out, err);
}

void tt__vae_middle_release(tt__vae_middle *m, tt_ops *ops) {
    tt_resnet_release(&m->resnets[0], ops);
    tt_resnet_release(&m->resnets[1], ops);
    tt_weight_free(ops, m->norm);
    tt_weight_free(ops, m->qkv);
    tt_weight_free(ops, m->out);
}

tt_status tt__vae_resnets_load(tt_resnet resnets[TT__VAE_MAX_RESNETS], int *n,
                               const tt__vae_half *half, tt_loader *l, const char *prefix,
                               tt_err *err) {
    char name[TT_NAME_BYTES];
    *n = tt_checkpoint_count(tt_loader_checkpoint(l),
                             tt_name(name, "%s.resnets.%%d.conv1.weight", prefix));
    if (*n < 1 || *n > TT__VAE_MAX_RESNETS)
        return tt_fail(err, TT_E_FORMAT, "%s: %d resnets, expected 1 to %d", prefix, *n,
                       TT__VAE_MAX_RESNETS);
    for (int i = 0; i < *n; i++)
        TT_TRY(load_resnet(&resnets[i], half, l, tt_name(name, "%s.resnets.%d", prefix, i), err));
    return TT_OK;
}

/* ---- running ---------------------------------------------------------------------------------------- */

tt_status tt__vae_convolve(tt_ops *ops, const tt_weight *conv, int stride, tt_tensor *x,
                           tt_err *err) {
    tt_tensor y;
    TT_TRY(tt_scratch_new(ops, x->n, x->h / stride, x->w / stride, tt_weight_rows(conv), &y, err));
    TT_TRY(tt_op_conv(ops, conv, x, NULL, &y, err));
    tt_scratch_free(ops, x);
    *x = y;
    return TT_OK;
}

/* *y = norm(x), fresh */
static tt_status norm(const tt__vae_half *half, const tt_weight *w, bool silu, const tt_tensor *x,
                      tt_tensor *y, tt_err *err) {
    const tt_group_norm args = {.groups = half->groups, .eps = half->norm_eps, .silu = silu};
    TT_TRY(tt_scratch_new(half->ops, x->n, x->h, x->w, x->c, y, err));
    return tt_op_group_norm(half->ops, w, &args, x, y, err);
}

/* *x += out(attention(norm(*x))): one head over all positions. */
static tt_status attend(const tt__vae_middle *m, const tt__vae_half *half, tt_tensor *x,
                        tt_err *err) {
    tt_ops *ops = half->ops;
    tt_tensor normed, qkv, attended, y;
    TT_TRY(norm(half, m->norm, false, x, &normed, err));
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, 3 * m->width, &qkv, err));
    TT_TRY(tt_op_linear(ops, m->qkv, &normed, NULL, &qkv, err));
    tt_scratch_free(ops, &normed);
    const tt_attention args = {.q = &qkv,
                               .k = &qkv,
                               .v = &qkv,
                               .k_offset = m->width,
                               .v_offset = 2 * m->width,
                               .heads = 1,
                               .head_dim = m->width};
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, m->width, &attended, err));
    TT_TRY(tt_op_attention(ops, &args, &attended, err));
    tt_scratch_free(ops, &qkv);
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, m->width, &y, err));
    TT_TRY(tt_op_linear(ops, m->out, &attended, &(tt_epilogue){.add = x}, &y, err));
    tt_scratch_free(ops, &attended);
    tt_scratch_free(ops, x);
    *x = y;
    return TT_OK;
}

tt_status tt__vae_middle_run(const tt__vae_middle *m, const tt__vae_half *half, tt_tensor *x,
                             tt_err *err) {
    TT_TRY(tt_resnet_replace(&m->resnets[0], half->ops, x, err));
    if (m->qkv) TT_TRY(attend(m, half, x, err));
    return tt_resnet_replace(&m->resnets[1], half->ops, x, err);
}

tt_status tt__vae_end(const tt__vae_half *half, const tt_weight *norm_out, const tt_weight *conv,
                      tt_tensor *x, tt_err *err) {
    tt_tensor normed;
    TT_TRY(norm(half, norm_out, true, x, &normed, err));
    tt_scratch_free(half->ops, x);
    *x = normed;
    return tt__vae_convolve(half->ops, conv, 1, x, err);
}
