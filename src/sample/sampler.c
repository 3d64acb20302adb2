/* The sampler object: options become a plan (points to visit, buffers), and run walks it.
 *
 * Everything that depends only on the options is computed once, in new: run allocates nothing and
 * keeps no state from picture to picture. A sampler is one row of `kinds` and one step function
 * (steps_sigma.c, steps_vp.c). */
#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "sample/names.h"
#include "sample/steps.h"

typedef struct kind {
    const char *name;
    tt__step_fn step;
    tt_schedule_grid grid;
    bool sigma_space; /* x = picture + sigma * noise; else the variance is kept */
    bool draws_noise; /* for any eta */
    float eta;        /* its own */
} kind;

static const kind kinds[] = {
    {"euler", tt__step_euler, TT_GRID_SIGMA, true, false, 0},
    {"euler_a", tt__step_euler_a, TT_GRID_SIGMA, true, true, 1},
    {"heun", tt__step_heun, TT_GRID_SIGMA, true, false, 0},
    {"dpmpp_2m", tt__step_dpmpp_2m, TT_GRID_MULTISTEP, false, false, 0},
    {"dpmpp_2m_sde", tt__step_dpmpp_2m_sde, TT_GRID_MULTISTEP, false, true, 0},
    {"unipc", tt__step_unipc, TT_GRID_MULTISTEP, false, false, 0},
    {"ddim", tt__step_ddim, TT_GRID_DDIM, false, false, 0},
    {"lcm", tt__step_lcm, TT_GRID_LCM, false, true, 0},
};

/* input, output, x0 and the history. */
enum { N_BUFFERS = 3 + TT__HISTORY };

struct tt_sampler {
    const kind *kind;
    const char *schedule; /* static */
    int steps;
    int64_t n_values;
    bool v_prediction;
    float eta;
    float init_scale;
    float *timesteps, *sigmas; /* owned, one block: [steps], [steps + 1] */
    tt__point *from, *to;      /* owned, one block: [steps] each */
    float *buffers;            /* owned: [N_BUFFERS][n_values] */
};

void tt_sampler_options_defaults(tt_sampler_options *options) {
    *options =
        (tt_sampler_options){.sampler = "euler", .schedule = "default", .steps = 24, .eta = -1};
    tt_training_defaults(&options->training);
}

/* ---- the plan ---- */

static const kind *find_kind(const char *name, tt_err *err) {
    if (!name) name = kinds[0].name;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(name, kinds[i].name) == 0) return &kinds[i];
    const char *canonical, *schedule;
    if (tt_sample_lookup(name, &canonical, &schedule, err) == TT_OK)
        tt_fail(err, TT_E_INVALID, "sampler: expected a canonical name such as %s, found \"%.40s\"",
                canonical, name);
    return NULL;
}

static bool is_spacing(const char *schedule) {
    return strcmp(schedule, "leading") == 0 || strcmp(schedule, "trailing") == 0 ||
           strcmp(schedule, "linspace") == 0;
}

/* What "default" means for this sampler and model: a static canonical name. */
static tt_status resolve_schedule(const tt_sampler_options *o, const kind *k, const char **out,
                                  tt_err *err) {
    const char *name = o->schedule ? o->schedule : "default";
    const char *spacing = o->training.spacing;
    if (strcmp(name, "default") == 0 && k->grid != TT_GRID_LCM)
        name = spacing && *spacing ? spacing : "leading";
    for (const char *const *known = tt_sample_schedule_names(); *known; known++) {
        if (strcmp(name, *known) != 0) continue;
        *out = *known;
        return TT_OK;
    }
    return tt_sample_lookup_schedule(name, out, err);
}

static tt__point point_at(float sigma) {
    if (isinf(sigma)) return (tt__point){.sigma = sigma, .alpha = 0, .s = 1, .lambda = -INFINITY};
    double square = (double)sigma * sigma;
    double alpha = 1 / sqrt(square + 1);
    return (tt__point){.sigma = sigma, .alpha = alpha, .s = sigma * alpha, .lambda = -log(sigma)};
}

/* diffusers' DDIM steps back by a fixed stride, wherever the next timestep is, and ends at the
 * table's first entry. */
