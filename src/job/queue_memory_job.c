/* One job of the queue in memory: what it owns, when it is due, and how it looks from outside. Knows no lock and no
 * list. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "job/parts.h"

int64_t tt__blob_cost(const tt_blob *blob) {
    return blob ? (int64_t)(blob->size + sizeof *blob) : 0;
}

int64_t tt__ms_after(int64_t now_ms, int64_t span_ms) {
    int64_t sum;
    return __builtin_add_overflow(now_ms, span_ms, &sum) ? INT64_MAX : sum;
}

int64_t tt__memory_job_ttl_end(const tt__memory_job *job) {
    return tt__ms_after(job->queued_ms, job->ttl_ms);
}

int64_t tt__memory_job_run_end(const tt__memory_job *job) {
    int64_t execution_end = tt__ms_after(job->started_ms, job->execution_timeout_ms);
    int64_t ttl_end = tt__memory_job_ttl_end(job);
    return execution_end < ttl_end ? execution_end : ttl_end;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static tt_status read_span(const char *name, int64_t value_ms, int64_t default_ms, int64_t *out,
                           tt_err *err) {
    *out = value_ms ? value_ms : default_ms;
    if (*out >= 1 && *out <= TT_JOB_MAX_POLICY_MS) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "%s: expected 1 to %lld ms, found %" PRId64, name,
                   TT_JOB_MAX_POLICY_MS, value_ms);
}

static tt_status fill(tt__memory_job *job, const tt_job_spec *spec, tt_err *err) {
    if (!tt_job_id_is_valid(spec->id))
        return tt_fail(err, TT_E_INVALID, "the job's id is not valid");
    if (!spec->envelope) return tt_fail(err, TT_E_INVALID, "job %s has no text", spec->id);
    TT_TRY(read_span("execution timeout", spec->execution_timeout_ms, TT_JOB_DEFAULT_EXECUTION_MS,
                     &job->execution_timeout_ms, err));
    TT_TRY(read_span("ttl", spec->ttl_ms, TT_JOB_DEFAULT_TTL_MS, &job->ttl_ms, err));
    memcpy(job->id, spec->id, strlen(spec->id) + 1);
    if (spec->webhook) {
        job->webhook = tt_strdup(spec->webhook);
        if (!job->webhook) return tt_fail_nomem(err, "webhook", strlen(spec->webhook) + 1);
        job->stored_bytes += (int64_t)strlen(spec->webhook) + 1;
    }
    job->envelope = tt_blob_hold(spec->envelope);
    job->stored_bytes += (int64_t)sizeof *job + tt__blob_cost(job->envelope);
    return TT_OK;
}

tt_status tt__memory_job_new(const tt_job_spec *spec, int64_t now_ms, tt__memory_job **out,
                             tt_err *err) {
    *out = NULL;
    tt__memory_job *job = tt_alloc(sizeof *job);
    if (!job) return tt_fail_nomem(err, "job", sizeof *job);
    job->state = TT_JOB_IN_QUEUE;
    job->submitted_ms = job->queued_ms = now_ms;
    tt_status status = fill(job, spec, err);
    if (status != TT_OK) {
        tt__memory_job_free(job);
        return status;
    }
    job->due_ms = tt__memory_job_ttl_end(job);
    *out = job;
    return TT_OK;
}

void tt__memory_job_free(tt__memory_job *job) {
    tt__memory_job_drop_chunks(job);
    tt_free(job->chunks);
    tt_blob_release(job->envelope);
    tt_blob_release(job->progress);
    tt_blob_release(job->output);
    tt_blob_release(job->error);
    tt_free(job->webhook);
    tt_free(job);
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

void tt__memory_job_drop_chunks(tt__memory_job *job) {
    for (size_t i = job->first_chunk; i < job->end_chunk; i++) tt_blob_release(job->chunks[i]);
    job->first_chunk = job->end_chunk = 0;
}

/* The room of chunks that were taken is used again once they are at least half: each is moved once at most. */
static bool reuse_taken(tt__memory_job *job) {
    size_t n = job->end_chunk - job->first_chunk;
    if (job->first_chunk == 0 || n > job->first_chunk) return false;
    memmove(job->chunks, job->chunks + job->first_chunk, n * sizeof *job->chunks);
    job->first_chunk = 0;
    job->end_chunk = n;
    return true;
}

