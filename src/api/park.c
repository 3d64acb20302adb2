/* See park.h.
 *
 * Two races are closed by order. An event between reading the job's state and parking would be missed, so the state is read
 * once more after the wait is in the table. A close between the handler's check and the table would be missed, so closing is
 * read once more as well. Whoever then takes the wait by its token answers; the other finds nothing. */
#include "api/park.h"

#include "api/answer.h"
#include "api/events.h"
#include "api/stream.h"
#include "base/clock.h"

static bool is_due(tt__wait_kind kind, const tt_job_view *view) {
    if (kind == TT__WAIT_STREAM && view->n_stream_waiting > 0) return true;
    return tt_job_state_is_final(view->state);
}

static void answer(const tt__call *call, tt__wait_kind kind) {
    tt_queue *queue = call->api->options.queue;
    tt_job_view view;
    tt_err err;
    tt_status status = queue->get(queue, call->id, tt_clock_ms(), &view, &err);
    if (status != TT_OK) {
        if (status == TT_E_NOT_FOUND)
            tt__reply_no_job(call);
        else
            tt__reply_failure(call, &err);
        return;
    }
    if (kind == TT__WAIT_STREAM)
        tt__reply_stream(call, &view);
    else if (kind == TT__WAIT_RUNSYNC && !tt_job_state_is_final(view.state))
        tt__reply_brief(call, tt_job_state_name(view.state));
    else
        tt__reply_job(call, &view);
    tt_job_view_release(&view);
}

/* Answers and frees a list of taken waits. */
static void answer_all(tt_api *api, tt__wait *list) {
    while (list) {
        tt__wait *wait = list;
        list = wait->next;
        if (atomic_load(&api->is_closing))
            tt__reply_error(&wait->call, 503, "the server is shutting down");
        else
            answer(&wait->call, wait->kind);
        tt__wait_free(api->waits, wait);
    }
}

/* The client is not there any more. */
static void drop(tt_api *api, tt__wait *wait) {
    tt_queue *queue = api->options.queue;
    tt_err err;
    tt__count(&wait->call, 499);
    if (wait->kind == TT__WAIT_RUNSYNC &&
        queue->cancel(queue, wait->call.id, tt_clock_ms(), &err) == TT_OK)
        tt_log_write(api->options.log, TT_LOG_INFO, wait->call.id,
                     "Cancelled: its client closed the connection.");
    tt_http_drop(wait->call.x);
    tt__wait_free(api->waits, wait);
}

void tt__park_gone(void *context, tt_http_exchange *x) {
    tt_api *api = context;
    bool has_events = false;
    tt__wait *wait = tt__waits_gone(api->waits, (tt__wait_token)tt_http_user(x), &has_events);
    if (wait) drop(api, wait);
    if (has_events) tt__events_tell(api);
}

static bool is_job_due(const tt__call *call, tt__wait_kind kind) {
    tt_queue *queue = call->api->options.queue;
    tt_job_view view;
    if (queue->get(queue, call->id, tt_clock_ms(), &view, NULL) != TT_OK) return true;
    bool due = is_due(kind, &view);
    tt_job_view_release(&view);
    return due;
}

void tt__park(const tt__call *call, tt__wait_kind kind, int64_t wait_ms) {
    tt_api *api = call->api;
    const tt__call kept =
        *call; /* once active, the wait and the exchange may be gone at any time */
    tt__wait *wait;
    tt__wait_token token = 0;
    tt_err err;
    if (tt__waits_reserve(api->waits, &wait, &token, &err) != TT_OK) {
        tt__reply_failure(call, &err);
        return;
    }
    wait->call = kept;
    wait->kind = kind;
    wait->deadline_ms = tt_clock_ms() + wait_ms;
    tt_http_set_user(kept.x, (void *)token);
    tt_http_park(kept.x, tt__park_gone, api);
    tt__activated how = tt__waits_activate(api->waits, wait);
    if (how == TT__NOT_ACTIVE) {
        drop(api, wait);
        return;
    }
    bool is_lost = how == TT__ACTIVE_FIRST &&
                   tt_loop_post(api->loop, tt__park_turn, api, &err) != TT_OK; /* no timer for it */
    if (is_lost || atomic_load(&api->is_closing) || is_job_due(&kept, kind))
        answer_all(api, tt__waits_take_token(api->waits, token));
}

void tt__park_job_ended(tt_api *api, const char *id) {
    answer_all(api, tt__waits_take_job(api->waits, id, false));
}

void tt__park_job_streamed(tt_api *api, const char *id) {
    answer_all(api, tt__waits_take_job(api->waits, id, true));
}

static void timer_fired(void *context) {
    tt_api *api = context;
    api->waits_timer = NULL; /* gone once it fired */
    tt__park_turn(api);
}

void tt__park_turn(void *context) {
    tt_api *api = context;
    tt_err err;
    answer_all(api, tt__waits_take_due(api->waits, tt_clock_ms()));
    tt_loop_timer_cancel(api->loop, api->waits_timer);
    api->waits_timer = NULL;
    int64_t next_ms = tt__waits_next_deadline(api->waits);
    if (next_ms == INT64_MAX) return;
    int64_t delay_ms = next_ms - tt_clock_ms();
    if (tt_loop_timer(api->loop, delay_ms > 0 ? delay_ms : 0, timer_fired, api, &api->waits_timer,
                      &err) != TT_OK)
        tt_log_write(api->options.log, TT_LOG_WARN, NULL, "waits may end late: %s", err.message);
}

void tt__park_close(tt_api *api) {
    answer_all(api, tt__waits_take_all(api->waits));
}
