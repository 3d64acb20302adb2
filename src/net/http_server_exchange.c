/* An exchange as its user reads it: a copy of the request, kept until the last holder lets go. libmicrohttpd's own is gone
 * with the connection, which may be long before the user is done. */
#include "net/http_server_parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/url.h"

/* ---- the copy of the request ------------------------------------------------------------------------------------- */

typedef struct copy {
    char *to;
    size_t size; /* counted by the first pass */
} copy;

static enum MHD_Result count_pair(void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_size, const char *value, size_t value_size) {
    (void)kind, (void)name, (void)value;
    ((copy *)cls)->size += name_size + value_size + 2;
    return MHD_YES;
}

/* RFC 9112, 5.1: white space around a value is no part of it. libmicrohttpd has removed what stands before. */
static size_t trimmed(const char *value, size_t size) {
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t')) size--;
    return size;
}

/* Text up to `size` or its first NUL, and a NUL. */
static char *put_text(char *to, const char *text, size_t size) {
    size_t length = text ? strnlen(text, size) : 0;
    if (length) memcpy(to, text, length);
    to[length] = '\0';
    return to + length + 1;
}

static enum MHD_Result copy_pair(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_size, const char *value, size_t value_size) {
    copy *c = cls;
    (void)kind;
    c->to = put_text(c->to, name, name_size);
    c->to = put_text(c->to, value, value ? trimmed(value, value_size) : 0);
    return MHD_YES;
}

static void write_peer(const struct sockaddr *address, char *out, size_t size) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%d", host, ntohs(v6->sin6_port));
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%d", host, ntohs(v4->sin_port));
    }
}

static void fill(tt_http_exchange *x, struct MHD_Connection *connection, const char *method) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    copy c = {.to = put_text(x->text, method, strlen(method))};
    x->method = x->text;
    x->headers = c.to;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, copy_pair, &c);
    x->headers_end = c.to;
    if (info) write_peer(info->client_addr, x->peer, sizeof x->peer);
}

tt_http_exchange *tt__http_exchange_new(tt_http_server *server, struct MHD_Connection *connection,
                                        tt__http_slot *slot, const char *method) {
    copy c = {.size = strlen(method) + 1};
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, count_pair, &c);
    tt_http_exchange *x = tt_alloc(sizeof *x + c.size);
    if (!x) return NULL;
    if (pthread_mutex_init(&x->shared.mutex, NULL) != 0) {
        tt_free(x);
        return NULL;
    }
    x->server = server;
    x->slot = slot;
    x->started_ms = tt_clock_ms();
    x->shared.connection = connection;
    tt_buf_init(&x->target, TT__HTTP_POOL_BYTES);
    tt_buf_init(&x->answer_headers, TT_HTTP_MAX_ANSWER_HEADERS_BYTES);
    atomic_init(&x->holders, 1);
    atomic_fetch_add(&server->holders, 1);
    fill(x, connection, method);
    return x;
}

/* One more name or value of the query, with its NUL. */
static tt_status append_decoded(tt_http_exchange *x, const char *text, size_t size, tt_err *err) {
    TT_TRY(tt_url_append_decoded(&x->target, text ? text : "", text ? size : 0, err));
    return tt_buf_append(&x->target, "", 1, err);
}

typedef struct query_reader {
    tt_http_exchange *x;
    tt_status status;
    tt_err *err;
} query_reader;

/* libmicrohttpd has cut the query into pairs and made spaces of '+'; the escapes are left to us (see http_server.c). */
static enum MHD_Result read_pair(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_size, const char *value, size_t value_size) {
    query_reader *r = cls;
    (void)kind;
    r->status = append_decoded(r->x, name, name_size, r->err);
    if (r->status == TT_OK) r->status = append_decoded(r->x, value, value_size, r->err);
    return r->status == TT_OK ? MHD_YES : MHD_NO;
}

/* "http://host/path" is what proxies are sent, and servers must take (RFC 9112, 3.2.2). */
static const char *skip_origin(const char *url) {
    static const char *const SCHEMES[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof SCHEMES / sizeof *SCHEMES; i++) {
        size_t length = strlen(SCHEMES[i]);
        if (strncasecmp(url, SCHEMES[i], length) != 0) continue;
        const char *path = strchr(url + length, '/');
        return path ? path : "/";
    }
    return url;
}

tt_status tt__http_exchange_target(tt_http_exchange *x, const char *url, tt_err *err) {
    const char *path = skip_origin(url);
    query_reader reader = {.x = x, .status = TT_OK, .err = err};
    if (path[0] != '/' && strcmp(path, "*") != 0)
        return tt_fail(err, TT_E_FORMAT, "the request's path does not begin with /");
    TT_TRY(append_decoded(x, path, strlen(path), err));
    MHD_get_connection_values_n(x->shared.connection, MHD_GET_ARGUMENT_KIND, read_pair, &reader);
    return reader.status;
}

/* ---- reading it -------------------------------------------------------------------------------------------------- */

static const char *next_text(const char *text) {
    return text + strlen(text) + 1;
}

const char *tt_http_method(const tt_http_exchange *x) {
    return x->method;
}

const char *tt_http_path(const tt_http_exchange *x) {
    return x->target.data ? x->target.data : "";
}

const char *tt_http_query(const tt_http_exchange *x, const char *name) {
    if (x->target.size == 0) return NULL;
    const char *end = x->target.data + x->target.size;
    for (const char *at = next_text(x->target.data); at < end; at = next_text(next_text(at)))
        if (strcmp(at, name) == 0) return next_text(at);
    return NULL;
}

const char *tt_http_header(const tt_http_exchange *x, const char *name) {
    for (const char *at = x->headers; at < x->headers_end; at = next_text(next_text(at)))
        if (strcasecmp(at, name) == 0) return next_text(at);
    return NULL;
}

const char *tt_http_body(const tt_http_exchange *x, size_t *size_bytes) {
    *size_bytes = x->body.size;
    return x->body.data ? x->body.data : "";
}

const char *tt_http_peer(const tt_http_exchange *x) {
    return x->peer;
}

void tt_http_set_user(tt_http_exchange *x, void *user) {
    x->user = user;
}

void *tt_http_user(const tt_http_exchange *x) {
    return x->user;
}

/* ---- holders ----------------------------------------------------------------------------------------------------- */

void tt__http_exchange_hold(tt_http_exchange *x) {
    atomic_fetch_add(&x->holders, 1);
}

void tt__http_exchange_release(tt_http_exchange *x) {
    if (atomic_fetch_sub(&x->holders, 1) != 1) return;
    tt_http_server *server = x->server;
    bool was_handed_over = x->shared.phase != TT__HTTP_RECEIVING;
    atomic_fetch_sub(&server->bodies_bytes, x->counted_bytes);
    if (x->shared.response) MHD_destroy_response(x->shared.response);
    tt_buf_release(&x->target);
    tt_buf_release(&x->body);
    tt_buf_release(&x->answer_headers);
    tt_buf_release(&x->shared.pending);
    pthread_mutex_destroy(&x->shared.mutex);
    tt_free(x);
    if (was_handed_over) {
        pthread_mutex_lock(&server->shared.mutex);
        server->shared.n_exchanges--;
        pthread_cond_broadcast(&server->shared.changed);
        pthread_mutex_unlock(&server->shared.mutex);
    }
    tt__http_server_release(server);
}
