/* Starting from pictures, masks and other seeds: what must hold for any model. Likeness to diffusers is tested in
 * tests/golden/test_img2img.c. */
#include "unit/pipeline/tiny_engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { STEPS = 5 };

static uint8_t start_picture[N_BYTES], mask[SIDE * SIDE];

static int begin_with_picture(void **state) {
    for (int i = 0; i < N_BYTES; i++) start_picture[i] = (uint8_t)(i / SIDE + i % 3 * 40);
    return begin(state);
}

static tt_request request(float strength) {
    tt_request r = tiny_request(STEPS);
    r.sampler = "euler";
    r.image = start_picture;
    r.strength = strength;
    return r;
}

static double distance(const uint8_t *a, const uint8_t *b) {
    double sum = 0;
    for (int i = 0; i < N_BYTES; i++) sum += abs(a[i] - b[i]);
    return sum / N_BYTES;
}

static bool count_steps(void *context, const tt_progress *p) {
    int *last = context;
    *last = p->step;
    assert_true(p->step <= p->n_steps);
    return true;
}

static void strength_says_how_many_steps_run(void **state) {
    (void)state;
    static const struct {
        float strength;
        int steps;
    } cases[] = {{0.2f, 1}, {0.6f, 3}, {0.79f, 3}, {1, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int last = -1;
        tt_request r = request(cases[i].strength);
        r.progress = count_steps;
        r.progress_context = &last;
        tt_result result = generate(&r);
        assert_int_equal(result.steps, cases[i].steps);
        assert_int_equal(last, cases[i].steps);
        tt_result_release(&result);
    }
}

static void less_strength_keeps_more_of_the_picture(void **state) {
    (void)state;
    tt_request weak = request(0.2f), strong = request(1);
    tt_result a = generate(&weak), b = generate(&strong);
    assert_true(distance(a.pictures[0].rgb, start_picture) <
                distance(b.pictures[0].rgb, start_picture));
    tt_result_release(&a);
    tt_result_release(&b);
}

static void a_mask_of_zeros_keeps_every_byte(void **state) {
    (void)state;
    tt_request r = request(0.6f);
    memset(mask, 0, sizeof mask);
    r.mask = mask;
    tt_result result = generate(&r);
    assert_memory_equal(result.pictures[0].rgb, start_picture, N_BYTES);
    tt_result_release(&result);
}

static void a_full_mask_is_like_none(void **state) {
    (void)state;
    tt_request without = request(0.6f), with = request(0.6f);
    memset(mask, 255, sizeof mask);
    with.mask = mask;
    tt_result a = generate(&without), b = generate(&with);
    assert_memory_equal(a.pictures[0].rgb, b.pictures[0].rgb, N_BYTES);
    tt_result_release(&a);
    tt_result_release(&b);
}

static void the_manners_of_other_programs_work_with_pictures(void **state) {
    (void)state;
    static const char *const names[] = {"a1111", "comfyui"};
    memset(mask, 0, sizeof mask);
    memset(mask + sizeof mask / 2, 255, sizeof mask / 2);
    for (int i = 0; i < 2; i++) {
        tt_request r = request(0.6f);
        r.compat = names[i];
        r.mask = mask;
        tt_result result = generate(&r);
        assert_memory_equal(result.pictures[0].rgb, start_picture, N_BYTES / 2);
        assert_memory_not_equal(result.pictures[0].rgb, start_picture, N_BYTES);
        tt_result_release(&result);
    }
}

static void pictures_of_a_batch_do_not_depend_on_it(void **state) {
    (void)state;
    tt_request both = request(0.6f), second = request(0.6f);
    both.count = 2;
    second.seed = both.seed + 1;
    tt_result a = generate(&both), b = generate(&second);
    assert_memory_equal(a.pictures[1].rgb, b.pictures[0].rgb, N_BYTES);
    tt_result_release(&a);
    tt_result_release(&b);
}

/* ---- variations --------------------------------------------------------------------------------------- */

static void variations_lead_from_one_seed_to_the_other(void **state) {
    (void)state;
    tt_request r = request(1);
    r.image = NULL;
    tt_result from = generate(&r);
    r.variation_seed = 9;
    r.variation_strength = 1;
    tt_result all_the_way = generate(&r);
    r.variation_strength = 0.1f;
    r.count = 2;
    tt_result near = generate(&r);
    r.variation_strength = 0;
    r.count = 1;
    r.seed = 9;
    tt_result to = generate(&r);
    assert_memory_equal(all_the_way.pictures[0].rgb, to.pictures[0].rgb, N_BYTES);
    assert_true(distance(near.pictures[0].rgb, from.pictures[0].rgb) <
                distance(near.pictures[0].rgb, to.pictures[0].rgb));
    assert_true(near.pictures[1].seed == 5); /* the batch varies the other seed */
    assert_memory_not_equal(near.pictures[0].rgb, near.pictures[1].rgb, N_BYTES);
    tt_result_release(&from);
    tt_result_release(&all_the_way);
    tt_result_release(&near);
    tt_result_release(&to);
}

/* ---- tiles -------------------------------------------------------------------------------------------- */

enum { LONG = 1088, N_LONG = LONG * SIDE * 3 }; /* two tiles */

static tt_result long_picture(tt_tiling tiling, size_t max_bytes, const uint8_t *from) {
    tt_engine *e;
    tt_engine_options options;
    tt_engine_options_defaults(&options);
    options.model_path = MODEL;
    options.precision = TT_PRECISION_F32;
    options.n_threads = 1;
    options.vae_tiling = tiling;
    options.vae_max_bytes = max_bytes;
    ok(tt_engine_open(&options, &e, &err));
    tt_request r = request(0.5f);
    r.image = from;
    r.width = LONG;
    r.steps = 2;
    tt_result result;
    ok(tt_engine_generate(e, &r, &result, &err));
    tt_engine_close(e);
    return result;
}

static void tiles_are_used_where_memory_is_short(void **state) {
    (void)state;
    tt_result never = long_picture(TT_TILING_NEVER, 1, NULL),
              always = long_picture(TT_TILING_ALWAYS, 0, NULL),
              roomy = long_picture(TT_TILING_AUTO, (size_t)1 << 40, NULL),
              short_of = long_picture(TT_TILING_AUTO, 1, NULL);
    assert_true(!never.vae_tiled && always.vae_tiled && !roomy.vae_tiled && short_of.vae_tiled);
    assert_memory_equal(never.pictures[0].rgb, roomy.pictures[0].rgb, N_LONG);
    assert_true(short_of.planned_bytes < always.planned_bytes); /* smaller tiles */
    assert_true(always.planned_bytes < never.planned_bytes);
    const tt_result *const in_tiles[] = {&always, &short_of};
    for (int k = 0; k < 2; k++) {
        double sum = 0;
        for (int i = 0; i < N_LONG; i++)
            sum += pow(never.pictures[0].rgb[i] - in_tiles[k]->pictures[0].rgb[i], 2);
        double psnr = 10 * log10(255.0 * 255.0 * N_LONG / sum);
        if (!(psnr > 30)) fail_msg("%.1f dB", psnr);
    }
    tt_result_release(&never);
    tt_result_release(&always);
    tt_result_release(&roomy);
    tt_result_release(&short_of);
}

static void large_pictures_come_in_in_tiles_too(void **state) {
    (void)state;
    uint8_t *from = tt_alloc(N_LONG);
    for (int i = 0; i < N_LONG; i++) from[i] = (uint8_t)(i / 300 + i % 3 * 40);
    tt_result whole = long_picture(TT_TILING_NEVER, 0, from),
              tiled = long_picture(TT_TILING_AUTO, 1, from);
    assert_true(tiled.vae_tiled);
    double sum = 0;
    for (int i = 0; i < N_LONG; i++)
        sum += abs(whole.pictures[0].rgb[i] - tiled.pictures[0].rgb[i]);
    if (!(sum / N_LONG < 16)) fail_msg("mean difference %.1f of 255", sum / N_LONG);
    tt_result_release(&whole);
    tt_result_release(&tiled);
    tt_free(from);
}

/* ---- refusals and lost memory --------------------------------------------------------------------------- */

static void bad_requests_get_one_sentence(void **state) {
    (void)state;
    tt_result result;
#define REFUSED(change, part)                                                          \
    do {                                                                               \
        tt_request r = request(0.5f);                                                  \
        change;                                                                        \
        assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_INVALID); \
        assert_non_null(strstr(err.message, part));                                    \
    } while (0)
    REFUSED(r.strength = 0, "strength");
    REFUSED(r.strength = NAN, "strength");
    REFUSED(r.strength = 1.5f, "strength");
    REFUSED(r.strength = 0.1f, "steps"); /* none of 5 is left */
    REFUSED(r.image = NULL; r.mask = mask, "mask");
    REFUSED(r.variation_strength = 2, "variation");
    REFUSED(r.crop_top = -1, "crop top");
    REFUSED(r.original_width = 1 << 20, "original width");
    REFUSED(r.compat = "paint", "paint");
#undef REFUSED
}

