/* The platform source: its life, and the dispatcher's face of it. See platform.h.
 *
 *     take (platform_take.c) --job--> tt__task in the table --give--> dispatcher --> handler
 *                                         |  progress, chunks (platform_progress.c)
 *     stop (platform_stop.c) ----id-----> |  end (platform_end.c): delivery, spool, upload
 *     ping (platform_ping.c) <---ids----- |
 *
 * A task is in the table from the take until the platform has its end, so heartbeats list a job while its result is being
 * delivered, and the worker is drained when the table is empty. Slots are the dispatcher's business: the next take starts
 * when the handler is free, while the result before is still on its way.
 *
 * Everything runs on the loop's thread. */
#include "worker/platform.h"

#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "worker/platform_parts.h"

/* The loop's thread goes before handlers that burn all cores: heartbeats must not be late. Where the system forbids it, they
 * compete as equals. */
enum { LOOP_NICENESS = -5 };

int64_t tt__pauses(const tt_platform *p, int n) {
    return n * p->environment->retry_base_ms;
}

void tt__after(tt_platform *p, int64_t delay_ms, tt_loop_fn fn, void *context, tt_timer **out) {
    tt_err err;
    if (tt_loop_timer(p->loop, delay_ms, fn, context, out, &err) == TT_OK) return;
    *out = NULL;
    tt_log_write(p->log, TT_LOG_ERROR, NULL, "The worker ends: %s", err.message);
    if (p->dispatch) tt_dispatch_drain(p->dispatch);
}

/* ---- troubles ---------------------------------------------------------------------------------------------------- */

const char *tt__reason(const tt_http_response *response, char out[128]) {
    if (response->failure != TT_OK)
        snprintf(out, 128, "%s", response->message);
    else
        snprintf(out, 128, "HTTP %d", response->status);
    return out;
}

void tt__trouble_tell(tt_platform *p, tt__trouble *trouble, tt_log_level level, const char *what,
                      int status, const char *reason) {
    if (trouble->status == status) return;
    trouble->status = status;
    tt_log_write(p->log, level, NULL, "Failed to %s. | %s. Trying again.", what, reason);
}

void tt__trouble_end(tt_platform *p, tt__trouble *trouble, const char *what) {
    if (trouble->status == TT__NO_TROUBLE) return;
    trouble->status = TT__NO_TROUBLE;
    tt_log_write(p->log, TT_LOG_INFO, NULL, "The platform can be reached again to %s.", what);
}

/* ---- the dispatcher's face --------------------------------------------------------------------------------------- */

static tt_platform *of(tt_source *source) {
    return (tt_platform *)source;
}

static void on_slots(tt_source *source, int n_free, int n_running) {
    (void)n_running;
    of(source)->take.n_free = n_free;
    tt__take_update(of(source));
}

static void on_progress(tt_source *source, uint64_t key, tt_blob *value) {
    tt__task *task = tt__task_find(of(source), key);
    if (task && task->is_running && !task->is_stopped) tt__task_progress(task, value);
}

static void on_stream(tt_source *source, uint64_t key, tt_blob *chunk, void (*sent)(void *context),
                      void *context) {
    tt__task *task = tt__task_find(of(source), key);
    if (task && task->is_running && !task->is_stopped)
        tt__task_stream(task, chunk, sent, context);
    else
        sent(context);
}

static void on_finish(tt_source *source, uint64_t key, const tt_final *final, bool was_stopped) {
    tt__task *task = tt__task_find(of(source), key);
    if (task && task->is_running) tt__task_finish(task, final, was_stopped);
}

static void on_drain(tt_source *source) {
    tt_platform *p = of(source);
    p->is_draining = true;
    tt__take_cancel(p);
    for (tt__task *task = p->tasks.first; task; task = task->next) tt__task_hurry(task);
    tt__check_drained(p);
}

static void tell_drained(void *context) {
    tt_platform *p = context;
    p->drained_timer = NULL;
    tt_dispatch_source_drained(p->dispatch);
}

/* Told from a timer: the dispatcher may be in the middle of telling us something. */
void tt__check_drained(tt_platform *p) {
    if (!p->is_draining || p->tasks.n > 0 || p->has_told_drained) return;
    p->has_told_drained = true;
    tt__after(p, 0, tell_drained, p, &p->drained_timer);
}

/* ---- left-overs -------------------------------------------------------------------------------------------------- */

