/* A job's answer, written from a snapshot: members, order, and memory that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/answer.h"
#include "base/alloc.h"
#include "base/json.h"

static tt_blob *blob_of(const char *text) {
    tt_blob *b;
    assert_int_equal(tt_blob_new(text, strlen(text), &b, NULL), TT_OK);
    return b;
}

static void expect_answer(const tt_job_view *view, const char *expected) {
    tt_blob *pieces[TT__ANSWER_PIECES];
    tt_buf b;
    json_object *o;
    int n;
    tt_buf_init(&b, 4096);
    assert_int_equal(tt__answer_write(view, pieces, &n, NULL), TT_OK);
    for (int i = 0; i < n; i++) {
        tt_buf_append(&b, pieces[i]->data, pieces[i]->size, NULL);
        tt_blob_release(pieces[i]);
    }
    assert_string_equal(b.data, expected);
    assert_int_equal(tt_json_parse(b.data, b.size, &o, NULL), TT_OK);
    json_object_put(o);
    tt_buf_release(&b);
}

static void members_come_when_there_is_something_to_say(void **state) {
    (void)state;
    tt_job_view v = {.id = "a-u1", .state = TT_JOB_IN_QUEUE, .delay_ms = 7};
    expect_answer(&v,
                  "{\"id\": \"a-u1\", \"status\": \"IN_QUEUE\", \"delayTime\": 7, \"retries\": 0}");
    v.state = TT_JOB_IN_PROGRESS;
    v.attempt = 2;
    v.retries = 1;
    v.execution_ms = 1234567890123;
    snprintf(v.worker_id, sizeof v.worker_id, "w\"1");
    v.progress = blob_of("{\"step\": 1}");
    v.output = blob_of("9");
    expect_answer(
        &v, "{\"id\": \"a-u1\", \"status\": \"IN_PROGRESS\", \"delayTime\": 7, \"executionTime\": "
            "1234567890123, \"retries\": 1, \"workerId\": \"w\\\"1\", \"output\": {\"step\": 1}}");
    v.state = TT_JOB_COMPLETED;
    expect_answer(
        &v, "{\"id\": \"a-u1\", \"status\": \"COMPLETED\", \"delayTime\": 7, \"executionTime\": "
            "1234567890123, \"retries\": 1, \"workerId\": \"w\\\"1\", \"output\": 9}");
    v.state = TT_JOB_FAILED;
    v.error = blob_of("\"no\"");
    v.worker_id[0] = (char)0xff; /* not text: left out */
    expect_answer(&v,
                  "{\"id\": \"a-u1\", \"status\": \"FAILED\", \"delayTime\": 7, \"executionTime\": "
                  "1234567890123, \"retries\": 1, \"output\": 9, \"error\": \"no\"}");
    tt_blob_release(v.progress);
    tt_blob_release(v.output);
    tt_blob_release(v.error);
}

static void a_null_error_is_none(void **state) {
    (void)state;
    tt_job_view v = {.id = "a", .state = TT_JOB_COMPLETED, .error = blob_of(" null ")};
    expect_answer(&v,
                  "{\"id\": \"a\", \"status\": \"COMPLETED\", \"delayTime\": 0, \"retries\": 0}");
    tt_blob_release(v.error);
}

static void a_failed_allocation_leaves_no_holds(void **state) {
    (void)state;
    tt_job_view v = {
        .id = "a", .state = TT_JOB_FAILED, .output = blob_of("1"), .error = blob_of("[1]")};
    tt_blob *pieces[TT__ANSWER_PIECES];
    int n = 0, nth = 0;
    for (tt_status status = TT_E_NOMEM; status != TT_OK; nth++) {
        tt_alloc_fail_after(nth);
        status = tt__answer_write(&v, pieces, &n, NULL);
        tt_alloc_fail_after(-1);
        assert_int_equal(atomic_load(&v.output->holders), status == TT_OK ? 2 : 1);
    }
    assert_true(nth > 4);
    for (int i = 0; i < n; i++) tt_blob_release(pieces[i]);
    tt_blob_release(v.output);
    tt_blob_release(v.error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_when_there_is_something_to_say),
        cmocka_unit_test(a_null_error_is_none),
        cmocka_unit_test(a_failed_allocation_leaves_no_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
