/* The queue in memory, behaviour by behaviour; the rules are those of queue.h and of runpod.md 4.1 to 4.4. The tests own the
 * clock. */
#include "unit/job/queue_help.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void jobs_are_claimed_in_order_of_arrival(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_job_claim c[4];
    int n;
    submit(q, "a", 0);
    submit(q, "b", 0);
    submit(q, "c", 0);
    assert_int_equal(q->claim(q, "w1", 2, 5, c, &n, NULL), TT_OK);
    assert_int_equal(n, 2);
    assert_string_equal(c[0].id, "a");
    assert_string_equal(c[1].id, "b");
    assert_int_equal(c[0].attempt, 1);
    assert_string_equal(c[0].envelope->data, "{\"input\":{}}");
    assert_int_equal(c[0].deadline_ms, 5 + TT_JOB_DEFAULT_EXECUTION_MS);
    tt_blob_release(c[0].envelope);
    tt_blob_release(c[1].envelope);
    assert_int_equal(q->claim(q, "w2", 4, 5, c, &n, NULL), TT_OK);
    assert_int_equal(n, 1);
    assert_string_equal(c[0].id, "c");
    tt_blob_release(c[0].envelope);
    assert_true(claim_none(q, 5));
    assert_int_equal(q->claim(q, "w2", 0, 5, c, &n, NULL), TT_OK);
    assert_int_equal(n, 0);
    check_inside(q);
    q->free(q);
}

static void a_finished_job_keeps_its_answer(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_job_spec spec = {.id = "a", .webhook = "http://x/", .envelope = blob("{}")};
    assert_int_equal(q->submit(q, &spec, 100, NULL), TT_OK);
    tt_blob_release(spec.envelope);
    assert_int_equal(claim(q, "a", 130), 1);
    assert_int_equal(finish(q, "a", 1, TT_JOB_COMPLETED, "[1]", 180), TT_OK);
    tt_job_view v = view(q, "a", 500);
    assert_int_equal(v.state, TT_JOB_COMPLETED);
    assert_string_equal(v.output->data, "[1]");
    assert_string_equal(v.envelope->data, "{}");
    assert_string_equal(v.webhook, "http://x/");
    assert_string_equal(v.worker_id, "w1");
    assert_null(v.error);
    assert_int_equal(v.delay_ms, 30);
    assert_int_equal(v.execution_ms, 50);
    assert_int_equal(v.submitted_ms, 100);
    assert_int_equal(v.started_ms, 130);
    assert_int_equal(v.finished_ms, 180);
    assert_int_equal(v.retries, 0);
    tt_job_view_release(&v);
    q->free(q);
}

static void times_count_while_a_job_waits_and_runs(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    submit(q, "a", 100);
    tt_job_view v = view(q, "a", 140);
    assert_int_equal(v.delay_ms, 40);
    assert_int_equal(v.execution_ms, 0);
    assert_int_equal(v.started_ms, 0);
    assert_string_equal(v.worker_id, "");
    tt_job_view_release(&v);
    claim(q, "a", 150);
    v = view(q, "a", 175);
    assert_int_equal(v.delay_ms, 50);
    assert_int_equal(v.execution_ms, 25);
    assert_int_equal(v.finished_ms, 0);
    tt_job_view_release(&v);
    v = view(q, "a", 120); /* another thread's clock, read a little earlier */
    assert_int_equal(v.execution_ms, 0);
    tt_job_view_release(&v);
    q->free(q);
}

static void an_id_in_use_is_refused(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_err err;
    submit(q, "a", 0);
    assert_int_equal(submit_with(q, "a", 0, 0, 0, &err), TT_E_INVALID);
    assert_string_equal(err.message, "job id a is in use");
    assert_int_equal(q->cancel(q, "a", 0, NULL), TT_OK);
    assert_int_equal(submit_with(q, "a", 0, 0, 0, &err), TT_E_INVALID); /* its answer is kept */
    assert_int_equal(submit_with(q, "a", 0, 0, TT_JOB_DEFAULT_RETENTION_MS, &err), TT_OK);
    check_inside(q);
    q->free(q);
}

