/* The VAE's halves, each opened when it is first needed: making pictures from text never loads the encoder.
 *
 * bf16 holds no value beyond 3.39e38 and few digits; SDXL's own VAE is known for values that small types cannot hold. A
 * pass that ends in something that is no number is therefore made again with the same weights in f32, and as it would happen
 * again, so is every later one. The price is a second VAE in memory (335 MB for SDXL's), paid only then. */
#include "pipeline/parts.h"

/* Opens the halves whose slots are given; on failure the slots stay NULL. */
static tt_status open_halves(tt_engine *e, tt_ops *ops, tt_vae **decoder, tt_vae_encoder **encoder,
                             tt_err *err) {
    tt_loader *loader;
    TT_TRY(tt_loader_new(e->vae_checkpoint, &loader, err));
    tt_status status = TT_OK;
    if (decoder) TT_TRY_OUT(tt_vae_open(loader, ops, decoder, err));
    if (encoder) TT_TRY_OUT(tt_vae_encoder_open(loader, ops, encoder, err));
    TT_TRY_OUT(tt_loader_run(loader, err));
    tt__count_weights(e);
out:
    tt_loader_free(loader);
    if (status == TT_OK) return TT_OK;
    if (decoder) tt_vae_close(*decoder), *decoder = NULL;
    if (encoder) tt_vae_encoder_close(*encoder), *encoder = NULL;
    return status;
}

tt_status tt__vae_open(tt_engine *e, tt_err *err) {
    TT_TRY(tt_checkpoint_require(e->vae_checkpoint, "vae", err));
    return open_halves(e, e->vae_ops, &e->vae, NULL, err);
}

void tt__vae_close(tt_engine *e) {
    tt_vae_close(e->vae);
    tt_vae_encoder_close(e->encoder);
    tt_vae_close(e->exact.vae);
    tt_vae_encoder_close(e->exact.encoder);
    tt_ops_close(e->exact.ops);
}

void tt__count_weights(tt_engine *e) {
    e->info.weight_bytes = tt_ops_weight_bytes(e->ops);
    if (e->vae_ops != e->ops) e->info.weight_bytes += tt_ops_weight_bytes(e->vae_ops);
    if (e->exact.ops) e->info.weight_bytes += tt_ops_weight_bytes(e->exact.ops);
}

static tt_status check_encoder(const tt_engine *e, const tt_vae_encoder *v, tt_err *err) {
    if (tt_vae_encoder_channels(v) == tt_vae_latent_channels(e->vae) &&
        tt_vae_encoder_factor(v) == tt_vae_factor(e->vae))
        return TT_OK;
    return tt_fail(err, TT_E_FORMAT,
                   "%s: the VAE's encoder makes %lld channels of 1/%d size, its decoder takes %lld "
                   "of 1/%d",
                   tt_checkpoint_path(e->vae_checkpoint), (long long)tt_vae_encoder_channels(v),
                   tt_vae_encoder_factor(v), (long long)tt_vae_latent_channels(e->vae),
                   tt_vae_factor(e->vae));
}

tt_status tt__encoder_need(tt_engine *e, tt_err *err) {
    if (e->encoder) return TT_OK;
    TT_TRY(open_halves(e, e->vae_ops, NULL, &e->encoder, err));
    tt_status status = check_encoder(e, e->encoder, err);
    if (status == TT_OK) return TT_OK;
    tt_vae_encoder_close(e->encoder);
    e->encoder = NULL;
    return status;
}

/* ---- tiles --------------------------------------------------------------------------------------------- */

static size_t most_bytes(const tt_engine *e) {
    if (e->vae_max_bytes) return e->vae_max_bytes;
    size_t left = tt_ops_memory_left(e->vae_ops), ours = tt_ops_scratch_bytes(e->vae_ops);
    if (left == 0) left = tt__available_bytes();
    return left > SIZE_MAX - ours ? SIZE_MAX : left + ours;
}

/* No more than one of these. */
static bool is_one(const tt_generation *g, const tt_vae_tiles *tiles) {
    return g->latent_h <= tiles->tile && g->latent_w <= tiles->tile;
}

/* More than one tile of the usual size, and the engine's tiling is this. */
static bool is_several(const tt_generation *g, tt_tiling tiling) {
    const tt_vae_tiles tiles = tt_vae_tiles_default();
    return !is_one(g, &tiles) && g->engine->tiling == tiling;
}

static tt_status decode_pass(const tt_generation *g, tt_vae *vae, const float *latent,
                             float *picture, tt_err *err) {
    if (g->tiled)
        return tt_vae_decode_tiled(vae, &g->tiles, latent, g->latent_h, g->latent_w, picture, err);
    return tt_vae_decode(vae, latent, g->latent_h, g->latent_w, picture, err);
}

/* By a rehearsal that only asks. */
static tt_status fits(const tt_generation *g, bool *out, tt_err *err) {
    tt_engine *e = g->engine;
    tt_ops_plan_begin(e->vae_ops);
    TT_TRY(decode_pass(g, e->vae, g->unet_in, g->decoded, err));
    *out = tt_ops_planned_bytes(e->vae_ops) <= most_bytes(e);
    tt_scratch_reset(e->vae_ops);
    return TT_OK;
}

/* The whole where it fits, else the largest tiles that do, else the smallest. Tiles that are normalised each by itself must not
 * be small. */
