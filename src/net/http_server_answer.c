/* What becomes of an exchange once its user has it: parked, streamed, left by its client, ended. The states are drawn in
 * http_server_parts.h.
 *
 * Only server threads touch a connection. An end from elsewhere leaves its answer in the exchange and resumes the
 * connection; libmicrohttpd then asks again (settle), and is given it there. When the answer is there before handle()
 * returned, nothing was suspended and nothing is resumed.
 *
 * Whole answers are blobs in an iovec: sent from where they lie. A stream is a callback: its reader hands over what is
 * pending and suspends the connection when nothing is; a write resumes it. */
#include "net/http_server_parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

/* libmicrohttpd's buffer for clients without chunks (HTTP/1.0). */
enum { STREAM_BLOCK_BYTES = 8 * 1024 };

/* ---- states ------------------------------------------------------------------------------------------------------ */

static void lock(tt_http_exchange *x) {
    pthread_mutex_lock(&x->shared.mutex);
}

static void unlock(tt_http_exchange *x) {
    pthread_mutex_unlock(&x->shared.mutex);
}

static bool is_waiting_unlocked(const tt_http_exchange *x) {
    return x->shared.phase == TT__HTTP_PARKED || x->shared.phase == TT__HTTP_STREAMING;
}

static void suspend_unlocked(tt_http_exchange *x) {
    MHD_suspend_connection(x->shared.connection);
    x->shared.is_suspended = true;
}

/* Wakes the connection if libmicrohttpd sleeps on it; it then comes to settle or to the stream's reader. */
static void resume_unlocked(tt_http_exchange *x) {
    if (!x->shared.is_suspended) return;
    x->shared.is_suspended = false;
    MHD_resume_connection(x->shared.connection);
    tt__http_wake(x->slot->thread);
}

static void stop_telling(tt_http_exchange *x) {
    tt_http_server *server = x->server;
    atomic_store(&x->shared.is_telling, false);
    pthread_mutex_lock(&server->shared.mutex); /* whoever waits looks at is_telling under it */
    pthread_cond_broadcast(&server->shared.changed);
    pthread_mutex_unlock(&server->shared.mutex);
}

/* The caller is a holder: an end inside on_gone does not free the exchange. */
void tt__http_gone(tt_http_exchange *x) {
    tt_http_gone_fn on_gone = NULL;
    lock(x);
    if (is_waiting_unlocked(x) && !x->shared.is_gone) {
        x->shared.is_gone = true;
        on_gone = x->shared.on_gone;
        x->shared.teller = pthread_self();
        atomic_store(&x->shared.is_telling, on_gone != NULL);
        resume_unlocked(x);
    }
    unlock(x);
    if (!on_gone) return;
    on_gone(x->shared.gone_context, x);
    stop_telling(x);
}

void tt__http_completed(tt_http_exchange *x) {
    lock(x);
    x->shared.connection = NULL;
    unlock(x);
    tt__http_gone(x); /* no news unless somebody still waits: the write failed, or it was a HEAD */
}

/* ---- settling: the server thread --------------------------------------------------------------------------------- */

/* What the connection gets now: a response to queue; else closing, or sleep when neither is set. */
typedef struct verdict {
    struct MHD_Response *response;
    int status;
    bool is_close;
} verdict;

static verdict judge_unlocked(tt_http_exchange *x) {
    verdict v = {.status = x->shared.status};
    if (x->shared.is_gone || x->shared.is_dropped) {
        v.is_close = true;
    } else if (x->shared.phase == TT__HTTP_PARKED) {
        suspend_unlocked(x);
    } else {
        v.response = x->shared.response;
        v.is_close = v.response == NULL; /* there was no memory for one */
        x->shared.response = NULL;
    }
    return v;
}

enum MHD_Result tt__http_settle(tt_http_exchange *x) {
    static const char FORGOTTEN[] = "{\"error\": \"the server has no answer to this request\"}";
    lock(x);
    bool is_forgotten = x->shared.phase == TT__HTTP_HANDLING;
    bool is_waiting = is_waiting_unlocked(x) && !x->shared.is_gone;
    unlock(x);
    if (is_forgotten)
        tt_http_reply(x, MHD_HTTP_INTERNAL_SERVER_ERROR, "application/json", FORGOTTEN,
                      sizeof FORGOTTEN - 1);
    if (is_waiting && !tt__http_watch(x->server, x->slot, x)) tt__http_gone(x);
    lock(x);
    struct MHD_Connection *connection = x->shared.connection;
    verdict v = judge_unlocked(x);
    unlock(x);
    if (v.is_close) return MHD_NO;
    if (!v.response) return MHD_YES;
    x->status = v.status;
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)v.status, v.response);
    MHD_destroy_response(v.response); /* our hold */
    return result;
}

/* ---- headers of the answer --------------------------------------------------------------------------------------- */

