/* What the tests of the HTTP client share: a loop, a server of bytes, and a callback that copies what it sees. Included by one
 * .c per program. */
#ifndef TESTS_UNIT_NET_HTTP_CLIENT_FIXTURE_H
#define TESTS_UNIT_NET_HTTP_CLIENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "net/http_client.h"
#include "unit/net/raw_server.h"

enum { GIVE_UP_MS = 60 * 1000 };

typedef struct result { /* what the callback saw, copied */
    int n_calls;
    bool was_refused;
    tt_status failure;
    int status;
    int64_t retry_after_ms;
    char message[TT_ERR_MESSAGE_BYTES], content_type[100], location[300];
    char body[100];
    size_t body_bytes;
} result;

static tt_loop *loop;
static raw_server *server;
static result got;
static int n_awaited; /* callbacks until the loop stops */
static bool has_given_up;

static inline int set_up(void **state) {
    (void)state;
    got = (result){.n_calls = 0};
    server = NULL;
    has_given_up = false;
    return tt_loop_new(&loop, NULL) == TT_OK ? 0 : -1;
}

static inline int tear_down(void **state) {
    (void)state;
    if (server) raw_server_stop(server); /* first: its threads may stop the loop */
    tt_loop_free(loop);
    return 0;
}

static inline void give_up(void *unused) {
    (void)unused;
    has_given_up = true;
    tt_loop_stop(loop);
}

static inline void run(void) {
    tt_timer *limit;
    assert_int_equal(tt_loop_timer(loop, GIVE_UP_MS, give_up, NULL, &limit, NULL), TT_OK);
    assert_int_equal(tt_loop_run(loop, NULL), TT_OK);
    assert_false(has_given_up);
    tt_loop_timer_cancel(loop, limit);
}

static inline void note(void *context, const tt_http_response *r) {
    result *into = context;
    into->n_calls++;
    into->failure = r->failure;
    into->was_refused = r->was_refused;
    into->status = r->status;
    into->retry_after_ms = r->retry_after_ms;
    snprintf(into->message, sizeof into->message, "%s", r->message);
    snprintf(into->content_type, sizeof into->content_type, "%s", r->content_type);
    snprintf(into->location, sizeof into->location, "%s", r->location);
    snprintf(into->body, sizeof into->body, "%s", r->body);
    into->body_bytes = r->body_bytes;
    assert_int_equal(r->body[r->body_bytes], '\0');
    if (--n_awaited == 0) tt_loop_stop(loop);
}

static inline const char *url_of(const char *path) {
    static char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server->port, path);
    return url;
}

static inline tt_http_request get(const char *path) {
    return (tt_http_request){.method = "GET", .url = url_of(path)};
}

static inline void send_to(const tt_http_request *request, result *into) {
    tt_err err = {.message = ""};
    tt_status status = tt_http_send(loop, request, note, into, NULL, &err);
    if (status != TT_OK) fail_msg("%s", err.message);
}

/* Sends, runs until the callback, and looks that there was exactly one. */
static inline void fetch(const tt_http_request *request) {
    int before = got.n_calls;
    n_awaited = 1;
    send_to(request, &got);
    assert_int_equal(got.n_calls, before); /* not from inside the call */
    run();
    assert_int_equal(got.n_calls, before + 1);
}

static inline void expect_failure(tt_status failure, const char *part) {
    assert_int_equal(got.failure, failure);
    assert_int_equal(got.status, 0);
    if (!strstr(got.message, part)) fail_msg("\"%s\" says nothing of \"%s\"", got.message, part);
    assert_null(strstr(got.message, "127.0.0.1"));
    assert_null(strstr(got.message, "secret"));
}

/* ---- what several tests use -------------------------------------------------------------------------------------- */

static inline void serve_hello(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd,
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
}

enum { PATTERN_BYTES = 400 * 1000 };

static inline char *pattern(void) {
    static char bytes[PATTERN_BYTES];
    if (bytes[PATTERN_BYTES - 1]) return bytes; /* made once: a server's thread may be reading it */
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    return bytes;
}

/* Of this program: no proxy of the machine's, and descriptors for both ends of hundreds of connections. */
enum { DESCRIPTORS = 1500 };

static inline int prepare(void **state) {
    static const char *const PROXIES[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                          "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    struct rlimit limit;
    (void)state;
    for (size_t i = 0; i < sizeof PROXIES / sizeof *PROXIES; i++) unsetenv(PROXIES[i]);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    if (limit.rlim_cur >= DESCRIPTORS) return 0;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
