/* Base64 (RFC 4648, section 4, padded): pictures in JSON. */
#ifndef TT_BASE_BASE64_H
#define TT_BASE_BASE64_H

#include "base/buf.h"

tt_status tt_base64_append(tt_buf *out, const void *bytes, size_t size, tt_err *err);

/* Appends the bytes that `size` characters stand for. White space anywhere is skipped, as MIME's lines need it, the URL-safe
 * alphabet is understood, and padding may be missing at the end. TT_E_FORMAT with the place of what is neither; `out` is then
 * as before. */
tt_status tt_base64_decode(const char *text, size_t size, tt_buf *out, tt_err *err);

#endif
