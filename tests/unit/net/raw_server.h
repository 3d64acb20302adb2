/* A server of bytes for tests of the HTTP client: it listens on 127.0.0.1, runs `serve` in a thread per connection and
 * knows nothing of HTTP but where a request ends. It shares no code with what is tested. */
#ifndef TESTS_UNIT_NET_RAW_SERVER_H
#define TESTS_UNIT_NET_RAW_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RAW_MAX_CONNECTIONS = 64, RAW_REQUEST_BYTES = 512 * 1024 };

typedef struct raw_server raw_server;
typedef void (*raw_serve_fn)(raw_server *s, int fd);

struct raw_server {
    raw_serve_fn serve; /* returns when the connection shall be closed */
    int listener, port;
    pthread_t acceptor;
    pthread_t threads[RAW_MAX_CONNECTIONS];
    int fds[RAW_MAX_CONNECTIONS];
    atomic_int n_connections, n_requests;
    pthread_mutex_t mutex; /* for the last request read: */
    char last[RAW_REQUEST_BYTES];
    size_t last_bytes;
    char request[RAW_REQUEST_BYTES]; /* the test's own copy of it, by raw_look */
    size_t request_bytes, head_bytes;
};

typedef struct raw_connection {
    raw_server *server;
    int fd;
} raw_connection;

static void *raw_connection_main(void *context) {
    raw_connection c = *(raw_connection *)context;
    free(context);
    c.server->serve(c.server, c.fd);
    shutdown(c.fd, SHUT_RDWR); /* closed by raw_server_stop, so that its number stays ours */
    return NULL;
}

static void *raw_acceptor_main(void *context) {
    raw_server *s = context;
    for (int n = 0; n < RAW_MAX_CONNECTIONS; n++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) break; /* stopped */
        raw_connection *c = malloc(sizeof *c);
        if (!c) abort();
        *c = (raw_connection){s, fd};
        s->fds[n] = fd;
        atomic_fetch_add(&s->n_connections, 1);
        if (pthread_create(&s->threads[n], NULL, raw_connection_main, c) != 0) abort();
    }
    return NULL;
}

/* A listening socket on a free port. */
static inline int raw_listen(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 1024) != 0)
        abort();
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) abort();
    *port = ntohs(address.sin_port);
    return fd;
}

static inline raw_server *raw_server_start(raw_serve_fn serve) {
    raw_server *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->serve = serve;
    pthread_mutex_init(&s->mutex, NULL);
    s->listener = raw_listen(&s->port);
    if (pthread_create(&s->acceptor, NULL, raw_acceptor_main, s) != 0) abort();
    return s;
}

static inline void raw_server_stop(raw_server *s) {
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->listener);
    for (int i = 0; i < s->n_connections; i++) {
        shutdown(s->fds[i], SHUT_RDWR);
        pthread_join(s->threads[i], NULL);
        close(s->fds[i]);
    }
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

/* Content-Length of the head, 0 when absent. */
static inline size_t raw_content_length(const char *head) {
    for (const char *line = head; (line = strstr(line, "\r\n")); line += 2)
        if (strncasecmp(line + 2, "Content-Length:", 15) == 0)
            return (size_t)strtoull(line + 17, NULL, 10);
    return 0;
}

/* Reads a request, head and body, into `bytes`; 0 when the other end is gone. */
static inline size_t raw_receive(int fd, char *bytes) {
    size_t size = 0, needed = SIZE_MAX;
    while (size < needed && size + 1 < RAW_REQUEST_BYTES) {
        ssize_t n = recv(fd, bytes + size, RAW_REQUEST_BYTES - 1 - size, 0);
        if (n <= 0) return 0;
        size += (size_t)n;
        bytes[size] = '\0';
        const char *end = strstr(bytes, "\r\n\r\n");
        if (end) needed = (size_t)(end + 4 - bytes) + raw_content_length(bytes);
    }
    return size;
}

static inline bool raw_read_request(raw_server *s, int fd) {
    char *bytes = malloc(RAW_REQUEST_BYTES);
    if (!bytes) abort();
    size_t size = raw_receive(fd, bytes);
    if (size) {
        pthread_mutex_lock(&s->mutex);
        memcpy(s->last, bytes, size + 1);
        s->last_bytes = size;
        pthread_mutex_unlock(&s->mutex);
        atomic_fetch_add(&s->n_requests, 1);
    }
    free(bytes);
    return size > 0;
}

/* Called by the test when the answer has arrived: the request that was answered, in s->request. */
static inline const char *raw_look(raw_server *s) {
    pthread_mutex_lock(&s->mutex);
    memcpy(s->request, s->last, s->last_bytes + 1);
    s->request_bytes = s->last_bytes;
    pthread_mutex_unlock(&s->mutex);
    const char *end = strstr(s->request, "\r\n\r\n");
    s->head_bytes = end ? (size_t)(end + 4 - s->request) : 0;
    return s->request;
}

static inline void raw_send(int fd, const char *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, bytes + at, size - at, MSG_NOSIGNAL);
        if (n <= 0) return;
        at += (size_t)n;
    }
}

static inline void raw_puts(int fd, const char *text) {
    raw_send(fd, text, strlen(text));
}

/* Blocks until the other end closes. */
static inline void raw_wait_for_close(int fd) {
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, 0) > 0) continue;
}

#endif
