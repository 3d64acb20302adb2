/* A receiver of webhooks: a listening socket and a thread that keeps every request and answers from a script. */
#ifndef TT_TESTS_API_SINK_H
#define TT_TESTS_API_SINK_H

#include <pthread.h>

#include "unit/api/world.h"

enum { SINK_MAX_REQUESTS = 64 };

typedef struct sink_request {
    char *head, *body;
    size_t body_size;
} sink_request;

typedef struct sink {
    int listener, port, n_script;
    const char *const *script; /* status lines with headers; the last repeats; "" hangs up */
    pthread_t thread;
    struct {
        pthread_mutex_t mutex;
        int n;
        sink_request requests[SINK_MAX_REQUESTS];
    } shared;
} sink;

/* One request off a connection; false when it ended. */
static inline bool sink_read(int fd, sink_request *out) {
    tt_buf b;
    char block[4096];
    size_t whole = SIZE_MAX, head = 0;
    tt_buf_init(&b, RAW_MAX_BYTES);
    while (b.size < whole) {
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n <= 0) break;
        tt_buf_append(&b, block, (size_t)n, NULL);
        const char *end = strstr(b.data, "\r\n\r\n"),
                   *length = strcasestr(b.data, "\r\nContent-Length: ");
        if (!end || whole != SIZE_MAX) continue;
        head = (size_t)(end - b.data) + 4;
        whole = head + (length ? strtoul(length + 18, NULL, 10) : 0);
    }
    bool is_whole = whole != SIZE_MAX && b.size >= whole;
    if (is_whole)
        *out = (sink_request){strndup(b.data, head), strndup(b.data + head, whole - head),
                              whole - head};
    tt_buf_release(&b);
    return is_whole;
}

static inline void *sink_run(void *context) {
    sink *s = context;
    for (int fd; (fd = accept(s->listener, NULL, NULL)) >= 0; close(fd)) {
        sink_request r;
        if (!sink_read(fd, &r)) continue;
        pthread_mutex_lock(&s->shared.mutex);
        int at = s->shared.n++;
        assert_true(at < SINK_MAX_REQUESTS);
        s->shared.requests[at] = r;
        pthread_mutex_unlock(&s->shared.mutex);
        const char *line = s->script[at < s->n_script ? at : s->n_script - 1];
        char answer[512];
        int n = snprintf(answer, sizeof answer,
                         "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", line);
        if (line[0]) send(fd, answer, (size_t)n, MSG_NOSIGNAL);
    }
    return NULL;
}

static inline void sink_open(sink *s, const char *const *script, int n_script) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    memset(s, 0, sizeof *s);
    s->script = script;
    s->n_script = n_script;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    pthread_mutex_init(&s->shared.mutex, NULL);
    assert_int_equal(pthread_create(&s->thread, NULL, sink_run, s), 0);
}

static inline int sink_count(sink *s) {
    pthread_mutex_lock(&s->shared.mutex);
    int n = s->shared.n;
    pthread_mutex_unlock(&s->shared.mutex);
    return n;
}

/* The request with that number, once it has come; borrowed. */
static inline const sink_request *sink_await(sink *s, int at) {
    for (int64_t end = now_ms() + RAW_WAIT_MS; sink_count(s) <= at && now_ms() < end;)
        poll(NULL, 0, 1);
    assert_true(sink_count(s) > at);
    return &s->shared.requests[at];
}

static inline void sink_close(sink *s) {
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    for (int i = 0; i < s->shared.n; i++) {
        free(s->shared.requests[i].head);
        free(s->shared.requests[i].body);
    }
    pthread_mutex_destroy(&s->shared.mutex);
}

/* The value of a header of a request, or "". In static memory. */
static inline const char *sink_header(const sink_request *r, const char *name) {
    static char values[4][512];
    static int turn;
    char line[128], *value = values[turn++ % 4];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *at = strcasestr(r->head, line);
    if (!at) return "";
    at += strlen(line);
    snprintf(value, 512, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

#endif
