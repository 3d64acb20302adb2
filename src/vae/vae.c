/* The VAE decoder: a convolution, a middle with one attention over all positions, levels of resnets that double
 * the size, a head. Everything that shapes tell is read from them: levels, resnets per level, widths. */
#include "vae/vae.h"

#include <string.h>

#include "base/alloc.h"
#include "nn/resnet.h"

enum { MAX_RESNETS = 8, PICTURE_CHANNELS = 3 };

typedef struct vae_level {
    int n_resnets;
    tt_resnet resnets[MAX_RESNETS];
    tt_weight *upsampler; /* NULL at the last level */
} vae_level;

struct tt_vae {
    tt_ops *ops;
    tt_model_facts facts;
    int64_t channels, width; /* of the latent, and of the middle */
    tt_weight *post_quant;   /* NULL when the file has none */
    tt_weight *conv_in, *norm_out, *conv_out;
    tt_resnet middle[2];
    tt_weight *attention_norm, *qkv, *attention_out; /* NULL when the middle has no attention */
    int n_levels;
    vae_level levels[TT_MAX_LEVELS];
};

int64_t tt_vae_latent_channels(const tt_vae *v) {
    return v->channels;
}

int tt_vae_factor(const tt_vae *v) {
    int factor = 1;
    for (int i = 0; i < v->n_levels; i++)
        if (v->levels[i].upsampler) factor *= 2;
    return factor;
}

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status load_resnet(tt_resnet *r, const tt_vae *v, tt_loader *l, const char *prefix,
                             tt_err *err) {
    return tt_resnet_load(r, l, prefix, v->facts.vae.groups, v->facts.vae.norm_eps, err);
}

static tt_status load_middle(tt_vae *v, tt_loader *l, tt_err *err) {
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    const char *attention = "vae.decoder.mid_block.attentions.0";
    TT_TRY(load_resnet(&v->middle[0], v, l, "vae.decoder.mid_block.resnets.0", err));
    TT_TRY(load_resnet(&v->middle[1], v, l, "vae.decoder.mid_block.resnets.1", err));
    v->width = v->middle[0].c_out;
    if (!tt_load_has(l, attention, "to_q")) return TT_OK;
    TT_TRY(tt_load_norm(l, attention, "group_norm", &v->attention_norm, err));
    TT_TRY(tt_load_stacked(l, attention, qkv, 3, &v->qkv, err));
    return tt_load_linear(l, attention, "to_out.0", &v->attention_out, err);
}

static tt_status load_level(vae_level *level, const tt_vae *v, tt_loader *l, int index,
                            tt_err *err) {
    char prefix[TT_NAME_BYTES], name[TT_NAME_BYTES];
    tt_name(prefix, "vae.decoder.up_blocks.%d", index);
    level->n_resnets = tt_checkpoint_count(tt_loader_checkpoint(l),
                                           tt_name(name, "%s.resnets.%%d.conv1.weight", prefix));
    if (level->n_resnets < 1 || level->n_resnets > MAX_RESNETS)
        return tt_fail(err, TT_E_FORMAT, "%s: %d resnets, expected 1 to %d", prefix,
                       level->n_resnets, MAX_RESNETS);
    for (int i = 0; i < level->n_resnets; i++)
        TT_TRY(
            load_resnet(&level->resnets[i], v, l, tt_name(name, "%s.resnets.%d", prefix, i), err));
    if (!tt_load_has(l, prefix, "upsamplers.0.conv")) return TT_OK;
    return tt_load_conv(l, prefix, "upsamplers.0.conv", 1, 1, &level->upsampler, err);
}

