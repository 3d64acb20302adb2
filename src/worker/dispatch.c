/* The dispatcher: jobs, slots, and what the source is told. See dispatch.h.
 *
 *     source --give--> waiting list --start--> slot --JOB--> handler process
 *            <--finish-------------------------- END, death, or the end of the worker
 *
 * Every change ends in tt__dispatch_advance, which brings everything else up to date: so the rules stand once. It is written
 * to be entered again from the source's callbacks: lists are consistent before any of them is called, and the source is told
 * of its slots by the outermost call only.
 *
 * Nothing here blocks: messages that the channel does not take are kept as flags and counters of their job
 * (dispatch_send.c), so there is no queue that could grow. */
#include "worker/dispatch.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "worker/dispatch_parts.h"

static const tt_log *log_of(const tt_dispatch *d) {
    return d->options.log;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static tt_status init(tt_dispatch *d, tt_err *err) {
    static const char NO_MEMORY[] = "\"out of memory: there is none left for the job's answer\"";
    tt_dispatch_options *o = &d->options;
    if (o->concurrency < 1) o->concurrency = 1;
    if (o->concurrency > TT_MAX_CONCURRENCY) o->concurrency = TT_MAX_CONCURRENCY;
    if (!o->restart_ms) o->restart_ms = TT_RESTART_BASE_MS;
    if (!o->stop_grace_ms) o->stop_grace_ms = TT_STOP_GRACE_MS;
    if (!o->end_grace_ms) o->end_grace_ms = TT_END_GRACE_MS;
    d->concurrency = o->concurrency;
    d->told.n_free = -1;
    tt_backoff_init(&d->restart_backoff, o->restart_ms, TT_RESTART_CAP_MS, (uint64_t)tt_clock_us());
    tt_buf_init(&d->metrics, TT_MAX_METRICS_BYTES);
    TT_TRY(tt_blob_new(NO_MEMORY, sizeof NO_MEMORY - 1, &d->no_memory, err));
    return tt__dispatch_open_channel(d, err);
}

tt_status tt_dispatch_new(const tt_dispatch_options *options, tt_dispatch **out, tt_err *err) {
    tt_dispatch *d = tt_alloc(sizeof *d);
    if (!d) {
        close(options->channel_fd);
        return tt_fail_nomem(err, "dispatcher", sizeof *d);
    }
    d->options = *options;
    d->tell.writable_fd = -1;
    pthread_mutex_init(&d->shared.lock, NULL);
    tt_status status = init(d, err);
    if (status == TT_OK)
        *out = d;
    else
        tt_dispatch_free(d);
    return status;
}

static void free_run(tt__run *run) {
    tt_envelope_release(&run->envelope);
    tt_buf_release(&run->output);
    tt_buf_release(&run->error);
    tt_buf_release(&run->message);
    tt_buf_release(&run->chunks);
    tt_free(run);
}

void tt_dispatch_free(tt_dispatch *d) {
    if (!d) return;
    tt__dispatch_stop_timers(d);
    tt__dispatch_close_channel(d);
    for (int i = 0; i < TT_MAX_CONCURRENCY; i++)
        if (d->slots[i]) free_run(d->slots[i]);
    while (d->first_waiting) {
        tt__run *next = d->first_waiting->next;
        free_run(d->first_waiting);
        d->first_waiting = next;
    }
    while (d->tickets) {
        tt__ticket *next = d->tickets->next;
        tt_free(d->tickets);
        d->tickets = next;
    }
    tt_blob_release(d->no_memory);
    tt_buf_release(&d->metrics);
    pthread_mutex_destroy(&d->shared.lock);
    tt_free(d);
}

/* ---- counts ------------------------------------------------------------------------------------------------------- */

int tt_dispatch_running(const tt_dispatch *d) {
    return d->n_running + d->n_waiting;
}

int tt_dispatch_free_slots(const tt_dispatch *d) {
    int n = d->concurrency - d->n_running - d->n_waiting;
    return d->state != TT__READY || d->is_draining || n < 0 ? 0 : n;
}

void tt_dispatch_get_counts(tt_dispatch *d, tt_dispatch_counts *out) {
    pthread_mutex_lock(&d->shared.lock);
    *out = d->shared.counts;
    pthread_mutex_unlock(&d->shared.lock);
}

static void copy_counts(tt_dispatch *d) {
    tt_dispatch_counts *c = &d->shared.counts;
    pthread_mutex_lock(&d->shared.lock);
    c->is_ready = d->state == TT__READY;
    c->is_draining = d->is_draining;
    c->concurrency = d->concurrency;
    c->running = d->n_running;
    c->waiting = d->n_waiting;
    pthread_mutex_unlock(&d->shared.lock);
}

/* ---- the waiting list --------------------------------------------------------------------------------------------- */

static void add_waiting(tt_dispatch *d, tt__run *run) {
    if (d->last_waiting)
        d->last_waiting->next = run;
    else
        d->first_waiting = run;
    d->last_waiting = run;
    d->n_waiting++;
}

/* NULL: it does not wait. */
static tt__run *take_waiting(tt_dispatch *d, uint64_t key) {
    tt__run *before = NULL, *run = d->first_waiting;
    while (run && run->key != key) {
        before = run;
        run = run->next;
    }
    if (!run) return NULL;
    if (before)
        before->next = run->next;
    else
        d->first_waiting = run->next;
    if (d->last_waiting == run) d->last_waiting = before;
    run->next = NULL;
    d->n_waiting--;
    return run;
}

tt_status tt_dispatch_give(tt_dispatch *d, uint64_t key, tt_envelope *envelope, int attempt,
                           int64_t deadline_ms, tt_err *err) {
    if (d->state >= TT__UNFIT || d->has_given_up || (d->is_draining && d->options.hands_back))
        return tt_fail(err, TT_E_CANCELLED, "the worker ends and takes no more jobs");
    tt__run *run = tt_alloc(sizeof *run);
    if (!run) return tt_fail_nomem(err, "job", sizeof *run);
    run->key = key;
    run->envelope = *envelope;
    *envelope = (tt_envelope){.text = NULL};
    run->attempt = attempt;
    run->deadline_ms = deadline_ms;
    tt_buf_init(&run->output, TT_MAX_JOB_OUTPUT_BYTES);
    tt_buf_init(&run->error, TT_MAX_JOB_OUTPUT_BYTES);
    tt_buf_init(&run->message, TT_MAX_JOB_OUTPUT_BYTES);
    tt_buf_init(&run->chunks, TT_MAX_JOB_OUTPUT_BYTES);
    add_waiting(d, run);
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "Jobs in queue: %d", d->n_waiting);
    tt__dispatch_advance(d);
    return TT_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

tt__run *tt__dispatch_run(tt_dispatch *d, uint64_t number) {
    tt__run *run = d->slots[number % TT_MAX_CONCURRENCY];
    return run && run->number == number ? run : NULL;
}

static void start(tt_dispatch *d, tt__run *run) {
    uint64_t slot = 0;
    while (d->slots[slot]) slot++; /* n_running is below the number of slots */
    run->number = ++d->serial * TT_MAX_CONCURRENCY + slot;
    run->started_us = tt_clock_us();
    d->slots[slot] = run;
    d->n_running++;
    tt__dispatch_tell(d, run);
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "Jobs in progress: %d", d->n_running);
    tt_log_write(log_of(d), TT_LOG_INFO, run->envelope.id, "Started.");
}

