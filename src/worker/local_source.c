/* See local_source.h. The queue tells of changes on whatever thread caused them; those only leave a note (is something
 * waiting, which jobs to stop) and wake the loop, where everything else happens.
 *
 * A job is known to the dispatcher by the address of its entry here. Reports on a job that was cancelled meanwhile are
 * refused by the queue (they are fenced) and forgotten: its client has its answer. */
#include "worker/local_source.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "worker/dispatch.h"

enum { CLAIMS_AT_ONCE = 16, RETRY_MS = 1000 };

typedef struct entry { /* a claimed job */
    struct entry *next;
    char id[TT_JOB_ID_BYTES];
    int attempt;
    int64_t deadline_ms;
} entry;

typedef struct stop_note {
    struct stop_note *next;
    char id[TT_JOB_ID_BYTES];
    int attempt;
} stop_note;

struct tt_local_source {
    tt_source source; /* first */
    tt_loop *loop;
    const tt_log *log;
    tt_queue *queue;
    char worker_id[TT_JOB_ID_BYTES];
    tt_dispatch *dispatch;
    entry *entries;
    int n_free;
    bool is_claiming, is_draining;
    tt_timer *retry_timer;
    struct { /* any thread */
        pthread_mutex_t lock;
        bool is_woken; /* a call is posted */
        stop_note *stops;
    } shared;
};

static tt_local_source *of(tt_source *source) {
    return (tt_local_source *)source;
}

