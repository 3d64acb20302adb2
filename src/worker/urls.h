/* The URLs of RunPod's platform, from its templates (runpod.md 1.2), by text as the reference builds them: $RUNPOD_POD_ID is
 * the worker's id; $ID the worker's id in take, stop and ping, the job's id in done and stream; what is asked is appended
 * with '&' (with '?' where the template has none). Nothing is re-encoded: a '+' in the template stays one.
 *
 * A value; constant after init; any thread. */
#ifndef TT_WORKER_URLS_H
#define TT_WORKER_URLS_H

#include <stdbool.h>

#include "base/buf.h"
#include "worker/environment.h"

typedef struct tt_urls { /* owned */
    char *take, *take_batch;
    char *stop;   /* NULL: the take URL has no /job-take/ to derive it from */
    char *ping;   /* NULL: no heartbeat was asked for */
    char *done;   /* a template still */
    char *stream; /* a template still; NULL: nowhere to send chunks */
    char *worker_id;
} tt_urls;

/* TT_E_INVALID: no URL to take jobs from or to post results to, or one that is no URL. Release it also after a failure. */
tt_status tt_urls_init(tt_urls *u, const tt_environment *environment, tt_err *err);
void tt_urls_release(tt_urls *u);

/* Each appends one whole URL to `out`. */
tt_status tt_urls_take(const tt_urls *u, int n_wanted, bool has_jobs, tt_buf *out, tt_err *err);
/* worker_id: NULL for this worker's own. */
tt_status tt_urls_done(const tt_urls *u, const char *worker_id, const char *job_id, bool is_stream,
                       tt_buf *out, tt_err *err);
tt_status tt_urls_stream(const tt_urls *u, const char *job_id, tt_buf *out, tt_err *err);
/* job_ids: joined by commas, "" when idle. */
tt_status tt_urls_ping(const tt_urls *u, const char *job_ids, tt_buf *out, tt_err *err);
tt_status tt_urls_unhealthy(const tt_urls *u, const char *check, const char *reason, tt_buf *out,
                            tt_err *err);

#endif
