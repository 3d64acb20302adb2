/* An HTTP client of bare sockets for tests of the server: it can send what no HTTP library would, a byte at a time, or leave
 * in the middle. Whatever does not come within RAW_WAIT_MS fails the running test. */
#ifndef TT_TESTS_RAW_HTTP_H
#define TT_TESTS_RAW_HTTP_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"

enum { RAW_WAIT_MS = 30 * 1000, RAW_MAX_BYTES = 256 << 20 };

typedef struct raw_client {
    int fd;
    tt_buf in; /* read, not yet taken */
} raw_client;

typedef struct raw_answer {
    int status; /* 0: the connection ended first */
    tt_buf head, body;
    bool is_whole; /* the body ended as the head said */
} raw_answer;

static inline raw_client raw_connect_with(int port, int receive_buffer_bytes) {
    raw_client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(c.fd >= 0);
    if (receive_buffer_bytes > 0)
        assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
                                    sizeof receive_buffer_bytes),
                         0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof address), 0);
    tt_buf_init(&c.in, RAW_MAX_BYTES);
    return c;
}

static inline raw_client raw_connect(int port) {
    return raw_connect_with(port, 0);
}

static inline void raw_close(raw_client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    tt_buf_release(&c->in);
}

/* False when the server has closed. */
static inline bool raw_send_bytes(raw_client *c, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t n = send(c->fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static inline bool raw_send(raw_client *c, const char *text) {
    return raw_send_bytes(c, text, strlen(text));
}

/* Waits for more; false at the end of the connection. */
static inline bool raw_more(raw_client *c) {
    char block[64 * 1024];
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, RAW_WAIT_MS) != 1) fail_msg("nothing came from the server");
    ssize_t n = recv(c->fd, block, sizeof block, 0);
    if (n <= 0) return false;
    assert_int_equal(tt_buf_append(&c->in, block, (size_t)n, NULL), TT_OK);
    return true;
}

static inline void raw_take(raw_client *c, size_t n, tt_buf *to) {
    if (to) assert_int_equal(tt_buf_append(to, c->in.data, n, NULL), TT_OK);
    memmove(c->in.data, c->in.data + n, c->in.size - n);
    c->in.size -= n;
    c->in.data[c->in.size] = '\0';
}

/* Takes up to and including `mark`; false when the connection ends before. */
static inline bool raw_take_through(raw_client *c, const char *mark, tt_buf *to) {
    const char *at;
    while (!c->in.data || !(at = memmem(c->in.data, c->in.size, mark, strlen(mark))))
        if (!raw_more(c)) return false;
    raw_take(c, (size_t)(at - c->in.data) + strlen(mark), to);
    return true;
}

static inline bool raw_take_exactly(raw_client *c, size_t n, tt_buf *to) {
    while (c->in.size < n)
        if (!raw_more(c)) return false;
    raw_take(c, n, to);
    return true;
}

/* The value of a header, or NULL; in static memory. */
static inline const char *raw_header(const raw_answer *a, const char *name) {
    static char value[512];
    char line[128];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *at = strcasestr(a->head.data, line);
    if (!at) return NULL;
    at += strlen(line);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static inline bool raw_take_chunks(raw_client *c, tt_buf *to) {
    for (;;) {
        tt_buf line;
        tt_buf_init(&line, 64);
        bool is_good = raw_take_through(c, "\r\n", &line);
        size_t size = is_good ? strtoul(line.data, NULL, 16) : 0;
        tt_buf_release(&line);
        if (!is_good || !raw_take_exactly(c, size, to) || !raw_take_exactly(c, 2, NULL))
            return false;
        if (size == 0) return true;
    }
}

static inline void raw_take_rest(raw_client *c, tt_buf *to) {
    while (raw_more(c)) continue;
    raw_take(c, c->in.size, to);
}

/* One answer; `is_head`: to a HEAD. Release it. */
static inline raw_answer raw_read_answer(raw_client *c, bool is_head) {
    raw_answer a = {0};
    tt_buf_init(&a.head, 64 * 1024);
    tt_buf_init(&a.body, RAW_MAX_BYTES);
    if (!raw_take_through(c, "\r\n\r\n", &a.head)) return a;
    assert_int_equal(strncmp(a.head.data, "HTTP/1.", 7), 0);
    a.status = (int)strtol(a.head.data + 9, NULL, 10);
    const char *length = raw_header(&a, "Content-Length");
    if (is_head)
        a.is_whole = true;
    else if (length)
        a.is_whole = raw_take_exactly(c, strtoul(length, NULL, 10), &a.body);
    else if (raw_header(&a, "Transfer-Encoding"))
        a.is_whole = raw_take_chunks(c, &a.body);
    else
        raw_take_rest(c, &a.body);
    if (!a.body.data) tt_buf_append(&a.body, "", 0, NULL);
    return a;
}

static inline void raw_answer_release(raw_answer *a) {
    tt_buf_release(&a->head);
    tt_buf_release(&a->body);
}

static inline void raw_expect_on(raw_client *c, int status, const char *body) {
    raw_answer a = raw_read_answer(c, false);
    assert_int_equal(a.status, status);
    if (body) assert_string_equal(a.body.data, body);
    assert_true(a.is_whole);
    raw_answer_release(&a);
}

/* The server closes the connection, having sent nothing more. */
static inline void raw_expect_end(raw_client *c) {
    assert_int_equal(c->in.size, 0);
    assert_false(raw_more(c));
}

/* One request on a connection of its own. */
static inline raw_answer raw_ask(int port, const char *text) {
    raw_client c = raw_connect(port);
    raw_send(&c, text);
    raw_answer a = raw_read_answer(&c, strncmp(text, "HEAD", 4) == 0);
    raw_close(&c);
    return a;
}

static inline void raw_expect(int port, const char *text, int status, const char *body) {
    raw_answer a = raw_ask(port, text);
    if (a.status != status) fail_msg("expected %d, found %d for: %.200s", status, a.status, text);
    if (body) assert_string_equal(a.body.data, body);
    raw_answer_release(&a);
}

#endif
