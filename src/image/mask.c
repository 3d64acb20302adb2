/* See mask.h. Both axes are alike: output pixel i covers [from + i * step, from + (i + 1) * step) of the mask. */
#include "image/mask.h"

#include <math.h>

/* One axis, in the mask's pixels. */
typedef struct axis {
    double from, step;
    int n; /* of the mask */
} axis;

/* The part in the middle that resize_cropped takes: `side` of a picture's whole side, of the other side `whole_other`. */
static double cropped(double side, double whole_other, double out, double out_other) {
    double kept = floor(whole_other * out / out_other + 0.5);
    return fmax(1, fmin(side, kept));
}

static axis axis_of(int mask, int picture, double kept, int out) {
    double scale = (double)mask / picture;
    double from = floor((picture - kept) / 2) * scale;
    return (axis){from, kept * scale / out, mask};
}

/* How much of the mask's pixel k output pixel i covers. */
static double share(const axis *a, int i, int k) {
    double low = fmax(a->from + i * a->step, k);
    double high = fmin(a->from + (i + 1) * a->step, k + 1.0);
    return fmax(0, high - low);
}

static int first_of(const axis *a, int i) {
    int k = (int)floor(a->from + i * a->step);
    return k < 0 ? 0 : k < a->n ? k : a->n - 1;
}

static int end_of(const axis *a, int i) {
    int k = (int)ceil(a->from + (i + 1) * a->step);
    int least = first_of(a, i) + 1;
    return k < least ? least : k < a->n ? k : a->n;
}

static uint8_t mean(const tt_image_mask *mask, const axis *columns, const axis *rows, int x,
                    int y) {
    double sum = 0, area = 0;
    for (int v = first_of(rows, y); v < end_of(rows, y); v++)
        for (int u = first_of(columns, x); u < end_of(columns, x); u++) {
            double part = share(columns, x, u) * share(rows, y, v);
            sum += part * mask->bytes[(int64_t)v * mask->width + u];
            area += part;
        }
    return (uint8_t)(area > 0 ? sum / area + 0.5 : 0);
}

void tt_image_mask_fit(const tt_image_mask *mask, int picture_width, int picture_height, int width,
                       int height, uint8_t *out) {
    double kept_width = cropped(picture_width, picture_height, width, height);
    double kept_height = cropped(picture_height, picture_width, height, width);
    axis columns = axis_of(mask->width, picture_width, kept_width, width);
    axis rows = axis_of(mask->height, picture_height, kept_height, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) *out++ = mean(mask, &columns, &rows, x, y);
}
