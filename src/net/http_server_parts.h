/* Private to http_server*.c: the server's threads, and the states of a connection and of an exchange.
 *
 * Threads. Each of n_threads server threads runs one libmicrohttpd daemon without a thread or a listening socket of its own
 * (http_server_serve.c), and serves the connections it accepted. One watcher thread hears clients leave and cuts off slow
 * ones (http_server_watch.c). Callers' threads end exchanges.
 *
 * A connection is a slot in a table by descriptor. Slots are never freed, and their generation counts the connections that
 * had this descriptor, so an event that was under way when the descriptor changed hands is recognised as stale.
 *
 * An exchange:
 *
 *                         handle() called                 tt_http_park
 *     RECEIVING ----------------------> HANDLING ----------------------------> PARKED --------+
 *       |  refused: 4xx, 503               |  \         tt_http_stream_begin                  |  reply*, drop
 *       v                                  |   +---------------------------> STREAMING -----+ |
 *     (completed)                          | reply*, drop                     stream_end,   | |
 *                                          v                                  drop          v v
 *                                        ENDED <------------------------------------------------
 *
 * and beside it, each under the exchange's mutex:
 *
 *     connection     not NULL until libmicrohttpd's completed callback: only then may it be touched
 *     is_suspended   libmicrohttpd sleeps on it. Set on the server thread (settle, the stream's reader); whoever has
 *                    something for the connection clears it and resumes, so each suspend meets exactly one resume
 *     is_gone        the client left, or the server closes. Set once, while PARKED or STREAMING: by the watcher (the
 *                    descriptor hung up), by the completed callback (a write failed), or by settle (the server stops).
 *                    Whoever sets it calls on_gone, and resumes the connection so that it closes at once
 *     is_telling     on_gone runs, on the thread `teller`; an end from another thread waits until it has returned
 *
 * Memory: an exchange has two holders, libmicrohttpd until `completed` and the user from handle() until the end, and for
 * moments the watcher. It keeps its own copy of the request, so the user may read it after the connection is gone. The
 * server has its opener and each exchange as holders, so a late end is harmless after the close.
 *
 * Locks, in the order they are taken: libmicrohttpd's response mutex, exchange, libmicrohttpd's connection lists. The
 * server's own mutex is never held together with any of them. Callbacks to the user run without locks. */
#ifndef TT_NET_HTTP_SERVER_PARTS_H
#define TT_NET_HTTP_SERVER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "net/http_server.h"

enum {
    /* libmicrohttpd's memory for one connection: head, read buffer, answer's head. It is wiped between requests, so a kept
     * connection costs all of it. Twice the largest head, since its fields are listed beside the text. */
    TT__HTTP_POOL_BYTES = 2 * TT_HTTP_MAX_HEAD_BYTES,
    /* A refused body is read on and thrown away for a while: closing with unread bytes would reset the connection, and most
     * clients read the answer only after they have sent everything. */
    TT__HTTP_DRAIN_MS = 10 * 1000,
    /* For an end that waits for a running on_gone: far beyond what one takes, so that a user's deadlock becomes a line in the
     * log. */
    TT__HTTP_TELL_MS = 10 * 1000,
    /* How long a close waits for the ends of exchanges that were told. */
    TT__HTTP_LATE_END_MS = 5 * 1000,
    TT__HTTP_MAX_LISTENERS = 2,    /* "localhost" is two addresses */
    TT__HTTP_SLOTS_PER_BLOCK = 256 /* 12 KiB */
};
#define TT__HTTP_MAX_DRAIN_BYTES ((size_t)64 << 20)

/* ---- threads and connections (http_server_serve.c, http_server_watch.c) ----------------------------------------- */

typedef struct tt__http_thread {
    tt_http_server *server;
    struct MHD_Daemon *daemon;
    int epoll_fd;     /* the daemon's */
    int wake_fd;      /* written by whoever has something for the thread */
    int64_t retry_ms; /* no accepting before */
    bool is_running;
    pthread_t id;
} tt__http_thread;

typedef struct tt__http_slot {
    int fd;
    _Atomic int64_t deadline_ms; /* monotonic; past it the connection is cut. 0: none */
    /* the rest under server->shared.mutex */
    uint32_t generation;
    bool is_open, is_watched;
    tt__http_thread *thread;    /* that serves it; constant while open */
    tt_http_exchange *exchange; /* whom to tell when the client leaves; borrowed; NULL */
} tt__http_slot;

/* The stages of a close. */
typedef enum tt__http_stage {
    TT__HTTP_SERVING,
    TT__HTTP_DRAINING, /* not listening, new requests are refused */
    TT__HTTP_STOPPING, /* nobody starts to wait, and whoever waits is told */
    TT__HTTP_STOPPED,  /* threads end */
} tt__http_stage;

struct tt_http_server {
    tt_http_server_options options; /* host: not kept */
    int64_t idle_ms, head_ms;
    int port, max_connections;
    int n_threads;
    tt__http_thread threads[TT_HTTP_MAX_THREADS];

    int n_listeners, listeners[TT__HTTP_MAX_LISTENERS];
    int epoll_fd, wake_fd; /* -1 before */
    bool is_watching;      /* the watcher thread exists */
    pthread_t watcher;
    int n_blocks;
    _Atomic(tt__http_slot *) *blocks; /* [n_blocks], each NULL or an array of slots */

