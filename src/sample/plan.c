/* Options become a plan in this order: the sampler's row, the schedule's name, the noise table, sigmas
 * and timesteps, the part of them that runs, points. */
#include "sample/plan.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sample/names.h"

static const tt__kind kinds[] = {
    {.name = "euler", .step = tt__step_euler, .grid = TT_GRID_SIGMA},
    {.name = "euler_a",
     .step = tt__step_euler_a,
     .grid = TT_GRID_SIGMA,
     .eta = 1,
     .draws_noise = true},
    {.name = "euler_cfgpp",
     .step = tt__step_euler_cfgpp,
     .grid = TT_GRID_SIGMA,
     .needs_both = true},
    {.name = "heun", .step = tt__step_heun, .grid = TT_GRID_SIGMA, .asks_twice = true},
    {.name = "lms", .step = tt__step_lms, .grid = TT_GRID_SIGMA},
    {.name = "res_multistep", .step = tt__step_res_multistep, .grid = TT_GRID_SIGMA},
    {.name = "dpm2",
     .step = tt__step_dpm2,
     .grid = TT_GRID_SIGMA_WHOLE,
     .asks_twice = true,
     .middle = TT__MIDDLE,
     .drops_in_a1111 = true,
     .drops_in_comfyui = true},
    {.name = "dpm2_a",
     .step = tt__step_dpm2_a,
     .grid = TT_GRID_SIGMA_WHOLE,
     .eta = 1,
     .draws_noise = true,
     .asks_twice = true,
     .middle = TT__MIDDLE_DOWN,
     .drops_in_a1111 = true,
     .drops_in_comfyui = true},
    {.name = "dpmpp_sde",
     .step = tt__step_dpmpp_sde,
     .grid = TT_GRID_SIGMA,
     .eta = 1,
     .draws_noise = true,
     .sde = true,
     .always_tree = true,
     .asks_twice = true,
     .middle = TT__MIDDLE},
    {.name = "dpmpp_2s_a",
     .step = tt__step_dpmpp_2s_a,
     .grid = TT_GRID_SIGMA,
     .eta = 1,
     .draws_noise = true,
     .asks_twice = true,
     .middle = TT__MIDDLE_DOWN},
    {.name = "dpmpp_2m",
     .step = tt__step_dpmpp_2m,
     .grid = TT_GRID_MULTISTEP,
     .keeps_variance = true},
    {.name = "dpmpp_2m_sde",
     .step = tt__step_dpmpp_2m_sde,
     .grid = TT_GRID_MULTISTEP,
     .keeps_variance = true,
     .draws_noise = true,
     .sde = true},
    {.name = "dpmpp_3m_sde",
     .step = tt__step_dpmpp_3m_sde,
     .grid = TT_GRID_MULTISTEP,
     .keeps_variance = true,
     .draws_noise = true,
     .sde = true,
     .drops_in_a1111 = true},
    {.name = "dpmpp_2s",
     .step = tt__step_dpmpp_2s,
     .grid = TT_GRID_MULTISTEP,
     .keeps_variance = true,
     .default_schedule = "linspace"},
    {.name = "unipc",
     .step = tt__step_unipc,
     .grid = TT_GRID_MULTISTEP,
     .keeps_variance = true,
     .a1111_schedule = "leading",
     .drops_in_comfyui = true},
    {.name = "ddim",
     .step = tt__step_ddim,
     .grid = TT_GRID_DDIM,
     .keeps_variance = true,
     .draws_with_eta = true,
     .fixed_stride = true,
     .a1111_schedule = "leading"},
    {.name = "pndm",
     .step = tt__step_pndm,
     .grid = TT_GRID_DDIM,
     .keeps_variance = true,
     .fixed_stride = true,
     .no_edm = true,
     .a1111_schedule = "leading"},
    {.name = "lcm",
     .step = tt__step_lcm,
     .grid = TT_GRID_LCM,
     .keeps_variance = true,
     .draws_noise = true,
     .no_edm = true},
    {.name = "tcd",
     .step = tt__step_tcd,
     .grid = TT_GRID_LCM,
     .eta = 0.3f,
     .keeps_variance = true,
     .draws_with_eta = true,
     .no_edm = true},
};

