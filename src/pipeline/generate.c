/* One request: check, put adapters on the model, encode texts, prepare and rehearse, then per picture denoise and decode.
 *
 * Texts come before the rehearsal of the UNet because how many chunks they have decides how much it looks at.
 *
 * Pictures are made one after the other, each with a generator of its own: a picture never depends on its
 * batch, and a CPU gains nothing from a larger one. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "pipeline/parts.h"
#include "sample/names.h"

static double ms_since(int64_t start_us) {
    return (double)(tt_clock_us() - start_us) / 1000;
}

/* How many rows the UNet is asked for, and in how many steps only for one. */
static void choose_rows(tt_generation *g) {
    int steps = tt_sampler_steps(g->sampler), guided = 0;
    for (int i = 0; i < steps; i++) guided += tt__step_is_guided(g, i);
    g->always_both = tt_sampler_needs_both(g->sampler);
    g->n_rows = guided > 0 || g->always_both ? 2 : 1;
    g->result->unguided_steps = steps - guided;
    g->result->steps = g->result->base_steps = steps;
}

static tt_status make_sampler(tt_generation *g, tt_err *err) {
    tt_sampler_options options;
    TT_TRY(tt__resolve_sampler(g->engine, g->request, &options, err));
    options.n_values = g->n_values;
    TT_TRY(tt_sampler_new(&options, &g->sampler, err));
    choose_rows(g);
    g->result->sampler = tt_sampler_name(g->sampler);
    g->result->schedule = tt_sampler_schedule(g->sampler);
    tt_sample_label(g->result->sampler, g->result->schedule, g->result->sampler_label);
    g->result->prediction = g->engine->info.prediction;
    g->result->compat = tt_sample_compat_of(g->manner.compat)->name;
    g->result->noise = tt_noise_kind_name(g->manner.noise);
    return TT_OK;
}

static tt_status find_sizes(tt_generation *g, tt_err *err) {
    const tt_request *r = g->request;
    int factor = tt_vae_factor(g->engine->vae);
    if (r->width % factor || r->height % factor)
        return tt_fail(err, TT_E_INVALID, "size %dx%d: this model needs multiples of %d", r->width,
                       r->height, factor);
    g->channels = tt_vae_latent_channels(g->engine->vae);
    g->latent_h = r->height / factor;
    g->latent_w = r->width / factor;
    g->n_values = g->channels * g->latent_h * g->latent_w;
    return TT_OK;
}

/* All request memory in one place, so that the plan can count it. */
static tt_status allocate(tt_generation *g, tt_err *err) {
    const tt_engine *e = g->engine;
    const tt_request *r = g->request;
    int64_t tokens = tt__context_tokens(g);
    const struct {
        float **slot;
        int64_t count;
    } floats[] = {
        {&g->context, g->n_rows * tokens * tt_unet_context_width(e->unet)},
        {&g->pooled, g->n_rows * tt_unet_pooled_width(e->unet)},
        {&g->latents, g->n_values},
        {&g->unet_in, g->n_rows * g->n_values / g->channels * tt_unet_in_channels(e->unet)},
        {&g->unet_out, g->n_rows * g->n_values},
        {&g->decoded, (int64_t)r->width * r->height * 3},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        size_t size = (size_t)floats[i].count * sizeof(float);
        *floats[i].slot = tt_alloc(size);
        if (!*floats[i].slot) return tt_fail_nomem(err, "a request", size);
        g->request_bytes += size;
    }
    return TT_OK;
}

static void release(tt_generation *g) {
    tt_sampler_free(g->sampler);
    tt_free(g->context);
    tt_free(g->pooled);
    tt_free(g->latents);
    tt_free(g->unet_in);
    tt_free(g->unet_out);
    tt_free(g->decoded);
    tt_free(g->preview);
    tt__release_start(g);
    tt__words_release(&g->words);
}

/* What is kept for the next request, within its limits. */
static void trim(tt_engine *e) {
    tt__texts_trim(&e->texts);
    tt__opened_trim(&e->adapter_files);
    tt__opened_trim(&e->embedding_files);
}

