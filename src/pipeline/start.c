/* What denoising starts from: noise; or a picture's latents with noise on them; or noise that another seed has a part in.
 *
 * The order of draws from one picture's generator is diffusers': a sample of the posterior of the request's picture (when
 * it is needed), the noise, a sample of what the mask keeps (when there is a mask). The other programs' manners take the
 * posterior's mean and draw the noise only.
 *
 * Keeping what is not masked happens twice. While denoising, a UNet of the common kind gets the kept latents put back
 * after each step, as noisy as the others; an inpainting UNet sees them as input instead. At the end the request's own
 * pixels are put back where the mask is 0, so that what was to be kept is kept to the bit. */
#include <math.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

enum { COLOURS = 3, PAINT_FROM = 128 }; /* of 255: diffusers binarises masks at 0.5 */

/* ---- the request's picture -------------------------------------------------------------------------- */

static tt_status take(tt_generation *g, float **slot, int64_t count, tt_err *err) {
    size_t size = (size_t)count * sizeof **slot;
    *slot = tt_alloc(size);
    if (!*slot) return tt_fail_nomem(err, "a picture's latents", size);
    g->request_bytes += size;
    return TT_OK;
}

void tt__release_start(tt_generation *g) {
    tt_free(g->start.mean);
    tt_free(g->start.deviation);
    tt_free(g->start.masked_mean);
    tt_free(g->start.masked_deviation);
    tt_free(g->start.clean);
    tt_free(g->start.masked);
    tt_free(g->start.noise);
    tt_free(g->start.mask);
}

/* Without a mask everything is painted. */
static bool is_painted(const tt_request *r, int64_t pixel) {
    return !r->mask || r->mask[pixel] >= PAINT_FROM;
}

/* A latent is painted where the first pixel of its block is, as torch shrinks by nearest neighbour. */
static void shrink_mask(tt_generation *g) {
    int64_t factor = tt_vae_factor(g->engine->vae);
    for (int64_t y = 0; y < g->latent_h; y++)
        for (int64_t x = 0; x < g->latent_w; x++)
            g->start.mask[y * g->latent_w + x] =
                is_painted(g->request, (y * g->request->width + x) * factor);
}

/* Bytes to -1..1. What is left out is grey: 0. */
static void read_pixels(const tt_request *r, bool leave_out_painted, float *pixels) {
    int64_t n = (int64_t)r->width * r->height;
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < COLOURS; c++) {
            bool left_out = !r->image || (leave_out_painted && is_painted(r, i));
            pixels[i * COLOURS + c] =
                left_out ? 0 : 2 * ((float)r->image[i * COLOURS + c] / (float)UINT8_MAX) - 1;
        }
}

tt_status tt__take_start(tt_generation *g, bool is_encoded, tt_err *err) {
    TT_TRY(take(g, &g->start.clean, g->n_values, err));
    if (!is_encoded) return TT_OK;
    TT_TRY(take(g, &g->start.mean, g->n_values, err));
    return take(g, &g->start.deviation, g->n_values, err);
}

tt_status tt__encode_start(tt_generation *g, float *pixels, tt_err *err) {
    read_pixels(g->request, false, pixels);
    return tt__vae_encode(g, pixels, g->start.mean, g->start.deviation, err);
}

static tt_status encode_whole(tt_generation *g, float *pixels, tt_err *err) {
    TT_TRY(tt__take_start(g, true, err));
    return tt__encode_start(g, pixels, err);
}

static tt_status encode_masked(tt_generation *g, float *pixels, tt_err *err) {
    TT_TRY(take(g, &g->start.masked_mean, g->n_values, err));
    TT_TRY(take(g, &g->start.masked_deviation, g->n_values, err));
    TT_TRY(take(g, &g->start.masked, g->n_values, err));
    read_pixels(g->request, true, pixels);
    return tt__vae_encode(g, pixels, g->start.masked_mean, g->start.masked_deviation, err);
}

tt_status tt__read_image(tt_generation *g, tt_err *err) {
    const tt_request *r = g->request;
    bool paints_in = g->engine->paints_in;
    size_t size = (size_t)r->width * (size_t)r->height * COLOURS * sizeof(float);
    TT_TRY(take(g, &g->start.noise, g->n_values, err));
    if (!r->image && !paints_in) return TT_OK;
    float *pixels = tt_alloc(size);
    tt_status status = pixels ? TT_OK : tt_fail_nomem(err, "a picture", size);
    if (status == TT_OK) status = take(g, &g->start.mask, g->latent_h * g->latent_w, err);
    if (status == TT_OK && r->image) status = encode_whole(g, pixels, err);
    if (status == TT_OK && paints_in) status = encode_masked(g, pixels, err);
    if (status == TT_OK) shrink_mask(g);
    tt_free(pixels);
    return status;
}

/* ---- noise ------------------------------------------------------------------------------------------ */

