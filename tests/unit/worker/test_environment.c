/* What the surroundings say: RunPod's variables and what people make of them (runpod.md 1.1, 10). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "worker/environment.h"

typedef struct pair {
    const char *name, *value;
} pair;

static const char *look_up(void *context, const char *name) {
    for (const pair *p = context; p->name; p++)
        if (strcmp(p->name, name) == 0) return p->value;
    return NULL;
}

#define READ(e, err, ...) \
    tt_environment_read(look_up, (pair[]){__VA_ARGS__{NULL, NULL}}, (e), (err))

static void nothing_set_is_a_worker_without_a_platform(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    assert_int_equal(READ(&e, &err, ), TT_OK);
    assert_string_equal(e.get_job_url, "");
    assert_string_equal(e.ping_url, "");
    assert_string_equal(e.api_key, "");
    assert_string_equal(e.hostname, "unknown");
    assert_int_equal(strlen(e.worker_id), 36); /* a random UUID */
    assert_false(e.has_pod_id);
    assert_false(e.logs_json);
    assert_int_equal(e.log_level, TT_LOG_INFO);
    assert_int_equal(e.ping_interval_ms, 10000);
    assert_int_equal(e.delivery_patience_ms, 600000);
    assert_non_null(strstr(e.spool_folder, "/tmp/tintype-spool-"));
    assert_true(e.min_memory_gb == 4.0 && e.min_disk_percent == 10.0);
    assert_non_null(strstr(e.user_agent, "Tintype/" TT_VERSION " (Linux "));
    assert_non_null(strstr(e.user_agent, "RunPod-compatible"));
    tt_environment_release(&e);
}

static void the_platforms_variables_are_read(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    assert_int_equal(
        READ(&e, &err, {"RUNPOD_WEBHOOK_GET_JOB", "https://h/v2/ep/job-take/$ID?gpu=A+B"},
             {"RUNPOD_WEBHOOK_POST_OUTPUT", "https://h/v2/ep/job-done/$RUNPOD_POD_ID/$ID?gpu=A"},
             {"RUNPOD_WEBHOOK_POST_STREAM", "https://h/v2/ep/job-stream/$RUNPOD_POD_ID/$ID?"},
             {"RUNPOD_WEBHOOK_PING", "https://h/v2/ep/ping/$RUNPOD_POD_ID"},
             {"RUNPOD_AI_API_KEY", " key \n"}, {"RUNPOD_POD_ID", "pod123"},
             {"HOSTNAME", "elsewhere"}, {"RUNPOD_POD_HOSTNAME", "pod123-64410a0b"},
             {"RUNPOD_ENDPOINT_ID", "ep"}, {"RUNPOD_PING_INTERVAL", "2000"},
             {"RUNPOD_UA_INTEGRATION", "x"}, ),
        TT_OK);
    assert_string_equal(e.get_job_url, "https://h/v2/ep/job-take/$ID?gpu=A+B");
    assert_string_equal(e.api_key, "key"); /* a pasted line end would break the header */
    assert_string_equal(e.worker_id, "pod123");
    assert_true(e.has_pod_id);
    assert_true(e.logs_json);
    assert_int_equal(e.ping_interval_ms, 2000);
    assert_non_null(strstr(e.user_agent, " Integration/x"));
    tt_environment_release(&e);
}

static void odd_values_are_taken_as_meant(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    assert_int_equal(READ(&e, &err, {"HOSTNAME", "box"}, {"RUNPOD_PING_INTERVAL", "500"},
                          {"RUNPOD_WEBHOOK_JOB_STREAM", "http://h/stream"},
                          {"RUNPOD_WEBHOOK_PING", "PING_NOT_SET"},
                          {"RUNPOD_WEBHOOK_POST_OUTPUT", "JOB_DONE_URL"},
                          {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "True"},
                          {"TINTYPE_SPOOL_FOLDER", "off"}, ),
                     TT_OK);
    assert_string_equal(e.worker_id, "box");
    assert_int_equal(e.ping_interval_ms, 1000); /* the reference would spin */
    assert_string_equal(e.post_stream_url, "http://h/stream");
    assert_string_equal(e.ping_url, "");
    assert_string_equal(e.post_output_url, "");
    assert_string_equal(e.spool_folder, "");
    assert_true(e.skips_system_checks);
    tt_environment_release(&e);
}

