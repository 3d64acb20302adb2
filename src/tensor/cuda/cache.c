/* An open hash table of fixed size; nothing is removed but all at once. */
#include "tensor/cuda/cache.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

enum {
    SLOTS = 2048,         /* a power of two */
    TRIM_AT = SLOTS / 4,  /* a UNet, a VAE and the text encoders of one size need about 150 */
    MOST = SLOTS * 3 / 4, /* in one pass */
};

typedef struct slot {
    unsigned char key[TT_CUDA_KEY_BYTES];
    void *value; /* NULL: free */
} slot;

struct tt_cuda_cache {
    void (*release)(void *context, void *value);
    void *context;
    int n;
    slot slots[SLOTS];
};

tt_status tt__cuda_cache_new(void (*release)(void *context, void *value), void *context,
                             tt_cuda_cache **out, tt_err *err) {
    *out = tt_alloc(sizeof **out);
    if (!*out) return tt_fail_nomem(err, "the table of plans", sizeof **out);
    (*out)->release = release;
    (*out)->context = context;
    return TT_OK;
}

static void clear(tt_cuda_cache *cache) {
    for (int i = 0; i < SLOTS; i++) {
        if (cache->slots[i].value) cache->release(cache->context, cache->slots[i].value);
        cache->slots[i].value = NULL;
    }
    cache->n = 0;
}

void tt__cuda_cache_free(tt_cuda_cache *cache) {
    if (!cache) return;
    clear(cache);
    tt_free(cache);
}

void tt__cuda_cache_trim(tt_cuda_cache *cache) {
    if (cache->n >= TRIM_AT) clear(cache);
}

/* The slot of the key, or the free one where it belongs. FNV-1a over its bytes. */
static const slot *find(const tt_cuda_cache *cache, const unsigned char key[TT_CUDA_KEY_BYTES]) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < TT_CUDA_KEY_BYTES; i++) hash = (hash ^ key[i]) * 1099511628211u;
    size_t at = (hash ^ hash >> 32) & (SLOTS - 1);
    while (cache->slots[at].value && memcmp(cache->slots[at].key, key, TT_CUDA_KEY_BYTES) != 0)
        at = (at + 1) & (SLOTS - 1);
    return &cache->slots[at];
}

void *tt__cuda_cache_get(const tt_cuda_cache *cache, const void *key, size_t size) {
    unsigned char padded[TT_CUDA_KEY_BYTES] = {0};
    assert(size <= sizeof padded);
    memcpy(padded, key, size);
    return find(cache, padded)->value;
}

tt_status tt__cuda_cache_put(tt_cuda_cache *cache, const void *key, size_t size, void *value,
                             tt_err *err) {
    unsigned char padded[TT_CUDA_KEY_BYTES] = {0};
    assert(size <= sizeof padded);
    memcpy(padded, key, size);
    if (cache->n >= MOST) {
        cache->release(cache->context, value);
        return tt_fail(err, TT_E_INTERNAL, "more than %d shapes in one pass", cache->n);
    }
    slot *at = &cache->slots[find(cache, padded) - cache->slots];
    memcpy(at->key, padded, sizeof padded);
    at->value = value;
    cache->n++;
    return TT_OK;
}
