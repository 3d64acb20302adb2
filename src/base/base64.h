/* Base64 (RFC 4648, section 4, padded): pictures in JSON. */
#ifndef TT_BASE_BASE64_H
#define TT_BASE_BASE64_H

#include "base/buf.h"

tt_status tt_base64_append(tt_buf *out, const void *bytes, size_t size, tt_err *err);

#endif
