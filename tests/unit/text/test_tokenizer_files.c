/* Tokenizers from folders: both file forms of a small vocabulary against transformers (tools/golden/tokens.py),
 * tokenizer_config.json, and files that are wrong. */
#include "tokenizer_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/limits.h"

#define SMALL DATA_FOLDER "/tokens-small"

/* ---- a folder of files for one test ---------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tt-tokenizer-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer.json",
                                        "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(path_of(names[i]));
    return rmdir(folder);
}

static void put(const char *name, const char *text) {
    assert_int_equal(tt_file_write(path_of(name), text, strlen(text), NULL), TT_OK);
}

#define MARKERS "\"<|startoftext|>\":5,\"<|endoftext|>\":6"
#define LETTERS "\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab</w>\":4"

static void put_two_files(const char *vocabulary, const char *merges) {
    put("vocab.json", vocabulary);
    put("merges.txt", merges);
}

static tt_tokenizer *opened(void) {
    tt_tokenizer *t;
    tt_err err;
    if (tt_tokenizer_open_folder(folder, &t, &err) != TT_OK) fail_msg("%s", err.message);
    return t;
}

/* Opening fails with this status and a message that contains `part`. */
static void check_refused(tt_status status, const char *part) {
    tt_tokenizer *t;
    tt_err err;
    assert_int_equal(tt_tokenizer_open_folder(folder, &t, &err), status);
    assert_null(t);
    if (!strstr(err.message, part)) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
}

static void check_encoded(const tt_tokenizer *t, const char *text, int32_t pad_id,
                          const char *expected) {
    tt_tokens tokens = {0};
    char found[256] = "";
    size_t used = 0;
    assert_int_equal(tt_tokenizer_encode(t, text, strlen(text), pad_id, &tokens, NULL), TT_OK);
    for (size_t i = 0; i < tokens.n && used < sizeof found; i++)
        used +=
            (size_t)snprintf(found + used, sizeof found - used, i ? " %d" : "%d", tokens.ids[i]);
    assert_string_equal(found, expected);
    tt_tokens_release(&tokens);
}

/* ---- against transformers -------------------------------------------------------------------- */

static void two_files_agree_with_transformers(void **state) {
    (void)state;
    tt_tokenizer *t;
    tt_err err;
    if (tt_tokenizer_open_files(SMALL "/vocab.json", SMALL "/merges.txt", &t, &err) != TT_OK)
        fail_msg("%s", err.message);
    assert_int_equal(tt_tokenizer_pad_id(t), tt_tokenizer_eos_id(t));
    assert_true(check_cases(t, SMALL "/two-files.json", tt_tokenizer_pad_id(t)) > 20);
    tt_tokenizer_close(t);
}

static void one_file_agrees_with_transformers(void **state) {
    (void)state;
    tt_tokenizer *t;
    tt_err err;
    if (tt_tokenizer_open_json(SMALL "/tokenizer.json", &t, &err) != TT_OK)
        fail_msg("%s", err.message);
    assert_true(check_cases(t, SMALL "/one-file.json", tt_tokenizer_eos_id(t)) > 20);
    tt_tokenizer_close(t);
}

static void folder_gives_its_padding_token(void **state) {
    (void)state;
    tt_tokenizer *t;
    tt_err err;
    if (tt_tokenizer_open_folder(SMALL, &t, &err) != TT_OK) fail_msg("%s", err.message);
    int32_t pad_id = tt_tokenizer_pad_id(t), exclamation_mark;
    json_object *vocabulary, *id;
    assert_int_equal(tt_json_read_file(SMALL "/vocab.json", &vocabulary, NULL), TT_OK);
    assert_true(json_object_object_get_ex(vocabulary, "!", &id));
    exclamation_mark = json_object_get_int(id);
    json_object_put(vocabulary);
    assert_int_equal(pad_id, exclamation_mark);
    assert_true(check_cases(t, SMALL "/one-file.json", pad_id) > 20);
    tt_tokenizer_close(t);
}

/* ---- what is read from the files ------------------------------------------------------------- */

static void vocabulary_gives_the_markers_their_ids(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "#version: 0.2\na b</w>\n");
    tt_tokenizer *t = opened();
    assert_int_equal(tt_tokenizer_size(t), 7);
    assert_int_equal(tt_tokenizer_bos_id(t), 5);
    assert_int_equal(tt_tokenizer_eos_id(t), 6);
    assert_int_equal(tt_tokenizer_pad_id(t), 6);
    tt_tokenizer_close(t);
}

