/* Jobs as they travel: what is required, that nothing is re-written, and ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "job/envelope.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_span(tt_span span, const char *expected) {
    assert_non_null(span.text);
    assert_int_equal(span.size, strlen(expected));
    assert_memory_equal(span.text, expected, span.size);
}

static void a_job_is_kept_byte_for_byte(void **state) {
    (void)state;
    static const char TEXT[] =
        " { \"webhook\":\"http:\\/\\/x\" ,\"id\": \"job-1-u1\",\n\"input\" : {\"seed\": "
        "18446744073709551615, \"f\": 1.50}, \"s3Config\": {\"accessId\": \"k\"}, \"policy\":null "
        "} ";
    tt_envelope e;
    assert_int_equal(tt_envelope_parse(TEXT, sizeof TEXT - 1, NULL, &e, NULL), TT_OK);
    assert_string_equal(e.id, "job-1-u1");
    assert_string_equal(e.text, TEXT);
    assert_int_equal(e.size, sizeof TEXT - 1);
    assert_span(e.input, "{\"seed\": 18446744073709551615, \"f\": 1.50}");
    assert_span(tt_envelope_member(&e, "webhook"), "\"http:\\/\\/x\"");
    assert_span(tt_envelope_member(&e, "s3Config"), "{\"accessId\": \"k\"}");
    assert_span(tt_envelope_member(&e, "policy"), "null");
    assert_null(tt_envelope_member(&e, "accessId").text);
    tt_envelope_release(&e);
    assert_null(e.text);
    assert_null(tt_envelope_member(&e, "id").text);
    tt_envelope_release(&e);
}

static void input_may_be_any_json(void **state) {
    (void)state;
    static const char *const INPUTS[] = {"null", "0", "\"text\"", "[]", "{}", "false"};
    for (size_t i = 0; i < COUNT(INPUTS); i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"id\":\"a\",\"input\":%s}", INPUTS[i]);
        tt_envelope e;
        assert_int_equal(tt_envelope_parse(text, strlen(text), NULL, &e, NULL), TT_OK);
        assert_span(e.input, INPUTS[i]);
        tt_envelope_release(&e);
    }
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const char RULE[] = "job id: expected 1 to 127 printable ASCII characters without "
                               "spaces, '/', '?', '#', '%', found ";
    static const struct {
        const char *text, *message;
        tt_status status;
    } CASES[] = {
        {"{\"id\":\"a\"}", "job has no input", TT_E_INVALID},
        {"{\"input\":{}}", "job has no id", TT_E_INVALID},
        {"{}", "job has no id", TT_E_INVALID},
        {"[{\"id\":\"a\",\"input\":{}}]", "a job must be a JSON object", TT_E_INVALID},
        {"null", "a job must be a JSON object", TT_E_INVALID},
        {"{\"id\":7,\"input\":{}}", "job id: expected a string, found a number", TT_E_INVALID},
        {"{\"id\":null,\"input\":{}}", "job id: expected a string, found null", TT_E_INVALID},
        {"{\"id\":[\"a\"],\"input\":{}}", "job id: expected a string, found an array",
         TT_E_INVALID},
        {"{\"id\":\"\",\"input\":{}}", RULE, TT_E_INVALID},
        {"{\"id\":\"a/b\",\"input\":{}}", RULE, TT_E_INVALID},
        {"{\"id\":\"..\",\"input\":{}}", RULE, TT_E_INVALID},
        {"{\"id\":\"a\\n\",\"input\":{}}", RULE, TT_E_INVALID},
        {"{\"id\":\"caf\xc3\xa9\",\"input\":{}}", RULE, TT_E_INVALID},
        {"{\"id\":\"a\\u0000b\",\"input\":{}}", "job id: it contains a NUL character",
         TT_E_INVALID},
        {"{\"id\":\"a\",\"input\":}", "invalid JSON at line 1, column 19: expected a value",
         TT_E_FORMAT},
        {"{\"id\":\"a\",\"id\":\"b\",\"input\":1}",
         "invalid JSON at line 1, column 11: the same name twice in one object", TT_E_FORMAT},
        {"", "invalid JSON at line 1, column 1: it ends too early", TT_E_FORMAT},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        tt_envelope e;
        tt_err err;
        tt_status status = tt_envelope_parse(CASES[i].text, strlen(CASES[i].text), NULL, &e, &err);
        if (status != CASES[i].status ||
            strncmp(err.message, CASES[i].message, strlen(CASES[i].message)) != 0)
            fail_msg("%s: %d %s", CASES[i].text, (int)status, err.message);
        assert_null(e.text);
    }
}

static void a_test_job_may_leave_its_id_out(void **state) {
    (void)state;
    tt_envelope e;
    static const char TEXT[] = "{\"input\":{}}";
    assert_int_equal(tt_envelope_parse(TEXT, sizeof TEXT - 1, "local_test", &e, NULL), TT_OK);
    assert_string_equal(e.id, "local_test");
    assert_string_equal(e.text, TEXT);
    tt_envelope_release(&e);
    static const char WITH_ID[] = "{\"input\":{},\"id\":\"mine\"}";
    assert_int_equal(tt_envelope_parse(WITH_ID, sizeof WITH_ID - 1, "local_test", &e, NULL), TT_OK);
    assert_string_equal(e.id, "mine");
    tt_envelope_release(&e);
}

static void an_id_may_be_written_with_escapes(void **state) {
    (void)state;
    static const char TEXT[] = "{\"\\u0069d\":\"\\u0061\\u002db\",\"input\":1}";
    tt_envelope e;
    assert_int_equal(tt_envelope_parse(TEXT, sizeof TEXT - 1, NULL, &e, NULL), TT_OK);
    assert_string_equal(e.id, "a-b");
    tt_envelope_release(&e);
}

static void ids_are_limited_in_length(void **state) {
    (void)state;
    char id[1024], text[1100];
    static const size_t LENGTHS[] = {TT_JOB_ID_BYTES - 1, TT_JOB_ID_BYTES, 1000};
    for (size_t i = 0; i < COUNT(LENGTHS); i++) {
        memset(id, 'x', LENGTHS[i]);
        id[LENGTHS[i]] = '\0';
        snprintf(text, sizeof text, "{\"id\":\"%s\",\"input\":1}", id);
        tt_envelope e;
        assert_int_equal(tt_envelope_parse(text, strlen(text), NULL, &e, NULL),
                         i == 0 ? TT_OK : TT_E_INVALID);
        assert_int_equal(tt_job_id_is_valid(id), i == 0);
        tt_envelope_release(&e);
    }
}

static void a_job_beyond_the_limit_is_refused_unread(void **state) {
    (void)state;
    tt_envelope e;
    assert_int_equal(tt_envelope_parse("{}", TT_MAX_JSON_BYTES + 1, NULL, &e, NULL), TT_E_INVALID);
}

/* RFC 9562, section 5.4, and the form of the platform's ids (runpod.md 1.2). */
static void new_ids_are_uuids_of_version_4(void **state) {
    (void)state;
    char a[TT_JOB_ID_BYTES], b[TT_JOB_ID_BYTES];
    static const char FORM[] = "xxxxxxxx-xxxx-4xxx-Vxxx-xxxxxxxxxxxx-u1";
    assert_int_equal(tt_job_id_new("", a, NULL), TT_OK);
    assert_int_equal(tt_job_id_new("sync-", b, NULL), TT_OK);
    assert_int_equal(strlen(a), strlen(FORM));
    assert_memory_equal(b, "sync-", 5);
    assert_string_not_equal(a, b + 5);
    for (size_t i = 0; FORM[i]; i++)
        assert_non_null(strchr(FORM[i] == 'x'   ? "0123456789abcdef"
                               : FORM[i] == 'V' ? "89ab"
                               : FORM[i] == '4' ? "4"
                               : FORM[i] == '-' ? "-"
                               : FORM[i] == 'u' ? "u"
                                                : "1",
                               a[i]));
    assert_true(tt_job_id_is_valid(a) && tt_job_id_is_valid(b));
}

