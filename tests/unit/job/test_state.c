/* The states of a job and their moves, as runpod.md 4.3 draws them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "job/state.h"

static const tt_job_state ALL[] = {TT_JOB_IN_QUEUE, TT_JOB_IN_PROGRESS, TT_JOB_COMPLETED,
                                   TT_JOB_FAILED,   TT_JOB_CANCELLED,   TT_JOB_TIMED_OUT};
enum { N = sizeof ALL / sizeof ALL[0] };

static void names_are_those_of_the_api(void **state) {
    (void)state;
    static const char *const NAMES[] = {"IN_QUEUE", "IN_PROGRESS", "COMPLETED",
                                        "FAILED",   "CANCELLED",   "TIMED_OUT"};
    for (int i = 0; i < N; i++) assert_string_equal(tt_job_state_name(ALL[i]), NAMES[i]);
}

static void four_states_are_final(void **state) {
    (void)state;
    for (int i = 0; i < N; i++) assert_int_equal(tt_job_state_is_final(ALL[i]), i >= 2);
}

/* Rows from, columns to, in the order of ALL. */
static void exactly_the_drawn_moves_are_legal(void **state) {
    (void)state;
    static const char *const LEGAL[] = {".x..xx", "x.xxxx", "......", "x.....", "......", "x....."};
    for (int from = 0; from < N; from++)
        for (int to = 0; to < N; to++)
            assert_int_equal(tt_job_state_may_become(ALL[from], ALL[to]), LEGAL[from][to] == 'x');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_api),
        cmocka_unit_test(four_states_are_final),
        cmocka_unit_test(exactly_the_drawn_moves_are_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
