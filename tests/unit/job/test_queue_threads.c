/* Four threads do everything to the same jobs at once. A listener checks that events of one job are told one at a time and in
 * an order that a job can live; at the end every job that began has ended, exactly once. Meant for ThreadSanitizer as well:
 * what the listener keeps per job is plain memory, ordered by nothing but the queue's promise. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "unit/job/queue_help.h"

enum { N_THREADS = 4, N_OPERATIONS = 40000, N_RECENT = 24, N_EVENTS = TT_QUEUE_STOP + 1 };
enum { MAX_JOBS = N_THREADS * N_OPERATIONS };

typedef struct life { /* of one id, as told */
    atomic_int n_telling;
    bool is_live, is_running, may_stop;
    int attempt;
    int64_t n_begun, n_ended;
} life;

typedef struct world {
    tt_queue *q;
    life lives[MAX_JOBS];        /* ids are never used again, as on the platform */
    atomic_int recent[N_RECENT]; /* what the threads meet at */
    atomic_int n_ids, n_wrong;
    atomic_llong now_ms, n_submitted, n_retried, n_finished, n_purged, n_told[N_EVENTS];
} world;

typedef struct worker {
    world *w;
    uint32_t random;
    pthread_t thread;
} worker;

static int choose(worker *k, int n) {
    k->random = k->random * 1664525u + 1013904223u;
    return (int)((k->random >> 8) % (uint32_t)n);
}

/* ---- the listener ------------------------------------------------------------------------------------------------ */

static bool begin_life(life *l, int attempt, bool is_retry) {
    bool is_right = !l->is_live && (!is_retry || attempt == l->attempt);
    l->is_live = true;
    l->is_running = l->may_stop = false;
    l->attempt = attempt;
    l->n_begun++;
    return is_right;
}

static bool start(life *l, int attempt) {
    bool is_right = l->is_live && !l->is_running && attempt == l->attempt + 1;
    l->is_running = true;
    l->attempt = attempt;
    return is_right;
}

static bool end_life(life *l, int attempt) {
    bool is_right = l->is_live && attempt == l->attempt;
    l->may_stop = l->is_running;
    l->is_live = l->is_running = false;
    l->n_ended++;
    return is_right;
}

static bool requeue(life *l, int attempt) {
    if (!l->is_live) return begin_life(l, attempt, true);
    bool is_right = l->is_running && attempt == l->attempt;
    l->is_running = false;
    return is_right;
}

static bool stop(life *l, int attempt) {
    bool is_right = !l->is_live && l->may_stop && attempt == l->attempt;
    l->may_stop = false;
    return is_right;
}

static bool live_through(life *l, tt_queue_event event, int attempt) {
    switch (event) {
    case TT_QUEUE_SUBMITTED:
        return begin_life(l, attempt, false) && attempt == 0;
    case TT_QUEUE_CLAIMED:
        return start(l, attempt);
    case TT_QUEUE_PROGRESS:
    case TT_QUEUE_STREAMED:
        return l->is_running && attempt == l->attempt;
    case TT_QUEUE_ENDED:
        return end_life(l, attempt);
    case TT_QUEUE_REQUEUED:
        return requeue(l, attempt);
    case TT_QUEUE_STOP:
        return stop(l, attempt);
    }
    return false;
}

static int index_of(const char *id) {
    return (int)strtol(id + 1, NULL, 10);
}

static void hear(void *context, tt_queue_event event, const char *id, const char *worker_id,
                 int attempt) {
    world *w = context;
    life *l = &w->lives[index_of(id)];
    (void)worker_id;
    if (atomic_fetch_add(&l->n_telling, 1) != 0) atomic_fetch_add(&w->n_wrong, 1);
    if (!live_through(l, event, attempt)) atomic_fetch_add(&w->n_wrong, 1);
    atomic_fetch_add(&w->n_told[event], 1);
    atomic_fetch_sub(&l->n_telling, 1);
}

/* A second listener that acts: now and then it cancels the job it is told of. */
static void meddle(void *context, tt_queue_event event, const char *id, const char *worker_id,
                   int attempt) {
    world *w = context;
    (void)worker_id;
    if (event == TT_QUEUE_CLAIMED && attempt % 7 == 3)
        w->q->cancel(w->q, id, atomic_load(&w->now_ms), NULL);
}

/* ---- the threads ------------------------------------------------------------------------------------------------- */

