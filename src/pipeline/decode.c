/* Latents to bytes. */
#include <math.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

void tt__to_channels_last(const float *planes, int64_t c, int64_t positions, float *out) {
    for (int64_t p = 0; p < positions; p++)
        for (int64_t i = 0; i < c; i++) out[p * c + i] = planes[i * positions + p];
}

void tt__to_planes(const float *channels_last, int64_t c, int64_t positions, float *out) {
    for (int64_t p = 0; p < positions; p++)
        for (int64_t i = 0; i < c; i++) out[i * positions + p] = channels_last[p * c + i];
}

bool tt__all_finite(const float *values, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += values[i] * 0; /* NaN as soon as one is not finite */
    return sum == 0;
}

/* -1..1 to 0..255, rounding halves to even as numpy does (diffusers' image processor). */
static uint8_t to_byte(float v) {
    float scaled = v * 0.5f + 0.5f;
    scaled = scaled < 0 ? 0 : scaled > 1 ? 1 : scaled;
    return (uint8_t)rintf(scaled * 255.0f);
}

tt_status tt__decode(tt_generation *g, uint8_t *rgb, tt_err *err) {
    int64_t count = (int64_t)g->request->width * g->request->height * 3;
    tt__to_channels_last(g->latents, g->channels, g->latent_h * g->latent_w, g->unet_in);
    TT_TRY(tt__vae_decode(g, g->unet_in, g->decoded, err));
    for (int64_t i = 0; i < count; i++) rgb[i] = to_byte(g->decoded[i]);
    tt__paste_unmasked(g, rgb);
    return TT_OK;
}
