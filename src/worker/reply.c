/* The reply: what a handler says, and the reference's rules for turning it into an answer (runpod.md 1.6, 1.7).
 *
 * The output given as one JSON value is kept until the handler returns, since its members "error" and "refresh_worker" mean
 * something; pieces go out at once and mean nothing. The first failure is kept and becomes the job's error. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "worker/error_report.h"
#include "worker/sdk_parts.h"

void tt__reply_init(tt_reply *reply, tt__outlet *outlet, tt_job *job) {
    *reply = (tt_reply){.outlet = outlet, .job = job};
    tt_buf_init(&reply->output, TT_MAX_JOB_OUTPUT_BYTES);
    tt_buf_init(&reply->error, TT_MAX_JOB_OUTPUT_BYTES);
}

void tt__reply_release(tt_reply *reply) {
    tt_buf_release(&reply->output);
    tt_buf_release(&reply->error);
}

static bool has_failed(const tt_reply *reply) {
    return reply->failure.code != TT_OK;
}

/* Where a call may write its failure: the reply's record, unless that holds an earlier one. */
static tt_err *failure_of(tt_reply *reply) {
    return has_failed(reply) ? NULL : &reply->failure;
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

static tt_status format_text(tt_buf *out, const char *format, va_list args, tt_err *err) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0) return tt_fail(err, TT_E_INTERNAL, "printf: bad format %s", format);
    TT_TRY(tt_buf_reserve(out, (size_t)n, err));
    vsnprintf(out->data + out->size, (size_t)n + 1, format, args);
    out->size += (size_t)n;
    return TT_OK;
}

