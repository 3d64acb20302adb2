/* Every operation of the CPU and CUDA back-ends against the plain C reference: same inputs, awkward
 * sizes, f32 and bf16. Results are written over NaNs, so that a value which nobody wrote is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "support/cuda.h"
#include "tensor/ops.h"

/* Largest error allowed, relative to the largest expected value: f32 sums in another order; bf16
 * keeps 8 bits, and both sides round once. */
static const double F32_TOLERANCE = 2e-5, BF16_TOLERANCE = 1.0 / 128;

typedef struct bench { /* the same problem on both back-ends */
    tt_ops *ref, *tested;
    tt_err err;
    uint64_t seed;
} bench;

static float next_value(bench *b) {
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(b->seed >> 40) / (1 << 23) - 1.0);
}

static void ok(bench *b, tt_status status) {
    if (status != TT_OK) print_error("%s\n", b->err.message);
    assert_int_equal(status, TT_OK);
}

static bench open_bench_on(tt_backend_kind kind, tt_dtype dtype, int threads) {
    bench b = {.seed = 42};
    const tt_ops_options ref = {TT_BACKEND_REF, dtype, 0}, tested = {kind, dtype, threads};
    ok(&b, tt_ops_open(&ref, &b.ref, &b.err));
    ok(&b, tt_ops_open(&tested, &b.tested, &b.err));
    return b;
}

static bench open_bench(tt_dtype dtype, int threads) {
    return open_bench_on(TT_BACKEND_CPU, dtype, threads);
}

static void close_bench(bench *b) {
    tt_ops_close(b->ref);
    tt_ops_close(b->tested);
}

/* Random host values, already rounded to dtype so that both sides start equal. */
static float *random_host(bench *b, int64_t count, float offset) {
    float *v = tt_alloc((size_t)count * sizeof *v);
    for (int64_t i = 0; i < count; i++) {
        v[i] = next_value(b) + offset;
        if (tt_ops_dtype(b->tested) == TT_BF16) v[i] = tt_bf16_to_f32(tt_f32_to_bf16(v[i]));
    }
    return v;
}

static void *as_dtype(const tt_ops *ops, const float *v, int64_t count) {
    void *out = tt_alloc((size_t)count * 4);
    tt_convert(out, tt_ops_dtype(ops), v, TT_F32, (size_t)count);
    return out;
}

typedef struct problem { /* inputs of one operation, as host values; unused sizes are zero */
    float *x, *second, *third, *w, *bias;
    int64_t n, h, width, c, out_h, out_w, out_c;
    tt_conv_shape conv;
    tt_epilogue epilogue;
    tt_group_norm norm;
    tt_attention attention;
    int64_t keys, add_width;
    bool use_mul, use_add;
} problem;

typedef tt_status (*op_fn)(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y);

static tt_tensor new_tensor(bench *b, tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c,
                            const float *host) {
    tt_tensor t;
    ok(b, tt_scratch_new(ops, n, h, w, c, &t, &b->err));
    if (host) ok(b, tt_op_upload(ops, host, &t, &b->err));
    return t;
}

static void fill_with_nan(bench *b, tt_ops *ops, tt_tensor *y) {
    int64_t count = tt_tensor_count(y);
    float *host = tt_alloc((size_t)count * sizeof *host);
    for (int64_t i = 0; i < count; i++) host[i] = NAN;
    ok(b, tt_op_upload(ops, host, y, &b->err));
    tt_free(host);
}

static float *run_on(bench *b, tt_ops *ops, problem *p, op_fn op) {
    int64_t count = p->n * p->out_h * p->out_w * p->out_c;
    float *out = tt_alloc((size_t)count * sizeof *out);
    tt_ops_plan_begin(ops);
    for (int pass = 0; pass < 2; pass++) {
        tt_tensor x = new_tensor(b, ops, p->n, p->h, p->width, p->c, p->x);
        tt_tensor y = new_tensor(b, ops, p->n, p->out_h, p->out_w, p->out_c, NULL);
        fill_with_nan(b, ops, &y);
        ok(b, op(b, ops, p, &x, &y));
        if (pass == 1) ok(b, tt_op_download(ops, &y, out, &b->err));
        tt_scratch_free(ops, &x);
        tt_scratch_free(ops, &y);
        if (pass == 0) ok(b, tt_ops_plan_end(ops, &b->err));
        tt_scratch_reset(ops);
    }
    return out;
}

static double largest_error(const float *a, const float *b, int64_t count) {
    double worst = 0, scale = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(a[i]));
        scale = fmax(scale, fabs(b[i]));
        worst = fmax(worst, fabs((double)a[i] - b[i]));
    }
    return worst / (scale > 0 ? scale : 1);
}

