/* A second pass in a larger size: what must hold for any model. Likeness to diffusers is tested in tests/golden/test_hires.c. */
#include "unit/pipeline/tiny_engine.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

enum { LARGE = 96, STEPS = 4, SECOND_STEPS = 2 /* int(4 * 0.5) */ };

static tt_request request(const char *upscaler) {
    tt_request r = tiny_request(STEPS);
    r.sampler = "euler";
    r.hires_scale = 1.5f;
    r.hires_strength = 0.5f;
    r.hires_upscaler = upscaler;
    return r;
}

static size_t size_of(const tt_picture *p) {
    return (size_t)p->width * (size_t)p->height * 3;
}

static bool same(const tt_picture *a, const tt_picture *b) {
    return size_of(a) == size_of(b) && memcmp(a->rgb, b->rgb, size_of(a)) == 0;
}

static void assert_refused(const tt_request *r, const char *part) {
    assert_int_equal(tt_request_check(r, &err), TT_E_INVALID);
    if (!strstr(err.message, part)) fail_msg("%s: expected to read %s", err.message, part);
}

/* ---- sizes and steps --------------------------------------------------------------------------------- */

static void pictures_have_the_large_size(void **state) {
    (void)state;
    static const struct {
        float scale;
        int width, height, large_width, large_height;
    } cases[] = {
        {1.5f, 64, 72, 96, 104}, /* 108 holds 13 whole latents */
        {1.3f, 80, 64, 104, 80}, /* 80 * 1.3f is a little less than 104 */
        {1.01f, 64, 64, 64, 64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_request r = request(NULL);
        r.hires_scale = cases[i].scale;
        r.width = cases[i].width;
        r.height = cases[i].height;
        tt_result result = generate(&r);
        assert_int_equal(result.pictures[0].width, cases[i].large_width);
        assert_int_equal(result.pictures[0].height, cases[i].large_height);
        tt_result_release(&result);
    }
}

typedef struct seen {
    int calls, last, n_steps, picture, preview_width;
} seen;

static bool count_steps(void *context, const tt_progress *p) {
    seen *s = context;
    if (p->picture != s->picture) s->last = -1;
    assert_int_equal(p->step, s->last + 1); /* each once, and none left out */
    *s = (seen){s->calls + 1, p->step, p->n_steps, p->picture, p->preview_width};
    return true;
}

static void progress_counts_both_passes(void **state) {
    (void)state;
    static const char *const upscalers[] = {"latent", "picture"};
    for (int i = 0; i < 2; i++) {
        seen s = {.last = -1};
        tt_request r = request(upscalers[i]);
        r.count = 2;
        r.want_preview = true;
        r.progress = count_steps;
        r.progress_context = &s;
        tt_result result = generate(&r);
        assert_int_equal(s.n_steps, STEPS + SECOND_STEPS);
        assert_int_equal(s.last, s.n_steps);
        assert_int_equal(s.calls, 2 * (s.n_steps + 1));
        assert_int_equal(s.preview_width, LARGE / 8);
        assert_int_equal(result.steps, STEPS + SECOND_STEPS);
        assert_int_equal(result.hires_steps, SECOND_STEPS);
        tt_result_release(&result);
    }
}

static void a_request_without_it_has_no_second_pass(void **state) {
    (void)state;
    static const float scales[] = {0, 1};
    for (int i = 0; i < 2; i++) {
        tt_request r = request("nonsense"); /* of a pass that does not run */
        r.hires_scale = scales[i];
        tt_result result = generate(&r);
        assert_int_equal(result.pictures[0].width, SIDE);
        assert_int_equal(result.hires_steps, 0);
        assert_int_equal(result.steps, STEPS);
        tt_result_release(&result);
    }
}

static void the_second_pass_may_have_steps_of_its_own(void **state) {
    (void)state;
    static const struct {
        const char *compat;
        int steps;
    } cases[] = {{"diffusers", 3}, {"a1111", 4}, {"comfyui", 6}}; /* of 6 at 0.5 */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_request r = request(NULL);
        r.compat = cases[i].compat;
        r.hires_steps = 6;
        tt_result result = generate(&r);
        assert_int_equal(result.hires_steps, cases[i].steps);
        tt_result_release(&result);
    }
}

