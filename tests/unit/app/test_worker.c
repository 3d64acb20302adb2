/* The worker's life around its jobs: opening, checks, progress, cancel, log lines, metrics. The engine and the SDK are
 * stand-ins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "app/worker.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "image/image.h"
#include "support/json_tree.h"
#include "unit/app/fake_engine.h"
#include "unit/app/fake_sdk.h"

#define JOB \
    "{\"id\": \"job-1\", \"input\": {\"prompt\": \"a secret boat\", \"steps\": 4, \"seed\": 1}}"

typedef struct stage {
    tt_settings settings;
    tt_app_worker *worker;
    const tt_worker_config *config;
    FILE *log_file;
    tt_log log;
    tt_reply reply;
} stage;

static void set_up(stage *s, const char *model_path) {
    fake_engine_to_open = (tt_engine){.info = FAKE_INFO, .prompt_tokens = 5};
    *s = (stage){.log_file = tmpfile()};
    s->log = (tt_log){.level = TT_LOG_INFO, .fd = fileno(s->log_file)};
    assert_int_equal(tt_settings_init(&s->settings, NULL), TT_OK);
    const tt_app_worker_options options = {
        .settings = &s->settings, .engine = {.model_path = model_path}, .log = &s->log};
    assert_int_equal(tt_app_worker_new(&options, &s->worker, NULL), TT_OK);
    s->config = tt_app_worker_config(s->worker);
}

static void open_model(stage *s) {
    assert_int_equal(s->config->start(s->config->context, NULL), TT_OK);
}

static void handle(stage *s, tt_job *job) {
    fake_reply_release(&s->reply);
    s->config->handler(job, &s->reply, s->config->context);
}

static void tear_down(stage *s) {
    s->config->stop(s->config->context);
    fake_reply_release(&s->reply);
    tt_app_worker_free(s->worker);
    tt_settings_release(&s->settings);
    fclose(s->log_file);
}

static tt_buf log_text(const stage *s) {
    char path[64];
    tt_buf text;
    tt_buf_init(&text, TT_MIB);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(s->log_file));
    assert_int_equal(tt_file_read(path, &text, NULL), TT_OK);
    assert_int_equal(tt_buf_puts(&text, "", NULL), TT_OK);
    return text;
}

static void assert_progress(const char *text, const char *stage_name, int step, int picture) {
    json_object *tree = json_tree(text);
    assert_string_equal(json_object_get_string(member(tree, "stage")), stage_name);
    assert_int_equal(json_object_get_int(member(tree, "step")), step);
    assert_int_equal(json_object_get_int(member(tree, "picture")), picture);
    assert_true(json_object_get_int(member(tree, "elapsed_ms")) >= 0);
    member(tree, "eta_ms");
    json_object_put(tree);
}

/* ---- jobs ---- */

static void every_stage_and_step_is_told_in_order(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = JOB});
    static const struct {
        const char *stage;
        int step;
    } expected[] = {{"text", 0},    {"denoise", 0}, {"denoise", 1}, {"denoise", 2},
                    {"denoise", 3}, {"vae", 4},     {"encode", 4}};
    assert_int_equal(s.reply.n_progress, 7);
    for (int i = 0; i < 7; i++)
        assert_progress(s.reply.progress[i], expected[i].stage, expected[i].step, 0);
    tear_down(&s);
}

static void the_time_left_shrinks_with_the_steps(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = JOB});
    json_object *first = json_tree(s.reply.progress[1]), *third = json_tree(s.reply.progress[4]);
    assert_null(member(first, "eta_ms"));
    assert_int_equal(json_object_get_int(member(third, "eta_ms")), 10); /* one step of 10 ms */
    json_object_put(first);
    json_object_put(third);
    handle(&s, &(tt_job){.text = JOB}); /* now it knows that the VAE takes 20 ms */
    third = json_tree(s.reply.progress[4]);
    assert_int_equal(json_object_get_int(member(third, "eta_ms")), 30);
    json_object_put(third);
    tear_down(&s);
}

static void several_pictures_are_counted_from_0(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = "{\"input\": {\"prompt\": \"a\", \"steps\": 1, \"count\": 2}}"});
    assert_int_equal(s.reply.n_progress, 6);
    assert_progress(s.reply.progress[2], "vae", 1, 0);
    assert_progress(s.reply.progress[3], "denoise", 0, 1);
    assert_progress(s.reply.progress[4], "vae", 1, 1);
    tear_down(&s);
}

static void only_local_jobs_get_previews(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = JOB});
    for (int i = 0; i < s.reply.n_progress; i++)
        assert_null(strstr(s.reply.progress[i], "preview"));
    handle(&s, &(tt_job){.text = JOB, .is_local = true});
    json_object *vae = json_tree(s.reply.progress[5]);
    const char *uri = json_object_get_string(member(vae, "preview"));
    static const char jpeg[] = "data:image/jpeg;base64,/9j/"; /* FF D8 FF */
    assert_memory_equal(uri, jpeg, sizeof jpeg - 1);
    json_object_put(vae);
    tear_down(&s);
}

