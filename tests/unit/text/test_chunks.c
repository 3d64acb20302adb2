/* Chunks: ComfyUI's and diffusers' cuts, padding per encoder, embeddings by name, and what holds for every text. A1111's
 * cuts have their cases in tests/golden/test_prompts.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "embedding_file.h"
#include "text/chunks.h"

enum { BOS = 49406, EOS = 49407, POSITIONS = 77, USABLE = 75, CAT = 2368, WIDTH = 4 };

static tt_tokenizer *tokenizer;
static tt_embedding *two, *many; /* of 2 and 80 vectors, called "zorblax" and "manyrows" */

static int open_all(void **state) {
    (void)state;
    static const int64_t widths[] = {WIDTH, WIDTH};
    if (tt_tokenizer_open(&tokenizer, NULL) != TT_OK) return -1;
    two = embedding_of("zorblax", 2, widths);
    many = embedding_of("manyrows", USABLE + 5, widths);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    tt_embedding_close(two);
    tt_embedding_close(many);
    tt_tokenizer_close(tokenizer);
    return 0;
}

static tt_status build(const char *text, tt_prompt_syntax syntax, tt_chunks *out, tt_err *err) {
    const tt_embedding *const known[] = {two, many};
    tt_segments segments;
    tt_chunk_options options = tt_chunk_options_for(syntax);
    options.n_positions = POSITIONS;
    options.pad_id = EOS;
    options.embeddings = known;
    options.n_embeddings = 2;
    *out = (tt_chunks){0};
    tt_status status = tt_segments_parse(text, strlen(text), syntax, &segments, err);
    if (status == TT_OK) status = tt_chunks_build(tokenizer, &segments, &options, out, err);
    tt_segments_release(&segments);
    return status;
}

static tt_chunks built(const char *text, tt_prompt_syntax syntax) {
    tt_chunks c;
    tt_err err;
    if (build(text, syntax, &c, &err) == TT_OK) return c;
    fail_msg("%s: %s", text, err.message);
    abort(); /* not reached, which an analyser cannot see */
}

/* n times "cat ", then `tail`. */
static const char *cats(int n, const char *tail) {
    static char text[8192];
    size_t at = 0;
    for (int i = 0; i < n; i++, at += 4) memcpy(text + at, "cat ", 4);
    memcpy(text + at, tail, strlen(tail) + 1);
    return text;
}

static void empty_prompt_is_one_chunk_of_markers_and_padding(void **state) {
    (void)state;
    for (int s = 0; s < TT_PROMPT_SYNTAXES; s++) {
        tt_chunks c = built("", (tt_prompt_syntax)s);
        assert_int_equal(c.n, 1);
        assert_int_equal(c.n_used[0], 0);
        assert_int_equal(c.ids[0], BOS);
        for (int i = 1; i < POSITIONS; i++) assert_int_equal(c.ids[i], EOS);
        assert_false(c.has_weights);
        tt_chunks_release(&c);
    }
}

static void long_prompt_keeps_its_last_word(void **state) {
    (void)state;
    for (int s = TT_PROMPT_A1111; s <= TT_PROMPT_COMFY; s++) {
        tt_chunks c = built(cats(399, "dog"), (tt_prompt_syntax)s);
        assert_int_equal(c.n, 6);
        assert_int_equal(c.n_tokens, 400);
        assert_int_equal(c.n_used[5], 25);
        assert_int_equal(c.ids[5 * POSITIONS + 25], 1929); /* "dog" */
        assert_int_equal(c.ids[5 * POSITIONS + 26], EOS);
        tt_chunks_release(&c);
    }
}

static void plain_prompt_is_cut_and_says_so(void **state) {
    (void)state;
    tt_chunks c = built(cats(80, ""), TT_PROMPT_PLAIN);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.n_tokens, 80);
    assert_int_equal(c.n_cut, 5);
    assert_int_equal(c.ids[USABLE], CAT);
    assert_int_equal(c.ids[USABLE + 1], EOS);
    tt_chunks_release(&c);
}