static void compare(bench *b, problem *p, op_fn op) {
    float *expected = run_on(b, b->ref, p, op), *found = run_on(b, b->tested, p, op);
    double tolerance = tt_ops_dtype(b->tested) == TT_F32 ? F32_TOLERANCE : BF16_TOLERANCE;
    double error = largest_error(found, expected, p->n * p->out_h * p->out_w * p->out_c);
    if (error > tolerance)
        print_error("[%d,%d,%d,%d] -> [%d,%d,%d]: error %g\n", (int)p->n, (int)p->h, (int)p->width,
                    (int)p->c, (int)p->out_h, (int)p->out_w, (int)p->out_c, error);
    assert_true(error <= tolerance);
    tt_free(expected);
    tt_free(found);
}

static void free_problem(problem *p) {
    tt_free(p->x);
    tt_free(p->second);
    tt_free(p->third);
    tt_free(p->w);
    tt_free(p->bias);
}

static void on_cpu(void (*body)(bench *)) {
    for (int threads = 1; threads <= 3; threads += 2) {
        bench b = open_bench(TT_F32, threads);
        body(&b);
        close_bench(&b);
    }
    if (!tt_cpu_has_bf16()) {
        print_message("no native bf16 here: f32 only\n");
        return;
    }
    bench b = open_bench(TT_BF16, 2);
    body(&b);
    close_bench(&b);
}

static void on_cuda(void (*body)(bench *)) {
    if (!tt_has_cuda()) skip();
    for (int bf16 = 0; bf16 <= 1; bf16++) {
        bench b = open_bench_on(TT_BACKEND_CUDA, bf16 ? TT_BF16 : TT_F32, 1);
        body(&b);
        close_bench(&b);
    }
}

/* A case of the table below: runs its body on the CPU, for f32 with 1 and 3 threads and bf16 where this CPU can; on a GPU in
 * both. */
typedef struct body_case {
    void (*body)(bench *);
} body_case;

static void on_the_cpu(void **state) {
    on_cpu(((const body_case *)*state)->body);
}

static void on_a_gpu(void **state) {
    on_cuda(((const body_case *)*state)->body);
}

/* ---- products
 * --------------------------------------------------------------------------------------- */

static tt_status with_epilogue(bench *b, tt_ops *ops, problem *p, tt_weight *w, tt_tensor *x,
                               tt_tensor *y) {
    tt_tensor mul = {0}, add = {0};
    tt_epilogue e = {.act = p->epilogue.act};
    if (p->use_mul) mul = new_tensor(b, ops, y->n, y->h, y->w, y->c, p->second), e.mul = &mul;
    if (p->use_add) add = new_tensor(b, ops, y->n, y->h, y->w, y->c, p->third), e.add = &add;
    tt_status status = p->conv.kernel ? tt_op_conv(ops, w, x, &e, y, &b->err)
                                      : tt_op_linear(ops, w, x, &e, y, &b->err);
    tt_scratch_free(ops, &mul);
    tt_scratch_free(ops, &add);
    tt_weight_free(ops, w);
    return status;
}

static tt_status run_linear(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    void *plain = as_dtype(ops, p->w, p->c * p->out_c);
    ok(b, tt_weight_linear(ops, plain, p->bias, p->out_c, p->c, &w, &b->err));
    tt_free(plain);
    return with_epilogue(b, ops, p, w, x, y);
}

static void try_linear(bench *b, int64_t rows, int64_t c_in, int64_t c_out, tt_activation act,
                       bool bias, bool mul, bool add) {
    problem p = {
        .n = 1, .h = 1, .width = rows, .c = c_in, .out_h = 1, .out_w = rows, .out_c = c_out};
    p.epilogue.act = act;
    p.use_mul = mul;
    p.use_add = add;
    p.x = random_host(b, rows * c_in, 0);
    p.w = random_host(b, c_in * c_out, 0);
    p.second = random_host(b, rows * c_out, 0);
    p.third = random_host(b, rows * c_out, 0);
    p.bias = bias ? random_host(b, c_out, 0) : NULL;
    compare(b, &p, run_linear);
    free_problem(&p);
}

static void linear_body(bench *b) {
    try_linear(b, 1, 1, 1, TT_ACT_NONE, true, false, false);
    try_linear(b, 2, 64, 128, TT_ACT_SILU, true, false, false);
    try_linear(b, 77, 37, 53, TT_ACT_GELU, true, false, true);
    try_linear(b, 100, 2, 6, TT_ACT_NONE, false, false, true);
    try_linear(b, 33, 64, 96, TT_ACT_NONE, true, true, false);
    try_linear(b, 64, 128, 64, TT_ACT_QUICK_GELU, true, true, true);
    try_linear(b, 130, 320, 40, TT_ACT_GELU_TANH, true, false, false);
    try_linear(b, 19, 48, 32, TT_ACT_RELU, false, false, false);
}

