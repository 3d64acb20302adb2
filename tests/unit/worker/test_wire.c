/* Bodies, headers and answers: expected bytes are those recorded from the reference SDK (runpod.md Appendix A1 to A3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "worker/wire.h"

static tt_blob *blob(const char *text) {
    tt_blob *b = NULL;
    assert_int_equal(tt_blob_new(text, strlen(text), &b, NULL), TT_OK);
    return b;
}

/* Joins the pieces, compares, releases the body. */
static void assert_body(tt_wire_body *body, const char *expected) {
    tt_buf text;
    tt_buf_init(&text, 1 << 20);
    for (int i = 0; i < body->n_pieces; i++)
        assert_int_equal(tt_buf_append(&text, body->pieces[i].bytes, body->pieces[i].size, NULL),
                         TT_OK);
    assert_int_equal(text.size, body->size_bytes);
    assert_string_equal(text.data, expected);
    tt_buf_release(&text);
    tt_wire_release(body);
}

static void assert_final(const char *output, const char *error, bool stops_pod,
                         const char *expected) {
    tt_final final = {.output = output ? blob(output) : NULL,
                      .error = error ? blob(error) : NULL,
                      .stops_pod = stops_pod};
    tt_wire_body body;
    tt_wire_final(&body, &final);
    tt_blob_release(final.output); /* the body holds its own */
    tt_blob_release(final.error);
    assert_body(&body, expected);
}

static void finals_are_the_recorded_bodies(void **state) {
    (void)state;
    assert_final("{\"echo\": {\"a\": 1}}", NULL, false, "{\"output\": {\"echo\": {\"a\": 1}}}");
    assert_final("{\"details\": [1]}", "\"bad\"", false,
                 "{\"output\": {\"details\": [1]}, \"error\": \"bad\"}");
    assert_final(NULL, "[\"x\", \"y\"]", false, "{\"error\": [\"x\", \"y\"]}");
    assert_final(NULL, NULL, false, "{}");
    assert_final("{\"x\": 1}", NULL, true, "{\"output\": {\"x\": 1}, \"stopPod\": true}");
    assert_final(NULL, NULL, true, "{\"stopPod\": true}");
    assert_final(NULL, "\"e\"", true, "{\"error\": \"e\", \"stopPod\": true}");
    assert_final("null", NULL, false, "{\"output\": null}");
    assert_final("\"é☃\"", NULL, false, "{\"output\": \"é☃\"}");
}

static void progress_chunks_and_reports_are_the_recorded_bodies(void **state) {
    (void)state;
    tt_wire_body body;
    tt_blob *value = blob("\"50%\"");
    tt_wire_progress(&body, value);
    assert_body(&body, "{\"status\": \"IN_PROGRESS\", \"output\": \"50%\"}");
    tt_wire_chunk(&body, value);
    assert_body(&body, "{\"output\": \"50%\"}");
    tt_wire_whole(&body, value);
    assert_body(&body, "\"50%\"");
    tt_blob_release(value);
    assert_int_equal(tt_wire_error(&body, "a \"b\"", false, NULL), TT_OK);
    assert_body(&body, "{\"error\": \"a \\\"b\\\"\"}");
    tt_final final = {.is_stream = false};
    assert_int_equal(tt_wire_link(&body, "https://b/k?X=1", 42, &final, NULL), TT_OK);
    assert_body(&body, "{\"output\": {\"url\": \"https://b/k?X=1\", \"size_bytes\": 42, "
                       "\"content_type\": \"application/json\"}}");
}

