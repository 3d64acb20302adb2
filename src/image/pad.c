/* See pad.h. Side by side, then above and below: the second pass continues what the first made, so corners need no rule of
 * their own. Each new line of pixels, at distance d from the edge, is the edge line averaged over d pixels to either side; sums over
 * the edge make that one subtraction per pixel. Noise is a hash of place and seed, so there is no stream to keep. */
#include "image/pad.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "image/codec.h"

/* Noise, either way, of 255: from this much at the edge to that much at FAR pixels and beyond. Enough that no flat area stays
 * flat after the VAE, little enough that the colour is still the edge's. */
enum { NEAR_NOISE = 2, FAR_NOISE = 28, FAR = 64 };
enum { C = TT__RGB_CHANNELS };

/* One line of pixels inside a picture: a row, or a column. */
typedef struct line {
    uint8_t *first;
    size_t stride; /* bytes between neighbours */
    int n;
} line;

/* splitmix64's finaliser: every bit of the result depends on every bit of x. */
static uint64_t scramble(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint8_t add_noise(uint64_t value, int distance, uint64_t key) {
    int reach = distance < FAR ? distance : FAR;
    int width = NEAR_NOISE + (FAR_NOISE - NEAR_NOISE) * reach / FAR;
    int noisy = (int)value + (int)(scramble(key) % (uint64_t)(2 * width + 1)) - width;
    return (uint8_t)(noisy < 0 ? 0 : noisy > 255 ? 255 : noisy);
}

/* sums[i * C + c]: of the first i pixels. */
static void sum_up(const line *edge, uint64_t *sums) {
    memset(sums, 0, C * sizeof *sums);
    for (int i = 0; i < edge->n; i++)
        for (int c = 0; c < C; c++)
            sums[(i + 1) * C + c] =
                sums[i * C + c] + edge->first[(size_t)i * edge->stride + (size_t)c];
}

static void fill(const line *to, const uint64_t *sums, int distance, uint64_t key) {
    for (int i = 0; i < to->n; i++) {
        int low = i > distance ? i - distance : 0;
        int high = i + distance + 1 < to->n ? i + distance + 1 : to->n;
        for (int c = 0; c < C; c++) {
            uint64_t n = (uint64_t)(high - low);
            uint64_t mean = (sums[high * C + c] - sums[low * C + c] + n / 2) / n;
            to->first[(size_t)i * to->stride + (size_t)c] =
                add_noise(mean, distance, key + (uint64_t)i * C + (uint64_t)c);
        }
    }
}

/* Continues `edge` over `n` lines; `step` leads from one to the next. */
static void extend(const line *edge, ptrdiff_t step, int n, uint64_t key, uint64_t *sums) {
    if (n == 0) return;
    sum_up(edge, sums);
    for (int d = 1; d <= n; d++) {
        line to = {edge->first + d * step, edge->stride, edge->n};
        fill(&to, sums, d, scramble(key + (uint64_t)d));
    }
}

static void extend_all(const tt_image *out, const tt_image *image, const tt_image_sides *sides,
                       uint64_t seed, uint64_t *sums) {
    size_t row = (size_t)out->width * C;
    uint8_t *inner = out->rgb + (size_t)sides->top * row + (size_t)sides->left * C;
    uint8_t *rows = out->rgb + (size_t)sides->top * row;
    line left = {inner, row, image->height};
    line right = {inner + (size_t)(image->width - 1) * C, row, image->height};
    line top = {rows, C, out->width};
    line bottom = {rows + (size_t)(image->height - 1) * row, C, out->width};
    extend(&left, -C, sides->left, scramble(seed), sums);
    extend(&right, C, sides->right, scramble(seed + 1), sums);
    extend(&top, -(ptrdiff_t)row, sides->top, scramble(seed + 2), sums);
    extend(&bottom, (ptrdiff_t)row, sides->bottom, scramble(seed + 3), sums);
}

/* 255 outside, and a slope down to 0 over `seam` pixels inside the picture, on the sides that grew. */
static int slope(int at, int before, int inside, int after) {
    int from_start = at - before, from_end = before + inside - 1 - at;
    int seam = inside / 4 < TT_IMAGE_PAD_SEAM ? inside / 4 : TT_IMAGE_PAD_SEAM;
    if (from_start < 0 || from_end < 0) return 255;
    int depth = seam;
    if (before > 0 && from_start < depth) depth = from_start;
    if (after > 0 && from_end < depth) depth = from_end;
    return depth >= seam ? 0 : 255 * (seam - depth) / (seam + 1);
}

static void draw_mask(uint8_t *mask, const tt_image *out, const tt_image *image,
                      const tt_image_sides *s) {
    for (int y = 0; y < out->height; y++) {
        int of_row = slope(y, s->top, image->height, s->bottom);
        for (int x = 0; x < out->width; x++) {
            int of_column = slope(x, s->left, image->width, s->right);
            *mask++ = (uint8_t)(of_row > of_column ? of_row : of_column);
        }
    }
}

static tt_status measure(const tt_image *image, const tt_image_sides *s, tt_image *out,
                         tt_err *err) {
    int most = (int)TT_MAX_IMAGE_PIXELS;
    const int sides[] = {s->left, s->top, s->right, s->bottom};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (sides[i] < 0 || sides[i] > most)
            return tt_fail(err, TT_E_INVALID, "a picture's new side: expected 0 to %d, found %d",
                           most, sides[i]);
    int64_t width = (int64_t)image->width + s->left + s->right;
    int64_t height = (int64_t)image->height + s->top + s->bottom;
    if (image->width < 1 || image->height < 1 || width > most || height > most / width)
        return tt_fail(err, TT_E_INVALID,
                       "a picture with new sides: %lld x %lld pixels, expected at most %d in all",
                       (long long)width, (long long)height, most);
    *out = (tt_image){.width = (int)width, .height = (int)height};
    return TT_OK;
}

static void copy_inside(const tt_image *out, const tt_image *image, const tt_image_sides *s) {
    size_t row = (size_t)out->width * C, from_row = (size_t)image->width * C;
    uint8_t *to = out->rgb + (size_t)s->top * row + (size_t)s->left * C;
    for (int y = 0; y < image->height; y++)
        memcpy(to + (size_t)y * row, image->rgb + (size_t)y * from_row, from_row);
}

tt_status tt_image_pad(const tt_image *image, const tt_image_sides *sides, uint64_t seed,
                       tt_image *out, uint8_t **mask, tt_err *err) {
    *mask = NULL;
    *out = (tt_image){.rgb = NULL};
    TT_TRY(measure(image, sides, out, err));
    size_t n = (size_t)out->width * (size_t)out->height;
    int longest = out->width > image->height ? out->width : image->height;
    uint64_t *sums = tt_alloc(((size_t)longest + 1) * C * sizeof *sums);
    out->rgb = tt_alloc(n * C);
    *mask = tt_alloc(n);
    if (!sums || !out->rgb || !*mask) {
        tt_free(sums);
        tt_image_release(out);
        tt_free(*mask);
        *mask = NULL;
        return tt_fail_nomem(err, "a larger picture", n * (C + 1));
    }
    copy_inside(out, image, sides);
    extend_all(out, image, sides, seed, sums);
    draw_mask(*mask, out, image, sides);
    tt_free(sums);
    return TT_OK;
}