/* 73 tokens, then a segment of 7 tokens, then of 8: ComfyUI moves the first and splits the second. */
static void comfy_moves_short_segments_and_splits_long_ones(void **state) {
    (void)state;
    tt_chunks c = built(cats(73, "(a a a a a a a:1.2)"), TT_PROMPT_COMFY);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.n_used[0], 73);
    assert_int_equal(c.n_used[1], 7);
    tt_chunks_release(&c);
    c = built(cats(73, "(a a a a a a a a:1.2)"), TT_PROMPT_COMFY);
    assert_int_equal(c.n_used[0], 75);
    assert_int_equal(c.n_used[1], 6);
    assert_float_equal(c.weights[75], 1.2, 1e-6);
    assert_float_equal(c.weights[76], 1, 0);
    tt_chunks_release(&c);
}

static void exclamation_mark_is_padding_only_as_in_transformers(void **state) {
    (void)state;
    tt_segments segments;
    tt_chunks c;
    assert_int_equal(tt_segments_parse("!", 1, TT_PROMPT_PLAIN, &segments, NULL), TT_OK);
    tt_chunk_options options = tt_chunk_options_for(TT_PROMPT_PLAIN);
    options.n_positions = POSITIONS;
    options.pad_id = 0;
    assert_int_equal(tt_chunks_build(tokenizer, &segments, &options, &c, NULL), TT_OK);
    assert_int_equal(c.ids[1], 0);
    assert_int_equal(c.ids[3], 0);
    tt_chunks_release(&c);
    options.pad_in_text = false;
    assert_int_equal(tt_chunks_build(tokenizer, &segments, &options, &c, NULL), TT_OK);
    assert_int_equal(c.ids[1], 256);
    assert_int_equal(c.ids[3], 0);
    tt_chunks_release(&c);
    tt_segments_release(&segments);
}

/* ---- embeddings ------------------------------------------------------------------------------------- */

static void embedding_is_found_by_its_bare_name(void **state) {
    (void)state;
    tt_chunks c = built("a cat, (Zorblax:0.5), dog", TT_PROMPT_A1111);
    assert_int_equal(c.n_embeddings, 1);
    assert_int_equal(c.n_used[0], 7); /* a cat , [2] , dog */
    assert_ptr_equal(c.rows[4], tt_embedding_rows(two, 0));
    assert_ptr_equal(c.rows[5], tt_embedding_rows(two, 0) + WIDTH);
    assert_null(c.rows[3]);
    assert_null(c.rows[6]);
    assert_float_equal(c.weights[5], 0.5, 0);
    tt_chunks_release(&c);
}

static void embedding_stays_in_one_chunk(void **state) {
    (void)state;
    tt_chunks c = built(cats(74, "zorblax"), TT_PROMPT_A1111);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.n_used[0], 74);
    assert_int_equal(c.n_used[1], 2);
    tt_chunks_release(&c);
}

static void embedding_that_fits_no_chunk_is_cut_and_says_so(void **state) {
    (void)state;
    tt_chunks c = built("cat manyrows cat", TT_PROMPT_A1111);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.n_used[1], USABLE);
    assert_int_equal(c.n_rows_cut, 5);
    tt_chunks_release(&c);
    c = built("embedding:manyrows", TT_PROMPT_COMFY); /* which goes on in the next chunk */
    assert_int_equal(c.n, 2);
    assert_int_equal(c.n_rows_cut, 0);
    tt_chunks_release(&c);
}

static void comfy_embedding_needs_its_mark(void **state) {
    (void)state;
    tt_chunks c = built("zorblax", TT_PROMPT_COMFY);
    assert_int_equal(c.n_embeddings, 0);
    tt_chunks_release(&c);
    static const char *const texts[] = {"embedding:zorblax", "a (embedding:zorblax:1.2) cat",
                                        "a embedding:zorblax, cat",
                                        "a\nembedding:zorblax.safetensors\ncat"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        c = built(texts[i], TT_PROMPT_COMFY);
        assert_int_equal(c.n_embeddings, 1);
        assert_true(c.has_rows);
        tt_chunks_release(&c);
    }
}

static void missing_comfy_embedding_is_refused_by_name(void **state) {
    (void)state;
    tt_chunks c;
    tt_err err;
    assert_int_equal(build("a embedding:nothere, b", TT_PROMPT_COMFY, &c, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "nothere"));
    tt_chunks_release(&c);
}

static void mention_is_found_in_any_case(void **state) {
    (void)state;
    assert_true(tt_embedding_is_mentioned("a ZorBlax b", 11, "zorblax"));
    assert_false(tt_embedding_is_mentioned("a zorbla", 8, "zorblax"));
    assert_false(tt_embedding_is_mentioned("", 0, "zorblax"));
}

