/* What holds for all operations: the same bytes for any number of threads, refusals with a sentence, memory as it was planned, and
 * what becomes of allocations that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "support/ops_bench.h"

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    const int64_t sizes[][3] = {
        {2, 1280, 1280}, {77, 2048, 640}, {154, 5120, 320}, {1000, 640, 64}, {5, 2560, 5}};
    const tt_conv_shape convs[] = {{320, 4, 3, 1, 1, 1, 1, 1},
                                   {64, 640, 3, 1, 1, 1, 1, 1},
                                   {4, 320, 3, 1, 1, 1, 1, 1},
                                   {96, 96, 3, 2, 1, 1, 1, 1}};
    for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
        tt_bench b = tt_bench_open(bf16 ? TT_BF16 : TT_F32, 1);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int64_t rows = sizes[i][0], c_in = sizes[i][1], c_out = sizes[i][2];
            tt_problem p = {.n = 1,
                            .h = 1,
                            .width = rows,
                            .c = c_in,
                            .out_h = 1,
                            .out_w = rows,
                            .out_c = c_out};
            p.x = tt_bench_random(&b, rows * c_in, 0);
            p.w = tt_bench_random(&b, c_in * c_out, 0);
            tt_bench_same_bytes(&p, tt_bench_linear, tt_ops_dtype(b.tested));
            tt_problem_release(&p);
        }
        for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
            tt_problem p = {
                .n = 2, .h = 24, .width = 40, .c = convs[i].c_in, .out_c = convs[i].c_out};
            p.conv = convs[i];
            p.out_h = p.h / p.conv.stride;
            p.out_w = p.width / p.conv.stride;
            p.x = tt_bench_random(&b, p.n * p.h * p.width * p.c, 0);
            p.w = tt_bench_random(&b, p.c * p.out_c * 9, 0);
            tt_bench_same_bytes(&p, tt_bench_conv, tt_ops_dtype(b.tested));
            tt_problem_release(&p);
        }
        tt_bench_close(&b);
    }
}

static void wrong_shapes_get_a_sentence(void **state) {
    (void)state;
    tt_bench b = tt_bench_open(TT_F32, 1);
    float w[6] = {0};
    tt_weight *weight;
    tt_tensor x = {.dtype = TT_F32, .n = 1, .h = 1, .w = 4, .c = 5};
    tt_bench_ok(&b, tt_weight_linear(b.tested, w, NULL, 2, 3, &weight, &b.err));
    assert_int_equal(tt_op_linear(b.tested, weight, &x, NULL, &x, &b.err), TT_E_INTERNAL);
    assert_string_equal(b.err.message, "linear: x is [1, 1, 4, 5], expected [1, 1, 4, 3]");
    tt_weight_free(b.tested, weight);
    tt_bench_close(&b);
}

/* The rehearsal is binding: more than was planned is refused, and nothing is allocated while
 * running. */
static void scratch_refuses_what_was_not_planned(void **state) {
    (void)state;
    tt_bench b = tt_bench_open(TT_F32, 1);
    tt_tensor a, c;
    tt_ops_plan_begin(b.tested);
    tt_bench_ok(&b, tt_scratch_new(b.tested, 1, 1, 1, 100, &a, &b.err));
    tt_scratch_free(b.tested, &a);
    tt_bench_ok(&b, tt_ops_plan_end(b.tested, &b.err));
    assert_true(tt_ops_scratch_bytes(b.tested) >= 400);
    tt_bench_ok(&b, tt_scratch_new(b.tested, 1, 1, 1, 100, &a, &b.err));
    assert_int_equal(tt_scratch_new(b.tested, 1, 1, 1, 100, &c, &b.err), TT_E_NOMEM);
    tt_scratch_reset(b.tested);
    tt_bench_ok(&b, tt_scratch_new(b.tested, 1, 1, 1, 100, &a, &b.err));
    tt_bench_close(&b);
}

static void failed_allocations_are_errors_not_crashes(void **state) {
    (void)state;
    tt_bench_fail_each_allocation(TT_BACKEND_CPU);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(wrong_shapes_get_a_sentence),
        cmocka_unit_test(scratch_refuses_what_was_not_planned),
        cmocka_unit_test(failed_allocations_are_errors_not_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