    atomic_int holders;
    atomic_size_t bodies_bytes; /* of all requests now */
    atomic_int stage;           /* tt__http_stage; only close moves it */

    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed; /* any of the following, or an exchange's is_telling */
        int n_connections;
        int n_exchanges;       /* handed to `handle` and still in memory */
        bool is_full;          /* somebody wants to accept, and may not */
        bool is_everyone_told; /* the watcher, when stopping */
    } shared;
};

tt_status tt__http_listen(tt_http_server *server, const char *host, int port, tt_err *err);

tt_status tt__http_serve_start(tt_http_server *server, int n_threads, tt_err *err);
void tt__http_serve_stop(tt_http_server *server); /* nothing is suspended any more */
void tt__http_serve_release(tt_http_server *server);
void tt__http_wake(const tt__http_thread *thread); /* any thread */
void tt__http_wake_all(tt_http_server *server);

tt_status tt__http_watch_start(tt_http_server *server, tt_err *err);
void tt__http_watch_tell_everyone(tt_http_server *server); /* returns when it is done */
void tt__http_watch_stop(tt_http_server *server);
void tt__http_watch_release(tt_http_server *server);

/* Room for one more connection; false: whoever frees a slot wakes the server threads. */
bool tt__http_has_room(tt_http_server *server);
/* The slot of a connection just accepted; NULL: no memory, or the descriptor is beyond the table. */
tt__http_slot *tt__http_take_slot(tt__http_thread *thread, int fd, uint32_t *generation);
void tt__http_free_slot(tt_http_server *server, tt__http_slot *slot, uint32_t generation);
/* MHD_NotifyConnectionCallback; cls is the server. */
void tt__http_on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code);
/* From now on the exchange is told when its client leaves; false: the server is stopping, tell it now. */
bool tt__http_watch(tt_http_server *server, tt__http_slot *slot, tt_http_exchange *x);
void tt__http_unwatch(tt_http_server *server, tt__http_slot *slot);
/* Waits until check(x) or for at most timeout_ms; false: it never came. `changed` must be signalled under the mutex. */
bool tt__http_wait(tt_http_server *server, bool (*check)(void *cls), void *cls, int64_t timeout_ms);
void tt__http_server_release(tt_http_server *server);

/* ---- exchanges (http_server_exchange.c, http_server_answer.c) ---------------------------------------------------- */

typedef enum tt__http_phase {
    TT__HTTP_RECEIVING,
    TT__HTTP_HANDLING,
    TT__HTTP_PARKED,
    TT__HTTP_STREAMING,
    TT__HTTP_ENDED,
} tt__http_phase;

struct tt_http_exchange {
    tt_http_server *server; /* held */
    tt__http_slot *slot;    /* its connection's, valid until `completed` */
    atomic_int holders;
    void *user;
    int64_t started_ms;

    /* the request, constant once handed over */
    const char *method, *headers, *headers_end; /* in text: "name\0value\0" and so on */
    tt_buf target; /* "path\0", then "name\0value\0" and so on, decoded */
    tt_buf body;
    size_t max_body_bytes;
    size_t counted_bytes; /* of the body in server->bodies_bytes */
    char peer[56];        /* "[", INET6_ADDRSTRLEN, "]:65535" */

    /* the server thread's */
    bool is_http_1_0;     /* no chunks: a stream ends with its connection */
    bool is_refused;      /* answered already, the rest of the body is thrown away */
    bool is_whole;        /* the answer was sent to its end. For the log, as is status */
    size_t drained_bytes; /* of it */
    int status;           /* queued; 0: none */

    tt_buf answer_headers; /* the user's, until the answer: "name\0value\0" and so on */

    struct {
        pthread_mutex_t mutex;
        tt__http_phase phase;
        struct MHD_Connection *connection;
        bool is_suspended, is_gone, is_dropped;
        atomic_int is_telling; /* a bool, cleared without the mutex */
        pthread_t teller;
        struct MHD_Response *response; /* owned, until it is queued */
        int status;
        tt_http_gone_fn on_gone;
        void *gone_context;
        tt_buf pending; /* of a stream */
        size_t n_sent;  /* of pending */
        size_t max_pending_bytes;
    } shared;

    char text[];
};

/* With one holder, libmicrohttpd. NULL: memory is gone. */
tt_http_exchange *tt__http_exchange_new(tt_http_server *server, struct MHD_Connection *connection,
                                        tt__http_slot *slot, const char *method);
void tt__http_exchange_hold(tt_http_exchange *x);
void tt__http_exchange_release(tt_http_exchange *x);
bool tt__http_is_token(const char *text); /* may name a header: RFC 9110, 5.6.2 */
/* Reads path and query. TT_E_FORMAT, TT_E_NOMEM. */
tt_status tt__http_exchange_target(tt_http_exchange *x, const char *url, tt_err *err);

/* The server thread: does with the connection what the exchange's state asks for. MHD_NO: close it. */
enum MHD_Result tt__http_settle(tt_http_exchange *x);
/* The client left, or is going to be left. Any thread without locks. */
void tt__http_gone(tt_http_exchange *x);
/* The server thread: libmicrohttpd is done with the request. */
void tt__http_completed(tt_http_exchange *x);

/* ---- requests (http_server_request.c) ---------------------------------------------------------------------------- */

/* MHD_AccessHandlerCallback and MHD_RequestCompletedCallback; cls is the server. */
enum MHD_Result tt__http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version,
                                    const char *upload_data, size_t *upload_size, void **context);
void tt__http_on_completed(void *cls, struct MHD_Connection *connection, void **context,
                           enum MHD_RequestTerminationCode code);

#endif