static void headers_are_the_recorded_ones(void **state) {
    (void)state;
    tt_environment e = {.api_key = "secretkey", .user_agent = "Tintype/1"};
    tt_wire_headers h;
    tt_wire_post_headers post;
    assert_int_equal(tt_wire_headers_init(&h, &e, NULL), TT_OK);
    assert_string_equal(h.get[0], "Content-Type: application/json");
    assert_string_equal(h.get[1], "Authorization: secretkey"); /* raw, without Bearer */
    assert_string_equal(h.get[2], "User-Agent: Tintype/1");
    assert_string_equal(h.get[3], "Accept-Encoding: gzip, deflate");
    assert_null(h.get[4]);
    tt_wire_post_headers_fill(&h, "job-1-u1", &post);
    assert_string_equal(post.lines[0], "Content-Type: application/x-www-form-urlencoded");
    assert_string_equal(post.lines[1], "charset: utf-8");
    assert_string_equal(post.lines[2], "X-Request-ID: job-1-u1");
    assert_string_equal(post.lines[3], "Authorization: secretkey");
    tt_wire_headers_release(&h);
    e.api_key = "";
    assert_int_equal(tt_wire_headers_init(&h, &e, NULL), TT_OK);
    assert_string_equal(h.get[1], "User-Agent: Tintype/1");
    tt_wire_headers_release(&h);
}

/* ---- take ---- */

static void assert_items(const char *text, int n, bool is_broken, const char *const *expected) {
    tt_wire_items items;
    const char *item;
    size_t size;
    int i = 0;
    tt_wire_items_begin(&items, text, strlen(text));
    while (tt_wire_items_next(&items, &item, &size)) {
        const char *wanted = i < n ? expected[i] : "no more items";
        if (size != strlen(wanted) || memcmp(item, wanted, size) != 0)
            fail_msg("%s: item %d is not %s", text, i, wanted);
        i++;
    }
    if (i != n || items.is_broken != is_broken)
        fail_msg("%s: %d items, broken %d", text, i, items.is_broken);
}

static void an_answer_is_one_job_or_a_list(void **state) {
    (void)state;
    static const char *const TWO[] = {"{\"id\": \"]\\\"}\"}", "{\"a\":[{}]}"};
    assert_items("{\"id\": \"]\\\"}\"}", 1, false, TWO);
    assert_items(" [ {\"id\": \"]\\\"}\"} ,\n{\"a\":[{}]} ]\n", 2, false, TWO);
    assert_items("[{\"id\": \"]\\\"}\"}, 5, \"x\"]", 3, false,
                 (const char *const[]){TWO[0], "5", "\"x\""});
    assert_items("", 0, false, NULL);
    assert_items("null", 0, false, NULL);
    assert_items("[]", 0, false, NULL);
    assert_items("[ ]", 0, false, NULL);
}

static void what_is_whole_is_read_from_a_broken_answer(void **state) {
    (void)state;
    static const char *const ONE[] = {"{\"id\":\"a\"}"};
    assert_items("[{\"id\":\"a\"}, {\"id\": \"b", 1, true, ONE);
    assert_items("[{\"id\":\"a\"}", 1, true, ONE);
    assert_items("[{\"id\":\"a\"},", 1, true, ONE);
    assert_items("[", 0, true, NULL);
    assert_items("{\"id\":\"a\"", 0, true, NULL);
    assert_items("{\"id\":\"a\\\"}", 0, true, NULL);
    assert_items("{\"", 0, true, NULL);
    assert_items("<html>", 0, true, NULL);
    assert_items("\"", 0, true, NULL);
}

static void assert_id(const char *item, const char *expected) {
    char id[TT_JOB_ID_BYTES];
    bool has = tt_wire_item_id(item, strlen(item), id);
    if (has != (expected != NULL)) fail_msg("%s", item);
    if (has) assert_string_equal(id, expected);
}

static void the_id_of_a_broken_item_is_found(void **state) {
    (void)state;
    assert_id("{\"id\": \"b-u1\"}", "b-u1");
    assert_id("{\"input\": {\"id\": \"no\"}, \"id\":\"b-u1\"}", "b-u1");
    assert_id("{\"input\": {\"x\": NaN, \"x\": NaN}, \"id\":\"b-u1\"}", "b-u1"); /* not JSON */
    assert_id("{\"input\": 1}", NULL);
    assert_id("{\"id\": 7}", NULL);
    assert_id("{\"id\": \"a/b\"}", NULL); /* would change the URL */
    assert_id("{\"id\": \"\"}", NULL);
    assert_id("{\"id\"}", NULL);
    assert_id("{\"", NULL);
    assert_id("{", NULL);
    assert_id("5", NULL);
    assert_id("", NULL);
}

