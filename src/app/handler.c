/* See handler.h. Pictures never pass through a JSON tree: their base64 is spliced between two pieces of text. */
#include "app/handler.h"

#include <inttypes.h>
#include <string.h>

#include "app/encode.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

tt_status tt_app_encode(const tt_app_facts *facts, tt_buf *files, tt_err *err) {
    for (int i = 0; i < facts->result->n_pictures; i++)
        TT_TRY(tt__encode_picture(facts, i, &files[i], err));
    return TT_OK;
}

static tt_status encode_all(tt_engine *engine, const tt_app_request *request, tt_app_made *made,
                            tt_err *err) {
    int n = made->result.n_pictures;
    tt_app_facts facts = {tt_engine_get_info(engine), request, &made->result, 0};
    int64_t started_us = tt_clock_us();
    made->files = tt_alloc((size_t)n * sizeof *made->files);
    if (!made->files)
        return tt_fail_nomem(err, "list of pictures", (size_t)n * sizeof *made->files);
    for (int i = 0; i < n; i++) tt_buf_init(&made->files[i], TT_MAX_JOB_OUTPUT_BYTES);
    TT_TRY(tt_app_encode(&facts, made->files, err));
    made->encode_ms = (double)(tt_clock_us() - started_us) / 1000;
    return TT_OK;
}

tt_status tt_app_make(tt_engine *engine, const tt_app_request *request, tt_app_made *out,
                      tt_err *err) {
    *out = (tt_app_made){.files = NULL};
    TT_TRY(tt_engine_generate(engine, &request->engine, &out->result, err));
    tt_status status = encode_all(engine, request, out, err);
    if (status != TT_OK) tt_app_made_release(out);
    return status;
}

void tt_app_made_release(tt_app_made *made) {
    for (int i = 0; made->files && i < made->result.n_pictures; i++)
        tt_buf_release(&made->files[i]);
    tt_free(made->files);
    tt_result_release(&made->result);
    *made = (tt_app_made){.files = NULL};
}

static tt_status write_image(const tt_buf *file, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "\"", err));
    TT_TRY(tt_base64_append(out, file->data, file->size, err));
    return tt_buf_puts(out, "\"", err);
}

static tt_status write_images(const tt_app_facts *facts, const tt_buf *files, tt_buf *out,
                              tt_err *err) {
    int n = facts->result->n_pictures;
    if (n == 1) {
        TT_TRY(tt_buf_puts(out, "\"image\": ", err));
        return write_image(&files[0], out, err);
    }
    TT_TRY(tt_buf_puts(out, "\"images\": [", err));
    for (int i = 0; i < n; i++) {
        if (i > 0) TT_TRY(tt_buf_puts(out, ", ", err));
        TT_TRY(write_image(&files[i], out, err));
    }
    TT_TRY(tt_buf_puts(out, "], \"seeds\": [", err));
    for (int i = 0; i < n; i++)
        TT_TRY(
            tt_buf_printf(out, err, "%s%" PRIu64, i ? ", " : "", facts->result->pictures[i].seed));
    return tt_buf_puts(out, "]", err);
}

tt_status tt_app_write_output(const tt_app_facts *facts, const tt_buf *files, tt_buf *out,
                              tt_err *err) {
    TT_TRY(tt_buf_puts(out, "{\"output\": {", err));
    TT_TRY(write_images(facts, files, out, err));
    TT_TRY(tt_buf_puts(out, ", \"metadata\": ", err));
    TT_TRY(tt_metadata_of_job(facts, out, err));
    return tt_buf_puts(out, "}}", err);
}

tt_status tt_app_write_error(const char *sentence, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "{\"error\": ", err));
    size_t size = strlen(sentence);
    size_t bad_at = size;
    tt_utf8_is_valid(sentence, size, &bad_at);
    TT_TRY(tt_json_append_string(out, sentence, bad_at, err));
    return tt_buf_puts(out, "}", err);
}

static tt_status read_request(tt_engine *engine, const tt_settings *base, const char *job,
                              size_t size, tt_settings *settings, tt_app_request *request,
                              tt_problems *problems, tt_err *err) {
    json_object *tree = NULL;
    tt_request model;
    tt_settings_copy(settings, base);
    TT_TRY(tt_json_parse(job, size, &tree, err));
    tt_settings_read_job(settings, tree, problems);
    json_object_put(tree);
    tt_request_defaults(engine, &model);
    return tt_app_request_read(settings, &model, request, problems, err);
}

static tt_status make_and_write(tt_engine *engine, const tt_app_request *request, tt_buf *out,
                                tt_err *err) {
    tt_app_made made;
    TT_TRY(tt_app_make(engine, request, &made, err));
    tt_app_facts facts = {tt_engine_get_info(engine), request, &made.result, made.encode_ms};
    tt_status status = tt_app_write_output(&facts, made.files, out, err);
    tt_app_made_release(&made);
    return status;
}

/* Every fault when the request had some, else the one sentence of `err`. */
static tt_status write_failure(const tt_problems *problems, tt_buf *out, tt_err *err) {
    enum { MAX_SENTENCES_BYTES = 64 * 1024 };
    tt_buf text;
    tt_err ignored;
    tt_buf_init(&text, MAX_SENTENCES_BYTES);
    tt_status status = tt_problems_write(problems, "; ", &text, &ignored);
    if (status == TT_OK)
        status = tt_app_write_error(text.size ? text.data : err->message, out, &ignored);
    tt_buf_release(&text);
    return status;
}

tt_status tt_app_handle(tt_engine *engine, const tt_settings *base, const char *job, size_t size,
                        tt_progress_fn progress, void *progress_context, tt_buf *out, tt_err *err) {
    tt_settings settings;
    tt_app_request request;
    tt_problems problems;
    size_t start = out->size;
    tt_err local;
    if (!err) err = &local;
    tt_problems_init(&problems);
    tt_status status = read_request(engine, base, job, size, &settings, &request, &problems, err);
    request.engine.progress = progress;
    request.engine.progress_context = progress_context;
    if (status == TT_OK) status = make_and_write(engine, &request, out, err);
    if (status != TT_OK) {
        out->size = start; /* no half answer before the error */
        if (write_failure(&problems, out, err) != TT_OK) status = TT_E_NOMEM;
    }
    tt_settings_release(&settings);
    return status;
}