/* value * act(gate), as two products; where `third` is set, the gate is also read before, and added after. */
static tt_status run_gated(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *gate_w, *value_w;
    tt_tensor gate = new_tensor(b, ops, y->n, y->h, y->w, y->c, NULL), copy = {0};
    char *plain = as_dtype(ops, p->w, 2 * p->c * p->out_c);
    size_t half = (size_t)(p->c * p->out_c) * tt_dtype_size(tt_ops_dtype(ops));
    ok(b, tt_weight_linear(ops, plain, p->bias, p->out_c, p->c, &gate_w, &b->err));
    ok(b, tt_weight_linear(ops, plain + half, p->second, p->out_c, p->c, &value_w, &b->err));
    tt_free(plain);
    ok(b, tt_op_linear(ops, gate_w, x, &(tt_epilogue){.act = p->epilogue.act}, &gate, &b->err));
    tt_epilogue e = {.mul = &gate};
    if (p->use_add) {
        copy = new_tensor(b, ops, y->n, y->h, y->w, y->c, NULL);
        ok(b, tt_op_activate(ops, TT_ACT_RELU, &gate, &copy, &b->err));
        e.add = &copy;
    }
    tt_status status = tt_op_linear(ops, value_w, x, &e, y, &b->err);
    tt_weight_free(ops, value_w);
    tt_weight_free(ops, gate_w);
    tt_scratch_free(ops, &copy);
    tt_scratch_free(ops, &gate);
    return status;
}

static void try_gated(bench *b, int64_t rows, int64_t c_in, int64_t c_out, tt_activation act,
                      bool read_between) {
    problem p = {
        .n = 1, .h = 1, .width = rows, .c = c_in, .out_h = 1, .out_w = rows, .out_c = c_out};
    p.epilogue.act = act;
    p.use_add = read_between;
    p.x = random_host(b, rows * c_in, 0);
    p.w = random_host(b, 2 * c_in * c_out, 0);
    p.bias = random_host(b, c_out, 0);
    p.second = random_host(b, c_out, 0);
    compare(b, &p, run_gated);
    free_problem(&p);
}

static void gated_body(bench *b) {
    try_gated(b, 64, 64, 256, TT_ACT_GELU, false);
    try_gated(b, 19, 37, 53, TT_ACT_GELU, false);
    try_gated(b, 33, 40, 24, TT_ACT_SILU, true);
    try_gated(b, 1, 8, 8, TT_ACT_QUICK_GELU, false);
}

static tt_status run_conv(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    void *plain = as_dtype(ops, p->w, p->c * p->out_c * p->conv.kernel * p->conv.kernel);
    ok(b, tt_weight_conv(ops, plain, p->bias, &p->conv, &w, &b->err));
    tt_free(plain);
    return with_epilogue(b, ops, p, w, x, y);
}

static void try_conv(bench *b, int64_t n, int64_t h, int64_t w, tt_conv_shape shape, bool add) {
    problem p = {.n = n, .h = h, .width = w, .c = shape.c_in, .out_c = shape.c_out, .conv = shape};
    p.out_h = (h + shape.pad_top + shape.pad_bottom - shape.kernel) / shape.stride + 1;
    p.out_w = (w + shape.pad_left + shape.pad_right - shape.kernel) / shape.stride + 1;
    p.use_add = add;
    p.x = random_host(b, n * h * w * shape.c_in, 0);
    p.w = random_host(b, shape.c_in * shape.c_out * shape.kernel * shape.kernel, 0);
    p.third = random_host(b, n * p.out_h * p.out_w * p.out_c, 0);
    p.bias = random_host(b, shape.c_out, 0);
    compare(b, &p, run_conv);
    free_problem(&p);
}

static void conv_body(bench *b) {
    try_conv(b, 2, 8, 8, (tt_conv_shape){64, 4, 3, 1, 1, 1, 1, 1}, false);
    try_conv(b, 1, 9, 13, (tt_conv_shape){32, 64, 3, 1, 1, 1, 1, 1}, true);
    try_conv(b, 1, 9, 13, (tt_conv_shape){32, 64, 3, 2, 1, 1, 1, 1}, false);
    try_conv(b, 1, 10, 14, (tt_conv_shape){16, 16, 3, 2, 0, 0, 1, 1}, false);
    try_conv(b, 1, 7, 5, (tt_conv_shape){3, 2, 3, 1, 1, 1, 1, 1}, false);
    try_conv(b, 2, 6, 6, (tt_conv_shape){96, 160, 1, 1, 0, 0, 0, 0}, true);
    try_conv(b, 1, 16, 16, (tt_conv_shape){4, 320, 3, 1, 1, 1, 1, 1}, false);
    try_conv(b, 1, 1, 1, (tt_conv_shape){8, 8, 3, 1, 1, 1, 1, 1}, false);
}

/* ---- norms
 * ------------------------------------------------------------------------------------------ */

static tt_status run_group_norm(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    tt_tensor add = {0};
    tt_group_norm args = p->norm;
    ok(b, tt_weight_norm(ops, p->w, p->bias, p->c, &w, &b->err));
    if (p->second) add = new_tensor(b, ops, p->n, 1, 1, p->add_width, p->second), args.add = &add;
    tt_status status = tt_op_group_norm(ops, w, &args, x, y, &b->err);
    tt_scratch_free(ops, &add);
    tt_weight_free(ops, w);
    return status;
}

