/* See queue_memory.h: the operations. Index and lists are in queue_memory_index.c, how events are told in
 * queue_memory_events.c, the facts of a job in queue_memory_job.c.
 *
 * Every operation: lock, reserve the events, find the job and settle it (if it is due, it times out or is forgotten now), change
 * it, unlock and tell. What can fail comes before the first change, so that an operation happens whole or not at all.
 *
 * One mutex serves all: an operation holds it for about a microsecond, no I/O happens under it, and the JSON is never
 * looked at. Everything lives as long as its job; blobs are shared with whoever is sending them. */
#include "job/queue_memory.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "job/parts.h"

#define DEFAULT_MAX_WAITING      10000
#define DEFAULT_MAX_STORED_BYTES ((int64_t)1 << 30)
/* sweep and purge let others in after this many jobs. */
enum { JOBS_PER_LOCK = 64 };
/* The most that one job's change causes: a time-out found late (ENDED, STOP), then the change itself (ENDED, STOP). */
enum { EVENTS_PER_CHANGE = 4 };
enum { MAX_SWEEP_PAUSE_MS = 60 * 1000, NO_MEMORY_SWEEP_PAUSE_MS = 100 };

static tt__memory_queue *memory(tt_queue *q) {
    return (tt__memory_queue *)q;
}

static void lock(tt__memory_queue *q) {
    pthread_mutex_lock(&q->mutex);
}

static tt_status end(tt__memory_queue *q, tt_status status) {
    tt__queue_events_tell_unlocking(q);
    return status;
}

/* ---- what a job takes -------------------------------------------------------------------------------------------- */

static void account(tt__memory_queue *q, tt__memory_job *job, int64_t change_bytes) {
    job->stored_bytes += change_bytes;
    q->shared.counts.stored_bytes += change_bytes;
    if (tt_job_state_is_final(job->state)) q->shared.ended_bytes += change_bytes;
}

/* Replaces what `slot` of the job holds; value NULL empties it. */
static void put_blob(tt__memory_queue *q, tt__memory_job *job, tt_blob **slot, tt_blob *value) {
    account(q, job, tt__blob_cost(value) - tt__blob_cost(*slot));
    tt_blob_hold(value);
    tt_blob_release(*slot);
    *slot = value;
}

static void drop_chunks(tt__memory_queue *q, tt__memory_job *job) {
    int64_t bytes = 0;
    for (size_t i = job->first_chunk; i < job->end_chunk; i++)
        bytes += tt__blob_cost(job->chunks[i]);
    account(q, job, -bytes);
    tt__memory_job_drop_chunks(job);
}

/* ---- the moves of a job ------------------------------------------------------------------------------------------ */

static void forget(tt__memory_queue *q, tt__memory_job *job) {
    account(q, job, -job->stored_bytes);
    tt__job_index_remove(&q->shared.index, job);
    tt__memory_job_free(job);
}

static void forget_ended(tt__memory_queue *q, tt__memory_job *job) {
    tt__job_list_remove(&q->shared.ended, job);
    forget(q, job);
}

/* Forgets ended jobs, the oldest first, until so many bytes more are within the limit or none is left. */
static void forget_for(tt__memory_queue *q, int64_t bytes) {
    while (q->shared.counts.stored_bytes > q->options.max_stored_bytes - bytes &&
           q->shared.ended.first)
        forget_ended(q, q->shared.ended.first);
}

/* The same, but forgets nothing in vain. Never called for an ended job: it could be the one that is forgotten. */
static bool make_room(tt__memory_queue *q, int64_t bytes) {
    int64_t live_bytes = q->shared.counts.stored_bytes - q->shared.ended_bytes;
    if (live_bytes > q->options.max_stored_bytes - bytes) return false;
    forget_for(q, bytes);
    return true;
}

static void leave_waiting(tt__memory_queue *q, tt__memory_job *job) {
    tt__job_list_remove(&q->shared.waiting, job);
    q->shared.counts.in_queue--;
}

static void begin_waiting(tt__memory_queue *q, tt__memory_job *job) {
    job->state = TT_JOB_IN_QUEUE;
    job->is_started = false;
    q->shared.counts.in_queue++;
    tt__job_index_set_due(&q->shared.index, job, tt__memory_job_ttl_end(job));
}

