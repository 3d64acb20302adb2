/* What a request may ask for, and what its names mean. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "pipeline/passes.h"
#include "sample/names.h"

static const float DEFAULT_HIRES_STRENGTH = 0.7f; /* A1111's */
/* The refiner's own, engine.md 1.4. */
static const float DEFAULT_AESTHETIC_SCORE = 6, DEFAULT_NEGATIVE_AESTHETIC_SCORE = 2.5f;

const char *const *tt_sampler_names(void) {
    return tt_sample_sampler_names();
}

const char *const *tt_schedule_names(void) {
    return tt_sample_schedule_names();
}

tt_status tt_sampler_lookup(const char *name, const char **sampler, const char **schedule,
                            tt_err *err) {
    return tt_sample_lookup(name, sampler, schedule, err);
}

void tt_request_defaults(const tt_engine *engine, tt_request *request) {
    *request = (tt_request){.width = 1024,
                            .height = 1024,
                            .steps = 24,
                            .guidance = 4.5f,
                            .count = 1,
                            .strength = 0.75f,
                            .guidance_end = 1,
                            .eta = -1,
                            .hires_strength = DEFAULT_HIRES_STRENGTH,
                            .aesthetic_score = DEFAULT_AESTHETIC_SCORE,
                            .negative_aesthetic_score = DEFAULT_NEGATIVE_AESTHETIC_SCORE};
    if (!engine) return;
    request->width = engine->info.default_width;
    request->height = engine->info.default_height;
    request->steps = engine->info.default_steps;
    request->guidance = engine->info.default_guidance;
    if (engine->recipe) request->eta = engine->recipe->eta;
}

static tt_status check_side(const char *name, int value, tt_err *err) {
    if (value >= TT_MIN_SIDE_PIXELS && value <= TT_MAX_SIDE_PIXELS && value % TT_SIDE_MULTIPLE == 0)
        return TT_OK;
    return tt_fail(err, TT_E_INVALID, "%s: expected a multiple of %d from %d to %d, found %d", name,
                   TT_SIDE_MULTIPLE, TT_MIN_SIDE_PIXELS, TT_MAX_SIDE_PIXELS, value);
}

static tt_status check_int(const char *name, int value, int low, int high, tt_err *err) {
    if (value >= low && value <= high) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "%s: expected %d to %d, found %d", name, low, high, value);
}

static tt_status check_float(const char *name, float value, float low, float high, tt_err *err) {
    if (value >= low && value <= high) return TT_OK; /* false for NaN */
    return tt_fail(err, TT_E_INVALID, "%s: expected %g to %g, found %g", name, (double)low,
                   (double)high, (double)value);
}

static tt_status check_text(const char *name, const char *text, tt_err *err) {
    size_t size = strlen(text), bad_at;
    if (size > TT_MAX_PROMPT_BYTES)
        return tt_fail(err, TT_E_INVALID, "%s: %zu bytes, at most %zu", name, size,
                       TT_MAX_PROMPT_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at, "%s: not valid UTF-8 at byte %zu",
                          name, bad_at);
    return TT_OK;
}

static tt_status check_texts(const tt_request *r, tt_err *err) {
    if (!r->prompt) return tt_fail(err, TT_E_INVALID, "prompt: missing (an empty one is allowed)");
    TT_TRY(check_text("prompt", r->prompt, err));
    if (r->negative_prompt) TT_TRY(check_text("negative prompt", r->negative_prompt, err));
    if (r->prompt_2) TT_TRY(check_text("prompt 2", r->prompt_2, err));
    if (r->negative_prompt_2) TT_TRY(check_text("negative prompt 2", r->negative_prompt_2, err));
    return TT_OK;
}

/* Names, and the texts by the syntax that is named. */
static tt_status check_names(const tt_request *r, tt_err *err) {
    const char *sampler, *schedule;
    tt__manner manner;
    if (r->sampler) TT_TRY(tt_sample_lookup(r->sampler, &sampler, &schedule, err));
    if (r->schedule) TT_TRY(tt_sample_lookup_schedule(r->schedule, &schedule, err));
    TT_TRY(tt__manner_of(r, &manner, err));
    return tt__check_texts(r, &manner, err);
}