static void start_waiting(tt_dispatch *d) {
    while (d->state == TT__READY && d->first_waiting && d->n_running < d->concurrency)
        start(d, take_waiting(d, d->first_waiting->key));
}

static void forget_run(tt_dispatch *d, tt__run *run) {
    if (run->number) {
        tt__dispatch_untell(d, run);
        d->slots[run->number % TT_MAX_CONCURRENCY] = NULL;
        d->n_running--;
    } else {
        take_waiting(d, run->key);
    }
}

static void log_end(const tt_dispatch *d, const tt__run *run, const tt__ending *ending,
                    const tt_final *final) {
    const char *id = run->envelope.id;
    if (ending->error_type)
        tt_log_write(log_of(d), TT_LOG_ERROR, id, "%s: %s", ending->error_type,
                     ending->error_message);
    if (!run->number) return;
    int64_t ms = (tt_clock_us() - run->started_us) / 1000;
    const char *how = final->error ? " error=true" : "";
    if (ending->is_stopped) how = " stopped=true";
    tt_log_write(log_of(d), TT_LOG_INFO, id, "Finished. execution_ms=%lld%s", (long long)ms, how);
}

void tt__dispatch_end_run(tt_dispatch *d, tt__run *run, const tt__ending *ending) {
    tt_final final = tt__dispatch_final(d, run, ending);
    bool was_stopped = ending->is_stopped || run->is_stopped;
    forget_run(d, run);
    log_end(d, run, ending, &final);
    if (d->options.refresh_worker && !was_stopped) tt_dispatch_drain(d);
    d->options.source->finish(d->options.source, run->key, &final, was_stopped);
    tt_blob_release(final.output);
    tt_blob_release(final.error);
    free_run(run);
}

