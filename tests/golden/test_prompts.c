/* Prompts against a second implementation of the same rules (tools/golden/prompts.py): segments and their weights, the text of
 * every step, chunks of token ids, what weights do to states. And what the encoders themselves add to it: injected rows, clip
 * skip. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "support/json_tree.h"
#include "text/chunks.h"
#include "text/clip.h"
#include "text/prompt.h"
#include "text/prompt_encode.h"

/* Weights are the same multiplications in the same order; compel's powers may differ in the last bit. */
#define LARGEST_WEIGHT_ERROR 1e-12

static bool is_kind(json_object *c, const char *kind) {
    return strcmp(tt_golden_string(c, "kind"), kind) == 0;
}

static const char *prompt_of(json_object *c, size_t *size) {
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
    const char *text = prompt_of(c, &size);
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
    const char *text = prompt_of(c, &size);
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
    const char *text = prompt_of(c, &size);
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

/* ---- weights ---------------------------------------------------------------------------------------- */

enum { TOKENS = 4, WIDTH = 3 };

static void read_matrix(json_object *rows, float out[TOKENS * WIDTH]) {
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < WIDTH; i++)
            out[t * WIDTH + i] = (float)json_object_get_double(
                json_object_array_get_idx(json_object_array_get_idx(rows, t), i));
}

static tt_weighting weighting_of(const char *name) {
    static const char *const names[] = {"a1111", "no norm", "comfy", "compel"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (tt_weighting)i;
    return TT_WEIGHTING_NONE;
}

static void states_are_weighted_as_each_tool_does(void **state) {
    (void)state;
    json_object *cases = tt_golden_cases("prompts.json");
    int checked = 0;
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        float states[TOKENS * WIDTH], empty[TOKENS * WIDTH], expected[TOKENS * WIDTH];
        float weights[TOKENS];
        if (!is_kind(c, "weighting")) continue;
        read_matrix(member(c, "states"), states);
        read_matrix(member(c, "empty"), empty);
        read_matrix(member(c, "expected"), expected);
        for (size_t t = 0; t < TOKENS; t++)
            weights[t] =
                (float)json_object_get_double(json_object_array_get_idx(member(c, "weights"), t));
        tt_weighting_apply(weighting_of(tt_golden_string(c, "mode")), weights, empty, TOKENS, WIDTH,
                           states);
        for (size_t j = 0; j < TOKENS * WIDTH; j++) {
            double error = fabs((double)states[j] - (double)expected[j]);
            if (error > 1e-5 * fmax(1, fabs((double)expected[j])))
                fail_msg("%s: %g, expected %g", json_object_to_json_string(c), (double)states[j],
                         (double)expected[j]);
        }
        checked++;
    }
    assert_int_equal(checked, 12);
    json_object_put(cases);
}

/* ---- the encoders ----------------------------------------------------------------------------------- */

typedef struct network {
    tt_golden_network base;
    tt_clip *clip;
    float *table; /* the vocabulary's input embeddings, [vocabulary, width] */
    size_t width, pooled_width;
} network;

/* The second encoder of a test model. */
static void network_open(network *n, tt_dtype dtype) {
    tt_golden_setup setup = tt_golden_setup_number("kernel", 0);
    setup.dtype = dtype;
    tt_err err;
    tt_golden_network_open(&setup, &n->base);
    TT_GOLDEN_OK(tt_clip_open(n->base.loader, n->base.ops, 1, &n->clip, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n->base.loader, &err), err);
    n->width = (size_t)tt_clip_width(n->clip);
    n->pooled_width = (size_t)tt_clip_pooled_width(n->clip);
    n->table = tt_alloc((size_t)tt_clip_vocabulary(n->clip) * n->width * sizeof *n->table);
    TT_GOLDEN_OK(tt_checkpoint_read(n->base.checkpoint,
                                    "te2.text_model.embeddings.token_embedding.weight", TT_F32, -1,
                                    NULL, n->table, &err),
                 err);
}

static void network_close(network *n) {
    tt_free(n->table);
    tt_clip_close(n->clip);
    tt_golden_network_close(&n->base);
}

typedef struct result {
    float *hidden, *pooled;
} result;

static result run(network *n, const tt_clip_input *input) {
    result r = {tt_alloc(POSITIONS * n->width * sizeof(float)),
                tt_alloc((n->pooled_width + 1) * sizeof(float))};
    tt_err err;
    tt_ops_plan_begin(n->base.ops);
    TT_GOLDEN_OK(tt_clip_encode_input(n->clip, &(tt_clip_input){.ids = input->ids}, r.hidden,
                                      r.pooled, &err),
                 err);
    TT_GOLDEN_OK(tt_ops_plan_end(n->base.ops, &err), err);
    TT_GOLDEN_OK(tt_clip_encode_input(n->clip, input, r.hidden, r.pooled, &err), err);
    return r;
}

