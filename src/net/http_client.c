/* See http_client.h. A request becomes the options of one libcurl handle; http_pool.c moves it, http_outcome.c reads the end.
 *
 * Handles, their buffers and (in the pool) their connections are used again: a job worker sends thousands of small requests a
 * second to one host. Small bodies are joined, because libcurl then sends them with their headers in one packet; larger
 * ones are read from where they lie.
 *
 * HTTP/1.1 everywhere, as the reference's client does: one transfer per connection, so that a cancel really closes it and a
 * connection that stalls holds up nobody else. libcurl's additions of its own (Expect, a form's Content-Type) are switched
 * off; Accept: * / * it may send, and it obeys the usual proxy variables except for public_only. */
#include "net/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "net/guard.h"
#include "net/http_parts.h"
#include "net/loop_parts.h"
#include "net/url.h"

enum {
    MAX_IDLE = 64,                   /* handles kept, about 6 KB each */
    MAX_IDLE_BODY_BYTES = 64 * 1024, /* kept with them; larger answers give their memory back */
    MAX_IDLE_HEAD_BYTES = 8 * 1024,
    MAX_JOINED_BYTES = 16 * 1024, /* bodies up to here are copied: cheaper than a second packet */
    MAX_METHOD_BYTES = 16,
    STREAM_BUFFER_BYTES = 512 * 1024, /* libcurl's most: fewer system calls per byte */
    KEEPALIVE_IDLE_S =
        30, /* a peer that vanished during a long poll is noticed in about a minute */
    KEEPALIVE_INTERVAL_S = 10,
};

/* ---- what the peer sends ----------------------------------------------------------------------------------------- */

/* A clock that stands still while a callback keeps its bytes waiting: silence of that time is nobody's but ours, on any of the
 * loop's transfers. */
static int64_t network_ms(const tt__http *http) {
    return tt_clock_ms() - http->held_ms;
}

static void note_heard(tt_http_transfer *t) {
    t->was_heard = true;
    if (t->stall_timer) t->heard_ms = network_ms(t->http);
}

static size_t stream(tt_http_transfer *t, const char *bytes, size_t n) {
    t->is_too_large = t->max_response_bytes && n > t->max_response_bytes - t->streamed_bytes;
    if (t->is_too_large) return 0;
    t->streamed_bytes += n;
    int64_t begun_ms = tt_clock_ms();
    t->was_ended = !t->on_bytes(t->context, bytes, n);
    t->http->held_ms += tt_clock_ms() - begun_ms;
    return t->was_ended ? 0 : n;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *context) {
    tt_http_transfer *t = context;
    (void)one;
    note_heard(t);
    if (t->on_bytes) return stream(t, bytes, n);
    t->is_too_large = n > t->max_response_bytes - t->body.size;
    if (t->is_too_large) return 0;
    t->is_out_of_memory = tt_buf_append(&t->body, bytes, n, NULL) != TT_OK;
    return t->is_out_of_memory ? 0 : n;
}

/* Keeps "Name: value\r\n"; lines of any other form (folded ones too, RFC 9112 5.2) are as if absent. */
static tt_status keep_field(struct tt_http_headers *head, const char *line, size_t size) {
    const char *colon = memchr(line, ':', size), *to = line + size;
    if (!colon || colon == line || isspace((unsigned char)*line) || memchr(line, '\0', size))
        return TT_OK;
    const char *from = colon + 1;
    while (from < to && (*from == ' ' || *from == '\t')) from++;
    while (to > from && isspace((unsigned char)to[-1])) to--;
    TT_TRY(tt_buf_append(&head->text, line, (size_t)(colon - line), NULL));
    TT_TRY(tt_buf_append(&head->text, "", 1, NULL));
    TT_TRY(tt_buf_append(&head->text, from, (size_t)(to - from), NULL));
    TT_TRY(tt_buf_append(&head->text, "", 1, NULL));
    head->n++;
    return TT_OK;
}

/* A status line begins the headers anew: interim (1xx) answers come before the real one. */
static void begin_head(tt_http_transfer *t, const char *line, size_t size) {
    const char *space = memchr(line, ' ', size);
    t->is_interim = space && space + 1 < line + size && space[1] == '1';
    t->head.text.size = 0;
    t->head.n = 0;
}

