/* PNG pixels. Files that we do not write (grey, 16 bits, palettes, transparency, interlaced) come
 * from libpng. */
#include "unit/image/pictures.h"

#include <png.h>
#include <zlib.h>

static const tt_image_encode_options plain_png = {.format = TT_IMAGE_PNG};

static void pixels_come_back_exactly(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {3, 5}, {8, 4096}, {4096, 8}, {257, 63}, {64, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tt_image images[] = {smooth_picture(sizes[i][0], sizes[i][1]),
                             noise_picture(sizes[i][0], sizes[i][1])};
        for (int k = 0; k < 2; k++) {
            tt_buf file = encoded(&images[k], &plain_png);
            tt_image back = decoded(file.data, file.size);
            assert_same_picture(&images[k], &back);
            tt_image_release(&back);
            tt_buf_release(&file);
            tt_image_release(&images[k]);
        }
    }
}

static uint32_t u32_at(const char *p) {
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Concatenated IDAT data; the caller frees it. */
static uint8_t *idat_of(const tt_buf *file, size_t *size) {
    uint8_t *all = calloc(file->size, 1);
    *size = 0;
    for (size_t at = 8; at < file->size; at += 12 + u32_at(file->data + at)) {
        uint32_t n = u32_at(file->data + at);
        if (memcmp(file->data + at + 4, "IDAT", 4)) continue;
        memcpy(all + *size, file->data + at + 8, n);
        *size += n;
    }
    return all;
}

static void rows_are_paeth_filtered_at_the_fastest_level(void **state) {
    (void)state;
    enum { W = 60, H = 50, STRIDE = 1 + W * 3 };
    tt_image image = smooth_picture(W, H);
    tt_buf file = encoded(&image, &plain_png);
    assert_memory_equal(file.data + 12, "IHDR\0\0\0\x3c\0\0\0\x32\x08\x02\0\0\0", 17);
    size_t packed_size;
    uint8_t *packed = idat_of(&file, &packed_size);
    static uint8_t rows[H * STRIDE];
    uLongf rows_size = sizeof rows;
    assert_int_equal(packed[1] >> 6, 0); /* zlib's FLEVEL: fastest */
    assert_int_equal(uncompress(rows, &rows_size, packed, packed_size), Z_OK);
    assert_int_equal(rows_size, sizeof rows);
    for (int y = 0; y < H; y++) assert_int_equal(rows[y * STRIDE], 4); /* filter type: Paeth */
    free(packed);
    tt_buf_release(&file);
    tt_image_release(&image);
}

/* A file from libpng itself: `rows` in the given form. */
static void keep_bytes(png_structp png, png_bytep bytes, size_t n) {
    assert_int_equal(tt_buf_append(png_get_io_ptr(png), bytes, n, NULL), TT_OK);
}

typedef struct foreign {
    int width, height, bits, colour_type, interlace;
    const uint8_t *rows;
    size_t stride;
    const png_color *palette;
    int n_palette;
    const uint8_t *palette_alpha;
    int n_palette_alpha;
    const png_color_16 *key;
} foreign;

static tt_buf foreign_file(const foreign *f) {
    tt_buf out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &out, keep_bytes, NULL);
    png_set_IHDR(png, info, (png_uint_32)f->width, (png_uint_32)f->height, f->bits, f->colour_type,
                 f->interlace, 0, 0);
    if (f->palette) png_set_PLTE(png, info, f->palette, f->n_palette);
    if (f->palette_alpha || f->key)
        png_set_tRNS(png, info, f->palette_alpha, f->n_palette_alpha, f->key);
    png_set_gAMA(png, info, 0.9); /* must have no effect */
    png_write_info(png, info);
    int n_passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < n_passes; pass++)
        for (int y = 0; y < f->height; y++) png_write_row(png, f->rows + (size_t)y * f->stride);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return out;
}

static void expect_pixels(const foreign *f, const uint8_t *rgb) {
    tt_buf file = foreign_file(f);
    tt_image back = decoded(file.data, file.size);
    assert_int_equal(back.width, f->width);
    assert_int_equal(back.height, f->height);
    assert_memory_equal(back.rgb, rgb, (size_t)f->width * (size_t)f->height * 3);
    tt_image_release(&back);
    tt_buf_release(&file);
}

static void grey_becomes_rgb(void **state) {
    (void)state;
    const uint8_t rows[] = {0, 77, 255}, one_bit[] = {0xa0};
    expect_pixels(&(foreign){.width = 3, .height = 1, .bits = 8, .rows = rows, .stride = 3},
                  (const uint8_t[]){0, 0, 0, 77, 77, 77, 255, 255, 255});
    expect_pixels(&(foreign){.width = 3, .height = 1, .bits = 1, .rows = one_bit, .stride = 1},
                  (const uint8_t[]){255, 255, 255, 0, 0, 0, 255, 255, 255});
}

static void sixteen_bits_are_rounded_to_eight(void **state) {
    (void)state;
    const uint8_t rows[] = {0x12, 0xff, 0x00, 0x00, 0xff, 0xff}; /* 0x12ff / 257 = 18.93 */
    expect_pixels(&(foreign){.width = 1,
                             .height = 1,
                             .bits = 16,
                             .colour_type = PNG_COLOR_TYPE_RGB,
                             .rows = rows,
                             .stride = 6},
                  (const uint8_t[]){0x13, 0, 255});
}

