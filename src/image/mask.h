/* Masks in the size of a picture that was fitted. */
#ifndef TT_IMAGE_MASK_H
#define TT_IMAGE_MASK_H

#include <stdint.h>

/* One byte per pixel, [height, width], borrowed. */
typedef struct tt_image_mask {
    const uint8_t *bytes;
    int width, height;
} tt_image_mask;

/* `mask` covers a picture of any size, which tt_image_resize_cropped makes width x height: out[height, width] is the same part of
 * the mask, each byte the mean of the area it covers. Unlike Lanczos, a mean never rings: where the mask is black far and wide,
 * the result is exactly 0. All sizes are at least 1. */
void tt_image_mask_fit(const tt_image_mask *mask, int picture_width, int picture_height, int width,
                       int height, uint8_t *out);

#endif
