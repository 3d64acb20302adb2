/* More room around a picture, for a model to paint: the picture's edges continued, and a mask of what is new. Pure. */
#ifndef TT_IMAGE_PAD_H
#define TT_IMAGE_PAD_H

#include "image/image.h"

/* Pixels to add on each side, not negative. */
typedef struct tt_image_sides {
    int left, top, right, bottom;
} tt_image_sides;

/* The larger picture in *out and its mask in *mask, [height, width], 255: new, 0: the picture as it was; both owned (tt_image_release,
 * tt_free). New pixels take the colours of the nearest edge, the more smeared and noisy the farther they are, so that a model
 * finds colours to go on from and no stripes to copy. Along the seam the mask fades into the picture, over at most
 * TT_IMAGE_PAD_SEAM pixels: the two are mixed there. The same arguments, the same pixels. TT_E_INVALID: a negative side, or a result beyond
 * TT_MAX_IMAGE_PIXELS. */
tt_status tt_image_pad(const tt_image *image, const tt_image_sides *sides, uint64_t seed,
                       tt_image *out, uint8_t **mask, tt_err *err);

/* Two latents: a seam narrower than one cannot be seen by the model. */
enum { TT_IMAGE_PAD_SEAM = 16 };

#endif