static void result_release(result *r) {
    tt_free(r->hidden);
    tt_free(r->pooled);
}

static void some_ids(int32_t ids[POSITIONS]) {
    for (int i = 0; i < POSITIONS; i++) ids[i] = 0;
    ids[0] = 49406;
    for (int i = 1; i < 9; i++) ids[i] = 320 + 37 * i;
    ids[9] = 49407;
}

/* Rows that are the vocabulary's own must give the same bits. */
static void check_injected_rows(tt_dtype dtype) {
    network n;
    int32_t ids[POSITIONS], others[POSITIONS];
    const float *rows[POSITIONS] = {NULL};
    network_open(&n, dtype);
    some_ids(ids);
    memcpy(others, ids, sizeof ids);
    for (int i = 3; i < 6; i++) {
        rows[i] = n.table + (size_t)ids[i] * n.width;
        others[i] = 0;
    }
    result expected = run(&n, &(tt_clip_input){.ids = ids});
    result found = run(&n, &(tt_clip_input){.ids = others, .rows = rows});
    result without = run(&n, &(tt_clip_input){.ids = others});
    assert_memory_equal(found.hidden, expected.hidden, POSITIONS * n.width * sizeof(float));
    assert_memory_equal(found.pooled, expected.pooled, n.pooled_width * sizeof(float));
    assert_memory_not_equal(without.hidden, expected.hidden, POSITIONS * n.width * sizeof(float));
    result_release(&expected);
    result_release(&found);
    result_release(&without);
    network_close(&n);
}

static void injected_rows_stand_for_tokens(void **state) {
    (void)state;
    check_injected_rows(TT_F32);
    check_injected_rows(TT_BF16);
}

static void clip_skip_reads_earlier_states_and_the_same_pooled_row(void **state) {
    (void)state;
    network n;
    int32_t ids[POSITIONS];
    network_open(&n, TT_F32);
    some_ids(ids);
    assert_true(tt_clip_layers(n.clip) >= 2);
    result usual = run(&n, &(tt_clip_input){.ids = ids});
    result earlier = run(&n, &(tt_clip_input){.ids = ids, .n_skipped = 1});
    assert_memory_not_equal(usual.hidden, earlier.hidden, POSITIONS * n.width * sizeof(float));
    assert_memory_equal(usual.pooled, earlier.pooled, n.pooled_width * sizeof(float));
    tt_err err;
    assert_int_equal(tt_clip_encode_input(
                         n.clip, &(tt_clip_input){.ids = ids, .n_skipped = tt_clip_layers(n.clip)},
                         usual.hidden, NULL, &err),
                     TT_E_INVALID);
    result_release(&usual);
    result_release(&earlier);
    network_close(&n);
}

/* ---- the whole way ---------------------------------------------------------------------------------- */

#define LARGEST_STATE_ERROR 1e-4 /* as tests/golden/test_text.c */

typedef struct encoders {
    tt_golden_network base;
    tt_tokenizer *tokenizer;
    tt_clip *clips[TT_PROMPT_ENCODERS];
    tt_text_encoder list[TT_PROMPT_ENCODERS];
} encoders;

static void encoders_open(encoders *e) {
    const tt_golden_setup setup = tt_golden_setup_number("kernel", 0);
    const int32_t ids[POSITIONS] = {0}, pads[] = {49407, 0};
    tt_err err;
    tt_golden_network_open(&setup, &e->base);
    TT_GOLDEN_OK(tt_tokenizer_open(&e->tokenizer, &err), err);
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++)
        TT_GOLDEN_OK(tt_clip_open(e->base.loader, e->base.ops, i, &e->clips[i], &err), err);
    TT_GOLDEN_OK(tt_loader_run(e->base.loader, &err), err);
    tt_ops_plan_begin(e->base.ops);
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
        float *hidden = tt_alloc(POSITIONS * (size_t)tt_clip_width(e->clips[i]) * sizeof *hidden);
        float *pooled = tt_alloc((size_t)(tt_clip_pooled_width(e->clips[i]) + 1) * sizeof *pooled);
        TT_GOLDEN_OK(tt_clip_encode(e->clips[i], ids, hidden, pooled, &err), err);
        e->list[i] = tt_text_encoder_of(e->clips[i], e->tokenizer, pads[i]);
        tt_free(hidden);
        tt_free(pooled);
    }
    TT_GOLDEN_OK(tt_ops_plan_end(e->base.ops, &err), err);
}

