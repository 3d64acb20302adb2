/* Weights: ComfyUI's rules, and what every syntax refuses. A1111's and compel's rules have their cases in
 * tests/golden/test_prompts.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/prompt_segments.h"

typedef struct expected {
    const char *text;
    double weight;
} expected;

static void expect(const char *text, tt_prompt_syntax syntax, const expected *e, size_t n) {
    tt_segments found;
    tt_err err;
    if (tt_segments_parse(text, strlen(text), syntax, &found, &err) != TT_OK)
        fail_msg("%s: %s", text, err.message);
    if (found.n != n) fail_msg("%s: %zu segments, expected %zu", text, found.n, n);
    for (size_t i = 0; i < n; i++) {
        const tt_segment *s = &found.items[i];
        if (s->size != strlen(e[i].text) ||
            memcmp(found.text.data + s->begin, e[i].text, s->size) ||
            fabs(s->weight - e[i].weight) > 1e-9)
            fail_msg("%s: segment %zu is \"%.*s\" x %g", text, i, (int)s->size,
                     found.text.data + s->begin, s->weight);
    }
    tt_segments_release(&found);
}

#define EXPECT(text, syntax, ...)                         \
    expect(text, syntax, (const expected[]){__VA_ARGS__}, \
           sizeof((const expected[]){__VA_ARGS__}) / sizeof(expected))

static tt_status refused(const char *text, tt_prompt_syntax syntax, tt_err *err) {
    tt_segments found;
    tt_status status = tt_segments_parse(text, strlen(text), syntax, &found, err);
    tt_segments_release(&found);
    return status;
}

/* From the behaviour of ComfyUI's token_weights. */
static void comfy_sets_a_weight_and_multiplies_without_one(void **state) {
    (void)state;
    EXPECT("a (b) c", TT_PROMPT_COMFY, {"a ", 1}, {"b", 1.1}, {" c", 1});
    EXPECT("(a:1.3)", TT_PROMPT_COMFY, {"a", 1.3});
    EXPECT("((a))", TT_PROMPT_COMFY, {"a", 1.21});
    EXPECT("((a:1.2))", TT_PROMPT_COMFY, {"a", 1.2});
    EXPECT("(a (b:0.5) c:2)", TT_PROMPT_COMFY, {"a ", 2}, {"b", 0.5}, {" c", 2});
    EXPECT("(a: 1.3 )", TT_PROMPT_COMFY, {"a", 1.3});
    EXPECT("(a:1e-1)", TT_PROMPT_COMFY, {"a", 0.1});
    EXPECT("(a:b)", TT_PROMPT_COMFY, {"a:b", 1.1});
    EXPECT("(:1.2)", TT_PROMPT_COMFY, {":1.2", 1.1});
    EXPECT("[a]", TT_PROMPT_COMFY, {"[a]", 1});
}

static void comfy_takes_unbalanced_brackets_for_text(void **state) {
    (void)state;
    EXPECT("(a", TT_PROMPT_COMFY, {"(a", 1});
    EXPECT("a)", TT_PROMPT_COMFY, {"a)", 1});
    EXPECT("a) (b)", TT_PROMPT_COMFY, {"a) (b)", 1});
    EXPECT("(a (b)", TT_PROMPT_COMFY, {"a ", 1.1}, {"(b", 1.1});
    EXPECT("\\(a\\) \\b", TT_PROMPT_COMFY, {"(a) \\b", 1});
    EXPECT("(a\\))", TT_PROMPT_COMFY, {"a)", 1.1});
}

static void compel_resolves_quotes_and_escapes(void **state) {
    (void)state;
    EXPECT("\"a (b)\"++ c", TT_PROMPT_COMPEL, {"a (b)", 1.21}, {" c", 1});
    EXPECT("a\\+ \\(b\\)", TT_PROMPT_COMPEL, {"a+ (b)", 1});
    EXPECT("\"say \\\"hi\\\"\"-", TT_PROMPT_COMPEL, {"say \"hi\"", 0.9});
}

static void compel_refuses_what_it_cannot_mean(void **state) {
    (void)state;
    static const char *const invalid[] = {"(a", "a)", "\"a", "(a)1.2.3"};
    static const char *const unsupported[] = {"(\"a\", \"b\").and()", "(a, b).blend(1, 2)",
                                              "\"a\".swap(b)"};
    tt_err err;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        assert_int_equal(refused(invalid[i], TT_PROMPT_COMPEL, &err), TT_E_INVALID);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        assert_int_equal(refused(unsupported[i], TT_PROMPT_COMPEL, &err), TT_E_UNSUPPORTED);
}

static void plain_text_is_left_alone(void **state) {
    (void)state;
    EXPECT("((a:1.2) [b] \\( BREAK +", TT_PROMPT_PLAIN, {"((a:1.2) [b] \\( BREAK +", 1});
    EXPECT("", TT_PROMPT_PLAIN, {"", 1});
}

static void text_without_syntax_survives_every_syntax(void **state) {
    (void)state;
    static const char text[] =
        "masterpiece, 1girl, caf\xc3\xa9, \xe6\x97\xa5\xe6\x9c\xac; what?! x_y 50% & more...";
    for (int s = 0; s < TT_PROMPT_SYNTAXES; s++) EXPECT(text, (tt_prompt_syntax)s, {text, 1});
}

