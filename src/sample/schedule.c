/* The training table and the schedules over it; the curves that others published are in
 * schedule_curves.c.
 *
 * Everything follows diffusers' arithmetic where the result depends on it: the betas are float32,
 * their product is accumulated in double and stored in float32 (as torch.cumprod does), sigmas are
 * float32, grids and karras ramps are double (numpy), and "whole" timesteps round half to even or
 * are cut exactly where diffusers' are. One accident is not repeated: for some step counts (61,
 * 103, 121...) numpy's arange gives diffusers' trailing spacing one point more, at timestep -1. */
#include "sample/schedule.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "sample/schedule_parts.h"

static const double karras_rho = 7.0;       /* Karras et al. 2022, table 1 */
static const float zero_snr_end = 0x1p-24f; /* diffusers: half's least positive value, for 0 */
enum {
    LCM_GRID = 50,           /* points a consistency model was distilled on */
    EDM_SIGMA_LIMIT = 10000, /* no model goes near; six decimals of it are exact in a double */
};

void tt_training_defaults(tt_training *training) {
    *training = (tt_training){
        .train_steps = 1000,
        .beta_start = 0.00085,
        .beta_end = 0.012,
        .beta_schedule = "scaled_linear",
        .spacing = "leading",
        .steps_offset = 1,
    };
}

void tt_training_cosxl(tt_training *training) {
    tt_training_defaults(training);
    training->edm_sigma_min = 0.002;
    training->edm_sigma_max = 120;
    training->edm_sigma_data = 1;
}

/* ---- the table ---- */

/* torch.linspace in float32: from each end to the middle, one rounding per value. */
static float linspace_f32(float start, float end, int count, int i) {
    float step = (end - start) / (float)(count - 1);
    if (i < count / 2) return (float)(start + (double)step * i);
    return (float)(end - (double)step * (count - 1 - i));
}

static float beta_at(const tt_training *t, bool scaled, int i) {
    if (!scaled) return linspace_f32((float)t->beta_start, (float)t->beta_end, t->train_steps, i);
    float root =
        linspace_f32((float)sqrt(t->beta_start), (float)sqrt(t->beta_end), t->train_steps, i);
    return root * root;
}

static void fill_alphas(tt_noise_table *table, const tt_training *t, bool scaled) {
    double product = 1.0;
    for (int i = 0; i < table->count; i++) {
        product *= 1.0f - beta_at(t, scaled, i);
        table->alphas_cumprod[i] = (float)product;
    }
}

/* Shifts and scales sqrt(alpha) so that it ends at 0 and still starts where it did; goes through
 * betas and back as diffusers does, because the float32 roundings on that way are part of its
 * table. */
static void rescale_to_zero_snr(tt_noise_table *table) {
    int last = table->count - 1;
    float *a = table->alphas_cumprod;
    float first_root = sqrtf(a[0]), last_root = sqrtf(a[last]);
    float scale = first_root / (first_root - last_root);
    float before = 1.0f;
    double product = 1.0;
    for (int i = 0; i <= last; i++) {
        float root = (sqrtf(a[i]) - last_root) * scale;
        float rescaled = root * root;
        float ratio = i ? rescaled / before : rescaled;
        float beta = 1.0f - ratio;
        before = rescaled;
        product *= 1.0f - beta;
        a[i] = (float)product;
    }
}

static tt_status check_edm(const tt_training *t, tt_err *err) {
    bool rising = t->edm_sigma_min > 0 && t->edm_sigma_min < t->edm_sigma_max;
    if (!rising || !(t->edm_sigma_max <= EDM_SIGMA_LIMIT))
        return tt_fail(err, TT_E_INVALID,
                       "training sigmas: expected 0 < min < max <= %d, found %g and %g",
                       EDM_SIGMA_LIMIT, t->edm_sigma_min, t->edm_sigma_max);
    if (!(t->edm_sigma_data > 0 && t->edm_sigma_data <= EDM_SIGMA_LIMIT))
        return tt_fail(err, TT_E_INVALID, "training sigma_data: expected more than 0, found %g",
                       t->edm_sigma_data);
    return TT_OK;
}

