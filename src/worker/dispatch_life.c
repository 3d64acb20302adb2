/* Death, restart and the end.
 *
 *     STARTING --READY--> READY --drained--> QUITTING --DIED, channel's end or TT_END_GRACE_MS--> ENDED (the loop stops)
 *        ^   '--DIED--.     |DIED
 *        '--RESTART-- DEAD <'--- too often, or the keeper is gone ---> UNFIT (the mode reports and ends)
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/dispatch_parts.h"

enum { SENTENCE_BYTES = 160, HUNG_LOOKS = 60 /* in a grace time */ };

static const char CRASHED[] = "HandlerCrashed";

/* ---- death -------------------------------------------------------------------------------------------------------- */

static void describe(int wait_status, char out[SENTENCE_BYTES]) {
    if (WIFSIGNALED(wait_status)) {
        int number = WTERMSIG(wait_status);
        const char *name = sigdescr_np(number);
        snprintf(out, SENTENCE_BYTES, "the handler process was killed by signal %d (%s)", number,
                 name ? name : "unknown");
    } else {
        snprintf(out, SENTENCE_BYTES, "the handler process ended with status %d",
                 WEXITSTATUS(wait_status));
    }
}

static void forget_process(tt_dispatch *d) {
    d->handlers_pid = 0;
    d->tell.resize = d->tell.quit = d->tell.restart = d->tell.reload = false;
    d->metrics.size = 0;
}

static void count_crash(tt_dispatch *d, int n_jobs) {
    pthread_mutex_lock(&d->shared.lock);
    d->shared.counts.crashed_jobs += n_jobs;
    pthread_mutex_unlock(&d->shared.lock);
}

static void restart(void *dispatch) {
    tt_dispatch *d = dispatch;
    d->restart_timer = NULL;
    if (d->state != TT__DEAD) return;
    tt_log_write(d->options.log, TT_LOG_INFO, NULL, "The handler process is started again. try=%d",
                 d->n_deaths);
    pthread_mutex_lock(&d->shared.lock);
    d->shared.counts.restarts++;
    pthread_mutex_unlock(&d->shared.lock);
    d->state = TT__STARTING;
    d->tell.restart = true;
    tt__dispatch_flush(d);
}

static void give_up_on_handlers(tt_dispatch *d, const char *sentence) {
    char reason[TT_ERR_MESSAGE_BYTES];
    if (d->n_deaths > 1)
        snprintf(reason, sizeof reason, "%s, after %d deaths in a row", sentence, d->n_deaths);
    else
        snprintf(reason, sizeof reason, "%s", sentence);
    tt__dispatch_unfit(d, "handler process", reason);
}

static bool is_over(const tt_dispatch *d) {
    return d->is_draining && tt_dispatch_running(d) == 0;
}

static void plan_restart(tt_dispatch *d, const char *sentence) {
    if (is_over(d)) return; /* nothing is left to run */
    if (++d->n_deaths > TT_MAX_HANDLER_RESTARTS) {
        give_up_on_handlers(d, sentence);
        return;
    }
    int64_t ms = tt_backoff_next_ms(&d->restart_backoff);
    if (tt_loop_timer(d->options.loop, ms, restart, d, &d->restart_timer, NULL) != TT_OK)
        restart(d);
}

void tt__dispatch_died(tt_dispatch *d, int wait_status) {
    char sentence[SENTENCE_BYTES];
    if (d->state == TT__UNFIT || d->state == TT__DEAD) return;
    describe(wait_status, sentence);
    bool is_wanted = d->state == TT__QUITTING;
    if (!is_wanted || wait_status != 0)
        tt_log_write(d->options.log, is_wanted ? TT_LOG_WARN : TT_LOG_ERROR, NULL, "%s%s", sentence,
                     is_wanted ? " while it was ending" : "");
    forget_process(d);
    d->state = TT__DEAD;
    count_crash(d, d->n_running);
    tt__dispatch_end_all(d, &(tt__ending){.error_type = CRASHED, .error_message = sentence}, false);
    plan_restart(d, sentence);
    tt__dispatch_advance(d);
}

