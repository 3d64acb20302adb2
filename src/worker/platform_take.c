/* Taking jobs: one long poll at a time while slots are free (runpod.md 1.4).
 *
 *     answer                          what follows
 *     200 with jobs                   all go to the dispatcher, also more than were asked for; the next poll at once
 *     204, 400, 200 without any       the next poll at once when this one was long; else, from the second on, 50 ms to 1 s
 *     429                             5 s, or Retry-After
 *     no answer for 90 s              the next poll at once
 *     anything else                   0.25 s to 30 s with jitter
 *
 * A poll that is under way when slots shrink is left alone: an answer may be on its way, and a job that is not read is a job
 * lost. Only the end of the worker cuts a poll. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "worker/platform_parts.h"

static const char WHAT[] = "get job";

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

static tt_status give(tt_platform *p, tt__task *task, tt_envelope *envelope, tt_err *err) {
    int64_t timeout_ms = tt_wire_execution_timeout_ms(envelope);
    if (timeout_ms > 0) task->deadline_ms = tt_clock_ms() + timeout_ms;
    if (timeout_ms > task->patience_ms)
        task->patience_ms = timeout_ms; /* who waits that long may wait on */
    task->end.mark = tt_spool_mark(p->spool, task->facts.job_id);
    task->is_running = true;
    tt_status status =
        tt_dispatch_give(p->dispatch, task->key, envelope, 1, task->deadline_ms, err);
    if (status != TT_OK) task->is_running = false;
    return status;
}

/* A job that cannot even be tried is answered, so that whoever sent it learns why. */
static void refuse_item(tt_platform *p, const char *id, const char *sentence) {
    tt__task *task;
    tt_err err;
    tt_log_write(p->log, TT_LOG_ERROR, id, "The job is refused: %s", sentence);
    if (tt__task_new(p, id, &task, &err) == TT_OK)
        tt__task_refuse(task, sentence);
    else
        tt_log_write(p->log, TT_LOG_ERROR, id, "%s", err.message);
}

static bool take_item(tt_platform *p, const char *item, size_t size) {
    tt_envelope envelope;
    tt__task *task = NULL;
    char id[TT_JOB_ID_BYTES];
    tt_err err;
    tt_status status = tt_envelope_parse(item, size, NULL, &envelope, &err);
    if (status != TT_OK) {
        if (tt_wire_item_id(item, size, id))
            refuse_item(p, id, err.message);
        else
            tt_log_write(p->log, TT_LOG_ERROR, NULL, "A job without a usable id is skipped: %s",
                         err.message);
        return false;
    }
    status = tt__task_new(p, envelope.id, &task, &err);
    if (status == TT_OK) status = give(p, task, &envelope, &err);
    if (status != TT_OK) {
        tt_log_write(p->log, TT_LOG_ERROR, envelope.id, "The job cannot be run: %s", err.message);
        if (task) tt__task_refuse(task, err.message);
    }
    tt_envelope_release(&envelope);
    return status == TT_OK;
}

/* How many were given. */
static int take_items(tt_platform *p, const tt_http_response *response) {
    tt_wire_items items;
    const char *item;
    size_t size;
    int n = 0;
    tt_wire_items_begin(&items, response->body, response->body_bytes);
    p->take.is_giving = true; /* the dispatcher tells of each slot as it fills */
    while (tt_wire_items_next(&items, &item, &size))
        if (take_item(p, item, size)) n++;
    p->take.is_giving = false;
    if (items.is_broken)
        tt__trouble_tell(p, &p->take.trouble, TT_LOG_ERROR, WHAT, response->status,
                         "The answer is not JSON");
    else
        tt__trouble_end(p, &p->take.trouble, WHAT);
    if (n > 0) p->has_taken = true;
    return n;
}

/* ---- polling ----------------------------------------------------------------------------------------------------- */

static void on_timer(void *context) {
    tt_platform *p = context;
    p->take.timer = NULL;
    tt__take_update(p);
}

static void poll_after(tt_platform *p, int64_t delay_ms) {
    tt__after(p, delay_ms, on_timer, p, &p->take.timer);
}

