/* See spare.h. A list of blocks, looked through for the very size: adapters change the same layers again and again, so sizes
 * repeat. The list's links lie in the blocks themselves, so keeping one cannot fail. */
#include "tensor/spare.h"

#include "base/alloc.h"

/* Smaller ones come from the heap's own lists anyway. */
enum { LEAST_BYTES = 256 << 10 };

struct tt_spare_block {
    tt_spare_block *next;
    size_t size_bytes;
};

void tt_spare_init(tt_spare *s) {
    *s = (tt_spare){0};
    pthread_mutex_init(&s->mutex, NULL);
}

void tt_spare_release(tt_spare *s) {
    tt_spare_end(s);
    pthread_mutex_destroy(&s->mutex);
}

void tt_spare_begin(tt_spare *s) {
    s->keeps = true;
}

void tt_spare_end(tt_spare *s) {
    s->keeps = false;
    for (tt_spare_block *block = s->first, *next; block; block = next) {
        next = block->next;
        tt_free(block);
    }
    s->first = NULL;
}

void *tt_spare_take(tt_spare *s, size_t size_bytes) {
    tt_spare_block *found = NULL;
    if (!s->keeps) return NULL;
    pthread_mutex_lock(&s->mutex);
    tt_spare_block **at = &s->first;
    while (*at && (*at)->size_bytes != size_bytes) at = &(*at)->next;
    found = *at;
    if (found) *at = found->next;
    pthread_mutex_unlock(&s->mutex);
    return found;
}

bool tt_spare_put(tt_spare *s, void *p, size_t size_bytes) {
    if (!s->keeps || !p || size_bytes < LEAST_BYTES) return false;
    tt_spare_block *block = p;
    block->size_bytes = size_bytes;
    pthread_mutex_lock(&s->mutex);
    block->next = s->first;
    s->first = block;
    pthread_mutex_unlock(&s->mutex);
    return true;
}