static void a_spec_out_of_range_is_refused(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_err err;
    assert_int_equal(submit_with(q, "a/b", 0, 0, 0, &err), TT_E_INVALID);
    assert_int_equal(submit_with(q, "a", -1, 0, 0, &err), TT_E_INVALID);
    assert_string_equal(err.message, "execution timeout: expected 1 to 604800000 ms, found -1");
    assert_int_equal(submit_with(q, "a", 0, TT_JOB_MAX_POLICY_MS + 1, 0, &err), TT_E_INVALID);
    assert_string_equal(err.message, "ttl: expected 1 to 604800000 ms, found 604800001");
    tt_job_spec spec = {.id = "a"};
    assert_int_equal(q->submit(q, &spec, 0, &err), TT_E_INVALID);
    assert_false(is_known(q, "a", 0));
    check_inside(q);
    q->free(q);
}

static void reports_of_an_older_attempt_change_nothing(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_job_outcome outcome = {.state = TT_JOB_COMPLETED};
    tt_err err;
    submit(q, "a", 0);
    assert_int_equal(q->finish(q, "a", 0, &outcome, 0, NULL), TT_E_NOT_FOUND); /* not running */
    assert_int_equal(claim(q, "a", 0), 1);
    assert_int_equal(q->release(q, "a", 1, 0, NULL), TT_OK);
    assert_int_equal(claim(q, "a", 0), 2);
    assert_int_equal(q->finish(q, "a", 1, &outcome, 0, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message,
                        "attempt 1 of job a is over: the job is IN_PROGRESS in attempt 2");
    assert_int_equal(q->release(q, "a", 1, 0, NULL), TT_E_NOT_FOUND);
    assert_int_equal(report(q, "a", 1, "1", false, 0), TT_E_NOT_FOUND);
    assert_int_equal(report(q, "a", 1, "1", true, 0), TT_E_NOT_FOUND);
    assert_int_equal(state_of(q, "a", 0), TT_JOB_IN_PROGRESS);
    assert_int_equal(q->finish(q, "a", 2, &outcome, 0, NULL), TT_OK);
    assert_int_equal(q->finish(q, "a", 2, &outcome, 0, NULL), TT_E_NOT_FOUND); /* once */
    assert_int_equal(q->finish(q, "b", 1, &outcome, 0, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "there is no job b");
    q->free(q);
}

static void jobs_handed_back_wait_at_their_old_place(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    submit(q, "a", 0);
    submit(q, "b", 0);
    submit(q, "c", 0);
    claim(q, "a", 0);
    claim(q, "b", 0);
    assert_int_equal(q->release(q, "b", 1, 0, NULL), TT_OK);
    assert_int_equal(q->release(q, "a", 1, 0, NULL), TT_OK);
    check_inside(q);
    claim(q, "a", 0);
    claim(q, "b", 0);
    claim(q, "c", 0);
    tt_job_view v = view(q, "a", 0);
    assert_int_equal(v.retries, 1);
    tt_job_view_release(&v);
    q->free(q);
}

static void cancel_ends_a_job_at_once(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    submit(q, "a", 0);
    submit(q, "b", 0);
    claim(q, "a", 0);
    assert_int_equal(q->cancel(q, "a", 1, NULL), TT_OK);
    assert_int_equal(q->cancel(q, "b", 1, NULL), TT_OK);
    assert_int_equal(state_of(q, "a", 1), TT_JOB_CANCELLED);
    assert_int_equal(state_of(q, "b", 1), TT_JOB_CANCELLED);
    assert_true(claim_none(q, 1));
    assert_int_equal(q->release(q, "a", 1, 2, NULL), TT_E_NOT_FOUND); /* the cancel came first */
    assert_int_equal(finish(q, "a", 1, TT_JOB_COMPLETED, "1", 2), TT_E_NOT_FOUND);
    assert_int_equal(q->cancel(q, "a", 3, NULL), TT_OK); /* again: nothing changes */
    assert_int_equal(q->retry(q, "a", 3, NULL), TT_E_INVALID);
    assert_int_equal(q->cancel(q, "x", 3, NULL), TT_E_NOT_FOUND);
    tt_queue_counts counts;
    q->counts(q, 3, &counts);
    assert_int_equal(counts.cancelled, 2);
    check_inside(q);
    q->free(q);
}

static void a_worker_may_confirm_that_it_stopped(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_err err;
    submit(q, "a", 0);
    claim(q, "a", 0);
    tt_job_outcome outcome = {.state = TT_JOB_TIMED_OUT};
    assert_int_equal(q->finish(q, "a", 1, &outcome, 0, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "job a: expected COMPLETED, FAILED or CANCELLED, found TIMED_OUT");
    outcome.state = TT_JOB_IN_QUEUE;
    assert_int_equal(q->finish(q, "a", 1, &outcome, 0, NULL), TT_E_INVALID);
    outcome.state = TT_JOB_CANCELLED;
    assert_int_equal(q->finish(q, "a", 1, &outcome, 0, NULL), TT_OK);
    assert_int_equal(state_of(q, "a", 0), TT_JOB_CANCELLED);
    q->free(q);
}

static void a_failed_job_can_be_retried_under_its_id(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_err err;
    submit(q, "a", 0);
    submit(q, "b", 0);
    assert_int_equal(q->retry(q, "a", 0, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "job a is IN_QUEUE: only FAILED and TIMED_OUT jobs can be retried");
    claim(q, "a", 0);
    assert_int_equal(q->retry(q, "a", 0, NULL), TT_E_INVALID);
    assert_int_equal(report(q, "a", 1, "1", true, 0), TT_OK);
    tt_job_outcome outcome = {.state = TT_JOB_FAILED, .output = blob("2"), .error = blob("\"e\"")};
    assert_int_equal(q->finish(q, "a", 1, &outcome, 5, NULL), TT_OK);
    tt_blob_release(outcome.output);
    tt_blob_release(outcome.error);
    tt_job_view v = view(q, "a", 5);
    assert_string_equal(v.output->data, "2");
    assert_string_equal(v.error->data, "\"e\"");
    assert_int_equal(v.n_stream_waiting, 1);
    tt_job_view_release(&v);
    assert_int_equal(q->retry(q, "a", 10, NULL), TT_OK);
    v = view(q, "a", 12);
    assert_int_equal(v.state, TT_JOB_IN_QUEUE);
    assert_null(v.output);
    assert_null(v.error);
    assert_int_equal(v.n_stream_waiting, 0);
    assert_int_equal(v.delay_ms, 2);
    assert_int_equal(v.submitted_ms, 0);
    tt_job_view_release(&v);
    check_inside(q);
    claim(q, "b", 12); /* the retried job is last in line */
    assert_int_equal(claim(q, "a", 12), 2);
    assert_int_equal(finish(q, "a", 2, TT_JOB_COMPLETED, "1", 15), TT_OK);
    assert_int_equal(q->retry(q, "a", 15, NULL), TT_E_INVALID);
    assert_int_equal(q->retry(q, "x", 15, NULL), TT_E_NOT_FOUND);
    tt_queue_counts counts;
    q->counts(q, 15, &counts);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(counts.completed, 1);
    assert_int_equal(counts.retried, 1);
    q->free(q);
}

static void purge_removes_what_waits_and_nothing_else(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    char id[16];
    int64_t n;
    for (int i = 0; i < 200; i++) { /* more than one batch */
        snprintf(id, sizeof id, "j%d", i);
        submit(q, id, 0);
    }
    claim(q, "j0", 0);
    assert_int_equal(q->purge(q, 0, &n, NULL), TT_OK);
    assert_int_equal(n, 199);
    assert_int_equal(state_of(q, "j0", 0), TT_JOB_IN_PROGRESS);
    assert_false(is_known(q, "j1", 0));
    submit(q, "j1", 0);
    check_inside(q);
    q->free(q);
}

static void assert_error(tt_queue *q, const char *id, int64_t now_ms, const char *expected) {
    tt_job_view v = view(q, id, now_ms);
    assert_int_equal(v.state, TT_JOB_TIMED_OUT);
    assert_string_equal(v.error->data, expected);
    assert_int_equal(v.error->size, strlen(expected));
    tt_job_view_release(&v);
}

static void deadlines_end_jobs_with_a_sentence(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    assert_int_equal(submit_with(q, "run", 600000, 0, 0, NULL), TT_OK);
    assert_int_equal(submit_with(q, "both", 600000, 20000, 0, NULL), TT_OK);
    assert_int_equal(submit_with(q, "wait", 600000, 30000, 0, NULL), TT_OK);
    claim(q, "run", 0);
    claim(q, "both", 10000);
    assert_int_equal(q->sweep(q, 19999), 1);
    assert_int_equal(q->sweep(q, 20000), 10000);
    assert_error(q, "both", 20000,
                 "\"the job was waiting and running longer than its ttl of 20000 ms\"");
    assert_int_equal(q->sweep(q, 30000), 60000);
    assert_error(q, "wait", 30000, "\"the job was waiting longer than its ttl of 30000 ms\"");
    assert_int_equal(q->sweep(q, 599999), 1);
    assert_int_equal(state_of(q, "run", 599999), TT_JOB_IN_PROGRESS);
    q->sweep(q, 600000);
    assert_error(q, "run", 600000,
                 "\"the job ran longer than its execution timeout of 600000 ms\"");
    tt_job_view v = view(q, "run", 700000);
    assert_int_equal(v.execution_ms, 600000);
    tt_job_view_release(&v);
    check_inside(q);
    q->free(q);
}

static void only_running_time_counts_for_the_execution_timeout(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    assert_int_equal(submit_with(q, "a", 1000, 0, 0, NULL), TT_OK);
    claim(q, "a", 5000);
    assert_int_equal(q->release(q, "a", 1, 5900, NULL), TT_OK);
    q->sweep(q, 9000);
    claim(q, "a", 9000); /* each attempt has the whole time */
    q->sweep(q, 9999);
    assert_int_equal(state_of(q, "a", 9999), TT_JOB_IN_PROGRESS);
    q->sweep(q, 10000);
    assert_int_equal(state_of(q, "a", 10000), TT_JOB_TIMED_OUT);
    q->free(q);
}

static void deadlines_hold_without_a_sweep(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    assert_int_equal(submit_with(q, "a", 1000, 0, 0, NULL), TT_OK);
    assert_int_equal(submit_with(q, "b", 0, 1000, 0, NULL), TT_OK);
    claim(q, "a", 0);
    assert_int_equal(finish(q, "a", 1, TT_JOB_COMPLETED, "1", 1000), TT_E_NOT_FOUND);
    assert_int_equal(state_of(q, "a", 1000), TT_JOB_TIMED_OUT);
    assert_true(claim_none(q, 1000)); /* b is too old to begin */
    assert_int_equal(state_of(q, "b", 1000), TT_JOB_TIMED_OUT);
    assert_int_equal(submit_with(q, "c", 0, 1000, 1000, NULL), TT_OK);
    assert_int_equal(q->cancel(q, "c", 2000, NULL), TT_OK);
    assert_int_equal(state_of(q, "c", 2000), TT_JOB_TIMED_OUT);
    assert_int_equal(submit_with(q, "d", 0, 1000, 1000, NULL), TT_OK);
    assert_int_equal(q->retry(q, "d", 2000, NULL), TT_OK); /* timed out, and at once retried */
    assert_int_equal(state_of(q, "d", 2000), TT_JOB_IN_QUEUE);
    q->sweep(q, 2999);
    assert_int_equal(state_of(q, "d", 2999), TT_JOB_IN_QUEUE); /* with a new ttl */
    check_inside(q);
    q->free(q);
}

static void a_ttl_can_be_changed(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    submit(q, "a", 0);
    submit(q, "b", 0);
    assert_int_equal(q->set_ttl(q, "a", 500, 100, NULL), TT_OK);
    assert_int_equal(q->sweep(q, 100), 400);
    assert_int_equal(q->set_ttl(q, "a", 1000, 400, NULL), TT_OK);
    assert_int_equal(q->sweep(q, 600), 400);
    claim(q, "a", 600);
    assert_int_equal(q->set_ttl(q, "a", 600, 600, NULL), TT_OK); /* over already */
    assert_int_equal(state_of(q, "a", 600), TT_JOB_TIMED_OUT);
    assert_int_equal(q->set_ttl(q, "a", 100, 600, NULL), TT_OK); /* of its next life */
    assert_int_equal(q->retry(q, "a", 600, NULL), TT_OK);
    assert_int_equal(q->sweep(q, 600), 100);
    assert_int_equal(q->set_ttl(q, "b", 0, 600, NULL), TT_E_INVALID);
    assert_int_equal(q->set_ttl(q, "x", 10, 600, NULL), TT_E_NOT_FOUND);
    check_inside(q);
    q->free(q);
}

static void ended_jobs_are_kept_for_the_retention(void **state) {
    (void)state;
    tt_queue *q = new_queue(&(tt_queue_memory_options){.retention_ms = 1000});
    tt_queue_counts counts;
    submit(q, "a", 0);
    claim(q, "a", 0);
    assert_int_equal(finish(q, "a", 1, TT_JOB_COMPLETED, "1", 50), TT_OK);
    assert_true(is_known(q, "a", 1049));
    assert_false(is_known(q, "a", 1050)); /* swept or not */
    assert_int_equal(q->retry(q, "a", 1050, NULL), TT_E_NOT_FOUND);
    q->counts(q, 1050, &counts);
    assert_int_equal(counts.stored_bytes, 0);
    assert_int_equal(counts.completed, 1);
    assert_int_equal(q->sweep(q, 1050), 60000);
    check_inside(q);
    q->free(q);
}

static void waiting_jobs_are_limited_in_number(void **state) {
    (void)state;
    tt_queue *q = new_queue(&(tt_queue_memory_options){.max_waiting = 2});
    tt_err err;
    submit(q, "a", 0);
    submit(q, "b", 0);
    assert_int_equal(submit_with(q, "c", 0, 0, 0, &err), TT_E_NOMEM);
    assert_string_equal(err.message, "the queue is full: 2 jobs wait");
    claim(q, "a", 0);
    submit(q, "c", 0);
    assert_int_equal(finish(q, "a", 1, TT_JOB_FAILED, NULL, 0), TT_OK);
    assert_int_equal(q->retry(q, "a", 0, NULL), TT_E_NOMEM);
    assert_int_equal(state_of(q, "a", 0), TT_JOB_FAILED);
    claim(q, "b", 0);
    assert_int_equal(q->retry(q, "a", 0, NULL), TT_OK);
    assert_int_equal(q->release(q, "b", 1, 0, NULL), TT_OK); /* never refused */
    check_inside(q);
    q->free(q);
}

static void the_oldest_answers_make_room_for_new_jobs(void **state) {
    (void)state;
    enum { JOB_BYTES = sizeof(tt__memory_job) + sizeof(tt_blob) + 12, ROOM = 4 };
    tt_queue *q = new_queue(&(tt_queue_memory_options){.max_stored_bytes = ROOM * JOB_BYTES});
    tt_err err;
    static const char *const IDS[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < COUNT(IDS); i++) submit(q, IDS[i], 0);
    assert_int_equal(submit_with(q, "e", 0, 0, 0, &err), TT_E_NOMEM);
    assert_non_null(strstr(err.message, "are taken by jobs that have not ended"));
    claim(q, "a", 0);
    claim(q, "b", 0);
    assert_int_equal(finish(q, "b", 1, TT_JOB_COMPLETED, NULL, 0), TT_OK);
    assert_int_equal(finish(q, "a", 1, TT_JOB_COMPLETED, NULL, 0), TT_OK);
    submit(q, "e", 0);
    assert_false(is_known(q, "b", 0)); /* it ended first */
    assert_true(is_known(q, "a", 0));
    check_inside(q);
    claim(q, "c", 0);
    assert_int_equal(finish(q, "c", 1, TT_JOB_COMPLETED, "[1,2,3]", 0), TT_OK); /* never refused */
    assert_false(is_known(q, "a", 0));
    assert_int_equal(state_of(q, "c", 0), TT_JOB_COMPLETED);
    claim(q, "d", 0);
    claim(q, "e", 0);
    submit(q, "f", 0);
    assert_int_equal(report(q, "d", 1, "1", false, 0), TT_OK); /* c goes */
    assert_false(is_known(q, "c", 0));
    char long_text[JOB_BYTES];
    memset(long_text, '1', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    assert_int_equal(report(q, "d", 1, long_text, true, 0), TT_E_NOMEM);
    assert_int_equal(report(q, "d", 1, long_text, false, 0), TT_E_NOMEM);
    assert_int_equal(finish(q, "d", 1, TT_JOB_COMPLETED, long_text, 0), TT_OK);
    assert_int_equal(finish(q, "e", 1, TT_JOB_COMPLETED, long_text, 0),
                     TT_OK); /* beyond the limit */
    check_inside(q);
    q->free(q);
}

static void progress_is_the_latest_of_the_attempt_that_runs(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    submit(q, "a", 0);
    claim(q, "a", 0);
    assert_int_equal(report(q, "a", 1, "1", false, 0), TT_OK);
    assert_int_equal(report(q, "a", 1, "{\"step\":2}", false, 0), TT_OK);
    tt_job_view v = view(q, "a", 0);
    assert_string_equal(v.progress->data, "{\"step\":2}");
    assert_int_equal(v.progress_number, 2);
    tt_job_view_release(&v);
    assert_int_equal(q->release(q, "a", 1, 0, NULL), TT_OK);
    v = view(q, "a", 0);
    assert_null(v.progress);
    tt_job_view_release(&v);
    claim(q, "a", 0);
    assert_int_equal(report(q, "a", 2, "3", false, 0), TT_OK);
    v = view(q, "a", 0);
    assert_int_equal(v.progress_number, 3);
    tt_job_view_release(&v);
    check_inside(q);
    q->free(q);
}

static void assert_taken(tt_queue *q, int max, const char *expected) {
    tt_blob *chunks[8];
    char text[64] = "";
    int n;
    assert_int_equal(q->take_stream(q, "a", max, chunks, &n, NULL), TT_OK);
    for (int i = 0; i < n; i++) {
        size_t size = strlen(text);
        snprintf(text + size, sizeof text - size, "%s ", chunks[i]->data);
        tt_blob_release(chunks[i]);
    }
    assert_string_equal(text, expected);
}

static void chunks_are_taken_once_and_in_order(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_blob *chunks[1];
    int n;
    submit(q, "a", 0);
    claim(q, "a", 0);
    assert_taken(q, 8, "");
    for (int i = 1; i <= 5; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(report(q, "a", 1, text, true, 0), TT_OK);
    }
    assert_taken(q, 2, "1 2 ");
    assert_int_equal(report(q, "a", 1, "6", true, 0), TT_OK);
    assert_taken(q, 0, "");
    assert_int_equal(finish(q, "a", 1, TT_JOB_COMPLETED, "[]", 0), TT_OK);
    check_inside(q);
    assert_taken(q, 8, "3 4 5 6 "); /* also after the end */
    assert_taken(q, 8, "");
    assert_int_equal(q->take_stream(q, "x", 1, chunks, &n, NULL), TT_E_NOT_FOUND);
    assert_int_equal(n, 0);
    check_inside(q);
    q->free(q);
}

static void chunks_of_an_attempt_handed_back_are_dropped(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    submit(q, "a", 0);
    claim(q, "a", 0);
    assert_int_equal(report(q, "a", 1, "1", true, 0), TT_OK);
    assert_int_equal(q->release(q, "a", 1, 0, NULL), TT_OK);
    claim(q, "a", 0);
    assert_int_equal(report(q, "a", 2, "2", true, 0), TT_OK);
    assert_taken(q, 8, "2 ");
    check_inside(q);
    q->free(q);
}

static void chunks_nobody_takes_are_limited(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_blob *chunk = blob("1"), *taken[1];
    tt_err err;
    int n;
    submit(q, "a", 0);
    claim(q, "a", 0);
    for (int i = 0; i < TT_QUEUE_MAX_STREAM_CHUNKS; i++)
        assert_int_equal(q->stream(q, "a", 1, chunk, 0, NULL), TT_OK);
    assert_int_equal(q->stream(q, "a", 1, chunk, 0, &err), TT_E_NOMEM);
    assert_string_equal(err.message, "job a: 100000 chunks of its stream wait to be taken");
    for (int i = 0; i < 2 * TT_QUEUE_MAX_STREAM_CHUNKS; i++) { /* a slow reader, for ever */
        assert_int_equal(q->take_stream(q, "a", 1, taken, &n, NULL), TT_OK);
        tt_blob_release(taken[0]);
        assert_int_equal(q->stream(q, "a", 1, chunk, 0, NULL), TT_OK);
    }
    tt__memory_job *job = tt__job_index_find(&((tt__memory_queue *)q)->shared.index, "a");
    assert_in_range(job->chunk_capacity, TT_QUEUE_MAX_STREAM_CHUNKS,
                    4 * TT_QUEUE_MAX_STREAM_CHUNKS);
    tt_blob_release(chunk);
    check_inside(q);
    q->free(q);
}

static void counts_are_of_now_and_since_the_start(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    tt_queue_counts c;
    q->counts(q, 50, &c);
    assert_int_equal(c.oldest_waiting_ms, 0);
    submit(q, "a", 100);
    submit(q, "b", 150);
    assert_int_equal(submit_with(q, "c", 0, 10, 160, NULL), TT_OK);
    q->sweep(q, 170);
    claim(q, "a", 170);
    q->counts(q, 200, &c);
    assert_int_equal(c.in_queue, 1);
    assert_int_equal(c.in_progress, 1);
    assert_int_equal(c.timed_out, 1);
    assert_int_equal(c.oldest_waiting_ms, 50);
    assert_true(c.stored_bytes > 3 * 12);
    q->free(q);
}

static void a_worker_id_beyond_the_limit_is_refused(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    char id[TT_JOB_ID_BYTES + 1];
    tt_job_claim c;
    int n;
    memset(id, 'w', sizeof id);
    id[TT_JOB_ID_BYTES] = '\0';
    submit(q, "a", 0);
    assert_int_equal(q->claim(q, id, 1, 0, &c, &n, NULL), TT_E_INVALID);
    assert_int_equal(n, 0);
    id[TT_JOB_ID_BYTES - 1] = '\0';
    assert_int_equal(q->claim(q, id, 1, 0, &c, &n, NULL), TT_OK);
    tt_blob_release(c.envelope);
    q->free(q);
}

static void many_jobs_are_found_and_ended(void **state) {
    (void)state;
    enum { N = 5000 };
    tt_queue *q = new_queue(NULL);
    char id[16];
    for (int i = 0; i < N; i++) {
        snprintf(id, sizeof id, "j%d", i);
        assert_int_equal(submit_with(q, id, 0, 1 + (i * 7919) % N, 0, NULL), TT_OK);
    }
    check_inside(q);
    for (int t = 0; t <= N; t += 100) {
        tt_queue_counts c;
        q->sweep(q, t);
        q->counts(q, t, &c);
        assert_int_equal(c.timed_out, t);
    }
    check_inside(q);
    q->free(q);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static const char *const EVENT_NAMES[] = {"SUBMITTED", "CLAIMED",  "PROGRESS", "STREAMED",
                                          "ENDED",     "REQUEUED", "STOP"};

typedef struct recorder {
    char text[1024];
    tt_queue *queue; /* not NULL: cancels a job when it is claimed, once */
    const char *cancels_id;
} recorder;

static void record(void *context, tt_queue_event event, const char *id, const char *worker_id,
                   int attempt) {
    recorder *r = context;
    size_t size = strlen(r->text);
    snprintf(r->text + size, sizeof r->text - size, "%s %s %s %d; ", EVENT_NAMES[event], id,
             worker_id, attempt);
    if (event == TT_QUEUE_CLAIMED && r->queue)
        assert_int_equal(r->queue->cancel(r->queue, r->cancels_id, 0, NULL), TT_OK);
}

static void assert_told(recorder *r, const char *expected) {
    assert_string_equal(r->text, expected);
    r->text[0] = '\0';
}

static void every_change_is_told_once(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    recorder r = {.text = ""};
    int64_t n;
    assert_int_equal(q->listen(q, record, &r, NULL), TT_OK);
    assert_int_equal(submit_with(q, "a", 1000, 0, 0, NULL), TT_OK);
    assert_told(&r, "SUBMITTED a  0; ");
    claim(q, "a", 0);
    assert_told(&r, "CLAIMED a w1 1; ");
    report(q, "a", 1, "1", false, 0);
    report(q, "a", 1, "1", true, 0);
    assert_told(&r, "PROGRESS a w1 1; STREAMED a w1 1; ");
    q->release(q, "a", 1, 0, NULL);
    assert_told(&r, "REQUEUED a w1 1; ");
    claim(q, "a", 0);
    finish(q, "a", 2, TT_JOB_FAILED, NULL, 0);
    assert_told(&r, "CLAIMED a w1 2; ENDED a w1 2; ");
    q->retry(q, "a", 0, NULL);
    claim(q, "a", 0);
    assert_told(&r, "REQUEUED a w1 2; CLAIMED a w1 3; ");
    q->sweep(q, 1000);
    assert_told(&r, "ENDED a w1 3; STOP a w1 3; ");
    q->retry(q, "a", 1000, NULL);
    claim(q, "a", 1000);
    q->cancel(q, "a", 1000, NULL);
    q->cancel(q, "a", 1000, NULL);
    assert_told(&r, "REQUEUED a w1 3; CLAIMED a w1 4; ENDED a w1 4; STOP a w1 4; ");
    submit(q, "b", 1000);
    submit(q, "c", 1000);
    q->cancel(q, "b", 1000, NULL);
    assert_int_equal(q->purge(q, 1000, &n, NULL), TT_OK);
    assert_told(&r, "SUBMITTED b  0; SUBMITTED c  0; ENDED b  0; ENDED c  0; ");
    assert_false(is_known(q, "c", 1000));
    q->sweep(q, 1000 + TT_JOB_DEFAULT_RETENTION_MS);
    finish(q, "a", 4, TT_JOB_FAILED, NULL, 0);
    assert_told(&r, ""); /* forgetting and fenced reports are no events */
    check_inside(q);
    q->free(q);
}

static void what_a_listener_causes_is_told_after_it_to_all(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    recorder first = {.queue = q, .cancels_id = "b"}, second = {.queue = NULL};
    tt_job_claim c[2];
    int n;
    assert_int_equal(q->listen(q, record, &first, NULL), TT_OK);
    assert_int_equal(q->listen(q, record, &second, NULL), TT_OK);
    submit(q, "a", 0);
    submit(q, "b", 0);
    assert_int_equal(q->claim(q, "w", 2, 0, c, &n, NULL), TT_OK);
    tt_blob_release(c[0].envelope);
    tt_blob_release(c[1].envelope);
    static const char EXPECTED[] = "SUBMITTED a  0; SUBMITTED b  0; CLAIMED a w 1; "
                                   "CLAIMED b w 1; ENDED b w 1; STOP b w 1; ";
    assert_string_equal(first.text, EXPECTED);
    assert_string_equal(second.text, EXPECTED);
    check_inside(q);
    q->free(q);
}

static void listeners_are_limited(void **state) {
    (void)state;
    tt_queue *q = new_queue(NULL);
    recorder r[TT_QUEUE_MAX_LISTENERS];
    for (int i = 0; i < TT_QUEUE_MAX_LISTENERS; i++)
        assert_int_equal(q->listen(q, record, &r[i], NULL), TT_OK);
    assert_int_equal(q->listen(q, record, &r[0], NULL), TT_E_INVALID);
    q->free(q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_claimed_in_order_of_arrival),
        cmocka_unit_test(a_finished_job_keeps_its_answer),
        cmocka_unit_test(times_count_while_a_job_waits_and_runs),
        cmocka_unit_test(an_id_in_use_is_refused),
        cmocka_unit_test(a_spec_out_of_range_is_refused),
        cmocka_unit_test(reports_of_an_older_attempt_change_nothing),
        cmocka_unit_test(jobs_handed_back_wait_at_their_old_place),
        cmocka_unit_test(cancel_ends_a_job_at_once),
        cmocka_unit_test(a_worker_may_confirm_that_it_stopped),
        cmocka_unit_test(a_failed_job_can_be_retried_under_its_id),
        cmocka_unit_test(purge_removes_what_waits_and_nothing_else),
        cmocka_unit_test(deadlines_end_jobs_with_a_sentence),
        cmocka_unit_test(only_running_time_counts_for_the_execution_timeout),
        cmocka_unit_test(deadlines_hold_without_a_sweep),
        cmocka_unit_test(a_ttl_can_be_changed),
        cmocka_unit_test(ended_jobs_are_kept_for_the_retention),
        cmocka_unit_test(waiting_jobs_are_limited_in_number),
        cmocka_unit_test(the_oldest_answers_make_room_for_new_jobs),
        cmocka_unit_test(progress_is_the_latest_of_the_attempt_that_runs),
        cmocka_unit_test(chunks_are_taken_once_and_in_order),
        cmocka_unit_test(chunks_of_an_attempt_handed_back_are_dropped),
        cmocka_unit_test(chunks_nobody_takes_are_limited),
        cmocka_unit_test(counts_are_of_now_and_since_the_start),
        cmocka_unit_test(a_worker_id_beyond_the_limit_is_refused),
        cmocka_unit_test(many_jobs_are_found_and_ended),
        cmocka_unit_test(every_change_is_told_once),
        cmocka_unit_test(what_a_listener_causes_is_told_after_it_to_all),
        cmocka_unit_test(listeners_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
