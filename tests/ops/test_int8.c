/* Int8 products and convolutions, every path that this CPU has (VNNI, AMX) against the plain C reference, whose sums are whole
 * numbers and exact: sizes around the edges of tiles, borders, strides, epilogues; inputs and outputs lie between poisoned
 * neighbours, and scratch memory is full of NaN before it is used. And the reference against products that are not rounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/int8.h"
#include "tensor/ops.h"

/* Sums are the same whole numbers; scaling, bias and activation differ in f32's last bits before both sides round once. */
static const double ONE_STEP = 1.0 / 128, CANCELLATION = 2e-5;

enum { GUARD = 64, POISON = 0x7fc1 /* a NaN in bf16 */ };

typedef struct problem {
    int64_t n, h, w, c_in, out_h, out_w, c_out;
    tt_conv_shape conv; /* kernel 0: a product */
    tt_activation act;
    bool has_bias, has_mul, has_add;
    float scale;   /* of the inputs; 0: 1 */
    uint64_t seed; /* of the next number */
    float *weights;
    uint16_t *x, *mul, *add; /* x, mul, add: after GUARD poisoned numbers, before as many */
    float *bias;
} problem;

static tt_err err;

static void ok(tt_status status) {
    if (status != TT_OK) print_error("%s\n", err.message);
    assert_int_equal(status, TT_OK);
}

static float next_value(problem *p) {
    p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(p->seed >> 40) / (1 << 23) - 1.0);
}

static uint16_t *guarded(int64_t count) {
    uint16_t *v = tt_alloc((size_t)(count + 2 * GUARD) * sizeof *v);
    for (int64_t i = 0; i < count + 2 * GUARD; i++) v[i] = POISON;
    return v;
}

static uint16_t *random_guarded(problem *p, int64_t count, float scale) {
    uint16_t *v = guarded(count);
    for (int64_t i = 0; i < count; i++) v[GUARD + i] = tt_f32_to_bf16(next_value(p) * scale);
    return v;
}

static int64_t taps_of(const problem *p) {
    return p->conv.kernel ? (int64_t)p->conv.kernel * p->conv.kernel : 1;
}

static int64_t outputs_of(const problem *p) {
    return p->n * p->out_h * p->out_w * p->c_out;
}

static void fill(problem *p) {
    int64_t weights = p->c_in * p->c_out * taps_of(p), outputs = outputs_of(p);
    float scale = p->scale > 0 ? p->scale : 1;
    p->seed = 42;
    p->weights = tt_alloc((size_t)weights * sizeof *p->weights);
    for (int64_t i = 0; i < weights; i++) p->weights[i] = next_value(p);
    p->x = random_guarded(p, p->n * p->h * p->w * p->c_in, scale);
    if (p->has_mul) p->mul = random_guarded(p, outputs, 1);
    if (p->has_add) p->add = random_guarded(p, outputs, 1);
    if (!p->has_bias) return;
    p->bias = tt_alloc((size_t)p->c_out * sizeof *p->bias);
    for (int64_t i = 0; i < p->c_out; i++) p->bias[i] = next_value(p);
}

static void release(problem *p) {
    tt_free(p->weights);
    tt_free(p->x);
    tt_free(p->mul);
    tt_free(p->add);
    tt_free(p->bias);
}

static tt_ops *open_ref(void) {
    const tt_ops_options options = {TT_BACKEND_REF, TT_BF16, 0};
    tt_ops *ops;
    ok(tt_ops_open(&options, &ops, &err));
    ok(tt_ops_allow_int8(ops, &err));
    return ops;
}

static tt_ops *open_level(tt_cpu_level level, int threads) {
    const tt_ops_options options = {TT_BACKEND_CPU, TT_BF16, threads};
    tt_ops *ops;
    ok(tt_ops_open(&options, &ops, &err));
    tt__cpu_force(ops, level);
    ok(tt_ops_allow_int8(ops, &err));
    return ops;
}

static tt_weight *pack(tt_ops *ops, const problem *p) {
    tt_weight *w;
    if (p->conv.kernel)
        ok(tt_weight_conv_int8(ops, p->weights, p->bias, &p->conv, &w, &err));
    else
        ok(tt_weight_linear_int8(ops, p->weights, p->bias, p->c_out, p->c_in, &w, &err));
    return w;
}

static tt_tensor view(uint16_t *guarded_data, int64_t n, int64_t h, int64_t w, int64_t c) {
    return (tt_tensor){
        .data = guarded_data + GUARD, .dtype = TT_BF16, .n = n, .h = h, .w = w, .c = c};
}

