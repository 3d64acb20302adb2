/* See desk.h. The job's handler is called plainly, so that a debugger shows it on the main thread. */
#include "worker/desk.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "worker/sdk_parts.h"

static const char FILE_NAME[] = "test_input.json";
static const char JOB_ID[] = "local_test";

typedef struct desk {
    tt__outlet outlet; /* first */
    const tt_desk_options *options;
    tt_buf pieces; /* of an output that comes in pieces */
    tt_buf chunks; /* of a stream, as a list without its closing bracket */
    int n_chunks;
    tt_err failure; /* of either buffer */
} desk;

static const tt_log *log_of(const desk *d) {
    return d->options->log;
}

/* ---- the outlet --------------------------------------------------------------------------------------------------- */

static tt_status keep_piece(tt__outlet *o, tt_job *job, const void *bytes, size_t size,
                            tt_err *err) {
    (void)job;
    return tt_buf_append(&((desk *)o)->pieces, bytes, size, err);
}

static bool show_chunk(tt__outlet *o, tt_job *job, const char *json, size_t size) {
    desk *d = (desk *)o;
    tt_log_write(log_of(d), TT_LOG_INFO, tt_job_id(job), "Stream: %.*s", (int)size, json);
    tt_status status = tt_buf_puts(&d->chunks, d->n_chunks++ ? ", " : "[", &d->failure);
    if (status == TT_OK) status = tt_buf_append(&d->chunks, json, size, &d->failure);
    return status == TT_OK;
}

static void show_progress(tt__outlet *o, tt_job *job, const char *json, size_t size) {
    tt_log_write(log_of((desk *)o), TT_LOG_INFO, tt_job_id(job), "Progress: %.*s", (int)size, json);
}

/* ---- the job's text ----------------------------------------------------------------------------------------------- */

/* Shows the line of a mistake with a mark below it. Long lines are cut around it. */
static void show_place(const desk *d, const char *text, size_t size, size_t at) {
    enum { AROUND = 60 };
    if (at > size) at = size;
    size_t begin = at, end = at;
    while (begin > 0 && text[begin - 1] != '\n' && at - begin < AROUND) begin--;
    while (end < size && text[end] != '\n' && end - at < AROUND) end++;
    int width = 0; /* characters before the mistake, not bytes */
    for (size_t i = begin; i < at; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80) width++;
    tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "    %.*s", (int)(end - begin), text + begin);
    tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "    %*s^", width, "");
}

static tt_status refuse_text(const desk *d, const char *name, const char *text, size_t size,
                             const tt_err *err) {
    tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "%s: %s", name, err->message);
    if (err->position >= 0) show_place(d, text, size, (size_t)err->position);
    return err->code;
}

/* Null and absent are the same mistake. */
static bool has_input(const char *text, size_t size) {
    const char *value;
    size_t n;
    return tt_json_member(text, size, "input", &value, &n) &&
           !(n == 4 && memcmp(value, "null", n) == 0);
}

static tt_status read_job(const desk *d, const char *name, const char *text, size_t size,
                          tt_job **out) {
    tt_err err;
    const char *first = text + strspn(text, " \t\r\n");
    if (tt_json_check(text, size, TT_MAX_JSON_BYTES, &err) != TT_OK)
        return refuse_text(d, name, text, size, &err);
    if (*first == '{' && !has_input(text, size)) {
        tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "Job has no input parameter. Unable to run.");
        return TT_E_INVALID;
    }
    if (tt__job_new(text, size, JOB_ID, out, &err) != TT_OK)
        return refuse_text(d, name, text, size, &err);
    (*out)->is_local = true;
    tt_log_write(log_of(d), TT_LOG_TRACE, NULL, "Retrieved local job: %s", tt_job_text(*out, NULL));
    return TT_OK;
}

static tt_status read_file(const desk *d, tt_job **out) {
    tt_buf text;
    tt_err err;
    if (!tt_file_exists(FILE_NAME)) {
        tt_log_write(log_of(d), TT_LOG_WARN, NULL, "%s not found, exiting.", FILE_NAME);
        return TT_E_NOT_FOUND;
    }
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "Using %s as job input.", FILE_NAME);
    tt_buf_init(&text, TT_MAX_JSON_BYTES);
    tt_status status = tt_file_read(FILE_NAME, &text, &err);
    if (status != TT_OK)
        tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "%s", err.message);
    else
        status = read_job(d, FILE_NAME, text.data ? text.data : "", text.size, out);
    tt_buf_release(&text);
    return status;
}

static tt_status find_job(const desk *d, tt_job **out) {
    const char *text = d->options->test_input;
    if (!text) return read_file(d, out);
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "test_input set, using test_input as job input.");
    return read_job(d, "--test_input", text, strlen(text), out);
}

/* ---- the result --------------------------------------------------------------------------------------------------- */

static tt_status append_member(tt_buf *out, const char *name, tt_span value, tt_err *err) {
    if (!value.text) return TT_OK;
    TT_TRY(tt_buf_printf(out, err, "%s\"%s\": ", out->size > 1 ? ", " : "", name));
    return tt_buf_append(out, value.text, value.size, err);
}

