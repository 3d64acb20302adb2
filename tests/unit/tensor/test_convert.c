/* The truth here is arithmetic: a value is decoded from its fields with ldexp, and rounding is
 * checked against the two neighbours in the smaller format. Every pattern of the 8 and 16 bit
 * formats is tried. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The number that sign, exponent and mantissa mean; NAN for the format's NaNs. */
static double decode_fields(unsigned v, int exponent_bits, int mantissa_bits, int has_infinity) {
    int bias = (1 << (exponent_bits - 1)) - 1;
    unsigned mantissa = v & ((1u << mantissa_bits) - 1);
    unsigned top = (1u << exponent_bits) - 1;
    unsigned exponent = v >> mantissa_bits & top;
    double sign = v >> (exponent_bits + mantissa_bits) & 1 ? -1.0 : 1.0;
    if (exponent == top && has_infinity) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == top && mantissa == (1u << mantissa_bits) - 1) return (double)NAN;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign *
           ldexp((double)(mantissa | 1u << mantissa_bits), (int)exponent - bias - mantissa_bits);
}

static void assert_same(double expected, float found) {
    if (isnan(expected)) {
        assert_true(isnan(found));
        return;
    }
    assert_true((double)found == expected && !signbit(found) == !signbit(expected));
}

static void all_patterns(tt_dtype dtype, int exponent_bits, int mantissa_bits, int has_infinity) {
    size_t size = tt_dtype_size(dtype), n = (size_t)1 << (8 * size);
    unsigned char *bytes = malloc(n * size + 1);
    float *values = malloc((n + 1) * sizeof *values);
    for (size_t i = 0; i < n; i++) memcpy(bytes + 1 + i * size, &(uint32_t){(uint32_t)i}, size);
    values[n] = 17.0f;
    tt_convert(values, TT_F32, bytes + 1, dtype, n); /* unaligned on purpose */
    for (size_t i = 0; i < n; i++)
        assert_same(decode_fields((unsigned)i, exponent_bits, mantissa_bits, has_infinity),
                    values[i]);
    assert_true(values[n] == 17.0f);
    for (size_t i = 0; i < n; i++) { /* alone, so without the wide path */
        float one;
        tt_convert(&one, TT_F32, bytes + 1 + i * size, dtype, 1);
        assert_true(memcmp(&one, &values[i], sizeof one) == 0 || isnan(one));
    }
    free(bytes);
    free(values);
}

static void f16_decodes_every_pattern(void **state) {
    (void)state;
    all_patterns(TT_F16, 5, 10, 1);
}

static void bf16_decodes_every_pattern(void **state) {
    (void)state;
    all_patterns(TT_BF16, 8, 7, 1);
}

static void f8_decodes_every_pattern(void **state) {
    (void)state;
    all_patterns(TT_F8_E4M3, 4, 3, 0);
    all_patterns(TT_F8_E5M2, 5, 2, 1);
    uint8_t largest = 0x7e;
    float value;
    tt_convert(&value, TT_F32, &largest, TT_F8_E4M3, 1);
    assert_true(value == 448.0f); /* the one number people remember */
}

/* Nearest, ties to even: no neighbour is closer, and of two equally close ones the even pattern was
 * taken. */
static void assert_nearest(double value, uint16_t found, int exponent_bits, int mantissa_bits) {
    double here = decode_fields(found, exponent_bits, mantissa_bits, 1);
    uint16_t body = found & 0x7fff, sign = found & 0x8000;
    if (isinf(here)) { /* an infinity counts as the next step after the largest number */
        double last = fabs(decode_fields((unsigned)body - 1u, exponent_bits, mantissa_bits, 1));
        double before = fabs(decode_fields((unsigned)body - 2u, exponent_bits, mantissa_bits, 1));
        assert_true(fabs(value) >= last + (last - before) / 2);
        return;
    }
    for (int step = -1; step <= 1; step += 2) {
        if (body == 0 && step < 0) continue;
        double other =
            decode_fields((unsigned)(sign | (body + step)), exponent_bits, mantissa_bits, 1);
        if (isinf(other)) continue;
        double mine = fabs(value - here), theirs = fabs(value - other);
        assert_true(mine < theirs || (mine == theirs && found % 2 == 0));
    }
}

