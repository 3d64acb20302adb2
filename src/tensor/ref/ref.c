/* The table of the plain C back-end, and its packing: weights stay as they come. */
#include "tensor/ref/ref.h"

static tt_status open_ref(tt_ops *ops, tt_err *err) {
    (void)err;
    ops->n_threads = 1;
    return TT_OK;
}

static void close_ref(tt_ops *ops) {
    (void)ops;
}

static tt_status pack_linear(tt_ops *ops, tt_weight *w, const void *data, tt_err *err) {
    return tt__weight_copy(ops, w, data, (size_t)(w->n_out * w->n_in), tt_dtype_size(ops->dtype),
                           err);
}

static tt_status pack_conv(tt_ops *ops, tt_weight *w, const void *data, tt_err *err) {
    int64_t taps = (int64_t)w->conv.kernel * w->conv.kernel;
    return tt__weight_copy(ops, w, data, (size_t)(w->n_out * w->n_in * taps),
                           tt_dtype_size(ops->dtype), err);
}

const tt_backend tt__backend_ref = {
    .name = "ref",
    .shares_norms = true,
    .open = open_ref,
    .close = close_ref,
    .pack_linear = pack_linear,
    .pack_conv = pack_conv,
    .allow_int8 = tt__ref_allow_int8,
    .pack_int8 = tt__ref_pack_int8,
    .linear = tt__ref_linear,
    .conv = tt__ref_conv,
    .group_norm = tt__ref_group_norm,
    .layer_norm = tt__ref_layer_norm,
    .attention = tt__ref_attention,
    .activate = tt__ref_activate,
    .embed = tt__ref_embed,
    .upsample = tt__ref_upsample,
    .concat = tt__ref_concat,
    .upload = tt__ref_upload,
    .download = tt__ref_download,
};
