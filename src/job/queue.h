/* The queue: where jobs wait, run, end and are kept until nobody asks for them any more. An interface, so that the same API
 * and workers stand on memory here and on a database elsewhere; queue_memory.h makes the one in memory.
 *
 * Any thread may call anything. Times are milliseconds of the monotonic clock that the caller passes as now_ms (tests own
 * the clock). Claims are fenced: a claim returns an attempt number, and whoever reports on a job gives it back; a report of
 * an older attempt, or on a job that has ended, is answered TT_E_NOT_FOUND and changes nothing. (Attempts count from 1 for each
 * submission: do not give a forgotten job's id to a new one while a worker may still report on the old.)
 *
 * A deadline holds from its millisecond on, swept or not: whatever would change a job first times it out when it is due (a late
 * report is fenced). get, take_stream and counts never change a job and cause no events. Each attempt has the whole
 * execution time; a retry begins a new ttl. Blobs passed in stay the caller's: the queue takes its own holds.
 *
 * Errors: TT_E_NOT_FOUND no such job (or expired, or fenced); TT_E_INVALID not legal in this state; TT_E_NOMEM the queue is
 * full (limits below) or memory is gone. */
#ifndef TT_JOB_QUEUE_H
#define TT_JOB_QUEUE_H

#include <stdint.h>

#include "base/blob.h"
#include "job/envelope.h"
#include "job/state.h"

/* Defaults and ranges of runpod.md 4.2 and 4.3; retention is ours: sync answers stay as long as async ones (product.md 5.3). */
#define TT_JOB_DEFAULT_EXECUTION_MS (600 * 1000LL)
#define TT_JOB_MIN_EXECUTION_MS     (5 * 1000LL)
#define TT_JOB_DEFAULT_TTL_MS       (24 * 3600 * 1000LL)
#define TT_JOB_MIN_TTL_MS           (10 * 1000LL)
#define TT_JOB_MAX_POLICY_MS        (7 * 24 * 3600 * 1000LL)
#define TT_JOB_DEFAULT_RETENTION_MS (30 * 60 * 1000LL)

typedef struct tt_job_spec { /* of a new job */
    char id[TT_JOB_ID_BYTES];
    tt_blob *envelope; /* the whole job text; the queue takes its own hold */
    /* 1..TT_JOB_MAX_POLICY_MS; 0: the default. The API holds its clients to the narrower ranges above. */
    int64_t execution_timeout_ms; /* counts running time only */
    int64_t ttl_ms;      /* from submission or retry: waiting or running, it is TIMED_OUT then */
    const char *webhook; /* copied; NULL: none */
} tt_job_spec;

/* A snapshot. Release it. */
typedef struct tt_job_view {
    char id[TT_JOB_ID_BYTES];
    tt_job_state state;
    int attempt;                                   /* 0: never claimed */
    int retries;                                   /* claims after the first */
    int64_t submitted_ms, started_ms, finished_ms; /* 0: not yet; of the latest attempt */
    int64_t delay_ms;                /* submission (or retry) to latest claim; so far, or final */
    int64_t execution_ms;            /* latest claim to end; so far, or final */
    char worker_id[TT_JOB_ID_BYTES]; /* "" before the first claim */
    tt_blob *envelope;               /* held */
    tt_blob *progress;       /* held; raw JSON of the running attempt's latest progress; NULL */
    int64_t progress_number; /* counts progress reports of all attempts, from 1 */
    tt_blob *output;         /* held; raw JSON; NULL: none */
    tt_blob *error;          /* held; raw JSON (normally a string); NULL: none */
    char *webhook;           /* owned; NULL */
    int n_stream_waiting;    /* chunks nobody has taken yet */
} tt_job_view;
void tt_job_view_release(tt_job_view *view);

typedef struct tt_job_claim { /* release: tt_blob_release(envelope) */
    char id[TT_JOB_ID_BYTES];
    int attempt;
    tt_blob *envelope;
    int64_t deadline_ms; /* now + what is left of execution time and ttl */
} tt_job_claim;

typedef struct tt_job_outcome {
    tt_job_state state; /* COMPLETED, FAILED; CANCELLED when a worker confirms that it stopped */
    tt_blob *output;    /* raw JSON or NULL; the queue takes its own hold */
    tt_blob *error;     /* raw JSON or NULL */
} tt_job_outcome;

