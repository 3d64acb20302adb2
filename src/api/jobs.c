/* The operations on jobs that exist: status, status-sync, stream, cancel, retry, purge-queue; and the lists: health, requests. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/park.h"
#include "api/stream.h"
#include "api/sweeper.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"

enum { MIN_WAIT_MS = 1000, MAX_WAIT_MS = 300 * 1000 };

/* ---- query parameters -------------------------------------------------------------------------------------------- */

/* Digits only. Numbers beyond 64 bits are the largest: ranges are checked by the caller. */
static tt_status query_ms(const tt__call *call, const char *name, bool *is_given, int64_t *out,
                          tt_err *err) {
    const char *text = tt_http_query(call->x, name);
    *is_given = text && text[0];
    if (!*is_given) return TT_OK;
    if (text[strspn(text, "0123456789")] != '\0')
        return tt_fail(err, TT_E_INVALID,
                       "%s: expected milliseconds as a whole number, found %.40s", name, text);
    *out = strtoll(text, NULL, 10);
    return TT_OK;
}

tt_status tt__query_wait(const tt__call *call, int64_t *out, tt_err *err) {
    bool is_given;
    int64_t ms = 0;
    TT_TRY(query_ms(call, "wait", &is_given, &ms, err));
    if (is_given) *out = ms < MIN_WAIT_MS ? MIN_WAIT_MS : ms > MAX_WAIT_MS ? MAX_WAIT_MS : ms;
    return TT_OK;
}

/* ?ttl= changes the job's time to live. A job that has ended has none left to change: that is no error. */
static tt_status apply_ttl(const tt__call *call, tt_err *err) {
    tt_queue *queue = call->api->options.queue;
    bool is_given;
    int64_t ms = 0;
    TT_TRY(query_ms(call, "ttl", &is_given, &ms, err));
    if (!is_given) return TT_OK;
    if (ms < TT_JOB_MIN_TTL_MS || ms > TT_JOB_MAX_POLICY_MS)
        return tt_fail(err, TT_E_INVALID,
                       "ttl: expected milliseconds from %" PRId64 " to %" PRId64 ", found %" PRId64,
                       (int64_t)TT_JOB_MIN_TTL_MS, (int64_t)TT_JOB_MAX_POLICY_MS, ms);
    tt_status status = queue->set_ttl(queue, call->id, ms, tt_clock_ms(), err);
    tt__sweeper_hurry(call->api->sweeper);
    return status == TT_E_INVALID ? TT_OK : status;
}

/* ---- one job ----------------------------------------------------------------------------------------------------- */

/* Every failure of the queue about the call's job, answered. */
static void reply_job_failure(const tt__call *call, const tt_err *err) {
    if (err->code == TT_E_NOT_FOUND)
        tt__reply_no_job(call);
    else
        tt__reply_failure(call, err);
}

/* False: answered. */
static bool get(const tt__call *call, tt_job_view *view) {
    tt_queue *queue = call->api->options.queue;
    tt_err err;
    if (queue->get(queue, call->id, tt_clock_ms(), view, &err) == TT_OK) return true;
    reply_job_failure(call, &err);
    return false;
}

void tt__handle_status(const tt__call *call) {
    tt_job_view view;
    tt_err err;
    if (apply_ttl(call, &err) != TT_OK) {
        reply_job_failure(call, &err);
    } else if (get(call, &view)) {
        tt__reply_job(call, &view);
        tt_job_view_release(&view);
    }
}

void tt__handle_status_sync(const tt__call *call) {
    tt_job_view view;
    tt_err err;
    int64_t wait_ms = TT__DEFAULT_WAIT_MS;
    if (tt__query_wait(call, &wait_ms, &err) != TT_OK) {
        tt__reply_failure(call, &err);
    } else if (get(call, &view)) {
        if (tt_job_state_is_final(view.state) || call->method == TT__HEAD)
            tt__reply_job(call, &view);
        else
            tt__park(call, TT__WAIT_STATUS, wait_ms);
        tt_job_view_release(&view);
    }
}

void tt__handle_stream(const tt__call *call) {
    tt_job_view view;
    tt_err err;
    int64_t wait_ms = 0;
    if (tt__query_wait(call, &wait_ms, &err) != TT_OK) {
        tt__reply_failure(call, &err);
    } else if (get(call, &view)) {
        bool has_news = view.n_stream_waiting > 0 || tt_job_state_is_final(view.state);
        if (has_news || wait_ms == 0 || call->method == TT__HEAD)
            tt__reply_stream(call, &view);
        else
            tt__park(call, TT__WAIT_STREAM, wait_ms);
        tt_job_view_release(&view);
    }
}

