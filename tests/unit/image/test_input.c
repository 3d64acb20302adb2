/* Pictures to start from. Resized pixels are Pillow 13's (Image.resize with LANCZOS); orientations are
 * TIFF 6.0's table of where the first row and column are to be seen. */
#include "pictures.h"

#include <zlib.h>

#include "image/input.h"

/* ---- resizing ------------------------------------------------------------------------------------------ */

static tt_image formula_picture(int width, int height) {
    tt_image image = blank_picture(width, height);
    uint8_t *p = image.rgb;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) *p++ = (uint8_t)(x * 37 + y * 91 + c * 50 + x * y * 13);
    return image;
}

static void assert_resized(int from_w, int from_h, int w, int h, const uint8_t *expected) {
    tt_image image = formula_picture(from_w, from_h), found;
    assert_int_equal(tt_image_resize(&image, w, h, &found, NULL), TT_OK);
    for (int i = 0; i < w * h * 3; i++)
        if (abs(found.rgb[i] - expected[i]) > 1)
            fail_msg("%dx%d: value %d is %d, expected %d", w, h, i, found.rgb[i], expected[i]);
    tt_image_release(&found);
    tt_image_release(&image);
}

static void resizing_gives_pillows_pixels(void **state) {
    (void)state;
    static const uint8_t smaller[] = {57,  115, 158, 132, 146, 147, 126, 148, 166, 158, 142, 120,
                                      155, 144, 113, 156, 130, 118, 149, 137, 108, 136, 97,  149,
                                      98,  155, 130, 129, 147, 105, 142, 81,  142, 130, 115, 160},
                         wider[] = {4,   51,  131, 24,  94,  164, 75,  155, 159, 126, 154, 132,
                                    150, 123, 173, 118, 140, 247, 118, 229, 148, 179, 172, 63,
                                    220, 42,  110, 144, 204, 120, 193, 146, 169, 171, 153, 137,
                                    137, 169, 92,  185, 92,  142, 109, 138, 81,  125, 97,  86,
                                    132, 100, 177, 74,  180, 226, 78,  138, 52,  135, 88,  124,
                                    138, 120, 117, 128, 158, 79,  188, 95,  145, 123, 163, 109,
                                    162, 178, 154, 194, 83,  148, 144, 18,  66,  67,  114, 211,
                                    142, 212, 127, 124, 200, 58,  73,  114, 119, 157, 130, 180,
                                    185, 22,  102, 83,  59,  123, 76,  147, 194, 173, 141, 191},
                         much_narrower[] = {112, 131, 144, 121, 128, 137, 116, 126, 130, 118,
                                            129, 111, 135, 147, 131, 149, 137, 121, 136, 125,
                                            116, 126, 115, 101, 118, 110, 134, 130, 118, 153};
    assert_resized(7, 5, 4, 3, smaller);
    assert_resized(7, 5, 9, 4, wider);
    assert_resized(40, 3, 5, 2, much_narrower);
}

static void the_same_size_is_the_same_picture(void **state) {
    (void)state;
    tt_image image = noise_picture(13, 9), found;
    assert_int_equal(tt_image_resize(&image, 13, 9, &found, NULL), TT_OK);
    assert_memory_equal(found.rgb, image.rgb, 13 * 9 * 3);
    tt_image_release(&found);
    tt_image_release(&image);
}

/* Left and right thirds are black, the middle is white: cropping to a square leaves the middle. */
static void cropping_keeps_the_middle(void **state) {
    (void)state;
    tt_image image = blank_picture(30, 10), found;
    memset(image.rgb, 0, 30 * 10 * 3);
    for (int y = 0; y < 10; y++) memset(image.rgb + (y * 30 + 10) * 3, 255, 10 * 3);
    assert_int_equal(tt_image_resize_cropped(&image, 20, 20, &found, NULL), TT_OK);
    for (int i = 0; i < 20 * 20 * 3; i++) assert_int_equal(found.rgb[i], 255);
    tt_image_release(&found);
    assert_int_equal(tt_image_resize_cropped(&image, 60, 20, &found, NULL), TT_OK);
    assert_int_equal(found.rgb[0], 0);
    tt_image_release(&found);
    tt_image_release(&image);
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    tt_image image = blank_picture(4, 4), found;
    tt_err err;
    assert_int_not_equal(tt_image_resize(&image, 0, 4, &found, &err), TT_OK);
    assert_int_not_equal(tt_image_resize(&image, 1 << 20, 1 << 20, &found, &err), TT_OK);
    assert_int_not_equal(tt_image_resize_cropped(&image, 4, -1, &found, &err), TT_OK);
    assert_null(found.rgb);
    tt_image_release(&image);
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    tt_image image = noise_picture(9, 7), found;
    tt_status status = TT_E_NOMEM;
    for (int n = 0; status != TT_OK; n++) {
        tt_alloc_fail_after(n);
        status = tt_image_resize_cropped(&image, 5, 5, &found, NULL);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        if (status != TT_OK) assert_null(found.rgb);
    }
    tt_image_release(&found);
    tt_image_release(&image);
}

static void brightness_is_that_of_itu_r_601(void **state) {
    (void)state;
    static const uint8_t expected[] = {41, 78, 115, 152, 189, 197, 83, 132, 182, 203, 102, 76};
    tt_image image = formula_picture(7, 5);
    uint8_t mask[7 * 5];
    tt_image_brightness(&image, mask);
    assert_memory_equal(mask, expected, sizeof expected);
    tt_image_release(&image);
}