bool tt__http_is_token(const char *text) {
    static const char MARKS[] = "!#$%&'*+-.^_`|~"; /* RFC 9110, 5.6.2 */
    for (const char *c = text; *c; c++) {
        bool is_alnum =
            (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!is_alnum && !strchr(MARKS, *c)) return false;
    }
    return text[0] != '\0';
}

static bool is_field_value(const char *text) {
    enum { DELETE = 0x7f };
    for (const char *c = text; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == DELETE) return false;
    return true;
}

static bool is_ours(const char *name) {
    static const char *const NAMES[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                        "Date"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcasecmp(name, NAMES[i]) == 0) return true;
    return false;
}

tt_status tt_http_add_header(tt_http_exchange *x, const char *name, const char *value,
                             tt_err *err) {
    if (!tt__http_is_token(name))
        return tt_fail(err, TT_E_INVALID, "\"%s\" cannot name a header", name);
    if (is_ours(name)) return tt_fail(err, TT_E_INVALID, "the server writes %s itself", name);
    if (!is_field_value(value))
        return tt_fail(err, TT_E_INVALID, "header %s: control characters in its value", name);
    size_t start = x->answer_headers.size;
    tt_status status = tt_buf_append(&x->answer_headers, name, strlen(name) + 1, err);
    if (status == TT_OK) status = tt_buf_append(&x->answer_headers, value, strlen(value) + 1, err);
    if (status != TT_OK) x->answer_headers.size = start;
    return status;
}

static bool add_headers(const tt_http_exchange *x, struct MHD_Response *response,
                        const char *content_type) {
    const char *at = x->answer_headers.data, *end = at + x->answer_headers.size;
    if (content_type &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES)
        return false;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (MHD_add_response_header(response, at, value) != MHD_YES) return false;
        at = value + strlen(value) + 1;
    }
    return true;
}