static void a_strength_that_leaves_no_step_is_told(void **state) {
    (void)state;
    tt_request r = request(NULL);
    tt_result result;
    r.hires_strength = 0.05f;
    ok(tt_request_check(&r, &err)); /* how many steps that are depends on the program */
    assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "second pass: steps: none of 4 is left by strength 0.05"));
    r.compat = "a1111"; /* which always walks one */
    result = generate(&r);
    assert_int_equal(result.hires_steps, 1);
    tt_result_release(&result);
}

/* ---- pictures ---------------------------------------------------------------------------------------- */

static void pictures_depend_on_nothing_but_the_request(void **state) {
    (void)state;
    static const char *const upscalers[] = {"latent", "picture"};
    for (int i = 0; i < 2; i++) {
        tt_request both = request(upscalers[i]), second = request(upscalers[i]);
        both.count = 2;
        both.sampler = second.sampler = "euler_a"; /* draws noise on its way */
        second.seed++;
        tt_result a = generate(&both), b = generate(&both), c = generate(&second);
        assert_true(same(&a.pictures[0], &b.pictures[0]));
        assert_true(same(&a.pictures[1], &b.pictures[1]));
        assert_true(same(&a.pictures[1], &c.pictures[0]));
        assert_false(same(&a.pictures[0], &a.pictures[1]));
        tt_result_release(&a);
        tt_result_release(&b);
        tt_result_release(&c);
    }
}

static void little_strength_keeps_the_first_picture(void **state) {
    (void)state;
    double distances[2];
    tt_request plain = request(NULL);
    plain.hires_scale = 0;
    tt_result small = generate(&plain);
    for (int i = 0; i < 2; i++) {
        double sum = 0;
        tt_request r = request("picture");
        r.hires_scale = 2;
        r.hires_strength = i == 0 ? 0.25f : 1;
        tt_result result = generate(&r);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE * 3; x++) {
                int at = (2 * y * 2 * SIDE + x / 3 * 2) * 3 + x % 3;
                sum += fabs((double)result.pictures[0].rgb[at] -
                            small.pictures[0].rgb[y * SIDE * 3 + x]);
            }
        distances[i] = sum;
        tt_result_release(&result);
    }
    tt_result_release(&small);
    assert_true(distances[0] < 0.7 * distances[1]);
}

/* [a:b:0.5] has become b when the second pass begins. */
static void the_second_pass_keeps_the_last_words(void **state) {
    static int variants[] = {0, 0, 1};
    tt__words w = {.n_calls = 3};
    (void)state;
    w.schedules[TT__POSITIVE] =
        (tt_prompt_schedule){.n_steps = 3, .n_variants = 2, .variant_of_step = variants};
    assert_int_equal(tt__variant_of_call(&w, TT__POSITIVE, 0), 0);
    assert_int_equal(tt__variant_of_call(&w, TT__POSITIVE, 2), 1);
    w.is_after = true;
    for (int call = 0; call < 5; call++)
        assert_int_equal(tt__variant_of_call(&w, TT__POSITIVE, call), 1);
    tt_request r = request(NULL);
    r.prompt = "[red:blue:0.5] boat";
    tt_result result = generate(&r);
    assert_int_equal(result.prompt_variants, 2);
    tt_result_release(&result);
}

static void other_manners_and_seeds_work_in_both_passes(void **state) {
    (void)state;
    static const char *const manners[] = {"a1111", "comfyui", "diffusers"};
    for (int i = 0; i < 3; i++) {
        tt_request r = request(i == 1 ? "picture" : "latent");
        r.compat = manners[i];
        r.variation_strength = 0.3f;
        r.guidance_start = 0.3f;
        tt_result a = generate(&r);
        r.variation_seed = 9;
        tt_result b = generate(&r);
        assert_false(same(&a.pictures[0], &b.pictures[0]));
        tt_result_release(&a);
        tt_result_release(&b);
    }
}

