/* The JSON reader: what it accepts and refuses follows RFC 8259, with positions; the getters are
 * typed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static json_object *parsed(const char *text) {
    json_object *o;
    tt_err err;
    if (tt_json_parse(text, strlen(text), &o, &err) != TT_OK) fail_msg("%s: %s", text, err.message);
    return o;
}

static void valid_texts_are_accepted(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "{}",
        "[]",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1e5",
        "1E+5",
        "-1.25e-3",
        "\"\"",
        " \t\r\n[ 1 , 2 ]\n",
        "{\"a\":{\"a\":1},\"b\":{\"a\":1}}", /* the same name in different objects */
        "\"\\u00e9\\ud83c\\udf05\\n\\/\"",
        "\"\xf0\x9f\x8c\x85\"",
        "18446744073709551615",
        "123456789012345678901234567890",
        "\"\x7f\"",
    };
    for (size_t i = 0; i < COUNT(TEXTS); i++) json_object_put(parsed(TEXTS[i]));
}

static void invalid_texts_are_refused_where_they_break(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t position;
    } CASES[] = {
        {"", 0},
        {"  ", 2},
        {"{", 1},
        {"[1,]", 3},
        {"{\"a\":1,}", 7},
        {"{'a':1}", 1},
        {"{a:1}", 1},
        {"{\"a\" 1}", 5},
        {"[1 2]", 3},
        {"[1}", 2},
        {"1 2", 2},
        {"{} x", 3},
        {"nul", 0},
        {"NaN", 0},
        {"Infinity", 0},
        {"-Infinity", 1},
        {"-", 1},
        {"+1", 0},
        {"01", 0},
        {".5", 0},
        {"1.", 2},
        {"1.e5", 2},
        {"1e", 2},
        {"0x10", 1},
        {"1e999", 0},
        {"\"abc", 4},
        {"\"a\nb\"", 2},
        {"\"\\x41\"", 2},
        {"\"\\u12g4\"", 5},
        {"\"\\ud800\"", 1},
        {"\"\\udc00\"", 1},
        {"\"\\ud800\\u0041\"", 1},
        {"// comment\n1", 0},
        {"[1, /* two */ 2]", 4},
        {"{\"a\":1,\"b\":2,\"a\":3}", 13},
        {"{\"a\":1,\"\\u0061\":2}", 7}, /* the same name, spelled differently */
        {"{\"a\\u0000b\":1}", 1},
        {"\"\xc3(\"", 1},
        {"[\"ok\", \"\xed\xa0\x80\"]", 8},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        json_object *o = (json_object *)&o;
        tt_err err;
        tt_status status = tt_json_parse(CASES[i].text, strlen(CASES[i].text), &o, &err);
        if (status != TT_E_FORMAT || err.position != CASES[i].position || o)
            fail_msg("%s: status %d, position %d, expected %d: %s", CASES[i].text, (int)status,
                     (int)err.position, (int)CASES[i].position, err.message);
    }
}

static void the_message_has_line_and_column(void **state) {
    (void)state;
    json_object *o;
    tt_err err;
    const char *text = "{\n  \"steps\": 24,\n  \"seed\": oops\n}";
    assert_int_equal(tt_json_parse(text, strlen(text), &o, &err), TT_E_FORMAT);
    assert_string_equal(err.message, "invalid JSON at line 3, column 11: expected a value");
}

static void a_byte_order_mark_is_named(void **state) {
    (void)state;
    json_object *o;
    tt_err err;
    assert_int_equal(tt_json_parse("\xef\xbb\xbf{}", 5, &o, &err), TT_E_FORMAT);
    assert_string_equal(
        err.message,
        "invalid JSON at line 1, column 1: a byte order mark, expected UTF-8 without one");
}

static void a_nul_inside_the_text_is_refused(void **state) {
    (void)state;
    json_object *o;
    assert_int_equal(tt_json_parse("1\0", 2, &o, NULL), TT_E_FORMAT);
    assert_int_equal(tt_json_parse("[1\0]", 4, &o, NULL), TT_E_FORMAT);
}

/* The text is not terminated: AddressSanitizer sees a byte read too far. */
static void every_cut_of_a_text_is_refused(void **state) {
    (void)state;
    static const char TEXT[] = "{\"input\": {\"prompt\": \"caf\\u00e9 \xf0\x9f\x8c\x85\", \"n\": "
                               "[1, -2.5e3, true, null]}}";
    for (size_t size = 0; size < sizeof TEXT - 1; size++) {
        char *exact = tt_alloc(size);
        memcpy(exact, TEXT, size);
        json_object *o;
        assert_int_equal(tt_json_parse(exact, size, &o, NULL), TT_E_FORMAT);
        tt_free(exact);
    }
}

