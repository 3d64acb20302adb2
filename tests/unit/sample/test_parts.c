/* Parts of a schedule, noise on the way, and what a caller can hook in. Numbers of whole runs are in
 * test_manners.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "sample/names.h"
#include "sample/sampler.h"
#include "unit/sample/new_sampler.h"

enum { N = 64 };
static const uint64_t seed = 5;

static tt_sampler_options options_for(const char *sampler, int steps, tt_sample_compat compat) {
    tt_sampler_options o;
    tt_sampler_options_defaults(&o);
    o.sampler = sampler;
    o.steps = steps;
    o.n_values = N;
    o.compat = compat;
    return o;
}

static int steps_of(const tt_sampler_options *o) {
    tt_sampler *s = new_sampler(o);
    int steps = tt_sampler_steps(s);
    tt_sampler_free(s);
    return steps;
}

static void expect_refused(const tt_sampler_options *o, tt_status status, const char *part) {
    tt_sampler *s;
    tt_err err;
    assert_int_equal(tt_sampler_new(o, &s, &err), status);
    assert_null(s);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
}

/* ---- strength ---- */

/* diffusers: int(n * strength), with the number that a person wrote: 50 * 0.58 is 28.99 in Python. */
static void strength_counts_steps_as_each_program_does(void **state) {
    (void)state;
    static const struct {
        tt_sample_compat compat;
        int steps;
        float strength;
        int run;
    } expected[] = {
        {TT_COMPAT_DIFFUSERS, 20, 0.35f, 7}, {TT_COMPAT_DIFFUSERS, 50, 0.58f, 28},
        {TT_COMPAT_DIFFUSERS, 30, 0.3f, 9},  {TT_COMPAT_DIFFUSERS, 4, 0.5f, 2},
        {TT_COMPAT_A1111, 20, 0.35f, 8},     {TT_COMPAT_A1111, 20, 0.75f, 16},
        {TT_COMPAT_A1111, 20, 1, 20},        {TT_COMPAT_COMFYUI, 20, 0.35f, 20},
        {TT_COMPAT_COMFYUI, 20, 0.99f, 20},  {TT_COMPAT_COMFYUI, 20, 1, 20},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        tt_sampler_options o = options_for("euler", expected[i].steps, expected[i].compat);
        o.strength = expected[i].strength;
        assert_int_equal(steps_of(&o), expected[i].run);
    }
}

static void a_part_is_the_whole_schedules_end(void **state) {
    (void)state;
    for (const char *const *name = tt_sample_sampler_names(); *name; name++) {
        tt_sampler_options o = options_for(*name, 10, TT_COMPAT_DIFFUSERS);
        tt_sampler *whole = new_sampler(&o);
        o.strength = 0.4f;
        tt_sampler *part = new_sampler(&o);
        assert_int_equal(tt_sampler_steps(part), 4);
        assert_true(tt_sampler_first_sigma(part) == tt_sampler_sigmas(whole)[6]);
        assert_memory_equal(tt_sampler_sigmas(part), tt_sampler_sigmas(whole) + 6,
                            5 * sizeof(float));
        assert_memory_equal(tt_sampler_timesteps(part), tt_sampler_timesteps(whole) + 6,
                            4 * sizeof(float));
        tt_sampler_free(part);
        tt_sampler_free(whole);
    }
}

/* diffusers: base runs timesteps >= 200, a refiner those below. */
static void base_and_refiner_share_the_schedule(void **state) {
    (void)state;
    tt_sampler_options o = options_for("euler", 40, TT_COMPAT_DIFFUSERS);
    o.denoising_end = 0.8f;
    tt_sampler *base = new_sampler(&o);
    o.denoising_end = 1;
    o.denoising_start = 0.8f;
    o.strength = 0.3f; /* replaced */
    tt_sampler *refiner = new_sampler(&o);
    int n = tt_sampler_steps(base);
    assert_int_equal(n + tt_sampler_steps(refiner), 40);
    assert_true(tt_sampler_timesteps(base)[n - 1] >= 200);
    assert_true(tt_sampler_timesteps(refiner)[0] < 200);
    assert_true(tt_sampler_sigmas(base)[n] == tt_sampler_first_sigma(refiner));
    tt_sampler_free(base);
    tt_sampler_free(refiner);
}

