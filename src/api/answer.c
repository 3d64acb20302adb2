/* See answer.h. */
#include "api/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/metrics.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

#define JSON "application/json"

/* ---- a job ------------------------------------------------------------------------------------------------------- */

static tt_status put_string(tt_buf *out, const char *text, tt_err *err) {
    return tt_json_append_string(out, text, strlen(text), err);
}

tt_status tt__answer_open(const tt_job_view *view, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "{\"id\": ", err));
    TT_TRY(put_string(out, view->id, err));
    TT_TRY(tt_buf_printf(out, err, ", \"status\": \"%s\", \"delayTime\": %" PRId64,
                         tt_job_state_name(view->state), view->delay_ms));
    if (view->attempt > 0)
        TT_TRY(tt_buf_printf(out, err, ", \"executionTime\": %" PRId64, view->execution_ms));
    TT_TRY(tt_buf_printf(out, err, ", \"retries\": %d", view->retries));
    size_t size = strlen(view->worker_id);
    if (size == 0 || !tt_utf8_is_valid(view->worker_id, size, NULL)) return TT_OK;
    TT_TRY(tt_buf_puts(out, ", \"workerId\": ", err));
    return put_string(out, view->worker_id, err);
}

tt_status tt__answer_error(const tt_job_view *view, tt_buf *out, tt_err *err) {
    if (!view->error) return TT_OK;
    const char *text = view->error->data;
    size_t size = view->error->size;
    while (size && memchr(" \t\r\n", text[0], 4)) text++, size--;
    while (size && memchr(" \t\r\n", text[size - 1], 4)) size--;
    if (size == 0 || (size == 4 && memcmp(text, "null", 4) == 0)) return TT_OK;
    TT_TRY(tt_buf_puts(out, ", \"error\": ", err));
    if (text[0] == '"') return tt_buf_append(out, text, size, err);
    return tt_json_append_string(out, text, size, err);
}

/* What a client sees as the output: the result, or the newest progress of a job that runs. */
static tt_blob *output_of(const tt_job_view *view) {
    return view->state == TT_JOB_IN_PROGRESS ? view->progress : view->output;
}

static tt_status write_head(const tt_job_view *view, tt_blob **out, tt_err *err) {
    tt_buf b;
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status = tt__answer_open(view, &b, err);
    if (status == TT_OK && output_of(view)) status = tt_buf_puts(&b, ", \"output\": ", err);
    if (status == TT_OK) status = tt_blob_take(&b, out, err);
    tt_buf_release(&b);
    return status;
}

static tt_status write_tail(const tt_job_view *view, tt_blob **out, tt_err *err) {
    tt_buf b;
    tt_buf_init(&b, TT_MAX_JOB_OUTPUT_BYTES);
    tt_status status = tt__answer_error(view, &b, err);
    if (status == TT_OK) status = tt_buf_puts(&b, "}", err);
    if (status == TT_OK) status = tt_blob_take(&b, out, err);
    tt_buf_release(&b);
    return status;
}

tt_status tt__answer_write(const tt_job_view *view, tt_blob *pieces[TT__ANSWER_PIECES],
                           int *n_pieces, tt_err *err) {
    tt_blob *head = NULL, *tail = NULL, *output = output_of(view);
    TT_TRY(write_head(view, &head, err));
    tt_status status = write_tail(view, &tail, err);
    if (status != TT_OK) {
        tt_blob_release(head);
        return status;
    }
    int n = 0;
    pieces[n++] = head;
    if (output) pieces[n++] = tt_blob_hold(output);
    pieces[n++] = tail;
    *n_pieces = n;
    return TT_OK;
}

/* ---- ending an exchange ------------------------------------------------------------------------------------------ */

void tt__count(const tt__call *call, int http) {
    tt__metrics_http(call->api->metrics, call->route, call->method, http,
                     tt_clock_us() - call->started_us);
}

void tt__reply(const tt__call *call, int http, const char *type, const void *bytes, size_t size) {
    tt__count(call, http);
    tt_http_reply(call->x, http, type, bytes, size);
}

/* A sentence as {"error": ...} without the heap: also told when memory is gone. tt_fail has made it UTF-8 without
 * control characters, so quotes and backslashes are all there is to escape. */
static void reply_sentence(const tt__call *call, int http, const char *sentence) {
    char text[2 * TT_ERR_MESSAGE_BYTES + 32] = "{\"error\": \"";
    size_t n = strlen(text);
    for (const char *c = sentence; *c && n < sizeof text - 4; c++) {
        if (*c == '"' || *c == '\\') text[n++] = '\\';
        text[n++] = *c;
    }
    text[n++] = '"';
    text[n++] = '}';
    tt__reply(call, http, JSON, text, n);
}

void tt__reply_error(const tt__call *call, int http, const char *format, ...) {
    tt_err err;
    char sentence[TT_ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    (void)tt_fail(&err, TT_E_INVALID, "%s", sentence);
    reply_sentence(call, http, err.message);
}

void tt__reply_failure(const tt__call *call, const tt_err *err) {
    int http = 503;
    if (err->code == TT_E_NOT_FOUND) http = 404;
    if (err->code == TT_E_INVALID || err->code == TT_E_FORMAT) http = 400;
    reply_sentence(call, http, err->message);
}

void tt__reply_no_job(const tt__call *call) {
    tt__reply_error(call, 404, "no such job: %s (its result may have expired)", call->id);
}

void tt__reply_job(const tt__call *call, const tt_job_view *view) {
    tt_blob *pieces[TT__ANSWER_PIECES];
    int n = 0;
    tt_err err;
    if (tt__answer_write(view, pieces, &n, &err) != TT_OK) {
        tt__reply_failure(call, &err);
        return;
    }
    tt__count(call, 200);
    tt_http_reply_blobs(call->x, 200, JSON, pieces, n);
}

void tt__reply_brief(const tt__call *call, const char *status_name) {
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status = tt_buf_puts(&b, "{\"id\": ", &err);
    if (status == TT_OK) status = put_string(&b, call->id, &err);
    if (status == TT_OK) status = tt_buf_printf(&b, &err, ", \"status\": \"%s\"}", status_name);
    tt__reply_buf(call, status, &b, &err);
}

void tt__reply_buf(const tt__call *call, tt_status status, tt_buf *b, const tt_err *err) {
    if (status == TT_OK)
        tt__reply(call, 200, JSON, b->data, b->size);
    else
        tt__reply_failure(call, err);
    tt_buf_release(b);
}
