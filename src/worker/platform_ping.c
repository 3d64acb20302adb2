/* Heartbeats (runpod.md 1.9): the first at once, then on a fixed grid, so that a late one does not delay those after it. One
 * in flight at most; the next beat is the retry. Handlers run in another process, so they cannot hold one up. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "worker/platform_parts.h"

static const char WHAT[] = "send a heartbeat";
enum { UNFIT_TIMEOUT_MS = 2000, MAX_REASON_BYTES = 256 }; /* the reference's */

static void on_response(void *context, const tt_http_response *response) {
    tt_platform *p = context;
    char reason[128];
    p->ping.transfer = NULL;
    if (response->failure == TT_OK && response->status < 400)
        tt__trouble_end(p, &p->ping.trouble, WHAT);
    else
        tt__trouble_tell(p, &p->ping.trouble, TT_LOG_WARN, WHAT, response->status,
                         tt__reason(response, reason));
}

static tt_status send_get(tt_platform *p, const char *url, int64_t timeout_ms, tt_http_done_fn done,
                          tt_http_transfer **out, tt_err *err) {
    const tt_http_request request = {.method = "GET",
                                     .url = url,
                                     .headers = p->headers.ping,
                                     .timeout_ms = timeout_ms,
                                     .connect_timeout_ms = timeout_ms,
                                     .max_response_bytes = TT_MAX_STOP_BYTES};
    return tt_http_send(p->loop, &request, done, p, out, err);
}

static tt_status send_ping(tt_platform *p, tt_err *err) {
    tt_buf ids, url;
    tt_buf_init(&ids, TT_MAX_PING_IDS_BYTES);
    tt_buf_init(&url, TT_MAX_PING_URL_BYTES);
    tt_status status = tt__task_ids(p, &ids, err);
    if (status == TT_OK) status = tt_urls_ping(&p->urls, ids.size ? ids.data : "", &url, err);
    if (status == TT_OK)
        status = send_get(p, url.data, 2 * p->environment->ping_interval_ms, on_response,
                          &p->ping.transfer, err);
    tt_buf_release(&ids);
    tt_buf_release(&url);
    return status;
}

static void beat(void *context) {
    tt_platform *p = context;
    int64_t now = tt_clock_ms(), interval = p->environment->ping_interval_ms;
    tt_err err;
    p->ping.timer = NULL;
    p->ping.due_ms += interval;
    if (p->ping.due_ms <= now) p->ping.due_ms = now + interval; /* the machine slept */
    tt__after(p, p->ping.due_ms - now, beat, p, &p->ping.timer);
    if (p->ping.transfer || send_ping(p, &err) == TT_OK) return;
    tt__trouble_tell(p, &p->ping.trouble, TT_LOG_WARN, WHAT, 0, err.message);
}

void tt__ping_start(tt_platform *p) {
    if (!p->urls.ping) {
        tt_log_write(p->log, TT_LOG_WARN, NULL,
                     "RUNPOD_WEBHOOK_PING is not set: no heartbeats are sent.");
        return;
    }
    p->ping.due_ms = tt_clock_ms();
    beat(p);
}

/* ---- unfit ------------------------------------------------------------------------------------------------------- */

static void end_unfit(tt_platform *p) {
    void (*done)(void *context) = p->ping.unfit_done;
    p->ping.unfit_done = NULL;
    if (done) done(p->ping.unfit_context);
}

static void on_unfit_response(void *context, const tt_http_response *response) {
    tt_platform *p = context;
    (void)response; /* nothing depends on it: the worker ends */
    p->ping.unfit = NULL;
    end_unfit(p);
}

static void on_unfit_timer(void *context) {
    tt_platform *p = context;
    p->ping.unfit_timer = NULL;
    end_unfit(p);
}

static tt_status send_unfit(tt_platform *p, const char *check, const char *reason, tt_err *err) {
    char cut[MAX_REASON_BYTES + 1];
    tt_buf url;
    snprintf(cut, sizeof cut, "%s", reason);
    if (!p->urls.ping) return tt_fail(err, TT_E_NOT_FOUND, "RUNPOD_WEBHOOK_PING is not set");
    tt_buf_init(&url, TT_MAX_PING_URL_BYTES);
    tt_status status = tt_urls_unhealthy(&p->urls, check, cut, &url, err);
    if (status == TT_OK)
        status = send_get(p, url.data, UNFIT_TIMEOUT_MS, on_unfit_response, &p->ping.unfit, err);
    tt_buf_release(&url);
    return status;
}

void tt_platform_report_unfit(tt_platform *p, const char *check, const char *reason,
                              void (*done)(void *context), void *context) {
    tt_err err;
    p->ping.unfit_done = done;
    p->ping.unfit_context = context;
    tt__take_cancel(p);
    if (send_unfit(p, check, reason, &err) == TT_OK) return;
    tt_log_write(p->log, TT_LOG_WARN, NULL, "The platform is not told: %s", err.message);
    if (tt_loop_timer(p->loop, 0, on_unfit_timer, p, &p->ping.unfit_timer, NULL) != TT_OK)
        end_unfit(p);
}

void tt__ping_cancel(tt_platform *p) {
    tt_http_cancel(p->loop, p->ping.transfer);
    tt_http_cancel(p->loop, p->ping.unfit);
    tt_loop_timer_cancel(p->loop, p->ping.timer);
    tt_loop_timer_cancel(p->loop, p->ping.unfit_timer);
    p->ping.transfer = p->ping.unfit = NULL;
    p->ping.timer = p->ping.unfit_timer = NULL;
}
