/* Opening prompts, tags and schedules: what prompt.h promises beyond the cases of tests/golden/test_prompts.c. The
 * meaning of the tags is A1111's own documentation's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/prompt.h"

static tt_prompt *opened(const char *text) {
    tt_prompt *p;
    tt_err err;
    if (tt_prompt_open(text, strlen(text), TT_PROMPT_A1111, &p, &err) != TT_OK)
        fail_msg("%s: %s", text, err.message);
    return p;
}

static tt_status refused(const char *text, tt_err *err) {
    tt_prompt *p;
    tt_status status = tt_prompt_open(text, strlen(text), TT_PROMPT_A1111, &p, err);
    assert_null(p);
    return status;
}

static void expect_text(const char *text, int step, int n_steps, const char *expected) {
    tt_prompt *p = opened(text);
    tt_buf found;
    tt_buf_init(&found, TT_MAX_PROMPT_BYTES);
    assert_int_equal(tt_prompt_at_step(p, step, n_steps, &found, NULL), TT_OK);
    assert_string_equal(found.data ? found.data : "", expected);
    tt_buf_release(&found);
    tt_prompt_close(p);
}

/* ---- tags ------------------------------------------------------------------------------------------- */

static void expect_lora(const char *text, const char *name, double te, double unet) {
    tt_prompt *p = opened(text);
    size_t n;
    const tt_prompt_lora *loras = tt_prompt_loras(p, &n);
    assert_int_equal(n, 1);
    assert_string_equal(loras[0].name, name);
    assert_float_equal(loras[0].te, te, 1e-6);
    assert_float_equal(loras[0].unet, unet, 1e-6);
    tt_prompt_close(p);
}

static void lora_strengths_are_the_text_encoders_then_the_unets(void **state) {
    (void)state;
    expect_lora("<lora:x>", "x", 1, 1);
    expect_lora("<lora:x:0.8>", "x", 0.8, 0.8);
    expect_lora("<lora:x:0.8:0.5>", "x", 0.8, 0.5);
    expect_lora("<lora:x:te=0.3:unet=0.7>", "x", 0.3, 0.7);
    expect_lora("<lora:x:0.4:te=0.3>", "x", 0.3, 0.3);
    expect_lora("<lora:x:unet=0.7>", "x", 1, 0.7);
    expect_lora("<lyco: a b : -1 >", "a b", -1, -1);
}

static void tags_are_taken_out_of_the_text(void **state) {
    (void)state;
    expect_text("a <lora:x:1>cat<lora:y>", 0, 1, "a cat");
    expect_text("a (<lora:x:1>cat:1.2) <b> < c:d", 0, 1, "a (cat:1.2) <b> < c:d");
    expect_text("<lora:only:1>", 0, 1, "");
}

static void same_lora_twice_is_two(void **state) {
    (void)state;
    tt_prompt *p = opened("<lora:x:1> and <lora:x:0.5>");
    size_t n;
    assert_non_null(tt_prompt_loras(p, &n));
    assert_int_equal(n, 2);
    tt_prompt_close(p);
}

static void unknown_tags_are_taken_out_and_counted(void **state) {
    (void)state;
    tt_prompt *p = opened("a <wildcard:x> b");
    assert_int_equal(tt_prompt_unknown_tags(p), 1);
    tt_prompt_close(p);
    expect_text("a <wildcard:x> b", 0, 1, "a  b");
}

static void wrong_tags_are_refused_with_their_place(void **state) {
    (void)state;
    static const char *const texts[] = {
        "ab <lora:x:y>", "ab <lora:x:1:2:3>",   "ab <lora:x:nan>",  "ab <lora:x:1000>",
        "ab <lora: :1>", "ab <lora:x:lbw=ALL>", "ab <lora:x:0x10>", "ab <lora:x:1e99>"};
    tt_err err;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(refused(texts[i], &err), TT_E_INVALID);
        assert_int_equal(err.position, 3);
    }
    assert_int_equal(refused("<hypernet:x:1>", &err), TT_E_UNSUPPORTED);
}

