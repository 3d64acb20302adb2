/* The training table and the schedules against numbers published for SDXL, and bad training facts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "sample/sampler.h"
#include "sample/schedule_parts.h"
#include "unit/sample/new_sampler.h"

enum { MAX_STEPS = 50 };

static tt_sampler *make(const char *sampler, const char *schedule, int steps) {
    tt_sampler_options options;
    tt_sampler_options_defaults(&options);
    options.sampler = sampler;
    options.schedule = schedule;
    options.steps = steps;
    options.n_values = 1;
    return new_sampler(&options);
}

/* Published with five digits or so. */
static void expect_close(double found, double expected) {
    if (!(fabs(found - expected) <= 3e-5 * fabs(expected)))
        fail_msg("found %.8g, expected %.8g", found, expected);
}

static void expect_timesteps(const char *sampler, const char *schedule, int steps,
                             const float *expected, int first_n) {
    tt_sampler *s = make(sampler, schedule, steps);
    for (int i = 0; i < first_n; i++)
        if (tt_sampler_timesteps(s)[i] != expected[i])
            fail_msg("%s %s %d: timestep %d is %g, expected %g", sampler, schedule, steps, i,
                     (double)tt_sampler_timesteps(s)[i], (double)expected[i]);
    tt_sampler_free(s);
}

static void expect_sigmas(const char *sampler, const char *schedule, int steps, double first,
                          double second, double last, double scale) {
    tt_sampler *s = make(sampler, schedule, steps);
    const float *sigmas = tt_sampler_sigmas(s);
    expect_close(sigmas[0], first);
    if (second > 0) expect_close(sigmas[1], second);
    expect_close(sigmas[steps - 1], last);
    assert_true(sigmas[steps] == 0);
    expect_close(tt_sampler_init_scale(s), scale);
    tt_sampler_free(s);
}

static void table_has_the_published_ends(void **state) {
    (void)state;
    tt_training training;
    tt_noise_table table;
    tt_training_defaults(&training);
    assert_int_equal(tt_noise_table_init(&table, &training, true, NULL), TT_OK);
    expect_close(table.alphas_cumprod[0], 0.99914998);
    assert_float_equal(table.alphas_cumprod[999], 0.0046601, 5e-8);
    assert_float_equal(table.sigmas[0], 0.0291675, 5e-8);
    expect_close(table.sigmas[999], 14.614645);
    tt_noise_table_release(&table);
}

static void zero_terminal_snr_ends_at_4096_or_at_infinity(void **state) {
    (void)state;
    tt_training training;
    tt_noise_table table;
    tt_training_defaults(&training);
    training.zero_terminal_snr = true;
    assert_int_equal(tt_noise_table_init(&table, &training, true, NULL), TT_OK);
    expect_close(table.sigmas[999], 4096);
    assert_float_equal(table.sigmas[998], 2254.2, 0.05);
    expect_close(table.alphas_cumprod[0], 0.99914998);
    tt_noise_table_release(&table);
    assert_int_equal(tt_noise_table_init(&table, &training, false, NULL), TT_OK);
    assert_true(table.alphas_cumprod[999] == 0 && isinf(table.sigmas[999]));
    tt_noise_table_release(&table);
}

static void spacings_give_published_timesteps(void **state) {
    (void)state;
    expect_timesteps("euler", "leading", 20, (float[]){951, 901, 851}, 3);
    expect_timesteps("euler", "default", 30, (float[]){958, 925}, 2);
    expect_timesteps("euler", "trailing", 4, (float[]){999, 749, 499, 249}, 4);
    expect_timesteps("euler", "trailing", 8, (float[]){999, 874, 749, 624, 499, 374, 249, 124}, 8);
    expect_timesteps("dpmpp_2m", "leading", 20, (float[]){941, 894}, 2);
    expect_timesteps("unipc", "default", 20, (float[]){941, 894}, 2);
    expect_timesteps("dpmpp_2m", "karras", 20,
                     (float[]){999, 962, 921, 876, 827, 772, 710, 640, 561, 474,
                               380, 285, 197, 123, 69,  35,  15,  6,   2,   0},
                     20);
    expect_timesteps("lcm", "default", 4, (float[]){999, 759, 499, 259}, 4);
    expect_timesteps("lcm", "default", 8, (float[]){999, 879, 759, 639, 499, 379, 259, 139}, 8);
}

static void spacings_give_published_sigmas_and_scales(void **state) {
    (void)state;
    expect_sigmas("euler", "leading", 20, 11.02833, 0, .0413145, 11.07358);
    expect_sigmas("euler", "trailing", 4, 14.6146, 4.0817, .6932, 14.6146);
    expect_sigmas("dpmpp_2m", "leading", 20, 10.42504, 0, .22041, 1);
    expect_sigmas("dpmpp_2m", "karras", 20, 14.6146, 0, .0291675, 1);
    expect_sigmas("euler", "karras", 20, 11.02833, 0, .0413145, 11.07358);
}

static void k_diffusion_schedules_start_at_the_noisiest_step(void **state) {
    (void)state;
    const double scale = sqrt(14.614645 * 14.614645 + 1);
    expect_sigmas("euler", "normal", 20, 14.6146, 10.7468, .0291675, scale);
    expect_sigmas("euler", "sgm_uniform", 20, 14.6146, 10.9073, .22545, scale);
    expect_sigmas("euler", "simple", 20, 14.6146, 10.9042, .22300, scale);
}

