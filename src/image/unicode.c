/* UTF-8 to and from the encodings that picture containers hold: Latin-1 (PNG tEXt) and UTF-16
 * (Exif). Unpaired surrogates become U+FFFD, so whatever is read comes out as valid UTF-8. */
#include "image/embed.h"

#include <string.h>

#include "base/utf8.h"

enum {
    REPLACEMENT = 0xfffd,
    SURROGATE_HIGH = 0xd800,
    SURROGATE_LOW = 0xdc00,
    SURROGATE_END = 0xe000,
    PLANE_1 = 0x10000,
    SURROGATE_BITS = 10,
};

tt_status tt__utf8_put(tt_buf *out, uint32_t code_point, tt_err *err) {
    char bytes[4];
    return tt_buf_append(out, bytes, tt_utf8_encode(code_point, bytes), err);
}

tt_status tt__utf8_from_latin1(tt_buf *out, const uint8_t *bytes, size_t n, tt_err *err) {
    for (size_t i = 0; i < n; i++) TT_TRY(tt__utf8_put(out, bytes[i], err));
    return TT_OK;
}

tt_status tt__utf8_from_either(tt_buf *out, const uint8_t *bytes, size_t n, tt_err *err) {
    if (tt_utf8_is_valid((const char *)bytes, n, NULL)) return tt_buf_append(out, bytes, n, err);
    return tt__utf8_from_latin1(out, bytes, n, err);
}

static uint32_t utf16_unit(const uint8_t *p, bool big_endian) {
    return big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

tt_status tt__utf8_from_utf16(tt_buf *out, const uint8_t *bytes, size_t n, bool big_endian,
                              tt_err *err) {
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint32_t c = utf16_unit(bytes + i, big_endian);
        if (c >= SURROGATE_HIGH && c < SURROGATE_END) {
            uint32_t low =
                c < SURROGATE_LOW && i + 3 < n ? utf16_unit(bytes + i + 2, big_endian) : 0;
            bool paired = low >= SURROGATE_LOW && low < SURROGATE_END;
            if (paired) i += 2;
            c = paired ? PLANE_1 + ((c - SURROGATE_HIGH) << SURROGATE_BITS) + (low - SURROGATE_LOW)
                       : REPLACEMENT;
        }
        TT_TRY(tt__utf8_put(out, c, err));
    }
    return TT_OK;
}

/* One code point of valid, NUL-terminated UTF-8. */
static uint32_t utf8_next(const char **text) {
    const unsigned char *p = (const unsigned char *)*text;
    int n_more = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
    uint32_t c = n_more ? p[0] & (0x3fu >> n_more) : p[0];
    for (int i = 1; i <= n_more; i++) c = c << 6 | (p[i] & 0x3f);
    *text += n_more + 1;
    return c;
}

static tt_status put_utf16be_unit(tt_buf *out, uint32_t unit, tt_err *err) {
    uint8_t bytes[2] = {(uint8_t)(unit >> 8), (uint8_t)unit};
    return tt_buf_append(out, bytes, sizeof bytes, err);
}

tt_status tt__utf16be_from_utf8(tt_buf *out, const char *text, tt_err *err) {
    while (*text) {
        uint32_t c = utf8_next(&text);
        if (c >= PLANE_1) {
            c -= PLANE_1;
            TT_TRY(put_utf16be_unit(out, SURROGATE_HIGH + (c >> SURROGATE_BITS), err));
            c = SURROGATE_LOW + (c & ((1u << SURROGATE_BITS) - 1));
        }
        TT_TRY(put_utf16be_unit(out, c, err));
    }
    return TT_OK;
}

tt_status tt__text_keep(char **slot, tt_buf *text, const char *what, tt_err *err) {
    tt_status status = tt_buf_append(text, "", 0, err); /* so that data is not NULL */
    if (status != TT_OK || *slot) goto out;
    while (text->size > 0 && text->data[text->size - 1] == '\0') text->size--;
    if (memchr(text->data, '\0', text->size)) {
        status = tt_fail(err, TT_E_FORMAT, "%s: the text has a NUL byte inside", what);
    } else if (!tt_utf8_is_valid(text->data, text->size, NULL)) {
        status = tt_fail(err, TT_E_FORMAT, "%s: the text is not valid UTF-8", what);
    } else {
        *slot = text->data;
        tt_buf_init(text, text->limit_bytes);
    }
out:
    tt_buf_release(text);
    return status;
}
