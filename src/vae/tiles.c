/* Decoding and encoding in tiles, for pictures whose activations do not fit at once: SDXL's decoder needs 6.5 GiB in bf16 at
 * 2048x2048, and 1.6 GiB for every tile of 1024x1024, however many there are.
 *
 * What is done at the latents' own size, the attention too, needs little memory (as much as a tile at 3500x3500) and is done for
 * the whole; tiles begin where the decoder starts to double the size. (The encoder ends with that part; its tiles are tiles
 * throughout.)
 *
 * A tile's values near its edges differ from those of the whole, because convolutions meet padding there; and they are a
 * little off everywhere, because norms take their statistics from the tile alone. So neighbours overlap and are mixed by ramps
 * that add up to 1: no seam is a step, only a slow change. How much that is depends on how little a tile has in common with the
 * whole (tests/golden/test_tiling.c has numbers): 46 dB where all tiles look alike, 41 to 45 for usual pictures, 35 for four
 * pictures side by side. The right statistics would take a pass over all tiles for each of the decoder's 19 norms. Statistics
 * that all tiles share would do nearly as well (a trial in torch with the four pictures: 34.6 dB as here, 45.8 with those of a copy
 * of half the size, 50.6 with those of a first pass over the tiles), but norms (tensor/ops.h) take none from outside.
 *
 *     weight of tile i   ___________
 *                       /           \ ___________ weight of tile i + 1
 *                      /             X           \
 *     ----------------/-------------/ \-----------\---
 *                     |<- overlap ->| |<- overlap ->|
 */
#include <string.h>

#include "base/alloc.h"
#include "vae/parts.h"

/* 1024 pixels of SDXL: what it is trained to, so that statistics within a tile are usual ones. A quarter of overlap is
 * wider than what 3x3 convolutions see at the latents' own size (about 12). */
enum { DEFAULT_TILE = 128, DEFAULT_OVERLAP = 32 };

tt_vae_tiles tt_vae_tiles_default(void) {
    return (tt_vae_tiles){.tile = DEFAULT_TILE, .overlap = DEFAULT_OVERLAP};
}

/* Tiles along one direction. */
typedef struct axis {
    int64_t n, size; /* tiles, and latents in each */
    int64_t total;   /* latents in all */
    int64_t scale;   /* results per latent: pixels, or 1 */
    float *weights;  /* [n, size * scale]: over all tiles they add up to 1 everywhere */
} axis;

static int64_t axis_origin(const axis *a, int64_t i) {
    return a->n == 1 ? 0 : i * (a->total - a->size) / (a->n - 1);
}

/* A ramp from both ends of a tile, but not at the ends of the whole. */
static float ramp(const axis *a, int64_t i, int64_t at, int64_t length) {
    int64_t end = a->size * a->scale;
    float from_start = i == 0 ? 1 : ((float)at + 0.5f) / (float)length;
    float from_end = i == a->n - 1 ? 1 : ((float)(end - at) - 0.5f) / (float)length;
    float least = from_start < from_end ? from_start : from_end;
    return least < 1 ? least : 1;
}

/* The axis without its weights. */
static axis axis_of(int64_t total, int64_t scale, const tt_vae_tiles *tiles) {
    int64_t stride = tiles->tile - tiles->overlap;
    axis a = {.n = 1, .size = total, .total = total, .scale = scale};
    if (total <= tiles->tile) return a;
    a.size = tiles->tile;
    a.n = 1 + (total - tiles->tile + stride - 1) / stride;
    return a;
}

/* Of the weights, and of their sums while they are made. */
static size_t weight_bytes(const axis *a) {
    return (size_t)((a->n * a->size + a->total) * a->scale) * sizeof *a->weights;
}

static tt_status axis_init(axis *a, int64_t total, int64_t scale, const tt_vae_tiles *tiles,
                           tt_err *err) {
    *a = axis_of(total, scale, tiles);
    int64_t length = a->size * scale;
    size_t bytes = weight_bytes(a);
    a->weights = tt_alloc(bytes);
    if (!a->weights) return tt_fail_nomem(err, "tiles", bytes);
    float *sums = a->weights + a->n * length; /* starts as zeros */
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t k = 0; k < length; k++) {
            float w = ramp(a, i, k, tiles->overlap * scale);
            a->weights[i * length + k] = w;
            sums[axis_origin(a, i) * scale + k] += w;
        }
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t k = 0; k < length; k++)
            a->weights[i * length + k] /= sums[axis_origin(a, i) * scale + k];
    return TT_OK;
}

/* One pass over all tiles of a picture. */
typedef struct grid {
    axis y, x;
} grid;

static tt_status grid_init(grid *g, int64_t h, int64_t w, int64_t scale, const tt_vae_tiles *tiles,
                           tt_err *err) {
    *g = (grid){0};
    if (tiles->overlap < 1 || tiles->overlap >= tiles->tile)
        return tt_fail(err, TT_E_INVALID, "tiles of %lld latents that overlap by %lld",
                       (long long)tiles->tile, (long long)tiles->overlap);
    TT_TRY(axis_init(&g->y, h, scale, tiles, err));
    return axis_init(&g->x, w, scale, tiles, err);
}

static void grid_release(grid *g) {
    tt_free(g->y.weights);
    tt_free(g->x.weights);
}