static void fill_edm(tt_noise_table *table, const tt_training *t) {
    double low = log(t->edm_sigma_min), high = log(t->edm_sigma_max);
    for (int i = 0; i < table->count; i++) {
        double sigma = exp(low + (high - low) * i / (table->count - 1));
        table->sigmas[i] = (float)sigma;
        table->alphas_cumprod[i] = (float)(1 / (sigma * sigma + 1));
    }
}

static tt_status check_training(const tt_training *t, bool *scaled, tt_err *err) {
    if (t->train_steps < TT_MIN_TRAIN_STEPS || t->train_steps > TT_MAX_TRAIN_STEPS)
        return tt_fail(err, TT_E_INVALID, "training steps: expected %d to %d, found %d",
                       TT_MIN_TRAIN_STEPS, TT_MAX_TRAIN_STEPS, t->train_steps);
    *scaled = false;
    if (t->edm_sigma_max != 0) return check_edm(t, err);
    if (!(t->beta_start > 0 && t->beta_start <= t->beta_end && t->beta_end < 1))
        return tt_fail(err, TT_E_INVALID,
                       "training betas: expected 0 < start <= end < 1, found %g and %g",
                       t->beta_start, t->beta_end);
    if (t->steps_offset < 0 || t->steps_offset >= t->train_steps)
        return tt_fail(err, TT_E_INVALID, "steps offset: expected 0 to %d, found %d",
                       t->train_steps - 1, t->steps_offset);
    const char *name = t->beta_schedule ? t->beta_schedule : "scaled_linear";
    *scaled = strcmp(name, "scaled_linear") == 0;
    if (!*scaled && strcmp(name, "linear") != 0)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "beta schedule: expected scaled_linear or linear, found \"%.40s\"", name);
    return TT_OK;
}

tt_status tt_noise_table_init(tt_noise_table *table, const tt_training *training, bool finite_end,
                              tt_err *err) {
    *table = (tt_noise_table){0};
    bool scaled;
    TT_TRY(check_training(training, &scaled, err));
    size_t count = (size_t)training->train_steps;
    float *memory = tt_alloc(2 * count * sizeof *memory);
    if (!memory) return tt_fail_nomem(err, "the noise table", 2 * count * sizeof *memory);
    table->count = training->train_steps;
    table->alphas_cumprod = memory;
    table->sigmas = memory + count;
    if (training->edm_sigma_max != 0) {
        fill_edm(table, training);
        return TT_OK;
    }
    fill_alphas(table, training, scaled);
    if (training->zero_terminal_snr) {
        rescale_to_zero_snr(table);
        float end = training->zero_snr_end > 0 ? training->zero_snr_end : zero_snr_end;
        if (finite_end) table->alphas_cumprod[count - 1] = end;
    }
    for (size_t i = 0; i < count; i++) {
        float a = table->alphas_cumprod[i];
        table->sigmas[i] = a > 0 ? sqrtf((1.0f - a) / a) : INFINITY;
    }
    return TT_OK;
}

void tt_noise_table_release(tt_noise_table *table) {
    tt_free(table->alphas_cumprod);
    *table = (tt_noise_table){0};
}

/* The entry below a timestep and the weight of the entry above it. */
static int entry_below(const tt_noise_table *table, double timestep, double *weight) {
    int last = table->count - 1;
    *weight = 0;
    if (!(timestep > 0)) return 0;
    if (timestep >= last) return last;
    int low = (int)timestep;
    *weight = timestep - low;
    return low;
}

double tt_noise_table_sigma(const tt_noise_table *table, double timestep) {
    double weight;
    int low = entry_below(table, timestep, &weight);
    if (weight == 0) return table->sigmas[low];
    double below = table->sigmas[low], above = table->sigmas[low + 1];
    return below + weight * (above - below);
}

double tt_noise_table_sigma_log(const tt_noise_table *table, double timestep) {
    double weight;
    int low = entry_below(table, timestep, &weight);
    if (weight == 0) return table->sigmas[low];
    return exp((1 - weight) * log(table->sigmas[low]) + weight * log(table->sigmas[low + 1]));
}

