/* WebP pixels. Files that we do not write (transparent, animated) come from libwebp. */
#include "unit/image/pictures.h"

#include <webp/encode.h>
#include <webp/mux.h>

static const tt_image_encode_options lossy = {.format = TT_IMAGE_WEBP};
static const tt_image_encode_options lossless = {.format = TT_IMAGE_WEBP, .lossless = true};

static void lossless_pixels_come_back_exactly(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {3, 5}, {8, 4096}, {257, 63}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tt_image images[] = {smooth_picture(sizes[i][0], sizes[i][1]),
                             noise_picture(sizes[i][0], sizes[i][1])};
        for (int k = 0; k < 2; k++) {
            tt_buf file = encoded(&images[k], &lossless);
            tt_image back = decoded(file.data, file.size);
            assert_same_picture(&images[k], &back);
            tt_image_release(&back);
            tt_buf_release(&file);
            tt_image_release(&images[k]);
        }
    }
}

static void a_smooth_picture_keeps_its_looks(void **state) {
    (void)state;
    tt_image image = smooth_picture(300, 201);
    tt_buf file = encoded(&image, &lossy);
    tt_image back = decoded(file.data, file.size);
    assert_true(psnr(&image, &back) > 38);
    assert_true(file.size < 300 * 201 * 3 / 20);
    tt_image_release(&back);
    tt_buf_release(&file);
    tt_image_release(&image);
}

static void texts_do_not_change_the_pixels(void **state) {
    (void)state;
    tt_image image = noise_picture(33, 18);
    for (int k = 0; k < 2; k++) {
        tt_image_encode_options with = k ? lossless : lossy;
        tt_buf bare = encoded(&image, &with);
        with.text = (tt_image_text){"odd", "{\"n\":12}"};
        tt_buf file = encoded(&image, &with);
        tt_image a = decoded(bare.data, bare.size), b = decoded(file.data, file.size);
        assert_same_picture(&a, &b);
        tt_image_release(&a);
        tt_image_release(&b);
        tt_buf_release(&bare);
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

static void transparency_is_composited_on_white(void **state) {
    (void)state;
    const uint8_t rgba[] = {10, 20, 30, 255, 100, 0, 200, 51};
    uint8_t *bytes = NULL;
    size_t size = WebPEncodeLosslessRGBA(rgba, 2, 1, 8, &bytes);
    tt_image back = decoded(bytes, size);
    assert_memory_equal(back.rgb, ((const uint8_t[]){10, 20, 30, 224, 204, 244}), 6);
    tt_image_release(&back);
    WebPFree(bytes);
}

static void an_animation_is_refused(void **state) {
    (void)state;
    tt_image image = smooth_picture(16, 16);
    tt_buf still = encoded(&image, &lossless);
    WebPMux *mux = WebPMuxNew();
    WebPMuxFrameInfo frame = {.bitstream = {(const uint8_t *)still.data, still.size},
                              .id = WEBP_CHUNK_ANMF,
                              .duration = 100};
    WebPData file = {NULL, 0};
    for (int i = 0; i < 2; i++) assert_int_equal(WebPMuxPushFrame(mux, &frame, 1), WEBP_MUX_OK);
    WebPMuxAnimParams forever = {.bgcolor = 0, .loop_count = 0};
    assert_int_equal(WebPMuxSetAnimationParams(mux, &forever), WEBP_MUX_OK);
    assert_int_equal(WebPMuxAssemble(mux, &file), WEBP_MUX_OK);
    tt_err err = {0};
    assert_int_equal(try_decode(file.bytes, file.size, &err), TT_E_UNSUPPORTED);
    assert_string_equal(err.message, "WebP: the file is an animation, expected one picture");
    WebPDataClear(&file);
    WebPMuxDelete(mux);
    tt_buf_release(&still);
    tt_image_release(&image);
}

static void truncated_files_fail(void **state) {
    (void)state;
    tt_image image = noise_picture(50, 40);
    for (int k = 0; k < 2; k++) {
        tt_image_encode_options options = k ? lossless : lossy;
        options.text = (tt_image_text){"a cat", "{\"seed\": 1}"};
        tt_buf file = encoded(&image, &options);
        assert_cuts_fail(&file);
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

/* Cut, and the container's size made to agree: now the pixels themselves are too short. */
static void a_container_with_half_its_pixels_fails(void **state) {
    (void)state;
    tt_image image = noise_picture(50, 40);
    for (int k = 0; k < 2; k++) {
        tt_buf file = encoded(&image, k ? &lossless : &lossy);
        size_t size = file.size / 2 / 2 * 2;
        for (int b = 0; b < 4; b++) file.data[4 + b] = (char)((size - 8) >> (8 * b));
        assert_int_equal(try_decode(file.data, size, NULL), TT_E_FORMAT);
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

static void running_out_of_memory_is_survived(void **state) {
    (void)state;
    tt_image image = smooth_picture(20, 20);
    tt_image_encode_options options = lossy;
    options.text = (tt_image_text){"a caf\xc3\xa9", "{\"a\": \"<&>\"}"};
    assert_survives_no_memory(&image, &options);
    tt_image_release(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lossless_pixels_come_back_exactly),
        cmocka_unit_test(a_smooth_picture_keeps_its_looks),
        cmocka_unit_test(texts_do_not_change_the_pixels),
        cmocka_unit_test(transparency_is_composited_on_white),
        cmocka_unit_test(an_animation_is_refused),
        cmocka_unit_test(truncated_files_fail),
        cmocka_unit_test(a_container_with_half_its_pixels_fails),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
