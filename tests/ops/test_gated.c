/* Gated units at every level of CPU that this one can play: one product where the CPU's own kernels can, against the reference's
 * two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/alloc.h"
#include "support/cpu_levels.h"
#include "support/ops_bench.h"

static tt_status run_gated(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    void *plain = tt_bench_as_dtype(ops, p->w, 2 * p->c * p->out_c);
    tt_bench_ok(b, tt_weight_gated(ops, plain, p->bias, p->out_c, p->c, &w, &b->err));
    tt_free(plain);
    tt_status status = tt_op_gated(ops, w, p->epilogue.act, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static tt_status run_int8(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    tt_bench_ok(b, tt_ops_allow_int8(ops, &b->err));
    tt_bench_ok(b, tt_weight_gated_int8(ops, p->w, p->bias, p->out_c, p->c, &w, &b->err));
    tt_status status = tt_op_gated(ops, w, p->epilogue.act, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static tt_problem problem_of(tt_bench *b, int64_t rows, int64_t c_in, int64_t c_out, bool bias) {
    tt_problem p = {
        .n = 1, .h = 1, .width = rows, .c = c_in, .out_h = 1, .out_w = rows, .out_c = c_out};
    p.epilogue.act = TT_ACT_GELU;
    p.x = tt_bench_random(b, rows * c_in, 0);
    p.w = tt_bench_random(b, 2 * c_in * c_out, 0);
    p.bias = bias ? tt_bench_random(b, 2 * c_out, 0) : NULL;
    return p;
}

/* rows, inputs, outputs: around the edges of tiles and of turns. */
static const int64_t SIZES[][3] = {{1, 1, 1},    {64, 64, 256}, {19, 37, 53},
                                   {33, 96, 16}, {16, 64, 17},  {100, 130, 47}};

static void every_level(tt_dtype dtype, tt_cpu_level least, tt_bench_fn run) {
    for (tt_cpu_level level = least; level <= TT_CPU_BEST; level++) {
        if (!tt_level_is_here(level)) continue;
        tt_bench b = tt_bench_open(dtype, 2);
        tt__cpu_force(b.tested, level);
        for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
            tt_problem p = problem_of(&b, SIZES[i][0], SIZES[i][1], SIZES[i][2], i % 2);
            tt_bench_compare(&b, &p, run);
            tt_problem_release(&p);
        }
        tt_bench_close(&b);
    }
}

static void every_level_matches_the_reference(void **state) {
    (void)state;
    every_level(TT_F32, TT_CPU_BASE, run_gated);
    every_level(TT_BF16, TT_CPU_AVX512_BF16, run_gated);
}

static void int8_matches_the_reference(void **state) {
    (void)state;
    every_level(TT_BF16, TT_CPU_AVX512_BF16, run_int8);
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    tt_bench b = tt_bench_open(TT_F32, 1);
    const int64_t sizes[][3] = {{2, 320, 1280}, {1000, 64, 48}, {154, 1280, 90}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tt_problem p = problem_of(&b, sizes[i][0], sizes[i][1], sizes[i][2], true);
        tt_bench_same_bytes(&p, run_gated, TT_F32);
        if (tt_cpu_has_bf16()) {
            tt_bench_same_bytes(&p, run_gated, TT_BF16);
            tt_bench_same_bytes(&p, run_int8, TT_BF16);
        }
        tt_problem_release(&p);
    }
    tt_bench_close(&b);
}

static void wrong_uses_get_a_sentence(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
        tt_bench b = tt_bench_open(bf16 ? TT_BF16 : TT_F32, 1);
        const float w[2 * 5 * 3] = {0};
        tt_weight *weight;
        tt_tensor x = {.dtype = tt_ops_dtype(b.tested), .n = 1, .h = 1, .w = 4, .c = 3};
        tt_tensor y = x;
        y.c = 10;
        tt_bench_ok(&b, tt_weight_gated(b.tested, w, NULL, 5, 3, &weight, &b.err));
        assert_int_equal(tt_weight_rows(weight), 5);
        assert_int_equal(tt_weight_columns(weight), 3);
        assert_int_equal(tt_op_gated(b.tested, weight, TT_ACT_GELU, &x, &y, &b.err), TT_E_INTERNAL);
        assert_string_equal(b.err.message, "gated unit: y is [1, 1, 4, 10], expected [1, 1, 4, 5]");
        assert_int_equal(tt_op_linear(b.tested, weight, &x, NULL, &y, &b.err), TT_E_INTERNAL);
        tt_weight_free(b.tested, weight);
        assert_int_equal(tt_weight_gated(b.tested, w, NULL, 0, 3, &weight, &b.err), TT_E_INVALID);
        assert_null(weight);
        tt_bench_close(&b);
    }
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    tt_bench_fail_each_of_weight(tt_weight_gated);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_matches_the_reference),
        cmocka_unit_test(int8_matches_the_reference),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(wrong_uses_get_a_sentence),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