static int64_t timeout_of(const char *job) {
    tt_envelope envelope;
    tt_err err;
    if (tt_envelope_parse(job, strlen(job), NULL, &envelope, &err) != TT_OK)
        fail_msg("%s", err.message);
    int64_t ms = tt_wire_execution_timeout_ms(&envelope);
    tt_envelope_release(&envelope);
    return ms;
}

static void the_execution_timeout_is_read_within_the_platforms_range(void **state) {
    (void)state;
    assert_int_equal(timeout_of("{\"id\":\"a\",\"input\":1}"), 0);
    assert_int_equal(
        timeout_of("{\"id\":\"a\",\"input\":1,\"policy\":{\"executionTimeout\":60000}}"), 60000);
    assert_int_equal(timeout_of("{\"id\":\"a\",\"input\":1,\"policy\":{\"executionTimeout\":1}}"),
                     5000);
    assert_int_equal(
        timeout_of("{\"id\":\"a\",\"input\":1,\"policy\":{\"executionTimeout\":1e300}}"),
        604800000);
    assert_int_equal(
        timeout_of("{\"id\":\"a\",\"input\":1,\"policy\":{\"executionTimeout\":\"60000\"}}"), 0);
    assert_int_equal(timeout_of("{\"id\":\"a\",\"input\":1,\"policy\":{\"executionTimeout\":-5}}"),
                     0);
    assert_int_equal(timeout_of("{\"id\":\"a\",\"input\":1,\"policy\":5}"), 0);
}

/* ---- stop ---- */

static void add_id(void *context, const char *id) {
    tt_buf *ids = context;
    assert_int_equal(tt_buf_printf(ids, NULL, "%s;", id), TT_OK);
}

static void ids_to_stop_are_read(void **state) {
    (void)state;
    static const char TEXT[] = "{\"x\": 1, \"jobsToStop\": [\"c1-u1\", 5, null, \"c2\"]}";
    tt_buf ids;
    tt_err err;
    tt_buf_init(&ids, 1000);
    assert_int_equal(tt_wire_read_stops(TEXT, sizeof TEXT - 1, add_id, &ids, &err), TT_OK);
    assert_string_equal(ids.data, "c1-u1;c2;");
    assert_int_equal(tt_wire_read_stops("{}", 2, add_id, &ids, &err), TT_OK);
    assert_int_equal(tt_wire_read_stops("{\"jobsToStop\": null}", 20, add_id, &ids, &err), TT_OK);
    assert_int_equal(tt_wire_read_stops("[]", 2, add_id, &ids, &err), TT_E_FORMAT);
    assert_int_equal(tt_wire_read_stops("null", 4, add_id, &ids, &err), TT_E_FORMAT);
    assert_int_equal(tt_wire_read_stops("{\"jobsToStop\": 1}", 17, add_id, &ids, &err),
                     TT_E_FORMAT);
    assert_int_equal(tt_wire_read_stops("nope", 4, add_id, &ids, &err), TT_E_FORMAT);
    assert_int_equal(ids.size, 9);
    tt_buf_release(&ids);
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    tt_environment e = {.api_key = "k", .user_agent = "u"};
    for (int n = 0;; n++) {
        tt_wire_headers h;
        tt_wire_body body = {.n_pieces = 0};
        tt_alloc_fail_after(n);
        tt_status status = tt_wire_headers_init(&h, &e, NULL);
        if (status == TT_OK) status = tt_wire_error(&body, "x", false, NULL);
        tt_alloc_fail_after(-1);
        tt_wire_headers_release(&h);
        tt_wire_release(&body);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_true(n < 50);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finals_are_the_recorded_bodies),
        cmocka_unit_test(progress_chunks_and_reports_are_the_recorded_bodies),
        cmocka_unit_test(headers_are_the_recorded_ones),
        cmocka_unit_test(an_answer_is_one_job_or_a_list),
        cmocka_unit_test(what_is_whole_is_read_from_a_broken_answer),
        cmocka_unit_test(the_id_of_a_broken_item_is_found),
        cmocka_unit_test(the_execution_timeout_is_read_within_the_platforms_range),
        cmocka_unit_test(ids_to_stop_are_read),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
