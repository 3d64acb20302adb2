/* Group norms that record their statistics or are given others, in the reference and at every level of CPU, against sums in
 * double over the same (rounded) inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "support/cpu_levels.h"

enum { REFERENCE = TT_CPU_BASE - 1, MOST_STATISTICS = 64 };

/* Sums of f32, of differences to a value nearby, against double: of the deviation, and of its square. */
#define STATISTICS_TOLERANCE 2e-5

typedef struct problem {
    tt_tensor x, y, add;
    float *gamma, *beta;
    double *expected;
    tt_group_norm norm;
    tt_norm_statistics record[MOST_STATISTICS], given[MOST_STATISTICS]; /* [n, groups] */
} problem;

static problem new_problem(tt_dtype dtype, int64_t n, int64_t h, int64_t w, int64_t c,
                           int64_t groups) {
    problem p = {.x = tt_guarded_new(dtype, n, h, w, c),
                 .y = tt_guarded_new(dtype, n, h, w, c),
                 .add = tt_guarded_new(dtype, n, 1, 1, c),
                 .norm = {.groups = groups, .eps = 1e-5f, .silu = true}};
    uint64_t seed = 17;
    assert_true(n * groups <= MOST_STATISTICS);
    for (int64_t i = 0; i < tt_tensor_count(&p.x); i++) /* brighter and louder to the right */
        tt_set_value(&p.x, i, (tt_next_value(&seed) + 2) * (1 + (float)(i / c % w) / (float)w * 3));
    for (int64_t i = 0; i < n * c; i++) tt_set_value(&p.add, i, tt_next_value(&seed));
    p.gamma = tt_alloc((size_t)c * sizeof *p.gamma);
    p.beta = tt_alloc((size_t)c * sizeof *p.beta);
    for (int64_t i = 0; i < c; i++) {
        p.gamma[i] = 1 + tt_next_value(&seed) / 2;
        p.beta[i] = tt_next_value(&seed);
    }
    for (int64_t i = 0; i < n * groups; i++)
        p.given[i] = (tt_norm_statistics){10, 3 + 0.1 * (double)i, 40};
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

static double input(const problem *p, int64_t n, int64_t position, int64_t c) {
    return tt_value(&p->x, (n * tt_tensor_tokens(&p->x) + position) * p->x.c + c) +
           (p->norm.add ? tt_value(&p->add, n * p->add.c + c) : 0);
}

static tt_norm_statistics expect_statistics(const problem *p, int64_t n, int64_t group) {
    int64_t width = p->x.c / p->norm.groups, first = group * width,
            tokens = tt_tensor_tokens(&p->x);
    tt_norm_statistics s = {.count = (double)(tokens * width)};
    for (int pass = 0; pass < 2; pass++)
        for (int64_t position = 0; position < tokens; position++)
            for (int64_t c = first; c < first + width; c++) {
                double v = input(p, n, position, c);
                if (pass == 0)
                    s.mean += v / s.count;
                else
                    s.squares += pow(v - s.mean, 2);
            }
    return s;
}

static void expect_result(problem *p, const tt_norm_statistics *by) {
    int64_t tokens = tt_tensor_tokens(&p->x), c = p->x.c;
    for (int64_t i = 0; i < p->x.n * tokens * c; i++) {
        int64_t n = i / c / tokens, channel = i % c;
        const tt_norm_statistics *s = by + n * p->norm.groups + channel / (c / p->norm.groups);
        double v = input(p, n, i / c % tokens, channel) - s->mean;
        v = v / sqrt(s->squares / s->count + (double)p->norm.eps) * p->gamma[channel] +
            p->beta[channel];
        p->expected[i] = v / (1 + exp(-v));
    }
}

static void assert_near(const tt_norm_statistics *found, const tt_norm_statistics *expected) {
    double deviation = sqrt(expected->squares / expected->count);
    assert_true(found->count == expected->count);
    assert_true(fabs(found->mean - expected->mean) <= STATISTICS_TOLERANCE * deviation);
    assert_true(fabs(found->squares - expected->squares) <=
                STATISTICS_TOLERANCE * expected->squares);
}

static tt_ops *open_level(int level, tt_dtype dtype, int threads) {
    const tt_ops_options options = {TT_BACKEND_REF, dtype, 1};
    tt_ops *ops = NULL;
    tt_err err;
    if (level != REFERENCE) return tt_ops_at((tt_cpu_level)level, dtype, threads);
    assert_int_equal(tt_ops_open(&options, &ops, &err), TT_OK);
    return ops;
}

static bool is_here(int level) {
    return level == REFERENCE || tt_level_is_here((tt_cpu_level)level);
}

/* In rehearsal, where nothing may be recorded, then for real. */
static tt_status run(tt_ops *ops, problem *p, tt_err *err) {
    tt_weight *w = NULL;
    tt_status status;
    assert_non_null(ops);
    assert_int_equal(tt_weight_norm(ops, p->gamma, p->beta, p->x.c, &w, err), TT_OK);
    memset(p->y.data, 0xff, (size_t)tt_tensor_count(&p->y) * tt_dtype_size(p->y.dtype));
    tt_ops_plan_begin(ops);
    status = tt_op_group_norm(ops, w, &p->norm, &p->x, &p->y, err);
    if (status == TT_OK) status = tt_ops_plan_end(ops, err);
    if (status == TT_OK) status = tt_op_group_norm(ops, w, &p->norm, &p->x, &p->y, err);
    tt_weight_free(ops, w);
    return status;
}

static void assert_result(const problem *p) {
    double tolerance = p->x.dtype == TT_F32 ? TT_F32_TOLERANCE : TT_BF16_TOLERANCE;
    assert_true(tt_distance(&p->y, p->expected) <= tolerance);
    assert_true(tt_guards_hold(&p->y));
}

/* ---- one norm -------------------------------------------------------------------------------------------- */

typedef struct shape {
    int64_t n, h, w, c, groups;
    bool add;
} shape;

static const shape shapes[] = {
    {2, 9, 7, 6, 2, true},
    {2, 8, 6, 40, 8, false},
    {1, 40, 700, 32, 32, true},
    {1, 1, 1, 2, 1, true},
};

/* Twice: what a norm records is added to what is there already, and changes nothing that it makes. */
static void try_shape(const shape *s, tt_dtype dtype, int level, bool has_given) {
    problem p = new_problem(dtype, s->n, s->h, s->w, s->c, s->groups);
    tt_norm_statistics own[MOST_STATISTICS], sum[MOST_STATISTICS] = {0};
    tt_err err;
    p.norm.add = s->add ? &p.add : NULL;
    p.norm.record = p.record;
    p.norm.given = has_given ? p.given : NULL;
    for (int again = 0; again < 2; again++) {
        tt_ops *ops = open_level(level, dtype, 2);
        assert_int_equal(run(ops, &p, &err), TT_OK);
        tt_ops_close(ops);
        for (int64_t i = 0; i < s->n * s->groups; i++) {
            own[i] = expect_statistics(&p, i / s->groups, i % s->groups);
            tt_norm_statistics_add(&sum[i], &own[i]);
            assert_near(&p.record[i], &sum[i]);
        }
        expect_result(&p, has_given ? p.given : own);
        assert_result(&p);
    }
    free_problem(&p);
}

static void own_statistics_are_added_to_the_record(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int level = REFERENCE; level <= TT_CPU_BEST; level++) {
            if (!is_here(level)) continue;
            try_shape(&shapes[i], TT_F32, level, false);
            try_shape(&shapes[i], TT_BF16, level, false);
            try_shape(&shapes[i], TT_F32, level, true);
        }
}

