/* What was made for one problem's sizes, found again by them: the plans of the libraries. */
#ifndef TT_TENSOR_CUDA_CACHE_H
#define TT_TENSOR_CUDA_CACHE_H

#include <stddef.h>

#include "base/err.h"

/* A key is a struct of fixed-size integers without padding, at most this large; the rest is zeros. */
enum { TT_CUDA_KEY_BYTES = 128 };

typedef struct tt_cuda_cache tt_cuda_cache;

/* release: frees a value. */
tt_status tt__cuda_cache_new(void (*release)(void *context, void *value), void *context,
                             tt_cuda_cache **out, tt_err *err);
void tt__cuda_cache_free(tt_cuda_cache *cache); /* NULL is fine */
/* Drops everything when many have gathered (a long-lived process that sees many sizes). */
void tt__cuda_cache_trim(tt_cuda_cache *cache);
/* NULL when it is not there. */
void *tt__cuda_cache_get(const tt_cuda_cache *cache, const void *key, size_t size);
/* Takes over the value, also when it fails. */
tt_status tt__cuda_cache_put(tt_cuda_cache *cache, const void *key, size_t size, void *value,
                             tt_err *err);

#endif
