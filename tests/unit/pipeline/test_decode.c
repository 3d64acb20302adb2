/* From a decoder's numbers to bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

/* As numpy: (v / 2 + 0.5).clip(0, 1) * 255, halves to even. */
static uint8_t expected(float v) {
    float scaled = fminf(fmaxf(v * 0.5f + 0.5f, 0), 1);
    return (uint8_t)nearbyintf(scaled * 255.0f);
}

static float value_at(int64_t i, int64_t n) {
    return (float)((double)i / (double)n * 2.5 - 1.25);
}

static void bytes_are_those_of_numpy(void **state) {
    (void)state;
    enum { N = 1 << 17 };
    float *values = tt_alloc(N * sizeof *values);
    uint8_t *out = tt_alloc(N);
    for (int64_t i = 0; i < N; i++) values[i] = value_at(i, N);
    for (int i = 0; i <= 255; i++) { /* halves, and what lies beside them */
        values[3 * i] = ((float)i + 0.5f) / 127.5f - 1;
        values[3 * i + 1] = nextafterf(values[3 * i], -9);
        values[3 * i + 2] = nextafterf(values[3 * i], 9);
    }
    for (int threads = 1; threads <= 3; threads++) {
        memset(out, 0, N);
        tt__to_bytes(values, N, threads, out);
        for (int64_t i = 0; i < N; i++) assert_int_equal(out[i], expected(values[i]));
    }
    tt_free(values);
    tt_free(out);
}

static void what_is_no_colour_stays_within_bytes(void **state) {
    (void)state;
    const float values[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0};
    const uint8_t bytes[] = {0, 255, 0, 255, 0, 128};
    uint8_t out[sizeof bytes];
    tt__to_bytes(values, sizeof bytes, 1, out);
    assert_memory_equal(out, bytes, sizeof bytes);
}

static void finite_is_what_no_value_spoils(void **state) {
    (void)state;
    float values[37];
    for (int i = 0; i < 37; i++) values[i] = 3e38f;
    assert_true(tt__all_finite(values, 37));
    assert_true(tt__all_finite(values, 0));
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 37; i++)
        for (int k = 0; k < 3; k++) {
            values[i] = bad[k];
            assert_false(tt__all_finite(values, 37));
            values[i] = -0.0f;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_numpy),
        cmocka_unit_test(what_is_no_colour_stays_within_bytes),
        cmocka_unit_test(finite_is_what_no_value_spoils),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