static void nesting_is_limited(void **state) {
    (void)state;
    char text[2 * TT_MAX_JSON_DEPTH + 8];
    for (int depth = TT_MAX_JSON_DEPTH; depth <= TT_MAX_JSON_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        json_object *o;
        tt_err err;
        tt_status status = tt_json_parse(text, 2 * (size_t)depth, &o, &err);
        if (depth == TT_MAX_JSON_DEPTH) {
            assert_int_equal(status, TT_OK);
        } else {
            assert_int_equal(status, TT_E_FORMAT);
            assert_non_null(strstr(err.message, "nested too deeply"));
        }
        json_object_put(o);
    }
}

static void strings_are_decoded(void **state) {
    (void)state;
    json_object *o = parsed("\"q\\\"b\\\\s\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83c\\udf05\"");
    assert_string_equal(json_object_get_string(o),
                        "q\"b\\s/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x85");
    json_object_put(o);
    o = parsed("\"a\\u0000b\"");
    assert_int_equal(json_object_get_string_len(o), 3);
    assert_memory_equal(json_object_get_string(o), "a\0b", 4);
    json_object_put(o);
}

static void whole_numbers_of_64_bits_are_exact(void **state) {
    (void)state;
    json_object *o =
        parsed("{\"max\":9223372036854775807,\"min\":-9223372036854775808,"
               "\"seed\":18446744073709551615,\"float\":24.0,\"half\":24.5,\"huge\":1e300}");
    int64_t v = 7;
    tt_err err;
    assert_int_equal(tt_json_get_i64(o, "max", &v, NULL), TT_OK);
    assert_true(v == INT64_MAX);
    assert_int_equal(tt_json_get_i64(o, "min", &v, NULL), TT_OK);
    assert_true(v == INT64_MIN);
    assert_int_equal(tt_json_get_i64(o, "float", &v, NULL), TT_OK);
    assert_true(v == 24);
    assert_int_equal(tt_json_get_i64(o, "seed", &v, &err), TT_E_INVALID); /* no int64 */
    assert_non_null(strstr(err.message, "18446744073709551615"));
    assert_int_equal(tt_json_get_i64(o, "half", &v, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "half: expected a whole number of at most 64 bits, found 24.5");
    assert_int_equal(tt_json_get_i64(o, "huge", &v, &err), TT_E_INVALID);
    assert_true(v == 24); /* untouched by failures */
    json_object *seed;
    assert_true(json_object_object_get_ex(o, "seed", &seed));
    assert_true(json_object_get_uint64(seed) == UINT64_MAX);
    json_object_put(o);
}

static void decimal_numbers_are_written_back_as_they_came(void **state) {
    (void)state;
    json_object *o = parsed("[4.5,0.1,1e-7]");
    assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
                        "[4.5,0.1,1e-7]");
    json_object_put(o);
}

static void absent_and_null_members_keep_the_default(void **state) {
    (void)state;
    json_object *o = parsed("{\"n\":null}");
    int64_t i = 24;
    double d = 4.5;
    bool b = true;
    const char *s = "default";
    for (int round = 0; round < 2; round++) {
        const char *name = round ? "n" : "absent";
        assert_int_equal(tt_json_get_i64(o, name, &i, NULL), TT_OK);
        assert_int_equal(tt_json_get_double(o, name, &d, NULL), TT_OK);
        assert_int_equal(tt_json_get_bool(o, name, &b, NULL), TT_OK);
        assert_int_equal(tt_json_get_string(o, name, &s, NULL), TT_OK);
    }
    assert_true(i == 24 && d == 4.5 && b);
    assert_string_equal(s, "default");
    json_object_put(o);
}

static void a_wrong_type_names_member_expected_and_found(void **state) {
    (void)state;
    json_object *o =
        parsed("{\"text\":\"24\",\"list\":[],\"flag\":true,\"number\":1,\"object\":{}}");
    int64_t i;
    double d;
    bool b;
    const char *s;
    tt_err err;
    assert_int_equal(tt_json_get_i64(o, "text", &i, &err), TT_E_INVALID);
    assert_string_equal(err.message, "text: expected a whole number, found a string");
    assert_int_equal(tt_json_get_double(o, "list", &d, &err), TT_E_INVALID);
    assert_string_equal(err.message, "list: expected a number, found an array");
    assert_int_equal(tt_json_get_bool(o, "number", &b, &err), TT_E_INVALID);
    assert_string_equal(err.message, "number: expected true or false, found a number");
    assert_int_equal(tt_json_get_string(o, "object", &s, &err), TT_E_INVALID);
    assert_string_equal(err.message, "object: expected a string, found an object");
    assert_int_equal(tt_json_get_i64(o, "flag", &i, &err), TT_E_INVALID);
    assert_string_equal(err.message, "flag: expected a whole number, found a boolean");
    json_object_put(o);
}

