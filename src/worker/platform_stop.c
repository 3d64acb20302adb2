/* The stop channel: a long poll of its own that names jobs nobody wants any more (runpod.md 1.8). A stopped job posts
 * nothing. Unlike the reference, a platform that lacks the route is asked once a minute, with one line in the log, not once
 * a second for ever. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "worker/platform_parts.h"

static const char WHAT[] = "poll for jobs to stop";

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

static void stop_task(tt_platform *p, tt__task *task) {
    tt_log_write(p->log, TT_LOG_INFO, task->facts.job_id, "Stopping job.");
    if (!task->is_running) { /* its result is on the way to somebody who does not want it */
        tt__task_forget(task);
        return;
    }
    task->is_stopped = true;
    tt__task_silence(task);
    tt_dispatch_cancel(p->dispatch, task->key);
}

/* The list changes under way (forget, finish from within cancel), so it is walked by key. */
static void stop_id(void *context, const char *id) {
    tt_platform *p = context;
    int n = 0;
    tt__task *next = NULL;
    for (tt__task *task = p->tasks.first; task; task = next) {
        uint64_t next_key = task->next ? task->next->key : 0;
        if (!task->is_stopped && strcmp(task->facts.job_id, id) == 0) {
            stop_task(p, task);
            n++;
        }
        next = next_key ? tt__task_find(p, next_key) : NULL;
    }
    if (n == 0)
        tt_log_write(p->log, TT_LOG_DEBUG, tt_job_id_is_valid(id) ? id : NULL,
                     "The platform stops a job that does not run here.");
    p->stop.n_matched += n;
}

/* ---- polling ----------------------------------------------------------------------------------------------------- */

static void begin(void *context);

static void poll_after(tt_platform *p, int64_t delay_ms) {
    tt__after(p, delay_ms, begin, p, &p->stop.timer);
}

static void read_answer(tt_platform *p, const tt_http_response *response) {
    tt_err err;
    tt_status status = tt_wire_read_stops(response->body, response->body_bytes, stop_id, p, &err);
    if (status != TT_OK)
        tt_log_write(p->log, TT_LOG_WARN, NULL, "The answer of the stop channel is ignored: %s",
                     err.message);
}

static void tell_absent(tt_platform *p, int status) {
    if (p->stop.trouble.status == status) return;
    p->stop.trouble.status = status;
    tt_log_write(p->log, TT_LOG_INFO, NULL,
                 "The platform has no stop channel (HTTP %d): jobs cannot be stopped one by one.",
                 status);
}

/* How long until the next poll. */
static int64_t pause_after(tt_platform *p, const tt_http_response *response, int64_t lasted_ms) {
    int64_t short_ms = tt__pauses(p, TT__SHORT_PAUSES);
    char reason[128];
    switch (response->failure == TT_OK ? response->status : 0) {
    case 200:
    case 204:
        tt__trouble_end(p, &p->stop.trouble, WHAT);
        tt_backoff_reset(&p->stop.failures);
        return lasted_ms >= short_ms || p->stop.n_matched > 0 ? 0 : short_ms;
    case 404:
    case 405:
    case 501:
        tell_absent(p, response->status);
        return tt__pauses(p, TT__ABSENT_PAUSES);
    case 0:
        if (lasted_ms + 2 >= p->environment->poll_timeout_ms)
            return 0; /* a long poll without news */
        break;
    }
    tt__trouble_tell(p, &p->stop.trouble, TT_LOG_WARN, WHAT, response->status,
                     tt__reason(response, reason));
    if (response->status != 429) return tt_backoff_next_ms(&p->stop.failures);
    int64_t asked_ms = response->retry_after_ms;
    if (asked_ms < 0) return tt__pauses(p, TT__LIMIT_PAUSES);
    return asked_ms < TT__MAX_RETRY_AFTER_MS ? asked_ms : TT__MAX_RETRY_AFTER_MS;
}

static void on_response(void *context, const tt_http_response *response) {
    tt_platform *p = context;
    p->stop.transfer = NULL;
    p->stop.n_matched = 0;
    if (response->failure == TT_OK && response->status == 200 && response->body_bytes > 0)
        read_answer(p, response);
    poll_after(p, pause_after(p, response, tt_clock_ms() - p->stop.begun_ms));
}

static void begin(void *context) {
    tt_platform *p = context;
    const tt_http_request request = {.method = "GET",
                                     .url = p->urls.stop,
                                     .headers = p->headers.get,
                                     .timeout_ms = p->environment->poll_timeout_ms,
                                     .max_response_bytes = TT_MAX_STOP_BYTES};
    tt_err err;
    p->stop.timer = NULL;
    p->stop.begun_ms = tt_clock_ms();
    if (tt_http_send(p->loop, &request, on_response, p, &p->stop.transfer, &err) == TT_OK) return;
    tt__trouble_tell(p, &p->stop.trouble, TT_LOG_WARN, WHAT, 0, err.message);
    poll_after(p, tt_backoff_next_ms(&p->stop.failures));
}

void tt__stop_start(tt_platform *p) {
    if (p->urls.stop)
        begin(p);
    else
        tt_log_write(p->log, TT_LOG_WARN, NULL,
                     "The stop channel could not be derived from the job-take URL; per-job stop "
                     "is disabled for this worker.");
}

void tt__stop_cancel(tt_platform *p) {
    tt_http_cancel(p->loop, p->stop.transfer);
    tt_loop_timer_cancel(p->loop, p->stop.timer);
    p->stop.transfer = NULL;
    p->stop.timer = NULL;
}
