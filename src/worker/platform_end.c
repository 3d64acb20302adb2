/* How a job's end reaches the platform (runpod.md 1.5, 1.10), and what happens when it does not.
 *
 *     finish -> wait for what is still on its way -> size? -> post until there is a verdict
 *                                                     |           |
 *                          upload to the bucket <-----+-----------+ 413, or 400 to a large body
 *                               |  (or none)
 *                               v
 *                    a small body in its place: the link, or an error that says why
 *
 * The result goes to the spool when its delivery has not ended SPOOL_GRACE_MS after the handler: a post that is confirmed at
 * once costs no file, and while it is not confirmed, the mark of the job in flight stands for it. A worker killed within that
 * time leaves the mark, killed later the result; the next worker with the same id reports or delivers it. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "worker/platform_parts.h"

/* Writing every result at once costs a quarter to a third more CPU time for each no-op job (bench/worker.py, 10 runs each on 2
 * busy cores: 76 to 95 us at 8 jobs at once, 125 to 170 us at one). A platform on the same machine answers within this time;
 * one across a network, with a picture to receive, does not. */
enum { SPOOL_GRACE_MS = 20 };
/* A 400 to a body of this size is most likely about the size: refusals were seen from 10 MB on (runpod.md 1.10). */
enum { DOUBTFUL_BYTES = 5 * 1000 * 1000 };

/* ---- out of the table -------------------------------------------------------------------------------------------- */

static void remove_task(tt__task *task) {
    tt_platform *p = task->platform;
    bool was_leftover = task->is_leftover;
    tt__task_free(task);
    if (was_leftover && !p->is_draining) tt__next_leftover(p);
    tt__check_drained(p);
}

void tt__task_forget(tt__task *task) {
    tt_spool *spool = task->platform->spool;
    tt__task_silence(task);
    tt_spool_remove(spool, task->end.entry);
    tt_spool_unmark(spool, task->end.mark);
    remove_task(task);
}

bool tt__task_leave(tt__task *task) {
    tt_spool *spool = task->platform->spool;
    if (!task->end.entry && !task->is_running)
        task->end.entry = tt_spool_put(spool, &task->facts, &task->end.body);
    bool is_kept = tt_spool_leave(spool, task->end.entry);
    task->end.entry = NULL;
    if (is_kept) tt_spool_unmark(spool, task->end.mark);
    return is_kept;
}

static void leave_task(tt__task *task, const char *reason) {
    tt_platform *p = task->platform;
    bool is_kept = tt__task_leave(task);
    tt_log_write(p->log, TT_LOG_ERROR, task->facts.job_id,
                 "The result could not be delivered: %s. It is %s.", reason,
                 is_kept ? "kept on disk for the next worker with this id" : "lost");
    remove_task(task);
}

/* ---- a small body in place of the result ------------------------------------------------------------------------- */

static const char OUT_OF_MEMORY[] = "{\"error\": \"the worker ran out of memory\"}";

/* What stands in the spool follows: a worker that takes over must not try the large body again. */
static void respool(tt__task *task) {
    tt_spool *spool = task->platform->spool;
    if (!task->end.entry) return;
    tt_spool_remove(spool, task->end.entry);
    task->end.entry = tt_spool_put(spool, &task->facts, &task->end.body);
}

static void set_error(tt__task *task, const char *sentence) {
    tt_err err;
    tt_wire_release(&task->end.body);
    tt_blob_release(task->end.output);
    task->end.output = NULL;
    task->end.is_small = true;
    if (tt_wire_error(&task->end.body, sentence, task->end.stops_pod, &err) != TT_OK)
        tt_wire_text(&task->end.body, OUT_OF_MEMORY);
    respool(task);
}

static void set_size_error(tt__task *task, const char *reason) {
    bool has_bucket = task->platform->environment->bucket_url[0] != '\0';
    size_t size = task->end.body.size_bytes;
    char sentence[TT_ERR_MESSAGE_BYTES + 256];
    if (has_bucket)
        snprintf(
            sentence, sizeof sentence,
            "the result has %zu bytes, more than the platform takes, and could not be uploaded: "
            "%s",
            size, reason);
    else
        snprintf(sentence, sizeof sentence,
                 "the result has %zu bytes; %s. Set BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and "
                 "BUCKET_SECRET_ACCESS_KEY to have such results uploaded",
                 size, reason);
    set_error(task, sentence);
}

