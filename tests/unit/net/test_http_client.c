/* The HTTP client against servers that send whatever bytes a test wants (raw_server.h). What is promised: one callback per
 * transfer, the request exactly as given, and a sentence without URL or credentials for everything that can go wrong. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "net/http_client.h"
#include "unit/net/raw_server.h"

enum { GIVE_UP_MS = 60 * 1000 };

typedef struct result { /* what the callback saw, copied */
    int n_calls;
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

static int set_up(void **state) {
    (void)state;
    got = (result){.n_calls = 0};
    server = NULL;
    has_given_up = false;
    return tt_loop_new(&loop, NULL) == TT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    if (server) raw_server_stop(server); /* first: its threads may stop the loop */
    tt_loop_free(loop);
    return 0;
}

static void give_up(void *unused) {
    (void)unused;
    has_given_up = true;
    tt_loop_stop(loop);
}

static void run(void) {
    tt_timer *limit;
    assert_int_equal(tt_loop_timer(loop, GIVE_UP_MS, give_up, NULL, &limit, NULL), TT_OK);
    assert_int_equal(tt_loop_run(loop, NULL), TT_OK);
    assert_false(has_given_up);
    tt_loop_timer_cancel(loop, limit);
}

static void note(void *context, const tt_http_response *r) {
    result *into = context;
    into->n_calls++;
    into->failure = r->failure;
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

static const char *url_of(const char *path) {
    static char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server->port, path);
    return url;
}

static tt_http_request get(const char *path) {
    return (tt_http_request){.method = "GET", .url = url_of(path)};
}

static void send_to(const tt_http_request *request, result *into) {
    tt_err err = {.message = ""};
    tt_status status = tt_http_send(loop, request, note, into, NULL, &err);
    if (status != TT_OK) fail_msg("%s", err.message);
}

/* Sends, runs until the callback, and looks that there was exactly one. */
static void fetch(const tt_http_request *request) {
    int before = got.n_calls;
    n_awaited = 1;
    send_to(request, &got);
    assert_int_equal(got.n_calls, before); /* not from inside the call */
    run();
    assert_int_equal(got.n_calls, before + 1);
}

static void expect_failure(tt_status failure, const char *part) {
    assert_int_equal(got.failure, failure);
    assert_int_equal(got.status, 0);
    if (!strstr(got.message, part)) fail_msg("\"%s\" says nothing of \"%s\"", got.message, part);
    assert_null(strstr(got.message, "127.0.0.1"));
    assert_null(strstr(got.message, "secret"));
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void serve_hello(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd,
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
}

static void an_answer_arrives_whole(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/a?b=c");
    fetch(&request);
    assert_int_equal(got.failure, TT_OK);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.message, "");
    assert_string_equal(got.content_type, "text/plain");
    assert_string_equal(got.location, "");
    assert_int_equal(got.retry_after_ms, -1);
    assert_string_equal(got.body, "hello");
    assert_int_equal(got.body_bytes, 5);
    assert_int_equal(strncmp(raw_look(server), "GET /a?b=c HTTP/1.1\r\n", 21), 0);
}

static void serve_no_content(raw_server *s, int fd) {
    while (raw_read_request(s, fd)) raw_puts(fd, "HTTP/1.1 204 No Content\r\n\r\n");
}

static void an_answer_without_body_is_an_empty_string(void **state) {
    (void)state;
    server = raw_server_start(serve_no_content);
    tt_http_request request = get("/");
    fetch(&request);
    assert_int_equal(got.status, 204);
    assert_string_equal(got.body, "");
    assert_string_equal(got.content_type, "");
}

static void serve_redirect(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd,
                 "HTTP/1.1 302 Found\r\nlocation:  /elsewhere?x=1 \r\nContent-Length: 0\r\n\r\n");
}

static void a_redirect_is_an_answer_and_its_location_absolute(void **state) {
    (void)state;
    server = raw_server_start(serve_redirect);
    tt_http_request request = get("/");
    fetch(&request);
    assert_int_equal(got.status, 302);
    assert_string_equal(got.location, url_of("/elsewhere?x=1"));
    assert_int_equal(server->n_requests, 1);
}

static void serve_created(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd, "HTTP/1.1 103 Early Hints\r\nLocation: /wrong\r\nRetry-After: 7\r\n\r\n"
                     "HTTP/1.1 201 Created\r\nLocation: things/1\r\nContent-Length: 0\r\n\r\n");
}

