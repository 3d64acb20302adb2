/* What the tests of the queue share: blobs from text, short calls, and a look inside. */
#ifndef TESTS_QUEUE_HELP_H
#define TESTS_QUEUE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "job/parts.h"

static inline tt_blob *blob(const char *text) {
    tt_blob *b;
    assert_int_equal(tt_blob_new(text, strlen(text), &b, NULL), TT_OK);
    return b;
}

static inline tt_queue *new_queue(const tt_queue_memory_options *options) {
    static const tt_queue_memory_options DEFAULTS = {0};
    tt_queue *q;
    assert_int_equal(tt_queue_memory_new(options ? options : &DEFAULTS, &q, NULL), TT_OK);
    return q;
}

static inline void set_id(char out[TT_JOB_ID_BYTES], const char *id) {
    snprintf(out, TT_JOB_ID_BYTES, "%s", id);
}

static inline tt_status submit_with(tt_queue *q, const char *id, int64_t execution_ms,
                                    int64_t ttl_ms, int64_t now_ms, tt_err *err) {
    tt_job_spec spec = {.execution_timeout_ms = execution_ms, .ttl_ms = ttl_ms};
    set_id(spec.id, id);
    spec.envelope = blob("{\"input\":{}}");
    tt_status status = q->submit(q, &spec, now_ms, err);
    tt_blob_release(spec.envelope);
    return status;
}

static inline void submit(tt_queue *q, const char *id, int64_t now_ms) {
    assert_int_equal(submit_with(q, id, 0, 0, now_ms, NULL), TT_OK);
}

/* The attempt of the one job claimed, which must be `id`. */
static inline int claim(tt_queue *q, const char *id, int64_t now_ms) {
    tt_job_claim c;
    int n;
    assert_int_equal(q->claim(q, "w1", 1, now_ms, &c, &n, NULL), TT_OK);
    assert_int_equal(n, 1);
    assert_string_equal(c.id, id);
    tt_blob_release(c.envelope);
    return c.attempt;
}

static inline int claim_none(tt_queue *q, int64_t now_ms) {
    tt_job_claim c;
    int n = -1;
    assert_int_equal(q->claim(q, "w1", 1, now_ms, &c, &n, NULL), TT_OK);
    return n == 0;
}

static inline tt_status finish(tt_queue *q, const char *id, int attempt, tt_job_state state,
                               const char *output, int64_t now_ms) {
    tt_job_outcome outcome = {.state = state, .output = output ? blob(output) : NULL};
    tt_status status = q->finish(q, id, attempt, &outcome, now_ms, NULL);
    tt_blob_release(outcome.output);
    return status;
}

static inline tt_status report(tt_queue *q, const char *id, int attempt, const char *value,
                               bool is_chunk, int64_t now_ms) {
    tt_blob *b = blob(value);
    tt_status status = (is_chunk ? q->stream : q->progress)(q, id, attempt, b, now_ms, NULL);
    tt_blob_release(b);
    return status;
}

static inline tt_job_view view(tt_queue *q, const char *id, int64_t now_ms) {
    tt_job_view v;
    assert_int_equal(q->get(q, id, now_ms, &v, NULL), TT_OK);
    return v;
}

static inline bool is_known(tt_queue *q, const char *id, int64_t now_ms) {
    tt_job_view v;
    tt_status status = q->get(q, id, now_ms, &v, NULL);
    tt_job_view_release(&v);
    return status == TT_OK;
}

static inline tt_job_state state_of(tt_queue *q, const char *id, int64_t now_ms) {
    tt_job_view v = view(q, id, now_ms);
    tt_job_state state = v.state;
    tt_job_view_release(&v);
    return state;
}

/* ---- a look inside ----------------------------------------------------------------------------------------------- */

static inline int64_t job_bytes(const tt__memory_job *job) {
    int64_t bytes = (int64_t)sizeof *job + tt__blob_cost(job->envelope) +
                    tt__blob_cost(job->progress) + tt__blob_cost(job->output) +
                    tt__blob_cost(job->error);
    if (job->webhook) bytes += (int64_t)strlen(job->webhook) + 1;
    for (size_t i = job->first_chunk; i < job->end_chunk; i++)
        bytes += tt__blob_cost(job->chunks[i]);
    return bytes;
}

static inline size_t list_length(const tt__job_list *list, bool is_sorted) {
    size_t n = 0;
    const tt__memory_job *previous = NULL;
    for (const tt__memory_job *j = list->first; j; previous = j, j = j->next, n++) {
        assert_ptr_equal(j->previous, previous);
        assert_true(!is_sorted || !previous || previous->arrival < j->arrival);
    }
    assert_ptr_equal(list->last, previous);
    return n;
}

/* Heap, table, lists and sums agree with each other. */
static inline void check_inside(tt_queue *q) {
    const tt__memory_queue *m = (const tt__memory_queue *)q;
    const tt__job_index *index = &m->shared.index;
    size_t n_in[3] = {0};
    int64_t bytes = 0, ended_bytes = 0;
    for (size_t i = 0; i < index->n_jobs; i++) {
        const tt__memory_job *job = index->due[i];
        bool is_final = tt_job_state_is_final(job->state);
        assert_int_equal(job->at_due, i);
        assert_true(i == 0 || index->due[(i - 1) / 2]->due_ms <= job->due_ms);
        assert_ptr_equal(tt__job_index_find(index, job->id), job);
        assert_int_equal(job->stored_bytes, job_bytes(job));
        bytes += job->stored_bytes;
        if (is_final) ended_bytes += job->stored_bytes;
        n_in[is_final ? 2 : job->state]++;
    }
    assert_int_equal(m->shared.counts.stored_bytes, bytes);
    assert_int_equal(m->shared.ended_bytes, ended_bytes);
    assert_int_equal(m->shared.counts.in_queue, n_in[0]);
    assert_int_equal(m->shared.counts.in_progress, n_in[1]);
    assert_int_equal(list_length(&m->shared.waiting, true), n_in[0]);
    assert_int_equal(list_length(&m->shared.ended, false), n_in[2]);
    assert_null(m->shared.events.first);
}

#endif
