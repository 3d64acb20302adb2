/* The HTTP server's requests and answers on the wire (RFC 9110, RFC 9112): whole, in pieces, broken and too large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/http_server.h"
#include "unit/net/raw_http.h"

#define HOST "Host: localhost\r\n"

enum { SMALL_LIMIT = 1000, LARGE_BYTES = 20 << 20 };

/* ---- the server under test --------------------------------------------------------------------------------------- */

static void echo(tt_http_exchange *x) {
    tt_buf out;
    size_t size;
    const char *body = tt_http_body(x, &size);
    const char *a = tt_http_query(x, "a"), *header = tt_http_header(x, "x-test");
    tt_buf_init(&out, 2 * LARGE_BYTES);
    assert_int_equal(body[size], '\0');
    tt_buf_printf(&out, NULL, "%s %s a=%s x=%s ", tt_http_method(x), tt_http_path(x),
                  a ? a : "(none)", header ? header : "(none)");
    tt_buf_append(&out, body, size, NULL);
    tt_http_reply(x, 200, "text/plain", out.data, out.size);
    tt_buf_release(&out);
}

static void reply_pieces(tt_http_exchange *x) {
    tt_blob *pieces[TT_HTTP_MAX_PIECES];
    int n = 0;
    for (; n < TT_HTTP_MAX_PIECES; n++) {
        char text[2] = {(char)('a' + n), 0};
        if (tt_blob_new(text, n == 3 ? 0 : 1, &pieces[n], NULL) != TT_OK) break;
    }
    if (n == TT_HTTP_MAX_PIECES) {
        tt_http_reply_blobs(x, 201, "text/plain", pieces, n);
        return;
    }
    while (n > 0) tt_blob_release(pieces[--n]);
    tt_http_drop(x);
}

static void with_headers(tt_http_exchange *x) {
    tt_err err;
    char large[TT_HTTP_MAX_ANSWER_HEADERS_BYTES + 1];
    memset(large, 'v', sizeof large);
    large[sizeof large - 1] = '\0';
    assert_int_equal(tt_http_add_header(x, "Retry-After", "7", &err), TT_OK);
    assert_int_equal(tt_http_add_header(x, "X-Bad", "a\r\nSet-Cookie: b", &err), TT_E_INVALID);
    assert_int_equal(tt_http_add_header(x, "X Bad", "a", &err), TT_E_INVALID);
    assert_int_equal(tt_http_add_header(x, "", "a", &err), TT_E_INVALID);
    assert_int_equal(tt_http_add_header(x, "content-length", "0", &err), TT_E_INVALID);
    assert_int_equal(tt_http_add_header(x, "X-Large", large, &err), TT_E_NOMEM);
    assert_int_equal(tt_http_add_header(x, "X-After", "it", &err), TT_OK);
    tt_http_reply(x, 503, "application/json", "{}", 2);
}

static void handle(void *context, tt_http_exchange *x) {
    const char *path = tt_http_path(x);
    assert_null(tt_http_user(x));
    tt_http_set_user(x, context);
    assert_ptr_equal(tt_http_user(x), context);
    if (strcmp(path, "/pieces") == 0)
        reply_pieces(x);
    else if (strcmp(path, "/headers") == 0)
        with_headers(x);
    else if (strcmp(path, "/peer") == 0)
        tt_http_reply(x, 200, "text/plain", tt_http_peer(x), strlen(tt_http_peer(x)));
    else if (strcmp(path, "/nothing") == 0)
        tt_http_reply(x, 204, NULL, NULL, 0);
    else if (strcmp(path, "/drop") == 0)
        tt_http_drop(x);
    else if (strcmp(path, "/forget") == 0)
        return;
    else
        echo(x);
}

static size_t limit_of(void *context, const char *method, const char *path) {
    (void)context;
    assert_string_not_equal(method, "");
    return strcmp(path, "/small") == 0 ? SMALL_LIMIT : LARGE_BYTES;
}

static tt_http_server *open_with(tt_http_server_options options) {
    tt_http_server *server;
    tt_err err;
    options.handle = handle;
    options.max_body_bytes = limit_of;
    if (tt_http_server_open(&options, &server, &err) != TT_OK) fail_msg("%s", err.message);
    return server;
}

static int set_up(void **state) {
    *state = open_with((tt_http_server_options){.host = "127.0.0.1"});
    return 0;
}

static int tear_down(void **state) {
    tt_http_server_close(*state, 0);
    return 0;
}

