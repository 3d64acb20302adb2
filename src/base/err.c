/* The error record. Its one design decision: no allocation and no ownership, a message is a bounded array
 * in the caller's frame. The price is that long sentences are cut; 512 bytes hold every one we write. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Control characters would let a file name or a tensor name write its own log lines. */
static void make_printable(char *text) {
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < ' ' || *p == 0x7f) *p = '?';
}

/* A cut in the middle of a UTF-8 sequence would make the whole message invalid JSON later. */
static void drop_partial_utf8(char *text) {
    size_t length = strlen(text);
    size_t start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) start--;
    if (start == 0) return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t expected = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (length - (start - 1) < expected) text[start - 1] = '\0';
}

static tt_status fail_va(tt_err *err, tt_status code, int64_t position, const char *format,
                         va_list args) {
    if (!err) return code;
    err->code = code;
    err->position = position;
    int wanted = vsnprintf(err->message, sizeof err->message, format, args);
    if (wanted >= (int)sizeof err->message) drop_partial_utf8(err->message);
    make_printable(err->message);
    return code;
}

tt_status tt_fail(tt_err *err, tt_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_va(err, code, -1, format, args);
    va_end(args);
    return code;
}

tt_status tt_fail_at(tt_err *err, tt_status code, int64_t position, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_va(err, code, position, format, args);
    va_end(args);
    return code;
}

tt_status tt_fail_errno(tt_err *err, const char *what, const char *path) {
    int saved = errno;
    return tt_fail(err, saved == ENOENT ? TT_E_NOT_FOUND : TT_E_IO, "%s %s: %s", what, path,
                   strerror(saved));
}

tt_status tt_fail_nomem(tt_err *err, const char *what, uint64_t size_bytes) {
    return tt_fail(err, TT_E_NOMEM, "out of memory: %s needs %llu bytes", what,
                   (unsigned long long)size_bytes);
}

tt_status tt_fail_prefix(tt_err *err, tt_status code, const char *format, ...) {
    if (!err) return code;
    char before[TT_ERR_MESSAGE_BYTES];
    memcpy(before, err->message, sizeof before);
    int64_t position = err->position;
    char prefix[TT_ERR_MESSAGE_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    return tt_fail_at(err, code, position, "%s: %s", prefix, before);
}