static void try_group_norm(bench *b, int64_t n, int64_t h, int64_t w, int64_t c, int64_t groups,
                           bool silu, bool add, float offset) {
    problem p = {.n = n, .h = h, .width = w, .c = c, .out_h = h, .out_w = w, .out_c = c};
    p.norm =
        (tt_group_norm){.groups = groups, .eps = 1e-5f, .silu = silu, .add_offset = add ? 3 : 0};
    p.add_width = c + 5;
    p.x = random_host(b, n * h * w * c, offset);
    p.w = random_host(b, c, 1);
    p.bias = random_host(b, c, 0);
    p.second = add ? random_host(b, n * p.add_width, 0) : NULL;
    compare(b, &p, run_group_norm);
    free_problem(&p);
}

static void group_norm_body(bench *b) {
    try_group_norm(b, 2, 8, 8, 64, 32, true, true, 0);
    try_group_norm(b, 1, 1, 1, 2, 1, false, false, 0);
    try_group_norm(b, 2, 7, 9, 6, 2, true, true, 0);
    try_group_norm(b, 1, 30, 31, 96, 32, true, false, 0);
    try_group_norm(b, 1, 24, 24, 40, 8, false, false, 100); /* a common offset: no cancellation */
}

static tt_status run_layer_norm(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    ok(b, tt_weight_norm(ops, p->w, p->bias, p->c, &w, &b->err));
    tt_status status = tt_op_layer_norm(ops, w, 1e-5f, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static void layer_norm_body(bench *b) {
    const int64_t widths[] = {1, 4, 16, 37, 64, 100, 640};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        problem p = {.n = 2, .h = 1, .width = 19, .c = widths[i], .out_h = 1, .out_w = 19};
        p.out_c = p.c;
        p.x = random_host(b, p.n * p.width * p.c, 3);
        p.w = random_host(b, p.c, 1);
        p.bias = random_host(b, p.c, 0);
        compare(b, &p, run_layer_norm);
        free_problem(&p);
    }
}

/* ---- attention
 * -------------------------------------------------------------------------------------- */

/* q, k and v lie in one projection when keys is zero (self-attention), else k and v in another. */
static tt_status run_attention(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_tensor kv = {0};
    tt_attention a = p->attention;
    int64_t width = a.heads * a.head_dim;
    a.q = a.k = a.v = x;
    a.k_offset = width;
    a.v_offset = 2 * width;
    if (p->keys) {
        kv = new_tensor(b, ops, p->n, 1, p->keys, 2 * width, p->second);
        a.k = a.v = &kv;
        a.k_offset = 0;
        a.v_offset = width;
    }
    tt_status status = tt_op_attention(ops, &a, y, &b->err);
    tt_scratch_free(ops, &kv);
    return status;
}

static void try_attention(bench *b, int64_t n, int64_t queries, int64_t keys, int64_t heads,
                          int64_t head_dim, bool causal) {
    int64_t width = heads * head_dim;
    problem p = {.n = n, .h = 1, .width = queries, .c = keys ? width : 3 * width, .keys = keys};
    p.out_h = 1;
    p.out_w = queries;
    p.out_c = width;
    p.attention = (tt_attention){.heads = heads, .head_dim = head_dim, .causal = causal};
    p.x = random_host(b, n * queries * p.c, 0);
    for (int64_t i = 0; i < n * queries * p.c; i++) p.x[i] *= 4; /* scores large enough to matter */
    p.second = keys ? random_host(b, n * keys * 2 * width, 0) : NULL;
    compare(b, &p, run_attention);
    free_problem(&p);
}

static void attention_body(bench *b) {
    try_attention(b, 2, 77, 0, 2, 64, true);
    try_attention(b, 1, 300, 0, 2, 64, false);
    try_attention(b, 1, 300, 0, 1, 16, true);
    try_attention(b, 2, 64, 77, 3, 64, false);
    try_attention(b, 1, 35, 0, 4, 1, false);
    try_attention(b, 1, 50, 5, 2, 40, false);
    try_attention(b, 1, 70, 0, 1, 512, false);
    try_attention(b, 1, 1, 1, 1, 8, false);
}

/* Scores so large that e^score overflows: the running maximum must carry them. */
static void large_scores_body(bench *b) {
    problem p = {.n = 1, .h = 1, .width = 200, .c = 3 * 16, .out_h = 1, .out_w = 200, .out_c = 16};
    p.attention = (tt_attention){.heads = 1, .head_dim = 16};
    p.x = random_host(b, p.width * p.c, 0);
    for (int64_t i = 0; i < p.width * p.c; i++) p.x[i] *= 12;
    compare(b, &p, run_attention);
    free_problem(&p);
}

/* ---- the rest
 * --------------------------------------------------------------------------------------- */

static tt_status run_activate(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    return tt_op_activate(ops, p->epilogue.act, x, y, &b->err);
}

static void activate_body(bench *b) {
    for (int act = TT_ACT_NONE; act <= TT_ACT_RELU; act++) {
        problem p = {.n = 1, .h = 3, .width = 5, .c = 11, .out_h = 3, .out_w = 5, .out_c = 11};
        p.epilogue.act = (tt_activation)act;
        p.x = random_host(b, 165, 0);
        for (int i = 0; i < 165; i++) p.x[i] *= 30;
        if (tt_ops_dtype(b->tested) == TT_F32) p.x[0] = -1000, p.x[1] = 1000;
        compare(b, &p, run_activate);
        free_problem(&p);
    }
}

static tt_status run_upsample(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    (void)p;
    return tt_op_upsample(ops, x, y, &b->err);
}

static void upsample_body(bench *b) {
    const float host[6] = {1, 2, 3, 4, 5, 6}; /* 2 x 3 */
    const float expected[15] = {1, 1, 2, 2, 3, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6};
    problem p = {.n = 1, .h = 2, .width = 3, .c = 1, .out_h = 3, .out_w = 5, .out_c = 1};
    p.x = (float *)(uintptr_t)host;
    float *out = run_on(b, b->tested, &p, run_upsample);
    assert_memory_equal(out, expected, sizeof expected);
    tt_free(out);
    const int64_t widths[] = {1, 5, 8, 64};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        p = (problem){.n = 2, .h = 5, .width = 7, .c = widths[i], .out_h = 10, .out_w = 13};
        p.out_c = p.c;
        p.x = random_host(b, p.n * p.h * p.width * p.c, 0);
        compare(b, &p, run_upsample);
        free_problem(&p);
    }
}

