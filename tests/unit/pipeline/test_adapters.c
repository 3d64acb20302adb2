/* Adapters of requests and of prompts: what they change, what is reported, how the model comes back. Likeness to other programs is
 * tested in tests/golden (test_engine_words.c, test_shipped.c). */
#include "unit/pipeline/tiny_engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"

#define OLD_PHOTO TT_SOURCE_DIR "/models/tintype-old-photo.safetensors"

static tt_request request(const tt_request_adapter *adapters, int n) {
    tt_request r = tiny_request(2);
    r.sampler = "euler";
    r.adapters = adapters;
    r.n_adapters = n;
    return r;
}

static tt_result with_scale(float scale, const char *parts) {
    const tt_request_adapter adapter = {.path = OLD_PHOTO, .scale = scale, .parts = parts};
    const tt_request r = request(&adapter, 1);
    return generate(&r);
}

static double distance(const tt_result *a, const tt_result *b) {
    double sum = 0;
    for (int i = 0; i < N_BYTES; i++) sum += abs(a->pictures[0].rgb[i] - b->pictures[0].rgb[i]);
    return sum / N_BYTES;
}

/* Releases both. */
static bool same(tt_result a, tt_result b) {
    bool is_same = memcmp(a.pictures[0].rgb, b.pictures[0].rgb, N_BYTES) == 0;
    tt_result_release(&a);
    tt_result_release(&b);
    return is_same;
}

static tt_result without(void) {
    const tt_request r = request(NULL, 0);
    return generate(&r);
}

/* ---- the model -------------------------------------------------------------------------------------- */

static void a_picture_does_not_depend_on_the_sets_before(void **state) {
    (void)state;
    tt_engine *fresh;
    tt_result expected, plain = without();
    const tt_request_adapter adapter = {.path = OLD_PHOTO, .scale = 0.8f};
    const tt_request r = request(&adapter, 1), none = request(NULL, 0);
    ok(open_tiny(&fresh));
    ok(tt_engine_generate(fresh, &r, &expected, &err));
    for (int i = 0; i < 6; i++) { /* more sets than are kept */
        tt_result other = with_scale(0.1f * (float)i - 2, NULL);
        tt_result_release(&other);
    }
    assert_true(distance(&expected, &plain) > 1);
    assert_true(same(generate(&r), expected));
    assert_true(same(generate(&none), plain));
    tt_engine_close(fresh);
}

static void kept_sets_are_switched_to(void **state) {
    (void)state;
    tt_result first = with_scale(0.31f, NULL);
    assert_false(first.adapters_were_kept);
    tt_result plain = without();
    assert_false(plain.adapters_were_kept);
    tt_result again = with_scale(0.31f, NULL);
    assert_true(again.adapters_were_kept);
    tt_result_release(&plain);
    assert_true(same(first, again));
}

static void a_scale_of_zero_is_reported_and_changes_nothing(void **state) {
    (void)state;
    tt_result zero = with_scale(0, NULL);
    assert_int_equal(zero.n_adapters, 1);
    assert_string_equal(zero.adapters[0].name, "tintype-old-photo");
    assert_true(zero.adapters[0].unet == 0);
    assert_true(zero.adapters[0].n_unet > 0);
    assert_true(same(zero, without()));
    assert_false(same(with_scale(0, "unet=0.8"), without()));
    assert_true(same(with_scale(0, "unet=0.8"), with_scale(0.8f, NULL)));
    assert_true(same(with_scale(0.8f, "unet=0, te=0"), without()));
    assert_false(same(with_scale(0.8f, "in=0.5,out01=0"), with_scale(0.8f, NULL)));
}

static void the_same_file_twice_is_two_uses(void **state) {
    (void)state;
    const tt_request_adapter twice[] = {{.path = OLD_PHOTO, .scale = 0.4f},
                                        {.path = OLD_PHOTO, .scale = 0.4f, .name = "again"}};
    const tt_request r = request(twice, 2);
    tt_result both = generate(&r), once = with_scale(0.8f, NULL), half = with_scale(0.4f, NULL);
    assert_int_equal(both.n_adapters, 2);
    assert_string_equal(both.adapters[1].name, "again");
    assert_true(distance(&both, &once) < 0.1); /* rounding */
    assert_true(distance(&both, &half) > 0.5);
    tt_result_release(&both);
    tt_result_release(&once);
    tt_result_release(&half);
}

