/* A picture behind a URL, fetched through the same guard as models: every hop is https and public (unless allow_private), no
 * credential is sent, nothing is kept. Blocking. */
#ifndef TT_STORE_PICTURE_H
#define TT_STORE_PICTURE_H

#include "base/buf.h"
#include "store/source.h"

typedef struct tt_picture_options {
    int64_t deadline_ms;
    /* Asked ten times a second, on the calling thread; false: cancel. May be NULL. */
    bool (*goes_on)(void *context);
    void *goes_on_context;
} tt_picture_options;

/* Appends at most 16 MiB of type image/... or application/octet-stream. Sentences name the host only: URLs may be signed. */
tt_status tt_picture_fetch(const tt_source_services *services, const char *url,
                           const tt_picture_options *options, tt_buf *out, tt_fetch_error *error);

#endif