static void headers_of_interim_answers_are_forgotten(void **state) {
    (void)state;
    server = raw_server_start(serve_created);
    tt_http_request request = get("/");
    fetch(&request);
    assert_int_equal(got.status, 201);
    assert_string_equal(got.location, "things/1");
    assert_int_equal(got.retry_after_ms, -1);
}

static const char *retry_after;

static void serve_busy(raw_server *s, int fd) {
    char answer[200];
    while (raw_read_request(s, fd)) {
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", retry_after);
        raw_puts(fd, answer);
    }
}

static void retry_after_is_read_as_seconds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } CASES[] = {{"0", 0},   {"120", 120000}, {" 3 ", 3000}, {"Wed, 21 Oct 2015 07:28:00 GMT", -1},
                 {"-1", -1}, {"1.5", -1},     {"", -1},      {"99999999999999999999", -1}};
    server = raw_server_start(serve_busy);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        retry_after = CASES[i].text;
        tt_http_request request = get("/");
        fetch(&request);
        assert_int_equal(got.status, 503);
        assert_int_equal(got.retry_after_ms, CASES[i].ms);
    }
}

static void serve_chunks(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
}

static void chunks_are_put_together(void **state) {
    (void)state;
    server = raw_server_start(serve_chunks);
    tt_http_request request = get("/");
    fetch(&request);
    assert_string_equal(got.body, "abcdefg");
}

/* gzip of "hello", by Python's gzip.compress(b"hello", mtime=0). */
static const unsigned char GZIP_HELLO[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
                                           0xff, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86,
                                           0xa6, 0x10, 0x36, 0x05, 0x00, 0x00, 0x00};

static void serve_gzip(raw_server *s, int fd) {
    while (raw_read_request(s, fd)) {
        raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n\r\n");
        raw_send(fd, (const char *)GZIP_HELLO, sizeof GZIP_HELLO);
    }
}

static void an_answer_is_unpacked_only_for_who_asked(void **state) {
    (void)state;
    server = raw_server_start(serve_gzip);
    tt_http_request request = get("/");
    fetch(&request);
    assert_int_equal(got.body_bytes, sizeof GZIP_HELLO);
    assert_null(strcasestr(raw_look(server), "accept-encoding"));
    request.headers = (const char *const[]){"Accept-Encoding: gzip", NULL};
    fetch(&request);
    assert_string_equal(got.body, "hello");
    assert_non_null(strstr(raw_look(server), "\r\nAccept-Encoding: gzip\r\n"));
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void only_the_headers_given_are_sent(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    request.method = "POST";
    fetch(&request);
    char expected[200];
    snprintf(expected, sizeof expected,
             "POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
             server->port);
    assert_string_equal(raw_look(server), expected);
    request.headers =
        (const char *const[]){"Content-Type: application/json; charset=utf-8", "User-Agent: mine/1",
                              "X-Empty;", "Accept: text/x", NULL};
    request.body = &(tt_http_piece){"{}", 2};
    request.n_body = 1;
    fetch(&request);
    snprintf(expected, sizeof expected,
             "POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
             "Content-Type: application/json; charset=utf-8\r\nUser-Agent: mine/1\r\nX-Empty:\r\n"
             "Accept: text/x\r\nContent-Length: 2\r\n\r\n{}",
             server->port);
    assert_string_equal(raw_look(server), expected);
}

static void every_method_is_sent_as_named(void **state) {
    (void)state;
    static const struct {
        const char *method;
        bool has_length;
    } CASES[] = {{"GET", false},  {"POST", true},    {"PUT", true},
                 {"PATCH", true}, {"DELETE", false}, {"OPTIONS", false}};
    server = raw_server_start(serve_hello);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt_http_request request = get("/m");
        char line[40];
        request.method = CASES[i].method;
        fetch(&request);
        assert_int_equal(got.status, 200);
        int n = snprintf(line, sizeof line, "%s /m HTTP/1.1\r\n", CASES[i].method);
        assert_int_equal(strncmp(raw_look(server), line, (size_t)n), 0);
        assert_int_equal(strstr(raw_look(server), "Content-Length: 0\r\n") != NULL,
                         CASES[i].has_length);
    }
}

