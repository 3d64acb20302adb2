/* See utf8.h. The table of RFC 3629, section 4, as comparisons of the first two bytes. */
#include "base/utf8.h"

#include <string.h>

static size_t length_from_lead(unsigned char lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0; /* a continuation byte, or the overlong C0, C1 */
    if (lead < 0xe0) return 2;
    if (lead < 0xf0) return 3;
    return lead < 0xf5 ? 4 : 0;
}

/* The second byte has a narrower range after four of the leads. */
static bool second_is_allowed(unsigned char lead, unsigned char second) {
    switch (lead) {
    case 0xe0:
        return second >= 0xa0; /* below: overlong */
    case 0xed:
        return second <= 0x9f; /* above: surrogates */
    case 0xf0:
        return second >= 0x90; /* below: overlong */
    case 0xf4:
        return second <= 0x8f; /* above: beyond U+10FFFF */
    }
    return true;
}

size_t tt_utf8_sequence(const char *p, size_t n) {
    const unsigned char *u = (const unsigned char *)p;
    size_t length = length_from_lead(u[0]);
    if (length < 2) return length;
    if (length > n) return 0;
    for (size_t i = 1; i < length; i++)
        if ((u[i] & 0xc0) != 0x80) return 0;
    return second_is_allowed(u[0], u[1]) ? length : 0;
}

/* Bytes up to a word that is not all ASCII: nearly all of nearly every text, at the speed of memory. */
static size_t ascii_length(const char *text, size_t size) {
    static const uint64_t HIGH_BITS = 0x8080808080808080u;
    enum { WORDS = 4 };
    uint64_t words[WORDS];
    size_t i = 0;
    for (; size - i >= sizeof words; i += sizeof words) {
        memcpy(words, text + i, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) & HIGH_BITS) break;
    }
    return i;
}

bool tt_utf8_is_valid(const char *text, size_t size, size_t *bad_at) {
    for (size_t i = 0; i < size;) {
        i += ascii_length(text + i, size - i);
        if (i == size) break;
        size_t length = tt_utf8_sequence(text + i, size - i);
        if (length == 0) {
            if (bad_at) *bad_at = i;
            return false;
        }
        i += length;
    }
    return true;
}

size_t tt_utf8_encode(uint32_t value, char out[4]) {
    if (value < 0x80) {
        out[0] = (char)value;
        return 1;
    }
    size_t length = value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    static const unsigned char LEAD[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (value & 0x3f));
        value >>= 6;
    }
    out[0] = (char)(LEAD[length] | value);
    return length;
}

/* U+0000 to U+001F, U+007F and, in two bytes, U+0080 to U+009F. */
static bool is_control(const unsigned char *p, size_t length) {
    if (length == 1) return p[0] < ' ' || p[0] == 0x7f;
    return length == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

/* Works in place: no replacement is longer than what it replaces. */
void tt_utf8_make_printable(char *text, bool was_cut) {
    size_t size = strlen(text), to = 0;
    for (size_t from = 0; from < size;) {
        size_t length = tt_utf8_sequence(text + from, size - from);
        bool is_tail = size - from < 4 && (unsigned char)text[from] >= 0xc2;
        if (length == 0 && was_cut && is_tail) break;
        if (length == 0 || is_control((unsigned char *)text + from, length)) {
            text[to++] = '?';
            from += length ? length : 1;
        } else {
            memmove(text + to, text + from, length);
            to += length;
            from += length;
        }
    }
    text[to] = '\0';
}
