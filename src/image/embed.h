/* Inside the room: the texts as bytes. Encodings between UTF-8 and what containers hold, an Exif
 * block and an XMP packet that carry one text each, and the hand-over of a text that was read. */
#ifndef TT_IMAGE_EMBED_H
#define TT_IMAGE_EMBED_H

#include "base/limits.h"
#include "image/image.h"

/* Room for a text and what surrounds it: UTF-16 doubles, XMP escapes grow up to 5 times ('&' is
 * "&amp;"). */
#define TT__EMBED_MAX_BYTES (6 * TT_MAX_IMAGE_TEXT_BYTES)

/* unicode.c. Appending; `n` in bytes. "Either": UTF-8 when the bytes are valid as that, else
 * Latin-1. */
tt_status tt__utf8_from_latin1(tt_buf *out, const uint8_t *bytes, size_t n, tt_err *err);
tt_status tt__utf8_from_utf16(tt_buf *out, const uint8_t *bytes, size_t n, bool big_endian,
                              tt_err *err);
tt_status tt__utf8_from_either(tt_buf *out, const uint8_t *bytes, size_t n, tt_err *err);
tt_status tt__utf8_put(tt_buf *out, uint32_t code_point, tt_err *err);
tt_status tt__utf16be_from_utf8(tt_buf *out, const char *text, tt_err *err); /* valid UTF-8 */

/* Moves `text` into *slot as a C string, without trailing NULs; an occupied slot stays (the first
 * text wins). Fails when the text is not UTF-8 or has a NUL inside. `text` is released anyway. */
tt_status tt__text_keep(char **slot, tt_buf *text, const char *what, tt_err *err);

/* exif.c. A TIFF block, without the "Exif\0\0" that JPEG puts before it. Reading accepts it with or
 * without, and keeps UserComment in *slot when there is one. */
tt_status tt__exif_write(tt_buf *out, const char *comment, tt_err *err);
tt_status tt__exif_read(const uint8_t *bytes, size_t size, char **slot, tt_err *err);

int tt__exif_orientation(const uint8_t *bytes, size_t size); /* 1 to 8; 1: not said, or broken */

/* xmp.c. A packet with one property, tintype:json. */
tt_status tt__xmp_write(tt_buf *out, const char *json, tt_err *err);
tt_status tt__xmp_read(const uint8_t *bytes, size_t size, char **slot, tt_err *err);

#endif
