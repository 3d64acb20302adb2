/* Checking JSON without a tree, and finding members in its text. The truth for the check is tt_json_parse: verdict, code,
 * position and sentence must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void agrees(const char *text, size_t size) {
    json_object *o;
    tt_err parse = {.position = -1}, check = {.position = -1};
    tt_status status = tt_json_parse(text, size, &o, &parse);
    json_object_put(o);
    if (tt_json_check(text, size, TT_MAX_JSON_BYTES, &check) != status ||
        parse.position != check.position || strcmp(parse.message, check.message) != 0)
        fail_msg("%.*s: parse says \"%s\", check says \"%s\"", (int)size, text, parse.message,
                 check.message);
}

static const char EVERYTHING[] =
    " {\"id\": \"a-\\u00e9\\ud83c\\udf05\\n\", \"n\": [1, -2.5e3, 1e999, true, null, {}], "
    "\"input\": {\"prompt\": \"caf\xc3\xa9 \xf0\x9f\x8c\x85\", \"id\": 7, \"i\\u0064\": 8}} ";

static void the_check_agrees_with_the_parser_on_every_cut_and_change(void **state) {
    (void)state;
    char *copy = tt_alloc(sizeof EVERYTHING - 1); /* exact: a byte read too far is seen */
    size_t size = sizeof EVERYTHING - 1;
    memcpy(copy, EVERYTHING, size);
    for (size_t i = 0; i < size; i++) {
        agrees(copy, i);
        for (int change = 0; change < 256; change++) {
            copy[i] = (char)change;
            agrees(copy, size);
        }
        copy[i] = EVERYTHING[i];
    }
    tt_free(copy);
}

static void the_check_agrees_on_names_numbers_and_depth(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}]}",
        "{\"a\\u0000b\":1}",
        "{\"\":1,\"\":2}",
        "1e308",
        "1e309",
        "-1e309",
        "1e-999",
        "18446744073709551616",
    };
    for (size_t i = 0; i < COUNT(TEXTS); i++) agrees(TEXTS[i], strlen(TEXTS[i]));
    char text[400];
    for (size_t digits = 300; digits < 330; digits++) {
        memset(text, '9', digits);
        agrees(text, digits);
        text[5] = '.';
        agrees(text, digits);
    }
    for (size_t depth = TT_MAX_JSON_DEPTH - 1; depth < TT_MAX_JSON_DEPTH + 3; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        agrees(text, 2 * depth);
    }
}

/* Long runs are taken a word at a time: the byte that ends one is put at every offset. */
static void a_byte_that_ends_a_run_is_seen_at_every_offset(void **state) {
    (void)state;
    static const char BYTES[] = "\"\\\x1f\x01\n\x7f\x80\xff\xc3 !#[]";
    enum { N = 90 };
    for (size_t at = 1; at + 1 < N; at++)
        for (size_t b = 0; b < sizeof BYTES; b++) { /* the NUL as well */
            char *text = tt_alloc(N);
            memset(text, 'A', N);
            text[0] = text[N - 1] = '"';
            text[at] = BYTES[b];
            agrees(text, N);
            tt_free(text);
        }
}

static void the_limit_is_the_callers(void **state) {
    (void)state;
    tt_err err;
    assert_int_equal(tt_json_check("[1]", 3, 3, &err), TT_OK);
    assert_int_equal(tt_json_check("[1]", 3, 2, &err), TT_E_INVALID);
    assert_string_equal(err.message, "JSON text has 3 bytes, the limit is 2");
    size_t size = TT_MAX_JSON_BYTES + 2;
    char *text = tt_alloc(size);
    memset(text, 'A', size);
    text[0] = text[size - 1] = '"';
    assert_int_equal(tt_json_check(text, size, size, &err), TT_OK);
    text[size / 2] = '\n';
    assert_int_equal(tt_json_check(text, size, size, &err), TT_E_FORMAT);
    assert_int_equal(err.position, size / 2);
    tt_free(text);
}

static void assert_member(const char *text, const char *name, const char *expected) {
    const char *value = NULL;
    size_t size = 0;
    bool found = tt_json_member(text, strlen(text), name, &value, &size);
    if (!expected) {
        assert_false(found);
        return;
    }
    if (!found || size != strlen(expected) || memcmp(value, expected, size) != 0)
        fail_msg("%s of %s: expected %s, found %.*s", name, text, expected, (int)size,
                 found ? value : "");
}

