/* The CUDA back-end: cuBLASLt for products, cuDNN for convolutions and attention, own kernels for the rest, one stream per
 * tt_ops. Operations are queued and run on after their call returned; only tt_op_download waits. So an error inside a kernel
 * shows there, at the end of a pass.
 *
 * Memory: tensors, scratch and weights lie on the GPU, from CUDA's pool, which hands out in the stream's order and keeps what it
 * got: a request's tensors cost no call into the driver. Plans of cuBLASLt and cuDNN are made in rehearsal and kept by sizes.
 *
 * Numbers: f32 is f32 throughout (no TF32); bf16 products sum in f32. */
#ifndef TT_TENSOR_CUDA_CUDA_H
#define TT_TENSOR_CUDA_CUDA_H

#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tensor/backend.h"
#include "tensor/cuda/cache.h"
#include "tensor/cuda/kernels.h"
#include "tensor/cuda/library.h"

typedef struct tt_cuda_clock tt_cuda_clock;

/* Pinned memory of the host, through which everything goes up and down. Pieces are handed out one after the other; what was
 * handed out is free again when the stream has been waited for. */
typedef struct tt_cuda_staging {
    char *host;
    size_t capacity, used;
    size_t measured, wanted; /* in rehearsal: since the last download, and the most of that */
} tt_cuda_staging;

/* Through which weights go up: several pinned pieces, each used by one thread at a time, so that loading threads do not wait for the
 * bus. */
enum { TT_CUDA_LANES = 4 };
typedef struct tt_cuda_lane {
    pthread_mutex_t mutex; /* for the two below */
    char *host;            /* NULL until the first use */
    cudaEvent_t copied;    /* the GPU has what was last in `host` */
} tt_cuda_lane;

/* A product with an activation that has not run yet: where the next one is multiplied by it, both run as one (linear.c). */
typedef struct tt_cuda_deferred {
    const tt_weight *w; /* NULL: none */
    tt_tensor x, y;
    tt_activation act;
    bool in_rehearsal; /* it does not outlive its rehearsal or pass */
} tt_cuda_deferred;

typedef struct tt_cuda_state {
    cudaStream_t stream;
    tt_cublas blas;
    cublasLtHandle_t lt;
    tt_cuda_cache *products;
    tt_cudnn dnn;
    cudnnHandle_t dnn_handle; /* NULL: cuDNN is not there; convolutions are products then */
    tt_cuda_cache *graphs;
    tt_cuda_staging staging;
    tt_cuda_lane lanes[TT_CUDA_LANES];
    atomic_uint next_lane;
    tt_cuda_deferred deferred;
    tt_cuda_clock *clock; /* NULL until somebody asks for times */
} tt_cuda_state;

static inline tt_cuda_state *tt__cuda_state(tt_ops *ops) {
    return ops->state;
}

/* Forwards a cudaError_t, or what a launch returned, as a sentence that begins with `what`. */
tt_status tt__cuda_check(int error, const char *what, tt_err *err);

/* What a library's algorithm wants besides its operands: from scratch, at an address that suits any of them. */
typedef struct tt_cuda_workspace {
    void *piece, *place;
} tt_cuda_workspace;
tt_status tt__cuda_workspace_take(tt_ops *ops, size_t size_bytes, tt_cuda_workspace *out,
                                  tt_err *err);
void tt__cuda_workspace_give(tt_ops *ops, tt_cuda_workspace *w);

/* transfer.c */
tt_status tt__cuda_upload(tt_ops *, const float *host, tt_tensor *y, tt_err *);
tt_status tt__cuda_download(tt_ops *, const tt_tensor *x, float *host, tt_err *);
tt_status tt__cuda_embed(tt_ops *, const tt_weight *table, const tt_weight *positions,
                         const int32_t *ids, tt_tensor *y, tt_err *);