static void encoders_close(encoders *e) {
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) tt_clip_close(e->clips[i]);
    tt_tokenizer_close(e->tokenizer);
    tt_golden_network_close(&e->base);
}

static tt_conditioning encode_text(const encoders *e, const char *text, tt_prompt_syntax syntax) {
    const tt_buf one = {.data = (char *)(uintptr_t)text, .size = strlen(text)}; /* borrowed */
    const tt_buf texts[] = {one, one};
    const tt_encode_options options = tt_encode_options_for(syntax);
    tt_conditioning c;
    tt_err err;
    TT_GOLDEN_OK(tt_prompt_encode(e->list, texts, &options, &c, &err), err);
    return c;
}

/* Columns of encoder `which` against the states that transformers gave. */
static void compare_states(const encoders *e, const tt_conditioning *c, int which, int number) {
    size_t width = (size_t)e->list[which].width, column = which ? (size_t)e->list[0].width : 0;
    tt_npy expected = tt_golden_array("expected/text/kernel-%d-%d.npy", number, which + 1);
    const float *values = expected.data;
    assert_int_equal(expected.count, POSITIONS * width);
    for (size_t t = 0; t < POSITIONS; t++)
        for (size_t i = 0; i < width; i++) {
            double found = (double)c->states[t * (size_t)c->width + column + i];
            assert_true(fabs(found - (double)values[t * width + i]) < LARGEST_STATE_ERROR);
        }
    tt_npy_release(&expected);
}

static void plain_prompts_agree_with_transformers(void **state) {
    (void)state;
    json_object *cases = tt_golden_cases("expected/text.json");
    encoders e;
    int checked = 0;
    encoders_open(&e);
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *one = json_object_array_get_idx(cases, i);
        if (strcmp(tt_golden_string(one, "model"), "kernel") != 0) continue;
        tt_conditioning c = encode_text(&e, tt_golden_string(one, "prompt"), TT_PROMPT_PLAIN);
        assert_int_equal(c.n_chunks, 1);
        for (int which = 0; which < TT_PROMPT_ENCODERS; which++)
            compare_states(&e, &c, which, tt_golden_int(one, "number"));
        tt_conditioning_release(&c);
        checked++;
    }
    assert_true(checked > 0);
    encoders_close(&e);
    json_object_put(cases);
}

/* A prompt without signs means the same in every syntax; and a second chunk leaves the first as it is. */
static void syntaxes_agree_where_nothing_is_written(void **state) {
    (void)state;
    static const char text[] = "a lighthouse on a cliff, oil painting";
    encoders e;
    encoders_open(&e);
    tt_conditioning plain = encode_text(&e, text, TT_PROMPT_PLAIN);
    size_t bytes = POSITIONS * (size_t)plain.width * sizeof(float);
    for (int s = 0; s < TT_PROMPT_SYNTAXES; s++) {
        tt_conditioning c = encode_text(&e, text, (tt_prompt_syntax)s);
        assert_memory_equal(c.states, plain.states, bytes);
        assert_memory_equal(c.pooled, plain.pooled, (size_t)c.pooled_width * sizeof(float));
        tt_conditioning_release(&c);
    }
    tt_conditioning two =
        encode_text(&e, "a lighthouse on a cliff, oil painting BREAK a cat", TT_PROMPT_A1111);
    assert_int_equal(two.n_chunks, 2);
    assert_memory_equal(two.states, plain.states, bytes);
    assert_memory_equal(two.pooled, plain.pooled, (size_t)two.pooled_width * sizeof(float));
    tt_conditioning_release(&two);
    tt_conditioning_release(&plain);
    encoders_close(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_agree_with_a1111s_rules),
        cmocka_unit_test(segments_agree_with_compels_rules),
        cmocka_unit_test(texts_of_steps_agree_with_a1111s_grammar),
        cmocka_unit_test(chunks_agree_with_a1111s_rules),
        cmocka_unit_test(states_are_weighted_as_each_tool_does),
        cmocka_unit_test(injected_rows_stand_for_tokens),
        cmocka_unit_test(clip_skip_reads_earlier_states_and_the_same_pooled_row),
        cmocka_unit_test(plain_prompts_agree_with_transformers),
        cmocka_unit_test(syntaxes_agree_where_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