static void serve_head(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 123456789012\r\n\r\n");
}

static void head_waits_for_no_body(void **state) {
    (void)state;
    server = raw_server_start(serve_head);
    tt_http_request request = get("/");
    request.method = "HEAD";
    fetch(&request);
    assert_int_equal(got.status, 200);
    assert_int_equal(got.body_bytes, 0);
    assert_int_equal(strncmp(raw_look(server), "HEAD ", 5), 0);
}

enum { PATTERN_BYTES = 400 * 1000 };

static char *pattern(void) {
    static char bytes[PATTERN_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    return bytes;
}

static void expect_body_of(size_t size) {
    char length[60];
    raw_look(server);
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", size);
    assert_non_null(strstr(server->request, length));
    assert_null(strstr(server->request, "\r\nExpect"));
    assert_null(strstr(server->request, "\r\nTransfer-Encoding"));
    assert_int_equal(server->request_bytes - server->head_bytes, size);
    assert_memory_equal(server->request + server->head_bytes, pattern(), size);
}

static void a_body_arrives_from_its_pieces(void **state) {
    (void)state;
    static const size_t SIZES[] = {0, 1, 1000, 16 * 1024, 16 * 1024 + 1, 70 * 1000, PATTERN_BYTES};
    const char *p = pattern();
    server = raw_server_start(serve_hello);
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        size_t size = SIZES[i], third = size / 3;
        const tt_http_piece whole = {p, size};
        const tt_http_piece parts[] = {
            {p, third}, {NULL, 0}, {p + third, third}, {p + 2 * third, size - 2 * third}, {"", 0}};
        tt_http_request request = get("/");
        request.method = "PUT";
        request.body = &whole;
        request.n_body = 1;
        fetch(&request);
        expect_body_of(size);
        request.body = parts;
        request.n_body = 5;
        fetch(&request);
        expect_body_of(size);
    }
    assert_int_equal(server->n_connections, 1);
}

static void paths_arrive_as_they_were_given(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/a/../b/./c%2Fd?x=%20y");
    fetch(&request);
    assert_int_equal(strncmp(raw_look(server), "GET /a/../b/./c%2Fd?x=%20y HTTP/1.1\r\n", 37), 0);
}

static void what_could_forge_a_request_is_refused(void **state) {
    (void)state;
    static const char *const HEADERS[] = {
        "X: a\r\nY: b", "X: a\nb", "no colon", ": empty",           "X y: space",
        "X;value",      "",        "X: \x7f",  "content-LENGTH: 5", "Transfer-Encoding: chunked"};
    static const char *const METHODS[] = {"", "get", "GET /", "G\r\nX", "ABCDEFGHIJKLMNOPQ"};
    static const char *const URLS[] = {"ftp://x/",
                                       "file:///etc/passwd",
                                       "http://a b/",
                                       "http://u:p@h/",
                                       "http://h/\r\nX: y",
                                       "//h/",
                                       ""};
    tt_http_request request = {.method = "GET", .url = "http://127.0.0.1:1/"};
    tt_err err;
    for (size_t i = 0; i < sizeof HEADERS / sizeof *HEADERS; i++) {
        request.headers = (const char *const[]){HEADERS[i], NULL};
        assert_int_equal(tt_http_send(loop, &request, note, &got, NULL, &err), TT_E_INVALID);
    }
    request.headers = NULL;
    for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++) {
        request.method = METHODS[i];
        assert_int_equal(tt_http_send(loop, &request, note, &got, NULL, &err), TT_E_INVALID);
    }
    request.method = "GET";
    for (size_t i = 0; i < sizeof URLS / sizeof *URLS; i++) {
        request.url = URLS[i];
        assert_int_equal(tt_http_send(loop, &request, note, &got, NULL, &err), TT_E_INVALID);
    }
    assert_int_equal(got.n_calls, 0);
}