/* A1111's "switch at" and ComfyUI's start_at_step go by steps. */
static void elsewhere_fractions_are_of_the_steps(void **state) {
    (void)state;
    tt_sampler_options o = options_for("euler", 25, TT_COMPAT_A1111);
    o.denoising_end = 0.28f; /* 25 * 0.28 is a little more than 7 */
    assert_int_equal(steps_of(&o), 7);
    o.denoising_end = 0.3f;
    assert_int_equal(steps_of(&o), 8);
    o.denoising_start = 0.28f;
    o.denoising_end = 1;
    assert_int_equal(steps_of(&o), 18);
}

static void parts_that_cannot_be_are_refused(void **state) {
    (void)state;
    const tt_sampler_options good = options_for("euler", 10, TT_COMPAT_DIFFUSERS);
    tt_sampler_options o;
    o = good, o.strength = 0;
    expect_refused(&o, TT_E_INVALID, "strength: expected more than 0, at most 1, found 0");
    o = good, o.strength = NAN;
    expect_refused(&o, TT_E_INVALID, "strength");
    o = good, o.strength = 1.5f;
    expect_refused(&o, TT_E_INVALID, "found 1.5");
    o = good, o.strength = 0.05f;
    expect_refused(&o, TT_E_INVALID, "none of 10 is left by strength 0.05");
    o = good, o.denoising_start = 0.5f, o.denoising_end = 0.5f;
    expect_refused(&o, TT_E_INVALID, "0 <= start < end <= 1, found start 0.5 and end 0.5");
    o = good, o.denoising_start = -1;
    expect_refused(&o, TT_E_INVALID, "denoising");
    o = good, o.denoising_end = NAN;
    expect_refused(&o, TT_E_INVALID, "denoising");
    o = good, o.denoising_start = 0.999f;
    expect_refused(&o, TT_E_INVALID, "choose more steps or a larger part");
    o = good, o.compat = TT_COMPAT_COMFYUI, o.strength = 1e-30f;
    expect_refused(&o, TT_E_INVALID, "choose fewer steps or more strength");
    o = good, o.step_noise_kind = 7;
    expect_refused(&o, TT_E_INVALID, "step noise: expected a kind of noise, found 7");
}

/* ---- noised pictures ---- */

static void fill(float *clean, float *noise) {
    for (int k = 0; k < N; k++) {
        clean[k] = sinf((float)k);
        noise[k] = cosf((float)(3 * k));
    }
}

static void noise_is_added_in_each_familys_units(void **state) {
    (void)state;
    float clean[N], noise[N], x[N];
    fill(clean, noise);
    tt_sampler_options o = options_for("euler", 10, TT_COMPAT_DIFFUSERS);
    tt_sampler *euler = new_sampler(&o);
    o.sampler = "ddim";
    tt_sampler *ddim = new_sampler(&o);
    for (int at = 0; at < 10; at++) {
        float sigma = tt_sampler_sigmas(euler)[at];
        tt_sampler_add_noise(euler, at, clean, noise, x);
        for (int k = 0; k < N; k++) assert_float_equal(x[k], clean[k] + sigma * noise[k], 1e-5f);
        double variance = 1 + (double)tt_sampler_sigmas(ddim)[at] * tt_sampler_sigmas(ddim)[at];
        float alpha = (float)(1 / sqrt(variance)), s = tt_sampler_sigmas(ddim)[at] * alpha;
        tt_sampler_add_noise(ddim, at, clean, noise, x);
        for (int k = 0; k < N; k++)
            assert_float_equal(x[k], alpha * clean[k] + s * noise[k], 1e-5f);
    }
    tt_sampler_add_noise(euler, 10, clean, noise, x); /* after the last step: the picture */
    assert_memory_equal(x, clean, sizeof x);
    tt_sampler_free(euler);
    tt_sampler_free(ddim);
}

/* With comfyui the noisiest start drowns the picture a little more than its sigma says. */
static void comfyuis_full_strength_adds_what_its_noise_begins_with(void **state) {
    (void)state;
    float clean[N], noise[N], x[N];
    fill(clean, noise);
    tt_sampler_options o = options_for("euler", 10, TT_COMPAT_COMFYUI);
    tt_sampler *s = new_sampler(&o);
    float sigma = tt_sampler_first_sigma(s), scale = tt_sampler_init_scale(s);
    assert_float_equal(scale, sqrtf(sigma * sigma + 1), 1e-5f);
    tt_sampler_add_noise(s, 0, clean, noise, x);
    for (int k = 0; k < N; k++) assert_float_equal(x[k], clean[k] + scale * noise[k], 1e-5f);
    tt_sampler_free(s);
}