static void weights_beyond_the_limit_are_refused(void **state) {
    (void)state;
    tt_err err;
    EXPECT("(a:10)", TT_PROMPT_A1111, {"a", 10});
    EXPECT("(a:-10)", TT_PROMPT_A1111, {"a", -10});
    assert_int_equal(refused("(a:10.1)", TT_PROMPT_A1111, &err), TT_E_INVALID);
    assert_int_equal(refused("((a:9):9)", TT_PROMPT_A1111, &err), TT_E_INVALID);
    assert_int_equal(refused("((((((((((((((((((((((((((a", TT_PROMPT_A1111, &err), TT_E_INVALID);
    assert_int_equal(refused("(a:11)", TT_PROMPT_COMFY, &err), TT_E_INVALID);
    assert_int_equal(refused("(a)11", TT_PROMPT_COMPEL, &err), TT_E_INVALID);
    EXPECT("(a:inf)", TT_PROMPT_COMFY, {"a:inf", 1.1});
}

static void weight_that_is_no_number_is_refused_with_its_place(void **state) {
    (void)state;
    tt_err err;
    assert_int_equal(refused("ab (c:1.2.3)", TT_PROMPT_A1111, &err), TT_E_INVALID);
    assert_int_equal(err.position, 6);
    assert_int_equal(refused("(c:.)", TT_PROMPT_A1111, &err), TT_E_INVALID);
}

static void deep_brackets_are_refused_in_every_syntax(void **state) {
    (void)state;
    char text[2 * (TT_MAX_PROMPT_NESTING + 1) + 1] = "";
    tt_err err;
    memset(text, '(', TT_MAX_PROMPT_NESTING + 1);
    memset(text + TT_MAX_PROMPT_NESTING + 1, ')', TT_MAX_PROMPT_NESTING + 1);
    for (int s = 0; s < TT_PROMPT_PLAIN; s++)
        assert_int_equal(refused(text, (tt_prompt_syntax)s, &err), TT_E_INVALID);
}

static void too_many_segments_are_refused(void **state) {
    (void)state;
    static char text[4 * TT_MAX_PROMPT_SEGMENTS + 1];
    tt_err err;
    for (size_t i = 0; i < TT_MAX_PROMPT_SEGMENTS; i++) memcpy(text + 4 * i, "(a)b", 4);
    assert_int_equal(refused(text, TT_PROMPT_A1111, &err), TT_E_INVALID);
    assert_int_equal(refused(text, TT_PROMPT_COMFY, &err), TT_E_INVALID);
}

static void many_pieces_of_one_weight_are_few_segments(void **state) {
    (void)state;
    static char text[TT_MAX_PROMPT_BYTES + 1];
    tt_segments found;
    memset(text, ':', TT_MAX_PROMPT_BYTES);
    text[0] = '(';
    assert_int_equal(tt_segments_parse(text, TT_MAX_PROMPT_BYTES, TT_PROMPT_A1111, &found, NULL),
                     TT_OK);
    assert_int_equal(found.n, 1);
    tt_segments_release(&found);
    for (size_t i = 1; i < TT_MAX_PROMPT_BYTES; i++) text[i] = i % 2 ? 'a' : ' ';
    text[TT_MAX_PROMPT_BYTES - 1] = ')';
    assert_int_equal(tt_segments_parse(text, TT_MAX_PROMPT_BYTES, TT_PROMPT_COMPEL, &found, NULL),
                     TT_OK);
    assert_int_equal(found.n, 1);
    tt_segments_release(&found);
    memset(text, '+', TT_MAX_PROMPT_BYTES); /* one word of one character, raised beyond the limit */
    assert_int_equal(tt_segments_parse(text, TT_MAX_PROMPT_BYTES, TT_PROMPT_COMPEL, &found, NULL),
                     TT_E_INVALID);
    tt_segments_release(&found);
}

static void any_failed_allocation_is_survived(void **state) {
    (void)state;
    static const char text[] = "a (b) (c:1.2) d (e) f (g) h (i) j (k) BREAK l";
    for (int s = 0; s < TT_PROMPT_SYNTAXES; s++) {
        tt_status status = TT_E_NOMEM;
        for (int n = 0; status != TT_OK; n++) {
            tt_segments found;
            tt_alloc_fail_after(n);
            status = tt_segments_parse(text, sizeof text - 1, (tt_prompt_syntax)s, &found, NULL);
            tt_alloc_fail_after(-1);
            assert_true(status == TT_OK || status == TT_E_NOMEM);
            tt_segments_release(&found);
            assert_true(n < 1000);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comfy_sets_a_weight_and_multiplies_without_one),
        cmocka_unit_test(comfy_takes_unbalanced_brackets_for_text),
        cmocka_unit_test(compel_resolves_quotes_and_escapes),
        cmocka_unit_test(compel_refuses_what_it_cannot_mean),
        cmocka_unit_test(plain_text_is_left_alone),
        cmocka_unit_test(text_without_syntax_survives_every_syntax),
        cmocka_unit_test(weights_beyond_the_limit_are_refused),
        cmocka_unit_test(weight_that_is_no_number_is_refused_with_its_place),
        cmocka_unit_test(deep_brackets_are_refused_in_every_syntax),
        cmocka_unit_test(too_many_segments_are_refused),
        cmocka_unit_test(many_pieces_of_one_weight_are_few_segments),
        cmocka_unit_test(any_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
