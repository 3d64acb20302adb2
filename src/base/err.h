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

/* None of these returns TT_OK. Said here so that compilers and analysers, which see one file at a time, do not
 * warn of variables that would stay unset if one did. */
static inline tt_status tt_failed_(tt_status status) {
    if (status == TT_OK) __builtin_unreachable();
    return status;
}
#ifndef TT_BASE_ERR_DEFINES
#define tt_fail(...)        tt_failed_(tt_fail(__VA_ARGS__))
#define tt_fail_at(...)     tt_failed_(tt_fail_at(__VA_ARGS__))
#define tt_fail_errno(...)  tt_failed_(tt_fail_errno(__VA_ARGS__))
#define tt_fail_nomem(...)  tt_failed_(tt_fail_nomem(__VA_ARGS__))
#define tt_fail_prefix(...) tt_failed_(tt_fail_prefix(__VA_ARGS__))
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
