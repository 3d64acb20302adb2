/* The I/O side of a worker: owns the channel to the handler process, the slots, and the rules of life and death.
 *
 *   - jobs given by the source start in the handler process as slots free up; more than there are slots wait here;
 *   - a handler process that dies ends each job it was running with the reference SDK's error JSON (error_type
 *     "HandlerCrashed", message: which signal or exit status); jobs that had not started stay; the keeper starts another
 *     process, with back-off, at most TT_MAX_HANDLER_RESTARTS times in a row without a finished job between;
 *   - drain: no new jobs, running ones finish, waiting ones are handed back, then the handler process is told to quit and the
 *     loop is stopped.
 *
 * All functions: the loop's thread. */
#ifndef TT_WORKER_DISPATCH_H
#define TT_WORKER_DISPATCH_H

#include "base/log.h"
#include "net/loop.h"
#include "worker/source.h"

enum { TT_MAX_HANDLER_RESTARTS = 5 };

typedef struct tt_dispatch_options {
    tt_loop *loop;     /* borrowed */
    const tt_log *log; /* borrowed */
    tt_source *source; /* borrowed */
    int channel_fd;    /* to the handler process (keeper.h); owned from here on */
    int concurrency;
    bool is_streaming, return_aggregate_stream, refresh_worker;
    const char *worker_id, *hostname; /* borrowed; for error JSON */
    int64_t
        drain_ms; /* jobs still running this long after drain are cancelled and handed back; 0: no limit */
    void *context;
    void (*ready)(void *context); /* start and checks passed; once per process */
    void (*unfit)(void *context, const char *check,
                  const char *reason); /* the worker must report and end with 1 */
    void (*metrics)(void *context, const char *text,
                    size_t size); /* of the handler process, whole */
} tt_dispatch_options;

tt_status tt_dispatch_new(const tt_dispatch_options *options, tt_dispatch **out, tt_err *err);
void tt_dispatch_free(tt_dispatch *d);

/* From the source. The envelope's content moves in. deadline_ms: monotonic, INT64_MAX: none. */
tt_status tt_dispatch_give(tt_dispatch *d, uint64_t key, tt_envelope *envelope, int attempt,
                           int64_t deadline_ms, tt_err *err);
/* The job's handler is told to stop. Its finish comes with was_stopped. Unknown keys are ignored. */
void tt_dispatch_cancel(tt_dispatch *d, uint64_t key);
void tt_dispatch_source_drained(tt_dispatch *d);

/* From the mode that runs (SIGTERM, SIGINT, refresh). Idempotent. */
void tt_dispatch_drain(tt_dispatch *d);
int tt_dispatch_running(const tt_dispatch *d);
int tt_dispatch_free_slots(const tt_dispatch *d);

#endif
