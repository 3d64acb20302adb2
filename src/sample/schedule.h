/* When the model is asked: the training noise table, and the timesteps and sigmas of n steps
 * through it.
 *
 * The table is diffusers' own, float32 where diffusers is float32. Schedules by name:
 *     leading trailing linspace   diffusers' timestep_spacing, as the sampler's class reads it
 *     karras exponential          diffusers' use_karras_sigmas, use_exponential_sigmas
 *     normal sgm_uniform simple   k-diffusion's and ComfyUI's: the whole range from the top
 *     default                     the model's own spacing (SDXL: leading); lcm: its own grid */
#ifndef TT_SAMPLE_SCHEDULE_H
#define TT_SAMPLE_SCHEDULE_H

#include <stdbool.h>

#include "base/err.h"

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
} tt_training;

void tt_training_defaults(tt_training *training); /* SDXL's scheduler_config */

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
    TT_GRID_SIGMA,     /* Euler, Euler a, Heun: n points, fractional; ramps between its own ends */
    TT_GRID_MULTISTEP, /* DPM-Solver++, UniPC: n + 1 points less the last, whole; ramps over all */
    TT_GRID_DDIM,      /* n points, whole; ramps over all */
    TT_GRID_LCM,       /* default: n of every (train_steps / 50)th step; else as DDIM */
} tt_schedule_grid;

typedef struct tt_schedule_request {
    const char *name; /* one of the nine; NULL: "default" */
    int steps;        /* 1..train_steps; lcm's own grid: at most 50 */
    tt_schedule_grid grid;
} tt_schedule_request;

/* Fills timesteps[steps] and sigmas[steps + 1], strictly falling; the last is 0. TT_E_INVALID says
 * what does not fit. */
tt_status tt_schedule_make(const tt_schedule_request *request, const tt_training *training,
                           const tt_noise_table *table, float *timesteps, float *sigmas,
                           tt_err *err);

#endif
