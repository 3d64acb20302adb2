/* When the model is asked: the training noise table, and the timesteps and sigmas of n steps
 * through it.
 *
 * The table is diffusers' own, float32 where diffusers is float32. Schedules by name:
 *     leading trailing linspace   diffusers' timestep_spacing, as the sampler's class reads it
 *     karras exponential          diffusers' use_karras_sigmas, use_exponential_sigmas; with another
 *                                 compat over the whole table, as k-diffusion's
 *     normal sgm_uniform simple   k-diffusion's and ComfyUI's: the whole range from the top
 *     ddim_uniform                ComfyUI's: every (train_steps / n)th entry; may be more than n
 *     beta                        Lee et al. 2024, Beta(0.6, 0.6): over sigmas (diffusers'
 *                                 use_beta_sigmas, A1111), with comfyui over timesteps
 *     ays                         Align Your Steps (Sabour et al. 2024) for SDXL, log-interpolated
 *     kl_optimal                  the same paper's theorem 3.1: even in the arc tangent of sigma
 *     linear_quadratic            ComfyUI's, from Mochi: half the steps in the noisiest fortieth
 *     default                     the model's own spacing (SDXL: leading); lcm, tcd: their own
 *                                 grid; EDM models: karras; with another compat its default */
#ifndef TT_SAMPLE_SCHEDULE_H
#define TT_SAMPLE_SCHEDULE_H

#include <stdbool.h>

#include "base/err.h"
#include "sample/compat.h"

enum {
    TT_MIN_TRAIN_STEPS = 50,    /* lcm's grid has 50 points */
    TT_MAX_TRAIN_STEPS = 10000, /* ten times what any published model uses; bounds the table */
};

/* How the model was trained: a diffusers scheduler_config in our words. Strings are borrowed. */
typedef struct tt_training {
    int train_steps; /* 1000 */
    double beta_start, beta_end;
    const char *beta_schedule; /* "scaled_linear" or "linear" */
    bool zero_terminal_snr;    /* rescaled as in Lin et al. 2023, section 3.2 */
    const char *spacing;       /* "leading", "trailing", "linspace"; NULL or "": leading */
    int steps_offset;          /* added by leading; 1 in SDXL */
    float zero_snr_end;        /* the last alpha product then, where 0 will not do; 0: 2^-24 */
    /* Models trained over sigmas (Karras et al. 2022), like CosXL: no betas, the table is this range,
     * even in log sigma, and the model is told ln(sigma) / 4. edm_sigma_max 0: not such a model. */
    double edm_sigma_min, edm_sigma_max;
    double edm_sigma_data; /* the pictures' deviation: CosXL 1, Playground 2.5 0.5 */
} tt_training;

void tt_training_defaults(tt_training *training); /* SDXL's scheduler_config */
void tt_training_cosxl(tt_training *training);    /* sigmas 0.002 to 120; v prediction */

/* The cumulative product of 1 - beta, owned by the table. */
typedef struct tt_noise_table {
    int count; /* train_steps */
    float *alphas_cumprod;
    float *sigmas; /* sqrt((1 - a) / a), ascending; the last is infinite when a is 0 */
} tt_noise_table;

/* finite_end: with zero terminal SNR the last entry is 2^-24 instead of 0, as in diffusers'
 * sigma-space classes. On failure the table is empty and needs no release. */
tt_status tt_noise_table_init(tt_noise_table *table, const tt_training *training, bool finite_end,
                              tt_err *err);
void tt_noise_table_release(tt_noise_table *table);

/* sigma at a fractional timestep, clamped to the table: linear between entries (diffusers), or
 * linear in log sigma (k-diffusion). */
double tt_noise_table_sigma(const tt_noise_table *table, double timestep);
double tt_noise_table_sigma_log(const tt_noise_table *table, double timestep);

/* The fractional timestep of a sigma, linear in log sigma, clamped to the table. */
double tt_noise_table_timestep(const tt_noise_table *table, double sigma);

/* How a sampler's diffusers class lays its grid. */
typedef enum tt_schedule_grid {
    TT_GRID_SIGMA, /* Euler, Euler a, Heun: n points, fractional; ramps between its own ends */
    TT_GRID_SIGMA_WHOLE, /* DPM2: the same, but karras timesteps are whole */
    TT_GRID_MULTISTEP, /* DPM-Solver++, UniPC: n + 1 points less the last, whole; ramps over all */
    TT_GRID_DDIM,      /* n points, whole; ramps over all */
    TT_GRID_LCM,       /* default: n of every (train_steps / 50)th step; else as DDIM */
} tt_schedule_grid;

typedef struct tt_schedule_request {
    const char *name; /* canonical; NULL: "default" */
    int steps;        /* 1..train_steps; lcm's own grid: at most 50 */
    tt_schedule_grid grid;
    tt_sample_compat compat;
    bool drop_penultimate; /* one point more is made and the last before 0 left out */
} tt_schedule_request;

/* How many points tt_schedule_make may make; timesteps needs that many floats, sigmas one more. */
int tt_schedule_capacity(const tt_schedule_request *request, const tt_training *training);

/* Fills timesteps[*count] and sigmas[*count + 1], strictly falling; the last is 0. *count is
 * request->steps, but for beta (may be fewer) and ddim_uniform (may be more) as ComfyUI makes them.
 * TT_E_INVALID says what does not fit. */
tt_status tt_schedule_make(const tt_schedule_request *request, const tt_training *training,
                           const tt_noise_table *table, float *timesteps, float *sigmas, int *count,
                           tt_err *err);

/* What the model is told for a sigma that no schedule names. */
double tt_schedule_timestep(const tt_noise_table *table, const tt_training *training,
                            tt_sample_compat compat, double sigma);

#endif
