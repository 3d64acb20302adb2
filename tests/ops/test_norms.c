/* Norms and activations at every level of CPU, against sums in double over the same (rounded) inputs: odd
 * sizes, offsets and outliers that eat digits, guards around everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>

#include "support/cpu_levels.h"

typedef struct problem {
    tt_tensor x, y, add;
    float *gamma, *beta;
    double *expected;
    tt_group_norm norm; /* groups 0: a layer norm */
} problem;

static problem new_problem(tt_dtype dtype, int64_t n, int64_t h, int64_t w, int64_t c,
                           float offset) {
    problem p = {.x = tt_guarded_new(dtype, n, h, w, c), .y = tt_guarded_new(dtype, n, h, w, c)};
    uint64_t seed = 11;
    p.norm.eps = 1e-5f;
    for (int64_t i = 0; i < tt_tensor_count(&p.x); i++)
        tt_set_value(&p.x, i, tt_next_value(&seed) + offset);
    p.gamma = tt_alloc((size_t)c * sizeof *p.gamma);
    p.beta = tt_alloc((size_t)c * sizeof *p.beta);
    for (int64_t i = 0; i < c; i++) {
        p.gamma[i] = 1 + tt_next_value(&seed) / 2;
        p.beta[i] = tt_next_value(&seed);
    }
    p.expected = tt_alloc((size_t)tt_tensor_count(&p.x) * sizeof(double));
    return p;
}

static void free_problem(problem *p) {
    tt_guarded_free(&p->x);
    tt_guarded_free(&p->y);
    tt_guarded_free(&p->add);
    tt_free(p->gamma);
    tt_free(p->beta);
    tt_free(p->expected);
}

static double added(const problem *p, int64_t n, int64_t c) {
    return p->add.data ? tt_value(&p->add, n * p->add.c + p->norm.add_offset + c) : 0;
}

/* Channels first .. first + width - 1 of rows row .. row + rows - 1 become one mean and deviation. */
static void expect_block(problem *p, int64_t row, int64_t rows, int64_t first, int64_t width) {
    int64_t c = p->x.c, n = row / tt_tensor_tokens(&p->x);
    double mean = 0, squares = 0, count = (double)(rows * width);
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t i = first; i < first + width; i++)
            mean += (tt_value(&p->x, r * c + i) + added(p, n, i)) / count;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t i = first; i < first + width; i++)
            squares += pow(tt_value(&p->x, r * c + i) + added(p, n, i) - mean, 2) / count;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t i = first; i < first + width; i++) {
            double v = tt_value(&p->x, r * c + i) + added(p, n, i) - mean;
            v = v / sqrt(squares + (double)p->norm.eps) * p->gamma[i] + p->beta[i];
            p->expected[r * c + i] = p->norm.silu ? v / (1 + exp(-v)) : v;
        }
}

static void expect(problem *p) {
    int64_t tokens = tt_tensor_tokens(&p->x);
    if (p->norm.groups == 0)
        for (int64_t row = 0; row < p->x.n * tokens; row++) expect_block(p, row, 1, 0, p->x.c);
    for (int64_t n = 0; n < p->x.n; n++)
        for (int64_t g = 0; g < p->norm.groups; g++)
            expect_block(p, n * tokens, tokens, g * (p->x.c / p->norm.groups),
                         p->x.c / p->norm.groups);
}

static void normalise(tt_ops *ops, problem *p) {
    tt_err err;
    tt_weight *w = NULL;
    assert_non_null(ops);
    assert_int_equal(tt_weight_norm(ops, p->gamma, p->beta, p->x.c, &w, &err), TT_OK);
    p->norm.add = p->add.data ? &p->add : NULL;
    memset(p->y.data, 0xff, (size_t)tt_tensor_count(&p->y) * tt_dtype_size(p->y.dtype));
    tt_ops_plan_begin(ops);
    for (int pass = 0; pass < 2; pass++) {
        tt_status status = p->norm.groups
                               ? tt_op_group_norm(ops, w, &p->norm, &p->x, &p->y, &err)
                               : tt_op_layer_norm(ops, w, p->norm.eps, &p->x, &p->y, &err);
        if (status == TT_OK && pass == 0) status = tt_ops_plan_end(ops, &err);
        if (status != TT_OK) print_error("%s\n", err.message);
        assert_int_equal(status, TT_OK);
    }
    tt_weight_free(ops, w);
}

static void on_every_level(problem *p) {
    expect(p);
    for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++) {
        if (!tt_level_is_here(level)) continue;
        tt_ops *ops = tt_ops_at(level, p->x.dtype, 2);
        normalise(ops, p);
        tt_ops_close(ops);
        double tolerance = p->x.dtype == TT_F32 ? TT_F32_TOLERANCE : TT_BF16_TOLERANCE;
        double error = tt_distance(&p->y, p->expected);
        if (!(error <= tolerance))
            print_error("level %d, %s, %d x %d, %d groups: error %g\n", (int)level,
                        tt_dtype_name(p->x.dtype), (int)tt_tensor_tokens(&p->x), (int)p->x.c,
                        (int)p->norm.groups, error);
        assert_true(error <= tolerance);
        assert_true(tt_guards_hold(&p->y));
    }
}

typedef struct sizes {
    int64_t n, h, w, c, groups;
    bool silu, add;
    float offset;
} sizes;

