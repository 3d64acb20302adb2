/* The table of jobs that the platform waits for: by key for the dispatcher, in the order taken for heartbeats. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "worker/platform_parts.h"

tt_status tt__task_new(tt_platform *p, const char *job_id, tt__task **out, tt_err *err) {
    tt__task *task = tt_alloc(sizeof *task);
    if (!task) return tt_fail_nomem(err, "job", sizeof *task);
    task->platform = p;
    task->key = ++p->tasks.last_key;
    task->deadline_ms = INT64_MAX;
    task->patience_ms = p->environment->delivery_patience_ms;
    task->stream.last = &task->stream.first;
    task->end.mark = -1;
    snprintf(task->facts.job_id, TT_JOB_ID_BYTES, "%s", job_id);
    snprintf(task->facts.worker_id, TT_JOB_ID_BYTES, "%s", p->environment->worker_id);
    tt__task **bucket = &p->tasks.of_key[task->key % TT__TASK_BUCKETS];
    task->next_of_key = *bucket;
    *bucket = task;
    task->previous = p->tasks.last;
    *(p->tasks.last ? &p->tasks.last->next : &p->tasks.first) = task;
    p->tasks.last = task;
    p->tasks.n++;
    *out = task;
    return TT_OK;
}

tt__task *tt__task_find(tt_platform *p, uint64_t key) {
    tt__task *task = p->tasks.of_key[key % TT__TASK_BUCKETS];
    while (task && task->key != key) task = task->next_of_key;
    return task;
}

static void unlink_task(tt__task *task) {
    tt_platform *p = task->platform;
    tt__task **at = &p->tasks.of_key[task->key % TT__TASK_BUCKETS];
    while (*at != task) at = &(*at)->next_of_key;
    *at = task->next_of_key;
    *(task->previous ? &task->previous->next : &p->tasks.first) = task->next;
    *(task->next ? &task->next->previous : &p->tasks.last) = task->previous;
    p->tasks.n--;
}

static void free_chunks(tt__chunk *chunk) {
    while (chunk) {
        tt__chunk *next = chunk->next;
        tt_blob_release(chunk->blob);
        tt_free(chunk);
        chunk = next;
    }
}

void tt__task_free(tt__task *task) {
    tt_loop *loop = task->platform->loop;
    unlink_task(task);
    tt_http_cancel(loop, task->progress.transfer);
    tt_loop_timer_cancel(loop, task->progress.timer);
    tt_loop_timer_cancel(loop, task->end.progress_wait);
    tt_loop_timer_cancel(loop, task->end.spool_wait);
    tt_delivery_cancel(task->stream.delivery);
    tt_delivery_cancel(task->end.delivery);
    tt_blob_release(task->progress.pending);
    tt_blob_release(task->end.output);
    tt_wire_release(&task->progress.body);
    tt_wire_release(&task->stream.body);
    tt_wire_release(&task->end.body);
    free_chunks(task->stream.first);
    tt_free(task->end.link);
    tt_free(task);
}

/* Two jobs may carry one id (runpod.md 1.4). */
static bool is_listed_before(const tt__task *task) {
    for (const tt__task *other = task->previous; other; other = other->previous)
        if (!other->is_stopped && strcmp(other->facts.job_id, task->facts.job_id) == 0) return true;
    return false;
}

tt_status tt__task_ids(tt_platform *p, tt_buf *out, tt_err *err) {
    for (const tt__task *task = p->tasks.first; task; task = task->next) {
        if (task->is_stopped || is_listed_before(task)) continue;
        if (out->size + 1 + strlen(task->facts.job_id) > TT_MAX_PING_IDS_BYTES) break;
        if (out->size > 0) TT_TRY(tt_buf_puts(out, ",", err));
        TT_TRY(tt_buf_puts(out, task->facts.job_id, err));
    }
    return TT_OK;
}
