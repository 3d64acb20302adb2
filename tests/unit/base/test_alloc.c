/* Allocation, the arena, and the switch that makes the Nth allocation fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"

static void memory_is_zeroed_and_never_null_for_nothing(void **state) {
    (void)state;
    unsigned char *p = tt_alloc(1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(p[i], 0);
    tt_free(p);
    void *nothing = tt_alloc(0);
    assert_non_null(nothing);
    tt_free(nothing);
    tt_free(NULL);
}

static void aligned_memory_is_aligned(void **state) {
    (void)state;
    for (size_t size = 0; size < 300; size += 7) {
        void *p = tt_alloc_aligned(size);
        assert_int_equal((uintptr_t)p % TT_SIMD_ALIGN, 0);
        tt_free(p);
    }
}

static void products_that_do_not_fit_are_seen(void **state) {
    (void)state;
    size_t z;
    int64_t i;
    assert_true(tt_mul_size(SIZE_MAX / 2, 2, &z));
    assert_int_equal(z, SIZE_MAX - 1);
    assert_false(tt_mul_size(SIZE_MAX / 2 + 1, 2, &z));
    assert_true(tt_mul_i64(INT64_MIN / 2, 2, &i));
    assert_false(tt_mul_i64(INT64_MIN, -1, &i));
}

static void exactly_the_nth_allocation_fails(void **state) {
    (void)state;
    for (int n = 0; n < 4; n++) {
        tt_alloc_fail_after(n);
        for (int i = 0; i < 6; i++) {
            void *p = i % 2 ? tt_alloc(8) : tt_alloc_aligned(8);
            if (i == n)
                assert_null(p);
            else
                assert_non_null(p);
            tt_free(p);
        }
    }
    tt_alloc_fail_after(0);
    assert_null(tt_strdup("x"));
    tt_alloc_fail_after(0);
    tt_alloc_fail_after(-1);
    char *copy = tt_strdup("x");
    assert_string_equal(copy, "x");
    tt_free(copy);
}

static void a_failed_realloc_keeps_the_block(void **state) {
    (void)state;
    char *p = tt_strdup("kept");
    tt_alloc_fail_after(0);
    assert_null(tt_realloc(p, 4096));
    assert_string_equal(p, "kept");
    p = tt_realloc(p, 4096);
    assert_string_equal(p, "kept");
    tt_free(p);
}

static void arena_blocks_are_zeroed_aligned_and_apart(void **state) {
    (void)state;
    tt_arena a;
    tt_arena_init(&a, 16 << 20);
    unsigned char *previous = NULL;
    for (size_t size = 1; size < 3000; size += 13) {
        unsigned char *p = tt_arena_alloc(&a, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        if (previous) assert_int_equal(previous[0], 0xaa); /* nothing overwrote the one before */
        memset(p, 0xaa, size);
        previous = p;
    }
    unsigned char *large = tt_arena_alloc(&a, 1 << 20); /* larger than a block */
    memset(large, 0xbb, 1 << 20);
    assert_int_equal(previous[0], 0xaa);
    tt_arena_release(&a);
    assert_int_equal(a.total_bytes, 0);
}

static void arena_limit_and_overflow_give_null(void **state) {
    (void)state;
    tt_arena a;
    tt_arena_init(&a, 64);
    assert_non_null(tt_arena_alloc(&a, 48));
    assert_null(tt_arena_alloc(&a, 17));
    assert_non_null(tt_arena_alloc(&a, 16));
    assert_null(tt_arena_alloc(&a, 1));
    tt_arena_release(&a);
    assert_non_null(tt_arena_alloc(&a, 64)); /* released means empty again */
    tt_arena_release(&a);

    tt_arena_init(&a, SIZE_MAX);
    assert_null(tt_arena_alloc(&a, SIZE_MAX));
    assert_null(tt_arena_alloc(&a, SIZE_MAX - 16));
    assert_null(tt_arena_strndup(&a, "x", SIZE_MAX));
    tt_arena_release(&a);
}

static void arena_copies_text_by_length(void **state) {
    (void)state;
    tt_arena a;
    tt_arena_init(&a, 4096);
    assert_string_equal(tt_arena_strndup(&a, "lighthouse", 5), "light");
    assert_string_equal(tt_arena_strndup(&a, "", 0), "");
    tt_alloc_fail_after(0);
    tt_arena_release(&a);
    assert_null(tt_arena_alloc(&a, 1)); /* a new block is needed, and refused */
    assert_non_null(tt_arena_alloc(&a, 1));
    tt_arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_never_null_for_nothing),
        cmocka_unit_test(aligned_memory_is_aligned),
        cmocka_unit_test(products_that_do_not_fit_are_seen),
        cmocka_unit_test(exactly_the_nth_allocation_fails),
        cmocka_unit_test(a_failed_realloc_keeps_the_block),
        cmocka_unit_test(arena_blocks_are_zeroed_aligned_and_apart),
        cmocka_unit_test(arena_limit_and_overflow_give_null),
        cmocka_unit_test(arena_copies_text_by_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
