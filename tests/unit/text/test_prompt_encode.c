/* From text to conditioning, through encoders that are a formula: the state at position p of a chunk is its id (or the first value
 * of an injected row), times a factor, plus p; so what came from where can be read off. And clip skip's meanings
 * (engine.md 4.10). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "embedding_file.h"
#include "text/prompt_encode.h"

enum { POSITIONS = 77, EOS = 49407, CAT = 2368, DOG = 1929, WIDTH1 = 2, WIDTH2 = 3, POOLED = 2 };

typedef struct fake {
    int64_t width;
    int n_runs, n_pooled, n_skipped;
} fake;

static fake fakes[TT_PROMPT_ENCODERS];
static tt_tokenizer *tokenizer;

static tt_status run(void *context, const tt_clip_input *input, float *hidden, float *pooled,
                     tt_err *err) {
    (void)err;
    fake *f = context;
    f->n_runs++;
    f->n_skipped = input->n_skipped;
    for (int p = 0; p < POSITIONS; p++)
        for (int64_t i = 0; i < f->width; i++) {
            const float *row = input->rows ? input->rows[p] : NULL;
            float value = row ? row[i] : (float)input->ids[p];
            hidden[p * f->width + i] = value * (float)(i + 1) / 1000 + (float)p;
        }
    if (pooled) f->n_pooled++;
    for (int i = 0; pooled && i < POOLED; i++) pooled[i] = (float)input->ids[1];
    return TT_OK;
}

static void encoders_of(tt_text_encoder out[TT_PROMPT_ENCODERS]) {
    static const int64_t widths[] = {WIDTH1, WIDTH2};
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
        fakes[i] = (fake){.width = widths[i]};
        out[i] = (tt_text_encoder){.tokenizer = tokenizer,
                                   .pad_id = i == 0 ? EOS : 0,
                                   .n_positions = POSITIONS,
                                   .n_layers = i == 0 ? 11 : 31,
                                   .width = widths[i],
                                   .pooled_width = i == 1 ? POOLED : 0,
                                   .context = &fakes[i],
                                   .run = run};
    }
}

static int open_tokenizer(void **state) {
    (void)state;
    return tt_tokenizer_open(&tokenizer, NULL) == TT_OK ? 0 : -1;
}

static int close_tokenizer(void **state) {
    (void)state;
    tt_tokenizer_close(tokenizer);
    return 0;
}

static tt_buf buf_of(const char *text) { /* borrowed: never released */
    return (tt_buf){.data = (char *)(uintptr_t)text, .size = strlen(text)};
}

static tt_status encode_two(const char *first, const char *second, const tt_encode_options *o,
                            tt_conditioning *out, tt_err *err) {
    tt_text_encoder encoders[TT_PROMPT_ENCODERS];
    const tt_buf texts[] = {buf_of(first), buf_of(second)};
    encoders_of(encoders);
    return tt_prompt_encode(encoders, texts, o, out, err);
}

static tt_conditioning encoded(const char *text, tt_prompt_syntax syntax) {
    tt_encode_options o = tt_encode_options_for(syntax);
    tt_conditioning c;
    tt_err err;
    if (encode_two(text, text, &o, &c, &err) != TT_OK) fail_msg("%s: %s", text, err.message);
    return c;
}

static double state_at(const tt_conditioning *c, int position, int column) {
    return (double)c->states[position * (WIDTH1 + WIDTH2) + column];
}

static double plain(double value, int position, int column) {
    return value * (column + 1) / 1000 + position;
}

static void assert_near(double found, double expected, double error) {
    if (!(fabs(found - expected) <= error)) fail_msg("%g, expected %g", found, expected);
}

static void encoders_lie_side_by_side(void **state) {
    (void)state;
    tt_conditioning c = encoded("cat", TT_PROMPT_A1111);
    assert_int_equal(c.n_chunks, 1);
    assert_int_equal(c.width, WIDTH1 + WIDTH2);
    assert_int_equal(c.n_tokens, 1);
    assert_near(state_at(&c, 1, 1), plain(CAT, 1, 1), 1e-3);
    assert_near(state_at(&c, 1, WIDTH1 + 2), plain(CAT, 1, 2), 1e-3);
    assert_near(state_at(&c, 5, 0), plain(EOS, 5, 0), 1e-3);    /* padding of the first */
    assert_near(state_at(&c, 5, WIDTH1), plain(0, 5, 0), 1e-3); /* and of the second */
    assert_near((double)c.pooled[0], CAT, 0);
    tt_conditioning_release(&c);
}

