/* A picture of unfinished latents: through a tiny decoder, when one was named, in full size; else one pixel per latent, by a
 * linear map from latent channels to colours.
 *
 * The map is not a constant of SDXL: it is fitted, once per engine, to what this VAE makes of smooth random latents (least
 * squares over the mean colours of its blocks), so that any VAE gets a faithful preview for the price of one small decode. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

enum {
    FIT_SIDE = 16, /* latents per side of the decoded sample */
    FIT_SAMPLES = FIT_SIDE * FIT_SIDE,
    FIT_PATCH = 4, /* latents per side that share a value: mean colours need area */
    MAX_TERMS = TT_PREVIEW_MAX_CHANNELS + 1, /* channels and a constant */
    COLOURS = 3,
};

/* Ridge that keeps the normal equations solvable when a channel does nothing. */
static const double RIDGE = 1e-3;

/* Gaussian elimination with partial pivoting: a [n, n], b [n, COLOURS] -> b holds the solution. */
static void solve(double a[MAX_TERMS][MAX_TERMS], double b[MAX_TERMS][COLOURS], int n) {
    for (int i = 0; i < n; i++) {
        int pivot = i;
        for (int r = i + 1; r < n; r++)
            if (fabs(a[r][i]) > fabs(a[pivot][i])) pivot = r;
        for (int c = 0; c < n; c++) {
            double t = a[i][c];
            a[i][c] = a[pivot][c], a[pivot][c] = t;
        }
        for (int c = 0; c < COLOURS; c++) {
            double t = b[i][c];
            b[i][c] = b[pivot][c], b[pivot][c] = t;
        }
        for (int r = 0; r < n; r++) {
            if (r == i) continue;
            double f = a[r][i] / a[i][i];
            for (int c = i; c < n; c++) a[r][c] -= f * a[i][c];
            for (int c = 0; c < COLOURS; c++) b[r][c] -= f * b[i][c];
        }
    }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < COLOURS; c++) b[i][c] /= a[i][i];
}

/* Patches of constant random latents, [FIT_SIDE, FIT_SIDE, channels]. */
static void random_patches(int64_t channels, float *latent) {
    enum { PATCHES = FIT_SIDE / FIT_PATCH };
    float values[PATCHES * PATCHES * TT_PREVIEW_MAX_CHANNELS];
    tt_noise noise;
    tt_noise_init(&noise, TT_NOISE_CPU_F32, 0);
    tt_noise_fill(&noise, values, PATCHES * PATCHES * channels);
    for (int64_t y = 0; y < FIT_SIDE; y++)
        for (int64_t x = 0; x < FIT_SIDE; x++)
            memcpy(latent + (y * FIT_SIDE + x) * channels,
                   values + (y / FIT_PATCH * PATCHES + x / FIT_PATCH) * channels,
                   (size_t)channels * sizeof *latent);
}

/* Mean colour of latent (y, x)'s block of pixels, -1..1. */
static void block_colour(const float *picture, int factor, int64_t y, int64_t x,
                         double out[COLOURS]) {
    memset(out, 0, COLOURS * sizeof *out);
    for (int64_t r = y * factor; r < (y + 1) * factor; r++)
        for (int64_t c = x * factor; c < (x + 1) * factor; c++)
            for (int k = 0; k < COLOURS; k++)
                out[k] +=
                    picture[(r * FIT_SIDE * factor + c) * COLOURS + k] / ((double)factor * factor);
}

static void fit(tt_engine *e, const float *latent, const float *picture) {
    int channels = (int)tt_vae_latent_channels(e->vae), factor = tt_vae_factor(e->vae);
    double a[MAX_TERMS][MAX_TERMS] = {{0}}, b[MAX_TERMS][COLOURS] = {{0}};
    for (int64_t i = 0; i < FIT_SAMPLES; i++) {
        double terms[MAX_TERMS], colour[COLOURS];
        for (int c = 0; c < channels; c++) terms[c] = latent[i * channels + c];
        terms[channels] = 1;
        block_colour(picture, factor, i / FIT_SIDE, i % FIT_SIDE, colour);
        for (int r = 0; r <= channels; r++) {
            for (int c = 0; c <= channels; c++) a[r][c] += terms[r] * terms[c];
            for (int k = 0; k < COLOURS; k++) b[r][k] += terms[r] * colour[k];
        }
    }
    for (int i = 0; i <= channels; i++) a[i][i] += RIDGE * FIT_SAMPLES;
    solve(a, b, channels + 1);
    for (int k = 0; k < COLOURS; k++)
        for (int c = 0; c <= channels; c++) e->preview.map[k][c] = (float)b[c][k];
    e->preview.is_fitted = true;
}

