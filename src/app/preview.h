/* A small picture of what is being drawn, for a page that shows it at once. */
#ifndef TT_APP_PREVIEW_H
#define TT_APP_PREVIEW_H

#include <stdint.h>

#include "base/buf.h"

/* Replaces `out` by "data:image/jpeg;base64,..." of the RGB bytes [height, width, 3]. Very small ones are doubled. */
tt_status tt__preview_write(const uint8_t *rgb, int width, int height, tt_buf *out, tt_err *err);

#endif
