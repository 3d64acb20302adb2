/* A picture behind a URL, fetched through the same guard as models: every hop is https and public (unless allow_private), no
 * credential is sent, nothing is kept. Blocking. */
#ifndef TT_STORE_PICTURE_H
#define TT_STORE_PICTURE_H

#include "base/buf.h"
#include "store/source.h"

/* Appends at most 16 MiB of type image/... or application/octet-stream. Sentences name the host only: URLs may be signed. */
tt_status tt_picture_fetch(const tt_source_services *services, const char *url, int64_t deadline_ms,
                           tt_buf *out, tt_fetch_error *error);

#endif
