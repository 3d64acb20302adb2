/* How samplers behave: who is called when, what ends a run, what new refuses, and laws that hold between samplers.
 * Their numbers are compared with diffusers in test_against_diffusers.c. */
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

enum { N = 64, STEPS = 6 };
static const uint64_t seed = 77;

/* A denoiser that knows the picture: whatever the input, it answers with the noise (or velocity) that would leave
 * exactly that picture. It follows the sampler's own sigmas, since timesteps may be rounded. */
typedef struct oracle {
    const tt_sampler *sampler;
    bool v_prediction;
    int calls, steps_done;
    int stop_at_step; /* 0: never */
    int fail_at_call; /* 0: never */
    float last_x0[N];
} oracle;

static float picture(int k) {
    return sinf((float)k);
}

static bool is(const oracle *o, const char *name) {
    return strcmp(tt_sampler_name(o->sampler), name) == 0;
}

/* Between this sigma and the next, or what an ancestral step goes down to. */
static double middle_of(const oracle *o, const float *sigmas) {
    bool down = is(o, "dpm2_a") || is(o, "dpmpp_2s_a");
    float from = sigmas[0], to = sigmas[1];
    float up = down ? sqrtf(to * to * (from * from - to * to) / (from * from)) : 0;
    return sqrt((double)from * (double)sqrtf(to * to - up * up));
}

/* The sigma of the call that comes. */
static double sigma_of_call(const oracle *o) {
    const float *sigmas = tt_sampler_sigmas(o->sampler);
    bool twice = is(o, "dpm2") || is(o, "dpm2_a") || is(o, "dpmpp_sde") || is(o, "dpmpp_2s_a");
    if (is(o, "heun")) return sigmas[(o->calls + 1) / 2];
    if (is(o, "pndm")) return sigmas[o->calls < 2 ? o->calls : o->calls - 1];
    if (!twice) return sigmas[o->calls];
    return o->calls % 2 ? middle_of(o, sigmas + o->calls / 2) : (double)sigmas[o->calls / 2];
}

static tt_status oracle_model(void *context, const float *input, float timestep, float *output,
                              tt_err *err) {
    oracle *o = context;
    double sigma = sigma_of_call(o);
    o->calls++;
    if (o->calls == o->fail_at_call)
        return tt_fail(err, TT_E_INTERNAL, "the model broke at %g", (double)timestep);
    double alpha = isinf(sigma) ? 0 : 1 / sqrt(sigma * sigma + 1),
           s = isinf(sigma) ? 1 : sigma * alpha;
    for (int k = 0; k < N; k++) {
        double noise = (input[k] - alpha * picture(k)) / s;
        output[k] = (float)(o->v_prediction ? alpha * noise - s * picture(k) : noise);
    }
    return TT_OK;
}

/* As if the negative prompt changed nothing. */
static tt_status oracle_both(void *context, const float *input, float timestep, float *output,
                             float *uncond, tt_err *err) {
    TT_TRY(oracle_model(context, input, timestep, output, err));
    memcpy(uncond, output, N * sizeof *uncond);
    return TT_OK;
}

static tt_status oracle_step_done(void *context, int step, const float *x0, tt_err *err) {
    oracle *o = context;
    assert_int_equal(step, ++o->steps_done);
    memcpy(o->last_x0, x0, sizeof o->last_x0);
    if (step == o->stop_at_step) return tt_fail(err, TT_E_CANCELLED, "stopped after step %d", step);
    return TT_OK;
}

static tt_sampler_options options_for(const char *sampler, const char *schedule) {
    tt_sampler_options options;
    tt_sampler_options_defaults(&options);
    options.sampler = sampler;
    options.schedule = schedule;
    options.steps = STEPS;
    options.n_values = N;
    return options;
}

static tt_status run(tt_sampler *s, oracle *o, float *x, tt_noise *noise, tt_err *err) {
    const tt_denoiser denoiser = {o, oracle_model, oracle_step_done, oracle_both, NULL};
    tt_noise_init(noise, TT_NOISE_CPU_F32, seed);
    tt_noise_fill(noise, x, N);
    for (int k = 0; k < N; k++) x[k] *= tt_sampler_init_scale(s);
    return tt_sampler_run(s, x, &denoiser, noise, err);
}

