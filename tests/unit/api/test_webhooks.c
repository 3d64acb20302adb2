/* Webhooks: what is sent, how often, and to whom not. Signatures are made again with OpenSSL's other interface, after the
 * rule of Standard Webhooks. */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "unit/api/sink.h"

static const char secret[] =
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"; /* of the specification's examples */

static void open_world(world *w, bool is_signed) {
    tt_api_options options = {.title = "Test",
                              .webhook_secret = is_signed ? secret : NULL,
                              .allows_private_webhooks = true,
                              .webhook_retry_ms = 1};
    world_open_with(w, &(tt_queue_memory_options){0}, options);
}

static void run_with_webhook(world *w, const sink *s, char id[TT_JOB_ID_BYTES]) {
    char body[256];
    snprintf(body, sizeof body, "{\"input\": 1, \"webhook\": \"http://127.0.0.1:%d/hook?x=1\"}",
             s->port);
    run_job(w, body, id);
}

static void expect_signature(const sink_request *r) {
    unsigned char key[32], digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char expected[128] = "v1,", *text = malloc(r->body_size + 512);
    assert_int_equal(EVP_DecodeBlock(key, (const unsigned char *)secret + 6, 32), 24);
    int n = snprintf(text, r->body_size + 512, "%s.%s.%s", sink_header(r, "webhook-id"),
                     sink_header(r, "webhook-timestamp"), r->body);
    assert_non_null(HMAC(EVP_sha256(), key, 24, (unsigned char *)text, (size_t)n, digest, &size));
    EVP_EncodeBlock((unsigned char *)expected + 3, digest, (int)size);
    assert_string_equal(sink_header(r, "webhook-signature"), expected);
    free(text);
}

/* A counter's line of /metrics. */
static int64_t metric(world *w, const char *name) {
    raw_answer a = ask(w, "GET /metrics", NULL);
    char line[256];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(a.body.data, line);
    int64_t n = at ? strtoll(at + strlen(line), NULL, 10) : -1;
    raw_answer_release(&a);
    return n;
}

static bool metric_becomes(world *w, const char *name, int64_t value) {
    for (int64_t end = now_ms() + RAW_WAIT_MS; now_ms() < end; poll(NULL, 0, 2))
        if (metric(w, name) == value) return true;
    return false;
}

static void the_body_is_the_status_and_it_is_signed(void **state) {
    (void)state;
    static const char *const script[] = {"200 OK"};
    sink s;
    world w;
    char id[TT_JOB_ID_BYTES], path[512], expected[512];
    sink_open(&s, script, 1);
    open_world(&w, true);
    run_with_webhook(&w, &s, id);
    finish(&w, id, claim_attempt(&w, id), "{\"image\": \"abc\"}", NULL);
    const sink_request *r = sink_await(&s, 0);
    assert_int_equal(strncmp(r->head, "POST /hook?x=1 HTTP/1.1\r\n", 25), 0);
    assert_string_equal(sink_header(r, "Content-Type"), "application/json");
    snprintf(expected, sizeof expected, "%s-1", id);
    assert_string_equal(sink_header(r, "webhook-id"), expected);
    int64_t timestamp = strtoll(sink_header(r, "webhook-timestamp"), NULL, 10);
    assert_in_range(timestamp, time(NULL) - 60, time(NULL) + 1);
    expect_signature(r);
    expect(&w, path_of(path, "GET /status/", id, ""), NULL, 200, r->body);
    assert_true(metric_becomes(&w, "tintype_webhooks_pending", 0));
    assert_int_equal(metric(&w, "tintype_webhook_deliveries_total{code_class=\"2xx\"}"), 1);
    assert_int_equal(sink_count(&s), 1);
    world_close(&w);
    sink_close(&s);
}

static void every_end_is_told(void **state) {
    (void)state;
    static const char *const script[] = {"204 No Content"};
    sink s;
    world w;
    char id[TT_JOB_ID_BYTES], path[512];
    sink_open(&s, script, 1);
    open_world(&w, false);
    run_with_webhook(&w, &s, id);
    finish(&w, id, claim_attempt(&w, id), NULL, "\"no\"");
    assert_non_null(strstr(sink_await(&s, 0)->body, "\"status\": \"FAILED\""));
    assert_string_equal(sink_header(sink_await(&s, 0), "webhook-signature"), "");
    char first[512];
    snprintf(first, sizeof first, "%s", sink_header(sink_await(&s, 0), "webhook-id"));
    expect(&w, path_of(path, "POST /retry/", id, ""), NULL, 200, NULL); /* a new end, a new id */
    finish(&w, id, claim_attempt(&w, id), "1", NULL);
    assert_non_null(strstr(sink_await(&s, 1)->body, "\"status\": \"COMPLETED\""));
    assert_string_not_equal(sink_header(sink_await(&s, 1), "webhook-id"), first);
    run_with_webhook(&w, &s, id);
    expect(&w, path_of(path, "POST /cancel/", id, ""), NULL, 200, NULL);
    assert_non_null(strstr(sink_await(&s, 2)->body, "\"status\": \"CANCELLED\""));
    world_close(&w);
    sink_close(&s);
}

