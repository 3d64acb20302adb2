/* From stored bytes to numbers: in chunks, so that a 100 MB embedding needs no second 100 MB, and every number is
 * looked at once while it is in the cache, because one NaN in seven gigabytes makes every picture black without
 * a word. */
#include "weights/checkpoint.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "weights/parts.h"

enum {
    CHUNK_BYTES = 512 << 10
}; /* of stored bytes; large enough to hide a system call, small enough for the cache */

typedef struct reader {
    const tt__entry *entry;
    size_t first_row, n_rows; /* of the canonical view: those that are wanted */
    size_t first, count;      /* elements of the entry, in the stored order, that are read */
    tt_dtype dtype;
    char *dst;
    float scale;  /* of fp8 weights; 1 otherwise */
    void *stored; /* owned: a chunk as stored; NULL when not needed */
    /* owned: a chunk of dtype before it is transposed, or of f32 before it is scaled */
    void *numbers;
    size_t chunk; /* elements */
} reader;

static bool is_float(tt_dtype dtype) {
    return dtype <= TT_F8_E5M2;
}

static void describe_shape(char *out, size_t size, int rank, const int64_t *shape) {
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? "," : "", (long long)shape[i]);
    if (at < size) snprintf(out + at, size - at, "]");
}

/* [o, i, 1, 1] reads as [o, i]. */
static int squeezed_rank(int rank, const int64_t *shape) {
    return rank == 4 && shape[2] == 1 && shape[3] == 1 ? 2 : rank;
}

static tt_status check_shape(const tt__entry *e, int rank, const int64_t *shape, tt_err *err) {
    char expected[200], found[200]; /* 8 numbers of 20 digits */
    int mine = squeezed_rank(e->info.rank, e->info.shape), theirs = squeezed_rank(rank, shape);
    if (mine == theirs && memcmp(e->info.shape, shape, (size_t)mine * sizeof *shape) == 0)
        return TT_OK;
    describe_shape(expected, sizeof expected, rank, shape);
    describe_shape(found, sizeof found, e->info.rank, e->info.shape);
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s: shape %s, expected %s",
                   tt_safetensors_path(e->file), e->stored->name, found, expected);
}

/* ---- finite ----------------------------------------------------------------------------------------- */

/* A number is not finite when all its exponent bits are set. */
static bool all_finite16(const uint16_t *v, size_t n, uint16_t exponent) {
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) bad |= (v[i] & exponent) == exponent;
    return !bad;
}

static bool all_finite32(const uint32_t *v, size_t n) {
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) bad |= (v[i] & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

static bool all_finite(const void *v, tt_dtype dtype, size_t n) {
    if (dtype == TT_F32) return all_finite32(v, n);
    return all_finite16(v, n, dtype == TT_BF16 ? 0x7f80 : 0x7c00);
}

/* Only called for chunks that contain one. */
static tt_status fail_not_finite(const reader *r, const void *v, size_t n, size_t at, tt_err *err) {
    size_t width = tt_dtype_size(r->dtype);
    size_t i = 0;
    while (i < n && all_finite((const char *)v + i * width, r->dtype, 1)) i++;
    float value;
    tt_convert(&value, TT_F32, (const char *)v + i * width, r->dtype, 1);
    return tt_fail(err, TT_E_FORMAT,
                   "%s: tensor %s: element %zu is %s as %s: the weights are damaged or too large",
                   tt_safetensors_path(r->entry->file), r->entry->stored->name,
                   (size_t)r->entry->first + r->first + at + i,
                   isnan(value) ? "not a number" : "infinite", tt_dtype_name(r->dtype));
}

/* ---- chunks ----------------------------------------------------------------------------------------- */

/* Elements at...at+n of those that are read, converted and scaled, into `to`. */
static tt_status read_chunk(const reader *r, size_t at, size_t n, void *to, tt_err *err) {
    const tt__entry *e = r->entry;
    size_t width = tt_dtype_size(e->info.dtype);
    uint64_t offset = (e->first + r->first + at) * width;
    const char *mapped = tt_safetensors_mapped(e->file, e->stored);
    const void *from = mapped ? mapped + offset : r->stored;
    if (!mapped) {
        void *into = r->stored ? r->stored : to; /* no conversion: straight to its place */
        TT_TRY(tt_safetensors_read(e->file, e->stored, offset, into, n * width, err));
    }
    if (e->scale) {
        float *values = r->numbers;
        tt_convert(values, TT_F32, from, e->info.dtype, n);
        for (size_t i = 0; i < n; i++) values[i] *= r->scale;
        tt_convert(to, r->dtype, values, TT_F32, n);
    } else if (from) {
        tt_convert(to, r->dtype, from, e->info.dtype, n);
    }
    return all_finite(to, r->dtype, n) ? TT_OK : fail_not_finite(r, to, n, at, err);
}

/* Stored [columns, rows] to [rows, columns]: elements at...at+n of the stored order go to their new places, if wanted. */
static void scatter_transposed(const reader *r, const void *from, size_t at, size_t n) {
    size_t rows = (size_t)r->entry->info.shape[0], columns = (size_t)r->entry->info.shape[1];
    size_t width = tt_dtype_size(r->dtype);
    size_t column = at / rows, row = at % rows;
    for (size_t i = 0; i < n; i++) {
        size_t own = row - r->first_row; /* of rows before the first: larger than any number */
        if (own < r->n_rows)
            memcpy(r->dst + (own * columns + column) * width, (const char *)from + i * width,
                   width);
        if (++row == rows) row = 0, column++;
    }
}

static tt_status read_all(const reader *r, tt_err *err) {
    size_t width = tt_dtype_size(r->dtype);
    for (size_t at = 0; at < r->count; at += r->chunk) {
        size_t n = r->count - at < r->chunk ? r->count - at : r->chunk;
        if (r->entry->transposed) {
            TT_TRY(read_chunk(r, at, n, r->numbers, err));
            scatter_transposed(r, r->numbers, at, n);
        } else {
            TT_TRY(read_chunk(r, at, n, r->dst + at * width, err));
        }
    }
    return TT_OK;
}

static tt_status read_scale(const tt__entry *e, float *out, tt_err *err) {
    char bytes[sizeof(double)];
    *out = 1.0f;
    if (!e->scale) return TT_OK;
    if (!is_float(e->scale->info.dtype) || e->transposed)
        return tt_fail(err, TT_E_UNSUPPORTED, "%s: tensor %s: this kind of scale is not supported",
                       tt_safetensors_path(e->file), e->scale->name);
    TT_TRY(tt_safetensors_read(e->file, e->scale, 0, bytes, (size_t)e->scale->size, err));
    tt_convert(out, TT_F32, bytes, e->scale->info.dtype, 1);
    if (isfinite(*out)) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s: the scale is not finite",
                   tt_safetensors_path(e->file), e->scale->name);
}

