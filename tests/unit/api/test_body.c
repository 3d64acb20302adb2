/* The body of /run (runpod.md 4.2): what is taken, what is refused, and that nothing but the id changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/body.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "job/envelope.h"

static tt_status read_body(const char *text, tt__body *body, tt_err *err) {
    *body = (tt__body){.execution_timeout_ms = 1, .ttl_ms = 2};
    return tt__body_read(text, strlen(text), "job-1", body, err);
}

static void the_text_stays_but_for_the_id(void **state) {
    (void)state;
    static const struct {
        const char *sent, *job;
    } cases[] = {
        {"{\"input\":1}", "{\"id\": \"job-1\", \"input\":1}"},
        {" \n{ \"a\" : [ 1.50 ],\t\"input\":{\"x\":\"\\u00e9\"} }\r\n",
         "{\"id\": \"job-1\",  \"a\" : [ 1.50 ],\t\"input\":{\"x\":\"\\u00e9\"} }"},
        {"{\"id\": \"mine\", \"input\": 1}", "{\"id\": \"job-1\", \"input\": 1}"},
        {"{ \"id\" : {\"id\": 2} ,\n \"input\": 1}", "{\"id\": \"job-1\",  \"input\": 1}"},
        {"{\"input\": 1, \"id\": 5 }", "{\"id\": \"job-1\", \"input\": 1 }"},
        {"{\"input\": 1 , \"id\": null, \"b\": 2}", "{\"id\": \"job-1\", \"input\": 1 , \"b\": 2}"},
        {"{\"\\u0069d\": 5, \"input\": {\"id\": 7}}",
         "{\"id\": \"job-1\", \"input\": {\"id\": 7}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt__body body;
        tt_err err;
        tt_envelope envelope;
        if (read_body(cases[i].sent, &body, &err) != TT_OK) fail_msg("%s", err.message);
        assert_string_equal(body.envelope->data, cases[i].job);
        assert_int_equal(
            tt_envelope_parse(body.envelope->data, body.envelope->size, NULL, &envelope, &err),
            TT_OK);
        assert_string_equal(envelope.id, "job-1");
        tt_envelope_release(&envelope);
        tt__body_release(&body);
    }
}

static void policy_and_webhook_are_read(void **state) {
    (void)state;
    tt__body body;
    assert_int_equal(read_body("{\"input\": 1}", &body, NULL), TT_OK);
    assert_int_equal(body.execution_timeout_ms, 1);
    assert_int_equal(body.ttl_ms, 2);
    assert_null(body.webhook);
    tt__body_release(&body);
    assert_int_equal(read_body("{\"policy\": {\"ttl\": 10000, \"executionTimeout\": 604800000, "
                               "\"lowPriority\": true, \"other\": 1}, \"webhook\": "
                               "\"https:\\/\\/example.org\\/x\", \"input\": 1}",
                               &body, NULL),
                     TT_OK);
    assert_int_equal(body.execution_timeout_ms, 604800000);
    assert_int_equal(body.ttl_ms, 10000);
    assert_string_equal(body.webhook, "https://example.org/x");
    tt__body_release(&body);
    assert_int_equal(
        read_body("{\"policy\": {\"ttl\": null}, \"webhook\": \"\", \"input\": 1}", &body, NULL),
        TT_OK);
    assert_int_equal(body.ttl_ms, 2);
    assert_null(body.webhook);
    tt__body_release(&body);
}

static void bad_members_are_named_with_their_limits(void **state) {
    (void)state;
    static const struct {
        const char *sent, *sentence;
    } cases[] = {
        {"null", "the body must be a JSON object"},
        {"{\"input\": 1}}", "body: invalid JSON at line 1, column 13"},
        {"{\"input\": NaN}", "body: invalid JSON"},
        {"{}", "the body has no input"},
        {"{\"INPUT\": 1}", "the body has no input"},
        {"{\"id\": 1}", "the body has no input"},
        {"{\"input\": 1, \"policy\": {\"ttl\": 9999}}",
         "policy.ttl: expected whole milliseconds from 10000 to 604800000, found 9999"},
        {"{\"input\": 1, \"policy\": {\"ttl\": 10000.5}}", "found 10000.5"},
        {"{\"input\": 1, \"policy\": {\"executionTimeout\": -1}}",
         "policy.executionTimeout: expected whole milliseconds from 5000"},
        {"{\"input\": 1, \"policy\": {\"executionTimeout\": 18446744073709551615}}",
         "found 184467"},
        {"{\"input\": 1, \"policy\": []}", "policy: expected an object, found an array"},
        {"{\"input\": 1, \"webhook\": [1]}", "webhook: expected a URL, found an array"},
        {"{\"input\": 1, \"webhook\": \"http://a\\u0000b\"}", "webhook: "},
        {"{\"input\": 1, \"webhook\": \"http://user:word@example.org\"}", "webhook: "},
        {"{\"input\": 1, \"webhook\": \"file:///etc/passwd\"}", "webhook: "},
        {"{\"input\": 1, \"webhook\": \"http://a\\r\\nX: y\"}", "webhook: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt__body body;
        tt_err err;
        if (read_body(cases[i].sent, &body, &err) == TT_OK) fail_msg("taken: %s", cases[i].sent);
        assert_true(err.code == TT_E_INVALID || err.code == TT_E_FORMAT);
        if (!strstr(err.message, cases[i].sentence))
            fail_msg("expected \"%s\", found \"%s\"", cases[i].sentence, err.message);
        tt__body_release(&body);
    }
}

static void members_of_ours_have_a_limit(void **state) {
    (void)state;
    static char text[TT_MAX_JOB_MEMBER_BYTES + 100];
    int n = snprintf(text, sizeof text, "{\"input\": 1, \"webhook\": \"http://x/");
    memset(text + n, 'a', TT_MAX_JOB_MEMBER_BYTES);
    snprintf(text + n + TT_MAX_JOB_MEMBER_BYTES, 8, "\"}");
    tt__body body;
    tt_err err;
    assert_int_equal(read_body(text, &body, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "webhook: expected at most 8192 bytes"));
    tt__body_release(&body);
}

static void a_failed_allocation_is_told(void **state) {
    (void)state;
    static const char text[] =
        "{\"\\u0069d\": 1, \"input\": 1, \"policy\": {\"ttl\": 10000}, \"webhook\": \"http://x/\"}";
    bool is_done = false;
    int n_failed = 0;
    for (int nth = 0; !is_done; nth++) {
        tt__body body;
        tt_err err;
        tt_alloc_fail_after(nth);
        tt_status status = read_body(text, &body, &err);
        tt_alloc_fail_after(-1);
        is_done = status == TT_OK;
        if (is_done)
            assert_string_equal(body.envelope->data,
                                "{\"id\": \"job-1\", \"input\": 1, \"policy\": {\"ttl\": 10000}, "
                                "\"webhook\": \"http://x/\"}");
        else
            assert_int_equal(status, TT_E_NOMEM);
        n_failed += !is_done;
        tt__body_release(&body);
    }
    assert_true(n_failed >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_stays_but_for_the_id),
        cmocka_unit_test(policy_and_webhook_are_read),
        cmocka_unit_test(bad_members_are_named_with_their_limits),
        cmocka_unit_test(members_of_ours_have_a_limit),
        cmocka_unit_test(a_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
