/* The HTTP client when things go wrong: one callback per transfer all the same, a sentence without URL or credentials, nobody
 * reached who must not be, and no callback after a cancel. */
#include "unit/net/http_client_fixture.h"

#include <signal.h>

#include "base/alloc.h"
#include "base/clock.h"

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

static bool take_all(void *context, const void *bytes, size_t size) {
    (void)context, (void)bytes, (void)size;
    return true;
}

/* A failed handle may not be fit for another kind of request. */
static void a_name_that_does_not_exist_may_be_asked_for_again(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        tt_http_request request = {.method = "GET",
                                   .url = "http://secret.invalid/",
                                   .timeout_ms = 50000,
                                   .on_bytes = i % 2 ? take_all : NULL};
        fetch(&request);
        assert_int_equal(got.failure, TT_E_IO);
    }
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
        assert_true(got.was_refused);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nobody_listening_is_told),
        TEST(a_name_that_does_not_exist_is_told),
        TEST(a_name_that_does_not_exist_may_be_asked_for_again),
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
