/* The training table and the nine schedules over it.
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

static const double karras_rho = 7.0;       /* Karras et al. 2022, table 1 */
static const float zero_snr_end = 0x1p-24f; /* diffusers: half's least positive value, for 0 */
enum { LCM_GRID = 50 };                     /* points a consistency model was distilled on */

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

static tt_status check_training(const tt_training *t, bool *scaled, tt_err *err) {
    if (t->train_steps < TT_MIN_TRAIN_STEPS || t->train_steps > TT_MAX_TRAIN_STEPS)
        return tt_fail(err, TT_E_INVALID, "training steps: expected %d to %d, found %d",
                       TT_MIN_TRAIN_STEPS, TT_MAX_TRAIN_STEPS, t->train_steps);
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
    fill_alphas(table, training, scaled);
    if (training->zero_terminal_snr) {
        rescale_to_zero_snr(table);
        if (finite_end) table->alphas_cumprod[count - 1] = zero_snr_end;
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

/* numpy.linspace(start, end, count)[i]. */
static double linspace(double start, double end, int count, int i) {
    if (count > 1 && i == count - 1) return end;
    return count > 1 ? start + i * ((end - start) / (count - 1)) : start;
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
    double timestep = linspace(0, t->train_steps - 1, points, points - 1 - i);
    return r->grid == TT_GRID_SIGMA ? timestep : nearbyint(timestep);
}

typedef struct context {
    const tt_schedule_request *request;
    const tt_training *training;
    const tt_noise_table *table;
    float *timesteps, *sigmas;
} context;

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
    return pow(from + linspace(0, 1, count, i) * (to - from), karras_rho);
}

static double exponential_at(double max, double min, int count, int i) {
    return exp(linspace(log(max), log(min), count, i));
}

/* The ends: Euler's classes take those of their own spacing, the others the whole table. */
static void ramp_ends(const context *c, spacing_kind spacing, double *max, double *min) {
    *max = tt_noise_table_sigma(c->table, c->table->count - 1);
    *min = tt_noise_table_sigma(c->table, 0);
    if (c->request->grid != TT_GRID_SIGMA) return;
    make_spacing(c, spacing);
    *max = tt_noise_table_sigma(c->table, c->timesteps[0]);
    *min = tt_noise_table_sigma(c->table, c->timesteps[c->request->steps - 1]);
}

static void make_ramp(const context *c, spacing_kind spacing, bool karras) {
    int steps = c->request->steps;
    double max, min;
    ramp_ends(c, spacing, &max, &min);
    for (int i = 0; i < steps; i++) {
        double sigma = karras ? karras_at(max, min, steps, i) : exponential_at(max, min, steps, i);
        double timestep = tt_noise_table_timestep(c->table, sigma);
        if (c->request->grid == TT_GRID_MULTISTEP)
            timestep = karras ? nearbyint(timestep) : floor(timestep);
        c->sigmas[i] = (float)sigma;
        c->timesteps[i] = (float)timestep;
    }
}

/* ---- k-diffusion's and ComfyUI's ---- */

/* Even timesteps over the whole table; sgm leaves out the last of one more. */
static void make_normal(const context *c, bool sgm) {
    int steps = c->request->steps;
    for (int i = 0; i < steps; i++) {
        double timestep = linspace(c->table->count - 1, 0, sgm ? steps + 1 : steps, i);
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
    int steps = c->request->steps;
    for (int i = 0; i < steps; i++)
        if (!(c->sigmas[i] > c->sigmas[i + 1]))
            return tt_fail(err, TT_E_INVALID,
                           "steps: %d do not fit schedule %s, timestep %g would come twice "
                           "(training steps %d, "
                           "offset %d)",
                           steps, name, (double)c->timesteps[i], c->training->train_steps,
                           c->training->steps_offset);
    return TT_OK;
}

tt_status tt_schedule_make(const tt_schedule_request *request, const tt_training *training,
                           const tt_noise_table *table, float *timesteps, float *sigmas,
                           tt_err *err) {
    TT_TRY(check_request(request, training, err));
    const char *name = request->name ? request->name : "default";
    const char *own_name = training->spacing && *training->spacing ? training->spacing : "leading";
    spacing_kind own, asked;
    if (!find_spacing(own_name, &own))
        return tt_fail(
            err, TT_E_INVALID,
            "the model's timestep spacing: expected leading, trailing or linspace, found \"%.40s\"",
            own_name);
    context c = {request, training, table, timesteps, sigmas};
    if (strcmp(name, "default") == 0 && request->grid == TT_GRID_LCM)
        make_lcm(&c);
    else if (strcmp(name, "default") == 0)
        make_spacing(&c, own);
    else if (find_spacing(name, &asked))
        make_spacing(&c, asked);
    else if (strcmp(name, "karras") == 0 || strcmp(name, "exponential") == 0)
        make_ramp(&c, own, *name == 'k');
    else if (strcmp(name, "normal") == 0 || strcmp(name, "sgm_uniform") == 0)
        make_normal(&c, *name == 's');
    else if (strcmp(name, "simple") == 0)
        make_simple(&c);
    else
        return tt_fail(err, TT_E_INVALID, "schedule: no such name \"%.40s\"", name);
    sigmas[request->steps] = 0;
    return check_falling(&c, name, err);
}