/* numpy's logarithm of a float32 table is float32; where a timestep is cut to a whole one this
 * decides which. */
static double log_entry(const tt_noise_table *table, int i) {
    return (float)log(table->sigmas[i]);
}

double tt_noise_table_timestep(const tt_noise_table *table, double sigma) {
    static const double least_sigma = 1e-10; /* diffusers' guard of the logarithm */
    double log_sigma = log(fmax(sigma, least_sigma));
    int low = 0,
        high = table->count - 1; /* the last entry that is not above sigma, kept below the end */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (log_entry(table, middle) <= log_sigma)
            low = middle;
        else
            high = middle;
    }
    double below = log_entry(table, low), above = log_entry(table, low + 1);
    double weight = (log_sigma - below) / (above - below);
    return low + fmin(fmax(weight, 0), 1);
}

/* ---- grids: diffusers' timestep_spacing ---- */

typedef enum { LEADING, TRAILING, LINSPACE, N_SPACINGS } spacing_kind;
static const char *const spacing_names[] = {
    [LEADING] = "leading", [TRAILING] = "trailing", [LINSPACE] = "linspace"};

static bool find_spacing(const char *name, spacing_kind *out) {
    for (int i = 0; i < N_SPACINGS; i++) {
        if (strcmp(name, spacing_names[i]) != 0) continue;
        *out = (spacing_kind)i;
        return true;
    }
    return false;
}

/* numpy.tt__linspace(start, end, count)[i]. */
double tt__linspace(double start, double end, int count, int i) {
    if (count > 1 && i == count - 1) return end;
    return count > 1 ? start + i * ((end - start) / (count - 1)) : start;
}

static bool is_sigma_grid(const tt_schedule_request *r) {
    return r->grid == TT_GRID_SIGMA || r->grid == TT_GRID_SIGMA_WHOLE;
}

static double leading_at(const tt_schedule_request *r, const tt_training *t, int i) {
    int points = r->grid == TT_GRID_MULTISTEP ? r->steps + 1 : r->steps;
    int timestep = (points - 1 - i) * (t->train_steps / points) + t->steps_offset;
    return timestep < t->train_steps ? timestep : t->train_steps - 1;
}

/* numpy.arange(train_steps, 0, -ratio)[i]: its increment is what one addition left of the ratio. */
static double trailing_at(const tt_schedule_request *r, const tt_training *t, int i) {
    double start = t->train_steps;
    double increment = (start - start / r->steps) - start;
    return nearbyint(start + i * increment) - 1;
}

static double linspace_at(const tt_schedule_request *r, const tt_training *t, int i) {
    int points = r->grid == TT_GRID_MULTISTEP ? r->steps + 1 : r->steps;
    double timestep = tt__linspace(0, t->train_steps - 1, points, points - 1 - i);
    return is_sigma_grid(r) ? timestep : nearbyint(timestep);
}

typedef tt__schedule context;

static void make_spacing(const context *c, spacing_kind kind) {
    static double (*const at[])(const tt_schedule_request *, const tt_training *, int) = {
        [LEADING] = leading_at, [TRAILING] = trailing_at, [LINSPACE] = linspace_at};
    for (int i = 0; i < c->request->steps; i++) {
        c->timesteps[i] = (float)at[kind](c->request, c->training, i);
        c->sigmas[i] = (float)tt_noise_table_sigma(c->table, c->timesteps[i]);
    }
}

static void make_lcm(const context *c) {
    int stride = c->training->train_steps / LCM_GRID;
    for (int i = 0; i < c->request->steps; i++) {
        int point = (int)(i * ((double)LCM_GRID / c->request->steps));
        int timestep = (LCM_GRID - point) * stride - 1;
        c->timesteps[i] = (float)timestep;
        c->sigmas[i] = c->table->sigmas[timestep];
    }
}

/* ---- sigma ramps: karras and exponential ---- */

static double karras_at(double max, double min, int count, int i) {
    double from = pow(max, 1 / karras_rho), to = pow(min, 1 / karras_rho);
    return pow(from + tt__linspace(0, 1, count, i) * (to - from), karras_rho);
}

static double exponential_at(double max, double min, int count, int i) {
    return exp(tt__linspace(log(max), log(min), count, i));
}

