/* See sink.h. */
#include "app/sink.h"

#include <string.h>

#include "base/base64.h"

/* Base64 makes four characters of three bytes; whole groups, so that the pieces join without padding between. */
enum { RAW_PIECE_BYTES = TT_APP_PIECE_BYTES / 4 * 3 };

static tt_status append(void *context, const void *bytes, size_t size, tt_err *err) {
    return tt_buf_append(context, bytes, size, err);
}

tt_app_sink tt_app_sink_of_buf(tt_buf *buf) {
    return (tt_app_sink){buf, append};
}

tt_status tt_app_sink_puts(const tt_app_sink *sink, const char *text, tt_err *err) {
    return sink->put(sink->context, text, strlen(text), err);
}

tt_status tt_app_sink_base64(const tt_app_sink *sink, const void *bytes, size_t size,
                             tt_buf *scratch, tt_err *err) {
    const char *from = bytes;
    TT_TRY(tt_app_sink_puts(sink, "\"", err));
    for (size_t at = 0; at < size; at += RAW_PIECE_BYTES) {
        size_t n = size - at < RAW_PIECE_BYTES ? size - at : RAW_PIECE_BYTES;
        scratch->size = 0;
        TT_TRY(tt_base64_append(scratch, from + at, n, err));
        TT_TRY(sink->put(sink->context, scratch->data, scratch->size, err));
    }
    return tt_app_sink_puts(sink, "\"", err);
}
