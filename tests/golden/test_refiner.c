/* A refiner that takes over from a base model against diffusers' two pipelines, f32: tools/golden/refiner.py. PSNR above 60 dB;
 * measured: 82 to 91. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/golden_data.h"
#include "support/golden_engine.h"

enum { COLOURS = 3, SIDE = 64, STEPS = 5 };

static tt_err err;

static void find(const char *name, tt_golden_layout layout, tt_golden_path *out) {
    if (tt_golden_model(name, layout, out, &err)) fail_msg("%s", err.message);
}

static tt_status open_with(const char *model, const char *refiner, tt_golden_layout layout,
                           tt_engine **out) {
    tt_golden_path model_path, refiner_path;
    tt_engine_options o;
    find(model, layout, &model_path);
    if (refiner) find(refiner, layout, &refiner_path);
    tt_engine_options_defaults(&o);
    o.model_path = model_path.text;
    o.refiner_path = refiner ? refiner_path.text : NULL;
    o.precision = o.vae_precision = TT_PRECISION_F32;
    o.n_threads = 1;
    return tt_engine_open(&o, out, &err);
}

static tt_engine *opened(const char *model, const char *refiner, tt_golden_layout layout) {
    tt_engine *engine;
    if (open_with(model, refiner, layout, &engine)) fail_msg("%s", err.message);
    return engine;
}

/* ---- diffusers --------------------------------------------------------------------------------------- */

static bool check_row(json_object *row, tt_engine *engine) {
    tt_request r = tt_golden_request(row);
    r.refiner_start = (float)tt_golden_number(row, "start");
    r.aesthetic_score = (float)tt_golden_number(row, "score");
    r.negative_aesthetic_score = (float)tt_golden_number(row, "negative_score");
    tt_result result = tt_golden_generate(engine, &r);
    bool good = tt_golden_picture_is_near("refiner", row, &result.pictures[0]);
    assert_true(result.base_steps > 0);
    assert_true(result.base_steps < result.steps);
    tt_result_release(&result);
    return good;
}

static void agree_with_diffusers(tt_golden_layout layout) {
    tt_engine *engine = opened("kernel", "refiner", layout);
    json_object *rows = tt_golden_cases("expected/refiner.json");
    size_t n = json_object_array_length(rows);
    int bad = 0;
    for (size_t i = 0; i < n; i++) bad += !check_row(json_object_array_get_idx(rows, i), engine);
    json_object_put(rows);
    tt_engine_close(engine);
    assert_true(n > 0);
    if (bad) fail_msg("%d of %zu pictures are too far away", bad, n);
}

static void refiner_files_agree_with_diffusers(void **state) {
    (void)state;
    agree_with_diffusers(TT_GOLDEN_LDM);
}

static void refiner_folders_agree_with_diffusers(void **state) {
    (void)state;
    agree_with_diffusers(TT_GOLDEN_FOLDER);
}

/* ---- when it has no part, or another one ------------------------------------------------------------- */

static tt_request small_request(void) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    r.prompt = "a house";
    r.width = r.height = SIDE;
    r.steps = STEPS;
    r.sampler = "euler";
    return r;
}

static void a_refiner_that_never_takes_over_changes_nothing(void **state) {
    (void)state;
    tt_engine *with = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_engine *without = opened("kernel", NULL, TT_GOLDEN_LDM);
    tt_request r = small_request();
    assert_non_null(tt_engine_get_info(with)->refiner_name);
    assert_null(tt_engine_get_info(without)->refiner_name);
    tt_result expected = tt_golden_generate(without, &r);
    assert_int_equal(expected.base_steps, STEPS);
    for (int start = 0; start <= 1; start++) {
        r.refiner_start = (float)start;
        tt_result found = tt_golden_generate(with, &r);
        tt_golden_same_picture(&found.pictures[0], &expected.pictures[0], "without a part");
        assert_true(found.planned_bytes > expected.planned_bytes); /* its weights */
        tt_result_release(&found);
    }
    tt_result_release(&expected);
    tt_engine_close(with);
    tt_engine_close(without);
}