static void end_head(tt_http_transfer *t) {
    tt_http_response head;
    t->is_head_over = !t->is_interim;
    if (t->is_interim || !t->on_head) return;
    tt__http_describe(t, &head);
    int64_t begun_ms = tt_clock_ms();
    t->was_ended = !t->on_head(t->context, &head);
    t->http->held_ms += tt_clock_ms() - begun_ms;
}

/* What comes when the head is over are a chunked body's trailers: counted, and of no meaning. */
static size_t on_header(char *line, size_t one, size_t n, void *context) {
    tt_http_transfer *t = context;
    (void)one;
    note_heard(t);
    t->header_bytes += n;
    t->is_too_large = t->header_bytes > TT_MAX_RESPONSE_HEADER_BYTES ||
                      ++t->n_header_lines > TT_MAX_RESPONSE_HEADER_LINES;
    if (t->is_too_large) return 0;
    if (t->is_head_over) return n;
    if (n > 5 && memcmp(line, "HTTP/", 5) == 0)
        begin_head(t, line, n);
    else if (*line == '\r' || *line == '\n')
        end_head(t);
    else
        t->is_out_of_memory = keep_field(&t->head, line, n) != TT_OK;
    return t->was_ended || t->is_out_of_memory ? 0 : n;
}

/* ---- what we send ------------------------------------------------------------------------------------------------ */

static size_t on_read(char *out, size_t one, size_t room, void *context) {
    tt_http_transfer *t = context;
    size_t written = 0;
    (void)one;
    while (written < room && t->piece < t->n_pieces) {
        const tt_http_piece *p = &t->pieces[t->piece];
        size_t n = p->size - t->piece_start;
        if (n > room - written) n = room - written;
        if (n) memcpy(out + written, (const char *)p->bytes + t->piece_start, n);
        written += n;
        t->piece_start += n;
        if (t->piece_start < p->size) break;
        t->piece++;
        t->piece_start = 0;
    }
    return written;
}

/* Again from the start: a kept-alive connection turned out to be closed, libcurl takes a fresh one. */
static int on_seek(void *context, curl_off_t offset, int origin) {
    tt_http_transfer *t = context;
    if (origin != SEEK_SET || offset != 0) return CURL_SEEKFUNC_CANTSEEK;
    t->piece = 0;
    t->piece_start = 0;
    return CURL_SEEKFUNC_OK;
}

/* Sockets are made here to be closed in child processes, and to refuse addresses before a single packet leaves. */
static curl_socket_t on_socket_wanted(void *context, curlsocktype purpose,
                                      struct curl_sockaddr *address) {
    tt_http_transfer *t = context;
    (void)purpose;
    if (t->public_only && !tt_guard_is_public(&address->addr)) {
        t->was_refused = true;
        return CURL_SOCKET_BAD;
    }
    curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    t->socket_errno = fd == CURL_SOCKET_BAD ? errno : 0;
    return fd; /* libcurl's, who closes it */
}

/* The watch goes before the number may be used again. The connection may outlive its transfer, so the context is the loop. */
static int on_socket_closed(void *context, curl_socket_t fd) {
    tt_loop_unwatch(context, fd);
    return close(fd);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* Stops at the first option that libcurl refuses; for want of memory, as all of them exist. */
#define SET(option, value)                                                                     \
    do {                                                                                       \
        CURLcode set_code_ = curl_easy_setopt(t->easy, option, value);                         \
        if (set_code_ != CURLE_OK)                                                             \
            return tt_fail(err, set_code_ == CURLE_OUT_OF_MEMORY ? TT_E_NOMEM : TT_E_INTERNAL, \
                           "HTTP request: " #option ": %s", curl_easy_strerror(set_code_));    \
    } while (0)

/* The differences between libcurl's versions. */
static tt_status set_by_version(tt_http_transfer *t, bool https_only, tt_err *err) {
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
    SET(CURLOPT_PROTOCOLS_STR, https_only ? "https" : "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(https_only ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= \
    0x075700 /* 7.87; before, a cancel waits for a name that is being resolved */
    SET(CURLOPT_QUICK_EXIT, 1L);
#endif
    return TT_OK;
}

static tt_status set_behaviour(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PATH_AS_IS, 1L); /* a signed path must arrive as it was signed */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    SET(CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    if (request->ca_file) SET(CURLOPT_CAINFO, request->ca_file);
    return set_by_version(t, request->https_only, err);
}

static tt_status set_callbacks(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    t->on_head = request->on_head;
    t->on_bytes = request->on_bytes;
    if (t->on_bytes) SET(CURLOPT_BUFFERSIZE, (long)STREAM_BUFFER_BYTES);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket_wanted);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_CLOSESOCKETFUNCTION, on_socket_closed);
    SET(CURLOPT_CLOSESOCKETDATA, t->http->loop);
    return TT_OK;
}

static tt_status set_limits(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    t->timeout_ms = request->timeout_ms ? request->timeout_ms : TT_HTTP_DEFAULT_TIMEOUT_MS;
    t->connect_timeout_ms =
        request->connect_timeout_ms ? request->connect_timeout_ms : TT_HTTP_DEFAULT_CONNECT_MS;
    t->max_response_bytes = request->max_response_bytes || request->on_bytes
                                ? request->max_response_bytes
                                : TT_HTTP_DEFAULT_RESPONSE_BYTES;
    t->body.limit_bytes = t->max_response_bytes;
    t->public_only = request->public_only;
    SET(CURLOPT_TIMEOUT_MS, (long)t->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)t->connect_timeout_ms);
    /* For public_only too: a proxy would connect where we cannot look. */
    if (t->public_only || request->no_proxy) SET(CURLOPT_PROXY, "");
    return TT_OK;
}

