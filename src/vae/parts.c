/* What both halves of the autoencoder are built from: their pieces are the same, loaded, sized and freed alike; vae.c and
 * encoder.c only walk them. Shapes and names tell everything: levels, resnets per level, widths. */
#include "vae/parts.h"

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status load_resnet(tt_resnet *r, const tt__vae_half *half, tt_loader *l,
                             const char *prefix, tt_err *err) {
    return tt_resnet_load(r, l, prefix, half->groups, half->norm_eps, err);
}

static tt_status load_middle(tt__vae_half *half, tt_loader *l, tt_err *err) {
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    tt__vae_middle *m = &half->middle;
    char name[TT_NAME_BYTES];
    for (int i = 0; i < 2; i++) {
        tt_name(name, "%s.mid_block.resnets.%d", half->form->prefix, i);
        TT_TRY(load_resnet(&m->resnets[i], half, l, name, err));
    }
    m->width = m->resnets[0].c_out;
    tt_name(name, "%s.mid_block.attentions.0", half->form->prefix);
    if (!tt_load_has(l, name, "to_q")) return TT_OK;
    TT_TRY(tt_load_norm(l, name, "group_norm", &m->norm, err));
    TT_TRY(tt_load_stacked(l, name, qkv, 3, &m->qkv, err));
    return tt_load_linear(l, name, "to_out.0", &m->out, err);
}

static tt_status load_level(tt__vae_half *half, tt_loader *l, int index, tt_err *err) {
    tt__vae_level *level = &half->levels[index];
    char prefix[TT_NAME_BYTES], name[TT_NAME_BYTES];
    tt_name(prefix, "%s.%s.%d", half->form->prefix, half->form->levels, index);
    int n = tt_checkpoint_count(tt_loader_checkpoint(l),
                                tt_name(name, "%.200s.resnets.%%d.conv1.weight", prefix));
    if (n < 1 || n > TT__VAE_MAX_RESNETS)
        return tt_fail(err, TT_E_FORMAT, "%s: %d resnets, expected 1 to %d", prefix, n,
                       TT__VAE_MAX_RESNETS);
    level->n_resnets = n;
    for (int i = 0; i < n; i++)
        TT_TRY(load_resnet(&level->resnets[i], half, l,
                           tt_name(name, "%.200s.resnets.%d", prefix, i), err));
    return half->form->load_resizer(&level->resizer, half->ops, l, prefix, err);
}

static tt_status load_levels(tt__vae_half *half, tt_loader *l, tt_err *err) {
    char pattern[TT_NAME_BYTES];
    tt_name(pattern, "%s.%s.%%d.resnets.0.conv1.weight", half->form->prefix, half->form->levels);
    half->n_levels = tt_checkpoint_count(tt_loader_checkpoint(l), pattern);
    if (half->n_levels < 1 || half->n_levels > TT_MAX_LEVELS)
        return tt_fail(err, TT_E_FORMAT, "%s has %d levels, expected 1 to %d", half->form->what,
                       half->n_levels, TT_MAX_LEVELS);
    for (int i = 0; i < half->n_levels; i++) TT_TRY(load_level(half, l, i, err));
    return TT_OK;
}

void tt__vae_half_init(tt__vae_half *half, const tt__vae_form *form, tt_ops *ops, tt_loader *l) {
    const tt_model_facts *facts = tt_checkpoint_facts(tt_loader_checkpoint(l));
    *half = (tt__vae_half){.ops = ops,
                           .form = form,
                           .groups = facts->vae.groups,
                           .norm_eps = facts->vae.norm_eps,
                           .scaling_factor = facts->vae.scaling_factor,
                           .shift_factor = facts->vae.shift_factor};
    tt_loader_use(l, ops);
}

tt_status tt__vae_half_load(tt__vae_half *half, tt_loader *l, tt_err *err) {
    const char *prefix = half->form->prefix;
    TT_TRY(tt_load_conv(l, prefix, "conv_in", 1, 1, &half->conv_in, err));
    TT_TRY(load_levels(half, l, err));
    TT_TRY(load_middle(half, l, err));
    TT_TRY(tt_load_norm(l, prefix, "conv_norm_out", &half->norm_out, err));
    TT_TRY(tt_load_conv(l, prefix, "conv_out", 1, 1, &half->conv_out, err));
    if (!tt_load_has(l, "vae", half->form->quant)) return TT_OK;
    return tt_load_conv(l, "vae", half->form->quant, 1, 0, &half->quant, err);
}

static void release_middle(tt__vae_middle *m, tt_ops *ops) {
    tt_resnet_release(&m->resnets[0], ops);
    tt_resnet_release(&m->resnets[1], ops);
    tt_weight_free(ops, m->norm);
    tt_weight_free(ops, m->qkv);
    tt_weight_free(ops, m->out);
}

void tt__vae_half_release(tt__vae_half *half) {
    tt_ops *ops = half->ops;
    for (int i = 0; i < TT_MAX_LEVELS; i++) {
        for (int j = 0; j < TT__VAE_MAX_RESNETS; j++)
            tt_resnet_release(&half->levels[i].resnets[j], ops);
        tt_weight_free(ops, half->levels[i].resizer);
    }
    release_middle(&half->middle, ops);
    tt_weight_free(ops, half->quant);
    tt_weight_free(ops, half->conv_in);
    tt_weight_free(ops, half->norm_out);
    tt_weight_free(ops, half->conv_out);
}

int tt__vae_half_factor(const tt__vae_half *half) {
    int factor = 1;
    for (int i = 0; i < half->n_levels; i++)
        if (half->levels[i].resizer) factor *= 2;
    return factor;
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
static tt_status attend(const tt__vae_half *half, tt_tensor *x, tt_err *err) {
    const tt__vae_middle *m = &half->middle;
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

tt_status tt__vae_middle_run(const tt__vae_half *half, tt_tensor *x, tt_err *err) {
    const tt__vae_middle *m = &half->middle;
    TT_TRY(tt_resnet_replace(&m->resnets[0], half->ops, x, err));
    if (m->qkv) TT_TRY(attend(half, x, err));
    return tt_resnet_replace(&m->resnets[1], half->ops, x, err);
}

tt_status tt__vae_resnets_run(const tt__vae_half *half, const tt__vae_level *level, tt_tensor *x,
                              tt_err *err) {
    for (int i = 0; i < level->n_resnets; i++)
        TT_TRY(tt_resnet_replace(&level->resnets[i], half->ops, x, err));
    return TT_OK;
}

tt_status tt__vae_end(const tt__vae_half *half, tt_tensor *x, tt_err *err) {
    tt_tensor normed;
    TT_TRY(norm(half, half->norm_out, true, x, &normed, err));
    tt_scratch_free(half->ops, x);
    *x = normed;
    return tt__vae_convolve(half->ops, half->conv_out, 1, x, err);
}
