/* Attention by every family of kernels that this CPU has, against sums in double over the same (rounded)
 * inputs: odd sizes, heads inside wider rows, guards around everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>

#include "support/cpu_levels.h"
#include "tensor/cpu/attention.h"

enum {
    BEFORE = 3,
    BETWEEN = 5
}; /* columns beside the heads, NaN: odd, so that nothing is aligned */

typedef struct sizes {
    int64_t n, queries, keys, heads, head_dim;
    bool causal;
} sizes;

typedef struct problem {
    sizes s;
    tt_tensor q, kv, y; /* q: BEFORE columns, heads; kv: BEFORE, keys, BETWEEN, values */
    double *expected;
} problem;

static int64_t width(const sizes *s) {
    return s->heads * s->head_dim;
}

static int64_t v_offset(const sizes *s) {
    return BEFORE + width(s) + BETWEEN;
}

static int64_t q_at(const problem *p, int64_t n, int64_t t, int64_t head, int64_t i) {
    return (n * p->s.queries + t) * p->q.c + BEFORE + head * p->s.head_dim + i;
}

static int64_t kv_at(const problem *p, int64_t offset, int64_t n, int64_t t, int64_t head,
                     int64_t i) {
    return (n * p->s.keys + t) * p->kv.c + offset + head * p->s.head_dim + i;
}

static double score(const problem *p, int64_t n, int64_t head, int64_t query, int64_t key) {
    double sum = 0;
    for (int64_t i = 0; i < p->s.head_dim; i++)
        sum += tt_value(&p->q, q_at(p, n, query, head, i)) *
               tt_value(&p->kv, kv_at(p, BEFORE, n, key, head, i));
    return sum / sqrt((double)p->s.head_dim);
}

static void expect_row(problem *p, int64_t n, int64_t head, int64_t query, double *weights) {
    const sizes *s = &p->s;
    int64_t keys = s->causal && query + 1 < s->keys ? query + 1 : s->keys;
    double largest = -INFINITY, total = 0;
    for (int64_t k = 0; k < keys; k++)
        largest = fmax(largest, weights[k] = score(p, n, head, query, k));
    for (int64_t k = 0; k < keys; k++) total += weights[k] = exp(weights[k] - largest);
    for (int64_t i = 0; i < s->head_dim; i++) {
        double sum = 0;
        for (int64_t k = 0; k < keys; k++)
            sum += weights[k] * tt_value(&p->kv, kv_at(p, v_offset(s), n, k, head, i));
        p->expected[(n * s->queries + query) * width(s) + head * s->head_dim + i] = sum / total;
    }
}

static void expect(problem *p) {
    double *weights = tt_alloc((size_t)p->s.keys * sizeof *weights);
    for (int64_t n = 0; n < p->s.n; n++)
        for (int64_t head = 0; head < p->s.heads; head++)
            for (int64_t query = 0; query < p->s.queries; query++)
                expect_row(p, n, head, query, weights);
    tt_free(weights);
}

/* Values of q up to `spread`, of k and v up to 1. */
static problem new_problem(tt_dtype dtype, sizes s, float spread) {
    problem p = {.s = s};
    uint64_t seed = 7;
    p.q = tt_guarded_new(dtype, s.n, 1, s.queries, BEFORE + width(&s));
    p.kv = tt_guarded_new(dtype, s.n, 1, s.keys, v_offset(&s) + width(&s));
    p.y = tt_guarded_new(dtype, s.n, 1, s.queries, width(&s));
    for (int64_t row = 0; row < s.n * s.queries; row++)
        for (int64_t i = 0; i < width(&s); i++)
            tt_set_value(&p.q, row * p.q.c + BEFORE + i, spread * tt_next_value(&seed));
    for (int64_t row = 0; row < s.n * s.keys; row++)
        for (int64_t i = 0; i < width(&s); i++) {
            tt_set_value(&p.kv, row * p.kv.c + BEFORE + i, tt_next_value(&seed));
            tt_set_value(&p.kv, row * p.kv.c + v_offset(&s) + i, tt_next_value(&seed));
        }
    p.expected = tt_alloc((size_t)tt_tensor_count(&p.y) * sizeof(double));
    expect(&p);
    return p;
}

static void free_problem(problem *p) {
    tt_guarded_free(&p->q);
    tt_guarded_free(&p->kv);
    tt_guarded_free(&p->y);
    tt_free(p->expected);
}