void tt__dispatch_end_all(tt_dispatch *d, const tt__ending *ending, bool also_waiting) {
    uint64_t last = d->serial; /* what the source gives meanwhile is not meant */
    for (int i = 0; i < TT_MAX_CONCURRENCY && d->n_running > 0; i++)
        if (d->slots[i] && d->slots[i]->number / TT_MAX_CONCURRENCY <= last)
            tt__dispatch_end_run(d, d->slots[i], ending);
    for (int n = d->n_waiting; also_waiting && n > 0 && d->first_waiting; n--)
        tt__dispatch_end_run(d, d->first_waiting, ending);
}

/* ---- stopping ----------------------------------------------------------------------------------------------------- */

static void stop_running(tt_dispatch *d, tt__run *run) {
    run->tell.cancel = true;
    tt__dispatch_tell(d, run);
}

void tt_dispatch_cancel(tt_dispatch *d, uint64_t key) {
    tt__run *run = d->first_waiting;
    while (run && run->key != key) run = run->next;
    if (run) {
        tt__dispatch_end_run(d, run, &(tt__ending){.is_stopped = true});
        tt__dispatch_advance(d);
        return;
    }
    for (int i = 0; i < TT_MAX_CONCURRENCY && !run; i++)
        if (d->slots[i] && d->slots[i]->key == key) run = d->slots[i];
    if (!run || run->is_stopped) return;
    run->is_stopped = true;
    run->hung_ms = tt_clock_ms() + d->options.stop_grace_ms;
    stop_running(d, run);
    tt__dispatch_watch_hung(d);
    tt__dispatch_flush(d);
}

static void hand_back_waiting(tt_dispatch *d) {
    tt__ending back = {.is_stopped = true};
    for (int n = d->n_waiting; n > 0 && d->first_waiting; n--)
        tt__dispatch_end_run(d, d->first_waiting, &back);
}

static void on_drain_timer(void *dispatch) {
    tt_dispatch *d = dispatch;
    d->drain_timer = NULL;
    tt_dispatch_give_up(d);
}

void tt_dispatch_drain(tt_dispatch *d) {
    if (d->is_draining) return;
    d->is_draining = true;
    tt_log_write(log_of(d), TT_LOG_DEBUG, NULL, "Kill worker.");
    if (d->options.hands_back) hand_back_waiting(d);
    if (d->was_ready)
        d->options.source->drain(d->options.source);
    else
        d->is_source_drained = true; /* it was never told to begin */
    if (d->options.drain_ms > 0 && !d->has_given_up &&
        tt_loop_timer(d->options.loop, d->options.drain_ms, on_drain_timer, d, &d->drain_timer,
                      NULL) != TT_OK)
        tt_dispatch_give_up(d);
    tt__dispatch_advance(d);
}

/* The handlers had their time: what they did not end is handed back. */
static void on_grace_timer(void *dispatch) {
    tt_dispatch *d = dispatch;
    d->grace_timer = NULL;
    tt__dispatch_end_all(d, &(tt__ending){.is_stopped = true}, true);
    tt__dispatch_advance(d);
}

void tt_dispatch_give_up(tt_dispatch *d) {
    if (d->has_given_up) return;
    d->has_given_up = true;
    hand_back_waiting(d);
    for (int i = 0; i < TT_MAX_CONCURRENCY; i++) {
        if (!d->slots[i]) continue;
        d->slots[i]->is_given_up = true;
        stop_running(d, d->slots[i]);
    }
    bool is_timed = tt_loop_timer(d->options.loop, d->options.end_grace_ms, on_grace_timer, d,
                                  &d->grace_timer, NULL) == TT_OK;
    if (!is_timed) on_grace_timer(d);
    tt_dispatch_drain(d);
    tt__dispatch_advance(d);
}

void tt_dispatch_source_drained(tt_dispatch *d) {
    d->is_source_drained = true;
    tt__dispatch_advance(d);
}

/* ---- up to date --------------------------------------------------------------------------------------------------- */

/* The source may give jobs from inside `slots`; then there is something new to tell. */
static void tell_source(tt_dispatch *d) {
    if (d->told.is_telling) return;
    d->told.is_telling = true;
    for (;;) {
        int n_free = tt_dispatch_free_slots(d), n_running = tt_dispatch_running(d);
        if (n_free == d->told.n_free && n_running == d->told.n_running) break;
        d->told.n_free = n_free;
        d->told.n_running = n_running;
        d->options.source->slots(d->options.source, n_free, n_running);
    }
    d->told.is_telling = false;
}

void tt__dispatch_advance(tt_dispatch *d) {
    start_waiting(d);
    tt__dispatch_flush(d);
    tell_source(d);
    copy_counts(d);
    tt__dispatch_check_end(d);
}
