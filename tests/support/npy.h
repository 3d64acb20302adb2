/* Reads the arrays that numpy.save writes: format 1.0 or 2.0, C order, little endian, f4, u1, i4 or
 * i8. */
#ifndef TT_SUPPORT_NPY_H
#define TT_SUPPORT_NPY_H

#include "base/err.h"

enum { TT_NPY_MAX_RANK = 4 };

typedef struct tt_npy {
    void *data;   /* owned; numpy's bytes */
    char type[3]; /* "f4", "u1", "i4" or "i8" */
    int rank;
    int64_t shape[TT_NPY_MAX_RANK];
    size_t count; /* elements */
} tt_npy;

tt_status tt_npy_read(const char *path, tt_npy *out, tt_err *err);
void tt_npy_release(tt_npy *a); /* after it a->data is NULL */

#endif