static void complain(const tt_local_source *s, const char *id, const tt_err *err) {
    tt_log_write(s->log, TT_LOG_ERROR, id, "%s", err->message);
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

static uint64_t key_of(const entry *e) {
    return (uint64_t)(uintptr_t)e;
}

static entry *find_key(const tt_local_source *s, uint64_t key) {
    entry *e = s->entries;
    while (e && key_of(e) != key) e = e->next;
    return e;
}

static void forget(tt_local_source *s, const entry *e) {
    entry **link = &s->entries;
    while (*link && *link != e) link = &(*link)->next;
    if (!*link) return;
    entry *next = (*link)->next;
    tt_free(*link);
    *link = next;
}

/* ---- claiming ----------------------------------------------------------------------------------------------------- */

static tt_status fail_job(tt_local_source *s, const tt_job_claim *claim, const char *sentence) {
    tt_buf text;
    tt_blob *error;
    tt_buf_init(&text, TT_ERR_MESSAGE_BYTES * 2);
    tt_status status = tt_buf_printf(&text, NULL, "\"%s\"", sentence);
    if (status == TT_OK) status = tt_blob_take(&text, &error, NULL);
    tt_buf_release(&text);
    if (status != TT_OK) return status;
    tt_job_outcome outcome = {.state = TT_JOB_FAILED, .error = error};
    s->queue->finish(s->queue, claim->id, claim->attempt, &outcome, tt_clock_ms(), NULL);
    tt_blob_release(error);
    return TT_OK;
}

static tt_status give(tt_local_source *s, const tt_job_claim *claim, tt_err *err) {
    tt_envelope envelope;
    entry *e = tt_alloc(sizeof *e);
    if (!e) return tt_fail_nomem(err, "job", sizeof *e);
    *e = (entry){.next = s->entries, .attempt = claim->attempt, .deadline_ms = claim->deadline_ms};
    memcpy(e->id, claim->id, sizeof e->id);
    s->entries = e;
    tt_status status =
        tt_envelope_parse(claim->envelope->data, claim->envelope->size, claim->id, &envelope, err);
    if (status == TT_OK) {
        status = tt_dispatch_give(s->dispatch, key_of(e), &envelope, claim->attempt,
                                  claim->deadline_ms, err);
        if (status != TT_OK) tt_envelope_release(&envelope);
    }
    if (status != TT_OK) forget(s, e);
    return status;
}

/* A job that nobody can read fails; one for which there is no room now goes back. */
static void take(tt_local_source *s, tt_job_claim *claim) {
    tt_err err;
    tt_status status = give(s, claim, &err);
    if (status != TT_OK) complain(s, claim->id, &err);
    if (status == TT_E_FORMAT || status == TT_E_INVALID)
        fail_job(s, claim, "the job cannot be read");
    else if (status != TT_OK)
        s->queue->release(s->queue, claim->id, claim->attempt, tt_clock_ms(), NULL);
    tt_blob_release(claim->envelope);
}

static void claim_jobs(tt_local_source *s);

static void on_retry(void *source) {
    tt_local_source *s = source;
    s->retry_timer = NULL;
    claim_jobs(s);
}

static void claim_later(tt_local_source *s) {
    if (!s->retry_timer) tt_loop_timer(s->loop, RETRY_MS, on_retry, s, &s->retry_timer, NULL);
}

/* Giving a job changes the slots, which calls this again: only the outermost goes on. */
static void claim_jobs(tt_local_source *s) {
    tt_job_claim claims[CLAIMS_AT_ONCE];
    tt_err err;
    if (s->is_claiming || !s->dispatch) return;
    s->is_claiming = true;
    while (s->n_free > 0 && !s->is_draining) {
        int n = 0, wanted = s->n_free < CLAIMS_AT_ONCE ? s->n_free : CLAIMS_AT_ONCE;
        tt_status status =
            s->queue->claim(s->queue, s->worker_id, wanted, tt_clock_ms(), claims, &n, &err);
        if (status != TT_OK) {
            complain(s, NULL, &err);
            claim_later(s);
        }
        if (status != TT_OK || n == 0) break;
        for (int i = 0; i < n; i++) take(s, &claims[i]);
        s->n_free = tt_dispatch_free_slots(s->dispatch);
    }
    s->is_claiming = false;
}

/* ---- news of the queue -------------------------------------------------------------------------------------------- */

static void stop(tt_local_source *s, const stop_note *note) {
    for (entry *e = s->entries; e; e = e->next)
        if (e->attempt == note->attempt && strcmp(e->id, note->id) == 0) {
            tt_log_write(s->log, TT_LOG_INFO, e->id, "Stopping job.");
            tt_dispatch_cancel(s->dispatch, key_of(e));
            return;
        }
}

static void on_news(void *source) {
    tt_local_source *s = source;
    pthread_mutex_lock(&s->shared.lock);
    stop_note *note = s->shared.stops;
    s->shared.stops = NULL;
    s->shared.is_woken = false;
    pthread_mutex_unlock(&s->shared.lock);
    while (note) {
        stop_note *next = note->next;
        if (s->dispatch) stop(s, note);
        tt_free(note);
        note = next;
    }
    claim_jobs(s);
}

/* Any thread. */
static void leave_note(tt_local_source *s, stop_note *note) {
    pthread_mutex_lock(&s->shared.lock);
    if (note) {
        note->next = s->shared.stops;
        s->shared.stops = note;
    }
    if (!s->shared.is_woken) s->shared.is_woken = tt_loop_post(s->loop, on_news, s, NULL) == TT_OK;
    pthread_mutex_unlock(&s->shared.lock);
}

static void on_event(void *context, tt_queue_event event, const char *id, const char *worker_id,
                     int attempt) {
    tt_local_source *s = context;
    if (event == TT_QUEUE_SUBMITTED || event == TT_QUEUE_REQUEUED) {
        leave_note(s, NULL);
    } else if (event == TT_QUEUE_STOP && strcmp(worker_id, s->worker_id) == 0) {
        stop_note *note = tt_alloc(sizeof *note); /* without memory the handler runs to its end */
        if (!note) return;
        snprintf(note->id, sizeof note->id, "%s", id);
        note->attempt = attempt;
        leave_note(s, note);
    }
}

/* ---- the dispatcher's face ---------------------------------------------------------------------------------------- */

static void on_slots(tt_source *source, int n_free, int n_running) {
    (void)n_running;
    of(source)->n_free = n_free;
    claim_jobs(of(source));
}

static void on_progress(tt_source *source, uint64_t key, tt_blob *value) {
    tt_local_source *s = of(source);
    entry *e = find_key(s, key);
    if (e) s->queue->progress(s->queue, e->id, e->attempt, value, tt_clock_ms(), NULL);
}

static void on_stream(tt_source *source, uint64_t key, tt_blob *chunk, void (*sent)(void *context),
                      void *context) {
    tt_local_source *s = of(source);
    entry *e = find_key(s, key);
    tt_err err;
    if (e) {
        tt_status status =
            s->queue->stream(s->queue, e->id, e->attempt, chunk, tt_clock_ms(), &err);
        if (status == TT_E_NOMEM) complain(s, e->id, &err);
    }
    sent(context);
}

static void report(tt_local_source *s, const entry *e, const tt_final *final) {
    tt_err err;
    tt_job_outcome outcome = {.state = final->error ? TT_JOB_FAILED : TT_JOB_COMPLETED,
                              .output = final->output,
                              .error = final->error};
    tt_status status = s->queue->finish(s->queue, e->id, e->attempt, &outcome, tt_clock_ms(), &err);
    if (status != TT_OK && status != TT_E_NOT_FOUND) complain(s, e->id, &err);
}

/* Past its deadline, the queue ends it; else it can be run again. */
static void hand_back(tt_local_source *s, const entry *e) {
    if (tt_clock_ms() >= e->deadline_ms) s->queue->sweep(s->queue, tt_clock_ms());
    if (s->queue->release(s->queue, e->id, e->attempt, tt_clock_ms(), NULL) != TT_OK)
        tt_log_write(s->log, TT_LOG_INFO, e->id, "Job stopped.");
}

static void on_finish(tt_source *source, uint64_t key, const tt_final *final, bool was_stopped) {
    tt_local_source *s = of(source);
    entry *e = find_key(s, key);
    if (!e) return;
    if (was_stopped)
        hand_back(s, e);
    else
        report(s, e, final);
    forget(s, e);
}

static void on_drain(tt_source *source) {
    tt_local_source *s = of(source);
    s->is_draining = true;
    if (s->dispatch) tt_dispatch_source_drained(s->dispatch); /* reports are given at once */
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

tt_status tt_local_source_new(tt_loop *loop, const tt_log *log, tt_queue *queue,
                              const char *worker_id, tt_local_source **out, tt_err *err) {
    tt_local_source *s = tt_alloc(sizeof *s);
    if (!s) return tt_fail_nomem(err, "local source", sizeof *s);
    s->source = (tt_source){on_slots, on_progress, on_stream, on_finish, on_drain};
    s->loop = loop;
    s->log = log;
    s->queue = queue;
    snprintf(s->worker_id, sizeof s->worker_id, "%s", worker_id);
    pthread_mutex_init(&s->shared.lock, NULL);
    tt_status status = queue->listen(queue, on_event, s, err);
    if (status == TT_OK)
        *out = s;
    else
        tt_local_source_free(s);
    return status;
}

void tt_local_source_free(tt_local_source *s) {
    if (!s) return;
    tt_loop_timer_cancel(s->loop, s->retry_timer);
    while (s->entries) forget(s, s->entries);
    while (s->shared.stops) {
        stop_note *next = s->shared.stops->next;
        tt_free(s->shared.stops);
        s->shared.stops = next;
    }
    pthread_mutex_destroy(&s->shared.lock);
    tt_free(s);
}

tt_source *tt_local_source_source(tt_local_source *s) {
    return &s->source;
}

void tt_local_source_start(tt_local_source *s, tt_dispatch *dispatch) {
    s->dispatch = dispatch;
    s->n_free = tt_dispatch_free_slots(dispatch);
    claim_jobs(s);
}
