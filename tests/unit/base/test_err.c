/* The error record: what may be in a message, and where it is cut. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/utf8.h"

static void message_and_code_are_recorded(void **state) {
    (void)state;
    tt_err err;
    assert_int_equal(tt_fail(&err, TT_E_FORMAT, "tensor %s: shape [%d]", "x", 4), TT_E_FORMAT);
    assert_int_equal(err.code, TT_E_FORMAT);
    assert_int_equal(err.position, -1);
    assert_string_equal(err.message, "tensor x: shape [4]");
}

static void position_is_recorded(void **state) {
    (void)state;
    tt_err err;
    tt_fail_at(&err, TT_E_FORMAT, 77, "bad byte");
    assert_int_equal(err.position, 77);
}

static void no_record_wanted_still_returns_the_code(void **state) {
    (void)state;
    assert_int_equal(tt_fail(NULL, TT_E_IO, "x"), TT_E_IO);
    assert_int_equal(tt_fail_at(NULL, TT_E_IO, 1, "x"), TT_E_IO);
    assert_int_equal(tt_fail_prefix(NULL, TT_E_IO, "x"), TT_E_IO);
    assert_int_equal(tt_fail_nomem(NULL, "x", 1), TT_E_NOMEM);
}

static void control_characters_cannot_forge_lines(void **state) {
    (void)state;
    tt_err err;
    tt_fail(&err, TT_E_INVALID, "file %s",
            "a\nlevel=info\r\x1b[2J\x7f\xc2\x9b"
            "b");
    assert_string_equal(err.message, "file a?level=info??[2J??b");
}

static void bytes_that_are_not_utf8_are_replaced(void **state) {
    (void)state;
    tt_err err;
    tt_fail(&err, TT_E_INVALID, "%s", "caf\xe9 \xed\xa0\x80 \xc3\xa9 \xf0\x9f\x8c\x85 \xe2\x82");
    assert_string_equal(err.message, "caf? ??? \xc3\xa9 \xf0\x9f\x8c\x85 ??");
}

/* For every possible offset of a 4-byte character at the cut, the message stays valid and loses no
 * more than it. */
static void a_long_message_is_cut_between_characters(void **state) {
    (void)state;
    for (int shift = 0; shift < 8; shift++) {
        char text[2048];
        size_t n = 0;
        while (n < (size_t)shift) text[n++] = 'x';
        while (n + 4 < sizeof text) memcpy(text + n, "\xf0\x9f\x8c\x85", 4), n += 4;
        text[n] = '\0';
        tt_err err;
        tt_fail(&err, TT_E_INVALID, "%s", text);
        size_t length = strlen(err.message);
        assert_true(tt_utf8_is_valid(err.message, length, NULL));
        assert_in_range(length, TT_ERR_MESSAGE_BYTES - 4, TT_ERR_MESSAGE_BYTES - 1);
        assert_memory_equal(err.message, text, length);
    }
}

static void a_message_that_just_fits_is_whole(void **state) {
    (void)state;
    char text[TT_ERR_MESSAGE_BYTES];
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 3, "\xc3\xa9", 3);
    tt_err err;
    tt_fail(&err, TT_E_INVALID, "%s", text);
    assert_string_equal(err.message, text);
}

static void prefix_keeps_code_position_and_sentence(void **state) {
    (void)state;
    tt_err err;
    tt_fail_at(&err, TT_E_FORMAT, 9, "bad shape");
    assert_int_equal(tt_fail_prefix(&err, TT_E_FORMAT, "%s", "model.safetensors"), TT_E_FORMAT);
    assert_string_equal(err.message, "model.safetensors: bad shape");
    assert_int_equal(err.position, 9);
}

static void an_argument_may_be_the_record_itself(void **state) {
    (void)state;
    tt_err err;
    tt_fail(&err, TT_E_IO, "inner");
    tt_fail(&err, TT_E_IO, "outer (%s) and %s again", err.message, err.message);
    assert_string_equal(err.message, "outer (inner) and inner again");
}

static void errno_becomes_a_sentence(void **state) {
    (void)state;
    tt_err err;
    errno = ENOENT;
    assert_int_equal(tt_fail_errno(&err, "cannot open", "a/b"), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "cannot open a/b: No such file or directory");
    errno = ENOSPC;
    assert_int_equal(tt_fail_errno(&err, "cannot write", "a/b"), TT_E_IO);
    assert_string_equal(err.message, "cannot write a/b: No space left on device");
}

static tt_status forwards(tt_status first, int *n_after) {
    TT_TRY(first);
    ++*n_after;
    return TT_OK;
}

static void try_forwards_only_failures(void **state) {
    (void)state;
    int n_after = 0;
    assert_int_equal(forwards(TT_E_CANCELLED, &n_after), TT_E_CANCELLED);
    assert_int_equal(n_after, 0);
    assert_int_equal(forwards(TT_OK, &n_after), TT_OK);
    assert_int_equal(n_after, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_and_code_are_recorded),
        cmocka_unit_test(position_is_recorded),
        cmocka_unit_test(no_record_wanted_still_returns_the_code),
        cmocka_unit_test(control_characters_cannot_forge_lines),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(a_message_that_just_fits_is_whole),
        cmocka_unit_test(prefix_keeps_code_position_and_sentence),
        cmocka_unit_test(an_argument_may_be_the_record_itself),
        cmocka_unit_test(errno_becomes_a_sentence),
        cmocka_unit_test(try_forwards_only_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