static void failures_are_tried_again_with_the_same_id(void **state) {
    (void)state;
    static const char *const script[] = {"500 No",   "429 Slow",
                                         "",         "302 Found\r\nLocation: http://127.0.0.1:1/",
                                         "408 Late", "200 OK"};
    sink s;
    world w;
    char id[TT_JOB_ID_BYTES];
    sink_open(&s, script, 6);
    open_world(&w, true);
    run_with_webhook(&w, &s, id);
    finish(&w, id, claim_attempt(&w, id), "1", NULL);
    for (int i = 0; i < 6; i++) {
        const sink_request *r = sink_await(&s, i);
        assert_string_equal(r->body, sink_await(&s, 0)->body);
        assert_string_equal(sink_header(r, "webhook-id"),
                            sink_header(sink_await(&s, 0), "webhook-id"));
        expect_signature(r);
    }
    assert_true(metric_becomes(&w, "tintype_webhooks_pending", 0));
    assert_int_equal(metric(&w, "tintype_webhook_deliveries_total{code_class=\"2xx\"}"), 1);
    assert_int_equal(metric(&w, "tintype_webhook_deliveries_total{code_class=\"3xx\"}"), 1);
    assert_int_equal(metric(&w, "tintype_webhook_deliveries_total{code_class=\"4xx\"}"), 2);
    assert_int_equal(metric(&w, "tintype_webhook_deliveries_total{code_class=\"5xx\"}"), 1);
    assert_int_equal(metric(&w, "tintype_webhook_deliveries_total{code_class=\"none\"}"), 1);
    assert_int_equal(metric(&w, "tintype_webhooks_abandoned_total"), 0);
    world_close(&w);
    sink_close(&s);
}

static void refusals_and_twelve_failures_are_the_end(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int n_tries;
    } cases[] = {{"410 Gone", 1}, {"404 Not Found", 1}, {"503 Never", 12}};
    for (int i = 0; i < 3; i++) {
        sink s;
        world w;
        char id[TT_JOB_ID_BYTES];
        sink_open(&s, &cases[i].line, 1);
        open_world(&w, false);
        run_with_webhook(&w, &s, id);
        finish(&w, id, claim_attempt(&w, id), "1", NULL);
        assert_true(metric_becomes(&w, "tintype_webhooks_abandoned_total", 1));
        assert_int_equal(sink_count(&s), cases[i].n_tries);
        assert_int_equal(metric(&w, "tintype_webhooks_pending"), 0);
        world_close(&w);
        sink_close(&s);
    }
}

static void addresses_inside_are_not_called_by_default(void **state) {
    (void)state;
    static const char *const script[] = {"200 OK"};
    sink s;
    world w;
    char id[TT_JOB_ID_BYTES];
    sink_open(&s, script, 1);
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "Test", .webhook_retry_ms = 1});
    run_with_webhook(&w, &s, id);
    finish(&w, id, claim_attempt(&w, id), "1", NULL);
    assert_true(metric_becomes(&w, "tintype_webhooks_abandoned_total", 1));
    assert_int_equal(sink_count(&s), 0);
    world_close(&w);
    sink_close(&s);
}

static void close_still_gives_the_first_try(void **state) {
    (void)state;
    static const char *const script[] = {"200 OK"};
    enum { N = 50 };
    sink s;
    world w;
    char id[TT_JOB_ID_BYTES];
    sink_open(&s, script, 1);
    open_world(&w, true);
    for (int i = 0; i < N; i++) {
        run_with_webhook(&w, &s, id);
        finish(&w, id, claim_attempt(&w, id), "1", NULL);
    }
    world_close(&w);
    assert_int_equal(sink_count(&s), N);
    sink_close(&s);
}

/* Nobody listens: deliveries are pending when everything ends, and nothing leaks. */
static void pending_deliveries_end_with_the_api(void **state) {
    (void)state;
    world w;
    char id[TT_JOB_ID_BYTES];
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "Test", .allows_private_webhooks = true});
    run_job(&w, "{\"input\": 1, \"webhook\": \"http://127.0.0.1:1/\"}", id);
    finish(&w, id, claim_attempt(&w, id), "1", NULL);
    assert_true(metric_becomes(&w, "tintype_webhook_deliveries_total{code_class=\"none\"}", 1));
    assert_int_equal(metric(&w, "tintype_webhooks_pending"), 1);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_body_is_the_status_and_it_is_signed),
        cmocka_unit_test(every_end_is_told),
        cmocka_unit_test(failures_are_tried_again_with_the_same_id),
        cmocka_unit_test(refusals_and_twelve_failures_are_the_end),
        cmocka_unit_test(addresses_inside_are_not_called_by_default),
        cmocka_unit_test(close_still_gives_the_first_try),
        cmocka_unit_test(pending_deliveries_end_with_the_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
