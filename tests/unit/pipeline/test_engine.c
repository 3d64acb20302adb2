/* The engine's promises around the picture: progress, cancel, previews, reuse, refusals, lost memory. The picture's numbers are
 * checked in tests/golden. */
#include "unit/pipeline/tiny_engine.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { STEPS = 3 };

static int open_engine(void **state) {
    (void)state;
    tt_engine_options options = tiny_options();
    options.n_threads = 2;
    return tt_engine_open(&options, &engine, &err) == TT_OK ? 0 : -1;
}

/* ---- what the model says ---------------------------------------------------------------------------- */

static void defaults_come_from_the_model(void **state) {
    (void)state;
    const tt_engine_info *info = tt_engine_get_info(engine);
    tt_request r;
    tt_request_defaults(engine, &r);
    assert_int_equal(r.width, 256);
    assert_int_equal(r.height, 256);
    assert_int_equal(r.steps, 24);
    assert_true(r.guidance == 4.5f);
    assert_string_equal(info->model_name, "tintype-tiny.safetensors");
    assert_string_equal(info->precision, "f32");
    assert_string_equal(info->prediction, "epsilon");
    assert_true(info->weight_bytes > 0 && info->n_parameters > 0);
    tt_request_defaults(NULL, &r);
    assert_int_equal(r.width, 1024);
}

/* ---- progress and cancel ---------------------------------------------------------------------------- */

typedef struct seen {
    int calls, cancel_at; /* cancel_at: the call that answers false; 0: none */
    int pictures[64], steps[64];
} seen;

static bool note_progress(void *context, const tt_progress *p) {
    seen *s = context;
    s->pictures[s->calls] = p->picture;
    s->steps[s->calls] = p->step;
    s->calls++;
    assert_int_equal(p->n_steps, STEPS);
    assert_true(p->elapsed_ms >= 0);
    return s->calls != s->cancel_at;
}

static void progress_counts_every_step_of_every_picture(void **state) {
    (void)state;
    seen s = {0};
    tt_result result;
    tt_request r = tiny_request(STEPS);
    r.count = 2;
    r.progress = note_progress;
    r.progress_context = &s;
    ok(tt_engine_generate(engine, &r, &result, &err));
    assert_int_equal(s.calls, 2 * (STEPS + 1));
    for (int i = 0; i < s.calls; i++) {
        assert_int_equal(s.pictures[i], i / (STEPS + 1));
        assert_int_equal(s.steps[i], i % (STEPS + 1));
    }
    assert_int_equal(result.n_pictures, 2);
    assert_true(result.pictures[0].seed == 5 && result.pictures[1].seed == 6);
    tt_result_release(&result);
}

static void cancel_ends_between_steps_and_the_engine_goes_on(void **state) {
    (void)state;
    tt_result before, cancelled, after;
    tt_request r = tiny_request(STEPS);
    ok(tt_engine_generate(engine, &r, &before, &err));
    for (int at = 1; at <= STEPS + 1; at++) {
        seen s = {.cancel_at = at};
        tt_request stopping = r;
        stopping.progress = note_progress;
        stopping.progress_context = &s;
        assert_int_equal(tt_engine_generate(engine, &stopping, &cancelled, &err), TT_E_CANCELLED);
        assert_int_equal(s.calls, at);
        assert_int_equal(cancelled.n_pictures, 0);
        assert_null(cancelled.pictures);
    }
    ok(tt_engine_generate(engine, &r, &after, &err));
    assert_memory_equal(before.pictures[0].rgb, after.pictures[0].rgb, SIDE * SIDE * 3);
    tt_result_release(&before);
    tt_result_release(&after);
}

/* ---- previews --------------------------------------------------------------------------------------- */

typedef struct last_preview {
    uint8_t rgb[(SIDE / 8) * (SIDE / 8) * 3];
    bool came;
} last_preview;

static bool keep_preview(void *context, const tt_progress *p) {
    last_preview *last = context;
    if (p->step == 0) {
        assert_null(p->preview);
        return true;
    }
    assert_non_null(p->preview);
    assert_int_equal(p->preview_width, SIDE / 8);
    assert_int_equal(p->preview_height, SIDE / 8);
    memcpy(last->rgb, p->preview, sizeof last->rgb);
    last->came = true;
    return true;
}

