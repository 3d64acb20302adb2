/* The operations that only move data, for all threads: as tensor/ref/copy.c, in pieces. Small ones are not worth waking the
 * others. */
#include <string.h>

#include "tensor/cpu/cpu.h"

enum {
    ALONE_BYTES = 64 << 10, /* what one core moves in the time that another takes to join */
    PIECE_VALUES = 1 << 14,
};

static size_t pixel_bytes(const tt_tensor *t) {
    return (size_t)t->c * tt_dtype_size(t->dtype);
}

static size_t all_bytes(const tt_tensor *t) {
    return (size_t)tt_tensor_rows(t) * pixel_bytes(t);
}

/* Row `row` of all pictures' rows. */
static char *row_of(const tt_tensor *t, int64_t row) {
    return (char *)t->data + (size_t)(row * t->w) * pixel_bytes(t);
}

static void upsample_row(const tt_tensor *x, const tt_tensor *y, int64_t row) {
    const char *from = row_of(x, row / y->h * x->h + row % y->h * x->h / y->h);
    char *to = row_of(y, row);
    size_t pixel = pixel_bytes(x);
    for (int64_t column = 0; column < y->w; column++, to += pixel)
        memcpy(to, from + (size_t)(column * x->w / y->w) * pixel, pixel);
}

tt_status tt__cpu_upsample(tt_ops *ops, const tt_tensor *x, tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    int64_t rows = y->n * y->h;
#pragma omp parallel for schedule(static) if (all_bytes(y) > ALONE_BYTES)
    for (int64_t row = 0; row < rows; row++) upsample_row(x, y, row);
    return TT_OK;
}

tt_status tt__cpu_concat(tt_ops *ops, const tt_tensor *a, const tt_tensor *b, tt_tensor *y,
                         tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    size_t a_bytes = pixel_bytes(a), b_bytes = pixel_bytes(b);
    int64_t rows = tt_tensor_rows(y);
#pragma omp parallel for schedule(static) if (all_bytes(y) > ALONE_BYTES)
    for (int64_t row = 0; row < rows; row++) {
        char *to = (char *)y->data + (size_t)row * (a_bytes + b_bytes);
        memcpy(to, (const char *)a->data + (size_t)row * a_bytes, a_bytes);
        memcpy(to + a_bytes, (const char *)b->data + (size_t)row * b_bytes, b_bytes);
    }
    return TT_OK;
}

static void convert(void *to, tt_dtype to_dtype, const void *from, tt_dtype from_dtype, int64_t n) {
    size_t to_size = tt_dtype_size(to_dtype), from_size = tt_dtype_size(from_dtype);
#pragma omp parallel for schedule(static) if (n > PIECE_VALUES)
    for (int64_t i = 0; i < n; i += PIECE_VALUES) {
        int64_t piece = n - i < PIECE_VALUES ? n - i : PIECE_VALUES;
        tt_convert((char *)to + (size_t)i * to_size, to_dtype,
                   (const char *)from + (size_t)i * from_size, from_dtype, (size_t)piece);
    }
}

tt_status tt__cpu_upload(tt_ops *ops, const float *host, tt_tensor *y, tt_err *err) {
    (void)err;
    if (!ops->scratch.measuring) convert(y->data, y->dtype, host, TT_F32, tt_tensor_count(y));
    return TT_OK;
}

tt_status tt__cpu_download(tt_ops *ops, const tt_tensor *x, float *host, tt_err *err) {
    (void)err;
    if (!ops->scratch.measuring) convert(host, TT_F32, x->data, x->dtype, tt_tensor_count(x));
    return TT_OK;
}

void tt__cpu_spread(const tt_tensor *part, int phase, const tt_tensor *y) {
    size_t pixel = pixel_bytes(y);
    int64_t rows = part->n * part->h;
#pragma omp parallel for schedule(static) if (all_bytes(part) > ALONE_BYTES)
    for (int64_t row = 0; row < rows; row++) {
        const char *from = row_of(part, row);
        char *to = row_of(y, 2 * row + phase / 2) + (size_t)(phase % 2) * pixel;
        for (int64_t column = 0; column < part->w; column++, from += pixel, to += 2 * pixel)
            memcpy(to, from, pixel);
    }
}
