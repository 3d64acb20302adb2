/* What all formats share: names, magic, options, limits. */
#include "unit/image/pictures.h"

static void formats_are_known_by_name_in_any_case(void **state) {
    (void)state;
    static const struct {
        const char *name;
        tt_image_format format;
    } known[] = {{"png", TT_IMAGE_PNG},
                 {"PNG", TT_IMAGE_PNG},
                 {"jpg", TT_IMAGE_JPEG},
                 {"JPEG", TT_IMAGE_JPEG},
                 {"WebP", TT_IMAGE_WEBP}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        tt_image_format format;
        assert_int_equal(tt_image_format_from_name(known[i].name, &format, NULL), TT_OK);
        assert_int_equal(format, known[i].format);
        assert_int_equal(tt_image_format_from_name(tt_image_format_name(format), &format, NULL),
                         TT_OK);
        assert_int_equal(format, known[i].format);
    }
}

static void an_unknown_name_is_answered_with_the_known_ones(void **state) {
    (void)state;
    tt_image_format format;
    tt_err err;
    assert_int_equal(tt_image_format_from_name("gif", &format, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "image format \"gif\" is unknown: expected png, jpg, jpeg or webp");
    assert_int_equal(tt_image_format_from_name("", &format, &err), TT_E_INVALID);
}

static void the_extension_picks_the_format(void **state) {
    (void)state;
    static const struct {
        const char *path;
        tt_image_format format;
    } known[] = {
        {"a.png", TT_IMAGE_PNG},        {"a.b/c.JPG", TT_IMAGE_JPEG}, {"x.y.jpeg", TT_IMAGE_JPEG},
        {"/tmp/a.webp", TT_IMAGE_WEBP}, {"out", TT_IMAGE_PNG},        {"v1.5/out", TT_IMAGE_PNG},
        {".jpg", TT_IMAGE_PNG},         {"out.", TT_IMAGE_PNG},       {"", TT_IMAGE_PNG}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        tt_image_format format;
        assert_int_equal(tt_image_format_from_path(known[i].path, &format, NULL), TT_OK);
        assert_int_equal(format, known[i].format);
    }
}

static void an_unknown_extension_is_one_sentence(void **state) {
    (void)state;
    tt_image_format format;
    tt_err err;
    assert_int_equal(tt_image_format_from_path("dir/a.gif", &format, &err), TT_E_INVALID);
    assert_string_equal(err.message, "a.gif: the extension \".gif\" names no image format: "
                                     "expected .png, .jpg, .jpeg or .webp");
}

static void expect_refused(tt_image image, tt_image_encode_options options, const char *part) {
    tt_buf out;
    tt_err err = {0};
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    assert_int_equal(tt_image_encode(&image, &options, &out, &err), TT_E_INVALID);
    if (!strstr(err.message, part)) fail_msg("%s: not in: %s", part, err.message);
    assert_int_equal(out.size, 0);
    tt_buf_release(&out);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    uint8_t pixels[12] = {0};
    tt_image image = {pixels, 2, 2};
    expect_refused(image, (tt_image_encode_options){.format = (tt_image_format)7},
                   "format number 7");
    expect_refused(image, (tt_image_encode_options){.format = TT_IMAGE_JPEG, .quality = 101},
                   "quality is 101");
    expect_refused(image, (tt_image_encode_options){.format = TT_IMAGE_WEBP, .quality = -1},
                   "quality is -1");
    expect_refused(image, (tt_image_encode_options){.format = TT_IMAGE_JPEG, .lossless = true},
                   "lossless");
    expect_refused(image, (tt_image_encode_options){.text = {.parameters = "a\xff"}},
                   "UTF-8 at byte 1");
    expect_refused(image, (tt_image_encode_options){.text = {.json = "{\x01}"}},
                   "control character at byte 1");
}

static void sizes_beyond_the_format_are_refused(void **state) {
    (void)state;
    uint8_t pixel[3] = {0}; /* the size is refused before a pixel is read */
    expect_refused((tt_image){pixel, 0, 1}, (tt_image_encode_options){0}, "at least 1");
    expect_refused((tt_image){pixel, 1, -1}, (tt_image_encode_options){0}, "at least 1");
    expect_refused((tt_image){pixel, 16384, 1}, (tt_image_encode_options){.format = TT_IMAGE_WEBP},
                   "at most 16383");
    expect_refused((tt_image){pixel, 1, 65501}, (tt_image_encode_options){.format = TT_IMAGE_JPEG},
                   "at most 65500");
    expect_refused((tt_image){pixel, 8193, 8192}, (tt_image_encode_options){0}, "67108864 pixels");
}

static void an_overlong_text_is_refused(void **state) {
    (void)state;
    uint8_t pixel[3] = {0};
    char *text = tt_alloc(TT_MAX_IMAGE_TEXT_BYTES + 2);
    memset(text, 'x', TT_MAX_IMAGE_TEXT_BYTES + 1);
    expect_refused((tt_image){pixel, 1, 1}, (tt_image_encode_options){.text = {.parameters = text}},
                   "1048577 bytes");
    tt_free(text);
}

static void bytes_of_no_known_format_are_refused(void **state) {
    (void)state;
    static const char *const strangers[] = {"", "GIF89a....", "\x89PNG\r\n\x1a", "RIFF....WAVEfmt ",
                                            "<html>"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        tt_err err = {0};
        size_t size = strlen(strangers[i]);
        assert_int_equal(try_decode(strangers[i], size, &err), TT_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "expected PNG, JPEG or WebP"));
        assert_int_equal(try_read_text(strangers[i], size, &err), TT_E_UNSUPPORTED);
    }
}

