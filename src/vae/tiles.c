/* Decoding and encoding in tiles, for pictures whose activations do not fit at once: SDXL's decoder needs 6.5 GiB in bf16 at
 * 2048x2048, and 1.6 GiB for every tile of 1024x1024, however many there are.
 *
 * What is done at the latents' own size, the attention too, needs little memory (as much as a tile at 3500x3500) and is done for
 * the whole; tiles begin where the decoder starts to double the size. (The encoder ends with that part; its tiles are tiles
 * throughout.)
 *
 * A tile's values near its edges differ from those of the whole, because convolutions meet padding there. So neighbours overlap
 * and are mixed by ramps that add up to 1: no seam is a step, only a slow change.
 *
 * And they would be a little off everywhere, because a norm takes its statistics from what it sees: a flat tile would get the
 * contrast of a lively one. So all tiles are given the same statistics, nearly those of the whole. They come from patchworks, run
 * first: each as large as a tile, made of small patches from all over the picture, and together showing every part of it once.
 * Each is a fair sample, so that its own norms are about right at every depth, and so are the statistics that it leaves; its many
 * seams matter less than one would think. Decoded by the shipped VAE at 512x512 in tiles of 256, in dB against the whole:
 *
 *                                              bright, dark,   four pictures   small things on
 *                                              checks, ramp    side by side    a flat ground
 *     each tile by itself                      32              35              39
 *     statistics of a first pass over tiles    38              50
 *     of one patchwork                         61                              33
 *     of all patchworks                        60              56              48
 *
 * (A first pass normalises tiles as badly as they are without it; one patchwork may miss, or find too often, what is small. A
 * shrunk copy gave 36 to 48 for the first picture.) An encoder's tiles do without: with the shipped one patchworks bring mean
 * latents from 7 to 14 % off to 2 to 5 for pictures, but with a random one from 7 to 34 % for a smooth wave, where the seams are all
 * that its first norms see.
 *
 * The price: as many patchworks as there would be tiles without overlap. At 2048x2048 four and nine tiles, each a quarter of the
 * whole's work; just above one tile as many as tiles, so twice the work. Where norms take no statistics from outside (GPUs:
 * tensor/ops.h) there are no patchworks, and tiles differ as in the first line.
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

/* 1024 pixels of SDXL: what it is trained to. A quarter of overlap is wider than what 3x3 convolutions see at the latents' own
 * size (about 12). */
enum { DEFAULT_TILE = 128, SMALL_TILE = 64, OVERLAPS = 4 };

/* Pixels along a side of a patch, 8 of SDXL's latents: more would be a coarser sample, fewer have more seams. Half of it did as
 * well. */
enum { PATCH = 64 };

tt_vae_tiles tt_vae_tiles_default(void) {
    return (tt_vae_tiles){.tile = DEFAULT_TILE, .overlap = DEFAULT_TILE / OVERLAPS};
}

tt_vae_tiles tt_vae_tiles_small(void) {
    return (tt_vae_tiles){.tile = SMALL_TILE, .overlap = SMALL_TILE / OVERLAPS};
}

