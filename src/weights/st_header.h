/* The JSON header of a safetensors file as a table. Inner part of safetensors.h. */
#ifndef TT_WEIGHTS_ST_HEADER_H
#define TT_WEIGHTS_ST_HEADER_H

#include "weights/names.h"
#include "weights/safetensors.h"

typedef struct tt__st_pair {
    const char *key, *value;
} tt__st_pair;

/* Zero-initialised is empty; tt__st_header_release frees what a failed parse left too. */
typedef struct tt__st_header {
    char *text; /* owned: the header's bytes; names and metadata point into it */
    size_t text_size;
    tt_st_tensor *tensors; /* owned */
    size_t n_tensors, tensor_capacity;
    tt__st_pair *metadata; /* owned */
    size_t n_metadata, metadata_capacity;
    tt__names tensor_names, metadata_keys;
} tt__st_header;

/* Parses h->text (which it rewrites in place) and checks every rule against data_bytes, the size of
 * the data. */
tt_status tt__st_header_parse(tt__st_header *h, uint64_t data_bytes, tt_err *err);
void tt__st_header_release(tt__st_header *h);

#endif