static void run_with(const tt_sampler_options *options, float *x) {
    tt_sampler *s = new_sampler(options);
    oracle o = {.sampler = s, .v_prediction = options->prediction == TT_SAMPLE_V};
    tt_noise noise;
    tt_err err;
    if (run(s, &o, x, &noise, &err) != TT_OK) fail_msg("%s", err.message);
    assert_int_equal(o.calls, tt_sampler_model_calls(s));
    assert_int_equal(o.steps_done, tt_sampler_steps(s));
    tt_sampler_free(s);
}

/* A single linspace, leading or ddim_uniform step is timestep 0 or 1 in diffusers' classes of n points, from where
 * lcm and tcd do not come far. ddim and pndm stride past diffusers' spacings and stop short of the picture; elsewhere they
 * are exact, but pndm mixes velocities of different timesteps, and lms's weights grow without bound
 * where the last step is as long as linear_quadratic's. lcm mixes x in near timestep 0 and
 * keeps a trace of noise, tcd ends at the table's first entry. */
static void expect_picture(const tt_sampler_options *o, const float *x) {
    bool is_spaced = strcmp(o->schedule, "default") == 0 || strcmp(o->schedule, "leading") == 0 ||
                     strcmp(o->schedule, "trailing") == 0 || strcmp(o->schedule, "linspace") == 0;
    bool is_pndm = strcmp(o->sampler, "pndm") == 0;
    if ((is_pndm || strcmp(o->sampler, "ddim") == 0) && is_spaced) return;
    if (is_pndm && o->prediction == TT_SAMPLE_V) return;
    if (strcmp(o->sampler, "lms") == 0 && strcmp(o->schedule, "linear_quadratic") == 0) return;
    bool is_lcm = strcmp(o->sampler, "lcm") == 0, is_tcd = strcmp(o->sampler, "tcd") == 0;
    bool is_late = strcmp(o->schedule, "linspace") == 0 || strcmp(o->schedule, "leading") == 0 ||
                   strcmp(o->schedule, "ddim_uniform") == 0;
    if ((is_lcm || is_tcd) && o->steps == 1 && is_late) return;
    double tolerance = is_lcm || is_tcd ? 0.15 : 2e-3;
    for (int k = 0; k < N; k++)
        if (!(fabs((double)x[k] - picture(k)) < tolerance))
            fail_msg("%s %s, %d steps, %s: value %d is %g, expected %g", o->sampler, o->schedule,
                     o->steps, o->prediction == TT_SAMPLE_V ? "v" : "epsilon", k, (double)x[k],
                     (double)picture(k));
}

static void every_pair_recovers_a_picture_that_the_model_knows(void **state) {
    (void)state;
    static const int step_counts[] = {1, 2, 3, STEPS};
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++)
        for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++)
            for (int i = 0; i < 8; i++) {
                tt_sampler_options options = options_for(*sampler, *schedule);
                options.steps = step_counts[i / 2];
                options.prediction = i % 2 ? TT_SAMPLE_V : TT_SAMPLE_EPSILON;
                float x[N];
                run_with(&options, x);
                expect_picture(&options, x);
            }
}

static void zero_terminal_snr_recovers_it_with_v_prediction(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++)
        for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++) {
            tt_sampler_options options = options_for(*sampler, *schedule);
            options.training.zero_terminal_snr = true;
            options.training.spacing = "trailing";
            options.prediction = TT_SAMPLE_V;
            float x[N];
            run_with(&options, x);
            for (int k = 0; k < N; k++) assert_true(isfinite(x[k]));
            expect_picture(&options, x);
        }
}

static void heun_asks_twice_but_for_its_last_step(void **state) {
    (void)state;
    tt_sampler_options options = options_for("heun", "karras");
    tt_sampler *s = new_sampler(&options);
    assert_int_equal(tt_sampler_model_calls(s), 2 * STEPS - 1);
    tt_sampler_free(s);
}

