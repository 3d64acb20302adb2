/* The two CLIP text encoders of SDXL (engine.md 1.2, 1.3): token ids to what the UNet is conditioned on. */
#ifndef TT_TEXT_CLIP_H
#define TT_TEXT_CLIP_H

#include "nn/loader.h"

typedef struct tt_clip tt_clip;

/* Declares the weights of text encoder `which` (0: CLIP-L, 1: bigG); they are there after tt_loader_run. `ops` must outlive
 * it. */
tt_status tt_clip_open(tt_loader *loader, tt_ops *ops, int which, tt_clip **out, tt_err *err);
void tt_clip_close(tt_clip *c); /* NULL is fine */

int64_t tt_clip_width(const tt_clip *c);        /* features per token */
int64_t tt_clip_pooled_width(const tt_clip *c); /* 0: this encoder has no text projection */
int tt_clip_positions(const tt_clip *c);        /* ids per sequence: 77 */
int64_t tt_clip_vocabulary(const tt_clip *c);

/* ids [positions] -> hidden [positions, width]: the states before the last layer, no final norm. pooled (may be NULL)
 * [pooled_width]: last layer, final norm, the row of the end token, text projection. Host memory. */
tt_status tt_clip_encode(tt_clip *c, const int32_t *ids, float *hidden, float *pooled, tt_err *err);

#endif