static void what_is_not_there_as_meant_is_otherwise(void **state) {
    static const char *const names[] = {"absent", "null", "object"};
    (void)state;
    json_object *o = parsed("{\"null\":null,\"object\":{\"n\":24},\"list\":[1,2],\"text\":\"t\","
                            "\"half\":4.5,\"off\":false}");
    json_object *nowhere[] = {o, tt_json_value(o, "list"), NULL};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            assert_string_equal(tt_json_text(nowhere[k], names[i], "none"), "none");
            assert_true(tt_json_i64(nowhere[k], names[i], 7) == 7);
            assert_true(tt_json_double(nowhere[k], names[i], 0.5) == 0.5);
            assert_true(tt_json_bool(nowhere[k], names[i], true));
        }
    assert_null(tt_json_value(NULL, "n"));
    assert_null(tt_json_value(o, "null"));
    assert_true(tt_json_i64(tt_json_value(o, "object"), "n", 7) == 24);
    assert_string_equal(tt_json_text(o, "text", NULL), "t");
    assert_true(tt_json_double(o, "half", 0) == 4.5);
    assert_true(tt_json_i64(o, "half", 7) == 7);
    assert_false(tt_json_bool(o, "off", true));
    assert_int_equal(tt_json_length(tt_json_value(o, "list")), 2);
    assert_int_equal(tt_json_length(o), 0);
    assert_int_equal(tt_json_length(NULL), 0);
    json_object_put(o);
}

static void every_string_survives_a_round_trip(void **state) {
    (void)state;
    char text[200];
    size_t size = 0;
    for (int c = 0; c < 0x80; c++) text[size++] = (char)c;
    memcpy(text + size, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x85", 9);
    size += 9;
    tt_buf b;
    tt_buf_init(&b, 4096);
    assert_int_equal(tt_json_append_string(&b, text, size, NULL), TT_OK);
    json_object *o;
    assert_int_equal(tt_json_parse(b.data, b.size, &o, NULL), TT_OK);
    assert_int_equal(json_object_get_string_len(o), size);
    assert_memory_equal(json_object_get_string(o), text, size);
    json_object_put(o);
    tt_buf_release(&b);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    const char *text = "{\"a\": \"some text\"}";
    json_object *o;
    tt_alloc_fail_after(0); /* our only one: the decoded string */
    assert_int_equal(tt_json_parse(text, strlen(text), &o, NULL), TT_E_NOMEM);
    assert_null(o);
    tt_alloc_fail_after(-1);
}

static void errors_in_a_file_name_the_file(void **state) {
    (void)state;
    char path[] = "test_json.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(tt_file_write(path, "{\"a\":}", 6, NULL), TT_OK);
    json_object *o;
    tt_err err;
    assert_int_equal(tt_json_read_file(path, &o, &err), TT_E_FORMAT);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "line 1, column 6"));
    assert_int_equal(err.position, 5);
    assert_int_equal(tt_file_write(path, "", 0, NULL), TT_OK);
    assert_int_equal(tt_json_read_file(path, &o, &err), TT_E_FORMAT);
    unlink(path);
    assert_int_equal(tt_json_read_file(path, &o, &err), TT_E_NOT_FOUND);
}

static void texts_beyond_the_limit_are_refused_unread(void **state) {
    (void)state;
    json_object *o;
    assert_int_equal(tt_json_parse("1", TT_MAX_JSON_BYTES + 1, &o, NULL), TT_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_are_accepted),
        cmocka_unit_test(invalid_texts_are_refused_where_they_break),
        cmocka_unit_test(the_message_has_line_and_column),
        cmocka_unit_test(a_byte_order_mark_is_named),
        cmocka_unit_test(a_nul_inside_the_text_is_refused),
        cmocka_unit_test(every_cut_of_a_text_is_refused),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(whole_numbers_of_64_bits_are_exact),
        cmocka_unit_test(decimal_numbers_are_written_back_as_they_came),
        cmocka_unit_test(absent_and_null_members_keep_the_default),
        cmocka_unit_test(a_wrong_type_names_member_expected_and_found),
        cmocka_unit_test(what_is_not_there_as_meant_is_otherwise),
        cmocka_unit_test(every_string_survives_a_round_trip),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(errors_in_a_file_name_the_file),
        cmocka_unit_test(texts_beyond_the_limit_are_refused_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
