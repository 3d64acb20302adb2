/* From libmicrohttpd's calls to a whole request: begin (the head is there), take_body (some of the body), finish (all of it).
 * Here requests are refused that `handle` should never see.
 *
 * A refusal that comes with a body under way is written to the socket at once, by ourselves: libmicrohttpd would take an
 * answer only before the body's first byte or after its last, and closes with the rest unread. Then the body is read on and
 * thrown away for a while (see TT__HTTP_DRAIN_MS), and the connection closed. A client that asked first (Expect) has sent
 * nothing yet and gets an ordinary answer. */
#include "net/http_server_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

enum { MS_PER_S = 1000, SENTENCE_BYTES = 160 };

/* ---- refusing ---------------------------------------------------------------------------------------------------- */

typedef struct refusal {
    int status;
    char sentence[SENTENCE_BYTES]; /* ours: no quotes, no text of the client's */
} refusal;

#define REFUSE(why, code, ...) \
    ((why)->status = (code), snprintf((why)->sentence, sizeof(why)->sentence, __VA_ARGS__))

static size_t write_refusal(const refusal *why, char *out, size_t size) {
    int n = snprintf(out, size, "{\"error\": \"%s\"}", why->sentence);
    return n < 0 ? 0 : (size_t)n;
}

static enum MHD_Result queue_refusal(tt_http_exchange *x, const refusal *why) {
    char body[SENTENCE_BYTES + 32];
    size_t size = write_refusal(why, body, sizeof body);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    enum MHD_Result result = MHD_NO;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json") ==
            MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES)
        result = MHD_queue_response(x->shared.connection, (unsigned)why->status, response);
    MHD_destroy_response(response);
    return result;
}

/* The socket's buffer is empty and takes a few hundred bytes whole; if not, the client learns less. */
static void send_refusal(tt_http_exchange *x, const refusal *why) {
    char body[SENTENCE_BYTES + 32], text[SENTENCE_BYTES + 256];
    size_t size = write_refusal(why, body, sizeof body);
    bool is_head = strcmp(x->method, MHD_HTTP_METHOD_HEAD) == 0;
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     why->status, MHD_get_reason_phrase_for((unsigned)why->status), size,
                     is_head ? "" : body);
    ssize_t ignored = send(x->slot->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
}