static void operate(tt_ops *ops, const problem *p, const tt_weight *w, uint16_t *out) {
    tt_tensor x = view(p->x, p->n, p->h, p->w, p->c_in);
    tt_tensor y = view(out, p->n, p->out_h, p->out_w, p->c_out), mul = y, add = y;
    tt_epilogue e = {.act = p->act};
    if (p->mul) mul.data = p->mul + GUARD, e.mul = &mul;
    if (p->add) add.data = p->add + GUARD, e.add = &add;
    if (p->conv.kernel)
        ok(tt_op_conv(ops, w, &x, &e, &y, &err));
    else
        ok(tt_op_linear(ops, w, &x, &e, &y, &err));
}

/* All of scratch becomes NaN, so that a kernel that reads what it did not write shows. */
static void poison_scratch(tt_ops *ops) {
    memset(ops->scratch.block, 0xff, ops->scratch.capacity);
}

static void guards_are_whole(const uint16_t *v, int64_t count) {
    for (int64_t i = 0; i < GUARD; i++) {
        assert_int_equal(v[i], POISON);
        assert_int_equal(v[GUARD + count + i], POISON);
    }
}

/* The outputs, in rehearsed scratch; guarded. */
static uint16_t *run_on(tt_ops *ops, const problem *p) {
    uint16_t *out = guarded(outputs_of(p));
    tt_weight *w = pack(ops, p);
    tt_ops_plan_begin(ops);
    operate(ops, p, w, out);
    ok(tt_ops_plan_end(ops, &err));
    if (ops->scratch.capacity) poison_scratch(ops);
    operate(ops, p, w, out);
    tt_weight_free(ops, w);
    assert_int_equal(tt_ops_weight_bytes(ops), 0);
    guards_are_whole(out, outputs_of(p));
    return out;
}

static void describe(const problem *p, const char *path) {
    print_error("%s: [%d,%d,%d,%d] -> [%d,%d,%d], kernel %d stride %d, activation %d\n", path,
                (int)p->n, (int)p->h, (int)p->w, (int)p->c_in, (int)p->out_h, (int)p->out_w,
                (int)p->c_out, p->conv.kernel, p->conv.stride, (int)p->act);
}

static void compare(const problem *p, const char *path, const uint16_t *found,
                    const uint16_t *expected) {
    double largest = 0;
    int64_t count = outputs_of(p);
    for (int64_t i = GUARD; i < GUARD + count; i++)
        largest = fmax(largest, fabs((double)tt_bf16_to_f32(expected[i])));
    for (int64_t i = GUARD; i < GUARD + count; i++) {
        double want = (double)tt_bf16_to_f32(expected[i]), is = (double)tt_bf16_to_f32(found[i]);
        if (fabs(is - want) <= fabs(want) * ONE_STEP + largest * CANCELLATION) continue;
        describe(p, path);
        print_error("output %d: %g, expected %g\n", (int)(i - GUARD), is, want);
        fail();
    }
}

typedef struct path {
    const char *name;
    tt_cpu_level level;
} path;

/* What this CPU has; the rest is said, not skipped in silence. */
static int paths_here(path out[2]) {
    tt_cpu_features f = tt__cpu_features();
    int n = 0;
    if (f.avx512_vnni) out[n++] = (path){"avx512_vnni", TT_CPU_AVX512};
    if (f.amx_int8) out[n++] = (path){"amx_int8", TT_CPU_AMX};
    return n;
}

static void try_filled(const problem *p) {
    path paths[2];
    int n = paths_here(paths);
    tt_ops *ref = open_ref();
    uint16_t *expected = run_on(ref, p);
    for (int i = 0; i < n; i++) {
        tt_ops *ops = open_level(paths[i].level, 2);
        uint16_t *found = run_on(ops, p);
        compare(p, paths[i].name, found, expected);
        tt_free(found);
        tt_ops_close(ops);
    }
    tt_free(expected);
    tt_ops_close(ref);
}

static void try_problem(problem p) {
    fill(&p);
    try_filled(&p);
    release(&p);
}

static problem product(int64_t rows, int64_t c_in, int64_t c_out) {
    return (problem){
        .n = 1, .h = 1, .w = rows, .c_in = c_in, .out_h = 1, .out_w = rows, .c_out = c_out};
}

static problem convolution(int64_t n, int64_t h, int64_t w, tt_conv_shape s) {
    problem p = {.n = n, .h = h, .w = w, .c_in = s.c_in, .c_out = s.c_out, .conv = s};
    p.out_h = (h + s.pad_top + s.pad_bottom - s.kernel) / s.stride + 1;
    p.out_w = (w + s.pad_left + s.pad_right - s.kernel) / s.stride + 1;
    return p;
}