static void results_say_what_became_of_an_adapter(void **state) {
    (void)state;
    tt_result result = with_scale(0.8f, "mid=0.5");
    const tt_result_adapter *a = &result.adapters[0];
    assert_string_equal(a->path, OLD_PHOTO);
    assert_string_equal(a->parts, "mid=0.5");
    assert_string_equal(a->kinds, "LoRA");
    assert_string_equal(a->base_model, "sdxl_base_v1-0");
    assert_true(!a->from_prompt && a->unet == 0.8f && a->te1 == 0.8f && a->te2 == 0.8f);
    assert_true(a->rank_min > 0 && a->rank_max == 8);
    assert_int_equal(a->n_unet, 204);
    assert_int_equal(a->n_te1 + a->n_te2, 0);
    assert_int_equal(a->n_keys, 612);
    assert_int_equal(a->n_matched, 612);
    assert_int_equal(a->n_unmatched, 0);
    assert_string_equal(a->unmatched[0], "");
    assert_true(result.timings.adapters_ms > 0);
    tt_result_release(&result);
    assert_null(result.adapters);
}

static void memory_of_adapters_is_counted(void **state) {
    (void)state;
    tt_result plain = without(), result = with_scale(0.77f, NULL);
    assert_true(result.planned_bytes > plain.planned_bytes);
    tt_result_release(&plain);
    tt_result_release(&result);
}

/* ---- tags ------------------------------------------------------------------------------------------- */

typedef struct finder {
    int n_asked;
    char asked[4][32];
    const char *path; /* NULL: there is none */
} finder;

static tt_status find(void *context, const char *name, char *path, size_t path_size, tt_err *e) {
    finder *f = context;
    snprintf(f->asked[f->n_asked++ % 4], sizeof f->asked[0], "%s", name);
    if (!f->path) return tt_fail(e, TT_E_NOT_FOUND, "no %s here", name);
    snprintf(path, path_size, "%s", f->path);
    return TT_OK;
}

static void a_tag_is_an_adapter(void **state) {
    (void)state;
    finder f = {.path = OLD_PHOTO};
    tt_request r = request(NULL, 0);
    r.prompt = "a lighthouse on the sea at sunset<lora:old photo:0.8>";
    r.find_adapter = find;
    r.find_adapter_context = &f;
    tt_result result = generate(&r);
    assert_int_equal(f.n_asked, 1);
    assert_string_equal(f.asked[0], "old photo");
    assert_string_equal(result.adapters[0].name, "old photo");
    assert_true(result.adapters[0].from_prompt);
    assert_true(same(result, with_scale(0.8f, NULL)));
}

static void order_is_the_request_s_then_the_prompts(void **state) {
    (void)state;
    finder f = {.path = OLD_PHOTO};
    const tt_request_adapter first = {.path = OLD_PHOTO, .scale = 0.1f};
    tt_request r = request(&first, 1);
    r.prompt = "the sea <lora:a:0.2:0.3>";
    r.prompt_2 = "the sea <lora:b:te=0.25:unet=0>";
    r.negative_prompt = "rain <lora:c:0>";
    r.negative_prompt_2 = "rain <lora:d>";
    r.find_adapter = find;
    r.find_adapter_context = &f;
    tt_result result = generate(&r);
    static const char *const names[] = {"tintype-old-photo", "a", "b", "c", "d"};
    static const float te[] = {0.1f, 0.2f, 0.25f, 0, 1}, unet[] = {0.1f, 0.3f, 0, 0, 1};
    assert_int_equal(result.n_adapters, 5);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(result.adapters[i].name, names[i]);
        assert_int_equal(result.adapters[i].from_prompt, i > 0);
        assert_true(result.adapters[i].te2 == te[i] && result.adapters[i].unet == unet[i]);
    }
    tt_result_release(&result);
}

static void a_tag_that_nobody_finds_is_an_error(void **state) {
    (void)state;
    finder f = {0};
    tt_result result;
    tt_request r = request(NULL, 0);
    r.prompt = "the sea <lora:lost>";
    r.find_adapter = find;
    r.find_adapter_context = &f;
    assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "no lost here");
    assert_null(result.adapters);
    r.find_adapter = NULL;
    assert_int_equal(tt_request_check(&r, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "<lora:lost>"));
    r.prompt_syntax = "plain"; /* text */
    ok(tt_request_check(&r, &err));
}

/* ---- failures --------------------------------------------------------------------------------------- */

static void a_failure_leaves_the_engine_usable(void **state) {
    (void)state;
    static const char *const paths[] = {"/nonexistent/x.safetensors", MODEL,
                                        TT_SOURCE_DIR "/README.md", TT_SOURCE_DIR};
    tt_result before = with_scale(0.8f, NULL), result;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const tt_request_adapter two[] = {{.path = OLD_PHOTO, .scale = 0.3f},
                                          {.path = paths[i], .scale = 1}};
        const tt_request r = request(two, 2);
        assert_int_not_equal(tt_engine_generate(engine, &r, &result, &err), TT_OK);
        assert_true(strlen(err.message) > 10);
        assert_null(result.adapters);
    }
    assert_true(same(before, with_scale(0.8f, NULL)));
}