static void log_levels_have_two_names(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    assert_int_equal(
        READ(&e, &err, {"RUNPOD_LOG_LEVEL", "warn"}, {"RUNPOD_DEBUG_LEVEL", "TRACE"}, ), TT_OK);
    assert_int_equal(e.log_level, TT_LOG_WARN);
    tt_environment_release(&e);
    assert_int_equal(READ(&e, &err, {"RUNPOD_DEBUG_LEVEL", "TRACE"}, ), TT_OK);
    assert_int_equal(e.log_level, TT_LOG_TRACE);
    tt_environment_release(&e);
    assert_int_equal(READ(&e, &err, {"RUNPOD_LOG_LEVEL", "LOUD"}, ), TT_E_INVALID);
    assert_non_null(strstr(err.message, "RUNPOD_LOG_LEVEL"));
    tt_environment_release(&e);
}

static void storage_needs_all_three(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    assert_int_equal(
        READ(&e, &err, {"BUCKET_ENDPOINT_URL", "https://s3"}, {"BUCKET_ACCESS_KEY_ID", "id"}, ),
        TT_OK);
    assert_string_equal(e.bucket_url, "");
    assert_string_equal(e.bucket_key_id, "");
    tt_environment_release(&e);
    assert_int_equal(READ(&e, &err, {"BUCKET_ENDPOINT_URL", "https://s3"},
                          {"BUCKET_ACCESS_KEY_ID", "id"}, {"BUCKET_SECRET_ACCESS_KEY", "s"}, ),
                     TT_OK);
    assert_string_equal(e.bucket_url, "https://s3");
    assert_string_equal(e.bucket_secret, "s");
    tt_environment_release(&e);
}

/* Each row: a variable and a value nobody can mean; the sentence names the variable. */
static void values_nobody_can_mean_are_refused_by_name(void **state) {
    (void)state;
    static const pair WRONG[] = {
        {"RUNPOD_WEBHOOK_GET_JOB", "job-take"},
        {"RUNPOD_WEBHOOK_PING", "ftp://h/"},
        {"RUNPOD_PING_INTERVAL", "10s"},
        {"RUNPOD_PING_INTERVAL", "-1"},
        {"RUNPOD_PING_INTERVAL", "99999999999999999999"},
        {"RUNPOD_MIN_MEMORY_GB", "nan"},
        {"RUNPOD_MIN_DISK_PERCENT", "101"},
        {"TINTYPE_MAX_OUTPUT_BYTES", "0"},
        {"TINTYPE_DELIVERY_PATIENCE_MS", "ten"},
        {"RUNPOD_AI_API_KEY", "a\r\nX-Evil: 1"},
        {"RUNPOD_POD_ID", "a\tb"},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        tt_environment e;
        tt_err err;
        assert_int_equal(READ(&e, &err, {WRONG[i].name, WRONG[i].value}, ), TT_E_INVALID);
        if (!strstr(err.message, WRONG[i].name)) fail_msg("%s: %s", WRONG[i].name, err.message);
        tt_environment_release(&e);
    }
}

static void a_secret_is_never_in_a_message(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    assert_int_equal(READ(&e, &err, {"RUNPOD_AI_API_KEY", "hush\x01hush"}, ), TT_E_INVALID);
    assert_null(strstr(err.message, "hush"));
    tt_environment_release(&e);
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    tt_environment e;
    tt_err err;
    for (int n = 0;; n++) {
        tt_alloc_fail_after(n);
        tt_status status = READ(&e, &err, {"RUNPOD_POD_ID", "p"}, {"RUNPOD_AI_API_KEY", "k"}, );
        tt_alloc_fail_after(-1);
        tt_environment_release(&e);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_true(n < 200);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_set_is_a_worker_without_a_platform),
        cmocka_unit_test(the_platforms_variables_are_read),
        cmocka_unit_test(odd_values_are_taken_as_meant),
        cmocka_unit_test(log_levels_have_two_names),
        cmocka_unit_test(storage_needs_all_three),
        cmocka_unit_test(values_nobody_can_mean_are_refused_by_name),
        cmocka_unit_test(a_secret_is_never_in_a_message),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