static float ddim_next_sigma(const tt_sampler *s, const tt_noise_table *table, int i) {
    int next = (int)s->timesteps[i] - table->count / s->steps;
    return table->sigmas[next > 0 ? next : 0];
}

static void make_points(tt_sampler *s, const tt_noise_table *table) {
    bool fixed_stride = s->kind->grid == TT_GRID_DDIM && is_spacing(s->schedule);
    if (fixed_stride) s->sigmas[s->steps] = ddim_next_sigma(s, table, s->steps - 1);
    for (int i = 0; i < s->steps; i++) {
        s->from[i] = point_at(s->sigmas[i]);
        s->to[i] = point_at(fixed_stride ? ddim_next_sigma(s, table, i) : s->sigmas[i + 1]);
    }
}

/* diffusers scales by sigma itself for linspace and trailing, also when karras replaced their
 * sigmas. k-diffusion's schedules begin as ComfyUI begins them. */
static float make_init_scale(const tt_sampler *s, const tt_training *training) {
    float sigma = s->sigmas[0];
    if (!s->kind->sigma_space) return 1;
    bool ramp = strcmp(s->schedule, "karras") == 0 || strcmp(s->schedule, "exponential") == 0;
    const char *spacing = ramp && training->spacing ? training->spacing : s->schedule;
    bool bare = strcmp(spacing, "linspace") == 0 || strcmp(spacing, "trailing") == 0;
    return bare ? sigma : sqrtf(sigma * sigma + 1.0f);
}

static tt_status make_plan(tt_sampler *s, const tt_sampler_options *o, tt_err *err) {
    bool may_be_infinite = !s->kind->sigma_space && s->kind->grid != TT_GRID_MULTISTEP &&
                           (is_spacing(s->schedule) || strcmp(s->schedule, "default") == 0);
    tt_noise_table table;
    TT_TRY(tt_noise_table_init(&table, &o->training, !may_be_infinite, err));
    tt_schedule_request request = {.name = s->schedule, .steps = s->steps, .grid = s->kind->grid};
    tt_status status = TT_OK;
    TT_TRY_OUT(tt_schedule_make(&request, &o->training, &table, s->timesteps, s->sigmas, err));
    if (isinf(s->sigmas[0]) && !s->v_prediction) {
        status = tt_fail(
            err, TT_E_INVALID,
            "sampler %s: timestep %g of a zero-terminal-SNR model is pure noise, which an epsilon "
            "prediction cannot start from; choose another sampler or v prediction",
            s->kind->name, (double)s->timesteps[0]);
        goto out;
    }
    make_points(s, &table);
    s->init_scale = make_init_scale(s, &o->training);
out:
    tt_noise_table_release(&table);
    return status;
}

static tt_status make_arrays(tt_sampler *s, tt_err *err) {
    size_t steps = (size_t)s->steps;
    size_t size_bytes;
    if (!tt_mul_size((size_t)s->n_values, N_BUFFERS * sizeof(float), &size_bytes))
        return tt_fail(err, TT_E_INVALID, "sampler: %lld values are more than memory can name",
                       (long long)s->n_values);
    s->timesteps = tt_alloc((2 * steps + 1) * sizeof *s->timesteps);
    if (!s->timesteps)
        return tt_fail_nomem(err, "the schedule", (2 * steps + 1) * sizeof *s->timesteps);
    s->sigmas = s->timesteps + steps;
    s->from = tt_alloc(2 * steps * sizeof *s->from);
    if (!s->from) return tt_fail_nomem(err, "the sampler's points", 2 * steps * sizeof *s->from);
    s->to = s->from + steps;
    s->buffers = tt_alloc_aligned(size_bytes);
    if (!s->buffers) return tt_fail_nomem(err, "the sampler's work buffers", size_bytes);
    return TT_OK;
}

static tt_status check_options(const tt_sampler_options *o, tt_err *err) {
    if (o->n_values < 1)
        return tt_fail(err, TT_E_INVALID, "sampler: expected at least one latent value, found %lld",
                       (long long)o->n_values);
    if (o->steps < 1 || o->steps > TT_MAX_TRAIN_STEPS)
        return tt_fail(err, TT_E_INVALID, "steps: expected 1 to %d, found %d",
                       o->training.train_steps, o->steps);
    if (isnan(o->eta) || o->eta > 1)
        return tt_fail(err, TT_E_INVALID, "eta: expected at most 1, found %g", (double)o->eta);
    return TT_OK;
}

