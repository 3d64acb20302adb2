/* See halfblock.h. The box filter is exact: in units of 1/w of a source pixel, source column i
 * covers [i*w, (i+1)*w) and target column x covers [x*W, (x+1)*W), so every overlap is an integer.
 * Averages are taken of the encoded values, not of light: at this size nobody sees it. */
#include "image/halfblock.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

enum {
    CHANNELS = 3,
    PIXELS_PER_CELL = 2,
    FOREGROUND = 38, /* ECMA-48 SGR, followed by ;2;R;G;B */
    BACKGROUND = 48,
};

/* The part of [from, from + from_size) that lies in [to, to + to_size). */
static uint64_t overlap(uint64_t from, uint64_t from_size, uint64_t to, uint64_t to_size) {
    uint64_t start = from > to ? from : to;
    uint64_t from_end = from + from_size, to_end = to + to_size;
    uint64_t end = from_end < to_end ? from_end : to_end;
    return end > start ? end - start : 0;
}

/* Pixel (x, y) of `source` shrunk to the size of `target`. Sums stay below W * H * 255 < 2^34. */
static void average(const tt_image *source, const tt_image *target, uint64_t x, uint64_t y,
                    uint8_t *rgb) {
    uint64_t W = (uint64_t)source->width, H = (uint64_t)source->height;
    uint64_t w = (uint64_t)target->width, h = (uint64_t)target->height;
    uint64_t sums[CHANNELS] = {0};
    for (uint64_t j = y * H / h; j < H && j * h < (y + 1) * H; j++) {
        uint64_t weight_y = overlap(j * h, h, y * H, H);
        const uint8_t *p = source->rgb + (j * W + x * W / w) * CHANNELS;
        for (uint64_t i = x * W / w; i < W && i * w < (x + 1) * W; i++, p += CHANNELS) {
            uint64_t weight = weight_y * overlap(i * w, w, x * W, W);
            for (int c = 0; c < CHANNELS; c++) sums[c] += weight * p[c];
        }
    }
    for (int c = 0; c < CHANNELS; c++) rgb[c] = (uint8_t)((sums[c] + W * H / 2) / (W * H));
}

/* The largest size with the picture's proportions inside max_width x max_height, and not above its
 * own. */
static void fit(const tt_image *image, int64_t max_width, int64_t max_height, tt_image *small) {
    int64_t w = image->width, h = image->height;
    if (w > max_width) {
        h = (h * max_width + w / 2) / w;
        w = max_width;
    }
    if (h > max_height) {
        w = (w * max_height + h / 2) / h;
        h = max_height;
    }
    small->width = (int)(w > 0 ? w : 1);
    small->height = (int)(h > 0 ? h : 1);
}

static tt_status shrink(const tt_image *image, tt_image *small, tt_err *err) {
    size_t size = (size_t)small->width * (size_t)small->height * CHANNELS;
    small->rgb = tt_alloc(size);
    if (!small->rgb) return tt_fail_nomem(err, "terminal picture", size);
    uint8_t *to = small->rgb;
    for (int y = 0; y < small->height; y++)
        for (int x = 0; x < small->width; x++, to += CHANNELS)
            average(image, small, (uint64_t)x, (uint64_t)y, to);
    return TT_OK;
}

/* A colour that the cell before has set already is not sent again. */
static tt_status set_colour(tt_buf *out, int layer, const uint8_t *row, size_t at, tt_err *err) {
    const uint8_t *rgb = row + at;
    if (at > 0 && !memcmp(rgb, rgb - CHANNELS, CHANNELS)) return TT_OK;
    return tt_buf_printf(out, err, "\x1b[%d;2;%d;%d;%dm", layer, rgb[0], rgb[1], rgb[2]);
}

/* `lower` is NULL for the last line of a picture with an odd number of rows: the terminal's own
 * background. */
static tt_status put_line(tt_buf *out, const uint8_t *upper, const uint8_t *lower, int width,
                          tt_err *err) {
    for (size_t at = 0; at < (size_t)width * CHANNELS; at += CHANNELS) {
        TT_TRY(set_colour(out, FOREGROUND, upper, at, err));
        if (lower) TT_TRY(set_colour(out, BACKGROUND, lower, at, err));
        TT_TRY(tt_buf_puts(out, "\xe2\x96\x80", err)); /* U+2580, upper half block */
    }
    return tt_buf_puts(out, "\x1b[0m\n", err);
}

static tt_status put_picture(const tt_image *small, tt_buf *out, tt_err *err) {
    size_t stride = (size_t)small->width * CHANNELS;
    for (int y = 0; y < small->height; y += PIXELS_PER_CELL) {
        const uint8_t *upper = small->rgb + (size_t)y * stride;
        const uint8_t *lower = y + 1 < small->height ? upper + stride : NULL;
        TT_TRY(put_line(out, upper, lower, small->width, err));
    }
    return TT_OK;
}

tt_status tt_image_halfblock(const tt_image *image, int columns, int rows, tt_buf *out,
                             tt_err *err) {
    if (image->width < 1 || image->height < 1 || columns < 1 || rows < 1)
        return tt_fail(
            err, TT_E_INVALID,
            "terminal picture: %dx%d pixels in %d columns and %d rows, all must be positive",
            image->width, image->height, columns, rows);
    tt_image small = {0};
    fit(image, columns, (int64_t)rows * PIXELS_PER_CELL, &small);
    tt_status status = shrink(image, &small, err);
    if (status == TT_OK) status = put_picture(&small, out, err);
    tt_image_release(&small);
    return status;
}