static void transparency_is_composited_on_white(void **state) {
    (void)state;
    const uint8_t rows[] = {10, 20, 30, 255, 10, 20, 30, 0, 100, 0, 200, 51};
    expect_pixels(
        &(foreign){.width = 3,
                   .height = 1,
                   .bits = 8,
                   .colour_type = PNG_COLOR_TYPE_RGBA,
                   .rows = rows,
                   .stride = 12},
        (const uint8_t[]){10, 20, 30, 255, 255, 255, 224, 204, 244}); /* 255 - (255 - c) / 5 */
    const uint8_t grey_alpha[] = {0, 255, 0, 0};
    expect_pixels(&(foreign){.width = 2,
                             .height = 1,
                             .bits = 8,
                             .colour_type = PNG_COLOR_TYPE_GRAY_ALPHA,
                             .rows = grey_alpha,
                             .stride = 4},
                  (const uint8_t[]){0, 0, 0, 255, 255, 255});
}

static void palettes_and_colour_keys_are_expanded(void **state) {
    (void)state;
    const png_color palette[] = {{1, 2, 3}, {250, 0, 9}};
    const uint8_t rows[] = {0, 1}, alpha[] = {0};
    foreign f = {.width = 2,
                 .height = 1,
                 .bits = 8,
                 .colour_type = PNG_COLOR_TYPE_PALETTE,
                 .rows = rows,
                 .stride = 2,
                 .palette = palette,
                 .n_palette = 2};
    expect_pixels(&f, (const uint8_t[]){1, 2, 3, 250, 0, 9});
    f.palette_alpha = alpha, f.n_palette_alpha = 1;
    expect_pixels(&f, (const uint8_t[]){255, 255, 255, 250, 0, 9});
    const uint8_t rgb[] = {5, 6, 7, 8, 9, 10};
    expect_pixels(&(foreign){.width = 2,
                             .height = 1,
                             .bits = 8,
                             .colour_type = PNG_COLOR_TYPE_RGB,
                             .rows = rgb,
                             .stride = 6,
                             .key = &(png_color_16){.red = 5, .green = 6, .blue = 7}},
                  (const uint8_t[]){255, 255, 255, 8, 9, 10});
}

static void interlaced_files_are_put_in_order(void **state) {
    (void)state;
    tt_image image = noise_picture(13, 11);
    expect_pixels(&(foreign){.width = 13,
                             .height = 11,
                             .bits = 8,
                             .colour_type = PNG_COLOR_TYPE_RGB,
                             .interlace = PNG_INTERLACE_ADAM7,
                             .rows = image.rgb,
                             .stride = 39},
                  image.rgb);
    tt_image_release(&image);
}

static void truncated_files_fail(void **state) {
    (void)state;
    tt_image image = noise_picture(50, 40);
    tt_buf file = encoded(&image, &(tt_image_encode_options){.text = {"a cat", "{\"seed\": 1}"}});
    assert_cuts_fail(&file);
    tt_buf_release(&file);
    tt_image_release(&image);
}

static void changed_pixels_fail_by_their_checksum(void **state) {
    (void)state;
    tt_image image = noise_picture(50, 40);
    tt_buf file = encoded(&image, &plain_png);
    file.data[file.size / 2] ^= 1;
    tt_err err = {0};
    assert_int_equal(try_decode(file.data, file.size, &err), TT_E_FORMAT);
    assert_memory_equal(err.message, "PNG: ", 5);
    tt_buf_release(&file);
    tt_image_release(&image);
}

/* A header alone that promises 2^31-1 x 2^31-1 or 8193 x 8192 pixels must not cost memory. */
static void a_promise_of_too_many_pixels_is_refused(void **state) {
    (void)state;
    tt_image image = smooth_picture(1, 1);
    static const uint8_t sizes[][8] = {{0, 0, 0x20, 0x01, 0, 0, 0x20, 0},
                                       {0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}};
    for (int i = 0; i < 2; i++) {
        tt_buf file = encoded(&image, &plain_png);
        memcpy(file.data + 16, sizes[i], 8);
        uint32_t crc = (uint32_t)crc32(0, (const Bytef *)file.data + 12, 17);
        for (int k = 0; k < 4; k++) file.data[29 + k] = (char)(crc >> (24 - 8 * k));
        tt_err err = {0};
        assert_int_equal(try_decode(file.data, file.size, &err),
                         i == 0 ? TT_E_UNSUPPORTED : TT_E_FORMAT);
        if (i == 0)
            assert_string_equal(
                err.message,
                "PNG: picture of 8193 x 8192 pixels: the limit is 67108864 pixels in all");
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

static void running_out_of_memory_is_survived(void **state) {
    (void)state;
    tt_image image = smooth_picture(20, 20);
    assert_survives_no_memory(&image, &(tt_image_encode_options){.text = {"a caf\xc3\xa9", "{}"}});
    tt_image_release(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_come_back_exactly),
        cmocka_unit_test(rows_are_paeth_filtered_at_the_fastest_level),
        cmocka_unit_test(grey_becomes_rgb),
        cmocka_unit_test(sixteen_bits_are_rounded_to_eight),
        cmocka_unit_test(transparency_is_composited_on_white),
        cmocka_unit_test(palettes_and_colour_keys_are_expanded),
        cmocka_unit_test(interlaced_files_are_put_in_order),
        cmocka_unit_test(truncated_files_fail),
        cmocka_unit_test(changed_pixels_fail_by_their_checksum),
        cmocka_unit_test(a_promise_of_too_many_pixels_is_refused),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
