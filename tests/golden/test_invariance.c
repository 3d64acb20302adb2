/* Same request, same bytes: whatever the number of threads, the batch, and what the engine did before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/golden_engine.h"

enum { MAX_THREADS = 3, BATCH = 4 };

static const char *const models[] = {"kernel", "quirks", "pruned", "vpred"};
enum { N_MODELS = sizeof models / sizeof *models };

static tt_request make_request(uint64_t seed, int count) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    r.prompt = "a black cat on a pink background";
    r.negative_prompt = "dog";
    r.sampler = "euler_a"; /* draws noise in every step */
    r.schedule = NULL;
    r.steps = 4;
    r.guidance = 4.5f;
    r.seed = seed;
    r.count = count;
    r.width = 104;
    r.height = 72;
    return r;
}

static void check_threads(const char *model, tt_precision precision) {
    tt_result first = {0};
    const tt_request request = make_request(7, 1);
    for (int n = 1; n <= MAX_THREADS; n++) {
        char what[64];
        const tt_golden_engine_options options = {
            .model = model, .precision = precision, .n_threads = n};
        tt_engine *engine = tt_golden_engine(&options);
        tt_result found = tt_golden_generate(engine, &request);
        tt_engine_close(engine);
        snprintf(what, sizeof what, "%s with %d threads against 1", model, n);
        if (n == 1) {
            first = found;
            continue;
        }
        tt_golden_same_picture(&first.pictures[0], &found.pictures[0], what);
        tt_result_release(&found);
    }
    tt_result_release(&first);
}

static void threads_do_not_matter_in_f32(void **state) {
    (void)state;
    for (int i = 0; i < N_MODELS; i++) check_threads(models[i], TT_PRECISION_F32);
}

static void threads_do_not_matter_in_bf16(void **state) {
    (void)state;
    for (int i = 0; i < N_MODELS; i++) check_threads(models[i], TT_PRECISION_BF16);
}

static void a_batch_is_its_pictures_one_by_one(void **state) {
    (void)state;
    const tt_golden_engine_options options = {.model = "kernel", .precision = TT_PRECISION_F32};
    tt_engine *engine = tt_golden_engine(&options);
    const tt_request together = make_request(11, BATCH);
    tt_result batch = tt_golden_generate(engine, &together);
    for (int i = 0; i < BATCH; i++) {
        const tt_request alone = make_request(11 + (uint64_t)i, 1);
        tt_result one = tt_golden_generate(engine, &alone);
        assert_int_equal(batch.pictures[i].seed, alone.seed);
        tt_golden_same_picture(&batch.pictures[i], &one.pictures[0], "in a batch and alone");
        tt_result_release(&one);
    }
    tt_result_release(&batch);
    tt_engine_close(engine);
}

static bool stop_at_two(void *context, const tt_progress *progress) {
    (void)context;
    return progress->step < 2;
}

/* Another size, another sampler, a cancelled picture, then the same again. */
static void what_ran_before_does_not_matter(void **state) {
    (void)state;
    const tt_golden_engine_options options = {.model = "vpred", .precision = TT_PRECISION_F32};
    tt_engine *engine = tt_golden_engine(&options);
    const tt_request request = make_request(3, 1);
    tt_result before = tt_golden_generate(engine, &request);
    tt_request other = make_request(4, 1);
    other.width = other.height = 128;
    other.sampler = "dpmpp_2m";
    other.negative_prompt = NULL;
    tt_result ignored = tt_golden_generate(engine, &other);
    other.progress = stop_at_two;
    tt_result none;
    tt_err err;
    assert_int_equal(tt_engine_generate(engine, &other, &none, &err), TT_E_CANCELLED);
    tt_result after = tt_golden_generate(engine, &request);
    tt_golden_same_picture(&before.pictures[0], &after.pictures[0], "before and after others");
    tt_result_release(&before);
    tt_result_release(&ignored);
    tt_result_release(&after);
    tt_engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_matter_in_f32),
        cmocka_unit_test(threads_do_not_matter_in_bf16),
        cmocka_unit_test(a_batch_is_its_pictures_one_by_one),
        cmocka_unit_test(what_ran_before_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
