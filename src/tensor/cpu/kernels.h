/* The inner loops that oneDNN has no primitive for, compiled several times: once per instruction
 * set (see CMakeLists.txt), chosen once at open. All arithmetic is f32; `bf16` says how activations
 * are stored. Each function is single-threaded and works on a slice that its caller chose, so
 * results do not depend on the number of threads. */
#ifndef TT_TENSOR_CPU_KERNELS_H
#define TT_TENSOR_CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/cpu/features.h"
#include "tensor/ops.h"

/* One attention problem, packed by the kernels themselves. Keys come in blocks of block_keys. */
typedef struct tt_attention_plan {
    int64_t head_dim;
    int64_t padded_dim; /* head_dim rounded up to the vector width: columns of packed values */
    int64_t queries, keys;
    int64_t block_keys; /* columns of a score block, a multiple of the vector width */
    int64_t key_blocks;
    float scale; /* 1 / sqrt(head_dim) */
    bool causal, bf16;
} tt_attention_plan;

typedef struct tt_cpu_kernels {
    const char *name;

    /* Adds to sum[c] and squares[c] the rows of x [rows, c], each less shift[c]. */
    void (*channel_sums)(const void *x, bool bf16, int64_t rows, int64_t c, const float *shift,
                         float *sum, float *squares);
    /* y = act(x * scale[c] + offset[c]); act is SiLU or nothing. */
    void (*scale_channels)(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                           const float *scale, const float *offset, bool silu);
    void (*layer_norm)(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                       const float *gamma, const float *beta, float eps);
    void (*activate)(tt_activation act, const void *x, void *y, bool bf16, int64_t count);

    /* Attention: sizes of the packed keys and values of one head, and of one thread's workspace, in
     * floats. */
    int64_t query_rows; /* queries per attend call */
    int64_t (*packed_floats)(const tt_attention_plan *p);
    int64_t (*workspace_floats)(const tt_attention_plan *p);
    /* k, v: the head's first element; strides in elements between tokens. Fills packed. */
    void (*pack_head)(const tt_attention_plan *p, const void *k, int64_t k_stride, const void *v,
                      int64_t v_stride, float *packed);
    /* Queries first .. first + query_rows - 1 (or to the end) of one head, from q (the head's first
     * element) to y. */
    void (*attend)(const tt_attention_plan *p, const void *q, int64_t q_stride, int64_t first,
                   const float *packed, float *workspace, void *y, int64_t y_stride);
} tt_cpu_kernels;

extern const tt_cpu_kernels tt__kernels_base;
#if defined(__x86_64__)
extern const tt_cpu_kernels tt__kernels_avx2;
extern const tt_cpu_kernels tt__kernels_avx512;
#endif

const tt_cpu_kernels *tt__cpu_kernels(const tt_cpu_features *features); /* the best for them */
void tt__attention_plan_init(tt_attention_plan *p, const tt_attention *args, bool bf16);

#endif
