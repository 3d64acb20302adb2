/* A fetch that several callers may wait for. Who comes first starts its thread; who comes later for the same thing waits with
 * him, each on his own thread with his own deadline and his own progress. When the last one leaves before the end, the thread
 * is told so by its next look, and gives up; the part stays for the next time. */
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/store_parts.h"

enum {
    TELL_MS = 250,
    /* Another process is fetching it, and lives: after so much of the time, fetch as well. Bandwidth is cheaper than a
     * deadline that is missed because somebody else's connection is slow. */
    PATIENCE_PART = 3,
};

/* ---- the thread's side ------------------------------------------------------------------------------------------- */

void tt__flight_phase(tt__flight *f, tt_store_phase phase) {
    int64_t now = tt_clock_ms();
    pthread_mutex_lock(&f->s->shared.mutex);
    f->ms[f->phase] += (double)(now - f->phase_since_ms);
    f->phase = phase;
    pthread_cond_broadcast(&f->s->shared.changed);
    pthread_mutex_unlock(&f->s->shared.mutex);
    f->phase_since_ms = now;
}

void tt__flight_name(tt__flight *f, const char *name) {
    pthread_mutex_lock(&f->s->shared.mutex);
    snprintf(f->name, sizeof f->name, "%s", name);
    pthread_mutex_unlock(&f->s->shared.mutex);
}

void tt__flight_download(tt__flight *f, const tt_download_progress *p) {
    pthread_mutex_lock(&f->s->shared.mutex);
    f->download = *p;
    pthread_cond_broadcast(&f->s->shared.changed);
    pthread_mutex_unlock(&f->s->shared.mutex);
}

static bool is_stopped(const tt_store *s) {
    const atomic_bool *stop = s->options.services.stop;
    return stop && atomic_load(stop);
}

bool tt__flight_is_unwanted(tt__flight *f) {
    pthread_mutex_lock(&f->s->shared.mutex);
    bool is_unwanted = f->n_waiters == 0;
    pthread_mutex_unlock(&f->s->shared.mutex);
    return is_unwanted || is_stopped(f->s);
}

bool tt__flight_is_patient(tt__flight *f) {
    pthread_mutex_lock(&f->s->shared.mutex);
    bool is_patient = tt_clock_ms() < f->patience_end_ms;
    pthread_mutex_unlock(&f->s->shared.mutex);
    return is_patient;
}

tt_status tt__flight_cancelled(tt__flight *f) {
    return tt_fetch_fail(&f->error, TT_FETCH_CANCELLED, "%.300s: cancelled", f->reference.identity);
}

static void count_unlocked(tt__flight *f) {
    tt_store_counts *c = &f->s->shared.counts;
    c->bytes += f->fetched_bytes;
    c->seconds += f->ms[TT_PHASE_DOWNLOAD] / 1000;
    if (f->is_fetched) c->fetched++;
    if (f->status != TT_OK && f->error.class_ == TT_FETCH_AUTH) {
        if (f->reference.type == TT_REF_CIVITAI && c->civitai_key != TT_KEY_ABSENT)
            c->civitai_key = TT_KEY_REFUSED;
        if (f->reference.type == TT_REF_HF && c->hf_token != TT_KEY_ABSENT)
            c->hf_token = TT_KEY_REFUSED;
    }
}

static void *run(void *flight) {
    tt__flight *f = flight;
    tt__work(f);
    tt__flight_phase(f, TT_PHASE_COMMIT); /* closes the account of the last one */
    pthread_mutex_lock(&f->s->shared.mutex);
    count_unlocked(f);
    f->is_done = true;
    pthread_cond_broadcast(&f->s->shared.changed);
    pthread_mutex_unlock(&f->s->shared.mutex);
    return NULL;
}

/* ---- joining and leaving ----------------------------------------------------------------------------------------- */

static tt__flight *find_unlocked(const tt_store *s, const tt_reference *r, tt_model_kind kind) {
    for (tt__flight *f = s->shared.flights; f; f = f->next)
        if (f->kind == kind && strcmp(f->reference.identity, r->identity) == 0) return f;
    return NULL;
}

static tt__flight *start_unlocked(tt_store *s, const tt_reference *r, tt_model_kind kind) {
    tt__flight *f = tt_alloc(sizeof *f);
    if (!f) return NULL;
    f->s = s;
    f->reference = *r;
    f->kind = kind;
    f->phase = TT_PHASE_WAIT;
    f->phase_since_ms = tt_clock_ms();
    if (pthread_create(&f->thread, NULL, run, f) != 0) {
        tt_free(f);
        return NULL;
    }
    f->next = s->shared.flights;
    s->shared.flights = f;
    return f;
}

static void join_unlocked(tt__flight *f, int64_t deadline_ms) {
    int64_t end = tt_clock_ms() + deadline_ms / PATIENCE_PART;
    f->n_waiters++;
    if (f->patience_end_ms < end) f->patience_end_ms = end;
}

