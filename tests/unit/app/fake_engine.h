/* A stand-in for the engine, for tests of what stands above it: every function of tintype/engine.h, so that the real
 * one is never linked. Its pictures are a plain function of seed and place. Include it in one file per program. */
#ifndef TESTS_UNIT_APP_FAKE_ENGINE_H
#define TESTS_UNIT_APP_FAKE_ENGINE_H

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tintype/engine.h"

struct tt_engine {
    tt_engine_info info;
    tt_status failure; /* what generate ends with */
    int prompt_tokens;
    int steps_reported;     /* by the last call of generate */
    bool is_blank;          /* pictures come out in one colour */
    char open_failure[256]; /* what open ends with; "": it succeeds */
};

#define FAKE __attribute__((weak))

static const tt_engine_info FAKE_INFO = {
    .model_name = "fake.safetensors",
    .layout = "ldm file",
    .precision = "f32",
    .vae_precision = "f32",
    .prediction = "epsilon",
    .n_threads = 2,
    .default_width = 256,
    .default_height = 192,
    .default_steps = 12,
    .default_guidance = 3.5f,
    .default_sampler = "dpmpp_2m",
    .n_parameters = 1000000,
    .load_ms = 12.5,
};

FAKE const tt_engine_info *tt_engine_get_info(const tt_engine *engine) {
    return &engine->info;
}

/* What tt_engine_open gives; a test fills it in. */
static tt_engine fake_engine_to_open;

/* What open and close were called with. */
static struct {
    int n_opened, n_closed;
    bool was_open; /* when open was called last, another was */
    char model_path[256], model_name[64];
} fake_engine_life;

FAKE tt_status tt_engine_open(const tt_engine_options *options, tt_engine **out, tt_err *err) {
    fake_engine_life.was_open = fake_engine_life.n_opened > fake_engine_life.n_closed;
    snprintf(fake_engine_life.model_path, sizeof fake_engine_life.model_path, "%s",
             options->model_path ? options->model_path : "");
    snprintf(fake_engine_life.model_name, sizeof fake_engine_life.model_name, "%s",
             options->model_name ? options->model_name : "");
    if (fake_engine_to_open.open_failure[0])
        return tt_fail(err, TT_E_FORMAT, "%s", fake_engine_to_open.open_failure);
    fake_engine_life.n_opened++;
    *out = &fake_engine_to_open;
    return TT_OK;
}

FAKE void tt_engine_close(tt_engine *engine) {
    if (engine) fake_engine_life.n_closed++;
}

FAKE void tt_engine_options_defaults(tt_engine_options *options) {
    *options = (tt_engine_options){.model_path = NULL};
}

FAKE void tt_request_defaults(const tt_engine *engine, tt_request *request) {
    *request = (tt_request){.width = 1024,
                            .height = 1024,
                            .steps = 24,
                            .guidance = 4.5f,
                            .count = 1,
                            .strength = 0.75f,
                            .guidance_end = 1,
                            .eta = -1,
                            .hires_strength = 0.7f,
                            .aesthetic_score = 6,
                            .negative_aesthetic_score = 2.5f};
    if (!engine) return;
    request->width = engine->info.default_width;
    request->height = engine->info.default_height;
    request->steps = engine->info.default_steps;
    request->guidance = engine->info.default_guidance;
}

FAKE const char *const *tt_sampler_names(void) {
    static const char *const names[] = {"euler", "euler_a", "dpmpp_2m", NULL};
    return names;
}

FAKE const char *const *tt_schedule_names(void) {
    static const char *const names[] = {"leading", "normal", "karras", NULL};
    return names;
}

FAKE tt_status tt_sampler_lookup(const char *name, const char **sampler, const char **schedule,
                                 tt_err *err) {
    static const char *const known[][3] = {{"euler", "euler", NULL},
                                           {"dpmpp_2m", "dpmpp_2m", NULL},
                                           {"DPM++ 2M Karras", "dpmpp_2m", "karras"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i][0]) != 0) continue;
        *sampler = known[i][1];
        *schedule = known[i][2];
        return TT_OK;
    }
    if (strcmp(name, "KLMS") == 0)
        return tt_fail(err, TT_E_UNSUPPORTED, "sampler: \"KLMS\" is not available here");
    return tt_fail(err, TT_E_INVALID, "sampler: expected one of euler, dpmpp_2m, found \"%s\"",
                   name);
}

FAKE const char *const *tt_recipe_names(void) {
    static const char *const names[] = {"lightning-4", "turbo-1", NULL};
    return names;
}

FAKE tt_status tt_recipe_apply(const char *name, tt_request *request, tt_err *err) {
    if (strcmp(name, "lightning-4") != 0)
        return tt_fail(err, TT_E_INVALID,
                       "recipe: expected one of lightning-4, turbo-1, found \"%s\"", name);
    request->sampler = "euler";
    request->schedule = "leading";
    request->steps = 4;
    request->guidance = 1;
    request->eta = 0;
    return TT_OK;
}

