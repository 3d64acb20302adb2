/* What a handler says becomes an answer by the reference SDK's rules: runpod.md 1.6, 1.7 and Appendix A2, A3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "worker/sdk_parts.h"

enum { SAID_BYTES = 4096 };

typedef struct recorder { /* an outlet that writes down what goes out */
    tt__outlet outlet;
    char said[SAID_BYTES];
    bool refuses;
} recorder;

static void note(recorder *r, const char *mark, const char *bytes, size_t size) {
    size_t used = strlen(r->said);
    snprintf(r->said + used, sizeof r->said - used, "%s%.*s|", mark, (int)size, bytes);
}

static tt_status piece(tt__outlet *o, tt_job *job, const void *bytes, size_t size, tt_err *err) {
    (void)job;
    if (((recorder *)o)->refuses) return tt_fail(err, TT_E_IO, "the worker is gone");
    note((recorder *)o, "piece ", bytes, size);
    return TT_OK;
}

static bool stream(tt__outlet *o, tt_job *job, const char *json, size_t size) {
    (void)job;
    note((recorder *)o, "chunk ", json, size);
    return !((recorder *)o)->refuses;
}

static void progress(tt__outlet *o, tt_job *job, const char *json, size_t size) {
    (void)job;
    note((recorder *)o, "progress ", json, size);
}

typedef struct fixture {
    recorder recorder;
    tt_reply reply;
    tt__settled settled;
} fixture;

static void begin(fixture *f, bool is_streaming) {
    f->recorder = (recorder){.outlet = {piece, stream, progress}};
    tt__reply_init(&f->reply, &f->recorder.outlet, NULL);
    f->reply.is_streaming = is_streaming;
    f->reply.hostname = "host";
    f->reply.worker_id = "pod123";
}

static void assert_span(tt_span span, const char *expected) {
    if (!expected) {
        assert_null(span.text);
        return;
    }
    char text[SAID_BYTES];
    assert_non_null(span.text);
    snprintf(text, sizeof text, "%.*s", (int)span.size, span.text);
    assert_string_equal(text, expected);
}

static void end(fixture *f, const char *output, const char *error, bool refreshes) {
    tt__reply_settle(&f->reply, &f->settled);
    assert_span(f->settled.output, output);
    assert_span(f->settled.error, error);
    assert_int_equal(f->settled.refreshes_worker, refreshes);
    tt__reply_release(&f->reply);
}

static void map(const char *returned, const char *output, const char *error, bool refreshes) {
    fixture f;
    begin(&f, false);
    tt_reply_json(&f.reply, returned, strlen(returned));
    end(&f, output, error, refreshes);
}

static void outputs_are_mapped_as_the_reference_does(void **state) {
    (void)state;
    map("\"x\"", "\"x\"", NULL, false);
    map("5", "5", NULL, false);
    map("true", "true", NULL, false);
    map("null", "null", NULL, false);
    map("[1]", "[1]", NULL, false);
    map(" {\"echo\": {\"a\": 1}} ", "{\"echo\": {\"a\": 1}}", NULL, false);
    map("{}", NULL, NULL, false);
    map(" { } ", NULL, NULL, false);
    map("{\"error\":\"bad\",\"details\":[1]}", "{\"details\": [1]}", "\"bad\"", false);
    map("{\"error\":[\"x\",\"y\"]}", NULL, "[\"x\",\"y\"]", false);
    map("{\"error\":{\"code\":3}}", NULL, "{\"code\":3}", false);
    map("{\"refresh_worker\":true,\"x\":1}", "{\"x\": 1}", NULL, true);
    map("{\"refresh_worker\":true}", NULL, NULL, true);
    map("{\"refresh_worker\":false,\"x\":1}", "{\"x\": 1}", NULL, false);
    map("{\"error\":\"e\",\"refresh_worker\":1}", NULL, "\"e\"", true);
    map("{\"nested\":{\"error\":\"no\"}}", "{\"nested\":{\"error\":\"no\"}}", NULL, false);
}

static void errors_that_python_takes_for_false_are_dropped(void **state) {
    (void)state;
    static const char *const FALSE[] = {"\"\"", "null",   "false", "0",  "0.0", "-0",
                                        "0e7",  "-0.0e5", "[]",    "{}", "[ ]", "{\n}"};
    static const char *const TRUE[] = {"\"0\"", "true", "1", "0.01", "[0]", "{\"\":0}", "1e-9"};
    char text[64];
    for (size_t i = 0; i < sizeof FALSE / sizeof FALSE[0]; i++) {
        snprintf(text, sizeof text, "{\"error\":%s,\"k\":2}", FALSE[i]);
        map(text, "{\"k\": 2}", NULL, false);
    }
    for (size_t i = 0; i < sizeof TRUE / sizeof TRUE[0]; i++) {
        snprintf(text, sizeof text, "{\"error\":%s,\"k\":2}", TRUE[i]);
        map(text, "{\"k\": 2}", TRUE[i], false);
    }
}

