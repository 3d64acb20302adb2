/* Samplers in sigma space (Karras et al. 2022): x = picture + sigma * noise, so a model trained on
 * variance-preserving inputs sees x / sqrt(sigma^2 + 1). The operations are diffusers', one by
 * one, in float32. */
#include <math.h>

#include "sample/steps.h"

/* The input of a model whose pictures have deviation d is x / sqrt(sigma^2 + d^2); d is 1 for
 * variance-preserving ones. */
static float input_norm(const tt__run *r, float sigma) {
    float data = r->sigma_data > 0 ? r->sigma_data : 1.0f;
    return sqrtf(sigma * sigma + data * data);
}

/* x0 = the picture that an answer of the model means. */
static void read_answer(const tt__run *r, const float *x, float sigma, const float *answer,
                        float *x0) {
    if (r->prediction == TT_SAMPLE_EPSILON) {
        for (int64_t k = 0; k < r->n; k++) x0[k] = x[k] - sigma * answer[k];
        return;
    }
    float data = r->sigma_data > 0 ? r->sigma_data : 1.0f;
    float of_answer = -sigma * data / input_norm(r, sigma);
    float square = (sigma * sigma + data * data) / (data * data);
    if (r->prediction == TT_SAMPLE_EDM) of_answer = -of_answer;
    for (int64_t k = 0; k < r->n; k++) x0[k] = answer[k] * of_answer + x[k] / square;
}

static void make_input(tt__run *r, const float *x, float sigma) {
    float norm = input_norm(r, sigma);
    for (int64_t k = 0; k < r->n; k++) r->input[k] = x[k] / norm;
}

tt_status tt__estimate(tt__run *r, const float *x, float sigma, float timestep) {
    make_input(r, x, sigma);
    TT_TRY(r->denoiser->model(r->denoiser->context, r->input, timestep, r->output, r->err));
    read_answer(r, x, sigma, r->output, r->x0);
    return TT_OK;
}

tt__ancestral tt__ancestral_step(float from, float to, float eta) {
    float up = eta * sqrtf(to * to * (from * from - to * to) / (from * from));
    if (up > to) up = to;
    return (tt__ancestral){sqrtf(to * to - up * up), up};
}

static void move(tt__run *r, float sigma, float sigma_next) {
    float step = sigma_next - sigma;
    for (int64_t k = 0; k < r->n; k++) r->x[k] += (r->x[k] - r->x0[k]) / sigma * step;
}

tt_status tt__step_euler(tt__run *r, int i) {
    TT_TRY(tt__estimate(r, r->x, r->from[i].sigma, r->timesteps[i]));
    move(r, r->from[i].sigma, r->to[i].sigma);
    return TT_OK;
}

/* Goes lower than asked and adds fresh noise back; draws also on the last step, where its amount is
 * 0, because the stream may go on into the next picture. */
tt_status tt__step_euler_a(tt__run *r, int i) {
    float from = r->from[i].sigma, to = r->to[i].sigma;
    TT_TRY(tt__estimate(r, r->x, from, r->timesteps[i]));
    tt__ancestral step = tt__ancestral_step(from, to, r->eta);
    move(r, from, step.down);
    tt__draw(r, from, to, false, r->input);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += r->input[k] * step.up;
    return TT_OK;
}

/* CFG++ (Chung et al. 2024), as ComfyUI's euler_cfg_pp: the guided picture, and back to noise along
 * the direction of the unconditional prediction. */
tt_status tt__step_euler_cfgpp(tt__run *r, int i) {
    const tt_denoiser *d = r->denoiser;
    float from = r->from[i].sigma, share = r->to[i].sigma / from;
    float *uncond = r->history[0];
    make_input(r, r->x, from);
    TT_TRY(d->model_both(d->context, r->input, r->timesteps[i], r->output, uncond, r->err));
    read_answer(r, r->x, from, r->output, r->x0);
    read_answer(r, r->x, from, uncond, uncond);
    for (int64_t k = 0; k < r->n; k++) r->x[k] = r->x0[k] + (r->x[k] - uncond[k]) * share;
    return TT_OK;
}