static tt_status alloc_chunk(void **out, size_t bytes, tt_err *err) {
    *out = tt_alloc_aligned(bytes);
    return *out ? TT_OK : tt_fail_nomem(err, "reading a tensor", bytes);
}

/* What is read: the rows that are wanted, or all of a matrix that is stored the other way round. */
static void find_range(reader *r) {
    const tt_tensor_info *info = &r->entry->info;
    size_t row = 1;
    for (int i = 1; i < info->rank; i++) row *= (size_t)info->shape[i];
    r->first = r->entry->transposed ? 0 : r->first_row * row;
    r->count = (r->entry->transposed ? (size_t)info->shape[0] : r->n_rows) * row;
}

static tt_status begin(reader *r, tt_err *err) {
    const tt__entry *e = r->entry;
    size_t width = tt_dtype_size(e->info.dtype);
    find_range(r);
    r->chunk = CHUNK_BYTES / width;
    if (r->chunk > r->count) r->chunk = r->count;
    TT_TRY(read_scale(e, &r->scale, err));
    bool is_mapped = tt_safetensors_mapped(e->file, e->stored) != NULL;
    bool converts = e->info.dtype != r->dtype || e->scale;
    if (r->count == 0) return TT_OK;
    if (converts && !is_mapped) TT_TRY(alloc_chunk(&r->stored, r->chunk * width, err));
    if (e->transposed || e->scale) TT_TRY(alloc_chunk(&r->numbers, r->chunk * sizeof(float), err));
    return TT_OK;
}

static tt_status run(reader *r, tt_err *err) {
    const tt__entry *e = r->entry;
    if (!is_float(e->info.dtype))
        return tt_fail(err, TT_E_UNSUPPORTED, "%s: tensor %s: dtype %s is not a floating type",
                       tt_safetensors_path(e->file), e->stored->name, tt_dtype_name(e->info.dtype));
    tt_status status = begin(r, err);
    if (status == TT_OK) status = read_all(r, err);
    tt_free(r->stored);
    tt_free(r->numbers);
    return status;
}

static size_t rows_of(const tt__entry *e) {
    return e->info.rank > 0 ? (size_t)e->info.shape[0] : 1;
}

tt_status tt_checkpoint_read(const tt_checkpoint *c, const char *name, tt_dtype dtype, int rank,
                             const int64_t *shape, void *dst, tt_err *err) {
    const tt__entry *e;
    TT_TRY(tt__checkpoint_find(c, name, &e, err));
    if (rank >= 0) TT_TRY(check_shape(e, rank, shape, err));
    return run(&(reader){.entry = e, .n_rows = rows_of(e), .dtype = dtype, .dst = dst}, err);
}

tt_status tt_checkpoint_read_rows(const tt_checkpoint *c, const char *name, tt_dtype dtype,
                                  int64_t first, int64_t n, void *dst, tt_err *err) {
    const tt__entry *e;
    TT_TRY(tt__checkpoint_find(c, name, &e, err));
    size_t rows = rows_of(e);
    if (first < 0 || n < 0 || (size_t)first > rows || (size_t)n > rows - (size_t)first)
        return tt_fail(err, TT_E_INVALID, "tensor %s: %lld rows from %lld of %zu", name,
                       (long long)n, (long long)first, rows);
    return run(&(reader){.entry = e,
                         .first_row = (size_t)first,
                         .n_rows = (size_t)n,
                         .dtype = dtype,
                         .dst = dst},
               err);
}