static void a_prefix_that_makes_no_id_is_refused(void **state) {
    (void)state;
    char id[TT_JOB_ID_BYTES], prefix[TT_JOB_ID_BYTES];
    memset(prefix, 'p', sizeof prefix);
    prefix[sizeof prefix - 1] = '\0';
    assert_int_equal(tt_job_id_new(prefix, id, NULL), TT_E_INVALID);
    assert_int_equal(tt_job_id_new("a/", id, NULL), TT_E_INVALID);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    static const char TEXT[] = "{\"id\":\"a\",\"input\":{\"b\":\"c\"}}";
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_envelope e;
        tt_alloc_fail_after(n);
        status = tt_envelope_parse(TEXT, sizeof TEXT - 1, NULL, &e, NULL);
        tt_alloc_fail_after(-1);
        assert_true(status == TT_OK || (status == TT_E_NOMEM && !e.text));
        tt_envelope_release(&e);
        assert_in_range(n, 0, 20);
    }
    assert_true(n > 2); /* some did fail */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_kept_byte_for_byte),
        cmocka_unit_test(input_may_be_any_json),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_test_job_may_leave_its_id_out),
        cmocka_unit_test(an_id_may_be_written_with_escapes),
        cmocka_unit_test(ids_are_limited_in_length),
        cmocka_unit_test(a_job_beyond_the_limit_is_refused_unread),
        cmocka_unit_test(new_ids_are_uuids_of_version_4),
        cmocka_unit_test(a_prefix_that_makes_no_id_is_refused),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
