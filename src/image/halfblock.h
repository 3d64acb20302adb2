/* A picture in a terminal: each character cell shows two pixels, the upper half block in one colour
 * on a background of the other, with 24-bit colour escapes. */
#ifndef TT_IMAGE_HALFBLOCK_H
#define TT_IMAGE_HALFBLOCK_H

#include "image/image.h"

/* Appends lines of text, each ending with a colour reset and a line feed. The picture is shrunk
 * (never enlarged) to fit `columns` x `rows` cells, its proportions kept, each pixel the average of
 * the area it covers. TT_E_INVALID when columns, rows or the picture are empty. */
tt_status tt_image_halfblock(const tt_image *image, int columns, int rows, tt_buf *out,
                             tt_err *err);

#endif
