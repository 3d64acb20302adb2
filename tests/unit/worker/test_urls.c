/* URLs as the reference SDK builds them: expected texts are the recorded ones of runpod.md Appendix A1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "worker/urls.h"

static tt_environment recorded(void) {
    return (tt_environment){
        .get_job_url = "http://h/v2/ep1/job-take/$ID?gpu=NVIDIA+H200",
        .post_output_url = "http://h/v2/ep1/job-done/$RUNPOD_POD_ID/$ID?gpu=NVIDIA+H200",
        .post_stream_url = "http://h/v2/ep1/job-stream/$RUNPOD_POD_ID/$ID?gpu=NVIDIA+H200",
        .ping_url = "http://h/v2/ep1/ping/$RUNPOD_POD_ID?gpu=NVIDIA+H200",
        .worker_id = "pod123",
    };
}

static void init(tt_urls *u, const tt_environment *e) {
    tt_err err;
    if (tt_urls_init(u, e, &err) != TT_OK) fail_msg("%s", err.message);
}

/* Appends with `call` into b and compares; b is released. */
#define ASSERT_URL(call, expected)               \
    do {                                         \
        tt_buf b;                                \
        tt_err err;                              \
        tt_buf_init(&b, 1 << 20);                \
        assert_int_equal((call), TT_OK);         \
        assert_string_equal(b.data, (expected)); \
        tt_buf_release(&b);                      \
    } while (0)

static void urls_are_the_recorded_ones(void **state) {
    (void)state;
    tt_environment e = recorded();
    tt_urls u;
    init(&u, &e);
    ASSERT_URL(tt_urls_take(&u, 1, false, &b, &err),
               "http://h/v2/ep1/job-take/pod123?gpu=NVIDIA+H200&job_in_progress=0");
    ASSERT_URL(
        tt_urls_take(&u, 3, true, &b, &err),
        "http://h/v2/ep1/job-take-batch/pod123?gpu=NVIDIA+H200&batch_size=3&job_in_progress=1");
    assert_string_equal(u.stop, "http://h/v2/ep1/job-stop/pod123?gpu=NVIDIA+H200");
    ASSERT_URL(tt_urls_done(&u, NULL, "job-1-u1", false, &b, &err),
               "http://h/v2/ep1/job-done/pod123/job-1-u1?gpu=NVIDIA+H200&isStream=false");
    ASSERT_URL(tt_urls_done(&u, "before", "job-1-u1", true, &b, &err),
               "http://h/v2/ep1/job-done/before/job-1-u1?gpu=NVIDIA+H200&isStream=true");
    ASSERT_URL(tt_urls_stream(&u, "job-1-u1", &b, &err),
               "http://h/v2/ep1/job-stream/pod123/job-1-u1?gpu=NVIDIA+H200&isStream=false");
    ASSERT_URL(tt_urls_ping(&u, "", &b, &err),
               "http://h/v2/ep1/ping/pod123?gpu=NVIDIA+H200&runpod_version=1.12.0");
    ASSERT_URL(tt_urls_ping(&u, "c2-u1,c1-u1", &b, &err),
               "http://h/v2/ep1/ping/"
               "pod123?gpu=NVIDIA+H200&job_id=c2-u1%2Cc1-u1&runpod_version=1.12.0");
    ASSERT_URL(tt_urls_unhealthy(&u, "_memory_check", "RuntimeError: a&b", &b, &err),
               "http://h/v2/ep1/ping/pod123?gpu=NVIDIA+H200&status=unhealthy&check=_memory_check&"
               "reason=RuntimeError%3A%20a%26b&runpod_version=1.12.0");
    tt_urls_release(&u);
}

static void templates_without_a_query_get_one(void **state) {
    (void)state;
    tt_environment e = recorded();
    e.get_job_url = "http://h/v2/ep1/job-take/$ID";
    e.post_output_url = "http://h/v2/ep1/job-done/$RUNPOD_POD_ID/$ID?"; /* a bare ? is kept */
    e.ping_url = "http://h/ping/$RUNPOD_POD_ID?";
    tt_urls u;
    init(&u, &e);
    ASSERT_URL(tt_urls_take(&u, 1, true, &b, &err),
               "http://h/v2/ep1/job-take/pod123?job_in_progress=1");
    ASSERT_URL(tt_urls_done(&u, NULL, "j", false, &b, &err),
               "http://h/v2/ep1/job-done/pod123/j?&isStream=false");
    ASSERT_URL(tt_urls_ping(&u, "j", &b, &err),
               "http://h/ping/pod123?job_id=j&runpod_version=1.12.0");
    tt_urls_release(&u);
}

static void what_people_write_is_understood(void **state) {
    (void)state;
    tt_environment e = recorded();
    e.get_job_url = "http://h/v2/ep1/job-take/$RUNPOD_POD_ID?x=1"; /* the SDK's own .env_example */
    e.post_stream_url = "";                                        /* derived */
    e.worker_id = "pod$ID";                                        /* not replaced twice */
    tt_urls u;
    init(&u, &e);
    assert_string_equal(u.take, "http://h/v2/ep1/job-take/pod$ID?x=1");
    ASSERT_URL(tt_urls_stream(&u, "j", &b, &err),
               "http://h/v2/ep1/job-stream/pod$ID/j?gpu=NVIDIA+H200&isStream=false");
    tt_urls_release(&u);
}

static void without_job_take_there_is_no_stop_channel_and_no_batch_url(void **state) {
    (void)state;
    tt_environment e = recorded();
    e.get_job_url = "http://h/jobs/$ID?x";
    e.ping_url = "";
    tt_urls u;
    init(&u, &e);
    assert_null(u.stop);
    assert_null(u.ping);
    ASSERT_URL(tt_urls_take(&u, 2, false, &b, &err),
               "http://h/jobs/pod123?x&batch_size=2&job_in_progress=0");
    tt_urls_release(&u);
}

static void what_is_missing_or_no_url_is_named(void **state) {
    (void)state;
    tt_environment e = recorded();
    tt_urls u;
    tt_err err;
    e.get_job_url = "";
    assert_int_equal(tt_urls_init(&u, &e, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "RUNPOD_WEBHOOK_GET_JOB"));
    tt_urls_release(&u);
    e = recorded();
    e.post_output_url = "";
    assert_int_equal(tt_urls_init(&u, &e, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "RUNPOD_WEBHOOK_POST_OUTPUT"));
    tt_urls_release(&u);
    e = recorded();
    e.post_output_url = "http://user:pass@h/$ID";
    assert_int_not_equal(tt_urls_init(&u, &e, &err), TT_OK);
    assert_non_null(strstr(err.message, "RUNPOD_WEBHOOK_POST_OUTPUT"));
    tt_urls_release(&u);
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    tt_environment e = recorded();
    tt_urls u;
    tt_err err;
    for (int n = 0;; n++) {
        tt_alloc_fail_after(n);
        tt_status status = tt_urls_init(&u, &e, &err);
        tt_alloc_fail_after(-1);
        tt_urls_release(&u);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_true(n < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_the_recorded_ones),
        cmocka_unit_test(templates_without_a_query_get_one),
        cmocka_unit_test(what_people_write_is_understood),
        cmocka_unit_test(without_job_take_there_is_no_stop_channel_and_no_batch_url),
        cmocka_unit_test(what_is_missing_or_no_url_is_named),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