static void claim_and_work(worker *k, int64_t now_ms) {
    tt_queue *q = k->w->q;
    tt_job_claim claims[3];
    int n;
    q->claim(q, "w", 1 + choose(k, 3), now_ms, claims, &n, NULL);
    for (int i = 0; i < n; i++) {
        const tt_job_claim *c = &claims[i];
        tt_job_outcome outcome = {.state = choose(k, 2) ? TT_JOB_COMPLETED : TT_JOB_FAILED,
                                  .output = c->envelope};
        if (choose(k, 2)) q->progress(q, c->id, c->attempt, c->envelope, now_ms, NULL);
        if (choose(k, 2)) q->stream(q, c->id, c->attempt, c->envelope, now_ms, NULL);
        switch (choose(k, 6)) {
        case 0:
            q->release(q, c->id, c->attempt, now_ms, NULL);
            break;
        case 1:
            break; /* lost: its deadline ends it */
        default:
            if (q->finish(q, c->id, c->attempt, &outcome, now_ms, NULL) == TT_OK)
                atomic_fetch_add(&k->w->n_finished, 1);
            if (q->finish(q, c->id, c->attempt, &outcome, now_ms, NULL) == TT_OK)
                atomic_fetch_add(&k->w->n_wrong, 1); /* once is enough */
        }
        tt_blob_release(claims[i].envelope);
    }
}

static void take_and_look(worker *k, const char *id, int64_t now_ms) {
    tt_queue *q = k->w->q;
    tt_job_view v;
    tt_blob *chunks[4];
    tt_queue_counts counts;
    int n;
    q->take_stream(q, id, 4, chunks, &n, NULL);
    for (int i = 0; i < n; i++) tt_blob_release(chunks[i]);
    if (q->get(q, id, now_ms, &v, NULL) == TT_OK && strcmp(v.id, id) != 0)
        atomic_fetch_add(&k->w->n_wrong, 1);
    tt_job_view_release(&v);
    q->counts(q, now_ms, &counts);
    if (counts.in_queue < 0 || counts.in_progress < 0 || counts.stored_bytes < 0)
        atomic_fetch_add(&k->w->n_wrong, 1);
}

static void submit_some(worker *k, int64_t now_ms) {
    char id[TT_JOB_ID_BYTES];
    int i = atomic_fetch_add(&k->w->n_ids, 1);
    snprintf(id, sizeof id, "j%d", i);
    if (submit_with(k->w->q, id, 1 + choose(k, 200), 1 + choose(k, 400), now_ms, NULL) != TT_OK)
        return;
    atomic_fetch_add(&k->w->n_submitted, 1);
    atomic_store(&k->w->recent[choose(k, N_RECENT)], i);
}

static void retry_some(worker *k, const char *id, int64_t now_ms) {
    if (k->w->q->retry(k->w->q, id, now_ms, NULL) == TT_OK) atomic_fetch_add(&k->w->n_retried, 1);
}

static void purge(worker *k, int64_t now_ms) {
    int64_t n;
    k->w->q->purge(k->w->q, now_ms, &n, NULL);
    atomic_fetch_add(&k->w->n_purged, n);
}

static void act(worker *k) {
    tt_queue *q = k->w->q;
    char id[TT_JOB_ID_BYTES];
    int64_t now_ms = atomic_fetch_add(&k->w->now_ms, choose(k, 2));
    snprintf(id, sizeof id, "j%d", atomic_load(&k->w->recent[choose(k, N_RECENT)]));
    int what = choose(k, 64);
    if (what < 20)
        submit_some(k, now_ms);
    else if (what < 40)
        claim_and_work(k, now_ms);
    else if (what < 50)
        take_and_look(k, id, now_ms);
    else if (what < 54)
        q->cancel(q, id, now_ms, NULL);
    else if (what < 58)
        retry_some(k, id, now_ms);
    else if (what < 60)
        q->set_ttl(q, id, 1 + choose(k, 400), now_ms, NULL);
    else if (what < 63)
        q->sweep(q, now_ms);
    else if (choose(k, 8) == 0)
        purge(k, now_ms);
}

static void *run(void *worker_pointer) {
    worker *k = worker_pointer;
    for (int i = 0; i < N_OPERATIONS; i++) act(k);
    return NULL;
}

