/* Statistics of parts against those of all values at once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/alloc.h"
#include "tensor/statistics.h"

/* In two passes, as the definition has it. */
static tt_norm_statistics of_values(const double *values, int count) {
    tt_norm_statistics s = {.count = count};
    for (int i = 0; i < count; i++) s.mean += values[i] / count;
    for (int i = 0; i < count; i++) s.squares += pow(values[i] - s.mean, 2);
    return s;
}

static void parts_add_up_to_the_whole(void **state) {
    enum { COUNT = 1000 };
    static const int ends[] = {1, 2, 3, 500, 501, COUNT};
    double values[COUNT];
    (void)state;
    for (int64_t power = 0; power < 10000000; power = 10 * power + 1) {
        const double offset = (double)power;
        tt_norm_statistics sum = {0};
        for (int i = 0; i < COUNT; i++) values[i] = sin(i) * (i > COUNT / 2 ? 5 : 1) + offset;
        for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
            int begin = k > 0 ? ends[k - 1] : 0;
            const tt_norm_statistics part = of_values(values + begin, ends[k] - begin);
            tt_norm_statistics_add(&sum, &part);
        }
        const tt_norm_statistics whole = of_values(values, COUNT);
        assert_true(sum.count == COUNT);
        assert_true(fabs(sum.mean - whole.mean) <= 1e-12 * (1 + offset));
        assert_true(fabs(sum.squares - whole.squares) <= 1e-8 * whole.squares);
        assert_true(fabs(tt_norm_statistics_variance(&sum) - whole.squares / COUNT) <= 1e-6);
    }
}

static void nothing_adds_nothing(void **state) {
    (void)state;
    const tt_norm_statistics none = {0}, some = {.count = 2, .mean = 3, .squares = 4};
    tt_norm_statistics s = none;
    tt_norm_statistics_add(&s, &none);
    assert_true(s.count == 0 && s.mean == 0 && tt_norm_statistics_variance(&s) == 0);
    tt_norm_statistics_add(&s, &some);
    tt_norm_statistics_add(&s, &none);
    assert_true(s.count == 2 && s.mean == 3 && s.squares == 4);
    assert_true(tt_norm_statistics_variance(&s) == 2);
}

static void a_tape_starts_empty_and_may_be_released_twice(void **state) {
    enum { NORMS = 3, GROUPS = 4 };
    tt_norm_tape tape = {0};
    tt_err err;
    (void)state;
    tt_norm_tape_release(&tape);
    assert_int_equal(tt_norm_tape_init(&tape, NORMS, GROUPS, &err), TT_OK);
    assert_int_equal(tt_norm_tape_bytes(NORMS, GROUPS), NORMS * GROUPS * sizeof *tape.of);
    for (int i = 0; i < NORMS * GROUPS; i++) assert_true(tape.of[i].count == 0);
    tt_norm_tape_release(&tape);
    tt_norm_tape_release(&tape);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_norm_tape_init(&tape, NORMS, GROUPS, &err), TT_E_NOMEM);
    tt_alloc_fail_after(-1);
    tt_norm_tape_release(&tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_add_up_to_the_whole),
        cmocka_unit_test(nothing_adds_nothing),
        cmocka_unit_test(a_tape_starts_empty_and_may_be_released_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
