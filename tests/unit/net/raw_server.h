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
    char request[RAW_REQUEST_BYTES]; /* the last one read; look at it when its answer has arrived */
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
    free(s);
}

/* Content-Length of the head, 0 when absent. */
static inline size_t raw_content_length(const char *head) {
    for (const char *line = head; (line = strstr(line, "\r\n")); line += 2)
        if (strncasecmp(line + 2, "Content-Length:", 15) == 0)
            return (size_t)strtoull(line + 17, NULL, 10);
    return 0;
}

/* The next request, head and body, into s->request. False when the other end is gone. */
static inline bool raw_read_request(raw_server *s, int fd) {
    size_t size = 0, needed = SIZE_MAX;
    while (size < needed && size + 1 < sizeof s->request) {
        ssize_t n = recv(fd, s->request + size, sizeof s->request - 1 - size, 0);
        if (n <= 0) return false;
        size += (size_t)n;
        s->request[size] = '\0';
        const char *end = strstr(s->request, "\r\n\r\n");
        if (!end) continue;
        s->head_bytes = (size_t)(end + 4 - s->request);
        needed = s->head_bytes + raw_content_length(s->request);
    }
    s->request_bytes = size;
    atomic_fetch_add(&s->n_requests, 1);
    return true;
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