/* The last preview shows the finished picture's colours: mean absolute error of 8x8 blocks below 24 of 255. */
static void the_preview_resembles_the_picture(void **state) {
    (void)state;
    last_preview last = {0};
    tt_result result;
    tt_request r = tiny_request(STEPS);
    r.want_preview = true;
    r.progress = keep_preview;
    r.progress_context = &last;
    ok(tt_engine_generate(engine, &r, &result, &err));
    assert_true(last.came);
    double error = 0;
    for (int i = 0; i < SIDE / 8 * SIDE / 8; i++)
        for (int k = 0; k < 3; k++) {
            double mean = 0;
            for (int y = 0; y < 8; y++)
                for (int x = 0; x < 8; x++) {
                    int pixel = (i / 8 * 8 + y) * SIDE + i % 8 * 8 + x;
                    mean += result.pictures[0].rgb[3 * pixel + k] / 64.0;
                }
            error += fabs(mean - last.rgb[i * 3 + k]);
        }
    error /= sizeof last.rgb;
    if (error >= 24) print_error("mean error %g\n", error);
    assert_true(error < 24);
    tt_result_release(&result);
}

/* ---- sizes and text --------------------------------------------------------------------------------- */

static void odd_latent_sizes_make_pictures(void **state) {
    (void)state;
    const int sizes[][2] = {{72, 104}, {64, 200}, {136, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tt_result result;
        tt_request r = tiny_request(STEPS);
        r.width = sizes[i][0];
        r.height = sizes[i][1];
        r.steps = 1;
        ok(tt_engine_generate(engine, &r, &result, &err));
        assert_int_equal(result.pictures[0].width, sizes[i][0]);
        assert_int_equal(result.pictures[0].height, sizes[i][1]);
        tt_result_release(&result);
    }
}

/* A1111's syntax uses them all, in a second chunk; plain text is cut, as diffusers cuts it. */
static void tokens_beyond_the_window_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *syntax;
        int used, chunks;
    } cases[] = {{NULL, 100, 2}, {"comfyui", 100, 2}, {"plain", 75, 1}, {"compel", 75, 1}};
    char prompt[1000] = "";
    for (int i = 0; i < 100; i++) memcpy(prompt + 4 * i, "sea ", 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_result result;
        tt_request r = tiny_request(STEPS);
        r.prompt = prompt;
        r.prompt_syntax = cases[i].syntax;
        r.steps = 1;
        ok(tt_engine_generate(engine, &r, &result, &err));
        assert_int_equal(result.prompt_tokens, 100);
        assert_int_equal(result.prompt_tokens_used, cases[i].used);
        assert_int_equal(result.prompt_chunks, cases[i].chunks);
        tt_result_release(&result);
    }
}

static void an_absent_negative_prompt_is_not_an_empty_one(void **state) {
    (void)state;
    tt_result absent, empty;
    tt_request r = tiny_request(STEPS);
    ok(tt_engine_generate(engine, &r, &absent, &err));
    r.negative_prompt = "";
    ok(tt_engine_generate(engine, &r, &empty, &err));
    assert_string_equal(absent.negative_policy, "zeros");
    assert_string_equal(empty.negative_policy, "encoded");
    assert_memory_not_equal(absent.pictures[0].rgb, empty.pictures[0].rgb, SIDE * SIDE * 3);
    tt_result_release(&absent);
    tt_result_release(&empty);
}

static void memory_is_planned_and_reported(void **state) {
    (void)state;
    tt_result result;
    tt_request r = tiny_request(STEPS);
    ok(tt_engine_generate(engine, &r, &result, &err));
    assert_true(result.planned_bytes > tt_engine_get_info(engine)->weight_bytes);
    assert_true(result.peak_bytes > result.planned_bytes / 2);
    tt_result_release(&result);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

static void bad_requests_get_one_sentence(void **state) {
    (void)state;
    tt_result result;
#define REFUSED(change, part)                                                          \
    do {                                                                               \
        tt_request r = tiny_request(STEPS);                                            \
        change;                                                                        \
        assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_INVALID); \
        assert_non_null(strstr(err.message, part));                                    \
    } while (0)
    REFUSED(r.prompt = NULL, "prompt");
    REFUSED(r.prompt = "caf\xe9", "UTF-8");
    REFUSED(r.negative_prompt = "\xff", "negative prompt");
    REFUSED(r.width = 1000001, "1000001");
    REFUSED(r.width = 100, "multiple of 8");
    REFUSED(r.height = 0, "height");
    REFUSED(r.steps = 0, "steps");
    REFUSED(r.steps = 100000, "steps");
    REFUSED(r.count = 0, "count");
    REFUSED(r.guidance = NAN, "guidance");
    REFUSED(r.guidance_rescale = 2, "rescale");
    REFUSED(r.sampler = "dpm++ 9m", "sampler");
    REFUSED(r.schedule = "never", "schedule");
    REFUSED(r.noise = "loud", "noise");
#undef REFUSED
}

