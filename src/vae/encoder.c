/* The VAE encoder: a convolution, levels of resnets that halve the size, a middle with one attention over all
 * positions, a head that gives mean and log variance. Shapes tell the rest, as in the decoder.
 *
 * Where the size is halved, the picture is padded by one pixel below and on the right only (diffusers pads so before a
 * convolution without padding of its own). The loader pads all sides alike, so these few weights are read here. */
#include <math.h>

#include "base/alloc.h"
#include "vae/parts.h"

/* As diffusers' DiagonalGaussianDistribution. */
static const float min_log_variance = -30, max_log_variance = 20;

struct tt_vae_encoder {
    tt__vae_half half;
};

const tt__vae_half *tt__vae_encoder_half(const tt_vae_encoder *v) {
    return &v->half;
}

int64_t tt_vae_encoder_channels(const tt_vae_encoder *v) {
    return v->half.channels;
}

int tt_vae_encoder_factor(const tt_vae_encoder *v) {
    return tt__vae_half_factor(&v->half);
}

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status load_downsampler(tt_weight **slot, tt_ops *ops, tt_loader *l, const char *level,
                                  tt_err *err) {
    enum { KERNEL = 3, STRIDE = 2 };
    const tt_checkpoint *c = tt_loader_checkpoint(l);
    char name[TT_NAME_BYTES];
    tt_tensor_info info;
    if (!tt_load_has(l, level, "downsamplers.0.conv")) return TT_OK;
    tt_name(name, "%s.downsamplers.0.conv.weight", level);
    TT_TRY(tt_checkpoint_info(c, name, &info, err));
    if (info.rank != 4 || info.shape[2] != KERNEL || info.shape[3] != KERNEL)
        return tt_fail(err, TT_E_FORMAT, "tensor %s: expected a 3x3 convolution", name);
    const tt_conv_shape shape = {info.shape[0], info.shape[1], KERNEL, STRIDE, 0, 0, 1, 1};
    size_t bytes = (size_t)(shape.c_out * shape.c_in) * KERNEL * KERNEL * sizeof(float);
    tt_status status = TT_OK;
    void *weight = tt_alloc(bytes);
    float *bias = tt_alloc((size_t)shape.c_out * sizeof *bias);
    if (!weight || !bias) TT_TRY_OUT(tt_fail_nomem(err, "reading a tensor", bytes));
    TT_TRY_OUT(tt_checkpoint_read(c, name, tt_ops_dtype(ops), -1, NULL, weight, err));
    tt_name(name, "%s.downsamplers.0.conv.bias", level);
    TT_TRY_OUT(tt_checkpoint_read(c, name, TT_F32, 1, &shape.c_out, bias, err));
    TT_TRY_OUT(tt_weight_conv(ops, weight, bias, &shape, slot, err));
out:
    tt_free(weight);
    tt_free(bias);
    return status;
}

static const tt__vae_form encoder = {.what = "the VAE's encoder",
                                     .prefix = "vae.encoder",
                                     .levels = "down_blocks",
                                     .quant = "quant_conv",
                                     .load_resizer = load_downsampler};

static tt_status check_ends(tt_vae_encoder *v, tt_loader *l, tt_err *err) {
    int64_t colours, moments;
    if (!tt_load_has(l, encoder.prefix, "conv_in"))
        return tt_fail(err, TT_E_NOT_FOUND,
                       "%s has a VAE without an encoder, which pictures as input need: use a model "
                       "or a VAE file with both halves",
                       tt_checkpoint_path(tt_loader_checkpoint(l)));
    TT_TRY(tt_load_size(l, encoder.prefix, "conv_in", 1, &colours, err));
    TT_TRY(tt_load_size(l, encoder.prefix, "conv_out", 0, &moments, err));
    if (colours != TT__VAE_COLOURS || moments % 2 != 0)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "the VAE's encoder makes %lld values of %lld channels, expected an even "
                       "number of %d",
                       (long long)moments, (long long)colours, TT__VAE_COLOURS);
    v->half.channels = moments / 2;
    return TT_OK;
}

