/* The built-in tokenizer against transformers' CLIPTokenizer (tools/golden/tokens.py), and what its header
 * promises about padding, bad input, time and memory. */
#include "tokenizer_cases.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"

enum { BOS = 49406, EOS = 49407, POSITIONS = 77, USABLE = 75 };

static tt_tokenizer *tokenizer; /* opened once: most of the time of a test under sanitizers */

static int open_tokenizer(void **state) {
    (void)state;
    return tt_tokenizer_open(&tokenizer, NULL) == TT_OK ? 0 : -1;
}

static int close_tokenizer(void **state) {
    (void)state;
    tt_tokenizer_close(tokenizer);
    return 0;
}

static tt_tokens encoded(const char *text, int32_t pad_id) {
    tt_tokens tokens = {0};
    tt_err err;
    if (tt_tokenizer_encode(tokenizer, text, strlen(text), pad_id, &tokens, &err) != TT_OK)
        fail_msg("%s: %s", text, err.message);
    return tokens;
}

static void ids_agree_with_transformers(void **state) {
    (void)state;
    assert_true(check_cases(tokenizer, DATA_FOLDER "/tokens.json", EOS) >= 300);
}

static void ids_agree_with_transformers_when_padding_is_zero(void **state) {
    (void)state;
    assert_true(check_cases(tokenizer, DATA_FOLDER "/tokens.json", 0) >= 300);
}

static void vocabulary_is_clips(void **state) {
    (void)state;
    assert_int_equal(tt_tokenizer_size(tokenizer), 49408);
    assert_int_equal(tt_tokenizer_bos_id(tokenizer), BOS);
    assert_int_equal(tt_tokenizer_eos_id(tokenizer), EOS);
    assert_int_equal(tt_tokenizer_pad_id(tokenizer), EOS);
}

static void exclamation_mark_is_padding_for_the_second_encoder(void **state) {
    (void)state;
    tt_tokens first = encoded("wow!", EOS), second = encoded("wow!", 0);
    assert_int_equal(first.n, 2);
    assert_int_equal(first.ids[1], 256); /* "!</w>" */
    assert_int_equal(second.n, 2);
    assert_int_equal(second.ids[1], 0); /* "!" */
    tt_tokens_release(&first);
    tt_tokens_release(&second);
}

static void nul_is_a_character_like_others(void **state) {
    (void)state;
    tt_tokens tokens = {0};
    assert_int_equal(tt_tokenizer_encode(tokenizer, "a\0b", 3, EOS, &tokens, NULL), TT_OK);
    assert_int_equal(tokens.n, 3);
    assert_int_equal(tokens.ids[0], 320);
    assert_int_equal(tokens.ids[2], 321);
    tt_tokens_release(&tokens);
}

static void encode_appends(void **state) {
    (void)state;
    tt_tokens tokens = encoded("a photo", EOS);
    assert_int_equal(tt_tokenizer_encode(tokenizer, " of", 3, EOS, &tokens, NULL), TT_OK);
    assert_int_equal(tt_tokenizer_encode(tokenizer, NULL, 0, EOS, &tokens, NULL), TT_OK);
    assert_int_equal(tokens.n, 3);
    assert_int_equal(tokens.ids[2], 539);
    tt_tokens_release(&tokens);
}

/* ---- padding --------------------------------------------------------------------------------- */

static void check_padding(int32_t pad_id) {
    static const int32_t CAT[] = {BOS, 320, 1125, 539, 320, 2368, EOS};
    enum { N_CAT = sizeof CAT / sizeof *CAT };
    int32_t ids[POSITIONS];
    tt_tokens tokens = encoded("a photo of a cat", pad_id);
    assert_int_equal(tt_tokenizer_pad(tokenizer, &tokens, pad_id, POSITIONS, ids, NULL), TT_OK);
    assert_memory_equal(ids, CAT, sizeof CAT);
    for (int i = N_CAT; i < POSITIONS; i++) assert_int_equal(ids[i], pad_id);
    tt_tokens_release(&tokens);
}

static void first_encoder_is_padded_with_the_end_marker(void **state) {
    (void)state;
    check_padding(EOS);
}

static void second_encoder_is_padded_with_zero(void **state) {
    (void)state;
    check_padding(0);
}

static void empty_text_is_two_markers_and_padding(void **state) {
    (void)state;
    int32_t ids[POSITIONS];
    tt_tokens none = {0};
    assert_int_equal(tt_tokenizer_pad(tokenizer, &none, 0, POSITIONS, ids, NULL), TT_OK);
    assert_int_equal(ids[0], BOS);
    assert_int_equal(ids[1], EOS);
    assert_int_equal(ids[2], 0);
    assert_int_equal(ids[POSITIONS - 1], 0);
}