/* ---- turning ------------------------------------------------------------------------------------------- */

static void put_u32(tt_buf *out, uint32_t v) {
    const uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    assert_int_equal(tt_buf_append(out, bytes, sizeof bytes, NULL), TT_OK);
}

/* The PNG of a picture with an eXIf chunk that has one entry, Orientation. */
static tt_buf oriented_png(const tt_image *image, int orientation) {
    enum { IHDR_END = 8 + 25 };
    uint8_t chunk[4 + 26] = "eXIfMM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1";
    tt_image_encode_options options = {.format = TT_IMAGE_PNG};
    tt_buf plain = encoded(image, &options), out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    chunk[4 + 19] = (uint8_t)orientation;
    assert_int_equal(tt_buf_append(&out, plain.data, IHDR_END, NULL), TT_OK);
    put_u32(&out, sizeof chunk - 4);
    assert_int_equal(tt_buf_append(&out, chunk, sizeof chunk, NULL), TT_OK);
    put_u32(&out, (uint32_t)crc32(0, chunk, sizeof chunk));
    assert_int_equal(tt_buf_append(&out, plain.data + IHDR_END, plain.size - IHDR_END, NULL),
                     TT_OK);
    tt_buf_release(&plain);
    return out;
}

static const uint8_t *pixel(const tt_image *image, bool bottom, bool right) {
    int y = bottom ? image->height - 1 : 0, x = right ? image->width - 1 : 0;
    return image->rgb + (y * image->width + x) * 3;
}

static void pictures_are_turned_as_exif_says(void **state) {
    (void)state;
    /* where the stored picture's first row is to be seen, and its first column */
    static const struct {
        bool rows_are_columns, bottom, right;
    } corners[] = {
        {false, false, false}, {false, false, false}, {false, false, true}, {false, true, true},
        {false, true, false},  {true, false, false},  {true, false, true},  {true, true, true},
        {true, true, false},   {false, false, false}, /* 9: no orientation */
    };
    tt_image stored = noise_picture(5, 3);
    for (int o = 0; o <= 9; o++) {
        tt_image found;
        tt_buf file = oriented_png(&stored, o);
        bool swap = corners[o].rows_are_columns, bottom = corners[o].bottom,
             right = corners[o].right;
        assert_int_equal(tt_image_load(file.data, file.size, &found, NULL, NULL), TT_OK);
        assert_int_equal(found.width, swap ? 3 : 5);
        /* the first pixel, then the end of the first row */
        assert_memory_equal(pixel(&found, bottom, right), pixel(&stored, false, false), 3);
        assert_memory_equal(pixel(&found, swap ? !bottom : bottom, swap ? right : !right),
                            pixel(&stored, false, true), 3);
        tt_image_release(&found);
        tt_buf_release(&file);
    }
    tt_image_release(&stored);
}

/* ---- transparency -------------------------------------------------------------------------------------- */

/* 2x1: red that is fully there, green that is a quarter there. Made by Pillow. */
static const uint8_t transparent_png[] = {
    137, 80,  78,  71,  13,  10, 26,  10,  0,   0,   0,   13,  73,  72,  68, 82, 0,  0,  0,
    2,   0,   0,   0,   1,   8,  6,   0,   0,   0,   244, 34,  127, 138, 0,  0,  0,  17, 73,
    68,  65,  84,  120, 156, 99, 248, 207, 192, 240, 159, 225, 63,  131, 3,  0,  16, 57, 3,
    62,  235, 155, 174, 86,  0,  0,   0,   0,   73,  69,  78,  68,  174, 66, 96, 130};

static void transparency_is_white_or_a_mask(void **state) {
    (void)state;
    static const uint8_t on_white[] = {255, 0, 0, 191, 255, 191}, apart[] = {255, 0, 0, 0, 255, 0};
    tt_image image;
    uint8_t *alpha;
    assert_int_equal(tt_image_load(transparent_png, sizeof transparent_png, &image, NULL, NULL),
                     TT_OK);
    assert_memory_equal(image.rgb, on_white, sizeof on_white);
    tt_image_release(&image);
    assert_int_equal(tt_image_load(transparent_png, sizeof transparent_png, &image, &alpha, NULL),
                     TT_OK);
    assert_memory_equal(image.rgb, apart, sizeof apart);
    assert_int_equal(alpha[0], 255);
    assert_int_equal(alpha[1], 64);
    tt_free(alpha);
    tt_image_release(&image);
}

static void pictures_without_transparency_have_no_mask(void **state) {
    (void)state;
    tt_image stored = noise_picture(5, 3), found;
    uint8_t *alpha = (uint8_t *)1;
    tt_buf file = oriented_png(&stored, 6);
    assert_int_equal(tt_image_load(file.data, file.size, &found, &alpha, NULL), TT_OK);
    assert_null(alpha);
    tt_image_release(&found);
    tt_image_release(&stored);
    tt_buf_release(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizing_gives_pillows_pixels),
        cmocka_unit_test(the_same_size_is_the_same_picture),
        cmocka_unit_test(cropping_keeps_the_middle),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(failed_allocations_leave_nothing),
        cmocka_unit_test(brightness_is_that_of_itu_r_601),
        cmocka_unit_test(pictures_are_turned_as_exif_says),
        cmocka_unit_test(transparency_is_white_or_a_mask),
        cmocka_unit_test(pictures_without_transparency_have_no_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
