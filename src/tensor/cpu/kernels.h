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

/* Of some rows, per channel: a value near their mean, and sums of what the rows are above it. */
typedef struct tt_channel_sums {
    float *shift, *sum, *squares; /* [c] each */
} tt_channel_sums;

typedef struct tt_cpu_kernels {
    const char *name;

    void (*channel_sums)(const void *x, bool bf16, int64_t rows, int64_t c, tt_channel_sums out);
    /* y = act(x * scale[c] + offset[c]); act is SiLU or nothing. */
    void (*scale_channels)(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                           const float *scale, const float *offset, bool silu);
    void (*layer_norm)(const void *x, void *y, bool bf16, int64_t rows, int64_t c,
                       const float *gamma, const float *beta, float eps);
    void (*activate)(tt_activation act, const void *x, void *y, bool bf16, int64_t count);
} tt_cpu_kernels;

extern const tt_cpu_kernels tt__kernels_base;
#if defined(__x86_64__)
extern const tt_cpu_kernels tt__kernels_avx2;
extern const tt_cpu_kernels tt__kernels_avx512;
extern const tt_cpu_kernels tt__kernels_avx512bf16;
#endif

const tt_cpu_kernels *tt__cpu_kernels(const tt_cpu_features *features); /* the best for them */

#endif
