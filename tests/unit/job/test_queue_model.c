/* The queue in memory against a reference so simple that it is right by reading: an array of structs, searched from end to end.
 * 100,000 random operations with a fixed seed; after each, status, counts, events and one job's whole view must be equal.
 * Then the same kind of work with each allocation failing in turn. */
#include "unit/job/queue_help.h"

enum {
    N_IDS = 40,
    N_OPERATIONS = 100000,
    MAX_EVENTS = 4096,
    RETENTION_MS = 700,
    MAX_WAITING = 12,
    MAX_CLAIMS = 3,
    MAX_CHUNKS = 16, /* of the model; operations are rare enough */
};
static const int64_t MAX_BYTES = 24 * (int64_t)sizeof(tt__memory_job);

/* ---- the model --------------------------------------------------------------------------------------------------- */

typedef struct model_job {
    bool exists;
    tt_job_state state;
    int attempt;
    bool is_started;
    long arrival, ended; /* orders */
    int64_t submitted_ms, queued_ms, started_ms, finished_ms, execution_ms, ttl_ms, bytes;
    char progress[32], output[32], error[96], chunks[MAX_CHUNKS][32]; /* "": none */
    int n_chunks;
    int64_t n_progress;
} model_job;

typedef struct model {
    model_job jobs[N_IDS];
    long n_arrivals, n_ended;
    tt_queue_counts counts;
    char events[MAX_EVENTS]; /* of the present operation */
} model;

static void id_of(int i, char out[TT_JOB_ID_BYTES]) {
    snprintf(out, TT_JOB_ID_BYTES, "job-%d", i);
}

static void add_event(char *events, tt_queue_event event, const char *id, int attempt) {
    size_t size = strlen(events);
    assert_true(size < MAX_EVENTS - 64);
    snprintf(events + size, MAX_EVENTS - size, "%d %s %d\n", (int)event, id, attempt);
}

static void tell(model *m, int i, tt_queue_event event) {
    char id[TT_JOB_ID_BYTES];
    id_of(i, id);
    add_event(m->events, event, id, m->jobs[i].attempt);
}

static int64_t cost(const char *text) {
    return text[0] ? (int64_t)(strlen(text) + sizeof(tt_blob)) : 0;
}

static int64_t bytes_of(const model_job *j) {
    int64_t bytes = (int64_t)sizeof(tt__memory_job) + cost("{\"input\":{}}") + cost(j->progress) +
                    cost(j->output) + (j->state == TT_JOB_TIMED_OUT ? 0 : cost(j->error));
    for (int i = 0; i < j->n_chunks; i++) bytes += cost(j->chunks[i]);
    return bytes;
}

static int64_t sum(const model *m, bool with_ended) {
    int64_t bytes = 0;
    for (int i = 0; i < N_IDS; i++)
        if (m->jobs[i].exists && (with_ended || !tt_job_state_is_final(m->jobs[i].state)))
            bytes += bytes_of(&m->jobs[i]);
    return bytes;
}

static int count(const model *m, tt_job_state state) {
    int n = 0;
    for (int i = 0; i < N_IDS; i++) n += m->jobs[i].exists && m->jobs[i].state == state;
    return n;
}

static void model_forget_for(model *m, int64_t bytes) {
    while (sum(m, true) + bytes > MAX_BYTES) {
        model_job *oldest = NULL;
        for (int i = 0; i < N_IDS; i++) {
            model_job *j = &m->jobs[i];
            if (j->exists && tt_job_state_is_final(j->state) &&
                (!oldest || j->ended < oldest->ended))
                oldest = j;
        }
        if (!oldest) return;
        oldest->exists = false;
    }
}

static bool model_room(model *m, int64_t bytes) {
    if (sum(m, false) + bytes > MAX_BYTES) return false;
    model_forget_for(m, bytes);
    return true;
}

static void model_end(model *m, int i, tt_job_state state, int64_t now_ms) {
    model_job *j = &m->jobs[i];
    j->state = state;
    j->progress[0] = '\0';
    j->finished_ms = now_ms;
    j->ended = m->n_ended++;
    m->counts.completed += state == TT_JOB_COMPLETED;
    m->counts.failed += state == TT_JOB_FAILED;
    m->counts.cancelled += state == TT_JOB_CANCELLED;
    m->counts.timed_out += state == TT_JOB_TIMED_OUT;
    tell(m, i, TT_QUEUE_ENDED);
}