static void pure_noise_has_no_picture_in_it(void **state) {
    (void)state;
    float clean[N], noise[N], x[N];
    fill(clean, noise);
    tt_sampler_options o = options_for("ddim", 10, TT_COMPAT_DIFFUSERS);
    o.training.zero_terminal_snr = true;
    o.training.spacing = "trailing";
    o.prediction = TT_SAMPLE_V;
    tt_sampler *s = new_sampler(&o);
    assert_true(isinf(tt_sampler_first_sigma(s)));
    tt_sampler_add_noise(s, 0, clean, noise, x);
    assert_memory_equal(x, noise, sizeof x);
    tt_sampler_free(s);
}

/* ---- what a caller hooks in ---- */

typedef struct calls {
    int models, both, adjusted, done;
} calls;

static tt_status model(void *context, const float *input, float timestep, float *output,
                       tt_err *err) {
    (void)timestep, (void)err;
    ((calls *)context)->models++;
    for (int k = 0; k < N; k++) output[k] = tanhf(input[k]);
    return TT_OK;
}

static tt_status model_both(void *context, const float *input, float timestep, float *output,
                            float *uncond, tt_err *err) {
    ((calls *)context)->both++;
    TT_TRY(model(context, input, timestep, output, err));
    memcpy(uncond, output, N * sizeof *uncond);
    return TT_OK;
}

static tt_status adjust(void *context, int step, float *x, tt_err *err) {
    calls *c = context;
    assert_int_equal(step, ++c->adjusted);
    assert_int_equal(step, c->done + 1);
    if (step == 4) return tt_fail(err, TT_E_CANCELLED, "adjusted enough");
    for (int k = 0; k < N; k++) x[k] = 7;
    return TT_OK;
}

static tt_status done(void *context, int step, const float *x0, tt_err *err) {
    (void)x0, (void)err;
    assert_int_equal(step, ++((calls *)context)->done);
    return TT_OK;
}

static tt_status run_with(const tt_sampler_options *o, const tt_denoiser *d, float *x,
                          tt_err *err) {
    tt_sampler *s = new_sampler(o);
    tt_noise noise;
    tt_noise_init(&noise, TT_NOISE_CPU_F32, seed);
    tt_noise_fill(&noise, x, N);
    for (int k = 0; k < N; k++) x[k] *= tt_sampler_init_scale(s);
    tt_status status = tt_sampler_run(s, x, d, &noise, err);
    tt_sampler_free(s);
    return status;
}

static void latents_may_be_changed_after_each_step(void **state) {
    (void)state;
    calls c = {0};
    float x[N];
    tt_err err;
    const tt_denoiser d = {.context = &c, .model = model, .step_done = done, .adjust = adjust};
    tt_sampler_options o = options_for("euler", 3, TT_COMPAT_DIFFUSERS);
    assert_int_equal(run_with(&o, &d, x, &err), TT_OK);
    for (int k = 0; k < N; k++) assert_true(x[k] == 7);
    o.steps = 9;
    c = (calls){0};
    assert_int_equal(run_with(&o, &d, x, &err), TT_E_CANCELLED);
    assert_string_equal(err.message, "adjusted enough");
    assert_int_equal(c.models, 4);
}

static void cfgpp_asks_for_both_predictions_or_says_that_it_cannot(void **state) {
    (void)state;
    calls c = {0};
    float x[N], euler[N];
    tt_err err;
    tt_denoiser d = {.context = &c, .model = model};
    tt_sampler_options o = options_for("euler_cfgpp", 5, TT_COMPAT_DIFFUSERS);
    assert_int_equal(run_with(&o, &d, x, &err), TT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "prediction for the negative prompt alone"));
    d.model_both = model_both;
    assert_int_equal(run_with(&o, &d, x, &err), TT_OK);
    assert_int_equal(c.both, 5);
    o.sampler = "euler"; /* the same when the negative prompt changes nothing */
    assert_int_equal(run_with(&o, &d, euler, &err), TT_OK);
    assert_int_equal(c.both, 5);
    for (int k = 0; k < N; k++) assert_float_equal(x[k], euler[k], 1e-5f);
}

/* ---- noise on the way ---- */

