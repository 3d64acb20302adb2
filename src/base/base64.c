/* See base64.h. OpenSSL's EVP_EncodeBlock does the same; base must not need OpenSSL for one loop.
 */
#include "base/base64.h"

#include <stdbool.h>

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

/* 0 to 63; -1: not of the alphabet. */
static int digit_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

static bool is_white(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The characters before the padding, with white space; the padding is checked. */
static tt_status strip_padding(const char *text, size_t *size, tt_err *err) {
    size_t end = *size;
    int n_padding = 0;
    for (; end > 0 && (is_white(text[end - 1]) || text[end - 1] == '='); end--)
        n_padding += text[end - 1] == '=';
    if (n_padding > 2)
        return tt_fail_at(err, TT_E_FORMAT, (int64_t)end, "base64: %d signs of padding, at most 2",
                          n_padding);
    *size = end;
    return TT_OK;
}

/* Writes to `o`, which has room for three bytes of every four characters. */
static tt_status decode(const char *text, size_t size, char *o, size_t *n, tt_err *err) {
    unsigned bits = 0;
    int n_bits = 0;
    *n = 0;
    for (size_t i = 0; i < size; i++) {
        int value = digit_value(text[i]);
        if (value < 0 && is_white(text[i])) continue;
        if (value < 0)
            return tt_fail_at(err, TT_E_FORMAT, (int64_t)i,
                              "base64: a character that is not of its alphabet at offset %zu", i);
        bits = (bits << 6 | (unsigned)value) & 0xffff;
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        o[(*n)++] = (char)(bits >> n_bits & 0xff);
    }
    if (n_bits == 6) return tt_fail(err, TT_E_FORMAT, "base64: it breaks off inside a byte");
    return TT_OK;
}

tt_status tt_base64_decode(const char *text, size_t size, tt_buf *out, tt_err *err) {
    size_t n;
    TT_TRY(strip_padding(text, &size, err));
    TT_TRY(tt_buf_reserve(out, size / 4 * 3 + 3, err));
    TT_TRY(decode(text, size, out->data + out->size, &n, err));
    out->size += n;
    out->data[out->size] = '\0';
    return TT_OK;
}
