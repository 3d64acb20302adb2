/* The sampler object: a plan (points to visit), buffers, and the walk.
 *
 * Everything that depends only on the options is computed once, in new: run allocates nothing and
 * keeps no state from picture to picture. A sampler is one row of `kinds` in plan.c and one step
 * function (steps_*.c). */
#include "sample/sampler.h"

#include <string.h>

#include "base/alloc.h"
#include "sample/way_noise.h"

/* input, output, x0 and the history. */
enum { N_BUFFERS = 3 + TT__HISTORY };

struct tt_sampler {
    tt__plan plan;
    tt_sampler_options options; /* its strings are not looked at */
    int64_t n_values;
    float *buffers; /* owned: [N_BUFFERS][n_values] */
    float *scratch; /* owned: [TT_BROWNIAN_SCRATCH][n_values], or NULL: no tree */
    double *paths;  /* owned: [TT_BROWNIAN_ENDS][n_values], or NULL */
    tt__way_noise noise;
};

void tt_sampler_options_defaults(tt_sampler_options *options) {
    *options = (tt_sampler_options){.sampler = "euler",
                                    .schedule = "default",
                                    .steps = 24,
                                    .eta = -1,
                                    .strength = 1,
                                    .denoising_end = 1,
                                    .step_noise_kind = -1};
    tt_training_defaults(&options->training);
}

static tt_status make_buffer(const tt_sampler *s, size_t value_bytes, void *out, tt_err *err) {
    size_t size_bytes;
    if (!tt_mul_size((size_t)s->n_values, value_bytes, &size_bytes))
        return tt_fail(err, TT_E_INVALID, "sampler: %lld values are more than memory can name",
                       (long long)s->n_values);
    void *memory = tt_alloc_aligned(size_bytes);
    if (!memory) return tt_fail_nomem(err, "the sampler's work buffers", size_bytes);
    memcpy(out, &memory, sizeof memory);
    return TT_OK;
}

static tt_status make_buffers(tt_sampler *s, tt_err *err) {
    TT_TRY(make_buffer(s, N_BUFFERS * sizeof(float), &s->buffers, err));
    if (tt__way_noise_manner(&s->plan, &s->options) != TT_STEP_NOISE_BROWNIAN) return TT_OK;
    TT_TRY(make_buffer(s, TT_BROWNIAN_SCRATCH * sizeof(float), &s->scratch, err));
    return make_buffer(s, TT_BROWNIAN_ENDS * sizeof(double), &s->paths, err);
}

tt_status tt_sampler_new(const tt_sampler_options *options, tt_sampler **out, tt_err *err) {
    *out = NULL;
    tt_sampler *s = tt_alloc(sizeof *s);
    if (!s) return tt_fail_nomem(err, "a sampler", sizeof *s);
    s->options = *options;
    s->n_values = options->n_values;
    tt_status status = TT_OK;
    TT_TRY_OUT(tt__plan_init(&s->plan, options, err));
    TT_TRY_OUT(make_buffers(s, err));
out:
    if (status == TT_OK)
        *out = s;
    else
        tt_sampler_free(s);
    return status;
}

void tt_sampler_free(tt_sampler *s) {
    if (!s) return;
    tt__plan_release(&s->plan);
    tt_free(s->buffers);
    tt_free(s->scratch);
    tt_free(s->paths);
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
    return s->plan.steps;
}

int tt_sampler_model_calls(const tt_sampler *s) {
    return tt__plan_model_calls(&s->plan);
}

bool tt_sampler_needs_both(const tt_sampler *s) {
    return s->plan.kind->needs_both;
}

bool tt_sampler_draws_noise(const tt_sampler *s) {
    const tt__plan *p = &s->plan;
    bool ends = p->first + p->steps == p->count;
    bool only_between = p->kind->grid == TT_GRID_LCM; /* lcm and tcd draw nothing at the end */
    if (only_between && ends && p->steps == 1) return false;
    return p->kind->draws_noise || (p->kind->draws_with_eta && p->eta > 0);
}

