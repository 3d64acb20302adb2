/* The VAE decoder: a convolution, a middle with one attention over all positions, levels of resnets that double
 * the size, a head. Everything that shapes tell is read from them: levels, resnets per level, widths. */
#include "vae/vae.h"

#include "base/alloc.h"
#include "vae/parts.h"

typedef struct vae_level {
    int n_resnets;
    tt_resnet resnets[TT__VAE_MAX_RESNETS];
    tt_weight *upsampler; /* NULL at the last level */
} vae_level;

struct tt_vae {
    tt__vae_half half;
    float scaling_factor, shift_factor;
    int64_t channels;      /* of the latent */
    tt_weight *post_quant; /* NULL when the file has none */
    tt_weight *conv_in, *norm_out, *conv_out;
    tt__vae_middle middle;
    int n_levels;
    vae_level levels[TT_MAX_LEVELS];
};

tt_ops *tt__vae_ops(const tt_vae *v) {
    return v->half.ops;
}

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

static tt_status load_level(vae_level *level, const tt_vae *v, tt_loader *l, int index,
                            tt_err *err) {
    char prefix[TT_NAME_BYTES];
    tt_name(prefix, "vae.decoder.up_blocks.%d", index);
    TT_TRY(tt__vae_resnets_load(level->resnets, &level->n_resnets, &v->half, l, prefix, err));
    if (!tt_load_has(l, prefix, "upsamplers.0.conv")) return TT_OK;
    return tt_load_conv(l, prefix, "upsamplers.0.conv", 1, 1, &level->upsampler, err);
}

static tt_status load_all(tt_vae *v, tt_loader *l, tt_err *err) {
    int64_t colours;
    TT_TRY(tt_load_size(l, "vae.decoder", "conv_in", 1, &v->channels, err));
    TT_TRY(tt_load_size(l, "vae.decoder", "conv_out", 0, &colours, err));
    if (colours != TT__VAE_COLOURS)
        return tt_fail(err, TT_E_UNSUPPORTED, "the VAE makes %lld channels, expected %d",
                       (long long)colours, TT__VAE_COLOURS);
    if (tt_load_has(l, "vae", "post_quant_conv"))
        TT_TRY(tt_load_conv(l, "vae", "post_quant_conv", 1, 0, &v->post_quant, err));
    TT_TRY(tt_load_conv(l, "vae.decoder", "conv_in", 1, 1, &v->conv_in, err));
    TT_TRY(tt__vae_middle_load(&v->middle, &v->half, l, err));
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
    const tt_model_facts *facts = tt_checkpoint_facts(tt_loader_checkpoint(loader));
    v->half = (tt__vae_half){ops, "vae.decoder", facts->vae.groups, facts->vae.norm_eps};
    v->scaling_factor = facts->vae.scaling_factor;
    v->shift_factor = facts->vae.shift_factor;
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
    tt_ops *ops = v->half.ops;
    for (int i = 0; i < TT_MAX_LEVELS; i++) {
        for (int j = 0; j < TT__VAE_MAX_RESNETS; j++)
            tt_resnet_release(&v->levels[i].resnets[j], ops);
        tt_weight_free(ops, v->levels[i].upsampler);
    }
    tt__vae_middle_release(&v->middle, ops);
    tt_weight_free(ops, v->post_quant);
    tt_weight_free(ops, v->conv_in);
    tt_weight_free(ops, v->norm_out);
    tt_weight_free(ops, v->conv_out);
    tt_free(v);
}

/* ---- decoding --------------------------------------------------------------------------------------- */

static tt_status upsample(tt_ops *ops, const tt_weight *conv, tt_tensor *x, tt_err *err) {
    tt_tensor large;
    TT_TRY(tt_scratch_new(ops, x->n, 2 * x->h, 2 * x->w, x->c, &large, err));
    TT_TRY(tt_op_upsample(ops, x, &large, err));
    tt_scratch_free(ops, x);
    *x = large;
    return tt__vae_convolve(ops, conv, 1, x, err);
}

