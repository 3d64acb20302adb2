/* The handler process: runs `start` and the fitness checks, then jobs from the channel, each on a thread, until told to quit.
 *
 * Threads: the one that calls tt_pool_run runs handlers too, so that with a concurrency of one `start` and every handler share
 * a thread (thread pools and device contexts belong to the thread that made them); concurrency - 1 more; one that reads the
 * channel; one that asks concurrency_modifier and metrics, when there are any. */
#ifndef TT_WORKER_POOL_H
#define TT_WORKER_POOL_H

#include "base/log.h"
#include "tintype/worker.h"
#include "worker/fitness.h"

typedef struct tt_pool_options {
    const tt_worker_config *config; /* borrowed */
    const tt_log *log;              /* borrowed */
    bool is_local;                  /* tt_job_is_local */
    bool runs_checks;
    tt_fitness_options fitness; /* the system's own; the user's checks are the configuration's */
    const char *worker_id, *hostname; /* borrowed; for error reports */
} tt_pool_options;

/* A keeper's body: `options` is a tt_pool_options, the channel is borrowed. Returns 0 after QUIT or the channel's end, 1 when
 * `start` or a check failed (which was said on the channel). */
int tt_pool_run(void *options, int channel_fd);

#endif
