/* The I/O side of a worker: owns the channel to the handler process, the slots, and the rules of life and death.
 *
 *   - jobs given by the source start in the handler process as slots free up; more than there are slots wait here;
 *   - a handler process that dies ends each job it was running with the reference SDK's error JSON (error_type
 *     "HandlerCrashed", message: which signal or exit status); jobs that had not started stay; the keeper starts another
 *     process, with back-off, at most TT_MAX_HANDLER_RESTARTS times in a row without a finished job between;
 *   - a handler that goes on for TT_STOP_GRACE_MS after its job was stopped is taken for hung: if no other job runs, its
 *     process is killed and another one started;
 *   - drain: no new jobs, running ones finish, waiting ones are run too or handed back, then the handler process is told to
 *     quit and the loop is stopped.
 *
 * All functions but tt_dispatch_get_counts: the loop's thread. */
#ifndef TT_WORKER_DISPATCH_H
#define TT_WORKER_DISPATCH_H

#include "base/log.h"
#include "net/loop.h"
#include "worker/source.h"

enum {
    TT_MAX_HANDLER_RESTARTS = 5,
    TT_RESTART_BASE_MS = 100, /* the first pause before a restart; then twice as long each time */
    TT_RESTART_CAP_MS = 10 * 1000,
    TT_STOP_GRACE_MS = 300 * 1000, /* a slow machine's longest single step, with a margin */
    TT_END_GRACE_MS = 10 * 1000,   /* for jobs to notice that the worker ends, then for `stop` */
};

typedef struct tt_dispatch_options {
    tt_loop *loop;     /* borrowed */
    const tt_log *log; /* borrowed */
    tt_source *source; /* borrowed */
    int channel_fd;    /* to the handler process (keeper.h); owned from here on */
    int concurrency;
    bool is_streaming, return_aggregate_stream, refresh_worker;
    /* at drain, jobs that have not started go back to the source (was_stopped) instead of being run */
    bool hands_back;
    const char *worker_id, *hostname; /* borrowed; for error JSON */
    /* jobs still running this long after drain are cancelled and handed back; 0: no limit */
    int64_t drain_ms;
    /* 0: the constants of this file. Others are for tests, which cannot wait so long. */
    int64_t restart_ms, stop_grace_ms, end_grace_ms;
    void *context;
    void (*ready)(void *context); /* start and checks passed; once per handler process */
    /* The worker must report and end with 1: a check failed, `start` failed, the handler process died too often. Jobs that
     * were given have ended by then. */
    void (*unfit)(void *context, const char *check, const char *reason);
    void (*metrics)(void *context, const char *text,
                    size_t size); /* of the handler process, whole; may be NULL */
} tt_dispatch_options;

tt_status tt_dispatch_new(const tt_dispatch_options *options, tt_dispatch **out, tt_err *err);
/* After the source: jobs that are left are forgotten without a word. Closes the channel. NULL is fine. */
void tt_dispatch_free(tt_dispatch *d);

/* From the source. The envelope's content moves in, unless it fails. deadline_ms: monotonic, INT64_MAX: none. TT_E_CANCELLED
 * when the worker ends and takes no more. */
tt_status tt_dispatch_give(tt_dispatch *d, uint64_t key, tt_envelope *envelope, int attempt,
                           int64_t deadline_ms, tt_err *err);
/* The job's handler is told to stop. Its finish comes with was_stopped: when the handler returned, or at once for a job that
 * had not started. Unknown keys are ignored. */
void tt_dispatch_cancel(tt_dispatch *d, uint64_t key);
void tt_dispatch_source_drained(tt_dispatch *d);

/* From the mode that runs (SIGTERM, SIGINT, refresh). Idempotent. */
void tt_dispatch_drain(tt_dispatch *d);
/* Drains, and cancels what runs: it is handed back when the handlers returned, or after TT_END_GRACE_MS. Idempotent. */
void tt_dispatch_give_up(tt_dispatch *d);
/* The handlers' process is told to read again what may be (config.reload). */
void tt_dispatch_reload(tt_dispatch *d);
int tt_dispatch_running(const tt_dispatch *d);
int tt_dispatch_free_slots(const tt_dispatch *d);

typedef struct tt_dispatch_counts {
    bool is_ready; /* a handler process waits for jobs or runs them */
    bool is_draining;
    int concurrency, running, waiting;
    int64_t restarts, crashed_jobs; /* since the start */
} tt_dispatch_counts;
void tt_dispatch_get_counts(tt_dispatch *d, tt_dispatch_counts *out); /* any thread */

#endif
