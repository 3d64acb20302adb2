/* The contract of every operation that the networks are built from, and the back-end that runs them.
 *
 * Back-ends: tensor/ref (plain C: the truth the others are tested against), tensor/cpu (own kernels and oneDNN) and tensor/cuda
 * (NVIDIA GPUs; a build may lack it). A back-end is a table of functions (tt_backend) chosen once in tt_ops_open; model code
 * never knows which one runs. `data` of a tensor is an address in the back-end's memory: only tt_op_upload and tt_op_download carry
 * values to and from the host, and outside of back-ends no other code may look at it (adding to it, for some rows, is fine).
 *
 * Rehearsal. A network's forward pass is ordinary code that asks for scratch tensors and calls
 * operations. Run once between tt_ops_plan_begin and tt_ops_plan_end it computes nothing: scratch
 * only counts its peak, and back-ends make the primitives they will need. The real run then finds
 * all memory and every primitive ready, so the denoise loop allocates nothing. In rehearsal the
 * `data` of scratch tensors must not be touched.
 *
 * Numbers: activations are all of the engine's dtype (f32 or bf16); sums, norms, softmax and
 * activations are f32 inside; results round once on the way out. No operation works in place unless
 * it says so: y must not overlap an input. Results do not depend on the number of threads.
 *
 * Threads: one thread owns a tt_ops and everything made with it; back-ends use more inside. Only the
 * tt_weight_* makers may be called from several threads at once (loading). */
#ifndef TT_TENSOR_OPS_H
#define TT_TENSOR_OPS_H

#include <stdbool.h>

#include "base/err.h"
#include "tensor/statistics.h"
#include "tensor/tensor.h"

typedef struct tt_ops tt_ops;
typedef struct tt_weight tt_weight; /* packed for one back-end; process lifetime */

typedef enum tt_backend_kind { TT_BACKEND_REF, TT_BACKEND_CPU, TT_BACKEND_CUDA } tt_backend_kind;

typedef struct tt_ops_options {
    tt_backend_kind backend;
    tt_dtype dtype; /* of activations and packed weights: TT_F32 or TT_BF16 */
    int n_threads;  /* 0: all cores this process may use */
} tt_ops_options;

tt_status tt_ops_open(const tt_ops_options *options, tt_ops **out, tt_err *err);
void tt_ops_close(tt_ops *ops);
tt_dtype tt_ops_dtype(const tt_ops *ops);
int tt_ops_threads(const tt_ops *ops);
/* What the back-end's own memory has left, in bytes; 0 for back-ends that use the machine's. */
size_t tt_ops_memory_left(tt_ops *ops);

/* True where bf16 arithmetic is native, so that it is faster than f32 and not an emulation. */
bool tt_cpu_has_bf16(void);

/* ---- scratch: step lifetime
 * ------------------------------------------------------------------------- */

/* Call before the first operation of a pass that was planned earlier (plan_begin does it too):
 * tells the back-end's thread library how many threads this engine uses. */
void tt_ops_begin(tt_ops *ops);
/* Starts rehearsal. Nothing may be allocated from scratch at this moment. */
void tt_ops_plan_begin(tt_ops *ops);
/* Ends rehearsal and makes the scratch block as large as the peak seen (it never shrinks). */
tt_status tt_ops_plan_end(tt_ops *ops, tt_err *err);
size_t tt_ops_planned_bytes(const tt_ops *ops); /* the peak of the rehearsal so far */
/* Compiles what rehearsals have asked for so far, so that the passes themselves only run; what is not compiled when it runs
 * first is compiled then. During a rehearsal or after it. */
tt_status tt_ops_prepare(tt_ops *ops, tt_err *err);
bool tt_ops_is_planning(const tt_ops *ops);
size_t tt_ops_scratch_bytes(const tt_ops *ops); /* size of the scratch block */

/* A tensor of the engine's dtype in scratch; free it in any order. Fails with TT_E_NOMEM outside
 * the plan. */
tt_status tt_scratch_new(tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c, tt_tensor *out,
                         tt_err *err);
void tt_scratch_free(tt_ops *ops, tt_tensor *t); /* t->data becomes NULL; a NULL data is fine */
void tt_scratch_reset(tt_ops *ops); /* frees everything: after a failed or cancelled pass */

/* A tensor that lives as long as a request: from the heap, also in rehearsal. */
tt_status tt_request_tensor_new(tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c,
                                tt_tensor *out, tt_err *err);
void tt_request_tensor_free(tt_ops *ops, tt_tensor *t); /* a NULL data is fine */

/* ---- weights: process lifetime
 * ---------------------------------------------------------------------- */

/* Host arrays of tt_ops_dtype(ops) (linear, conv, embedding) or f32 (bias, norms); copied and
 * packed, so the caller may free them at once. bias may be NULL. */
tt_status tt_weight_linear(tt_ops *ops, const void *w /* [n_out, n_in] */, const float *bias,
                           int64_t n_out, int64_t n_in, tt_weight **out, tt_err *err);