static float size_or(int size, int otherwise) {
    return (float)(size > 0 ? size : otherwise);
}

/* Original size, crop, target size: unless the request says otherwise, the picture as it is asked for, uncropped
 * (diffusers' defaults). */
static void set_condition(tt_generation *g) {
    const tt_request *r = g->request;
    const float ids[TT_UNET_SIZE_IDS] = {size_or(r->original_height, r->height),
                                         size_or(r->original_width, r->width),
                                         (float)r->crop_top,
                                         (float)r->crop_left,
                                         size_or(r->target_height, r->height),
                                         size_or(r->target_width, r->width)};
    g->condition = (tt_unet_condition){.n = g->n_rows,
                                       .tokens = tt__context_tokens(g),
                                       .context = g->context,
                                       .pooled = g->pooled};
    memcpy(g->condition.size_ids, ids, sizeof ids);
}

/* One pass of the UNet without arithmetic, for `rows` of [negative, positive]. */
static tt_status rehearse_unet(tt_generation *g, int64_t rows, tt_err *err) {
    tt_unet *unet = g->engine->unet;
    g->condition.n = rows;
    TT_TRY(tt_unet_begin(unet, &g->condition, err));
    TT_TRY(tt_unet_forward(unet, g->unet_in, g->latent_h, g->latent_w, 0, g->unet_out, err));
    return TT_OK;
}

/* The rest of the request without arithmetic: describes every primitive and sizes the scratch block. Those of the UNet are
 * compiled here, for the denoise loop; the VAE's when it runs, so that nobody waits for them before the first step. */
static tt_status rehearse(tt_generation *g, tt_err *err) {
    tt_engine *e = g->engine;
    tt_ops_plan_begin(e->ops);
    if (g->n_rows == 2 && g->result->unguided_steps > 0 && !g->always_both)
        TT_TRY(rehearse_unet(g, 1, err));
    TT_TRY(rehearse_unet(g, g->n_rows, err));
    TT_TRY(tt__preview_rehearse(g, err));
    TT_TRY(tt_ops_prepare(e->ops, err));
    if (e->vae_ops != e->ops) {
        TT_TRY(tt_ops_plan_end(e->ops, err));
        tt_ops_plan_begin(e->vae_ops);
    }
    TT_TRY(tt__vae_pass(g, e->vae, g->unet_in, g->decoded, err));
    return tt_ops_plan_end(e->vae_ops, err);
}

static void count_planned(tt_generation *g) {
    const tt_engine *e = g->engine;
    size_t bytes = e->info.weight_bytes + g->request_bytes + tt_unet_request_bytes(e->unet) +
                   tt__texts_bytes(&e->texts) + tt_ops_scratch_bytes(e->ops);
    if (e->vae_ops != e->ops) bytes += tt_ops_scratch_bytes(e->vae_ops);
    if (g->tiled) {
        const tt_vae_tiles tiles = tt_vae_tiles_default();
        bytes += tt_vae_tiles_bytes(e->vae, &tiles, g->latent_h, g->latent_w);
    }
    if (e->exact.ops) bytes += tt_ops_scratch_bytes(e->exact.ops);
    g->result->planned_bytes = bytes;
}

static tt_status plan(tt_generation *g, tt_err *err) {
    int64_t start = tt_clock_us();
    TT_TRY(allocate(g, err));
    set_condition(g);
    TT_TRY(tt__preview_allocate(g, err));
    TT_TRY(tt__choose_tiles(g, err));
    TT_TRY(rehearse(g, err));
    count_planned(g);
    g->result->timings.plan_ms = ms_since(start);
    return TT_OK;
}

/* What the prompts name, onto the model; then what they say. */
static tt_status read_texts(tt_generation *g, tt_err *err) {
    TT_TRY(tt__open_texts(g, err));
    TT_TRY(tt__apply_adapters(g, err));
    int64_t start = tt_clock_us();
    TT_TRY(tt__schedule_texts(g, err));
    TT_TRY(tt__open_embeddings(g, err));
    TT_TRY(tt__encode_texts(g, err));
    g->result->timings.text_ms = ms_since(start);
    return TT_OK;
}

