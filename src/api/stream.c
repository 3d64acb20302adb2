/* See stream.h. Chunks are copied into one text, since there may be thousands of small ones; a soft limit keeps an answer
 * near that size, and what is left waits for the next call. */
#include "api/stream.h"

#include <string.h>

#include "api/answer.h"
#include "api/park.h"
#include "base/json.h"
#include "base/limits.h"

enum { CHUNKS_AT_ONCE = 16 };
#define SOFT_LIMIT_BYTES (4 * TT_MIB)

static tt_status put_chunk(tt_buf *out, const tt_blob *chunk, bool is_first, tt_err *err) {
    TT_TRY(tt_buf_puts(out, is_first ? "{\"output\": " : ", {\"output\": ", err));
    TT_TRY(tt_buf_append(out, chunk->data, chunk->size, err));
    return tt_buf_puts(out, "}", err);
}

static tt_status put_some(const tt__call *call, tt_buf *out, bool *is_first, int *n, tt_err *err) {
    tt_queue *queue = call->api->options.queue;
    tt_blob *chunks[CHUNKS_AT_ONCE];
    TT_TRY(queue->take_stream(queue, call->id, CHUNKS_AT_ONCE, chunks, n, err));
    tt_status status = TT_OK;
    for (int i = 0; i < *n; i++) {
        if (status == TT_OK) status = put_chunk(out, chunks[i], *is_first, err);
        *is_first = false;
        tt_blob_release(chunks[i]);
    }
    return status;
}

static tt_status put_all(const tt__call *call, tt_buf *out, tt_err *err) {
    bool is_first = true;
    int n = 0;
    do {
        TT_TRY(put_some(call, out, &is_first, &n, err));
    } while (n == CHUNKS_AT_ONCE && out->size < SOFT_LIMIT_BYTES);
    return TT_OK;
}

void tt__reply_stream(const tt__call *call, const tt_job_view *view) {
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, TT_MAX_JOB_OUTPUT_BYTES);
    tt_status status = tt_buf_puts(&b, "{\"id\": ", &err);
    if (status == TT_OK) status = tt_json_append_string(&b, call->id, strlen(call->id), &err);
    if (status == TT_OK)
        status = tt_buf_printf(&b, &err, ", \"status\": \"%s\", \"stream\": [",
                               tt_job_state_name(view->state));
    if (status == TT_OK && call->method != TT__HEAD) status = put_all(call, &b, &err);
    if (status == TT_OK) status = tt_buf_puts(&b, "]}", &err);
    tt__reply_buf(call, status, &b, &err);
}
