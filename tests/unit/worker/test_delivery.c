/* A delivery against a server that answers what a test scripts: which answers are final, which are tried again, for how long.
 * runpod.md 1.5 says what the reference does; the rows where we differ on purpose are 401, 403, 408, 425 and 429. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "unit/net/raw_server.h"
#include "worker/delivery.h"

enum { GIVE_UP_MS = 60 * 1000 };

static tt_loop *loop;
static raw_server *server;
static const char *const
    *_Atomic script; /* status lines; NULL: cut the connection; the last is repeated */
static atomic_int at;
static bool has_given_up;
static struct {
    int n_calls;
    tt_delivery_verdict verdict;
    int status, n_tries;
    char reason[128];
} got;

/* The answer to the nth request. */
static const char *scripted(int n) {
    const char *const *lines = atomic_load(&script);
    int i = 0;
    while (i < n && lines[i + 1]) i++;
    return lines[i];
}

static void serve(raw_server *s, int fd) {
    while (raw_read_request(s, fd)) {
        char answer[300];
        const char *line = scripted(atomic_fetch_add(&at, 1));
        if (strcmp(line, "cut") == 0) return;
        if (strcmp(line, "hang") == 0) {
            raw_wait_for_close(fd);
            return;
        }
        snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", line);
        raw_puts(fd, answer);
    }
}

static int set_up(void **state) {
    (void)state;
    memset(&got, 0, sizeof got);
    atomic_store(&at, 0);
    has_given_up = false;
    server = raw_server_start(serve);
    return tt_loop_new(&loop, NULL) == TT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    tt_loop_free(loop);
    raw_server_stop(server);
    return 0;
}

static void note(void *context, const tt_delivery_outcome *outcome) {
    (void)context;
    got.n_calls++;
    got.verdict = outcome->verdict;
    got.status = outcome->status;
    got.n_tries = outcome->n_tries;
    snprintf(got.reason, sizeof got.reason, "%s", outcome->reason);
    tt_loop_stop(loop);
}

static void give_up(void *unused) {
    (void)unused;
    has_given_up = true;
    tt_loop_stop(loop);
}

static void run_for(int64_t ms) {
    tt_timer *limit;
    assert_int_equal(tt_loop_timer(loop, ms, give_up, NULL, &limit, NULL), TT_OK);
    assert_int_equal(tt_loop_run(loop, NULL), TT_OK);
    if (!has_given_up) tt_loop_timer_cancel(loop, limit);
}

static tt_delivery *start(const char *const *answers, int64_t patience_ms) {
    static const char *const HEADERS[] = {"Content-Type: application/x-www-form-urlencoded",
                                          "charset: utf-8", NULL};
    static const tt_http_piece BODY[] = {{"{\"output\": ", 11}, {"5", 1}, {"}", 1}};
    char url[64];
    tt_delivery *d;
    tt_err err;
    atomic_store(&script, answers);
    atomic_store(&at, 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/done?&isStream=false", server->port);
    const tt_delivery_options options = {.loop = loop,
                                         .what = "result",
                                         .job_id = "job-1-u1",
                                         .method = "POST",
                                         .url = url,
                                         .headers = HEADERS,
                                         .body = BODY,
                                         .n_body = 3,
                                         .retries_forbidden = true,
                                         .patience_ms = patience_ms,
                                         .retry_base_ms = 1,
                                         .done = note};
    if (tt_delivery_start(&options, &d, &err) != TT_OK) fail_msg("%s", err.message);
    return d;
}

#define ANSWERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_verdict(const char *const *answers, tt_delivery_verdict verdict, int n_tries) {
    start(answers, GIVE_UP_MS);
    run_for(GIVE_UP_MS);
    assert_false(has_given_up);
    if (got.verdict != verdict || got.n_tries != n_tries || atomic_load(&at) != n_tries)
        fail_msg("%s...: verdict %d after %d tries, %d requests", answers[0], got.verdict,
                 got.n_tries, atomic_load(&at));
}

static void a_result_is_posted_once_when_it_is_taken(void **state) {
    (void)state;
    assert_verdict(ANSWERS("200 OK"), TT_DELIVERY_DELIVERED, 1);
    assert_verdict(ANSWERS("204 No Content"), TT_DELIVERY_DELIVERED, 1);
    raw_look(server);
    assert_non_null(strstr(server->request, "POST /done?&isStream=false HTTP/1.1\r\n"));
    assert_non_null(strstr(server->request, "\r\nContent-Length: 13\r\n"));
    assert_null(strstr(server->request, "chunked"));
    assert_string_equal(server->request + server->head_bytes, "{\"output\": 5}");
}

