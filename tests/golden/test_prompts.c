/* Prompts against a second implementation of the same rules (tools/golden/prompts.py): segments and their weights, the text of
 * every step, and chunks of token ids. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "support/golden_data.h"
#include "text/chunks.h"
#include "text/prompt.h"
#include "text/prompt_segments.h"

/* Weights are the same multiplications in the same order; compel's powers may differ in the last bit. */
#define LARGEST_WEIGHT_ERROR 1e-12

static json_object *member(json_object *c, const char *name) {
    json_object *value = NULL;
    assert_true(json_object_object_get_ex(c, name, &value));
    return value;
}

static bool is_kind(json_object *c, const char *kind) {
    return strcmp(tt_golden_string(c, "kind"), kind) == 0;
}

static const char *text_of(json_object *c, size_t *size) {
    json_object *text = member(c, "text");
    *size = (size_t)json_object_get_string_len(text);
    return json_object_get_string(text);
}

/* ---- segments --------------------------------------------------------------------------------------- */

static bool same_segment(const tt_segments *found, size_t i, json_object *expected) {
    const tt_segment *s = &found->items[i];
    if (!expected || s->is_break) return !expected && s->is_break;
    json_object *text = json_object_array_get_idx(expected, 0);
    double weight = json_object_get_double(json_object_array_get_idx(expected, 1));
    return s->size == (size_t)json_object_get_string_len(text) &&
           memcmp(found->text.data + s->begin, json_object_get_string(text), s->size) == 0 &&
           fabs(s->weight - weight) <= LARGEST_WEIGHT_ERROR;
}

static void check_segments(json_object *c, tt_prompt_syntax syntax) {
    size_t size;
    const char *text = text_of(c, &size);
    json_object *expected = member(c, "segments");
    tt_segments found;
    tt_err err;
    if (tt_segments_parse(text, size, syntax, &found, &err) != TT_OK)
        fail_msg("%s: %s", text, err.message);
    if (found.n != json_object_array_length(expected))
        fail_msg("%s: %zu segments, expected %s", text, found.n,
                 json_object_to_json_string(expected));
    for (size_t i = 0; i < found.n; i++)
        if (!same_segment(&found, i, json_object_array_get_idx(expected, i)))
            fail_msg("%s: segment %zu is \"%.*s\" x %g, expected %s", text, i,
                     (int)found.items[i].size, found.text.data + found.items[i].begin,
                     found.items[i].weight, json_object_to_json_string(expected));
    tt_segments_release(&found);
}

static void segments_agree(const char *name, tt_prompt_syntax syntax, int n_least) {
    json_object *cases = tt_golden_cases("prompts.json");
    int checked = 0;
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        if (!is_kind(c, "segments") || strcmp(tt_golden_string(c, "syntax"), name) != 0) continue;
        check_segments(c, syntax);
        checked++;
    }
    assert_true(checked >= n_least);
    json_object_put(cases);
}

static void segments_agree_with_a1111s_rules(void **state) {
    (void)state;
    segments_agree("a1111", TT_PROMPT_A1111, 200);
}

static void segments_agree_with_compels_rules(void **state) {
    (void)state;
    segments_agree("compel", TT_PROMPT_COMPEL, 80);
}

/* ---- schedules -------------------------------------------------------------------------------------- */

static void check_schedule(json_object *c) {
    size_t size;
    const char *text = text_of(c, &size);
    int n_steps = tt_golden_int(c, "steps");
    tt_prompt *prompt;
    tt_err err;
    if (tt_prompt_open(text, size, TT_PROMPT_A1111, &prompt, &err) != TT_OK)
        fail_msg("%s: %s", text, err.message);
    for (int step = 0; step < n_steps; step++) {
        json_object *expected = json_object_array_get_idx(member(c, "texts"), (size_t)step);
        tt_buf found;
        tt_buf_init(&found, TT_MAX_PROMPT_BYTES);
        assert_int_equal(tt_prompt_at_step(prompt, step, n_steps, &found, NULL), TT_OK);
        if (strcmp(found.data ? found.data : "", json_object_get_string(expected)) != 0)
            fail_msg("%s, step %d: \"%s\", expected \"%s\"", text, step, found.data,
                     json_object_get_string(expected));
        tt_buf_release(&found);
    }
    tt_prompt_close(prompt);
}

static void texts_of_steps_agree_with_a1111s_grammar(void **state) {
    (void)state;
    json_object *cases = tt_golden_cases("prompts.json");
    int checked = 0;
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        if (!is_kind(c, "schedule")) continue;
        check_schedule(c);
        checked++;
    }
    assert_true(checked >= 120);
    json_object_put(cases);
}

/* ---- chunks ----------------------------------------------------------------------------------------- */

enum { POSITIONS = 77, PAD = 0 };

static void check_chunk(json_object *c, const tt_chunks *found, int chunk) {
    json_object *ids = json_object_array_get_idx(member(c, "ids"), (size_t)chunk);
    json_object *weights = json_object_array_get_idx(member(c, "weights"), (size_t)chunk);
    size_t n = json_object_array_length(ids), first = (size_t)chunk * POSITIONS;
    assert_int_equal(found->n_used[chunk], n);
    assert_int_equal(found->ids[first], 49406);
    assert_int_equal(found->ids[first + n + 1], 49407);
    for (size_t i = n + 2; i < POSITIONS; i++) assert_int_equal(found->ids[first + i], PAD);
    for (size_t i = 0; i < n; i++) {
        double weight = json_object_get_double(json_object_array_get_idx(weights, i));
        assert_int_equal(found->ids[first + i + 1],
                         json_object_get_int(json_object_array_get_idx(ids, i)));
        assert_true(fabs((double)found->weights[first + i + 1] - weight) < 1e-6);
    }
}

static void check_chunks(json_object *c, const tt_tokenizer *tokenizer) {
    size_t size;
    const char *text = text_of(c, &size);
    tt_chunk_options options = tt_chunk_options_for(TT_PROMPT_A1111);
    options.backtrack = tt_golden_int(c, "backtrack");
    options.n_positions = POSITIONS;
    options.pad_id = PAD;
    tt_segments segments;
    tt_chunks found;
    tt_err err;
    assert_int_equal(tt_segments_parse(text, size, TT_PROMPT_A1111, &segments, NULL), TT_OK);
    if (tt_chunks_build(tokenizer, &segments, &options, &found, &err) != TT_OK)
        fail_msg("%s: %s", text, err.message);
    if ((size_t)found.n != json_object_array_length(member(c, "ids")))
        fail_msg("%s, backtrack %d: %d chunks", text, options.backtrack, found.n);
    for (int i = 0; i < found.n; i++) check_chunk(c, &found, i);
    tt_chunks_release(&found);
    tt_segments_release(&segments);
}

static void chunks_agree_with_a1111s_rules(void **state) {
    (void)state;
    json_object *cases = tt_golden_cases("prompts.json");
    tt_tokenizer *tokenizer;
    int checked = 0;
    assert_int_equal(tt_tokenizer_open(&tokenizer, NULL), TT_OK);
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        if (!is_kind(c, "chunks")) continue;
        check_chunks(c, tokenizer);
        checked++;
    }
    assert_true(checked >= 30);
    tt_tokenizer_close(tokenizer);
    json_object_put(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_agree_with_a1111s_rules),
        cmocka_unit_test(segments_agree_with_compels_rules),
        cmocka_unit_test(texts_of_steps_agree_with_a1111s_grammar),
        cmocka_unit_test(chunks_agree_with_a1111s_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