/* The part of `whole` that tile (i, j) covers; c values per place, `zoom` places per latent. */
static void cut(const grid *g, int64_t i, int64_t j, int64_t c, int64_t zoom, const float *whole,
                float *tile) {
    int64_t row = g->x.size * zoom * c;
    int64_t top = axis_origin(&g->y, i) * zoom, left = axis_origin(&g->x, j) * zoom;
    for (int64_t y = 0; y < g->y.size * zoom; y++)
        memcpy(tile + y * row, whole + ((top + y) * g->x.total * zoom + left) * c,
               (size_t)row * sizeof *tile);
}

/* whole += tile * weights */
static void add(const grid *g, int64_t i, int64_t j, int64_t c, const float *tile, float *whole) {
    int64_t h = g->y.size * g->y.scale, w = g->x.size * g->x.scale;
    int64_t top = axis_origin(&g->y, i) * g->y.scale, left = axis_origin(&g->x, j) * g->x.scale;
    for (int64_t y = 0; y < h; y++) {
        float *out = whole + ((top + y) * g->x.total * g->x.scale + left) * c;
        for (int64_t x = 0; x < w; x++) {
            float weight = g->y.weights[i * h + y] * g->x.weights[j * w + x];
            for (int64_t k = 0; k < c; k++) *out++ += weight * *tile++;
        }
    }
}

static tt_status take(float **slot, int64_t count, tt_err *err) {
    *slot = tt_alloc((size_t)count * sizeof **slot);
    return *slot ? TT_OK : tt_fail_nomem(err, "a tile", (size_t)count * sizeof **slot);
}

/* In rehearsal one tile stands for all: they have one shape. */
static int64_t tiles_to_run(const grid *g, tt_ops *ops) {
    return tt_ops_is_planning(ops) ? 1 : g->y.n * g->x.n;
}

size_t tt_vae_tiles_bytes(const tt_vae *v, const tt_vae_tiles *tiles, int64_t h, int64_t w) {
    int64_t c = tt__vae_hidden_channels(v), factor = tt_vae_factor(v);
    const axis y = axis_of(h, factor, tiles), x = axis_of(w, factor, tiles);
    int64_t in_tile = c + factor * factor * TT__VAE_COLOURS;
    int64_t in_latent = c + tt_vae_latent_channels(v); /* hidden, and a copy of the latent */
    return (size_t)(h * w * in_latent + y.size * x.size * in_tile) * sizeof(float) +
           weight_bytes(&y) + weight_bytes(&x);
}

tt_status tt_vae_decode_tiled(tt_vae *v, const tt_vae_tiles *tiles, const float *latent, int64_t h,
                              int64_t w, float *picture, tt_err *err) {
    grid g = {0};
    float *hidden = NULL, *from = NULL, *to = NULL;
    int64_t c = tt__vae_hidden_channels(v), factor = tt_vae_factor(v);
    tt_ops *ops = tt__vae_ops(v);
    tt_status status = TT_OK;
    TT_TRY_OUT(grid_init(&g, h, w, factor, tiles, err));
    TT_TRY_OUT(take(&hidden, h * w * c, err));
    TT_TRY_OUT(take(&from, g.y.size * g.x.size * c, err));
    TT_TRY_OUT(take(&to, g.y.size * g.x.size * factor * factor * TT__VAE_COLOURS, err));
    TT_TRY_OUT(tt__vae_decode_head(v, latent, h, w, hidden, err));
    memset(picture, 0, (size_t)(h * w * factor * factor * TT__VAE_COLOURS) * sizeof *picture);
    for (int64_t t = 0; t < tiles_to_run(&g, ops); t++) {
        int64_t i = t / g.x.n, j = t % g.x.n;
        cut(&g, i, j, c, 1, hidden, from);
        TT_TRY_OUT(tt__vae_decode_tail(v, from, g.y.size, g.x.size, to, err));
        add(&g, i, j, TT__VAE_COLOURS, to, picture);
    }
out:
    grid_release(&g);
    tt_free(hidden);
    tt_free(from);
    tt_free(to);
    return status;
}

tt_status tt_vae_encode_tiled(tt_vae_encoder *v, const tt_vae_tiles *tiles, const float *picture,
                              int64_t h, int64_t w, float *mean, float *deviation, tt_err *err) {
    grid g = {0};
    float *from = NULL, *to = NULL;
    int64_t c = tt_vae_encoder_channels(v), factor = tt_vae_encoder_factor(v);
    int64_t tile_values;
    tt_ops *ops = tt__vae_encoder_ops(v);
    tt_status status = TT_OK;
    TT_TRY(tt__vae_encoder_check_size(v, h, w, err));
    TT_TRY_OUT(grid_init(&g, h / factor, w / factor, 1, tiles, err));
    tile_values = g.y.size * g.x.size * c;
    TT_TRY_OUT(take(&from, g.y.size * g.x.size * factor * factor * TT__VAE_COLOURS, err));
    TT_TRY_OUT(take(&to, 2 * tile_values, err));
    memset(mean, 0, (size_t)(h / factor * (w / factor) * c) * sizeof *mean);
    memset(deviation, 0, (size_t)(h / factor * (w / factor) * c) * sizeof *deviation);
    for (int64_t t = 0; t < tiles_to_run(&g, ops); t++) {
        int64_t i = t / g.x.n, j = t % g.x.n;
        cut(&g, i, j, TT__VAE_COLOURS, factor, picture, from);
        TT_TRY_OUT(tt_vae_encode(v, from, g.y.size * factor, g.x.size * factor, to,
                                 to + tile_values, err));
        add(&g, i, j, c, to, mean);
        add(&g, i, j, c, to + tile_values, deviation);
    }
out:
    grid_release(&g);
    tt_free(from);
    tt_free(to);
    return status;
}