static void a_cancelled_job_stops_within_a_step(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = JOB, .cancel_after = 3});
    assert_null(s.reply.output);
    assert_int_equal(fake_engine_to_open.steps_reported, 2);
    handle(&s, &(tt_job){.text = JOB}); /* and the next one works */
    assert_non_null(s.reply.output);
    tear_down(&s);
}

static void pictures_leave_in_pieces(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = "{\"input\": {\"prompt\": \"a\", \"width\": 512, \"height\": 512, "
                                 "\"format\": \"jpeg\", \"quality\": 100}}"});
    assert_true(s.reply.size > 100 * 1024);
    assert_true(s.reply.largest_piece <= 48 * 1024);
    json_object_put(json_tree(s.reply.output));
    tear_down(&s);
}

static void lost_memory_is_an_error_and_the_worker_lives(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    fake_engine_to_open.failure = TT_E_NOMEM;
    handle(&s, &(tt_job){.text = JOB});
    assert_string_equal(s.reply.error, "the fake engine was told to fail");
    fake_engine_to_open.failure = TT_OK;
    handle(&s, &(tt_job){.text = JOB});
    assert_null(s.reply.error);
    tear_down(&s);
}

static void a_jobs_own_field_beats_the_environment(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    tt_settings_set_text(&s.settings, TT_OPT_STEPS, TT_FROM_ENVIRONMENT, "TINTYPE_STEPS", "9",
                         NULL);
    handle(&s, &(tt_job){.text = "{\"input\": {\"prompt\": \"a\"}}"});
    assert_non_null(strstr(s.reply.output, "\"steps\": 9"));
    handle(&s, &(tt_job){.text = JOB});
    assert_non_null(strstr(s.reply.output, "\"steps\": 4"));
    tear_down(&s);
}

static void no_prompt_is_logged(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = JOB});
    handle(&s, &(tt_job){.text = "{\"input\": {\"prompt\": \"a secret boat\", \"steps\": \"x\"}}"});
    fake_engine_to_open.failure = TT_E_INTERNAL;
    handle(&s, &(tt_job){.text = JOB});
    tt_buf text = log_text(&s);
    assert_null(strstr(text.data, "secret"));
    assert_non_null(strstr(text.data, "job-1 | engine | pictures=1 size=256x192 steps=4"));
    assert_non_null(strstr(text.data, "job-1 | engine | the fake engine was told to fail"));
    tt_buf_release(&text);
    tear_down(&s);
}

/* ---- opening and checks ---- */

static void a_model_that_does_not_open_is_named_without_its_folder(void **state) {
    (void)state;
    stage s;
    tt_err err;
    set_up(&s, "/volume/private/model.safetensors");
    snprintf(fake_engine_to_open.open_failure, sizeof fake_engine_to_open.open_failure, "%s",
             "/volume/private/model.safetensors: header is longer than the file");
    assert_int_equal(s.config->start(s.config->context, &err), TT_E_FORMAT);
    assert_string_equal(err.message, "model.safetensors: header is longer than the file");
    tt_buf text = log_text(&s); /* the operator sees all of it */
    assert_non_null(strstr(text.data, "/volume/private/model.safetensors"));
    tt_buf_release(&text);
    handle(&s, &(tt_job){.text = JOB});
    assert_string_equal(s.reply.error, "no model is open");
    tear_down(&s);
}

static tt_status check(const stage *s, const char *name, tt_err *err) {
    for (int i = 0; i < s->config->n_checks; i++)
        if (strcmp(s->config->checks[i].name, name) == 0)
            return s->config->checks[i].check(s->config->context, err);
    fail_msg("no check %s", name);
    return TT_OK;
}

