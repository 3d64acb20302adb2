/* JPEG pixels. Files that we do not write (grey, CMYK, progressive) come from libjpeg. */
#include "unit/image/pictures.h"

#include <stdio.h>

#include <jpeglib.h>

static tt_image_encode_options jpeg_at(int quality) {
    return (tt_image_encode_options){.format = TT_IMAGE_JPEG, .quality = quality};
}

static void a_smooth_picture_keeps_its_looks(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {3, 5}, {8, 4096}, {300, 201}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tt_image image = smooth_picture(sizes[i][0], sizes[i][1]);
        tt_image_encode_options options = jpeg_at(0);
        tt_buf file = encoded(&image, &options);
        tt_image back = decoded(file.data, file.size);
        assert_true(psnr(&image, &back) > 38);
        tt_image_release(&back);
        tt_buf_release(&file);
        tt_image_release(&image);
    }
}

static void quality_trades_size_for_likeness(void **state) {
    (void)state;
    tt_image image = noise_picture(64, 64);
    size_t last_size = 0;
    double last_psnr = 0;
    for (int quality = 1; quality <= 100; quality += 33) {
        tt_image_encode_options options = jpeg_at(quality);
        tt_buf file = encoded(&image, &options);
        tt_image back = decoded(file.data, file.size);
        double likeness = psnr(&image, &back);
        assert_true(file.size > last_size);
        assert_true(likeness > last_psnr);
        last_size = file.size;
        last_psnr = likeness;
        tt_image_release(&back);
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

static void the_default_quality_is_92(void **state) {
    (void)state;
    tt_image image = smooth_picture(32, 32);
    tt_image_encode_options by_default = jpeg_at(0), by_number = jpeg_at(92);
    tt_buf a = encoded(&image, &by_default), b = encoded(&image, &by_number);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    tt_buf_release(&a);
    tt_buf_release(&b);
    tt_image_release(&image);
}

/* The sampling factors of the first component, from the frame header (FF C0: length, precision,
 * height, width, n, then id, factors, table for each). */
static int luma_sampling(const tt_buf *file) {
    const uint8_t *p = (const uint8_t *)file->data;
    for (size_t at = 2; at + 12 < file->size; at += 2 + ((size_t)p[at + 2] << 8 | p[at + 3]))
        if (p[at + 1] == 0xc0) return p[at + 11];
    return -1;
}

static void colour_is_kept_at_full_resolution_from_90(void **state) {
    (void)state;
    tt_image image = smooth_picture(32, 32);
    for (int quality = 88; quality <= 92; quality++) {
        tt_image_encode_options options = jpeg_at(quality);
        tt_buf file = encoded(&image, &options);
        assert_int_equal(luma_sampling(&file), quality >= 90 ? 0x11 : 0x22);
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

static tt_buf foreign_file(J_COLOR_SPACE space, int n_components, bool progressive) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &bytes, &size);
    c.image_width = 16, c.image_height = 16;
    c.input_components = n_components;
    c.in_color_space = space;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 100, TRUE);
    if (progressive) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    JSAMPLE row[16 * 4];
    for (size_t i = 0; i < sizeof row; i++) row[i] = 99;
    for (JSAMPROW rows[] = {row}; c.next_scanline < 16;) jpeg_write_scanlines(&c, rows, 1);
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    tt_buf out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    assert_int_equal(tt_buf_append(&out, bytes, size, NULL), TT_OK);
    free(bytes);
    return out;
}

static void grey_and_progressive_files_become_rgb(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        tt_buf file = foreign_file(k == 0 ? JCS_GRAYSCALE : JCS_RGB, k == 0 ? 1 : 3, k == 2);
        tt_image back = decoded(file.data, file.size);
        assert_int_equal(back.width, 16);
        for (int i = 0; i < 16 * 16 * 3; i++) assert_in_range(back.rgb[i], 98, 100);
        if (k == 2) assert_cuts_fail(&file);
        tt_image_release(&back);
        tt_buf_release(&file);
    }
}

/* libjpeg marks CMYK files as Adobe's, whose numbers are 255 - ink: 99 of 255 light under 99 of 255
 * light is 38. */
static void cmyk_becomes_rgb(void **state) {
    (void)state;
    tt_buf file = foreign_file(JCS_CMYK, 4, false);
    tt_image back = decoded(file.data, file.size);
    assert_int_equal(back.width, 16);
    for (int i = 0; i < 16 * 16 * 3; i++) assert_in_range(back.rgb[i], 37, 39);
    tt_image_release(&back);
    assert_cuts_fail(&file);
    tt_buf_release(&file);
}

static void truncated_files_fail(void **state) {
    (void)state;
    tt_image image = noise_picture(50, 40);
    tt_image_encode_options options = jpeg_at(0);
    options.text = (tt_image_text){"a cat", "{\"seed\": 1}"};
    tt_buf file = encoded(&image, &options);
    assert_cuts_fail(&file);
    tt_buf_release(&file);
    tt_image_release(&image);
}

static void too_many_pixels_are_refused_before_memory_is_taken(void **state) {
    (void)state;
    tt_buf file = foreign_file(JCS_RGB, 3, false);
    uint8_t *p = (uint8_t *)file.data;
    for (size_t at = 2; at < file.size; at += 2 + ((size_t)p[at + 2] << 8 | p[at + 3]))
        if (p[at + 1] == 0xc0) {
            memset(p + at + 5, 0xf0, 4); /* 61680 x 61680 */
            break;
        }
    tt_err err = {0};
    assert_int_equal(try_decode(file.data, file.size, &err), TT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "61680 x 61680"));
    tt_buf_release(&file);
}

static void running_out_of_memory_is_survived(void **state) {
    (void)state;
    tt_image image = smooth_picture(20, 20);
    tt_image_encode_options options = jpeg_at(0);
    options.text = (tt_image_text){"a caf\xc3\xa9", "{\"a\": \"<&>\"}"};
    assert_survives_no_memory(&image, &options);
    tt_image_release(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_smooth_picture_keeps_its_looks),
        cmocka_unit_test(quality_trades_size_for_likeness),
        cmocka_unit_test(the_default_quality_is_92),
        cmocka_unit_test(colour_is_kept_at_full_resolution_from_90),
        cmocka_unit_test(grey_and_progressive_files_become_rgb),
        cmocka_unit_test(cmyk_becomes_rgb),
        cmocka_unit_test(truncated_files_fail),
        cmocka_unit_test(too_many_pixels_are_refused_before_memory_is_taken),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