static void unknown_bytes_become_the_end_marker(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "#version: 0.2\na b</w>\n");
    tt_tokenizer *t = opened();
    check_encoded(t, "ab abc c cc a", 6, "4 0 1 6 6 6 6 2"); /* as transformers 5.23 */
    tt_tokenizer_close(t);
}

static void merges_need_no_version_line_and_may_end_with_crlf(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "a b</w>\r\n");
    tt_tokenizer *t = opened();
    check_encoded(t, "AB", 6, "4");
    tt_tokenizer_close(t);
}

static void markers_are_found_as_they_stand_or_in_any_case_as_configured(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "");
    put("tokenizer_config.json", "{}");
    tt_tokenizer *t = opened();
    check_encoded(t, "a<|endoftext|>", 6, "2 6");
    check_encoded(t, "a<|startoftext|>", 6, "2 5");
    tt_tokens plain = {0};
    assert_int_equal(tt_tokenizer_encode(t, "<|STARTOFTEXT|>", 15, 6, &plain, NULL), TT_OK);
    assert_true(plain.n > 1);
    tt_tokens_release(&plain);
    tt_tokenizer_close(t);

    put("tokenizer_config.json", "{\"pad_token\":\"<|endoftext|>\",\"added_tokens_decoder\":{"
                                 "\"5\":{\"content\":\"<|startoftext|>\",\"normalized\":true},"
                                 "\"6\":{\"content\":\"<|endoftext|>\",\"normalized\":true}}}");
    t = opened();
    check_encoded(t, "a<|StartOfText|>b<|ENDOFTEXT|>", 6, "2 5 3 6");
    tt_tokenizer_close(t);
}

static void configured_padding_token_is_special(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "a b</w>\n");
    put("tokenizer_config.json", "{\"pad_token\":{\"content\":\"b\",\"normalized\":false}}");
    tt_tokenizer *t = opened();
    assert_int_equal(tt_tokenizer_pad_id(t), 1);
    check_encoded(t, "ab", 1, "2 1");
    tt_tokenizer_close(t);
}

static void added_tokens_extend_the_vocabulary(void **state) {
    (void)state;
    put("tokenizer.json",
        "{\"added_tokens\":[{\"id\":9,\"content\":\"<My Cat>\",\"normalized\":false}],"
        "\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{" LETTERS
        "," MARKERS "},\"merges\":[\"a b</w>\"]}}");
    tt_tokenizer *t = opened();
    assert_int_equal(tt_tokenizer_size(t), 10);
    check_encoded(t, "ab<My Cat>ab", 6, "4 9 4");
    tt_tokenizer_close(t);
}

/* ---- files that are wrong -------------------------------------------------------------------- */

static void empty_folder_is_refused(void **state) {
    (void)state;
    check_refused(TT_E_NOT_FOUND, "has neither tokenizer.json nor vocab.json");
}

static void missing_merges_are_refused(void **state) {
    (void)state;
    put("vocab.json", "{" LETTERS "," MARKERS "}");
    check_refused(TT_E_NOT_FOUND, "merges.txt");
}

static void wrong_vocabularies_are_refused(void **state) {
    (void)state;
    put_two_files("[]", "");
    check_refused(TT_E_FORMAT, "expected an object, found an array");
    put_two_files("{}", "");
    check_refused(TT_E_FORMAT, "0 ids");
    put_two_files("{" LETTERS "}", "");
    check_refused(TT_E_FORMAT, "no token <|startoftext|>");
    put_two_files("{\"a\":\"0\"," MARKERS "}", "");
    check_refused(TT_E_FORMAT, "expected an id of 0 to 1048575, found \"0\"");
    put_two_files("{\"a\":-1," MARKERS "}", "");
    check_refused(TT_E_FORMAT, "found -1");
    put_two_files("{\"a\":1048576," MARKERS "}", "");
    check_refused(TT_E_FORMAT, "found 1048576");
    put_two_files("{\"a\":5," MARKERS "}", "");
    check_refused(TT_E_FORMAT, "two tokens have the id 5");
    put_two_files("{\"\":1," MARKERS "}", "");
    check_refused(TT_E_FORMAT, "a name of 0 bytes");
}