static void a_handler_that_says_nothing_answers_null(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    end(&f, "null", NULL, false);
}

static void text_becomes_a_json_string(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_string(&f.reply, "Hello, %s!", "\"é\"\n");
    end(&f, "\"Hello, \\\"é\\\"\\u000a!\"", NULL, false);
}

static void a_later_output_replaces_an_earlier_one(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_string(&f.reply, "first");
    tt_reply_json(&f.reply, "2", 1);
    end(&f, "2", NULL, false);
}

static void an_error_and_an_output_are_both_sent(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_json(&f.reply, "{\"half\": 1}", 11);
    tt_reply_error(&f.reply, "stopped at %d", 3);
    end(&f, "{\"half\": 1}", "\"stopped at 3\"", false);
    begin(&f, false);
    tt_reply_error(&f.reply, "alone");
    tt_reply_refresh_worker(&f.reply);
    end(&f, NULL, "\"alone\"", true);
    begin(&f, false);
    tt_reply_error_json(&f.reply, " [1, 2] ", 8);
    end(&f, NULL, "[1, 2]", false);
}

static void an_error_without_words_is_still_an_error(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_error(&f.reply, "%s", "");
    end(&f, NULL, "\"the handler reported an error without a text\"", false);
}

static void an_exception_has_the_members_of_the_reference_in_its_order(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_exception(&f.reply, "ValueError", "boom %s \xff", "é");
    end(&f, NULL,
        "\"{\\\"error_type\\\": \\\"ValueError\\\", \\\"error_message\\\": \\\"boom é ?\\\", "
        "\\\"error_traceback\\\": \\\"\\\", \\\"hostname\\\": \\\"host\\\", \\\"worker_id\\\": "
        "\\\"pod123\\\", \\\"runpod_version\\\": \\\"1.12.0\\\"}\"",
        false);
}

static void an_exception_of_a_stream_is_plain_text(void **state) {
    (void)state;
    fixture f;
    begin(&f, true);
    tt_reply_exception(&f.reply, "ValueError", "mid-stream");
    end(&f, NULL, "\"handler: mid-stream \\u000atraceback: ValueError\"", false);
}

static void invalid_json_fails_the_job_and_says_where(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_json(&f.reply, "{\"a\":}", 6);
    tt_reply_json(&f.reply, "1", 1); /* too late */
    tt__reply_settle(&f.reply, &f.settled);
    assert_span(f.settled.output, NULL);
    assert_non_null(strstr(f.settled.error.text, "the handler's output: invalid JSON at line 1, "
                                                 "column 6: expected a value"));
    assert_non_null(strstr(f.settled.error.text, "InvalidReply"));
    tt__reply_release(&f.reply);
}

static void pieces_go_out_as_they_come(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_append(&f.reply, "{\"a\":", 5);
    tt_reply_append(&f.reply, "", 0);
    tt_reply_append(&f.reply, "1}", 2);
    tt_reply_progress(&f.reply, "0.5", 3);
    tt_reply_progress(&f.reply, "0.5.", 4); /* not JSON: never sent */
    assert_string_equal(f.recorder.said, "piece {\"a\":|piece 1}|progress 0.5|");
    end(&f, NULL, NULL, false);
    assert_false(f.settled.voids_pieces);
}

static void whole_and_in_pieces_do_not_mix(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    tt_reply_append(&f.reply, "1", 1);
    tt_reply_string(&f.reply, "x");
    tt__reply_settle(&f.reply, &f.settled);
    assert_true(f.settled.voids_pieces);
    assert_non_null(strstr(f.settled.error.text, "both whole and in pieces"));
    assert_span(f.settled.output, NULL);
    tt__reply_release(&f.reply);
}

static void chunks_are_streamed_and_an_output_is_the_last(void **state) {
    (void)state;
    fixture f;
    begin(&f, true);
    assert_true(tt_reply_stream(&f.reply, "1", 1));
    tt_reply_string(&f.reply, "end");
    end(&f, NULL, NULL, false);
    assert_string_equal(f.recorder.said, "chunk 1|chunk \"end\"|");
}

