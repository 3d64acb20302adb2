/* Inside the room: what sampler.c gives to the step functions, and how they ask the model. */
#ifndef TT_SAMPLE_STEPS_H
#define TT_SAMPLE_STEPS_H

#include "sample/brownian.h"
#include "sample/sampler.h"

/* One place on the way from noise to picture. x = alpha * picture + s * noise in
 * variance-preserving terms; lambda = log(alpha / s). At sigma 0 lambda is infinite, and every
 * update formula then yields its x0. */
typedef struct tt__point {
    float sigma;
    double alpha, s, lambda;
} tt__point;

tt__point tt__point_at(float sigma);

/* Between from[i] and to[i], for samplers that ask the model there. */
typedef struct tt__middle {
    float sigma, timestep;
} tt__middle;

enum { TT__HISTORY = 4 };

/* Noise on the way, see tt_step_noise. */
typedef struct tt__way_noise {
    tt_step_noise manner; /* STREAM, FRESH or BROWNIAN */
    tt_noise *stream;     /* the caller's, or `own` */
    tt_noise own;
    tt_brownian tree;
} tt__way_noise;

typedef struct tt__run {
    /* Borrowed from the sampler. */
    int steps;
    int first;         /* of the whole schedule's steps, where this run begins */
    bool reaches_end;  /* else another run goes on from to[steps - 1] */
    int whole_steps;   /* of the whole schedule */
    bool like_classes; /* compat is diffusers, with its classes' habits */
    int64_t n;
    tt_sample_prediction prediction;
    float sigma_data; /* of an EDM model; 0: not one */
    float eta;
    const float *timesteps;
    const tt__point *from, *to;  /* [steps]; to[i] equals from[i + 1] but for ddim, pndm */
    const tt__middle *middle;    /* [steps]; NULL: the sampler has none */
    const tt_noise_table *table; /* tcd only */
    /* The caller's. */
    float *x;
    const tt_denoiser *denoiser;
    tt__way_noise *noise;
    tt_err *err;
    /* Scratch of n floats each; contents survive from step to step. */
    float *input, *output;
    float *x0; /* every step leaves its estimate of the picture here */
    float *history[TT__HISTORY];
} tt__run;

/* True at the step that ends the whole schedule. */
static inline bool tt__is_last(const tt__run *r, int i) {
    return i == r->steps - 1 && r->reaches_end;
}

/* For samplers that look back: what the last step left in x0 becomes history[0], history[0] becomes
 * history[1]. */
void tt__remember(tt__run *r);

/* r->x0 = what the model thinks x at `sigma` is a noisy version of; x = picture + sigma * noise. */
tt_status tt__estimate(tt__run *r, const float *x, float sigma, float timestep);

/* out[n] = unit noise for the step between two sigmas. `single`: in single precision also from a
 * half stream. */
void tt__draw(tt__run *r, float sigma_from, float sigma_to, bool single, float *out);

/* What an ancestral step goes down to, and the noise it adds to come back up to `to`. */
typedef struct tt__ancestral {
    float down, up;
} tt__ancestral;

tt__ancestral tt__ancestral_step(float from, float to, float eta);

/* Step i: r->x from r->from[i] to r->to[i]. */
typedef tt_status (*tt__step_fn)(tt__run *r, int i);

/* Samplers that carry x = picture + sigma * noise. steps_sigma.c: */
tt_status tt__step_euler(tt__run *r, int i);
tt_status tt__step_euler_a(tt__run *r, int i);
tt_status tt__step_euler_cfgpp(tt__run *r, int i);
tt_status tt__step_heun(tt__run *r, int i);
tt_status tt__step_lms(tt__run *r, int i);
tt_status tt__step_res_multistep(tt__run *r, int i);
/* steps_middle.c: */
tt_status tt__step_dpm2(tt__run *r, int i);
tt_status tt__step_dpm2_a(tt__run *r, int i);
tt_status tt__step_dpmpp_sde(tt__run *r, int i);
tt_status tt__step_dpmpp_2s_a(tt__run *r, int i);

/* Samplers that carry x = alpha * picture + s * noise. steps_vp.c: */
tt_status tt__step_dpmpp_2m(tt__run *r, int i);
tt_status tt__step_dpmpp_2m_sde(tt__run *r, int i);
tt_status tt__step_dpmpp_3m_sde(tt__run *r, int i);
tt_status tt__step_dpmpp_2s(tt__run *r, int i);
tt_status tt__step_unipc(tt__run *r, int i);
/* steps_ddim.c: */
tt_status tt__step_ddim(tt__run *r, int i);
tt_status tt__step_pndm(tt__run *r, int i);
tt_status tt__step_lcm(tt__run *r, int i);
tt_status tt__step_tcd(tt__run *r, int i);

/* r->output = the model's answer at from[i]; r->x0 = the picture it means. For the second family. */
tt_status tt__estimate_vp(tt__run *r, int i);

#endif
