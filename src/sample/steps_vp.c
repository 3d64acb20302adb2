/* Samplers that keep the variance: x = alpha * picture + s * noise, and the model sees x itself.
 *
 * Coefficients are computed in double, once per step; diffusers computes them in float32, which for
 * small steps loses digits of lambda differences. The difference in a picture is below 1e-5 of its
 * deviation. */
#include <math.h>

#include "sample/steps.h"

/* output = the model's answer; x0 = the picture it means. */
static tt_status estimate(tt__run *r, int i) {
    const float alpha = (float)r->from[i].alpha, s = (float)r->from[i].s;
    TT_TRY(r->denoiser->model(r->denoiser->context, r->x, r->timesteps[i], r->output, r->err));
    if (r->v_prediction)
        for (int64_t k = 0; k < r->n; k++) r->x0[k] = alpha * r->x[k] - s * r->output[k];
    else
        for (int64_t k = 0; k < r->n; k++) r->x0[k] = (r->x[k] - s * r->output[k]) / alpha;
    return TT_OK;
}

/* For samplers that look back: what the last step left in x0 becomes history[0], history[0] becomes
 * history[1]. */
static void remember(tt__run *r) {
    float *oldest = r->history[TT__HISTORY - 1];
    for (int j = TT__HISTORY - 1; j > 0; j--) r->history[j] = r->history[j - 1];
    r->history[0] = r->x0;
    r->x0 = oldest;
}

/* ---- DPM-Solver++ 2M (Lu et al. 2022), midpoint; first order at both ends ---- */

/* What an update multiplies: x, the newest estimate, the one before, fresh noise. */
typedef struct weights {
    float x, newest, before, noise;
} weights;

/* Splits a weight of m0 + D1 / 2, D1 = (m0 - m1) / r, over m0 and m1. */
static void second_order(const tt__run *r, int i, double h, double weight, weights *w) {
    bool first_order = i == 0 || i == r->steps - 1;
    double slope = first_order ? 0 : 0.5 * h / (r->from[i].lambda - r->from[i - 1].lambda);
    w->newest = (float)(weight * (1 + slope));
    w->before = (float)(-weight * slope);
}

static void combine(tt__run *r, const weights *w, const float *before) {
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] = w->x * r->x[k] + w->newest * r->x0[k] + w->before * before[k];
}

tt_status tt__step_dpmpp_2m(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    remember(r);
    TT_TRY(estimate(r, i));
    double h = to->lambda - from->lambda;
    weights w = {.x = (float)(to->s / from->s)};
    second_order(r, i, h, -to->alpha * expm1(-h), &w);
    combine(r, &w, r->history[0]);
    return TT_OK;
}

/* Draws on every step, the last included, in float32 whatever the stream: as diffusers does. */
tt_status tt__step_dpmpp_2m_sde(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    remember(r);
    TT_TRY(estimate(r, i));
    double h = to->lambda - from->lambda;
    weights w = {.x = (float)(to->s / from->s * exp(-h)),
                 .noise = (float)(to->s * sqrt(-expm1(-2 * h)))};
    second_order(r, i, h, -to->alpha * expm1(-2 * h), &w);
    combine(r, &w, r->history[0]);
    tt_noise_fill_f32(r->noise, r->input, r->n);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += w.noise * r->input[k];
    return TT_OK;
}

/* ---- UniPC (Zhao et al. 2023), order 2, B(h) = e^h - 1, predicting x0 ---- */

static int unipc_order(const tt__run *r, int i) {
    return i == 0 || i == r->steps - 1 ? 1 : 2;
}

/* Step i - 1 done again from its own start, now that the model has spoken at its end. history[0]
 * and [1] hold the estimates of steps i - 1 and i - 2; `start` is where step i - 1 began. */