/* The keeper is gone as well, so nobody starts another process: it was killed, or `start` failed, or we run as one process. */
void tt__dispatch_channel_gone(tt_dispatch *d) {
    tt_loop_unwatch(d->options.loop, d->options.channel_fd);
    if (d->state == TT__UNFIT) return;
    if (d->state == TT__QUITTING || is_over(d)) {
        forget_process(d);
        d->state = TT__DEAD;
        tt__dispatch_check_end(d);
        return;
    }
    give_up_on_handlers(d, "the handler process and its keeper are gone");
}

void tt__dispatch_unfit(tt_dispatch *d, const char *check, const char *reason) {
    if (d->state == TT__UNFIT || d->state == TT__ENDED) return;
    char name[SENTENCE_BYTES], sentence[TT_ERR_MESSAGE_BYTES]; /* they may lie in the packet */
    snprintf(name, sizeof name, "%s", check);
    snprintf(sentence, sizeof sentence, "%s", reason);
    forget_process(d);
    d->state = TT__UNFIT;
    tt__dispatch_end_all(d, &(tt__ending){.error_type = CRASHED, .error_message = sentence}, true);
    tt__dispatch_advance(d);
    if (d->options.unfit) d->options.unfit(d->options.context, name, sentence);
}

/* ---- handlers that do not stop ------------------------------------------------------------------------------------ */

static bool is_alone_hung(const tt_dispatch *d, int64_t now_ms) {
    bool is_hung = false;
    for (int i = 0; i < TT_MAX_CONCURRENCY; i++) {
        if (!d->slots[i]) continue;
        if (!d->slots[i]->is_stopped) return false; /* it would die with the others */
        if (d->slots[i]->hung_ms <= now_ms) is_hung = true;
    }
    return is_hung;
}

static void on_hung_timer(void *dispatch) {
    tt_dispatch *d = dispatch;
    d->hung_timer = NULL;
    bool is_apart = d->handlers_pid > 0 && d->handlers_pid != getpid();
    if (d->state == TT__READY && is_apart && is_alone_hung(d, tt_clock_ms())) {
        tt_log_write(d->options.log, TT_LOG_WARN, NULL,
                     "A stopped job's handler does not return: its process is replaced.");
        kill(d->handlers_pid, SIGKILL);
    }
    tt__dispatch_watch_hung(d);
}

void tt__dispatch_watch_hung(tt_dispatch *d) {
    bool has_stopped = false;
    for (int i = 0; i < TT_MAX_CONCURRENCY; i++)
        if (d->slots[i] && d->slots[i]->is_stopped) has_stopped = true;
    if (!has_stopped || d->hung_timer) return;
    tt_loop_timer(d->options.loop, d->options.stop_grace_ms / HUNG_LOOKS + 1, on_hung_timer, d,
                  &d->hung_timer, NULL);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void finish(tt_dispatch *d) {
    d->state = TT__ENDED;
    tt__dispatch_stop_timers(d);
    tt_loop_stop(d->options.loop);
}

static void on_quit_timer(void *dispatch) {
    tt_dispatch *d = dispatch;
    d->quit_timer = NULL;
    tt_log_write(d->options.log, TT_LOG_WARN, NULL,
                 "The handler process did not end within %lld ms: it is killed.",
                 (long long)d->options.end_grace_ms);
    finish(d);
}

static void quit(tt_dispatch *d) {
    d->state = TT__QUITTING;
    d->tell.quit = true;
    if (tt_loop_timer(d->options.loop, d->options.end_grace_ms, on_quit_timer, d, &d->quit_timer,
                      NULL) != TT_OK)
        finish(d);
    else
        tt__dispatch_flush(d);
}

/* A handler that was given up on may never return: its process is not asked to quit. */
void tt__dispatch_check_end(tt_dispatch *d) {
    if (!is_over(d) || !d->is_source_drained) return;
    if (d->state == TT__READY && !(d->has_given_up && !d->grace_timer))
        quit(d);
    else if (d->state != TT__QUITTING && d->state != TT__ENDED)
        finish(d);
}

void tt__dispatch_stop_timers(tt_dispatch *d) {
    tt_timer **timers[] = {&d->restart_timer, &d->drain_timer, &d->grace_timer, &d->quit_timer,
                           &d->hung_timer};
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
        tt_loop_timer_cancel(d->options.loop, *timers[i]);
        *timers[i] = NULL;
    }
}