static int port_of(void **state) {
    return tt_http_server_port(*state);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void a_request_comes_whole_and_decoded(void **state) {
    int port = port_of(state);
    raw_expect(port, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x a=(none) x=(none) ");
    raw_expect(port, "GET /a%20b%2Fc+d?b=1&a=x%26y+z&a=second HTTP/1.1\r\n" HOST "\r\n", 200,
               "GET /a b/c+d a=x&y z x=(none) ");
    raw_expect(port, "GET /x?a HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x a= x=(none) ");
    raw_expect(port, "GET /x?%61=1 HTTP/1.1\r\n" HOST "X-TEST:  v w \t\r\n\r\n", 200,
               "GET /x a=1 x=v w ");
    raw_expect(port, "POST /x HTTP/1.1\r\n" HOST "X-Test: 1\r\nContent-Length: 5\r\n\r\nhello", 200,
               "POST /x a=(none) x=1 hello");
    raw_expect(port, "DELETE /x HTTP/1.1\r\n" HOST "\r\n", 200, "DELETE /x a=(none) x=(none) ");
    raw_expect(port, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 200, "OPTIONS * a=(none) x=(none) ");
}

/* RFC 9112, 3.2.2: a server must take what proxies are sent. */
static void an_absolute_target_is_its_path(void **state) {
    int port = port_of(state);
    raw_expect(port, "GET http://localhost:1/x?a=1 HTTP/1.1\r\n" HOST "\r\n", 200,
               "GET /x a=1 x=(none) ");
    raw_expect(port, "GET HTTPS://localhost HTTP/1.1\r\n" HOST "\r\n", 200,
               "GET / a=(none) x=(none) ");
}

static void paths_and_queries_that_break_the_rules_are_400(void **state) {
    static const char *const TARGETS[] = {"/%",   "/%4",     "/%zz",  "/a%00b",      "/x?a=%0",
                                          "/x?%", "/x?%00=", "hello", "/x?a=b&c=%00"};
    int port = port_of(state);
    for (size_t i = 0; i < sizeof TARGETS / sizeof *TARGETS; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", TARGETS[i]);
        raw_answer a = raw_ask(port, text);
        assert_int_equal(a.status, 400);
        assert_string_equal(raw_header(&a, "Content-Type"), "application/json");
        assert_int_equal(strncmp(a.body.data, "{\"error\": \"", 11), 0);
        raw_answer_release(&a);
    }
}

static void bodies_may_come_a_byte_at_a_time(void **state) {
    static const char TEXT[] =
        "POST /x HTTP/1.1\r\n" HOST "Content-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz";
    raw_client c = raw_connect(port_of(state));
    int one = 1;
    setsockopt(c.fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    for (size_t i = 0; i < sizeof TEXT - 1; i++) assert_true(raw_send_bytes(&c, TEXT + i, 1));
    raw_expect_on(&c, 200, "POST /x a=(none) x=(none) abcdefghijklmnopqrstuvwxyz");
    raw_close(&c);
}

static void chunked_bodies_are_put_together(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    raw_send(&c, "3\r\nabc\r\n");
    raw_send(&c, "10\r\n0123456789abcdef\r\n");
    raw_send(&c, "0\r\nTrailer: x\r\n\r\n");
    raw_expect_on(&c, 200, "POST /x a=(none) x=(none) abc0123456789abcdef");
    raw_send(&c, "GET /y HTTP/1.1\r\n" HOST "\r\n"); /* the connection is still good */
    raw_expect_on(&c, 200, "GET /y a=(none) x=(none) ");
    raw_close(&c);
}

static void large_bodies_arrive_byte_for_byte(void **state) {
    tt_buf text;
    size_t size = LARGE_BYTES;
    tt_buf_init(&text, 2 * LARGE_BYTES);
    tt_buf_printf(&text, NULL, "PUT /x HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", size);
    size_t head = text.size;
    tt_buf_reserve(&text, size, NULL);
    for (size_t i = 0; i < size; i++) text.data[head + i] = (char)(i * 2654435761u >> 13);
    raw_client c = raw_connect(port_of(state));
    assert_true(raw_send_bytes(&c, text.data, head + size));
    raw_answer a = raw_read_answer(&c, false);
    static const char PREFIX[] = "PUT /x a=(none) x=(none) ";
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.size, size + sizeof PREFIX - 1);
    assert_int_equal(memcmp(a.body.data + sizeof PREFIX - 1, text.data + head, size), 0);
    raw_answer_release(&a);
    raw_close(&c);
    tt_buf_release(&text);
}

static void expect_100_continue_is_answered(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "POST /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    raw_answer a = raw_read_answer(&c, true);
    assert_int_equal(a.status, 100);
    raw_answer_release(&a);
    raw_send(&c, "ok");
    raw_expect_on(&c, 200, "POST /x a=(none) x=(none) ok");
    raw_close(&c);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void one_connection_carries_many_requests(void **state) {
    raw_client c = raw_connect(port_of(state));
    for (int i = 0; i < 100; i++) {
        char text[128], body[128];
        snprintf(text, sizeof text, "GET /x?a=%d HTTP/1.1\r\n" HOST "\r\n", i);
        snprintf(body, sizeof body, "GET /x a=%d x=(none) ", i);
        raw_send(&c, text);
        raw_expect_on(&c, 200, body);
    }
    assert_int_equal(tt_http_server_connections(*state), 1);
    raw_close(&c);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "GET /x?a=1 HTTP/1.1\r\n" HOST "\r\n"
                 "POST /x?a=2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                 "GET /x?a=3 HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, "GET /x a=1 x=(none) ");
    raw_expect_on(&c, 200, "POST /x a=2 x=(none) abc");
    raw_expect_on(&c, 200, "GET /x a=3 x=(none) ");
    raw_close(&c);
}

static void old_clients_keep_a_connection_when_they_ask(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    raw_answer a = raw_read_answer(&c, false);
    assert_int_equal(strcasecmp(raw_header(&a, "Connection"), "keep-alive"), 0);
    raw_answer_release(&a);
    raw_send(&c, "GET /x HTTP/1.0\r\n\r\n");
    raw_expect_on(&c, 200, NULL);
    raw_expect_end(&c);
    raw_close(&c);
}

static void a_client_that_asks_for_close_gets_it(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    raw_expect_on(&c, 200, NULL);
    raw_expect_end(&c);
    raw_close(&c);
}

static void localhost_listens_on_both_loopbacks(void **state) {
    (void)state;
    tt_http_server *server = open_with((tt_http_server_options){.host = "localhost"});
    int port = tt_http_server_port(server);
    raw_expect(port, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, NULL);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&v6, sizeof v6) == 0) {
        raw_client c = {.fd = fd};
        tt_buf_init(&c.in, RAW_MAX_BYTES);
        raw_send(&c, "GET /peer HTTP/1.1\r\n" HOST "\r\n");
        raw_answer a = raw_read_answer(&c, false);
        assert_int_equal(strncmp(a.body.data, "[::1]:", 6), 0);
        raw_answer_release(&a);
        raw_close(&c);
    } else { /* a machine without IPv6 */
        close(fd);
    }
    tt_http_server_close(server, 0);
}

