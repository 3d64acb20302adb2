/* What a file's first bytes say about it. Pure functions on hostile input. */
#include <string.h>
#include <strings.h>

#include "store/download_parts.h"
#include "weights/safetensors.h"

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
