/* See host.h. Signals come through a signalfd: they are blocked in this process, not in the handlers', so the loop reads them
 * like any other news, no code runs at odd moments, and a worker that is a container's process 1 gets them too (signals that
 * are blocked are never ignored, signal(7)). */
#include "worker/host.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "worker/channel.h"
#include "worker/keeper.h"

enum { THREAD_END_S = 5 };

/* ---- the handlers' side ------------------------------------------------------------------------------------------- */

static void *run_pool(void *host) {
    tt_host *h = host;
    tt_pool_run(&h->pool, h->thread_fd);
    shutdown(h->thread_fd, SHUT_RDWR); /* the loop reads the end of the channel */
    return NULL;
}

static tt_status start_thread(tt_host *h, tt_err *err) {
    int fds[2];
    TT_TRY(tt_channel_open(fds, err));
    h->channel_fd = fds[0];
    h->thread_fd = fds[1];
    if (pthread_create(&h->thread, NULL, run_pool, h) == 0) return TT_OK;
    close(h->thread_fd);
    h->thread_fd = -1;
    return tt_fail(err, TT_E_INTERNAL, "the system refuses a thread for the handlers");
}

static tt_status start_handlers(tt_host *h, tt_err *err) {
    if (!h->is_isolated) return start_thread(h, err);
    return tt_keeper_start(tt_pool_run, &h->pool, &h->channel_fd, &h->keeper_pid, err);
}

static void end_handlers(tt_host *h) {
    struct timespec end;
    if (h->channel_fd >= 0) close(h->channel_fd);
    h->channel_fd = -1;
    if (h->keeper_pid > 0) tt_keeper_end(h->keeper_pid);
    h->keeper_pid = 0;
    if (h->thread_fd < 0) return;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += THREAD_END_S;
    if (pthread_timedjoin_np(h->thread, NULL, &end) == 0) close(h->thread_fd);
    h->thread_fd = -1; /* a handler that hangs keeps its end, until the process goes */
}

/* ---- signals ------------------------------------------------------------------------------------------------------ */

static void on_signal(void *host) {
    tt_host *h = host;
    struct signalfd_siginfo signal_info;
    if (read(h->signal_fd, &signal_info, sizeof signal_info) != sizeof signal_info) return;
    int number = (int)signal_info.ssi_signo;
    /* A terminal that goes away is the kernel's, and the end; a person's or a script's is a wish. */
    if (number == SIGHUP && signal_info.ssi_code != SI_KERNEL) {
        tt_dispatch_reload(h->dispatch);
        return;
    }
    switch (++h->n_signals) {
    case 1:
        tt_log_write(h->log, TT_LOG_INFO, NULL, "Received shutdown signal: %d.", number);
        tt_dispatch_drain(h->dispatch);
        break;
    case 2:
        tt_log_write(h->log, TT_LOG_WARN, NULL,
                     "Received shutdown signal again: running jobs are cancelled.");
        tt_dispatch_give_up(h->dispatch);
        break;
    default:
        tt_log_write(h->log, TT_LOG_WARN, NULL, "Received shutdown signal again: ending at once.");
        h->exit_status = 1;
        tt_loop_stop(h->loop);
    }
}

static tt_status open_signals(tt_host *h, const sigset_t *signals, tt_err *err) {
    h->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (h->signal_fd < 0) return tt_fail_errno(err, "cannot make", "a signalfd");
    return tt_loop_watch(h->loop, h->signal_fd, on_signal, h, err);
}

static void restore_signals(tt_host *h) {
    if (h->signal_fd >= 0) close(h->signal_fd);
    h->signal_fd = -1;
    sigaction(SIGPIPE, &h->pipe_before, NULL);
    pthread_sigmask(SIG_SETMASK, &h->signals_before, NULL);
}

/* A client or a log reader that goes away is an error of its write, no reason to die. */
static void block_signals(tt_host *h, sigset_t *signals) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    if (h->pool.config->reload) sigaddset(signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, signals, &h->signals_before);
    sigaction(SIGPIPE, &ignore, &h->pipe_before);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

tt_status tt_host_begin(tt_host *h, const tt_pool_options *pool, bool is_isolated, tt_err *err) {
    sigset_t signals;
    *h = (tt_host){.log = pool->log,
                   .pool = *pool,
                   .is_isolated = is_isolated,
                   .channel_fd = -1,
                   .thread_fd = -1,
                   .signal_fd = -1};
    tt_status status = TT_OK;
    if (is_isolated)
        status = start_handlers(h, err); /* before the signals: they are not blocked there */
    block_signals(h, &signals);
    if (!is_isolated) status = start_handlers(h, err); /* after: its threads must not take them */
    if (status == TT_OK) status = tt_loop_new(&h->loop, err);
    if (status == TT_OK) status = open_signals(h, &signals, err);
    return status;
}

void tt_host_dispatch_options(tt_host *h, tt_dispatch_options *out) {
    const tt_worker_config *config = h->pool.config;
    *out = (tt_dispatch_options){.loop = h->loop,
                                 .log = h->log,
                                 .channel_fd = h->channel_fd,
                                 .concurrency = config->concurrency,
                                 .is_streaming = config->is_streaming,
                                 .return_aggregate_stream = config->return_aggregate_stream,
                                 .refresh_worker = config->refresh_worker,
                                 .worker_id = h->pool.worker_id,
                                 .hostname = h->pool.hostname};
}

tt_status tt_host_dispatch(tt_host *h, const tt_dispatch_options *options, tt_err *err) {
    h->channel_fd = -1; /* the dispatcher's, also when it fails */
    return tt_dispatch_new(options, &h->dispatch, err);
}

tt_status tt_host_run(tt_host *h, tt_err *err) {
    return tt_loop_run(h->loop, err);
}

void tt_host_end(tt_host *h) {
    tt_dispatch_free(h->dispatch);
    h->dispatch = NULL;
    if (h->loop && h->signal_fd >= 0) tt_loop_unwatch(h->loop, h->signal_fd);
    end_handlers(h);
    tt_loop_free(h->loop);
    h->loop = NULL;
    restore_signals(h);
}
