/* Each allocation of each operation of the queue in memory fails in turn: the operation says so and nothing has changed; done
 * again, it works. */
#include "unit/job/queue_help.h"

typedef struct world {
    tt_queue *q;
    tt_blob *text; /* made before memory is gone */
    int n_events;
} world;

static void hear(void *context, tt_queue_event event, const char *id, const char *worker_id,
                 int attempt) {
    (void)event, (void)id, (void)worker_id, (void)attempt;
    ((world *)context)->n_events++;
}

static tt_status submit_job(world *w, const char *id, int64_t now_ms) {
    tt_job_spec spec = {.envelope = w->text, .webhook = "http://x/", .execution_timeout_ms = 1000};
    set_id(spec.id, id);
    return w->q->submit(w->q, &spec, now_ms, NULL);
}

static tt_status submit_a(world *w) {
    return submit_job(w, "a", 0);
}

static tt_status submit_b(world *w) {
    return submit_job(w, "b", 0);
}

static tt_status submit_c(world *w) {
    return submit_job(w, "c", 0);
}

static tt_status claim_one(world *w) {
    tt_job_claim c;
    int n;
    tt_status status = w->q->claim(w->q, "w", 1, 0, &c, &n, NULL);
    assert_int_equal(n, status == TT_OK);
    if (n) tt_blob_release(c.envelope);
    return status;
}

static tt_status progress_a(world *w) {
    return w->q->progress(w->q, "a", 1, w->text, 0, NULL);
}

static tt_status stream_a(world *w) {
    return w->q->stream(w->q, "a", 1, w->text, 0, NULL);
}

static tt_status take_a(world *w) {
    tt_blob *chunks[4];
    int n;
    tt_status status = w->q->take_stream(w->q, "a", 4, chunks, &n, NULL);
    for (int i = 0; i < n; i++) tt_blob_release(chunks[i]);
    return status;
}

static tt_status finish_a(world *w) {
    tt_job_outcome outcome = {.state = TT_JOB_FAILED, .error = w->text};
    return w->q->finish(w->q, "a", 1, &outcome, 0, NULL);
}

static tt_status retry_a(world *w) {
    return w->q->retry(w->q, "a", 0, NULL);
}

static tt_status release_b(world *w) {
    return w->q->release(w->q, "b", 1, 0, NULL);
}

static tt_status cancel_b(world *w) {
    return w->q->cancel(w->q, "b", 0, NULL);
}

static tt_status purge_all(world *w) {
    int64_t n;
    return w->q->purge(w->q, 0, &n, NULL);
}

static tt_status set_ttl_c(world *w) {
    return w->q->set_ttl(w->q, "c", 100, 0, NULL);
}

static tt_status sweep_c(world *w) {
    return w->q->sweep(w->q, 100) == 60000 ? TT_OK : TT_E_NOMEM;
}

static tt_status look_at_c(world *w) {
    tt_job_view v;
    tt_status status = w->q->get(w->q, "c", 100, &v, NULL);
    if (status == TT_OK) assert_non_null(strstr(v.error->data, "ttl of 100 ms"));
    assert_true((status == TT_OK) == (v.envelope != NULL));
    tt_job_view_release(&v);
    return status;
}

static tt_status (*const STEPS[])(world *) = {
    submit_a, submit_b,  claim_one, claim_one, progress_a, progress_a, stream_a,
    take_a,   stream_a,  finish_a,  retry_a,   release_b,  cancel_b,   purge_all,
    submit_c, claim_one, set_ttl_c, sweep_c,   look_at_c,
};
enum { N_STEPS = sizeof STEPS / sizeof STEPS[0] };

static void open_world(world *w) {
    *w = (world){.q = new_queue(&(tt_queue_memory_options){.max_stored_bytes = 1 << 20}),
                 .text = blob("{}")};
    assert_int_equal(w->q->listen(w->q, hear, w, NULL), TT_OK);
}

static void close_world(world *w) {
    w->q->free(w->q);
    tt_blob_release(w->text);
}

/* Everything that can be seen. */
static void describe(world *w, char *text, size_t size) {
    static const char *const IDS[] = {"a", "b", "c"};
    tt_queue_counts c;
    w->q->counts(w->q, 0, &c);
    size_t n = (size_t)snprintf(text, size, "%d %d %d %d %d ", (int)c.in_queue, (int)c.in_progress,
                                (int)c.failed, (int)c.stored_bytes, w->n_events);
    for (int i = 0; i < 3; i++) {
        tt_job_view v;
        if (w->q->get(w->q, IDS[i], 0, &v, NULL) == TT_OK)
            n += (size_t)snprintf(text + n, size - n, "%s %s %d %d %d %d; ", v.id,
                                  tt_job_state_name(v.state), v.attempt, v.error != NULL,
                                  v.n_stream_waiting, (int)v.progress_number);
        tt_job_view_release(&v);
    }
}

/* False when step `last` did not get as far as allocation `n`. */
static bool fail_in_step(int last, int n) {
    world w;
    char before[512], after[512];
    open_world(&w);
    for (int i = 0; i < last; i++) assert_int_equal(STEPS[i](&w), TT_OK);
    describe(&w, before, sizeof before);
    tt__queue_events_release(
        (tt__memory_queue *)w.q); /* none to spare: the step must ask for its own */
    tt_alloc_fail_after(n);
    tt_status status = STEPS[last](&w);
    tt_alloc_fail_after(-1);
    assert_true(status == TT_OK || status == TT_E_NOMEM);
    check_inside(w.q);
    if (status == TT_E_NOMEM) {
        describe(&w, after, sizeof after);
        assert_string_equal(after, before);
        assert_int_equal(STEPS[last](&w), TT_OK);
        check_inside(w.q);
    }
    close_world(&w);
    return status == TT_E_NOMEM;
}

static void a_failed_allocation_changes_nothing(void **state) {
    (void)state;
    int n_failures = 0;
    for (int step = 0; step < N_STEPS; step++)
        for (int n = 0; fail_in_step(step, n); n++) n_failures++;
    assert_in_range(n_failures, 10, 200);
}

/* The table and the heap grow on the way. */
static void a_queue_that_cannot_grow_keeps_its_jobs(void **state) {
    (void)state;
    enum { N = 1200 };
    int n_failures = 0;
    world w;
    char id[16];
    open_world(&w);
    for (int i = 0; i < N; i++) {
        snprintf(id, sizeof id, "j%d", i);
        tt_status status = TT_E_NOMEM;
        for (int n = 0; status == TT_E_NOMEM; n++) {
            tt_alloc_fail_after(n);
            status = submit_job(&w, id, 0);
            tt_alloc_fail_after(-1);
            n_failures += status != TT_OK;
        }
        assert_int_equal(status, TT_OK);
    }
    assert_int_equal(submit_job(&w, "last", 0), TT_OK); /* the table grows now */
    check_inside(w.q);
    assert_int_equal(w.n_events, N + 1);
    assert_true(n_failures > N);
    close_world(&w);
}

static void a_queue_without_memory_is_not_made(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    for (int n = 0; status != TT_OK; n++) {
        tt_queue *q;
        tt_alloc_fail_after(n);
        status = tt_queue_memory_new(&(tt_queue_memory_options){0}, &q, NULL);
        tt_alloc_fail_after(-1);
        assert_int_equal(status == TT_OK, q != NULL);
        if (q) q->free(q);
        assert_in_range(n, 0, 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_allocation_changes_nothing),
        cmocka_unit_test(a_queue_that_cannot_grow_keeps_its_jobs),
        cmocka_unit_test(a_queue_without_memory_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