static void a_refused_header_does_not_show_its_value(void **state) {
    (void)state;
    tt_http_request request = {.method = "GET",
                               .url = "http://127.0.0.1:1/",
                               .headers =
                                   (const char *const[]){"Authorization: Bearer s\necret", NULL}};
    tt_err err;
    assert_int_equal(tt_http_send(loop, &request, note, &got, NULL, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "Authorization"));
    assert_null(strstr(err.message, "Bearer"));
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void a_connection_is_used_again(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    for (int i = 0; i < 200; i++) fetch(&request);
    assert_int_equal(server->n_connections, 1);
    assert_int_equal(server->n_requests, 200);
}

static int n_left_to_send;

static void send_next(void *context, const tt_http_response *r) {
    tt_http_request request = get("/");
    assert_int_equal(r->status, 200);
    if (--n_left_to_send == 0) {
        tt_loop_stop(loop);
        return;
    }
    assert_int_equal(tt_http_send(loop, &request, send_next, context, NULL, NULL), TT_OK);
}

static void a_request_sent_by_a_callback_finds_the_connection_free(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    n_left_to_send = 100;
    assert_int_equal(tt_http_send(loop, &request, send_next, NULL, NULL, NULL), TT_OK);
    run();
    assert_int_equal(server->n_connections, 1);
}

static void serve_once(raw_server *s, int fd) {
    if (raw_read_request(s, fd)) raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* The server promises to keep the connection and closes it; the second request, whose body is read from pieces and may have
 * to be read again, goes over a new one. */
static void a_connection_closed_meanwhile_is_replaced(void **state) {
    (void)state;
    const char *p = pattern();
    const tt_http_piece parts[] = {{p, 50 * 1000}, {p + 50 * 1000, 50 * 1000}};
    server = raw_server_start(serve_once);
    for (int i = 0; i < 5; i++) {
        tt_http_request request = get("/");
        request.method = "POST";
        request.body = parts;
        request.n_body = 2;
        fetch(&request);
        assert_int_equal(got.status, 200);
        expect_body_of(100 * 1000);
    }
    assert_int_equal(server->n_connections, 5);
}

/* Reads one request, answers it; takes the next one and closes without a word, as a server does whose patience ended just
 * then. Only libcurl's second try, with the body from its start, can succeed. */
static void serve_one_and_a_half(raw_server *s, int fd) {
    serve_once(s, fd);
    if (s->n_connections == 1) raw_read_request(s, fd);
}

static void a_request_that_met_a_dying_connection_is_sent_again(void **state) {
    (void)state;
    const char *p = pattern();
    const tt_http_piece parts[] = {{p, 20 * 1000}, {p + 20 * 1000, 20 * 1000}};
    server = raw_server_start(serve_one_and_a_half);
    for (int i = 0; i < 2; i++) {
        tt_http_request request = get("/");
        request.method = "POST";
        request.body = parts;
        request.n_body = 2;
        fetch(&request);
        assert_int_equal(got.status, 200);
    }
    expect_body_of(40 * 1000);
    assert_int_equal(server->n_connections, 2);
    assert_int_equal(server->n_requests, 3);
}

enum { N_MANY = 500 };

static int many_listener;

/* Answers nobody before all have connected: so all were in flight at once. */
static void *serve_many(void *unused) {
    static int fds[N_MANY];
    for (int i = 0; i < N_MANY; i++) fds[i] = accept(many_listener, NULL, NULL);
    for (int i = N_MANY - 1; i >= 0; i--) {
        char bytes[4096];
        if (recv(fds[i], bytes, sizeof bytes, 0) > 0)
            raw_puts(fds[i], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    for (int i = 0; i < N_MANY; i++) close(fds[i]);
    return unused;
}

static void hundreds_are_in_flight_at_once(void **state) {
    (void)state;
    static result results[N_MANY];
    int port;
    char url[60];
    pthread_t thread;
    many_listener = raw_listen(&port);
    assert_int_equal(pthread_create(&thread, NULL, serve_many, NULL), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    tt_http_request request = {.method = "GET", .url = url};
    n_awaited = N_MANY;
    for (int i = 0; i < N_MANY; i++) send_to(&request, &results[i]);
    run();
    pthread_join(thread, NULL);
    close(many_listener);
    for (int i = 0; i < N_MANY; i++) {
        assert_int_equal(results[i].n_calls, 1);
        assert_string_equal(results[i].body, "ok");
    }
}

/* ---- what goes wrong --------------------------------------------------------------------------------------------- */

static void nobody_listening_is_told(void **state) {
    (void)state;
    int port;
    char url[80];
    close(raw_listen(&port));
    snprintf(url, sizeof url, "http://127.0.0.1:%d/?key=secret", port);
    tt_http_request request = {.method = "GET", .url = url};
    fetch(&request);
    expect_failure(TT_E_IO, "could not connect: Connection refused");
}

static void a_name_that_does_not_exist_is_told(void **state) {
    (void)state;
    tt_http_request request = {
        .method = "GET", .url = "http://secret.invalid/", .timeout_ms = 50000};
    fetch(&request);
    assert_int_equal(got.failure, TT_E_IO); /* a machine without a resolver may say it otherwise */
    assert_null(strstr(got.message, "secret"));
}

static void serve_silence(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_wait_for_close(fd);
}

static void silence_ends_at_the_deadline(void **state) {
    (void)state;
    server = raw_server_start(serve_silence);
    tt_http_request request = get("/?key=secret");
    request.timeout_ms = 100;
    int64_t start_us = tt_clock_us();
    fetch(&request);
    assert_true(tt_clock_us() - start_us >= 90 * 1000);
    expect_failure(TT_E_IO, "no complete answer within 100 ms");
}

/* A byte every 10 ms is activity, but no answer. */
static void serve_drip(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    for (ssize_t n = 1; n > 0; usleep(10 * 1000)) n = send(fd, "x", 1, MSG_NOSIGNAL);
}

static void a_body_that_drips_ends_at_the_deadline(void **state) {
    (void)state;
    server = raw_server_start(serve_drip);
    tt_http_request request = get("/");
    request.timeout_ms = 200;
    fetch(&request);
    expect_failure(TT_E_IO, "no complete answer within 200 ms");
}

/* A full backlog of 0: the system accepts no further connection, and says nothing. */
static void a_connection_that_does_not_come_ends_at_its_deadline(void **state) {
    (void)state;
    enum { N_TO_FILL = 8 };
    int port, listener = raw_listen(&port), fillers[N_TO_FILL];
    char url[60];
    listen(listener, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    for (int i = 0; i < N_TO_FILL; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    tt_http_request request = {.method = "GET", .url = url, .connect_timeout_ms = 150};
    fetch(&request);
    expect_failure(TT_E_IO, "no connection within 150 ms");
    for (int i = 0; i < N_TO_FILL; i++) close(fillers[i]);
    close(listener);
}

static void serve_reset(raw_server *s, int fd) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome of it");
    usleep(20 * 1000);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    (void)!connect(fd, &nowhere, sizeof nowhere); /* dissolves the connection: a reset */
}

static void a_reset_in_the_middle_is_told(void **state) {
    (void)state;
    server = raw_server_start(serve_reset);
    tt_http_request request = get("/");
    fetch(&request);
    expect_failure(TT_E_IO, "the connection ");
    assert_int_equal(got.body_bytes, 0);
}

static void serve_half(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome of it");
}

static void an_answer_cut_short_is_a_failure(void **state) {
    (void)state;
    server = raw_server_start(serve_half);
    tt_http_request request = get("/");
    fetch(&request);
    expect_failure(TT_E_IO, "closed in the middle of the answer");
}

static void serve_close(raw_server *s, int fd) {
    raw_read_request(s, fd);
}

static void a_close_without_answer_is_told(void **state) {
    (void)state;
    server = raw_server_start(serve_close);
    tt_http_request request = get("/");
    fetch(&request);
    expect_failure(TT_E_IO, "closed without an answer");
}

static const char *garbage;

static void serve_garbage(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_puts(fd, garbage);
}

static void what_is_not_http_is_told(void **state) {
    (void)state;
    static const char *const CASES[] = {"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "\x16\x03\x01\x02",
                                        "HTTP/1.1 abc\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n",
                                        "HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"};
    server = raw_server_start(serve_garbage);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        garbage = CASES[i];
        tt_http_request request = get("/");
        request.timeout_ms = 20 * 1000;
        fetch(&request);
        assert_true(got.failure == TT_E_FORMAT);
    }
    garbage = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-a-size\r\n";
    tt_http_request request = get("/");
    fetch(&request);
    assert_int_not_equal(got.failure, TT_OK);
}

static void serve_endless(raw_server *s, int fd) {
    static char block[64 * 1024];
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\n\r\n");
    memset(block, 'e', sizeof block);
    for (ssize_t n = 1; n > 0;) n = send(fd, block, sizeof block, MSG_NOSIGNAL);
}

static void an_answer_over_the_limit_is_broken_off(void **state) {
    (void)state;
    server = raw_server_start(serve_endless);
    tt_http_request request = get("/");
    request.max_response_bytes = 100 * 1000;
    fetch(&request);
    expect_failure(TT_E_FORMAT, "too large: more than 100000 bytes");
}

static void an_answer_at_the_limit_is_whole(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    request.max_response_bytes = 5;
    fetch(&request);
    assert_string_equal(got.body, "hello");
    request.max_response_bytes = 4;
    fetch(&request);
    expect_failure(TT_E_FORMAT, "more than 4 bytes");
}

static void serve_endless_headers(raw_server *s, int fd) {
    static const char LINE[] = "X-Header: 0123456789012345678901234567890123456789\r\n";
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\n");
    for (ssize_t n = 1; n > 0;) n = send(fd, LINE, sizeof LINE - 1, MSG_NOSIGNAL);
}

static void serve_endless_interim(raw_server *s, int fd) {
    static const char LINE[] = "HTTP/1.1 100 Continue\r\n\r\n";
    raw_read_request(s, fd);
    for (ssize_t n = 1; n > 0;) n = send(fd, LINE, sizeof LINE - 1, MSG_NOSIGNAL);
}

static void serve_endless_line(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nX: ");
    for (ssize_t n = 1; n > 0;) n = send(fd, "xxxxxxxxxxxxxxxx", 16, MSG_NOSIGNAL);
}

static void endless_headers_are_broken_off(void **state) {
    (void)state;
    static const raw_serve_fn CASES[] = {serve_endless_headers, serve_endless_interim,
                                         serve_endless_line};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        server = raw_server_start(CASES[i]);
        tt_http_request request = get("/");
        fetch(&request);
        assert_int_not_equal(got.failure, TT_OK);
        assert_int_equal(got.status, 0);
        raw_server_stop(server);
        server = NULL;
    }
}

static void an_address_inside_is_refused_to_strangers(void **state) {
    (void)state;
    static const char *const HOSTS[] = {"127.0.0.1",  "localhost",  "[::1]",
                                        "0.0.0.0",    "2130706433", "0x7f000001",
                                        "0177.0.0.1", "127.1",      "[::ffff:127.0.0.1]"};
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    fetch(&request); /* a kept-alive connection of ours must not help them */
    assert_int_equal(got.status, 200);
    for (size_t i = 0; i < sizeof HOSTS / sizeof *HOSTS; i++) {
        char url[80];
        snprintf(url, sizeof url, "http://%s:%d/", HOSTS[i], server->port);
        request.url = url;
        request.public_only = true;
        fetch(&request);
        expect_failure(TT_E_IO, "the address is not public");
    }
    assert_int_equal(server->n_requests, 1);
    assert_int_equal(server->n_connections, 1);
}

static void a_proxy_is_no_way_round_the_guard(void **state) {
    (void)state;
    char proxy[60];
    server = raw_server_start(serve_hello);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server->port);
    setenv("http_proxy", proxy, 1);
    tt_http_request request = {.method = "GET", .url = "http://10.1.2.3/", .timeout_ms = 20000};
    fetch(&request);
    assert_string_equal(got.body, "hello"); /* the usual variable is obeyed */
    assert_int_equal(strncmp(raw_look(server), "GET http://10.1.2.3/ HTTP/1.1\r\n", 31), 0);
    request.public_only = true;
    fetch(&request);
    unsetenv("http_proxy");
    expect_failure(TT_E_IO, "the address is not public");
    assert_int_equal(server->n_requests, 1);
}

/* ---- cancels and ends -------------------------------------------------------------------------------------------- */

static void stop(void *unused) {
    (void)unused;
    tt_loop_stop(loop);
}

static tt_http_transfer *in_flight;

static void cancel(void *unused) {
    (void)unused;
    tt_http_cancel(loop, in_flight);
}

static atomic_bool has_seen_close;

static void serve_until_close(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_wait_for_close(fd);
    atomic_store(&has_seen_close, true);
    tt_loop_stop(loop);
}

static void a_cancel_closes_the_connection_and_calls_nobody(void **state) {
    (void)state;
    atomic_store(&has_seen_close, false);
    server = raw_server_start(serve_until_close);
    tt_http_request request = get("/");
    n_awaited = 1;
    assert_int_equal(tt_http_send(loop, &request, note, &got, &in_flight, NULL), TT_OK);
    assert_int_equal(tt_loop_timer(loop, 50, cancel, NULL, NULL, NULL), TT_OK);
    run(); /* until the server has seen the end */
    assert_true(atomic_load(&has_seen_close));
    assert_int_equal(got.n_calls, 0);
}

static void a_cancel_before_the_loop_runs_leaves_nothing(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tt_http_send(loop, &request, note, &got, &in_flight, NULL), TT_OK);
        cancel(NULL);
    }
    tt_http_cancel(loop, NULL);
    assert_int_equal(tt_loop_timer(loop, 20, stop, NULL, NULL, NULL), TT_OK);
    run();
    assert_int_equal(got.n_calls, 0);
    assert_int_equal(server->n_connections, 0);
}

static tt_http_transfer *both[2];

static void cancel_both(void *context, const tt_http_response *r) {
    (void)context;
    assert_int_equal(r->status, 200);
    got.n_calls++;
    tt_http_cancel(loop, both[0]); /* one is this one: nothing happens */
    tt_http_cancel(loop, both[1]);
    assert_string_equal(r->body, "hello"); /* still there */
    assert_int_equal(tt_loop_timer(loop, 50, stop, NULL, NULL, NULL), TT_OK);
}

static void a_callback_may_cancel_itself_and_others(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    for (int i = 0; i < 2; i++)
        assert_int_equal(tt_http_send(loop, &request, cancel_both, NULL, &both[i], NULL), TT_OK);
    run();
    assert_int_equal(got.n_calls, 1);
}

static void stop_and_count(void *context, const tt_http_response *r) {
    (void)context;
    assert_int_equal(r->status, 200);
    got.n_calls++;
    tt_loop_stop(loop);
}

static void a_stop_holds_back_callbacks_until_the_next_run(void **state) {
    (void)state;
    enum { N = 8 };
    server = raw_server_start(serve_hello);
    tt_http_request request = get("/");
    for (int i = 0; i < N; i++)
        assert_int_equal(tt_http_send(loop, &request, stop_and_count, NULL, NULL, NULL), TT_OK);
    for (int i = 1; i <= N; i++) {
        run();
        assert_int_equal(got.n_calls, i);
    }
}

static void transfers_in_flight_end_with_the_loop(void **state) {
    (void)state;
    server = raw_server_start(serve_silence);
    for (int i = 0; i < 10; i++) {
        tt_http_request request = get("/");
        send_to(&request, &got);
    }
    assert_int_equal(tt_loop_timer(loop, 50, stop, NULL, NULL, NULL), TT_OK);
    run();
    tt_loop_free(loop);
    assert_int_equal(got.n_calls, 0);
    assert_int_equal(tt_loop_new(&loop, NULL), TT_OK); /* for tear_down */
}

/* Whatever allocation fails: an error at once, or one callback that says so, and no leak. */
static void every_allocation_may_fail(void **state) {
    (void)state;
    const char *p = pattern();
    const tt_http_piece parts[] = {{p, 20 * 1000}, {p + 20 * 1000, 20 * 1000}};
    server = raw_server_start(serve_hello);
    bool has_failed = true;
    int n = 0;
    for (; has_failed; n++) {
        tt_loop *mine = loop;
        tt_loop_free(mine); /* fresh, so that the first use is rehearsed too */
        assert_int_equal(tt_loop_new(&loop, NULL), TT_OK);
        tt_http_request request = get("/");
        request.method = "POST";
        request.body = parts;
        request.n_body = 2;
        tt_timer *limit;
        assert_int_equal(tt_loop_timer(loop, GIVE_UP_MS, give_up, NULL, &limit, NULL), TT_OK);
        got = (result){.n_calls = 0};
        n_awaited = 1;
        tt_alloc_fail_after(n);
        tt_status status = tt_http_send(loop, &request, note, &got, NULL, NULL);
        if (status == TT_OK) assert_int_equal(tt_loop_run(loop, NULL), TT_OK);
        tt_alloc_fail_after(-1);
        assert_false(has_given_up);
        assert_int_equal(got.n_calls, status == TT_OK ? 1 : 0);
        has_failed = status != TT_OK || got.failure != TT_OK;
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        if (status == TT_OK && has_failed) assert_int_equal(got.failure, TT_E_NOMEM);
    }
    assert_true(n > 5);
}

/* A TLS record that must be answered with an alert, the end of the stream, a reset. The client reads the record and answers
 * with an alert into a connection that is dead; before libcurl 7.87 with write(2), which raises SIGPIPE. */
static void serve_no_tls(raw_server *s, int fd) {
    static const char RECORD[] =
        "\x16\x03\x03\x00\x04\x02\x00\x00\x00"; /* a ServerHello of no bytes */
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    char hello[4096];
    (void)s;
    if (recv(fd, hello, sizeof hello, 0) <= 0) return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    raw_send(fd, RECORD, sizeof RECORD - 1);
    shutdown(fd, SHUT_WR);
    (void)!connect(fd, &nowhere, sizeof nowhere); /* dissolves the connection */
}

static void a_tls_peer_that_vanishes_raises_no_signal(void **state) {
    (void)state;
    struct sigaction before;
    sigset_t mask;
    sigaction(SIGPIPE, NULL, &before);
    assert_true(before.sa_handler == SIG_DFL); /* so a signal would end this program */
    server = raw_server_start(serve_no_tls);
    char url[60];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server->port);
    tt_http_request request = {.method = "GET", .url = url};
    for (int i = 0; i < 20; i++) {
        fetch(&request);
        assert_int_equal(got.failure, TT_E_IO);
    }
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGPIPE)); /* children inherit nothing */
}

