/* Samplers that keep the variance: x = alpha * picture + s * noise, and the model sees x itself.
 *
 * Coefficients are computed in double, once per step; diffusers computes them in float32, which for
 * small steps loses digits of lambda differences. The difference in a picture is below 1e-5 of its
 * deviation. */
#include <math.h>

#include "sample/steps.h"

static tt_status ask(tt__run *r, int i, const float *input) {
    return r->denoiser->model(r->denoiser->context, input, r->timesteps[i], r->output, r->err);
}

/* A model trained over sigmas, in this family's units. */
static tt_status estimate_edm(tt__run *r, int i) {
    double sigma = r->from[i].sigma, data = r->sigma_data, square = sigma * sigma + data * data;
    const float of_input = (float)(1 / (r->from[i].alpha * sqrt(square)));
    const float of_x = (float)(data * data / square / r->from[i].alpha);
    float of_output = (float)(sigma * data / sqrt(square));
    if (r->prediction == TT_SAMPLE_V) of_output = -of_output;
    for (int64_t k = 0; k < r->n; k++) r->history[TT__HISTORY - 1][k] = r->x[k] * of_input;
    TT_TRY(ask(r, i, r->history[TT__HISTORY - 1]));
    for (int64_t k = 0; k < r->n; k++) r->x0[k] = of_x * r->x[k] + of_output * r->output[k];
    return TT_OK;
}

tt_status tt__estimate_vp(tt__run *r, int i) {
    const float alpha = (float)r->from[i].alpha, s = (float)r->from[i].s;
    if (r->sigma_data > 0) return estimate_edm(r, i);
    TT_TRY(ask(r, i, r->x));
    if (r->prediction == TT_SAMPLE_V)
        for (int64_t k = 0; k < r->n; k++) r->x0[k] = alpha * r->x[k] - s * r->output[k];
    else
        for (int64_t k = 0; k < r->n; k++) r->x0[k] = (r->x[k] - s * r->output[k]) / alpha;
    return TT_OK;
}

void tt__remember(tt__run *r) {
    enum { OLDEST = TT__HISTORY - 2 }; /* the one after it is scratch */
    float *oldest = r->history[OLDEST];
    for (int j = OLDEST; j > 0; j--) r->history[j] = r->history[j - 1];
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
    bool first_order = i == 0 || tt__is_last(r, i);
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
    tt__remember(r);
    TT_TRY(tt__estimate_vp(r, i));
    double h = to->lambda - from->lambda;
    weights w = {.x = (float)(to->s / from->s)};
    second_order(r, i, h, -to->alpha * expm1(-h), &w);
    combine(r, &w, r->history[0]);
    return TT_OK;
}

/* Draws on every step, the last included, in float32 whatever the stream: as diffusers does. */
tt_status tt__step_dpmpp_2m_sde(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    tt__remember(r);
    TT_TRY(tt__estimate_vp(r, i));
    double h = to->lambda - from->lambda;
    weights w = {.x = (float)(to->s / from->s * exp(-h)),
                 .noise = (float)(to->s * sqrt(-expm1(-2 * h)))};
    second_order(r, i, h, -to->alpha * expm1(-2 * h), &w);
    combine(r, &w, r->history[0]);
    tt__draw(r, from->sigma, to->sigma, true, r->input);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += w.noise * r->input[k];
    return TT_OK;
}

/* ---- 3M SDE, k-diffusion's: the same with two looks back. (diffusers' class of order 3 has another
 * sign in its last term, and is not followed.) ---- */

/* Of the estimates: this step's, the last one's, the one before. */
typedef struct weights_3m {
    double newest, before, oldest;
} weights_3m;

/* phi1 m0 + phi2 D1 - phi3 D2 with Lu et al.'s divided differences; as far as there is history. */
static weights_3m weights_of_3m(const tt__run *r, int i, double h) {
    double h2 = 2 * h;
    if (i == 0 || tt__is_last(r, i)) return (weights_3m){-expm1(-h2), 0, 0};
    double phi2 = expm1(-h2) / h2 + 1, phi3 = phi2 / h2 - 0.5;
    double r0 = (r->from[i].lambda - r->from[i - 1].lambda) / h;
    if (i == 1) return (weights_3m){-expm1(-h2) + phi2 / r0, -phi2 / r0, 0};
    double r1 = (r->from[i - 1].lambda - r->from[i - 2].lambda) / h;
    double bend = (phi2 * r0 - phi3) / (r0 + r1);
    double near = (phi2 + bend) / r0, far = bend / r1;
    return (weights_3m){-expm1(-h2) + near, -near - far, far};
}

tt_status tt__step_dpmpp_3m_sde(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    tt__remember(r);
    TT_TRY(tt__estimate_vp(r, i));
    double h = to->lambda - from->lambda;
    weights_3m w = weights_of_3m(r, i, h);
    const float of_x = (float)(to->s / from->s * exp(-h));
    const float newest = (float)(to->alpha * w.newest), before = (float)(to->alpha * w.before);
    const float oldest = (float)(to->alpha * w.oldest);
    const float of_noise = (float)(to->s * sqrt(-expm1(-2 * h)));
    const float *m1 = r->history[0], *m2 = r->history[1];
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] = of_x * r->x[k] + newest * r->x0[k] + before * m1[k] + oldest * m2[k];
    if (!(to->sigma > 0)) return TT_OK;
    tt__draw(r, from->sigma, to->sigma, true, r->input);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += of_noise * r->input[k];
    return TT_OK;
}

/* ---- 2S: diffusers' DPMSolverSinglestep, order 2: every other step starts again where the step
 * before began ---- */

tt_status tt__step_dpmpp_2s(tt__run *r, int i) {
    float *start =
        r->history[TT__HISTORY - 2]; /* tt__remember moves others: one look back is one */
    bool second = (r->first + i) % 2 == 1 && i > 0 && r->first + i < r->whole_steps - 1;
    float *older = r->history[0];
    r->history[0] = r->x0;
    r->x0 = older;
    TT_TRY(tt__estimate_vp(r, i));
    if (!second)
        for (int64_t k = 0; k < r->n; k++) start[k] = r->x[k];
    const tt__point *from = &r->from[second ? i - 1 : i], *to = &r->to[i];
    double h = to->lambda - from->lambda, slope = 0;
    if (second) slope = 0.5 * h / (r->from[i].lambda - from->lambda);
    const float *first = second ? r->history[0] : r->x0;
    const float of_x = (float)(to->s / from->s), of_first = (float)(-to->alpha * expm1(-h));
    const float of_change = (float)slope;
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] = of_x * start[k] + of_first * (first[k] + of_change * (r->x0[k] - first[k]));
    return TT_OK;
}

/* ---- UniPC (Zhao et al. 2023), order 2, B(h) = e^h - 1, predicting x0 ---- */

static int unipc_order(const tt__run *r, int i) {
    return i == 0 || tt__is_last(r, i) ? 1 : 2;
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
    tt__remember(r);
    TT_TRY(tt__estimate_vp(r, i));
    if (i > 0) unipc_correct(r, i, start);
    for (int64_t k = 0; k < r->n; k++) start[k] = r->x[k];
    unipc_predict(r, i);
    return TT_OK;
}