/* For the first step; later ones find it there unless the text changes. */
static tt_status condition(tt_generation *g, tt_err *err) {
    int64_t start = tt_clock_us();
    tt_ops_begin(g->engine->ops);
    bool both = g->always_both || tt__step_is_guided(g, 0);
    TT_TRY(tt__condition(g, 0, both ? g->n_rows : 1, err));
    g->result->timings.text_ms += ms_since(start);
    return TT_OK;
}

static tt_status make_picture(tt_generation *g, tt_picture *picture, tt_err *err) {
    const tt_request *r = g->request;
    tt_noise noise;
    int64_t start = tt_clock_us();
    picture->seed = r->seed + (r->variation_strength > 0 ? 0 : (uint64_t)g->picture);
    tt_noise_init(&noise, g->manner.noise, picture->seed);
    TT_TRY(tt__denoise(g, &noise, err));
    g->result->timings.denoise_ms += ms_since(start);
    start = tt_clock_us();
    picture->rgb = tt_alloc((size_t)r->width * (size_t)r->height * 3);
    if (!picture->rgb)
        return tt_fail_nomem(err, "a picture", (size_t)r->width * (size_t)r->height * 3);
    picture->width = r->width;
    picture->height = r->height;
    TT_TRY(tt__decode(g, picture->rgb, err));
    g->result->timings.vae_ms += ms_since(start);
    return TT_OK;
}

static tt_status make_pictures(tt_generation *g, tt_err *err) {
    g->result->pictures = tt_alloc((size_t)g->request->count * sizeof *g->result->pictures);
    if (!g->result->pictures) return tt_fail_nomem(err, "the result", sizeof *g->result->pictures);
    g->result->n_pictures = g->request->count;
    for (g->picture = 0; g->picture < g->request->count; g->picture++)
        TT_TRY(make_picture(g, &g->result->pictures[g->picture], err));
    count_planned(g); /* once more: the VAE may have been made again in f32 */
    return TT_OK;
}

static tt_status read_image(tt_generation *g, tt_err *err) {
    int64_t start = tt_clock_us();
    TT_TRY(tt__read_image(g, err));
    g->result->timings.vae_ms += ms_since(start);
    return TT_OK;
}

static tt_status generate(tt_generation *g, tt_err *err) {
    TT_TRY(tt_request_check(g->request, err));
    TT_TRY(tt__manner_of(g->request, &g->manner, err));
    TT_TRY(find_sizes(g, err));
    TT_TRY(make_sampler(g, err));
    TT_TRY(read_texts(g, err));
    TT_TRY(read_image(g, err));
    TT_TRY(plan(g, err));
    TT_TRY(condition(g, err));
    return make_pictures(g, err);
}

tt_status tt_engine_generate(tt_engine *engine, const tt_request *request, tt_result *result,
                             tt_err *err) {
    tt_generation g = {
        .engine = engine, .request = request, .result = result, .start_us = tt_clock_us()};
    *result = (tt_result){0};
    tt_status status = generate(&g, err);
    result->timings.total_ms = ms_since(g.start_us);
    result->peak_bytes = tt__peak_resident_bytes();
    if (status != TT_OK) {
        tt_scratch_reset(engine->ops);
        tt_scratch_reset(engine->vae_ops);
        if (engine->exact.ops) tt_scratch_reset(engine->exact.ops);
        tt_result_release(result);
    }
    tt_unet_end(engine->unet);
    release(&g);
    trim(engine);
    return status;
}

void tt_result_release(tt_result *result) {
    for (int i = 0; i < result->n_pictures; i++) tt_free(result->pictures[i].rgb);
    tt_free(result->pictures);
    result->pictures = NULL;
    result->n_pictures = 0;
    tt_free(result->adapters);
    result->adapters = NULL;
    result->n_adapters = 0;
}
