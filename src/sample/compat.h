/* Whose pictures a seed should give: diffusers', A1111's or ComfyUI's. The three run the same
 * samplers and differ in the schedule they mean by default, in how noisy the first latents are, in
 * which timestep the model is told, and in where the noise of stochastic samplers comes from. One
 * row each; plan.c and way_noise.c ask the row.
 *
 * Not covered: A1111's "Automatic" schedule type, which since its 1.9 is another schedule per sampler
 * (name the schedule that the picture's text names); the two programs' own UniPC, whose order and
 * B(h) differ from diffusers'. */
#ifndef TT_SAMPLE_COMPAT_H
#define TT_SAMPLE_COMPAT_H

#include <stdbool.h>

#include "base/err.h"

typedef enum tt_sample_compat {
    TT_COMPAT_DIFFUSERS,
    TT_COMPAT_A1111,
    TT_COMPAT_COMFYUI,
} tt_sample_compat;

/* Initial latents = noise * this, for x = picture + sigma * noise. */
typedef enum tt_start_rule {
    TT_START_BY_SPACING, /* sqrt(sigma^2 + 1); sigma itself with linspace and trailing */
    TT_START_SIGMA,      /* sigma */
    TT_START_BY_MAX,     /* sqrt(sigma^2 + 1) from the model's noisiest sigma, else sigma */
} tt_start_rule;

/* Which steps a strength below 1 leaves (image to image). n: steps asked for. */
typedef enum tt_strength_rule {
    TT_STRENGTH_LAST,      /* the last int(n * strength) of n */
    TT_STRENGTH_LAST_PLUS, /* the last int(n * min(strength, 0.999)) + 1 of n */
    TT_STRENGTH_STRETCHED, /* the last n of int(n / strength) */
} tt_strength_rule;

/* Where the noise after the first latents comes from. */
typedef enum tt_step_noise {
    TT_STEP_NOISE_DEFAULT,  /* what the compat row and the sampler say */
    TT_STEP_NOISE_STREAM,   /* the stream that made the first latents, continued */
    TT_STEP_NOISE_FRESH,    /* a stream of its own, begun at the same seed + seed_delta */
    TT_STEP_NOISE_BROWNIAN, /* torchsde's tree, see brownian.h */
} tt_step_noise;

typedef struct tt_sample_compat_facts {
    const char *name;             /* "diffusers", "a1111", "comfyui" */
    const char *default_schedule; /* NULL: the model's own spacing */
    tt_start_rule start;
    tt_strength_rule strength;
    bool whole_timesteps;  /* the model is told the nearest table entry, else a fraction */
    bool whole_range_ramp; /* karras and its like run over the whole table, from any spacing */
    bool fresh_step_noise; /* TT_STEP_NOISE_FRESH for samplers without a tree */
    bool cuda_step_noise;  /* that fresh stream is Philox, as on a graphics card */
    bool tree_noise;       /* dpmpp_2m_sde and dpmpp_3m_sde draw from a tree */
    float zero_snr_end;    /* the last alpha product of a zero-terminal-SNR table, for 0 */
} tt_sample_compat_facts;

const tt_sample_compat_facts *tt_sample_compat_of(tt_sample_compat compat);

/* "diffusers", "a1111" (also "automatic1111", "forge"), "comfyui" (also "comfy"); NULL means
 * diffusers. TT_E_INVALID lists them. */
tt_status tt_sample_compat_parse(const char *name, tt_sample_compat *out, tt_err *err);

#endif