static tt_status run_concat(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    tt_tensor second = new_tensor(b, ops, x->n, x->h, x->w, y->c - x->c, p->second);
    tt_status status = tt_op_concat(ops, x, &second, y, &b->err);
    tt_scratch_free(ops, &second);
    return status;
}

static void concat_body(bench *b) {
    const int64_t widths[][2] = {{1, 2}, {8, 16}, {12, 4}, {320, 640}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        problem p = {.n = 2, .h = 3, .width = 5, .c = widths[i][0], .out_h = 3, .out_w = 5};
        p.out_c = p.c + widths[i][1];
        p.x = random_host(b, 30 * p.c, 0);
        p.second = random_host(b, 30 * widths[i][1], 0);
        compare(b, &p, run_concat);
        free_problem(&p);
    }
}

enum { VOCABULARY = 23, POSITIONS = 9 };

/* x is not read: the rows come from the table in w and the positions in `second`. */
static tt_status run_embed(bench *b, tt_ops *ops, problem *p, tt_tensor *x, tt_tensor *y) {
    (void)x;
    int32_t ids[2 * POSITIONS];
    tt_weight *table, *positions;
    for (int i = 0; i < 2 * POSITIONS; i++) ids[i] = i * 5 % VOCABULARY;
    void *plain = as_dtype(ops, p->w, VOCABULARY * p->c),
         *places = as_dtype(ops, p->second, POSITIONS * p->c);
    ok(b, tt_weight_embedding(ops, plain, VOCABULARY, p->c, &table, &b->err));
    ok(b, tt_weight_embedding(ops, places, POSITIONS, p->c, &positions, &b->err));
    tt_status status = tt_op_embed(ops, table, positions, ids, y, &b->err);
    tt_free(plain);
    tt_free(places);
    tt_weight_free(ops, table);
    tt_weight_free(ops, positions);
    return status;
}

static void embed_body(bench *b) {
    problem p = {
        .n = 2, .h = 1, .width = POSITIONS, .c = 13, .out_h = 1, .out_w = POSITIONS, .out_c = 13};
    p.x = random_host(b, 2 * POSITIONS * p.c, 0);
    p.w = random_host(b, VOCABULARY * p.c, 0);
    p.second = random_host(b, POSITIONS * p.c, 0);
    compare(b, &p, run_embed);
    free_problem(&p);
}

/* ---- what only a GPU has: paths that begin at SDXL's widths, and work that runs on after the call --------- */

/* The truth is here the CPU back-end in f32, which the cases above compare with the reference: that one takes minutes. */
static void sdxl_widths_body(bench *b) {
    const tt_ops_options options = {TT_BACKEND_CPU, TT_F32, 0};
    tt_ops_close(b->ref);
    ok(b, tt_ops_open(&options, &b->ref, &b->err));
    try_linear(b, 154, 2048, 640, TT_ACT_NONE, false, false, false);
    try_linear(b, 256, 320, 1280, TT_ACT_NONE, true, true, false);
    try_linear(b, 2, 1280, 1280, TT_ACT_SILU, true, false, false);
    try_gated(b, 64, 640, 2560, TT_ACT_GELU, false);
    try_conv(b, 2, 16, 16, (tt_conv_shape){320, 320, 3, 1, 1, 1, 1, 1}, true);
    try_conv(b, 1, 16, 16, (tt_conv_shape){64, 128, 3, 2, 1, 1, 1, 1}, false);
    try_conv(b, 1, 17, 33, (tt_conv_shape){128, 64, 3, 2, 0, 0, 1, 1}, false);
    try_group_norm(b, 2, 16, 16, 320, 32, true, true, 0);
    try_group_norm(b, 1, 33, 31, 960, 32, true, true, 0);
    try_group_norm(b, 2, 12, 12, 2560, 32, true, false, 0);
    try_attention(b, 2, 256, 0, 5, 64, false);
    try_attention(b, 2, 200, 77, 5, 64, false);
    try_attention(b, 1, 333, 0, 3, 128, true);
    try_attention(b, 1, 600, 0, 1, 512, false);
}

