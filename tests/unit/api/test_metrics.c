/* /metrics in both formats. Prometheus' own linter (promtool, package prometheus) judges where it is installed; the rest follows
 * the OpenMetrics 1.0 specification and the text format 0.0.4. */
#include <spawn.h>
#include <sys/wait.h>

#include "unit/api/world.h"

#include "api/metrics.h"

static const char worker_text[] = "# HELP tintype_engine_pictures Pictures made.\n"
                                  "# TYPE tintype_engine_pictures counter\n"
                                  "tintype_engine_pictures_total 3\n"
                                  "# TYPE tintype_engine info\n"
                                  "# HELP tintype_engine The engine.\n"
                                  "tintype_engine_info{dtype=\"f32\"} 1\n"
                                  "# TYPE tintype_engine_load_seconds gauge\n"
                                  "# UNIT tintype_engine_load_seconds seconds\n"
                                  "# HELP tintype_engine_load_seconds Time to load.\n"
                                  "tintype_engine_load_seconds 1.5\n"
                                  "# EOF\n";

static tt_status write_worker(void *context, tt_buf *out, tt_err *err) {
    (void)context;
    return tt_buf_puts(out, worker_text, err);
}

static tt_status fail_halfway(void *context, tt_buf *out, tt_err *err) {
    (void)context;
    (void)tt_buf_puts(out, "half a line", err);
    return tt_fail(err, TT_E_IO, "the worker is gone");
}

static void live_a_little(world *w) {
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    finish(w, id, claim_attempt(w, id), "1", NULL);
    run_job(w, "{\"input\": 1}", id);
    expect(w, "GET /nothing", NULL, 404, NULL);
    expect(w, "GET /run", NULL, 405, NULL);
    expect(w, "GET /v2/e/status/nobody", NULL, 404, NULL);
}

static void expect_text(const raw_answer *a, const char *part) {
    if (!strstr(a->body.data, part)) fail_msg("no \"%s\" in:\n%s", part, a->body.data);
}

static void openmetrics_is_given_when_asked_for(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "T", .version = "1.2\"3", .metrics = write_worker});
    live_a_little(&w);
    raw_answer a =
        ask_with(&w, "GET /metrics",
                 "Accept: application/openmetrics-text;version=1.0.0,text/plain\r\n", NULL);
    assert_string_equal(raw_header(&a, "Content-Type"),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
    expect_text(&a, "# TYPE tintype_jobs counter\n");
    expect_text(&a, "\ntintype_jobs_total{status=\"completed\"} 1\n");
    expect_text(&a, "\ntintype_queue_jobs{state=\"waiting\"} 1\n");
    expect_text(&a, "\ntintype_job_execution_seconds_bucket{le=\"+Inf\"} 1\n");
    expect_text(&a, "\ntintype_job_execution_seconds_bucket{le=\"1.0\"} 1\n");
    expect_text(&a,
                "\ntintype_http_requests_total{route=\"/run\",method=\"POST\",code=\"200\"} 2\n");
    expect_text(&a,
                "\ntintype_http_requests_total{route=\"/run\",method=\"GET\",code=\"405\"} 1\n");
    expect_text(&a,
                "\ntintype_http_requests_total{route=\"other\",method=\"GET\",code=\"404\"} 1\n");
    expect_text(
        &a,
        "\ntintype_http_requests_total{route=\"/status/{id}\",method=\"GET\",code=\"404\"} 1\n");
    expect_text(&a, "\ntintype_http_request_duration_seconds_count{route=\"/run\"} 3\n");
    expect_text(&a, "\ntintype_workers{state=\"ready\"} 2\n");
    expect_text(&a, "\ntintype_build_info{version=\"1.2\\\"3\"} 1\n");
    expect_text(&a, "\nprocess_resident_memory_bytes ");
    expect_text(&a, "\ntintype_engine_pictures_total 3\n");
    assert_string_equal(a.body.data + a.body.size - 6, "# EOF\n");
    assert_ptr_equal(strstr(a.body.data, "# EOF"), a.body.data + a.body.size - 6); /* one */
    raw_answer_release(&a);
    world_close(&w);
}

static void the_older_format_names_counters_in_full(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 4096);
    assert_int_equal(tt__metrics_to_plain(worker_text, strlen(worker_text), &b, NULL), TT_OK);
    assert_string_equal(b.data, "# HELP tintype_engine_pictures_total Pictures made.\n"
                                "# TYPE tintype_engine_pictures_total counter\n"
                                "tintype_engine_pictures_total 3\n"
                                "# TYPE tintype_engine_info gauge\n"
                                "# HELP tintype_engine_info The engine.\n"
                                "tintype_engine_info{dtype=\"f32\"} 1\n"
                                "# TYPE tintype_engine_load_seconds gauge\n"
                                "# HELP tintype_engine_load_seconds Time to load.\n"
                                "tintype_engine_load_seconds 1.5\n");
    tt_buf_release(&b);
}

static void a_worker_that_fails_costs_only_its_own_lines(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "T", .metrics = fail_halfway});
    raw_answer a = ask(&w, "GET /metrics", NULL);
    assert_int_equal(a.status, 200);
    assert_null(strstr(a.body.data, "half"));
    expect_text(&a, "\ntintype_build_info{version=");
    raw_answer_release(&a);
    world_close(&w);
}

/* What `promtool check metrics` says of a text: its exit status, 0 without parse error and complaint; -1: not installed. */
static int judge_by_promtool(const void *text, size_t size) {
    char *arguments[] = {"promtool", "check", "metrics", NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    rewind(file);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(file), STDIN_FILENO);
    if (posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ) == 0) {
        assert_int_equal(waitpid(child, &status, 0), child);
        status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    posix_spawn_file_actions_destroy(&actions);
    fclose(file);
    return status;
}

static void promtool_has_nothing_to_say(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "T", .metrics = write_worker});
    live_a_little(&w);
    raw_answer a = ask(&w, "GET /metrics", NULL);
    assert_string_equal(raw_header(&a, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    int verdict = judge_by_promtool(a.body.data, a.body.size);
    raw_answer_release(&a);
    world_close(&w);
    if (verdict < 0) skip();
    assert_int_equal(verdict, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openmetrics_is_given_when_asked_for),
        cmocka_unit_test(the_older_format_names_counters_in_full),
        cmocka_unit_test(a_worker_that_fails_costs_only_its_own_lines),
        cmocka_unit_test(promtool_has_nothing_to_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
