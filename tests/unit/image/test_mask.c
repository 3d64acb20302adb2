/* Masks fitted to pictures: exact where they are plain, and on the place that they cover. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "image/input.h"
#include "image/mask.h"

enum { MOST = 400 * 400 };
static uint8_t from[MOST], to[MOST];

/* White left of `edge`, black from there on. */
static tt_image_mask half(int width, int height, int edge) {
    for (int i = 0; i < width * height; i++) from[i] = i % width < edge ? 255 : 0;
    return (tt_image_mask){from, width, height};
}

static void the_same_size_is_a_copy(void **state) {
    (void)state;
    tt_image_mask mask = {from, 37, 23};
    for (int i = 0; i < 37 * 23; i++) from[i] = (uint8_t)(i * 31);
    tt_image_mask_fit(&mask, 37, 23, 37, 23, to);
    assert_memory_equal(to, from, 37 * 23);
}

static void plain_areas_stay_exact_in_any_size(void **state) {
    (void)state;
    static const int sizes[][2] = {{8, 8}, {40, 24}, {128, 128}, {333, 200}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tt_image_mask mask = half(sizes[i][0], sizes[i][1], sizes[i][0] / 2);
        tt_image_mask_fit(&mask, 128, 64, 128, 64, to);
        for (int y = 0; y < 64; y++)
            for (int x = 0; x < 128; x++) {
                if (x < 62) assert_int_equal(to[y * 128 + x], 255);
                if (x > 65) assert_int_equal(to[y * 128 + x], 0);
            }
    }
}

static void shrinking_takes_the_mean(void **state) {
    (void)state;
    tt_image_mask mask = {from, 4, 2};
    memcpy(from, (uint8_t[]){0, 100, 255, 255, 100, 200, 0, 255}, 8);
    tt_image_mask_fit(&mask, 4, 2, 2, 1, to);
    assert_int_equal(to[0], 100);
    assert_int_equal(to[1], 191); /* 765 / 4 */
}

/* The picture's own cropping is the judge: what it keeps of a plain edge. */
static void it_is_cropped_as_its_picture_is(void **state) {
    (void)state;
    static const int cases[][4] = {
        {200, 100, 64, 64}, {100, 200, 64, 64}, {150, 100, 72, 64}, {99, 101, 64, 128}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int w = cases[i][0], h = cases[i][1], out_w = cases[i][2], out_h = cases[i][3];
        uint8_t *rgb = calloc((size_t)w * (size_t)h, 3);
        tt_image_mask mask = half(w, h, w * 2 / 5);
        for (int k = 0; k < w * h * 3; k++) rgb[k] = from[k / 3];
        tt_image image = {rgb, w, h}, fitted;
        assert_int_equal(tt_image_resize_cropped(&image, out_w, out_h, &fitted, NULL), TT_OK);
        tt_image_mask_fit(&mask, w, h, out_w, out_h, to);
        for (int k = 0; k < out_w * out_h; k++)
            assert_in_range(abs(fitted.rgb[3 * k] - to[k]), 0,
                            90); /* an edge half a pixel off is 128 */
        tt_image_release(&fitted);
        free(rgb);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_size_is_a_copy),
        cmocka_unit_test(plain_areas_stay_exact_in_any_size),
        cmocka_unit_test(shrinking_takes_the_mean),
        cmocka_unit_test(it_is_cropped_as_its_picture_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
