/* What three programs do with the same request: facts published for SDXL. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sample/names.h"
#include "sample/sampler.h"
#include "unit/sample/new_sampler.h"

static tt_sampler *make(const char *sampler, const char *schedule, int steps,
                        tt_sample_compat compat) {
    tt_sampler_options o;
    tt_sampler_options_defaults(&o);
    o.sampler = sampler;
    o.schedule = schedule;
    o.steps = steps;
    o.n_values = 1;
    o.compat = compat;
    return new_sampler(&o);
}

static void expect_close(double found, double expected) {
    if (!(fabs(found - expected) <= 1e-5 * fabs(expected)))
        fail_msg("found %.8g, expected %.8g", found, expected);
}

/* Euler, 20 steps, "default": the same name, three first sigmas and scales. */
static void the_same_request_begins_differently(void **state) {
    (void)state;
    static const double max = 14.614645, leading = 11.02833;
    tt_sampler *s = make("euler", "default", 20, TT_COMPAT_DIFFUSERS);
    assert_string_equal(tt_sampler_schedule(s), "leading");
    expect_close(tt_sampler_first_sigma(s), leading);
    expect_close(tt_sampler_init_scale(s), sqrt(leading * leading + 1));
    tt_sampler_free(s);
    s = make("euler", "default", 20, TT_COMPAT_A1111);
    assert_string_equal(tt_sampler_schedule(s), "normal");
    expect_close(tt_sampler_first_sigma(s), max);
    expect_close(tt_sampler_init_scale(s), max);
    tt_sampler_free(s);
    s = make("euler", "default", 20, TT_COMPAT_COMFYUI);
    assert_string_equal(tt_sampler_schedule(s), "normal");
    expect_close(tt_sampler_init_scale(s), sqrt(max * max + 1));
    tt_sampler_free(s);
}

/* ComfyUI scales by sigma alone where the schedule does not begin at the model's noisiest. */
static void comfyui_scales_by_sigma_below_the_noisiest(void **state) {
    (void)state;
    tt_sampler *s = make("euler", "ddim_uniform", 20, TT_COMPAT_COMFYUI);
    assert_float_equal(tt_sampler_timesteps(s)[0], 951, 0);
    expect_close(tt_sampler_init_scale(s), tt_sampler_first_sigma(s));
    tt_sampler_free(s);
}

static void the_model_is_told_a_fraction_or_the_nearest_entry(void **state) {
    (void)state;
    tt_sampler *fractional = make("euler", "normal", 20, TT_COMPAT_A1111);
    tt_sampler *whole = make("euler", "normal", 20, TT_COMPAT_COMFYUI);
    expect_close(tt_sampler_timesteps(fractional)[1], 999 * 18 / 19.0);
    for (int i = 0; i < 20; i++) {
        float told = tt_sampler_timesteps(whole)[i];
        assert_true(told == floorf(told));
        assert_float_equal(told, tt_sampler_timesteps(fractional)[i], 0.501);
    }
    tt_sampler_free(fractional);
    tt_sampler_free(whole);
}

static void karras_runs_over_the_model_or_over_the_spacing(void **state) {
    (void)state;
    tt_sampler *s = make("euler", "karras", 20, TT_COMPAT_DIFFUSERS);
    expect_close(tt_sampler_first_sigma(s), 11.02833);
    tt_sampler_free(s);
    for (tt_sample_compat compat = TT_COMPAT_A1111; compat <= TT_COMPAT_COMFYUI; compat++) {
        s = make("euler", "karras", 20, compat);
        expect_close(tt_sampler_first_sigma(s), 14.614645);
        expect_close(tt_sampler_sigmas(s)[19], 0.0291675);
        tt_sampler_free(s);
    }
}

