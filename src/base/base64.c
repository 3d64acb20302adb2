/* See base64.h. OpenSSL's EVP_EncodeBlock does the same; base must not need OpenSSL for one loop.
 */
#include "base/base64.h"

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

tt_status tt_base64_append(tt_buf *out, const void *bytes, size_t size, tt_err *err) {
    const unsigned char *p = bytes;
    size_t n = (size / 3 + (size % 3 != 0)) * 4;
    TT_TRY(tt_buf_reserve(out, n, err));
    char *o = out->data + out->size;
    for (size_t i = 0; i < size; i += 3) {
        unsigned left = size - i < 3 ? (unsigned)(size - i) : 3;
        unsigned v = (unsigned)p[i] << 16;
        if (left > 1) v |= (unsigned)p[i + 1] << 8;
        if (left > 2) v |= p[i + 2];
        *o++ = ALPHABET[v >> 18];
        *o++ = ALPHABET[v >> 12 & 63];
        *o++ = left > 1 ? ALPHABET[v >> 6 & 63] : '=';
        *o++ = left > 2 ? ALPHABET[v & 63] : '=';
    }
    out->size += n;
    out->data[out->size] = '\0';
    return TT_OK;
}
