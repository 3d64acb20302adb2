/* Latents to bytes. */
#include <string.h>

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

/* A number is not finite when all its exponent bits are set; bits, since a sum of numbers would be added one by one. */
bool tt__all_finite(const float *values, int64_t n) {
    const uint32_t exponent = 0x7f800000u;
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
}

/* -1..1 to 0..255, rounding halves to even as numpy does (diffusers' image processor): 2^23 leaves a float no bits below one, so
 * adding it rounds, and the lowest byte is the result. Vectors of any CPU do that; few have an instruction to round. */
static uint8_t to_byte(float v) {
    const float ones = 0x1p23f;
    float scaled = v * 0.5f + 0.5f;
    scaled = scaled > 0 ? scaled : 0;
    scaled = (scaled < 1 ? scaled : 1) * 255.0f + ones;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    return (uint8_t)bits;
}

void tt__to_bytes(const float *values, int64_t n, int n_threads, uint8_t *out) {
    enum { PIECE = 1 << 15 };
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n > PIECE)
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t end = n - first < PIECE ? n : first + PIECE;
        for (int64_t i = first; i < end; i++) out[i] = to_byte(values[i]);
    }
}

tt_status tt__decode(tt_generation *g, uint8_t *rgb, tt_err *err) {
    int64_t count = (int64_t)g->request->width * g->request->height * 3;
    tt__to_channels_last(g->latents, g->channels, g->latent_h * g->latent_w, g->unet_in);
    TT_TRY(tt__vae_decode(g, g->unet_in, g->decoded, err));
    tt__to_bytes(g->decoded, count, tt_ops_threads(g->engine->ops), rgb);
    tt__paste_unmasked(g, rgb);
    return TT_OK;
}
