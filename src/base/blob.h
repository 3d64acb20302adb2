/* Bytes shared by several holders, freed by the last: a 2 MB answer is written once and sent from where it lies.
 * The count is atomic, the bytes are constant once shared. Any thread. */
#ifndef TT_BASE_BLOB_H
#define TT_BASE_BLOB_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/buf.h"

typedef struct tt_blob {
    atomic_int holders;
    size_t size;
    char *data; /* owned, NUL after `size` */
} tt_blob;

/* One holder: the caller. A copy of the bytes. */
tt_status tt_blob_new(const void *bytes, size_t size, tt_blob **out, tt_err *err);
/* Takes the buffer's memory without a copy; `b` is empty afterwards, also on failure. */
tt_status tt_blob_take(tt_buf *b, tt_blob **out, tt_err *err);
tt_blob *tt_blob_hold(tt_blob *blob); /* one more holder; returns blob; NULL is fine */
void tt_blob_release(tt_blob *blob);  /* one less; NULL is fine */

#endif
