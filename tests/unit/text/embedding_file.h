/* Small textual inversions for tests: files are made, opened and removed again. A failure ends the test. */
#ifndef TESTS_UNIT_TEXT_EMBEDDING_FILE_H
#define TESTS_UNIT_TEXT_EMBEDDING_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "text/embedding.h"

typedef struct embedding_tensor {
    const char *name;
    const char *dtype; /* "F32", or another with the same number of bytes */
    long n_rows;       /* 0: a single vector, of rank 1 */
    long width;
} embedding_tensor;

/* Writes a safetensors file whose values are 1, 2, 3... from the start of each tensor. */
static inline void embedding_write(const char *path, const embedding_tensor *tensors, size_t n) {
    char header[1024] = "{";
    size_t at = 1, offset = 0;
    for (size_t i = 0; i < n; i++) {
        const embedding_tensor *t = &tensors[i];
        size_t bytes = (size_t)((t->n_rows ? t->n_rows : 1) * t->width) * sizeof(float);
        char shape[64];
        if (t->n_rows)
            snprintf(shape, sizeof shape, "%ld,%ld", t->n_rows, t->width);
        else
            snprintf(shape, sizeof shape, "%ld", t->width);
        at += (size_t)snprintf(
            header + at, sizeof header - at,
            "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", i ? "," : "",
            t->name, t->dtype, shape, offset, offset + bytes);
        offset += bytes;
    }
    header[at++] = '}';
    uint64_t length = at;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&length, sizeof length, 1, file); /* the test machines are little-endian */
    fwrite(header, 1, at, file);
    for (size_t i = 0; i < n; i++)
        for (long j = 0; j < (tensors[i].n_rows ? tensors[i].n_rows : 1) * tensors[i].width; j++)
            fwrite(&(float){(float)(j + 1)}, sizeof(float), 1, file);
    assert_int_equal(fclose(file), 0);
}

/* Opens what embedding_write would write under this name. */
static inline tt_status embedding_open(const char *name, const embedding_tensor *tensors, size_t n,
                                       const int64_t widths[2], tt_embedding **out, tt_err *err) {
    char folder[] = "/tmp/tt-embedding-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    embedding_write(path, tensors, n);
    tt_status status = tt_embedding_open(path, widths, out, err);
    unlink(path);
    rmdir(folder);
    return status;
}

static inline tt_embedding *embedding_of(const char *name, long n_rows, const int64_t widths[2]) {
    const embedding_tensor tensors[] = {{"clip_l", "F32", n_rows, (long)widths[0]},
                                        {"clip_g", "F32", n_rows, (long)widths[1]}};
    tt_embedding *e;
    tt_err err;
    if (embedding_open(name, tensors, 2, widths, &e, &err) != TT_OK) fail_msg("%s", err.message);
    return e;
}

#endif
