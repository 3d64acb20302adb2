/* One request: check, put adapters on the model, encode texts, prepare and rehearse, then per picture denoise and decode.
 *
 * A request is a list of passes over each picture, as a rule of one: hires.c adds a larger one, refiner.c one of another model
 * for the last steps. Each has sizes, a sampler and buffers of its own (but see refiner.c); texts and memory are planned for all
 * of them before the first step.
 *
 * Texts come before the rehearsal of the UNet because how many chunks they have decides how much it looks at.
 *
 * Pictures are made one after the other, each with a generator of its own: a picture never depends on its
 * batch, and a CPU gains nothing from a larger one. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "pipeline/passes.h"
#include "sample/names.h"

static double ms_since(int64_t start_us) {
    return (double)(tt_clock_us() - start_us) / 1000;
}

/* A refiner goes on in the walk of the pass before: guidance has its share of both together. */
static void measure_walks(tt_generation *g) {
    for (tt_generation *p = g; p; p = p->next) {
        p->walk_steps = tt_sampler_steps(p->sampler);
        if (!p->before) continue;
        p->walk_first = p->before->walk_steps;
        p->walk_steps += p->walk_first;
        p->before->walk_steps = p->walk_steps;
    }
}

/* How many rows the UNet is asked for, and in how many steps only for one: counted over all passes. */
static void choose_rows(tt_generation *g) {
    tt_result *result = g->result;
    int64_t n_rows = 1;
    for (tt_generation *p = g; p; p = p->next) {
        int steps = tt_sampler_steps(p->sampler), guided = 0;
        for (int i = 0; i < steps; i++) guided += tt__step_is_guided(p, i);
        p->always_both = tt_sampler_needs_both(p->sampler);
        if (guided > 0 || p->always_both) n_rows = 2;
        p->steps_before = result->steps;
        result->steps += steps;
        result->unguided_steps += steps - guided;
    }
    for (tt_generation *p = g; p; p = p->next) p->n_rows = n_rows;
    result->base_steps = result->steps;
    for (const tt_generation *p = g; p; p = p->next)
        if (p->before) result->base_steps -= tt_sampler_steps(p->sampler);
    if (tt__enlarged(g)) result->hires_steps = result->steps - tt_sampler_steps(g->sampler);
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

static tt_status make_sampler(tt_generation *p, tt_err *err) {
    tt_sampler_options options;
    TT_TRY(tt__resolve_sampler(p->engine, p->request, &options, err));
    options.n_values = p->n_values;
    options.prediction = p->model.trained.prediction;
    options.training = p->model.trained.training;
    if (p->request->image || p->is_after) options.strength = p->request->strength;
    tt__refiner_part(p, &options);
    tt_status status = tt_sampler_new(&options, &p->sampler, err);
    if (status == TT_OK || !p->is_after) return status;
    return tt_fail_prefix(err, status, p->before ? "refiner" : "second pass");
}

static tt_status make_samplers(tt_generation *g, tt_err *err) {
    for (tt_generation *p = g; p; p = p->next) {
        TT_TRY(find_sizes(p, err));
        TT_TRY(make_sampler(p, err));
    }
    measure_walks(g);
    choose_rows(g);
    g->result->sampler = tt_sampler_name(g->sampler);
    g->result->schedule = tt_sampler_schedule(g->sampler);
    tt_sample_label(g->result->sampler, g->result->schedule, g->result->sampler_label);
    g->result->prediction = g->engine->info.prediction;
    g->result->compat = tt_sample_compat_of(g->manner.compat)->name;
    g->result->noise = tt_noise_kind_name(g->manner.noise);
    return TT_OK;
}

/* All request memory in one place, so that the plan can count it. */
static tt_status allocate(tt_generation *g, tt_err *err) {
    const tt_unet *unet = g->model.unet;
    const tt_request *r = g->request;
    int64_t tokens = tt__context_tokens(g);
    const struct {
        float **slot;
        int64_t count;
    } floats[] = {
        {&g->context, g->n_rows * tokens * tt_unet_context_width(unet)},
        {&g->pooled, g->n_rows * tt_unet_pooled_width(unet)},
        {&g->latents, g->n_values},
        {&g->unet_in, g->n_rows * g->n_values / g->channels * tt_unet_in_channels(unet)},
        {&g->unet_out, g->n_rows * g->n_values},
        {&g->decoded, (int64_t)r->width * r->height * 3},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        size_t size = (size_t)floats[i].count * sizeof(float);
        if (*floats[i].slot) continue; /* another pass's */
        *floats[i].slot = tt_alloc(size);
        if (!*floats[i].slot) return tt_fail_nomem(err, "a request", size);
        g->request_bytes += size;
    }
    return TT_OK;
}

static void release(tt_generation *g) {
    if (g->next) release(g->next);
    tt_free(g->next);
    tt__refiner_unshare(g);
    tt_sampler_free(g->sampler);
    tt_free(g->context);
    tt_free(g->pooled);
    tt_free(g->latents);
    tt_free(g->unet_in);
    tt_free(g->unet_out);
    tt_free(g->decoded);
    tt_free(g->preview);
    tt__release_start(g);
    if (!g->is_after) tt__words_release(&g->words); /* those of later passes are the first's */
}

/* What is kept for the next request, within its limits. */
static void trim(tt_engine *e) {
    tt__texts_trim(&e->texts);
    tt__texts_trim(&e->refiner.texts);
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
    if (!g->before) return;
    g->condition.size_ids[TT_UNET_REFINER_IDS - 1] = r->aesthetic_score;
    g->condition.negative_score = r->negative_aesthetic_score;
}

/* One call of the UNet without arithmetic, for `rows` of [negative, positive]. */
static tt_status rehearse_rows(tt_generation *g, int64_t rows, tt_err *err) {
    tt_unet *unet = g->model.unet;
    g->condition.n = rows;
    TT_TRY(tt_unet_begin(unet, &g->condition, err));
    TT_TRY(tt_unet_forward(unet, g->unet_in, g->latent_h, g->latent_w, 0, g->unet_out, err));
    return TT_OK;
}

static tt_status rehearse_unet(tt_generation *p, tt_err *err) {
    bool has_unguided = p->n_rows == 2 && p->result->unguided_steps > 0 && !p->always_both;
    if (has_unguided) TT_TRY(rehearse_rows(p, 1, err));
    TT_TRY(rehearse_rows(p, p->n_rows, err));
    return tt__preview_rehearse(p, err);
}

static tt_status rehearse_vae(tt_generation *p, tt_err *err) {
    if (!tt__is_decoded(p)) return TT_OK;
    return tt__vae_pass(p, p->engine->vae, p->unet_in, p->decoded, err);
}

/* The rest of the request without arithmetic: describes every primitive and sizes the scratch block. Those of the UNet are
 * compiled here, for the denoise loop; the VAE's when it runs, so that nobody waits for them before the first step. */
static tt_status rehearse(tt_generation *g, tt_err *err) {
    tt_engine *e = g->engine;
    tt_ops_plan_begin(e->ops);
    for (tt_generation *p = g; p; p = p->next) TT_TRY(rehearse_unet(p, err));
    TT_TRY(tt_ops_prepare(e->ops, err));
    if (e->vae_ops != e->ops) {
        TT_TRY(tt_ops_plan_end(e->ops, err));
        tt_ops_plan_begin(e->vae_ops);
    }
    for (tt_generation *p = g; p; p = p->next) TT_TRY(rehearse_vae(p, err));
    return tt_ops_plan_end(e->vae_ops, err);
}

/* Tiles are assembled outside of scratch memory, those of one pass at a time. */
static size_t tiles_bytes(const tt_generation *g) {
    size_t most = 0;
    for (const tt_generation *p = g; p; p = p->next) {
        if (!p->tiled || !tt__is_decoded(p)) continue;
        size_t bytes = tt_vae_tiles_bytes(p->engine->vae, &p->tiles, p->latent_h, p->latent_w);
        if (bytes > most) most = bytes;
    }
    return most;
}

static void count_planned(tt_generation *g) {
    const tt_engine *e = g->engine;
    size_t bytes = e->info.weight_bytes + tt_unet_request_bytes(e->unet) +
                   tt__texts_bytes(&e->texts) + tt__texts_bytes(&e->refiner.texts) +
                   tt_ops_scratch_bytes(e->ops) + tiles_bytes(g);
    if (e->refiner.model.unet) bytes += tt_unet_request_bytes(e->refiner.model.unet);
    for (const tt_generation *p = g; p; p = p->next) bytes += p->request_bytes;
    if (e->vae_ops != e->ops) bytes += tt_ops_scratch_bytes(e->vae_ops);
    if (e->exact.ops) bytes += tt_ops_scratch_bytes(e->exact.ops);
    g->result->planned_bytes = bytes;
}

static tt_status plan_pass(tt_generation *p, tt_err *err) {
    tt__refiner_share(p);
    TT_TRY(allocate(p, err));
    set_condition(p);
    TT_TRY(tt__preview_allocate(p, err));
    return tt__is_decoded(p) ? tt__choose_tiles(p, err) : TT_OK;
}

static tt_status plan(tt_generation *g, tt_err *err) {
    int64_t start = tt_clock_us();
    for (tt_generation *p = g; p; p = p->next) TT_TRY(plan_pass(p, err));
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
    TT_TRY(tt__refiner_read(g, err));
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

/* The picture's latents; and when a larger pass follows, what it begins with. A refiner draws on from the stream. */
static tt_status run_pass(tt_generation *p, uint64_t seed, tt_noise *noise, tt_err *err) {
    tt_timings *timings = &p->result->timings;
    int64_t start = tt_clock_us();
    if (!p->before) tt_noise_init(noise, p->manner.noise, seed);
    TT_TRY(tt__denoise(p, noise, err));
    timings->denoise_ms += ms_since(start);
    start = tt_clock_us();
    TT_TRY(tt__hires_enlarge(p, err));
    timings->vae_ms += ms_since(start);
    return TT_OK;
}

static tt_status decode(tt_generation *p, tt_picture *picture, tt_err *err) {
    const tt_request *r = p->request;
    int64_t start = tt_clock_us();
    size_t size = (size_t)r->width * (size_t)r->height * 3;
    picture->rgb = tt_alloc(size);
    if (!picture->rgb) return tt_fail_nomem(err, "a picture", size);
    picture->width = r->width;
    picture->height = r->height;
    TT_TRY(tt__decode(p, picture->rgb, err));
    p->result->timings.vae_ms += ms_since(start);
    return TT_OK;
}

static tt_status make_picture(tt_generation *g, int index, tt_picture *picture, tt_err *err) {
    const tt_request *r = g->request;
    tt_generation *last = g;
    tt_noise noise;
    picture->seed = r->seed + (r->variation_strength > 0 ? 0 : (uint64_t)index);
    for (tt_generation *p = g; p; p = p->next) {
        p->picture = index;
        TT_TRY(run_pass(p, picture->seed, &noise, err));
        last = p;
    }
    return decode(last, picture, err);
}

static tt_status make_pictures(tt_generation *g, tt_err *err) {
    g->result->pictures = tt_alloc((size_t)g->request->count * sizeof *g->result->pictures);
    if (!g->result->pictures) return tt_fail_nomem(err, "the result", sizeof *g->result->pictures);
    g->result->n_pictures = g->request->count;
    for (int i = 0; i < g->request->count; i++)
        TT_TRY(make_picture(g, i, &g->result->pictures[i], err));
    count_planned(g); /* once more: the VAE may have been made again in f32 */
    return TT_OK;
}

static tt_status read_images(tt_generation *g, tt_err *err) {
    int64_t start = tt_clock_us();
    TT_TRY(tt__hires_read(g, err));
    for (tt_generation *p = g; p; p = p->next)
        if (!p->before) TT_TRY(tt__read_image(p, err));
    g->result->timings.vae_ms += ms_since(start);
    return TT_OK;
}

static tt_status generate(tt_generation *g, tt_err *err) {
    TT_TRY(tt_request_check(g->request, err));
    TT_TRY(tt__manner_of(g->request, &g->manner, err));
    TT_TRY(tt__hires_open(g, err));
    TT_TRY(tt__refiner_add(g, err));
    TT_TRY(make_samplers(g, err));
    TT_TRY(read_texts(g, err));
    TT_TRY(read_images(g, err));
    TT_TRY(plan(g, err));
    TT_TRY(condition(g, err));
    return make_pictures(g, err);
}

static tt__model base_model(tt_engine *e) {
    return (tt__model){.checkpoint = e->checkpoint,
                       .clips = {e->clips[0], e->clips[1]},
                       .tokenizers = {e->tokenizers[0], e->tokenizers[1]},
                       .unet = e->unet,
                       .texts = &e->texts,
                       .trained = e->trained,
                       .paints_in = e->paints_in};
}

tt_status tt_engine_generate(tt_engine *engine, const tt_request *request, tt_result *result,
                             tt_err *err) {
    tt_generation g = {.engine = engine,
                       .model = base_model(engine),
                       .request = request,
                       .result = result,
                       .start_us = tt_clock_us()};
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
    if (engine->refiner.model.unet) tt_unet_end(engine->refiner.model.unet);
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
