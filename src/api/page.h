/* The playground's page: one file of HTML, embedded by the build. */
#ifndef TT_API_PAGE_H
#define TT_API_PAGE_H

#include "base/buf.h"

const char *tt__playground_html(size_t *size); /* static; not NUL-terminated */

/* A Content-Security-Policy that lets only the scripts of this very page run: `base`, then script-src with the hash of each
 * inline <script>. */
tt_status tt__page_policy(const char *html, size_t size, const char *base, tt_buf *out,
                          tt_err *err);

#endif
