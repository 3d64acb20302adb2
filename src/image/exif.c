/* One text in an Exif block: the UserComment, where AUTOMATIC1111 and its descendants look in JPEG
 * and WebP.
 *
 * The block is a TIFF file without pixels (TIFF 6.0, section 2; Exif 2.3, 4.6). What we write,
 * big-endian:
 *
 *      0  "MM" 0x002a, u32 offset of IFD0 = 8
 *      8  IFD0:     u16 1 entry, {u16 tag 0x8769, u16 type 4 (LONG), u32 count 1, u32 26}, u32 0
 *     26  Exif IFD: u16 1 entry, {u16 tag 0x9286, u16 type 7 (UNDEFINED), u32 n, u32 44}, u32 0
 *     44  "UNICODE\0", then the text in UTF-16BE: n bytes in all
 *
 * (the u32 0 at the end of each: no next directory)
 *
 * Readers disagree on the byte order of that UTF-16 (Exif says the TIFF's, piexif says big-endian);
 * in an MM file both are the same. Reading a little-endian file, the text itself decides: where
 * most zero bytes lie. Only IFD0 and the Exif IFD are visited, so chains of IFDs cannot loop. */
#include "image/embed.h"

#include <string.h>

#include "base/limits.h"

enum {
    TIFF_MAGIC = 42,
    TIFF_HEADER_BYTES = 8,
    ENTRY_BYTES = 12,
    IFD_BYTES = 2 + ENTRY_BYTES + 4, /* with one entry */
    TAG_EXIF_IFD = 0x8769,
    TAG_USER_COMMENT = 0x9286,
    TAG_ORIENTATION = 0x0112,
    TYPE_BYTE = 1, /* what Pillow writes for a comment */
    TYPE_ASCII = 2,
    TYPE_SHORT = 3,
    TYPE_LONG = 4,
    TYPE_UNDEFINED = 7, /* what the specification wants */
    CHARSET_BYTES = 8,
    INLINE_BYTES = 4, /* values up to here stand in the entry itself... */
    VALUE_AT = 8,     /* ...here */
};

static tt_status put_u16(tt_buf *out, unsigned v, tt_err *err) {
    uint8_t bytes[] = {(uint8_t)(v >> 8), (uint8_t)v};
    return tt_buf_append(out, bytes, sizeof bytes, err);
}

static tt_status put_u32(tt_buf *out, uint32_t v, tt_err *err) {
    TT_TRY(put_u16(out, v >> 16, err));
    return put_u16(out, v & 0xffff, err);
}

static tt_status put_ifd(tt_buf *out, unsigned tag, unsigned type, uint32_t count, uint32_t value,
                         tt_err *err) {
    TT_TRY(put_u16(out, 1, err));
    TT_TRY(put_u16(out, tag, err));
    TT_TRY(put_u16(out, type, err));
    TT_TRY(put_u32(out, count, err));
    TT_TRY(put_u32(out, value, err));
    return put_u32(out, 0, err);
}

tt_status tt__exif_write(tt_buf *out, const char *comment, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, 2 * TT_MAX_IMAGE_TEXT_BYTES); /* UTF-16 is at most twice UTF-8 */
    tt_status status;
    TT_TRY_OUT(tt__utf16be_from_utf8(&text, comment, err));
    uint32_t n_bytes = (uint32_t)(CHARSET_BYTES + text.size);
    TT_TRY_OUT(tt_buf_append(out, "MM\0*", 4, err));
    TT_TRY_OUT(put_u32(out, TIFF_HEADER_BYTES, err));
    TT_TRY_OUT(put_ifd(out, TAG_EXIF_IFD, TYPE_LONG, 1, TIFF_HEADER_BYTES + IFD_BYTES, err));
    TT_TRY_OUT(put_ifd(out, TAG_USER_COMMENT, TYPE_UNDEFINED, n_bytes,
                       TIFF_HEADER_BYTES + 2 * IFD_BYTES, err));
    TT_TRY_OUT(tt_buf_append(out, "UNICODE\0", CHARSET_BYTES, err));
    TT_TRY_OUT(tt_buf_append(out, text.data, text.size, err));
out:
    tt_buf_release(&text);
    return status;
}

typedef struct tiff {
    const uint8_t *bytes; /* borrowed */
    size_t size;
    bool big_endian;
} tiff;

typedef struct tiff_entry {
    size_t at; /* of the entry itself */
    unsigned type;
    uint32_t count;
    uint32_t value; /* as u32: an offset, unless the value fits in it */
} tiff_entry;

static bool fits(const tiff *t, size_t at, size_t n) {
    return at <= t->size && n <= t->size - at;
}

/* The caller made sure that the bytes are there. */
static unsigned get_u16(const tiff *t, size_t at) {
    const uint8_t *p = t->bytes + at;
    return t->big_endian ? (unsigned)p[0] << 8 | p[1] : (unsigned)p[1] << 8 | p[0];
}

static uint32_t get_u32(const tiff *t, size_t at) {
    uint32_t first = get_u16(t, at), second = get_u16(t, at + 2);
    return t->big_endian ? first << 16 | second : second << 16 | first;
}

static tt_status open_tiff(const uint8_t *bytes, size_t size, tiff *t, tt_err *err) {
    static const char prefix[] = "Exif\0"; /* 6 bytes with the literal's own NUL */
    if (size >= sizeof prefix && !memcmp(bytes, prefix, sizeof prefix))
        bytes += sizeof prefix, size -= sizeof prefix;
    *t = (tiff){.bytes = bytes, .size = size};
    if (size < TIFF_HEADER_BYTES)
        return tt_fail(err, TT_E_FORMAT, "Exif: %zu bytes, expected at least %d", size,
                       TIFF_HEADER_BYTES);
    t->big_endian = bytes[0] == 'M';
    if ((memcmp(bytes, "MM", 2) && memcmp(bytes, "II", 2)) || get_u16(t, 2) != TIFF_MAGIC)
        return tt_fail(err, TT_E_FORMAT, "Exif: it does not begin with a TIFF header");
    return TT_OK;
}

