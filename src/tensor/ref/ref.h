/* The plain C back-end: one operation per file, written to be read. Everything is computed in
 * double and rounded once, so that what differs from it is somebody else's rounding. */
#ifndef TT_TENSOR_REF_REF_H
#define TT_TENSOR_REF_REF_H

#include "tensor/backend.h"

static inline double tt__ref_get(const tt_tensor *t, int64_t i) {
    return t->dtype == TT_F32 ? ((const float *)t->data)[i]
                              : tt_bf16_to_f32(((const uint16_t *)t->data)[i]);
}

static inline void tt__ref_set(tt_tensor *t, int64_t i, double value) {
    if (t->dtype == TT_F32)
        ((float *)t->data)[i] = (float)value;
    else
        ((uint16_t *)t->data)[i] = tt_f32_to_bf16((float)value);
}

/* Element i of a plain weight's matrix, which has the engine's dtype. */
static inline double tt__ref_weight(const tt_ops *ops, const tt_weight *w, int64_t i) {
    const tt_tensor view = {.data = w->data, .dtype = ops->dtype};
    return tt__ref_get(&view, i);
}

double tt__ref_activation(tt_activation act, double x);

/* y[i] = epilogue(value) */
static inline void tt__ref_store(tt_tensor *y, int64_t i, const tt_epilogue *e, double value) {
    value = tt__ref_activation(e->act, value);
    if (e->mul) value *= tt__ref_get(e->mul, i);
    if (e->add) value += tt__ref_get(e->add, i);
    tt__ref_set(y, i, value);
}

/* int8.c: weights with scales */
tt_status tt__ref_allow_int8(tt_ops *, tt_err *);
tt_status tt__ref_pack_int8(tt_ops *, tt_weight *, const float *, tt_err *);
void tt__ref_linear_int8(const tt_weight *, const tt_tensor *, const tt_epilogue *, tt_tensor *);
void tt__ref_conv_int8(const tt_weight *, const tt_tensor *, const tt_epilogue *, tt_tensor *);

tt_status tt__ref_linear(tt_ops *, const tt_weight *, const tt_tensor *, const tt_epilogue *,
                         tt_tensor *, tt_err *);
tt_status tt__ref_conv(tt_ops *, const tt_weight *, const tt_tensor *, const tt_epilogue *,
                       tt_tensor *, tt_err *);
tt_status tt__ref_group_norm(tt_ops *, const tt_weight *, const tt_group_norm *, const tt_tensor *,
                             tt_tensor *, tt_err *);
tt_status tt__ref_layer_norm(tt_ops *, const tt_weight *, float eps, const tt_tensor *, tt_tensor *,
                             tt_err *);
tt_status tt__ref_attention(tt_ops *, const tt_attention *, tt_tensor *, tt_err *);
tt_status tt__ref_activate(tt_ops *, tt_activation, const tt_tensor *, tt_tensor *, tt_err *);
tt_status tt__ref_embed(tt_ops *, const tt_weight *, const tt_weight *, const int32_t *,
                        tt_tensor *, tt_err *);
tt_status tt__ref_upsample(tt_ops *, const tt_tensor *, tt_tensor *, tt_err *);
tt_status tt__ref_concat(tt_ops *, const tt_tensor *, const tt_tensor *, tt_tensor *, tt_err *);
tt_status tt__ref_upload(tt_ops *, const float *, tt_tensor *, tt_err *);
tt_status tt__ref_download(tt_ops *, const tt_tensor *, float *, tt_err *);

#endif
