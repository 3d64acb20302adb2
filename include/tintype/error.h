/* Status codes and the error record that every fallible function fills.
 *
 * A function returns TT_OK or a code; on failure it writes one complete sentence into `err`: what,
 * which, expected and found. `err` may be NULL when the caller only wants the code. Nothing here
 * allocates, so errors can be reported when memory is gone. Thread rule: a tt_err belongs to one
 * thread at a time. */
#ifndef TINTYPE_ERROR_H
#define TINTYPE_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tt_status {
    TT_OK = 0,
    TT_E_INVALID,     /* the caller asked for something that makes no sense (a bad request) */
    TT_E_NOT_FOUND,   /* a file, tensor or name does not exist */
    TT_E_IO,          /* the operating system refused: read, write, disk full */
    TT_E_FORMAT,      /* bytes from outside break the rules of their format */
    TT_E_UNSUPPORTED, /* well-formed, but not something this build can do */
    TT_E_NOMEM,       /* memory ran out, or a planned limit would be passed */
    TT_E_CANCELLED,   /* the caller asked to stop */
    TT_E_INTERNAL,    /* a library below failed in a way that should not happen */
} tt_status;

enum { TT_ERR_MESSAGE_BYTES = 512 };

typedef struct tt_err {
    tt_status code;
    int64_t position; /* byte offset in the input that was parsed, or -1 */
    char message[TT_ERR_MESSAGE_BYTES];
} tt_err;

#ifdef __cplusplus
}
#endif
#endif
