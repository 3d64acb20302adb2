/* The CPU back-end: own kernels, oneDNN for products and convolutions in f32 and on CPUs without bf16,
 * OpenMP for threads. */
#ifndef TT_TENSOR_CPU_CPU_H
#define TT_TENSOR_CPU_CPU_H

#include "tensor/backend.h"
#include "tensor/cpu/features.h"
#include "tensor/cpu/kernels.h"
#include "tensor/cpu/onednn.h"

typedef struct tt_cpu_cache tt_cpu_cache; /* primitives by spec */

typedef struct tt_cpu_state {
    tt_dnn *dnn;
    tt_cpu_cache *cache;
    tt_cpu_features features; /* what kernels are chosen by */
    const tt_cpu_kernels *kernels;
    int64_t l2_bytes; /* of one core */
} tt_cpu_state;

static inline tt_cpu_state *tt__cpu_state(tt_ops *ops) {
    return ops->state;
}

/* For tests: as if this CPU were of a level up to `most`. Before weights are packed: how they are
 * packed may depend on it. */
void tt__cpu_force(tt_ops *ops, tt_cpu_level most);

/* products.c: matrix products and convolutions, and oneDNN's primitives for those that are its */
tt_status tt__cpu_cache_new(tt_cpu_cache **out, tt_err *err);
void tt__cpu_cache_free(tt_cpu_cache *cache);
/* Drops all primitives when many have gathered (a long-lived process that sees many sizes). */
void tt__cpu_cache_trim(tt_cpu_cache *cache);
/* Compiles what the rehearsal described. */
tt_status tt__cpu_compile(tt_ops *ops, tt_err *err);
tt_status tt__cpu_pack_linear(tt_ops *, tt_weight *, const void *w, tt_err *);
tt_status tt__cpu_pack_conv(tt_ops *, tt_weight *, const void *w, tt_err *);
void tt__cpu_unpack(tt_ops *, tt_weight *);
tt_status tt__cpu_allow_int8(tt_ops *, tt_err *); /* int8.c */
tt_status tt__cpu_linear(tt_ops *, const tt_weight *, const tt_tensor *x, const tt_epilogue *,
                         tt_tensor *y, tt_err *);
tt_status tt__cpu_conv(tt_ops *, const tt_weight *, const tt_tensor *x, const tt_epilogue *,
                       tt_tensor *y, tt_err *);

int64_t tt__cpu_gated_rows(tt_ops *, bool is_int8);
tt_status tt__cpu_gated(tt_ops *, const tt_weight *, tt_activation, const tt_tensor *x,
                        tt_tensor *y, tt_err *);
tt_status tt__cpu_upsample_conv(tt_ops *, const tt_weight *, const tt_tensor *x, tt_tensor *y,
                                tt_err *);

/* copy.c */
tt_status tt__cpu_upsample(tt_ops *, const tt_tensor *x, tt_tensor *y, tt_err *);
tt_status tt__cpu_concat(tt_ops *, const tt_tensor *a, const tt_tensor *b, tt_tensor *y, tt_err *);
tt_status tt__cpu_upload(tt_ops *, const float *host, tt_tensor *y, tt_err *);
tt_status tt__cpu_download(tt_ops *, const tt_tensor *x, float *host, tt_err *);
/* One of the four outputs of each position, [n, h, w, c], to its place among them, [n, 2 h, 2 w, c]. */
void tt__cpu_spread(const tt_tensor *part, int phase, const tt_tensor *y);

tt_status tt__cpu_group_norm(tt_ops *, const tt_weight *, const tt_group_norm *, const tt_tensor *x,
                             tt_tensor *y, tt_err *);
tt_status tt__cpu_attention(tt_ops *, const tt_attention *, tt_tensor *y, tt_err *);

#endif
