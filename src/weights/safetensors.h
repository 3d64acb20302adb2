/* One safetensors file, read strictly.
 *
 *     u64 N (little-endian) | N bytes of UTF-8 JSON | data
 *     {"__metadata__": {string: string...}, name: {"dtype": d, "shape": [u64...], "data_offsets":
 * [begin, end]}...}
 *
 * Offsets count from the start of the data, which the tensors fill from its first to its last byte
 * without hole or overlap. Data may begin at any byte: readers must not assume alignment. Beyond
 * the format's own rules: no key may occur twice, names hold no control characters, and the limits
 * below.
 *
 * After opening, everything is read-only, so any number of threads may look up and read. */
#ifndef TT_WEIGHTS_SAFETENSORS_H
#define TT_WEIGHTS_SAFETENSORS_H

#include "weights/checkpoint.h"

#define TT_ST_MAX_HEADER_BYTES \
    ((uint64_t)32 << 20) /* LoRA trainers write some MB of tag statistics */
enum {
    TT_ST_MAX_TENSORS = 65536, /* SDXL has about 2,500 */
    TT_ST_MAX_NAME_BYTES = 512,
};

typedef struct tt_safetensors tt_safetensors;

typedef struct tt_st_tensor {
    const char *name; /* owned by the file */
    tt_tensor_info info;
    uint64_t offset, size; /* in bytes, from the start of the data */
} tt_st_tensor;

/* How bytes are reached. TT_ST_PREAD: a read per request, right everywhere. TT_ST_MAP: the file is
 * mapped; faster on a local disk when reads are many and small, but slow on network volumes, and
 * the process dies of SIGBUS if somebody truncates the file meanwhile: only for files that nobody
 * else writes. */
typedef enum tt_st_access { TT_ST_PREAD, TT_ST_MAP } tt_st_access;

/* Errors begin with the path; err->position is the byte in the file where the header went wrong. */
tt_status tt_safetensors_open(const char *path, tt_st_access access, tt_safetensors **out,
                              tt_err *err);
void tt_safetensors_close(tt_safetensors *s); /* NULL is fine */

const char *tt_safetensors_path(const tt_safetensors *s);
size_t tt_safetensors_count(const tt_safetensors *s);
const tt_st_tensor *tt_safetensors_at(const tt_safetensors *s,
                                      size_t i); /* in the header's order */
const tt_st_tensor *tt_safetensors_find(const tt_safetensors *s,
                                        const char *name);                     /* NULL: not there */
const char *tt_safetensors_metadata(const tt_safetensors *s, const char *key); /* NULL: not there */

/* Copies size bytes from `offset` inside the tensor. A file that became shorter is a TT_E_IO. */
tt_status tt_safetensors_read(const tt_safetensors *s, const tt_st_tensor *t, uint64_t offset,
                              void *dst, size_t size, tt_err *err);

/* Where the tensor's bytes are mapped (unaligned); NULL with TT_ST_PREAD. */
const void *tt_safetensors_mapped(const tt_safetensors *s, const tt_st_tensor *t);

#endif
