/* A growable run of bytes with a ceiling. Always NUL-terminated one past `size`, so text can be
 * read as a C string. The caller owns the struct; one thread at a time. */
#ifndef TT_BASE_BUF_H
#define TT_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct tt_buf {
    char *data;         /* owned; NULL while empty */
    size_t size;        /* bytes in use */
    size_t capacity;    /* bytes allocated, >= size + 1 when data is not NULL */
    size_t limit_bytes; /* growth beyond this fails with TT_E_NOMEM */
} tt_buf;

void tt_buf_init(tt_buf *b, size_t limit_bytes);
void tt_buf_release(tt_buf *b); /* frees; the struct is as after init */
tt_status tt_buf_append(tt_buf *b, const void *bytes, size_t n, tt_err *err);
tt_status tt_buf_puts(tt_buf *b, const char *text, tt_err *err);
tt_status tt_buf_printf(tt_buf *b, tt_err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Room for n more bytes at data + size; the caller fills them and adds to size. */
tt_status tt_buf_reserve(tt_buf *b, size_t n, tt_err *err);

#endif