static tt_status load_all(tt_vae *v, tt_loader *l, tt_err *err) {
    int64_t colours;
    TT_TRY(tt_load_size(l, "vae.decoder", "conv_in", 1, &v->channels, err));
    TT_TRY(tt_load_size(l, "vae.decoder", "conv_out", 0, &colours, err));
    if (colours != PICTURE_CHANNELS)
        return tt_fail(err, TT_E_UNSUPPORTED, "the VAE makes %lld channels, expected %d",
                       (long long)colours, PICTURE_CHANNELS);
    if (tt_load_has(l, "vae", "post_quant_conv"))
        TT_TRY(tt_load_conv(l, "vae", "post_quant_conv", 1, 0, &v->post_quant, err));
    TT_TRY(tt_load_conv(l, "vae.decoder", "conv_in", 1, 1, &v->conv_in, err));
    TT_TRY(load_middle(v, l, err));
    v->n_levels = tt_checkpoint_count(tt_loader_checkpoint(l),
                                      "vae.decoder.up_blocks.%d.resnets.0.conv1.weight");
    if (v->n_levels < 1 || v->n_levels > TT_MAX_LEVELS)
        return tt_fail(err, TT_E_FORMAT, "the VAE has %d levels, expected 1 to %d", v->n_levels,
                       TT_MAX_LEVELS);
    for (int i = 0; i < v->n_levels; i++) TT_TRY(load_level(&v->levels[i], v, l, i, err));
    TT_TRY(tt_load_norm(l, "vae.decoder", "conv_norm_out", &v->norm_out, err));
    return tt_load_conv(l, "vae.decoder", "conv_out", 1, 1, &v->conv_out, err);
}

tt_status tt_vae_open(tt_loader *loader, tt_ops *ops, tt_vae **out, tt_err *err) {
    *out = NULL;
    tt_vae *v = tt_alloc(sizeof *v);
    if (!v) return tt_fail_nomem(err, "the VAE", sizeof *v);
    v->ops = ops;
    v->facts = *tt_checkpoint_facts(tt_loader_checkpoint(loader));
    tt_loader_use(loader, ops);
    tt_status status = load_all(v, loader, err);
    if (status == TT_OK)
        *out = v;
    else
        tt_vae_close(v);
    return status;
}

void tt_vae_close(tt_vae *v) {
    if (!v) return;
    for (int i = 0; i < TT_MAX_LEVELS; i++) {
        for (int j = 0; j < MAX_RESNETS; j++) tt_resnet_release(&v->levels[i].resnets[j], v->ops);
        tt_weight_free(v->ops, v->levels[i].upsampler);
    }
    tt_resnet_release(&v->middle[0], v->ops);
    tt_resnet_release(&v->middle[1], v->ops);
    tt_weight *const weights[] = {v->post_quant,     v->conv_in, v->norm_out,     v->conv_out,
                                  v->attention_norm, v->qkv,     v->attention_out};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        tt_weight_free(v->ops, weights[i]);
    tt_free(v);
}

/* ---- decoding --------------------------------------------------------------------------------------- */

/* *x = conv(*x), at the same size. */
static tt_status convolve(tt_ops *ops, const tt_weight *conv, tt_tensor *x, tt_err *err) {
    tt_tensor y;
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, tt_weight_rows(conv), &y, err));
    TT_TRY(tt_op_conv(ops, conv, x, NULL, &y, err));
    tt_scratch_free(ops, x);
    *x = y;
    return TT_OK;
}

/* *y = norm(x), fresh */
static tt_status norm(const tt_vae *v, const tt_weight *w, bool silu, const tt_tensor *x,
                      tt_tensor *y, tt_err *err) {
    const tt_group_norm args = {
        .groups = v->facts.vae.groups, .eps = v->facts.vae.norm_eps, .silu = silu};
    TT_TRY(tt_scratch_new(v->ops, x->n, x->h, x->w, x->c, y, err));
    return tt_op_group_norm(v->ops, w, &args, x, y, err);
}

