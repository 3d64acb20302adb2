/* Content-Range by RFC 9110 14.4, entity tags by 8.8.3, and the first bytes of files as their own formats say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/download_parts.h"
#include "weights/safetensors.h"

static void good_ranges_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        tt__content_range range;
    } CASES[] = {
        {"bytes 0-0/1", {0, 0, 1, true}},
        {"bytes 42-1233/1234", {42, 1233, 1234, true}}, /* the RFC's own example */
        {"bytes 42-1233/*", {42, 1233, 0, false}},
        {"Bytes 0-18446744073709551613/18446744073709551614",
         {0, UINT64_MAX - 2, UINT64_MAX - 1, true}},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt__content_range r;
        assert_true(tt__content_range_parse(CASES[i].text, &r));
        assert_int_equal(r.first, CASES[i].range.first);
        assert_int_equal(r.last, CASES[i].range.last);
        assert_int_equal(r.total, CASES[i].range.total);
        assert_int_equal(r.has_total, CASES[i].range.has_total);
    }
}

static void bad_ranges_are_refused(void **state) {
    (void)state;
    static const char *const CASES[] = {"",
                                        "bytes",
                                        "bytes ",
                                        "bytes */1234",
                                        "bytes 0-1",
                                        "bytes 0-1/",
                                        "bytes 0-/2",
                                        "bytes -1/2",
                                        "bytes 2-1/3",
                                        "bytes 0-2/2",
                                        "bytes 0-0/0",
                                        "bytes 0-1/2 ",
                                        "bytes 0-1/2,3-4/5",
                                        "bytes  0-1/2",
                                        "bytes=0-1/2",
                                        "items 0-1/2",
                                        "bytes 0x0-1/2",
                                        "bytes +0-1/2",
                                        "bytes 0-1/**",
                                        "bytes 0-18446744073709551616/18446744073709551617",
                                        "bytes 99999999999999999999-99999999999999999999/*"};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt__content_range r;
        if (tt__content_range_parse(CASES[i], &r)) fail_msg("accepted: \"%s\"", CASES[i]);
    }
}

static void strong_tags_are_told_from_weak_ones(void **state) {
    (void)state;
    char long_one[TT_SOURCE_VALIDATOR_BYTES + 10];
    assert_true(tt__etag_is_strong("\"xyzzy\""));
    assert_true(tt__etag_is_strong("\"9b-2\""));
    assert_false(tt__etag_is_strong("W/\"xyzzy\""));
    assert_false(tt__etag_is_strong("\"\""));
    assert_false(tt__etag_is_strong("\""));
    assert_false(tt__etag_is_strong(""));
    assert_false(tt__etag_is_strong("xyzzy"));
    assert_false(tt__etag_is_strong("\"a\"b\""));
    memset(long_one, 'a', sizeof long_one);
    long_one[0] = long_one[sizeof long_one - 2] = '"';
    long_one[sizeof long_one - 1] = '\0';
    assert_false(tt__etag_is_strong(long_one));
}

static void pages_are_told_by_their_type(void **state) {
    (void)state;
    assert_true(tt__content_type_is_page("text/html"));
    assert_true(tt__content_type_is_page("TEXT/HTML;charset=x"));
    assert_true(tt__content_type_is_page("application/json ; x"));
    assert_false(tt__content_type_is_page(""));
    assert_false(tt__content_type_is_page("application/octet-stream"));
    assert_false(tt__content_type_is_page("text/htmlx"));
    assert_false(tt__content_type_is_page("binary/octet-stream"));
}

static const char *sniff_length(uint64_t length, uint64_t total) {
    unsigned char bytes[10];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> (8 * i));
    bytes[8] = '{';
    bytes[9] = '}';
    return tt__sniff(bytes, sizeof bytes, total);
}

static void a_header_length_must_be_possible(void **state) {
    (void)state;
    assert_null(sniff_length(2, 10));
    assert_null(sniff_length(2, 0));
    assert_null(sniff_length(TT_ST_MAX_HEADER_BYTES, 0));
    assert_null(sniff_length(992, 1000));
    assert_non_null(sniff_length(993, 1000));
    assert_non_null(sniff_length(TT_ST_MAX_HEADER_BYTES + 1, 0));
    assert_non_null(sniff_length(1, 0));
    assert_non_null(sniff_length(0, 0));
    assert_non_null(sniff_length(UINT64_MAX, 0));
}

/* Bytes as Python's own zipfile, pickle, gzip and json write them. */
static void other_files_are_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *name;
    } CASES[] = {
        {"PK\003\004\024\000\000\000\000\000", 10, "a zip archive or a pickle"},
        {"\200\004K\001.\000\000\000\000\000", 10, "a pickle"},
        {"\037\213\010\000\000\000\000\000\002\377", 10, "compressed by gzip"},
        {"{\"a\": 1}", 8, "JSON"},
        {" \n[1, 2, 3]", 11, "JSON"},
        {"<HTML><head>", 12, "an HTML page"},
        {"\r\n\t<!DocType HTML>", 18, "an HTML page"},
        {"<Error><Code>", 13, "an XML or HTML page"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "a Git LFS pointer"},
        {"GGUF\003\000\000\000\000\000", 10, "a GGUF file"},
        {"plain text here", 15, "no safetensors file"},
        {"abc", 3, "no safetensors file"},
        {"", 0, "empty"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_string_equal(tt__sniff((const unsigned char *)CASES[i].bytes, CASES[i].size, 0),
                            CASES[i].name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ranges_are_read),
        cmocka_unit_test(bad_ranges_are_refused),
        cmocka_unit_test(strong_tags_are_told_from_weak_ones),
        cmocka_unit_test(pages_are_told_by_their_type),
        cmocka_unit_test(a_header_length_must_be_possible),
        cmocka_unit_test(other_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