static void check_end(world *w) {
    tt_queue_counts c;
    int64_t n_begun = 0, n_ended = 0;
    for (int i = 0; i < MAX_JOBS; i++) {
        assert_false(w->lives[i].is_live);
        assert_int_equal(w->lives[i].n_begun, w->lives[i].n_ended);
        n_begun += w->lives[i].n_begun;
        n_ended += w->lives[i].n_ended;
    }
    w->q->counts(w->q, 0, &c);
    assert_int_equal(n_begun, w->n_submitted + w->n_retried);
    assert_int_equal(n_ended, c.completed + c.failed + c.cancelled + c.timed_out + w->n_purged);
    assert_int_equal(w->n_finished, c.completed + c.failed);
    assert_int_equal(c.in_queue + c.in_progress + c.stored_bytes, 0);
    for (int i = 0; i < N_EVENTS; i++) assert_true(w->n_told[i] > 0); /* everything was tried */
}

static void many_threads_keep_every_promise(void **state) {
    (void)state;
    static world w;
    worker workers[N_THREADS];
    w.q = new_queue(&(tt_queue_memory_options){.retention_ms = 100, .max_waiting = N_RECENT / 2});
    assert_int_equal(w.q->listen(w.q, hear, &w, NULL), TT_OK);
    assert_int_equal(w.q->listen(w.q, meddle, &w, NULL), TT_OK);
    for (int i = 0; i < N_THREADS; i++) {
        workers[i] = (worker){.w = &w, .random = (uint32_t)i + 1};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) pthread_join(workers[i].thread, NULL);
    assert_int_equal(w.n_wrong, 0);
    check_inside(w.q);
    w.q->sweep(w.q, w.now_ms + TT_JOB_MAX_POLICY_MS); /* times out what is left */
    w.q->sweep(w.q, w.now_ms + 2 * TT_JOB_MAX_POLICY_MS);
    assert_int_equal(w.n_wrong, 0);
    check_end(&w);
    w.q->free(w.q);
}

/* ---- order across threads, shown step by step -------------------------------------------------------------------- */

typedef struct slow_world {
    tt_queue *q;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    bool is_inside, may_leave; /* the listener, with SUBMITTED */
    char text[128];
} slow_world;

static void hear_slowly(void *context, tt_queue_event event, const char *id, const char *worker_id,
                        int attempt) {
    slow_world *w = context;
    (void)worker_id, (void)attempt;
    pthread_mutex_lock(&w->mutex);
    w->is_inside = true;
    pthread_cond_broadcast(&w->moved);
    while (event == TT_QUEUE_SUBMITTED && id[0] == 'a' && !w->may_leave)
        pthread_cond_wait(&w->moved, &w->mutex);
    size_t size = strlen(w->text);
    snprintf(w->text + size, sizeof w->text - size, "%s%d ", id, (int)event);
    pthread_mutex_unlock(&w->mutex);
}

static void *submit_a(void *context) {
    submit(((slow_world *)context)->q, "a", 0);
    return NULL;
}

static void *cancel_a(void *context) {
    slow_world *w = context;
    assert_int_equal(w->q->cancel(w->q, "a", 0, NULL), TT_OK);
    return NULL;
}

static void a_later_event_waits_for_the_earlier_and_other_jobs_do_not(void **state) {
    (void)state;
    slow_world w = {.q = new_queue(NULL)};
    pthread_t first, second;
    pthread_mutex_init(&w.mutex, NULL);
    pthread_cond_init(&w.moved, NULL);
    assert_int_equal(w.q->listen(w.q, hear_slowly, &w, NULL), TT_OK);
    assert_int_equal(pthread_create(&first, NULL, submit_a, &w), 0);
    pthread_mutex_lock(&w.mutex);
    while (!w.is_inside) pthread_cond_wait(&w.moved, &w.mutex);
    pthread_mutex_unlock(&w.mutex);
    assert_int_equal(pthread_create(&second, NULL, cancel_a, &w), 0);
    while (state_of(w.q, "a", 0) != TT_JOB_CANCELLED) sched_yield(); /* changed, not yet told */
    submit(w.q, "b", 0);                                             /* told at once */
    assert_int_equal(w.q->cancel(w.q, "b", 0, NULL), TT_OK);
    pthread_mutex_lock(&w.mutex);
    assert_string_equal(w.text, "b0 b4 ");
    w.may_leave = true;
    pthread_cond_broadcast(&w.moved);
    pthread_mutex_unlock(&w.mutex);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    assert_string_equal(w.text, "b0 b4 a0 a4 ");
    w.q->free(w.q);
    pthread_cond_destroy(&w.moved);
    pthread_mutex_destroy(&w.mutex);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_keep_every_promise),
        cmocka_unit_test(a_later_event_waits_for_the_earlier_and_other_jobs_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