static void given_statistics_are_used_as_they_are(void **state) {
    (void)state;
    for (int level = REFERENCE; level <= TT_CPU_BEST; level++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            if (!is_here(level)) continue;
            problem p = new_problem(bf16 ? TT_BF16 : TT_F32, 2, 33, 17, 24, 3);
            tt_ops *ops = open_level(level, p.x.dtype, 2);
            tt_err err;
            p.norm.add = &p.add;
            p.norm.given = p.given;
            expect_result(&p, p.given);
            assert_int_equal(run(ops, &p, &err), TT_OK);
            assert_result(&p);
            tt_ops_close(ops);
            free_problem(&p);
        }
}

static void records_do_not_depend_on_threads(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        problem p = new_problem(bf16 ? TT_BF16 : TT_F32, 1, 60, 90, 64, 32);
        tt_norm_statistics first[MOST_STATISTICS] = {0};
        tt_err err;
        p.norm.record = p.record;
        for (int threads = 1; threads <= 3; threads++) {
            memset(p.record, 0, sizeof p.record);
            tt_ops *ops = open_level(TT_CPU_BEST, p.x.dtype, threads);
            assert_int_equal(run(ops, &p, &err), TT_OK);
            tt_ops_close(ops);
            if (threads == 1) memcpy(first, p.record, sizeof first);
            assert_memory_equal(p.record, first, sizeof first);
        }
        free_problem(&p);
    }
}