static void last_estimate_is_the_picture(void **state) {
    (void)state;
    tt_sampler_options options = options_for("dpmpp_2m", "karras");
    tt_sampler *s = new_sampler(&options);
    oracle o = {.sampler = s};
    tt_noise noise;
    float x[N];
    assert_int_equal(run(s, &o, x, &noise, NULL), TT_OK);
    assert_memory_equal(x, o.last_x0, sizeof x);
    tt_sampler_free(s);
}

static void cancelling_ends_the_run_before_the_next_model_call(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++) {
        tt_sampler_options options = options_for(*sampler, "default");
        tt_sampler *s = new_sampler(&options);
        oracle o = {.sampler = s, .stop_at_step = 2};
        tt_noise noise;
        tt_err err;
        float x[N];
        assert_int_equal(run(s, &o, x, &noise, &err), TT_E_CANCELLED);
        assert_string_equal(err.message, "stopped after step 2");
        bool twice = strcmp(*sampler, "heun") == 0 || strcmp(*sampler, "dpmpp_sde") == 0 ||
                     strcmp(*sampler, "dpmpp_2s_a") == 0 || strncmp(*sampler, "dpm2", 4) == 0;
        assert_int_equal(o.calls, strcmp(*sampler, "pndm") == 0 ? 3 : twice ? 4 : 2);
        tt_sampler_free(s);
    }
}

static void model_failure_is_forwarded(void **state) {
    (void)state;
    for (int call = 1; call <= 3; call++) {
        tt_sampler_options options = options_for("heun", "trailing");
        tt_sampler *s = new_sampler(&options);
        oracle o = {.sampler = s, .fail_at_call = call};
        tt_noise noise;
        tt_err err;
        float x[N];
        assert_int_equal(run(s, &o, x, &noise, &err), TT_E_INTERNAL);
        assert_non_null(strstr(err.message, "the model broke at"));
        assert_int_equal(o.calls, call);
        tt_sampler_free(s);
    }
}

static void run_allocates_nothing_and_needs_no_step_callback(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++) {
        tt_sampler_options options = options_for(*sampler, "default");
        tt_sampler *s = new_sampler(&options);
        oracle o = {.sampler = s};
        const tt_denoiser denoiser = {&o, oracle_model, NULL, oracle_both, NULL};
        tt_noise noise;
        float x[N];
        tt_noise_init(&noise, TT_NOISE_CPU_F32, seed);
        tt_noise_fill(&noise, x, N);
        tt_alloc_fail_after(0);
        assert_int_equal(tt_sampler_run(s, x, &denoiser, &noise, NULL), TT_OK);
        void *p = tt_alloc(1); /* the failure is still waiting: nobody took it */
        tt_alloc_fail_after(-1);
        assert_null(p);
        tt_sampler_free(s);
    }
}

static void a_sampler_keeps_nothing_from_picture_to_picture(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++) {
        tt_sampler_options options = options_for(*sampler, "default");
        float fresh[N], again[N], spoiled[N];
        run_with(&options, fresh);
        tt_sampler *s = new_sampler(&options);
        tt_noise noise;
        for (int k = 0; k < N; k++) spoiled[k] = NAN;
        oracle first = {.sampler = s, .stop_at_step = 4}, second = {.sampler = s};
        const tt_denoiser denoiser = {&first, oracle_model, oracle_step_done, oracle_both, NULL};
        tt_noise_init(&noise, TT_NOISE_CPU_F32, 1);
        assert_int_equal(tt_sampler_run(s, spoiled, &denoiser, &noise, NULL), TT_E_CANCELLED);
        assert_int_equal(run(s, &second, again, &noise, NULL), TT_OK);
        assert_memory_equal(fresh, again, sizeof fresh);
        tt_sampler_free(s);
    }
}