/* One at a time: there may be many, and each may be large. */
static void begin_leftover(void *context) {
    tt_platform *p = context;
    tt_spool_leftover left;
    tt__task *task;
    tt_err err;
    p->leftover_timer = NULL;
    if (p->is_draining || !tt_spool_next_leftover(p->spool, &left)) return;
    if (tt__task_new(p, left.facts.job_id, &task, &err) != TT_OK) {
        tt_log_write(p->log, TT_LOG_ERROR, left.facts.job_id, "%s", err.message);
        tt_spool_leave(p->spool, left.entry);
        tt_blob_release(left.body);
        return;
    }
    task->is_leftover = true;
    task->facts = left.facts;
    task->end.mark = left.mark;
    task->end.entry = left.entry;
    tt_log_write(p->log, TT_LOG_INFO, left.facts.job_id,
                 left.body ? "Delivering a result that the worker before could not deliver."
                           : "Reporting a job that was running when the worker was killed.");
    if (left.body) {
        tt_wire_whole(&task->end.body, left.body);
        tt_blob_release(left.body);
        tt__task_try_end(task);
    } else {
        tt__task_refuse(task, "the worker was killed while this job ran; it may be sent again");
    }
}

void tt__next_leftover(tt_platform *p) {
    if (p->spool && !p->leftover_timer) tt__after(p, 0, begin_leftover, p, &p->leftover_timer);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void open_spool(tt_platform *p) {
    const tt_environment *e = p->environment;
    tt_err err;
    if (!e->spool_folder[0]) return;
    /* Workers without a name that outlives the process share one folder; the first that comes has it. */
    const char *name = e->has_pod_id ? e->worker_id : "unnamed";
    if (tt_spool_open(e->spool_folder, name, e->worker_id, p->log, &p->spool, &err) != TT_OK)
        tt_log_write(p->log, TT_LOG_WARN, NULL,
                     "Results that cannot be delivered are kept in memory only: %s", err.message);
}

static void init_backoffs(tt_platform *p) {
    uint64_t seed = (uint64_t)tt_clock_us() ^ (uint64_t)(uintptr_t)p;
    int64_t base = p->environment->retry_base_ms, longest = tt__pauses(p, TT__LONGEST_PAUSES);
    int64_t half = base > 1 ? base / 2 : 1, tenth = base > 10 ? base / 10 : 1;
    tt_backoff_init(&p->take.failures, half, longest, seed);
    tt_backoff_init(&p->take.empties, tenth, tt__pauses(p, TT__SHORT_PAUSES), seed + 1);
    tt_backoff_init(&p->stop.failures, tt__pauses(p, TT__SHORT_PAUSES), longest, seed + 2);
    p->take.trouble.status = p->stop.trouble.status = p->ping.trouble.status = TT__NO_TROUBLE;
}

tt_status tt_platform_new(const tt_platform_options *options, tt_platform **out, tt_err *err) {
    *out = NULL;
    tt_platform *p = tt_alloc(sizeof *p);
    if (!p) return tt_fail_nomem(err, "platform", sizeof *p);
    p->source = (tt_source){on_slots, on_progress, on_stream, on_finish, on_drain};
    p->loop = options->loop;
    p->log = options->log;
    p->environment = options->environment;
    p->refresh_worker = options->refresh_worker;
    tt_status status = tt_urls_init(&p->urls, p->environment, err);
    if (status == TT_OK) status = tt_wire_headers_init(&p->headers, p->environment, err);
    if (status != TT_OK) {
        tt_platform_free(p);
        return status;
    }
    init_backoffs(p);
    open_spool(p);
    *out = p;
    return TT_OK;
}

void tt_platform_free(tt_platform *p) {
    if (!p) return;
    tt__take_cancel(p);
    tt__stop_cancel(p);
    tt__ping_cancel(p);
    tt_loop_timer_cancel(p->loop, p->drained_timer);
    tt_loop_timer_cancel(p->loop, p->leftover_timer);
    while (p->tasks.first) {
        tt__task *task = p->tasks.first;
        tt__task_leave(task);
        tt__task_free(task);
    }
    tt_spool_close(p->spool);
    tt_wire_headers_release(&p->headers);
    tt_urls_release(&p->urls);
    tt_free(p);
}

tt_source *tt_platform_source(tt_platform *p) {
    return &p->source;
}

void tt_platform_start(tt_platform *p, tt_dispatch *dispatch) {
    if (p->is_started) return; /* the handler process was restarted */
    p->is_started = true;
    p->dispatch = dispatch;
    setpriority(PRIO_PROCESS, 0, LOOP_NICENESS);
    tt__ping_start(p);
    tt__take_update(p);
    tt__stop_start(p);
    tt__next_leftover(p);
}
