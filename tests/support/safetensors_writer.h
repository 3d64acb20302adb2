/* Writes safetensors files for tests: add tensors, save. Any failure ends the test program. */
#ifndef TT_TESTS_SAFETENSORS_WRITER_H
#define TT_TESTS_SAFETENSORS_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tensor/tensor.h"

typedef struct st_writer {
    char *header; /* owned: the JSON so far, without its last brace */
    size_t header_size;
    FILE *header_out; /* writes header */
    char *metadata;   /* owned, like header */
    size_t metadata_size;
    FILE *metadata_out;
    char *data; /* owned */
    size_t data_size, data_capacity;
    int n_tensors, n_metadata;
} st_writer;

void st_begin(st_writer *w);
void st_metadata(st_writer *w, const char *key, const char *value); /* strings are escaped */
/* Copies the tensor's bytes; data NULL means zeros. */
void st_add(st_writer *w, const char *name, tt_dtype dtype, int rank, const int64_t *shape,
            const void *data);
/* The same from f32 values, converted to dtype (F32, BF16 or F16). */
void st_add_f32(st_writer *w, const char *name, tt_dtype dtype, int rank, const int64_t *shape,
                const float *values);
/* Writes the file and releases everything. */
void st_save(st_writer *w, const char *path);

/* A file from raw parts, right or wrong: length, header text, data. */
void st_save_raw(const char *path, uint64_t length, const char *header, size_t header_size,
                 const void *data, size_t data_size);
void st_save_bytes(const char *path, const void *bytes, size_t size);

#endif