/* A file that is written anew is another adapter. */
static void a_changed_file_is_read_again(void **state) {
    (void)state;
    char folder[] = "/tmp/tt-adapters-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    tt_buf bytes;
    tt_buf_init(&bytes, 4 * TT_MIB);
    ok(tt_file_read(OLD_PHOTO, &bytes, &err));
    ok(tt_file_write(path, bytes.data, bytes.size, &err));
    const tt_request_adapter adapter = {.path = path, .scale = 0.8f};
    const tt_request r = request(&adapter, 1);
    tt_result first = generate(&r), result;
    bytes.data[bytes.size - 1] ^= 0x40; /* a large or a small number now */
    ok(tt_file_write(path, bytes.data, bytes.size, &err));
    tt_status status = tt_engine_generate(engine, &r, &result, &err);
    if (status == TT_OK) assert_false(result.adapters_were_kept);
    if (status == TT_OK) tt_result_release(&result);
    unlink(path);
    assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_NOT_FOUND);
    rmdir(folder);
    tt_buf_release(&bytes);
    tt_result_release(&first);
}

static void bad_adapters_get_one_sentence(void **state) {
    (void)state;
    tt_result result;
    static const struct {
        tt_request_adapter adapter;
        const char *part;
    } cases[] = {
        {{.scale = 1}, "adapter 1: a path is missing"},
        {{.path = "", .scale = 1}, "adapter 1: a path is missing"},
        {{.path = OLD_PHOTO, .scale = NAN}, "adapter 1: lora strength"},
        {{.path = OLD_PHOTO, .scale = 101}, "adapter 1: lora strength"},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "unet"}, "expected name=number"},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "unet="}, "expected name=number"},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "unet=x"}, "found \"unet=x\""},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "unet=0x1"}, "expected name=number"},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "unet=1e999"}, "expected name=number"},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "unet=1,,te=1"}, "expected name=number"},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "nose=1"}, "\"nose\""},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "in12=1"}, "\"in12\""},
        {{.path = OLD_PHOTO, .scale = 1, .parts = "te=200"}, "strength te"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tt_request r = request(&cases[i].adapter, 1);
        assert_int_equal(tt_request_check(&r, &err), TT_E_INVALID);
        if (!strstr(err.message, cases[i].part)) fail_msg("%zu: %s", i, err.message);
    }
    tt_request r = request(NULL, 1);
    assert_int_equal(tt_request_check(&r, &err), TT_E_INVALID);
    r.n_adapters = TT_MAX_REQUEST_ADAPTERS + 1;
    assert_int_equal(tt_request_check(&r, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "expected 0 to 64, found 65"));
    tt_request_adapter many[17];
    for (int i = 0; i < 17; i++) many[i] = (tt_request_adapter){.path = OLD_PHOTO, .scale = 0.1f};
    r = request(many, 17);
    assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "more than 16"));
}

/* Every allocation of a request fails once, with a set that is new each time and one that is kept. */
static void failed_allocations_cost_one_request_only(void **state) {
    (void)state;
    tt_result result, whole = with_scale(0.8f, NULL);
    tt_status status = TT_E_NOMEM;
    for (int n = 0; status != TT_OK; n += 1 + n / 16) {
        const tt_request_adapter adapter = {.path = OLD_PHOTO, .scale = 0.5f};
        const tt_request r = request(&adapter, 1), plain = request(NULL, 0);
        tt_alloc_fail_after(n);
        status = tt_engine_generate(engine, &r, &result, &err);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(result.pictures);
        assert_null(result.adapters);
        if (n % 4) continue;
        result = generate(&plain); /* the failed set is not half there */
        assert_int_equal(result.n_adapters, 0);
        tt_result_release(&result);
    }
    tt_result_release(&result);
    assert_true(same(whole, with_scale(0.8f, NULL)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_does_not_depend_on_the_sets_before),
        cmocka_unit_test(kept_sets_are_switched_to),
        cmocka_unit_test(a_scale_of_zero_is_reported_and_changes_nothing),
        cmocka_unit_test(the_same_file_twice_is_two_uses),
        cmocka_unit_test(results_say_what_became_of_an_adapter),
        cmocka_unit_test(memory_of_adapters_is_counted),
        cmocka_unit_test(a_tag_is_an_adapter),
        cmocka_unit_test(order_is_the_request_s_then_the_prompts),
        cmocka_unit_test(a_tag_that_nobody_finds_is_an_error),
        cmocka_unit_test(a_failure_leaves_the_engine_usable),
        cmocka_unit_test(a_changed_file_is_read_again),
        cmocka_unit_test(bad_adapters_get_one_sentence),
        cmocka_unit_test(failed_allocations_cost_one_request_only),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