static void model_stop(model *m, int i, tt_job_state state, int64_t now_ms) {
    bool was_running = m->jobs[i].state == TT_JOB_IN_PROGRESS;
    model_end(m, i, state, now_ms);
    if (was_running) tell(m, i, TT_QUEUE_STOP);
}

static bool is_running_too_long(const model_job *j, int64_t now_ms) {
    int64_t end_ms = j->started_ms + j->execution_ms;
    return j->state == TT_JOB_IN_PROGRESS && now_ms >= end_ms && end_ms < j->queued_ms + j->ttl_ms;
}

static void model_time_out(model *m, int i, int64_t now_ms) {
    model_job *j = &m->jobs[i];
    if (is_running_too_long(j, now_ms))
        snprintf(j->error, sizeof j->error,
                 "\"the job ran longer than its execution timeout of %d ms\"",
                 (int)j->execution_ms);
    else
        snprintf(j->error, sizeof j->error, "\"the job was %s longer than its ttl of %d ms\"",
                 j->state == TT_JOB_IN_PROGRESS ? "waiting and running" : "waiting",
                 (int)j->ttl_ms);
    model_stop(m, i, TT_JOB_TIMED_OUT, now_ms);
}

static int64_t model_due(const model_job *j) {
    if (tt_job_state_is_final(j->state)) return j->finished_ms + RETENTION_MS;
    int64_t ttl_end = j->queued_ms + j->ttl_ms, run_end = j->started_ms + j->execution_ms;
    return j->state == TT_JOB_IN_PROGRESS && run_end < ttl_end ? run_end : ttl_end;
}

/* Time-outs and forgetting; false: there is no such job. */
static bool model_settle(model *m, int i, int64_t now_ms) {
    model_job *j = &m->jobs[i];
    if (!j->exists) return false;
    if (model_due(j) > now_ms) return true;
    if (tt_job_state_is_final(j->state))
        j->exists = false;
    else
        model_time_out(m, i, now_ms);
    return j->exists;
}

/* What is due first, by arrival where that is equal; -1: no job. */
static int model_first_due(const model *m) {
    int first = -1;
    for (int i = 0; i < N_IDS; i++) {
        const model_job *a = &m->jobs[i], *b = first < 0 ? NULL : &m->jobs[first];
        if (a->exists && (!b || model_due(a) < model_due(b) ||
                          (model_due(a) == model_due(b) && a->arrival < b->arrival)))
            first = i;
    }
    return first;
}

static int model_first_waiting(const model *m) {
    int first = -1;
    for (int i = 0; i < N_IDS; i++)
        if (m->jobs[i].exists && m->jobs[i].state == TT_JOB_IN_QUEUE &&
            (first < 0 || m->jobs[i].arrival < m->jobs[first].arrival))
            first = i;
    return first;
}

static bool model_reports(model *m, int i, int attempt, int64_t now_ms) {
    return model_settle(m, i, now_ms) && m->jobs[i].state == TT_JOB_IN_PROGRESS &&
           m->jobs[i].attempt == attempt;
}

/* ---- both, one operation ----------------------------------------------------------------------------------------- */

typedef struct pair {
    tt_queue *q;
    model m;
    char events[MAX_EVENTS]; /* of the queue */
    uint32_t random;
    int64_t now_ms;
    char id[TT_JOB_ID_BYTES]; /* of job i */
    int i, attempt;           /* usually the right one */
    int n_done;
} pair;

static int choose(pair *p, int n) {
    p->random = p->random * 1664525u + 1013904223u;
    return (int)((p->random >> 8) % (uint32_t)n);
}

static void listen(void *context, tt_queue_event event, const char *id, const char *worker_id,
                   int attempt) {
    (void)worker_id;
    add_event(((pair *)context)->events, event, id, attempt);
}

static void some_text(pair *p, char out[32]) {
    snprintf(out, 32, "%d", 1 << choose(p, 30));
}

