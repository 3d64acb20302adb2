/* UTF-8 against RFC 3629: every scalar value, and every kind of malformed sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

static const uint32_t SURROGATES_FIRST = 0xd800, SURROGATES_LAST = 0xdfff, LAST = 0x10ffff;

static void every_scalar_value_is_accepted_at_its_length(void **state) {
    (void)state;
    for (uint32_t v = 0; v <= LAST; v++) {
        if (v >= SURROGATES_FIRST && v <= SURROGATES_LAST) continue;
        char bytes[4];
        size_t length = tt_utf8_encode(v, bytes);
        size_t expected = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
        assert_int_equal(length, expected);
        assert_int_equal(tt_utf8_sequence(bytes, length), length);
        if (length > 1) assert_int_equal(tt_utf8_sequence(bytes, length - 1), 0);
    }
}

static void known_characters_have_their_bytes(void **state) {
    (void)state;
    char bytes[4];
    assert_int_equal(tt_utf8_encode(0xe9, bytes), 2);
    assert_memory_equal(bytes, "\xc3\xa9", 2);
    assert_int_equal(tt_utf8_encode(0x20ac, bytes), 3);
    assert_memory_equal(bytes, "\xe2\x82\xac", 3);
    assert_int_equal(tt_utf8_encode(0x1f305, bytes), 4);
    assert_memory_equal(bytes, "\xf0\x9f\x8c\x85", 4);
}

static void malformed_sequences_are_found_where_they_are(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "\x80",             /* a continuation alone */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xc3",             /* cut */
        "\xc3(",            /* no continuation */
        "\xe0\x9f\xbf",     /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xed\xbf\xbf",     /* surrogate */
        "\xe2\x82",         /* cut */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        char text[16] = "ok";
        memcpy(text + 2, BAD[i], strlen(BAD[i]));
        size_t bad_at = 99;
        assert_false(tt_utf8_is_valid(text, strlen(text), &bad_at));
        assert_int_equal(bad_at, 2);
    }
}

static void nul_and_nothing_are_valid(void **state) {
    (void)state;
    assert_true(tt_utf8_is_valid("", 0, NULL));
    assert_true(tt_utf8_is_valid("a\0b", 3, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_is_accepted_at_its_length),
        cmocka_unit_test(known_characters_have_their_bytes),
        cmocka_unit_test(malformed_sequences_are_found_where_they_are),
        cmocka_unit_test(nul_and_nothing_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