static void begin_running(tt__memory_queue *q, tt__memory_job *job, const char *worker_id,
                          int64_t now_ms) {
    leave_waiting(q, job);
    job->state = TT_JOB_IN_PROGRESS;
    job->is_started = true;
    job->started_ms = now_ms;
    if (job->attempt++ > 0) q->shared.counts.retried++;
    memcpy(job->worker_id, worker_id, strlen(worker_id) + 1);
    q->shared.counts.in_progress++;
    tt__job_index_set_due(&q->shared.index, job, tt__memory_job_run_end(job));
    tt__queue_events_add(q, job, TT_QUEUE_CLAIMED);
}

static int64_t *counter_of(tt__memory_queue *q, tt_job_state state) {
    tt_queue_counts *counts = &q->shared.counts;
    switch (state) {
    case TT_JOB_COMPLETED:
        return &counts->completed;
    case TT_JOB_FAILED:
        return &counts->failed;
    case TT_JOB_CANCELLED:
        return &counts->cancelled;
    default:
        return &counts->timed_out;
    }
}

static void leave_live(tt__memory_queue *q, tt__memory_job *job) {
    if (job->state == TT_JOB_IN_QUEUE)
        leave_waiting(q, job);
    else
        q->shared.counts.in_progress--;
}

/* From waiting or running to a final state. */
static void finish_job(tt__memory_queue *q, tt__memory_job *job, tt_job_state state,
                       int64_t now_ms) {
    assert(tt_job_state_may_become(job->state, state));
    leave_live(q, job);
    put_blob(q, job, &job->progress, NULL);
    job->state = state;
    job->finished_ms = now_ms;
    q->shared.ended_bytes += job->stored_bytes;
    ++*counter_of(q, state);
    tt__job_list_append(&q->shared.ended, job);
    tt__job_index_set_due(&q->shared.index, job, tt__ms_after(now_ms, q->options.retention_ms));
    tt__queue_events_add(q, job, TT_QUEUE_ENDED);
}

/* The same when it is not the worker's doing. */
static void stop_job(tt__memory_queue *q, tt__memory_job *job, tt_job_state state, int64_t now_ms) {
    bool was_running = job->state == TT_JOB_IN_PROGRESS;
    finish_job(q, job, state, now_ms);
    if (was_running) tt__queue_events_add(q, job, TT_QUEUE_STOP);
}

static void time_out(tt__memory_queue *q, tt__memory_job *job, int64_t now_ms) {
    bool is_slow = job->due_ms < tt__memory_job_ttl_end(job);
    job->time_out = is_slow ? TT__EXECUTION_TIME_OUT : TT__TTL_TIME_OUT;
    job->time_out_ms = is_slow ? job->execution_timeout_ms : job->ttl_ms;
    stop_job(q, job, TT_JOB_TIMED_OUT, now_ms);
}