static void a_port_in_use_is_one_sentence(void **state) {
    tt_http_server_options options = {
        .host = "127.0.0.1", .port = port_of(state), .handle = handle};
    tt_http_server *server;
    tt_err err;
    char sentence[128];
    snprintf(sentence, sizeof sentence, "cannot listen on 127.0.0.1:%d: Address already in use",
             options.port);
    assert_int_equal(tt_http_server_open(&options, &server, &err), TT_E_IO);
    assert_string_equal(err.message, sentence);
    assert_null(server);
    options.port = 65536;
    assert_int_equal(tt_http_server_open(&options, &server, &err), TT_E_INVALID);
    options = (tt_http_server_options){.host = "256.1.1.1.invalid", .handle = handle};
    assert_int_equal(tt_http_server_open(&options, &server, &err), TT_E_IO);
    options = (tt_http_server_options){.n_threads = 1000, .handle = handle};
    assert_int_equal(tt_http_server_open(&options, &server, &err), TT_E_INVALID);
}

static void more_clients_than_allowed_wait_their_turn(void **state) {
    (void)state;
    enum { MAX = 4, CLIENTS = 12 };
    tt_http_server *server =
        open_with((tt_http_server_options){.host = "127.0.0.1", .max_connections = MAX});
    raw_client clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = raw_connect(tt_http_server_port(server));
        raw_send(&clients[i], "GET /x HTTP/1.1\r\n" HOST "\r\n");
    }
    for (int i = 0; i < CLIENTS; i++) {
        raw_expect_on(&clients[i], 200, NULL);
        assert_true(tt_http_server_connections(server) <= MAX);
        raw_close(&clients[i]);
    }
    tt_http_server_close(server, 0);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void pieces_are_sent_as_one_body(void **state) {
    raw_answer a = raw_ask(port_of(state), "GET /pieces HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 201);
    assert_string_equal(a.body.data, "abcefgh");
    assert_string_equal(raw_header(&a, "Content-Length"), "7");
    raw_answer_release(&a);
}

static void added_headers_are_sent_and_bad_ones_refused(void **state) {
    raw_answer a = raw_ask(port_of(state), "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 503);
    assert_string_equal(raw_header(&a, "Retry-After"), "7");
    assert_string_equal(raw_header(&a, "X-After"), "it");
    assert_string_equal(raw_header(&a, "Content-Type"), "application/json");
    assert_null(raw_header(&a, "Set-Cookie"));
    assert_null(raw_header(&a, "X-Large"));
    raw_answer_release(&a);
}

static void head_gets_headers_without_a_body(void **state) {
    raw_client c = raw_connect(port_of(state));
    for (int i = 0; i < 3; i++) {
        raw_send(&c, i == 1 ? "HEAD /pieces HTTP/1.1\r\n" HOST "\r\n"
                            : "HEAD /x HTTP/1.1\r\n" HOST "\r\n");
        raw_answer a = raw_read_answer(&c, true);
        assert_int_equal(a.status, i == 1 ? 201 : 200);
        assert_non_null(raw_header(&a, "Content-Length"));
        assert_string_not_equal(raw_header(&a, "Content-Length"), "0");
        raw_answer_release(&a);
    }
    raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, "GET /x a=(none) x=(none) ");
    raw_close(&c);
}

static void an_answer_may_be_empty(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "GET /nothing HTTP/1.1\r\n" HOST "\r\n");
    raw_answer a = raw_read_answer(&c, true);
    assert_int_equal(a.status, 204);
    raw_answer_release(&a);
    raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, NULL);
    raw_close(&c);
}

