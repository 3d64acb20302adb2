/* See preview.h. The engine's previews have one pixel per latent, an eighth of the picture's side. Browsers enlarge them
 * smoothly, but JPEG's blocks of eight pixels show in those that have few: they are doubled first, in straight lines between
 * the pixels. */
#include "app/preview.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/limits.h"
#include "image/image.h"

enum {
    SMALL_SIDE_PIXELS = 64,
    QUALITY = 70, /* previews are blurred anyway: 4 KB for 128 x 128 */
    COLOURS = 3,
    QUARTERS = 4,
};

static int clamp(int value, int limit) {
    return value < 0 ? 0 : value < limit ? value : limit - 1;
}

/* Of the enlarged picture. Its pixel centres lie a quarter of a pixel beside the original's: weights 3 and 1 on each axis. */
static uint8_t sample(const tt_image *image, int x, int y, int colour) {
    int far_x = clamp(x / 2 + (x % 2 ? 1 : -1), image->width);
    int far_y = clamp(y / 2 + (y % 2 ? 1 : -1), image->height);
    const int columns[2] = {x / 2, far_x}, rows[2] = {y / 2, far_y};
    static const int weights[2] = {QUARTERS - 1, 1};
    int sum = 0;
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < 2; c++)
            sum += weights[r] * weights[c] *
                   image->rgb[(rows[r] * image->width + columns[c]) * COLOURS + colour];
    return (uint8_t)(sum / (QUARTERS * QUARTERS));
}

static tt_status enlarge(const tt_image *image, tt_image *out, tt_err *err) {
    size_t size = (size_t)image->width * (size_t)image->height * COLOURS * 4;
    *out = (tt_image){tt_alloc(size), 2 * image->width, 2 * image->height};
    if (!out->rgb) return tt_fail_nomem(err, "a preview", size);
    uint8_t *at = out->rgb;
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++)
            for (int c = 0; c < COLOURS; c++) *at++ = sample(image, x, y, c);
    return TT_OK;
}

static tt_status encode(const tt_image *image, tt_buf *out, tt_err *err) {
    static const tt_image_encode_options options = {.format = TT_IMAGE_JPEG, .quality = QUALITY};
    tt_buf file;
    tt_buf_init(&file, TT_MAX_JSON_BYTES);
    tt_status status = tt_image_encode(image, &options, &file, err);
    out->size = 0;
    if (status == TT_OK) status = tt_buf_puts(out, "data:image/jpeg;base64,", err);
    if (status == TT_OK) status = tt_base64_append(out, file.data, file.size, err);
    tt_buf_release(&file);
    return status;
}

tt_status tt__preview_write(const uint8_t *rgb, int width, int height, tt_buf *out, tt_err *err) {
    tt_image image = {(uint8_t *)(uintptr_t)rgb, width, height}, larger = {.rgb = NULL};
    if (width > SMALL_SIDE_PIXELS || height > SMALL_SIDE_PIXELS) return encode(&image, out, err);
    TT_TRY(enlarge(&image, &larger, err));
    tt_status status = encode(&larger, out, err);
    tt_image_release(&larger);
    return status;
}