void tt__task_uploaded(tt__task *task, const char *link, const char *reason) {
    const tt_final end = {.stops_pod = task->end.stops_pod};
    size_t size = task->end.output ? task->end.output->size : task->end.body.size_bytes;
    tt_wire_body body;
    tt_err err;
    if (link && tt_wire_link(&body, link, size, &end, &err) == TT_OK) {
        tt_log_write(task->platform->log, TT_LOG_INFO, task->facts.job_id,
                     "The result was uploaded; the platform gets a link.");
        tt_wire_release(&task->end.body);
        task->end.body = body;
        task->end.is_small = true;
        respool(task);
    } else {
        tt_log_write(task->platform->log, TT_LOG_ERROR, task->facts.job_id,
                     "The result could not be uploaded: %s.", link ? err.message : reason);
        set_size_error(task, link ? err.message : reason);
    }
    tt__task_try_end(task);
}

/* Upload or error; `limit` says what is in the way. */
static void shrink(tt__task *task, const char *limit) {
    tt_err err;
    tt_log_write(task->platform->log, TT_LOG_WARN, task->facts.job_id,
                 "The result has %zu bytes; %s.", task->end.body.size_bytes, limit);
    if (tt__task_upload(task, &err) == TT_OK) return;
    bool has_bucket = task->platform->environment->bucket_url[0] != '\0';
    set_size_error(task, has_bucket ? err.message : limit);
    tt__task_try_end(task);
}

/* ---- the post ---------------------------------------------------------------------------------------------------- */

static void refused(tt__task *task, const tt_delivery_outcome *outcome) {
    bool is_large = task->end.body.size_bytes > DOUBTFUL_BYTES;
    char sentence[128];
    if (task->end.is_small) {
        tt_log_write(task->platform->log, TT_LOG_ERROR, task->facts.job_id,
                     "The platform refuses the report as well: %s.", outcome->reason);
        tt__task_forget(task);
    } else if (outcome->status == 413 || (outcome->status == 400 && is_large)) {
        snprintf(sentence, sizeof sentence, "the platform refuses that size (HTTP %d)",
                 outcome->status);
        shrink(task, sentence);
    } else {
        snprintf(sentence, sizeof sentence, "the platform refused the result: %s", outcome->reason);
        tt_log_write(task->platform->log, TT_LOG_ERROR, task->facts.job_id,
                     "Failed to return job "
                     "results. | %s",
                     outcome->reason);
        set_error(task, sentence);
        tt__task_try_end(task);
    }
}

static void on_end_done(void *context, const tt_delivery_outcome *outcome) {
    tt__task *task = context;
    const tt_log *log = task->platform->log;
    task->end.delivery = NULL;
    switch (outcome->verdict) {
    case TT_DELIVERY_DELIVERED:
        tt_log_write(log, TT_LOG_DEBUG, task->facts.job_id, "Results sent.");
        tt__task_forget(task);
        break;
    case TT_DELIVERY_GONE:
        tt_log_write(log, TT_LOG_WARN, task->facts.job_id,
                     "The platform no longer knows this job (%s): its result is dropped.",
                     outcome->reason);
        tt__task_forget(task);
        break;
    case TT_DELIVERY_REFUSED:
        refused(task, outcome);
        break;
    case TT_DELIVERY_EXPIRED:
        leave_task(task, outcome->reason);
        break;
    }
}

static int64_t patience_ms(const tt__task *task) {
    int64_t drain_ms = tt__pauses(task->platform, TT__DRAIN_PATIENCE);
    return task->platform->is_draining && drain_ms < task->patience_ms ? drain_ms
                                                                       : task->patience_ms;
}