static void timestep_of_a_sigma_inverts_the_table(void **state) {
    (void)state;
    tt_training training;
    tt_noise_table table;
    tt_training_defaults(&training);
    assert_int_equal(tt_noise_table_init(&table, &training, true, NULL), TT_OK);
    for (int quarter = 0; quarter <= 4 * 999; quarter += 49) {
        double timestep = quarter / 4.0;
        double sigma = tt_noise_table_sigma_log(&table, timestep);
        assert_float_equal(tt_noise_table_timestep(&table, sigma), timestep, 1e-3);
    }
    assert_true(tt_noise_table_timestep(&table, 1e-20) == 0);
    assert_true(tt_noise_table_timestep(&table, 1e20) == 999);
    assert_true(tt_noise_table_sigma(&table, -5) == table.sigmas[0]);
    assert_true(tt_noise_table_sigma(&table, 5000) == table.sigmas[999]);
    assert_float_equal(tt_noise_table_sigma(&table, 500.5),
                       (table.sigmas[500] + table.sigmas[501]) / 2, 1e-6);
    tt_noise_table_release(&table);
}

/* scipy.stats.beta.ppf(share, a, a), scipy 1.17. */
static void points_of_the_beta_distribution_are_scipys(void **state) {
    (void)state;
    static const struct {
        double share, at_06, at_25;
    } expected[] = {
        {0.001, 1.855873851745199e-05, 0.03251778873396982},
        {0.05, 0.012554456873611399, 0.165280266655658},
        {0.25, 0.17568037865269498, 0.34546374370570737},
        {0.7, 0.7659829961247643, 0.6213520577345824},
        {0.99, 0.9991387611784571, 0.9164370122546646},
        {0.999999999, 0.9999999999999981, 0.9998723489998419},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        double found = tt__beta_point(expected[i].share, 0.6);
        assert_true(fabs(found - expected[i].at_06) <= 1e-12 * expected[i].at_06);
        found = tt__beta_point(expected[i].share, 2.5);
        assert_true(fabs(found - expected[i].at_25) <= 1e-12 * expected[i].at_25);
    }
    assert_true(tt__beta_point(0, 0.6) == 0);
    assert_true(tt__beta_point(0.5, 0.6) == 0.5);
    assert_true(tt__beta_point(1, 0.6) == 1);
}

/* Sabour et al. 2024: ten steps for SDXL; other counts lie between in the logarithm. */
static void align_your_steps_gives_the_published_list(void **state) {
    (void)state;
    static const float published[] = {14.615f, 6.315f, 3.771f, 2.181f, 1.342f,
                                      0.862f,  0.555f, 0.380f, 0.234f, 0.113f};
    tt_sampler *s = make("euler", "ays", 10);
    for (int i = 0; i < 10; i++) expect_close(tt_sampler_sigmas(s)[i], published[i]);
    tt_sampler_free(s);
    s = make("euler", "ays", 20);
    for (int i = 0; i < 10; i++) expect_close(tt_sampler_sigmas(s)[2 * i], published[i]);
    expect_close(tt_sampler_sigmas(s)[1], sqrt(14.615 * 6.315));
    tt_sampler_free(s);
}

/* ComfyUI runs 31 steps where 30 are asked for: every 33rd entry from the second on. */
static void ddim_uniform_may_run_more_steps_than_asked(void **state) {
    (void)state;
    tt_sampler *s = make("euler", "ddim_uniform", 30);
    assert_int_equal(tt_sampler_steps(s), 31);
    assert_true(tt_sampler_timesteps(s)[0] == 991);
    assert_true(tt_sampler_timesteps(s)[30] == 1);
    tt_sampler_free(s);
}

static void expect_refused(const tt_training *training, const char *part) {
    tt_noise_table table;
    tt_err err;
    assert_int_not_equal(tt_noise_table_init(&table, training, true, &err), TT_OK);
    assert_null(table.alphas_cumprod);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
}

static void bad_training_facts_are_refused(void **state) {
    (void)state;
    tt_training good, t;
    tt_training_defaults(&good);
    t = good, t.train_steps = 49;
    expect_refused(&t, "training steps: expected 50 to 10000, found 49");
    t = good, t.train_steps = 1 << 30;
    expect_refused(&t, "found 1073741824");
    t = good, t.beta_start = NAN;
    expect_refused(&t, "training betas");
    t = good, t.beta_end = 1;
    expect_refused(&t, "found 0.00085 and 1");
    t = good, t.beta_start = 0.5;
    expect_refused(&t, "training betas");
    t = good, t.beta_schedule = "squaredcos_cap_v2";
    expect_refused(&t, "expected scaled_linear or linear, found \"squaredcos_cap_v2\"");
    t = good, t.steps_offset = -1;
    expect_refused(&t, "steps offset: expected 0 to 999, found -1");
    t = good, t.steps_offset = 1000;
    expect_refused(&t, "found 1000");
}

static void table_survives_allocation_failure(void **state) {
    (void)state;
    tt_training training;
    tt_noise_table table;
    tt_err err;
    tt_training_defaults(&training);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_noise_table_init(&table, &training, true, &err), TT_E_NOMEM);
    tt_alloc_fail_after(-1);
    assert_null(table.alphas_cumprod);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_has_the_published_ends),
        cmocka_unit_test(zero_terminal_snr_ends_at_4096_or_at_infinity),
        cmocka_unit_test(spacings_give_published_timesteps),
        cmocka_unit_test(spacings_give_published_sigmas_and_scales),
        cmocka_unit_test(k_diffusion_schedules_start_at_the_noisiest_step),
        cmocka_unit_test(timestep_of_a_sigma_inverts_the_table),
        cmocka_unit_test(points_of_the_beta_distribution_are_scipys),
        cmocka_unit_test(align_your_steps_gives_the_published_list),
        cmocka_unit_test(ddim_uniform_may_run_more_steps_than_asked),
        cmocka_unit_test(bad_training_facts_are_refused),
        cmocka_unit_test(table_survives_allocation_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