/* The ends: Euler's classes take those of their own spacing, the others the whole table. */
static void ramp_ends(const context *c, spacing_kind spacing, double *max, double *min) {
    *max = tt_noise_table_sigma(c->table, c->table->count - 1);
    *min = tt_noise_table_sigma(c->table, 0);
    if (c->whole_range || !is_sigma_grid(c->request)) return;
    make_spacing(c, spacing);
    *max = tt_noise_table_sigma(c->table, c->timesteps[0]);
    *min = tt_noise_table_sigma(c->table, c->timesteps[c->request->steps - 1]);
}

/* What diffusers' classes tell the model of a ramp. */
static double ramp_timestep(const context *c, double timestep, bool rounds) {
    if (c->whole_range) return timestep;
    if (c->request->grid == TT_GRID_SIGMA_WHOLE) return rounds ? nearbyint(timestep) : timestep;
    if (c->request->grid != TT_GRID_MULTISTEP) return timestep;
    return rounds ? nearbyint(timestep) : floor(timestep);
}

typedef double (*ramp_fn)(double max, double min, int count, int i);

static void make_ramp(const context *c, spacing_kind spacing, ramp_fn at, bool rounds) {
    int steps = c->request->steps;
    double max, min;
    ramp_ends(c, spacing, &max, &min);
    for (int i = 0; i < steps; i++) {
        double sigma = at(max, min, steps, i);
        c->sigmas[i] = (float)sigma;
        c->timesteps[i] = (float)ramp_timestep(c, tt_noise_table_timestep(c->table, sigma), rounds);
    }
}

/* ---- k-diffusion's and ComfyUI's ---- */

/* Even timesteps over the whole table; sgm leaves out the last of one more. */
static void make_normal(const context *c, bool sgm) {
    int steps = c->request->steps;
    for (int i = 0; i < steps; i++) {
        double timestep = tt__linspace(c->table->count - 1, 0, sgm ? steps + 1 : steps, i);
        c->timesteps[i] = (float)timestep;
        c->sigmas[i] = (float)tt_noise_table_sigma_log(c->table, timestep);
    }
}

static void make_simple(const context *c) {
    int count = c->table->count;
    for (int i = 0; i < c->request->steps; i++) {
        int timestep = count - 1 - (int)(i * ((double)count / c->request->steps));
        c->timesteps[i] = (float)timestep;
        c->sigmas[i] = c->table->sigmas[timestep];
    }
}

/* ---- the contract ---- */

int tt_schedule_capacity(const tt_schedule_request *request, const tt_training *training) {
    int stride = training->train_steps / (request->steps + 1); /* ddim_uniform's, at its least */
    int most = (training->train_steps - 1) / (stride > 1 ? stride : 1) + 1;
    return most > request->steps + 1 ? most : request->steps + 1;
}

static tt_status check_request(const tt_schedule_request *r, const tt_training *t, tt_err *err) {
    if (r->steps < 1 || r->steps > t->train_steps)
        return tt_fail(err, TT_E_INVALID, "steps: expected 1 to %d, found %d", t->train_steps,
                       r->steps);
    bool own_grid = r->grid == TT_GRID_LCM && (!r->name || strcmp(r->name, "default") == 0);
    if (own_grid && r->steps > LCM_GRID)
        return tt_fail(
            err, TT_E_INVALID,
            "steps: lcm's own schedule has %d points, found %d; choose fewer steps or another "
            "schedule",
            LCM_GRID, r->steps);
    return TT_OK;
}

/* Multistep samplers divide by the distance of two sigmas. */
static tt_status check_falling(const context *c, const char *name, tt_err *err) {
    const float *table = c->table->sigmas;
    if (!(table[c->table->count - 1] > table[0]))
        return tt_fail(err, TT_E_INVALID,
                       "steps: %d do not fit schedule %s, the model's sigmas are all %g",
                       c->request->steps, name, (double)table[0]);
    for (int i = 0; i < c->count; i++)
        if (!(c->sigmas[i] > c->sigmas[i + 1]))
            return tt_fail(err, TT_E_INVALID,
                           "steps: %d do not fit schedule %s, timestep %g would come twice "
                           "(training steps %d, "
                           "offset %d)",
                           c->request->steps, name, (double)c->timesteps[i],
                           c->training->train_steps, c->training->steps_offset);
    return TT_OK;
}

