/* Jobs from RunPod's platform: take, take-batch, stop, ping, stream, done (runpod.md 1.4 to 1.9, Appendix A), as a source.
 *
 * Equal to the reference on the wire; better where it loses work: take errors back off with jitter, delivery is retried on
 * 408, 425, 429, 5xx and network errors until the job's deadline with the result spooled to disk (spool.h), a refusal for size
 * (400, 413) is followed by a small error instead of silence, progress keeps its order and never follows the end. */
#ifndef TT_WORKER_PLATFORM_H
#define TT_WORKER_PLATFORM_H

#include "net/loop.h"
#include "worker/environment.h"
#include "worker/source.h"

typedef struct tt_platform tt_platform;

typedef struct tt_platform_options {
    tt_loop *loop;                     /* borrowed */
    const tt_log *log;                 /* borrowed */
    const tt_environment *environment; /* borrowed */
    bool refresh_worker;               /* drain after the first job */
} tt_platform_options;

tt_status tt_platform_new(const tt_platform_options *options, tt_platform **out, tt_err *err);
void tt_platform_free(tt_platform *p);
tt_source *tt_platform_source(tt_platform *p);
/* The handler process is ready: results left over from before a restart are delivered, take, stop and ping begin. */
void tt_platform_start(tt_platform *p, tt_dispatch *dispatch);
/* The end of taking, and one ping with status=unhealthy (runpod.md 1.9), at most 2 s; then done(context). Ends of jobs that are
 * still to be delivered are, by the drain that follows. */
void tt_platform_report_unfit(tt_platform *p, const char *check, const char *reason,
                              void (*done)(void *context), void *context);

#endif