/* The timer is not moved with every byte: it looks when the last one came and sleeps for the rest. */
static void on_stall_time(void *context) {
    tt_http_transfer *t = context;
    int64_t limit_ms = t->was_heard ? t->stall_ms : 2 * t->stall_ms;
    int64_t left_ms = t->heard_ms + limit_ms - network_ms(t->http);
    if (left_ms > 0) {
        tt__loop_timer_move(t->http->loop, t->stall_timer, left_ms);
        return;
    }
    t->is_stalled = true;
    tt__http_pool_remove(t);
    tt__http_finish(t, CURLE_OPERATION_TIMEDOUT);
}

static tt_status set_stall(tt_http_transfer *t, int64_t stall_ms, tt_err *err) {
    if (stall_ms <= 0) return TT_OK;
    t->stall_ms = stall_ms;
    t->heard_ms = network_ms(t->http);
    TT_TRY(tt__loop_timer_keep(t->http->loop, on_stall_time, t, &t->stall_timer, err));
    tt__loop_timer_move(t->http->loop, t->stall_timer, 2 * stall_ms);
    return TT_OK;
}

static bool is_header(const char *line, const char *name) {
    size_t length = strlen(name);
    return strncasecmp(line, name, length) == 0 && (line[length] == ':' || line[length] == ';');
}

static tt_status add_header(tt_http_transfer *t, const char *line, tt_err *err) {
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    if (!longer) return tt_fail_nomem(err, "request header", strlen(line));
    t->headers = longer;
    return TT_OK;
}

/* Accept-Encoding is an option, so that libcurl undoes what it asked for. */
static tt_status set_headers(tt_http_transfer *t, const char *const *headers, tt_err *err) {
    bool has_type = false;
    for (; headers && *headers; headers++) {
        const char *colon = strchr(*headers, ':');
        if (colon && is_header(*headers, "Accept-Encoding")) {
            SET(CURLOPT_ACCEPT_ENCODING, colon + 1 + strspn(colon + 1, " "));
            continue;
        }
        has_type = has_type || is_header(*headers, "Content-Type");
        TT_TRY(add_header(t, *headers, err));
    }
    if (!has_type) TT_TRY(add_header(t, "Content-Type:", err)); /* "Name:" means none */
    TT_TRY(add_header(t, "Expect:", err));
    SET(CURLOPT_HTTPHEADER, t->headers);
    return TT_OK;
}

static tt_status total_size(const tt_http_request *request, size_t *total, tt_err *err) {
    *total = 0;
    for (int i = 0; i < request->n_body; i++)
        if (__builtin_add_overflow(*total, request->body[i].size, total) ||
            *total > TT_MAX_REQUEST_BODY_BYTES)
            return tt_fail(err, TT_E_INVALID, "HTTP request: a body of more than %zu bytes",
                           TT_MAX_REQUEST_BODY_BYTES);
    return TT_OK;
}

static tt_status set_joined_body(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    for (int i = 0; i < request->n_body; i++)
        TT_TRY(tt_buf_append(&t->joined, request->body[i].bytes, request->body[i].size, err));
    SET(CURLOPT_POSTFIELDS, t->joined.size ? t->joined.data : "");
    return TT_OK;
}