static void a_dropped_exchange_closes_the_connection(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "GET /drop HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_end(&c);
    raw_close(&c);
}

static void a_handler_that_forgets_is_a_500(void **state) {
    raw_expect(port_of(state), "GET /forget HTTP/1.1\r\n" HOST "\r\n", 500,
               "{\"error\": \"the server has no answer to this request\"}");
}

static void the_peer_is_named(void **state) {
    raw_answer a = raw_ask(port_of(state), "GET /peer HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(strncmp(a.body.data, "127.0.0.1:", 10), 0);
    assert_true(strtol(a.body.data + 10, NULL, 10) > 0);
    raw_answer_release(&a);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void expect_too_large(raw_client *c) {
    raw_answer a = raw_read_answer(c, false);
    assert_int_equal(a.status, 413);
    assert_string_equal(a.body.data,
                        "{\"error\": \"the body is too large: the limit is 1000 bytes\"}");
    assert_string_equal(raw_header(&a, "Content-Type"), "application/json");
    assert_string_equal(raw_header(&a, "Connection"), "close");
    raw_answer_release(&a);
}

static void a_length_over_the_limit_is_413_before_the_body(void **state) {
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n");
    expect_too_large(&c);
    raw_close(&c);
    c = raw_connect(port_of(state));
    raw_send(&c, "POST /small HTTP/1.1\r\n" HOST
                 "Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n");
    expect_too_large(&c);
    raw_expect_end(&c);
    raw_close(&c);
}

/* What most HTTP libraries do: they read the answer once all is sent, and a reset before that hides it. */
static void a_client_that_sends_on_still_reads_its_413(void **state) {
    enum { BYTES = 8 << 20 };
    char *body = tt_alloc(BYTES);
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 8388608\r\n\r\n");
    assert_true(raw_send_bytes(&c, body, BYTES));
    expect_too_large(&c);
    raw_expect_end(&c);
    raw_close(&c);
    tt_free(body);
}

static void a_chunked_body_is_413_once_it_passes_the_limit(void **state) {
    char chunk[300 + 7];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "12c\r\n", 5);
    memcpy(chunk + sizeof chunk - 2, "\r\n", 2);
    raw_client c = raw_connect(port_of(state));
    raw_send(&c, "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 4; i++) assert_true(raw_send_bytes(&c, chunk, sizeof chunk));
    expect_too_large(&c); /* the body has not ended */
    for (int i = 0; i < 100; i++) raw_send_bytes(&c, chunk, sizeof chunk);
    raw_send(&c, "0\r\n\r\n");
    raw_expect_end(&c);
    raw_close(&c);
}

static void a_body_of_exactly_the_limit_passes(void **state) {
    char text[2048], body[SMALL_LIMIT + 1];
    memset(body, 'b', SMALL_LIMIT);
    body[SMALL_LIMIT] = '\0';
    int head = snprintf(text, sizeof text,
                        "POST /small HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n%s", body);
    assert_true(head > 0);
    raw_expect(port_of(state), text, 200, NULL);
    snprintf(text, sizeof text,
             "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
             "3e8\r\n%s\r\n0\r\n\r\n",
             body);
    raw_expect(port_of(state), text, 200, NULL);
}

/* RFC 9112, 11.2: request smuggling. */
static void bodies_with_two_ends_are_400(void **state) {
    static const char *const HEADS[] = {
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked \r\nContent-Length: 4\r\n",
        "Content-Length : 3\r\n",
        "Content-Length\t: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1x\r\n",
    };
    for (size_t i = 0; i < sizeof HEADS / sizeof *HEADS; i++) {
        char text[256];
        snprintf(text, sizeof text, "POST /x HTTP/1.1\r\n" HOST "%s\r\nabcd", HEADS[i]);
        raw_expect(port_of(state), text, 400, NULL);
    }
}

static void nonsense_never_reaches_the_handler(void **state) {
    static const char *const TEXTS[] = {
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n", /* much like a TLS hello */
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /x HTTP/9.9\r\n\r\n",
        "GET /x HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        raw_answer a = raw_ask(port_of(state), TEXTS[i]);
        if (a.status != 0 && (a.status < 400 || a.status > 599))
            fail_msg("%d for: %s", a.status, TEXTS[i]);
        raw_answer_release(&a);
    }
    raw_expect(port_of(state), "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, NULL);
}

/* Small heads pass, large ones are told so: at no size between is there silence. */
static void heads_of_every_size_are_answered(void **state) {
    int port = port_of(state), n_good = 0, n_refused = 0;
    for (size_t size = 100; size < 40000; size += 331) {
        tt_buf text;
        tt_buf_init(&text, 64 * 1024);
        tt_buf_puts(&text, "GET /x HTTP/1.1\r\n" HOST "X-Test: ", NULL);
        while (text.size < size) tt_buf_puts(&text, "y", NULL);
        tt_buf_puts(&text, "\r\n\r\n", NULL);
        raw_client c = raw_connect(port);
        raw_send_bytes(&c, text.data, text.size);
        raw_answer a = raw_read_answer(&c, false);
        bool is_small = text.size <= TT_HTTP_MAX_HEAD_BYTES;
        if (is_small ? a.status != 200 : (a.status != 431 && a.status != 0))
            fail_msg("%d for a head of %zu bytes", a.status, text.size);
        n_good += a.status == 200;
        n_refused += a.status == 431;
        raw_answer_release(&a);
        raw_close(&c);
        tt_buf_release(&text);
    }
    assert_true(n_good > 20);
    assert_true(n_refused > 20);
}

static void many_small_headers_are_answered(void **state) {
    for (int n = 10; n < 1000; n += 45) {
        tt_buf text;
        tt_buf_init(&text, 64 * 1024);
        tt_buf_puts(&text, "GET /x HTTP/1.1\r\n" HOST, NULL);
        for (int i = 0; i < n; i++) tt_buf_printf(&text, NULL, "H%d: 1\r\n", i);
        tt_buf_puts(&text, "X-Test: 1\r\n\r\n", NULL);
        raw_client c = raw_connect(port_of(state));
        raw_send_bytes(&c, text.data, text.size);
        raw_answer a = raw_read_answer(&c, false);
        if (n < 100 ? a.status != 200 : (a.status != 200 && a.status != 431 && a.status != 0))
            fail_msg("%d for %d headers", a.status, n);
        raw_answer_release(&a);
        raw_close(&c);
        tt_buf_release(&text);
    }
}

/* ---- slow clients ------------------------------------------------------------------------------------------------ */

static void clients_that_dawdle_are_cut_off(void **state) {
    (void)state;
    static const char *const STARTS[] = {"", "GET /x HT", "GET /x HTTP/1.1\r\nHost: l",
                                         "POST /x HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab"};
    enum { N = sizeof STARTS / sizeof *STARTS, DRIP_MS = 20 };
    tt_http_server *server = open_with((tt_http_server_options){
        .host = "127.0.0.1", .head_timeout_ms = 200, .idle_timeout_ms = 60000});
    for (int i = 0; i < N; i++) {
        int64_t start_us = tt_clock_us();
        raw_client c = raw_connect(tt_http_server_port(server));
        raw_send(&c, STARTS[i]);
        struct pollfd p = {.fd = c.fd, .events = POLLIN};
        while (poll(&p, 1, DRIP_MS) == 0) { /* a byte now and then keeps no deadline off */
            if (i == 2) raw_send(&c, "o");
            assert_true(tt_clock_us() - start_us < RAW_WAIT_MS * 1000LL);
        }
        assert_false(raw_more(&c));
        raw_close(&c);
    }
    tt_http_server_close(server, 0);
}

static void idle_connections_are_closed(void **state) {
    (void)state;
    tt_http_server *server =
        open_with((tt_http_server_options){.host = "127.0.0.1", .idle_timeout_ms = 1000});
    raw_client c = raw_connect(tt_http_server_port(server));
    raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, NULL);
    raw_expect_end(&c);
    raw_close(&c);
    tt_http_server_close(server, 0);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void opening_survives_every_failed_allocation(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_http_server_options options = {.host = "127.0.0.1", .handle = handle};
        tt_http_server *server;
        tt_err err;
        tt_alloc_fail_after(n);
        status = tt_http_server_open(&options, &server, &err);
        tt_alloc_fail_after(-1);
        assert_true(status == TT_OK || status == TT_E_NOMEM);
        tt_http_server_close(server, 0);
    }
    assert_true(n > 1);
}

/* The countdown starts when the connection waits for its request, so that it is the server that meets it. */
static void requests_survive_every_failed_allocation(void **state) {
    int n_lost = 0;
    for (int n = 0; n < 40; n++) {
        raw_client c = raw_connect(port_of(state));
        raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "\r\n");
        raw_expect_on(&c, 200, NULL);
        tt_alloc_fail_after(n);
        raw_send(&c, "POST /pieces?a=1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
        struct pollfd p = {.fd = c.fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, RAW_WAIT_MS), 1);
        tt_alloc_fail_after(-1);
        raw_answer a = raw_read_answer(&c, false);
        if (a.status != 0 && a.status != 201 && a.status != 503) fail_msg("status %d", a.status);
        n_lost += a.status != 201;
        raw_answer_release(&a);
        raw_close(&c);
    }
    assert_true(n_lost > 3);
    raw_expect(port_of(state), "GET /pieces HTTP/1.1\r\n" HOST "\r\n", 201, NULL);
}

int main(void) {
#define SERVED(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SERVED(a_request_comes_whole_and_decoded),
        SERVED(an_absolute_target_is_its_path),
        SERVED(paths_and_queries_that_break_the_rules_are_400),
        SERVED(bodies_may_come_a_byte_at_a_time),
        SERVED(chunked_bodies_are_put_together),
        SERVED(large_bodies_arrive_byte_for_byte),
        SERVED(expect_100_continue_is_answered),
        SERVED(one_connection_carries_many_requests),
        SERVED(pipelined_requests_are_answered_in_order),
        SERVED(old_clients_keep_a_connection_when_they_ask),
        SERVED(a_client_that_asks_for_close_gets_it),
        cmocka_unit_test(localhost_listens_on_both_loopbacks),
        SERVED(a_port_in_use_is_one_sentence),
        cmocka_unit_test(more_clients_than_allowed_wait_their_turn),
        SERVED(pieces_are_sent_as_one_body),
        SERVED(added_headers_are_sent_and_bad_ones_refused),
        SERVED(head_gets_headers_without_a_body),
        SERVED(an_answer_may_be_empty),
        SERVED(a_dropped_exchange_closes_the_connection),
        SERVED(a_handler_that_forgets_is_a_500),
        SERVED(the_peer_is_named),
        SERVED(a_length_over_the_limit_is_413_before_the_body),
        SERVED(a_client_that_sends_on_still_reads_its_413),
        SERVED(a_chunked_body_is_413_once_it_passes_the_limit),
        SERVED(a_body_of_exactly_the_limit_passes),
        SERVED(bodies_with_two_ends_are_400),
        SERVED(nonsense_never_reaches_the_handler),
        SERVED(heads_of_every_size_are_answered),
        SERVED(many_small_headers_are_answered),
        cmocka_unit_test(clients_that_dawdle_are_cut_off),
        cmocka_unit_test(idle_connections_are_closed),
        cmocka_unit_test(opening_survives_every_failed_allocation),
        SERVED(requests_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