/* n + 1 sigmas are made and the one before 0 left out. */
static void dpm2_drops_the_penultimate_sigma(void **state) {
    (void)state;
    tt_sampler *more = make("euler", "normal", 11, TT_COMPAT_COMFYUI);
    static const char *const droppers[] = {"dpm2", "dpm2_a", "unipc"};
    for (size_t i = 0; i < sizeof droppers / sizeof droppers[0]; i++) {
        tt_sampler *s = make(droppers[i], "normal", 10, TT_COMPAT_COMFYUI);
        assert_int_equal(tt_sampler_steps(s), 10);
        assert_memory_equal(tt_sampler_sigmas(s), tt_sampler_sigmas(more), 10 * sizeof(float));
        assert_true(tt_sampler_sigmas(s)[10] == 0);
        tt_sampler_free(s);
    }
    tt_sampler_free(more);
}

static void zero_terminal_snr_ends_where_each_program_ends_it(void **state) {
    (void)state;
    static const double ends[] = {
        [TT_COMPAT_DIFFUSERS] = 4096, [TT_COMPAT_A1111] = 4518.76, [TT_COMPAT_COMFYUI] = 4518.76};
    for (tt_sample_compat compat = TT_COMPAT_DIFFUSERS; compat <= TT_COMPAT_COMFYUI; compat++) {
        tt_sampler_options o;
        tt_sampler_options_defaults(&o);
        o.n_values = 1;
        o.compat = compat;
        o.schedule = "normal";
        o.prediction = TT_SAMPLE_V;
        o.training.zero_terminal_snr = true;
        tt_sampler *s;
        assert_int_equal(tt_sampler_new(&o, &s, NULL), TT_OK);
        expect_close(tt_sampler_first_sigma(s), ends[compat]);
        tt_sampler_free(s);
    }
}

static void samplers_that_step_by_timesteps_keep_them_in_a1111(void **state) {
    (void)state;
    static const char *const names[] = {"ddim", "pndm", "unipc"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tt_sampler *s = make(names[i], NULL, 20, TT_COMPAT_A1111);
        assert_string_equal(tt_sampler_schedule(s), "leading");
        tt_sampler_free(s);
    }
}

static void every_pair_makes_a_sampler_in_every_manner(void **state) {
    (void)state;
    for (tt_sample_compat compat = TT_COMPAT_DIFFUSERS; compat <= TT_COMPAT_COMFYUI; compat++)
        for (const char *const *name = tt_sample_sampler_names(); *name; name++)
            for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++)
                for (int steps = 1; steps <= 25; steps += 8)
                    tt_sampler_free(make(*name, *schedule, steps, compat));
}

static void names_are_parsed_and_others_refused(void **state) {
    (void)state;
    tt_sample_compat compat;
    tt_err err;
    assert_int_equal(tt_sample_compat_parse(NULL, &compat, &err), TT_OK);
    assert_int_equal(compat, TT_COMPAT_DIFFUSERS);
    for (tt_sample_compat c = TT_COMPAT_DIFFUSERS; c <= TT_COMPAT_COMFYUI; c++) {
        assert_int_equal(tt_sample_compat_parse(tt_sample_compat_of(c)->name, &compat, &err),
                         TT_OK);
        assert_int_equal(compat, c);
    }
    assert_int_equal(tt_sample_compat_parse("comfy", &compat, &err), TT_OK);
    assert_int_equal(compat, TT_COMPAT_COMFYUI);
    assert_int_equal(tt_sample_compat_parse("invoke", &compat, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "compat: expected diffusers, a1111 or comfyui, found \"invoke\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_request_begins_differently),
        cmocka_unit_test(comfyui_scales_by_sigma_below_the_noisiest),
        cmocka_unit_test(the_model_is_told_a_fraction_or_the_nearest_entry),
        cmocka_unit_test(karras_runs_over_the_model_or_over_the_spacing),
        cmocka_unit_test(dpm2_drops_the_penultimate_sigma),
        cmocka_unit_test(zero_terminal_snr_ends_where_each_program_ends_it),
        cmocka_unit_test(samplers_that_step_by_timesteps_keep_them_in_a1111),
        cmocka_unit_test(every_pair_makes_a_sampler_in_every_manner),
        cmocka_unit_test(names_are_parsed_and_others_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
