/* Where an answer goes, piece by piece, so that a picture is never held a second time as text. */
#ifndef TT_APP_SINK_H
#define TT_APP_SINK_H

#include "base/buf.h"

typedef struct tt_app_sink {
    void *context;
    tt_status (*put)(void *context, const void *bytes, size_t size, tt_err *err);
} tt_app_sink;

tt_app_sink tt_app_sink_of_buf(tt_buf *buf); /* borrowed: appends to it */

tt_status tt_app_sink_puts(const tt_app_sink *sink, const char *text, tt_err *err);
/* The bytes as a JSON string of base64, in pieces of at most TT_APP_PIECE_BYTES. `scratch` holds one piece: a caller that has
 * reserved that much sees no failure but the sink's own, halfway through an answer. */
tt_status tt_app_sink_base64(const tt_app_sink *sink, const void *bytes, size_t size,
                             tt_buf *scratch, tt_err *err);

/* Fits in one packet between the handler's process and the worker's, header included. */
enum { TT_APP_PIECE_BYTES = 48 * 1024 };

#endif