/* n tokens "a" in 77 places: as many as fit, then the end marker, then padding. */
static void check_cut(size_t n) {
    int32_t ids[POSITIONS];
    tt_tokens tokens = {0};
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tt_tokenizer_encode(tokenizer, "a ", 2, 0, &tokens, NULL), TT_OK);
    assert_int_equal(tokens.n, n);
    assert_int_equal(tt_tokenizer_pad(tokenizer, &tokens, 0, POSITIONS, ids, NULL), TT_OK);
    size_t kept = n < USABLE ? n : USABLE;
    assert_int_equal(ids[kept], 320);
    assert_int_equal(ids[kept + 1], EOS);
    if (kept < USABLE) assert_int_equal(ids[kept + 2], 0);
    tt_tokens_release(&tokens);
}

static void long_text_is_cut_before_the_end_marker(void **state) {
    (void)state;
    check_cut(74);
    check_cut(75);
    check_cut(76);
    check_cut(500);
}

static void too_few_positions_are_refused(void **state) {
    (void)state;
    int32_t ids[2];
    tt_tokens tokens = encoded("a cat", EOS);
    tt_err err;
    assert_int_equal(tt_tokenizer_pad(tokenizer, &tokens, EOS, 1, ids, &err), TT_E_INVALID);
    assert_string_equal(err.message, "1 positions cannot hold the two markers");
    assert_int_equal(tt_tokenizer_pad(tokenizer, &tokens, EOS, 2, ids, &err), TT_OK);
    assert_int_equal(ids[1], EOS);
    tt_tokens_release(&tokens);
}

static void padding_outside_the_vocabulary_is_refused(void **state) {
    (void)state;
    int32_t ids[POSITIONS];
    tt_tokens tokens = {0};
    tt_err err;
    assert_int_equal(tt_tokenizer_pad(tokenizer, &tokens, 49408, POSITIONS, ids, &err),
                     TT_E_INVALID);
    assert_int_equal(tt_tokenizer_encode(tokenizer, "a", 1, -1, &tokens, &err), TT_E_INVALID);
    assert_string_equal(err.message, "padding token -1 is not in the vocabulary of 49408");
}

/* ---- bad and large input --------------------------------------------------------------------- */

static void check_bad_utf8(const char *text, int64_t position) {
    tt_tokens tokens = encoded("kept", EOS);
    tt_err err;
    assert_int_equal(tt_tokenizer_encode(tokenizer, text, strlen(text), EOS, &tokens, &err),
                     TT_E_INVALID);
    assert_int_equal(err.position, position);
    assert_int_equal(tokens.n, 1);
    tt_tokens_release(&tokens);
}

static void text_that_is_not_utf8_is_refused_with_its_place(void **state) {
    (void)state;
    check_bad_utf8("\xff", 0);
    check_bad_utf8("abc\x80", 3);
    check_bad_utf8("\xc3\xa9\xc3", 2);           /* cut short */
    check_bad_utf8("a\xc0\x80", 1);              /* overlong NUL */
    check_bad_utf8("ab\xed\xa0\x80", 2);         /* a surrogate */
    check_bad_utf8("\xf4\x90\x80\x80 <|x|>", 0); /* above U+10FFFF */
    check_bad_utf8("!\xf0\x9f\x98 and on", 1);   /* an emoji without its end */
}

static char *repeated(const char *unit, size_t n, size_t *size) {
    size_t length = strlen(unit);
    char *text = tt_alloc(n * length + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) memcpy(text + i * length, unit, length);
    *size = n * length;
    return text;
}

static void too_many_tokens_are_refused(void **state) {
    (void)state;
    size_t size;
    char *text = repeated("a ", TT_MAX_TOKENS + 1, &size);
    tt_tokens tokens = {0};
    tt_err err;
    assert_int_equal(tt_tokenizer_encode(tokenizer, text, size, EOS, &tokens, &err), TT_E_INVALID);
    assert_string_equal(err.message, "text: more than 65536 tokens");
    assert_int_equal(tokens.n, 0);
    assert_int_equal(tt_tokenizer_encode(tokenizer, text, size - 2, EOS, &tokens, &err), TT_OK);
    assert_int_equal(tokens.n, TT_MAX_TOKENS);
    tt_tokens_release(&tokens);
    tt_free(text);
}

static void too_long_text_is_refused(void **state) {
    (void)state;
    size_t size;
    char *text = repeated(" ", TT_MAX_TOKENIZER_BYTES + 1, &size);
    tt_tokens tokens = {0};
    assert_int_equal(tt_tokenizer_encode(tokenizer, text, size, EOS, &tokens, NULL), TT_E_INVALID);
    assert_int_equal(tt_tokenizer_encode(tokenizer, text, size - 1, EOS, &tokens, NULL), TT_OK);
    assert_int_equal(tokens.n, 0);
    tt_free(text);
}

/* Far above what n log n needs, under sanitizers too; far below what n^2 would. */
static void check_is_quick(const char *unit, size_t n) {
    enum { LIMIT_US = 5 * 1000 * 1000 };
    size_t size;
    char *text = repeated(unit, n, &size);
    tt_tokens tokens = {0};
    int64_t begin = tt_clock_us();
    tt_tokenizer_encode(tokenizer, text, size, 0, &tokens, NULL);
    if (tt_clock_us() - begin > LIMIT_US) fail_msg("%zu times \"%s\" takes more than 5 s", n, unit);
    tt_tokens_release(&tokens);
    tt_free(text);
}