static tt_status write_result(const tt__settled *settled, tt_buf *out, tt_err *err) {
    static const char TRUE[] = "true";
    tt_span stop = {settled->refreshes_worker ? TRUE : NULL, sizeof TRUE - 1};
    TT_TRY(tt_buf_puts(out, "{", err));
    TT_TRY(append_member(out, "output", settled->output, err));
    TT_TRY(append_member(out, "error", settled->error, err));
    TT_TRY(append_member(out, "stopPod", stop, err));
    return tt_buf_puts(out, "}", err);
}

/* Pieces are checked here, where a mistake in them can be told to who made it. */
static tt_status take_pieces(desk *d, tt__settled *settled, tt_err *err) {
    tt_status status = tt_json_check(d->pieces.data, d->pieces.size, TT_MAX_JOB_OUTPUT_BYTES, err);
    if (status != TT_OK) return tt_fail_prefix(err, status, "the pieces of the handler's output");
    settled->output = (tt_span){d->pieces.data, d->pieces.size};
    return TT_OK;
}

static tt_status take_stream(desk *d, tt__settled *settled, tt_err *err) {
    if (d->failure.code != TT_OK) {
        *err = d->failure;
        return err->code;
    }
    if (settled->error.text) return TT_OK;
    if (!d->options->config->return_aggregate_stream) d->chunks.size = 0;
    if (d->chunks.size == 0) TT_TRY(tt_buf_puts(&d->chunks, "[", err));
    TT_TRY(tt_buf_puts(&d->chunks, "]", err));
    settled->output = (tt_span){d->chunks.data, d->chunks.size};
    return TT_OK;
}

static int tell_error(const desk *d, const tt_job *job, tt_span error) {
    tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "Job %s failed with error: %.*s", tt_job_id(job),
                 (int)error.size, error.text);
    return 1;
}

static int tell_result(const desk *d, const tt_job *job, const tt__settled *settled,
                       const tt_buf *result) {
    int code = 0;
    tt_err err;
    if (d->options->test_output &&
        tt_file_write(d->options->test_output, result->data, result->size, &err) != TT_OK) {
        tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "%s", err.message);
        code = 1;
    }
    if (settled->error.text) return tell_error(d, job, settled->error);
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "Job %s completed successfully.", tt_job_id(job));
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "Job result: %s", result->data);
    tt_log_write(log_of(d), TT_LOG_INFO, NULL, "Local testing complete, exiting.");
    return code;
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

static int finish(desk *d, const tt_job *job, tt_reply *reply) {
    tt__settled settled;
    tt_buf result;
    tt_err err;
    tt_status status = TT_OK;
    tt_buf_init(&result, TT_MAX_JOB_OUTPUT_BYTES);
    tt__reply_settle(reply, &settled);
    if (reply->is_streaming)
        status = take_stream(d, &settled, &err);
    else if (reply->has_pieces && !settled.voids_pieces)
        status = take_pieces(d, &settled, &err);
    if (status == TT_OK) status = write_result(&settled, &result, &err);
    int code;
    if (status == TT_OK)
        code = tell_result(d, job, &settled, &result);
    else
        code = tell_error(d, job, (tt_span){err.message, strlen(err.message)});
    tt_buf_release(&result);
    return code;
}

static int run_job(desk *d, tt_job *job) {
    const tt_worker_config *config = d->options->config;
    tt_reply reply;
    tt__reply_init(&reply, &d->outlet, job);
    reply.is_streaming = config->is_streaming;
    reply.worker_id = d->options->worker_id;
    reply.hostname = d->options->hostname;
    tt_log_write(log_of(d), TT_LOG_INFO, tt_job_id(job), "Started.");
    config->handler(job, &reply, config->context);
    int code = finish(d, job, &reply);
    tt__reply_release(&reply);
    return code;
}

static int start_and_run(desk *d, tt_job *job) {
    const tt_worker_config *config = d->options->config;
    tt_err err = {.message = "it gave no reason"};
    if (config->start && config->start(config->context, &err) != TT_OK) {
        tt_log_write(log_of(d), TT_LOG_ERROR, NULL, "The worker cannot start: %s", err.message);
        return 1;
    }
    int code = run_job(d, job);
    if (config->stop) config->stop(config->context);
    return code;
}

int tt_desk_run(const tt_desk_options *options) {
    desk d = {.outlet = {keep_piece, show_chunk, show_progress}, .options = options};
    tt_job *job = NULL;
    int code = 1;
    tt_buf_init(&d.pieces, TT_MAX_JOB_OUTPUT_BYTES);
    tt_buf_init(&d.chunks, TT_MAX_JOB_OUTPUT_BYTES);
    if (find_job(&d, &job) == TT_OK) code = start_and_run(&d, job);
    tt__job_free(job);
    tt_buf_release(&d.pieces);
    tt_buf_release(&d.chunks);
    return code;
}