/* The result of one operation is the residual and the place of the next, as in a resnet with a shortcut. */
static tt_status run_residual_in_place(bench *b, tt_ops *ops, problem *p, tt_tensor *x,
                                       tt_tensor *y) {
    tt_weight *w;
    void *plain = as_dtype(ops, p->w, p->c * p->out_c * 9);
    ok(b, tt_weight_conv(ops, plain, p->bias, &p->conv, &w, &b->err));
    tt_free(plain);
    tt_status status = tt_op_conv(ops, w, x, NULL, y, &b->err);
    if (status == TT_OK) status = tt_op_conv(ops, w, x, &(tt_epilogue){.add = y}, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static void residual_in_place_body(bench *b) {
    problem p = {.n = 1, .h = 9, .width = 7, .c = 16, .out_h = 9, .out_w = 7, .out_c = 24};
    p.conv = (tt_conv_shape){24, 16, 3, 1, 1, 1, 1, 1};
    p.x = random_host(b, 63 * p.c, 0);
    p.w = random_host(b, p.c * p.out_c * 9, 0);
    p.bias = random_host(b, p.out_c, 0);
    compare(b, &p, run_residual_in_place);
    free_problem(&p);
}

static void same_from_run_to_run(bench *b, problem *p, op_fn op) {
    float *first = run_on(b, b->tested, p, op), *second = run_on(b, b->tested, p, op);
    assert_memory_equal(first, second,
                        (size_t)(p->n * p->out_h * p->out_w * p->out_c) * sizeof *first);
    tt_free(first);
    tt_free(second);
    free_problem(p);
}

static void repetition_body(bench *b) {
    problem conv = {.n = 2, .h = 32, .width = 32, .c = 320, .out_h = 32, .out_w = 32, .out_c = 64};
    conv.conv = (tt_conv_shape){64, 320, 3, 1, 1, 1, 1, 1};
    conv.x = random_host(b, 2048 * conv.c, 0);
    conv.w = random_host(b, conv.c * conv.out_c * 9, 0);
    same_from_run_to_run(b, &conv, run_conv);
    problem norm = {.n = 2, .h = 64, .width = 64, .c = 320, .out_h = 64, .out_w = 64, .out_c = 320};
    norm.norm = (tt_group_norm){.groups = 32, .eps = 1e-5f, .silu = true};
    norm.x = random_host(b, 8192 * norm.c, 0);
    norm.w = random_host(b, norm.c, 1);
    norm.bias = random_host(b, norm.c, 0);
    same_from_run_to_run(b, &norm, run_group_norm);
    problem linear = {.n = 1, .h = 1, .width = 77, .c = 5120, .out_h = 1, .out_w = 77, .out_c = 64};
    linear.x = random_host(b, 77 * linear.c, 0);
    linear.w = random_host(b, linear.c * linear.out_c, 0);
    same_from_run_to_run(b, &linear, run_linear);
}

/* Times are the GPU's: a product takes longer there than its call. */
static void cuda_measures_its_own_time(void **state) {
    (void)state;
    if (!tt_has_cuda()) skip();
    bench b = open_bench_on(TT_BACKEND_CUDA, TT_BF16, 1);
    tt_ops_times_reset(b.tested);
    problem p = {
        .n = 1, .h = 1, .width = 4096, .c = 1024, .out_h = 1, .out_w = 4096, .out_c = 1024};
    p.x = random_host(&b, p.width * p.c, 0);
    p.w = random_host(&b, p.c * p.out_c, 0);
    tt_free(run_on(&b, b.tested, &p, run_linear));
    const tt_op_time *linear = &tt_ops_times(b.tested)[0];
    assert_string_equal(linear->name, "linear");
    assert_int_equal(linear->calls, 1);
    assert_true(linear->us > 0);
    free_problem(&p);
    close_bench(&b);
}

/* All memory comes back: weights, scratch, request tensors. */
static void cuda_gives_all_memory_back(void **state) {
    (void)state;
    if (!tt_has_cuda()) skip();
    bench b = open_bench_on(TT_BACKEND_CUDA, TT_F32, 1);
    size_t before = tt_ops_memory_left(b.tested);
    assert_true(before > 0);
    tt_tensor t;
    ok(&b, tt_request_tensor_new(b.tested, 1, 1024, 1024, 16, &t, &b.err));
    assert_true(tt_ops_memory_left(b.tested) < before);
    tt_request_tensor_free(b.tested, &t);
    ok(&b, tt_request_tensor_new(b.tested, 1, 1, 1, 1, &t, &b.err));
    tt_request_tensor_free(b.tested, &t);
    size_t most = (size_t)1 << 50;
    assert_int_equal(
        tt_request_tensor_new(b.tested, (int64_t)(most >> 20), 1024, 1024, 1, &t, &b.err),
        TT_E_NOMEM);
    assert_int_equal(tt_ops_weight_bytes(b.tested), 0);
    close_bench(&b);
}

static void cuda_says_why_it_cannot_be_opened(void **state) {
    (void)state;
    tt_ops *ops;
    tt_err err;
    const tt_ops_options options = {TT_BACKEND_CUDA, TT_F32, 1};
    if (tt_ops_open(&options, &ops, &err) == TT_OK) {
        tt_ops_close(ops);
        return; /* here it can */
    }
    assert_null(ops);
    assert_true(strstr(err.message, "CUDA") != NULL || strstr(err.message, "GPU") != NULL ||
                strstr(err.message, "libcublasLt") != NULL);
}

/* The same bytes whatever the number of threads, at sizes where libraries like to split sums. */
static void same_bytes(problem *p, op_fn op, tt_dtype dtype) {
    float *first = NULL;
    for (int threads = 1; threads <= 3; threads++) {
        bench b = open_bench(dtype, threads);
        float *out = run_on(&b, b.tested, p, op);
        size_t bytes = (size_t)(p->n * p->out_h * p->out_w * p->out_c) * sizeof *out;
        if (first) assert_memory_equal(out, first, bytes);
        if (first) tt_free(out);
        if (!first) first = out;
        close_bench(&b);
    }
    tt_free(first);
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    const int64_t sizes[][3] = {
        {2, 1280, 1280}, {77, 2048, 640}, {154, 5120, 320}, {1000, 640, 64}, {5, 2560, 5}};
    const tt_conv_shape convs[] = {{320, 4, 3, 1, 1, 1, 1, 1},
                                   {64, 640, 3, 1, 1, 1, 1, 1},
                                   {4, 320, 3, 1, 1, 1, 1, 1},
                                   {96, 96, 3, 2, 1, 1, 1, 1}};
    for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
        bench b = open_bench(bf16 ? TT_BF16 : TT_F32, 1);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int64_t rows = sizes[i][0], c_in = sizes[i][1], c_out = sizes[i][2];
            problem p = {.n = 1,
                         .h = 1,
                         .width = rows,
                         .c = c_in,
                         .out_h = 1,
                         .out_w = rows,
                         .out_c = c_out};
            p.x = random_host(&b, rows * c_in, 0);
            p.w = random_host(&b, c_in * c_out, 0);
            same_bytes(&p, run_linear, tt_ops_dtype(b.tested));
            free_problem(&p);
        }
        for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
            problem p = {.n = 2, .h = 24, .width = 40, .c = convs[i].c_in, .out_c = convs[i].c_out};
            p.conv = convs[i];
            p.out_h = p.h / p.conv.stride;
            p.out_w = p.width / p.conv.stride;
            p.x = random_host(&b, p.n * p.h * p.width * p.c, 0);
            p.w = random_host(&b, p.c * p.out_c * 9, 0);
            same_bytes(&p, run_conv, tt_ops_dtype(b.tested));
            free_problem(&p);
        }
        close_bench(&b);
    }
}