const char *tt_sampler_name(const tt_sampler *s) {
    return s->plan.kind->name;
}

const char *tt_sampler_schedule(const tt_sampler *s) {
    return s->plan.schedule;
}

const float *tt_sampler_timesteps(const tt_sampler *s) {
    return s->plan.timesteps + s->plan.first;
}

const float *tt_sampler_sigmas(const tt_sampler *s) {
    return s->plan.sigmas + s->plan.first;
}

float tt_sampler_first_sigma(const tt_sampler *s) {
    return *tt_sampler_sigmas(s);
}

float tt_sampler_init_scale(const tt_sampler *s) {
    const tt__point *start = &s->plan.from[s->plan.first];
    if (!s->plan.kind->keeps_variance) return s->plan.start_scale;
    if (s->plan.compat == TT_COMPAT_DIFFUSERS) return 1;
    return (float)(s->plan.start_scale * start->alpha);
}

/* Noise of the first step by compat's rule where the picture is replaced by noise altogether; else as
 * much as the sigma says. */
void tt_sampler_add_noise(const tt_sampler *s, int at, const float *clean, const float *noise,
                          float *x) {
    const tt__plan *p = &s->plan;
    tt__point point = tt__point_at(tt_sampler_sigmas(s)[at]);
    bool by_rule = at == 0 && p->compat != TT_COMPAT_DIFFUSERS;
    double amount = by_rule ? (double)p->start_scale : (double)point.sigma;
    double of_clean = p->kind->keeps_variance ? point.alpha : 1;
    double of_noise = p->kind->keeps_variance ? amount * point.alpha : amount;
    if (p->kind->keeps_variance && !by_rule) of_noise = point.s; /* also where sigma is infinite */
    const float a = (float)of_clean, b = (float)of_noise;
    for (int64_t k = 0; k < s->n_values; k++) x[k] = a * clean[k] + b * noise[k];
}

/* ---- the walk ---- */

static tt__run begin_run(tt_sampler *s, float *x, const tt_denoiser *denoiser, tt_err *err) {
    const tt__plan *p = &s->plan;
    int64_t n = s->n_values;
    tt__run r = {
        .steps = p->steps,
        .first = p->first,
        .whole_steps = p->count,
        .reaches_end = p->first + p->steps == p->count,
        .like_classes = p->compat == TT_COMPAT_DIFFUSERS,
        .n = n,
        .prediction = p->prediction,
        .sigma_data = p->sigma_data,
        .eta = p->eta,
        .timesteps = p->timesteps + p->first,
        .from = p->from + p->first,
        .to = p->to + p->first,
        .middle = p->middle ? p->middle + p->first : NULL,
        .table = &p->table,
        .x = x,
        .denoiser = denoiser,
        .noise = &s->noise,
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

static tt_status check_run(const tt_sampler *s, const tt_denoiser *denoiser, const tt_noise *noise,
                           tt_err *err) {
    if (!noise && tt_sampler_draws_noise(s))
        return tt_fail(err, TT_E_INVALID,
                       "sampler %s draws noise on its way and was given no stream",
                       tt_sampler_name(s));
    if (!denoiser->model_both && tt_sampler_needs_both(s))
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "sampler %s needs the prediction for the negative prompt alone, which is not "
            "made here; choose another sampler",
            tt_sampler_name(s));
    return TT_OK;
}

tt_status tt_sampler_run(tt_sampler *s, float *x, const tt_denoiser *denoiser, tt_noise *noise,
                         tt_err *err) {
    const tt_denoiser *d = denoiser;
    TT_TRY(check_run(s, d, noise, err));
    tt__run r = begin_run(s, x, d, err);
    tt__way_noise_begin(&s->noise, &s->plan, &s->options, noise, r.n, s->scratch, s->paths);
    for (int i = 0; i < r.steps; i++) {
        TT_TRY(s->plan.kind->step(&r, i));
        if (d->adjust) TT_TRY(d->adjust(d->context, i + 1, x, err));
        if (d->step_done) TT_TRY(d->step_done(d->context, i + 1, r.x0, err));
    }
    return TT_OK;
}