static void too_many_loras_are_refused(void **state) {
    (void)state;
    char text[(TT_MAX_PROMPT_LORAS + 1) * 8 + 1] = "";
    for (size_t i = 0; i <= TT_MAX_PROMPT_LORAS; i++) memcpy(text + i * 8, "<lora:x>", 9);
    assert_int_equal(refused(text, NULL), TT_E_INVALID);
    text[TT_MAX_PROMPT_LORAS * 8] = '\0';
    tt_prompt_close(opened(text));
}

static void other_syntaxes_know_no_tags(void **state) {
    (void)state;
    static const char text[] = "a <lora:x:1> [b:c:3]";
    for (int s = TT_PROMPT_COMFY; s < TT_PROMPT_SYNTAXES; s++) {
        tt_prompt *p;
        tt_buf found;
        tt_buf_init(&found, TT_MAX_PROMPT_BYTES);
        assert_int_equal(tt_prompt_open(text, sizeof text - 1, (tt_prompt_syntax)s, &p, NULL),
                         TT_OK);
        assert_int_equal(tt_prompt_at_step(p, 5, 10, &found, NULL), TT_OK);
        assert_string_equal(found.data, text);
        tt_buf_release(&found);
        tt_prompt_close(p);
    }
}

/* ---- schedules -------------------------------------------------------------------------------------- */

static void editing_changes_after_its_step(void **state) {
    (void)state;
    expect_text("[cat:dog:3]", 3, 10, "cat");
    expect_text("[cat:dog:3]", 4, 10, "dog");
    expect_text("[cat:dog:0.5]", 5, 10, "cat");
    expect_text("[cat:dog:0.5]", 6, 10, "dog");
    expect_text("a[ cat::0.5]", 9, 10, "a");
    expect_text("[:cat:0]", 0, 10, "cat");
}

static void alternation_changes_with_every_step(void **state) {
    (void)state;
    static const char *const expected[] = {"a", "a", "b", "c", "a"};
    for (int step = 0; step < 5; step++) expect_text("[a|b|c]", step, 10, expected[step]);
}

static void escaped_bars_and_colons_stay(void **state) {
    (void)state;
    expect_text("[a\\|b|c]", 2, 10, "c");
    expect_text("[a\\|b|c]", 1, 10, "a\\|b");
    expect_text("\\[a:b:3]", 9, 10, "\\[a:b:3]");
}

static void schedule_lists_each_text_once(void **state) {
    (void)state;
    tt_prompt *p = opened("[a|b] [c:d:4]");
    const tt_prompt *const prompts[] = {p, NULL};
    tt_prompt_schedule s;
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, 8, NULL), TT_OK);
    assert_int_equal(s.n_variants, 4);
    static const char *const expected[] = {"a c", "a c", "b c", "a c", "b c", "a d", "b d", "a d"};
    for (int step = 0; step < 8; step++)
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++)
            assert_string_equal(s.texts[s.variant_of_step[step]][i].data, expected[step]);
    tt_prompt_schedule_release(&s);
    tt_prompt_close(p);
}

static void second_prompt_is_the_second_encoders(void **state) {
    (void)state;
    tt_prompt *a = opened("[a:b:4]"), *b = opened("[c:d:6]");
    const tt_prompt *const prompts[] = {a, b};
    tt_prompt_schedule s;
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, 10, NULL), TT_OK);
    assert_int_equal(s.n_variants, 3);
    assert_string_equal(s.texts[1][0].data, "b");
    assert_string_equal(s.texts[1][1].data, "c");
    tt_prompt_schedule_release(&s);
    tt_prompt_close(a);
    tt_prompt_close(b);
}

static void prompt_without_schedule_has_one_text(void **state) {
    (void)state;
    tt_prompt *p = opened("");
    const tt_prompt *const prompts[] = {p, NULL};
    tt_prompt_schedule s;
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, TT_MAX_STEPS, NULL), TT_OK);
    assert_int_equal(s.n_variants, 1);
    assert_string_equal(s.texts[0][0].data, "");
    tt_prompt_schedule_release(&s);
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, 0, NULL), TT_E_INVALID);
    tt_prompt_close(p);
}

