/* How many cores a container grants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/cpus.h"

static void quotas_round_up_to_whole_cores(void **state) {
    (void)state;
    assert_int_equal(tt_cpus_of_quota("200000 100000\n"), 2);
    assert_int_equal(tt_cpus_of_quota("150000 100000"), 2);
    assert_int_equal(tt_cpus_of_quota("10000 100000"), 1);
}

static void no_quota_is_no_limit(void **state) {
    (void)state;
    const char *const texts[] = {"max 100000\n", "-1 100000", "", "0 0", "5", "junk", "100000 0"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(tt_cpus_of_quota(texts[i]), 0);
}

static void there_is_always_a_core(void **state) {
    (void)state;
    assert_true(tt_cpu_count() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotas_round_up_to_whole_cores),
        cmocka_unit_test(no_quota_is_no_limit),
        cmocka_unit_test(there_is_always_a_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
