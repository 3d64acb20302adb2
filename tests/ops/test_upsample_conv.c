/* Convolutions of a picture that is doubled first, as the CPU folds them (src/tensor/upsample_conv.c), at every level of CPU that
 * this one can play, against the reference, which doubles the picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "support/cpu_levels.h"
#include "support/ops_bench.h"
#include "support/psnr.h"

/* Of the whole result, relative: weights and inputs are rounded to 8 bits. */
static const double INT8_TOLERANCE = 0.02;

static tt_status run_upsample_conv(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                                   tt_tensor *y) {
    tt_weight *w;
    tt_bench_ok(b, tt_weight_upsample_conv(ops, p->w, p->bias, p->out_c, p->c, &w, &b->err));
    tt_status status = tt_op_upsample_conv(ops, w, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static tt_status run_int8(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    tt_bench_ok(b, tt_ops_allow_int8(ops, &b->err));
    tt_bench_ok(b, tt_weight_upsample_conv_int8(ops, p->w, p->bias, p->out_c, p->c, &w, &b->err));
    tt_status status = tt_op_upsample_conv(ops, w, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static tt_problem problem_of(tt_bench *b, int64_t n, int64_t h, int64_t w, int64_t c_in,
                             int64_t c_out) {
    tt_problem p = {.n = n, .h = h, .width = w, .c = c_in, .out_c = c_out};
    p.out_h = 2 * h;
    p.out_w = 2 * w;
    p.x = tt_bench_random(b, n * h * w * c_in, 0);
    p.w = tt_bench_random(b, c_in * c_out * 9, 0);
    p.bias = tt_bench_random(b, c_out, 0);
    return p;
}

static int64_t outputs_of(const tt_problem *p) {
    return p->n * p->out_h * p->out_w * p->out_c;
}

/* Numbers whose sums no format rounds: what remains is which weight meets which input. */
static void small_whole_numbers(float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) v[i] = v[i] < -0.33f ? -1 : v[i] > 0.33f ? 1 : 0;
}

static void folding_changes_no_whole_number(void **state) {
    (void)state;
    for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_AMX; level++)
        for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
            if (!tt_level_is_here(level) || (bf16 && level < TT_CPU_AVX512_BF16)) continue;
            tt_bench b = tt_bench_open(bf16 ? TT_BF16 : TT_F32, 2);
            tt__cpu_force(b.tested, level);
            tt_problem p = problem_of(&b, 2, 5, 18, 3, 21);
            small_whole_numbers(p.x, p.n * p.h * p.width * p.c);
            small_whole_numbers(p.w, p.c * p.out_c * 9);
            small_whole_numbers(p.bias, p.out_c);
            float *expected = tt_bench_run(&b, b.ref, &p, run_upsample_conv);
            float *found = tt_bench_run(&b, b.tested, &p, run_upsample_conv);
            for (int64_t i = 0; i < outputs_of(&p); i++) assert_true(found[i] == expected[i]);
            tt_free(expected);
            tt_free(found);
            tt_problem_release(&p);
            tt_bench_close(&b);
        }
}

static void every_level_matches_the_reference(void **state) {
    (void)state;
    for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_AMX; level++)
        for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
            if (!tt_level_is_here(level) || (bf16 && level < TT_CPU_AVX512_BF16)) continue;
            tt_bench b = tt_bench_open(bf16 ? TT_BF16 : TT_F32, 2);
            tt__cpu_force(b.tested, level);
            tt_problem p = problem_of(&b, 1, 19, 35, 70, 50);
            tt_bench_compare(&b, &p, run_upsample_conv);
            tt_problem_release(&p);
            tt_bench_close(&b);
        }
}

/* Beside the exact result in f32. */
static void int8_is_near(void **state) {
    (void)state;
    for (tt_cpu_level level = TT_CPU_AVX512_BF16; level <= TT_CPU_AMX; level++) {
        if (!tt_level_is_here(level)) continue;
        tt_bench exact = tt_bench_open(TT_F32, 1), b = tt_bench_open(TT_BF16, 2);
        tt__cpu_force(b.tested, level);
        tt_problem p = problem_of(&b, 2, 9, 20, 130, 40);
        float *expected = tt_bench_run(&exact, exact.ref, &p, run_upsample_conv);
        float *found = tt_bench_run(&b, b.tested, &p, run_int8);
        assert_true(tt_relative_error(found, expected, (size_t)outputs_of(&p)) < INT8_TOLERANCE);
        tt_free(expected);
        tt_free(found);
        tt_problem_release(&p);
        tt_bench_close(&b);
        tt_bench_close(&exact);
    }
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    tt_bench b = tt_bench_open(TT_F32, 1);
    const int64_t sizes[][5] = {{1, 3, 4, 320, 64}, {2, 16, 24, 96, 160}, {1, 50, 40, 64, 32}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *s = sizes[i];
        tt_problem p = problem_of(&b, s[0], s[1], s[2], s[3], s[4]);
        tt_bench_same_bytes(&p, run_upsample_conv, TT_F32);
        if (tt_cpu_has_bf16()) {
            tt_bench_same_bytes(&p, run_upsample_conv, TT_BF16);
            tt_bench_same_bytes(&p, run_int8, TT_BF16);
        }
        tt_problem_release(&p);
    }
    tt_bench_close(&b);
}

