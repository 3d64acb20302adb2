/* Text of URLs: percent-encoding and query strings. Pure functions. */
#ifndef TT_NET_URL_H
#define TT_NET_URL_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends text with everything but RFC 3986's unreserved characters percent-encoded. */
tt_status tt_url_append_encoded(tt_buf *out, const char *text, tt_err *err);
/* Appends text with %XX decoded; TT_E_FORMAT for a broken escape or a NUL. '+' stays '+'. */
tt_status tt_url_append_decoded(tt_buf *out, const char *text, size_t size, tt_err *err);
/* The byte that %XX at `at` < size means; -1 when no two hexadecimal digits follow there. */
int tt_url_escaped_byte(const char *text, size_t size, size_t at);
/* http:// or https:// with a host, no control characters or spaces, no user:password@. One sentence otherwise. */
tt_status tt_url_check(const char *url, tt_err *err);

#endif
