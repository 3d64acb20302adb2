/* Inside the room: what a tiny decoder consists of. */
#ifndef TT_VAE_TINY_PARTS_H
#define TT_VAE_TINY_PARTS_H

#include "vae/tiny.h"

enum {
    TT__TINY_BLOCK_CONVS = 3,
    TT__TINY_COLOURS = 3,
    TT__TINY_MAX_LAYERS = 64, /* TAESD has 19 */
};

/* A place in the sequence, with or without weights. */
typedef enum tt__tiny_kind {
    TT__TINY_CONV,   /* one convolution */
    TT__TINY_BLOCK,  /* relu(x + conv(relu(conv(relu(conv(x)))))) */
    TT__TINY_RELU,   /* the second place */
    TT__TINY_DOUBLE, /* every other place without weights: nearest neighbour to twice the size */
} tt__tiny_kind;

typedef struct tt__tiny_layer {
    tt__tiny_kind kind;
    tt_weight *convs[TT__TINY_BLOCK_CONVS]; /* TT__TINY_CONV has one */
} tt__tiny_layer;

struct tt_tiny_decoder {
    tt_ops *ops;
    int64_t channels;
    int factor;
    int n_layers;
    tt__tiny_layer layers[TT__TINY_MAX_LAYERS];
};

/* tiny_read.c: fills channels, factor and layers; after a failure some layers may have weights. */
tt_status tt__tiny_read(tt_tiny_decoder *d, const char *path, tt_err *err);

#endif
