/* The step lifetime: one block of memory, handed out first-fit, measured before it is made.
 *
 * While measuring there is no block: offsets count from SCRATCH_BASE and only the peak is kept. The
 * same sequence of requests then gives the same offsets in the real run, so it always fits. */
#ifndef TT_TENSOR_SCRATCH_H
#define TT_TENSOR_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { TT_SCRATCH_MAX_PIECES = 512 }; /* live tensors at once: a UNet holds some 20 */

typedef struct tt_scratch_piece {
    size_t offset, size;
} tt_scratch_piece;

/* Where the block comes from; a NULL alloc means the heap. */
typedef struct tt_scratch_source {
    void *context;
    void *(*alloc)(void *context, size_t size_bytes); /* NULL: there is no more */
    void (*release)(void *context, void *block);
} tt_scratch_source;

typedef struct tt_scratch {
    tt_scratch_source source;
    char *block; /* owned */
    size_t capacity;
    bool measuring;
    size_t peak; /* highest end of a piece while measuring */
    int n_pieces;
    tt_scratch_piece pieces[TT_SCRATCH_MAX_PIECES]; /* live, sorted by offset */
} tt_scratch;

void tt_scratch_release(tt_scratch *s);
void tt_scratch_measure(tt_scratch *s);
tt_status tt_scratch_make(tt_scratch *s, tt_err *err);
tt_status tt_scratch_take(tt_scratch *s, size_t size_bytes, void **out, tt_err *err);
void tt_scratch_give(tt_scratch *s, void *p);

#endif
