/* Every operation of the CPU and CUDA back-ends against the plain C reference: same inputs, awkward sizes, f32 and bf16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "support/cuda.h"
#include "support/ops_bench.h"

/* ---- products
 * --------------------------------------------------------------------------------------- */

static void try_linear(tt_bench *b, int64_t rows, int64_t c_in, int64_t c_out, tt_activation act,
                       bool bias, bool mul, bool add) {
    tt_problem p = {
        .n = 1, .h = 1, .width = rows, .c = c_in, .out_h = 1, .out_w = rows, .out_c = c_out};
    p.epilogue.act = act;
    p.use_mul = mul;
    p.use_add = add;
    p.x = tt_bench_random(b, rows * c_in, 0);
    p.w = tt_bench_random(b, c_in * c_out, 0);
    p.second = tt_bench_random(b, rows * c_out, 0);
    p.third = tt_bench_random(b, rows * c_out, 0);
    p.bias = bias ? tt_bench_random(b, c_out, 0) : NULL;
    tt_bench_compare(b, &p, tt_bench_linear);
    tt_problem_release(&p);
}

static void linear_body(tt_bench *b) {
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
static tt_status run_gated(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_weight *gate_w, *value_w;
    tt_tensor gate = tt_bench_tensor(b, ops, y->n, y->h, y->w, y->c, NULL), copy = {0};
    char *plain = tt_bench_as_dtype(ops, p->w, 2 * p->c * p->out_c);
    size_t half = (size_t)(p->c * p->out_c) * tt_dtype_size(tt_ops_dtype(ops));
    tt_bench_ok(b, tt_weight_linear(ops, plain, p->bias, p->out_c, p->c, &gate_w, &b->err));
    tt_bench_ok(b,
                tt_weight_linear(ops, plain + half, p->second, p->out_c, p->c, &value_w, &b->err));
    tt_free(plain);
    tt_bench_ok(
        b, tt_op_linear(ops, gate_w, x, &(tt_epilogue){.act = p->epilogue.act}, &gate, &b->err));
    tt_epilogue e = {.mul = &gate};
    if (p->use_add) {
        copy = tt_bench_tensor(b, ops, y->n, y->h, y->w, y->c, NULL);
        tt_bench_ok(b, tt_op_activate(ops, TT_ACT_RELU, &gate, &copy, &b->err));
        e.add = &copy;
    }
    tt_status status = tt_op_linear(ops, value_w, x, &e, y, &b->err);
    tt_weight_free(ops, value_w);
    tt_weight_free(ops, gate_w);
    tt_scratch_free(ops, &copy);
    tt_scratch_free(ops, &gate);
    return status;
}

static void try_gated(tt_bench *b, int64_t rows, int64_t c_in, int64_t c_out, tt_activation act,
                      bool read_between) {
    tt_problem p = {
        .n = 1, .h = 1, .width = rows, .c = c_in, .out_h = 1, .out_w = rows, .out_c = c_out};
    p.epilogue.act = act;
    p.use_add = read_between;
    p.x = tt_bench_random(b, rows * c_in, 0);
    p.w = tt_bench_random(b, 2 * c_in * c_out, 0);
    p.bias = tt_bench_random(b, c_out, 0);
    p.second = tt_bench_random(b, c_out, 0);
    tt_bench_compare(b, &p, run_gated);
    tt_problem_release(&p);
}

static void gated_body(tt_bench *b) {
    try_gated(b, 64, 64, 256, TT_ACT_GELU, false);
    try_gated(b, 19, 37, 53, TT_ACT_GELU, false);
    try_gated(b, 33, 40, 24, TT_ACT_SILU, true);
    try_gated(b, 1, 8, 8, TT_ACT_QUICK_GELU, false);
}

static void try_conv(tt_bench *b, int64_t n, int64_t h, int64_t w, tt_conv_shape shape, bool add) {
    tt_problem p = {
        .n = n, .h = h, .width = w, .c = shape.c_in, .out_c = shape.c_out, .conv = shape};
    p.out_h = (h + shape.pad_top + shape.pad_bottom - shape.kernel) / shape.stride + 1;
    p.out_w = (w + shape.pad_left + shape.pad_right - shape.kernel) / shape.stride + 1;
    p.use_add = add;
    p.x = tt_bench_random(b, n * h * w * shape.c_in, 0);
    p.w = tt_bench_random(b, shape.c_in * shape.c_out * shape.kernel * shape.kernel, 0);
    p.third = tt_bench_random(b, n * p.out_h * p.out_w * p.out_c, 0);
    p.bias = tt_bench_random(b, shape.c_out, 0);
    tt_bench_compare(b, &p, tt_bench_conv);
    tt_problem_release(&p);
}

static void conv_body(tt_bench *b) {
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

static tt_status run_group_norm(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                                tt_tensor *y) {
    tt_weight *w;
    tt_tensor add = {0};
    tt_group_norm args = p->norm;
    tt_bench_ok(b, tt_weight_norm(ops, p->w, p->bias, p->c, &w, &b->err));
    if (p->second)
        add = tt_bench_tensor(b, ops, p->n, 1, 1, p->add_width, p->second), args.add = &add;
    tt_status status = tt_op_group_norm(ops, w, &args, x, y, &b->err);
    tt_scratch_free(ops, &add);
    tt_weight_free(ops, w);
    return status;
}

static void try_group_norm(tt_bench *b, int64_t n, int64_t h, int64_t w, int64_t c, int64_t groups,
                           bool silu, bool add, float offset) {
    tt_problem p = {.n = n, .h = h, .width = w, .c = c, .out_h = h, .out_w = w, .out_c = c};
    p.norm =
        (tt_group_norm){.groups = groups, .eps = 1e-5f, .silu = silu, .add_offset = add ? 3 : 0};
    p.add_width = c + 5;
    p.x = tt_bench_random(b, n * h * w * c, offset);
    p.w = tt_bench_random(b, c, 1);
    p.bias = tt_bench_random(b, c, 0);
    p.second = add ? tt_bench_random(b, n * p.add_width, 0) : NULL;
    tt_bench_compare(b, &p, run_group_norm);
    tt_problem_release(&p);
}

static void group_norm_body(tt_bench *b) {
    try_group_norm(b, 2, 8, 8, 64, 32, true, true, 0);
    try_group_norm(b, 1, 1, 1, 2, 1, false, false, 0);
    try_group_norm(b, 2, 7, 9, 6, 2, true, true, 0);
    try_group_norm(b, 1, 30, 31, 96, 32, true, false, 0);
    try_group_norm(b, 1, 24, 24, 40, 8, false, false, 100); /* a common offset: no cancellation */
}

static tt_status run_layer_norm(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                                tt_tensor *y) {
    tt_weight *w;
    tt_bench_ok(b, tt_weight_norm(ops, p->w, p->bias, p->c, &w, &b->err));
    tt_status status = tt_op_layer_norm(ops, w, 1e-5f, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static void layer_norm_body(tt_bench *b) {
    const int64_t widths[] = {1, 4, 16, 37, 64, 100, 640};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        tt_problem p = {.n = 2, .h = 1, .width = 19, .c = widths[i], .out_h = 1, .out_w = 19};
        p.out_c = p.c;
        p.x = tt_bench_random(b, p.n * p.width * p.c, 3);
        p.w = tt_bench_random(b, p.c, 1);
        p.bias = tt_bench_random(b, p.c, 0);
        tt_bench_compare(b, &p, run_layer_norm);
        tt_problem_release(&p);
    }
}

/* ---- attention
 * -------------------------------------------------------------------------------------- */

/* q, k and v lie in one projection when keys is zero (self-attention), else k and v in another. */
static tt_status run_attention(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                               tt_tensor *y) {
    tt_tensor kv = {0};
    tt_attention a = p->attention;
    int64_t width = a.heads * a.head_dim;
    a.q = a.k = a.v = x;
    a.k_offset = width;
    a.v_offset = 2 * width;
    if (p->keys) {
        kv = tt_bench_tensor(b, ops, p->n, 1, p->keys, 2 * width, p->second);
        a.k = a.v = &kv;
        a.k_offset = 0;
        a.v_offset = width;
    }
    tt_status status = tt_op_attention(ops, &a, y, &b->err);
    tt_scratch_free(ops, &kv);
    return status;
}

static void try_attention(tt_bench *b, int64_t n, int64_t queries, int64_t keys, int64_t heads,
                          int64_t head_dim, bool causal) {
    int64_t width = heads * head_dim;
    tt_problem p = {.n = n, .h = 1, .width = queries, .c = keys ? width : 3 * width, .keys = keys};
    p.out_h = 1;
    p.out_w = queries;
    p.out_c = width;
    p.attention = (tt_attention){.heads = heads, .head_dim = head_dim, .causal = causal};
    p.x = tt_bench_random(b, n * queries * p.c, 0);
    for (int64_t i = 0; i < n * queries * p.c; i++) p.x[i] *= 4; /* scores large enough to matter */
    p.second = keys ? tt_bench_random(b, n * keys * 2 * width, 0) : NULL;
    tt_bench_compare(b, &p, run_attention);
    tt_problem_release(&p);
}

static void attention_body(tt_bench *b) {
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
static void large_scores_body(tt_bench *b) {
    tt_problem p = {
        .n = 1, .h = 1, .width = 200, .c = 3 * 16, .out_h = 1, .out_w = 200, .out_c = 16};
    p.attention = (tt_attention){.heads = 1, .head_dim = 16};
    p.x = tt_bench_random(b, p.width * p.c, 0);
    for (int64_t i = 0; i < p.width * p.c; i++) p.x[i] *= 12;
    tt_bench_compare(b, &p, run_attention);
    tt_problem_release(&p);
}

/* ---- the rest
 * --------------------------------------------------------------------------------------- */

static tt_status run_activate(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    return tt_op_activate(ops, p->epilogue.act, x, y, &b->err);
}

static void activate_body(tt_bench *b) {
    for (int act = TT_ACT_NONE; act <= TT_ACT_RELU; act++) {
        tt_problem p = {.n = 1, .h = 3, .width = 5, .c = 11, .out_h = 3, .out_w = 5, .out_c = 11};
        p.epilogue.act = (tt_activation)act;
        p.x = tt_bench_random(b, 165, 0);
        for (int i = 0; i < 165; i++) p.x[i] *= 30;
        if (tt_ops_dtype(b->tested) == TT_F32) p.x[0] = -1000, p.x[1] = 1000;
        tt_bench_compare(b, &p, run_activate);
        tt_problem_release(&p);
    }
}

static tt_status run_upsample(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    (void)p;
    return tt_op_upsample(ops, x, y, &b->err);
}

static void upsample_body(tt_bench *b) {
    const float host[6] = {1, 2, 3, 4, 5, 6}; /* 2 x 3 */
    const float expected[15] = {1, 1, 2, 2, 3, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6};
    tt_problem p = {.n = 1, .h = 2, .width = 3, .c = 1, .out_h = 3, .out_w = 5, .out_c = 1};
    p.x = (float *)(uintptr_t)host;
    float *out = tt_bench_run(b, b->tested, &p, run_upsample);
    assert_memory_equal(out, expected, sizeof expected);
    tt_free(out);
    const int64_t widths[] = {1, 5, 8, 64};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        p = (tt_problem){.n = 2, .h = 5, .width = 7, .c = widths[i], .out_h = 10, .out_w = 13};
        p.out_c = p.c;
        p.x = tt_bench_random(b, p.n * p.h * p.width * p.c, 0);
        tt_bench_compare(b, &p, run_upsample);
        tt_problem_release(&p);
    }
}

static tt_status run_upsample_conv(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                                   tt_tensor *y) {
    tt_weight *w;
    tt_bench_ok(b, tt_weight_upsample_conv(ops, p->w, p->bias, p->out_c, p->c, &w, &b->err));
    tt_status status = tt_op_upsample_conv(ops, w, x, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static void upsample_conv_body(tt_bench *b) {
    const int64_t sizes[][5] = {/* n, h, w, c_in, c_out */
                                {1, 1, 1, 1, 1},    {2, 5, 7, 3, 6},    {1, 17, 16, 64, 96},
                                {1, 4, 33, 37, 20}, {2, 16, 9, 96, 32}, {1, 40, 3, 33, 65}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tt_problem p = {.n = sizes[i][0],
                        .h = sizes[i][1],
                        .width = sizes[i][2],
                        .c = sizes[i][3],
                        .out_c = sizes[i][4]};
        p.out_h = 2 * p.h;
        p.out_w = 2 * p.width;
        p.x = tt_bench_random(b, p.n * p.h * p.width * p.c, 0);
        p.w = tt_bench_random(b, p.c * p.out_c * 9, 0);
        p.bias = i % 2 ? tt_bench_random(b, p.out_c, 0) : NULL;
        tt_bench_compare(b, &p, run_upsample_conv);
        tt_problem_release(&p);
    }
}

static tt_status run_concat(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    tt_tensor second = tt_bench_tensor(b, ops, x->n, x->h, x->w, y->c - x->c, p->second);
    tt_status status = tt_op_concat(ops, x, &second, y, &b->err);
    tt_scratch_free(ops, &second);
    return status;
}

static void concat_body(tt_bench *b) {
    const int64_t widths[][2] = {{1, 2}, {8, 16}, {12, 4}, {320, 640}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        tt_problem p = {.n = 2, .h = 3, .width = 5, .c = widths[i][0], .out_h = 3, .out_w = 5};
        p.out_c = p.c + widths[i][1];
        p.x = tt_bench_random(b, 30 * p.c, 0);
        p.second = tt_bench_random(b, 30 * widths[i][1], 0);
        tt_bench_compare(b, &p, run_concat);
        tt_problem_release(&p);
    }
}

enum { VOCABULARY = 23, POSITIONS = 9 };

/* x is not read: the rows come from the table in w and the positions in `second`. */
static tt_status run_embed(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y) {
    (void)x;
    int32_t ids[2 * POSITIONS];
    tt_weight *table, *positions;
    for (int i = 0; i < 2 * POSITIONS; i++) ids[i] = i * 5 % VOCABULARY;
    void *plain = tt_bench_as_dtype(ops, p->w, VOCABULARY * p->c),
         *places = tt_bench_as_dtype(ops, p->second, POSITIONS * p->c);
    tt_bench_ok(b, tt_weight_embedding(ops, plain, VOCABULARY, p->c, &table, &b->err));
    tt_bench_ok(b, tt_weight_embedding(ops, places, POSITIONS, p->c, &positions, &b->err));
    tt_status status = tt_op_embed(ops, table, positions, ids, y, &b->err);
    tt_free(plain);
    tt_free(places);
    tt_weight_free(ops, table);
    tt_weight_free(ops, positions);
    return status;
}

static void embed_body(tt_bench *b) {
    tt_problem p = {
        .n = 2, .h = 1, .width = POSITIONS, .c = 13, .out_h = 1, .out_w = POSITIONS, .out_c = 13};
    p.x = tt_bench_random(b, 2 * POSITIONS * p.c, 0);
    p.w = tt_bench_random(b, VOCABULARY * p.c, 0);
    p.second = tt_bench_random(b, POSITIONS * p.c, 0);
    tt_bench_compare(b, &p, run_embed);
    tt_problem_release(&p);
}

/* ---- what only a GPU has: paths that begin at SDXL's widths, and work that runs on after the call --------- */

/* The truth is here the CPU back-end in f32, which the cases above compare with the reference: that one takes minutes. */
static void sdxl_widths_body(tt_bench *b) {
    const tt_ops_options options = {TT_BACKEND_CPU, TT_F32, 0};
    tt_ops_close(b->ref);
    tt_bench_ok(b, tt_ops_open(&options, &b->ref, &b->err));
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
static tt_status run_residual_in_place(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                                       tt_tensor *y) {
    tt_weight *w;
    void *plain = tt_bench_as_dtype(ops, p->w, p->c * p->out_c * 9);
    tt_bench_ok(b, tt_weight_conv(ops, plain, p->bias, &p->conv, &w, &b->err));
    tt_free(plain);
    tt_status status = tt_op_conv(ops, w, x, NULL, y, &b->err);
    if (status == TT_OK) status = tt_op_conv(ops, w, x, &(tt_epilogue){.add = y}, y, &b->err);
    tt_weight_free(ops, w);
    return status;
}

static void residual_in_place_body(tt_bench *b) {
    tt_problem p = {.n = 1, .h = 9, .width = 7, .c = 16, .out_h = 9, .out_w = 7, .out_c = 24};
    p.conv = (tt_conv_shape){24, 16, 3, 1, 1, 1, 1, 1};
    p.x = tt_bench_random(b, 63 * p.c, 0);
    p.w = tt_bench_random(b, p.c * p.out_c * 9, 0);
    p.bias = tt_bench_random(b, p.out_c, 0);
    tt_bench_compare(b, &p, run_residual_in_place);
    tt_problem_release(&p);
}

static void same_from_run_to_run(tt_bench *b, tt_problem *p, tt_bench_fn op) {
    float *first = tt_bench_run(b, b->tested, p, op), *second = tt_bench_run(b, b->tested, p, op);
    assert_memory_equal(first, second,
                        (size_t)(p->n * p->out_h * p->out_w * p->out_c) * sizeof *first);
    tt_free(first);
    tt_free(second);
    tt_problem_release(p);
}

static void repetition_body(tt_bench *b) {
    tt_problem conv = {
        .n = 2, .h = 32, .width = 32, .c = 320, .out_h = 32, .out_w = 32, .out_c = 64};
    conv.conv = (tt_conv_shape){64, 320, 3, 1, 1, 1, 1, 1};
    conv.x = tt_bench_random(b, 2048 * conv.c, 0);
    conv.w = tt_bench_random(b, conv.c * conv.out_c * 9, 0);
    same_from_run_to_run(b, &conv, tt_bench_conv);
    tt_problem norm = {
        .n = 2, .h = 64, .width = 64, .c = 320, .out_h = 64, .out_w = 64, .out_c = 320};
    norm.norm = (tt_group_norm){.groups = 32, .eps = 1e-5f, .silu = true};
    norm.x = tt_bench_random(b, 8192 * norm.c, 0);
    norm.w = tt_bench_random(b, norm.c, 1);
    norm.bias = tt_bench_random(b, norm.c, 0);
    same_from_run_to_run(b, &norm, run_group_norm);
    tt_problem linear = {
        .n = 1, .h = 1, .width = 77, .c = 5120, .out_h = 1, .out_w = 77, .out_c = 64};
    linear.x = tt_bench_random(b, 77 * linear.c, 0);
    linear.w = tt_bench_random(b, linear.c * linear.out_c, 0);
    same_from_run_to_run(b, &linear, tt_bench_linear);
}

/* Times are the GPU's: a product takes longer there than its call. */
static void cuda_measures_its_own_time(void **state) {
    (void)state;
    if (!tt_has_cuda()) skip();
    tt_bench b = tt_bench_open_on(TT_BACKEND_CUDA, TT_BF16, 1);
    tt_ops_times_reset(b.tested);
    tt_problem p = {
        .n = 1, .h = 1, .width = 4096, .c = 1024, .out_h = 1, .out_w = 4096, .out_c = 1024};
    p.x = tt_bench_random(&b, p.width * p.c, 0);
    p.w = tt_bench_random(&b, p.c * p.out_c, 0);
    tt_free(tt_bench_run(&b, b.tested, &p, tt_bench_linear));
    const tt_op_time *linear = &tt_ops_times(b.tested)[0];
    assert_string_equal(linear->name, "linear");
    assert_int_equal(linear->calls, 1);
    assert_true(linear->us > 0);
    tt_problem_release(&p);
    tt_bench_close(&b);
}

/* All memory comes back: weights, scratch, request tensors. */
static void cuda_gives_all_memory_back(void **state) {
    (void)state;
    if (!tt_has_cuda()) skip();
    tt_bench b = tt_bench_open_on(TT_BACKEND_CUDA, TT_F32, 1);
    size_t before = tt_ops_memory_left(b.tested);
    assert_true(before > 0);
    tt_tensor t;
    tt_bench_ok(&b, tt_request_tensor_new(b.tested, 1, 1024, 1024, 16, &t, &b.err));
    assert_true(tt_ops_memory_left(b.tested) < before);
    tt_request_tensor_free(b.tested, &t);
    tt_bench_ok(&b, tt_request_tensor_new(b.tested, 1, 1, 1, 1, &t, &b.err));
    tt_request_tensor_free(b.tested, &t);
    size_t most = (size_t)1 << 50;
    assert_int_equal(
        tt_request_tensor_new(b.tested, (int64_t)(most >> 20), 1024, 1024, 1, &t, &b.err),
        TT_E_NOMEM);
    assert_int_equal(tt_ops_weight_bytes(b.tested), 0);
    tt_bench_close(&b);
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

static void cuda_failed_allocations_are_errors_not_crashes(void **state) {
    (void)state;
    if (!tt_has_cuda()) skip();
    tt_bench_fail_each_allocation(TT_BACKEND_CUDA);
}

/* An argument chooses cases by a pattern, as in "cuda_*". */
int main(int argc, char **argv) {
    static tt_bench_case linear = {linear_body}, conv = {conv_body}, group_norm = {group_norm_body},
                         layer_norm = {layer_norm_body}, attention = {attention_body},
                         large_scores = {large_scores_body}, activations = {activate_body},
                         upsample = {upsample_body}, concat = {concat_body}, embed = {embed_body},
                         residual = {residual_in_place_body}, sdxl_widths = {sdxl_widths_body},
                         repetition = {repetition_body}, gated = {gated_body},
                         upsample_conv = {upsample_conv_body};
    const struct CMUnitTest tests[] = {
        {"linear_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &linear},
        {"gated_units_match_the_reference", tt_bench_on_cpu, NULL, NULL, &gated},
        {"conv_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &conv},
        {"group_norm_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &group_norm},
        {"layer_norm_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &layer_norm},
        {"attention_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &attention},
        {"attention_survives_large_scores", tt_bench_on_cpu, NULL, NULL, &large_scores},
        {"activations_match_the_reference", tt_bench_on_cpu, NULL, NULL, &activations},
        {"upsampling_takes_the_nearest_source", tt_bench_on_cpu, NULL, NULL, &upsample},
        {"upsampling_convolutions_match_the_reference", tt_bench_on_cpu, NULL, NULL,
         &upsample_conv},
        {"concat_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &concat},
        {"embed_matches_the_reference", tt_bench_on_cpu, NULL, NULL, &embed},
        {"a_residual_may_be_the_result", tt_bench_on_cpu, NULL, NULL, &residual},

        {"cuda_linear_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &linear},
        {"cuda_gated_units_match_the_reference", tt_bench_on_gpu, NULL, NULL, &gated},
        {"cuda_conv_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &conv},
        {"cuda_group_norm_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &group_norm},
        {"cuda_layer_norm_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &layer_norm},
        {"cuda_attention_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &attention},
        {"cuda_attention_survives_large_scores", tt_bench_on_gpu, NULL, NULL, &large_scores},
        {"cuda_activations_match_the_reference", tt_bench_on_gpu, NULL, NULL, &activations},
        {"cuda_upsampling_takes_the_nearest_source", tt_bench_on_gpu, NULL, NULL, &upsample},
        {"cuda_upsampling_convolutions_match_the_reference", tt_bench_on_gpu, NULL, NULL,
         &upsample_conv},
        {"cuda_concat_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &concat},
        {"cuda_embed_matches_the_reference", tt_bench_on_gpu, NULL, NULL, &embed},
        {"cuda_residual_may_be_the_result", tt_bench_on_gpu, NULL, NULL, &residual},
        {"cuda_matches_the_reference_at_sdxl_widths", tt_bench_on_gpu, NULL, NULL, &sdxl_widths},
        {"cuda_results_do_not_change_from_run_to_run", tt_bench_on_gpu, NULL, NULL, &repetition},
        cmocka_unit_test(cuda_measures_its_own_time),
        cmocka_unit_test(cuda_gives_all_memory_back),
        cmocka_unit_test(cuda_failed_allocations_are_errors_not_crashes),
        cmocka_unit_test(cuda_says_why_it_cannot_be_opened),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