/* low becomes the point at `part` on the arc to high, for n values `stride` apart; *cosine is that of their angle. */
static double cosine_of(const float *low, const float *high, int64_t n, int64_t stride) {
    double dot = 0, a = 0, b = 0;
    for (int64_t i = 0; i < n; i++) {
        dot += (double)low[i * stride] * (double)high[i * stride];
        a += (double)low[i * stride] * (double)low[i * stride];
        b += (double)high[i * stride] * (double)high[i * stride];
    }
    return a > 0 && b > 0 ? dot / sqrt(a * b) : 1;
}

static void mix_arc(float *low, const float *high, int64_t n, int64_t stride, double part) {
    double angle = acos(fmax(-1, fmin(1, cosine_of(low, high, n, stride)))), of_low = 1 - part,
           of_high = part;
    if (sin(angle) > 0) {
        of_low = sin((1 - part) * angle) / sin(angle);
        of_high = sin(part * angle) / sin(angle);
    }
    for (int64_t i = 0; i < n; i++)
        low[i * stride] =
            (float)(of_low * (double)low[i * stride] + of_high * (double)high[i * stride]);
}

/* A1111's variations: each column of each channel turns by itself (its slerp works along the second axis of
 * [channels, h, w]). */
static void vary(tt_generation *g, const tt_noise *kind) {
    const tt_request *r = g->request;
    int64_t h = g->latent_h, w = g->latent_w;
    tt_noise other;
    if (!(r->variation_strength > 0)) return;
    tt_noise_init(&other, kind->kind, r->variation_seed + (uint64_t)g->picture);
    tt_noise_fill(&other, g->unet_out, g->n_values);
    for (int64_t c = 0; c < g->channels; c++)
        for (int64_t x = 0; x < w; x++)
            mix_arc(g->start.noise + c * h * w + x, g->unet_out + c * h * w + x, h, w,
                    (double)r->variation_strength);
}

/* ---- one picture ------------------------------------------------------------------------------------ */

/* *sample [h, w, channels] of the posterior. draws [channels, h, w] is unit noise; NULL: the mean. */
static void sample_posterior(const tt_generation *g, const float *mean, const float *deviation,
                             const float *draws, float *sample) {
    int64_t positions = g->latent_h * g->latent_w;
    for (int64_t p = 0; p < positions; p++)
        for (int64_t c = 0; c < g->channels; c++) {
            int64_t i = p * g->channels + c;
            sample[i] = mean[i] + (draws ? deviation[i] * draws[c * positions + p] : 0);
        }
}

static void sample_whole(tt_generation *g, tt_noise *noise, bool draws) {
    float *sample = g->unet_in; /* free until the first step */
    if (draws) tt_noise_fill(noise, g->start.noise, g->n_values);
    sample_posterior(g, g->start.mean, g->start.deviation, draws ? g->start.noise : NULL, sample);
    tt__to_planes(sample, g->channels, g->latent_h * g->latent_w, g->start.clean);
}

static void sample_masked(tt_generation *g, tt_noise *noise, bool draws) {
    if (draws) tt_noise_fill(noise, g->unet_out, g->n_values);
    if (!g->start.masked)
        return; /* drawn all the same: what follows stays in step with diffusers */
    sample_posterior(g, g->start.masked_mean, g->start.masked_deviation, draws ? g->unet_out : NULL,
                     g->start.masked);
}

void tt__start(tt_generation *g, tt_noise *noise) {
    const tt_request *r = g->request;
    bool draws = g->manner.compat == TT_COMPAT_DIFFUSERS;
    bool all_new = r->mask && r->strength >= 1 && draws; /* diffusers inpaints from noise alone */
    if (g->start.mean && !(all_new && g->engine->paints_in)) sample_whole(g, noise, draws);
    tt_noise_fill(noise, g->start.noise, g->n_values);
    vary(g, noise);
    if (g->start.clean && !all_new) {
        tt_sampler_add_noise(g->sampler, 0, g->start.clean, g->start.noise, g->latents);
    } else {
        float scale = tt_sampler_init_scale(g->sampler);
        for (int64_t i = 0; i < g->n_values; i++) g->latents[i] = g->start.noise[i] * scale;
    }
    if (r->mask || g->engine->paints_in) sample_masked(g, noise, draws);
}

void tt__keep_unmasked(tt_generation *g, int step, float *x) {
    int64_t positions = g->latent_h * g->latent_w;
    float *kept = g->unet_out; /* free between steps */
    tt_sampler_add_noise(g->sampler, step, g->start.clean, g->start.noise, kept);
    for (int64_t c = 0; c < g->channels; c++)
        for (int64_t p = 0; p < positions; p++)
            if (g->start.mask[p] == 0) x[c * positions + p] = kept[c * positions + p];
}

void tt__paste_unmasked(const tt_generation *g, uint8_t *rgb) {
    const tt_request *r = g->request;
    int64_t n = r->mask ? (int64_t)r->width * r->height : 0;
    for (int64_t i = 0; i < n * COLOURS; i++) {
        unsigned anew = r->mask[i / COLOURS];
        rgb[i] = (uint8_t)((rgb[i] * anew + r->image[i] * (UINT8_MAX - anew) + UINT8_MAX / 2) /
                           UINT8_MAX);
    }
}
