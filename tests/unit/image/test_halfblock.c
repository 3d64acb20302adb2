/* Pictures as half-block characters: the exact text of small ones, sizes and averages of larger
 * ones. */
#include "unit/image/pictures.h"

#include <stdio.h>

#include "image/halfblock.h"

#define UPPER_HALF "\xe2\x96\x80"

static tt_buf drawn(const tt_image *image, int columns, int rows) {
    tt_buf out;
    tt_err err = {0};
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    if (tt_image_halfblock(image, columns, rows, &out, &err) != TT_OK) fail_msg("%s", err.message);
    return out;
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part)) n++;
    return n;
}

static void two_rows_of_pixels_make_one_line(void **state) {
    (void)state;
    uint8_t rgb[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    tt_buf out = drawn(&(tt_image){rgb, 2, 2}, 80, 24);
    assert_string_equal(out.data, "\x1b[38;2;1;2;3m\x1b[48;2;7;8;9m" UPPER_HALF
                                  "\x1b[38;2;4;5;6m\x1b[48;2;10;11;12m" UPPER_HALF "\x1b[0m\n");
    tt_buf_release(&out);
}

static void an_odd_last_row_leaves_the_background_alone(void **state) {
    (void)state;
    uint8_t rgb[] = {1, 1, 1, 2, 2, 2, 3, 3, 3};
    tt_buf out = drawn(&(tt_image){rgb, 1, 3}, 80, 24);
    assert_string_equal(out.data, "\x1b[38;2;1;1;1m\x1b[48;2;2;2;2m" UPPER_HALF "\x1b[0m\n"
                                  "\x1b[38;2;3;3;3m" UPPER_HALF "\x1b[0m\n");
    tt_buf_release(&out);
}

static void a_colour_is_sent_once_per_run(void **state) {
    (void)state;
    tt_image image = blank_picture(40, 2);
    tt_buf out = drawn(&image, 80, 24);
    assert_int_equal(count(out.data, "\x1b[38"), 1);
    assert_int_equal(count(out.data, "\x1b[48"), 1);
    assert_int_equal(count(out.data, UPPER_HALF), 40);
    tt_buf_release(&out);
    tt_image_release(&image);
}

static void the_picture_fits_and_keeps_its_proportions(void **state) {
    (void)state;
    static const struct {
        int width, height, columns, rows, cells_wide, lines;
    } cases[] = {
        {256, 256, 80, 24, 48, 24},  {256, 256, 40, 24, 40, 20}, {1024, 512, 64, 99, 64, 16},
        {512, 1024, 64, 16, 16, 16}, {10, 10, 80, 24, 10, 5}, /* never enlarged */
        {5000, 1, 50, 10, 50, 1},    {1, 5000, 50, 10, 1, 10},   {97, 61, 13, 7, 13, 4},
        {100, 100, 1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tt_image image = smooth_picture(cases[i].width, cases[i].height);
        tt_buf out = drawn(&image, cases[i].columns, cases[i].rows);
        assert_int_equal(count(out.data, "\n"), cases[i].lines);
        assert_int_equal(count(out.data, UPPER_HALF), cases[i].lines * cases[i].cells_wide);
        tt_buf_release(&out);
        tt_image_release(&image);
    }
}

/* Three columns on two: each target pixel covers one and a half source columns. */
static void pixels_are_averages_of_the_area_they_cover(void **state) {
    (void)state;
    tt_image image = blank_picture(3, 2);
    static const uint8_t grey[] = {0, 90, 240, 0, 90, 240};
    for (int i = 0; i < 6 * 3; i++) image.rgb[i] = grey[i / 3];
    tt_buf out =
        drawn(&image, 2, 24); /* 2 x 1 pixels: (0 + 90/2) / 1.5 = 30, (90/2 + 240) / 1.5 = 190 */
    assert_string_equal(out.data, "\x1b[38;2;30;30;30m" UPPER_HALF
                                  "\x1b[38;2;190;190;190m" UPPER_HALF "\x1b[0m\n");
    tt_buf_release(&out);
    tt_image_release(&image);
}

static void an_even_picture_stays_even(void **state) {
    (void)state;
    tt_image image = blank_picture(517, 333);
    memset(image.rgb, 255, 517 * 333 * 3);
    tt_buf out = drawn(&image, 37, 19);
    int lines = count(out.data, "\n");
    assert_int_equal(count(out.data, "\x1b[38;2;255;255;255m"), lines);
    assert_int_equal(count(out.data, "\x1b[38"), lines);
    tt_buf_release(&out);
    tt_image_release(&image);
}

static void nothing_to_draw_on_is_refused(void **state) {
    (void)state;
    uint8_t rgb[3] = {0};
    static const int bad[][4] = {{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tt_buf out;
        tt_err err = {0};
        tt_buf_init(&out, OUT_LIMIT_BYTES);
        assert_int_equal(tt_image_halfblock(&(tt_image){rgb, bad[i][0], bad[i][1]}, bad[i][2],
                                            bad[i][3], &out, &err),
                         TT_E_INVALID);
        assert_non_null(strstr(err.message, "must be positive"));
        tt_buf_release(&out);
    }
}

static void running_out_of_memory_is_survived(void **state) {
    (void)state;
    tt_image image = smooth_picture(30, 30);
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK && n < MAX_ALLOCATIONS; n++) {
        tt_buf out;
        tt_buf_init(&out, OUT_LIMIT_BYTES);
        tt_alloc_fail_after(n);
        status = tt_image_halfblock(&image, 20, 20, &out, NULL);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        tt_buf_release(&out);
    }
    assert_true(n > 2);
    tt_image_release(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_rows_of_pixels_make_one_line),
        cmocka_unit_test(an_odd_last_row_leaves_the_background_alone),
        cmocka_unit_test(a_colour_is_sent_once_per_run),
        cmocka_unit_test(the_picture_fits_and_keeps_its_proportions),
        cmocka_unit_test(pixels_are_averages_of_the_area_they_cover),
        cmocka_unit_test(an_even_picture_stays_even),
        cmocka_unit_test(nothing_to_draw_on_is_refused),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