static void run_plain(const tt_sampler_options *o, float *x) {
    calls c = {0};
    const tt_denoiser d = {.context = &c, .model = model};
    tt_err err;
    if (run_with(o, &d, x, &err) != TT_OK) fail_msg("%s", err.message);
}

/* A run of euler_a whose noise comes from the caller's own stream, begun where told. */
static void run_from_stream(const tt_sampler_options *o, tt_noise_kind kind, uint64_t from,
                            float *x) {
    tt_sampler_options plain = *o;
    plain.step_noise = TT_STEP_NOISE_STREAM;
    plain.step_seed_delta = 0;
    calls c = {0};
    const tt_denoiser d = {.context = &c, .model = model};
    tt_sampler *s = new_sampler(&plain);
    tt_noise noise;
    tt_noise_init(&noise, TT_NOISE_CPU_F32, seed);
    tt_noise_fill(&noise, x, N);
    for (int k = 0; k < N; k++) x[k] *= tt_sampler_init_scale(s);
    tt_noise_init(&noise, kind, from);
    assert_int_equal(tt_sampler_run(s, x, &d, &noise, NULL), TT_OK);
    tt_sampler_free(s);
}

static void comfyuis_ancestral_noise_is_a_fresh_stream(void **state) {
    (void)state;
    float found[N], expected[N];
    tt_sampler_options o = options_for("euler_a", 6, TT_COMPAT_COMFYUI);
    run_plain(&o, found); /* as on a graphics card */
    run_from_stream(&o, TT_NOISE_CUDA, seed, expected);
    assert_memory_equal(found, expected, sizeof found);
    o.step_noise_kind = TT_NOISE_CPU_F32; /* as on a CPU, where it goes one seed further */
    run_plain(&o, found);
    run_from_stream(&o, TT_NOISE_CPU_F32, seed + 1, expected);
    assert_memory_equal(found, expected, sizeof found);
}

/* NAI's recipes: eta noise seed delta 31337. */
static void eta_noise_seed_delta_moves_the_ancestral_stream_only(void **state) {
    (void)state;
    float found[N], expected[N];
    tt_sampler_options o = options_for("euler_a", 6, TT_COMPAT_A1111);
    o.step_seed_delta = 31337;
    run_plain(&o, found);
    run_from_stream(&o, TT_NOISE_CPU_F32, seed + 31337, expected);
    assert_memory_equal(found, expected, sizeof found);
    o.sampler = "euler";
    run_plain(&o, found);
    o.step_seed_delta = 0;
    run_plain(&o, expected);
    assert_memory_equal(found, expected, sizeof found);
}

static void every_stochastic_sampler_takes_every_manner(void **state) {
    (void)state;
    for (const char *const *name = tt_sample_sampler_names(); *name; name++) {
        tt_sampler_options o = options_for(*name, 6, TT_COMPAT_DIFFUSERS);
        if (strcmp(*name, "euler_cfgpp") == 0) continue;
        if (strcmp(*name, "ddim") == 0) o.eta = 1;
        tt_sampler *s = new_sampler(&o);
        bool draws = tt_sampler_draws_noise(s);
        tt_sampler_free(s);
        float x[3][N];
        for (int manner = 0; manner < 3; manner++) {
            o.step_noise = TT_STEP_NOISE_STREAM + (unsigned)manner;
            o.step_seed_delta = manner > 0;
            run_plain(&o, x[manner]);
            for (int k = 0; k < N; k++) assert_true(isfinite(x[manner][k]));
        }
        for (int manner = 1; manner < 3; manner++)
            assert_int_equal(memcmp(x[0], x[manner], sizeof x[0]) != 0, draws);
    }
}

static void a_tree_gives_the_same_picture_again(void **state) {
    (void)state;
    tt_sampler_options o = options_for("dpmpp_sde", 6, TT_COMPAT_DIFFUSERS);
    calls c = {0};
    const tt_denoiser d = {.context = &c, .model = model};
    tt_sampler *s = new_sampler(&o);
    float x[2][N];
    for (int i = 0; i < 2; i++) {
        tt_noise noise;
        tt_noise_init(&noise, TT_NOISE_CPU_F32, seed);
        tt_noise_fill(&noise, x[i], N);
        assert_int_equal(tt_sampler_run(s, x[i], &d, &noise, NULL), TT_OK);
    }
    tt_sampler_free(s);
    assert_memory_equal(x[0], x[1], sizeof x[0]);
}

/* ---- models trained over sigmas ---- */

