/* Waits that count by the monotonic clock, beside the system's own way of saying what it is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void the_clock_is_the_systems_monotonic_one(void **state) {
    struct timespec before, after;
    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int64_t us = tt_clock_us();
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(us >= before.tv_sec * INT64_C(1000000) + before.tv_nsec / 1000);
    assert_true(us <= after.tv_sec * INT64_C(1000000) + after.tv_nsec / 1000);
}

static void a_moment_has_whole_seconds_and_the_rest(void **state) {
    (void)state;
    struct timespec t = tt_clock_moment(12345);
    assert_int_equal(t.tv_sec, 12);
    assert_int_equal(t.tv_nsec, 345000000);
    t = tt_clock_moment(INT64_MAX); /* "never", of jobs without a deadline */
    assert_true(t.tv_sec == INT64_MAX / 1000);
    assert_true(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
}

static void a_timed_wait_ends_at_its_moment_and_not_before(void **state) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition;
    (void)state;
    assert_int_equal(tt_clock_condition_init(&condition), 0);
    int64_t end_ms = tt_clock_ms() + 5;
    struct timespec end = tt_clock_moment(end_ms);
    int waited = 0;
    pthread_mutex_lock(&mutex);
    while (waited == 0) waited = pthread_cond_timedwait(&condition, &mutex, &end);
    pthread_mutex_unlock(&mutex);
    assert_int_equal(waited, ETIMEDOUT);
    assert_true(tt_clock_ms() >= end_ms);
    pthread_cond_destroy(&condition);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_is_the_systems_monotonic_one),
        cmocka_unit_test(a_moment_has_whole_seconds_and_the_rest),
        cmocka_unit_test(a_timed_wait_ends_at_its_moment_and_not_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
