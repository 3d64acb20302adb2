/* See events.h. */
#include "api/events.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/answer.h"
#include "api/park.h"
#include "api/waits.h"
#include "base/clock.h"
#include "base/limits.h"

enum { CLOSE_MS = 2000, NEVER = -1 };
/* Not yet sent to one client. Previews are some 50 KB; a progress value larger than half is announced in a comment only. */
#define MAX_PENDING_BYTES  TT_MIB
#define MAX_PROGRESS_BYTES (MAX_PENDING_BYTES / 2)

/* ---- what to say ------------------------------------------------------------------------------------------------- */

/* An event's data is one line. Raw line breaks in JSON are only space between tokens. */
static tt_status put_line(tt_buf *out, const char *text, size_t size, tt_err *err) {
    size_t start = out->size;
    TT_TRY(tt_buf_append(out, text, size, err));
    for (size_t i = start; i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
    return tt_buf_puts(out, "\n\n", err);
}

static tt_status put_status(tt_buf *out, const tt_job_view *view, const char *event, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "event: %s\ndata: ", event));
    TT_TRY(tt__answer_open(view, out, err));
    if (tt_job_state_is_final(view->state)) {
        size_t start = out->size;
        TT_TRY(tt__answer_error(view, out, err));
        for (size_t i = start; i < out->size; i++)
            if (out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
    }
    return tt_buf_puts(out, "}\n\n", err);
}

static tt_status put_progress(tt_buf *out, const tt_job_view *view, tt_err *err) {
    if (view->progress->size > MAX_PROGRESS_BYTES)
        return tt_buf_printf(out, err, ": progress %" PRId64 " has %zu bytes, see /status\n\n",
                             view->progress_number, view->progress->size);
    TT_TRY(
        tt_buf_printf(out, err, "event: progress\nid: %" PRId64 "\ndata: ", view->progress_number));
    return put_line(out, view->progress->data, view->progress->size, err);
}

/* What the client does not know yet. */
static tt_status put_news(tt_buf *out, const tt__wait *wait, const tt_job_view *view, tt_err *err) {
    bool is_final = tt_job_state_is_final(view->state);
    bool is_moved = wait->known.state != (int)view->state || wait->known.attempt != view->attempt;
    if (is_moved && !is_final) TT_TRY(put_status(out, view, "status", err));
    if (view->progress && !is_final && view->progress_number > wait->known.progress_number)
        TT_TRY(put_progress(out, view, err));
    if (view->n_stream_waiting > 0 && view->n_stream_waiting != wait->known.n_stream_waiting)
        TT_TRY(tt_buf_printf(out, err, "event: stream\ndata: {\"waiting\": %d}\n\n",
                             view->n_stream_waiting));
    return is_final ? put_status(out, view, "end", err) : TT_OK;
}

/* ---- saying it: the loop's thread -------------------------------------------------------------------------------- */

static void finish(tt_api *api, tt__wait *wait, int http) {
    tt__waits_take_events(api->waits, wait);
    tt__count(&wait->call, http);
    tt_http_stream_end(wait->call.x);
    tt__wait_free(api->waits, wait);
}

static void learn(tt__wait *wait, const tt_job_view *view) {
    wait->known.state = (int)view->state;
    wait->known.attempt = view->attempt;
    wait->known.n_stream_waiting = view->n_stream_waiting;
    if (view->progress_number > wait->known.progress_number)
        wait->known.progress_number = view->progress_number;
}

/* False when the stream has to end. */
static bool write_news(tt__wait *wait, const tt_job_view *view, tt_err *err) {
    tt_buf b;
    tt_buf_init(&b, MAX_PENDING_BYTES);
    bool goes_on = put_news(&b, wait, view, err) == TT_OK;
    if (goes_on && b.size > 0) goes_on = tt_http_stream_write(wait->call.x, b.data, b.size);
    tt_buf_release(&b);
    return goes_on;
}

static void write_vanished(const tt__wait *wait) {
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status =
        tt_buf_printf(&b, &err,
                      "event: end\ndata: {\"id\": \"%s\", \"error\": \"the job is no "
                      "longer known\"}\n\n",
                      wait->call.id);
    if (status == TT_OK) (void)tt_http_stream_write(wait->call.x, b.data, b.size);
    tt_buf_release(&b);
}