static int last_step, last_of;

static bool remember_step(void *context, const tt_progress *p) {
    (void)context;
    last_step = p->step;
    last_of = p->n_steps;
    return true;
}

static void two_pictures_are_those_of_their_seeds(void **state) {
    (void)state;
    tt_engine *engine = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_request r = small_request();
    r.sampler = "euler_a";
    r.refiner_start = 0.6f;
    r.count = 2;
    r.progress = remember_step;
    tt_result both = tt_golden_generate(engine, &r);
    assert_int_equal(last_of, both.steps);
    assert_int_equal(last_step, both.steps);
    r.count = 1;
    for (int i = 0; i < 2; i++, r.seed++) {
        tt_result one = tt_golden_generate(engine, &r);
        tt_golden_same_picture(&one.pictures[0], &both.pictures[i], "alone");
        tt_result_release(&one);
    }
    tt_result_release(&both);
    tt_engine_close(engine);
}

static void a_second_pass_is_what_is_refined(void **state) {
    (void)state;
    tt_engine *engine = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_request r = small_request();
    r.steps = 10;
    r.refiner_start = 0.7f;
    r.hires_scale = 1.5f;
    tt_result result = tt_golden_generate(engine, &r);
    assert_int_equal(result.pictures[0].width, 96);
    assert_int_equal(result.hires_steps, 7);
    assert_int_equal(result.steps, 17);
    assert_int_equal(result.base_steps, 14);
    tt_result_release(&result);
    tt_engine_close(engine);
}

/* Latents outside of the mask end as they came in, whichever model walks the last step. */
static void what_a_mask_keeps_is_kept_by_the_refiner(void **state) {
    (void)state;
    static uint8_t image[SIDE * SIDE * COLOURS], mask[SIDE * SIDE];
    for (size_t i = 0; i < sizeof image; i++) image[i] = (uint8_t)(i % 251);
    for (size_t i = 0; i < sizeof mask; i++) mask[i] = i % SIDE < SIDE / 2 ? 255 : 0;
    tt_engine *engine = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_request r = small_request();
    r.image = image;
    r.mask = mask;
    r.strength = 1;
    r.refiner_start = 0.6f;
    tt_result result = tt_golden_generate(engine, &r);
    for (size_t i = 0; i < sizeof mask; i++)
        if (mask[i] == 0)
            assert_memory_equal(result.pictures[0].rgb + i * COLOURS, image + i * COLOURS, COLOURS);
    tt_result_release(&result);
    tt_engine_close(engine);
}