/* A refiner has the second encoder only. */
static void an_encoder_of_width_0_is_none(void **state) {
    (void)state;
    const tt_encode_options o = tt_encode_options_for(TT_PROMPT_A1111);
    const tt_buf texts[] = {buf_of(")(, not read"), buf_of("(cat:1.2)")};
    tt_conditioning both = encoded("(cat:1.2)", TT_PROMPT_A1111), c;
    tt_text_encoder encoders[TT_PROMPT_ENCODERS];
    tt_err err;
    encoders_of(encoders);
    encoders[0] = (tt_text_encoder){.n_positions = POSITIONS};
    if (tt_prompt_encode(encoders, texts, &o, &c, &err)) fail_msg("%s", err.message);
    assert_int_equal(c.width, WIDTH2);
    assert_int_equal(c.n_tokens, 1);
    for (int p = 0; p < POSITIONS; p++)
        for (int i = 0; i < WIDTH2; i++)
            assert_true((double)c.states[p * WIDTH2 + i] == state_at(&both, p, WIDTH1 + i));
    assert_memory_equal(c.pooled, both.pooled, POOLED * sizeof *c.pooled);
    tt_conditioning_release(&c);
    tt_conditioning_release(&both);
}

static void pooled_row_is_the_first_chunks(void **state) {
    (void)state;
    tt_conditioning c = encoded("(cat:1.5) BREAK dog", TT_PROMPT_A1111);
    assert_int_equal(c.n_chunks, 2);
    assert_near((double)c.pooled[0], CAT, 0);
    assert_int_equal(fakes[1].n_pooled, 1);
    assert_int_equal(fakes[0].n_pooled, 0);
    assert_near(state_at(&c, POSITIONS + 1, 0), plain(DOG, 1, 0), 1e-3);
    tt_conditioning_release(&c);
}

static double mean_of(const tt_conditioning *c, int first_column, int n_columns) {
    double sum = 0;
    for (int p = 0; p < POSITIONS; p++)
        for (int i = 0; i < n_columns; i++) sum += state_at(c, p, first_column + i);
    return sum / (POSITIONS * n_columns);
}

static void a1111_keeps_the_mean_of_each_encoder(void **state) {
    (void)state;
    tt_conditioning c = encoded("(cat:1.5) dog", TT_PROMPT_A1111);
    tt_conditioning without = encoded("cat dog", TT_PROMPT_A1111);
    assert_near(mean_of(&c, 0, WIDTH1), mean_of(&without, 0, WIDTH1), 1e-3);
    assert_near(mean_of(&c, WIDTH1, WIDTH2), mean_of(&without, WIDTH1, WIDTH2), 1e-3);
    double factor = state_at(&c, 2, 0) / state_at(&without, 2, 0); /* the mean's */
    assert_near(state_at(&c, 1, 0) / state_at(&without, 1, 0), 1.5 * factor, 1e-4);
    tt_conditioning_release(&c);
    tt_conditioning_release(&without);
}

static void comfy_moves_away_from_the_empty_prompt(void **state) {
    (void)state;
    tt_conditioning c = encoded("(cat:1.5) dog", TT_PROMPT_COMFY);
    assert_near(state_at(&c, 1, 0), 1 + (EOS + 1.5 * (CAT - EOS)) / 1000, 1e-2);
    assert_near(state_at(&c, 2, 0), plain(DOG, 2, 0), 1e-3);
    assert_int_equal(fakes[0].n_runs, 2);
    tt_conditioning_release(&c);
}

