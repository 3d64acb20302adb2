/* What the engine says of its operations: parts of a picture can be told apart, and work is counted the same however long it took. */
#include "tintype/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL TT_SOURCE_DIR "/models/tintype-tiny.safetensors"

enum { SIDE = 64, STEPS = 3 };

typedef struct watcher {
    tt_engine *engine;
    tt_operation steps[STEPS][TT_OPERATION_KINDS], vae[TT_OPERATION_KINDS];
} watcher;

static void ok(tt_status status, const tt_err *err) {
    if (status != TT_OK) fail_msg("%s", err->message);
}

static bool on_progress(void *context, const tt_progress *p) {
    watcher *w = context;
    if (p->step > 0) tt_engine_get_operations(w->engine, w->steps[p->step - 1]);
    tt_engine_reset_operations(w->engine);
    return true;
}

static void make_picture(watcher *w, float guidance) {
    tt_request r;
    tt_result result;
    tt_err err;
    tt_request_defaults(w->engine, &r);
    r.prompt = "a lighthouse on the sea at sunset";
    r.width = r.height = SIDE;
    r.steps = STEPS;
    r.guidance = guidance;
    r.sampler = "euler";
    r.schedule = NULL;
    r.progress = on_progress;
    r.progress_context = w;
    ok(tt_engine_generate(w->engine, &r, &result, &err), &err);
    tt_engine_get_operations(w->engine, w->vae);
    tt_result_release(&result);
}

static void open_engine(watcher *w, tt_precision precision, tt_precision vae_precision) {
    tt_engine_options options;
    tt_err err;
    tt_engine_options_defaults(&options);
    options.model_path = MODEL;
    options.precision = precision;
    options.vae_precision = vae_precision;
    options.n_threads = 2;
    memset(w, 0, sizeof *w);
    ok(tt_engine_open(&options, &w->engine, &err), &err);
}

static double gflop(const tt_operation operations[TT_OPERATION_KINDS]) {
    double sum = 0;
    for (int i = 0; i < TT_OPERATION_KINDS; i++) sum += operations[i].gflop;
    return sum;
}

static const tt_operation *named(const tt_operation *operations, const char *name) {
    for (int i = 0; i < TT_OPERATION_KINDS; i++)
        if (strcmp(operations[i].name, name) == 0) return &operations[i];
    fail_msg("no operation %s", name);
    return NULL;
}

static bool is_near(double a, double b) {
    return a > 0 && a / b > 0.999999 && a / b < 1.000001;
}

static void every_step_is_the_same_work(void **state) {
    (void)state;
    watcher w;
    open_engine(&w, TT_PRECISION_F32, TT_PRECISION_F32);
    make_picture(&w, 5);
    for (int i = 1; i < STEPS; i++) {
        assert_true(is_near(gflop(w.steps[i]), gflop(w.steps[0])));
        assert_int_equal(named(w.steps[i], "linear")->calls, named(w.steps[0], "linear")->calls);
    }
    assert_true(named(w.steps[1], "conv")->ms > 0 && named(w.steps[1], "conv")->gbyte > 0);
    tt_engine_close(w.engine);
}

/* Guidance is a second picture in the batch; what depends on the text alone was made before the first step. */
static void guidance_is_twice_the_work(void **state) {
    (void)state;
    watcher one, two;
    open_engine(&one, TT_PRECISION_F32, TT_PRECISION_F32);
    two = one;
    make_picture(&one, 1);
    make_picture(&two, 5);
    assert_true(is_near(named(two.steps[1], "attention")->gflop,
                        2 * named(one.steps[1], "attention")->gflop));
    assert_true(
        is_near(named(two.steps[1], "conv")->gflop, 2 * named(one.steps[1], "conv")->gflop));
    assert_true(is_near(gflop(two.vae), gflop(one.vae)));
    tt_engine_close(one.engine);
}

/* The decoder's back-end is another one then; its work is counted all the same. */
static void a_decoder_of_its_own_precision_is_counted(void **state) {
    (void)state;
    watcher same, other;
    open_engine(&same, TT_PRECISION_F32, TT_PRECISION_F32);
    open_engine(&other, TT_PRECISION_BF16, TT_PRECISION_F32);
    make_picture(&same, 5);
    make_picture(&other, 5);
    assert_true(is_near(gflop(other.vae), gflop(same.vae)));
    assert_true(is_near(gflop(other.steps[0]), gflop(same.steps[0])));
    tt_engine_close(same.engine);
    tt_engine_close(other.engine);
}

static void the_peak_has_a_name_where_it_is_known(void **state) {
    (void)state;
    watcher w;
    tt_peak peak;
    open_engine(&w, TT_PRECISION_F32, TT_PRECISION_F32);
    tt_engine_measure_peak(w.engine, &peak);
    assert_int_equal(peak.f32 > 0, peak.f32_by[0] != '\0');
    assert_int_equal(peak.bf16 > 0, peak.bf16_by[0] != '\0');
    assert_int_equal(peak.int8 > 0, peak.int8_by[0] != '\0');
    tt_engine_close(w.engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_is_the_same_work),
        cmocka_unit_test(guidance_is_twice_the_work),
        cmocka_unit_test(a_decoder_of_its_own_precision_is_counted),
        cmocka_unit_test(the_peak_has_a_name_where_it_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
