/* Room around a picture: the picture stays, the edges go on, the mask says which is which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "image/pad.h"

enum { W = 40, H = 24 };
static uint8_t pixels[W * H * 3];

static tt_image gradient(void) {
    for (int i = 0; i < W * H; i++) {
        pixels[3 * i] = (uint8_t)(i % W * 6);
        pixels[3 * i + 1] = (uint8_t)(i / W * 10);
        pixels[3 * i + 2] = 77;
    }
    return (tt_image){pixels, W, H};
}

static tt_image plain(uint8_t value) {
    memset(pixels, value, sizeof pixels);
    return (tt_image){pixels, W, H};
}

typedef struct padded {
    tt_image image;
    uint8_t *mask;
} padded;

static padded pad(const tt_image *image, int left, int top, int right, int bottom, uint64_t seed) {
    padded p;
    tt_image_sides sides = {left, top, right, bottom};
    tt_err err;
    if (tt_image_pad(image, &sides, seed, &p.image, &p.mask, &err) != TT_OK)
        fail_msg("%s", err.message);
    return p;
}

static void release(padded *p) {
    tt_image_release(&p->image);
    tt_free(p->mask);
}

static void the_picture_stays_where_it_belongs(void **state) {
    (void)state;
    tt_image image = gradient();
    padded p = pad(&image, 8, 16, 24, 32, 1);
    assert_int_equal(p.image.width, W + 32);
    assert_int_equal(p.image.height, H + 48);
    for (int y = 0; y < H; y++)
        assert_memory_equal(p.image.rgb + ((y + 16) * p.image.width + 8) * 3, pixels + y * W * 3,
                            W * 3);
    release(&p);
}

static void nothing_added_changes_nothing(void **state) {
    (void)state;
    tt_image image = gradient();
    padded p = pad(&image, 0, 0, 0, 0, 1);
    assert_memory_equal(p.image.rgb, pixels, sizeof pixels);
    for (int i = 0; i < W * H; i++) assert_int_equal(p.mask[i], 0);
    release(&p);
}

static void new_pixels_take_the_nearest_edges_colour(void **state) {
    (void)state;
    tt_image image = gradient();
    padded p = pad(&image, 64, 0, 64, 0, 1);
    double left = 0, right = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < 8; x++) {
            left += p.image.rgb[(y * p.image.width + 56 + x) * 3];
            right += p.image.rgb[(y * p.image.width + 64 + W + x) * 3];
        }
    assert_true(left / (8 * H) < 12);                    /* the edge's red is 0 */
    assert_true(abs((int)(right / (8 * H)) - 234) < 12); /* and 234 on the other side */
    release(&p);
}

/* The mean stays, and it becomes noisier outwards. */
static double spread_of_column(const padded *p, int x) {
    double sum = 0, squares = 0;
    for (int y = 0; y < p->image.height; y++) {
        double v = p->image.rgb[(y * p->image.width + x) * 3];
        sum += v, squares += v * v;
    }
    double n = p->image.height;
    return squares / n - sum / n * sum / n;
}

static void noise_grows_with_the_distance(void **state) {
    (void)state;
    tt_image image = plain(128);
    padded p = pad(&image, 96, 0, 0, 0, 1);
    double near = 0, far = 0;
    for (int i = 0; i < 4; i++)
        near += spread_of_column(&p, 95 - i), far += spread_of_column(&p, i);
    assert_true(near > 0.5);
    assert_true(far > 8 * near);
    release(&p);
}

static void the_mask_is_whole_outside_and_fades_inside(void **state) {
    (void)state;
    tt_image image = gradient();
    padded p = pad(&image, 16, 0, 0, 0, 1);
    for (int x = 0; x < 16; x++) assert_int_equal(p.mask[x], 255);
    int before = 255;
    for (int x = 16; x < 16 + W; x++) {
        assert_true(p.mask[x] <= before);
        before = p.mask[x];
    }
    assert_in_range(p.mask[16], 128, 254);
    assert_int_equal(p.mask[16 + W / 4], 0);
    assert_int_equal(p.mask[16 + W - 1], 0); /* a side that did not grow has no seam */
    release(&p);
}

static void a_seed_gives_the_same_pixels_and_another_others(void **state) {
    (void)state;
    tt_image image = gradient();
    padded a = pad(&image, 8, 8, 8, 8, 5), b = pad(&image, 8, 8, 8, 8, 5),
           c = pad(&image, 8, 8, 8, 8, 6);
    size_t size = (size_t)a.image.width * (size_t)a.image.height * 3;
    assert_memory_equal(a.image.rgb, b.image.rgb, size);
    assert_memory_not_equal(a.image.rgb, c.image.rgb, size);
    release(&a);
    release(&b);
    release(&c);
}

static void one_pixel_can_grow(void **state) {
    (void)state;
    uint8_t dot[3] = {200, 10, 30};
    tt_image image = {dot, 1, 1};
    padded p = pad(&image, 3, 3, 3, 3, 1);
    assert_int_equal(p.image.rgb[(3 * 7 + 3) * 3], 200);
    assert_in_range(p.image.rgb[0], 190, 210);
    assert_int_equal(p.mask[0], 255);
    release(&p);
}

static void sides_beyond_reason_are_refused(void **state) {
    (void)state;
    static const tt_image_sides bad[] = {{-1, 0, 0, 0},
                                         {0, 0, 0, -8},
                                         {2000000000, 2000000000, 2000000000, 0},
                                         {40000, 40000, 0, 0}};
    tt_image image = gradient(), out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t *mask;
        tt_err err;
        assert_int_equal(tt_image_pad(&image, &bad[i], 1, &out, &mask, &err), TT_E_INVALID);
        assert_null(out.rgb);
        assert_null(mask);
    }
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    tt_image image = gradient(), out;
    tt_image_sides sides = {8, 8, 8, 8};
    uint8_t *mask;
    for (int n = 0; n < 3; n++) {
        tt_alloc_fail_after(n);
        tt_status status = tt_image_pad(&image, &sides, 1, &out, &mask, NULL);
        tt_alloc_fail_after(-1);
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(out.rgb);
        assert_null(mask);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_picture_stays_where_it_belongs),
        cmocka_unit_test(nothing_added_changes_nothing),
        cmocka_unit_test(new_pixels_take_the_nearest_edges_colour),
        cmocka_unit_test(noise_grows_with_the_distance),
        cmocka_unit_test(the_mask_is_whole_outside_and_fades_inside),
        cmocka_unit_test(a_seed_gives_the_same_pixels_and_another_others),
        cmocka_unit_test(one_pixel_can_grow),
        cmocka_unit_test(sides_beyond_reason_are_refused),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