static tt_status find_kind(const char *name, const tt__kind **out, tt_err *err) {
    if (!name) name = kinds[0].name;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(name, kinds[i].name) != 0) continue;
        *out = &kinds[i];
        return TT_OK;
    }
    const char *canonical, *schedule;
    TT_TRY(tt_sample_lookup(name, &canonical, &schedule, err));
    return tt_fail(err, TT_E_INVALID,
                   "sampler: expected a canonical name such as %s, found \"%.40s\"", canonical,
                   name);
}

/* ---- the schedule's name ---- */

static bool is_named(const char *schedule, const char *name) {
    return strcmp(schedule, name) == 0;
}

static bool is_spacing(const char *schedule) {
    return is_named(schedule, "leading") || is_named(schedule, "trailing") ||
           is_named(schedule, "linspace");
}

static bool is_edm(const tt_sampler_options *o) {
    return o->training.edm_sigma_max != 0;
}

static const char *meant_by_default(const tt_sampler_options *o, const tt__kind *k) {
    const tt_sample_compat_facts *facts = tt_sample_compat_of(o->compat);
    const char *spacing = o->training.spacing;
    if (k->grid == TT_GRID_LCM && o->compat == TT_COMPAT_DIFFUSERS) return "default";
    if (k->a1111_schedule && o->compat == TT_COMPAT_A1111) return k->a1111_schedule;
    if (facts->default_schedule) return facts->default_schedule;
    if (is_edm(o)) return "karras";
    if (k->default_schedule) return k->default_schedule;
    return spacing && *spacing ? spacing : "leading";
}

/* What "default" means for this sampler and model: a static canonical name. */
static tt_status resolve_schedule(const tt_sampler_options *o, const tt__kind *k, const char **out,
                                  tt_err *err) {
    const char *name = o->schedule ? o->schedule : "default";
    if (is_named(name, "default")) name = meant_by_default(o, k);
    for (const char *const *known = tt_sample_schedule_names(); *known; known++) {
        if (strcmp(name, *known) != 0) continue;
        *out = *known;
        return TT_OK;
    }
    return tt_sample_lookup_schedule(name, out, err);
}

/* ---- the part that runs ---- */

static tt_status check_part(const tt_sampler_options *o, tt_err *err) {
    if (!(o->strength > 0 && o->strength <= 1))
        return tt_fail(err, TT_E_INVALID, "strength: expected more than 0, at most 1, found %g",
                       (double)o->strength);
    if (!(o->denoising_start >= 0 && o->denoising_start < o->denoising_end &&
          o->denoising_end <= 1))
        return tt_fail(err, TT_E_INVALID,
                       "denoising: expected 0 <= start < end <= 1, found start %g and end %g",
                       (double)o->denoising_start, (double)o->denoising_end);
    return TT_OK;
}

/* The decimal that a person wrote before it became a float: 0.58 of 50 steps are 28 in Python, where
 * 50 * 0.58 is a little less than 29, and are not where 0.58f is. */
static double as_written(float fraction) {
    char text[32];
    snprintf(text, sizeof text, "%.*g", FLT_DIG, (double)fraction);
    return strtod(text, NULL);
}

static bool starts_from_picture(const tt_sampler_options *o) {
    return o->strength < 1 && !(o->denoising_start > 0);
}

/* Steps of the schedule that a strength takes its last ones from. */
static int stretched_steps(const tt_sampler_options *o) {
    bool stretches = tt_sample_compat_of(o->compat)->strength == TT_STRENGTH_STRETCHED;
    static const double all = 0.9999; /* ComfyUI's bound for "all of it" */
    double strength = as_written(o->strength);
    if (!stretches || !starts_from_picture(o) || strength > all) return o->steps;
    return (int)fmin(o->steps / strength, TT_MAX_TRAIN_STEPS);
}

