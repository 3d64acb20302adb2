/* Names to small numbers: the look-up table of tensors, of metadata keys, and of canonical names.
 */
#ifndef TT_WEIGHTS_NAMES_H
#define TT_WEIGHTS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct tt__name_slot {
    const char *name; /* borrowed; NULL: empty slot */
    uint32_t hash;
    uint32_t id;
} tt__name_slot;

/* Zero-initialised is an empty table. Names are borrowed and must outlive it. */
typedef struct tt__names {
    tt__name_slot *slots; /* owned; a power of two, at most half full */
    size_t capacity, count;
    uint64_t seed;
} tt__names;

enum { TT__NO_NAME = -1 };

/* Adds name -> id. When the name is there already, *existing gets its id and nothing changes; else
 * TT__NO_NAME. */
tt_status tt__names_add(tt__names *t, const char *name, uint32_t id, int64_t *existing,
                        tt_err *err);
int64_t tt__names_find(const tt__names *t, const char *name); /* the id or TT__NO_NAME */
void tt__names_release(tt__names *t);

#endif