static tt_attention arguments(const problem *p) {
    return (tt_attention){.q = &p->q,
                          .k = &p->kv,
                          .v = &p->kv,
                          .q_offset = BEFORE,
                          .k_offset = BEFORE,
                          .v_offset = v_offset(&p->s),
                          .heads = p->s.heads,
                          .head_dim = p->s.head_dim,
                          .causal = p->s.causal};
}

/* Fills p->y. */
static void attend(tt_ops *ops, problem *p) {
    tt_err err;
    const tt_attention a = arguments(p);
    assert_non_null(ops);
    memset(p->y.data, 0xff, (size_t)tt_tensor_count(&p->y) * tt_dtype_size(p->y.dtype));
    tt_ops_plan_begin(ops);
    for (int pass = 0; pass < 2; pass++) {
        tt_status status = tt_op_attention(ops, &a, &p->y, &err);
        if (status == TT_OK && pass == 0) status = tt_ops_plan_end(ops, &err);
        if (status != TT_OK) print_error("%s\n", err.message);
        assert_int_equal(status, TT_OK);
    }
}

static void compare(tt_cpu_level level, problem *p) {
    tt_ops *ops = tt_ops_at(level, p->q.dtype, 2);
    attend(ops, p);
    tt_ops_close(ops);
    double tolerance = p->q.dtype == TT_F32 ? TT_F32_TOLERANCE : TT_BF16_TOLERANCE;
    double error = tt_distance(&p->y, p->expected);
    if (!(error <= tolerance))
        print_error("level %d, %s, %d x %d, %d heads of %d%s: error %g\n", (int)level,
                    tt_dtype_name(p->q.dtype), (int)p->s.queries, (int)p->s.keys, (int)p->s.heads,
                    (int)p->s.head_dim, p->s.causal ? ", causal" : "", error);
    assert_true(error <= tolerance);
    assert_true(tt_guards_hold(&p->y));
}

static void on_every_level(tt_dtype dtype, sizes s, float spread) {
    problem p = new_problem(dtype, s, spread);
    for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++)
        if (tt_level_is_here(level)) compare(level, &p);
    free_problem(&p);
}

static const sizes shapes[] = {
    {2, 77, 77, 2, 64, true}, /* the text encoders */
    {1, 77, 77, 2, 80, true},
    {2, 64, 77, 3, 64, false}, /* the UNet's cross-attention */
    {1, 50, 154, 2, 64, false},
    {1, 300, 300, 2, 64,
     false}, /* its self-attention: more than one block of keys, a tail of each kind */
    {1, 129, 257, 1, 64, false},
    {1, 128, 256, 1, 64, false}, /* and nothing but whole blocks */
    {1, 300, 300, 1, 16, true},
    {1, 600, 600, 1, 24, true},   /* causal past whole blocks */
    {1, 100, 513, 1, 512, false}, /* the VAE's */
    {1, 35, 35, 4, 1, false},
    {1, 50, 5, 2, 40, false},
    {1, 33, 31, 1, 33, false},
    {1, 1, 1, 1, 8, false},
    {3, 2, 3, 2, 17, true},
    {1, 20, 90, 1, 64, true}, /* more keys than queries */
};

static void every_path_matches_double(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        on_every_level(TT_F32, shapes[i], 4);
        on_every_level(TT_BF16, shapes[i], 4);
    }
}

/* The reference is what other back-ends are compared with; here it is compared itself. */
static void the_reference_matches_double(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        const sizes s = {2, 40, 40, 2, 20, true};
        problem p = new_problem(bf16 ? TT_BF16 : TT_F32, s, 4);
        const tt_ops_options options = {TT_BACKEND_REF, p.q.dtype, 1};
        tt_ops *ops = NULL;
        tt_err err;
        assert_int_equal(tt_ops_open(&options, &ops, &err), TT_OK);
        attend(ops, &p);
        assert_true(tt_distance(&p.y, p.expected) <= (bf16 ? 1.0 / 256 : 1e-6));
        tt_ops_close(ops);
        free_problem(&p);
    }
}

/* Scores so large that e^score overflows: the running maximum must carry them. */
static void large_scores_survive(void **state) {
    (void)state;
    const sizes s = {1, 200, 600, 1, 64, false};
    on_every_level(TT_F32, s, 100);
    on_every_level(TT_BF16, s, 100);
}