typedef struct tt_queue_counts {
    int64_t in_queue, in_progress;                   /* now */
    int64_t completed, failed, cancelled, timed_out; /* since the start */
    int64_t retried;           /* since the start: claims after a job's first */
    int64_t oldest_waiting_ms; /* age of the oldest waiting job; 0: none waits */
    int64_t stored_bytes;      /* envelopes, outputs, chunks, and what a job itself takes */
} tt_queue_counts;

/* What happened to a job. Called without locks held, on the thread that caused it, in order per job: when another thread is
 * still telling an earlier event of the same job, this one waits for it. So: return soon, and never call what changes a job
 * while holding a lock that a listener takes. A listener may call the queue; what that causes is told after it returned. */
typedef enum tt_queue_event {
    TT_QUEUE_SUBMITTED,
    TT_QUEUE_CLAIMED,
    TT_QUEUE_PROGRESS,
    TT_QUEUE_STREAMED,
    TT_QUEUE_ENDED,    /* any final state, and a job that purge removed (get: TT_E_NOT_FOUND) */
    TT_QUEUE_REQUEUED, /* release or retry */
    TT_QUEUE_STOP, /* a running job was cancelled or timed out: its worker must stop it. After ENDED */
} tt_queue_event;
typedef void (*tt_queue_listener)(void *context, tt_queue_event event, const char *id,
                                  const char *worker_id, int attempt);

typedef struct tt_queue tt_queue;
struct tt_queue { /* the interface; implementations embed it first */
    tt_status (*submit)(tt_queue *q, const tt_job_spec *spec, int64_t now_ms,
                        tt_err *err); /* TT_E_INVALID: id in use */
    /* Up to max_claims waiting jobs, oldest first; *n may be 0. Never waits. */
    tt_status (*claim)(tt_queue *q, const char *worker_id, int max_claims, int64_t now_ms,
                       tt_job_claim *claims, int *n, tt_err *err);
    tt_status (*progress)(tt_queue *q, const char *id, int attempt, tt_blob *value, int64_t now_ms,
                          tt_err *err);
    tt_status (*stream)(tt_queue *q, const char *id, int attempt, tt_blob *chunk, int64_t now_ms,
                        tt_err *err);
    tt_status (*finish)(tt_queue *q, const char *id, int attempt, const tt_job_outcome *outcome,
                        int64_t now_ms, tt_err *err);
    /* Hands a claimed job back: it waits again, at its old place in line. Chunks that nobody took are dropped. */
    tt_status (*release)(tt_queue *q, const char *id, int attempt, int64_t now_ms, tt_err *err);
    /* Waiting: ends at once. Running: ends as CANCELLED at once, and STOP tells its worker. Ended: TT_OK, nothing changes. */
    tt_status (*cancel)(tt_queue *q, const char *id, int64_t now_ms, tt_err *err);
    /* FAILED and TIMED_OUT only: output, error and chunks are dropped, the job waits again, last in line. */
    tt_status (*retry)(tt_queue *q, const char *id, int64_t now_ms, tt_err *err);
    tt_status (*purge)(tt_queue *q, int64_t now_ms, int64_t *n_removed,
                       tt_err *err); /* waiting jobs vanish */
    /* From submission; may end the job at once. Of an ended job it counts from a retry. */
    tt_status (*set_ttl)(tt_queue *q, const char *id, int64_t ttl_ms, int64_t now_ms, tt_err *err);
    tt_status (*get)(tt_queue *q, const char *id, int64_t now_ms, tt_job_view *out, tt_err *err);
    /* The chunks since the last call, at most `max`: each blob's hold passes to the caller. Also after the end. */
    tt_status (*take_stream)(tt_queue *q, const char *id, int max, tt_blob **chunks, int *n,
                             tt_err *err);
    void (*counts)(tt_queue *q, int64_t now_ms, tt_queue_counts *out);
    /* Times out and forgets what is due; returns when to call again (ms from now, at most a minute). */
    int64_t (*sweep)(tt_queue *q, int64_t now_ms);
    /* Before other threads use the queue; up to TT_QUEUE_MAX_LISTENERS. */
    tt_status (*listen)(tt_queue *q, tt_queue_listener listener, void *context, tt_err *err);
    void (*free)(tt_queue *q); /* after every other call returned */
};
enum { TT_QUEUE_MAX_LISTENERS = 4, TT_QUEUE_MAX_STREAM_CHUNKS = 100000 };

#endif
