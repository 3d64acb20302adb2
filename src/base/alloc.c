/* See alloc.h. The failure countdown is one relaxed atomic: noise next to malloc itself. */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic int64_t fail_countdown = -1;

static bool must_fail(void) {
    int64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left < 0) return false;
    atomic_store_explicit(&fail_countdown, left - 1, memory_order_relaxed);
    return left == 0;
}

void tt_alloc_fail_after(int64_t n) {
    atomic_store(&fail_countdown, n);
}

void *tt_alloc(size_t size_bytes) {
    return must_fail() ? NULL : calloc(1, size_bytes ? size_bytes : 1);
}

/* Gigabytes of weights in 4 KiB pages cost a page fault each and TLB misses ever after; the kernel gives 2 MiB
 * pages to aligned blocks that ask. */
enum { HUGE_PAGE_BYTES = 2 << 20 };

void *tt_alloc_aligned(size_t size_bytes) {
    bool is_large = size_bytes >= HUGE_PAGE_BYTES;
    void *p = NULL;
    if (must_fail()) return NULL;
    if (posix_memalign(&p, is_large ? HUGE_PAGE_BYTES : TT_SIMD_ALIGN, size_bytes ? size_bytes : 1))
        return NULL;
    if (is_large) madvise(p, size_bytes, MADV_HUGEPAGE); /* advice: a refusal changes nothing */
    return p;
}

void *tt_realloc(void *p, size_t size_bytes) {
    return must_fail() ? NULL : realloc(p, size_bytes ? size_bytes : 1);
}

char *tt_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = tt_alloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

void tt_free(void *p) {
    free(p);
}