static void a_model_whose_file_is_gone_is_unfit(void **state) {
    (void)state;
    stage s;
    tt_err err;
    set_up(&s, "/no/such/folder/model.safetensors");
    assert_int_equal(check(&s, "model", &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "cannot open model.safetensors: No such file or directory");
    tear_down(&s);
}

static void a_model_that_can_be_read_is_fit(void **state) {
    (void)state;
    stage s;
    tt_err err;
    set_up(&s, TT_SOURCE_DIR "/CMakeLists.txt"); /* any file will do */
    open_model(&s);
    assert_int_equal(check(&s, "model", &err), TT_OK);
    assert_int_equal(check(&s, "render", &err), TT_OK);
    tt_buf text = log_text(&s);
    assert_non_null(strstr(text.data, "a test picture took"));
    tt_buf_release(&text);
    tear_down(&s);
}

static void a_model_that_draws_one_colour_is_unfit(void **state) {
    (void)state;
    stage s;
    tt_err err;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    fake_engine_to_open.is_blank = true;
    assert_int_equal(check(&s, "render", &err), TT_E_FORMAT);
    assert_non_null(strstr(err.message, "one colour"));
    tear_down(&s);
}

static void the_schema_is_the_one_that_is_printed(void **state) {
    (void)state;
    stage s;
    set_up(&s, "fake.safetensors");
    json_object *schema = json_tree(s.config->input_schema);
    json_object *input = member(member(schema, "properties"), "input");
    assert_non_null(member(member(input, "properties"), "prompt"));
    json_object_put(schema);
    assert_int_equal(s.config->concurrency, 1);
    tear_down(&s);
}

/* ---- metrics ---- */

static void metrics_count_phases_pictures_and_outcomes(void **state) {
    (void)state;
    static char text[16 * 1024];
    stage s;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    handle(&s, &(tt_job){.text = "{\"input\": {\"prompt\": \"a\", \"steps\": 3, \"count\": 2}}"});
    handle(&s, &(tt_job){.text = "{\"input\": {}}"});
    handle(&s, &(tt_job){.text = JOB, .is_cancelled = true});
    size_t size = s.config->metrics(s.config->context, text, sizeof text);
    assert_int_equal(size, strlen(text));
    static const char *const lines[] = {
        "tintype_engine_pictures_total 2\n",
        "tintype_engine_steps_total 6\n",
        "tintype_engine_jobs_total{outcome=\"done\"} 1\n",
        "tintype_engine_jobs_total{outcome=\"invalid\"} 1\n",
        "tintype_engine_jobs_total{outcome=\"failed\"} 0\n",
        "tintype_engine_jobs_total{outcome=\"cancelled\"} 1\n",
        "tintype_engine_phase_seconds_bucket{phase=\"denoise\",le=\"0.25\"} 0\n",
        "tintype_engine_phase_seconds_bucket{phase=\"denoise\",le=\"0.5\"} 1\n",
        "tintype_engine_phase_seconds_bucket{phase=\"denoise\",le=\"+Inf\"} 1\n",
        "tintype_engine_phase_seconds_sum{phase=\"denoise\"} 0.500000\n",
        "tintype_engine_phase_seconds_count{phase=\"vae\"} 1\n",
        "tintype_engine_load_seconds 0.012500\n",
        "tintype_engine_peak_memory_bytes 123456789\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i])) fail_msg("no line %s", lines[i]);
    tear_down(&s);
}

static void *read_metrics(void *context) {
    enum { READS = 200 };
    static char text[16 * 1024];
    const stage *s = context;
    for (int i = 0; i < READS; i++) s->config->metrics(s->config->context, text, sizeof text);
    return NULL;
}

static void metrics_are_read_while_jobs_run(void **state) {
    (void)state;
    stage s;
    pthread_t reader;
    set_up(&s, "fake.safetensors");
    open_model(&s);
    assert_int_equal(pthread_create(&reader, NULL, read_metrics, &s), 0);
    for (int i = 0; i < 20; i++) handle(&s, &(tt_job){.text = JOB});
    pthread_join(reader, NULL);
    tear_down(&s);
}

static void metrics_that_do_not_fit_are_left_out_whole(void **state) {
    (void)state;
    char text[64] = "x";
    stage s;
    set_up(&s, "fake.safetensors");
    assert_int_equal(s.config->metrics(s.config->context, text, sizeof text), 0);
    assert_string_equal(text, "");
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stage_and_step_is_told_in_order),
        cmocka_unit_test(the_time_left_shrinks_with_the_steps),
        cmocka_unit_test(several_pictures_are_counted_from_0),
        cmocka_unit_test(only_local_jobs_get_previews),
        cmocka_unit_test(a_cancelled_job_stops_within_a_step),
        cmocka_unit_test(pictures_leave_in_pieces),
        cmocka_unit_test(lost_memory_is_an_error_and_the_worker_lives),
        cmocka_unit_test(a_jobs_own_field_beats_the_environment),
        cmocka_unit_test(no_prompt_is_logged),
        cmocka_unit_test(a_model_that_does_not_open_is_named_without_its_folder),
        cmocka_unit_test(a_model_whose_file_is_gone_is_unfit),
        cmocka_unit_test(a_model_that_can_be_read_is_fit),
        cmocka_unit_test(a_model_that_draws_one_colour_is_unfit),
        cmocka_unit_test(the_schema_is_the_one_that_is_printed),
        cmocka_unit_test(metrics_count_phases_pictures_and_outcomes),
        cmocka_unit_test(metrics_are_read_while_jobs_run),
        cmocka_unit_test(metrics_that_do_not_fit_are_left_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