static tt_status fit_once(tt_engine *e, tt_err *err) {
    if (e->preview.is_fitted) return TT_OK;
    int64_t side = (int64_t)FIT_SIDE * tt_vae_factor(e->vae);
    int64_t channels = tt_vae_latent_channels(e->vae);
    float *latent = tt_alloc((size_t)(FIT_SAMPLES * channels) * sizeof *latent);
    float *picture = tt_alloc((size_t)(side * side * COLOURS) * sizeof *picture);
    tt_status status = TT_OK;
    if (!latent || !picture)
        TT_TRY_OUT(tt_fail_nomem(err, "the preview", (size_t)(side * side) * 12));
    random_patches(channels, latent);
    tt_ops_plan_begin(e->vae_ops);
    TT_TRY_OUT(tt_vae_decode(e->vae, latent, FIT_SIDE, FIT_SIDE, picture, err));
    TT_TRY_OUT(tt_ops_plan_end(e->vae_ops, err));
    TT_TRY_OUT(tt_vae_decode(e->vae, latent, FIT_SIDE, FIT_SIDE, picture, err));
    fit(e, latent, picture);
out:
    if (status != TT_OK) tt_scratch_reset(e->vae_ops);
    tt_free(latent);
    tt_free(picture);
    return status;
}

/* ---- a tiny decoder --------------------------------------------------------------------------------- */

tt_status tt__tiny_open(tt_engine *e, const char *path, tt_err *err) {
    TT_TRY(tt_tiny_decoder_open(path, e->ops, &e->preview.tiny, err));
    int64_t channels = tt_tiny_decoder_channels(e->preview.tiny);
    int factor = tt_tiny_decoder_factor(e->preview.tiny);
    if (channels == tt_vae_latent_channels(e->vae) && factor == tt_vae_factor(e->vae)) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "preview decoder %s: takes %lld channels of 1/%d size, the model's VAE has %lld "
                   "of 1/%d",
                   path, (long long)channels, factor, (long long)tt_vae_latent_channels(e->vae),
                   tt_vae_factor(e->vae));
}

/* ---- one preview ------------------------------------------------------------------------------------ */

tt_status tt__preview_allocate(tt_generation *g, tt_err *err) {
    int factor = g->engine->preview.tiny ? tt_tiny_decoder_factor(g->engine->preview.tiny) : 1;
    if (!g->request->want_preview || !g->request->progress) return TT_OK;
    g->preview_width = (int)g->latent_w * factor;
    g->preview_height = (int)g->latent_h * factor;
    size_t size = (size_t)g->preview_width * (size_t)g->preview_height * COLOURS;
    g->preview = tt_alloc(size);
    if (!g->preview) return tt_fail_nomem(err, "a preview", size);
    return g->engine->preview.tiny ? TT_OK : fit_once(g->engine, err);
}

tt_status tt__preview_rehearse(tt_generation *g, tt_err *err) {
    const tt_tiny_decoder *tiny = g->engine->preview.tiny;
    if (!g->preview || !tiny) return TT_OK;
    return tt_tiny_decode(tiny, NULL, g->latent_h, g->latent_w, NULL, err);
}

/* -1..1; what is no number is black. */
static uint8_t byte_of(float v) {
    v = (v * 0.5f + 0.5f) * 255.0f;
    return (uint8_t)(v > 255 ? 255 : v > 0 ? v : 0);
}

static void map_colours(const tt_generation *g, const float *x0, uint8_t *rgb) {
    int64_t positions = g->latent_h * g->latent_w;
    for (int64_t p = 0; p < positions; p++)
        for (int k = 0; k < COLOURS; k++) {
            const float *map = g->engine->preview.map[k];
            float v = map[g->channels];
            for (int64_t c = 0; c < g->channels; c++) v += map[c] * x0[c * positions + p];
            rgb[p * COLOURS + k] = byte_of(v);
        }
}

/* Between steps the UNet's input and the place of the final picture are free. */
tt_status tt__preview(tt_generation *g, const float *x0, tt_err *err) {
    const tt_tiny_decoder *tiny = g->engine->preview.tiny;
    int64_t count = (int64_t)g->preview_width * g->preview_height * COLOURS;
    if (!tiny) {
        map_colours(g, x0, g->preview);
        return TT_OK;
    }
    tt__to_channels_last(x0, g->channels, g->latent_h * g->latent_w, g->unet_in);
    TT_TRY(tt_tiny_decode(tiny, g->unet_in, g->latent_h, g->latent_w, g->decoded, err));
    for (int64_t i = 0; i < count; i++) g->preview[i] = byte_of(g->decoded[i]);
    return TT_OK;
}
