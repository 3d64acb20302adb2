/* How the inside of the house reports failure: fill a tt_err, return its code, forward with TT_TRY.
 */
#ifndef TT_BASE_ERR_H
#define TT_BASE_ERR_H

#include <stdarg.h>

#include "tintype/error.h"

/* Fills `err` (may be NULL) with a printf-style sentence and returns `code`. The message is cut at
 * TT_ERR_MESSAGE_BYTES on a UTF-8 boundary; control characters and bytes that are not UTF-8 become
 * '?', so that text from outside cannot forge log lines or break JSON. Arguments may point into
 * `err`. */
tt_status tt_fail(tt_err *err, tt_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the byte offset at which the input went wrong. */
tt_status tt_fail_at(tt_err *err, tt_status code, int64_t position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* TT_E_IO (TT_E_NOT_FOUND for ENOENT) with "<what> <path>: <strerror>"; reads errno. */
tt_status tt_fail_errno(tt_err *err, const char *what, const char *path);

/* TT_E_NOMEM with "out of memory: <what> needs <n> bytes". */
tt_status tt_fail_nomem(tt_err *err, const char *what, uint64_t size_bytes);

/* Puts "<prefix>: " before the message of a failure already recorded; returns its code. */
tt_status tt_fail_prefix(tt_err *err, tt_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The static analyser reads one file at a time and cannot know that these never return TT_OK. */
#if defined __clang_analyzer__ && !defined TT_BASE_ERR_DEFINES
static inline tt_status tt_fail_known_(tt_status status, tt_status code) {
    (void)status;
    return code;
}
#define tt_fail(e, code, ...) tt_fail_known_(tt_fail((e), (code), __VA_ARGS__), (code))
#define tt_fail_at(e, code, at, ...) \
    tt_fail_known_(tt_fail_at((e), (code), (at), __VA_ARGS__), (code))
#define tt_fail_errno(e, what, path) tt_fail_known_(tt_fail_errno((e), (what), (path)), TT_E_IO)
#define tt_fail_nomem(e, what, size) tt_fail_known_(tt_fail_nomem((e), (what), (size)), TT_E_NOMEM)
#endif

/* Returns the failure of `call` to the caller of this function. */
#define TT_TRY(call)                                        \
    do {                                                    \
        tt_status tt_try_status_ = (call);                  \
        if (tt_try_status_ != TT_OK) return tt_try_status_; \
    } while (0)

/* Stores the failure of `call` in the local `status` and goes to the local label `out`. */
#define TT_TRY_OUT(call)               \
    do {                               \
        status = (call);               \
        if (status != TT_OK) goto out; \
    } while (0)

#endif