static void a_chunk_with_an_error_ends_the_stream(void **state) {
    (void)state;
    fixture f;
    begin(&f, true);
    assert_true(tt_reply_stream(&f.reply, "{\"error\": \"\"}", 13));
    assert_false(tt_reply_stream(&f.reply, "{\"error\": \"soft\"}", 17));
    end(&f, NULL, "\"soft\"", false);
    assert_string_equal(f.recorder.said, "chunk {\"error\": \"\"}|");
    begin(&f, true);
    assert_false(tt_reply_stream(&f.reply, "{\"error\": [\"x\"]}", 16));
    end(&f, NULL, "\"[\\\"x\\\"]\"", false);
}

static void a_stream_that_nobody_wants_says_so(void **state) {
    (void)state;
    fixture f;
    begin(&f, true);
    f.recorder.refuses = true;
    assert_false(tt_reply_stream(&f.reply, "1", 1));
    end(&f, NULL, NULL, false);
}

static void streaming_needs_to_be_configured(void **state) {
    (void)state;
    fixture f;
    begin(&f, false);
    assert_false(tt_reply_stream(&f.reply, "1", 1));
    tt__reply_settle(&f.reply, &f.settled);
    assert_non_null(strstr(f.settled.error.text, "tt_reply_stream needs is_streaming"));
    tt__reply_release(&f.reply);
}

static void speak(fixture *f) {
    begin(f, false);
    tt_reply_string(&f->reply, "a text of some length: %080d", 1);
    tt_reply_json(&f->reply, "{\"x\": 1, \"error\": \"e\"}", 22);
    tt_reply_exception(&f->reply, "Type", "text %d", 3);
    tt__reply_settle(&f->reply, &f->settled);
    tt__reply_release(&f->reply);
}

static void without_memory_the_job_still_fails_with_a_sentence(void **state) {
    (void)state;
    int n_failed = 0;
    for (int n = 0; n < 64; n++) {
        fixture f;
        tt_alloc_fail_after(n);
        begin(&f, false);
        tt_reply_json(&f.reply, "{\"x\": 1, \"refresh_worker\": true}", 32);
        tt__reply_settle(&f.reply, &f.settled);
        tt_alloc_fail_after(-1);
        if (f.settled.error.text) {
            n_failed++;
            assert_null(f.settled.output.text);
            assert_non_null(strstr(f.settled.error.text, "out of memory"));
            json_object *error;
            assert_int_equal(
                tt_json_parse(f.settled.error.text, f.settled.error.size, &error, NULL), TT_OK);
            json_object_put(error);
        }
        tt__reply_release(&f.reply);
        tt_alloc_fail_after(n);
        speak(&f);
        tt_alloc_fail_after(-1);
    }
    assert_true(n_failed > 2);
}

/* ---- the job ------------------------------------------------------------------------------------------------------ */

static tt_job *make_job(const char *text) {
    tt_job *job;
    tt_err err;
    assert_int_equal(tt__job_new(text, strlen(text), "local_test", &job, &err), TT_OK);
    return job;
}

static void a_job_gives_its_parts_byte_for_byte(void **state) {
    (void)state;
    tt_job *job = make_job("{\"id\":\"a-u1\", \"webhook\" : \"u\",\"input\": {\"k\" : [1, "
                           "2],\"s\":\"x\"}, \"n\":null}");
    size_t size;
    assert_string_equal(tt_job_id(job), "a-u1");
    assert_string_equal(tt_job_input(job, &size), "{\"k\" : [1, 2],\"s\":\"x\"}");
    assert_int_equal(size, 22);
    assert_ptr_equal(tt_job_input(job, NULL), tt_job_input(job, NULL));
    assert_string_equal(tt_job_member(job, "webhook"), "\"u\"");
    assert_string_equal(tt_job_member(job, "n"), "null");
    assert_null(tt_job_member(job, "s3Config"));
    assert_string_equal(tt_job_value(job, "k"), "[1, 2]");
    assert_null(tt_job_value(job, "z"));
    const char *text = tt_job_text(job, &size);
    assert_int_equal(strlen(text), size);
    assert_int_equal(tt_job_attempt(job), 1);
    tt__job_free(job);
    job = make_job("{\"input\":[]}");
    assert_string_equal(tt_job_id(job), "local_test");
    assert_string_equal(tt_job_string(job, "k", "fallback"), "fallback");
    tt__job_free(job);
}