/* The trapezoidal rule; the last step ends at sigma 0, where no slope exists, and stays Euler's. */
tt_status tt__step_heun(tt__run *r, int i) {
    float from = r->from[i].sigma, to = r->to[i].sigma, step = to - from;
    float *slope = r->history[0], *trial = r->history[1];
    TT_TRY(tt__estimate(r, r->x, from, r->timesteps[i]));
    for (int64_t k = 0; k < r->n; k++) {
        slope[k] = (r->x[k] - r->x0[k]) / from;
        trial[k] = r->x[k] + slope[k] * step;
    }
    if (tt__is_last(r, i)) {
        for (int64_t k = 0; k < r->n; k++) r->x[k] = trial[k];
        return TT_OK;
    }
    TT_TRY(tt__estimate(r, trial, to, r->timesteps[i + 1]));
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] += (slope[k] + (trial[k] - r->x0[k]) / to) / 2.0f * step;
    return TT_OK;
}

/* ---- linear multistep: Adams and Bashforth's over uneven sigmas, order 4 ---- */

enum { LMS_ORDER = TT__HISTORY };

/* Lagrange's polynomial that is 1 at the sigma of step i - j and 0 at the others of the last
 * `order` steps. */
static double lagrange(const tt__run *r, int i, int j, int order, double at) {
    double product = 1, own = r->from[i - j].sigma;
    for (int k = 0; k < order; k++) {
        double other = r->from[i - k].sigma;
        if (k != j) product *= (at - other) / (own - other);
    }
    return product;
}

/* Its integral over the step, by the two points of Gauss and Legendre, exact up to degree 3. */
static double lms_weight(const tt__run *r, int i, int j, int order) {
    static const double gauss_point = 0.57735026918962576451; /* 1 / sqrt(3) */
    double from = r->from[i].sigma, half = (r->to[i].sigma - from) / 2, middle = from + half;
    return half * (lagrange(r, i, j, order, middle - half * gauss_point) +
                   lagrange(r, i, j, order, middle + half * gauss_point));
}

/* history[j] is the slope of step i - j. */
tt_status tt__step_lms(tt__run *r, int i) {
    float *slope = r->history[LMS_ORDER - 1];
    for (int j = LMS_ORDER - 1; j > 0; j--) r->history[j] = r->history[j - 1];
    r->history[0] = slope;
    TT_TRY(tt__estimate(r, r->x, r->from[i].sigma, r->timesteps[i]));
    for (int64_t k = 0; k < r->n; k++) slope[k] = (r->x[k] - r->x0[k]) / r->from[i].sigma;
    int order = i + 1 < LMS_ORDER ? i + 1 : LMS_ORDER;
    for (int j = 0; j < order; j++) {
        const float weight = (float)lms_weight(r, i, j, order), *of = r->history[j];
        for (int64_t k = 0; k < r->n; k++) r->x[k] += weight * of[k];
    }
    return TT_OK;
}

/* ---- RES multistep (Zhang et al. 2023, "refined exponential solver"), as ComfyUI's ---- */

tt_status tt__step_res_multistep(tt__run *r, int i) {
    tt__remember(r);
    TT_TRY(tt__estimate(r, r->x, r->from[i].sigma, r->timesteps[i]));
    if (i == 0 || r->to[i].sigma == 0) {
        move(r, r->from[i].sigma, r->to[i].sigma);
        return TT_OK;
    }
    double h = r->to[i].lambda - r->from[i].lambda;
    double c2 = (r->from[i - 1].lambda - r->from[i].lambda) / h;
    double phi1 = expm1(-h) / -h, phi2 = (phi1 - 1) / -h;
    const float of_x = (float)exp(-h), of_new = (float)(h * (phi1 - phi2 / c2));
    const float of_old = (float)(h * phi2 / c2), *old = r->history[0];
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] = of_x * r->x[k] + (of_new * r->x0[k] + of_old * old[k]);
    return TT_OK;
}
