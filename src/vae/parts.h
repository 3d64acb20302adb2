/* Inside the room: what encoder and decoder are both made of. */
#ifndef TT_VAE_PARTS_H
#define TT_VAE_PARTS_H

#include "nn/resnet.h"
#include "vae/vae.h"

enum { TT__VAE_MAX_RESNETS = 8, TT__VAE_COLOURS = 3 };

/* resnet, attention over all positions, resnet */
typedef struct tt__vae_middle {
    int64_t width;
    tt_resnet resnets[2];
    tt_weight *norm, *qkv, *out; /* NULL when the middle has no attention */
} tt__vae_middle;

typedef struct tt__vae_level {
    int n_resnets;
    tt_resnet resnets[TT__VAE_MAX_RESNETS];
    tt_weight
        *resizer; /* the convolution where the size is doubled or halved; NULL where it stays */
} tt__vae_level;

/* What is told apart by name only, and how a level changes the size. */
typedef struct tt__vae_form {
    const char *what;   /* "the VAE": for errors */
    const char *prefix; /* "vae.decoder" */
    const char *levels; /* "up_blocks" */
    const char *quant;  /* "post_quant_conv" */
    tt_status (*load_resizer)(tt_weight **slot, tt_ops *ops, tt_loader *l, const char *level,
                              tt_err *err); /* leaves the slot alone where there is none */
} tt__vae_form;

/* A decoder or an encoder: the same pieces, walked in another order. */
typedef struct tt__vae_half {
    tt_ops *ops;
    const tt__vae_form *form; /* static */
    int64_t groups;
    float norm_eps, scaling_factor, shift_factor;
    int64_t channels; /* of the latents */
    tt_weight *quant; /* NULL when the file has none */
    tt_weight *conv_in, *norm_out, *conv_out;
    tt__vae_middle middle;
    int n_levels;
    tt__vae_level levels[TT_MAX_LEVELS];
} tt__vae_half;

/* Takes the checkpoint's facts and points the loader at `ops`. */
void tt__vae_half_init(tt__vae_half *half, const tt__vae_form *form, tt_ops *ops, tt_loader *l);
/* Declares all weights. */
tt_status tt__vae_half_load(tt__vae_half *half, tt_loader *l, tt_err *err);
void tt__vae_half_release(tt__vae_half *half);
int tt__vae_half_factor(const tt__vae_half *half); /* pixels per latent in each direction */

tt_status tt__vae_resnets_run(const tt__vae_half *half, const tt__vae_level *level, tt_tensor *x,
                              tt_err *err);
tt_status tt__vae_middle_run(const tt__vae_half *half, tt_tensor *x, tt_err *err);

/* *x = conv(*x): of a size that `stride` tells. */
tt_status tt__vae_convolve(tt_ops *ops, const tt_weight *conv, int stride, tt_tensor *x,
                           tt_err *err);
/* *x = conv_out(silu(norm_out(*x))): how both halves end. */
tt_status tt__vae_end(const tt__vae_half *half, tt_tensor *x, tt_err *err);

/* Decoding in two parts with the host between: what happens at the latents' size, then the rest. hidden [h, w, hidden
 * channels]. */
int64_t tt__vae_hidden_channels(const tt_vae *v);
tt_status tt__vae_decode_head(tt_vae *v, const float *latent, int64_t h, int64_t w, float *hidden,
                              tt_err *err);
tt_status tt__vae_decode_tail(tt_vae *v, const float *hidden, int64_t h, int64_t w, float *picture,
                              tt_err *err);

/* What tiles.c needs to know of the two. */
const tt__vae_half *tt__vae_decoder_half(const tt_vae *v);
const tt__vae_half *tt__vae_encoder_half(const tt_vae_encoder *v);
tt_status tt__vae_encoder_check_size(const tt_vae_encoder *v, int64_t h, int64_t w, tt_err *err);

#endif
