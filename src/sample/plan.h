/* Inside the room: what options become before anything runs. One row per sampler, and the points it
 * visits. */
#ifndef TT_SAMPLE_PLAN_H
#define TT_SAMPLE_PLAN_H

#include "sample/steps.h"

/* Which sigma a sampler asks at between two of the schedule's: none, the geometric mean of both, or of
 * the first and what an ancestral step goes down to. */
typedef enum tt__middle_rule { TT__NO_MIDDLE, TT__MIDDLE, TT__MIDDLE_DOWN } tt__middle_rule;

typedef struct tt__kind {
    const char *name;
    tt__step_fn step;
    tt_schedule_grid grid;
    float eta;           /* its own */
    bool keeps_variance; /* else x = picture + sigma * noise */
    bool draws_noise;    /* for any eta */
    bool draws_with_eta; /* for an eta above 0 */
    bool sde;            /* k-diffusion draws its noise from a tree */
    bool always_tree;    /* diffusers too */
    bool fixed_stride;   /* over leading it steps back evenly, wherever the next timestep is */
    bool no_edm;         /* has no meaning for a model trained over sigmas */
    bool needs_both;
    bool asks_twice; /* every step but the one that ends at sigma 0 */
    tt__middle_rule middle;
    const char *default_schedule;          /* NULL: compat's */
    const char *a1111_schedule;            /* NULL: compat's */
    bool drops_in_a1111, drops_in_comfyui; /* the sigma before the last */
} tt__kind;

/* Everything about a run that depends only on options. */
typedef struct tt__plan {
    const tt__kind *kind;
    const char *schedule; /* static */
    tt_sample_compat compat;
    int asked, count; /* steps asked for, and of the whole schedule */
    int first, steps; /* the part that runs */
    tt_sample_prediction prediction;
    float sigma_data, eta;
    float start_scale;         /* noise in the first latents, x = picture + sigma * noise */
    float *timesteps, *sigmas; /* owned, one block: [count], [count + 1] */
    tt__point *from, *to;      /* owned, one block: [count] each */
    tt__middle *middle;        /* owned: [count], or NULL */
    tt_noise_table table;      /* owned */
} tt__plan;

/* On failure the plan is released. */
tt_status tt__plan_init(tt__plan *p, const tt_sampler_options *options, tt_err *err);
void tt__plan_release(tt__plan *p);

/* How many times the model is asked in the part that runs. */
int tt__plan_model_calls(const tt__plan *p);

#endif
