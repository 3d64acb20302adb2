/* What a server says about its bytes, and what the bytes say themselves. Pure functions on hostile input. */
#include <string.h>
#include <strings.h>

#include "store/download_parts.h"
#include "weights/safetensors.h"

/* Digits from *at on, moved past them. */
static bool take_number(const char **at, uint64_t *out) {
    const char *c = *at;
    *out = 0;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*c - '0'), out))
            return false;
    bool is_number = c > *at;
    *at = c;
    return is_number;
}

static bool take_char(const char **at, char c) {
    bool is_it = **at == c;
    if (is_it) ++*at;
    return is_it;
}

/* RFC 9110 14.4; the unit's name in any case, one space after it. */
bool tt__content_range_parse(const char *text, tt__content_range *out) {
    static const char UNIT[] = "bytes ";
    tt__content_range r = {0};
    if (strncasecmp(text, UNIT, sizeof UNIT - 1) != 0) return false;
    const char *at = text + sizeof UNIT - 1;
    if (!take_number(&at, &r.first) || !take_char(&at, '-') || !take_number(&at, &r.last) ||
        !take_char(&at, '/') || r.first > r.last)
        return false;
    r.has_total = !take_char(&at, '*');
    if (r.has_total && (!take_number(&at, &r.total) || r.last >= r.total)) return false;
    if (*at) return false;
    *out = r;
    return true;
}

/* RFC 9110 8.8.3. */
bool tt__etag_is_strong(const char *etag) {
    size_t n = strlen(etag);
    return n > 2 && n < TT_SOURCE_VALIDATOR_BYTES && etag[0] == '"' && etag[n - 1] == '"' &&
           !memchr(etag + 1, '"', n - 2);
}

bool tt__content_type_is_page(const char *content_type) {
    static const char *const PAGES[] = {"text/html",        "application/xhtml+xml",
                                        "application/json", "application/problem+json",
                                        "application/xml",  "text/xml"};
    size_t n = strcspn(content_type, "; \t");
    for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++)
        if (n == strlen(PAGES[i]) && strncasecmp(content_type, PAGES[i], n) == 0) return true;
    return false;
}

static bool begins_with(const unsigned char *bytes, size_t n, const char *what) {
    return n >= strlen(what) && strncasecmp((const char *)bytes, what, strlen(what)) == 0;
}

/* Names for the usual mistakes; a file is refused whether it has one or not. */
static const char *name_of(const unsigned char *bytes, size_t n) {
    if (begins_with(bytes, n, "PK\x03\x04")) return "a zip archive or a pickle";
    if (n >= 2 && bytes[0] == 0x80 && bytes[1] <= 5) return "a pickle";
    if (n >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) return "compressed by gzip";
    if (begins_with(bytes, n, "7z\xbc\xaf")) return "a 7z archive";
    if (begins_with(bytes, n, "GGUF")) return "a GGUF file";
    if (begins_with(bytes, n, "version https://git-lfs")) return "a Git LFS pointer";
    while (n > 0 && (*bytes == ' ' || *bytes == '\t' || *bytes == '\r' || *bytes == '\n'))
        bytes++, n--;
    if (begins_with(bytes, n, "<!doctype html") || begins_with(bytes, n, "<html"))
        return "an HTML page";
    if (begins_with(bytes, n, "<")) return "an XML or HTML page";
    if (begins_with(bytes, n, "{") || begins_with(bytes, n, "[")) return "JSON";
    return "no safetensors file";
}

/* Eight bytes of length, little-endian, then the header, which begins with '{' (the format's own reader demands it). */
const char *tt__sniff(const unsigned char *bytes, size_t n, uint64_t total) {
    enum { LENGTH_BYTES = 8 };
    uint64_t length = 0;
    if (n <= LENGTH_BYTES) return n == 0 ? "empty" : name_of(bytes, n);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | bytes[i];
    bool fits = length >= 2 && length <= TT_ST_MAX_HEADER_BYTES &&
                (total == 0 || length <= total - LENGTH_BYTES);
    return fits && bytes[LENGTH_BYTES] == '{' ? NULL : name_of(bytes, n);
}