/* ---- products --------------------------------------------------------------------------------------- */

static void products_match_around_the_edges_of_tiles(void **state) {
    (void)state;
    const int64_t rows[] = {1, 15, 16, 17, 33}, inputs[] = {1, 3, 63, 64, 65, 130};
    const int64_t columns[] = {1, 16, 17, 32, 50};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof inputs / sizeof *inputs; j++)
            for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
                try_problem(product(rows[i], inputs[j], columns[k]));
}

static void products_match_with_long_sums(void **state) {
    (void)state;
    try_problem(product(2, 5120, 33));
    try_problem(product(154, 2048, 40));
}

/* More rows than fit a strip, and than stay in L2. */
static void products_match_in_several_strips(void **state) {
    (void)state;
    try_problem(product(70007, 33, 3));
}

static void epilogues_match(void **state) {
    (void)state;
    for (int act = TT_ACT_NONE; act <= TT_ACT_RELU; act++)
        for (int which = 0; which < 8; which++) {
            problem p = product(37, 40, 45);
            p.act = (tt_activation)act;
            p.has_bias = which & 1;
            p.has_mul = which & 2;
            p.has_add = which & 4;
            try_problem(p);
        }
}

/* One input and one column: the product is the activation of a number, over a wide range. */
static void activations_match_far_from_zero(void **state) {
    (void)state;
    for (int act = TT_ACT_NONE; act <= TT_ACT_RELU; act++) {
        problem p = product(4000, 1, 1);
        p.act = (tt_activation)act;
        p.scale = 60;
        try_problem(p);
    }
}

/* ---- convolutions ----------------------------------------------------------------------------------- */