/* False: no such name. */
static bool make_named(context *c, const char *name, spacing_kind own) {
    spacing_kind asked;
    bool is_default = strcmp(name, "default") == 0;
    if (is_default && c->request->grid == TT_GRID_LCM)
        make_lcm(c);
    else if (is_default)
        make_spacing(c, own);
    else if (find_spacing(name, &asked))
        make_spacing(c, asked);
    else if (strcmp(name, "karras") == 0)
        make_ramp(c, own, karras_at, true);
    else if (strcmp(name, "exponential") == 0)
        make_ramp(c, own, exponential_at, false);
    else if (strcmp(name, "beta") == 0 && c->request->compat != TT_COMPAT_COMFYUI)
        make_ramp(c, own, tt__beta_at, false);
    else if (strcmp(name, "normal") == 0 || strcmp(name, "sgm_uniform") == 0)
        make_normal(c, *name == 's');
    else if (strcmp(name, "simple") == 0)
        make_simple(c);
    else
        return tt__schedule_curve(c, name);
    return true;
}

/* ComfyUI's: by the distance of logarithms in single precision, which decides where two are equally
 * near. */
static double nearest_entry(const tt_noise_table *table, double sigma) {
    int low = (int)tt_noise_table_timestep(table, sigma);
    if (low == table->count - 1) return low;
    float log_sigma = (float)log(sigma);
    float down = fabsf(log_sigma - (float)log_entry(table, low));
    float up = fabsf(log_sigma - (float)log_entry(table, low + 1));
    return up < down ? low + 1 : low;
}

double tt_schedule_timestep(const tt_noise_table *table, const tt_training *training,
                            tt_sample_compat compat, double sigma) {
    if (training->edm_sigma_max != 0) return log(sigma) / 4; /* Karras et al. 2022, table 1 */
    if (tt_sample_compat_of(compat)->whole_timesteps) return nearest_entry(table, sigma);
    return tt_noise_table_timestep(table, sigma);
}

/* Sigmas decide; the model is told what follows from them, where it is not the schedule's own grid. */
static void tell_timesteps(const context *c) {
    tt_sample_compat compat = c->request->compat;
    if (c->training->edm_sigma_max == 0 && !tt_sample_compat_of(compat)->whole_timesteps) return;
    for (int i = 0; i < c->count; i++)
        c->timesteps[i] = (float)tt_schedule_timestep(c->table, c->training, compat, c->sigmas[i]);
}

static void drop_penultimate(context *c) {
    if (c->count < 2) return;
    c->count--;
    c->sigmas[c->count] = 0;
}

tt_status tt_schedule_make(const tt_schedule_request *request, const tt_training *training,
                           const tt_noise_table *table, float *timesteps, float *sigmas, int *count,
                           tt_err *err) {
    *count = 0;
    TT_TRY(check_request(request, training, err));
    const char *name = request->name ? request->name : "default";
    const char *own_name = training->spacing && *training->spacing ? training->spacing : "leading";
    spacing_kind own;
    if (!find_spacing(own_name, &own))
        return tt_fail(
            err, TT_E_INVALID,
            "the model's timestep spacing: expected leading, trailing or linspace, found \"%.40s\"",
            own_name);
    tt_schedule_request whole = *request;
    whole.steps += request->drop_penultimate;
    bool whole_range =
        tt_sample_compat_of(request->compat)->whole_range_ramp || training->edm_sigma_max != 0;
    context c = {&whole, training, table, timesteps, sigmas, whole.steps, whole_range};
    if (!make_named(&c, name, own))
        return tt_fail(err, TT_E_INVALID, "schedule: no such name \"%.40s\"", name);
    sigmas[c.count] = 0;
    if (request->drop_penultimate) drop_penultimate(&c);
    TT_TRY(check_falling(&c, name, err));
    tell_timesteps(&c);
    *count = c.count;
    return TT_OK;
}