static void probe_reads_the_size_of_every_format(void **state) {
    (void)state;
    tt_image image = smooth_picture(37, 21);
    for (int format = TT_IMAGE_PNG; format <= TT_IMAGE_WEBP; format++) {
        tt_buf file =
            encoded(&image, &(tt_image_encode_options){.format = (tt_image_format)format});
        tt_image_info info;
        assert_int_equal(tt_image_probe(file.data, file.size, &info, NULL), TT_OK);
        assert_int_equal(info.format, format);
        assert_int_equal(info.width, 37);
        assert_int_equal(info.height, 21);
        tt_buf_release(&file);
    }
    tt_image_release(&image);
}

static void encoding_appends_and_repeats_exactly(void **state) {
    (void)state;
    tt_image image = smooth_picture(40, 30);
    for (int format = TT_IMAGE_PNG; format <= TT_IMAGE_WEBP; format++) {
        tt_image_encode_options options = {.format = (tt_image_format)format, .text = {"p", "{}"}};
        tt_buf once = encoded(&image, &options), after;
        tt_buf_init(&after, OUT_LIMIT_BYTES);
        tt_buf_puts(&after, "head", NULL);
        assert_int_equal(tt_image_encode(&image, &options, &after, NULL), TT_OK);
        assert_int_equal(after.size, once.size + 4);
        assert_memory_equal(after.data, "head", 4);
        assert_memory_equal(after.data + 4, once.data, once.size);
        tt_buf_release(&once);
        tt_buf_release(&after);
    }
    tt_image_release(&image);
}

static void a_full_buffer_is_left_as_it_was(void **state) {
    (void)state;
    tt_image image = noise_picture(64, 64);
    for (int format = TT_IMAGE_PNG; format <= TT_IMAGE_WEBP; format++) {
        tt_image_encode_options options = {.format = (tt_image_format)format, .text = {"p", "{}"}};
        tt_buf out;
        tt_err err = {0};
        tt_buf_init(&out, 1000); /* too little for any of them */
        tt_buf_puts(&out, "head", NULL);
        assert_int_equal(tt_image_encode(&image, &options, &out, &err), TT_E_NOMEM);
        assert_non_null(strstr(err.message, "the limit is 1000"));
        assert_string_equal(out.data, "head");
        assert_int_equal(out.size, 4);
        tt_buf_release(&out);
    }
    tt_image_release(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_known_by_name_in_any_case),
        cmocka_unit_test(an_unknown_name_is_answered_with_the_known_ones),
        cmocka_unit_test(the_extension_picks_the_format),
        cmocka_unit_test(an_unknown_extension_is_one_sentence),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(sizes_beyond_the_format_are_refused),
        cmocka_unit_test(an_overlong_text_is_refused),
        cmocka_unit_test(bytes_of_no_known_format_are_refused),
        cmocka_unit_test(probe_reads_the_size_of_every_format),
        cmocka_unit_test(encoding_appends_and_repeats_exactly),
        cmocka_unit_test(a_full_buffer_is_left_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
