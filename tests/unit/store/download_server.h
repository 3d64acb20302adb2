/* A server of one file for tests of the download: raw sockets, a thread per connection, and a function per test that may
 * misbehave in any way for any request. It shares no code with what is tested. Then what the tests do with it. */
#ifndef TESTS_UNIT_STORE_DOWNLOAD_SERVER_H
#define TESTS_UNIT_STORE_DOWNLOAD_SERVER_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/download.h"

enum { DL_MAX_CONNECTIONS = 4000, DL_HEAD_BYTES = 8 * 1024, DL_CHUNK = 4096 };

typedef struct dl_request {
    int number; /* from 0, in order of arrival */
    bool has_range;
    uint64_t first, last;
    char head[DL_HEAD_BYTES];
} dl_request;

typedef struct dl_server dl_server;
/* False: close the connection. */
typedef bool (*dl_serve_fn)(dl_server *s, int fd, const dl_request *r);

struct dl_server {
    _Atomic(dl_serve_fn) serve;
    unsigned char *bytes;
    size_t size;
    _Atomic(const char *) etag; /* with its quotes */
    int listener, port, n_joined;
    pthread_t acceptor, threads[DL_MAX_CONNECTIONS];
    int fds[DL_MAX_CONNECTIONS];
    atomic_int n_connections, n_requests, n_open, n_most;
    atomic_ullong sent; /* of bodies */
    atomic_bool flag;   /* the test's */
    atomic_int number;
    atomic_ullong kill_at; /* when so much was sent, `victim` dies */
    atomic_int victim;
    uint64_t seed;
};

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static inline bool dl_send(int fd, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static inline bool dl_puts(int fd, const char *format, ...) {
    char text[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dl_send(fd, text, strlen(text));
}

static inline bool dl_body(dl_server *s, int fd, uint64_t first, uint64_t n) {
    enum { PIECE = 1024 };
    while (n > 0) {
        uint64_t piece = n < PIECE ? n : PIECE;
        if (!dl_send(fd, s->bytes + first, piece)) return false;
        unsigned long long sent = atomic_fetch_add(&s->sent, piece) + piece;
        if (s->kill_at && sent >= s->kill_at) {
            int victim = atomic_exchange(&s->victim, 0);
            if (victim) kill(victim, SIGKILL);
        }
        first += piece;
        n -= piece;
    }
    return true;
}

static inline bool dl_head_206(dl_server *s, int fd, uint64_t first, uint64_t last) {
    return dl_puts(fd,
                   "HTTP/1.1 206 Partial Content\r\nContent-Type: application/octet-stream\r\n"
                   "ETag: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n"
                   "Content-Length: %" PRIu64 "\r\n\r\n",
                   s->etag, first, last, s->size, last - first + 1);
}

static inline uint64_t dl_last(const dl_server *s, const dl_request *r) {
    return r->last < s->size ? r->last : s->size - 1;
}

static inline bool dl_serve_all(dl_server *s, int fd) {
    return dl_puts(fd, "HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %zu\r\n\r\n", s->etag,
                   s->size) &&
           dl_body(s, fd, 0, s->size);
}

/* As a good server does. */
static inline bool dl_serve_well(dl_server *s, int fd, const dl_request *r) {
    if (!r->has_range) return dl_serve_all(s, fd);
    return dl_head_206(s, fd, r->first, dl_last(s, r)) &&
           dl_body(s, fd, r->first, dl_last(s, r) - r->first + 1);
}

static inline bool dl_status(int fd, const char *status, const char *more) {
    return dl_puts(fd, "HTTP/1.1 %s\r\n%sContent-Length: 0\r\n\r\n", status, more);
}

static inline void dl_wait_for_close(int fd) {
    char bytes[256];
    while (recv(fd, bytes, sizeof bytes, 0) > 0) continue;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static inline bool dl_read_request(int fd, dl_request *r) {
    size_t size = 0;
    while (size + 1 < sizeof r->head) {
        ssize_t n = recv(fd, r->head + size, sizeof r->head - 1 - size, 0);
        if (n <= 0) return false;
        size += (size_t)n;
        r->head[size] = '\0';
        if (strstr(r->head, "\r\n\r\n")) break;
    }
    const char *range = strstr(r->head, "\r\nRange: bytes=");
    r->has_range = range != NULL;
    r->first = 0;
    r->last = UINT64_MAX;
    if (range) {
        char *end;
        r->first = strtoull(range + strlen("\r\nRange: bytes="), &end, 10);
        r->last = strtoull(end + 1, NULL, 10);
    }
    return true;
}

typedef struct dl_connection {
    dl_server *server;
    int fd;
} dl_connection;

static inline void *dl_connection_main(void *context) {
    dl_connection c = *(dl_connection *)context;
    dl_request *r = malloc(sizeof *r);
    free(context);
    if (!r) abort();
    while (dl_read_request(c.fd, r)) {
        r->number = atomic_fetch_add(&c.server->n_requests, 1);
        int n_open = atomic_fetch_add(&c.server->n_open, 1) + 1;
        if (n_open > c.server->n_most) c.server->n_most = n_open;
        dl_serve_fn serve =
            atomic_load(&c.server->serve); /* a call by itself would read it plainly */
        bool stays = serve(c.server, c.fd, r);
        atomic_fetch_sub(&c.server->n_open, 1);
        if (!stays) break;
    }
    free(r);
    shutdown(c.fd, SHUT_RDWR);
    return NULL;
}

static inline void *dl_acceptor_main(void *context) {
    dl_server *s = context;
    for (int n = 0; n < DL_MAX_CONNECTIONS; n++) {
        int one = 1, fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) break;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        dl_connection *c = malloc(sizeof *c);
        if (!c) abort();
        *c = (dl_connection){s, fd};
        s->fds[n] = fd;
        if (pthread_create(&s->threads[n], NULL, dl_connection_main, c) != 0) abort();
        atomic_fetch_add(&s->n_connections, 1);
    }
    return NULL;
}

static inline uint64_t dl_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Begins as a safetensors file does; then noise. */
static inline void dl_make_file(dl_server *s, size_t size, uint64_t seed) {
    static const char HEADER[] = "{\"__metadata__\":{\"a\":\"b\"}}      ";
    s->size = size;
    s->bytes = malloc(size + 1);
    if (!s->bytes) abort();
    for (size_t i = 0; i < size; i++) s->bytes[i] = (unsigned char)dl_random(&seed);
    unsigned char head[8 + sizeof HEADER - 1] = {sizeof HEADER - 1};
    memcpy(head + 8, HEADER, sizeof HEADER - 1);
    memcpy(s->bytes, head, size < sizeof head ? size : sizeof head);
}

static inline dl_server *dl_start(dl_serve_fn serve, size_t size, uint64_t seed) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    dl_server *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->serve = serve;
    s->etag = "\"one\"";
    s->seed = seed;
    dl_make_file(s, size, seed);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&address, length) != 0 ||
        listen(s->listener, 1024) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&address, &length) != 0)
        abort();
    s->port = ntohs(address.sin_port);
    if (pthread_create(&s->acceptor, NULL, dl_acceptor_main, s) != 0) abort();
    return s;
}

