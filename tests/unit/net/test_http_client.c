/* The HTTP client against servers that send whatever bytes a test wants (raw_server.h): the request arrives exactly as given,
 * the answer whole, and connections are used again. */
#include "unit/net/http_client_fixture.h"

/* ---- answers ----------------------------------------------------------------------------------------------------- */

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
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