tt_status tt__choose_tiles(tt_generation *g, tt_err *err) {
    tt_engine *e = g->engine;
    const tt_vae_tiles sizes[] = {tt_vae_tiles_default(), tt_vae_tiles_small()};
    size_t n = tt_ops_shares_norms(e->vae_ops) ? 2 : 1;
    bool does_fit = false;
    g->tiles = sizes[0];
    g->tiled = is_several(g, TT_TILING_ALWAYS);
    if (e->tiling != TT_TILING_AUTO || is_one(g, &sizes[n - 1])) return TT_OK;
    TT_TRY(fits(g, &does_fit, err));
    for (size_t i = 0; i < n && !does_fit; i++) {
        if (is_one(g, &sizes[i])) continue;
        g->tiled = true;
        g->tiles = sizes[i];
        if (i + 1 < n) TT_TRY(fits(g, &does_fit, err));
    }
    return TT_OK;
}

tt_status tt__vae_pass(const tt_generation *g, tt_vae *vae, const float *latent, float *picture,
                       tt_err *err) {
    g->result->vae_tiled = g->tiled;
    return decode_pass(g, vae, latent, picture, err);
}

/* ---- f32 ---------------------------------------------------------------------------------------------- */

static tt_status exact_ops(tt_engine *e, tt_err *err) {
    const tt_ops_options options = {
        .backend = e->backend, .dtype = TT_F32, .n_threads = e->info.n_threads};
    return e->exact.ops ? TT_OK : tt_ops_open(&options, &e->exact.ops, err);
}

static tt_status fail_not_numbers(const tt_engine *e, const char *half, tt_err *err) {
    return tt_fail(err, TT_E_FORMAT,
                   "%s: the VAE's %s made values that are not numbers in f32 as well: the file is "
                   "damaged, or made for other latents",
                   tt_checkpoint_path(e->vae_checkpoint), half);
}

static tt_status decode_exactly(tt_generation *g, const float *latent, float *picture,
                                tt_err *err) {
    tt_engine *e = g->engine;
    TT_TRY(exact_ops(e, err));
    if (!e->exact.vae) TT_TRY(open_halves(e, e->exact.ops, &e->exact.vae, NULL, err));
    tt_ops_plan_begin(e->exact.ops);
    TT_TRY(tt__vae_pass(g, e->exact.vae, latent, picture, err));
    TT_TRY(tt_ops_plan_end(e->exact.ops, err));
    return tt__vae_pass(g, e->exact.vae, latent, picture, err);
}

tt_status tt__vae_decode(tt_generation *g, const float *latent, float *picture, tt_err *err) {
    tt_engine *e = g->engine;
    int64_t count = (int64_t)g->request->width * g->request->height * 3;
    g->result->vae_precision = e->exact.vae ? "f32" : e->info.vae_precision;
    if (!e->exact.vae) {
        TT_TRY(tt__vae_pass(g, e->vae, latent, picture, err));
        if (tt__all_finite(picture, count)) return TT_OK;
        if (tt_ops_dtype(e->vae_ops) == TT_F32) return fail_not_numbers(e, "decoder", err);
    }
    TT_TRY(decode_exactly(g, latent, picture, err));
    g->result->vae_precision = "f32";
    return tt__all_finite(picture, count) ? TT_OK : fail_not_numbers(e, "decoder", err);
}

/* ---- pictures that come in ------------------------------------------------------------------------------ */

/* One pass, whole or in tiles; in rehearsal too. */
static tt_status encode_pass(const tt_generation *g, bool tiled, tt_vae_encoder *v,
                             const float *picture, float *mean, float *deviation, tt_err *err) {
    const tt_vae_tiles tiles = tt_vae_tiles_default();
    int64_t h = g->request->height, w = g->request->width;
    if (tiled) return tt_vae_encode_tiled(v, &tiles, picture, h, w, mean, deviation, err);
    return tt_vae_encode(v, picture, h, w, mean, deviation, err);
}

static tt_status encode_with(tt_generation *g, tt_ops *ops, tt_vae_encoder *v, const float *picture,
                             float *mean, float *deviation, tt_err *err) {
    bool tiled = is_several(g, TT_TILING_ALWAYS);
    tt_ops_plan_begin(ops);
    TT_TRY(encode_pass(g, tiled, v, picture, mean, deviation, err));
    if (is_several(g, TT_TILING_AUTO) && tt_ops_planned_bytes(ops) > most_bytes(g->engine)) {
        tiled = true;
        tt_scratch_reset(ops);
        tt_ops_plan_begin(ops);
        TT_TRY(encode_pass(g, tiled, v, picture, mean, deviation, err));
    }
    TT_TRY(tt_ops_plan_end(ops, err));
    return encode_pass(g, tiled, v, picture, mean, deviation, err);
}

tt_status tt__vae_encode(tt_generation *g, const float *picture, float *mean, float *deviation,
                         tt_err *err) {
    tt_engine *e = g->engine;
    if (!e->exact.encoder) {
        TT_TRY(tt__encoder_need(e, err));
        TT_TRY(encode_with(g, e->vae_ops, e->encoder, picture, mean, deviation, err));
        if (tt__all_finite(mean, g->n_values) && tt__all_finite(deviation, g->n_values))
            return TT_OK;
        if (tt_ops_dtype(e->vae_ops) == TT_F32) return fail_not_numbers(e, "encoder", err);
        TT_TRY(exact_ops(e, err));
        TT_TRY(open_halves(e, e->exact.ops, NULL, &e->exact.encoder, err));
    }
    TT_TRY(encode_with(g, e->exact.ops, e->exact.encoder, picture, mean, deviation, err));
    bool good = tt__all_finite(mean, g->n_values) && tt__all_finite(deviation, g->n_values);
    return good ? TT_OK : fail_not_numbers(e, "encoder", err);
}
