/* A bump allocator for one lifetime: many small allocations, one release. Zeroed memory. One
 * thread. */
#ifndef TT_BASE_ARENA_H
#define TT_BASE_ARENA_H

#include <stddef.h>

typedef struct tt_arena_block tt_arena_block;

typedef struct tt_arena {
    tt_arena_block *blocks; /* owned list, newest first */
    size_t total_bytes;
    size_t limit_bytes; /* tt_arena_alloc returns NULL beyond it */
} tt_arena;

void tt_arena_init(tt_arena *a, size_t limit_bytes);
void tt_arena_release(tt_arena *a);

/* Zeroed, 16-byte aligned; NULL when memory or the limit is out. */
void *tt_arena_alloc(tt_arena *a, size_t size_bytes);
char *tt_arena_strndup(tt_arena *a, const char *text, size_t length);

#endif
