/* A tiny decoder: TAESD's for SDXL (github.com/madebyollin/taesd, "taesdxl"), a distilled stand-in for the VAE's decoder. It
 * makes a picture of unfinished latents for about a twentieth of the VAE's work, with the details that a colour map
 * (pipeline/preview.c) cannot show. It has no norms and no attention: a pixel depends on the latents within 19 of its own.
 *
 * Files: madebyollin's taesdxl_decoder.safetensors, or diffusers' AutoencoderTiny, as a file or as a folder. No config.json
 * is read: names and shapes tell depth and widths. */
#ifndef TT_VAE_TINY_H
#define TT_VAE_TINY_H

#include "tensor/ops.h"

typedef struct tt_tiny_decoder tt_tiny_decoder; /* process lifetime */

/* Reads and packs everything. `ops` must outlive the decoder. What the file is instead, when it is no tiny decoder, is a
 * TT_E_UNSUPPORTED with a sentence; a damaged one is a TT_E_FORMAT. */
tt_status tt_tiny_decoder_open(const char *path, tt_ops *ops, tt_tiny_decoder **out, tt_err *err);
void tt_tiny_decoder_close(tt_tiny_decoder *d); /* NULL is fine */

int64_t tt_tiny_decoder_channels(const tt_tiny_decoder *d); /* of the latents: 4 in SDXL */
/* Pixels per latent in each direction: 8. */
int tt_tiny_decoder_factor(const tt_tiny_decoder *d);

/* latent [h, w, channels], as the UNet sees them -> picture [h * factor, w * factor, 3], about -1..1, not clamped. Latents
 * that are no numbers make pixels that mean nothing.
 *
 * Made for the moments between the steps: all memory is the step's scratch, rehearsed like every pass (in rehearsal
 * latent and picture may be NULL), and nothing else is allocated. Scratch is somewhat more than three activations of the
 * picture's size: at 1024x1024 in bf16 466 MiB, where the VAE needs 1664. It may share the UNet's `ops`: between two passes of the
 * UNet nothing is in scratch. */
tt_status tt_tiny_decode(const tt_tiny_decoder *d, const float *latent, int64_t h, int64_t w,
                         float *picture, tt_err *err);

#endif
