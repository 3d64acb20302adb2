/* Samplers: from noise to a picture's latents, asking a denoiser that the caller brings. They never
 * see a weight.
 *
 * Each behaves as the diffusers 0.42 scheduler it names, made by from_config from the model's
 * scheduler_config:
 *     euler          EulerDiscreteScheduler
 *     euler_a        EulerAncestralDiscreteScheduler
 *     heun           HeunDiscreteScheduler; also with zero terminal SNR, which that class ignores
 *     dpmpp_2m       DPMSolverMultistepScheduler, dpmsolver++
 *     dpmpp_2m_sde   the same, sde-dpmsolver++
 *     ddim           DDIMScheduler, set_alpha_to_one false, no clipping
 *     unipc          UniPCMultistepScheduler
 *     lcm            LCMScheduler
 * Every sampler takes every schedule. Where diffusers has no such pair, the sampler's formulas run
 * over the schedule's sigmas: euler_a with karras over EulerDiscrete's, ddim and lcm with alpha =
 * 1 / sqrt(1 + sigma^2). */
#ifndef TT_SAMPLE_SAMPLER_H
#define TT_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "sample/noise.h"
#include "sample/schedule.h"

typedef struct tt_sampler tt_sampler;

/* What the model's output means. */
typedef enum tt_sample_prediction { TT_SAMPLE_EPSILON, TT_SAMPLE_V } tt_sample_prediction;

typedef struct tt_sampler_options {
    const char *sampler;  /* canonical name; NULL: "euler" */
    const char *schedule; /* canonical name; NULL: "default" */
    int steps;
    int64_t n_values; /* of one picture's latents, channels * height * width; sizes the buffers */
    tt_sample_prediction prediction;
    tt_training training;
    float eta; /* fresh noise; negative: the sampler's own: ddim 0, euler_a 1; others: no meaning */
} tt_sampler_options;

/* SDXL, euler, 24 steps; n_values must be set. */
void tt_sampler_options_defaults(tt_sampler_options *options);

/* Fails with one sentence when names, steps or facts do not fit together. Keeps no strings. */
tt_status tt_sampler_new(const tt_sampler_options *options, tt_sampler **out, tt_err *err);
void tt_sampler_free(tt_sampler *s); /* NULL is fine */

/* The same checks, nothing kept; n_values is not looked at. */
tt_status tt_sampler_check(const tt_sampler_options *options, tt_err *err);

int tt_sampler_steps(const tt_sampler *s);
int tt_sampler_model_calls(const tt_sampler *s);      /* heun: 2 * steps - 1; the others: steps */
bool tt_sampler_draws_noise(const tt_sampler *s);     /* run needs a noise stream */
const char *tt_sampler_name(const tt_sampler *s);     /* canonical, static */
const char *tt_sampler_schedule(const tt_sampler *s); /* canonical, static: what "default" became */

/* Initial latents = noise * this. */
float tt_sampler_init_scale(const tt_sampler *s);

/* Per step: the timestep [steps] and the sigma [steps + 1]. Owned by the sampler. */
const float *tt_sampler_timesteps(const tt_sampler *s);
const float *tt_sampler_sigmas(const tt_sampler *s);

/* The caller's side. Values are one picture [channels, h, w], in the order in which noise is
 * drawn. */
typedef struct tt_denoiser {
    void *context;
    /* output[n] = the raw model output for input[n] (already scaled for the model) at this
     * timestep, guidance applied. A failure ends the run and is forwarded. */
    tt_status (*model)(void *context, const float *input, float timestep, float *output,
                       tt_err *err);
    /* After step 1..steps; x0[n] is the current estimate of the final latents, borrowed for the
     * call. May be NULL. A failure (TT_E_CANCELLED...) ends the run and is forwarded. */
    tt_status (*step_done)(void *context, int step, const float *x0, tt_err *err);
} tt_denoiser;

/* x[n_values]: in, initial latents (noise * init scale); out, final latents. `noise` is the stream
 * that made the initial latents, continued; NULL is fine for samplers that draw nothing. Allocates
 * nothing; may be called again for the next picture. On failure x holds some step's latents. */
tt_status tt_sampler_run(tt_sampler *s, float *x, const tt_denoiser *denoiser, tt_noise *noise,
                         tt_err *err);

#endif
