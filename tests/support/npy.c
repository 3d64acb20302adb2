/* The .npy format (NumPy Enhancement Proposal 1):
 *
 *     6 bytes  "\x93NUMPY"
 *     2 bytes  version: 1.0 or 2.0
 *     2 bytes  (version 2: 4) header length, little endian
 *     header   a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (4, 8, 8), }
 *     data     C order
 *
 * Only what numpy itself writes for the few types we keep is understood. */
#include "support/npy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/limits.h"

#define MAX_NPY_BYTES (16 * TT_MIB) /* the largest expected result is far below */

static const char magic[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, V1_HEADER_AT = 10, V2_HEADER_AT = 12 };

static tt_status broken(tt_err *err, const char *path, const char *what) {
    return tt_fail(err, TT_E_FORMAT, "%s is not an array that numpy wrote: %s", path, what);
}

static tt_status parse_type(const char *header, const char *path, tt_npy *out, tt_err *err) {
    static const char *const known[] = {"'<f4'", "'|u1'", "'<i4'", "'<i8'"};
    const char *descr = strstr(header, "'descr': ");
    for (size_t i = 0; descr && i < sizeof known / sizeof *known; i++) {
        if (memcmp(descr + 9, known[i], 5) == 0) {
            memcpy(out->type, known[i] + 2, 2);
            return TT_OK;
        }
    }
    return broken(err, path, "expected type <f4, |u1, <i4 or <i8");
}

static tt_status parse_shape(const char *header, const char *path, tt_npy *out, tt_err *err) {
    const char *p = strstr(header, "'shape': (");
    if (!p || !strstr(header, "'fortran_order': False")) return broken(err, path, "bad header");
    p += 10;
    out->count = 1;
    while (*p != ')') {
        char *end;
        errno = 0;
        long long n = strtoll(p, &end, 10);
        if (end == p || errno || n < 0) return broken(err, path, "bad shape");
        if (out->rank == TT_NPY_MAX_RANK) return broken(err, path, "more than 4 dimensions");
        out->shape[out->rank++] = n;
        if (!tt_mul_size(out->count, (size_t)n, &out->count)) return broken(err, path, "too large");
        p = end;
        while (*p == ',' || *p == ' ') p++;
    }
    return TT_OK;
}

static tt_status parse(const tt_buf *file, const char *path, tt_npy *out, tt_err *err) {
    const unsigned char *b = (const unsigned char *)file->data;
    if (file->size < V2_HEADER_AT || memcmp(b, magic, MAGIC_BYTES) != 0)
        return broken(err, path, "no magic");
    size_t at = b[MAGIC_BYTES] == 1 ? V1_HEADER_AT : V2_HEADER_AT;
    size_t length = b[8] | (size_t)b[9] << 8;
    if (at == V2_HEADER_AT) length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (length > file->size - at) return broken(err, path, "header cut off");
    char *header = tt_alloc(length + 1);
    if (!header) return tt_fail_nomem(err, path, length + 1);
    memcpy(header, b + at, length);
    tt_status status = parse_type(header, path, out, err);
    if (!status) status = parse_shape(header, path, out, err);
    tt_free(header);
    TT_TRY(status);
    size_t bytes;
    if (!tt_mul_size(out->count, (size_t)(out->type[1] - '0'), &bytes) ||
        bytes != file->size - at - length)
        return broken(err, path, "data length does not match the shape");
    out->data = tt_alloc(bytes);
    if (!out->data) return tt_fail_nomem(err, path, bytes);
    memcpy(out->data, b + at + length, bytes);
    return TT_OK;
}

tt_status tt_npy_read(const char *path, tt_npy *out, tt_err *err) {
    memset(out, 0, sizeof *out);
    tt_buf file;
    tt_buf_init(&file, MAX_NPY_BYTES);
    tt_status status = tt_file_read(path, &file, err);
    if (!status) status = parse(&file, path, out, err);
    tt_buf_release(&file);
    return status;
}

void tt_npy_release(tt_npy *a) {
    tt_free(a->data);
    memset(a, 0, sizeof *a);
}
