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

/* The same with more to say. */
typedef struct tt_clip_input {
    const int32_t *ids; /* [positions] */
    /* NULL, or [positions]: input embeddings [width] in place of those of the ids, before positions are added; NULL where the
     * id's own counts. Its id is still looked at for the pooled row, and must be in the vocabulary. */
    const float *const *rows;
    int n_skipped; /* how many layers before the penultimate states to read: 0 as above, to tt_clip_layers - 1 */
} tt_clip_input;
tt_status tt_clip_encode_input(tt_clip *c, const tt_clip_input *input, float *hidden, float *pooled,
                               tt_err *err);
int tt_clip_layers(const tt_clip *c); /* layers that the penultimate states have gone through */

/* What people mean by "clip skip" (engine.md 4.10). For SDXL, 1 and 2 both mean the penultimate states, which is what it was
 * trained with; 3 is one layer earlier. diffusers counts from there: its clip_skip 1 is one layer earlier, and it applies to the
 * positive prompt only. A1111 ignores the setting for SDXL. */
typedef enum tt_clip_skip_rule {
    TT_CLIP_SKIP_USUAL,
    TT_CLIP_SKIP_DIFFUSERS,
    TT_CLIP_SKIP_IGNORED
} tt_clip_skip_rule;

/* clip_skip (0: not given) as tt_clip_input.n_skipped. TT_E_INVALID below 0, and beyond the layers of the encoder. */
tt_status tt_clip_skip(const tt_clip *c, tt_clip_skip_rule rule, int clip_skip, int *n_skipped,
                       tt_err *err);
/* The same for an encoder of n_layers (tt_clip_layers). */
tt_status tt_clip_skip_of_layers(int n_layers, tt_clip_skip_rule rule, int clip_skip,
                                 int *n_skipped, tt_err *err);

#endif