static void update(tt_api *api, tt__wait *wait) {
    tt_queue *queue = api->options.queue;
    tt_job_view view;
    tt_err err;
    if (tt__waits_is_gone(api->waits, wait)) {
        finish(api, wait, 499);
        return;
    }
    tt_status status = queue->get(queue, wait->call.id, tt_clock_ms(), &view, &err);
    if (status != TT_OK) {
        if (status == TT_E_NOT_FOUND) write_vanished(wait);
        finish(api, wait, 200);
        return;
    }
    bool goes_on = write_news(wait, &view, &err);
    bool is_end = tt_job_state_is_final(view.state);
    learn(wait, &view);
    tt_job_view_release(&view);
    if (is_end || !goes_on) finish(api, wait, goes_on ? 200 : 499);
}

static void flush(void *context) {
    tt_api *api = context;
    for (tt__wait *next, *wait = tt__waits_take_dirty(api->waits); wait; wait = next) {
        next = wait->next;
        if (atomic_load(&api->is_closing))
            finish(api, wait, 200);
        else
            update(api, wait);
    }
}

void tt__events_beat(tt_api *api) {
    static const char comment[] = ": still here\n\n";
    tt__waits_mark(api->waits, NULL);
    for (tt__wait *next, *wait = tt__waits_take_dirty(api->waits); wait; wait = next) {
        next = wait->next;
        bool is_there = tt_http_stream_write(wait->call.x, comment, sizeof comment - 1);
        if (!is_there)
            finish(api, wait, 499);
        else
            update(api, wait);
    }
}

/* ---- any thread -------------------------------------------------------------------------------------------------- */

void tt__events_tell(tt_api *api) {
    tt_err err;
    if (tt_loop_post(api->loop, flush, api, &err) == TT_OK) return;
    tt__waits_untold(api->waits); /* the next change or the beat will */
    tt_log_write(api->options.log, TT_LOG_WARN, NULL, "events may come late: %s", err.message);
}

void tt__events_job_changed(tt_api *api, const char *id) {
    if (tt__waits_mark(api->waits, id)) tt__events_tell(api);
}

void tt__events_close(tt_api *api) {
    tt__events_job_changed(api, NULL);
    tt__waits_await_no_events(api->waits, CLOSE_MS);
}

/* ---- the handler ------------------------------------------------------------------------------------------------- */

static int64_t last_event_id(const tt__call *call) {
    const char *text = tt_http_header(call->x, "Last-Event-ID");
    char *end;
    if (!text || text[0] < '0' || text[0] > '9') return 0;
    int64_t n = strtoll(text, &end, 10);
    return *end ? 0 : n;
}

/* False: answered, there is nothing to follow. */
static bool is_followable(const tt__call *call) {
    tt_queue *queue = call->api->options.queue;
    tt_job_view view;
    tt_err err;
    tt_status status = queue->get(queue, call->id, tt_clock_ms(), &view, &err);
    if (status == TT_E_NOT_FOUND)
        tt__reply_no_job(call);
    else if (status != TT_OK)
        tt__reply_failure(call, &err);
    else
        tt_job_view_release(&view);
    return status == TT_OK;
}

static void begin(const tt__call *call) {
    tt_api *api = call->api;
    tt__wait *wait;
    tt__wait_token token = 0;
    tt_err err;
    if (tt__waits_reserve(api->waits, &wait, &token, &err) != TT_OK) {
        tt__reply_failure(call, &err);
        return;
    }
    wait->call = *call;
    wait->kind = TT__WAIT_EVENTS;
    wait->deadline_ms = INT64_MAX;
    wait->known.state = NEVER;
    wait->known.progress_number = last_event_id(call);
    tt_http_set_user(call->x, (void *)token);
    tt_http_stream_begin(call->x, "text/event-stream", MAX_PENDING_BYTES, tt__park_gone, api);
    if (tt__waits_activate(api->waits, wait) == TT__NOT_ACTIVE) {
        tt__count(&wait->call, 499);
        tt_http_stream_end(wait->call.x);
        tt__wait_free(api->waits, wait);
    } else { /* the loop may have ended it by now */
        tt__events_job_changed(api, call->id);
    }
}

void tt__handle_events(const tt__call *call) {
    tt_err err;
    if (!is_followable(call)) return;
    if (tt_http_add_header(call->x, "Cache-Control", "no-cache", &err) != TT_OK ||
        tt_http_add_header(call->x, "X-Accel-Buffering", "no", &err) != TT_OK)
        tt__reply_failure(call, &err);
    else if (call->method == TT__HEAD)
        tt__reply(call, 200, "text/event-stream", "", 0);
    else
        begin(call);
}