static void rounding_of(tt_dtype dtype, int exponent_bits, int mantissa_bits) {
    for (unsigned i = 0; i < 0x7fff; i++) { /* each value, and the points between it and the next */
        double low = decode_fields(i, exponent_bits, mantissa_bits, 1);
        double high = decode_fields(i + 1, exponent_bits, mantissa_bits, 1);
        if (isnan(low) || isnan(high) || isinf(low)) continue;
        if (isinf(high)) high = low + (low - decode_fields(i - 1, exponent_bits, mantissa_bits, 1));
        if (high > 3.4028234e38) continue;
        double middle = low / 2 + high / 2;
        float points[9] = {(float)low, (float)middle, nextafterf((float)middle, 0),
                           nextafterf((float)middle, INFINITY), (float)(low * 0.75 + high * 0.25)};
        for (int k = 0; k < 4; k++) points[5 + k] = -points[1 + k];
        uint16_t out[9]; /* nine: one group of eight and a rest */
        tt_convert(out, dtype, points, TT_F32, 9);
        uint16_t alone;
        tt_convert(&alone, dtype, &points[i % 8], TT_F32, 1);
        assert_int_equal(alone, out[i % 8]);
        for (int k = 0; k < 9; k++)
            assert_nearest((double)points[k], out[k], exponent_bits, mantissa_bits);
    }
}

static void f32_rounds_to_nearest_even_f16(void **state) {
    (void)state;
    rounding_of(TT_F16, 5, 10);
}

static void f32_rounds_to_nearest_even_bf16(void **state) {
    (void)state;
    rounding_of(TT_BF16, 8, 7);
}

static void specials_survive_encoding(void **state) {
    (void)state;
    float in[4] = {INFINITY, -INFINITY, NAN, 1e30f};
    uint16_t half[4], brain[4];
    tt_convert(half, TT_F16, in, TT_F32, 4);
    tt_convert(brain, TT_BF16, in, TT_F32, 4);
    assert_int_equal(half[0], 0x7c00);
    assert_int_equal(half[1], 0xfc00);
    assert_true((half[2] & 0x7fff) > 0x7c00);
    assert_int_equal(half[3], 0x7c00);
    assert_int_equal(brain[0], 0x7f80);
    assert_int_equal(brain[1], 0xff80);
    assert_true((brain[2] & 0x7fff) > 0x7f80);
}

static void f64_converts_through_f32(void **state) {
    (void)state;
    double in[3] = {1.0 / 3.0, -1e-300, 65504.0};
    float out[3];
    tt_convert(out, TT_F32, in, TT_F64, 3);
    assert_true(out[0] == (float)(1.0 / 3.0) && out[1] == 0 && signbit(out[1]) &&
                out[2] == 65504.0f);
}

/* Long runs take the blocked path; every element must be what the same element gives alone. */
static void long_runs_equal_single_elements(void **state) {
    (void)state;
    static const tt_dtype from[] = {TT_F16, TT_BF16, TT_F8_E4M3, TT_F8_E5M2};
    static const tt_dtype to[] = {TT_BF16, TT_F16, TT_F32};
    enum { N = 3 * 1024 + 5 };
    unsigned char in[2 * N], out[4 * N], one[4];
    for (size_t i = 0; i < sizeof in; i++) in[i] = (unsigned char)((i * 37 + i / 256) & 0x7b);
    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 3; b++) {
            size_t step = tt_dtype_size(from[a]), width = tt_dtype_size(to[b]);
            tt_convert(out, to[b], in, from[a], N);
            for (size_t i = 0; i < N; i++) {
                tt_convert(one, to[b], in + i * step, from[a], 1);
                assert_memory_equal(out + i * width, one, width);
            }
        }
}

static void no_elements_touch_nothing(void **state) {
    (void)state;
    tt_convert(NULL, TT_F32, NULL, TT_F16, 0);
}

static void names_and_sizes_are_those_of_safetensors(void **state) {
    (void)state;
    assert_string_equal(tt_dtype_name(TT_F8_E4M3), "F8_E4M3");
    assert_string_equal(tt_dtype_name(TT_BOOL), "BOOL");
    assert_int_equal(tt_dtype_size(TT_F64), 8);
    for (int i = 0; i < TT_DTYPE_COUNT; i++) assert_true(tt_dtype_size((tt_dtype)i) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_decodes_every_pattern),
        cmocka_unit_test(bf16_decodes_every_pattern),
        cmocka_unit_test(f8_decodes_every_pattern),
        cmocka_unit_test(f32_rounds_to_nearest_even_f16),
        cmocka_unit_test(f32_rounds_to_nearest_even_bf16),
        cmocka_unit_test(specials_survive_encoding),
        cmocka_unit_test(f64_converts_through_f32),
        cmocka_unit_test(long_runs_equal_single_elements),
        cmocka_unit_test(no_elements_touch_nothing),
        cmocka_unit_test(names_and_sizes_are_those_of_safetensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
