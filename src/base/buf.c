/* See buf.h. Capacity doubles, so appending n bytes one at a time costs O(n). */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { FIRST_CAPACITY_BYTES = 256 };

void tt_buf_init(tt_buf *b, size_t limit_bytes) {
    *b = (tt_buf){.limit_bytes = limit_bytes};
}

void tt_buf_release(tt_buf *b) {
    tt_free(b->data);
    tt_buf_init(b, b->limit_bytes);
}

/* Double the old capacity, or just enough; never more than the limit and its NUL need. */
static size_t next_capacity(const tt_buf *b, size_t needed) {
    size_t doubled = b->capacity ? b->capacity : FIRST_CAPACITY_BYTES / 2;
    if (__builtin_mul_overflow(doubled, 2, &doubled)) doubled = needed;
    if (doubled > b->limit_bytes) doubled = b->limit_bytes + 1;
    return doubled > needed ? doubled : needed;
}

tt_status tt_buf_reserve(tt_buf *b, size_t n, tt_err *err) {
    size_t needed; /* with the NUL */
    if (__builtin_add_overflow(b->size, n, &needed) || needed > b->limit_bytes ||
        __builtin_add_overflow(needed, 1, &needed))
        return tt_fail(err, TT_E_NOMEM, "buffer: %zu more bytes after %zu, the limit is %zu", n,
                       b->size, b->limit_bytes);
    if (needed <= b->capacity) return TT_OK;
    size_t capacity = next_capacity(b, needed);
    char *data = tt_realloc(b->data, capacity);
    if (!data) return tt_fail_nomem(err, "buffer", capacity);
    b->data = data;
    b->capacity = capacity;
    b->data[b->size] = '\0';
    return TT_OK;
}

tt_status tt_buf_append(tt_buf *b, const void *bytes, size_t n, tt_err *err) {
    TT_TRY(tt_buf_reserve(b, n, err));
    if (n) memcpy(b->data + b->size, bytes, n);
    b->size += n;
    b->data[b->size] = '\0';
    return TT_OK;
}

tt_status tt_buf_puts(tt_buf *b, const char *text, tt_err *err) {
    return tt_buf_append(b, text, strlen(text), err);
}

tt_status tt_buf_printf(tt_buf *b, tt_err *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) return tt_fail(err, TT_E_INTERNAL, "printf: bad format %s", format);
    TT_TRY(tt_buf_reserve(b, (size_t)n, err));
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
    return TT_OK;
}
