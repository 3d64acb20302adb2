/* Small pictures for a page: sizes, colours, and what a failed allocation leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "app/preview.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "image/image.h"

static const char HEAD[] = "data:image/jpeg;base64,";

static int value_of(char c) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static tt_image decode(const tt_buf *uri) {
    tt_image image;
    tt_err err;
    assert_memory_equal(uri->data, HEAD, sizeof HEAD - 1);
    unsigned char *bytes = malloc(uri->size);
    size_t n = 0;
    unsigned bits = 0;
    int n_bits = 0;
    for (const char *c = uri->data + sizeof HEAD - 1; value_of(*c) >= 0; c++) {
        bits = bits << 6 | (unsigned)value_of(*c);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        bytes[n++] = (unsigned char)(bits >> n_bits & 0xff);
    }
    if (tt_image_decode(bytes, n, &image, &err) != TT_OK) fail_msg("%s", err.message);
    free(bytes);
    return image;
}

static tt_image preview_of(const uint8_t *rgb, int width, int height) {
    tt_buf uri;
    tt_buf_init(&uri, TT_MIB);
    assert_int_equal(tt__preview_write(rgb, width, height, &uri, NULL), TT_OK);
    tt_image image = decode(&uri);
    tt_buf_release(&uri);
    return image;
}

static void small_ones_are_doubled_and_larger_ones_are_not(void **state) {
    (void)state;
    static uint8_t rgb[65 * 65 * 3];
    static const int sides[][2] = {{1, 2}, {8, 16}, {64, 128}, {65, 65}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        tt_image image = preview_of(rgb, sides[i][0], sides[i][0]);
        assert_int_equal(image.width, sides[i][1]);
        assert_int_equal(image.height, sides[i][1]);
        tt_image_release(&image);
    }
}

static void doubling_keeps_colours_and_their_order(void **state) {
    (void)state;
    enum { SIDE = 16, STEP = 16, TOLERANCE = 12 /* JPEG's */ };
    static uint8_t rgb[SIDE * SIDE * 3];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) memset(rgb + (y * SIDE + x) * 3, x * STEP, 3);
    tt_image image = preview_of(rgb, SIDE, SIDE);
    for (int x = 0; x < 2 * SIDE; x++) {
        /* The centre of pixel x lies at (x + 0.5) / 2 - 0.5 of the original. */
        double expected = ((x + 0.5) / 2 - 0.5) * STEP;
        expected = expected < 0 ? 0 : expected > (SIDE - 1) * STEP ? (SIDE - 1) * STEP : expected;
        int found = image.rgb[(SIDE * image.width + x) * 3];
        assert_in_range(found + 256, (int)expected + 256 - TOLERANCE,
                        (int)expected + 256 + TOLERANCE);
    }
    tt_image_release(&image);
}

static void failed_allocations_are_reported(void **state) {
    (void)state;
    static uint8_t rgb[8 * 8 * 3];
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK && n < 100; n++) {
        tt_buf uri;
        tt_buf_init(&uri, TT_MIB);
        tt_alloc_fail_after(n);
        status = tt__preview_write(rgb, 8, 8, &uri, NULL);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        tt_buf_release(&uri);
    }
    assert_int_equal(status, TT_OK);
    assert_true(n > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_are_doubled_and_larger_ones_are_not),
        cmocka_unit_test(doubling_keeps_colours_and_their_order),
        cmocka_unit_test(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
