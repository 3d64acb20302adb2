/* What is said about a job while it runs: progress and a stream's chunks (runpod.md 1.6, 1.7).
 *
 * Progress: one post in flight per job, the newest value waits, what it replaces is dropped; at most four a second. So values
 * arrive in order, and a handler that reports every step costs the platform little. A post that fails is not repeated: a
 * newer one follows.
 *
 * Chunks: one after the other, each with retries, because a client sees them in the order of their arrival. A chunk that
 * cannot be delivered is given up, and the stream goes on, as with the reference. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "worker/platform_parts.h"

enum { PROGRESS_INTERVAL_MS = 250 };

bool tt__task_is_talking(const tt__task *task) {
    return task->progress.transfer || task->stream.first;
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

static void pump_progress(tt__task *task);

static void on_progress_response(void *context, const tt_http_response *response) {
    tt__task *task = context;
    char reason[128];
    task->progress.transfer = NULL;
    tt_wire_release(&task->progress.body);
    if (response->failure != TT_OK || response->status >= 400)
        tt_log_write(task->platform->log, TT_LOG_DEBUG, task->facts.job_id,
                     "A progress update was not delivered: %s.", tt__reason(response, reason));
    if (task->is_running)
        pump_progress(task);
    else
        tt__task_try_end(task);
}

static void on_progress_timer(void *context) {
    tt__task *task = context;
    task->progress.timer = NULL;
    pump_progress(task);
}

static tt_status send_progress(tt__task *task, tt_err *err) {
    tt_platform *p = task->platform;
    tt_wire_post_headers headers;
    tt_buf url;
    tt_wire_post_headers_fill(&p->headers, task->facts.job_id, &headers);
    tt_buf_init(&url, TT_MAX_PING_URL_BYTES);
    tt_status status = tt_urls_done(&p->urls, NULL, task->facts.job_id, false, &url, err);
    const tt_http_request request = {.method = "POST",
                                     .url = url.data,
                                     .headers = headers.lines,
                                     .body = task->progress.body.pieces,
                                     .n_body = task->progress.body.n_pieces,
                                     .timeout_ms = tt__pauses(p, TT__PROGRESS_TRIES)};
    if (status == TT_OK)
        status = tt_http_send(p->loop, &request, on_progress_response, task,
                              &task->progress.transfer, err);
    tt_buf_release(&url);
    return status;
}

static void pump_progress(tt__task *task) {
    int64_t now = tt_clock_ms(), due_ms = task->progress.last_ms + PROGRESS_INTERVAL_MS;
    tt_err err;
    if (!task->progress.pending || task->progress.transfer || task->progress.timer) return;
    if (now < due_ms) {
        tt__after(task->platform, due_ms - now, on_progress_timer, task, &task->progress.timer);
        return;
    }
    task->progress.last_ms = now;
    tt_wire_progress(&task->progress.body, task->progress.pending);
    tt_blob_release(task->progress.pending);
    task->progress.pending = NULL;
    if (send_progress(task, &err) == TT_OK) return;
    tt_wire_release(&task->progress.body);
    tt_log_write(task->platform->log, TT_LOG_DEBUG, task->facts.job_id, "%s", err.message);
}

void tt__task_progress(tt__task *task, tt_blob *value) {
    tt_blob_release(task->progress.pending);
    task->progress.pending = tt_blob_hold(value);
    pump_progress(task);
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

static void pump_stream(tt__task *task);

static void tell_lost_chunk(tt__task *task, const char *reason) {
    if (!task->stream.has_lost)
        tt_log_write(task->platform->log, TT_LOG_ERROR, task->facts.job_id,
                     "A chunk of the stream is lost: %s.", reason);
    task->stream.has_lost = true;
}

/* `sent` may add a chunk, and even end the job: false when the task is gone. */
static bool pop_chunk(tt__task *task) {
    tt_platform *p = task->platform;
    uint64_t key = task->key;
    tt__chunk *chunk = task->stream.first;
    task->stream.first = chunk->next;
    if (!chunk->next) task->stream.last = &task->stream.first;
    tt_wire_release(&task->stream.body);
    tt_blob_release(chunk->blob);
    void (*sent)(void *context) = chunk->sent;
    void *context = chunk->context;
    tt_free(chunk);
    sent(context);
    return tt__task_find(p, key) == task;
}

static void on_chunk_done(void *context, const tt_delivery_outcome *outcome) {
    tt__task *task = context;
    task->stream.delivery = NULL;
    if (outcome->verdict != TT_DELIVERY_DELIVERED) tell_lost_chunk(task, outcome->reason);
    if (pop_chunk(task)) pump_stream(task);
}

static tt_status deliver_chunk(tt__task *task, tt_err *err) {
    tt_platform *p = task->platform;
    tt_wire_post_headers headers;
    tt_buf url;
    tt_wire_post_headers_fill(&p->headers, task->facts.job_id, &headers);
    tt_buf_init(&url, TT_MAX_PING_URL_BYTES);
    tt_status status = tt_urls_stream(&p->urls, task->facts.job_id, &url, err);
    const tt_delivery_options options = {.loop = p->loop,
                                         .log = p->log,
                                         .what = "chunk",
                                         .job_id = task->facts.job_id,
                                         .method = "POST",
                                         .url = url.data,
                                         .headers = headers.lines,
                                         .body = task->stream.body.pieces,
                                         .n_body = task->stream.body.n_pieces,
                                         .retries_forbidden = true,
                                         .patience_ms = tt__pauses(p, TT__CHUNK_PATIENCE),
                                         .retry_base_ms = p->environment->retry_base_ms,
                                         .done = on_chunk_done,
                                         .context = task};
    if (status == TT_OK) status = tt_delivery_start(&options, &task->stream.delivery, err);
    tt_buf_release(&url);
    return status;
}

static void pump_stream(tt__task *task) {
    tt_err err;
    while (task->stream.first && !task->stream.delivery) {
        tt_wire_chunk(&task->stream.body, task->stream.first->blob);
        if (deliver_chunk(task, &err) == TT_OK) return;
        tell_lost_chunk(task, err.message);
        if (!pop_chunk(task)) return;
    }
    if (!task->stream.first && !task->is_running) tt__task_try_end(task);
}

void tt__task_stream(tt__task *task, tt_blob *blob, void (*sent)(void *context), void *context) {
    tt__chunk *chunk = task->platform->urls.stream ? tt_alloc(sizeof *chunk) : NULL;
    if (!chunk) {
        tell_lost_chunk(task, task->platform->urls.stream
                                  ? "out of memory"
                                  : "RUNPOD_WEBHOOK_POST_STREAM is not set");
        sent(context);
        return;
    }
    *chunk = (tt__chunk){NULL, tt_blob_hold(blob), sent, context};
    *task->stream.last = chunk;
    task->stream.last = &chunk->next;
    if (task->stream.first == chunk) pump_stream(task);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void tt__task_quiet(tt__task *task) {
    tt_blob_release(task->progress.pending);
    task->progress.pending = NULL;
    tt_loop_timer_cancel(task->platform->loop, task->progress.timer);
    task->progress.timer = NULL;
}

void tt__task_silence(tt__task *task) {
    tt__task_quiet(task);
    tt_http_cancel(task->platform->loop, task->progress.transfer);
    task->progress.transfer = NULL;
    tt_wire_release(&task->progress.body);
    tt_delivery_cancel(task->stream.delivery);
    task->stream.delivery = NULL;
    while (task->stream.first && pop_chunk(task)) continue;
}
