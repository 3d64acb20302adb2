/* Base64 against the vectors of RFC 4648, section 10, and an independent decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

static void rfc4648_vectors(void **state) {
    (void)state;
    static const char *const VECTORS[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof VECTORS / sizeof VECTORS[0]; i++) {
        tt_buf b;
        tt_buf_init(&b, 64);
        const char *plain = VECTORS[i][0];
        assert_int_equal(tt_base64_append(&b, plain, strlen(plain), NULL), TT_OK);
        assert_string_equal(b.data, VECTORS[i][1]);
        tt_buf_release(&b);
    }
}

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Bit by bit, unlike the encoder. Returns the number of bytes. */
static size_t decode(const char *text, size_t size, unsigned char *out) {
    size_t n_bits = 0;
    for (size_t i = 0; i < size && text[i] != '='; i++) {
        int v = value_of(text[i]);
        assert_true(v >= 0);
        for (int bit = 5; bit >= 0; bit--, n_bits++) {
            if (n_bits % 8 == 0) out[n_bits / 8] = 0;
            if (v >> bit & 1) out[n_bits / 8] |= (unsigned char)(0x80 >> n_bits % 8);
        }
    }
    return n_bits / 8;
}

static void every_length_and_byte_comes_back(void **state) {
    (void)state;
    unsigned char bytes[300], back[304];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 151 + 7);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        tt_buf b;
        tt_buf_init(&b, 1024);
        assert_int_equal(tt_base64_append(&b, bytes, size, NULL), TT_OK);
        assert_int_equal(b.size, (size + 2) / 3 * 4);
        assert_int_equal(decode(b.data, b.size, back), size);
        if (size) assert_memory_equal(back, bytes, size);
        tt_buf_release(&b);
    }
}

static void it_appends_and_respects_the_limit(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 9);
    assert_int_equal(tt_buf_puts(&b, "\"", NULL), TT_OK);
    assert_int_equal(tt_base64_append(&b, "foobar", 6, NULL), TT_OK);
    assert_string_equal(b.data, "\"Zm9vYmFy");
    assert_int_equal(tt_base64_append(&b, "f", 1, NULL), TT_E_NOMEM);
    assert_string_equal(b.data, "\"Zm9vYmFy");
    tt_buf_release(&b);
}

static void decoding_gives_the_rfcs_texts(void **state) {
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"},
                                             {"foob", "Zm9vYg"},
                                             {"foobar", " Zm9v\r\nYmFy\n"},
                                             {"\xfb\xff", "-_8="},
                                             {"\xfb\xff", "+/8"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        tt_buf b;
        tt_buf_init(&b, 64);
        assert_int_equal(tt_base64_decode(vectors[i][1], strlen(vectors[i][1]), &b, NULL), TT_OK);
        assert_int_equal(b.size, strlen(vectors[i][0]));
        assert_string_equal(b.data, vectors[i][0]);
        tt_buf_release(&b);
    }
}

static void every_length_is_decoded(void **state) {
    (void)state;
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 151 + 7);
    for (size_t size = 1; size <= sizeof bytes; size++) {
        tt_buf text, back;
        tt_buf_init(&text, 1024);
        tt_buf_init(&back, 1024);
        assert_int_equal(tt_base64_append(&text, bytes, size, NULL), TT_OK);
        assert_int_equal(tt_base64_decode(text.data, text.size, &back, NULL), TT_OK);
        assert_int_equal(back.size, size);
        assert_memory_equal(back.data, bytes, size);
        tt_buf_release(&text);
        tt_buf_release(&back);
    }
}

static void what_is_no_base64_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"Zg===",    "Z",        "Zm9vY",  "Zm=v",
                                      "boat.png", "Zm9v\x80", "data:,x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tt_buf b;
        tt_err err;
        tt_buf_init(&b, 64);
        assert_int_equal(tt_base64_decode(bad[i], strlen(bad[i]), &b, &err), TT_E_FORMAT);
        assert_int_equal(b.size, 0);
        tt_buf_release(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc4648_vectors),
        cmocka_unit_test(every_length_and_byte_comes_back),
        cmocka_unit_test(it_appends_and_respects_the_limit),
        cmocka_unit_test(decoding_gives_the_rfcs_texts),
        cmocka_unit_test(every_length_is_decoded),
        cmocka_unit_test(what_is_no_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
