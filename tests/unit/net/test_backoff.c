/* Backoff: bounds of every wait, that workers which failed together do not come back together, and which statuses count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/backoff.h"

static void every_wait_lies_between_base_and_doubled_base(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        tt_backoff b;
        int64_t top = 100;
        tt_backoff_init(&b, 100, 5000, seed);
        for (int n = 1; n < 20; n++) {
            top = top * 2 > 5000 ? 5000 : top * 2;
            int64_t ms = tt_backoff_next_ms(&b);
            assert_in_range(ms, 100, top);
        }
    }
}

/* The mean of a uniform wait in [100, 200] is 150; of 2000 draws it strays by 3 at most in practice. */
static void waits_fill_their_range_evenly(void **state) {
    (void)state;
    int64_t sum = 0, low = INT64_MAX, high = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        tt_backoff b;
        tt_backoff_init(&b, 100, 5000, seed);
        int64_t ms = tt_backoff_next_ms(&b);
        sum += ms;
        if (ms < low) low = ms;
        if (ms > high) high = ms;
    }
    assert_in_range(sum / 2000, 145, 155);
    assert_in_range(low, 100, 103);
    assert_in_range(high, 197, 200);
}

static void the_same_seed_gives_the_same_waits(void **state) {
    (void)state;
    tt_backoff a, b, c;
    int n_equal = 0;
    tt_backoff_init(&a, 10, 100000, 1);
    tt_backoff_init(&b, 10, 100000, 1);
    tt_backoff_init(&c, 10, 100000, 2);
    for (int i = 0; i < 20; i++) {
        int64_t ms = tt_backoff_next_ms(&a);
        assert_int_equal(ms, tt_backoff_next_ms(&b));
        n_equal += ms == tt_backoff_next_ms(&c);
    }
    assert_in_range(n_equal, 0, 5);
}

static void a_reset_begins_again(void **state) {
    (void)state;
    tt_backoff b;
    tt_backoff_init(&b, 10, 100000, 1);
    for (int i = 0; i < 10; i++) tt_backoff_next_ms(&b);
    tt_backoff_reset(&b);
    assert_in_range(tt_backoff_next_ms(&b), 10, 20);
}

static void extreme_numbers_do_not_wrap(void **state) {
    (void)state;
    tt_backoff b;
    tt_backoff_init(&b, 1, INT64_MAX - 1, 3);
    for (int i = 0; i < 1000; i++) assert_true(tt_backoff_next_ms(&b) >= 1);
    tt_backoff_init(&b, 0, 0, 3);
    for (int i = 0; i < 10; i++) assert_int_equal(tt_backoff_next_ms(&b), 0);
    tt_backoff_init(&b, 500, 200, 3); /* the cap wins */
    for (int i = 0; i < 10; i++) assert_int_equal(tt_backoff_next_ms(&b), 200);
    b.n_tries = INT32_MAX;
    assert_int_equal(tt_backoff_next_ms(&b), 200);
}

static void busy_and_broken_servers_are_worth_another_try(void **state) {
    (void)state;
    static const int YES[] = {408, 425, 429, 500, 502, 503, 504, 599};
    static const int NO[] = {0, 200, 204, 301, 400, 401, 403, 404, 409, 413, 422, 499, 600, -1};
    for (size_t i = 0; i < sizeof YES / sizeof *YES; i++) assert_true(tt_http_is_retryable(YES[i]));
    for (size_t i = 0; i < sizeof NO / sizeof *NO; i++) assert_false(tt_http_is_retryable(NO[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wait_lies_between_base_and_doubled_base),
        cmocka_unit_test(waits_fill_their_range_evenly),
        cmocka_unit_test(the_same_seed_gives_the_same_waits),
        cmocka_unit_test(a_reset_begins_again),
        cmocka_unit_test(extreme_numbers_do_not_wrap),
        cmocka_unit_test(busy_and_broken_servers_are_worth_another_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