tt_status tt_sampler_new(const tt_sampler_options *options, tt_sampler **out, tt_err *err) {
    *out = NULL;
    TT_TRY(check_options(options, err));
    tt_err local;
    const kind *k = find_kind(options->sampler, err ? err : (err = &local));
    if (!k) return err->code;
    const char *schedule;
    TT_TRY(resolve_schedule(options, k, &schedule, err));
    tt_sampler *s = tt_alloc(sizeof *s);
    if (!s) return tt_fail_nomem(err, "a sampler", sizeof *s);
    s->kind = k;
    s->schedule = schedule;
    s->steps = options->steps;
    s->n_values = options->n_values;
    s->v_prediction = options->prediction == TT_SAMPLE_V;
    s->eta = options->eta < 0 ? k->eta : options->eta;
    tt_status status = make_arrays(s, err);
    if (status == TT_OK) status = make_plan(s, options, err);
    if (status == TT_OK)
        *out = s;
    else
        tt_sampler_free(s);
    return status;
}

void tt_sampler_free(tt_sampler *s) {
    if (!s) return;
    tt_free(s->timesteps);
    tt_free(s->from);
    tt_free(s->buffers);
    tt_free(s);
}

tt_status tt_sampler_check(const tt_sampler_options *options, tt_err *err) {
    tt_sampler_options smallest = *options;
    smallest.n_values = 1;
    tt_sampler *s;
    TT_TRY(tt_sampler_new(&smallest, &s, err));
    tt_sampler_free(s);
    return TT_OK;
}

/* ---- what it became ---- */

int tt_sampler_steps(const tt_sampler *s) {
    return s->steps;
}

int tt_sampler_model_calls(const tt_sampler *s) {
    return s->kind->step == tt__step_heun ? 2 * s->steps - 1 : s->steps;
}

bool tt_sampler_draws_noise(const tt_sampler *s) {
    if (s->kind->step == tt__step_lcm) return s->steps > 1;
    return s->kind->draws_noise || (s->kind->step == tt__step_ddim && s->eta > 0);
}

const char *tt_sampler_name(const tt_sampler *s) {
    return s->kind->name;
}

const char *tt_sampler_schedule(const tt_sampler *s) {
    return s->schedule;
}

float tt_sampler_init_scale(const tt_sampler *s) {
    return s->init_scale;
}

const float *tt_sampler_timesteps(const tt_sampler *s) {
    return s->timesteps;
}

const float *tt_sampler_sigmas(const tt_sampler *s) {
    return s->sigmas;
}

/* ---- the walk ---- */

static tt__run begin_run(tt_sampler *s, float *x, const tt_denoiser *denoiser, tt_noise *noise,
                         tt_err *err) {
    int64_t n = s->n_values;
    tt__run r = {
        .steps = s->steps,
        .n = n,
        .v_prediction = s->v_prediction,
        .eta = s->eta,
        .timesteps = s->timesteps,
        .from = s->from,
        .to = s->to,
        .x = x,
        .denoiser = denoiser,
        .noise = noise,
        .err = err,
        .input = s->buffers,
        .output = s->buffers + n,
        .x0 = s->buffers + 2 * n,
    };
    for (int j = 0; j < TT__HISTORY; j++) r.history[j] = s->buffers + (3 + j) * n;
    /* History that does not exist yet gets weight 0, and 0 times an old NaN would be NaN. */
    memset(s->buffers, 0, (size_t)(N_BUFFERS * n) * sizeof *s->buffers);
    return r;
}

tt_status tt_sampler_run(tt_sampler *s, float *x, const tt_denoiser *denoiser, tt_noise *noise,
                         tt_err *err) {
    if (!noise && tt_sampler_draws_noise(s))
        return tt_fail(err, TT_E_INVALID,
                       "sampler %s draws noise on its way and was given no stream", s->kind->name);
    tt__run r = begin_run(s, x, denoiser, noise, err);
    for (int i = 0; i < s->steps; i++) {
        TT_TRY(s->kind->step(&r, i));
        if (denoiser->step_done) TT_TRY(denoiser->step_done(denoiser->context, i + 1, r.x0, err));
    }
    return TT_OK;
}