static void wrong_shapes_get_a_sentence(void **state) {
    (void)state;
    bench b = open_bench(TT_F32, 1);
    float w[6] = {0};
    tt_weight *weight;
    tt_tensor x = {.dtype = TT_F32, .n = 1, .h = 1, .w = 4, .c = 5};
    ok(&b, tt_weight_linear(b.tested, w, NULL, 2, 3, &weight, &b.err));
    assert_int_equal(tt_op_linear(b.tested, weight, &x, NULL, &x, &b.err), TT_E_INTERNAL);
    assert_string_equal(b.err.message, "linear: x is [1, 1, 4, 5], expected [1, 1, 4, 3]");
    tt_weight_free(b.tested, weight);
    close_bench(&b);
}

/* The rehearsal is binding: more than was planned is refused, and nothing is allocated while
 * running. */
static void scratch_refuses_what_was_not_planned(void **state) {
    (void)state;
    bench b = open_bench(TT_F32, 1);
    tt_tensor a, c;
    tt_ops_plan_begin(b.tested);
    ok(&b, tt_scratch_new(b.tested, 1, 1, 1, 100, &a, &b.err));
    tt_scratch_free(b.tested, &a);
    ok(&b, tt_ops_plan_end(b.tested, &b.err));
    assert_true(tt_ops_scratch_bytes(b.tested) >= 400);
    ok(&b, tt_scratch_new(b.tested, 1, 1, 1, 100, &a, &b.err));
    assert_int_equal(tt_scratch_new(b.tested, 1, 1, 1, 100, &c, &b.err), TT_E_NOMEM);
    tt_scratch_reset(b.tested);
    ok(&b, tt_scratch_new(b.tested, 1, 1, 1, 100, &a, &b.err));
    close_bench(&b);
}