typedef struct tt_conv_shape {
    int64_t c_out, c_in;
    int kernel; /* square: 1 or 3 */
    int stride; /* 1 or 2 */
    int pad_top, pad_left, pad_bottom, pad_right;
} tt_conv_shape;
tt_status tt_weight_conv(tt_ops *ops, const void *w /* [c_out, c_in, k, k] */, const float *bias,
                         const tt_conv_shape *shape, tt_weight **out, tt_err *err);
/* The same from f32, kept as int8 with a scale per output (tensor/int8.h); what they multiply is rounded to 8 bits too, on the
 * fly, activations are of the engine's type as ever. Only after tt_ops_allow_int8, and only for sums of up to
 * TT_INT8_MAX_INPUTS (n_in * kernel * kernel). */
tt_status tt_ops_allow_int8(tt_ops *ops, tt_err *err); /* fails where back-end or CPU cannot */
bool tt_ops_has_int8(const tt_ops *ops);               /* it was called, and succeeded */
tt_status tt_weight_linear_int8(tt_ops *ops, const float *w, const float *bias, int64_t n_out,
                                int64_t n_in, tt_weight **out, tt_err *err);
tt_status tt_weight_conv_int8(tt_ops *ops, const float *w, const float *bias,
                              const tt_conv_shape *shape, tt_weight **out, tt_err *err);
/* For tt_op_upsample_conv only: 3x3, stride 1, a border of one. From f32, as back-ends may fold it: of what is doubled, each of
 * the four outputs of a position sees 2x2 inputs only, by weights that are sums of the nine, made in f32 and then rounded (as
 * int8: with a scale per output of each of the four). */
tt_status tt_weight_upsample_conv(tt_ops *ops, const float *w /* [c_out, c_in, 3, 3] */,
                                  const float *bias, int64_t c_out, int64_t c_in, tt_weight **out,
                                  tt_err *err);
tt_status tt_weight_upsample_conv_int8(tt_ops *ops, const float *w, const float *bias,
                                       int64_t c_out, int64_t c_in, tt_weight **out, tt_err *err);
/* For tt_op_gated only: n_out rows of values, then as many of gates; bias too. As tt_weight_linear and its int8. */
tt_status tt_weight_gated(tt_ops *ops, const void *w /* [2 n_out, n_in] */, const float *bias,
                          int64_t n_out, int64_t n_in, tt_weight **out, tt_err *err);
tt_status tt_weight_gated_int8(tt_ops *ops, const float *w, const float *bias, int64_t n_out,
                               int64_t n_in, tt_weight **out, tt_err *err);
tt_status tt_weight_norm(tt_ops *ops, const float *gamma, const float *beta, int64_t c,
                         tt_weight **out, tt_err *err);
tt_status tt_weight_embedding(tt_ops *ops, const void *table /* [rows, c] */, int64_t rows,
                              int64_t c, tt_weight **out, tt_err *err);
void tt_weight_free(tt_ops *ops, tt_weight *w); /* NULL is fine */
int64_t tt_weight_rows(
    const tt_weight *w); /* linear: n_out; conv: c_out; embedding: rows; norm: c */
int64_t tt_weight_columns(const tt_weight *w); /* linear: n_in; conv: c_in; embedding: c; norm: 1 */
/* From begin to end, the memory of weights that are freed stays for new ones of the same size: for who exchanges many. Not while
 * other threads make or free weights. Both may be called again. */
void tt_ops_recycle_begin(tt_ops *ops);
void tt_ops_recycle_end(tt_ops *ops);
size_t tt_ops_weight_bytes(const tt_ops *ops); /* of all live weights */

/* ---- operations
 * ------------------------------------------------------------------------------------- */

typedef enum tt_activation {
    TT_ACT_NONE,
    TT_ACT_SILU,       /* x sigmoid(x) */
    TT_ACT_GELU,       /* exact: x Phi(x), with erf */
    TT_ACT_QUICK_GELU, /* x sigmoid(1.702 x) */
    TT_ACT_GELU_TANH,
    TT_ACT_RELU,
} tt_activation;

/* y = act(product + bias) * mul + add; all optional. mul and add have y's shape and must not
 * overlap y. */
typedef struct tt_epilogue {
    tt_activation act;
    const tt_tensor *mul;
    const tt_tensor *add;
} tt_epilogue;

/* Host f32 [n, h, w, c] to tensor and back, rounding to the tensor's dtype. */
tt_status tt_op_upload(tt_ops *ops, const float *host, tt_tensor *y, tt_err *err);
tt_status tt_op_download(tt_ops *ops, const tt_tensor *x, float *host, tt_err *err);

/* y[r, o] = sum_i x[r, i] w[o, i]; rows are all of n, h, w. epilogue may be NULL. */
tt_status tt_op_linear(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                       const tt_epilogue *epilogue, tt_tensor *y, tt_err *err);

/* A gated unit (Shazeer 2020): y[r, o] = (x v^T + b)[r, o] * act((x g^T + b)[r, o]). */
tt_status tt_op_gated(tt_ops *ops, const tt_weight *w, tt_activation act, const tt_tensor *x,
                      tt_tensor *y, tt_err *err);