static void try_group_norm(tt_dtype dtype, const sizes *s) {
    problem p = new_problem(dtype, s->n, s->h, s->w, s->c, s->offset);
    uint64_t seed = 5;
    p.norm.groups = s->groups;
    p.norm.silu = s->silu;
    if (s->add) {
        p.norm.add_offset = 3;
        p.add = tt_guarded_new(dtype, s->n, 1, 1, s->c + 5);
        for (int64_t i = 0; i < tt_tensor_count(&p.add); i++)
            tt_set_value(&p.add, i, tt_next_value(&seed));
    }
    on_every_level(&p);
    free_problem(&p);
}

static void group_norm_matches_double(void **state) {
    (void)state;
    static const sizes all[] = {
        {2, 8, 8, 64, 32, true, true, 0},     {1, 1, 1, 2, 1, false, false, 0},
        {2, 7, 9, 6, 2, true, true, 0},       {1, 30, 31, 96, 32, true, false, 0},
        {2, 33, 32, 40, 8, true, true, 0},    {1, 24, 24, 40, 8, false, false, 0},
        {1, 5, 5, 37, 37, true, false, 0},    {1, 129, 129, 32, 32, true, false, 0},
        {1, 131, 127, 4, 2, false, false, 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        try_group_norm(TT_F32, &all[i]);
        try_group_norm(TT_BF16, &all[i]);
    }
}

/* A common offset of a hundred deviations costs f32 input two digits, and nothing more. */
static void a_common_offset_keeps_the_digits(void **state) {
    (void)state;
    try_group_norm(TT_F32, &(sizes){1, 64, 64, 40, 8, false, false, 100});
}

/* Sums are taken of differences to what a block begins with: let that be the outlier. */
static void an_outlier_at_the_first_position_is_harmless(void **state) {
    (void)state;
    problem p = new_problem(TT_F32, 1, 128, 128, 32, 0);
    p.norm.groups = 8;
    for (int64_t i = 0; i < 32; i++) tt_set_value(&p.x, i, 1000);
    on_every_level(&p);
    free_problem(&p);
}

static void layer_norm_matches_double(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 4, 16, 31, 33, 37, 64, 100, 640, 1280};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            problem p = new_problem(bf16 ? TT_BF16 : TT_F32, 2, 1, 19, widths[i], 3);
            on_every_level(&p);
            free_problem(&p);
        }
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    for (int groups = 0; groups <= 32; groups += 32)
        for (int bf16 = 0; bf16 < 2; bf16++)
            for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++) {
                if (!tt_level_is_here(level)) continue;
                problem p = new_problem(bf16 ? TT_BF16 : TT_F32, 2, 50, 61, 64, 1);
                p.norm.groups = groups;
                p.norm.silu = true;
                size_t bytes = (size_t)tt_tensor_count(&p.y) * tt_dtype_size(p.y.dtype);
                void *first = tt_alloc(bytes);
                for (int threads = 1; threads <= 3; threads++) {
                    tt_ops *ops = tt_ops_at(level, p.x.dtype, threads);
                    normalise(ops, &p);
                    tt_ops_close(ops);
                    if (threads == 1) memcpy(first, p.y.data, bytes);
                    assert_memory_equal(p.y.data, first, bytes);
                }
                tt_free(first);
                free_problem(&p);
            }
}

/* SiLU over all that it can meet: what all exponentials in this folder rest on. */
static void silu_keeps_its_digits(void **state) {
    (void)state;
    enum { COUNT = 20011, MIDDLE = COUNT / 2 };
    for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++) {
        if (!tt_level_is_here(level)) continue;
        tt_tensor x = tt_guarded_new(TT_F32, 1, 1, 1, COUNT),
                  y = tt_guarded_new(TT_F32, 1, 1, 1, COUNT);
        for (int i = 0; i < COUNT; i++) tt_set_value(&x, i, (float)(i - MIDDLE) * 0.0080001f);
        tt_ops *ops = tt_ops_at(level, TT_F32, 2);
        tt_err err;
        assert_int_equal(tt_op_activate(ops, TT_ACT_SILU, &x, &y, &err), TT_OK);
        for (int i = 0; i < COUNT; i++) {
            double v = tt_value(&x, i), expected = v / (1 + exp(-v));
            assert_true(fabs(tt_value(&y, i) - expected) <= 5e-7 * fabs(expected));
        }
        assert_true(tt_guards_hold(&y));
        tt_set_value(&x, 0, NAN);
        tt_set_value(&x, 1, -1e30f);
        tt_set_value(&x, 2, 1e30f);
        assert_int_equal(tt_op_activate(ops, TT_ACT_SILU, &x, &y, &err), TT_OK);
        assert_true(isnan(tt_value(&y, 0)));
        assert_true(fabs(tt_value(&y, 1)) < 1e-6);
        assert_true(tt_value(&y, 2) == (double)1e30f);
        tt_ops_close(ops);
        tt_guarded_free(&x);
        tt_guarded_free(&y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_norm_matches_double),
        cmocka_unit_test(a_common_offset_keeps_the_digits),
        cmocka_unit_test(an_outlier_at_the_first_position_is_harmless),
        cmocka_unit_test(layer_norm_matches_double),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(silu_keeps_its_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
