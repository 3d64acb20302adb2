/* The kernels of the CUDA back-end, as C sees them: each launches on a stream and returns at once. A result other than 0 is a
 * cudaError_t of the launch; what goes wrong while a kernel runs shows at the next wait.
 *
 * Tensors are channels-last as everywhere; `bf16` says which of the two types their elements have. Sums are f32. Pointers are
 * aligned to 16 bytes at least, unless a line says otherwise. No kernel uses floating-point atomics: sums have one order, so
 * results do not change from run to run. */
#ifndef TT_TENSOR_CUDA_KERNELS_H
#define TT_TENSOR_CUDA_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *tt_cuda_stream; /* cudaStream_t */

/* ---- activate.cu: y = act(x + bias) * mul + add. x: [rows, c]; bias: f32 [c]; bias, mul, add may be NULL; y may be
 * x, mul or add. act: a tt_activation. */
typedef struct tt_cuda_epilogue {
    const void *x;
    const float *bias;
    const void *mul, *add;
    void *y;
    int64_t rows, c;
    int act;
    bool bf16;
} tt_cuda_epilogue;
int tt__cuda_launch_epilogue(const tt_cuda_epilogue *e, tt_cuda_stream stream);

/* y = x * act(gate), each with its bias first; y may be x or gate. */
typedef struct tt_cuda_gated {
    const void *x, *gate;
    const float *bias, *gate_bias; /* f32 [c], or NULL */
    void *y;
    int64_t rows, c;
    int act;
    bool bf16;
} tt_cuda_gated;
int tt__cuda_launch_gated(const tt_cuda_gated *g, tt_cuda_stream stream);

/* ---- copy.cu */

/* y[n, h, w] = x[n, h x_h / y_h, w x_w / y_w]; a pixel is `bytes` long. */
typedef struct tt_cuda_upsample {
    const void *x;
    void *y;
    int64_t n, x_h, x_w, y_h, y_w, bytes;
} tt_cuda_upsample;
int tt__cuda_launch_upsample(const tt_cuda_upsample *u, tt_cuda_stream stream);

/* y = [a, b] row by row; a row of a is a_bytes long. */
int tt__cuda_launch_concat(const void *a, const void *b, void *y, int64_t rows, int64_t a_bytes,
                           int64_t b_bytes, tt_cuda_stream stream);

/* to[i] = from[i], rounded. */
int tt__cuda_launch_round(const float *from, void *to_bf16, int64_t n, tt_cuda_stream stream);

/* ---- embed.cu: y[row] = table[ids[row]] + positions[row % tokens]; ids on the device. */
typedef struct tt_cuda_embed {
    const void *table, *positions;
    const int32_t *ids;
    void *y;
    int64_t rows, tokens, c;
    bool bf16;
} tt_cuda_embed;
int tt__cuda_launch_embed(const tt_cuda_embed *e, tt_cuda_stream stream);

/* ---- group_norm.cu: as tt_op_group_norm. partials: room for tt__cuda_group_norm_floats. */
typedef struct tt_cuda_group_norm {
    const void *x, *add; /* add: NULL, or its first value of picture 0 */
    const float *gamma, *beta;
    void *y;
    float *partials;
    int64_t n, positions, c, groups, add_stride;
    float eps;
    bool silu, bf16;
} tt_cuda_group_norm;
int64_t tt__cuda_group_norm_floats(int64_t n, int64_t groups);
int tt__cuda_launch_group_norm(const tt_cuda_group_norm *g, tt_cuda_stream stream);

/* ---- layer_norm.cu */
typedef struct tt_cuda_layer_norm {
    const void *x;
    const float *gamma, *beta;
    void *y;
    int64_t rows, c;
    float eps;
    bool bf16;
} tt_cuda_layer_norm;
int tt__cuda_launch_layer_norm(const tt_cuda_layer_norm *l, tt_cuda_stream stream);

/* ---- gemm.cu: y = alpha x w + bias + add for whatever the library has no algorithm for (odd widths that no tensor core
 * reads). Slow and general. Strides in elements; w is [n_out, k], or [k, n_out] where w_is_kn. */
typedef struct tt_cuda_gemm {
    int64_t rows, n_out, k;
    int64_t x_stride, w_stride, y_stride; /* from row to row */
    int64_t batch, x_batch, w_batch, y_batch;
    const void *x, *w;
    const float *bias;     /* NULL, or f32 [n_out] */
    const void *bias_as_y; /* the same in y's type: what the library wants */
    const void *add;       /* NULL, or as y */
    void *y;
    float alpha;
    bool w_is_kn, in_bf16, out_bf16;
} tt_cuda_gemm;
int tt__cuda_launch_gemm(const tt_cuda_gemm *g, tt_cuda_stream stream);

/* ---- conv.cu */

/* Weights [c_out, c_in, taps] -> [c_out, taps, c_in]; size: bytes of an element, 2 or 4. */
int tt__cuda_launch_repack(const void *from, void *to, int64_t c_out, int64_t c_in, int64_t taps,
                           int64_t size, tt_cuda_stream stream);

/* The rows first .. first + rows of the matrix [n y_h y_w, kernel kernel c] whose product with the weights is the
 * convolution. */
typedef struct tt_cuda_im2col {
    const void *x;
    void *columns;
    int64_t x_h, x_w, c, y_h, y_w, first, rows, size;
    int kernel, stride, pad_top, pad_left;
} tt_cuda_im2col;
int tt__cuda_launch_im2col(const tt_cuda_im2col *i, tt_cuda_stream stream);

/* ---- attention.cu: heads up to 128 wide in bf16, on tensor cores. Strides in elements, from token to token; a picture's
 * tokens follow each other. head_dim and all strides are multiples of 8. */
typedef struct tt_cuda_flash {
    const void *q, *k, *v;
    void *y;
    int64_t n, heads, head_dim, queries, keys;
    int64_t q_stride, k_stride, v_stride, y_stride;
    bool causal;
} tt_cuda_flash;
int tt__cuda_launch_flash(const tt_cuda_flash *f, tt_cuda_stream stream);

/* ---- softmax.cu: p = softmax of each row of scores [heads, rows, keys]. causal: row r sees keys 0 .. first + r.
 * p may lie where scores do only when it is f32. */
typedef struct tt_cuda_softmax {
    const float *scores;
    void *p;
    int64_t heads, rows, keys, first;
    bool causal, bf16;
} tt_cuda_softmax;
int tt__cuda_launch_softmax(const tt_cuda_softmax *s, tt_cuda_stream stream);

#ifdef __cplusplus
}
#endif

#endif
