/* The decoder half of the autoencoder (engine.md 1.6): latents to a picture. */
#ifndef TT_VAE_VAE_H
#define TT_VAE_VAE_H

#include "nn/loader.h"

typedef struct tt_vae tt_vae;

/* Declares all weights with the loader; they are there after tt_loader_run. `ops` must outlive the VAE. */
tt_status tt_vae_open(tt_loader *loader, tt_ops *ops, tt_vae **out, tt_err *err);
void tt_vae_close(tt_vae *v); /* NULL is fine */

int64_t tt_vae_latent_channels(const tt_vae *v);
/* Pixels per latent in each direction: 8 in SDXL. */
int tt_vae_factor(const tt_vae *v);

/* latent [h, w, latent_channels], as the UNet sees it (scaled) -> picture [h * factor, w * factor, 3], about -1..1, not
 * clamped. Host f32. */
tt_status tt_vae_decode(tt_vae *v, const float *latent, int64_t h, int64_t w, float *picture,
                        tt_err *err);

#endif
