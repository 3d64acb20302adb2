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

typedef struct encoder_level {
    int n_resnets;
    tt_resnet resnets[TT__VAE_MAX_RESNETS];
    tt_weight *downsampler; /* NULL at the last level */
} encoder_level;

struct tt_vae_encoder {
    tt__vae_half half;
    float scaling_factor, shift_factor;
    int64_t channels;
    tt_weight *quant; /* NULL when the file has none */
    tt_weight *conv_in, *norm_out, *conv_out;
    tt__vae_middle middle;
    int n_levels;
    encoder_level levels[TT_MAX_LEVELS];
};

tt_ops *tt__vae_encoder_ops(const tt_vae_encoder *v) {
    return v->half.ops;
}

int64_t tt_vae_encoder_channels(const tt_vae_encoder *v) {
    return v->channels;
}

int tt_vae_encoder_factor(const tt_vae_encoder *v) {
    int factor = 1;
    for (int i = 0; i < v->n_levels; i++)
        if (v->levels[i].downsampler) factor *= 2;
    return factor;
}

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status read_downsampler(tt_weight **slot, const tt_vae_encoder *v, tt_loader *l,
                                  const char *prefix, tt_err *err) {
    enum { KERNEL = 3, STRIDE = 2 };
    const tt_checkpoint *c = tt_loader_checkpoint(l);
    char name[TT_NAME_BYTES];
    tt_tensor_info info;
    tt_name(name, "%s.downsamplers.0.conv.weight", prefix);
    TT_TRY(tt_checkpoint_info(c, name, &info, err));
    if (info.rank != 4 || info.shape[2] != KERNEL || info.shape[3] != KERNEL)
        return tt_fail(err, TT_E_FORMAT, "tensor %s: expected a 3x3 convolution", name);
    const tt_conv_shape shape = {info.shape[0], info.shape[1], KERNEL, STRIDE, 0, 0, 1, 1};
    size_t bytes = (size_t)(shape.c_out * shape.c_in) * KERNEL * KERNEL * sizeof(float);
    tt_status status = TT_OK;
    void *weight = tt_alloc(bytes);
    float *bias = tt_alloc((size_t)shape.c_out * sizeof *bias);
    if (!weight || !bias) TT_TRY_OUT(tt_fail_nomem(err, "reading a tensor", bytes));
    TT_TRY_OUT(tt_checkpoint_read(c, name, tt_ops_dtype(v->half.ops), -1, NULL, weight, err));
    tt_name(name, "%s.downsamplers.0.conv.bias", prefix);
    TT_TRY_OUT(tt_checkpoint_read(c, name, TT_F32, 1, &shape.c_out, bias, err));
    TT_TRY_OUT(tt_weight_conv(v->half.ops, weight, bias, &shape, slot, err));
out:
    tt_free(weight);
    tt_free(bias);
    return status;
}

static tt_status load_level(encoder_level *level, const tt_vae_encoder *v, tt_loader *l, int index,
                            tt_err *err) {
    char prefix[TT_NAME_BYTES];
    tt_name(prefix, "vae.encoder.down_blocks.%d", index);
    TT_TRY(tt__vae_resnets_load(level->resnets, &level->n_resnets, &v->half, l, prefix, err));
    if (!tt_load_has(l, prefix, "downsamplers.0.conv")) return TT_OK;
    return read_downsampler(&level->downsampler, v, l, prefix, err);
}

static tt_status check_ends(tt_vae_encoder *v, tt_loader *l, tt_err *err) {
    int64_t colours, moments;
    if (!tt_load_has(l, "vae.encoder", "conv_in"))
        return tt_fail(err, TT_E_NOT_FOUND,
                       "%s has a VAE without an encoder, which pictures as input need: use a model "
                       "or a VAE file with both halves",
                       tt_checkpoint_path(tt_loader_checkpoint(l)));
    TT_TRY(tt_load_size(l, "vae.encoder", "conv_in", 1, &colours, err));
    TT_TRY(tt_load_size(l, "vae.encoder", "conv_out", 0, &moments, err));
    if (colours != TT__VAE_COLOURS || moments % 2 != 0)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "the VAE's encoder makes %lld values of %lld channels, expected an even "
                       "number of %d",
                       (long long)moments, (long long)colours, TT__VAE_COLOURS);
    v->channels = moments / 2;
    return TT_OK;
}