static void fail_each_allocation(tt_backend_kind kind) {
    float data[64] = {0};
    for (int n = 0; n < 12; n++) {
        tt_ops *ops = NULL;
        tt_weight *w = NULL;
        tt_err err;
        const tt_ops_options options = {kind, TT_F32, 1};
        tt_alloc_fail_after(n);
        if (tt_ops_open(&options, &ops, &err) == TT_OK) {
            if (tt_weight_linear(ops, data, data, 4, 4, &w, &err) != TT_OK) assert_null(w);
            tt_alloc_fail_after(-1);
            tt_weight_free(ops, w);
            assert_int_equal(tt_ops_weight_bytes(ops), 0);
        }
        tt_alloc_fail_after(-1);
        tt_ops_close(ops);
    }
}

static void failed_allocations_are_errors_not_crashes(void **state) {
    (void)state;
    fail_each_allocation(TT_BACKEND_CPU);
}

static void cuda_failed_allocations_are_errors_not_crashes(void **state) {
    (void)state;
    if (!tt_has_cuda()) skip();
    fail_each_allocation(TT_BACKEND_CUDA);
}

/* An argument chooses cases by a pattern, as in "cuda_*". */
int main(int argc, char **argv) {
    static body_case linear = {linear_body}, conv = {conv_body}, group_norm = {group_norm_body},
                     layer_norm = {layer_norm_body}, attention = {attention_body},
                     large_scores = {large_scores_body}, activations = {activate_body},
                     upsample = {upsample_body}, concat = {concat_body}, embed = {embed_body},
                     residual = {residual_in_place_body}, sdxl_widths = {sdxl_widths_body},
                     repetition = {repetition_body}, gated = {gated_body};
    const struct CMUnitTest tests[] = {
        {"linear_matches_the_reference", on_the_cpu, NULL, NULL, &linear},
        {"gated_units_match_the_reference", on_the_cpu, NULL, NULL, &gated},
        {"conv_matches_the_reference", on_the_cpu, NULL, NULL, &conv},
        {"group_norm_matches_the_reference", on_the_cpu, NULL, NULL, &group_norm},
        {"layer_norm_matches_the_reference", on_the_cpu, NULL, NULL, &layer_norm},
        {"attention_matches_the_reference", on_the_cpu, NULL, NULL, &attention},
        {"attention_survives_large_scores", on_the_cpu, NULL, NULL, &large_scores},
        {"activations_match_the_reference", on_the_cpu, NULL, NULL, &activations},
        {"upsampling_takes_the_nearest_source", on_the_cpu, NULL, NULL, &upsample},
        {"concat_matches_the_reference", on_the_cpu, NULL, NULL, &concat},
        {"embed_matches_the_reference", on_the_cpu, NULL, NULL, &embed},
        {"a_residual_may_be_the_result", on_the_cpu, NULL, NULL, &residual},
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(wrong_shapes_get_a_sentence),
        cmocka_unit_test(scratch_refuses_what_was_not_planned),
        cmocka_unit_test(failed_allocations_are_errors_not_crashes),
        {"cuda_linear_matches_the_reference", on_a_gpu, NULL, NULL, &linear},
        {"cuda_gated_units_match_the_reference", on_a_gpu, NULL, NULL, &gated},
        {"cuda_conv_matches_the_reference", on_a_gpu, NULL, NULL, &conv},
        {"cuda_group_norm_matches_the_reference", on_a_gpu, NULL, NULL, &group_norm},
        {"cuda_layer_norm_matches_the_reference", on_a_gpu, NULL, NULL, &layer_norm},
        {"cuda_attention_matches_the_reference", on_a_gpu, NULL, NULL, &attention},
        {"cuda_attention_survives_large_scores", on_a_gpu, NULL, NULL, &large_scores},
        {"cuda_activations_match_the_reference", on_a_gpu, NULL, NULL, &activations},
        {"cuda_upsampling_takes_the_nearest_source", on_a_gpu, NULL, NULL, &upsample},
        {"cuda_concat_matches_the_reference", on_a_gpu, NULL, NULL, &concat},
        {"cuda_embed_matches_the_reference", on_a_gpu, NULL, NULL, &embed},
        {"cuda_residual_may_be_the_result", on_a_gpu, NULL, NULL, &residual},
        {"cuda_matches_the_reference_at_sdxl_widths", on_a_gpu, NULL, NULL, &sdxl_widths},
        {"cuda_results_do_not_change_from_run_to_run", on_a_gpu, NULL, NULL, &repetition},
        cmocka_unit_test(cuda_measures_its_own_time),
        cmocka_unit_test(cuda_gives_all_memory_back),
        cmocka_unit_test(cuda_failed_allocations_are_errors_not_crashes),
        cmocka_unit_test(cuda_says_why_it_cannot_be_opened),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