/* Nothing to do. Who answers that in no time, again and again, is not asked faster than once a second. */
static void after_empty(tt_platform *p, int64_t lasted_ms) {
    bool was_long = lasted_ms >= tt__pauses(p, TT__SHORT_PAUSES);
    p->take.n_empty = was_long ? 0 : p->take.n_empty + 1;
    if (p->take.n_empty > 1) {
        poll_after(p, tt_backoff_next_ms(&p->take.empties));
        return;
    }
    tt_backoff_reset(&p->take.empties);
    tt__take_update(p);
}

static void after_failure(tt_platform *p, const tt_http_response *response) {
    char reason[128];
    int64_t pause_ms = response->status == 429 ? tt__pauses(p, TT__LIMIT_PAUSES)
                                               : tt_backoff_next_ms(&p->take.failures);
    int64_t asked_ms = response->failure == TT_OK ? response->retry_after_ms : -1;
    if (asked_ms > TT__MAX_RETRY_AFTER_MS) asked_ms = TT__MAX_RETRY_AFTER_MS;
    if (asked_ms >= 0 && (response->status == 429 || asked_ms > pause_ms)) pause_ms = asked_ms;
    tt__trouble_tell(p, &p->take.trouble, TT_LOG_ERROR, WHAT, response->status,
                     tt__reason(response, reason));
    poll_after(p, pause_ms);
}

static void after_jobs(tt_platform *p, const tt_http_response *response, int64_t lasted_ms) {
    if (take_items(p, response) == 0) {
        after_empty(p, lasted_ms);
        return;
    }
    p->take.n_empty = 0;
    tt_backoff_reset(&p->take.empties);
    tt__take_update(p);
}

static void on_response(void *context, const tt_http_response *response) {
    tt_platform *p = context;
    int64_t lasted_ms = tt_clock_ms() - p->take.begun_ms;
    bool is_answer = response->failure == TT_OK;
    bool is_empty = is_answer && (response->status == 204 || response->status == 400);
    /* libcurl's clock and ours may differ by a millisecond. */
    bool was_silent = !is_answer && lasted_ms + 2 >= p->environment->poll_timeout_ms;
    p->take.transfer = NULL;
    if (is_empty) tt__trouble_end(p, &p->take.trouble, WHAT);
    if (is_empty || was_silent || (is_answer && response->status == 200))
        tt_backoff_reset(&p->take.failures);
    if (was_silent)
        tt__take_update(p);
    else if (is_empty)
        after_empty(p, lasted_ms);
    else if (is_answer && response->status == 200)
        after_jobs(p, response, lasted_ms);
    else
        after_failure(p, response);
}

static int n_wanted(const tt_platform *p) {
    if (p->refresh_worker) return p->has_taken || p->take.n_free < 1 ? 0 : 1;
    return p->take.n_free < TT_MAX_BATCH_JOBS ? p->take.n_free : TT_MAX_BATCH_JOBS;
}

static tt_status begin(tt_platform *p, int n, tt_err *err) {
    tt_buf url;
    tt_buf_init(&url, TT_MAX_PING_URL_BYTES);
    tt_status status = tt_urls_take(&p->urls, n, p->tasks.n > 0, &url, err);
    const tt_http_request request = {.method = "GET",
                                     .url = url.data,
                                     .headers = p->headers.get,
                                     .timeout_ms = p->environment->poll_timeout_ms,
                                     .max_response_bytes =
                                         n > 1 ? TT_MAX_BATCH_TAKE_BYTES : TT_MAX_TAKE_BYTES};
    p->take.begun_ms = tt_clock_ms();
    if (status == TT_OK)
        status = tt_http_send(p->loop, &request, on_response, p, &p->take.transfer, err);
    tt_buf_release(&url);
    return status;
}

void tt__take_update(tt_platform *p) {
    tt_err err;
    if (!p->is_started || p->is_draining || p->take.is_giving) return;
    if (p->take.transfer || p->take.timer) return;
    int n = n_wanted(p);
    if (n < 1 || begin(p, n, &err) == TT_OK) return;
    tt__trouble_tell(p, &p->take.trouble, TT_LOG_ERROR, WHAT, 0, err.message);
    poll_after(p, tt_backoff_next_ms(&p->take.failures));
}

void tt__take_cancel(tt_platform *p) {
    tt_http_cancel(p->loop, p->take.transfer);
    tt_loop_timer_cancel(p->loop, p->take.timer);
    p->take.transfer = NULL;
    p->take.timer = NULL;
}
