/* See handler.h. Pictures never pass through a JSON tree: their base64 is spliced between two pieces of text. */
#include "app/handler.h"

#include <inttypes.h>
#include <string.h>

#include "app/encode.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

static tt_status encode_all(const tt_app_facts *facts, tt_app_made *made, tt_err *err) {
    int n = made->result.n_pictures;
    made->files = tt_alloc((size_t)n * sizeof *made->files);
    if (!made->files)
        return tt_fail_nomem(err, "list of pictures", (size_t)n * sizeof *made->files);
    for (int i = 0; i < n; i++) tt_buf_init(&made->files[i], TT_MAX_JOB_OUTPUT_BYTES);
    for (int i = 0; i < n; i++) TT_TRY(tt__encode_picture(facts, i, &made->files[i], err));
    return TT_OK;
}

tt_status tt_app_draw(tt_engine *engine, const tt_app_request *request, tt_app_made *out,
                      tt_err *err) {
    *out = (tt_app_made){.files = NULL};
    return tt_engine_generate(engine, &request->engine, &out->result, err);
}

tt_status tt_app_encode(tt_engine *engine, const tt_app_request *request, tt_app_made *made,
                        tt_err *err) {
    tt_app_facts facts = {tt_engine_get_info(engine), request, &made->result, 0};
    int64_t started_us = tt_clock_us();
    tt_status status = encode_all(&facts, made, err);
    made->encode_ms = (double)(tt_clock_us() - started_us) / 1000;
    if (status != TT_OK) tt_app_made_release(made);
    return status;
}

tt_status tt_app_make(tt_engine *engine, const tt_app_request *request, tt_app_made *out,
                      tt_err *err) {
    TT_TRY(tt_app_draw(engine, request, out, err));
    return tt_app_encode(engine, request, out, err);
}

void tt_app_made_release(tt_app_made *made) {
    for (int i = 0; made->files && i < made->result.n_pictures; i++)
        tt_buf_release(&made->files[i]);
    tt_free(made->files);
    tt_result_release(&made->result);
    *made = (tt_app_made){.files = NULL};
}

static tt_status append_seeds(const tt_result *result, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "], \"seeds\": [", err));
    for (int i = 0; i < result->n_pictures; i++)
        TT_TRY(tt_buf_printf(out, err, "%s%" PRIu64, i ? ", " : "", result->pictures[i].seed));
    return tt_buf_puts(out, "]", err);
}

static tt_status write_images(const tt_app_made *made, const tt_app_sink *sink, tt_buf *scratch,
                              tt_err *err) {
    int n = made->result.n_pictures;
    TT_TRY(tt_app_sink_puts(sink, n == 1 ? "{\"image\": " : "{\"images\": [", err));
    for (int i = 0; i < n; i++) {
        const tt_buf *file = &made->files[i];
        if (i > 0) TT_TRY(tt_app_sink_puts(sink, ", ", err));
        TT_TRY(tt_app_sink_base64(sink, file->data, file->size, scratch, err));
    }
    return TT_OK;
}

/* What follows the pictures. */
static tt_status append_rest(const tt_app_facts *facts, tt_buf *out, tt_err *err) {
    if (facts->result->n_pictures > 1) TT_TRY(append_seeds(facts->result, out, err));
    TT_TRY(tt_buf_puts(out, ", \"metadata\": ", err));
    TT_TRY(tt_metadata_of_job(facts, out, err));
    return tt_buf_puts(out, "}", err);
}

/* Everything that can fail here does so before the first byte is out. */
tt_status tt_app_write_output(tt_engine *engine, const tt_app_request *request,
                              const tt_app_made *made, const tt_app_sink *sink, tt_err *err) {
    tt_app_facts facts = {tt_engine_get_info(engine), request, &made->result, made->encode_ms};
    tt_buf rest, scratch;
    tt_buf_init(&rest, TT_MAX_JSON_BYTES);
    tt_buf_init(&scratch, TT_APP_PIECE_BYTES);
    tt_status status = append_rest(&facts, &rest, err);
    if (status == TT_OK) status = tt_buf_reserve(&scratch, TT_APP_PIECE_BYTES, err);
    if (status == TT_OK) status = write_images(made, sink, &scratch, err);
    if (status == TT_OK) status = sink->put(sink->context, rest.data, rest.size, err);
    tt_buf_release(&rest);
    tt_buf_release(&scratch);
    return status;
}

tt_status tt_app_write_error(const char *sentence, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "{\"error\": ", err));
    size_t size = strlen(sentence);
    size_t bad_at = size;
    tt_utf8_is_valid(sentence, size, &bad_at);
    TT_TRY(tt_json_append_string(out, sentence, bad_at, err));
    return tt_buf_puts(out, "}", err);
}
