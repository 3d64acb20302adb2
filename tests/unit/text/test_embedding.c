/* Textual inversions: the forms of files that trainers write, and what is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "embedding_file.h"

static const int64_t widths[] = {768, 1280};

static void pair_is_read(void **state) {
    (void)state;
    const embedding_tensor tensors[] = {{"clip_g", "F32", 3, 1280}, {"clip_l", "F32", 3, 768}};
    tt_embedding *e;
    assert_int_equal(embedding_open("my style", tensors, 2, widths, &e, NULL), TT_OK);
    assert_string_equal(tt_embedding_name(e), "my style");
    assert_int_equal(tt_embedding_n_rows(e), 3);
    assert_int_equal(tt_embedding_width(e, 1), 1280);
    assert_float_equal(tt_embedding_rows(e, 0)[768], 769, 0);
    assert_float_equal(tt_embedding_rows(e, 1)[2 * 1280 + 1279], 3 * 1280, 0);
    tt_embedding_close(e);
}

static void single_vectors_are_one_row(void **state) {
    (void)state;
    const embedding_tensor tensors[] = {{"clip_l", "F32", 0, 768}, {"clip_g", "F32", 0, 1280}};
    tt_embedding *e;
    assert_int_equal(embedding_open("x", tensors, 2, widths, &e, NULL), TT_OK);
    assert_int_equal(tt_embedding_n_rows(e), 1);
    tt_embedding_close(e);
}

static void joined_vectors_are_taken_apart(void **state) {
    (void)state;
    const embedding_tensor tensors[] = {{"emb_params", "F32", 2, 2048}};
    tt_embedding *e;
    assert_int_equal(embedding_open("x", tensors, 1, widths, &e, NULL), TT_OK);
    assert_int_equal(tt_embedding_n_rows(e), 2);
    assert_float_equal(tt_embedding_rows(e, 0)[767], 768, 0);
    assert_float_equal(tt_embedding_rows(e, 1)[0], 769, 0);
    assert_float_equal(tt_embedding_rows(e, 0)[768], 2049, 0);
    tt_embedding_close(e);
}

static void expect_refusal(const embedding_tensor *tensors, size_t n, tt_status code,
                           const char *word) {
    tt_embedding *e;
    tt_err err;
    assert_int_equal(embedding_open("x", tensors, n, widths, &e, &err), code);
    assert_null(e);
    if (!strstr(err.message, word)) fail_msg("\"%s\" does not say \"%s\"", err.message, word);
}

static void other_families_are_refused_by_name(void **state) {
    (void)state;
    expect_refusal(&(embedding_tensor){"emb_params", "F32", 4, 768}, 1, TT_E_UNSUPPORTED,
                   "Stable Diffusion 1");
    expect_refusal(&(embedding_tensor){"emb_params", "F32", 4, 1024}, 1, TT_E_UNSUPPORTED,
                   "Stable Diffusion 2");
    const embedding_tensor swapped[] = {{"clip_l", "F32", 1, 1280}, {"clip_g", "F32", 1, 768}};
    expect_refusal(swapped, 2, TT_E_UNSUPPORTED, "clip_l");
    expect_refusal(swapped, 1, TT_E_UNSUPPORTED, "one text encoder");
}

static void broken_files_are_refused(void **state) {
    (void)state;
    const embedding_tensor uneven[] = {{"clip_l", "F32", 2, 768}, {"clip_g", "F32", 3, 1280}};
    expect_refusal(uneven, 2, TT_E_FORMAT, "clip_g has 3");
    const embedding_tensor integers[] = {{"clip_l", "I32", 2, 768}, {"clip_g", "F32", 2, 1280}};
    expect_refusal(integers, 2, TT_E_FORMAT, "I32");
    const embedding_tensor others[] = {{"a", "F32", 2, 768}, {"b", "F32", 2, 1280}};
    expect_refusal(others, 2, TT_E_UNSUPPORTED, "no textual inversion");
    expect_refusal(&(embedding_tensor){"emb_params", "F32", 5000, 2}, 1, TT_E_FORMAT, "5000");
}

static void missing_file_is_not_found(void **state) {
    (void)state;
    tt_embedding *e;
    assert_int_equal(tt_embedding_open("/nowhere/x.safetensors", widths, &e, NULL), TT_E_NOT_FOUND);
    assert_null(e);
}

static void any_failed_allocation_is_survived(void **state) {
    (void)state;
    const embedding_tensor tensors[] = {{"clip_l", "F32", 1, 768}, {"clip_g", "F32", 1, 1280}};
    char folder[] = "/tmp/tt-embedding-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    embedding_write(path, tensors, 2);
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_embedding *e;
        tt_alloc_fail_after(n);
        status = tt_embedding_open(path, widths, &e, NULL);
        tt_alloc_fail_after(-1);
        assert_true(status == TT_OK || status == TT_E_NOMEM);
        tt_embedding_close(e);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_is_read),
        cmocka_unit_test(single_vectors_are_one_row),
        cmocka_unit_test(joined_vectors_are_taken_apart),
        cmocka_unit_test(other_families_are_refused_by_name),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(missing_file_is_not_found),
        cmocka_unit_test(any_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
