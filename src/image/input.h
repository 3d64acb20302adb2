/* Pictures to start from: upright, in the size that is asked for, with what is transparent as a mask
 * if wanted. */
#ifndef TT_IMAGE_INPUT_H
#define TT_IMAGE_INPUT_H

#include "image/image.h"

/* As tt_image_decode, and turned as Exif says. alpha NULL: transparency is composited on white. Else
 * colours stay as stored and *alpha is how much of each pixel is there, [height, width], 255: all;
 * owned (tt_free); NULL for a file without transparency. */
tt_status tt_image_load(const void *bytes, size_t size, tt_image *out, uint8_t **alpha,
                        tt_err *err);

/* A picture of the new size, by Lanczos's filter over three lobes, as wide as it must be to shrink
 * without aliases (Pillow's LANCZOS, which diffusers uses). *out is owned. */
tt_status tt_image_resize(const tt_image *image, int width, int height, tt_image *out, tt_err *err);

/* The largest part in the middle that has the proportions of width to height, then resized. */
tt_status tt_image_resize_cropped(const tt_image *image, int width, int height, tt_image *out,
                                  tt_err *err);

/* mask[height, width]: the brightness of each pixel (0.299 R + 0.587 G + 0.114 B). */
void tt_image_brightness(const tt_image *image, uint8_t *mask);

#endif
