/* The HTTP/1.1 server (libmicrohttpd, epoll): requests come whole, answers may come later and from any thread.
 *
 * Life of an exchange: `handle` is called once on a server thread with the whole request. It ends the exchange with exactly
 * one of tt_http_reply*, tt_http_stream_end or tt_http_drop: at once, or later after tt_http_park / tt_http_stream_begin.
 * After that call the pointer is dead. Until then everything read from it stays valid.
 *
 * A parked or streaming exchange whose client leaves gets its on_gone callback once, from a server thread (product.md 5.3:
 * libmicrohttpd alone does not notice). It must still be ended; the answer then goes nowhere. on_gone never runs after the
 * exchange was ended: an end that meets a running on_gone waits for it, unless it is called from inside it. So do not end an
 * exchange while holding a lock that its on_gone takes, and do not block in on_gone. A client that closes only its writing
 * side (`nc -N`) counts as gone.
 *
 * Requests that break HTTP, are too large, or come too slowly never reach `handle`: they are answered 400, 413, 431, 503 with
 * {"error": "..."}, or cut off. No TLS, no HTTP/2: a proxy brings them. */
#ifndef TT_NET_HTTP_SERVER_H
#define TT_NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/log.h"

typedef struct tt_http_server tt_http_server;
typedef struct tt_http_exchange tt_http_exchange;

typedef struct tt_http_server_options {
    const char *host;    /* "localhost", "127.0.0.1", "0.0.0.0", "::1"... */
    int port;            /* 0: any free one */
    int n_threads;       /* 0: 1 */
    int max_connections; /* 0: TT_HTTP_DEFAULT_CONNECTIONS, lowered to what RLIMIT_NOFILE allows */
    const tt_log *log;   /* borrowed; access lines at debug */
    void *context;
    void (*handle)(void *context, tt_http_exchange *exchange);
    /* The largest body this request may bring; larger ones are answered 413 with {"error": "..."} without being
     * read whole.
     * NULL: TT_HTTP_DEFAULT_BODY_BYTES. */
    size_t (*max_body_bytes)(void *context, const char *method, const char *path);
    /* A kept connection without a request is closed after this; so is one whose client stops reading its answer. Parked
     * exchanges wait as long as their user likes. 0: TT_HTTP_DEFAULT_IDLE_MS. */
    int64_t idle_timeout_ms;
    /* From the opening of a connection until its request's head is complete; a body gets this once more, and then time in
     * proportion to the bytes that came (TT_HTTP_MIN_BODY_RATE). 0: TT_HTTP_DEFAULT_HEAD_MS. */
    int64_t head_timeout_ms;
} tt_http_server_options;

enum {
    TT_HTTP_DEFAULT_CONNECTIONS = 16 * 1024,
    TT_HTTP_MAX_THREADS = 64,
    TT_HTTP_DEFAULT_IDLE_MS = 75 * 1000, /* longer than the 60 s after which proxies let go */
    TT_HTTP_DEFAULT_HEAD_MS = 30 * 1000,
    TT_HTTP_MIN_BODY_RATE =
        16 * 1024, /* bytes a second: slower than any line that pictures travel on */
    /* A request's line and headers. What browsers and SDKs send is below 2 KiB; other servers stop at 8 KiB a line. */
    TT_HTTP_MAX_HEAD_BYTES = 8 * 1024,
    TT_HTTP_MAX_ANSWER_HEADERS_BYTES = 4 * 1024, /* what tt_http_add_header adds up to */
};
#define TT_HTTP_DEFAULT_BODY_BYTES (1u << 20)
/* All request bodies held at one moment: past it, requests that bring one are answered 503. */
#define TT_HTTP_MAX_BODIES_BYTES ((size_t)1 << 30)

/* Listens when it returns. */
tt_status tt_http_server_open(const tt_http_server_options *options, tt_http_server **out,
                              tt_err *err);
int tt_http_server_port(const tt_http_server *server);
int tt_http_server_connections(const tt_http_server *server); /* open now */
/* Stops listening at once, answers new requests 503; waits up to grace_ms for open exchanges to end, then closes. Parked
 * exchanges that are still not ended get on_gone and must be ended promptly; one that is ended later still is harmless.
 * Not from a server thread. NULL is fine. */
void tt_http_server_close(tt_http_server *server, int64_t grace_ms);

/* ---- the request ------------------------------------------------------------------------------------------------- */

const char *tt_http_method(const tt_http_exchange *x);
const char *tt_http_path(const tt_http_exchange *x); /* percent-decoded, without the query */
/* Decoded, '+' is a space; "" for a name without a value; NULL when absent. */
const char *tt_http_query(const tt_http_exchange *x, const char *name);
const char *tt_http_header(const tt_http_exchange *x,
                           const char *name); /* case-insensitive; NULL when absent */
const char *tt_http_body(const tt_http_exchange *x, size_t *size_bytes); /* NUL-terminated */
const char *tt_http_peer(const tt_http_exchange *x);                     /* "127.0.0.1:51234" */
/* One pointer per exchange for its user; NULL until set. */
void tt_http_set_user(tt_http_exchange *x, void *user);
void *tt_http_user(const tt_http_exchange *x);

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* Adds a header to the answer; before the reply or tt_http_stream_begin. Name and value are copied. TT_E_INVALID: characters
 * that HTTP forbids, or a header that the server itself writes (Content-Length, Transfer-Encoding, Connection, Date). */
tt_status tt_http_add_header(tt_http_exchange *x, const char *name, const char *value, tt_err *err);

/* Ends the exchange. Any thread. Bytes are copied. HEAD gets the headers only. */
void tt_http_reply(tt_http_exchange *x, int status, const char *content_type, const void *bytes,
                   size_t size);
/* The same from shared pieces, sent from where they lie: holds each blob until it is sent, and releases the caller's hold. */
enum { TT_HTTP_MAX_PIECES = 8 };
void tt_http_reply_blobs(tt_http_exchange *x, int status, const char *content_type,
                         tt_blob *const *pieces, int n_pieces);

typedef void (*tt_http_gone_fn)(void *context, tt_http_exchange *exchange);

/* From `handle` only: the answer comes later. on_gone may be NULL. */
void tt_http_park(tt_http_exchange *x, tt_http_gone_fn on_gone, void *context);

/* From `handle` only: a 200 whose body grows. Bytes not yet sent wait in a buffer of at most max_pending_bytes. */
void tt_http_stream_begin(tt_http_exchange *x, const char *content_type, size_t max_pending_bytes,
                          tt_http_gone_fn on_gone, void *context);
/* Any thread. False when the client left or too much is pending (nothing was added): end it then. */
bool tt_http_stream_write(tt_http_exchange *x, const void *bytes, size_t size);
void tt_http_stream_end(tt_http_exchange *x); /* after what is pending was sent */

/* Ends the exchange without an answer: the connection is closed. */
void tt_http_drop(tt_http_exchange *x);

#endif
