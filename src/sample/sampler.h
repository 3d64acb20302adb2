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
 *     tcd            TCDScheduler
 *     lms            LMSDiscreteScheduler, order 4
 *     pndm           PNDMScheduler, skip_prk_steps
 *     dpm2, dpm2_a   KDPM2DiscreteScheduler, KDPM2AncestralDiscreteScheduler
 *     dpmpp_2s       DPMSolverSinglestepScheduler, dpmsolver++; its default schedule is linspace
 *     dpmpp_sde      DPMSolverSDEScheduler, with torchsde's noise
 * and, which diffusers does not have:
 *     dpmpp_2s_a dpmpp_3m_sde   k-diffusion's sample_dpmpp_2s_ancestral, sample_dpmpp_3m_sde
 *     res_multistep euler_cfgpp ComfyUI's res_multistep, euler_cfg_pp
 * Every sampler takes every schedule. Where diffusers has no such pair, the sampler's formulas run
 * over the schedule's sigmas: euler_a with karras over EulerDiscrete's, ddim, pndm, lcm and tcd with
 * alpha = 1 / sqrt(1 + sigma^2).
 *
 * A run that begins in the middle has no history there and starts at order 1, as in diffusers; but its
 * LMSDiscreteScheduler weighs slopes that it does not have, which is not followed.
 *
 * options.compat says whose habits to take on where programs differ (compat.h). */
#ifndef TT_SAMPLE_SAMPLER_H
#define TT_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "sample/noise.h"
#include "sample/schedule.h"

typedef struct tt_sampler tt_sampler;

/* What the model's output means. V and EDM are the two kinds of models trained over sigmas (CosXL;
 * Playground 2.5), V and EPSILON those of the others. */
typedef enum tt_sample_prediction {
    TT_SAMPLE_EPSILON,
    TT_SAMPLE_V,
    TT_SAMPLE_EDM,
} tt_sample_prediction;

typedef struct tt_sampler_options {
    const char *sampler;  /* canonical name; NULL: "euler" */
    const char *schedule; /* canonical name; NULL: "default" */
    int steps;
    int64_t n_values; /* of one picture's latents, channels * height * width; sizes the buffers */
    tt_sample_prediction prediction;
    tt_training training;
    float eta; /* fresh noise; negative: the sampler's own: ddim 0, tcd 0.3 (its gamma), those with
                  _a and dpmpp_sde 1; others: no meaning */
    tt_sample_compat compat;
    /* A part of the schedule, for image to image and for a refiner. */
    float strength;        /* 0 < strength <= 1: how much noise the picture starts from; 1: all */
    float denoising_start; /* 0 <= start < end <= 1, fractions of the training timesteps (of the */
    float denoising_end; /* steps unless compat is diffusers); a start above 0 replaces strength */
    /* Noise on the way. */
    tt_step_noise step_noise;
    int step_noise_kind; /* a tt_noise_kind for FRESH and BROWNIAN; negative: compat's
                                 (ComfyUI's samplers with _gpu: CUDA) */
    /* added to a FRESH stream's seed; above 0 STREAM becomes FRESH (A1111's "eta noise seed delta", ENSD). A tree keeps the
     * picture's seed */
    uint64_t step_seed_delta;
} tt_sampler_options;

/* SDXL, euler, 24 steps; n_values must be set. */
void tt_sampler_options_defaults(tt_sampler_options *options);

/* Fails with one sentence when names, steps or facts do not fit together. Keeps no strings. */
tt_status tt_sampler_new(const tt_sampler_options *options, tt_sampler **out, tt_err *err);
void tt_sampler_free(tt_sampler *s); /* NULL is fine */

/* The same checks, nothing kept; n_values is not looked at. */
tt_status tt_sampler_check(const tt_sampler_options *options, tt_err *err);

int tt_sampler_steps(const tt_sampler *s); /* that run: may differ from the steps asked for */
int tt_sampler_model_calls(const tt_sampler *s);
bool tt_sampler_needs_both(const tt_sampler *s);      /* run needs denoiser.model_both */
bool tt_sampler_draws_noise(const tt_sampler *s);     /* run needs a noise stream */
const char *tt_sampler_name(const tt_sampler *s);     /* canonical, static */
const char *tt_sampler_schedule(const tt_sampler *s); /* canonical, static: what "default" became */

/* Initial latents = noise * this. */
float tt_sampler_init_scale(const tt_sampler *s);

/* The sigma that the run begins at. */
float tt_sampler_first_sigma(const tt_sampler *s);

/* x[n] = the clean latents as noisy as they are before step `at` (0..steps; at steps: after the
 * last), in this sampler's units, by compat's rule. noise[n] is unit noise. x may be either. */
void tt_sampler_add_noise(const tt_sampler *s, int at, const float *clean, const float *noise,
                          float *x);

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
    /* As model, and `uncond` = the model's output for the negative prompt alone. NULL where no
     * sampler needs it. */
    tt_status (*model_both)(void *context, const float *input, float timestep, float *output,
                            float *uncond, tt_err *err);
    /* After step 1..steps, before step_done: may change the latents, for example put back what
     * inpainting keeps. NULL: nothing. */
    tt_status (*adjust)(void *context, int step, float *x, tt_err *err);
} tt_denoiser;

/* x[n_values]: in, initial latents (noise * init scale); out, final latents. `noise` is the stream
 * that made the initial latents, continued; NULL is fine for samplers that draw nothing. Allocates
 * nothing; may be called again for the next picture. On failure x holds some step's latents. */
tt_status tt_sampler_run(tt_sampler *s, float *x, const tt_denoiser *denoiser, tt_noise *noise,
                         tt_err *err);

#endif