/* Only the refiner is told of them, and of each row its own. */
static void both_scores_matter(void **state) {
    (void)state;
    tt_engine *engine = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_request r = small_request();
    r.refiner_start = 0.4f;
    tt_result usual = tt_golden_generate(engine, &r);
    for (int i = 0; i < 2; i++) {
        tt_request other = r;
        *(i ? &other.negative_aesthetic_score : &other.aesthetic_score) = 9;
        tt_result found = tt_golden_generate(engine, &other);
        double psnr = tt_golden_picture_psnr(&found.pictures[0], &usual.pictures[0]);
        print_message("score %d: %.1f dB\n", i, psnr);
        assert_true(psnr < TT_GOLDEN_SMALLEST_PSNR);
        tt_result_release(&found);
    }
    tt_result_release(&usual);
    tt_engine_close(engine);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

static void failed_allocations_cost_one_request_only(void **state) {
    (void)state;
    tt_engine *engine = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_request r = small_request();
    r.steps = 2;
    r.refiner_start = 0.5f;
    tt_result before = tt_golden_generate(engine, &r), result;
    tt_status status = TT_E_NOMEM;
    int64_t n = 0;
    for (; status != TT_OK && n < 100000; n += 3) {
        tt_alloc_fail_after(n);
        status = tt_engine_generate(engine, &r, &result, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
    }
    assert_int_equal(status, TT_OK);
    assert_true(n > 3);
    tt_golden_same_picture(&result.pictures[0], &before.pictures[0], "after failures");
    tt_result_release(&result);
    tt_result_release(&before);
    tt_engine_close(engine);
}

/* A sample of those of both models; the countdown is for one thread. */
static void failed_allocations_while_opening_leave_nothing(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    for (int64_t n = 100; status != TT_OK && n < 1000000; n += 1 + n / 5) {
        tt_engine *engine;
        tt_golden_path model, refiner;
        find("kernel", TT_GOLDEN_LDM, &model);
        find("refiner", TT_GOLDEN_LDM, &refiner);
        tt_engine_options o;
        tt_engine_options_defaults(&o);
        o.model_path = model.text;
        o.refiner_path = refiner.text;
        o.precision = TT_PRECISION_F32;
        o.n_threads = 1;
        tt_alloc_fail_after(n);
        status = tt_engine_open(&o, &engine, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_null(engine);
        tt_engine_close(engine);
    }
    assert_int_equal(status, TT_OK);
}

/* ---- refusals ---------------------------------------------------------------------------------------- */

static void one_kind_of_model_is_not_taken_for_the_other(void **state) {
    (void)state;
    const tt_golden_layout layouts[] = {TT_GOLDEN_LDM, TT_GOLDEN_FOLDER};
    tt_engine *engine;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        assert_int_equal(open_with("refiner", NULL, layouts[i], &engine), TT_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "the SDXL refiner"));
        assert_int_equal(open_with("kernel", "pruned", layouts[i], &engine), TT_E_INVALID);
        assert_non_null(strstr(err.message, "this is a base model"));
    }
}

static void expect_refused(tt_engine *engine, const tt_request *r, tt_status status,
                           const char *sentence) {
    tt_result result;
    assert_int_equal(tt_engine_generate(engine, r, &result, &err), status);
    if (!strstr(err.message, sentence)) fail_msg("%s", err.message);
}

static void what_cannot_be_refined_is_refused(void **state) {
    (void)state;
    static const uint8_t image[SIDE * SIDE * COLOURS];
    tt_engine *without = opened("kernel", NULL, TT_GOLDEN_LDM);
    tt_engine *with = opened("kernel", "refiner", TT_GOLDEN_LDM);
    tt_request r = small_request();
    r.refiner_start = 0.5f;
    expect_refused(without, &r, TT_E_INVALID, "no refiner was opened");
    r.refiner_start = 0.9999f;
    expect_refused(with, &r, TT_E_INVALID, "refiner: steps: none of 5 is left");
    r.refiner_start = -0.5f;
    expect_refused(with, &r, TT_E_INVALID, "refiner start: expected 0 to 1");
    r.refiner_start = 0.5f;
    r.aesthetic_score = 11;
    expect_refused(with, &r, TT_E_INVALID, "aesthetic score: expected 0 to 10");
    r = small_request();
    r.refiner_start = 0.5f;
    r.compat = "comfyui";
    r.image = image;
    expect_refused(with, &r, TT_E_UNSUPPORTED, "choose another compat");
    tt_engine_close(without);
    tt_engine_close(with);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refiner_files_agree_with_diffusers),
        cmocka_unit_test(refiner_folders_agree_with_diffusers),
        cmocka_unit_test(a_refiner_that_never_takes_over_changes_nothing),
        cmocka_unit_test(two_pictures_are_those_of_their_seeds),
        cmocka_unit_test(a_second_pass_is_what_is_refined),
        cmocka_unit_test(what_a_mask_keeps_is_kept_by_the_refiner),
        cmocka_unit_test(both_scores_matter),
        cmocka_unit_test(failed_allocations_cost_one_request_only),
        cmocka_unit_test(failed_allocations_while_opening_leave_nothing),
        cmocka_unit_test(one_kind_of_model_is_not_taken_for_the_other),
        cmocka_unit_test(what_cannot_be_refined_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
