/* RGB pictures to and from PNG, JPEG and WebP, with the text inside that says how they were made.
 *
 * Two texts travel with a picture: `parameters`, the form AUTOMATIC1111's web UI made common
 * (image/parameters.h writes and parses it; galleries read it), and `json`, our own complete
 * record. Where they live:
 *
 *     format  parameters                                    json
 *     PNG     tEXt "parameters" (iTXt when not ASCII)        iTXt "tintype"
 *     JPEG    APP1 Exif, UserComment, UTF-16                 APP1 XMP, property tintype:json
 *     WebP    EXIF chunk, UserComment, UTF-16                "XMP " chunk, property tintype:json
 *
 * All functions are reentrant; nothing is shared between threads. Memory goes through base/alloc.h,
 * except what libjpeg and libwebp allocate for themselves during one call. */
#ifndef TT_IMAGE_IMAGE_H
#define TT_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef enum tt_image_format { TT_IMAGE_PNG, TT_IMAGE_JPEG, TT_IMAGE_WEBP } tt_image_format;

const char *tt_image_format_name(tt_image_format format); /* "png", "jpeg", "webp" */

/* "png", "jpg", "jpeg" or "webp", in any case; TT_E_INVALID names the known ones. */
tt_status tt_image_format_from_name(const char *name, tt_image_format *out, tt_err *err);

/* By the extension of the path's last part; PNG when it has none; TT_E_INVALID if unknown. */
tt_status tt_image_format_from_path(const char *path, tt_image_format *out, tt_err *err);

/* A picture. From tt_image_decode the pixels are owned: tt_image_release. As an input they are only
 * read, and may belong to anyone. */
typedef struct tt_image {
    uint8_t *rgb; /* [height, width, 3] */
    int width, height;
} tt_image;
void tt_image_release(tt_image *image); /* frees the pixels; the struct is as zeroed */

/* Texts to put inside; NULL: none. UTF-8, at most TT_MAX_IMAGE_TEXT_BYTES each. JPEG is narrower,
 * one segment each: about 32,700 UTF-16 units of parameters, 65,000 bytes of (escaped) json. */
typedef struct tt_image_text {
    const char *parameters;
    const char *json;
} tt_image_text;

typedef struct tt_image_encode_options {
    tt_image_format format;
    int quality;   /* 1..100; 0: the default, 92 for JPEG and 90 for WebP. PNG has none */
    bool lossless; /* WebP only: exact pixels; quality is ignored. PNG is always lossless, JPEG
                      never */
    tt_image_text text;
} tt_image_encode_options;

/* Appends the encoded file to `out`; on failure `out` is as before. TT_E_INVALID: an option, a size
 * that the format or TT_MAX_IMAGE_PIXELS cannot hold, or a text that is not UTF-8. Same input, same
 * bytes. */
tt_status tt_image_encode(const tt_image *image, const tt_image_encode_options *options,
                          tt_buf *out, tt_err *err);

/* What a file's first bytes promise. */
typedef struct tt_image_info {
    tt_image_format format;
    int width, height;
} tt_image_info;

/* Reads the header only; the format is told by its magic, never by a name. */
tt_status tt_image_probe(const void *bytes, size_t size, tt_image_info *out, tt_err *err);

/* Decodes a whole file. Transparency is composited on white, 16 bits are rounded to 8, grey and CMYK
 * become RGB. Colour profiles and Exif orientation are ignored. TT_E_FORMAT: broken or truncated;
 * TT_E_UNSUPPORTED: animated WebP, more than TT_MAX_IMAGE_PIXELS, not one of the three formats. (Of
 * an animated PNG the picture that every program shows.) On failure *out is zeroed. */
tt_status tt_image_decode(const void *bytes, size_t size, tt_image *out, tt_err *err);

/* The texts found in a file: owned, UTF-8, NULL when absent. */
typedef struct tt_image_metadata {
    char *parameters;
    char *json;
} tt_image_metadata;
void tt_image_metadata_release(tt_image_metadata *metadata);

/* Reads the texts without decoding pixels. A file without texts is fine; one cut short is not
 * (TT_E_FORMAT). Also understood, from other programs: zTXt and compressed iTXt (unpacked to at
 * most TT_MAX_IMAGE_TEXT_BYTES), UTF-8 in tEXt, both byte orders of Exif. The first text of a kind
 * wins. On failure *out is zeroed. */
tt_status tt_image_read_text(const void *bytes, size_t size, tt_image_metadata *out, tt_err *err);

#endif