static void do_submit(pair *p) {
    model_job *j = &p->m.jobs[p->i];
    int64_t execution_ms = 1 + choose(p, 600), ttl_ms = 1 + choose(p, 1500);
    model_job new = {.exists = true,
                     .submitted_ms = p->now_ms,
                     .queued_ms = p->now_ms,
                     .execution_ms = execution_ms,
                     .ttl_ms = ttl_ms};
    tt_status expected = TT_OK;
    if (model_settle(&p->m, p->i, p->now_ms))
        expected = TT_E_INVALID;
    else if (count(&p->m, TT_JOB_IN_QUEUE) >= MAX_WAITING || !model_room(&p->m, bytes_of(&new)))
        expected = TT_E_NOMEM;
    assert_int_equal(submit_with(p->q, p->id, execution_ms, ttl_ms, p->now_ms, NULL), expected);
    if (expected != TT_OK) return;
    *j = new;
    j->arrival = p->m.n_arrivals++;
    tell(&p->m, p->i, TT_QUEUE_SUBMITTED);
}

static void do_claim(pair *p) {
    tt_job_claim claims[MAX_CLAIMS];
    int n, max = choose(p, MAX_CLAIMS + 1), n_expected = 0;
    assert_int_equal(p->q->claim(p->q, "w", max, p->now_ms, claims, &n, NULL), TT_OK);
    for (int i; n_expected < max && (i = model_first_waiting(&p->m)) >= 0;) {
        model_job *j = &p->m.jobs[i];
        model_settle(&p->m, i, p->now_ms);
        if (j->state != TT_JOB_IN_QUEUE) continue;
        j->state = TT_JOB_IN_PROGRESS;
        j->is_started = true;
        j->started_ms = p->now_ms;
        if (j->attempt++ > 0) p->m.counts.retried++;
        tell(&p->m, i, TT_QUEUE_CLAIMED);
        char id[TT_JOB_ID_BYTES];
        id_of(i, id);
        assert_true(n_expected < n);
        assert_string_equal(claims[n_expected].id, id);
        assert_int_equal(claims[n_expected].attempt, j->attempt);
        tt_blob_release(claims[n_expected++].envelope);
    }
    assert_int_equal(n, n_expected);
}

static void do_progress(pair *p) {
    char text[32];
    tt_status expected = TT_E_NOT_FOUND;
    some_text(p, text);
    if (model_reports(&p->m, p->i, p->attempt, p->now_ms))
        expected = model_room(&p->m, cost(text)) ? TT_OK : TT_E_NOMEM;
    assert_int_equal(report(p->q, p->id, p->attempt, text, false, p->now_ms), expected);
    if (expected != TT_OK) return;
    snprintf(p->m.jobs[p->i].progress, 32, "%s", text);
    p->m.jobs[p->i].n_progress++;
    tell(&p->m, p->i, TT_QUEUE_PROGRESS);
}

static void do_stream(pair *p) {
    char text[32];
    tt_status expected = TT_E_NOT_FOUND;
    model_job *j = &p->m.jobs[p->i];
    if (j->n_chunks == MAX_CHUNKS) return;
    some_text(p, text);
    if (model_reports(&p->m, p->i, p->attempt, p->now_ms))
        expected = model_room(&p->m, cost(text)) ? TT_OK : TT_E_NOMEM;
    assert_int_equal(report(p->q, p->id, p->attempt, text, true, p->now_ms), expected);
    if (expected != TT_OK) return;
    snprintf(j->chunks[j->n_chunks++], 32, "%s", text);
    tell(&p->m, p->i, TT_QUEUE_STREAMED);
}

static void do_take(pair *p) {
    tt_blob *chunks[MAX_CHUNKS];
    model_job *j = &p->m.jobs[p->i];
    int n, max = choose(p, MAX_CHUNKS + 1);
    tt_status status = p->q->take_stream(p->q, p->id, max, chunks, &n, NULL);
    assert_int_equal(status, j->exists ? TT_OK : TT_E_NOT_FOUND);
    if (!j->exists) return;
    assert_int_equal(n, j->n_chunks < max ? j->n_chunks : max);
    for (int i = 0; i < n; i++) {
        assert_string_equal(chunks[i]->data, j->chunks[i]);
        tt_blob_release(chunks[i]);
    }
    j->n_chunks -= n;
    memmove(j->chunks[0], j->chunks[n], (size_t)j->n_chunks * sizeof j->chunks[0]);
}