static void passing_troubles_are_tried_again(void **state) {
    (void)state;
    assert_verdict(ANSWERS("500 x", "502 x", "503 x", "504 x", "200 OK"), TT_DELIVERY_DELIVERED, 5);
    assert_verdict(ANSWERS("408 x", "425 x", "429 x", "200 OK"), TT_DELIVERY_DELIVERED, 4);
    assert_verdict(ANSWERS("302 x\r\nLocation: /elsewhere", "200 OK"), TT_DELIVERY_DELIVERED, 2);
    assert_verdict(ANSWERS("401 x", "403 x", "200 OK"), TT_DELIVERY_DELIVERED, 3);
    start(ANSWERS("cut", "cut", "200 OK"),
          GIVE_UP_MS); /* libcurl itself repeats one on a connection that had grown old */
    run_for(GIVE_UP_MS);
    assert_int_equal(got.verdict, TT_DELIVERY_DELIVERED);
    raw_look(server);
    assert_string_equal(server->request + server->head_bytes, "{\"output\": 5}"); /* whole again */
}

static void final_answers_end_it(void **state) {
    (void)state;
    assert_verdict(ANSWERS("404 x"), TT_DELIVERY_GONE, 1);
    assert_verdict(ANSWERS("500 x", "410 x"), TT_DELIVERY_GONE, 2);
    assert_verdict(ANSWERS("400 x"), TT_DELIVERY_REFUSED, 1);
    assert_int_equal(got.status, 400);
    assert_string_equal(got.reason, "HTTP 400");
    assert_verdict(ANSWERS("413 x"), TT_DELIVERY_REFUSED, 1);
    assert_verdict(ANSWERS("422 x"), TT_DELIVERY_REFUSED, 1);
}

static void retry_after_is_obeyed(void **state) {
    (void)state;
    int64_t started_us = tt_clock_us();
    assert_verdict(ANSWERS("429 x\r\nRetry-After: 1", "200 OK"), TT_DELIVERY_DELIVERED, 2);
    assert_true(tt_clock_us() - started_us >= 1000 * 1000);
}

static void patience_ends(void **state) {
    (void)state;
    start(ANSWERS("500 x"), 300);
    run_for(GIVE_UP_MS);
    assert_int_equal(got.verdict, TT_DELIVERY_EXPIRED);
    assert_int_equal(got.status, 500);
    assert_true(got.n_tries > 1);
    /* Pauses grow: the storm is bounded (1 ms base, 60 ms cap). */
    assert_true(got.n_tries < 150);
}

static void a_platform_that_hangs_is_tried_again(void **state) {
    (void)state;
    assert_verdict(ANSWERS("hang", "200 OK"), TT_DELIVERY_DELIVERED, 2);
}

static void nobody_there_is_a_passing_trouble(void **state) {
    (void)state;
    int port;
    int listener = raw_listen(&port);
    close(listener);
    int real = server->port;
    server->port = port; /* for the URL */
    start(ANSWERS("200 OK"), 200);
    server->port = real;
    run_for(GIVE_UP_MS);
    assert_int_equal(got.verdict, TT_DELIVERY_EXPIRED);
    assert_int_equal(got.status, 0);
    assert_true(got.n_tries > 1);
}

static void hurry_tries_at_once_and_shortens_the_patience(void **state) {
    (void)state;
    tt_delivery *d = start(ANSWERS("429 x\r\nRetry-After: 50", "500 x"), GIVE_UP_MS);
    while (atomic_load(&at) == 0 || !got.n_calls) {
        run_for(100);
        has_given_up = false;
        if (atomic_load(&at) == 1) tt_delivery_hurry(d, 50); /* is pausing for 50 s */
    }
    assert_int_equal(got.verdict, TT_DELIVERY_EXPIRED);
    assert_true(atomic_load(&at) >= 2);
}

static void a_cancelled_delivery_says_nothing(void **state) {
    (void)state;
    tt_delivery *d = start(ANSWERS("hang"), GIVE_UP_MS);
    while (atomic_load(&at) == 0) run_for(20);
    tt_delivery_cancel(d); /* in flight */
    d = start(ANSWERS("429 x\r\nRetry-After: 50"), GIVE_UP_MS);
    while (atomic_load(&at) == 0) run_for(20);
    run_for(50);
    tt_delivery_cancel(d); /* between two tries */
    tt_delivery_cancel(NULL);
    run_for(20);
    assert_int_equal(got.n_calls, 0);
}

static void each_allocation_of_start_may_fail(void **state) {
    (void)state;
    static const char *const HEADERS[] = {"A: 1", NULL};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", server->port);
    atomic_store(&script, ANSWERS("200 OK"));
    const tt_delivery_options options = {.loop = loop,
                                         .what = "result",
                                         .job_id = "j",
                                         .method = "POST",
                                         .url = url,
                                         .headers = HEADERS,
                                         .patience_ms = 1000,
                                         .retry_base_ms = 1,
                                         .done = note};
    for (int n = 0;; n++) {
        tt_delivery *d;
        tt_alloc_fail_after(n);
        tt_status status = tt_delivery_start(&options, &d, NULL);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) {
            tt_delivery_cancel(d);
            break;
        }
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(d);
        assert_true(n < 50);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_result_is_posted_once_when_it_is_taken, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(passing_troubles_are_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(final_answers_end_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(retry_after_is_obeyed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(patience_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_platform_that_hangs_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_is_a_passing_trouble, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hurry_tries_at_once_and_shortens_the_patience, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_delivery_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_allocation_of_start_may_fail, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
