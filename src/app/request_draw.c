/* How a picture is drawn: samplers, guidance, sizes, passes. See request_parts.h. */
#include <string.h>

#include "app/request_parts.h"
#include "app/values.h"

/* The engine's sentence about a name, with the name that the user gave the option. `own` is what the engine calls it. */
static void refuse_name(const tt_setting *named, const char *own, const tt_err *why,
                        tt_problems *problems) {
    size_t n = strlen(own);
    bool is_named = strncmp(why->message, own, n) == 0;
    tt_problems_add(problems, "%s: %s", named->spelling, why->message + (is_named ? n : 0));
}

/* A recipe comes before what is said beside it, and after what was said farther from the user: a job's recipe is stronger than
 * the environment's steps. */
static bool is_said(const tt_settings *s, tt_option_id id) {
    return s->of[id].origin >= s->of[TT_OPT_RECIPE].origin;
}

static void read_recipe(const tt_settings *s, tt_app_request *out, tt_problems *problems) {
    tt_err why;
    tt_value_string(s, TT_OPT_RECIPE, &out->recipe, problems);
    if (out->recipe && tt_recipe_apply(out->recipe, &out->engine, &why) != TT_OK)
        refuse_name(&s->of[TT_OPT_RECIPE], "recipe: ", &why, problems);
}

/* A pasted sampler name may bring its schedule. One that is named beside it wins when it comes from
 * nearer to the user; from the same place, the two must agree. */
static void read_sampler(const tt_settings *s, tt_request *r, tt_problems *problems) {
    const tt_setting *named = &s->of[TT_OPT_SAMPLER], *schedule = &s->of[TT_OPT_SCHEDULE];
    const char *name = NULL, *sampler = NULL, *implied = NULL, *chosen = NULL;
    tt_err why;
    if (is_said(s, TT_OPT_SCHEDULE)) tt_value_choice(s, TT_OPT_SCHEDULE, &chosen, problems);
    if (is_said(s, TT_OPT_SAMPLER)) tt_value_string(s, TT_OPT_SAMPLER, &name, problems);
    if (name && tt_sampler_lookup(name, &sampler, &implied, &why) != TT_OK) {
        refuse_name(named, "sampler: ", &why, problems);
        return;
    }
    if (implied && chosen && schedule->origin == named->origin && strcmp(implied, chosen) != 0)
        tt_problems_add(problems,
                        "%s: expected %s, as the name of the sampler says, or none, found \"%s\"",
                        schedule->spelling, implied, chosen);
    if (implied && schedule->origin < named->origin) chosen = implied;
    if (sampler) {
        r->sampler = sampler;
        r->schedule = implied;
    }
    if (chosen) r->schedule = chosen;
}

static void read_guidance(const tt_settings *s, tt_request *r, tt_problems *problems) {
    if (is_said(s, TT_OPT_STEPS)) tt_value_integer(s, TT_OPT_STEPS, &r->steps, problems);
    if (is_said(s, TT_OPT_CFG)) tt_value_number(s, TT_OPT_CFG, &r->guidance, problems);
    if (is_said(s, TT_OPT_ETA)) tt_value_number(s, TT_OPT_ETA, &r->eta, problems);
    tt_value_number(s, TT_OPT_GUIDANCE_RESCALE, &r->guidance_rescale, problems);
    tt_value_number(s, TT_OPT_GUIDANCE_START, &r->guidance_start, problems);
    tt_value_number(s, TT_OPT_GUIDANCE_END, &r->guidance_end, problems);
    if (r->guidance_start <= r->guidance_end) return;
    const tt_setting *start = &s->of[TT_OPT_GUIDANCE_START];
    tt_problems_add(problems, "%s: expected at most the end of guidance, %g, found %g",
                    start->spelling, (double)r->guidance_end, (double)r->guidance_start);
}

static void read_sizes(const tt_settings *s, tt_request *r, tt_problems *problems) {
    tt_value_integer(s, TT_OPT_WIDTH, &r->width, problems);
    tt_value_integer(s, TT_OPT_HEIGHT, &r->height, problems);
    tt_value_integer(s, TT_OPT_ORIGINAL_WIDTH, &r->original_width, problems);
    tt_value_integer(s, TT_OPT_ORIGINAL_HEIGHT, &r->original_height, problems);
    tt_value_integer(s, TT_OPT_TARGET_WIDTH, &r->target_width, problems);
    tt_value_integer(s, TT_OPT_TARGET_HEIGHT, &r->target_height, problems);
    tt_value_integer(s, TT_OPT_CROP_LEFT, &r->crop_left, problems);
    tt_value_integer(s, TT_OPT_CROP_TOP, &r->crop_top, problems);
}

/* More than 0: at 0 there is nothing to do. */
static void read_strength(const tt_settings *s, tt_option_id id, float *out,
                          tt_problems *problems) {
    tt_value_number(s, id, out, problems);
    if (*out == 0 && s->of[id].value)
        tt_problems_add(problems, "%s: expected a number above 0, at most 1, found 0",
                        s->of[id].spelling);
}

static void read_passes(const tt_settings *s, tt_request *r, tt_problems *problems) {
    if (tt_value_is_said(s, TT_OPT_IMAGE))
        read_strength(s, TT_OPT_STRENGTH, &r->strength, problems);
    else
        tt_value_number(s, TT_OPT_STRENGTH, &r->strength, problems);
    tt_value_number(s, TT_OPT_HIRES_SCALE, &r->hires_scale, problems);
    read_strength(s, TT_OPT_HIRES_STRENGTH, &r->hires_strength, problems);
    tt_value_integer(s, TT_OPT_HIRES_STEPS, &r->hires_steps, problems);
    tt_value_choice(s, TT_OPT_HIRES_UPSCALER, &r->hires_upscaler, problems);
    tt_value_number(s, TT_OPT_REFINER_START, &r->refiner_start, problems);
    tt_value_number(s, TT_OPT_AESTHETIC_SCORE, &r->aesthetic_score, problems);
    tt_value_number(s, TT_OPT_NEGATIVE_AESTHETIC_SCORE, &r->negative_aesthetic_score, problems);
}

void tt__request_read_drawing(const tt_settings *s, tt_app_request *out, tt_problems *problems) {
    tt_request *r = &out->engine;
    read_recipe(s, out, problems);
    read_sizes(s, r, problems);
    read_guidance(s, r, problems);
    read_sampler(s, r, problems);
    tt_value_choice(s, TT_OPT_NOISE, &r->noise, problems);
    tt_value_choice(s, TT_OPT_COMPAT, &r->compat, problems);
    read_passes(s, r, problems);
}