static void values_of_another_type_give_the_fallback(void **state) {
    (void)state;
    tt_job *job =
        make_job("{\"input\":{\"s\":\"x\",\"i\":7,\"d\":2.5,\"w\":30.0,\"t\":true,\"n\":null,"
                 "\"big\":18446744073709551615,\"huge\":1e300,\"neg\":-5}}");
    assert_string_equal(tt_job_string(job, "s", "?"), "x");
    assert_string_equal(tt_job_string(job, "i", "?"), "?");
    assert_string_equal(tt_job_string(job, "n", "?"), "?");
    assert_null(tt_job_string(job, "absent", NULL));
    assert_int_equal(tt_job_integer(job, "i", 1), 7);
    assert_int_equal(tt_job_integer(job, "w", 1), 30);
    assert_int_equal(tt_job_integer(job, "neg", 1), -5);
    assert_int_equal(tt_job_integer(job, "d", 1), 1);
    assert_int_equal(tt_job_integer(job, "big", 1), 1);
    assert_int_equal(tt_job_integer(job, "huge", 1), 1);
    assert_int_equal(tt_job_integer(job, "s", 1), 1);
    assert_true(tt_job_number(job, "d", 0) == 2.5);
    assert_true(tt_job_number(job, "i", 0) == 7);
    assert_true(tt_job_number(job, "t", 9) == 9);
    assert_true(tt_job_bool(job, "t", false));
    assert_true(tt_job_bool(job, "i", true));
    tt__job_free(job);
}

static void a_cancel_and_a_deadline_end_a_sleep(void **state) {
    (void)state;
    tt_job *job = make_job("{\"input\":1}");
    assert_true(tt_job_sleep_ms(job, 1));
    assert_false(tt_job_is_cancelled(job));
    assert_true(tt_job_remaining_ms(job) == INT64_MAX);
    job->deadline_ms = 1; /* long ago */
    assert_false(tt_job_sleep_ms(job, 3600 * 1000));
    assert_int_equal(tt_job_remaining_ms(job), 0);
    job->deadline_ms = INT64_MAX;
    tt__job_cancel(job);
    assert_false(tt_job_sleep_ms(job, INT64_MAX));
    assert_true(tt_job_is_cancelled(job));
    assert_true(atomic_load(&job->state->was_noticed));
    tt__job_free(job);
}

static void a_job_that_cannot_be_made_leaves_nothing(void **state) {
    (void)state;
    tt_err err;
    tt_job *job;
    bool is_made = false;
    for (int n = 0; n < 64 && !is_made; n++) {
        tt_alloc_fail_after(n);
        is_made = tt__job_new("{\"input\":{\"a\":\"b\"}}", 19, "id", &job, &err) == TT_OK;
        tt_alloc_fail_after(-1);
    }
    assert_true(is_made);
    tt_alloc_fail_after(0);
    assert_string_equal(tt_job_input(job, NULL), ""); /* no memory: nothing, never a crash */
    tt_alloc_fail_after(-1);
    assert_string_equal(tt_job_string(job, "a", ""), "b");
    tt__job_free(job);
    assert_int_equal(tt__job_new("[1]", 3, "id", &job, &err), TT_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_mapped_as_the_reference_does),
        cmocka_unit_test(errors_that_python_takes_for_false_are_dropped),
        cmocka_unit_test(a_handler_that_says_nothing_answers_null),
        cmocka_unit_test(text_becomes_a_json_string),
        cmocka_unit_test(a_later_output_replaces_an_earlier_one),
        cmocka_unit_test(an_error_and_an_output_are_both_sent),
        cmocka_unit_test(an_error_without_words_is_still_an_error),
        cmocka_unit_test(an_exception_has_the_members_of_the_reference_in_its_order),
        cmocka_unit_test(an_exception_of_a_stream_is_plain_text),
        cmocka_unit_test(invalid_json_fails_the_job_and_says_where),
        cmocka_unit_test(pieces_go_out_as_they_come),
        cmocka_unit_test(whole_and_in_pieces_do_not_mix),
        cmocka_unit_test(chunks_are_streamed_and_an_output_is_the_last),
        cmocka_unit_test(a_chunk_with_an_error_ends_the_stream),
        cmocka_unit_test(a_stream_that_nobody_wants_says_so),
        cmocka_unit_test(streaming_needs_to_be_configured),
        cmocka_unit_test(without_memory_the_job_still_fails_with_a_sentence),
        cmocka_unit_test(a_job_gives_its_parts_byte_for_byte),
        cmocka_unit_test(values_of_another_type_give_the_fallback),
        cmocka_unit_test(a_cancel_and_a_deadline_end_a_sleep),
        cmocka_unit_test(a_job_that_cannot_be_made_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
