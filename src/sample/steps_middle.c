/* Second-order samplers in sigma space that ask the model once more between two sigmas, at their
 * geometric mean; the last step ends at sigma 0, has no middle, and is Euler's. */
#include <math.h>

#include "sample/steps.h"

/* The Euler step down to the picture: what every sampler here does last. */
static void finish(tt__run *r, float from) {
    for (int64_t k = 0; k < r->n; k++) r->x[k] += (r->x[k] - r->x0[k]) / from * -from;
}

/* ---- DPM-2 (Karras et al. 2022, algorithm 2, at the midpoint) ---- */

/* From `from` to `down` along the slope at the middle. */
static tt_status through_middle(tt__run *r, int i, float down) {
    const tt__middle *middle = &r->middle[i];
    float from = r->from[i].sigma, *trial = r->history[0];
    for (int64_t k = 0; k < r->n; k++)
        trial[k] = r->x[k] + (r->x[k] - r->x0[k]) / from * (middle->sigma - from);
    TT_TRY(tt__estimate(r, trial, middle->sigma, middle->timestep));
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] += (trial[k] - r->x0[k]) / middle->sigma * (down - from);
    return TT_OK;
}

tt_status tt__step_dpm2(tt__run *r, int i) {
    TT_TRY(tt__estimate(r, r->x, r->from[i].sigma, r->timesteps[i]));
    if (r->to[i].sigma > 0) return through_middle(r, i, r->to[i].sigma);
    finish(r, r->from[i].sigma);
    return TT_OK;
}

/* The noise is drawn only where there is some to add. */
static void add_noise(tt__run *r, int i, float amount) {
    tt__draw(r, r->from[i].sigma, r->to[i].sigma, false, r->input);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += r->input[k] * amount;
}

tt_status tt__step_dpm2_a(tt__run *r, int i) {
    float from = r->from[i].sigma;
    tt__ancestral step = tt__ancestral_step(from, r->to[i].sigma, r->eta);
    TT_TRY(tt__estimate(r, r->x, from, r->timesteps[i]));
    if (step.down > 0)
        TT_TRY(through_middle(r, i, step.down));
    else
        finish(r, from);
    if (r->to[i].sigma > 0) add_noise(r, i, step.up);
    return TT_OK;
}

/* ---- DPM-Solver++ (Lu et al. 2022) by single steps ---- */

/* out = x carried from one sigma to another, with x0 for the picture. */
static void carry(const tt__run *r, float from, float to, float *out) {
    const float share = to / from;
    for (int64_t k = 0; k < r->n; k++) out[k] = share * r->x[k] + (1.0f - share) * r->x0[k];
}

/* k-diffusion's dpmpp_2s_ancestral. */
tt_status tt__step_dpmpp_2s_a(tt__run *r, int i) {
    float from = r->from[i].sigma, *trial = r->history[0];
    tt__ancestral step = tt__ancestral_step(from, r->to[i].sigma, r->eta);
    TT_TRY(tt__estimate(r, r->x, from, r->timesteps[i]));
    if (step.down > 0) {
        const tt__middle *middle = &r->middle[i];
        carry(r, from, middle->sigma, trial);
        TT_TRY(tt__estimate(r, trial, middle->sigma, middle->timestep));
        carry(r, from, step.down, r->x);
    } else {
        finish(r, from);
    }
    if (r->to[i].sigma > 0) add_noise(r, i, step.up);
    return TT_OK;
}

/* A sigma as it comes out of a logarithm and back in single precision. A tree's noise depends on the
 * sixth decimal of where it is asked. */
static float there_and_back(float sigma) {
    return (float)exp((float)log(sigma));
}

/* Ancestral, both to the middle and to the end, each time from the start. */
tt_status tt__step_dpmpp_sde(tt__run *r, int i) {
    const tt__middle *middle = &r->middle[i];
    float from = r->from[i].sigma, to = r->to[i].sigma, *trial = r->history[0];
    TT_TRY(tt__estimate(r, r->x, from, r->timesteps[i]));
    if (!(to > 0)) {
        finish(r, from);
        return TT_OK;
    }
    float start = there_and_back(from);
    tt__ancestral half = tt__ancestral_step(from, middle->sigma, r->eta);
    carry(r, from, half.down, trial);
    tt__draw(r, start, middle->sigma, false, r->input);
    for (int64_t k = 0; k < r->n; k++) trial[k] += r->input[k] * half.up;
    TT_TRY(tt__estimate(r, trial, middle->sigma, middle->timestep));
    tt__ancestral whole = tt__ancestral_step(from, to, r->eta);
    carry(r, from, whole.down, r->x);
    tt__draw(r, start, there_and_back(to), false, r->input);
    for (int64_t k = 0; k < r->n; k++) r->x[k] += r->input[k] * whole.up;
    return TT_OK;
}
