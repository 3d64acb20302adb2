/* Inside the room: what encoder and decoder are both made of. */
#ifndef TT_VAE_PARTS_H
#define TT_VAE_PARTS_H

#include "nn/resnet.h"
#include "vae/vae.h"

enum { TT__VAE_MAX_RESNETS = 8, TT__VAE_COLOURS = 3 };

/* Where a half's numbers come from, and what runs it. */
typedef struct tt__vae_half {
    tt_ops *ops;
    const char *prefix; /* "vae.decoder" or "vae.encoder", static */
    int64_t groups;
    float norm_eps;
} tt__vae_half;

/* resnet, attention over all positions, resnet */
typedef struct tt__vae_middle {
    int64_t width;
    tt_resnet resnets[2];
    tt_weight *norm, *qkv, *out; /* NULL when the middle has no attention */
} tt__vae_middle;

tt_status tt__vae_middle_load(tt__vae_middle *m, const tt__vae_half *half, tt_loader *l,
                              tt_err *err);
void tt__vae_middle_release(tt__vae_middle *m, tt_ops *ops);
tt_status tt__vae_middle_run(const tt__vae_middle *m, const tt__vae_half *half, tt_tensor *x,
                             tt_err *err);

/* The resnets of level `prefix`, as many as the checkpoint has. */
tt_status tt__vae_resnets_load(tt_resnet resnets[TT__VAE_MAX_RESNETS], int *n,
                               const tt__vae_half *half, tt_loader *l, const char *prefix,
                               tt_err *err);

/* *x = conv(*x): of a size that `stride` tells. */
tt_status tt__vae_convolve(tt_ops *ops, const tt_weight *conv, int stride, tt_tensor *x,
                           tt_err *err);
/* *x = conv(silu(norm(*x))): how both halves end. */
tt_status tt__vae_end(const tt__vae_half *half, const tt_weight *norm, const tt_weight *conv,
                      tt_tensor *x, tt_err *err);

/* Decoding in two parts with the host between: what happens at the latents' size, then the rest. hidden [h, w, hidden
 * channels]. */
int64_t tt__vae_hidden_channels(const tt_vae *v);
tt_status tt__vae_decode_head(tt_vae *v, const float *latent, int64_t h, int64_t w, float *hidden,
                              tt_err *err);
tt_status tt__vae_decode_tail(tt_vae *v, const float *hidden, int64_t h, int64_t w, float *picture,
                              tt_err *err);

/* What tiles.c needs to know of the two. */
tt_ops *tt__vae_ops(const tt_vae *v);
tt_ops *tt__vae_encoder_ops(const tt_vae_encoder *v);
tt_status tt__vae_encoder_check_size(const tt_vae_encoder *v, int64_t h, int64_t w, tt_err *err);

#endif
