/* See page.h. */
#include "api/page.h"

#include <string.h>

#include "api/sign.h"
#include "base/base64.h"

/* By CMakeLists.txt, from src/api/page/playground.html. */
extern const char tt__page_playground[], tt__page_playground_end[];

const char *tt__playground_html(size_t *size) {
    *size = (size_t)(tt__page_playground_end - tt__page_playground);
    return tt__page_playground;
}

static tt_status put_hash(const char *script, size_t size, tt_buf *out, tt_err *err) {
    unsigned char digest[TT__DIGEST_BYTES];
    TT_TRY(tt__sha256(script, size, digest, err));
    TT_TRY(tt_buf_puts(out, " 'sha256-", err));
    TT_TRY(tt_base64_append(out, digest, sizeof digest, err));
    return tt_buf_puts(out, "'", err);
}

tt_status tt__page_policy(const char *html, size_t size, const char *base, tt_buf *out,
                          tt_err *err) {
    static const char open[] = "<script>", close[] = "</script>";
    const char *end = html + size, *at = html;
    TT_TRY(tt_buf_puts(out, base, err));
    TT_TRY(tt_buf_puts(out, "; script-src", err));
    size_t without = out->size;
    while ((at = memmem(at, (size_t)(end - at), open, sizeof open - 1)) != NULL) {
        at += sizeof open - 1;
        const char *stop = memmem(at, (size_t)(end - at), close, sizeof close - 1);
        if (!stop) break;
        TT_TRY(put_hash(at, (size_t)(stop - at), out, err));
        at = stop;
    }
    return out->size == without ? tt_buf_puts(out, " 'none'", err) : TT_OK;
}