/* Of this program: no proxy of the machine's, and descriptors for both ends of hundreds of connections. */
static int prepare(void **state) {
    static const char *const PROXIES[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                          "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    struct rlimit limit;
    (void)state;
    for (size_t i = 0; i < sizeof PROXIES / sizeof *PROXIES; i++) unsetenv(PROXIES[i]);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    if (limit.rlim_cur >= 3 * N_MANY) return 0;
    limit.rlim_cur = limit.rlim_max < 3 * N_MANY ? limit.rlim_max : 3 * N_MANY;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_answer_arrives_whole),
        TEST(an_answer_without_body_is_an_empty_string),
        TEST(a_redirect_is_an_answer_and_its_location_absolute),
        TEST(headers_of_interim_answers_are_forgotten),
        TEST(retry_after_is_read_as_seconds),
        TEST(chunks_are_put_together),
        TEST(an_answer_is_unpacked_only_for_who_asked),
        TEST(only_the_headers_given_are_sent),
        TEST(every_method_is_sent_as_named),
        TEST(head_waits_for_no_body),
        TEST(a_body_arrives_from_its_pieces),
        TEST(paths_arrive_as_they_were_given),
        TEST(what_could_forge_a_request_is_refused),
        TEST(a_refused_header_does_not_show_its_value),
        TEST(a_connection_is_used_again),
        TEST(a_request_sent_by_a_callback_finds_the_connection_free),
        TEST(a_connection_closed_meanwhile_is_replaced),
        TEST(a_request_that_met_a_dying_connection_is_sent_again),
        TEST(hundreds_are_in_flight_at_once),
        TEST(nobody_listening_is_told),
        TEST(a_name_that_does_not_exist_is_told),
        TEST(silence_ends_at_the_deadline),
        TEST(a_body_that_drips_ends_at_the_deadline),
        TEST(a_connection_that_does_not_come_ends_at_its_deadline),
        TEST(a_reset_in_the_middle_is_told),
        TEST(an_answer_cut_short_is_a_failure),
        TEST(a_close_without_answer_is_told),
        TEST(what_is_not_http_is_told),
        TEST(an_answer_over_the_limit_is_broken_off),
        TEST(an_answer_at_the_limit_is_whole),
        TEST(endless_headers_are_broken_off),
        TEST(an_address_inside_is_refused_to_strangers),
        TEST(a_proxy_is_no_way_round_the_guard),
        TEST(a_cancel_closes_the_connection_and_calls_nobody),
        TEST(a_cancel_before_the_loop_runs_leaves_nothing),
        TEST(a_callback_may_cancel_itself_and_others),
        TEST(a_stop_holds_back_callbacks_until_the_next_run),
        TEST(transfers_in_flight_end_with_the_loop),
        TEST(every_allocation_may_fail),
        TEST(a_tls_peer_that_vanishes_raises_no_signal),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