/* One query that rates two keys 0 and -t gives the second the weight e^-t / (1 + e^-t). */
static void small_weights_keep_their_digits(void **state) {
    (void)state;
    const double tolerance = 3e-6; /* t is known to 2^-24 of itself, and e^-t no better than that */
    for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++) {
        if (!tt_level_is_here(level)) continue;
        problem p = new_problem(TT_F32, (sizes){1, 80, 2, 1, 1, false}, 1);
        for (int64_t t = 0; t < 80; t++)
            tt_set_value(&p.q, q_at(&p, 0, t, 0, 0), (float)t * 1.0625f);
        for (int64_t key = 0; key < 2; key++) {
            tt_set_value(&p.kv, kv_at(&p, BEFORE, 0, key, 0, 0), (float)-key);
            tt_set_value(&p.kv, kv_at(&p, v_offset(&p.s), 0, key, 0, 0), (float)key);
        }
        tt_ops *ops = tt_ops_at(level, TT_F32, 1);
        attend(ops, &p);
        for (int64_t t = 0; t < 80; t++) {
            double weight = exp(-1.0625 * (double)t), expected = weight / (1 + weight);
            assert_true(fabs(tt_value(&p.y, t) - expected) <=
                        tolerance * (1 + (double)t / 8) * expected);
        }
        tt_ops_close(ops);
        free_problem(&p);
    }
}

/* A NaN must not vanish in a maximum, and must not leave its row. */
static void a_nan_stays_in_its_row(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++) {
            if (!tt_level_is_here(level)) continue;
            problem p = new_problem(bf16 ? TT_BF16 : TT_F32, (sizes){1, 70, 300, 1, 64, false}, 1);
            tt_set_value(&p.q, q_at(&p, 0, 37, 0, 63), NAN);
            tt_ops *ops = tt_ops_at(level, p.q.dtype, 1);
            attend(ops, &p);
            for (int64_t i = 0; i < tt_tensor_count(&p.y); i++)
                assert_int_equal(isnan(tt_value(&p.y, i)) != 0, i / 64 == 37);
            tt_ops_close(ops);
            free_problem(&p);
        }
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (tt_cpu_level level = TT_CPU_BASE; level <= TT_CPU_BEST; level++) {
            if (!tt_level_is_here(level)) continue;
            problem p = new_problem(bf16 ? TT_BF16 : TT_F32, (sizes){2, 300, 300, 3, 64, false}, 4);
            size_t bytes = (size_t)tt_tensor_count(&p.y) * tt_dtype_size(p.y.dtype);
            void *first = tt_alloc(bytes);
            for (int threads = 1; threads <= 3; threads++) {
                tt_ops *ops = tt_ops_at(level, p.q.dtype, threads);
                attend(ops, &p);
                tt_ops_close(ops);
                if (threads == 1) memcpy(first, p.y.data, bytes);
                assert_memory_equal(p.y.data, first, bytes);
            }
            tt_free(first);
            free_problem(&p);
        }
}

/* Each level is another family where there is one: a test that forces nothing tests nothing. */
static void levels_choose_their_kernels(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (tt_cpu_level level = TT_CPU_BASE + 1; level <= TT_CPU_BEST; level++) {
            if (!tt_level_is_here(level)) continue;
            const tt_cpu_features lower = tt__cpu_features_limited(level - 1);
            const tt_cpu_features here = tt__cpu_features_limited(level);
            bool same = tt__attention_kernels(&lower, bf16) == tt__attention_kernels(&here, bf16);
            assert_int_equal(same, !bf16 && level > TT_CPU_AVX512);
        }
}

static void unplanned_scratch_is_refused(void **state) {
    (void)state;
    problem p = new_problem(TT_F32, (sizes){1, 8, 8, 1, 8, false}, 1);
    const tt_attention a = arguments(&p);
    tt_ops *ops = tt_ops_at(TT_CPU_BEST, TT_F32, 1);
    tt_err err;
    assert_int_equal(tt_op_attention(ops, &a, &p.y, &err), TT_E_NOMEM);
    tt_ops_close(ops);
    free_problem(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_matches_double),
        cmocka_unit_test(the_reference_matches_double),
        cmocka_unit_test(large_scores_survive),
        cmocka_unit_test(small_weights_keep_their_digits),
        cmocka_unit_test(a_nan_stays_in_its_row),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(levels_choose_their_kernels),
        cmocka_unit_test(unplanned_scratch_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
