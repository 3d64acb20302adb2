/* Samplers in sigma space (Karras et al. 2022): x = picture + sigma * noise, so a model trained on
 * variance- preserving inputs sees x / sqrt(sigma^2 + 1). The operations are diffusers', one by
 * one, in float32. */
#include <math.h>

#include "sample/steps.h"

/* x0 = what the model thinks x at `sigma` is a noisy version of. */
static tt_status estimate(tt__run *r, const float *x, float sigma, float timestep) {
    float norm = sqrtf(sigma * sigma + 1.0f);
    for (int64_t k = 0; k < r->n; k++) r->input[k] = x[k] / norm;
    TT_TRY(r->denoiser->model(r->denoiser->context, r->input, timestep, r->output, r->err));
    if (r->v_prediction) {
        float of_output = -sigma / norm, square = sigma * sigma + 1.0f;
        for (int64_t k = 0; k < r->n; k++) r->x0[k] = r->output[k] * of_output + x[k] / square;
    } else {
        for (int64_t k = 0; k < r->n; k++) r->x0[k] = x[k] - sigma * r->output[k];
    }
    return TT_OK;
}

static void move(tt__run *r, float sigma, float sigma_next) {
    float step = sigma_next - sigma;
    for (int64_t k = 0; k < r->n; k++) r->x[k] += (r->x[k] - r->x0[k]) / sigma * step;
}

tt_status tt__step_euler(tt__run *r, int i) {
    TT_TRY(estimate(r, r->x, r->from[i].sigma, r->timesteps[i]));
    move(r, r->from[i].sigma, r->to[i].sigma);
    return TT_OK;
}

/* Goes lower than asked and adds fresh noise back; draws also on the last step, where its amount is
 * 0, because the stream may go on into the next picture. */
tt_status tt__step_euler_a(tt__run *r, int i) {
    float from = r->from[i].sigma, to = r->to[i].sigma;
    TT_TRY(estimate(r, r->x, from, r->timesteps[i]));
    float up = r->eta * sqrtf(to * to * (from * from - to * to) / (from * from));
    if (up > to) up = to;
    move(r, from, sqrtf(to * to - up * up));
    tt_noise_fill(r->noise, r->input, r->n);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += r->input[k] * up;
    return TT_OK;
}

/* The trapezoidal rule; the last step ends at sigma 0, where no slope exists, and stays Euler's. */
tt_status tt__step_heun(tt__run *r, int i) {
    float from = r->from[i].sigma, to = r->to[i].sigma, step = to - from;
    float *slope = r->history[0], *trial = r->history[1];
    TT_TRY(estimate(r, r->x, from, r->timesteps[i]));
    for (int64_t k = 0; k < r->n; k++) {
        slope[k] = (r->x[k] - r->x0[k]) / from;
        trial[k] = r->x[k] + slope[k] * step;
    }
    if (i == r->steps - 1) {
        for (int64_t k = 0; k < r->n; k++) r->x[k] = trial[k];
        return TT_OK;
    }
    TT_TRY(estimate(r, trial, to, r->timesteps[i + 1]));
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] += (slope[k] + (trial[k] - r->x0[k]) / to) / 2.0f * step;
    return TT_OK;
}