static void do_finish(pair *p) {
    static const tt_job_state STATES[] = {TT_JOB_COMPLETED, TT_JOB_FAILED, TT_JOB_FAILED,
                                          TT_JOB_CANCELLED};
    tt_job_state state = STATES[choose(p, 4)];
    char text[32] = "";
    if (choose(p, 2)) some_text(p, text);
    bool is_expected = model_reports(&p->m, p->i, p->attempt, p->now_ms);
    assert_int_equal(finish(p->q, p->id, p->attempt, state, text[0] ? text : NULL, p->now_ms),
                     is_expected ? TT_OK : TT_E_NOT_FOUND);
    if (!is_expected) return;
    model_forget_for(&p->m, cost(text));
    snprintf(p->m.jobs[p->i].output, 32, "%s", text);
    model_end(&p->m, p->i, state, p->now_ms);
}

static void do_release(pair *p) {
    model_job *j = &p->m.jobs[p->i];
    bool is_expected = model_reports(&p->m, p->i, p->attempt, p->now_ms);
    assert_int_equal(p->q->release(p->q, p->id, p->attempt, p->now_ms, NULL),
                     is_expected ? TT_OK : TT_E_NOT_FOUND);
    if (!is_expected) return;
    j->state = TT_JOB_IN_QUEUE;
    j->is_started = false;
    j->progress[0] = '\0';
    j->n_chunks = 0;
    tell(&p->m, p->i, TT_QUEUE_REQUEUED);
}

static void do_cancel(pair *p) {
    bool exists = model_settle(&p->m, p->i, p->now_ms);
    assert_int_equal(p->q->cancel(p->q, p->id, p->now_ms, NULL), exists ? TT_OK : TT_E_NOT_FOUND);
    if (exists && !tt_job_state_is_final(p->m.jobs[p->i].state))
        model_stop(&p->m, p->i, TT_JOB_CANCELLED, p->now_ms);
}

static void do_retry(pair *p) {
    model_job *j = &p->m.jobs[p->i];
    tt_status expected = TT_OK;
    if (!model_settle(&p->m, p->i, p->now_ms))
        expected = TT_E_NOT_FOUND;
    else if (j->state != TT_JOB_FAILED && j->state != TT_JOB_TIMED_OUT)
        expected = TT_E_INVALID;
    else if (count(&p->m, TT_JOB_IN_QUEUE) >= MAX_WAITING)
        expected = TT_E_NOMEM;
    assert_int_equal(p->q->retry(p->q, p->id, p->now_ms, NULL), expected);
    if (expected != TT_OK) return;
    j->state = TT_JOB_IN_QUEUE;
    j->is_started = false;
    j->output[0] = j->error[0] = '\0';
    j->n_chunks = 0;
    j->queued_ms = p->now_ms;
    j->arrival = p->m.n_arrivals++;
    tell(&p->m, p->i, TT_QUEUE_REQUEUED);
}

static void do_set_ttl(pair *p) {
    int64_t ttl_ms = 1 + choose(p, 1500);
    bool exists = model_settle(&p->m, p->i, p->now_ms);
    assert_int_equal(p->q->set_ttl(p->q, p->id, ttl_ms, p->now_ms, NULL),
                     exists ? TT_OK : TT_E_NOT_FOUND);
    if (!exists) return;
    p->m.jobs[p->i].ttl_ms = ttl_ms;
    model_settle(&p->m, p->i, p->now_ms);
}

static void do_purge(pair *p) {
    int64_t n;
    if (choose(p, 20) != 0) return; /* seldom, or nothing else ever happens */
    assert_int_equal(p->q->purge(p->q, p->now_ms, &n, NULL), TT_OK);
    assert_int_equal(n, count(&p->m, TT_JOB_IN_QUEUE));
    for (int i; (i = model_first_waiting(&p->m)) >= 0;) {
        tell(&p->m, i, TT_QUEUE_ENDED);
        p->m.jobs[i].exists = false;
    }
}

static void do_sweep(pair *p) {
    int64_t pause_ms = p->q->sweep(p->q, p->now_ms), expected_ms = 60000;
    for (int i; (i = model_first_due(&p->m)) >= 0; model_settle(&p->m, i, p->now_ms)) {
        expected_ms = model_due(&p->m.jobs[i]) - p->now_ms;
        if (expected_ms > 0) break;
        expected_ms = 60000;
    }
    assert_int_equal(pause_ms, expected_ms);
}