static void models_that_cannot_be_opened_say_why(void **state) {
    (void)state;
    const char *const paths[] = {"", "/nonexistent.safetensors", TT_SOURCE_DIR,
                                 TT_SOURCE_DIR "/README.md",
                                 TT_SOURCE_DIR "/models/tintype-old-photo.safetensors"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        tt_engine *e = (tt_engine *)1;
        tt_engine_options options;
        tt_engine_options_defaults(&options);
        options.model_path = paths[i];
        assert_int_not_equal(tt_engine_open(&options, &e, &err), TT_OK);
        assert_null(e);
        assert_true(strlen(err.message) > 10);
    }
    tt_engine *e;
    tt_engine_options options;
    tt_engine_options_defaults(&options);
    options.model_path = MODEL;
    options.prediction = "noise";
    assert_int_equal(tt_engine_open(&options, &e, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "v_prediction"));
}

/* ---- predictions ------------------------------------------------------------------------------------ */

/* What the model was trained for is a fact that the caller may overrule. */
static void the_prediction_may_be_named(void **state) {
    (void)state;
    static const char *const names[] = {"epsilon", "v_prediction", "edm"};
    for (int i = 0; i < 3; i++) {
        tt_engine *e;
        tt_result result;
        tt_engine_options options;
        tt_engine_options_defaults(&options);
        options.model_path = MODEL;
        options.precision = TT_PRECISION_F32;
        options.n_threads = 1;
        options.prediction = names[i];
        ok(tt_engine_open(&options, &e, &err));
        assert_string_equal(tt_engine_get_info(e)->prediction, names[i]);
        tt_request r = tiny_request(STEPS);
        ok(tt_engine_generate(e, &r, &result, &err));
        assert_string_equal(result.prediction, names[i]);
        tt_result_release(&result);
        tt_engine_close(e);
    }
}

static void what_cannot_be_opened_beside_a_model_says_why(void **state) {
    (void)state;
    tt_engine *e;
    tt_engine_options options;
    tt_engine_options_defaults(&options);
    options.model_path = MODEL;
    options.n_threads = 1;
    options.preview_decoder_path = MODEL;
    assert_int_equal(tt_engine_open(&options, &e, &err), TT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "tiny decoder"));
    assert_null(e);
}

/* ---- lost memory ------------------------------------------------------------------------------------ */

/* Every allocation of a request fails once: an error each time, and the next request is as good as new. */
static void failed_allocations_cost_one_request_only(void **state) {
    (void)state;
    tt_result whole, result;
    tt_request r = tiny_request(STEPS);
    r.steps = 1;
    r.count = 2;
    ok(tt_engine_generate(engine, &r, &whole, &err));
    bool finished = false;
    for (int n = 0; !finished; n++) {
        tt_alloc_fail_after(n);
        tt_status status = tt_engine_generate(engine, &r, &result, &err);
        tt_alloc_fail_after(-1);
        finished = status == TT_OK;
        if (!finished) assert_int_equal(status, TT_E_NOMEM);
        if (!finished) assert_null(result.pictures);
    }
    assert_memory_equal(result.pictures[1].rgb, whole.pictures[1].rgb, SIDE * SIDE * 3);
    tt_result_release(&result);
    tt_result_release(&whole);
}

/* Opening has some thousand allocations, many on several threads: a sample of them. */
static void failed_allocations_while_opening_leave_nothing(void **state) {
    (void)state;
    for (int n = 0; n < 4000; n += 1 + n / 4) {
        tt_engine *e = NULL;
        tt_engine_options options;
        tt_engine_options_defaults(&options);
        options.model_path = MODEL;
        options.precision = TT_PRECISION_F32;
        options.n_threads = 1; /* the countdown is for one thread */
        tt_alloc_fail_after(n);
        tt_status status = tt_engine_open(&options, &e, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_null(e);
        tt_engine_close(e);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_model),
        cmocka_unit_test(progress_counts_every_step_of_every_picture),
        cmocka_unit_test(cancel_ends_between_steps_and_the_engine_goes_on),
        cmocka_unit_test(the_preview_resembles_the_picture),
        cmocka_unit_test(odd_latent_sizes_make_pictures),
        cmocka_unit_test(tokens_beyond_the_window_are_counted),
        cmocka_unit_test(an_absent_negative_prompt_is_not_an_empty_one),
        cmocka_unit_test(memory_is_planned_and_reported),
        cmocka_unit_test(bad_requests_get_one_sentence),
        cmocka_unit_test(models_that_cannot_be_opened_say_why),
        cmocka_unit_test(the_prediction_may_be_named),
        cmocka_unit_test(what_cannot_be_opened_beside_a_model_says_why),
        cmocka_unit_test(failed_allocations_cost_one_request_only),
        cmocka_unit_test(failed_allocations_while_opening_leave_nothing),
    };
    return cmocka_run_group_tests(tests, open_engine, end);
}