static tt_status set_read_body(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    size_t bytes = (size_t)request->n_body * sizeof *t->pieces;
    t->pieces = tt_alloc(bytes);
    if (!t->pieces) return tt_fail_nomem(err, "pieces of a request", bytes);
    memcpy(t->pieces, request->body, bytes);
    t->n_pieces = request->n_body;
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, t);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, t);
    return TT_OK;
}

/* For libcurl everything with a body is a POST; CUSTOMREQUEST only changes the word. The size makes it send Content-Length
 * and never chunks. */
static tt_status set_body(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    size_t total;
    TT_TRY(total_size(request, &total, err));
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)total);
    if (total <= MAX_JOINED_BYTES) return set_joined_body(t, request, err);
    if (request->n_body > 1) return set_read_body(t, request, err);
    SET(CURLOPT_POSTFIELDS, request->body[0].bytes);
    return TT_OK;
}

static tt_status set_method(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    const char *method = request->method;
    bool is_post = strcmp(method, "POST") == 0, is_head = strcmp(method, "HEAD") == 0;
    bool has_body = request->n_body > 0 || is_post || strcmp(method, "PUT") == 0 ||
                    strcmp(method, "PATCH") == 0;
    if (has_body)
        TT_TRY(set_body(t, request, err));
    else if (is_head)
        SET(CURLOPT_NOBODY, 1L);
    if (!is_post && !is_head && (has_body || strcmp(method, "GET") != 0))
        SET(CURLOPT_CUSTOMREQUEST, method);
    return TT_OK;
}

static tt_status set_up(tt_http_transfer *t, const tt_http_request *request, tt_err *err) {
    TT_TRY(set_behaviour(t, request, err));
    TT_TRY(set_callbacks(t, request, err));
    TT_TRY(set_limits(t, request, err));
    TT_TRY(set_stall(t, request->stall_timeout_ms, err));
    SET(CURLOPT_URL, request->url);
    TT_TRY(set_headers(t, request->headers, err));
    return set_method(t, request, err);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static tt_status check_method(const char *method, tt_err *err) {
    size_t length = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (length > 0 && length <= MAX_METHOD_BYTES && !method[length]) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "HTTP method: expected capital letters, found \"%.20s\"",
                   method);
}

/* Header values may be secret, so only the name is shown. */
static tt_status check_header(const char *line, tt_err *err) {
    size_t name = strcspn(line, ":; \t\r\n");
    bool has_form = name > 0 && (line[name] == ':' || (line[name] == ';' && !line[name + 1]));
    for (const char *c = line; *c && has_form; c++)
        has_form = (unsigned char)*c >= ' ' && *c != 0x7f;
    if (!has_form)
        return tt_fail(err, TT_E_INVALID, "HTTP header %.*s: expected one line \"Name: value\"",
                       (int)(name < 60 ? name : 60), line);
    if (is_header(line, "Content-Length") || is_header(line, "Transfer-Encoding"))
        return tt_fail(err, TT_E_INVALID, "HTTP header %.*s: it follows from the body", (int)name,
                       line);
    return TT_OK;
}

static tt_status check(const tt_http_request *request, tt_err *err) {
    TT_TRY(check_method(request->method, err));
    TT_TRY(tt_url_check(request->url, err));
    if (request->https_only && strncasecmp(request->url, "https:", strlen("https:")) != 0)
        return tt_fail(err, TT_E_INVALID, "HTTP request: expected an https: URL, found http:");
    for (const char *const *h = request->headers; h && *h; h++) TT_TRY(check_header(*h, err));
    return TT_OK;
}

/* ---- the life of a transfer -------------------------------------------------------------------------------------- */

void tt__http_transfer_free(tt_http_transfer *t) {
    tt_loop_timer_cancel(t->http->loop, t->stall_timer);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    tt_free(t->pieces);
    tt_buf_release(&t->joined);
    tt_buf_release(&t->body);
    tt_buf_release(&t->head.text);
    tt_free(t);
}

static tt_status make(tt__http *http, tt_http_transfer **out, tt_err *err) {
    tt_http_transfer *t = tt_alloc(sizeof *t);
    if (!t) return tt_fail_nomem(err, "HTTP request", sizeof *t);
    t->http = http;
    t->easy = curl_easy_init();
    tt_buf_init(&t->joined, MAX_JOINED_BYTES);
    tt_buf_init(&t->body, 0);
    tt_buf_init(&t->head.text, TT_MAX_RESPONSE_HEADER_BYTES);
    if (!t->easy) {
        tt__http_transfer_free(t);
        return tt_fail_nomem(err, "HTTP request", sizeof *t);
    }
    *out = t;
    return TT_OK;
}