/* Which share of the steps is guided. */
static tt_status check_share(const tt_request *r, tt_err *err) {
    TT_TRY(check_float("guidance start", r->guidance_start, 0, 1, err));
    TT_TRY(check_float("guidance end", r->guidance_end, 0, 1, err));
    if (r->guidance_start <= r->guidance_end) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "guidance start: expected at most guidance end, %g, found %g",
                   (double)r->guidance_end, (double)r->guidance_start);
}

/* Negative: the sampler's own. */
static tt_status check_eta(const tt_request *r, tt_err *err) {
    if (r->eta <= 1) return TT_OK; /* false for NaN */
    return tt_fail(err, TT_E_INVALID, "eta: expected at most 1, found %g", (double)r->eta);
}

static tt_status check_passes(const tt_request *r, tt_err *err) {
    TT_TRY(tt__check_hires(r, err));
    return tt__check_refiner(r, err);
}

/* 0: the picture's own. */
static tt_status check_sizes(const tt_request *r, tt_err *err) {
    const struct {
        const char *name;
        int value;
    } sizes[] = {
        {"original width", r->original_width}, {"original height", r->original_height},
        {"target width", r->target_width},     {"target height", r->target_height},
        {"crop left", r->crop_left},           {"crop top", r->crop_top},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        TT_TRY(check_int(sizes[i].name, sizes[i].value, 0, TT_MAX_CONDITION_PIXELS, err));
    return TT_OK;
}

static tt_status check_image(const tt_request *r, tt_err *err) {
    if (r->mask && !r->image)
        return tt_fail(err, TT_E_INVALID, "mask: a picture to keep parts of is missing");
    if (!r->image) return TT_OK;
    if (r->strength > 0 && r->strength <= 1) return TT_OK; /* false for NaN */
    return tt_fail(err, TT_E_INVALID, "strength: expected more than 0, at most 1, found %g",
                   (double)r->strength);
}

tt_status tt_request_check(const tt_request *r, tt_err *err) {
    TT_TRY(check_texts(r, err));
    TT_TRY(check_side("width", r->width, err));
    TT_TRY(check_side("height", r->height, err));
    TT_TRY(check_int("steps", r->steps, 1, TT_MAX_STEPS, err));
    TT_TRY(check_int("count", r->count, 1, TT_MAX_PICTURES, err));
    TT_TRY(check_int("clip skip", r->clip_skip, 0, TT_MAX_CLIP_SKIP, err));
    TT_TRY(check_float("guidance", r->guidance, 0, TT_MAX_GUIDANCE, err));
    TT_TRY(check_float("guidance rescale", r->guidance_rescale, 0, 1, err));
    TT_TRY(check_float("variation strength", r->variation_strength, 0, 1, err));
    TT_TRY(check_share(r, err));
    TT_TRY(check_eta(r, err));
    TT_TRY(check_sizes(r, err));
    TT_TRY(check_image(r, err));
    TT_TRY(check_passes(r, err));
    TT_TRY(tt__check_adapters(r, err));
    TT_TRY(tt__check_embeddings(r, err));
    return check_names(r, err);
}

/* The sampler the request names (or the model's default), with the model's training facts. A schedule
 * in the request wins over one in the sampler's name. */
tt_status tt__resolve_sampler(const tt_engine *e, const tt_request *r, tt_sampler_options *out,
                              tt_err *err) {
    tt_sampler_options_defaults(out);
    TT_TRY(tt_sample_lookup(r->sampler ? r->sampler : e->info.default_sampler, &out->sampler,
                            &out->schedule, err));
    if (r->schedule) TT_TRY(tt_sample_lookup_schedule(r->schedule, &out->schedule, err));
    TT_TRY(tt_sample_compat_parse(r->compat, &out->compat, err));
    out->steps = r->steps;
    out->eta = r->eta;
    out->prediction = e->trained.prediction;
    out->training = e->trained.training;
    return TT_OK;
}