static tt_status post(tt__task *task, tt_err *err) {
    tt_platform *p = task->platform;
    tt_wire_post_headers headers;
    tt_buf url;
    tt_wire_post_headers_fill(&p->headers, task->facts.job_id, &headers);
    tt_buf_init(&url, TT_MAX_PING_URL_BYTES);
    tt_status status = tt_urls_done(&p->urls, task->facts.worker_id, task->facts.job_id,
                                    task->facts.is_stream, &url, err);
    const tt_delivery_options options = {.loop = p->loop,
                                         .log = p->log,
                                         .what = "result",
                                         .job_id = task->facts.job_id,
                                         .method = "POST",
                                         .url = url.data,
                                         .headers = headers.lines,
                                         .body = task->end.body.pieces,
                                         .n_body = task->end.body.n_pieces,
                                         .retries_forbidden = true,
                                         .patience_ms = patience_ms(task),
                                         .retry_base_ms = p->environment->retry_base_ms,
                                         .done = on_end_done,
                                         .context = task};
    if (status == TT_OK) status = tt_delivery_start(&options, &task->end.delivery, err);
    tt_buf_release(&url);
    return status;
}

/* A progress post that hangs must not hold up the result for long; cut off, it cannot overtake it by much. */
static void on_progress_wait(void *context) {
    tt__task *task = context;
    task->end.progress_wait = NULL;
    tt_http_cancel(task->platform->loop, task->progress.transfer);
    task->progress.transfer = NULL;
    tt_wire_release(&task->progress.body);
    tt__task_try_end(task);
}

void tt__task_try_end(tt__task *task) {
    tt_platform *p = task->platform;
    char limit[96];
    tt_err err;
    if (task->end.delivery) return;
    if (tt__task_is_talking(task)) {
        if (task->progress.transfer && !task->end.progress_wait)
            tt__after(p, tt__pauses(p, TT__PROGRESS_WAITS), on_progress_wait, task,
                      &task->end.progress_wait);
        return;
    }
    tt_loop_timer_cancel(p->loop, task->end.progress_wait);
    task->end.progress_wait = NULL;
    if (!task->end.is_small &&
        (int64_t)task->end.body.size_bytes > p->environment->max_output_bytes) {
        snprintf(limit, sizeof limit, "the platform takes at most %" PRId64,
                 p->environment->max_output_bytes);
        shrink(task, limit);
        return;
    }
    if (post(task, &err) != TT_OK) leave_task(task, err.message);
}

/* ---- the end of the handler -------------------------------------------------------------------------------------- */

static void on_spool_wait(void *context) {
    tt__task *task = context;
    task->end.spool_wait = NULL;
    if (!task->end.entry)
        task->end.entry = tt_spool_put(task->platform->spool, &task->facts, &task->end.body);
}

static void begin_end(tt__task *task) {
    tt_platform *p = task->platform;
    task->is_running = false;
    tt__task_quiet(task);
    if (p->spool) tt__after(p, SPOOL_GRACE_MS, on_spool_wait, task, &task->end.spool_wait);
    tt__task_try_end(task);
}

/* The dispatcher hands back what it was not allowed to finish. */
static const char *why_unfinished(const tt__task *task) {
    if (tt_clock_ms() >= task->deadline_ms) return "the job ran longer than its execution timeout";
    return "the worker was shut down before this job was finished; it may be sent again";
}

void tt__task_finish(tt__task *task, const tt_final *final, bool was_stopped) {
    if (task->is_stopped) {
        tt_log_write(task->platform->log, TT_LOG_INFO, task->facts.job_id, "Job stopped.");
        task->is_running = false;
        tt__task_forget(task);
        return;
    }
    task->facts.is_stream = final->is_stream;
    task->end.stops_pod = final->stops_pod;
    if (was_stopped) {
        set_error(task, why_unfinished(task));
    } else {
        tt_wire_final(&task->end.body, final);
        if (!final->error) task->end.output = tt_blob_hold(final->output);
    }
    begin_end(task);
}

void tt__task_refuse(tt__task *task, const char *sentence) {
    set_error(task, sentence);
    begin_end(task);
}

void tt__task_hurry(tt__task *task) {
    if (task->end.delivery) tt_delivery_hurry(task->end.delivery, patience_ms(task));
}