static size_t planned_bytes(tt_bench *b, tt_ops *ops, const tt_problem *p, bool is_one) {
    const tt_conv_shape shape = {p->out_c, p->c, 3, 1, 1, 1, 1, 1};
    tt_weight *w;
    tt_tensor large, y;
    void *plain = tt_bench_as_dtype(ops, p->w, p->c * p->out_c * 9);
    tt_ops_plan_begin(ops);
    tt_tensor x = tt_bench_tensor(b, ops, p->n, p->h, p->width, p->c, NULL);
    if (is_one) {
        y = tt_bench_tensor(b, ops, p->n, p->out_h, p->out_w, p->out_c, NULL);
        tt_bench_ok(b, tt_weight_upsample_conv(ops, p->w, p->bias, p->out_c, p->c, &w, &b->err));
        tt_bench_ok(b, tt_op_upsample_conv(ops, w, &x, &y, &b->err));
    } else {
        large = tt_bench_tensor(b, ops, p->n, p->out_h, p->out_w, p->c, NULL);
        tt_bench_ok(b, tt_op_upsample(ops, &x, &large, &b->err));
        tt_scratch_free(ops, &x);
        y = tt_bench_tensor(b, ops, p->n, p->out_h, p->out_w, p->out_c, NULL);
        tt_bench_ok(b, tt_weight_conv(ops, plain, p->bias, &shape, &w, &b->err));
        tt_bench_ok(b, tt_op_conv(ops, w, &large, NULL, &y, &b->err));
    }
    tt_scratch_reset(ops);
    tt_weight_free(ops, w);
    tt_free(plain);
    return tt_ops_planned_bytes(ops);
}

static void takes_less_memory_than_the_doubled_picture(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
        tt_bench b = tt_bench_open(bf16 ? TT_BF16 : TT_F32, 2);
        tt_problem p = problem_of(&b, 1, 128, 128, 64, 64);
        size_t one = planned_bytes(&b, b.tested, &p, true),
               two = planned_bytes(&b, b.tested, &p, false);
        assert_true(one > 0 && one < two);
        tt_problem_release(&p);
        tt_bench_close(&b);
    }
}

static void wrong_uses_get_a_sentence(void **state) {
    (void)state;
    tt_bench b = tt_bench_open(TT_F32, 1);
    float w[2 * 3 * 9] = {0};
    tt_weight *weight;
    tt_tensor x = {.dtype = TT_F32, .n = 1, .h = 2, .w = 4, .c = 3};
    tt_tensor y = {.dtype = TT_F32, .n = 1, .h = 4, .w = 7, .c = 2};
    tt_bench_ok(&b, tt_weight_upsample_conv(b.tested, w, NULL, 2, 3, &weight, &b.err));
    assert_int_equal(tt_op_upsample_conv(b.tested, weight, &x, &y, &b.err), TT_E_INTERNAL);
    assert_string_equal(b.err.message, "upsampling conv: y is [1, 4, 7, 2], expected [1, 4, 8, 2]");
    assert_int_equal(tt_op_conv(b.tested, weight, &x, NULL, &y, &b.err), TT_E_INTERNAL);
    tt_weight_free(b.tested, weight);
    assert_int_equal(tt_weight_upsample_conv(b.tested, w, NULL, 0, 3, &weight, &b.err),
                     TT_E_INVALID);
    assert_null(weight);
    tt_bench_close(&b);
}

static tt_status make_weight(tt_ops *ops, const void *plain, const float *bias, int64_t n_out,
                             int64_t n_in, tt_weight **out, tt_err *err) {
    return tt_weight_upsample_conv(ops, plain, bias, n_out, n_in, out, err);
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    tt_bench_fail_each_of_weight(make_weight);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_changes_no_whole_number),
        cmocka_unit_test(every_level_matches_the_reference),
        cmocka_unit_test(int8_is_near),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(takes_less_memory_than_the_doubled_picture),
        cmocka_unit_test(wrong_uses_get_a_sentence),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
