/* The platform source without a platform: what can be seen before the first request. The rest is seen from outside, over HTTP
 * and real processes: tests/e2e/platform. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "worker/platform.h"

static tt_environment environment(void) {
    return (tt_environment){.get_job_url = "http://127.0.0.1:9/v2/ep1/job-take/$ID?x",
                            .post_output_url =
                                "http://127.0.0.1:9/v2/ep1/job-done/$RUNPOD_POD_ID/$ID?x",
                            .post_stream_url = "",
                            .ping_url = "",
                            .api_key = "k",
                            .worker_id = "w",
                            .user_agent = "u",
                            .spool_folder = "",
                            .bucket_url = "",
                            .bucket_name = "",
                            .ping_interval_ms = 1000,
                            .retry_base_ms = 1,
                            .poll_timeout_ms = 1000,
                            .delivery_patience_ms = 1000};
}

static void a_platform_that_is_never_started_asks_for_nothing(void **state) {
    (void)state;
    tt_environment e = environment();
    tt_platform *p;
    tt_loop *loop;
    tt_err err;
    assert_int_equal(tt_loop_new(&loop, &err), TT_OK);
    const tt_platform_options options = {.loop = loop, .environment = &e};
    assert_int_equal(tt_platform_new(&options, &p, &err), TT_OK);
    tt_source *source = tt_platform_source(p);
    source->slots(source, 3, 0);
    source->finish(source, 77, &(tt_final){.is_stream = false}, false); /* of no job */
    tt_platform_free(p);
    tt_platform_free(NULL);
    tt_loop_free(loop);
}

static void note_sent(void *context) {
    ++*(int *)context;
}

static void chunks_of_no_job_are_given_back(void **state) {
    (void)state;
    tt_environment e = environment();
    tt_platform *p;
    tt_loop *loop;
    tt_err err;
    int n = 0;
    assert_int_equal(tt_loop_new(&loop, &err), TT_OK);
    assert_int_equal(
        tt_platform_new(&(tt_platform_options){.loop = loop, .environment = &e}, &p, &err), TT_OK);
    tt_source *source = tt_platform_source(p);
    source->stream(source, 77, NULL, note_sent, &n);
    assert_int_equal(n, 1);
    tt_platform_free(p);
    tt_loop_free(loop);
}

static void what_is_missing_is_named(void **state) {
    (void)state;
    tt_environment e = environment();
    tt_platform *p;
    tt_err err;
    e.post_output_url = "";
    assert_int_equal(tt_platform_new(&(tt_platform_options){.environment = &e}, &p, &err),
                     TT_E_INVALID);
    assert_null(p);
    assert_non_null(strstr(err.message, "RUNPOD_WEBHOOK_POST_OUTPUT"));
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    tt_environment e = environment();
    tt_loop *loop;
    assert_int_equal(tt_loop_new(&loop, NULL), TT_OK);
    const tt_platform_options options = {.loop = loop, .environment = &e};
    for (int n = 0;; n++) {
        tt_platform *p;
        tt_alloc_fail_after(n);
        tt_status status = tt_platform_new(&options, &p, NULL);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) {
            tt_platform_free(p);
            break;
        }
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(p);
        assert_true(n < 100);
    }
    tt_loop_free(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_platform_that_is_never_started_asks_for_nothing),
        cmocka_unit_test(chunks_of_no_job_are_given_back),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