static void compel_blends_with_the_prompt_without_the_part(void **state) {
    (void)state;
    tt_conditioning c = encoded("(cat)0.5 dog", TT_PROMPT_COMPEL);
    assert_near(state_at(&c, 1, 0), (plain(CAT, 1, 0) + plain(DOG, 1, 0)) / 2, 1e-2);
    assert_near((double)c.pooled[0], CAT, 0);
    tt_conditioning_release(&c);
    c = encoded("(cat)0 dog", TT_PROMPT_COMPEL);
    assert_near(state_at(&c, 1, 0), plain(DOG, 1, 0), 1e-2);
    tt_conditioning_release(&c);
}

static void too_many_lighter_parts_are_refused(void **state) {
    (void)state;
    char text[4 * (TT_MAX_PROMPT_CHUNKS + 1) + 1];
    for (int i = 0; i <= TT_MAX_PROMPT_CHUNKS; i++) memcpy(text + 4 * i, "a- b", 4);
    for (int i = 0; i <= TT_MAX_PROMPT_CHUNKS; i++) text[4 * i + 3] = ' ';
    text[4 * (TT_MAX_PROMPT_CHUNKS + 1)] = '\0';
    tt_encode_options o = tt_encode_options_for(TT_PROMPT_COMPEL);
    tt_conditioning c;
    assert_int_equal(encode_two(text, text, &o, &c, NULL), TT_E_INVALID);
    assert_null(c.states);
}

static void second_prompt_is_the_second_encoders_and_the_shorter_is_filled_up(void **state) {
    (void)state;
    tt_encode_options o = tt_encode_options_for(TT_PROMPT_A1111);
    tt_conditioning c;
    assert_int_equal(encode_two("cat", "dog BREAK dog", &o, &c, NULL), TT_OK);
    assert_int_equal(c.n_chunks, 2);
    assert_near(state_at(&c, 1, 0), plain(CAT, 1, 0), 1e-3);
    assert_near(state_at(&c, 1, WIDTH1), plain(DOG, 1, 0), 1e-3);
    assert_near(state_at(&c, POSITIONS + 1, 0), plain(EOS, 1, 0), 1e-3);
    assert_near(state_at(&c, POSITIONS + 1, WIDTH1), plain(DOG, 1, 0), 1e-3);
    tt_conditioning_release(&c);
}

static void embeddings_are_fed_to_both_encoders(void **state) {
    (void)state;
    static const int64_t widths[] = {WIDTH1, WIDTH2};
    tt_embedding *e = embedding_of("zorblax", 2, widths);
    const tt_embedding *const known[] = {e};
    tt_encode_options o = tt_encode_options_for(TT_PROMPT_A1111);
    o.chunks.embeddings = known;
    o.chunks.n_embeddings = 1;
    tt_conditioning c;
    assert_int_equal(encode_two("zorblax", "zorblax", &o, &c, NULL), TT_OK);
    assert_int_equal(c.n_embeddings, 1);
    assert_int_equal(c.n_tokens, 2);
    assert_near(state_at(&c, 2, 0), plain(WIDTH1 + 1, 2, 0), 1e-4); /* row 1, value 0 */
    assert_near(state_at(&c, 2, WIDTH1), plain(WIDTH2 + 1, 2, 0), 1e-4);
    tt_conditioning_release(&c);
    tt_embedding_close(e);
    static const int64_t others[] = {WIDTH1, WIDTH2 + 1};
    const tt_embedding *const wrong[] = {e = embedding_of("zorblax", 2, others)};
    o.chunks.embeddings = wrong;
    tt_err err;
    assert_int_equal(encode_two("cat", "cat", &o, &c, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "zorblax"));
    tt_embedding_close(e);
}

static void zeros_are_zeros(void **state) {
    (void)state;
    tt_text_encoder encoders[TT_PROMPT_ENCODERS];
    tt_conditioning c;
    encoders_of(encoders);
    assert_int_equal(tt_conditioning_zeros(encoders, 2, &c, NULL), TT_OK);
    for (int i = 0; i < 2 * POSITIONS * (WIDTH1 + WIDTH2); i++)
        assert_near((double)c.states[i], 0, 0);
    assert_near((double)c.pooled[POOLED - 1], 0, 0);
    tt_conditioning_release(&c);
}

/* ---- clip skip -------------------------------------------------------------------------------------- */