/* While a body is under way. */
static enum MHD_Result refuse_body(tt_http_exchange *x, const refusal *why) {
    send_refusal(x, why);
    x->is_refused = true;
    x->status = why->status;
    tt_buf_release(&x->body);
    atomic_fetch_sub(&x->server->bodies_bytes, x->counted_bytes);
    x->counted_bytes = 0;
    atomic_store(&x->slot->deadline_ms, tt_clock_ms() + TT__HTTP_DRAIN_MS);
    return MHD_YES;
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

static bool has_body(const tt_http_exchange *x) {
    const char *length = tt_http_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return tt_http_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
           (length && strtoull(length, NULL, 10) > 0);
}

static int count_headers(const tt_http_exchange *x, const char *name) {
    int n = 0;
    for (const char *at = x->headers; at < x->headers_end;) {
        const char *value = at + strlen(at) + 1;
        n += strcasecmp(at, name) == 0;
        at = value + strlen(value) + 1;
    }
    return n;
}

/* "Content-Length : 3" is such a name (RFC 9112, 5.1). */
static bool has_bad_name(const tt_http_exchange *x) {
    for (const char *at = x->headers; at < x->headers_end;) {
        const char *value = at + strlen(at) + 1;
        if (!tt__http_is_token(at)) return true;
        at = value + strlen(value) + 1;
    }
    return false;
}

/* Two readings of where a body ends are how requests are smuggled past proxies (RFC 9112, 6.3 and 11.2). The encoding is
 * libmicrohttpd's own text: 0.9 takes "chunked" with a space behind it for something else. */
static bool is_framed_badly(const tt_http_exchange *x, struct MHD_Connection *connection) {
    const char *encoding =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    int n_lengths = count_headers(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    int n_encodings = count_headers(x, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return n_lengths + n_encodings > 1 || (encoding && strcasecmp(encoding, "chunked") != 0);
}

static bool is_body_too_large(const tt_http_exchange *x) {
    const char *length = tt_http_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length && strtoull(length, NULL, 10) > x->max_body_bytes;
}

static void refuse_size(const tt_http_exchange *x, refusal *why) {
    REFUSE(why, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large: the limit is %zu bytes",
           x->max_body_bytes);
}

static size_t head_bytes(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static void find_limit(tt_http_exchange *x) {
    const tt_http_server_options *options = &x->server->options;
    x->max_body_bytes =
        options->max_body_bytes
            ? options->max_body_bytes(options->context, tt_http_method(x), tt_http_path(x))
            : TT_HTTP_DEFAULT_BODY_BYTES;
    tt_buf_init(&x->body, x->max_body_bytes);
}

/* True and the reason, or the request may go on. */
static bool is_refused_by_head(tt_http_exchange *x, struct MHD_Connection *connection,
                               const char *url, refusal *why) {
    tt_status status = tt__http_exchange_target(x, url, NULL);
    if (status == TT_E_NOMEM) {
        REFUSE(why, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is out of memory");
    } else if (status != TT_OK) {
        REFUSE(why, MHD_HTTP_BAD_REQUEST,
               "the request's path or query is not valid: a path begins with /, escapes are "
               "%%XX and not %%00");
    } else if (head_bytes(connection) > TT_HTTP_MAX_HEAD_BYTES) {
        REFUSE(why, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
               "the request's headers are too large: the limit is %d bytes",
               TT_HTTP_MAX_HEAD_BYTES);
    } else if (has_bad_name(x) || is_framed_badly(x, connection)) {
        REFUSE(why, MHD_HTTP_BAD_REQUEST,
               "the request's headers are broken, or do not say clearly where its body ends");
    } else if (atomic_load(&x->server->stage) != TT__HTTP_SERVING) {
        REFUSE(why, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is closing");
    } else {
        find_limit(x);
        if (is_body_too_large(x)) refuse_size(x, why);
    }
    return why->status != 0;
}

static enum MHD_Result begin(tt_http_server *server, struct MHD_Connection *connection,
                             const char *url, const char *method, const char *version,
                             void **context) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    refusal why = {0};
    if (!info || !info->socket_context) return MHD_NO; /* no slot: memory was gone */
    tt_http_exchange *x = tt__http_exchange_new(server, connection, info->socket_context, method);
    if (!x) return MHD_NO;
    *context = x;
    x->is_http_1_0 = version[0] == '\0' || strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    atomic_store(&x->slot->deadline_ms, tt_clock_ms() + server->head_ms);
    if (!is_refused_by_head(x, connection, url, &why)) return MHD_YES;
    if (has_body(x) && !tt_http_header(x, MHD_HTTP_HEADER_EXPECT)) return refuse_body(x, &why);
    x->status = why.status;
    return queue_refusal(x, &why);
}

/* ---- the body ---------------------------------------------------------------------------------------------------- */

static enum MHD_Result drain(tt_http_exchange *x, size_t size) {
    x->drained_bytes += size;
    return x->drained_bytes <= TT__HTTP_MAX_DRAIN_BYTES ? MHD_YES : MHD_NO;
}

/* All bodies together have a limit, too. */
static bool count_body(tt_http_exchange *x, size_t size) {
    size_t before = atomic_fetch_add(&x->server->bodies_bytes, size);
    x->counted_bytes += size;
    return before + size <= TT_HTTP_MAX_BODIES_BYTES;
}

static enum MHD_Result take_body(tt_http_exchange *x, const char *bytes, size_t size) {
    refusal why = {0};
    if (x->is_refused) return drain(x, size);
    if (size > x->max_body_bytes - x->body.size)
        refuse_size(x, &why);
    else if (!count_body(x, size) || tt_buf_append(&x->body, bytes, size, NULL) != TT_OK)
        REFUSE(&why, MHD_HTTP_SERVICE_UNAVAILABLE,
               "the server is out of memory for request bodies");
    if (why.status != 0) return refuse_body(x, &why);
    atomic_fetch_add(&x->slot->deadline_ms, (int64_t)size * MS_PER_S / TT_HTTP_MIN_BODY_RATE);
    return MHD_YES;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void hand_over(tt_http_exchange *x) {
    tt_http_server *server = x->server;
    atomic_store(&x->slot->deadline_ms, 0);
    tt__http_exchange_hold(x); /* the user's */
    pthread_mutex_lock(&x->shared.mutex);
    x->shared.phase = TT__HTTP_HANDLING;
    pthread_mutex_unlock(&x->shared.mutex);
    pthread_mutex_lock(&server->shared.mutex);
    server->shared.n_exchanges++;
    pthread_mutex_unlock(&server->shared.mutex);
    server->options.handle(server->options.context, x);
}

/* Also when a connection was resumed. */
static enum MHD_Result finish(tt_http_exchange *x) {
    if (x->is_refused) return MHD_NO; /* answered long ago */
    pthread_mutex_lock(&x->shared.mutex);
    bool is_first = x->shared.phase == TT__HTTP_RECEIVING;
    pthread_mutex_unlock(&x->shared.mutex);
    if (is_first) hand_over(x);
    return tt__http_settle(x);
}

enum MHD_Result tt__http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version,
                                    const char *upload_data, size_t *upload_size, void **context) {
    tt_http_exchange *x = *context;
    size_t size = *upload_size;
    *upload_size = 0;
    if (!x) return begin(cls, connection, url, method, version, context);
    return size > 0 ? take_body(x, upload_data, size) : finish(x);
}

static void log_access(const tt_http_exchange *x) {
    const tt_log *log = x->server->options.log;
    if (!log || log->level < TT_LOG_DEBUG) return;
    tt_log_write(log, TT_LOG_DEBUG, NULL, "HTTP. method=%s path=%s status=%d ms=%lld peer=%s%s",
                 x->method, tt_http_path(x), x->status, (long long)(tt_clock_ms() - x->started_ms),
                 x->peer, x->is_whole ? "" : " cut=true");
}

void tt__http_on_completed(void *cls, struct MHD_Connection *connection, void **context,
                           enum MHD_RequestTerminationCode code) {
    tt_http_exchange *x = *context;
    tt_http_server *server = cls;
    (void)connection;
    *context = NULL;
    if (!x) return;
    /* A kept connection may idle (libmicrohttpd counts that), and then owes a head in time. */
    atomic_store(&x->slot->deadline_ms, tt_clock_ms() + server->idle_ms + server->head_ms);
    tt__http_unwatch(server, x->slot);
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK) x->is_whole = true;
    log_access(x);
    tt__http_completed(x);
    tt__http_exchange_release(x);
}