static int steps_of_strength(const tt_sampler_options *o, int count) {
    static const double most = 0.999; /* A1111's */
    double strength = as_written(o->strength);
    int n = o->steps;
    tt_strength_rule rule = tt_sample_compat_of(o->compat)->strength;
    if (rule == TT_STRENGTH_LAST) n = (int)(count * strength);
    if (rule == TT_STRENGTH_LAST_PLUS) n = (int)(count * fmin(strength, most)) + 1;
    return n < count ? n : count;
}

/* The least number of steps that is that much of all. */
static int steps_reaching(int count, double fraction) {
    int n = (int)(count * fraction);
    return (double)n / count < fraction ? n + 1 : n;
}

/* How many steps lie before a fraction of the way: those with a timestep at or above the cut, by
 * diffusers' rule; elsewhere so many of the steps. */
static int steps_before(const tt__plan *p, const tt_sampler_options *o, float fraction) {
    if (o->compat != TT_COMPAT_DIFFUSERS) return steps_reaching(p->count, as_written(fraction));
    double cut = nearbyint(p->table.count - as_written(fraction) * p->table.count);
    int n = 0;
    while (n < p->count) {
        double timestep =
            is_edm(o) ? tt_noise_table_timestep(&p->table, p->sigmas[n]) : (double)p->timesteps[n];
        if (timestep < cut) break;
        n++;
    }
    return n;
}

static tt_status choose_part(tt__plan *p, const tt_sampler_options *o, tt_err *err) {
    int end = o->denoising_end < 1 ? steps_before(p, o, o->denoising_end) : p->count;
    if (o->denoising_start > 0)
        p->first = steps_before(p, o, o->denoising_start);
    else if (starts_from_picture(o))
        p->first = p->count - steps_of_strength(o, p->count);
    p->steps = end - p->first;
    if (p->steps >= 1) return TT_OK;
    return tt_fail(
        err, TT_E_INVALID,
        "steps: none of %d is left by strength %g, denoising start %g and end %g; choose "
        "more steps or a larger part",
        o->steps, (double)o->strength, (double)o->denoising_start, (double)o->denoising_end);
}

/* ---- points ---- */

tt__point tt__point_at(float sigma) {
    if (isinf(sigma)) return (tt__point){.sigma = sigma, .alpha = 0, .s = 1, .lambda = -INFINITY};
    double square = (double)sigma * sigma;
    double alpha = 1 / sqrt(square + 1);
    return (tt__point){.sigma = sigma, .alpha = alpha, .s = sigma * alpha, .lambda = -log(sigma)};
}

/* diffusers' DDIM and PNDM step back by a fixed stride, wherever the next timestep is, and end at the
 * table's first entry. */
static float strided_next_sigma(const tt__plan *p, int i) {
    int next = (int)p->timesteps[i] - p->table.count / p->asked;
    return p->table.sigmas[next > 0 ? next : 0];
}

static bool strides(const tt__plan *p) {
    if (!p->kind->fixed_stride || p->compat == TT_COMPAT_COMFYUI) return false;
    if (p->kind->step == tt__step_pndm) return is_named(p->schedule, "leading");
    return is_spacing(p->schedule);
}

static void make_points(tt__plan *p) {
    bool fixed_stride = strides(p);
    if (fixed_stride) p->sigmas[p->count] = strided_next_sigma(p, p->count - 1);
    for (int i = 0; i < p->count; i++) {
        p->from[i] = tt__point_at(p->sigmas[i]);
        p->to[i] = tt__point_at(fixed_stride ? strided_next_sigma(p, i) : p->sigmas[i + 1]);
    }
}

/* In single precision, there and back, as k-diffusion and diffusers do: the noise of a tree depends on
 * the last bits. */
static float geometric_mean(float a, float b) {
    float t = -(float)log(a), t_next = -(float)log(b);
    return (float)exp(-(t + (t_next - t) * 0.5f));
}

static void make_middles(tt__plan *p, const tt_training *training) {
    for (int i = 0; i < p->count; i++) {
        float from = p->sigmas[i], to = p->sigmas[i + 1];
        if (p->kind->middle == TT__MIDDLE_DOWN) to = tt__ancestral_step(from, to, p->eta).down;
        if (!(to > 0)) continue;
        float sigma = geometric_mean(from, to);
        p->middle[i] =
            (tt__middle){sigma, (float)tt_schedule_timestep(&p->table, training, p->compat, sigma)};
    }
}