static tt_status load_all(tt_vae_encoder *v, tt_loader *l, tt_err *err) {
    TT_TRY(check_ends(v, l, err));
    TT_TRY(tt_load_conv(l, "vae.encoder", "conv_in", 1, 1, &v->conv_in, err));
    v->n_levels = tt_checkpoint_count(tt_loader_checkpoint(l),
                                      "vae.encoder.down_blocks.%d.resnets.0.conv1.weight");
    if (v->n_levels < 1 || v->n_levels > TT_MAX_LEVELS)
        return tt_fail(err, TT_E_FORMAT, "the VAE's encoder has %d levels, expected 1 to %d",
                       v->n_levels, TT_MAX_LEVELS);
    for (int i = 0; i < v->n_levels; i++) TT_TRY(load_level(&v->levels[i], v, l, i, err));
    TT_TRY(tt__vae_middle_load(&v->middle, &v->half, l, err));
    TT_TRY(tt_load_norm(l, "vae.encoder", "conv_norm_out", &v->norm_out, err));
    TT_TRY(tt_load_conv(l, "vae.encoder", "conv_out", 1, 1, &v->conv_out, err));
    if (!tt_load_has(l, "vae", "quant_conv")) return TT_OK;
    return tt_load_conv(l, "vae", "quant_conv", 1, 0, &v->quant, err);
}

tt_status tt_vae_encoder_open(tt_loader *loader, tt_ops *ops, tt_vae_encoder **out, tt_err *err) {
    *out = NULL;
    tt_vae_encoder *v = tt_alloc(sizeof *v);
    if (!v) return tt_fail_nomem(err, "the VAE's encoder", sizeof *v);
    const tt_model_facts *facts = tt_checkpoint_facts(tt_loader_checkpoint(loader));
    v->half = (tt__vae_half){ops, "vae.encoder", facts->vae.groups, facts->vae.norm_eps};
    v->scaling_factor = facts->vae.scaling_factor;
    v->shift_factor = facts->vae.shift_factor;
    tt_loader_use(loader, ops);
    tt_status status = load_all(v, loader, err);
    if (status == TT_OK)
        *out = v;
    else
        tt_vae_encoder_close(v);
    return status;
}

void tt_vae_encoder_close(tt_vae_encoder *v) {
    if (!v) return;
    tt_ops *ops = v->half.ops;
    for (int i = 0; i < TT_MAX_LEVELS; i++) {
        for (int j = 0; j < TT__VAE_MAX_RESNETS; j++)
            tt_resnet_release(&v->levels[i].resnets[j], ops);
        tt_weight_free(ops, v->levels[i].downsampler);
    }
    tt__vae_middle_release(&v->middle, ops);
    tt_weight_free(ops, v->quant);
    tt_weight_free(ops, v->conv_in);
    tt_weight_free(ops, v->norm_out);
    tt_weight_free(ops, v->conv_out);
    tt_free(v);
}

/* ---- encoding --------------------------------------------------------------------------------------- */

static tt_status through_levels(const tt_vae_encoder *v, tt_tensor *x, tt_err *err) {
    for (int i = 0; i < v->n_levels; i++) {
        const encoder_level *level = &v->levels[i];
        for (int j = 0; j < level->n_resnets; j++)
            TT_TRY(tt_resnet_replace(&level->resnets[j], v->half.ops, x, err));
        if (level->downsampler)
            TT_TRY(tt__vae_convolve(v->half.ops, level->downsampler, 2, x, err));
    }
    return tt__vae_middle_run(&v->middle, &v->half, x, err);
}

/* Rows of [mean, log variance] to the two outputs, scaled. */
static tt_status download_posterior(const tt_vae_encoder *v, const tt_tensor *x, float *mean,
                                    float *deviation, tt_err *err) {
    int64_t n = x->h * x->w, c = v->channels;
    if (tt_ops_is_planning(v->half.ops)) return TT_OK;
    float *moments = tt_alloc((size_t)(n * 2 * c) * sizeof *moments);
    if (!moments) return tt_fail_nomem(err, "the posterior", (size_t)(n * 2 * c) * sizeof *moments);
    tt_status status = tt_op_download(v->half.ops, x, moments, err);
    for (int64_t i = 0; i < n && status == TT_OK; i++)
        for (int64_t k = 0; k < c; k++) {
            float log_variance = moments[i * 2 * c + c + k];
            log_variance = log_variance < min_log_variance   ? min_log_variance
                           : log_variance > max_log_variance ? max_log_variance
                                                             : log_variance;
            mean[i * c + k] = (moments[i * 2 * c + k] - v->shift_factor) * v->scaling_factor;
            deviation[i * c + k] = expf(0.5f * log_variance) * v->scaling_factor;
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
    tt_ops *ops = v->half.ops;
    tt_tensor x;
    TT_TRY(tt__vae_encoder_check_size(v, h, w, err));
    TT_TRY(tt_scratch_new(ops, 1, h, w, TT__VAE_COLOURS, &x, err));
    TT_TRY(tt_op_upload(ops, picture, &x, err));
    TT_TRY(tt__vae_convolve(ops, v->conv_in, 1, &x, err));
    TT_TRY(through_levels(v, &x, err));
    TT_TRY(tt__vae_end(&v->half, v->norm_out, v->conv_out, &x, err));
    if (v->quant) TT_TRY(tt__vae_convolve(ops, v->quant, 1, &x, err));
    TT_TRY(download_posterior(v, &x, mean, deviation, err));
    tt_scratch_free(ops, &x);
    return TT_OK;
}