/* Replaces what `to` holds by the text as a JSON string. */
static void set_string(tt_reply *reply, tt_buf *to, const char *format, va_list args) {
    tt_err *err = failure_of(reply);
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    to->size = 0;
    if (format_text(&text, format, args, err) == TT_OK) tt_error_text_append(to, text.data, err);
    tt_buf_release(&text);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Checks a JSON value and puts it, without the space around it, in the place of what `to` holds. */
static bool set_json(tt_reply *reply, tt_buf *to, const char *json, size_t size, const char *what) {
    tt_err *err = failure_of(reply);
    to->size = 0;
    tt_status status = tt_json_check(json, size, TT_MAX_JOB_OUTPUT_BYTES, err);
    if (status != TT_OK) {
        tt_fail_prefix(err, status, "the handler's %s", what);
        return false;
    }
    while (is_space(json[0])) json++, size--;
    while (is_space(json[size - 1])) size--;
    return tt_buf_append(to, json, size, err) == TT_OK;
}

/* ---- truth --------------------------------------------------------------------------------------------------------- */

/* What Python takes for false: null, false, zero, and what is empty. */
static bool is_truthy(const char *json, size_t size) {
    static const char *const FALSE[] = {"null", "false", "\"\""};
    for (size_t i = 0; i < sizeof FALSE / sizeof FALSE[0]; i++)
        if (size == strlen(FALSE[i]) && memcmp(json, FALSE[i], size) == 0) return false;
    if (json[0] == '[' || json[0] == '{') {
        size_t inside = 1;
        while (is_space(json[inside])) inside++;
        return json[inside] != ']' && json[inside] != '}';
    }
    if (json[0] != '-' && (json[0] < '0' || json[0] > '9')) return true;
    for (size_t i = 0; i < size && json[i] != 'e' && json[i] != 'E'; i++)
        if (json[i] >= '1' && json[i] <= '9') return true;
    return false;
}

static bool is_name(const char *name, size_t size, const char *wanted) {
    return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

/* ---- output ------------------------------------------------------------------------------------------------------- */

static bool may_set_output(tt_reply *reply) {
    if (reply->has_pieces)
        tt_fail(failure_of(reply), TT_E_INVALID,
                "the handler gave an output both whole and in pieces");
    return !reply->has_pieces && !has_failed(reply);
}

void tt_reply_json(tt_reply *reply, const char *json, size_t size_bytes) {
    if (may_set_output(reply))
        reply->has_output = set_json(reply, &reply->output, json, size_bytes, "output");
}

void tt_reply_string(tt_reply *reply, const char *format, ...) {
    if (!may_set_output(reply)) return;
    va_list args;
    va_start(args, format);
    set_string(reply, &reply->output, format, args);
    va_end(args);
    reply->has_output = true;
}

void tt_reply_append(tt_reply *reply, const void *bytes, size_t size_bytes) {
    if (has_failed(reply) || size_bytes == 0) return;
    if (reply->is_streaming)
        tt_fail(&reply->failure, TT_E_INVALID,
                "a streaming handler's output is its chunks: use tt_reply_stream");
    else if (reply->has_output)
        tt_fail(&reply->failure, TT_E_INVALID,
                "the handler gave an output both whole and in pieces");
    else
        reply->outlet->piece(reply->outlet, reply->job, bytes, size_bytes, &reply->failure);
    reply->has_pieces = true;
}

/* A chunk {"error": e} with something in it ends the stream with that error, as a text. */
static bool is_error_chunk(tt_reply *reply, const char *json, size_t size) {
    const char *value;
    size_t value_size;
    if (!tt_json_member(json, size, "error", &value, &value_size)) return false;
    if (!is_truthy(value, value_size)) return false;
    tt_err *err = failure_of(reply);
    reply->error.size = 0;
    reply->has_error = true;
    if (value[0] == '"')
        tt_buf_append(&reply->error, value, value_size, err);
    else
        tt_json_append_string(&reply->error, value, value_size, err);
    return true;
}

bool tt_reply_stream(tt_reply *reply, const char *json, size_t size_bytes) {
    if (has_failed(reply)) return false;
    if (!reply->is_streaming) {
        tt_fail(&reply->failure, TT_E_INVALID,
                "tt_reply_stream needs is_streaming in the worker's configuration");
        return false;
    }
    tt_status status = tt_json_check(json, size_bytes, TT_MAX_JOB_OUTPUT_BYTES, &reply->failure);
    if (status != TT_OK) {
        tt_fail_prefix(&reply->failure, status, "a chunk of the handler's stream");
        return false;
    }
    if (is_error_chunk(reply, json, size_bytes)) return false;
    return reply->outlet->stream(reply->outlet, reply->job, json, size_bytes);
}

void tt_reply_progress(tt_reply *reply, const char *json, size_t size_bytes) {
    if (tt_json_check(json, size_bytes, TT_MAX_JSON_BYTES, NULL) == TT_OK)
        reply->outlet->progress(reply->outlet, reply->job, json, size_bytes);
}

void tt_reply_refresh_worker(tt_reply *reply) {
    reply->refreshes_worker = true;
}

/* ---- errors ------------------------------------------------------------------------------------------------------- */

void tt_reply_error(tt_reply *reply, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_string(reply, &reply->error, format, args);
    va_end(args);
    reply->has_error = true;
}

void tt_reply_error_json(tt_reply *reply, const char *json, size_t size_bytes) {
    reply->has_error = set_json(reply, &reply->error, json, size_bytes, "error");
}

static void set_report(tt_reply *reply, const char *type, const char *message) {
    tt_error_report report = {type, message, reply->hostname, reply->worker_id};
    reply->error.size = 0;
    tt_error_report_append(&reply->error, &report, failure_of(reply));
    reply->has_error = true;
}

/* The reference reports what a generator raised as plain text. */
static void set_stream_report(tt_reply *reply, const char *type, const char *message) {
    tt_err *err = failure_of(reply);
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    reply->error.size = 0;
    if (tt_buf_printf(&text, err, "handler: %s \ntraceback: %s", message, type) == TT_OK)
        tt_error_text_append(&reply->error, text.data, err);
    tt_buf_release(&text);
    reply->has_error = true;
}

void tt_reply_exception(tt_reply *reply, const char *type, const char *format, ...) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    va_list args;
    va_start(args, format);
    tt_status status = format_text(&text, format, args, failure_of(reply));
    va_end(args);
    if (status == TT_OK && reply->is_streaming)
        set_stream_report(reply, type, text.data);
    else if (status == TT_OK)
        set_report(reply, type, text.data);
    tt_buf_release(&text);
}

/* ---- the answer --------------------------------------------------------------------------------------------------- */

/* Copies an object without the two members that are ours, which take effect. */
static tt_status take_members(tt_reply *reply, const tt_buf *object, tt_buf *rest, tt_err *err) {
    const char *name, *value;
    size_t at = 0, name_size, value_size;
    TT_TRY(tt_buf_puts(rest, "{", err));
    while (tt_json_next_member(object->data, object->size, &at, &name, &name_size, &value,
                               &value_size)) {
        bool is_true = is_truthy(value, value_size);
        if (is_name(name, name_size, "error")) {
            if (!is_true || reply->has_error) continue;
            TT_TRY(tt_buf_append(&reply->error, value, value_size, err));
            reply->has_error = true;
        } else if (is_name(name, name_size, "refresh_worker")) {
            if (is_true) reply->refreshes_worker = true;
        } else {
            TT_TRY(tt_buf_printf(rest, err, "%s\"%.*s\": ", rest->size > 1 ? ", " : "",
                                 (int)name_size, name));
            TT_TRY(tt_buf_append(rest, value, value_size, err));
        }
    }
    return tt_buf_puts(rest, "}", err);
}

static bool has_special_member(const tt_buf *object) {
    const char *value;
    size_t size;
    return tt_json_member(object->data, object->size, "error", &value, &size) ||
           tt_json_member(object->data, object->size, "refresh_worker", &value, &size);
}

/* The reference drops an output that is an empty object, also one that became so. */
static bool is_empty_object(const tt_buf *json) {
    size_t i = 0, n = 0;
    for (; i < json->size; i++) {
        if (is_space(json->data[i])) continue;
        if (n > 1 || json->data[i] != "{}"[n]) return false;
        n++;
    }
    return n == 2;
}

static void map_output(tt_reply *reply) {
    if (has_special_member(&reply->output)) {
        tt_buf rest;
        tt_buf_init(&rest, TT_MAX_JOB_OUTPUT_BYTES);
        take_members(reply, &reply->output, &rest, failure_of(reply));
        tt_buf_release(&reply->output);
        reply->output = rest;
    }
    if (is_empty_object(&reply->output)) reply->has_output = false;
}

static void report_failure(tt_reply *reply) {
    char message[TT_ERR_MESSAGE_BYTES]; /* not failure.message: what is written may fail in turn */
    memcpy(message, reply->failure.message, sizeof message);
    if (reply->is_streaming)
        set_stream_report(reply, "InvalidReply", message);
    else
        set_report(reply, "InvalidReply", message);
}

/* An error that says nothing would be taken for success by who reads the answer. */
static tt_span error_text(const tt_reply *reply) {
    static const char NOTHING[] = "\"the handler reported an error without a text\"";
    static const char NO_MEMORY[] = "\"out of memory: there is none left for the job's answer\"";
    if (reply->error.size > 0 && is_truthy(reply->error.data, reply->error.size))
        return (tt_span){reply->error.data, reply->error.size};
    if (has_failed(reply)) return (tt_span){NO_MEMORY, sizeof NO_MEMORY - 1};
    return (tt_span){NOTHING, sizeof NOTHING - 1};
}

static void settle_stream(tt_reply *reply) {
    if (reply->has_output && !reply->has_error)
        tt_reply_stream(reply, reply->output.data, reply->output.size);
    reply->has_output = false;
}

void tt__reply_settle(tt_reply *reply, tt__settled *out) {
    *out = (tt__settled){0};
    bool says_nothing = !reply->has_output && !reply->has_pieces && !reply->has_error;
    if (reply->is_streaming)
        settle_stream(reply);
    else if (reply->has_output)
        map_output(reply);
    else if (says_nothing)
        reply->has_output = tt_buf_puts(&reply->output, "null", failure_of(reply)) == TT_OK;
    if (has_failed(reply)) report_failure(reply);
    if (reply->has_error) out->error = error_text(reply);
    if (reply->has_output && !has_failed(reply))
        out->output = (tt_span){reply->output.data, reply->output.size};
    out->voids_pieces = has_failed(reply) && reply->has_pieces;
    out->refreshes_worker = reply->refreshes_worker;
}
