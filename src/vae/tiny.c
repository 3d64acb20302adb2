/* See tiny.h. A sequence of convolutions and doublings, run as it stands in the file.
 *
 * Latents go through 3 tanh(x / 3) first, which bounds what early steps of a sampler may ask for. The network's own pictures
 * are 0..1. Both changes happen on the host, in the caller's picture: it has room for the latents, as tt__tiny_read makes
 * sure, and is written last. */
#include "vae/tiny.h"

#include <math.h>

#include "base/alloc.h"
#include "vae/tiny_parts.h"

static const float CLAMP = 3;

int64_t tt_tiny_decoder_channels(const tt_tiny_decoder *d) {
    return d->channels;
}

int tt_tiny_decoder_factor(const tt_tiny_decoder *d) {
    return d->factor;
}

tt_status tt_tiny_decoder_open(const char *path, tt_ops *ops, tt_tiny_decoder **out, tt_err *err) {
    *out = NULL;
    tt_tiny_decoder *d = tt_alloc(sizeof *d);
    if (!d) return tt_fail_nomem(err, "the tiny decoder", sizeof *d);
    d->ops = ops;
    tt_status status = tt__tiny_read(d, path, err);
    if (status == TT_OK)
        *out = d;
    else
        tt_tiny_decoder_close(d);
    return status;
}

void tt_tiny_decoder_close(tt_tiny_decoder *d) {
    if (!d) return;
    for (int i = 0; i < TT__TINY_MAX_LAYERS; i++)
        for (int k = 0; k < TT__TINY_BLOCK_CONVS; k++)
            tt_weight_free(d->ops, d->layers[i].convs[k]);
    tt_free(d);
}

/* ---- decoding --------------------------------------------------------------------------------------- */

static tt_status upload_clamped(const tt_tiny_decoder *d, const float *latent, int64_t h, int64_t w,
                                float *room, tt_tensor *x, tt_err *err) {
    if (!tt_ops_is_planning(d->ops))
        for (int64_t i = 0; i < h * w * d->channels; i++)
            room[i] = tanhf(latent[i] / CLAMP) * CLAMP;
    TT_TRY(tt_scratch_new(d->ops, 1, h, w, d->channels, x, err));
    return tt_op_upload(d->ops, room, x, err);
}

/* *y = act(conv(x)), fresh */
static tt_status convolve(tt_ops *ops, const tt_weight *conv, tt_activation act, const tt_tensor *x,
                          tt_tensor *y, tt_err *err) {
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, tt_weight_rows(conv), y, err));
    return tt_op_conv(ops, conv, x, &(tt_epilogue){.act = act}, y, err);
}

/* The sum is made in x's own memory, as in nn/resnet.c. */
static tt_status run_block(tt_ops *ops, const tt__tiny_layer *layer, tt_tensor *x, tt_err *err) {
    tt_tensor one, two;
    TT_TRY(convolve(ops, layer->convs[0], TT_ACT_RELU, x, &one, err));
    TT_TRY(convolve(ops, layer->convs[1], TT_ACT_RELU, &one, &two, err));
    tt_scratch_free(ops, &one);
    TT_TRY(tt_op_conv(ops, layer->convs[2], &two, &(tt_epilogue){.add = x}, x, err));
    tt_scratch_free(ops, &two);
    return tt_op_activate(ops, TT_ACT_RELU, x, x, err);
}

static tt_status run_layer(tt_ops *ops, const tt__tiny_layer *layer, tt_tensor *x, tt_err *err) {
    tt_tensor y;
    switch (layer->kind) {
    case TT__TINY_BLOCK:
        return run_block(ops, layer, x, err);
    case TT__TINY_RELU:
        return tt_op_activate(ops, TT_ACT_RELU, x, x, err);
    case TT__TINY_CONV:
        TT_TRY(convolve(ops, layer->convs[0], TT_ACT_NONE, x, &y, err));
        break;
    case TT__TINY_DOUBLE:
        TT_TRY(tt_scratch_new(ops, x->n, 2 * x->h, 2 * x->w, x->c, &y, err));
        TT_TRY(tt_op_upsample(ops, x, &y, err));
        break;
    }
    tt_scratch_free(ops, x);
    *x = y;
    return TT_OK;
}

tt_status tt_tiny_decode(const tt_tiny_decoder *d, const float *latent, int64_t h, int64_t w,
                         float *picture, tt_err *err) {
    tt_ops *ops = d->ops;
    tt_tensor x;
    TT_TRY(upload_clamped(d, latent, h, w, picture, &x, err));
    for (int i = 0; i < d->n_layers; i++) TT_TRY(run_layer(ops, &d->layers[i], &x, err));
    TT_TRY(tt_op_download(ops, &x, picture, err));
    if (!tt_ops_is_planning(ops)) {
        int64_t count = tt_tensor_count(&x); /* 0..1 to -1..1 */
        for (int64_t i = 0; i < count; i++) picture[i] = picture[i] * 2 - 1;
    }
    tt_scratch_free(ops, &x);
    return TT_OK;
}