void tt__handle_cancel(const tt__call *call) {
    tt_queue *queue = call->api->options.queue;
    tt_job_view view;
    tt_err err;
    if (queue->cancel(queue, call->id, tt_clock_ms(), &err) != TT_OK) {
        reply_job_failure(call, &err);
    } else if (get(call, &view)) {
        tt__reply_brief(call, tt_job_state_name(view.state));
        tt_job_view_release(&view);
    }
}

static void reply_not_retried(const tt__call *call) {
    tt_job_view view;
    if (!get(call, &view)) return;
    tt__reply_error(call, 409, "job %s is %s: only FAILED and TIMED_OUT jobs can be retried",
                    call->id, tt_job_state_name(view.state));
    tt_job_view_release(&view);
}

void tt__handle_retry(const tt__call *call) {
    tt_queue *queue = call->api->options.queue;
    tt_err err;
    tt_status status = queue->retry(queue, call->id, tt_clock_ms(), &err);
    if (status == TT_OK)
        tt__reply_brief(call, tt_job_state_name(TT_JOB_IN_QUEUE));
    else if (status == TT_E_INVALID)
        reply_not_retried(call);
    else
        reply_job_failure(call, &err);
}

/* ---- all jobs ---------------------------------------------------------------------------------------------------- */

void tt__handle_purge(const tt__call *call) {
    tt_queue *queue = call->api->options.queue;
    int64_t n = 0;
    tt_buf b;
    tt_err err;
    if (queue->purge(queue, tt_clock_ms(), &n, &err) != TT_OK) {
        tt__reply_failure(call, &err);
        return;
    }
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status =
        tt_buf_printf(&b, &err, "{\"removed\": %" PRId64 ", \"status\": \"completed\"}", n);
    tt__reply_buf(call, status, &b, &err);
}

void tt__handle_health(const tt__call *call) {
    const tt_api_options *options = &call->api->options;
    tt_queue_counts c = {.in_queue = 0};
    tt_api_workers w = {.idle = 0};
    tt_buf b;
    tt_err err;
    options->queue->counts(options->queue, tt_clock_ms(), &c);
    if (options->workers) options->workers(options->context, &w);
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status = tt_buf_printf(
        &b, &err,
        "{\"jobs\": {\"completed\": %" PRId64 ", \"failed\": %" PRId64 ", \"inProgress\": %" PRId64
        ", \"inQueue\": %" PRId64 ", \"retried\": %" PRId64 "}, \"workers\": {\"idle\": %d, "
        "\"initializing\": %d, \"ready\": %d, \"running\": %d, \"throttled\": %d, \"unhealthy\": "
        "%d}}",
        c.completed, c.failed, c.in_progress, c.in_queue, c.retried, w.idle, w.initializing,
        w.ready, w.running, w.throttled, w.unhealthy);
    tt__reply_buf(call, status, &b, &err);
}

/* One of /requests; a job that is no longer known is left out. */
static tt_status put_request(tt_queue *queue, const char *id, bool *is_first, tt_buf *out,
                             tt_err *err) {
    tt_job_view view;
    if (queue->get(queue, id, tt_clock_ms(), &view, NULL) != TT_OK) return TT_OK;
    tt_status status = *is_first ? TT_OK : tt_buf_puts(out, ", ", err);
    if (status == TT_OK) status = tt__answer_open(&view, out, err);
    if (status == TT_OK) status = tt_buf_puts(out, "}", err);
    tt_job_view_release(&view);
    *is_first = false;
    return status;
}

static tt_status put_requests(tt_api *api, tt_buf *out, tt_err *err) {
    size_t size_bytes = (size_t)TT__RECENT_JOBS * TT_JOB_ID_BYTES;
    char(*ids)[TT_JOB_ID_BYTES] = tt_alloc(size_bytes);
    if (!ids) return tt_fail_nomem(err, "list of jobs", size_bytes);
    bool is_first = true;
    int n = tt__recent_ids(api, ids);
    tt_status status = tt_buf_puts(out, "{\"requests\": [", err);
    for (int i = 0; i < n && status == TT_OK; i++)
        status = put_request(api->options.queue, ids[i], &is_first, out, err);
    tt_free(ids);
    return status == TT_OK ? tt_buf_puts(out, "]}", err) : status;
}

void tt__handle_requests(const tt__call *call) {
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, TT__RECENT_JOBS * TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status = put_requests(call->api, &b, &err);
    tt__reply_buf(call, status, &b, &err);
}