/* diffusers scales by sigma itself for linspace and trailing, also when karras replaced their
 * sigmas. k-diffusion's schedules begin as ComfyUI begins them. */
static float scale_by_spacing(const tt__plan *p, const tt_training *training, float sigma) {
    bool ramp = is_named(p->schedule, "karras") || is_named(p->schedule, "exponential") ||
                is_named(p->schedule, "beta");
    bool edm = training->edm_sigma_max != 0;
    const char *spacing = ramp && training->spacing && !edm ? training->spacing : p->schedule;
    bool bare = is_named(spacing, "linspace") || is_named(spacing, "trailing");
    return bare ? sigma : sqrtf(sigma * sigma + 1.0f);
}

static float scale_by_max(const tt__plan *p, float sigma) {
    static const float close = 1e-5f; /* ComfyUI's tolerance */
    float max = p->table.sigmas[p->table.count - 1];
    return sigma > max * (1 - close) ? sqrtf(sigma * sigma + 1.0f) : sigma;
}

static float start_scale(const tt__plan *p, const tt_training *training) {
    float sigma = p->sigmas[p->first];
    switch (tt_sample_compat_of(p->compat)->start) {
    case TT_START_BY_SPACING:
        return scale_by_spacing(p, training, sigma);
    case TT_START_BY_MAX:
        return scale_by_max(p, sigma);
    default:
        return sigma;
    }
}

/* ---- the whole ---- */

static tt_status check_options(const tt_sampler_options *o, tt_err *err) {
    if (o->n_values < 1)
        return tt_fail(err, TT_E_INVALID, "sampler: expected at least one latent value, found %lld",
                       (long long)o->n_values);
    if (o->steps < 1 || o->steps > TT_MAX_TRAIN_STEPS)
        return tt_fail(err, TT_E_INVALID, "steps: expected 1 to %d, found %d",
                       o->training.train_steps, o->steps);
    if (isnan(o->eta) || o->eta > 1)
        return tt_fail(err, TT_E_INVALID, "eta: expected at most 1, found %g", (double)o->eta);
    if (o->step_noise_kind > TT_NOISE_CUDA)
        return tt_fail(err, TT_E_INVALID, "step noise: expected a kind of noise, found %d",
                       o->step_noise_kind);
    return check_part(o, err);
}

static tt_status check_prediction(const tt_sampler_options *o, const tt__kind *k, tt_err *err) {
    bool fits = is_edm(o) ? o->prediction != TT_SAMPLE_EPSILON : o->prediction != TT_SAMPLE_EDM;
    if (!fits)
        return tt_fail(err, TT_E_INVALID,
                       is_edm(o)
                           ? "prediction: a model trained over sigmas predicts v or edm, "
                             "found epsilon"
                           : "prediction: edm is for models trained over sigmas, and this one "
                             "has timesteps");
    if (is_edm(o) && k->no_edm)
        return tt_fail(err, TT_E_INVALID,
                       "sampler %s: works over timesteps, which a model trained over sigmas lacks; "
                       "choose another sampler",
                       k->name);
    return TT_OK;
}

static tt_status make_table(tt__plan *p, const tt_training *training, tt_err *err) {
    bool may_be_infinite = p->kind->keeps_variance && p->kind->grid != TT_GRID_MULTISTEP &&
                           p->compat == TT_COMPAT_DIFFUSERS &&
                           (is_spacing(p->schedule) || is_named(p->schedule, "default"));
    return tt_noise_table_init(&p->table, training, !may_be_infinite, err);
}