/* The response with its headers; NULL when there is no memory for one (and then `response` is gone too). */
static struct MHD_Response *with_headers(const tt_http_exchange *x, struct MHD_Response *response,
                                         const char *content_type) {
    if (!response || add_headers(x, response, content_type)) return response;
    MHD_destroy_response(response);
    return NULL;
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

static bool is_told(void *cls) {
    tt_http_exchange *x = cls;
    return !atomic_load(&x->shared.is_telling);
}

/* Locks the exchange when no on_gone of it runs elsewhere. One that never returns (the caller holds a lock that it wants)
 * costs a wait and a line in the log, not the process. */
static void lock_when_told(tt_http_exchange *x) {
    lock(x);
    if (!atomic_load(&x->shared.is_telling)) return;
    if (pthread_equal(x->shared.teller, pthread_self())) return;
    unlock(x);
    if (!tt__http_wait(x->server, is_told, x, TT__HTTP_TELL_MS))
        tt_log_write(x->server->options.log, TT_LOG_ERROR, NULL,
                     "HTTP: an on_gone has not returned for %d s; is a lock held that it needs?",
                     TT__HTTP_TELL_MS / 1000);
    lock(x);
}

/* Every end comes here. `response` NULL: no answer, unless a stream's is on its way. */
static void end(tt_http_exchange *x, struct MHD_Response *response, int status, bool is_dropped) {
    lock_when_told(x);
    bool was_stream = x->shared.phase == TT__HTTP_STREAMING;
    struct MHD_Response *unwanted = response;
    x->shared.phase = TT__HTTP_ENDED;
    if (x->shared.connection && !x->shared.is_gone) {
        x->shared.is_dropped = is_dropped;
        if (!was_stream && !is_dropped) {
            x->shared.response = response;
            x->shared.status = status;
            unwanted = NULL;
        }
        resume_unlocked(x);
    }
    unlock(x);
    if (unwanted) MHD_destroy_response(unwanted);
    tt__http_exchange_release(x);
}

void tt_http_drop(tt_http_exchange *x) {
    end(x, NULL, 0, true);
}

typedef struct held_blobs {
    int n;
    tt_blob *blobs[TT_HTTP_MAX_PIECES];
} held_blobs;

static void release_blobs(tt_blob *const *blobs, int n) {
    for (int i = 0; i < n; i++) tt_blob_release(blobs[i]);
}

static void free_held(void *cls) {
    held_blobs *held = cls;
    release_blobs(held->blobs, held->n);
    tt_free(held);
}

/* Takes over the holds. */
static struct MHD_Response *blobs_response(tt_blob *const *pieces, int n) {
    struct MHD_IoVec iov[TT_HTTP_MAX_PIECES];
    held_blobs *held = n <= TT_HTTP_MAX_PIECES ? tt_alloc(sizeof *held) : NULL;
    if (!held) {
        release_blobs(pieces, n);
        return NULL;
    }
    held->n = n;
    for (int i = 0; i < n; i++) {
        held->blobs[i] = pieces[i];
        iov[i] = (struct MHD_IoVec){pieces[i]->data, pieces[i]->size};
    }
    struct MHD_Response *response =
        MHD_create_response_from_iovec(iov, (unsigned)n, free_held, held);
    if (!response) free_held(held);
    return response;
}

void tt_http_reply_blobs(tt_http_exchange *x, int status, const char *content_type,
                         tt_blob *const *pieces, int n_pieces) {
    struct MHD_Response *response = with_headers(x, blobs_response(pieces, n_pieces), content_type);
    if (response && atomic_load(&x->server->stage) != TT__HTTP_SERVING &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") != MHD_YES) {
        MHD_destroy_response(response);
        response = NULL;
    }
    end(x, response, status,
        response == NULL); /* without memory for an answer the connection is closed */
}

void tt_http_reply(tt_http_exchange *x, int status, const char *content_type, const void *bytes,
                   size_t size) {
    tt_blob *blob = NULL;
    if (size > 0 && tt_blob_new(bytes, size, &blob, NULL) != TT_OK)
        tt_http_drop(x);
    else
        tt_http_reply_blobs(x, status, content_type, &blob, blob != NULL);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

void tt_http_park(tt_http_exchange *x, tt_http_gone_fn on_gone, void *context) {
    lock(x);
    x->shared.phase = TT__HTTP_PARKED;
    x->shared.on_gone = on_gone;
    x->shared.gone_context = context;
    unlock(x);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static size_t take_pending_unlocked(tt_http_exchange *x, char *to, size_t max) {
    size_t left = x->shared.pending.size - x->shared.n_sent;
    size_t n = left < max ? left : max;
    if (n == 0) return 0;
    memcpy(to, x->shared.pending.data + x->shared.n_sent, n);
    x->shared.n_sent += n;
    if (x->shared.n_sent == x->shared.pending.size) x->shared.n_sent = x->shared.pending.size = 0;
    return n;
}

/* Closes the connection from inside the reader. The documented way, to return END_WITH_ERROR (or, to a client without chunks,
 * END_OF_STREAM), leaves the connection and its descriptor in libmicrohttpd's lists until the idle timeout, when epoll knows
 * nothing of it because it was suspended. A failed write closes properly: so no more can be sent, and there is one more. */
static ssize_t cut(tt_http_exchange *x, char *to) {
    shutdown(x->slot->fd, SHUT_RDWR);
    to[0] = ' ';
    return 1;
}

static ssize_t finish_stream(tt_http_exchange *x, char *to) {
    x->is_whole = true;
    return x->is_http_1_0 ? cut(x, to) : MHD_CONTENT_READER_END_OF_STREAM;
}

/* MHD_ContentReaderCallback. */
static ssize_t read_stream(void *cls, uint64_t position, char *to, size_t max) {
    tt_http_exchange *x = cls;
    ssize_t result;
    (void)position;
    lock(x);
    if (x->shared.is_gone || x->shared.is_dropped) {
        result = cut(x, to);
    } else {
        result = (ssize_t)take_pending_unlocked(x, to, max);
        if (result == 0 && x->shared.phase == TT__HTTP_ENDED)
            result = finish_stream(x, to);
        else if (result == 0)
            suspend_unlocked(x);
    }
    unlock(x);
    return result;
}

/* To a HEAD libmicrohttpd 0.9 would send the last chunk, which the client takes for its next answer. So such an answer is
 * without chunks and ends with the connection. */
static void avoid_chunks_for_head(const tt_http_exchange *x, struct MHD_Response *response) {
    if (response && strcmp(x->method, MHD_HTTP_METHOD_HEAD) == 0)
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END);
}

void tt_http_stream_begin(tt_http_exchange *x, const char *content_type, size_t max_pending_bytes,
                          tt_http_gone_fn on_gone, void *context) {
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, x, NULL);
    response = with_headers(x, response, content_type);
    avoid_chunks_for_head(x, response);
    lock(x);
    x->shared.phase = TT__HTTP_STREAMING;
    x->shared.response = response; /* NULL: settle closes, and on_gone says so */
    x->shared.status = MHD_HTTP_OK;
    x->shared.on_gone = on_gone;
    x->shared.gone_context = context;
    tt_buf_init(&x->shared.pending, max_pending_bytes);
    unlock(x);
}

/* Forgets what was sent, so that the buffer's limit counts what is pending. */
static void compact_unlocked(tt_http_exchange *x) {
    size_t left = x->shared.pending.size - x->shared.n_sent;
    if (x->shared.n_sent == 0) return;
    memmove(x->shared.pending.data, x->shared.pending.data + x->shared.n_sent, left);
    x->shared.pending.size = left;
    x->shared.n_sent = 0;
}

bool tt_http_stream_write(tt_http_exchange *x, const void *bytes, size_t size) {
    lock(x);
    bool is_good = x->shared.connection && !x->shared.is_gone;
    if (is_good) {
        compact_unlocked(x);
        is_good = tt_buf_append(&x->shared.pending, bytes, size, NULL) == TT_OK;
    }
    if (is_good && size > 0) resume_unlocked(x);
    unlock(x);
    return is_good;
}

void tt_http_stream_end(tt_http_exchange *x) {
    end(x, NULL, MHD_HTTP_OK, false);
}