/* The request's adapters, then one per "<lora:" in the prompt, found as the engine does. */
static inline tt_status fake_adapters(const tt_request *request, tt_result *result, tt_err *err) {
    result->adapters = calloc(8, sizeof *result->adapters);
    for (int i = 0; i < request->n_adapters; i++) {
        tt_result_adapter *a = &result->adapters[result->n_adapters++];
        *a = (tt_result_adapter){.unet = request->adapters[i].scale,
                                 .te1 = request->adapters[i].scale,
                                 .te2 = request->adapters[i].scale,
                                 .kinds = "LoRA",
                                 .rank_min = 8,
                                 .rank_max = 8,
                                 .n_unet = 3,
                                 .n_keys = 9,
                                 .n_matched = 9};
        snprintf(a->name, sizeof a->name, "%s", request->adapters[i].name);
        snprintf(a->path, sizeof a->path, "%s", request->adapters[i].path);
    }
    const char *tag = strstr(request->prompt, "<lora:");
    if (!tag) return TT_OK;
    tt_result_adapter *a = &result->adapters[result->n_adapters++];
    *a = (tt_result_adapter){.from_prompt = true,
                             .unet = 0.5f,
                             .te1 = 1,
                             .te2 = 1,
                             .kinds = "LoHa",
                             .n_keys = 9,
                             .n_matched = 7,
                             .n_unmatched = 2};
    snprintf(a->name, sizeof a->name, "%.*s", (int)strcspn(tag + 6, ":>"), tag + 6);
    snprintf(a->unmatched[0], sizeof a->unmatched[0], "odd.one");
    snprintf(a->unmatched[1], sizeof a->unmatched[1], "odd.two");
    return request->find_adapter(request->find_adapter_context, a->name, a->path, sizeof a->path,
                                 err);
}

/* Every step of every picture, as the engine does, with a grey preview where one is wanted. */
static inline bool fake_steps(tt_engine *engine, const tt_request *request) {
    static uint8_t grey[32 * 24 * 3];
    engine->steps_reported = 0;
    for (int i = 0; request->progress && i < request->count; i++)
        for (int step = 0; step <= request->steps; step++, engine->steps_reported++) {
            tt_progress p = {.picture = i,
                             .n_pictures = request->count,
                             .step = step,
                             .n_steps = request->steps,
                             .elapsed_ms = 100 + 10 * (i * request->steps + step)};
            if (request->want_preview && step > 0)
                p.preview = grey, p.preview_width = 32, p.preview_height = 24;
            if (!request->progress(request->progress_context, &p)) return false;
        }
    return true;
}

FAKE void tt_result_release(tt_result *result) {
    for (int i = 0; result->pictures && i < result->n_pictures; i++) free(result->pictures[i].rgb);
    free(result->pictures);
    free(result->adapters);
    *result = (tt_result){.pictures = NULL};
}

FAKE tt_status tt_engine_generate(tt_engine *engine, const tt_request *request, tt_result *result,
                                  tt_err *err) {
    *result = (tt_result){.pictures = NULL};
    if (engine->failure) return tt_fail(err, engine->failure, "the fake engine was told to fail");
    if (!fake_steps(engine, request)) return tt_fail(err, TT_E_CANCELLED, "cancelled");
    size_t size = (size_t)request->width * (size_t)request->height * 3;
    result->pictures = calloc((size_t)request->count, sizeof *result->pictures);
    result->n_pictures = request->count;
    for (int i = 0; i < request->count; i++) {
        tt_picture *p = &result->pictures[i];
        *p = (tt_picture){malloc(size), request->width, request->height,
                          request->seed + (uint64_t)i};
        for (size_t k = 0; k < size; k++)
            p->rgb[k] = engine->is_blank ? (uint8_t)(k % 3) : (uint8_t)(k * 7 + p->seed);
    }
    result->sampler = request->sampler ? request->sampler : engine->info.default_sampler;
    snprintf(result->sampler_label, sizeof result->sampler_label, "%s", "DPM++ 2M Karras");
    result->schedule = request->schedule ? request->schedule : "leading";
    result->noise = request->noise ? request->noise : "cpu";
    result->prediction = "epsilon";
    result->negative_policy = request->negative_prompt ? "encoded" : "zeros";
    result->prompt_tokens = engine->prompt_tokens;
    result->prompt_tokens_used = engine->prompt_tokens < 75 ? engine->prompt_tokens : 75;
    result->timings =
        (tt_timings){.text_ms = 1, .denoise_ms = 500, .vae_ms = 20, .total_ms = 530, .plan_ms = 9};
    result->peak_bytes = 123456789;
    result->clip_skip = request->clip_skip ? request->clip_skip : 2;
    result->compat = request->compat ? request->compat : "diffusers";
    result->prompt_syntax = request->prompt_syntax ? request->prompt_syntax : "a1111";
    result->steps = request->steps;
    tt_status status = fake_adapters(request, result, err);
    if (status != TT_OK) tt_result_release(result);
    return status;
}

FAKE const char *tt_version(void) {
    return "0.0.0";
}

#endif