static tt_status make_schedule(tt__plan *p, const tt_sampler_options *o, tt_err *err) {
    const tt__kind *k = p->kind;
    bool drops = (k->drops_in_a1111 && o->compat == TT_COMPAT_A1111) ||
                 (k->drops_in_comfyui && o->compat == TT_COMPAT_COMFYUI);
    tt_schedule_request request = {.name = p->schedule,
                                   .steps = stretched_steps(o),
                                   .grid = k->grid,
                                   .compat = o->compat,
                                   .drop_penultimate = drops};
    p->asked = request.steps;
    if (p->asked > o->training.train_steps && p->asked > o->steps)
        return tt_fail(
            err, TT_E_INVALID,
            "strength: %d steps at %g are the end of a schedule of %d steps or more, and "
            "the model has %d; choose fewer steps or more strength",
            o->steps, (double)o->strength, p->asked, o->training.train_steps);
    int capacity = tt_schedule_capacity(&request, &o->training);
    size_t n = 2 * (size_t)capacity + 1;
    p->timesteps = tt_alloc(n * sizeof *p->timesteps);
    if (!p->timesteps) return tt_fail_nomem(err, "the schedule", n * sizeof *p->timesteps);
    p->sigmas = p->timesteps + capacity;
    TT_TRY(tt_schedule_make(&request, &o->training, &p->table, p->timesteps, p->sigmas, &p->count,
                            err));
    if (!isinf(p->sigmas[0]) || o->prediction == TT_SAMPLE_V) return TT_OK;
    return tt_fail(
        err, TT_E_INVALID,
        "sampler %s: timestep %g of a zero-terminal-SNR model is pure noise, which an epsilon "
        "prediction cannot start from; choose another sampler or v prediction",
        k->name, (double)p->timesteps[0]);
}

static tt_status make_arrays(tt__plan *p, tt_err *err) {
    size_t count = (size_t)p->count;
    p->from = tt_alloc(2 * count * sizeof *p->from);
    if (!p->from) return tt_fail_nomem(err, "the sampler's points", 2 * count * sizeof *p->from);
    p->to = p->from + count;
    if (p->kind->middle == TT__NO_MIDDLE) return TT_OK;
    p->middle = tt_alloc(count * sizeof *p->middle);
    if (!p->middle)
        return tt_fail_nomem(err, "the sampler's middle points", count * sizeof *p->middle);
    return TT_OK;
}

static tt_status fill(tt__plan *p, const tt_sampler_options *o, const tt_training *training,
                      tt_err *err) {
    TT_TRY(find_kind(o->sampler, &p->kind, err));
    TT_TRY(check_prediction(o, p->kind, err));
    TT_TRY(resolve_schedule(o, p->kind, &p->schedule, err));
    p->eta = o->eta < 0 ? p->kind->eta : o->eta;
    TT_TRY(make_table(p, training, err));
    TT_TRY(make_schedule(p, o, err));
    TT_TRY(make_arrays(p, err));
    TT_TRY(choose_part(p, o, err));
    make_points(p);
    if (p->middle) make_middles(p, training);
    p->start_scale = start_scale(p, training);
    return TT_OK;
}

tt_status tt__plan_init(tt__plan *p, const tt_sampler_options *options, tt_err *err) {
    *p = (tt__plan){.compat = options->compat, .prediction = options->prediction};
    TT_TRY(check_options(options, err));
    tt_training training = options->training;
    training.zero_snr_end = tt_sample_compat_of(options->compat)->zero_snr_end;
    if (is_edm(options)) p->sigma_data = (float)training.edm_sigma_data;
    tt_status status = fill(p, options, &training, err);
    if (status != TT_OK) tt__plan_release(p);
    return status;
}

void tt__plan_release(tt__plan *p) {
    tt_noise_table_release(&p->table);
    tt_free(p->timesteps);
    tt_free(p->from);
    tt_free(p->middle);
    *p = (tt__plan){0};
}

int tt__plan_model_calls(const tt__plan *p) {
    int calls = p->steps;
    for (int i = p->first; p->kind->asks_twice && i < p->first + p->steps; i++) {
        float from = p->sigmas[i], to = p->sigmas[i + 1];
        if (p->kind->middle == TT__MIDDLE_DOWN) to = tt__ancestral_step(from, to, p->eta).down;
        if (to > 0) calls++;
    }
    return p->kind->step == tt__step_pndm && p->steps > 1 ? calls + 1 : calls;
}
