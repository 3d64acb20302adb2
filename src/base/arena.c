/* See arena.h. Blocks of 64 KiB, larger ones for larger requests; nothing is ever given back
 * singly. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

enum { BLOCK_BYTES = 64 * 1024, ALIGN_BYTES = 16 };

struct tt_arena_block {
    tt_arena_block *next;
    size_t used, capacity;
    _Alignas(ALIGN_BYTES) char data[];
};

void tt_arena_init(tt_arena *a, size_t limit_bytes) {
    *a = (tt_arena){.limit_bytes = limit_bytes};
}

void tt_arena_release(tt_arena *a) {
    for (tt_arena_block *b = a->blocks; b;) {
        tt_arena_block *next = b->next;
        tt_free(b);
        b = next;
    }
    tt_arena_init(a, a->limit_bytes);
}

static tt_arena_block *add_block(tt_arena *a, size_t size) {
    size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    size_t total;
    if (__builtin_add_overflow(sizeof(tt_arena_block), capacity, &total)) return NULL;
    tt_arena_block *b = tt_alloc(total);
    if (!b) return NULL;
    b->capacity = capacity;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *tt_arena_alloc(tt_arena *a, size_t size_bytes) {
    if (size_bytes > SIZE_MAX - ALIGN_BYTES) return NULL;
    size_t size = (size_bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    if (size > a->limit_bytes || a->total_bytes > a->limit_bytes - size) return NULL;
    tt_arena_block *b = a->blocks;
    if (!b || b->capacity - b->used < size) b = add_block(a, size);
    if (!b) return NULL;
    void *p = b->data + b->used;
    b->used += size;
    a->total_bytes += size;
    return p;
}

char *tt_arena_strndup(tt_arena *a, const char *text, size_t length) {
    char *copy = length < SIZE_MAX ? tt_arena_alloc(a, length + 1) : NULL;
    if (copy) memcpy(copy, text, length);
    return copy;
}