tt_status tt_vae_encoder_open(tt_loader *loader, tt_ops *ops, tt_vae_encoder **out, tt_err *err) {
    *out = NULL;
    tt_vae_encoder *v = tt_alloc(sizeof *v);
    if (!v) return tt_fail_nomem(err, "the VAE's encoder", sizeof *v);
    tt__vae_half_init(&v->half, &encoder, ops, loader);
    tt_status status = check_ends(v, loader, err);
    if (status == TT_OK) status = tt__vae_half_load(&v->half, loader, err);
    if (status == TT_OK)
        *out = v;
    else
        tt_vae_encoder_close(v);
    return status;
}

void tt_vae_encoder_close(tt_vae_encoder *v) {
    if (!v) return;
    tt__vae_half_release(&v->half);
    tt_free(v);
}

/* ---- encoding --------------------------------------------------------------------------------------- */

static tt_status through_levels(const tt__vae_half *half, tt_tensor *x, tt_err *err) {
    for (int i = 0; i < half->n_levels; i++) {
        const tt__vae_level *level = &half->levels[i];
        TT_TRY(tt__vae_resnets_run(half, level, x, err));
        if (level->resizer) TT_TRY(tt__vae_convolve(half->ops, level->resizer, 2, x, err));
    }
    return tt__vae_middle_run(half, x, err);
}

/* Rows of [mean, log variance] to the two outputs, scaled. */
static tt_status download_posterior(const tt__vae_half *half, const tt_tensor *x, float *mean,
                                    float *deviation, tt_err *err) {
    int64_t n = x->h * x->w, c = half->channels;
    if (tt_ops_is_planning(half->ops)) return TT_OK;
    float *moments = tt_alloc((size_t)(n * 2 * c) * sizeof *moments);
    if (!moments) return tt_fail_nomem(err, "the posterior", (size_t)(n * 2 * c) * sizeof *moments);
    tt_status status = tt_op_download(half->ops, x, moments, err);
    for (int64_t i = 0; i < n && status == TT_OK; i++)
        for (int64_t k = 0; k < c; k++) {
            float log_variance = moments[i * 2 * c + c + k];
            log_variance = log_variance < min_log_variance   ? min_log_variance
                           : log_variance > max_log_variance ? max_log_variance
                                                             : log_variance;
            mean[i * c + k] = (moments[i * 2 * c + k] - half->shift_factor) * half->scaling_factor;
            deviation[i * c + k] = expf(0.5f * log_variance) * half->scaling_factor;
        }
    tt_free(moments);
    return status;
}

tt_status tt__vae_encoder_check_size(const tt_vae_encoder *v, int64_t h, int64_t w, tt_err *err) {
    int factor = tt_vae_encoder_factor(v);
    if (h % factor == 0 && w % factor == 0) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "picture of %lldx%lld: this VAE takes multiples of %d",
                   (long long)w, (long long)h, factor);
}

tt_status tt_vae_encode(tt_vae_encoder *v, const float *picture, int64_t h, int64_t w, float *mean,
                        float *deviation, tt_err *err) {
    const tt__vae_half *half = &v->half;
    tt_ops *ops = half->ops;
    tt_tensor x;
    TT_TRY(tt__vae_encoder_check_size(v, h, w, err));
    TT_TRY(tt_scratch_new(ops, 1, h, w, TT__VAE_COLOURS, &x, err));
    TT_TRY(tt_op_upload(ops, picture, &x, err));
    TT_TRY(tt__vae_convolve(ops, half->conv_in, 1, &x, err));
    TT_TRY(through_levels(half, &x, err));
    TT_TRY(tt__vae_end(half, &x, err));
    if (half->quant) TT_TRY(tt__vae_convolve(ops, half->quant, 1, &x, err));
    TT_TRY(download_posterior(half, &x, mean, deviation, err));
    tt_scratch_free(ops, &x);
    return TT_OK;
}