/* Tiles along one direction. */
typedef struct axis {
    int64_t n, size; /* tiles, and latents in each */
    int64_t total;   /* latents in all */
    int64_t scale;   /* results per latent: pixels, or 1 */
    int64_t patches; /* in a tile */
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

/* ---- patchworks ------------------------------------------------------------------------------------------ */

static void set_patches(axis *a, int64_t factor) {
    a->patches = a->size * factor < PATCH ? 1 : a->size * factor / PATCH;
}

/* As many as tiles without overlap. */
static int64_t patchworks_along(const axis *a) {
    return (a->total + a->size - 1) / a->size;
}

/* Where patch i of a patchwork begins in it; of one more than there are, the end. */
static int64_t patch_begin(const axis *a, int64_t i) {
    return i * a->size / a->patches;
}

/* Where patch i of patchwork k comes from. The patches of all patchworks lie evenly over the whole, and in turn each patchwork
 * gets one: `turn` says who is first, so that no pattern in the picture can keep to one of them. */
static int64_t patch_origin(const axis *a, int64_t i, int64_t k, int64_t turn) {
    int64_t works = patchworks_along(a), last = works * a->patches - 1;
    int64_t length = patch_begin(a, i + 1) - patch_begin(a, i);
    return last == 0 ? 0 : (i * works + (k + turn) % works) * (a->total - length) / last;
}

/* ---- a picture in tiles -------------------------------------------------------------------------------- */

/* Decoding or encoding, in f32 on the host. */
typedef struct job {
    grid g;
    const tt__vae_half *half;
    tt_vae *decoder; /* or */
    tt_vae_encoder *encoder;
    int64_t zoom, c; /* of what is cut: places per latent, values per place */
    const float *whole;
    float *from, *to;                                   /* a tile, owned */
    tt_norm_tape norms;                                 /* what all tiles are normalised by */
    tt_norm_tape *given;                                /* that, or NULL: each by its own */
    tt_status (*run)(const struct job *k, tt_err *err); /* from -> to */
} job;

static tt_status job_init(job *k, const tt__vae_half *half, int64_t from_count, int64_t to_count,
                          tt_err *err) {
    k->half = half;
    set_patches(&k->g.y, tt__vae_half_factor(half));
    set_patches(&k->g.x, tt__vae_half_factor(half));
    TT_TRY(take(&k->from, from_count, err));
    return take(&k->to, to_count, err);
}

static void job_release(job *k) {
    grid_release(&k->g);
    tt_norm_tape_release(&k->norms);
    tt_free(k->from);
    tt_free(k->to);
}

/* In rehearsal one stands for all: they have one shape. */
static int64_t to_run(const job *k, int64_t count) {
    return tt_ops_is_planning(k->half->ops) ? 1 : count;
}

static tt_status run_sharing(const job *k, tt_norm_tape *record, const tt_norm_tape *given,
                             tt_err *err) {
    tt_ops_share_norms(k->half->ops, record, given);
    tt_status status = k->run(k, err);
    tt_ops_share_norms(k->half->ops, NULL, NULL);
    return status;
}

static void copy_patch(const job *k, int64_t py, int64_t px, int64_t work) {
    const axis *y = &k->g.y, *x = &k->g.x;
    int64_t works = patchworks_along(x), zoom = k->zoom;
    int64_t top = patch_begin(y, py) * zoom, height = patch_begin(y, py + 1) * zoom - top;
    int64_t left = patch_begin(x, px) * zoom, width = patch_begin(x, px + 1) * zoom - left;
    int64_t from_top = patch_origin(y, py, work / works, px) * zoom;
    int64_t from_left = patch_origin(x, px, work % works, py) * zoom;
    for (int64_t row = 0; row < height; row++)
        memcpy(k->from + ((top + row) * x->size * zoom + left) * k->c,
               k->whole + ((from_top + row) * x->total * zoom + from_left) * k->c,
               (size_t)(width * k->c) * sizeof *k->from);
}

/* All norms of a pass, and a few more where the pass is a part. */
static int64_t most_norms(const tt__vae_half *half) {
    enum { IN_RESNET = 2, IN_MIDDLE = 2 * IN_RESNET + 1, AT_END = 1 };
    int64_t norms = IN_MIDDLE + AT_END;
    for (int i = 0; i < half->n_levels; i++)
        norms += (int64_t)IN_RESNET * half->levels[i].n_resnets;
    return norms;
}

/* Before the tiles; a single one needs none, and an encoder's go without. */
static tt_status run_patchworks(job *k, tt_err *err) {
    const axis *y = &k->g.y, *x = &k->g.x;
    if (k->encoder || !tt_ops_shares_norms(k->half->ops) || y->n * x->n == 1) return TT_OK;
    TT_TRY(tt_norm_tape_init(&k->norms, most_norms(k->half), k->half->groups, err));
    for (int64_t i = 0; i < to_run(k, patchworks_along(y) * patchworks_along(x)); i++) {
        for (int64_t py = 0; py < y->patches; py++)
            for (int64_t px = 0; px < x->patches; px++) copy_patch(k, py, px, i);
        TT_TRY(run_sharing(k, &k->norms, NULL, err));
    }
    k->given = &k->norms;
    return TT_OK;
}

/* From k->whole to `to`. */
static tt_status run_tile(const job *k, int64_t i, int64_t j, tt_err *err) {
    cut(&k->g, i, j, k->c, k->zoom, k->whole, k->from);
    return run_sharing(k, NULL, k->given, err);
}

/* ---- decoding ------------------------------------------------------------------------------------------ */

size_t tt_vae_tiles_bytes(const tt_vae *v, const tt_vae_tiles *tiles, int64_t h, int64_t w) {
    const tt__vae_half *half = tt__vae_decoder_half(v);
    int64_t c = tt__vae_hidden_channels(v), factor = tt_vae_factor(v);
    const axis y = axis_of(h, factor, tiles), x = axis_of(w, factor, tiles);
    int64_t in_tile = c + factor * factor * TT__VAE_COLOURS;
    int64_t in_latent = c + tt_vae_latent_channels(v); /* hidden, and a copy of the latent */
    return (size_t)(h * w * in_latent + y.size * x.size * in_tile) * sizeof(float) +
           weight_bytes(&y) + weight_bytes(&x) + tt_norm_tape_bytes(most_norms(half), half->groups);
}

static tt_status decode_tile(const job *k, tt_err *err) {
    return tt__vae_decode_tail(k->decoder, k->from, k->g.y.size, k->g.x.size, k->to, err);
}

tt_status tt_vae_decode_tiled(tt_vae *v, const tt_vae_tiles *tiles, const float *latent, int64_t h,
                              int64_t w, float *picture, tt_err *err) {
    int64_t c = tt__vae_hidden_channels(v), factor = tt_vae_factor(v);
    float *hidden = NULL;
    job k = {.decoder = v, .zoom = 1, .c = c, .run = decode_tile};
    tt_status status = TT_OK;
    TT_TRY_OUT(grid_init(&k.g, h, w, factor, tiles, err));
    TT_TRY_OUT(take(&hidden, h * w * c, err));
    k.whole = hidden;
    TT_TRY_OUT(job_init(&k, tt__vae_decoder_half(v), k.g.y.size * k.g.x.size * c,
                        k.g.y.size * k.g.x.size * factor * factor * TT__VAE_COLOURS, err));
    TT_TRY_OUT(tt__vae_decode_head(v, latent, h, w, hidden, err));
    TT_TRY_OUT(run_patchworks(&k, err));
    memset(picture, 0, (size_t)(h * w * factor * factor * TT__VAE_COLOURS) * sizeof *picture);
    for (int64_t t = 0; t < to_run(&k, k.g.y.n * k.g.x.n); t++) {
        TT_TRY_OUT(run_tile(&k, t / k.g.x.n, t % k.g.x.n, err));
        add(&k.g, t / k.g.x.n, t % k.g.x.n, TT__VAE_COLOURS, k.to, picture);
    }
out:
    job_release(&k);
    tt_free(hidden);
    return status;
}

/* ---- encoding ------------------------------------------------------------------------------------------ */

/* Values of a tile's mean, which its deviation follows. */
static int64_t posterior_count(const job *k) {
    return k->g.y.size * k->g.x.size * tt_vae_encoder_channels(k->encoder);
}

static tt_status encode_tile(const job *k, tt_err *err) {
    return tt_vae_encode(k->encoder, k->from, k->g.y.size * k->zoom, k->g.x.size * k->zoom, k->to,
                         k->to + posterior_count(k), err);
}

tt_status tt_vae_encode_tiled(tt_vae_encoder *v, const tt_vae_tiles *tiles, const float *picture,
                              int64_t h, int64_t w, float *mean, float *deviation, tt_err *err) {
    int64_t c = tt_vae_encoder_channels(v), factor = tt_vae_encoder_factor(v);
    size_t bytes = (size_t)(h / factor * (w / factor) * c) * sizeof *mean;
    job k = {
        .encoder = v, .zoom = factor, .c = TT__VAE_COLOURS, .whole = picture, .run = encode_tile};
    tt_status status = TT_OK;
    TT_TRY(tt__vae_encoder_check_size(v, h, w, err));
    TT_TRY_OUT(grid_init(&k.g, h / factor, w / factor, 1, tiles, err));
    TT_TRY_OUT(job_init(&k, tt__vae_encoder_half(v),
                        k.g.y.size * k.g.x.size * factor * factor * TT__VAE_COLOURS,
                        2 * posterior_count(&k), err));
    TT_TRY_OUT(run_patchworks(&k, err));
    memset(mean, 0, bytes);
    memset(deviation, 0, bytes);
    for (int64_t t = 0; t < to_run(&k, k.g.y.n * k.g.x.n); t++) {
        int64_t i = t / k.g.x.n, j = t % k.g.x.n;
        TT_TRY_OUT(run_tile(&k, i, j, err));
        add(&k.g, i, j, c, k.to, mean);
        add(&k.g, i, j, c, k.to + posterior_count(&k), deviation);
    }
out:
    job_release(&k);
    return status;
}