static void no_text_takes_quadratic_time(void **state) {
    (void)state;
    check_is_quick("a", 100 * 1000);
    check_is_quick("a", TT_MAX_TOKENIZER_BYTES);
    check_is_quick("abcdefghijklmnopqrstuvwxyz", 40 * 1000);
    check_is_quick("\xcc\xa3\xcc\x81", 250 * 1000); /* marks in the wrong order */
    check_is_quick("\xe1\x84\x80", 300 * 1000);     /* Hangul that does not compose */
    check_is_quick("!", TT_MAX_TOKENIZER_BYTES);
    check_is_quick("<|", TT_MAX_TOKENIZER_BYTES / 2);
}

/* ---- ids to text ----------------------------------------------------------------------------- */

static void check_decoded(const int32_t *ids, size_t n, const char *expected) {
    tt_buf text;
    tt_err err;
    tt_buf_init(&text, TT_KIB);
    if (tt_tokenizer_decode(tokenizer, ids, n, &text, &err) != TT_OK) fail_msg("%s", err.message);
    assert_string_equal(text.data ? text.data : "", expected);
    tt_buf_release(&text);
}

static void decoding_gives_the_words_back(void **state) {
    (void)state;
    tt_tokens tokens = encoded("A Lighthouse, d\xc3\xa9j\xc3\xa0 vu!  \xf0\x9f\x98\x80", EOS);
    check_decoded(tokens.ids, tokens.n, "a lighthouse , d\xc3\xa9j\xc3\xa0 vu ! \xf0\x9f\x98\x80");
    check_decoded((const int32_t[]){BOS, 2368, EOS}, 3, "<|startoftext|>cat <|endoftext|>");
    check_decoded(NULL, 0, "");
    tt_tokens_release(&tokens);
}

static void part_of_a_character_decodes_to_the_replacement_character(void **state) {
    (void)state;
    check_decoded((const int32_t[]){127, 320}, 2,
                  "\xef\xbf\xbd"
                  "a"); /* the byte 0xc3 alone */
}

static void unknown_id_does_not_decode(void **state) {
    (void)state;
    tt_buf text;
    tt_err err;
    tt_buf_init(&text, TT_KIB);
    assert_int_equal(tt_tokenizer_decode(tokenizer, (const int32_t[]){49408}, 1, &text, &err),
                     TT_E_INVALID);
    assert_string_equal(err.message, "token 49408 is not in the vocabulary of 49408");
    tt_buf_release(&text);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void opening_survives_any_failed_allocation(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_tokenizer *t;
        tt_err err;
        tt_alloc_fail_after(n);
        status = tt_tokenizer_open(&t, &err);
        tt_alloc_fail_after(-1);
        if (status == TT_OK)
            tt_tokenizer_close(t);
        else
            assert_int_equal(err.code, TT_E_NOMEM), assert_null(t);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
}

static void encoding_survives_any_failed_allocation(void **state) {
    (void)state;
    static const char TEXT[] =
        "a!! photo <|endoftext|> \xc3\xa9t\xc3\xa9 of "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_tokens tokens = {0};
        tt_alloc_fail_after(n);
        status = tt_tokenizer_encode(tokenizer, TEXT, sizeof TEXT - 1, 0, &tokens, NULL);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(tokens.n, 0);
        tt_tokens_release(&tokens);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_agree_with_transformers),
        cmocka_unit_test(ids_agree_with_transformers_when_padding_is_zero),
        cmocka_unit_test(vocabulary_is_clips),
        cmocka_unit_test(exclamation_mark_is_padding_for_the_second_encoder),
        cmocka_unit_test(nul_is_a_character_like_others),
        cmocka_unit_test(encode_appends),
        cmocka_unit_test(first_encoder_is_padded_with_the_end_marker),
        cmocka_unit_test(second_encoder_is_padded_with_zero),
        cmocka_unit_test(empty_text_is_two_markers_and_padding),
        cmocka_unit_test(long_text_is_cut_before_the_end_marker),
        cmocka_unit_test(too_few_positions_are_refused),
        cmocka_unit_test(padding_outside_the_vocabulary_is_refused),
        cmocka_unit_test(text_that_is_not_utf8_is_refused_with_its_place),
        cmocka_unit_test(too_many_tokens_are_refused),
        cmocka_unit_test(too_long_text_is_refused),
        cmocka_unit_test(no_text_takes_quadratic_time),
        cmocka_unit_test(decoding_gives_the_words_back),
        cmocka_unit_test(part_of_a_character_decodes_to_the_replacement_character),
        cmocka_unit_test(unknown_id_does_not_decode),
        cmocka_unit_test(opening_survives_any_failed_allocation),
        cmocka_unit_test(encoding_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
