/* One request with a body, repeated until the other side has it: a result, a stream's chunk, an upload.
 *
 *     2xx                               DELIVERED
 *     404, 410                          GONE       nobody knows the job any more
 *     other 4xx                         REFUSED    the same body would be refused again
 *     3xx, 408, 425, 429, 5xx,          tried again after a back-off with jitter (Retry-After where there is one)
 *     network, 401, 403 when asked to   until the patience is over: EXPIRED
 *
 * Redirects are not followed: after one of the usual kinds a POST would arrive as a GET, without the result.
 * The platform's 401 and 403 are tried again because keys are exchanged while workers run; the reference loses the result
 * then, as it does after 429 and three failures (runpod.md 1.5). All calls: the loop's thread. */
#ifndef TT_WORKER_DELIVERY_H
#define TT_WORKER_DELIVERY_H

#include "base/log.h"
#include "net/http_client.h"

typedef struct tt_delivery tt_delivery;

typedef enum tt_delivery_verdict {
    TT_DELIVERY_DELIVERED,
    TT_DELIVERY_GONE,
    TT_DELIVERY_REFUSED,
    TT_DELIVERY_EXPIRED,
} tt_delivery_verdict;

typedef struct tt_delivery_outcome {
    tt_delivery_verdict verdict;
    int status; /* of the last answer; 0: the network */
    int n_tries;
    const char *reason; /* "HTTP 502", "Connection refused"; borrowed for the callback */
} tt_delivery_outcome;

typedef struct tt_delivery_options {
    tt_loop *loop;              /* borrowed */
    const tt_log *log;          /* borrowed */
    const char *what;           /* "result": for the log; static */
    const char *job_id;         /* copied */
    const char *method, *url;   /* method static, url copied */
    const char *const *headers; /* NULL-terminated; copied */
    const tt_http_piece *body;  /* array copied, bytes borrowed until the end */
    int n_body;
    bool retries_forbidden; /* 401, 403 */
    int64_t patience_ms;
    /* the first pause is about that, the longest TT_DELIVERY_CAP times as much */
    int64_t retry_base_ms;
    void (*done)(void *context, const tt_delivery_outcome *outcome);
    void *context;
} tt_delivery_options;

/* Pauses of 0.5 s to 30 s with the default base of 500 ms. */
enum { TT_DELIVERY_CAP = 60 };
/* One try: this many bases (60 s), and a second for each 100 kB of body. */
enum { TT_DELIVERY_TRY_BASES = 120, TT_DELIVERY_BYTES_PER_MS = 100 };

/* done is called once, later, unless it is cancelled; the delivery is gone then. */
tt_status tt_delivery_start(const tt_delivery_options *options, tt_delivery **out, tt_err *err);
void tt_delivery_cancel(tt_delivery *delivery); /* NULL is fine */
/* The patience ends in patience_ms at the latest, and what waits for its next try is tried now. */
void tt_delivery_hurry(tt_delivery *delivery, int64_t patience_ms);

#endif