static void convolutions_match(void **state) {
    (void)state;
    const tt_conv_shape shapes[] = {
        {40, 32, 3, 1, 1, 1, 1, 1}, {3, 40, 3, 1, 1, 1, 1, 1}, {33, 4, 3, 1, 1, 1, 1, 1},
        {17, 33, 3, 2, 1, 1, 1, 1}, {16, 3, 3, 2, 0, 0, 1, 1}, {8, 5, 3, 1, 0, 0, 0, 0},
        {40, 36, 1, 2, 0, 0, 0, 0}, {5, 8, 1, 1, 1, 0, 0, 1},
    };
    const int64_t sizes[][3] = {{1, 3, 3}, {2, 4, 16}, {1, 5, 17}, {3, 7, 40}, {1, 16, 31}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            for (int extras = 0; extras < 2; extras++) {
                problem p = convolution(sizes[j][0], sizes[j][1], sizes[j][2], shapes[i]);
                p.has_bias = p.has_add = extras;
                p.act = extras ? TT_ACT_SILU : TT_ACT_NONE;
                try_problem(p);
            }
}

static void the_smallest_pictures_match(void **state) {
    (void)state;
    try_problem(convolution(1, 1, 1, (tt_conv_shape){8, 8, 3, 1, 1, 1, 1, 1}));
    try_problem(convolution(2, 1, 5, (tt_conv_shape){8, 8, 3, 2, 1, 1, 1, 1}));
    try_problem(convolution(2, 5, 1, (tt_conv_shape){20, 40, 3, 1, 1, 1, 1, 1}));
}

/* Strips that end inside a picture and begin in the next. */
static void convolutions_match_in_several_strips(void **state) {
    (void)state;
    try_problem(convolution(3, 70, 1001, (tt_conv_shape){2, 3, 3, 1, 1, 1, 1, 1}));
    try_problem(convolution(2, 90, 1001, (tt_conv_shape){2, 3, 3, 2, 0, 0, 1, 1}));
}

/* ---- promises --------------------------------------------------------------------------------------- */

static void same_bytes_for_any_number_of_threads(problem p) {
    path paths[2];
    int n = paths_here(paths);
    fill(&p);
    for (int i = 0; i < n; i++) {
        uint16_t *first = NULL;
        for (int threads = 1; threads <= 3; threads++) {
            tt_ops *ops = open_level(paths[i].level, threads);
            uint16_t *out = run_on(ops, &p);
            if (first) assert_memory_equal(out, first, (size_t)outputs_of(&p) * sizeof *out);
            if (first) tt_free(out);
            if (!first) first = out;
            tt_ops_close(ops);
        }
        tt_free(first);
    }
    release(&p);
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    same_bytes_for_any_number_of_threads(product(154, 5120, 320));
    same_bytes_for_any_number_of_threads(product(2, 1280, 1290));
    same_bytes_for_any_number_of_threads(product(1000, 640, 64));
    same_bytes_for_any_number_of_threads(
        convolution(2, 24, 40, (tt_conv_shape){96, 64, 3, 1, 1, 1, 1, 1}));
    same_bytes_for_any_number_of_threads(
        convolution(2, 24, 40, (tt_conv_shape){20, 320, 3, 2, 1, 1, 1, 1}));
}

/* So a picture is the same alone and in a batch. */
static void a_row_does_not_depend_on_the_rows_around_it(void **state) {
    (void)state;
    path paths[2];
    int n = paths_here(paths);
    problem many = product(50, 640, 40), one = product(1, 640, 40);
    fill(&many);
    fill(&one);
    memcpy(one.weights, many.weights, (size_t)(640 * 40) * sizeof *one.weights);
    for (int i = 0; i < n; i++) {
        tt_ops *ops = open_level(paths[i].level, 2);
        uint16_t *all = run_on(ops, &many);
        for (int64_t row = 0; row < 50; row++) {
            memcpy(one.x + GUARD, many.x + GUARD + row * 640, 640 * sizeof *one.x);
            uint16_t *alone = run_on(ops, &one);
            assert_memory_equal(alone + GUARD, all + GUARD + row * 40, 40 * sizeof *alone);
            tt_free(alone);
        }
        tt_free(all);
        tt_ops_close(ops);
    }
    release(&many);
    release(&one);
}

static void a_failed_allocation_is_an_error(void **state) {
    (void)state;
    path paths[2];
    if (paths_here(paths) == 0) return;
    problem p = product(4, 8, 8);
    p.has_bias = true;
    fill(&p);
    tt_ops *ops = open_level(paths[0].level, 1);
    bool failed = true;
    for (int n = 0; failed; n++) {
        tt_weight *w = NULL;
        assert_true(n < 10);
        tt_alloc_fail_after(n);
        failed = tt_weight_linear_int8(ops, p.weights, p.bias, 8, 8, &w, &err) != TT_OK;
        tt_alloc_fail_after(-1);
        if (failed) assert_null(w);
        if (failed) assert_int_equal(tt_ops_weight_bytes(ops), 0);
        tt_weight_free(ops, w);
    }
    tt_ops_close(ops);
    release(&p);
}

/* ---- what the numbers mean -------------------------------------------------------------------------- */

/* One in each direction: what quantising by hand gives. Weights 127, -64, 1 of a column's largest, inputs -1, 0 and 3. */
static void the_reference_does_what_is_written(void **state) {
    (void)state;
    problem p = product(1, 3, 1);
    fill(&p);
    const float weights[] = {1.27f, -0.64f, 0.012f}, inputs[] = {-1, 0.25f, 3};
    const double scale = 4.0 / 255, weight_scale = 0.01;
    const double q[] = {-64, 16, 191}; /* round(x / scale), zero is 64 */
    for (int i = 0; i < 3; i++) {
        p.weights[i] = weights[i];
        p.x[GUARD + i] = tt_f32_to_bf16(inputs[i]);
    }
    tt_ops *ref = open_ref();
    uint16_t *out = run_on(ref, &p);
    double expected = (q[0] * 127 + q[1] * -64 + q[2] * 1) * scale * weight_scale;
    assert_true(fabs((double)tt_bf16_to_f32(out[GUARD]) - expected) < fabs(expected) / 256);
    tt_free(out);
    tt_ops_close(ref);
    release(&p);
}

/* Each of two roundings errs by a step / sqrt(12) of some 64 to 128 in a value: 40 dB and more. */
static void int8_is_near_the_unrounded_product(void **state) {
    (void)state;
    problem p = product(8, 512, 40);
    fill(&p);
    tt_ops *ref = open_ref();
    uint16_t *out = run_on(ref, &p);
    double signal = 0, noise = 0;
    for (int64_t row = 0; row < 8; row++)
        for (int64_t o = 0; o < 40; o++) {
            double sum = 0;
            for (int64_t i = 0; i < 512; i++)
                sum += (double)p.weights[o * 512 + i] *
                       (double)tt_bf16_to_f32(p.x[GUARD + row * 512 + i]);
            double gap = sum - (double)tt_bf16_to_f32(out[GUARD + row * 40 + o]);
            signal += sum * sum;
            noise += gap * gap;
        }
    assert_true(10 * log10(signal / noise) > 40);
    tt_free(out);
    tt_ops_close(ref);
    release(&p);
}

/* Rows and columns of zeros, and a row that is not finite beside rows that are. */
static void odd_rows_stay_by_themselves(void **state) {
    (void)state;
    path paths[2];
    int n = paths_here(paths);
    const uint16_t infinity = 0x7f80, nan = 0xffc0;
    problem p = product(20, 70, 20);
    p.has_bias = true;
    fill(&p);
    for (int i = 0; i < 70; i++) p.x[GUARD + 70 * 3 + i] = 0;
    for (int i = 0; i < 70; i++) p.weights[70 * 5 + i] = 0;
    tt_ops *ref = open_ref();
    uint16_t *expected = run_on(ref, &p);
    assert_int_equal(expected[GUARD + 20 * 3 + 7], tt_f32_to_bf16(p.bias[7]));
    assert_int_equal(expected[GUARD + 20 * 4 + 5], tt_f32_to_bf16(p.bias[5]));
    p.x[GUARD + 70 * 8 + 69] = infinity;
    p.x[GUARD + 70 * 9 + 1] = nan;
    for (int i = -1; i < n; i++) {
        tt_ops *ops = i < 0 ? ref : open_level(paths[i].level, 2);
        uint16_t *found = run_on(ops, &p);
        for (int64_t o = 0; o < 20; o++) {
            assert_false(isfinite(tt_bf16_to_f32(found[GUARD + 20 * 8 + o])));
            assert_false(isfinite(tt_bf16_to_f32(found[GUARD + 20 * 9 + o])));
            found[GUARD + 20 * 8 + o] = expected[GUARD + 20 * 8 + o];
            found[GUARD + 20 * 9 + o] = expected[GUARD + 20 * 9 + o];
        }
        compare(&p, i < 0 ? "ref" : paths[i].name, found, expected);
        tt_free(found);
        if (i >= 0) tt_ops_close(ops);
    }
    tt_free(expected);
    tt_ops_close(ref);
    release(&p);
}

/* Inputs of one sign use all 255 steps. */
static void ranges_on_one_side_match(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        problem p = product(33, 100, 20);
        fill(&p);
        for (int64_t i = 0; i < 33 * 100; i++)
            p.x[GUARD + i] = tt_f32_to_bf16((float)sign * fabsf(tt_bf16_to_f32(p.x[GUARD + i])));
        try_filled(&p);
        release(&p);
    }
}

