/* Heap memory, in one place so that sizes multiply through a checked helper and tests can make the
 * Nth allocation fail. Lifetimes (process, model, request, step) are named where memory is asked
 * for. */
#ifndef TT_BASE_ALLOC_H
#define TT_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory aligned for any scalar; NULL when memory is out. size 0 gives a unique pointer. */
void *tt_alloc(size_t size_bytes);

/* Uninitialised memory aligned to TT_SIMD_ALIGN; free with tt_free. For tensors. */
enum { TT_SIMD_ALIGN = 64 };
void *tt_alloc_aligned(size_t size_bytes);

/* Like realloc for memory from tt_alloc; the old block stays valid on NULL. New bytes are not
 * zeroed. */
void *tt_realloc(void *p, size_t size_bytes);

char *tt_strdup(const char *text);
void tt_free(void *p); /* NULL is fine */

/* *product = a * b; false when it does not fit. */
static inline bool tt_mul_size(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}
static inline bool tt_mul_i64(int64_t a, int64_t b, int64_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

/* Tests only: the allocation `n` from now (0: the next) fails, once; a negative n switches it off.
 * Process-wide and not synchronised: use it from single-threaded tests. */
void tt_alloc_fail_after(int64_t n);

#endif