tt_status tt__cuda_put(tt_ops *, void *to, const void *from, size_t size_bytes, tt_err *);
void tt__cuda_lanes_init(tt_cuda_state *state);
void tt__cuda_lanes_release(tt_cuda_state *state);
void tt__cuda_staging_release(tt_cuda_state *state);

/* clock.c */
void tt__cuda_mark(tt_ops *ops, tt_op_time *ended);
void tt__cuda_settle(tt_ops *ops);
void tt__cuda_clock_free(tt_cuda_clock *clock);

/* products.c: y = alpha x w + bias + add, by cuBLASLt or, where it has no algorithm, by gemm.cu. In rehearsal it makes the plan. */
tt_status tt__cuda_products_open(tt_cuda_state *state, tt_err *err);
void tt__cuda_products_close(tt_cuda_state *state);
tt_status tt__cuda_product(tt_ops *ops, const tt_cuda_gemm *g, tt_err *err);

/* linear.c */
tt_status tt__cuda_pack_linear(tt_ops *, tt_weight *, const void *w, tt_err *);
void tt__cuda_unpack(tt_ops *, tt_weight *);
/* Runs what was deferred. Every operation but the product that takes it over calls this first. */
tt_status tt__cuda_catch_up(tt_ops *ops, tt_err *err);
tt_status tt__cuda_linear(tt_ops *, const tt_weight *, const tt_tensor *x, const tt_epilogue *,
                          tt_tensor *y, tt_err *);
/* y = act(x + bias) * mul + add, where x, of y's shape, is the bare result of a product. */
tt_status tt__cuda_finish(tt_ops *ops, const void *x, const float *bias, const tt_epilogue *e,
                          tt_tensor *y, tt_err *err);
/* Where a product that is finished later goes: y itself, or *temporary from scratch where the epilogue still reads y. */
tt_status tt__cuda_bare_result(tt_ops *ops, const tt_epilogue *e, const tt_tensor *y,
                               void **temporary, void **place, tt_err *err);

/* graph.c: cuDNN's graphs of one operation. *out is NULL where cuDNN is not there or has no engine for it. */
typedef struct tt_cuda_graph tt_cuda_graph;
enum { TT_CUDA_GRAPH_CONV = 1, TT_CUDA_GRAPH_ATTENTION };
typedef struct tt_cuda_conv_key { /* what a convolution's plan depends on; symmetric padding */
    int64_t kind, n, h, w, c_in, y_h, y_w, c_out;
    int32_t kernel, stride, pad_h, pad_w, bf16, unused;
} tt_cuda_conv_key;
typedef struct tt_cuda_attention_key { /* bf16; strides in elements from token to token */
    int64_t kind, n, heads, head_dim, queries, keys;
    int64_t q_stride, k_stride, v_stride, y_stride;
} tt_cuda_attention_key;
tt_status tt__cuda_graphs_open(tt_cuda_state *state, tt_err *err);
void tt__cuda_graphs_close(tt_cuda_state *state);
tt_status tt__cuda_graph_conv(tt_cuda_state *, const tt_cuda_conv_key *, const tt_cuda_graph **out,
                              tt_err *);
tt_status tt__cuda_graph_attention(tt_cuda_state *, const tt_cuda_attention_key *,
                                   const tt_cuda_graph **out, tt_err *);
/* tensors: x, w, y of a convolution; q, k, v, y of attention. Workspace comes from scratch. */
enum { TT_CUDA_GRAPH_MOST_TENSORS = 4 };
tt_status tt__cuda_graph_run(tt_ops *ops, const tt_cuda_graph *g, void *const *tensors,
                             tt_err *err);

tt_status tt__cuda_pack_conv(tt_ops *, tt_weight *, const void *w, tt_err *);
tt_status tt__cuda_conv(tt_ops *, const tt_weight *, const tt_tensor *x, const tt_epilogue *,
                        tt_tensor *y, tt_err *);
tt_status tt__cuda_attention(tt_ops *, const tt_attention *, tt_tensor *y, tt_err *);

#endif