static void too_many_texts_are_refused(void **state) {
    (void)state;
    char text[3 * (TT_MAX_PROMPT_VARIANTS + 1) + 2];
    size_t n = 0;
    for (int i = 0; i <= TT_MAX_PROMPT_VARIANTS; i++) {
        text[n++] = i ? '|' : '[';
        text[n++] = (char)('0' + i / 10);
        text[n++] = (char)('0' + i % 10);
    }
    text[n++] = ']';
    text[n] = '\0';
    tt_prompt *p = opened(text);
    const tt_prompt *const prompts[] = {p, NULL};
    tt_prompt_schedule s;
    tt_err err;
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, 100, &err), TT_E_INVALID);
    assert_null(s.texts);
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, 20, &err), TT_OK);
    tt_prompt_schedule_release(&s);
    tt_prompt_close(p);
}

/* ---- limits and memory ------------------------------------------------------------------------------ */

static void limits_are_kept(void **state) {
    (void)state;
    static char text[TT_MAX_PROMPT_BYTES + 2];
    tt_err err;
    memset(text, 'a', sizeof text - 1);
    assert_int_equal(refused(text, &err), TT_E_INVALID);
    text[TT_MAX_PROMPT_BYTES] = '\0';
    tt_prompt_close(opened(text));
    memset(text, '(', TT_MAX_PROMPT_NESTING + 1);
    assert_int_equal(refused(text, &err), TT_E_INVALID);
    assert_int_equal(err.position, TT_MAX_PROMPT_NESTING);
    assert_int_equal(refused("ab\xff", &err), TT_E_INVALID);
    assert_int_equal(err.position, 2);
}

static void longest_prompt_of_brackets_is_read_at_every_step(void **state) {
    (void)state;
    static char text[TT_MAX_PROMPT_BYTES + 1];
    for (size_t i = 0; i + 5 <= TT_MAX_PROMPT_BYTES; i += 5) memcpy(text + i, "[a|b]", 5);
    tt_prompt *p = opened(text);
    const tt_prompt *const prompts[] = {p, NULL};
    tt_prompt_schedule s;
    assert_int_equal(tt_prompt_schedule_init(&s, prompts, 100, NULL), TT_OK);
    assert_int_equal(s.n_variants, 2);
    tt_prompt_schedule_release(&s);
    tt_prompt_close(p);
}

static tt_status open_and_schedule(void) {
    static const char text[] = "a [b:c:3] ([d|e]:1.2) <lora:x:1> <lora:y:2>";
    tt_prompt *p;
    tt_prompt_schedule s = {0};
    tt_status status = tt_prompt_open(text, sizeof text - 1, TT_PROMPT_A1111, &p, NULL);
    const tt_prompt *const prompts[] = {p, NULL};
    if (status == TT_OK) status = tt_prompt_schedule_init(&s, prompts, 10, NULL);
    tt_prompt_schedule_release(&s);
    tt_prompt_close(p);
    return status;
}

static void any_failed_allocation_is_survived(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_alloc_fail_after(n);
        status = open_and_schedule();
        tt_alloc_fail_after(-1);
        assert_true(status == TT_OK || status == TT_E_NOMEM);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lora_strengths_are_the_text_encoders_then_the_unets),
        cmocka_unit_test(tags_are_taken_out_of_the_text),
        cmocka_unit_test(same_lora_twice_is_two),
        cmocka_unit_test(unknown_tags_are_taken_out_and_counted),
        cmocka_unit_test(wrong_tags_are_refused_with_their_place),
        cmocka_unit_test(too_many_loras_are_refused),
        cmocka_unit_test(other_syntaxes_know_no_tags),
        cmocka_unit_test(editing_changes_after_its_step),
        cmocka_unit_test(alternation_changes_with_every_step),
        cmocka_unit_test(escaped_bars_and_colons_stay),
        cmocka_unit_test(schedule_lists_each_text_once),
        cmocka_unit_test(second_prompt_is_the_second_encoders),
        cmocka_unit_test(prompt_without_schedule_has_one_text),
        cmocka_unit_test(too_many_texts_are_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(longest_prompt_of_brackets_is_read_at_every_step),
        cmocka_unit_test(any_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
