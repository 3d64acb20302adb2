/* The growable buffer: its ceiling, its terminator, and what is left when memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"

static void appended_bytes_stay_in_order_and_terminated(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 1 << 20);
    for (int i = 0; i < 100000; i++) {
        char c = (char)('a' + i % 26);
        assert_int_equal(tt_buf_append(&b, &c, 1, NULL), TT_OK);
        assert_int_equal(b.data[b.size], '\0');
    }
    assert_int_equal(b.size, 100000);
    for (int i = 0; i < 100000; i++) assert_int_equal(b.data[i], 'a' + i % 26);
    assert_true(b.capacity <= 2 * b.size + 2);
    tt_buf_release(&b);
    assert_null(b.data);
}

static void the_limit_is_exact(void **state) {
    (void)state;
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, 10);
    assert_int_equal(tt_buf_puts(&b, "0123456789", &err), TT_OK);
    assert_int_equal(tt_buf_puts(&b, "x", &err), TT_E_NOMEM);
    assert_non_null(strstr(err.message, "limit is 10"));
    assert_string_equal(b.data, "0123456789");
    assert_int_equal(tt_buf_append(&b, "", 0, &err), TT_OK);
    tt_buf_release(&b);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, SIZE_MAX);
    assert_int_equal(tt_buf_puts(&b, "abc", NULL), TT_OK);
    assert_int_equal(tt_buf_reserve(&b, SIZE_MAX, NULL), TT_E_NOMEM);
    assert_int_equal(tt_buf_reserve(&b, SIZE_MAX - 3, NULL), TT_E_NOMEM);
    assert_string_equal(b.data, "abc");
    tt_buf_release(&b);
}

static void a_released_buffer_can_be_used_again(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 4);
    assert_int_equal(tt_buf_puts(&b, "abcd", NULL), TT_OK);
    tt_buf_release(&b);
    assert_int_equal(tt_buf_puts(&b, "efgh", NULL), TT_OK);
    assert_string_equal(b.data, "efgh");
    assert_int_equal(tt_buf_puts(&b, "i", NULL), TT_E_NOMEM);
    tt_buf_release(&b);
    tt_buf_release(&b);
}

static void printf_appends_what_snprintf_would(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 4096);
    char expected[1200];
    int n = snprintf(expected, sizeof expected, "%1000d|%s|%.3f", 42, "text", 1.5);
    assert_int_equal(tt_buf_printf(&b, NULL, "%1000d|%s", 42, "text"), TT_OK);
    assert_int_equal(tt_buf_printf(&b, NULL, "|%.3f", 1.5), TT_OK);
    assert_int_equal(b.size, n);
    assert_string_equal(b.data, expected);
    tt_buf_release(&b);
}

static void printf_beyond_the_limit_changes_nothing(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 8);
    assert_int_equal(tt_buf_puts(&b, "abc", NULL), TT_OK);
    assert_int_equal(tt_buf_printf(&b, NULL, "%d", 123456), TT_E_NOMEM);
    assert_string_equal(b.data, "abc");
    tt_buf_release(&b);
}

static void out_of_memory_keeps_the_contents(void **state) {
    (void)state;
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, 1 << 20);
    assert_int_equal(tt_buf_puts(&b, "kept", &err), TT_OK);
    char block[4096];
    memset(block, 'x', sizeof block);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_buf_append(&b, block, sizeof block, &err), TT_E_NOMEM);
    assert_non_null(strstr(err.message, "out of memory"));
    assert_string_equal(b.data, "kept");
    assert_int_equal(tt_buf_append(&b, block, sizeof block, &err), TT_OK); /* it failed once only */
    tt_buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_bytes_stay_in_order_and_terminated),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(a_released_buffer_can_be_used_again),
        cmocka_unit_test(printf_appends_what_snprintf_would),
        cmocka_unit_test(printf_beyond_the_limit_changes_nothing),
        cmocka_unit_test(out_of_memory_keeps_the_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