/* ---- what is refused, and what fails ----------------------------------------------------------------- */

static void impossible_passes_get_one_sentence(void **state) {
    (void)state;
    static uint8_t image[SIDE * SIDE * 3];
    tt_request r = request(NULL);
    r.hires_scale = NAN;
    assert_refused(&r, "hires scale");
    r.hires_scale = INFINITY;
    assert_refused(&r, "hires scale");
    r.hires_scale = 65;
    assert_refused(&r, "65 times 64x64 is 4160x4160, expected sides of at most 4096");
    r = request(NULL);
    r.hires_strength = 0;
    assert_refused(&r, "hires strength");
    r.hires_strength = NAN;
    assert_refused(&r, "hires strength");
    r = request(NULL);
    r.hires_steps = -1;
    assert_refused(&r, "hires steps");
    r = request("ESRGAN");
    assert_refused(&r, "hires upscaler: expected latent or picture, found \"ESRGAN\"");
    r = request(NULL);
    r.image = image;
    assert_refused(&r, "there is an image");
}

static bool cancel_in_the_second(void *context, const tt_progress *p) {
    (void)context;
    return p->step < STEPS + 1;
}

static void it_can_be_cancelled_in_the_second_pass(void **state) {
    (void)state;
    tt_result result;
    tt_request r = request(NULL);
    tt_result before = generate(&r);
    r.progress = cancel_in_the_second;
    assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_CANCELLED);
    assert_string_equal(err.message, "cancelled after step 5 of 6");
    r.progress = NULL;
    tt_result after = generate(&r);
    assert_true(same(&before.pictures[0], &after.pictures[0]));
    tt_result_release(&before);
    tt_result_release(&after);
}

static void memory_of_both_passes_is_planned(void **state) {
    (void)state;
    tt_request once = request(NULL), twice = request(NULL);
    once.hires_scale = 0;
    once.width = once.height = LARGE;
    tt_result a = generate(&once), b = generate(&twice);
    assert_true(b.planned_bytes > a.planned_bytes);
    tt_result_release(&a);
    tt_result_release(&b);
}

static void failed_allocations_cost_one_request_only(void **state) {
    (void)state;
    int64_t n = 0;
    tt_status status = TT_E_NOMEM;
    tt_request r = request("picture");
    r.steps = r.hires_steps = 2;
    tt_result before = generate(&r);
    for (; status != TT_OK && n < 100000; n += 7) {
        tt_result result;
        tt_alloc_fail_after(n);
        status = tt_engine_generate(engine, &r, &result, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        if (status == TT_OK) assert_true(same(&before.pictures[0], &result.pictures[0]));
        if (status == TT_OK) tt_result_release(&result);
    }
    assert_int_equal(status, TT_OK);
    assert_true(n > 7);
    tt_result_release(&before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_have_the_large_size),
        cmocka_unit_test(progress_counts_both_passes),
        cmocka_unit_test(a_request_without_it_has_no_second_pass),
        cmocka_unit_test(the_second_pass_may_have_steps_of_its_own),
        cmocka_unit_test(a_strength_that_leaves_no_step_is_told),
        cmocka_unit_test(pictures_depend_on_nothing_but_the_request),
        cmocka_unit_test(little_strength_keeps_the_first_picture),
        cmocka_unit_test(the_second_pass_keeps_the_last_words),
        cmocka_unit_test(other_manners_and_seeds_work_in_both_passes),
        cmocka_unit_test(impossible_passes_get_one_sentence),
        cmocka_unit_test(it_can_be_cancelled_in_the_second_pass),
        cmocka_unit_test(memory_of_both_passes_is_planned),
        cmocka_unit_test(failed_allocations_cost_one_request_only),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