static void a_cpu_without_the_instructions_is_told(void **state) {
    (void)state;
    const tt_ops_options options = {TT_BACKEND_CPU, TT_BF16, 1}, f32 = {TT_BACKEND_CPU, TT_F32, 1};
    tt_ops *ops;
    ok(tt_ops_open(&options, &ops, &err));
    tt__cpu_force(ops, TT_CPU_AVX2);
    assert_int_equal(tt_ops_allow_int8(ops, &err), TT_E_UNSUPPORTED);
    assert_string_equal(err.message,
                        "int8 on this CPU: expected AVX-512 with VNNI or AMX, found neither");
    assert_false(tt_ops_has_int8(ops));
    tt_ops_close(ops);
    ok(tt_ops_open(&f32, &ops, &err));
    assert_int_equal(tt_ops_allow_int8(ops, &err), TT_E_UNSUPPORTED);
    tt_ops_close(ops);
}

/* Half of bf16's bytes and some scales. */
static void weights_take_half_the_memory(void **state) {
    (void)state;
    path paths[2];
    if (paths_here(paths) == 0) return;
    problem p = product(1, 1280, 640);
    fill(&p);
    tt_ops *ops = open_level(paths[0].level, 1);
    tt_weight *w = pack(ops, &p);
    assert_int_equal(tt_ops_weight_bytes(ops), 1280 * 640 + 8 * 640);
    tt_weight_free(ops, w);
    tt_ops_close(ops);
    release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_match_around_the_edges_of_tiles),
        cmocka_unit_test(products_match_with_long_sums),
        cmocka_unit_test(products_match_in_several_strips),
        cmocka_unit_test(epilogues_match),
        cmocka_unit_test(activations_match_far_from_zero),
        cmocka_unit_test(convolutions_match),
        cmocka_unit_test(the_smallest_pictures_match),
        cmocka_unit_test(convolutions_match_in_several_strips),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(a_row_does_not_depend_on_the_rows_around_it),
        cmocka_unit_test(a_failed_allocation_is_an_error),
        cmocka_unit_test(the_reference_does_what_is_written),
        cmocka_unit_test(int8_is_near_the_unrounded_product),
        cmocka_unit_test(odd_rows_stay_by_themselves),
        cmocka_unit_test(ranges_on_one_side_match),
        cmocka_unit_test(a_cpu_without_the_instructions_is_told),
        cmocka_unit_test(weights_take_half_the_memory),
    };
    path paths[2];
    if (paths_here(paths) == 0)
        print_message("no int8 instructions here: only the reference is tested\n");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
