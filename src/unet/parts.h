/* Inside the unet room: the tree of modules and the transformer. */
#ifndef TT_UNET_PARTS_H
#define TT_UNET_PARTS_H

#include "nn/resnet.h"
#include "unet/unet.h"

enum {
    TT_UNET_MAX_RESNETS = 8,       /* per level and direction: SDXL has 2 and 3 */
    TT_UNET_MAX_DEPTH = 64,        /* transformer blocks in a row: SDXL has 10 */
    TT_UNET_MAX_TIME_WIDTH = 4096, /* the sinusoid of the timestep: SDXL has 320 */
    TT_UNET_MAX_SKIPS = TT_MAX_LEVELS * (TT_UNET_MAX_RESNETS + 1) + 1,
};

/* One transformer block: self-attention, cross-attention, gated feed-forward, each on a LayerNorm and added. */
typedef struct tt_unet_layer {
    tt_weight *norm1, *qkv, *out1;
    tt_weight *norm2, *q2, *kv2, *out2;
    tt_weight *norm3, *ff_gated, *ff_out;
    tt_tensor kv; /* request lifetime: [n, 1, text tokens, 2 c], keys then values */
} tt_unet_layer;

/* diffusers' Transformer2DModel: GroupNorm, proj_in, layers, proj_out, added to its input. */
typedef struct tt_unet_transformer {
    tt_weight *norm, *proj_in, *proj_out;
    int n_layers;          /* 0: there is no transformer here */
    tt_unet_layer *layers; /* owned */
    int64_t width, inner;  /* channels outside, and between proj_in and proj_out */
    int64_t heads, head_dim, groups;
    float group_eps;
} tt_unet_transformer;

typedef struct tt_unet_stage { /* a resnet and the transformer that may follow it */
    tt_resnet resnet;
    int64_t time_offset; /* of this resnet's columns in the stacked time projection */
    tt_unet_transformer transformer;
} tt_unet_stage;

typedef struct tt_unet_level {
    int n_stages;
    tt_unet_stage stages[TT_UNET_MAX_RESNETS];
    bool has_sampler;
    tt_weight *sampler; /* the convolution that halves or doubles; NULL at the last level */
    tt_weight *doubler; /* where it doubles: the same for sizes that are doubles, else sampler */
} tt_unet_level;

struct tt_unet {
    tt_ops *ops;
    tt_model_facts facts;
    tt_weight *conv_in, *norm_out, *conv_out;
    tt_weight *time_1, *time_2, *add_1, *add_2;
    tt_weight *time_stack; /* time_emb_proj of every resnet, rows stacked */
    int64_t time_width;    /* sinusoid width: inputs of time_1 */
    int64_t emb_width;     /* outputs of time_2 */
    int64_t stack_width;   /* rows of time_stack */
    int64_t in_channels, out_channels, context_width, pooled_width, size_width;
    int n_size_ids;
    int n_levels;
    tt_unet_level down[TT_MAX_LEVELS], up[TT_MAX_LEVELS];
    tt_unet_stage middle[2]; /* the second has no transformer of its own */
    int n_middle;
    int64_t n;         /* rows of the current picture's condition */
    tt_tensor add_emb; /* request lifetime: [n, 1, 1, emb_width] */
    size_t request_bytes;
};

tt_status tt__transformer_load(tt_unet_transformer *t, tt_loader *l, const char *prefix,
                               const tt_unet *u, int64_t heads, tt_err *err);
void tt__transformer_release(tt_unet_transformer *t, tt_ops *ops);
/* Computes every layer's kv from the context [n, 1, tokens, context_width]; adds to *bytes. */
tt_status tt__transformer_begin(tt_unet_transformer *t, tt_ops *ops, const tt_tensor *context,
                                size_t *bytes, tt_err *err);
void tt__transformer_end(tt_unet_transformer *t, tt_ops *ops);
/* x -> *y, a new scratch tensor of the same shape. */
tt_status tt__transformer_run(const tt_unet_transformer *t, tt_ops *ops, const tt_tensor *x,
                              tt_tensor *y, tt_err *err);

/* out[width] = sinusoids of value (engine.md 1.4): cos first if flip, frequencies 10000^(-i / (half - shift)). */
void tt__sinusoid(float value, int64_t width, bool cos_first, float shift, float *out);

#endif