/* How many whole draws a run took from the stream after the initial latents. */
static int draws_of_run(const tt_sampler_options *options) {
    tt_sampler *s = new_sampler(options);
    oracle o = {.sampler = s};
    tt_noise used, counter;
    float x[N];
    assert_int_equal(run(s, &o, x, &used, NULL), TT_OK);
    tt_sampler_free(s);
    tt_noise_init(&counter, TT_NOISE_CPU_F32, seed);
    for (int draws = 0; draws <= 3 * STEPS; draws++) {
        tt_noise_fill(&counter, x, N);
        if (memcmp(counter.words, used.words, sizeof used.words) == 0 &&
            counter.next_word == used.next_word)
            return draws;
    }
    return -1;
}

static void stochastic_samplers_draw_as_often_as_diffusers(void **state) {
    (void)state;
    static const struct {
        const char *sampler;
        float eta;
        int draws;
    } expected[] = {
        {"euler", -1, 0},
        {"heun", -1, 0},
        {"dpmpp_2m", -1, 0},
        {"unipc", -1, 0},
        {"ddim", -1, 0},
        {"ddim", 0.5f, STEPS},
        {"euler_a", -1, STEPS},
        {"lcm", -1, STEPS - 1},
        {"dpmpp_2m_sde", -1, STEPS},
        {"lms", -1, 0},
        {"pndm", -1, 0},
        {"dpm2", -1, 0},
        {"dpm2_a", -1, STEPS - 1},
        {"dpmpp_2s", -1, 0},
        {"tcd", -1, STEPS - 1},
        {"tcd", 0, 0},
        {"dpmpp_2s_a", -1, STEPS - 1},
        {"dpmpp_3m_sde", -1, STEPS - 1},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        tt_sampler_options options = options_for(expected[i].sampler, "default");
        options.eta = expected[i].eta;
        assert_int_equal(draws_of_run(&options), expected[i].draws);
        tt_sampler *s = new_sampler(&options);
        assert_int_equal(tt_sampler_draws_noise(s), expected[i].draws > 0);
        tt_sampler_free(s);
    }
}

static void a_stochastic_run_without_a_stream_is_refused(void **state) {
    (void)state;
    tt_sampler_options options = options_for("euler_a", "default");
    tt_sampler *s = new_sampler(&options);
    oracle o = {.sampler = s};
    const tt_denoiser denoiser = {&o, oracle_model, NULL, oracle_both, NULL};
    float x[N] = {0};
    tt_err err;
    assert_int_equal(tt_sampler_run(s, x, &denoiser, NULL, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "sampler euler_a draws noise on its way and was given no stream");
    assert_int_equal(o.calls, 0);
    tt_sampler_free(s);
}

/* ---- laws between samplers, with a denoiser that does not know the picture ---- */

static tt_status tanh_model(void *context, const float *input, float timestep, float *output,
                            tt_err *err) {
    (void)context, (void)err;
    for (int k = 0; k < N; k++)
        output[k] = tanhf(input[k] + 0.2f * input[(k + 1) % N] + 1e-4f * timestep);
    return TT_OK;
}

static tt_status tanh_both(void *context, const float *input, float timestep, float *output,
                           float *uncond, tt_err *err) {
    TT_TRY(tanh_model(context, input, timestep, output, err));
    for (int k = 0; k < N; k++) uncond[k] = 0.9f * output[k];
    return TT_OK;
}

static void run_tanh(const tt_sampler_options *options, float *x) {
    const tt_denoiser denoiser = {.model = tanh_model, .model_both = tanh_both};
    tt_sampler *s = new_sampler(options);
    tt_noise noise;
    tt_noise_init(&noise, TT_NOISE_CPU_F32, seed);
    tt_noise_fill(&noise, x, N);
    for (int k = 0; k < N; k++) x[k] *= tt_sampler_init_scale(s);
    assert_int_equal(tt_sampler_run(s, x, &denoiser, &noise, NULL), TT_OK);
    tt_sampler_free(s);
}

static void expect_same(const float *a, const float *b, double tolerance) {
    for (int k = 0; k < N; k++)
        if (!(fabs((double)a[k] - b[k]) <= tolerance * (1 + fabs((double)a[k]))))
            fail_msg("value %d: %.8g and %.8g", k, (double)a[k], (double)b[k]);
}

static void euler_a_without_fresh_noise_is_euler(void **state) {
    (void)state;
    for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++) {
        tt_sampler_options euler = options_for("euler", *schedule),
                           ancestral = options_for("euler_a", *schedule);
        ancestral.eta = 0;
        float a[N], b[N];
        run_tanh(&euler, a);
        run_tanh(&ancestral, b);
        expect_same(a, b, 0);
    }
}