/* ---- what always holds ------------------------------------------------------------------------------ */

static void check_chunks(const tt_chunks *c) {
    size_t n_used = 0;
    for (int i = 0; i < c->n; i++) {
        size_t first = (size_t)i * POSITIONS, n = (size_t)c->n_used[i];
        assert_true(n <= USABLE);
        assert_int_equal(c->ids[first], BOS);
        for (size_t j = n + 1; j < POSITIONS; j++) {
            assert_int_equal(c->ids[first + j], EOS);
            assert_float_equal(c->weights[first + j], 1, 0);
            assert_int_equal(c->segments[first + j], -1);
        }
        n_used += n;
    }
    assert_int_equal(n_used + c->n_cut, c->n_tokens);
}

/* Random words and signs: no token is lost, no chunk is too long, order stays. */
static void tokens_are_preserved(void **state) {
    (void)state;
    static const char *const words[] = {"cat ",
                                        ", ",
                                        "zorblax ",
                                        "(b ",
                                        ")",
                                        ":1.2)",
                                        "[c ",
                                        "] ",
                                        " BREAK ",
                                        "photo ",
                                        "\xe6\x97\xa5 ",
                                        "x,y,z ",
                                        "embedding:zorblax "};
    unsigned seed = 7;
    for (int round = 0; round < 200; round++) {
        char text[2048] = "";
        size_t at = 0;
        for (int i = 0; i < round % 100 && at < sizeof text - 32; i++) {
            seed = seed * 1664525u + 1013904223u;
            const char *word = words[(seed >> 16) % (sizeof words / sizeof *words)];
            memcpy(text + at, word, strlen(word) + 1);
            at += strlen(word);
        }
        for (int s = 0; s < TT_PROMPT_SYNTAXES; s++) {
            tt_chunks c;
            if (build(text, (tt_prompt_syntax)s, &c, NULL) == TT_OK) check_chunks(&c);
            tt_chunks_release(&c);
        }
    }
}

static void too_many_chunks_are_refused(void **state) {
    (void)state;
    char text[6 * TT_MAX_PROMPT_CHUNKS + 2];
    for (size_t i = 0; i < TT_MAX_PROMPT_CHUNKS; i++) memcpy(text + 6 * i, "BREAK ", 6);
    memcpy(text + 6 * TT_MAX_PROMPT_CHUNKS, "a", 2);
    tt_chunks c;
    tt_err err;
    assert_int_equal(build(text, TT_PROMPT_A1111, &c, &err), TT_E_INVALID);
    tt_chunks_release(&c);
    c = built(text + 6, TT_PROMPT_A1111);
    assert_int_equal(c.n, TT_MAX_PROMPT_CHUNKS);
    tt_chunks_release(&c);
}

static void any_failed_allocation_is_survived(void **state) {
    (void)state;
    const char *text = cats(90, "(dog, zorblax:1.1) BREAK b");
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_chunks c;
        tt_alloc_fail_after(n);
        status = build(text, TT_PROMPT_A1111, &c, NULL);
        tt_alloc_fail_after(-1);
        assert_true(status == TT_OK || status == TT_E_NOMEM);
        tt_chunks_release(&c);
        assert_true(n < 1000);
    }
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_prompt_is_one_chunk_of_markers_and_padding),
        cmocka_unit_test(long_prompt_keeps_its_last_word),
        cmocka_unit_test(plain_prompt_is_cut_and_says_so),
        cmocka_unit_test(comfy_moves_short_segments_and_splits_long_ones),
        cmocka_unit_test(exclamation_mark_is_padding_only_as_in_transformers),
        cmocka_unit_test(embedding_is_found_by_its_bare_name),
        cmocka_unit_test(embedding_stays_in_one_chunk),
        cmocka_unit_test(embedding_that_fits_no_chunk_is_cut_and_says_so),
        cmocka_unit_test(comfy_embedding_needs_its_mark),
        cmocka_unit_test(missing_comfy_embedding_is_refused_by_name),
        cmocka_unit_test(mention_is_found_in_any_case),
        cmocka_unit_test(tokens_are_preserved),
        cmocka_unit_test(too_many_chunks_are_refused),
        cmocka_unit_test(any_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