static void members_are_found_as_they_were_written(void **state) {
    (void)state;
    static const char TEXT[] =
        "\t{ \"input\" :{\"id\":1, \"s\":\"}]\\\"\" } , \"list\":[ [1], {\"a\":[]} ],\"e\":{}, "
        "\"s\":\"a\\\\\",\"n\":-1.5e3 ,\"t\":true,\"null\":null}\n";
    assert_int_equal(tt_json_check(TEXT, sizeof TEXT - 1, SIZE_MAX, NULL), TT_OK);
    assert_member(TEXT, "input", "{\"id\":1, \"s\":\"}]\\\"\" }");
    assert_member(TEXT, "list", "[ [1], {\"a\":[]} ]");
    assert_member(TEXT, "e", "{}");
    assert_member(TEXT, "s", "\"a\\\\\"");
    assert_member(TEXT, "n", "-1.5e3");
    assert_member(TEXT, "t", "true");
    assert_member(TEXT, "null", "null");
    assert_member(TEXT, "id", NULL); /* not of the top level */
    assert_member(TEXT, "", NULL);
    assert_member("{\"\":0}", "", "0");
    assert_member("{}", "a", NULL);
    assert_member("[\"a\"]", "a", NULL);
    assert_member("\"a\"", "a", NULL);
    assert_member("7", "a", NULL);
}

static void names_are_compared_with_their_escapes_undone(void **state) {
    (void)state;
    assert_member("{\"\\u0069d\":1}", "id", "1");
    assert_member("{\"id\\u0031\":1}", "id", NULL);
    assert_member("{\"\\u0069\":1}", "id", NULL);
    assert_member("{\"a\\/b\\n\":1}", "a/b\n", "1");
    assert_member("{\"\\ud83c\\udf05\\u00e9\":1}", "\xf0\x9f\x8c\x85\xc3\xa9", "1");
    assert_member("{\"\\ud83c\\udf05\":1}", "\xf0\x9f\x8c", NULL);
}

static void members_are_walked_in_order(void **state) {
    (void)state;
    static const char TEXT[] = "{\"a\\n\" : 1,\"\":[2] , \"c\":\"3\"}";
    static const char *const NAMES[] = {"a\\n", "", "c"}, *const VALUES[] = {"1", "[2]", "\"3\""};
    const char *name, *value;
    size_t at = 0, name_size, value_size, size = sizeof TEXT - 1;
    for (size_t n = 0; n < COUNT(NAMES); n++) {
        assert_true(tt_json_next_member(TEXT, size, &at, &name, &name_size, &value, &value_size));
        assert_int_equal(name_size, strlen(NAMES[n]));
        assert_memory_equal(name, NAMES[n], name_size);
        assert_int_equal(value_size, strlen(VALUES[n]));
        assert_memory_equal(value, VALUES[n], value_size);
    }
    assert_false(tt_json_next_member(TEXT, size, &at, &name, &name_size, &value, &value_size));
}

/* json-c knows the top-level members of any valid text. */
static void members_are_those_of_the_tree(void **state) {
    (void)state;
    static const char TEXT[] = "{\"a\":[1,[2,{\"b\":\"]}\"}]],\"\\\"\":\"\\\\\",\"c\":{\"d\":{}}}";
    json_object *tree;
    assert_int_equal(tt_json_parse(TEXT, sizeof TEXT - 1, &tree, NULL), TT_OK);
    int n = 0;
    json_object_object_foreach(tree, key, expected) {
        const char *value;
        size_t size;
        json_object *found;
        assert_true(tt_json_member(TEXT, sizeof TEXT - 1, key, &value, &size));
        assert_int_equal(tt_json_parse(value, size, &found, NULL), TT_OK);
        assert_true(json_object_equal(found, expected));
        json_object_put(found);
        n++;
    }
    assert_int_equal(n, 3);
    json_object_put(tree);
}

static void text_that_is_not_valid_is_walked_without_harm(void **state) {
    (void)state;
    size_t size = sizeof EVERYTHING - 1;
    for (size_t cut = 0; cut <= size; cut++) {
        char *copy = tt_alloc(cut);
        memcpy(copy, EVERYTHING, cut);
        const char *value;
        size_t value_size;
        if (tt_json_member(copy, cut, "input", &value, &value_size))
            assert_true(value >= copy && value + value_size <= copy + cut);
        tt_free(copy);
    }
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    tt_alloc_fail_after(0); /* our only one: the decoded name */
    assert_int_equal(tt_json_check("{\"a\": 1}", 8, SIZE_MAX, NULL), TT_E_NOMEM);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_json_check("[\"a\"]", 5, SIZE_MAX, NULL), TT_OK); /* needs none */
    tt_alloc_fail_after(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_agrees_with_the_parser_on_every_cut_and_change),
        cmocka_unit_test(the_check_agrees_on_names_numbers_and_depth),
        cmocka_unit_test(a_byte_that_ends_a_run_is_seen_at_every_offset),
        cmocka_unit_test(the_limit_is_the_callers),
        cmocka_unit_test(members_are_found_as_they_were_written),
        cmocka_unit_test(names_are_compared_with_their_escapes_undone),
        cmocka_unit_test(members_are_walked_in_order),
        cmocka_unit_test(members_are_those_of_the_tree),
        cmocka_unit_test(text_that_is_not_valid_is_walked_without_harm),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
