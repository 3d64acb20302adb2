/* See error_report.h. The members and their order are the reference's, so that tools that read them keep working;
 * a C program has no traceback to give. */
#include "worker/error_report.h"

#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "worker/environment.h"

/* Appends text with every byte that is not part of UTF-8 replaced. */
static tt_status append_valid(tt_buf *out, const char *text, tt_err *err) {
    size_t size = strlen(text), bad_at;
    while (!tt_utf8_is_valid(text, size, &bad_at)) {
        TT_TRY(tt_buf_append(out, text, bad_at, err));
        TT_TRY(tt_buf_append(out, "?", 1, err));
        text += bad_at + 1;
        size -= bad_at + 1;
    }
    return tt_buf_append(out, text, size, err);
}

tt_status tt_error_text_append(tt_buf *out, const char *text, tt_err *err) {
    tt_buf valid;
    tt_buf_init(&valid, TT_MAX_JOB_OUTPUT_BYTES);
    tt_status status = append_valid(&valid, text, err);
    if (status == TT_OK) status = tt_json_append_string(out, valid.data, valid.size, err);
    tt_buf_release(&valid);
    return status;
}

static tt_status append_member(tt_buf *out, const char *name, const char *value, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "%s\"%s\": ", out->size ? ", " : "{", name));
    return tt_error_text_append(out, value, err);
}

static const char *known(const char *text) {
    return text && text[0] ? text : "unknown";
}

static tt_status append_members(tt_buf *out, const tt_error_report *report, tt_err *err) {
    TT_TRY(append_member(out, "error_type", known(report->type), err));
    TT_TRY(append_member(out, "error_message", report->message, err));
    TT_TRY(append_member(out, "error_traceback", "", err));
    TT_TRY(append_member(out, "hostname", known(report->hostname), err));
    TT_TRY(append_member(out, "worker_id", known(report->worker_id), err));
    TT_TRY(append_member(out, "runpod_version", TT_RUNPOD_VERSION, err));
    return tt_buf_puts(out, "}", err);
}

tt_status tt_error_report_append(tt_buf *out, const tt_error_report *report, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    tt_status status = append_members(&text, report, err);
    if (status == TT_OK) status = tt_json_append_string(out, text.data, text.size, err);
    tt_buf_release(&text);
    return status;
}