static void wrong_merges_are_refused(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "a b</w>\na\n");
    check_refused(TT_E_FORMAT, "line 2: expected two names with one space between, found \"a\"");
    put_two_files("{" LETTERS "," MARKERS "}", "a b c\n");
    check_refused(TT_E_FORMAT, "found \"a b c\"");
    put_two_files("{" LETTERS "," MARKERS "}", "a z\n");
    check_refused(TT_E_FORMAT, "\"z\" is not in the vocabulary");
    put_two_files("{" LETTERS "," MARKERS "}", "a b\n");
    check_refused(TT_E_FORMAT, "\"ab\" is not in the vocabulary");
}

static void other_models_than_clip_are_refused(void **state) {
    (void)state;
    put("tokenizer.json", "[]");
    check_refused(TT_E_FORMAT, "expected an object");
    put("tokenizer.json", "{\"model\":3}");
    check_refused(TT_E_FORMAT, "model: expected an object, found a number");
    put("tokenizer.json", "{\"model\":{\"type\":\"Unigram\"}}");
    check_refused(TT_E_UNSUPPORTED, "not a CLIP tokenizer");
    put("tokenizer.json",
        "{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{" MARKERS "}}}");
    check_refused(TT_E_FORMAT, "merges: expected an array, found nothing");
    put("tokenizer.json",
        "{\"added_tokens\":[{\"id\":4,\"content\":\"<|endoftext|>\"}],\"model\":{"
        "\"end_of_word_suffix\":\"</w>\",\"vocab\":{" MARKERS "},\"merges\":[]}}");
    check_refused(TT_E_FORMAT, "id 4, but 6 in the vocabulary");
    put("tokenizer.json",
        "{\"added_tokens\":[{\"id\":7,\"content\":\"x\",\"lstrip\":true}],\"model\":{"
        "\"end_of_word_suffix\":\"</w>\",\"vocab\":{" MARKERS "},\"merges\":[]}}");
    check_refused(TT_E_UNSUPPORTED, "lstrip");
    put("tokenizer.json",
        "{\"added_tokens\":[],\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":{" MARKERS
        "},\"merges\":[[\"a\"]]}}");
    check_refused(TT_E_FORMAT, "merge 0: expected two names");
}

static void unknown_configured_tokens_are_refused(void **state) {
    (void)state;
    put_two_files("{" LETTERS "," MARKERS "}", "");
    put("tokenizer_config.json", "{\"pad_token\":\"[PAD]\"}");
    check_refused(TT_E_UNSUPPORTED, "\"[PAD]\" is not in vocab.json");
    put("tokenizer_config.json", "3");
    check_refused(TT_E_FORMAT, "expected an object, found a number");
}

static void opening_survives_any_failed_allocation(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    put_two_files("{" LETTERS "," MARKERS "}", "a b</w>\n");
    put("tokenizer_config.json", "{\"bos_token\":{\"content\":\"<|startoftext|>\",\"normalized\":"
                                 "true},\"pad_token\":\"b\"}");
    for (int n = 0; status != TT_OK; n++) {
        tt_tokenizer *t;
        tt_alloc_fail_after(n);
        status = tt_tokenizer_open_folder(folder, &t, NULL);
        tt_alloc_fail_after(-1);
        if (status == TT_OK)
            tt_tokenizer_close(t);
        else
            assert_null(t);
        assert_true(n < 1000);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_files_agree_with_transformers),
        cmocka_unit_test(one_file_agrees_with_transformers),
        cmocka_unit_test(folder_gives_its_padding_token),
        IN_FOLDER(vocabulary_gives_the_markers_their_ids),
        IN_FOLDER(unknown_bytes_become_the_end_marker),
        IN_FOLDER(merges_need_no_version_line_and_may_end_with_crlf),
        IN_FOLDER(markers_are_found_as_they_stand_or_in_any_case_as_configured),
        IN_FOLDER(configured_padding_token_is_special),
        IN_FOLDER(added_tokens_extend_the_vocabulary),
        IN_FOLDER(empty_folder_is_refused),
        IN_FOLDER(missing_merges_are_refused),
        IN_FOLDER(wrong_vocabularies_are_refused),
        IN_FOLDER(wrong_merges_are_refused),
        IN_FOLDER(other_models_than_clip_are_refused),
        IN_FOLDER(unknown_configured_tokens_are_refused),
        IN_FOLDER(opening_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
