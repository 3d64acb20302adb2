/* See ops_bench.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "support/ops_bench.h"

#include <math.h>

#include "base/alloc.h"
#include "support/cuda.h"

/* Largest error allowed, relative to the largest expected value: f32 sums in another order; bf16
 * keeps 8 bits, and both sides round once. */
static const double F32_TOLERANCE = 2e-5, BF16_TOLERANCE = 1.0 / 128;

static float next_value(tt_bench *b) {
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(b->seed >> 40) / (1 << 23) - 1.0);
}

void tt_bench_ok(tt_bench *b, tt_status status) {
    if (status != TT_OK) print_error("%s\n", b->err.message);
    assert_int_equal(status, TT_OK);
}

tt_bench tt_bench_open_on(tt_backend_kind kind, tt_dtype dtype, int threads) {
    tt_bench b = {.seed = 42};
    const tt_ops_options ref = {TT_BACKEND_REF, dtype, 0}, tested = {kind, dtype, threads};
    tt_bench_ok(&b, tt_ops_open(&ref, &b.ref, &b.err));
    tt_bench_ok(&b, tt_ops_open(&tested, &b.tested, &b.err));
    return b;
}

tt_bench tt_bench_open(tt_dtype dtype, int threads) {
    return tt_bench_open_on(TT_BACKEND_CPU, dtype, threads);
}

void tt_bench_close(tt_bench *b) {
    tt_ops_close(b->ref);
    tt_ops_close(b->tested);
}

/* Random host values, already rounded to dtype so that both sides start equal. */
float *tt_bench_random(tt_bench *b, int64_t count, float offset) {
    float *v = tt_alloc((size_t)count * sizeof *v);
    for (int64_t i = 0; i < count; i++) {
        v[i] = next_value(b) + offset;
        if (tt_ops_dtype(b->tested) == TT_BF16) v[i] = tt_bf16_to_f32(tt_f32_to_bf16(v[i]));
    }
    return v;
}

void *tt_bench_as_dtype(const tt_ops *ops, const float *v, int64_t count) {
    void *out = tt_alloc((size_t)count * 4);
    tt_convert(out, tt_ops_dtype(ops), v, TT_F32, (size_t)count);
    return out;
}

tt_tensor tt_bench_tensor(tt_bench *b, tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c,
                          const float *host) {
    tt_tensor t;
    tt_bench_ok(b, tt_scratch_new(ops, n, h, w, c, &t, &b->err));
    if (host) tt_bench_ok(b, tt_op_upload(ops, host, &t, &b->err));
    return t;
}

static void fill_with_nan(tt_bench *b, tt_ops *ops, tt_tensor *y) {
    int64_t count = tt_tensor_count(y);
    float *host = tt_alloc((size_t)count * sizeof *host);
    for (int64_t i = 0; i < count; i++) host[i] = NAN;
    tt_bench_ok(b, tt_op_upload(ops, host, y, &b->err));
    tt_free(host);
}