static void failed_allocations_cost_one_request_only(void **state) {
    (void)state;
    tt_result result;
    tt_request r = request(0.2f);
    memset(mask, 200, sizeof mask);
    r.mask = mask;
    tt_result whole = generate(&r);
    tt_status status = TT_E_NOMEM;
    for (int n = 0; status != TT_OK; n++) {
        tt_alloc_fail_after(n);
        status = tt_engine_generate(engine, &r, &result, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        if (status != TT_OK) assert_null(result.pictures);
    }
    assert_memory_equal(result.pictures[0].rgb, whole.pictures[0].rgb, N_BYTES);
    tt_result_release(&result);
    tt_result_release(&whole);
}

/* Until the encoder is there: a sample of the first request's allocations. */
static void the_encoder_survives_a_failed_opening(void **state) {
    (void)state;
    tt_engine *fresh;
    tt_result result, whole;
    const tt_request r = request(0.2f);
    ok(open_tiny(&fresh));
    tt_status status = TT_E_NOMEM;
    for (int n = 0; status != TT_OK; n += 1 + n / 3) {
        tt_alloc_fail_after(n);
        status = tt_engine_generate(fresh, &r, &result, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
    }
    whole = generate(&r);
    assert_memory_equal(result.pictures[0].rgb, whole.pictures[0].rgb, N_BYTES);
    tt_result_release(&result);
    tt_result_release(&whole);
    tt_engine_close(fresh);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strength_says_how_many_steps_run),
        cmocka_unit_test(less_strength_keeps_more_of_the_picture),
        cmocka_unit_test(a_mask_of_zeros_keeps_every_byte),
        cmocka_unit_test(a_full_mask_is_like_none),
        cmocka_unit_test(the_manners_of_other_programs_work_with_pictures),
        cmocka_unit_test(pictures_of_a_batch_do_not_depend_on_it),
        cmocka_unit_test(variations_lead_from_one_seed_to_the_other),
        cmocka_unit_test(tiles_are_used_where_memory_is_short),
        cmocka_unit_test(large_pictures_come_in_in_tiles_too),
        cmocka_unit_test(bad_requests_get_one_sentence),
        cmocka_unit_test(failed_allocations_cost_one_request_only),
        cmocka_unit_test(the_encoder_survives_a_failed_opening),
    };
    return cmocka_run_group_tests(tests, begin_with_picture, end);
}
