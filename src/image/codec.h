/* Inside the room: what each file format provides, and what they share. */
#ifndef TT_IMAGE_CODEC_H
#define TT_IMAGE_CODEC_H

#include "image/image.h"

enum { TT__RGB_CHANNELS = 3, TT__RGBA_CHANNELS = 4, TT__CMYK_CHANNELS = 4 };

/* Sizes and texts are checked before encode is called; quality is 1..100. The others get bytes
 * whose magic fits. On failure outputs may be half filled: image.c releases them. */
typedef struct tt__codec {
    tt_status (*encode)(const tt_image *image, const tt_image_encode_options *options, tt_buf *out,
                        tt_err *err);
    tt_status (*probe)(const uint8_t *bytes, size_t size, tt_image_info *out, tt_err *err);
    /* alpha: see tt__image_flatten. */
    tt_status (*decode)(const uint8_t *bytes, size_t size, tt_image *out, uint8_t **alpha,
                        tt_err *err);
    tt_status (*read_text)(const uint8_t *bytes, size_t size, tt_image_metadata *out, tt_err *err);
    /* The Exif block inside, borrowed from the bytes; false when there is none, or no way to it. */
    bool (*find_exif)(const uint8_t *bytes, size_t size, const uint8_t **block, size_t *n);
} tt__codec;

extern const tt__codec tt__png_codec, tt__jpeg_codec, tt__webp_codec;

tt_status tt__png_read_text(const uint8_t *bytes, size_t size, tt_image_metadata *out, tt_err *err);

/* Sets out->width and height, and out->rgb to room for [height, width, n_channels], after checking
 * the size. */
tt_status tt__image_alloc(tt_image *out, int64_t width, int64_t height, int n_channels,
                          tt_err *err);

/* RGBA pixels in image->rgb become RGB in place, and the memory shrinks. alpha NULL: composited on
 * white. Else the colours stay as they are and *alpha becomes the coverage [height, width], owned. */
tt_status tt__image_flatten(tt_image *image, uint8_t **alpha, tt_err *err);

/* As tt_image_decode, with the alpha apart when `alpha` is not NULL: *alpha [height, width] is owned,
 * NULL for pictures without. */
tt_status tt__image_decode(const void *bytes, size_t size, tt_image *out, uint8_t **alpha,
                           tt_err *err);

bool tt__png_find_exif(const uint8_t *bytes, size_t size, const uint8_t **block, size_t *n);
/* How the picture is to be turned, 1 to 8 (TIFF's Orientation); 1 when the file does not say. */
int tt__image_orientation(const uint8_t *bytes, size_t size);

#endif
