/* Loading pictures to start from, and their brightness as a mask. */
#include "image/input.h"

#include <string.h>

#include "base/alloc.h"
#include "image/codec.h"

/* TIFF's Orientation, 1 to 8, as three moves from the stored picture to the shown one: swap rows and
 * columns, then mirror left to right, then top to bottom. */
static const struct {
    bool swap, mirror, flip;
} moves[] = {
    [1] = {false, false, false}, [2] = {false, true, false}, [3] = {false, true, true},
    [4] = {false, false, true},  [5] = {true, false, false}, [6] = {true, true, false},
    [7] = {true, true, true},    [8] = {true, false, true},
};

/* Pixels of n bytes from [h, w] to the upright place. */
static void turn(const uint8_t *from, int w, int h, size_t n, int orientation, uint8_t *to) {
    bool swap = moves[orientation].swap;
    int out_w = swap ? h : w, out_h = swap ? w : h;
    for (int y = 0; y < out_h; y++)
        for (int x = 0; x < out_w; x++) {
            int u = moves[orientation].mirror ? out_w - 1 - x : x;
            int v = moves[orientation].flip ? out_h - 1 - y : y;
            size_t source =
                swap ? (size_t)u * (size_t)w + (size_t)v : (size_t)v * (size_t)w + (size_t)u;
            memcpy(to, from + source * n, n);
            to += n;
        }
}

/* Replaces *pixels by the turned ones. */
static tt_status turn_pixels(uint8_t **pixels, int w, int h, size_t n, int orientation,
                             tt_err *err) {
    size_t size = (size_t)w * (size_t)h * n;
    uint8_t *turned = tt_alloc(size);
    if (!turned) return tt_fail_nomem(err, "a picture", size);
    turn(*pixels, w, h, n, orientation, turned);
    tt_free(*pixels);
    *pixels = turned;
    return TT_OK;
}

static tt_status make_upright(tt_image *image, uint8_t **alpha, int orientation, tt_err *err) {
    int w = image->width, h = image->height;
    TT_TRY(turn_pixels(&image->rgb, w, h, TT__RGB_CHANNELS, orientation, err));
    if (alpha && *alpha) TT_TRY(turn_pixels(alpha, w, h, 1, orientation, err));
    if (moves[orientation].swap) image->width = h, image->height = w;
    return TT_OK;
}

tt_status tt_image_load(const void *bytes, size_t size, tt_image *out, uint8_t **alpha,
                        tt_err *err) {
    TT_TRY(tt__image_decode(bytes, size, out, alpha, err));
    int orientation = tt__image_orientation(bytes, size);
    if (orientation == 1) return TT_OK;
    tt_status status = make_upright(out, alpha, orientation, err);
    if (status == TT_OK) return TT_OK;
    tt_image_release(out);
    if (alpha) {
        tt_free(*alpha);
        *alpha = NULL;
    }
    return status;
}

void tt_image_brightness(const tt_image *image, uint8_t *mask) {
    enum { RED = 19595, GREEN = 38470, BLUE = 7471, HALF = 32768, BITS = 16 }; /* of 65536 */
    size_t n = (size_t)image->width * (size_t)image->height;
    const uint8_t *p = image->rgb;
    for (size_t i = 0; i < n; i++, p += TT__RGB_CHANNELS)
        mask[i] = (uint8_t)((p[0] * RED + p[1] * GREEN + p[2] * BLUE + HALF) >> BITS);
}
