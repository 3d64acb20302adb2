/* Resizing in two passes, along rows and along columns, whichever leaves less to the second; each a weighted sum of the pixels below
 * a window. When shrinking, the window grows with the ratio, so that nothing is skipped; its weights are
 * made once per row or column of the result. The picture between the passes is bytes, as in Pillow: half
 * the memory of anything finer, and its rounding stays below what eyes or a VAE notice. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "image/codec.h"
#include "image/input.h"

enum { LOBES = 3 };

static double lanczos(double x) {
    if (x <= -LOBES || x >= LOBES) return 0;
    if (x == 0) return 1;
    double a = M_PI * x;
    return LOBES * sin(a) * sin(a / LOBES) / (a * a);
}

/* One axis: result i is the sum of weights[i * width + k] * source[first[i] + k], k < count[i]. */
typedef struct windows {
    int n, width;
    int *first, *count; /* [n] */
    float *weights;     /* [n, width] */
} windows;

static void windows_release(windows *w) {
    tt_free(w->first);
    tt_free(w->count);
    tt_free(w->weights);
}

static void fill_window(windows *w, int i, int n_source, double ratio, double scale) {
    double centre = (i + 0.5) * ratio, sum = 0, support = LOBES * scale;
    int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
    if (low < 0) low = 0;
    if (high > n_source) high = n_source;
    float *weights = w->weights + (size_t)i * (size_t)w->width;
    w->first[i] = low;
    w->count[i] = high - low;
    for (int k = 0; k < high - low; k++) sum += lanczos((low + k - centre + 0.5) / scale);
    for (int k = 0; k < high - low; k++)
        weights[k] = (float)(lanczos((low + k - centre + 0.5) / scale) / sum);
}

static tt_status windows_init(windows *w, int n, int n_source, tt_err *err) {
    double ratio = (double)n_source / n, scale = ratio > 1 ? ratio : 1;
    *w = (windows){.n = n, .width = 2 * (int)ceil(LOBES * scale) + 1};
    size_t bytes = (size_t)n * (size_t)w->width * sizeof *w->weights;
    w->first = tt_alloc((size_t)n * sizeof *w->first);
    w->count = tt_alloc((size_t)n * sizeof *w->count);
    w->weights = tt_alloc(bytes);
    if (!w->first || !w->count || !w->weights) return tt_fail_nomem(err, "resizing", bytes);
    for (int i = 0; i < n; i++) fill_window(w, i, n_source, ratio, scale);
    return TT_OK;
}

static uint8_t to_byte(float v) {
    return (uint8_t)(v <= 0 ? 0 : v >= UINT8_MAX ? UINT8_MAX : lrintf(v));
}

/* One result pixel; source pixels are `step` bytes apart. */
static void sum_pixel(const windows *w, int i, const uint8_t *source, size_t step, uint8_t *out) {
    float sum[TT__RGB_CHANNELS] = {0};
    const float *weights = w->weights + (size_t)i * (size_t)w->width;
    const uint8_t *p = source + (size_t)w->first[i] * step;
    for (int k = 0; k < w->count[i]; k++, p += step)
        for (int c = 0; c < TT__RGB_CHANNELS; c++) sum[c] += weights[k] * p[c];
    for (int c = 0; c < TT__RGB_CHANNELS; c++) out[c] = to_byte(sum[c]);
}

static void along_rows(const windows *w, const tt_image *image, tt_image *out) {
    size_t stride = (size_t)image->width * TT__RGB_CHANNELS;
    uint8_t *to = out->rgb;
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++, to += TT__RGB_CHANNELS)
            sum_pixel(w, x, image->rgb + (size_t)y * stride, TT__RGB_CHANNELS, to);
}

static void along_columns(const windows *w, const tt_image *image, tt_image *out) {
    size_t stride = (size_t)image->width * TT__RGB_CHANNELS;
    uint8_t *to = out->rgb;
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++, to += TT__RGB_CHANNELS)
            sum_pixel(w, y, image->rgb + (size_t)x * TT__RGB_CHANNELS, stride, to);
}

tt_status tt_image_resize(const tt_image *image, int width, int height, tt_image *out,
                          tt_err *err) {
    windows columns = {0}, rows = {0};
    tt_image between = {0};
    bool rows_first = (int64_t)width * image->height <= (int64_t)image->width * height;
    tt_status status = TT_OK;
    *out = (tt_image){0};
    TT_TRY_OUT(tt__image_alloc(out, width, height, TT__RGB_CHANNELS, err));
    TT_TRY_OUT(tt__image_alloc(&between, rows_first ? width : image->width,
                               rows_first ? image->height : height, TT__RGB_CHANNELS, err));
    TT_TRY_OUT(windows_init(&columns, width, image->width, err));
    TT_TRY_OUT(windows_init(&rows, height, image->height, err));
    if (rows_first) {
        along_rows(&columns, image, &between);
        along_columns(&rows, &between, out);
    } else {
        along_columns(&rows, image, &between);
        along_rows(&columns, &between, out);
    }
out:
    windows_release(&columns);
    windows_release(&rows);
    tt_image_release(&between);
    if (status != TT_OK) tt_image_release(out);
    return status;
}

tt_status tt_image_resize_cropped(const tt_image *image, int width, int height, tt_image *out,
                                  tt_err *err) {
    int64_t w = image->width, h = image->height;
    int64_t crop_w = w, crop_h = h;
    *out = (tt_image){0};
    if (width < 1 || height < 1)
        return tt_fail(err, TT_E_INVALID, "a size of %dx%d pixels", width, height);
    if (w * height > h * width) /* too wide */
        crop_w = (h * width + height / 2) / height;
    else
        crop_h = (w * height + width / 2) / width;
    if (crop_w < 1) crop_w = 1;
    if (crop_h < 1) crop_h = 1;
    if (crop_w == w && crop_h == h) return tt_image_resize(image, width, height, out, err);
    tt_image part;
    TT_TRY(tt__image_alloc(&part, crop_w, crop_h, TT__RGB_CHANNELS, err));
    const uint8_t *from =
        image->rgb + (size_t)((h - crop_h) / 2 * w + (w - crop_w) / 2) * TT__RGB_CHANNELS;
    for (int64_t y = 0; y < crop_h; y++)
        memcpy(part.rgb + (size_t)(y * crop_w) * TT__RGB_CHANNELS,
               from + (size_t)(y * w) * TT__RGB_CHANNELS, (size_t)crop_w * TT__RGB_CHANNELS);
    tt_status status = tt_image_resize(&part, width, height, out, err);
    tt_image_release(&part);
    return status;
}
