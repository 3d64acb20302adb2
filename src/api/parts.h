/* What the files of this room share. A request becomes a tt__call, a value that every handler gets and every parked wait
 * keeps; the exchange inside it is ended by exactly one tt__reply_*, tt_http_stream_end or tt_http_drop. */
#ifndef TT_API_PARTS_H
#define TT_API_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "net/loop.h"

typedef struct tt__route tt__route;     /* routes.h */
typedef struct tt__waits tt__waits;     /* waits.h */
typedef struct tt__hooks tt__hooks;     /* webhooks.h */
typedef struct tt__metrics tt__metrics; /* metrics.h */
typedef struct tt__sweeper tt__sweeper; /* sweeper.h */

typedef enum tt__method {
    TT__GET,
    TT__POST,
    TT__HEAD,
    TT__OPTIONS,
    TT__OTHER,
    TT__N_METHODS
} tt__method;

typedef struct tt__call {
    tt_api *api;
    tt_http_exchange *x;
    const tt__route *route; /* NULL: none matched */
    tt__method method;
    int64_t started_us;
    char id[TT_JOB_ID_BYTES]; /* of the path or of the new job; "" */
} tt__call;

enum { TT__RECENT_JOBS = 100 }; /* of GET /requests: a screenful or two */

struct tt_api {
    /* queue, log and callbacks are borrowed; the strings below are our copies */
    tt_api_options options;
    char *title, *version, *cors_origin;
    bool has_key;
    unsigned char key_digest[32]; /* SHA-256: keys of any length compare in constant time */
    tt_loop *loop;                /* deadlines, events, webhooks, sweeps */
    pthread_t thread;             /* runs the loop */
    bool has_thread;
    tt_timer *waits_timer, *beat_timer; /* of the loop's thread */
    atomic_bool is_closing;
    tt__waits *waits;
    tt__hooks *hooks;
    tt__metrics *metrics;
    tt__sweeper *sweeper;
    tt_blob *openapi, *docs;
    char *playground_policy; /* Content-Security-Policy of / */
    struct {                 /* newest at [(n - 1) % TT__RECENT_JOBS]; under the mutex */
        pthread_mutex_t mutex;
        int64_t n;
        char ids[TT__RECENT_JOBS][TT_JOB_ID_BYTES];
    } recent;
};

/* pages.c: docs, openapi, playground_policy. schema_text: of a job, or NULL. */
tt_status tt__pages_make(tt_api *api, const char *schema_text, tt_err *err);
/* The newest jobs' ids, the newest first; returns how many. */
int tt__recent_ids(tt_api *api, char ids[TT__RECENT_JOBS][TT_JOB_ID_BYTES]);

/* ---- handlers: jobs.c, submit.c, pages.c, events.c ---------------------------------------------------------------- */

void tt__handle_run(const tt__call *call);
void tt__handle_runsync(const tt__call *call);
void tt__handle_status(const tt__call *call);
void tt__handle_status_sync(const tt__call *call);
void tt__handle_stream(const tt__call *call);
void tt__handle_cancel(const tt__call *call);
void tt__handle_retry(const tt__call *call);
void tt__handle_purge(const tt__call *call);
void tt__handle_health(const tt__call *call);
void tt__handle_requests(const tt__call *call);
void tt__handle_events(const tt__call *call);
void tt__handle_playground(const tt__call *call);
void tt__handle_docs(const tt__call *call);
void tt__handle_openapi(const tt__call *call);
void tt__handle_metrics(const tt__call *call);
void tt__handle_ready(const tt__call *call);

enum { TT__DEFAULT_WAIT_MS = 90 * 1000 }; /* of requests that wait and do not say how long */
/* ?wait= within its range, in milliseconds. Absent: *out stays. Not a number: TT_E_INVALID. */
tt_status tt__query_wait(const tt__call *call, int64_t *out, tt_err *err);

#endif