static void do_wait(pair *p) {
    p->now_ms += choose(p, 60);
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static void compare_events(pair *p) {
    assert_string_equal(p->events, p->m.events);
    p->events[0] = p->m.events[0] = '\0';
}

static void assert_blob(const tt_blob *found, const char *expected) {
    if (!expected[0])
        assert_null(found);
    else
        assert_string_equal(found->data, expected);
}

static void compare_times(const model_job *j, const tt_job_view *v, int64_t now_ms) {
    int64_t end_ms = tt_job_state_is_final(j->state) ? j->finished_ms : now_ms;
    int64_t start_ms = j->is_started ? j->started_ms : end_ms;
    assert_int_equal(v->delay_ms, start_ms - j->queued_ms);
    assert_int_equal(v->execution_ms, end_ms - start_ms);
    assert_int_equal(v->submitted_ms, j->submitted_ms);
}

static void compare_job(pair *p, int i) {
    char id[TT_JOB_ID_BYTES];
    tt_job_view v;
    const model_job *j = &p->m.jobs[i];
    id_of(i, id);
    tt_status status = p->q->get(p->q, id, p->now_ms, &v, NULL);
    if (!j->exists ||
        (tt_job_state_is_final(j->state) && p->now_ms >= j->finished_ms + RETENTION_MS)) {
        assert_int_equal(status, TT_E_NOT_FOUND);
        return;
    }
    assert_int_equal(status, TT_OK);
    assert_int_equal(v.state, j->state);
    assert_int_equal(v.attempt, j->attempt);
    assert_int_equal(v.n_stream_waiting, j->n_chunks);
    assert_int_equal(v.progress_number, j->n_progress);
    assert_blob(v.progress, j->progress);
    assert_blob(v.output, j->output);
    assert_blob(v.error, j->error);
    compare_times(j, &v, p->now_ms);
    tt_job_view_release(&v);
}

static void compare_counts(pair *p) {
    tt_queue_counts found, expected = p->m.counts;
    int oldest = model_first_waiting(&p->m);
    p->q->counts(p->q, p->now_ms, &found);
    expected.in_queue = count(&p->m, TT_JOB_IN_QUEUE);
    expected.in_progress = count(&p->m, TT_JOB_IN_PROGRESS);
    expected.stored_bytes = sum(&p->m, true);
    expected.oldest_waiting_ms = oldest < 0 ? 0 : p->now_ms - p->m.jobs[oldest].queued_ms;
    assert_memory_equal(&found, &expected, sizeof found);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void one_random_operation(pair *p) {
    static void (*const OPERATIONS[])(pair *) = {
        do_submit,  do_submit,   do_submit, do_submit,  do_claim, do_claim,  do_claim,  do_wait,
        do_wait,    do_progress, do_stream, do_stream,  do_take,  do_finish, do_finish, do_finish,
        do_release, do_cancel,   do_retry,  do_set_ttl, do_purge, do_sweep,
    };
    enum { N = sizeof OPERATIONS / sizeof OPERATIONS[0] };
    p->i = choose(p, N_IDS);
    id_of(p->i, p->id);
    p->attempt = p->m.jobs[p->i].attempt - (choose(p, 16) == 0);
    OPERATIONS[choose(p, N)](p);
}

static void begin(pair *p) {
    memset(p, 0, sizeof *p);
    p->random = 20240607;
    p->now_ms = 1000;
    p->q = new_queue(&(tt_queue_memory_options){
        .max_waiting = MAX_WAITING, .max_stored_bytes = MAX_BYTES, .retention_ms = RETENTION_MS});
    assert_int_equal(p->q->listen(p->q, listen, p, NULL), TT_OK);
}

static void random_operations_agree_with_the_model(void **state) {
    (void)state;
    static pair p;
    begin(&p);
    for (int n = 0; n < N_OPERATIONS; n++) {
        one_random_operation(&p);
        compare_events(&p);
        compare_counts(&p);
        compare_job(&p, p.i);
        if (n % 500 == 0) {
            check_inside(p.q);
            for (int i = 0; i < N_IDS; i++) compare_job(&p, i);
        }
    }
    const tt_queue_counts *c = &p.m.counts; /* the walk went everywhere */
    assert_true(c->completed > 500 && c->failed > 500 && c->cancelled > 500 && c->timed_out > 500 &&
                c->retried > 500);
    p.q->free(p.q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