/* Both solve the same equation, in other units. */
static void ddim_over_k_diffusion_schedules_is_euler(void **state) {
    (void)state;
    static const char *const schedules[] = {"normal", "sgm_uniform", "simple"};
    for (size_t i = 0; i < sizeof schedules / sizeof schedules[0]; i++) {
        tt_sampler_options euler = options_for("euler", schedules[i]),
                           ddim = options_for("ddim", schedules[i]);
        float a[N], b[N];
        run_tanh(&euler, a);
        run_tanh(&ddim, b);
        expect_same(a, b, 1e-4);
    }
}

static void samplers_differ(void **state) {
    (void)state;
    enum { MAX = 24 };
    float x[MAX][N];
    int count = 0;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++) {
        assert_true(count < MAX);
        tt_sampler_options options = options_for(*sampler, "normal");
        options.eta = strcmp(*sampler, "ddim") == 0 ? 0.5f : -1; /* without noise it is euler */
        run_tanh(&options, x[count]);
        for (int other = 0; other < count; other++)
            assert_true(fabs((double)x[other][0] - x[count][0]) > 1e-4);
        count++;
    }
}

/* ---- what new refuses ---- */

static void expect_refused(const tt_sampler_options *options, tt_status status, const char *part) {
    tt_sampler *s = NULL;
    tt_err err;
    assert_int_equal(tt_sampler_new(options, &s, &err), status);
    assert_null(s);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
}

static void bad_options_are_refused_with_a_sentence(void **state) {
    (void)state;
    const tt_sampler_options good = options_for("euler", "default");
    tt_sampler_options o;
    o = good, o.sampler = "eulerr";
    expect_refused(&o, TT_E_INVALID, "expected one of euler");
    o = good, o.sampler = "DPM++ 2M";
    expect_refused(&o, TT_E_INVALID,
                   "expected a canonical name such as dpmpp_2m, found \"DPM++ 2M\"");
    o = good, o.sampler = "DEIS";
    expect_refused(&o, TT_E_UNSUPPORTED, "not available here");
    o = good, o.schedule = "gits";
    expect_refused(&o, TT_E_INVALID, "schedule: expected one of default");
    o = good, o.steps = 0;
    expect_refused(&o, TT_E_INVALID, "steps: expected 1 to 1000, found 0");
    o = good, o.steps = 1001;
    expect_refused(&o, TT_E_INVALID, "steps: expected 1 to 1000, found 1001");
    o = good, o.steps = 2147483647;
    expect_refused(&o, TT_E_INVALID, "found 2147483647");
    o = good, o.n_values = 0;
    expect_refused(&o, TT_E_INVALID, "at least one latent value, found 0");
    o = good, o.n_values = INT64_MAX;
    expect_refused(&o, TT_E_INVALID, "more than memory can name");
    o = good, o.eta = NAN;
    expect_refused(&o, TT_E_INVALID, "eta");
    o = good, o.training.spacing = "lagging";
    expect_refused(&o, TT_E_INVALID, "found \"lagging\"");
    o = good, o.training.beta_schedule = "cosine";
    expect_refused(&o, TT_E_UNSUPPORTED, "beta schedule");
    o = options_for("lcm", "default"), o.steps = 51;
    expect_refused(&o, TT_E_INVALID, "lcm's own schedule has 50 points, found 51");
    o = options_for("dpmpp_2m", "leading"), o.steps = 1000;
    expect_refused(&o, TT_E_INVALID, "timestep 1 would come twice");
    o = options_for("ddim", "trailing"), o.training.zero_terminal_snr = true;
    expect_refused(&o, TT_E_INVALID, "which an epsilon prediction cannot start from");
}

