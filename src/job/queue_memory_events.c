/* The events of the queue in memory: told without the lock, on the thread that caused them, and in order per job.
 *
 * Events enter one line while the mutex is held, so the line has the order of the changes. After its change a thread unlocks and
 * tells its own events, oldest first; before each it waits until no older event of the same job is in the line (they are
 * compared by the hash of the id: an equal hash of another job only waits for nothing). The oldest event of all never waits, and a
 * thread waits only between two tellings, so there is no circle: everything is told.
 *
 * A listener that calls the queue adds events behind the one it is being told; its thread finds them in the line when
 * the listener has returned. Nothing is told while a change is half done, and nothing twice.
 *
 * The records are reserved before the change, so that a change is never without its events for lack of memory. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "job/parts.h"

/* Kept for the next changes; a large claim or purge needs more for a moment. */
enum { MAX_SPARE_EVENTS = 256 };
/* A listener that takes longer than this is broken. Rather than hang with it, others then tell out of order. */
enum { MAX_TURN_WAIT_MS = 30 * 1000 };

tt_status tt__queue_events_reserve(tt__memory_queue *q, int n, tt_err *err) {
    tt__queue_event_line *line = &q->shared.events;
    while (q->n_listeners > 0 && line->n_spare < n) {
        tt__queue_event *e = tt_alloc(sizeof *e);
        if (!e) return tt_fail_nomem(err, "event of a job", sizeof *e);
        e->next = line->spare;
        line->spare = e;
        line->n_spare++;
    }
    return TT_OK;
}

void tt__queue_events_add(tt__memory_queue *q, const tt__memory_job *job, tt_queue_event what) {
    tt__queue_event_line *line = &q->shared.events;
    tt__queue_event *e = line->spare;
    if (q->n_listeners == 0) return;
    assert(e); /* reserved */
    line->spare = e->next;
    line->n_spare--;
    *e = (tt__queue_event){.previous = line->last,
                           .hash = job->hash,
                           .thread = pthread_self(),
                           .what = what,
                           .attempt = job->attempt};
    memcpy(e->id, job->id, sizeof e->id);
    memcpy(e->worker_id, job->worker_id, sizeof e->worker_id);
    *(line->last ? &line->last->next : &line->first) = e;
    line->last = e;
}

static void retire(tt__queue_event_line *line, tt__queue_event *e) {
    *(e->previous ? &e->previous->next : &line->first) = e->next;
    *(e->next ? &e->next->previous : &line->last) = e->previous;
    if (line->n_spare >= MAX_SPARE_EVENTS) {
        tt_free(e);
        return;
    }
    e->next = line->spare;
    line->spare = e;
    line->n_spare++;
}

static tt__queue_event *oldest_of(const tt__queue_event_line *line, pthread_t thread) {
    tt__queue_event *e = line->first;
    while (e && !pthread_equal(e->thread, thread)) e = e->next;
    return e;
}

static bool is_its_turn(const tt__queue_event *e) {
    for (const tt__queue_event *older = e->previous; older; older = older->previous)
        if (older->hash == e->hash) return false;
    return true;
}

static void wait_for_turn(tt__memory_queue *q, const tt__queue_event *e) {
    if (is_its_turn(e)) return;
    struct timespec until = tt_clock_moment(tt_clock_ms() + MAX_TURN_WAIT_MS);
    while (!is_its_turn(e))
        if (pthread_cond_timedwait(&q->told, &q->mutex, &until) == ETIMEDOUT) return;
}

void tt__queue_events_tell_unlocking(tt__memory_queue *q) {
    tt__queue_event_line *line = &q->shared.events;
    tt__queue_event *e;
    while ((e = oldest_of(line, pthread_self())) && !e->is_being_told) {
        wait_for_turn(q, e);
        e->is_being_told = true;
        pthread_mutex_unlock(&q->mutex);
        for (int i = 0; i < q->n_listeners; i++)
            q->listeners[i].call(q->listeners[i].context, e->what, e->id, e->worker_id, e->attempt);
        pthread_mutex_lock(&q->mutex);
        retire(line, e);
        pthread_cond_broadcast(&q->told);
    }
    pthread_mutex_unlock(&q->mutex);
}

static void free_all(tt__queue_event *e) {
    for (tt__queue_event *next; e; e = next) {
        next = e->next;
        tt_free(e);
    }
}

void tt__queue_events_release(tt__memory_queue *q) {
    free_all(q->shared.events.first);
    free_all(q->shared.events.spare);
    q->shared.events = (tt__queue_event_line){.first = NULL};
}
