/* Guidance against values computed by hand and by torch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sample/guidance.h"

enum { N = 4 };
static const float uncond[N] = {1, -2, 0.5f, 3}, cond[N] = {2, 0, -1, 4};

static void expect_near(const float *found, const float *expected, float tolerance) {
    for (int i = 0; i < N; i++) assert_float_equal(found[i], expected[i], tolerance);
}

static void scale_extrapolates_from_uncond_through_cond(void **state) {
    (void)state;
    float out[N];
    tt_guidance_combine(uncond, cond, 3, 0, out, N);
    expect_near(out, (float[]){4, 4, -4, 6}, 0);
    tt_guidance_combine(uncond, cond, 1, 0, out, N);
    expect_near(out, cond, 0);
}

/* cfg = {4, 4, -4, 6}, std 4.4347; cond: std 2.2174; both unbiased. */
static void full_rescale_has_the_deviation_of_cond(void **state) {
    (void)state;
    float out[N];
    tt_guidance_combine(uncond, cond, 3, 1, out, N);
    expect_near(out, (float[]){2, 2, -2, 3}, 1e-6f);
}

static void partial_rescale_blends(void **state) {
    (void)state;
    float out[N];
    tt_guidance_combine(uncond, cond, 3, 0.7f, out, N);
    expect_near(out, (float[]){2.6f, 2.6f, -2.6f, 3.9f}, 1e-6f);
}

static void out_may_be_an_input(void **state) {
    (void)state;
    float apart[N], in_uncond[N], in_cond[N];
    for (int i = 0; i < N; i++) {
        in_uncond[i] = uncond[i];
        in_cond[i] = cond[i];
    }
    tt_guidance_combine(uncond, cond, 7, 0.5f, apart, N);
    tt_guidance_combine(in_uncond, cond, 7, 0.5f, in_uncond, N);
    tt_guidance_combine(uncond, in_cond, 7, 0.5f, in_cond, N);
    assert_memory_equal(in_uncond, apart, sizeof apart);
    assert_memory_equal(in_cond, apart, sizeof apart);
}

static void constant_and_single_values_stay_finite(void **state) {
    (void)state;
    const float flat[N] = {2, 2, 2, 2};
    float out[N];
    tt_guidance_combine(flat, flat, 5, 0.7f, out, N);
    expect_near(out, flat, 0);
    tt_guidance_combine(uncond, cond, 3, 1, out, 1);
    assert_float_equal(out[0], 4, 0);
}

static int guided_steps(float start, float end, int n) {
    int guided = 0;
    for (int step = 0; step < n; step++) guided += tt_guidance_acts(start, end, step, n);
    return guided;
}

static void guidance_may_act_on_a_part_of_the_steps(void **state) {
    (void)state;
    assert_int_equal(guided_steps(0, 1, 20), 20);
    assert_int_equal(guided_steps(0, 0, 20), 0);
    assert_int_equal(guided_steps(0, 0.4f, 20), 8); /* off after 8 of 20 */
    assert_true(tt_guidance_acts(0, 0.4f, 7, 20));
    assert_false(tt_guidance_acts(0, 0.4f, 8, 20));
    assert_false(tt_guidance_acts(0.25f, 1, 4, 20));
    assert_true(tt_guidance_acts(0.25f, 1, 5, 20));
    for (int n = 1; n < 200; n++) /* two halves make a whole */
        assert_int_equal(guided_steps(0, 0.3f, n) + guided_steps(0.3f, 1, n), n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_extrapolates_from_uncond_through_cond),
        cmocka_unit_test(full_rescale_has_the_deviation_of_cond),
        cmocka_unit_test(partial_rescale_blends),
        cmocka_unit_test(out_may_be_an_input),
        cmocka_unit_test(constant_and_single_values_stay_finite),
        cmocka_unit_test(guidance_may_act_on_a_part_of_the_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