static void what_does_not_fit_a_model_over_sigmas_is_refused(void **state) {
    (void)state;
    tt_sampler_options good = options_for("euler", 10, TT_COMPAT_DIFFUSERS), o;
    o = good, o.prediction = TT_SAMPLE_EDM;
    expect_refused(&o, TT_E_INVALID, "edm is for models trained over sigmas");
    tt_training_cosxl(&good.training);
    o = good;
    expect_refused(&o, TT_E_INVALID, "predicts v or edm, found epsilon");
    good.prediction = TT_SAMPLE_V;
    o = good, o.sampler = "lcm";
    expect_refused(&o, TT_E_INVALID, "sampler lcm: works over timesteps");
    o = good, o.training.edm_sigma_min = 0;
    expect_refused(&o, TT_E_INVALID, "expected 0 < min < max <= 10000, found 0 and 120");
    o = good, o.training.edm_sigma_max = INFINITY;
    expect_refused(&o, TT_E_INVALID, "training sigmas");
    o = good, o.training.edm_sigma_data = NAN;
    expect_refused(&o, TT_E_INVALID, "sigma_data");
}

static void cosxl_is_told_a_quarter_of_the_logarithm(void **state) {
    (void)state;
    for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++) {
        tt_sampler_options o = options_for("dpm2", 10, TT_COMPAT_COMFYUI);
        tt_training_cosxl(&o.training);
        o.prediction = TT_SAMPLE_V;
        o.schedule = *schedule;
        tt_sampler *s = new_sampler(&o);
        for (int i = 0; i < tt_sampler_steps(s); i++)
            assert_float_equal(tt_sampler_timesteps(s)[i], logf(tt_sampler_sigmas(s)[i]) / 4,
                               1e-6f);
        tt_sampler_free(s);
        float x[N];
        run_plain(&o, x);
        for (int k = 0; k < N; k++) assert_true(isfinite(x[k]));
    }
    tt_sampler_options o = options_for("euler", 10, TT_COMPAT_DIFFUSERS);
    tt_training_cosxl(&o.training);
    o.prediction = TT_SAMPLE_V;
    tt_sampler *s = new_sampler(&o);
    assert_string_equal(tt_sampler_schedule(s), "karras");
    assert_float_equal(tt_sampler_sigmas(s)[0], 120, 1e-4f);
    assert_float_equal(tt_sampler_sigmas(s)[9], 0.002f, 1e-7f);
    tt_sampler_free(s);
}

static void every_allocation_with_a_tree_may_fail(void **state) {
    (void)state;
    tt_sampler_options o = options_for("dpmpp_sde", 6, TT_COMPAT_DIFFUSERS);
    int failures = 0;
    for (;; failures++) {
        tt_sampler *s;
        tt_err err;
        tt_alloc_fail_after(failures);
        tt_status status = tt_sampler_new(&o, &s, &err);
        tt_alloc_fail_after(-1);
        tt_sampler_free(s);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(s);
    }
    assert_int_equal(failures,
                     8); /* object, table, schedule, points, middles, buffers, tree twice */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strength_counts_steps_as_each_program_does),
        cmocka_unit_test(a_part_is_the_whole_schedules_end),
        cmocka_unit_test(base_and_refiner_share_the_schedule),
        cmocka_unit_test(elsewhere_fractions_are_of_the_steps),
        cmocka_unit_test(parts_that_cannot_be_are_refused),
        cmocka_unit_test(noise_is_added_in_each_familys_units),
        cmocka_unit_test(comfyuis_full_strength_adds_what_its_noise_begins_with),
        cmocka_unit_test(pure_noise_has_no_picture_in_it),
        cmocka_unit_test(latents_may_be_changed_after_each_step),
        cmocka_unit_test(cfgpp_asks_for_both_predictions_or_says_that_it_cannot),
        cmocka_unit_test(comfyuis_ancestral_noise_is_a_fresh_stream),
        cmocka_unit_test(eta_noise_seed_delta_moves_the_ancestral_stream_only),
        cmocka_unit_test(every_stochastic_sampler_takes_every_manner),
        cmocka_unit_test(a_tree_gives_the_same_picture_again),
        cmocka_unit_test(what_does_not_fit_a_model_over_sigmas_is_refused),
        cmocka_unit_test(cosxl_is_told_a_quarter_of_the_logarithm),
        cmocka_unit_test(every_allocation_with_a_tree_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
