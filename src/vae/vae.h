/* The autoencoder (engine.md 1.6): the decoder makes pictures of latents, the encoder latents of
 * pictures. Two objects, because making pictures from text needs no encoder.
 *
 * Latents are as the UNet sees them: (value of the network - shift) * scale. Host arrays are f32,
 * channels last. What runs between tt_ops_plan_begin and tt_ops_plan_end is planned only. */
#ifndef TT_VAE_VAE_H
#define TT_VAE_VAE_H

#include "nn/loader.h"

typedef struct tt_vae tt_vae; /* the decoder */

/* Declares all weights with the loader; they are there after tt_loader_run. `ops` must outlive the VAE. */
tt_status tt_vae_open(tt_loader *loader, tt_ops *ops, tt_vae **out, tt_err *err);
void tt_vae_close(tt_vae *v); /* NULL is fine */

int64_t tt_vae_latent_channels(const tt_vae *v);
/* Pixels per latent in each direction: 8 in SDXL. */
int tt_vae_factor(const tt_vae *v);

/* latent [h, w, latent_channels] -> picture [h * factor, w * factor, 3], about -1..1, not clamped. */
tt_status tt_vae_decode(tt_vae *v, const float *latent, int64_t h, int64_t w, float *picture,
                        tt_err *err);

/* Sizes in latents. Tiles are spread evenly, overlap by `overlap` or more and are mixed there. */
typedef struct tt_vae_tiles {
    int64_t tile, overlap; /* 0 < overlap < tile */
} tt_vae_tiles;
tt_vae_tiles tt_vae_tiles_default(void); /* 128: 1024 of SDXL's pixels */
tt_vae_tiles tt_vae_tiles_small(
    void); /* half of that: a quarter of the memory, more of the work twice */
/* What tiled decoding allocates at most besides scratch. */
size_t tt_vae_tiles_bytes(const tt_vae *v, const tt_vae_tiles *tiles, int64_t h, int64_t w);

/* The same in tiles: scratch for one tile, or for what is done at the latents' own size where that is more. Nearly the same values,
 * for up to twice the work of the tiles alone; on GPUs tiles do not know of each other, and are farther off (tiles.c). */
tt_status tt_vae_decode_tiled(tt_vae *v, const tt_vae_tiles *tiles, const float *latent, int64_t h,
                              int64_t w, float *picture, tt_err *err);

typedef struct tt_vae_encoder tt_vae_encoder;

/* As tt_vae_open. TT_E_NOT_FOUND when the file has a decoder only. */
tt_status tt_vae_encoder_open(tt_loader *loader, tt_ops *ops, tt_vae_encoder **out, tt_err *err);
void tt_vae_encoder_close(tt_vae_encoder *v); /* NULL is fine */

int64_t tt_vae_encoder_channels(const tt_vae_encoder *v); /* of the latents */
int tt_vae_encoder_factor(const tt_vae_encoder *v);

/* picture [h, w, 3], -1..1, h and w multiples of the factor -> the posterior of each latent, both
 * [h / factor, w / factor, channels]. The mean is the likeliest latent (the mode); mean + deviation
 * * unit noise is a sample. */
tt_status tt_vae_encode(tt_vae_encoder *v, const float *picture, int64_t h, int64_t w, float *mean,
                        float *deviation, tt_err *err);
tt_status tt_vae_encode_tiled(tt_vae_encoder *v, const tt_vae_tiles *tiles, const float *picture,
                              int64_t h, int64_t w, float *mean, float *deviation, tt_err *err);

#endif