/* What is due happens now. False: the job is forgotten. */
static bool settle(tt__memory_queue *q, tt__memory_job *job, int64_t now_ms) {
    if (job->due_ms > now_ms) return true;
    if (tt_job_state_is_final(job->state)) {
        forget_ended(q, job);
        return false;
    }
    time_out(q, job, now_ms);
    return true;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static tt_status no_such_job(const char *id, tt_err *err) {
    return tt_fail(err, TT_E_NOT_FOUND, "there is no job %.*s", TT_JOB_ID_BYTES, id);
}

/* Reserves, finds and settles: the beginning of every change. */
static tt_status begin_change(tt__memory_queue *q, const char *id, int64_t now_ms,
                              tt__memory_job **out, tt_err *err) {
    TT_TRY(tt__queue_events_reserve(q, EVENTS_PER_CHANGE, err));
    *out = tt__job_index_find(&q->shared.index, id);
    return *out && settle(q, *out, now_ms) ? TT_OK : no_such_job(id, err);
}

/* The same for a report of a worker: the attempt must be the one that runs. */
static tt_status begin_report(tt__memory_queue *q, const char *id, int attempt, int64_t now_ms,
                              tt__memory_job **out, tt_err *err) {
    TT_TRY(begin_change(q, id, now_ms, out, err));
    if ((*out)->state == TT_JOB_IN_PROGRESS && (*out)->attempt == attempt) return TT_OK;
    return tt_fail(err, TT_E_NOT_FOUND, "attempt %d of job %s is over: the job is %s in attempt %d",
                   attempt, (*out)->id, tt_job_state_name((*out)->state), (*out)->attempt);
}

/* ---- submitting -------------------------------------------------------------------------------------------------- */

static tt_status check_line(const tt__memory_queue *q, tt_err *err) {
    if (q->shared.counts.in_queue < q->options.max_waiting) return TT_OK;
    return tt_fail(err, TT_E_NOMEM, "the queue is full: %" PRId64 " jobs wait",
                   q->shared.counts.in_queue);
}

static tt_status check_room(tt__memory_queue *q, int64_t bytes, tt_err *err) {
    if (make_room(q, bytes)) return TT_OK;
    return tt_fail(err, TT_E_NOMEM,
                   "the queue is full: %" PRId64 " more bytes are needed, and %" PRId64
                   " of %" PRId64 " are taken by jobs that have not ended",
                   bytes, q->shared.counts.stored_bytes - q->shared.ended_bytes,
                   q->options.max_stored_bytes);
}

static tt_status insert(tt__memory_queue *q, tt__memory_job *job, int64_t now_ms, tt_err *err) {
    TT_TRY(tt__queue_events_reserve(q, EVENTS_PER_CHANGE, err));
    tt__memory_job *same = tt__job_index_find(&q->shared.index, job->id);
    if (same && settle(q, same, now_ms))
        return tt_fail(err, TT_E_INVALID, "job id %s is in use", job->id);
    TT_TRY(check_line(q, err));
    TT_TRY(check_room(q, job->stored_bytes, err));
    job->arrival = q->shared.n_arrivals;
    TT_TRY(tt__job_index_add(&q->shared.index, job, err));
    q->shared.n_arrivals++;
    q->shared.counts.stored_bytes += job->stored_bytes;
    tt__job_list_append(&q->shared.waiting, job);
    begin_waiting(q, job);
    tt__queue_events_add(q, job, TT_QUEUE_SUBMITTED);
    return TT_OK;
}

static tt_status memory_submit(tt_queue *base, const tt_job_spec *spec, int64_t now_ms,
                               tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    TT_TRY(tt__memory_job_new(spec, now_ms, &job, err));
    lock(q);
    tt_status status = insert(q, job, now_ms, err);
    if (status != TT_OK) tt__memory_job_free(job);
    return end(q, status);
}

static tt_status check_retry(const tt__memory_queue *q, const tt__memory_job *job, tt_err *err) {
    if (tt_job_state_is_final(job->state) && tt_job_state_may_become(job->state, TT_JOB_IN_QUEUE))
        return check_line(q, err);
    return tt_fail(err, TT_E_INVALID, "job %s is %s: only FAILED and TIMED_OUT jobs can be retried",
                   job->id, tt_job_state_name(job->state));
}

static void retry_job(tt__memory_queue *q, tt__memory_job *job, int64_t now_ms) {
    put_blob(q, job, &job->output, NULL);
    put_blob(q, job, &job->error, NULL);
    drop_chunks(q, job);
    tt__job_list_remove(&q->shared.ended, job);
    q->shared.ended_bytes -= job->stored_bytes;
    job->time_out = TT__NO_TIME_OUT;
    job->queued_ms = now_ms;
    job->arrival = q->shared.n_arrivals++;
    tt__job_list_append(&q->shared.waiting, job);
    begin_waiting(q, job);
    tt__queue_events_add(q, job, TT_QUEUE_REQUEUED);
}

static tt_status memory_retry(tt_queue *base, const char *id, int64_t now_ms, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    lock(q);
    tt_status status = begin_change(q, id, now_ms, &job, err);
    if (status == TT_OK) status = check_retry(q, job, err);
    if (status == TT_OK) retry_job(q, job, now_ms);
    return end(q, status);
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static tt_status claim_next(tt__memory_queue *q, const char *worker_id, int64_t now_ms,
                            tt_job_claim *claim, bool *is_claimed, tt_err *err) {
    *is_claimed = false;
    for (tt__memory_job *job; !*is_claimed && (job = q->shared.waiting.first);) {
        TT_TRY(tt__queue_events_reserve(q, EVENTS_PER_CHANGE, err));
        settle(q, job, now_ms);
        if (job->state != TT_JOB_IN_QUEUE) continue;
        begin_running(q, job, worker_id, now_ms);
        *claim = (tt_job_claim){.attempt = job->attempt,
                                .envelope = tt_blob_hold(job->envelope),
                                .deadline_ms = job->due_ms};
        memcpy(claim->id, job->id, sizeof claim->id);
        *is_claimed = true;
    }
    return TT_OK;
}

static tt_status memory_claim(tt_queue *base, const char *worker_id, int max_claims, int64_t now_ms,
                              tt_job_claim *claims, int *n, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt_status status = TT_OK;
    bool is_claimed = true;
    *n = 0;
    if (strnlen(worker_id, TT_JOB_ID_BYTES) == TT_JOB_ID_BYTES)
        return tt_fail(err, TT_E_INVALID, "worker id: expected at most %d characters, found more",
                       TT_JOB_ID_BYTES - 1);
    lock(q);
    while (status == TT_OK && is_claimed && *n < max_claims) {
        status = claim_next(q, worker_id, now_ms, &claims[*n], &is_claimed, err);
        if (is_claimed) ++*n;
    }
    return end(q, *n > 0 ? TT_OK : status); /* what is claimed is claimed */
}

static tt_status memory_progress(tt_queue *base, const char *id, int attempt, tt_blob *value,
                                 int64_t now_ms, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    lock(q);
    tt_status status = begin_report(q, id, attempt, now_ms, &job, err);
    if (status == TT_OK) status = check_room(q, tt__blob_cost(value), err);
    if (status != TT_OK) return end(q, status);
    put_blob(q, job, &job->progress, value);
    job->progress_number++;
    tt__queue_events_add(q, job, TT_QUEUE_PROGRESS);
    return end(q, TT_OK);
}

static tt_status memory_stream(tt_queue *base, const char *id, int attempt, tt_blob *chunk,
                               int64_t now_ms, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    lock(q);
    tt_status status = begin_report(q, id, attempt, now_ms, &job, err);
    if (status == TT_OK) status = tt__memory_job_reserve_chunk(job, err);
    if (status == TT_OK) status = check_room(q, tt__blob_cost(chunk), err);
    if (status != TT_OK) return end(q, status);
    put_blob(q, job, &job->chunks[job->end_chunk++], chunk);
    tt__queue_events_add(q, job, TT_QUEUE_STREAMED);
    return end(q, TT_OK);
}

static tt_status memory_finish(tt_queue *base, const char *id, int attempt,
                               const tt_job_outcome *outcome, int64_t now_ms, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    if (!tt_job_state_is_final(outcome->state) || outcome->state == TT_JOB_TIMED_OUT)
        return tt_fail(err, TT_E_INVALID,
                       "job %.*s: expected COMPLETED, FAILED or CANCELLED, found %s",
                       TT_JOB_ID_BYTES, id, tt_job_state_name(outcome->state));
    lock(q);
    tt_status status = begin_report(q, id, attempt, now_ms, &job, err);
    if (status != TT_OK) return end(q, status);
    /* Never refused, even beyond the limit: the work is done. */
    forget_for(q, tt__blob_cost(outcome->output) + tt__blob_cost(outcome->error));
    put_blob(q, job, &job->output, outcome->output);
    put_blob(q, job, &job->error, outcome->error);
    finish_job(q, job, outcome->state, now_ms);
    return end(q, TT_OK);
}

static tt_status memory_release(tt_queue *base, const char *id, int attempt, int64_t now_ms,
                                tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    lock(q);
    tt_status status = begin_report(q, id, attempt, now_ms, &job, err);
    if (status != TT_OK) return end(q, status);
    q->shared.counts.in_progress--;
    put_blob(q, job, &job->progress, NULL);
    drop_chunks(q, job);
    tt__job_list_insert_by_arrival(&q->shared.waiting, job);
    begin_waiting(q, job);
    tt__queue_events_add(q, job, TT_QUEUE_REQUEUED);
    return end(q, TT_OK);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

static tt_status memory_cancel(tt_queue *base, const char *id, int64_t now_ms, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    lock(q);
    tt_status status = begin_change(q, id, now_ms, &job, err);
    if (status == TT_OK && !tt_job_state_is_final(job->state))
        stop_job(q, job, TT_JOB_CANCELLED, now_ms);
    return end(q, status);
}

static tt_status memory_set_ttl(tt_queue *base, const char *id, int64_t ttl_ms, int64_t now_ms,
                                tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt__memory_job *job;
    if (ttl_ms < 1 || ttl_ms > TT_JOB_MAX_POLICY_MS)
        return tt_fail(err, TT_E_INVALID, "ttl: expected 1 to %lld ms, found %" PRId64,
                       TT_JOB_MAX_POLICY_MS, ttl_ms);
    lock(q);
    tt_status status = begin_change(q, id, now_ms, &job, err);
    if (status != TT_OK) return end(q, status);
    job->ttl_ms = ttl_ms;
    if (!tt_job_state_is_final(job->state)) {
        tt__job_index_set_due(&q->shared.index, job,
                              job->is_started ? tt__memory_job_run_end(job)
                                              : tt__memory_job_ttl_end(job));
        settle(q, job, now_ms);
    }
    return end(q, TT_OK);
}

static void purge_job(tt__memory_queue *q, tt__memory_job *job) {
    leave_waiting(q, job);
    tt__queue_events_add(q, job, TT_QUEUE_ENDED);
    forget(q, job);
}

/* Up to JOBS_PER_LOCK waiting jobs that arrived before `end_arrival`. */
static tt_status purge_some(tt__memory_queue *q, uint64_t end_arrival, int *n, tt_err *err) {
    *n = 0;
    TT_TRY(tt__queue_events_reserve(q, JOBS_PER_LOCK, err));
    for (tt__memory_job *job; *n < JOBS_PER_LOCK && (job = q->shared.waiting.first); ++*n) {
        if (job->arrival >= end_arrival) break;
        purge_job(q, job);
    }
    return TT_OK;
}

/* Jobs that arrive meanwhile stay: else a purge could go on for ever. */
static tt_status memory_purge(tt_queue *base, int64_t now_ms, int64_t *n_removed, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt_status status;
    int n;
    (void)now_ms;
    *n_removed = 0;
    lock(q);
    uint64_t end_arrival = q->shared.n_arrivals;
    pthread_mutex_unlock(&q->mutex);
    do {
        lock(q);
        status = end(q, purge_some(q, end_arrival, &n, err));
        *n_removed += n;
    } while (status == TT_OK && n == JOBS_PER_LOCK);
    return status;
}

static tt_status memory_get(tt_queue *base, const char *id, int64_t now_ms, tt_job_view *out,
                            tt_err *err) {
    tt__memory_queue *q = memory(base);
    *out = (tt_job_view){.envelope = NULL};
    lock(q);
    tt__memory_job *job = tt__job_index_find(&q->shared.index, id);
    bool is_expired = job && tt_job_state_is_final(job->state) && job->due_ms <= now_ms;
    tt_status status =
        job && !is_expired ? tt__memory_job_view(job, now_ms, out, err) : no_such_job(id, err);
    pthread_mutex_unlock(&q->mutex);
    if (status != TT_OK) tt_job_view_release(out);
    return status;
}

static tt_status memory_take_stream(tt_queue *base, const char *id, int max, tt_blob **chunks,
                                    int *n, tt_err *err) {
    tt__memory_queue *q = memory(base);
    tt_status status = TT_OK;
    *n = 0;
    lock(q);
    tt__memory_job *job = tt__job_index_find(&q->shared.index, id);
    if (!job) status = no_such_job(id, err);
    while (job && *n < max && job->first_chunk < job->end_chunk) {
        tt_blob *chunk = job->chunks[job->first_chunk++];
        account(q, job, -tt__blob_cost(chunk));
        chunks[(*n)++] = chunk;
    }
    pthread_mutex_unlock(&q->mutex);
    return status;
}

static void memory_counts(tt_queue *base, int64_t now_ms, tt_queue_counts *out) {
    tt__memory_queue *q = memory(base);
    lock(q);
    const tt__memory_job *oldest = q->shared.waiting.first;
    *out = q->shared.counts;
    out->oldest_waiting_ms = oldest && now_ms > oldest->queued_ms ? now_ms - oldest->queued_ms : 0;
    pthread_mutex_unlock(&q->mutex);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static int64_t pause_until_due(const tt__memory_queue *q, int64_t now_ms) {
    if (q->shared.index.n_jobs == 0) return MAX_SWEEP_PAUSE_MS;
    int64_t due_ms = q->shared.index.due[0]->due_ms;
    if (due_ms <= now_ms) return 0;
    return due_ms - now_ms < MAX_SWEEP_PAUSE_MS ? due_ms - now_ms : MAX_SWEEP_PAUSE_MS;
}

static int64_t memory_sweep(tt_queue *base, int64_t now_ms) {
    tt__memory_queue *q = memory(base);
    for (;;) {
        int64_t pause_ms;
        lock(q);
        for (int n = 0; (pause_ms = pause_until_due(q, now_ms)) == 0 && n < JOBS_PER_LOCK; n++) {
            if (tt__queue_events_reserve(q, EVENTS_PER_CHANGE, NULL) != TT_OK) {
                pause_ms = NO_MEMORY_SWEEP_PAUSE_MS;
                break;
            }
            settle(q, q->shared.index.due[0], now_ms);
        }
        end(q, TT_OK);
        if (pause_ms > 0) return pause_ms;
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static tt_status memory_listen(tt_queue *base, tt_queue_listener listener, void *context,
                               tt_err *err) {
    tt__memory_queue *q = memory(base);
    if (q->n_listeners == TT_QUEUE_MAX_LISTENERS)
        return tt_fail(err, TT_E_INVALID, "the queue has %d listeners already",
                       TT_QUEUE_MAX_LISTENERS);
    q->listeners[q->n_listeners].call = listener;
    q->listeners[q->n_listeners].context = context;
    q->n_listeners++;
    return TT_OK;
}

static void memory_free(tt_queue *base) {
    tt__memory_queue *q = memory(base);
    if (!q) return;
    for (size_t i = 0; i < q->shared.index.n_jobs; i++) tt__memory_job_free(q->shared.index.due[i]);
    tt__job_index_release(&q->shared.index);
    tt__queue_events_release(q);
    pthread_cond_destroy(&q->told);
    pthread_mutex_destroy(&q->mutex);
    tt_free(q);
}

static const tt_queue OPERATIONS = {
    .submit = memory_submit,
    .claim = memory_claim,
    .progress = memory_progress,
    .stream = memory_stream,
    .finish = memory_finish,
    .release = memory_release,
    .cancel = memory_cancel,
    .retry = memory_retry,
    .purge = memory_purge,
    .set_ttl = memory_set_ttl,
    .get = memory_get,
    .take_stream = memory_take_stream,
    .counts = memory_counts,
    .sweep = memory_sweep,
    .listen = memory_listen,
    .free = memory_free,
};

static int64_t or_default(int64_t value, int64_t fallback) {
    return value > 0 ? value : fallback;
}

static tt_status init_locks(tt__memory_queue *q, tt_err *err) {
    if (pthread_mutex_init(&q->mutex, NULL) != 0)
        return tt_fail(err, TT_E_INTERNAL, "the queue's mutex cannot be made");
    if (tt_clock_condition_init(&q->told) == 0) return TT_OK;
    pthread_mutex_destroy(&q->mutex);
    return tt_fail(err, TT_E_INTERNAL, "the queue's condition cannot be made");
}

tt_status tt_queue_memory_new(const tt_queue_memory_options *options, tt_queue **out, tt_err *err) {
    *out = NULL;
    tt__memory_queue *q = tt_alloc(sizeof *q);
    if (!q) return tt_fail_nomem(err, "queue", sizeof *q);
    q->base = OPERATIONS;
    q->options.max_waiting = or_default(options->max_waiting, DEFAULT_MAX_WAITING);
    q->options.max_stored_bytes = or_default(options->max_stored_bytes, DEFAULT_MAX_STORED_BYTES);
    q->options.retention_ms = or_default(options->retention_ms, TT_JOB_DEFAULT_RETENTION_MS);
    tt_status status = tt__job_index_init(&q->shared.index, err);
    if (status == TT_OK) status = init_locks(q, err);
    if (status != TT_OK) {
        tt__job_index_release(&q->shared.index);
        tt_free(q);
        return status;
    }
    *out = &q->base;
    return TT_OK;
}