tt_status tt__memory_job_reserve_chunk(tt__memory_job *job, tt_err *err) {
    enum { FIRST_CHUNKS = 16 };
    if (job->end_chunk - job->first_chunk >= TT_QUEUE_MAX_STREAM_CHUNKS)
        return tt_fail(err, TT_E_NOMEM, "job %s: %d chunks of its stream wait to be taken", job->id,
                       TT_QUEUE_MAX_STREAM_CHUNKS);
    if (job->end_chunk == job->chunk_capacity && !reuse_taken(job)) {
        size_t capacity = job->chunk_capacity ? 2 * job->chunk_capacity : FIRST_CHUNKS;
        tt_blob **chunks = tt_realloc(job->chunks, capacity * sizeof *chunks);
        if (!chunks) return tt_fail_nomem(err, "stream", capacity * sizeof *chunks);
        job->chunks = chunks;
        job->chunk_capacity = capacity;
    }
    job->chunks[job->end_chunk] = NULL;
    return TT_OK;
}

/* ---- the view ---------------------------------------------------------------------------------------------------- */

/* A JSON string. Written when it is asked for: timing out must not need memory. */
static tt_status write_time_out(const tt__memory_job *job, tt_blob **out, tt_err *err) {
    char text[128];
    int n;
    if (job->time_out == TT__EXECUTION_TIME_OUT)
        n = snprintf(text, sizeof text,
                     "\"the job ran longer than its execution timeout of %" PRId64 " ms\"",
                     job->time_out_ms);
    else
        n = snprintf(text, sizeof text, "\"the job was %s longer than its ttl of %" PRId64 " ms\"",
                     job->is_started ? "waiting and running" : "waiting", job->time_out_ms);
    return tt_blob_new(text, (size_t)n, out, err);
}

static int64_t span(int64_t from_ms, int64_t to_ms) {
    return to_ms > from_ms ? to_ms - from_ms : 0; /* callers' clocks are read before the lock */
}

static void view_times(const tt__memory_job *job, int64_t now_ms, tt_job_view *out) {
    bool is_final = tt_job_state_is_final(job->state);
    int64_t end_ms = is_final ? job->finished_ms : now_ms;
    out->submitted_ms = job->submitted_ms;
    out->started_ms = job->is_started ? job->started_ms : 0;
    out->finished_ms = is_final ? job->finished_ms : 0;
    out->delay_ms = span(job->queued_ms, job->is_started ? job->started_ms : end_ms);
    out->execution_ms = job->is_started ? span(job->started_ms, end_ms) : 0;
}

tt_status tt__memory_job_view(const tt__memory_job *job, int64_t now_ms, tt_job_view *out,
                              tt_err *err) {
    memcpy(out->id, job->id, sizeof out->id);
    memcpy(out->worker_id, job->worker_id, sizeof out->worker_id);
    out->state = job->state;
    out->attempt = job->attempt;
    out->retries = job->attempt > 0 ? job->attempt - 1 : 0;
    view_times(job, now_ms, out);
    out->envelope = tt_blob_hold(job->envelope);
    out->progress = tt_blob_hold(job->progress);
    out->progress_number = job->progress_number;
    out->output = tt_blob_hold(job->output);
    out->error = tt_blob_hold(job->error);
    out->n_stream_waiting = (int)(job->end_chunk - job->first_chunk);
    if (job->time_out != TT__NO_TIME_OUT) TT_TRY(write_time_out(job, &out->error, err));
    if (!job->webhook) return TT_OK;
    out->webhook = tt_strdup(job->webhook);
    return out->webhook ? TT_OK : tt_fail_nomem(err, "webhook", strlen(job->webhook) + 1);
}