/* Ends all connections: now the test may change what their threads were reading. */
static inline void dl_quiet(dl_server *s) {
    for (; s->n_joined < s->n_connections; s->n_joined++) {
        shutdown(s->fds[s->n_joined], SHUT_RDWR);
        pthread_join(s->threads[s->n_joined], NULL);
        close(s->fds[s->n_joined]);
    }
}

static inline void dl_stop(dl_server *s) {
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->listener);
    dl_quiet(s);
    free(s->bytes);
    free(s);
}

/* ---- what is downloaded ------------------------------------------------------------------------------------------ */

typedef struct dl_case {
    char folder[64], part[100], journal[100];
    dl_server *server;
    tt_source_services services;
    tt_source_file file;
    tt_download_options options;
    tt_downloaded out;
    tt_fetch_error error;
} dl_case;

static inline void dl_digest(const dl_server *s, char out[TT_DIGEST_HEX + 1]) {
    unsigned char sum[32];
    assert_int_equal(EVP_Digest(s->bytes, s->size, sum, NULL, EVP_sha256(), NULL), 1);
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static inline void dl_paths(dl_case *c) {
    snprintf(c->folder, sizeof c->folder, "/tmp/tt_download_XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    snprintf(c->part, sizeof c->part, "%s/part", c->folder);
    snprintf(c->journal, sizeof c->journal, "%s/part.j", c->folder);
}

static inline void dl_options(dl_case *c) {
    c->services = (tt_source_services){.allow_private = true, .user_agent = "tests/1"};
    c->options = (tt_download_options){.part_path = c->part,
                                       .journal_path = c->journal,
                                       .max_bytes = 1 << 30,
                                       .deadline_ms = 120 * 1000,
                                       .chunk_bytes = DL_CHUNK,
                                       .range_chunks = 1,
                                       .time_divisor =
                                           10}; /* a stall is 1.5 s: more than a busy machine's */
}

static inline void dl_promise(dl_case *c) {
    snprintf(c->file.url, sizeof c->file.url, "http://127.0.0.1:%d/file?signature=secret",
             c->server->port);
    snprintf(c->file.name, sizeof c->file.name, "toy");
    dl_digest(c->server, c->file.digest);
    c->file.size = c->server->size;
    c->file.size_is_exact = true;
}

static inline dl_case *dl_begin(dl_serve_fn serve, size_t size) {
    dl_case *c = calloc(1, sizeof *c);
    if (!c) abort();
    dl_paths(c);
    c->server = dl_start(serve, size, size + 7);
    dl_options(c);
    dl_promise(c);
    return c;
}

static inline void dl_end(dl_case *c) {
    dl_stop(c->server);
    unlink(c->part);
    unlink(c->journal);
    assert_int_equal(rmdir(c->folder), 0); /* nothing else was left */
    free(c);
}

static inline tt_status dl_fetch(dl_case *c) {
    memset(&c->error, 0, sizeof c->error);
    return tt_download(&c->services, &c->file, &c->options, &c->out, &c->error);
}

static inline void dl_expect_file(const dl_case *c) {
    const dl_server *s = c->server;
    struct stat st;
    FILE *f = fopen(c->part, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    assert_int_equal(st.st_size, s->size);
    unsigned char *bytes = malloc(s->size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, s->size + 1, f), s->size);
    assert_int_equal(memcmp(bytes, s->bytes, s->size), 0);
    free(bytes);
    fclose(f);
}

static inline void dl_expect_good(dl_case *c) {
    char digest[TT_DIGEST_HEX + 1];
    if (dl_fetch(c) != TT_OK)
        fail_msg("%s: %s", tt_fetch_class_name(c->error.class_), c->error.err.message);
    dl_digest(c->server, digest);
    assert_string_equal(c->out.digest, digest);
    assert_int_equal(c->out.size, c->server->size);
    dl_expect_file(c);
    assert_int_not_equal(access(c->journal, F_OK), 0);
}

static inline void dl_expect_failure(dl_case *c, tt_fetch_class class_, const char *part) {
    tt_status status = dl_fetch(c);
    if (status == TT_OK || c->error.class_ != class_)
        fail_msg("expected %s, found %s: %s", tt_fetch_class_name(class_),
                 tt_fetch_class_name(c->error.class_), c->error.err.message);
    assert_int_equal(status, c->error.err.code);
    if (!strstr(c->error.err.message, part))
        fail_msg("\"%s\" says nothing of \"%s\"", c->error.err.message, part);
    assert_null(strstr(c->error.err.message, "secret"));
    assert_null(strstr(c->error.err.message, "127.0.0.1"));
}

#endif
