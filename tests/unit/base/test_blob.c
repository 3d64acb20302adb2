/* Shared bytes: the last holder frees them, whoever that is. AddressSanitizer is the judge of "freed exactly once". */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/blob.h"

static void a_new_blob_is_a_terminated_copy(void **state) {
    (void)state;
    char text[] = "abc\0def";
    tt_blob *blob;
    assert_int_equal(tt_blob_new(text, 7, &blob, NULL), TT_OK);
    memset(text, 'x', sizeof text);
    assert_int_equal(blob->size, 7);
    assert_memory_equal(blob->data, "abc\0def", 8);
    tt_blob_release(blob);
}

static void an_empty_blob_is_an_empty_string(void **state) {
    (void)state;
    tt_blob *blob;
    assert_int_equal(tt_blob_new(NULL, 0, &blob, NULL), TT_OK);
    assert_string_equal(blob->data, "");
    tt_blob_release(blob);
    tt_buf b;
    tt_buf_init(&b, 10);
    assert_int_equal(tt_blob_take(&b, &blob, NULL), TT_OK);
    assert_string_equal(blob->data, "");
    tt_blob_release(blob);
}

static void take_keeps_the_memory_and_empties_the_buffer(void **state) {
    (void)state;
    tt_buf b;
    tt_buf_init(&b, 100);
    tt_buf_puts(&b, "an answer", NULL);
    char *memory = b.data;
    tt_blob *blob;
    assert_int_equal(tt_blob_take(&b, &blob, NULL), TT_OK);
    assert_ptr_equal(blob->data, memory);
    assert_int_equal(blob->size, 9);
    assert_null(b.data);
    assert_int_equal(b.size, 0);
    assert_int_equal(tt_buf_puts(&b, "again", NULL), TT_OK);
    tt_buf_release(&b);
    tt_blob_release(blob);
}

static void null_is_held_and_released(void **state) {
    (void)state;
    assert_null(tt_blob_hold(NULL));
    tt_blob_release(NULL);
}

static void the_last_of_several_holders_frees(void **state) {
    (void)state;
    tt_blob *blob;
    assert_int_equal(tt_blob_new("x", 1, &blob, NULL), TT_OK);
    assert_ptr_equal(tt_blob_hold(blob), blob);
    tt_blob_release(blob);
    assert_string_equal(blob->data, "x");
    tt_blob_release(blob);
}

enum { N_THREADS = 4, N_ROUNDS = 20000 };

static void *hold_and_release(void *context) {
    tt_blob *blob = context;
    for (int i = 0; i < N_ROUNDS; i++) tt_blob_release(tt_blob_hold(blob));
    tt_blob_release(blob); /* this thread's own hold */
    return NULL;
}

static void threads_may_hold_and_release_at_once(void **state) {
    (void)state;
    tt_blob *blob;
    pthread_t threads[N_THREADS];
    assert_int_equal(tt_blob_new("x", 1, &blob, NULL), TT_OK);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, tt_blob_hold(blob)),
                         0);
    tt_blob_release(blob);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
}

static void memory_that_is_refused_leaves_nothing_behind(void **state) {
    (void)state;
    for (int n = 0; n < 2; n++) {
        tt_err err;
        tt_blob *blob;
        tt_alloc_fail_after(n);
        assert_int_equal(tt_blob_new("abc", 3, &blob, &err), TT_E_NOMEM);
        assert_null(blob);
        assert_non_null(strstr(err.message, "out of memory"));
    }
    tt_alloc_fail_after(-1);
    tt_buf b;
    tt_blob *blob;
    tt_buf_init(&b, 100);
    tt_buf_puts(&b, "abc", NULL);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_blob_take(&b, &blob, NULL), TT_E_NOMEM);
    assert_null(b.data); /* empty also on failure */
    assert_null(blob);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_blob_is_a_terminated_copy),
        cmocka_unit_test(an_empty_blob_is_an_empty_string),
        cmocka_unit_test(take_keeps_the_memory_and_empties_the_buffer),
        cmocka_unit_test(null_is_held_and_released),
        cmocka_unit_test(the_last_of_several_holders_frees),
        cmocka_unit_test(threads_may_hold_and_release_at_once),
        cmocka_unit_test(memory_that_is_refused_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