/* *found says whether the IFD at `at` has the tag. */
static tt_status find_tag(const tiff *t, size_t at, unsigned tag, tiff_entry *entry, bool *found,
                          tt_err *err) {
    *found = false;
    if (!fits(t, at, 2))
        return tt_fail(err, TT_E_FORMAT, "Exif: a directory at byte %zu of %zu", at, t->size);
    size_t n = get_u16(t, at);
    if (!fits(t, at + 2, n * ENTRY_BYTES))
        return tt_fail(err, TT_E_FORMAT,
                       "Exif: a directory at byte %zu has %zu entries, too many for %zu bytes", at,
                       n, t->size);
    for (size_t i = 0; i < n && !*found; i++) {
        size_t e = at + 2 + i * ENTRY_BYTES;
        if (get_u16(t, e) != tag) continue;
        *entry = (tiff_entry){e, get_u16(t, e + 2), get_u32(t, e + 4), get_u32(t, e + 8)};
        *found = true;
    }
    return TT_OK;
}

/* A byte order mark decides; else the zero bytes of ASCII-rich text; else the TIFF's order. */
static bool utf16_is_big_endian(const uint8_t *p, size_t n, bool otherwise) {
    if (n >= 2 && p[0] == 0xfe && p[1] == 0xff) return true;
    if (n >= 2 && p[0] == 0xff && p[1] == 0xfe) return false;
    size_t n_zeros[2] = {0, 0};
    for (size_t i = 0; i < n; i++) n_zeros[i & 1] += p[i] == 0;
    return n_zeros[0] == n_zeros[1] ? otherwise : n_zeros[0] > n_zeros[1];
}

static tt_status decode_utf16(const uint8_t *p, size_t n, bool big_endian, tt_buf *text,
                              tt_err *err) {
    bool big = utf16_is_big_endian(p, n, big_endian);
    bool has_mark = n >= 2 && p[big ? 0 : 1] == 0xfe && p[big ? 1 : 0] == 0xff;
    size_t skip = has_mark ? 2 : 0;
    return tt__utf8_from_utf16(text, p + skip, n - skip, big, err);
}

/* `p` is the whole value of the tag: 8 bytes that name a character set, then the text. Some write
 * bare text. */
static tt_status decode_comment(const uint8_t *p, size_t n, bool big_endian, tt_buf *text,
                                tt_err *err) {
    static const char utf16[CHARSET_BYTES] = "UNICODE", ascii[CHARSET_BYTES] = "ASCII",
                      unnamed[CHARSET_BYTES] = "";
    const uint8_t *chars = p + CHARSET_BYTES;
    size_t left = n < CHARSET_BYTES ? 0 : n - CHARSET_BYTES;
    if (n >= CHARSET_BYTES && !memcmp(p, utf16, CHARSET_BYTES))
        return decode_utf16(chars, left, big_endian, text, err);
    if (n >= CHARSET_BYTES &&
        (!memcmp(p, ascii, CHARSET_BYTES) || !memcmp(p, unnamed, CHARSET_BYTES)))
        return tt__utf8_from_either(text, chars, left, err);
    return tt__utf8_from_either(text, p, n, err);
}

static tt_status keep_comment(const tiff *t, const tiff_entry *entry, char **slot, tt_err *err) {
    size_t n = entry->count, at = n <= INLINE_BYTES ? entry->at + VALUE_AT : entry->value;
    bool is_bytes =
        entry->type == TYPE_UNDEFINED || entry->type == TYPE_BYTE || entry->type == TYPE_ASCII;
    if (!is_bytes) return TT_OK; /* no text that we know */
    if (!fits(t, at, n))
        return tt_fail(err, TT_E_FORMAT, "Exif: a comment of %zu bytes at byte %zu of %zu", n, at,
                       t->size);
    tt_buf text;
    tt_buf_init(&text, TT_MAX_IMAGE_TEXT_BYTES);
    tt_status status = decode_comment(t->bytes + at, n, t->big_endian, &text, err);
    if (status == TT_OK) return tt__text_keep(slot, &text, "Exif comment", err);
    tt_buf_release(&text);
    return tt_fail_prefix(err, status, "Exif comment");
}

int tt__exif_orientation(const uint8_t *bytes, size_t size) {
    enum { UPRIGHT = 1, LAST = 8 };
    tiff t;
    tiff_entry entry = {0};
    bool found;
    if (open_tiff(bytes, size, &t, NULL) != TT_OK ||
        find_tag(&t, get_u32(&t, 4), TAG_ORIENTATION, &entry, &found, NULL) != TT_OK || !found ||
        entry.type != TYPE_SHORT || entry.count != 1)
        return UPRIGHT;
    unsigned value = get_u16(&t, entry.at + VALUE_AT);
    return value >= UPRIGHT && value <= LAST ? (int)value : UPRIGHT;
}

tt_status tt__exif_read(const uint8_t *bytes, size_t size, char **slot, tt_err *err) {
    tiff t;
    tiff_entry entry = {0};
    bool found;
    TT_TRY(open_tiff(bytes, size, &t, err));
    TT_TRY(find_tag(&t, get_u32(&t, 4), TAG_EXIF_IFD, &entry, &found, err));
    if (!found) return TT_OK;
    TT_TRY(find_tag(&t, entry.value, TAG_USER_COMMENT, &entry, &found, err));
    return found ? keep_comment(&t, &entry, slot, err) : TT_OK;
}
