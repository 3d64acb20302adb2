/* The error record. Its one design decision: no allocation and no ownership, a message is a bounded
 * array in the caller's frame. The price is that long sentences are cut; 512 bytes hold every one
 * we write. */
#define TT_BASE_ERR_DEFINES
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static tt_status fail_va(tt_err *err, tt_status code, int64_t position, const char *format,
                         va_list args) {
    if (!err) return code;
    char message[TT_ERR_MESSAGE_BYTES]; /* not err->message: an argument may point there */
    int wanted = vsnprintf(message, sizeof message, format, args);
    if (wanted < 0) message[0] = '\0';
    tt_utf8_make_printable(message, wanted >= (int)sizeof message);
    err->code = code;
    err->position = position;
    memcpy(err->message, message, sizeof message);
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
