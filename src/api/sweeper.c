/* See sweeper.h. A sweep tells when the next is due. A new deadline is at least 5 s away (the shortest execution timeout), so it
 * is enough to sweep within a second of learning of it; however many come in that second, it is one sweep. */
#include "api/sweeper.h"

#include "base/alloc.h"
#include "base/clock.h"

enum { SOON_MS = 1000 };

struct tt__sweeper {
    tt_api *api;
    tt_timer *timer;        /* of the loop's thread */
    atomic_bool is_hurried; /* a sweep within SOON_MS is on its way */
};

tt_status tt__sweeper_new(tt_api *api, tt__sweeper **out, tt_err *err) {
    tt__sweeper *s = tt_alloc(sizeof *s);
    *out = s;
    if (!s) return tt_fail_nomem(err, "sweeper", sizeof *s);
    s->api = api;
    return TT_OK;
}

void tt__sweeper_free(tt__sweeper *s) {
    tt_free(s);
}

static void sweep(void *context);

static tt_status set_timer(tt__sweeper *s, int64_t delay_ms, tt_err *err) {
    tt_loop_timer_cancel(s->api->loop, s->timer);
    s->timer = NULL;
    return tt_loop_timer(s->api->loop, delay_ms, sweep, s, &s->timer, err);
}

static void sweep(void *context) {
    tt__sweeper *s = context;
    tt_queue *queue = s->api->options.queue;
    tt_err err;
    s->timer = NULL; /* gone once it fired */
    atomic_store(&s->is_hurried, false);
    int64_t next_ms = queue->sweep(queue, tt_clock_ms());
    if (set_timer(s, next_ms > 0 ? next_ms : 1, &err) != TT_OK)
        tt_log_write(s->api->options.log, TT_LOG_WARN, NULL, "jobs may time out late: %s",
                     err.message);
}

tt_status tt__sweeper_start(tt__sweeper *s, tt_err *err) {
    return set_timer(s, 0, err);
}

static void hurry(void *context) {
    tt__sweeper *s = context;
    tt_err err;
    if (set_timer(s, SOON_MS, &err) != TT_OK) atomic_store(&s->is_hurried, false);
}

void tt__sweeper_hurry(tt__sweeper *s) {
    tt_err err;
    if (atomic_exchange(&s->is_hurried, true)) return;
    if (tt_loop_post(s->api->loop, hurry, s, &err) != TT_OK) atomic_store(&s->is_hurried, false);
}
