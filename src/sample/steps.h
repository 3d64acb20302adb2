/* Inside the room: what sampler.c gives to the step functions, and how they ask the model. */
#ifndef TT_SAMPLE_STEPS_H
#define TT_SAMPLE_STEPS_H

#include "sample/sampler.h"

/* One place on the way from noise to picture. x = alpha * picture + s * noise in
 * variance-preserving terms; lambda = log(alpha / s). At sigma 0 lambda is infinite, and every
 * update formula then yields its x0. */
typedef struct tt__point {
    float sigma;
    double alpha, s, lambda;
} tt__point;

enum { TT__HISTORY = 3 };

typedef struct tt__run {
    /* Borrowed from the sampler. */
    int steps;
    int64_t n;
    bool v_prediction;
    float eta;
    const float *timesteps;
    const tt__point *from, *to; /* [steps]; to[i] equals from[i + 1] but for ddim */
    /* The caller's. */
    float *x;
    const tt_denoiser *denoiser;
    tt_noise *noise;
    tt_err *err;
    /* Scratch of n floats each; contents survive from step to step. */
    float *input, *output;
    float *x0; /* every step leaves its estimate of the picture here */
    float *history[TT__HISTORY];
} tt__run;

/* Step i: r->x from r->from[i] to r->to[i]. */
typedef tt_status (*tt__step_fn)(tt__run *r, int i);

/* Samplers that carry x = picture + sigma * noise. */
tt_status tt__step_euler(tt__run *r, int i);
tt_status tt__step_euler_a(tt__run *r, int i);
tt_status tt__step_heun(tt__run *r, int i);

/* Samplers that carry x = alpha * picture + s * noise. */
tt_status tt__step_dpmpp_2m(tt__run *r, int i);
tt_status tt__step_dpmpp_2m_sde(tt__run *r, int i);
tt_status tt__step_unipc(tt__run *r, int i);
tt_status tt__step_ddim(tt__run *r, int i);
tt_status tt__step_lcm(tt__run *r, int i);

#endif