/* latent / scale + shift, into scratch. */
static tt_status upload_latent(const tt_vae *v, const float *latent, int64_t h, int64_t w,
                               tt_tensor *x, tt_err *err) {
    int64_t count = h * w * v->channels;
    float *unscaled = tt_alloc((size_t)count * sizeof *unscaled);
    if (!unscaled) return tt_fail_nomem(err, "the latent", (size_t)count * sizeof *unscaled);
    for (int64_t i = 0; i < count; i++)
        unscaled[i] = latent[i] / v->scaling_factor + v->shift_factor;
    tt_status status = tt_scratch_new(v->half.ops, 1, h, w, v->channels, x, err);
    if (status == TT_OK) status = tt_op_upload(v->half.ops, unscaled, x, err);
    tt_free(unscaled);
    return status;
}

static tt_status through_resnets(const tt_vae *v, const vae_level *level, tt_tensor *x,
                                 tt_err *err) {
    for (int j = 0; j < level->n_resnets; j++)
        TT_TRY(tt_resnet_replace(&level->resnets[j], v->half.ops, x, err));
    return TT_OK;
}

/* What happens at the latents' own size: little memory, but one attention over everything. */
static tt_status decode_head(const tt_vae *v, const float *latent, int64_t h, int64_t w,
                             tt_tensor *x, tt_err *err) {
    tt_ops *ops = v->half.ops;
    TT_TRY(upload_latent(v, latent, h, w, x, err));
    if (v->post_quant) TT_TRY(tt__vae_convolve(ops, v->post_quant, 1, x, err));
    TT_TRY(tt__vae_convolve(ops, v->conv_in, 1, x, err));
    TT_TRY(tt__vae_middle_run(&v->middle, &v->half, x, err));
    return through_resnets(v, &v->levels[0], x, err);
}

/* From there to the picture, on the host. */
static tt_status decode_tail(const tt_vae *v, tt_tensor *x, float *picture, tt_err *err) {
    tt_ops *ops = v->half.ops;
    for (int i = 0; i < v->n_levels; i++) {
        if (i > 0) TT_TRY(through_resnets(v, &v->levels[i], x, err));
        if (v->levels[i].upsampler) TT_TRY(upsample(ops, v->levels[i].upsampler, x, err));
    }
    TT_TRY(tt__vae_end(&v->half, v->norm_out, v->conv_out, x, err));
    TT_TRY(tt_op_download(ops, x, picture, err));
    tt_scratch_free(ops, x);
    return TT_OK;
}

tt_status tt_vae_decode(tt_vae *v, const float *latent, int64_t h, int64_t w, float *picture,
                        tt_err *err) {
    tt_tensor x;
    TT_TRY(decode_head(v, latent, h, w, &x, err));
    return decode_tail(v, &x, picture, err);
}

/* ---- the same in two parts, for tiles ---- */

int64_t tt__vae_hidden_channels(const tt_vae *v) {
    return v->levels[0].resnets[v->levels[0].n_resnets - 1].c_out;
}

tt_status tt__vae_decode_head(tt_vae *v, const float *latent, int64_t h, int64_t w, float *hidden,
                              tt_err *err) {
    tt_tensor x;
    TT_TRY(decode_head(v, latent, h, w, &x, err));
    TT_TRY(tt_op_download(v->half.ops, &x, hidden, err));
    tt_scratch_free(v->half.ops, &x);
    return TT_OK;
}

tt_status tt__vae_decode_tail(tt_vae *v, const float *hidden, int64_t h, int64_t w, float *picture,
                              tt_err *err) {
    tt_tensor x;
    TT_TRY(tt_scratch_new(v->half.ops, 1, h, w, tt__vae_hidden_channels(v), &x, err));
    TT_TRY(tt_op_upload(v->half.ops, hidden, &x, err));
    return decode_tail(v, &x, picture, err);
}
