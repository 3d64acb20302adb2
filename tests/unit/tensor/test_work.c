/* What operations are said to have done, by hand-counted shapes; and the peak that they are compared with. */
#include "tensor/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    tt_ops *ops;
    tt_err err;
} fixture;

static void ok(const fixture *f, tt_status status) {
    if (status != TT_OK) fail_msg("%s", f->err.message);
}

static int open_ref(void **state) {
    static fixture f;
    const tt_ops_options how = {.backend = TT_BACKEND_REF, .dtype = TT_F32, .n_threads = 1};
    if (tt_ops_open(&how, &f.ops, &f.err) != TT_OK) return -1;
    *state = &f;
    return 0;
}

static int close_ref(void **state) {
    fixture *f = *state;
    tt_ops_close(f->ops);
    return 0;
}

static tt_tensor new_tensor(fixture *f, int64_t n, int64_t h, int64_t w, int64_t c) {
    tt_tensor t;
    ok(f, tt_request_tensor_new(f->ops, n, h, w, c, &t, &f->err));
    return t;
}

static const tt_op_time *time_of(const fixture *f, const char *name) {
    const tt_op_time *times = tt_ops_times(f->ops);
    for (int i = 0; i < TT_OP_KINDS; i++)
        if (strcmp(times[i].name, name) == 0) return &times[i];
    fail_msg("no operation %s", name);
    return NULL;
}

/* 2 rows of 3 inputs and 5 outputs: 30 multiplications and as many additions; 15 + 5 weights, 6 in, 10 out, 10 added. */
static void products_count_two_per_weight_and_row(void **state) {
    fixture *f = *state;
    float w[15] = {0}, bias[5] = {0};
    tt_weight *weight;
    tt_ops_times_reset(f->ops);
    ok(f, tt_weight_linear(f->ops, w, bias, 5, 3, &weight, &f->err));
    tt_tensor x = new_tensor(f, 1, 1, 2, 3), y = new_tensor(f, 1, 1, 2, 5);
    tt_tensor add = new_tensor(f, 1, 1, 2, 5);
    const tt_epilogue e = {.add = &add};
    ok(f, tt_op_linear(f->ops, weight, &x, &e, &y, &f->err));
    ok(f, tt_op_linear(f->ops, weight, &x, &e, &y, &f->err));
    assert_int_equal(time_of(f, "linear")->calls, 2);
    assert_true(time_of(f, "linear")->flops == 2 * 60);
    assert_true(time_of(f, "linear")->bytes == 2 * 4 * (20 + 6 + 10 + 10));
    tt_weight_free(f->ops, weight);
    tt_request_tensor_free(f->ops, &x);
    tt_request_tensor_free(f->ops, &y);
    tt_request_tensor_free(f->ops, &add);
}

/* 8x8 positions, every second one, 3x3 taps of 4 channels to 6: 16 * 6 * 36 sums of products. */
static void convolutions_count_taps_and_strides(void **state) {
    fixture *f = *state;
    static const float w[6 * 4 * 9];
    const tt_conv_shape shape = {6, 4, 3, 2, 1, 1, 1, 1};
    tt_weight *weight;
    tt_ops_times_reset(f->ops);
    ok(f, tt_weight_conv(f->ops, w, NULL, &shape, &weight, &f->err));
    tt_tensor x = new_tensor(f, 1, 8, 8, 4), y = new_tensor(f, 1, 4, 4, 6);
    ok(f, tt_op_conv(f->ops, weight, &x, NULL, &y, &f->err));
    assert_true(time_of(f, "conv")->flops == 2.0 * 16 * 6 * 36);
    tt_weight_free(f->ops, weight);
    tt_request_tensor_free(f->ops, &x);
    tt_request_tensor_free(f->ops, &y);
}

/* 2 pictures, 2 heads of 8: each of 4 queries with each of 3 keys, twice. */
static void attention_counts_both_products(void **state) {
    fixture *f = *state;
    tt_tensor q = new_tensor(f, 2, 1, 4, 16), k = new_tensor(f, 2, 1, 3, 16);
    tt_tensor y = new_tensor(f, 2, 1, 4, 16);
    const tt_attention cross = {.q = &q, .k = &k, .v = &k, .heads = 2, .head_dim = 8};
    tt_ops_times_reset(f->ops);
    ok(f, tt_op_attention(f->ops, &cross, &y, &f->err));
    assert_true(time_of(f, "attention")->flops == 2.0 * 2 * (2 * 2 * 8) * (4 * 3));
    const tt_attention causal = {
        .q = &q, .k = &q, .v = &q, .heads = 2, .head_dim = 8, .causal = true};
    tt_ops_times_reset(f->ops);
    ok(f, tt_op_attention(f->ops, &causal, &y, &f->err));
    assert_true(time_of(f, "attention")->flops == 2.0 * 2 * (2 * 2 * 8) * (1 + 2 + 3 + 4));
    tt_request_tensor_free(f->ops, &q);
    tt_request_tensor_free(f->ops, &k);
    tt_request_tensor_free(f->ops, &y);
}

static void rehearsals_count_nothing(void **state) {
    fixture *f = *state;
    tt_tensor x = new_tensor(f, 1, 1, 2, 3), y = new_tensor(f, 1, 1, 2, 3);
    tt_ops_times_reset(f->ops);
    tt_ops_plan_begin(f->ops);
    ok(f, tt_op_activate(f->ops, TT_ACT_SILU, &x, &y, &f->err));
    ok(f, tt_ops_plan_end(f->ops, &f->err));
    assert_true(time_of(f, "activate")->bytes == 0);
    ok(f, tt_op_activate(f->ops, TT_ACT_SILU, &x, &y, &f->err));
    assert_true(time_of(f, "activate")->bytes == 2 * 6 * 4);
    assert_true(time_of(f, "activate")->flops == 0);
    tt_request_tensor_free(f->ops, &x);
    tt_request_tensor_free(f->ops, &y);
}

/* A number goes with the name of what gave it, and none goes without. */
static void check_peak(double peak, const char *by) {
    assert_int_equal(peak > 0, by[0] != '\0');
    assert_true(peak < 1e18); /* no machine with a thousand million GFLOP/s */
}

static void the_peak_is_measured_on_cpus_and_unknown_to_the_reference(void **state) {
    (void)state;
    const tt_backend_kind kinds[] = {TT_BACKEND_REF, TT_BACKEND_CPU};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        fixture f;
        tt_ops_peak peak;
        const tt_ops_options how = {.backend = kinds[i], .dtype = TT_F32, .n_threads = 2};
        ok(&f, tt_ops_open(&how, &f.ops, &f.err));
        tt_ops_measure_peak(f.ops, &peak);
        check_peak(peak.f32, peak.f32_by);
        check_peak(peak.bf16, peak.bf16_by);
        check_peak(peak.int8, peak.int8_by);
        if (kinds[i] == TT_BACKEND_REF) assert_string_equal(peak.features, "");
        if (kinds[i] == TT_BACKEND_CPU && tt_cpu_has_bf16()) assert_true(peak.bf16 > 0);
        tt_ops_close(f.ops);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(products_count_two_per_weight_and_row, open_ref, close_ref),
        cmocka_unit_test_setup_teardown(convolutions_count_taps_and_strides, open_ref, close_ref),
        cmocka_unit_test_setup_teardown(attention_counts_both_products, open_ref, close_ref),
        cmocka_unit_test_setup_teardown(rehearsals_count_nothing, open_ref, close_ref),
        cmocka_unit_test(the_peak_is_measured_on_cpus_and_unknown_to_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
