/* The VAE decoder: a convolution, a middle with one attention over all positions, levels of resnets that double
 * the size, a head. */
#include "vae/vae.h"

#include "base/alloc.h"
#include "vae/parts.h"

struct tt_vae {
    tt__vae_half half;
};

const tt__vae_half *tt__vae_decoder_half(const tt_vae *v) {
    return &v->half;
}

int64_t tt_vae_latent_channels(const tt_vae *v) {
    return v->half.channels;
}

int tt_vae_factor(const tt_vae *v) {
    return tt__vae_half_factor(&v->half);
}

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status load_upsampler(tt_weight **slot, tt_ops *ops, tt_loader *l, const char *level,
                                tt_err *err) {
    (void)ops;
    if (!tt_load_has(l, level, "upsamplers.0.conv")) return TT_OK;
    return tt_load_upsample_conv(l, level, "upsamplers.0.conv", slot, err);
}

static const tt__vae_form decoder = {.what = "the VAE",
                                     .prefix = "vae.decoder",
                                     .levels = "up_blocks",
                                     .quant = "post_quant_conv",
                                     .load_resizer = load_upsampler};

static tt_status check_ends(tt_vae *v, tt_loader *l, tt_err *err) {
    int64_t colours;
    TT_TRY(tt_load_size(l, decoder.prefix, "conv_in", 1, &v->half.channels, err));
    TT_TRY(tt_load_size(l, decoder.prefix, "conv_out", 0, &colours, err));
    if (colours == TT__VAE_COLOURS) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED, "the VAE makes %lld channels, expected %d",
                   (long long)colours, TT__VAE_COLOURS);
}

tt_status tt_vae_open(tt_loader *loader, tt_ops *ops, tt_vae **out, tt_err *err) {
    *out = NULL;
    tt_vae *v = tt_alloc(sizeof *v);
    if (!v) return tt_fail_nomem(err, "the VAE", sizeof *v);
    tt__vae_half_init(&v->half, &decoder, ops, loader);
    tt_status status = check_ends(v, loader, err);
    if (status == TT_OK) status = tt__vae_half_load(&v->half, loader, err);
    if (status == TT_OK) status = tt_loader_check_all(loader, "vae.decoder.", err);
    if (status == TT_OK) status = tt_loader_check_all(loader, "vae.post_quant_conv.", err);
    if (status == TT_OK)
        *out = v;
    else
        tt_vae_close(v);
    return status;
}

void tt_vae_close(tt_vae *v) {
    if (!v) return;
    tt__vae_half_release(&v->half);
    tt_free(v);
}

/* ---- decoding --------------------------------------------------------------------------------------- */

static tt_status upsample(tt_ops *ops, const tt_weight *conv, tt_tensor *x, tt_err *err) {
    tt_tensor y;
    TT_TRY(tt_scratch_new(ops, x->n, 2 * x->h, 2 * x->w, tt_weight_rows(conv), &y, err));
    TT_TRY(tt_op_upsample_conv(ops, conv, x, &y, err));
    tt_scratch_free(ops, x);
    *x = y;
    return TT_OK;
}

/* latent / scale + shift, into scratch. */
static tt_status upload_latent(const tt__vae_half *half, const float *latent, int64_t h, int64_t w,
                               tt_tensor *x, tt_err *err) {
    int64_t count = h * w * half->channels;
    float *unscaled = tt_alloc((size_t)count * sizeof *unscaled);
    if (!unscaled) return tt_fail_nomem(err, "the latent", (size_t)count * sizeof *unscaled);
    for (int64_t i = 0; i < count; i++)
        unscaled[i] = latent[i] / half->scaling_factor + half->shift_factor;
    tt_status status = tt_scratch_new(half->ops, 1, h, w, half->channels, x, err);
    if (status == TT_OK) status = tt_op_upload(half->ops, unscaled, x, err);
    tt_free(unscaled);
    return status;
}

/* What happens at the latents' own size: little memory, but one attention over everything. */
static tt_status decode_head(const tt__vae_half *half, const float *latent, int64_t h, int64_t w,
                             tt_tensor *x, tt_err *err) {
    TT_TRY(upload_latent(half, latent, h, w, x, err));
    if (half->quant) TT_TRY(tt__vae_convolve(half->ops, half->quant, 1, x, err));
    TT_TRY(tt__vae_convolve(half->ops, half->conv_in, 1, x, err));
    TT_TRY(tt__vae_middle_run(half, x, err));
    return tt__vae_resnets_run(half, &half->levels[0], x, err);
}

/* From there to the picture, on the host. */
static tt_status decode_tail(const tt__vae_half *half, tt_tensor *x, float *picture, tt_err *err) {
    for (int i = 0; i < half->n_levels; i++) {
        const tt__vae_level *level = &half->levels[i];
        if (i > 0) TT_TRY(tt__vae_resnets_run(half, level, x, err));
        if (level->resizer) TT_TRY(upsample(half->ops, level->resizer, x, err));
    }
    TT_TRY(tt__vae_end(half, x, err));
    TT_TRY(tt_op_download(half->ops, x, picture, err));
    tt_scratch_free(half->ops, x);
    return TT_OK;
}

tt_status tt_vae_decode(tt_vae *v, const float *latent, int64_t h, int64_t w, float *picture,
                        tt_err *err) {
    tt_tensor x;
    TT_TRY(decode_head(&v->half, latent, h, w, &x, err));
    return decode_tail(&v->half, &x, picture, err);
}

/* ---- the same in two parts, for tiles ---- */

int64_t tt__vae_hidden_channels(const tt_vae *v) {
    const tt__vae_level *first = &v->half.levels[0];
    return first->resnets[first->n_resnets - 1].c_out;
}

tt_status tt__vae_decode_head(tt_vae *v, const float *latent, int64_t h, int64_t w, float *hidden,
                              tt_err *err) {
    tt_tensor x;
    TT_TRY(decode_head(&v->half, latent, h, w, &x, err));
    TT_TRY(tt_op_download(v->half.ops, &x, hidden, err));
    tt_scratch_free(v->half.ops, &x);
    return TT_OK;
}

tt_status tt__vae_decode_tail(tt_vae *v, const float *hidden, int64_t h, int64_t w, float *picture,
                              tt_err *err) {
    tt_tensor x;
    TT_TRY(tt_scratch_new(v->half.ops, 1, h, w, tt__vae_hidden_channels(v), &x, err));
    TT_TRY(tt_op_upload(v->half.ops, hidden, &x, err));
    return decode_tail(&v->half, &x, picture, err);
}
