/* oneDNN behind six functions: the only file pair that includes its headers, for versions 2.x
 * and 3.x. A spec says what to compute and for which sizes; a primitive is the compiled answer. */
#ifndef TT_TENSOR_CPU_ONEDNN_H
#define TT_TENSOR_CPU_ONEDNN_H

#include <stdbool.h>

#include "base/err.h"
#include "tensor/ops.h"

typedef struct tt_dnn tt_dnn;                     /* engine and stream */
typedef struct tt_dnn_layout tt_dnn_layout;       /* how packed weights lie in memory */
typedef struct tt_dnn_primitive tt_dnn_primitive; /* compiled for one spec */

/* Compared and hashed as bytes: zero the whole struct before filling it. */
typedef struct tt_dnn_spec {
    int64_t n, h, w; /* input positions; a matrix product has n = rows, h = w = 1 */
    int64_t c_in, c_out;
    int32_t kernel; /* 0: matrix product; 1 or 3: convolution */
    int32_t stride, pad_top, pad_left, pad_bottom, pad_right;
    int32_t dtype; /* tt_dtype of everything but the f32 bias */
    int32_t act;   /* tt_activation */
    uint8_t has_bias, has_mul, has_add, padding[5];
} tt_dnn_spec;

typedef struct tt_dnn_args {
    const void *x, *weights, *mul, *add;
    const float *bias;
    void *y, *scratch;
} tt_dnn_args;

tt_status tt__dnn_open(tt_dnn **out, tt_err *err);
void tt__dnn_close(tt_dnn *dnn);

/* Chooses the layout that oneDNN likes best for this spec and rewrites plain weights ([c_out, c_in] or [c_out, c_in,
 * k, k]) into it: *data is aligned memory of *size_bytes, owned by the caller (tt_free). */
tt_status tt__dnn_pack(tt_dnn *dnn, const tt_dnn_spec *spec, const void *plain,
                       tt_dnn_layout **layout, void **data, size_t *size_bytes, tt_err *err);
void tt__dnn_layout_free(tt_dnn_layout *layout);

/* Described only: layout and scratch size are known, but its code is not generated yet (about 2 ms each).
 * A product's `add` is a tensor of its own; a convolution adds what y holds when it starts (oneDNN 2.6 has no fast
 * convolution that adds another tensor). */
tt_status tt__dnn_primitive_new(tt_dnn *dnn, const tt_dnn_spec *spec, tt_dnn_primitive **out,
                                tt_err *err);

/* Generates the code, if that was not done yet. */
tt_status tt__dnn_compile(tt_dnn_primitive *p, tt_err *err);

/* The layout this primitive reads differs between sizes: true when weights laid out so can be used. */
bool tt__dnn_layout_fits(const tt_dnn_primitive *p, const tt_dnn_layout *layout);
/* Rewrites packed weights from one layout into the primitive's. */
tt_status tt__dnn_repack(tt_dnn *dnn, const tt_dnn_primitive *p, const tt_dnn_layout *from,
                         const void *from_data, tt_dnn_layout **layout, void **data,
                         size_t *size_bytes, tt_err *err);
void tt__dnn_primitive_free(tt_dnn_primitive *p);
size_t tt__dnn_scratch_bytes(const tt_dnn_primitive *p);
tt_status tt__dnn_run(tt_dnn *dnn, tt_dnn_primitive *p, const tt_dnn_args *args, tt_err *err);

#endif
