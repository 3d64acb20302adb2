/* What serve mode and platform mode share: the handlers' side in a process of its own (or on a thread), the loop, the
 * dispatcher, and signals.
 *
 * SIGHUP: the handlers read again what may be, where the configuration has a `reload`.
 * SIGTERM, SIGINT: the first drains, the second gives up on what runs (it is handed back), the third ends at once with 1. */
#ifndef TT_WORKER_HOST_H
#define TT_WORKER_HOST_H

#include <pthread.h>
#include <signal.h>

#include "worker/dispatch.h"
#include "worker/pool.h"

typedef struct tt_host {
    const tt_log *log;
    tt_loop *loop;
    tt_dispatch *dispatch;
    int exit_status;

    tt_pool_options pool;
    bool is_isolated;
    int channel_fd; /* -1: the dispatcher has it */
    int keeper_pid;
    pthread_t thread; /* instead of a keeper */
    int thread_fd;
    int signal_fd, n_signals;
    sigset_t signals_before;
    struct sigaction pipe_before;
} tt_host;

/* Forks (before any thread is made), or starts the thread; then takes over the signals and makes the loop. `log` and what
 * `pool` points to are borrowed. Call tt_host_end also after a failure. */
tt_status tt_host_begin(tt_host *h, const tt_pool_options *pool, bool is_isolated, tt_err *err);

/* Fills loop, log, channel_fd, concurrency and what the configuration says; the caller adds source and callbacks. */
void tt_host_dispatch_options(tt_host *h, tt_dispatch_options *out);
tt_status tt_host_dispatch(tt_host *h, const tt_dispatch_options *options, tt_err *err);

/* Until the work is done; h->exit_status. */
tt_status tt_host_run(tt_host *h, tt_err *err);

/* After the source is freed. Ends the handlers' side. */
void tt_host_end(tt_host *h);

#endif
