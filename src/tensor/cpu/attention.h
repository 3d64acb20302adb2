/* How attention is computed: a plan, shared by all, and one table of functions per family of kernels
 * (attention_f32.c once per instruction set, attention_bf16.c for pairs and for tiles).
 *
 * All families walk the keys in blocks with a running softmax (Milakov and Gimelshein 2018, Dao et
 * al. 2022): never more scores than one block of queries by one block of keys. Keys and values are
 * packed once per head, in the order in which the products read them, and shared by all its queries.
 * Each function is single-threaded and works on what its caller chose by shape alone, so results do
 * not depend on the number of threads. */
#ifndef TT_TENSOR_CPU_ATTENTION_H
#define TT_TENSOR_CPU_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/cpu/features.h"
#include "tensor/ops.h"

typedef struct tt_attention_plan {
    int64_t head_dim;
    int64_t padded_dim; /* head_dim rounded up to the family's dim_step */
    int64_t queries, keys;
    int64_t block_keys; /* keys of a block, a multiple of the family's key_step */
    int64_t key_blocks;
    float scale; /* log2(e) / sqrt(head_dim): weights are powers of two of scaled scores */
    bool causal;
    bool bf16; /* how activations are stored */
} tt_attention_plan;

typedef struct tt_attention_kernels {
    const char *name;
    int64_t query_rows; /* queries per attend call */
    int64_t most_block_keys, key_step, dim_step;
    bool uses_tiles; /* attend runs between tt__amx_begin and tt__amx_end */

    /* Sizes of one block of packed keys and values, and of one thread's workspace; rounded up by the
     * caller to whole lines of the cache. */
    size_t (*block_bytes)(const tt_attention_plan *p);
    size_t (*workspace_bytes)(const tt_attention_plan *p);
    /* k, v: the head's first element; strides in elements between tokens. Fills packed with the keys
     * and values of one block, zeros beyond the last key. */
    void (*pack_block)(const tt_attention_plan *p, int64_t block, const void *k, int64_t k_stride,
                       const void *v, int64_t v_stride, void *packed);
    /* Queries first .. first + query_rows - 1 (or to the end) of one head, from q (the head's first
     * element) to y. packed: the head's blocks, block_stride bytes apart. */
    void (*attend)(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                   const void *packed, size_t block_stride, void *workspace, void *y,
                   int64_t y_stride);
} tt_attention_kernels;

extern const tt_attention_kernels tt__attention_base;
#if defined(__x86_64__)
extern const tt_attention_kernels tt__attention_avx2;
extern const tt_attention_kernels tt__attention_avx512;
extern const tt_attention_kernels tt__attention_pairs; /* bf16 by vdpbf16ps */
extern const tt_attention_kernels tt__attention_tiles; /* bf16 by tdpbf16ps */
#endif

/* The best family for these features and this storage. */
const tt_attention_kernels *tt__attention_kernels(const tt_cpu_features *features, bool bf16);

/* How many keys of `block` the query sees. */
static inline int64_t tt__attention_visible(const tt_attention_plan *p, int64_t block,
                                            int64_t query) {
    int64_t end = p->causal && query + 1 < p->keys ? query + 1 : p->keys;
    int64_t n = end - block * p->block_keys;
    return n < 0 ? 0 : n > p->block_keys ? p->block_keys : n;
}

/* Below every score, and finite: -inf less -inf would be NaN. */
#define TT__LOWEST_SCORE -3e38f

#endif