/* *x += out(attention(norm(*x))): one head over all positions. */
static tt_status attend(const tt_vae *v, tt_tensor *x, tt_err *err) {
    tt_tensor normed, qkv, attended, y;
    TT_TRY(norm(v, v->attention_norm, false, x, &normed, err));
    TT_TRY(tt_scratch_new(v->ops, x->n, x->h, x->w, 3 * v->width, &qkv, err));
    TT_TRY(tt_op_linear(v->ops, v->qkv, &normed, NULL, &qkv, err));
    tt_scratch_free(v->ops, &normed);
    const tt_attention args = {.q = &qkv,
                               .k = &qkv,
                               .v = &qkv,
                               .k_offset = v->width,
                               .v_offset = 2 * v->width,
                               .heads = 1,
                               .head_dim = v->width};
    TT_TRY(tt_scratch_new(v->ops, x->n, x->h, x->w, v->width, &attended, err));
    TT_TRY(tt_op_attention(v->ops, &args, &attended, err));
    tt_scratch_free(v->ops, &qkv);
    TT_TRY(tt_scratch_new(v->ops, x->n, x->h, x->w, v->width, &y, err));
    TT_TRY(tt_op_linear(v->ops, v->attention_out, &attended, &(tt_epilogue){.add = x}, &y, err));
    tt_scratch_free(v->ops, &attended);
    tt_scratch_free(v->ops, x);
    *x = y;
    return TT_OK;
}

static tt_status upsample(const tt_vae *v, const tt_weight *conv, tt_tensor *x, tt_err *err) {
    tt_tensor large;
    TT_TRY(tt_scratch_new(v->ops, x->n, 2 * x->h, 2 * x->w, x->c, &large, err));
    TT_TRY(tt_op_upsample(v->ops, x, &large, err));
    tt_scratch_free(v->ops, x);
    *x = large;
    return convolve(v->ops, conv, x, err);
}

static tt_status through_levels(const tt_vae *v, tt_tensor *x, tt_err *err) {
    TT_TRY(tt_resnet_replace(&v->middle[0], v->ops, x, err));
    if (v->qkv) TT_TRY(attend(v, x, err));
    TT_TRY(tt_resnet_replace(&v->middle[1], v->ops, x, err));
    for (int i = 0; i < v->n_levels; i++) {
        const vae_level *level = &v->levels[i];
        for (int j = 0; j < level->n_resnets; j++)
            TT_TRY(tt_resnet_replace(&level->resnets[j], v->ops, x, err));
        if (level->upsampler) TT_TRY(upsample(v, level->upsampler, x, err));
    }
    return TT_OK;
}

/* latent / scale + shift, into scratch. */
static tt_status upload_latent(const tt_vae *v, const float *latent, int64_t h, int64_t w,
                               tt_tensor *x, tt_err *err) {
    int64_t count = h * w * v->channels;
    float *unscaled = tt_alloc((size_t)count * sizeof *unscaled);
    if (!unscaled) return tt_fail_nomem(err, "the latent", (size_t)count * sizeof *unscaled);
    for (int64_t i = 0; i < count; i++)
        unscaled[i] = latent[i] / v->facts.vae.scaling_factor + v->facts.vae.shift_factor;
    tt_status status = tt_scratch_new(v->ops, 1, h, w, v->channels, x, err);
    if (status == TT_OK) status = tt_op_upload(v->ops, unscaled, x, err);
    tt_free(unscaled);
    return status;
}

tt_status tt_vae_decode(tt_vae *v, const float *latent, int64_t h, int64_t w, float *picture,
                        tt_err *err) {
    tt_tensor x, normed;
    TT_TRY(upload_latent(v, latent, h, w, &x, err));
    if (v->post_quant) TT_TRY(convolve(v->ops, v->post_quant, &x, err));
    TT_TRY(convolve(v->ops, v->conv_in, &x, err));
    TT_TRY(through_levels(v, &x, err));
    TT_TRY(norm(v, v->norm_out, true, &x, &normed, err));
    tt_scratch_free(v->ops, &x);
    TT_TRY(convolve(v->ops, v->conv_out, &normed, err));
    TT_TRY(tt_op_download(v->ops, &normed, picture, err));
    tt_scratch_free(v->ops, &normed);
    return TT_OK;
}