/* float32 rounds 1 - 1e-12 to 1: no noise anywhere, and no number to divide by. */
static void betas_without_noise_are_refused(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++)
        for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++)
            for (int zero_snr = 0; zero_snr < 2; zero_snr++) {
                tt_sampler_options options = options_for(*sampler, *schedule);
                options.training.beta_start = options.training.beta_end = 1e-12;
                options.training.zero_terminal_snr = zero_snr;
                expect_refused(&options, TT_E_INVALID, "do not fit schedule");
            }
}

static void many_steps_are_fine_where_timesteps_differ(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++) {
        tt_sampler_options options = options_for(*sampler, "trailing");
        options.steps = 1000;
        float x[N];
        run_with(&options, x);
    }
}

static void check_agrees_with_new_and_needs_no_size(void **state) {
    (void)state;
    tt_sampler_options options = options_for("unipc", "simple");
    options.n_values = 0;
    assert_int_equal(tt_sampler_check(&options, NULL), TT_OK);
    options.steps = -3;
    assert_int_equal(tt_sampler_check(&options, NULL), TT_E_INVALID);
    options.sampler = "nonsense";
    assert_int_equal(tt_sampler_check(&options, NULL), TT_E_INVALID);
}

static void default_schedule_is_the_models_spacing(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"", "leading"}, {NULL, "leading"}, {"trailing", "trailing"}, {"linspace", "linspace"}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        tt_sampler_options options = options_for(NULL, NULL);
        options.training.spacing = expected[i][0];
        tt_sampler *s = new_sampler(&options);
        assert_string_equal(tt_sampler_name(s), "euler");
        assert_string_equal(tt_sampler_schedule(s), expected[i][1]);
        tt_sampler_free(s);
    }
    tt_sampler_options options = options_for("lcm", NULL);
    tt_sampler *s = new_sampler(&options);
    assert_string_equal(tt_sampler_schedule(s), "default");
    tt_sampler_free(s);
}

static void every_allocation_of_new_may_fail(void **state) {
    (void)state;
    tt_sampler_options options = options_for("unipc", "karras");
    int failures = 0;
    for (;; failures++) {
        tt_sampler *s;
        tt_err err;
        tt_alloc_fail_after(failures);
        tt_status status = tt_sampler_new(&options, &s, &err);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) {
            tt_sampler_free(s);
            break;
        }
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(s);
        assert_non_null(strstr(err.message, "out of memory"));
    }
    assert_int_equal(failures,
                     5); /* the object, the schedule, the points, the buffers, the table */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_recovers_a_picture_that_the_model_knows),
        cmocka_unit_test(zero_terminal_snr_recovers_it_with_v_prediction),
        cmocka_unit_test(heun_asks_twice_but_for_its_last_step),
        cmocka_unit_test(last_estimate_is_the_picture),
        cmocka_unit_test(cancelling_ends_the_run_before_the_next_model_call),
        cmocka_unit_test(model_failure_is_forwarded),
        cmocka_unit_test(run_allocates_nothing_and_needs_no_step_callback),
        cmocka_unit_test(a_sampler_keeps_nothing_from_picture_to_picture),
        cmocka_unit_test(stochastic_samplers_draw_as_often_as_diffusers),
        cmocka_unit_test(a_stochastic_run_without_a_stream_is_refused),
        cmocka_unit_test(euler_a_without_fresh_noise_is_euler),
        cmocka_unit_test(ddim_over_k_diffusion_schedules_is_euler),
        cmocka_unit_test(samplers_differ),
        cmocka_unit_test(bad_options_are_refused_with_a_sentence),
        cmocka_unit_test(betas_without_noise_are_refused),
        cmocka_unit_test(many_steps_are_fine_where_timesteps_differ),
        cmocka_unit_test(check_agrees_with_new_and_needs_no_size),
        cmocka_unit_test(default_schedule_is_the_models_spacing),
        cmocka_unit_test(every_allocation_of_new_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