static tt_status take(tt__http *http, tt_http_transfer **out, tt_err *err) {
    tt_http_transfer *t = http->idle;
    if (!t) {
        TT_TRY(make(http, &t, err));
    } else {
        http->idle = t->next;
        http->n_idle--;
    }
    *out = t;
    return TT_OK;
}

/* Forgets the request (URL and headers may hold secrets) and keeps memory of a size that the next one will need. */
static void clear(tt_http_transfer *t) {
    tt_loop_timer_cancel(t->http->loop, t->stall_timer);
    curl_easy_reset(t->easy);
    curl_slist_free_all(t->headers);
    tt_free(t->pieces);
    if (t->body.capacity > MAX_IDLE_BODY_BYTES) tt_buf_release(&t->body);
    if (t->head.text.capacity > MAX_IDLE_HEAD_BYTES) tt_buf_release(&t->head.text);
    tt_buf joined = t->joined, body = t->body, head = t->head.text;
    joined.size = body.size = head.size = 0;
    *t = (tt_http_transfer){
        .http = t->http, .easy = t->easy, .joined = joined, .body = body, .head.text = head};
}

/* Only the handle of a transfer that went well is used again: libcurl 7.88 keeps a failed one's receive buffer, and
 * then refuses CURLOPT_BUFFERSIZE. */
static void put_back(tt_http_transfer *t, bool went_well) {
    tt__http *http = t->http;
    if (!went_well || http->n_idle == MAX_IDLE) {
        tt__http_transfer_free(t);
        return;
    }
    clear(t);
    t->next = http->idle;
    http->idle = t;
    http->n_idle++;
}

void tt__http_finish(tt_http_transfer *t, CURLcode code) {
    tt_http_response response;
    tt_err err;
    tt__http_outcome(t, code, &response, &err);
    t->done(t->context, &response);
    put_back(t, code == CURLE_OK);
}

static void free_client(void *guest) {
    tt__http *http = guest;
    for (int i = 0; i < TT__HTTP_POOLS; i++) tt__http_pool_free(http->pools[i]);
    for (tt_http_transfer *t; (t = http->idle);) {
        http->idle = t->next;
        tt__http_transfer_free(t);
    }
    tt_free(http);
}

static tt_status client_of(tt_loop *loop, tt__http **out, tt_err *err) {
    tt__http *http = tt__loop_guest(loop);
    if (!http) {
        http = tt_alloc(sizeof *http);
        if (!http) return tt_fail_nomem(err, "HTTP client", sizeof *http);
        http->loop = loop;
        tt__loop_set_guest(loop, http, free_client);
    }
    *out = http;
    return TT_OK;
}

static tt_status pool_of(tt__http *http, bool public_only, tt__http_pool **out, tt_err *err) {
    tt__http_pool **pool = &http->pools[public_only ? 1 : 0];
    if (!*pool) TT_TRY(tt__http_pool_new(http->loop, pool, err));
    *out = *pool;
    return TT_OK;
}

tt_status tt_http_send(tt_loop *loop, const tt_http_request *request, tt_http_done_fn done,
                       void *context, tt_http_transfer **out, tt_err *err) {
    tt__http *http;
    tt__http_pool *pool;
    tt_http_transfer *t;
    if (out) *out = NULL;
    TT_TRY(check(request, err));
    TT_TRY(client_of(loop, &http, err));
    TT_TRY(pool_of(http, request->public_only, &pool, err));
    TT_TRY(take(http, &t, err));
    t->done = done;
    t->context = context;
    tt_status status = set_up(t, request, err);
    if (status == TT_OK) status = tt__http_pool_add(pool, t, err);
    if (status != TT_OK)
        put_back(t, false);
    else if (out)
        *out = t;
    return status;
}

/* Inside its own callback a transfer is in no pool any more: there is nothing left to cancel. */
void tt_http_cancel(tt_loop *loop, tt_http_transfer *transfer) {
    (void)loop;
    if (!transfer || !transfer->pool) return;
    tt__http_pool_remove(transfer);
    put_back(transfer, false);
}