float *tt_bench_run(tt_bench *b, tt_ops *ops, tt_problem *p, tt_bench_fn op) {
    int64_t count = p->n * p->out_h * p->out_w * p->out_c;
    float *out = tt_alloc((size_t)count * sizeof *out);
    tt_ops_plan_begin(ops);
    for (int pass = 0; pass < 2; pass++) {
        tt_tensor x = tt_bench_tensor(b, ops, p->n, p->h, p->width, p->c, p->x);
        tt_tensor y = tt_bench_tensor(b, ops, p->n, p->out_h, p->out_w, p->out_c, NULL);
        fill_with_nan(b, ops, &y);
        tt_bench_ok(b, op(b, ops, p, &x, &y));
        if (pass == 1) tt_bench_ok(b, tt_op_download(ops, &y, out, &b->err));
        tt_scratch_free(ops, &x);
        tt_scratch_free(ops, &y);
        if (pass == 0) tt_bench_ok(b, tt_ops_plan_end(ops, &b->err));
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

void tt_bench_compare(tt_bench *b, tt_problem *p, tt_bench_fn op) {
    float *expected = tt_bench_run(b, b->ref, p, op), *found = tt_bench_run(b, b->tested, p, op);
    double tolerance = tt_ops_dtype(b->tested) == TT_F32 ? F32_TOLERANCE : BF16_TOLERANCE;
    double error = largest_error(found, expected, p->n * p->out_h * p->out_w * p->out_c);
    if (error > tolerance)
        print_error("[%d,%d,%d,%d] -> [%d,%d,%d]: error %g\n", (int)p->n, (int)p->h, (int)p->width,
                    (int)p->c, (int)p->out_h, (int)p->out_w, (int)p->out_c, error);
    assert_true(error <= tolerance);
    tt_free(expected);
    tt_free(found);
}

void tt_problem_release(tt_problem *p) {
    tt_free(p->x);
    tt_free(p->second);
    tt_free(p->third);
    tt_free(p->w);
    tt_free(p->bias);
}

static void on_cpu(void (*body)(tt_bench *)) {
    for (int threads = 1; threads <= 3; threads += 2) {
        tt_bench b = tt_bench_open(TT_F32, threads);
        body(&b);
        tt_bench_close(&b);
    }
    if (!tt_cpu_has_bf16()) {
        print_message("no native bf16 here: f32 only\n");
        return;
    }
    tt_bench b = tt_bench_open(TT_BF16, 2);
    body(&b);
    tt_bench_close(&b);
}

static void on_cuda(void (*body)(tt_bench *)) {
    if (!tt_has_cuda()) skip();
    for (int bf16 = 0; bf16 <= 1; bf16++) {
        tt_bench b = tt_bench_open_on(TT_BACKEND_CUDA, bf16 ? TT_BF16 : TT_F32, 1);
        body(&b);
        tt_bench_close(&b);
    }
}

/* The same bytes whatever the number of threads, at sizes where libraries like to split sums. */
void tt_bench_same_bytes(tt_problem *p, tt_bench_fn op, tt_dtype dtype) {
    float *first = NULL;
    for (int threads = 1; threads <= 3; threads++) {
        tt_bench b = tt_bench_open(dtype, threads);
        float *out = tt_bench_run(&b, b.tested, p, op);
        size_t bytes = (size_t)(p->n * p->out_h * p->out_w * p->out_c) * sizeof *out;
        if (first) assert_memory_equal(out, first, bytes);
        if (first) tt_free(out);
        if (!first) first = out;
        tt_bench_close(&b);
    }
    tt_free(first);
}

void tt_bench_fail_each_allocation(tt_backend_kind kind) {
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

void tt_bench_fail_each_of_weight(tt_bench_weight_fn make) {
    enum { SIDE = 4, MOST_PER_PAIR = 9 }; /* a 3x3 kernel */
    const float w[SIDE * SIDE * MOST_PER_PAIR] = {0}, bias[2 * SIDE] = {0};
    for (int bf16 = 0; bf16 <= tt_cpu_has_bf16(); bf16++) {
        tt_bench b = tt_bench_open(bf16 ? TT_BF16 : TT_F32, 1);
        tt_status status = TT_E_NOMEM;
        for (int n = 0; status != TT_OK; n++) {
            tt_weight *weight;
            tt_alloc_fail_after(n);
            status = make(b.tested, w, bias, SIDE, SIDE, &weight, &b.err);
            tt_alloc_fail_after(-1);
            assert_true(status == TT_OK || (status == TT_E_NOMEM && !weight));
            tt_weight_free(b.tested, weight);
            assert_int_equal(tt_ops_weight_bytes(b.tested), 0);
        }
        tt_bench_close(&b);
    }
}

static tt_status with_epilogue(tt_bench *b, tt_ops *ops, tt_problem *p, tt_weight *w, tt_tensor *x,
                               tt_tensor *y) {
    tt_tensor mul = {0}, add = {0};
    tt_epilogue e = {.act = p->epilogue.act};
    if (p->use_mul) mul = tt_bench_tensor(b, ops, y->n, y->h, y->w, y->c, p->second), e.mul = &mul;
    if (p->use_add) add = tt_bench_tensor(b, ops, y->n, y->h, y->w, y->c, p->third), e.add = &add;
    tt_status status = p->conv.kernel ? tt_op_conv(ops, w, x, &e, y, &b->err)
                                      : tt_op_linear(ops, w, x, &e, y, &b->err);
    tt_scratch_free(ops, &mul);
    tt_scratch_free(ops, &add);
    tt_weight_free(ops, w);
    return status;
}

tt_status tt_bench_linear(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    void *plain = tt_bench_as_dtype(ops, p->w, p->c * p->out_c);
    tt_bench_ok(b, tt_weight_linear(ops, plain, p->bias, p->out_c, p->c, &w, &b->err));
    tt_free(plain);
    return with_epilogue(b, ops, p, w, x, y);
}

tt_status tt_bench_conv(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *w;
    void *plain = tt_bench_as_dtype(ops, p->w, p->c * p->out_c * p->conv.kernel * p->conv.kernel);
    tt_bench_ok(b, tt_weight_conv(ops, plain, p->bias, &p->conv, &w, &b->err));
    tt_free(plain);
    return with_epilogue(b, ops, p, w, x, y);
}

void tt_bench_on_cpu(void **state) {
    on_cpu(((const tt_bench_case *)*state)->body);
}

void tt_bench_on_gpu(void **state) {
    on_cuda(((const tt_bench_case *)*state)->body);
}