static void unipc_correct(tt__run *r, int i, const float *start) {
    const tt__point *from = &r->from[i - 1], *to = &r->from[i];
    double h = to->lambda - from->lambda, phi = expm1(-h);
    double g1 = phi / -h - 1, g2 = g1 / -h - 0.5;
    double b1 = g1 / phi, b2 = 2 * g2 / phi;
    double new_weight = 0.5, old_weight = 0, ratio = 1;
    if (unipc_order(r, i - 1) == 2) {
        ratio = (r->from[i - 2].lambda - from->lambda) / h;
        old_weight = (b1 - b2) / (1 - ratio);
        new_weight = b1 - old_weight;
    }
    const float of_start = (float)(to->s / from->s), of_last = (float)(-to->alpha * phi);
    const float of_new = (float)new_weight, of_old = (float)(old_weight / ratio);
    const float *last = r->history[0], *older = r->history[1];
    for (int64_t k = 0; k < r->n; k++) {
        float change = of_new * (r->x0[k] - last[k]) + of_old * (older[k] - last[k]);
        r->x[k] = of_start * start[k] + of_last * (last[k] + change);
    }
}

static void unipc_predict(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    double h = to->lambda - from->lambda;
    double slope = 0;
    if (unipc_order(r, i) == 2) slope = 0.5 * h / (r->from[i - 1].lambda - from->lambda);
    const float of_x = (float)(to->s / from->s), of_new = (float)(-to->alpha * expm1(-h));
    const float of_old = (float)slope, *last = r->history[0];
    for (int64_t k = 0; k < r->n; k++) {
        float change = of_old * (last[k] - r->x0[k]);
        r->x[k] = of_x * r->x[k] + of_new * (r->x0[k] + change);
    }
}

tt_status tt__step_unipc(tt__run *r, int i) {
    float *start = r->input; /* free: this family's model input is x itself */
    remember(r);
    TT_TRY(estimate(r, i));
    if (i > 0) unipc_correct(r, i, start);
    for (int64_t k = 0; k < r->n; k++) start[k] = r->x[k];
    unipc_predict(r, i);
    return TT_OK;
}

/* ---- DDIM (Song et al. 2020) ---- */

tt_status tt__step_ddim(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    TT_TRY(estimate(r, i));
    /* r->output becomes the noise the model means. */
    if (r->v_prediction) {
        const float alpha = (float)from->alpha, s = (float)from->s;
        for (int64_t k = 0; k < r->n; k++) r->output[k] = alpha * r->output[k] + s * r->x[k];
    }
    double kept = from->alpha / to->alpha;
    double fresh = r->eta * to->s / from->s * sqrt(1 - kept * kept);
    const float of_x0 = (float)to->alpha, of_noise = (float)sqrt(to->s * to->s - fresh * fresh);
    for (int64_t k = 0; k < r->n; k++) r->x[k] = of_x0 * r->x0[k] + of_noise * r->output[k];
    if (r->eta > 0) {
        tt_noise_fill(r->noise, r->input, r->n);
        for (int64_t k = 0; k < r->n; k++) r->x[k] += (float)fresh * r->input[k];
    }
    return TT_OK;
}

/* ---- LCM (Luo et al. 2023) ---- */

/* The boundary condition that makes the estimate equal x at timestep 0. */
static const double lcm_timestep_scale = 10.0, lcm_sigma_data = 0.5;

tt_status tt__step_lcm(tt__run *r, int i) {
    TT_TRY(estimate(r, i));
    double t = r->timesteps[i] * lcm_timestep_scale;
    double square = t * t + lcm_sigma_data * lcm_sigma_data;
    const float of_x0 = (float)(t / sqrt(square)),
                of_x = (float)(lcm_sigma_data * lcm_sigma_data / square);
    for (int64_t k = 0; k < r->n; k++) r->x0[k] = of_x0 * r->x0[k] + of_x * r->x[k];
    bool last = i == r->steps - 1;
    if (!last) tt_noise_fill(r->noise, r->input, r->n);
    const float alpha = (float)r->to[i].alpha, s = (float)r->to[i].s;
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] = last ? r->x0[k] : alpha * r->x0[k] + s * r->input[k];
    return TT_OK;
}