static void unlink_unlocked(tt__flight **list, const tt__flight *f) {
    while (*list != f) list = &(*list)->next;
    *list = f->next;
}

/* Nobody may join any more; whoever comes now starts afresh. */
static void leave_unlocked(tt_store *s, tt__flight *f) {
    if (--f->n_waiters > 0) return;
    unlink_unlocked(&s->shared.flights, f);
    f->next = s->shared.left;
    s->shared.left = f;
}

static tt__flight *take_left_unlocked(tt_store *s, bool must_wait) {
    for (tt__flight **at = &s->shared.left; *at; at = &(*at)->next)
        if (must_wait || (*at)->is_done) {
            tt__flight *f = *at;
            *at = f->next;
            return f;
        }
    return NULL;
}

void tt__flights_reap(tt_store *s, bool must_wait) {
    for (;;) {
        pthread_mutex_lock(&s->shared.mutex);
        tt__flight *f = take_left_unlocked(s, must_wait);
        pthread_mutex_unlock(&s->shared.mutex);
        if (!f) return;
        pthread_join(f->thread, NULL);
        tt__beats_unlease(&s->beats, f->lease);
        tt_free(f);
    }
}

/* ---- the callers' side ------------------------------------------------------------------------------------------- */

typedef struct waiter {
    tt_store *s;
    tt__flight *f;
    const tt_store_fetch_options *options;
    int64_t end_ms;
} waiter;

static void wait_unlocked(waiter *w) {
    int64_t until_ms = tt_clock_ms() + TELL_MS;
    if (until_ms > w->end_ms) until_ms = w->end_ms;
    struct timespec until = tt_clock_moment(until_ms);
    while (!w->f->is_done && tt_clock_ms() < until_ms)
        if (pthread_cond_timedwait(&w->s->shared.changed, &w->s->shared.mutex, &until) != 0) break;
}

/* Called and returns with the mutex held; the callback runs without it. */
static bool tell(waiter *w) {
    char name[TT_MODEL_NAME_BYTES];
    if (!w->options->progress) return true;
    tt_store_progress p = {.phase = w->f->phase, .name = name, .download = w->f->download};
    memcpy(name, w->f->name, sizeof name);
    pthread_mutex_unlock(&w->s->shared.mutex);
    bool goes_on = w->options->progress(w->options->progress_context, &p);
    pthread_mutex_lock(&w->s->shared.mutex);
    return goes_on;
}

static tt_status fail_deadline(const waiter *w, tt_fetch_error *error) {
    return tt_fetch_fail(error, TT_FETCH_DEADLINE, "%.300s: not here before its deadline (%s)",
                         w->f->reference.identity, tt_store_phase_name(w->f->phase));
}

static tt_status wait_for(waiter *w, tt_fetch_error *error) {
    while (!w->f->is_done) {
        wait_unlocked(w);
        if (w->f->is_done) break;
        if (!tell(w) || is_stopped(w->s))
            return tt_fetch_fail(error, TT_FETCH_CANCELLED, "%.300s: cancelled",
                                 w->f->reference.identity);
        if (tt_clock_ms() >= w->end_ms) return fail_deadline(w, error);
    }
    if (w->f->status != TT_OK) *error = w->f->error;
    return w->f->status;
}

static void copy_result(const tt__flight *f, tt_store_model *out) {
    out->entry = f->entry;
    out->was_here = f->was_here;
    out->fetched_bytes = f->fetched_bytes;
    for (int i = 0; i < TT_PHASES; i++) out->ms[i] += f->ms[i];
}

tt_status tt__flight_take(tt_store *s, const tt_reference *r, const tt_store_fetch_options *options,
                          int64_t deadline_ms, tt_store_model *out, tt_fetch_error *error) {
    waiter w = {.s = s, .options = options, .end_ms = tt_clock_ms() + deadline_ms};
    tt__flights_reap(s, false);
    pthread_mutex_lock(&s->shared.mutex);
    w.f = find_unlocked(s, r, options->kind);
    if (w.f) s->shared.counts.shared++;
    if (!w.f) w.f = start_unlocked(s, r, options->kind);
    if (!w.f) {
        pthread_mutex_unlock(&s->shared.mutex);
        return tt_fetch_fail(error, TT_FETCH_INTERNAL, "%.300s: cannot start a thread for it",
                             r->identity);
    }
    join_unlocked(w.f, deadline_ms);
    tt_status status = wait_for(&w, error);
    pthread_mutex_unlock(&s->shared.mutex);
    if (status == TT_OK) copy_result(w.f, out);
    if (status == TT_OK && !out->entry.is_read_only) out->lease = tt__lease(s, out->entry.digest);
    pthread_mutex_lock(&s->shared.mutex);
    leave_unlocked(s, w.f);
    pthread_mutex_unlock(&s->shared.mutex);
    return status;
}