/* ---- tapes ---------------------------------------------------------------------------------------------- */

static void norms_take_places_on_tapes_in_turn(void **state) {
    enum { NORMS = 2, GROUPS = 2 };
    problem p = new_problem(TT_F32, 1, 8, 8, 4, GROUPS);
    tt_ops *ops = open_level(TT_CPU_BEST, TT_F32, 2);
    tt_norm_tape record = {0}, given = {0};
    tt_weight *w = NULL;
    tt_err err;
    (void)state;
    assert_int_equal(tt_weight_norm(ops, p.gamma, p.beta, p.x.c, &w, &err), TT_OK);
    assert_int_equal(tt_norm_tape_init(&record, NORMS, GROUPS, &err), TT_OK);
    assert_int_equal(tt_norm_tape_init(&given, NORMS, GROUPS, &err), TT_OK);
    for (int i = 0; i < NORMS * GROUPS; i++)
        given.of[i] = (tt_norm_statistics){100, 2 + i, 150 + 20 * i};
    for (int pass = 0; pass < 3; pass++) { /* the first is a rehearsal */
        if (pass == 0) tt_ops_plan_begin(ops);
        tt_ops_share_norms(ops, &record, &given);
        for (int i = 0; i < NORMS; i++) {
            assert_int_equal(tt_op_group_norm(ops, w, &p.norm, &p.x, &p.y, &err), TT_OK);
            assert_true(record.of[i * GROUPS].count == pass * 8 * 8 * 2);
            if (pass == 0) continue;
            expect_result(&p, given.of + i * GROUPS);
            assert_result(&p);
        }
        assert_int_equal(tt_op_group_norm(ops, w, &p.norm, &p.x, &p.y, &err), TT_E_INTERNAL);
        if (pass == 0) assert_int_equal(tt_ops_plan_end(ops, &err), TT_OK);
    }
    p.norm.groups = 1;
    tt_ops_share_norms(ops, NULL, &given);
    assert_int_equal(tt_op_group_norm(ops, w, &p.norm, &p.x, &p.y, &err), TT_E_INTERNAL);
    tt_ops_share_norms(ops, NULL, NULL);
    assert_int_equal(tt_op_group_norm(ops, w, &p.norm, &p.x, &p.y, &err), TT_OK);
    tt_norm_tape_release(&record);
    tt_norm_tape_release(&given);
    tt_weight_free(ops, w);
    tt_ops_close(ops);
    free_problem(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_statistics_are_added_to_the_record),
        cmocka_unit_test(given_statistics_are_used_as_they_are),
        cmocka_unit_test(records_do_not_depend_on_threads),
        cmocka_unit_test(norms_take_places_on_tapes_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
