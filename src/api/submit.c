/* POST /run and /runsync: a body becomes a job. */
#include <string.h>

#include "api/answer.h"
#include "api/body.h"
#include "api/park.h"
#include "base/clock.h"

static const char *const RETRY_AFTER_S = "5"; /* a full queue needs a job or two to move on */

static void reply_not_submitted(const tt__call *call, const tt_err *err) {
    if (err->code != TT_E_NOMEM) {
        tt__reply_failure(call, err);
        return;
    }
    (void)tt_http_add_header(call->x, "Retry-After", RETRY_AFTER_S, NULL);
    tt__reply_error(call, 429, "%s", err->message);
}

/* False: answered. */
static bool put_in_queue(tt__call *call, const tt__body *body) {
    tt_queue *queue = call->api->options.queue;
    tt_job_spec spec = {.envelope = body->envelope,
                        .execution_timeout_ms = body->execution_timeout_ms,
                        .ttl_ms = body->ttl_ms,
                        .webhook = body->webhook};
    tt_err err;
    memcpy(spec.id, call->id, sizeof spec.id);
    if (queue->submit(queue, &spec, tt_clock_ms(), &err) == TT_OK) return true;
    reply_not_submitted(call, &err);
    return false;
}

/* A job that is accepted while the worker ends would be lost with the queue. False: answered. */
static bool are_jobs_taken(const tt__call *call) {
    const tt_api_options *options = &call->api->options;
    if (!options->takes_jobs || options->takes_jobs(options->context)) return true;
    (void)tt_http_add_header(call->x, "Retry-After", RETRY_AFTER_S, NULL);
    tt__reply_error(call, 503, "the server is shutting down and takes no new jobs");
    return false;
}

/* Makes the job of the call's body; call->id gets its id. False: answered. */
static bool submit(tt__call *call, const char *id_prefix) {
    const tt_api_options *options = &call->api->options;
    if (!are_jobs_taken(call)) return false;
    size_t size = 0;
    const char *text = tt_http_body(call->x, &size);
    tt__body body = {.execution_timeout_ms = options->execution_timeout_ms,
                     .ttl_ms = options->ttl_ms};
    tt_err err;
    tt_status status = tt_job_id_new(id_prefix, call->id, &err);
    if (status == TT_OK) status = tt__body_read(text, size, call->id, &body, &err);
    bool is_in = false;
    if (status == TT_OK)
        is_in = put_in_queue(call, &body);
    else
        tt__reply_failure(call, &err);
    tt__body_release(&body);
    return is_in;
}

void tt__handle_run(const tt__call *call) {
    tt__call job = *call;
    if (submit(&job, "")) tt__reply_brief(&job, tt_job_state_name(TT_JOB_IN_QUEUE));
}

void tt__handle_runsync(const tt__call *call) {
    tt__call job = *call;
    int64_t wait_ms = TT__DEFAULT_WAIT_MS;
    tt_err err;
    if (tt__query_wait(call, &wait_ms, &err) != TT_OK)
        tt__reply_failure(call, &err);
    else if (submit(&job, "sync-"))
        tt__park(&job, TT__WAIT_RUNSYNC, wait_ms);
}