/* Cross-correlation as in torch.nn.Conv2d; y->h, y->w must be what shape and x give. */
tt_status tt_op_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                     const tt_epilogue *epilogue, tt_tensor *y, tt_err *err);

/* x doubled in both directions by nearest neighbour, then convolved: [n, h, w, c_in] to [n, 2 h, 2 w, c_out], exactly. */
tt_status tt_op_upsample_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x, tt_tensor *y,
                              tt_err *err);

/* GroupNorm over (h, w, c/groups) of x + add, biased variance, then gamma, beta, then SiLU if
 * asked. add: NULL or [n, 1, 1, stride >= c], one value per picture and channel (the ResBlock's
 * time embedding): picture i reads add->c * i + add_offset onwards.
 *
 * Mean and variance are those of x + add; they are added to `record`, if asked, and `given` takes their place: both
 * [n, groups], and for back-ends that know them only (tt_ops_shares_norms). */
typedef struct tt_group_norm {
    int64_t groups;
    float eps;
    bool silu;
    const tt_tensor *add;
    int64_t add_offset;
    tt_norm_statistics *record;      /* NULL: not wanted */
    const tt_norm_statistics *given; /* NULL: x's own */
} tt_group_norm;
tt_status tt_op_group_norm(tt_ops *ops, const tt_weight *w, const tt_group_norm *args,
                           const tt_tensor *x, tt_tensor *y, tt_err *err);

/* The CPU and the reference know record and given; on the GPU, norms with either fail with TT_E_UNSUPPORTED. */
bool tt_ops_shares_norms(const tt_ops *ops);

/* From here to the next call, group norms have their `record` and `given` from tapes: the first norm from the first place, and
 * so on, so that networks need not know. n * groups of each norm must be the tapes' groups. The tapes are borrowed until the
 * next call. Both NULL: as ever. */
void tt_ops_share_norms(tt_ops *ops, tt_norm_tape *record, const tt_norm_tape *given);

tt_status tt_op_layer_norm(tt_ops *ops, const tt_weight *w, float eps, const tt_tensor *x,
                           tt_tensor *y, tt_err *err);

/* softmax(q k^T / sqrt(head_dim)) v per picture and head; never a score matrix beyond a cache-sized
 * block. Head i of q is columns q_offset + i * head_dim of q's rows, likewise k and v (so that q,
 * k, v may be parts of one fused projection). y: [n, tokens of q, heads * head_dim]. causal: query
 * t sees keys 0..t. */
typedef struct tt_attention {
    const tt_tensor *q, *k, *v;
    int64_t q_offset, k_offset, v_offset;
    int64_t heads, head_dim;
    bool causal;
} tt_attention;
tt_status tt_op_attention(tt_ops *ops, const tt_attention *args, tt_tensor *y, tt_err *err);

/* y[n, t] = table[ids[n * tokens + t]] + positions[t]; ids on the host, each below the table's
 * rows. */
tt_status tt_op_embed(tt_ops *ops, const tt_weight *table, const tt_weight *positions,
                      const int32_t *ids, tt_tensor *y, tt_err *err);

/* Nearest neighbour to exactly y->h x y->w, as torch: source row = floor(row * x->h / y->h). */
tt_status tt_op_upsample(tt_ops *ops, const tt_tensor *x, tt_tensor *y, tt_err *err);

/* y = [a, b] along channels. */
tt_status tt_op_concat(tt_ops *ops, const tt_tensor *a, const tt_tensor *b, tt_tensor *y,
                       tt_err *err);

/* y = act(x), elementwise; y may be x. */
tt_status tt_op_activate(tt_ops *ops, tt_activation act, const tt_tensor *x, tt_tensor *y,
                         tt_err *err);

/* ---- where the time goes ---------------------------------------------------------------------------- */

/* Time per operation since the last reset, rehearsals left out; for the bench. Wall clock on the CPU; on a GPU the GPU's
 * own, from the first reset on. */
typedef struct tt_op_time {
    const char *name; /* "linear", "conv"... */
    int64_t calls, us;
    double flops; /* of products, by their shapes: a multiplication and an addition are two */
    double bytes; /* that must move: operands and weights read once, results written once */
} tt_op_time;
enum { TT_OP_KINDS = 11 };
const tt_op_time *tt_ops_times(const tt_ops *ops); /* [TT_OP_KINDS] */
void tt_ops_times_reset(tt_ops *ops);

/* What the device's arithmetic does at best, with all of the engine's threads, in operations a second counted as flops are. 0: not
 * native, or nobody knows (the reference, GPUs). */
typedef struct tt_ops_peak {
    double f32, bf16, int8;
    const char *f32_by, *bf16_by, *int8_by; /* the instructions, "amx_bf16"; "" for 0. Static */
    char features[128];                     /* "avx2 avx512 amx_bf16"; "" for 0 */
} tt_ops_peak;
void tt_ops_measure_peak(tt_ops *ops, tt_ops_peak *out); /* takes a tenth of a second */

#endif
