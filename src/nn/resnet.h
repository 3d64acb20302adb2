/* The residual block that UNet and VAE share (diffusers' ResnetBlock2D):
 *     y = x' + conv2(silu(norm2(conv1(silu(norm1(x))) + time)))     x' = x, or a 1x1 convolution of it */
#ifndef TT_NN_RESNET_H
#define TT_NN_RESNET_H

#include "nn/loader.h"

typedef struct tt_resnet {
    tt_weight *norm1, *conv1, *norm2, *conv2;
    tt_weight *shortcut; /* NULL where c_in = c_out */
    int64_t c_in, c_out;
    int64_t groups;
    float eps;
} tt_resnet;

/* Declares the block's weights; `prefix` is e.g. "unet.mid_block.resnets.0". */
tt_status tt_resnet_load(tt_resnet *r, tt_loader *l, const char *prefix, int64_t groups, float eps,
                         tt_err *err);
void tt_resnet_release(tt_resnet *r, tt_ops *ops);

/* x [n, h, w, c_in] -> *y, a new scratch tensor [n, h, w, c_out]. time: NULL, or [n, 1, 1, >= time_offset + c_out], one value per
 * picture and channel. x stays the caller's. */
tt_status tt_resnet_run(const tt_resnet *r, tt_ops *ops, const tt_tensor *x, const tt_tensor *time,
                        int64_t time_offset, tt_tensor *y, tt_err *err);

/* The same without a time term, in place: *x becomes the result, in its own memory where sizes allow. */
tt_status tt_resnet_replace(const tt_resnet *r, tt_ops *ops, tt_tensor *x, tt_err *err);

#endif
