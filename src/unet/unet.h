/* The SDXL UNet (engine.md 1.4, 1.5): predicts noise (or v) for latents at a timestep, given text.
 *
 * Shapes come from the checkpoint: any number of levels, resnets per level, transformer depths, widths; heads and groups
 * from its facts. Everything that does not change during a picture (keys and values of the cross-attentions, the size
 * conditioning) is computed once, in tt_unet_begin. */
#ifndef TT_UNET_UNET_H
#define TT_UNET_UNET_H

#include "nn/loader.h"

typedef struct tt_unet tt_unet;

/* Declares all weights with the loader; they are there after tt_loader_run. `ops` must outlive the UNet. */
tt_status tt_unet_open(tt_loader *loader, tt_ops *ops, tt_unet **out, tt_err *err);
void tt_unet_close(tt_unet *u); /* NULL is fine */

int64_t tt_unet_in_channels(const tt_unet *u);
int64_t tt_unet_out_channels(const tt_unet *u);
int64_t tt_unet_context_width(const tt_unet *u); /* features per text token */
/* Width of the vector beside the size numbers: the pooled text. */
int64_t tt_unet_pooled_width(const tt_unet *u);

/* Base models: original h, w, crop top, left, target h, w. Refiners have one number in place of the last two: the aesthetic
 * score. */
enum { TT_UNET_SIZE_IDS = 6, TT_UNET_REFINER_IDS = 5 };
int tt_unet_size_ids(const tt_unet *u); /* one of these two */

/* What one picture is conditioned on; n rows, with guidance [negative, positive]. Host memory, borrowed for the call. */
typedef struct tt_unet_condition {
    int64_t n, tokens;
    const float *context;             /* [n, tokens, context_width] */
    const float *pooled;              /* [n, pooled_width] */
    float size_ids[TT_UNET_SIZE_IDS]; /* the first tt_unet_size_ids of them */
    float negative_score; /* of refiners: the aesthetic score of all rows but the last */
} tt_unet_condition;

/* Begins a picture: computes what is constant over its steps, in request memory. Ends the one before. Runs inside a rehearsal too
 * (then with the shapes of `condition` only). */
tt_status tt_unet_begin(tt_unet *u, const tt_unet_condition *condition, tt_err *err);
void tt_unet_end(tt_unet *u); /* frees the request memory */
size_t tt_unet_request_bytes(const tt_unet *u);

/* x [n, h, w, in_channels] -> out [n, h, w, out_channels], host f32; n as in tt_unet_begin. */
tt_status tt_unet_forward(tt_unet *u, const float *x, int64_t h, int64_t w, float timestep,
                          float *out, tt_err *err);

#endif