static void expect_skip(tt_clip_skip_rule rule, int clip_skip, int expected) {
    int n_skipped = -1;
    assert_int_equal(tt_clip_skip_of_layers(11, rule, clip_skip, &n_skipped, NULL), TT_OK);
    assert_int_equal(n_skipped, expected);
}

static void clip_skip_one_and_two_are_the_penultimate_states(void **state) {
    (void)state;
    for (int k = 0; k <= 2; k++) expect_skip(TT_CLIP_SKIP_USUAL, k, 0);
    expect_skip(TT_CLIP_SKIP_USUAL, 3, 1);
    expect_skip(TT_CLIP_SKIP_USUAL, 12, 10);
    expect_skip(TT_CLIP_SKIP_DIFFUSERS, 0, 0);
    expect_skip(TT_CLIP_SKIP_DIFFUSERS, 1, 1);
    expect_skip(TT_CLIP_SKIP_DIFFUSERS, 10, 10);
    expect_skip(TT_CLIP_SKIP_IGNORED, 100, 0);
}

static void clip_skip_beyond_the_layers_is_refused(void **state) {
    (void)state;
    int n_skipped;
    assert_int_equal(tt_clip_skip_of_layers(11, TT_CLIP_SKIP_USUAL, 13, &n_skipped, NULL),
                     TT_E_INVALID);
    assert_int_equal(tt_clip_skip_of_layers(11, TT_CLIP_SKIP_DIFFUSERS, 11, &n_skipped, NULL),
                     TT_E_INVALID);
    assert_int_equal(tt_clip_skip_of_layers(11, TT_CLIP_SKIP_USUAL, -1, &n_skipped, NULL),
                     TT_E_INVALID);
}

static void clip_skip_reaches_both_encoders(void **state) {
    (void)state;
    tt_encode_options o = tt_encode_options_for(TT_PROMPT_A1111);
    tt_conditioning c;
    o.clip_skip = 4;
    assert_int_equal(encode_two("cat", "cat", &o, &c, NULL), TT_OK);
    assert_int_equal(fakes[0].n_skipped, 2);
    assert_int_equal(fakes[1].n_skipped, 2);
    tt_conditioning_release(&c);
    o.clip_skip = 20; /* more than the first encoder has */
    assert_int_equal(encode_two("cat", "cat", &o, &c, NULL), TT_E_INVALID);
}

static void any_failed_allocation_is_survived(void **state) {
    (void)state;
    static const char *const texts[] = {"(cat:1.2) BREAK dog", "(cat:1.2) dog", "cat- dog++",
                                        "cat"};
    for (int s = 0; s < TT_PROMPT_SYNTAXES; s++) {
        tt_encode_options o = tt_encode_options_for((tt_prompt_syntax)s);
        tt_status status = TT_E_NOMEM;
        for (int n = 0; status != TT_OK; n++) {
            tt_conditioning c;
            tt_alloc_fail_after(n);
            status = encode_two(texts[s], "b", &o, &c, NULL);
            tt_alloc_fail_after(-1);
            assert_true(status == TT_OK || status == TT_E_NOMEM);
            assert_true(status == TT_OK || !c.states);
            tt_conditioning_release(&c);
            assert_true(n < 1000);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_lie_side_by_side),
        cmocka_unit_test(an_encoder_of_width_0_is_none),
        cmocka_unit_test(pooled_row_is_the_first_chunks),
        cmocka_unit_test(a1111_keeps_the_mean_of_each_encoder),
        cmocka_unit_test(comfy_moves_away_from_the_empty_prompt),
        cmocka_unit_test(compel_blends_with_the_prompt_without_the_part),
        cmocka_unit_test(too_many_lighter_parts_are_refused),
        cmocka_unit_test(second_prompt_is_the_second_encoders_and_the_shorter_is_filled_up),
        cmocka_unit_test(embeddings_are_fed_to_both_encoders),
        cmocka_unit_test(zeros_are_zeros),
        cmocka_unit_test(clip_skip_one_and_two_are_the_penultimate_states),
        cmocka_unit_test(clip_skip_beyond_the_layers_is_refused),
        cmocka_unit_test(clip_skip_reaches_both_encoders),
        cmocka_unit_test(any_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
