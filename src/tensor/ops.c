/* The front of every operation: checks that shapes fit, so that back-ends may assume it, and
 * dispatches. A check that fails here is a programming error of a network or a model whose tensors
 * contradict each other; both get a sentence with the two shapes. */
#include "tensor/ops.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/cpus.h"
#include "tensor/backend.h"
#include "tensor/int8.h"

enum { MAX_THREADS = 256 }; /* more never helped a picture; bounds the per-thread scratch */

static int available_threads(void) {
    int n = tt_cpu_count();
    return n > MAX_THREADS ? MAX_THREADS : n;
}

static const tt_backend *backend_of(tt_backend_kind kind) {
    switch (kind) {
    case TT_BACKEND_REF:
        return &tt__backend_ref;
    case TT_BACKEND_CPU:
        return &tt__backend_cpu;
    case TT_BACKEND_CUDA:
        return &tt__backend_cuda;
    }
    return &tt__backend_cpu;
}

static void name_times(tt_ops *ops) {
    static const char *const names[TT_OP_KINDS] = {
        "linear",   "conv",   "group norm", "layer norm", "attention", "embed",
        "upsample", "concat", "activate",   "upload",     "download"};
    for (int i = 0; i < TT_OP_KINDS; i++) ops->times[i] = (tt_op_time){.name = names[i]};
}

/* ---- memory: the back-end's, or the heap
 * ------------------------------------------------------------ */

void *tt__alloc(tt_ops *ops, size_t size_bytes) {
    return ops->backend->alloc ? ops->backend->alloc(ops, size_bytes)
                               : tt_alloc_aligned(size_bytes);
}

void tt__release(tt_ops *ops, void *p) {
    if (ops->backend->release)
        ops->backend->release(ops, p);
    else
        tt_free(p);
}

void *tt__alloc_weight(tt_ops *ops, size_t size_bytes) {
    void *p = tt_spare_take(&ops->spare, size_bytes);
    return p ? p : tt__alloc(ops, size_bytes);
}

/* oneDNN's blocks are its own matter, and so are those in a back-end's memory. */
static void release_data(tt_ops *ops, const tt_weight *w) {
    size_t bias = w->bias ? (size_t)w->n_out * sizeof *w->bias : 0;
    size_t scales = w->scales ? (size_t)w->n_out * (sizeof *w->scales + sizeof *w->sums) : 0;
    bool may_stay = !w->packed && !ops->backend->release;
    if (may_stay && tt_spare_put(&ops->spare, w->data, w->size_bytes - bias - scales)) return;
    tt__release(ops, w->data);
}

void tt_ops_recycle_begin(tt_ops *ops) {
    tt_spare_begin(&ops->spare);
}

void tt_ops_recycle_end(tt_ops *ops) {
    tt_spare_end(&ops->spare);
}

static tt_status put(tt_ops *ops, void *to, const void *from, size_t size_bytes, tt_err *err) {
    if (ops->backend->put) return ops->backend->put(ops, to, from, size_bytes, err);
    memcpy(to, from, size_bytes);
    return TT_OK;
}

static void *alloc_block(void *ops, size_t size_bytes) {
    return tt__alloc(ops, size_bytes);
}

static void release_block(void *ops, void *block) {
    tt__release(ops, block);
}

size_t tt_ops_memory_left(tt_ops *ops) {
    return ops->backend->memory_left ? ops->backend->memory_left(ops) : 0;
}

tt_status tt_ops_open(const tt_ops_options *options, tt_ops **out, tt_err *err) {
    *out = NULL;
    if (options->dtype != TT_F32 && options->dtype != TT_BF16)
        return tt_fail(err, TT_E_UNSUPPORTED, "compute type %s: expected F32 or BF16",
                       tt_dtype_name(options->dtype));
    if (options->n_threads < 0 || options->n_threads > MAX_THREADS)
        return tt_fail(err, TT_E_INVALID, "threads: expected 0 to %d, found %d", MAX_THREADS,
                       options->n_threads);
    tt_ops *ops = tt_alloc(sizeof *ops);
    if (!ops) return tt_fail_nomem(err, "the compute back-end", sizeof *ops);
    ops->backend = backend_of(options->backend);
    ops->dtype = options->dtype;
    tt_spare_init(&ops->spare);
    name_times(ops);
    ops->n_threads = options->n_threads ? options->n_threads : available_threads();
    if (ops->backend->alloc)
        ops->scratch.source =
            (tt_scratch_source){.context = ops, .alloc = alloc_block, .release = release_block};
    tt_status status = ops->backend->open(ops, err);
    if (status != TT_OK) {
        tt_spare_release(&ops->spare);
        tt_free(ops);
        return status;
    }
    *out = ops;
    return TT_OK;
}

void tt_ops_close(tt_ops *ops) {
    if (!ops) return;
    tt_spare_release(&ops->spare);
    tt_scratch_release(&ops->scratch); /* first: the block may be the back-end's */
    ops->backend->close(ops);
    tt_free(ops);
}

tt_dtype tt_ops_dtype(const tt_ops *ops) {
    return ops->dtype;
}
int tt_ops_threads(const tt_ops *ops) {
    return ops->n_threads;
}
size_t tt_ops_weight_bytes(const tt_ops *ops) {
    return ops->weight_bytes;
}
size_t tt_ops_scratch_bytes(const tt_ops *ops) {
    return ops->scratch.capacity;
}

/* ---- scratch
 * ---------------------------------------------------------------------------------------- */

void tt_ops_begin(tt_ops *ops) {
    if (ops->backend->begin) ops->backend->begin(ops);
}

void tt_ops_plan_begin(tt_ops *ops) {
    tt_ops_begin(ops);
    tt_scratch_measure(&ops->scratch);
}

tt_status tt_ops_plan_end(tt_ops *ops, tt_err *err) {
    return tt_scratch_make(&ops->scratch, err);
}

size_t tt_ops_planned_bytes(const tt_ops *ops) {
    return ops->scratch.peak;
}

tt_status tt_ops_prepare(tt_ops *ops, tt_err *err) {
    return ops->backend->prepare ? ops->backend->prepare(ops, err) : TT_OK;
}

bool tt_ops_is_planning(const tt_ops *ops) {
    return ops->scratch.measuring;
}

/* Fills in the shape; *bytes is its size, or the shape is refused. */
static tt_status shape_tensor(const tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c,
                              tt_tensor *out, size_t *bytes, tt_err *err) {
    int64_t count = 0;
    *out = (tt_tensor){.dtype = ops->dtype, .n = n, .h = h, .w = w, .c = c};
    if (n < 1 || h < 1 || w < 1 || c < 1 || !tt_mul_i64(n, h, &count) ||
        !tt_mul_i64(count, w, &count) || !tt_mul_i64(count, c, &count) || count > INT64_MAX / 8)
        return tt_fail(err, TT_E_INVALID, "tensor [%lld, %lld, %lld, %lld]: not a possible size",
                       (long long)n, (long long)h, (long long)w, (long long)c);
    *bytes = (size_t)count * tt_dtype_size(ops->dtype);
    return TT_OK;
}

tt_status tt_scratch_new(tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c, tt_tensor *out,
                         tt_err *err) {
    size_t bytes;
    TT_TRY(shape_tensor(ops, n, h, w, c, out, &bytes, err));
    return tt_scratch_take(&ops->scratch, bytes, &out->data, err);
}

tt_status tt_request_tensor_new(tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c,
                                tt_tensor *out, tt_err *err) {
    size_t bytes;
    TT_TRY(shape_tensor(ops, n, h, w, c, out, &bytes, err));
    out->data = tt__alloc(ops, bytes);
    return out->data ? TT_OK : tt_fail_nomem(err, "a tensor", bytes);
}

void tt_request_tensor_free(tt_ops *ops, tt_tensor *t) {
    tt__release(ops, t->data);
    t->data = NULL;
}

void tt_scratch_free(tt_ops *ops, tt_tensor *t) {
    if (t->data) tt_scratch_give(&ops->scratch, t->data);
    t->data = NULL;
}

void tt_scratch_reset(tt_ops *ops) {
    ops->scratch.n_pieces = 0;
    ops->scratch.measuring = false;
}

/* ---- weights
 * ---------------------------------------------------------------------------------------- */

tt_status tt__weight_copy(tt_ops *ops, tt_weight *w, const void *data, size_t count, size_t size,
                          tt_err *err) {
    size_t bytes = 0;
    if (!tt_mul_size(count, size, &bytes)) return tt_fail_nomem(err, "a weight", SIZE_MAX);
    w->data = tt__alloc_weight(ops, bytes);
    if (!w->data) return tt_fail_nomem(err, "a weight", bytes);
    TT_TRY(put(ops, w->data, data, bytes, err));
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    return TT_OK;
}

static tt_status copy_bias(tt_ops *ops, tt_weight *w, const float *bias, tt_err *err) {
    if (!bias) return TT_OK;
    size_t bytes = (size_t)w->n_out * sizeof *bias;
    w->bias = tt__alloc(ops, bytes);
    if (!w->bias) return tt_fail_nomem(err, "a bias", bytes);
    TT_TRY(put(ops, w->bias, bias, bytes, err));
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    return TT_OK;
}

static tt_status new_weight(tt_ops *ops, tt_weight_kind kind, int64_t n_out, int64_t n_in,
                            const float *bias, tt_weight **out, tt_err *err) {
    *out = NULL;
    if (n_out < 1 || n_in < 1)
        return tt_fail(err, TT_E_INVALID, "weight [%lld, %lld]: not a possible size",
                       (long long)n_out, (long long)n_in);
    tt_weight *w = tt_alloc(sizeof *w);
    if (!w) return tt_fail_nomem(err, "a weight", sizeof *w);
    *w = (tt_weight){.kind = kind, .n_out = n_out, .n_in = n_in};
    tt_status status = copy_bias(ops, w, bias, err);
    if (status == TT_OK)
        *out = w;
    else
        tt_weight_free(ops, w);
    return status;
}

/* Keeps *out NULL unless packing succeeded. */
static tt_status finish_weight(tt_ops *ops, tt_status status, tt_weight **out) {
    if (status == TT_OK) return TT_OK;
    tt_weight_free(ops, *out);
    *out = NULL;
    return status;
}

static tt_status check_conv(const tt_conv_shape *shape, tt_err *err) {
    if ((shape->kernel == 1 || shape->kernel == 3) && shape->stride >= 1 && shape->stride <= 2)
        return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED, "convolution %dx%d stride %d: expected 1 or 3, 1 or 2",
                   shape->kernel, shape->kernel, shape->stride);
}

tt_status tt_ops_allow_int8(tt_ops *ops, tt_err *err) {
    if (!ops->backend->allow_int8)
        return tt_fail(err, TT_E_UNSUPPORTED, "int8 on device %s: expected the CPU",
                       ops->backend->name);
    if (ops->dtype != TT_BF16)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "int8 weights beside activations of %s: expected BF16",
                       tt_dtype_name(ops->dtype));
    TT_TRY(ops->backend->allow_int8(ops, err));
    ops->has_int8 = true;
    return TT_OK;
}

bool tt_ops_has_int8(const tt_ops *ops) {
    return ops->has_int8;
}

static tt_status add_scales(tt_ops *ops, tt_weight *w, tt_err *err) {
    size_t bytes = (size_t)w->n_out * (sizeof *w->scales + sizeof *w->sums);
    w->scales = tt__alloc(ops, bytes);
    if (!w->scales) return tt_fail_nomem(err, "a weight's scales", bytes);
    w->sums = (int32_t *)(void *)(w->scales + w->n_out);
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    return TT_OK;
}

static tt_status pack_int8(tt_ops *ops, tt_weight *w, const float *plain, tt_err *err) {
    int64_t taps = w->kind == TT_WEIGHT_CONV ? (int64_t)w->conv.kernel * w->conv.kernel : 1;
    if (!ops->has_int8 || w->n_in > TT_INT8_MAX_INPUTS / taps)
        return tt_fail(err, TT_E_INTERNAL, "int8 weight of %lld inputs: expected at most %lld",
                       (long long)w->n_in,
                       ops->has_int8 ? (long long)(TT_INT8_MAX_INPUTS / taps) : 0LL);
    TT_TRY(add_scales(ops, w, err));
    return ops->backend->pack_int8(ops, w, plain, err);
}

tt_status tt__weight_linear(tt_ops *ops, const tt__linear *l, tt_weight **out, tt_err *err) {
    TT_TRY(new_weight(ops, TT_WEIGHT_LINEAR, l->n_out, l->n_in, l->bias, out, err));
    (*out)->n_gated = l->n_gated;
    tt_status status = l->is_int8 ? pack_int8(ops, *out, l->w, err)
                                  : ops->backend->pack_linear(ops, *out, l->w, err);
    return finish_weight(ops, status, out);
}

tt_status tt_weight_linear(tt_ops *ops, const void *w, const float *bias, int64_t n_out,
                           int64_t n_in, tt_weight **out, tt_err *err) {
    return tt__weight_linear(ops, &(tt__linear){w, bias, n_out, n_in, 0, false}, out, err);
}

tt_status tt_weight_linear_int8(tt_ops *ops, const float *w, const float *bias, int64_t n_out,
                                int64_t n_in, tt_weight **out, tt_err *err) {
    return tt__weight_linear(ops, &(tt__linear){w, bias, n_out, n_in, 0, true}, out, err);
}

tt_status tt__weight_conv(tt_ops *ops, const void *w, const float *bias, const tt_conv_shape *shape,
                          bool is_int8, tt_weight **out, tt_err *err) {
    TT_TRY(new_weight(ops, TT_WEIGHT_CONV, shape->c_out, shape->c_in, bias, out, err));
    (*out)->conv = *shape;
    tt_status status =
        is_int8 ? pack_int8(ops, *out, w, err) : ops->backend->pack_conv(ops, *out, w, err);
    return finish_weight(ops, status, out);
}

tt_status tt_weight_conv(tt_ops *ops, const void *w, const float *bias, const tt_conv_shape *shape,
                         tt_weight **out, tt_err *err) {
    *out = NULL;
    TT_TRY(check_conv(shape, err));
    return tt__weight_conv(ops, w, bias, shape, false, out, err);
}

tt_status tt_weight_conv_int8(tt_ops *ops, const float *w, const float *bias,
                              const tt_conv_shape *shape, tt_weight **out, tt_err *err) {
    *out = NULL;
    TT_TRY(check_conv(shape, err));
    return tt__weight_conv(ops, w, bias, shape, true, out, err);
}

tt_status tt_weight_norm(tt_ops *ops, const float *gamma, const float *beta, int64_t c,
                         tt_weight **out, tt_err *err) {
    TT_TRY(new_weight(ops, TT_WEIGHT_NORM, c, 1, beta, out, err));
    return finish_weight(ops, tt__weight_copy(ops, *out, gamma, (size_t)c, sizeof *gamma, err),
                         out);
}

tt_status tt_weight_embedding(tt_ops *ops, const void *table, int64_t rows, int64_t c,
                              tt_weight **out, tt_err *err) {
    TT_TRY(new_weight(ops, TT_WEIGHT_EMBEDDING, c, rows, NULL, out, err));
    return finish_weight(
        ops, tt__weight_copy(ops, *out, table, (size_t)(rows * c), tt_dtype_size(ops->dtype), err),
        out);
}

void tt_weight_free(tt_ops *ops, tt_weight *w) {
    if (!w) return;
    for (int i = 0; i < TT__PARTS; i++) tt_weight_free(ops, w->parts[i]);
    release_data(ops, w);
    if (ops->backend->unpack) ops->backend->unpack(ops, w);
    ops->weight_bytes -= w->size_bytes;
    tt__release(ops, w->bias);
    tt__release(ops, w->scales);
    tt_free(w);
}

int64_t tt_weight_rows(const tt_weight *w) {
    if (w->n_gated) return w->n_gated;
    return w->kind == TT_WEIGHT_EMBEDDING ? w->n_in : w->n_out;
}

int64_t tt_weight_columns(const tt_weight *w) {
    return w->kind == TT_WEIGHT_EMBEDDING ? w->n_out : w->n_in;
}

/* ---- operations
 * ------------------------------------------------------------------------------------- */

typedef enum op_kind {
    OP_LINEAR,
    OP_CONV,
    OP_GROUP_NORM,
    OP_LAYER_NORM,
    OP_ATTENTION,
    OP_EMBED,
    OP_UPSAMPLE,
    OP_CONCAT,
    OP_ACTIVATE,
    OP_UPLOAD,
    OP_DOWNLOAD,
} op_kind;

void tt_ops_times_reset(tt_ops *ops) {
    if (ops->backend->settle) ops->backend->settle(ops);
    name_times(ops);
    ops->is_timed = true;
}

const tt_op_time *tt_ops_times(const tt_ops *ops) {
    if (ops->backend->settle) ops->backend->settle((tt_ops *)(uintptr_t)ops);
    return ops->times;
}

static bool uses_marks(const tt_ops *ops) {
    return ops->backend->mark && ops->is_timed && !ops->scratch.measuring;
}

/* Before an operation; what it returns goes to timed(). */
static int64_t start_clock(tt_ops *ops) {
    if (uses_marks(ops)) ops->backend->mark(ops, NULL);
    return tt_clock_us();
}

/* Books an operation that began at start_us; passes its status on. */
static tt_status timed(tt_ops *ops, op_kind kind, int64_t start_us, tt_status status) {
    if (ops->scratch.measuring) return status;
    ops->times[kind].calls++;
    if (uses_marks(ops))
        ops->backend->mark(ops, &ops->times[kind]);
    else
        ops->times[kind].us += tt_clock_us() - start_us;
    return status;
}

/* Beside calls and time; before the call, which may write over what it is counted from. */
static void count_work(tt_ops *ops, op_kind kind, double flops, double bytes) {
    if (ops->scratch.measuring) return;
    ops->times[kind].flops += flops;
    ops->times[kind].bytes += bytes;
}

/* NULL counts as nothing. */
static double bytes_of(const tt_tensor *t) {
    return t ? (double)tt_tensor_count(t) * (double)tt_dtype_size(t->dtype) : 0;
}

static double host_bytes(const tt_tensor *t) {
    return (double)tt_tensor_count(t) * (double)sizeof(float);
}

static double weight_bytes(const tt_weight *w) {
    double bytes = (double)w->size_bytes;
    for (int i = 0; i < TT__PARTS; i++)
        if (w->parts[i]) bytes += (double)w->parts[i]->size_bytes;
    return bytes;
}

/* taps: inputs of a channel that an output is made of. */
static void count_product(tt_ops *ops, op_kind kind, const tt_weight *w, int taps,
                          const tt_tensor *x, const tt_epilogue *e, const tt_tensor *y) {
    double macs = (double)tt_tensor_count(y) * (double)w->n_in * taps;
    count_work(ops, kind, 2 * macs,
               weight_bytes(w) + bytes_of(x) + bytes_of(y) + bytes_of(e->mul) + bytes_of(e->add));
}

/* Scores and sums of values are a product each; a causal query sees half of the keys and itself. */
static void count_attention(tt_ops *ops, const tt_attention *a, const tt_tensor *y) {
    double queries = (double)tt_tensor_tokens(a->q), keys = (double)tt_tensor_tokens(a->k);
    double pairs = a->causal ? queries * (queries + 1) / 2 : queries * keys;
    double width = (double)(a->heads * a->head_dim);
    double read =
        (double)a->q->n * width * (queries + 2 * keys); /* of fused rows only their parts */
    count_work(ops, OP_ATTENTION, 2 * 2 * (double)a->q->n * width * pairs,
               read * (double)tt_dtype_size(a->q->dtype) + bytes_of(y));
}

void tt_ops_measure_peak(tt_ops *ops, tt_ops_peak *out) {
    *out = (tt_ops_peak){.f32_by = "", .bf16_by = "", .int8_by = ""};
    tt_ops_begin(ops);
    if (ops->backend->measure_peak) ops->backend->measure_peak(ops, out);
}

static bool same_shape(const tt_tensor *a, const tt_tensor *b) {
    return a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c;
}

static tt_status wrong_shape(const char *op, const char *what, const tt_tensor *found, int64_t n,
                             int64_t h, int64_t w, int64_t c, tt_err *err) {
    return tt_fail(err, TT_E_INTERNAL,
                   "%s: %s is [%lld, %lld, %lld, %lld], expected [%lld, %lld, %lld, %lld]", op,
                   what, (long long)found->n, (long long)found->h, (long long)found->w,
                   (long long)found->c, (long long)n, (long long)h, (long long)w, (long long)c);
}

static tt_status expect(const char *op, const char *what, const tt_tensor *t, int64_t n, int64_t h,
                        int64_t w, int64_t c, tt_err *err) {
    if (t->n == n && t->h == h && t->w == w && t->c == c) return TT_OK;
    return wrong_shape(op, what, t, n, h, w, c, err);
}

static tt_status check_epilogue(const char *op, const tt_epilogue *e, const tt_tensor *y,
                                tt_err *err) {
    if (e->mul && !same_shape(e->mul, y))
        return wrong_shape(op, "mul", e->mul, y->n, y->h, y->w, y->c, err);
    if (e->add && !same_shape(e->add, y))
        return wrong_shape(op, "add", e->add, y->n, y->h, y->w, y->c, err);
    return TT_OK;
}

static const tt_epilogue NO_EPILOGUE = {.act = TT_ACT_NONE};

tt_status tt_op_linear(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                       const tt_epilogue *epilogue, tt_tensor *y, tt_err *err) {
    const tt_epilogue *e = epilogue ? epilogue : &NO_EPILOGUE;
    if (w->parts[0] || w->n_gated)
        return tt_fail(err, TT_E_INTERNAL, "linear: a weight of a gated unit");
    TT_TRY(expect("linear", "x", x, x->n, x->h, x->w, w->n_in, err));
    TT_TRY(expect("linear", "y", y, x->n, x->h, x->w, w->n_out, err));
    TT_TRY(check_epilogue("linear", e, y, err));
    count_product(ops, OP_LINEAR, w, 1, x, e, y);
    int64_t start = start_clock(ops);
    return timed(ops, OP_LINEAR, start, ops->backend->linear(ops, w, x, e, y, err));
}

/* The gates first, so that the values can be multiplied by them on their way out. */
static tt_status gated_by_two(tt_ops *ops, const tt_weight *w, tt_activation act,
                              const tt_tensor *x, tt_tensor *y, tt_err *err) {
    tt_tensor gate;
    TT_TRY(tt_scratch_new(ops, y->n, y->h, y->w, y->c, &gate, err));
    TT_TRY(tt_op_linear(ops, w->parts[1], x, &(tt_epilogue){.act = act}, &gate, err));
    TT_TRY(tt_op_linear(ops, w->parts[0], x, &(tt_epilogue){.mul = &gate}, y, err));
    tt_scratch_free(ops, &gate);
    return TT_OK;
}

tt_status tt_op_gated(tt_ops *ops, const tt_weight *w, tt_activation act, const tt_tensor *x,
                      tt_tensor *y, tt_err *err) {
    enum { PRODUCTS = 2 };
    TT_TRY(expect("gated unit", "x", x, x->n, x->h, x->w, w->n_in, err));
    TT_TRY(expect("gated unit", "y", y, x->n, x->h, x->w, tt_weight_rows(w), err));
    if (w->parts[0]) return gated_by_two(ops, w, act, x, y, err);
    count_product(ops, OP_LINEAR, w, PRODUCTS, x, &NO_EPILOGUE, y);
    int64_t start = start_clock(ops);
    return timed(ops, OP_LINEAR, start, ops->backend->gated(ops, w, act, x, y, err));
}

static int64_t conv_out(int64_t size, int pad_before, int pad_after, const tt_conv_shape *s) {
    return (size + pad_before + pad_after - s->kernel) / s->stride + 1;
}

tt_status tt_op_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                     const tt_epilogue *epilogue, tt_tensor *y, tt_err *err) {
    const tt_epilogue *e = epilogue ? epilogue : &NO_EPILOGUE;
    const tt_conv_shape *s = &w->conv;
    if (w->parts[0]) return tt_fail(err, TT_E_INTERNAL, "conv: a weight that is made to double");
    TT_TRY(expect("conv", "x", x, x->n, x->h, x->w, w->n_in, err));
    TT_TRY(expect("conv", "y", y, x->n, conv_out(x->h, s->pad_top, s->pad_bottom, s),
                  conv_out(x->w, s->pad_left, s->pad_right, s), w->n_out, err));
    TT_TRY(check_epilogue("conv", e, y, err));
    count_product(ops, OP_CONV, w, s->kernel * s->kernel, x, e, y);
    int64_t start = start_clock(ops);
    return timed(ops, OP_CONV, start, ops->backend->conv(ops, w, x, e, y, err));
}

static tt_status upsample_then_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                                    tt_tensor *y, tt_err *err) {
    tt_tensor large;
    TT_TRY(tt_scratch_new(ops, y->n, y->h, y->w, x->c, &large, err));
    TT_TRY(tt_op_upsample(ops, x, &large, err));
    TT_TRY(tt_op_conv(ops, w, &large, NULL, y, err));
    tt_scratch_free(ops, &large);
    return TT_OK;
}

tt_status tt_op_upsample_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x, tt_tensor *y,
                              tt_err *err) {
    enum { TAPS = 4 };
    TT_TRY(expect("upsampling conv", "x", x, x->n, x->h, x->w, w->n_in, err));
    TT_TRY(expect("upsampling conv", "y", y, x->n, 2 * x->h, 2 * x->w, w->n_out, err));
    if (!w->parts[0]) return upsample_then_conv(ops, w, x, y, err);
    count_product(ops, OP_CONV, w, TAPS, x, &NO_EPILOGUE, y);
    int64_t start = start_clock(ops);
    return timed(ops, OP_CONV, start, ops->backend->upsample_conv(ops, w, x, y, err));
}

bool tt_ops_shares_norms(const tt_ops *ops) {
    return ops->backend->shares_norms;
}

void tt_ops_share_norms(tt_ops *ops, tt_norm_tape *record, const tt_norm_tape *given) {
    ops->norms.record = record;
    ops->norms.given = given;
    ops->norms.place = 0;
}

/* *out = what a tape has at `place`; left alone without one. */
static tt_status read_tape(const tt_norm_tape *tape, int64_t place, int64_t groups,
                           tt_norm_statistics **out, tt_err *err) {
    if (!tape) return TT_OK;
    if (place >= tape->norms || groups != tape->groups)
        return tt_fail(err, TT_E_INTERNAL,
                       "group norm %lld of %lld groups: expected at most %lld of %lld",
                       (long long)place + 1, (long long)groups, (long long)tape->norms,
                       (long long)tape->groups);
    *out = tape->of + place * groups;
    return TT_OK;
}

/* The norm's own arguments, or those of the tapes. */
static tt_status share_norm(tt_ops *ops, const tt_tensor *x, tt_group_norm *args, tt_err *err) {
    int64_t groups = x->n * args->groups;
    tt_norm_statistics *given = NULL;
    TT_TRY(read_tape(ops->norms.record, ops->norms.place, groups, &args->record, err));
    TT_TRY(read_tape(ops->norms.given, ops->norms.place, groups, &given, err));
    if (given) args->given = given;
    ops->norms.place++;
    if ((!args->record && !args->given) || ops->backend->shares_norms) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED, "device %s: norms take no statistics from outside",
                   ops->backend->name);
}

tt_status tt_op_group_norm(tt_ops *ops, const tt_weight *w, const tt_group_norm *args,
                           const tt_tensor *x, tt_tensor *y, tt_err *err) {
    tt_group_norm all = *args;
    if (args->groups < 1 || w->n_out % args->groups != 0)
        return tt_fail(err, TT_E_INVALID,
                       "group norm: %lld channels do not divide into %lld groups",
                       (long long)w->n_out, (long long)args->groups);
    TT_TRY(expect("group norm", "x", x, x->n, x->h, x->w, w->n_out, err));
    TT_TRY(expect("group norm", "y", y, x->n, x->h, x->w, x->c, err));
    if (args->add &&
        (args->add->n != x->n || args->add_offset < 0 || args->add_offset + x->c > args->add->c))
        return wrong_shape("group norm", "add", args->add, x->n, 1, 1, args->add_offset + x->c,
                           err);
    TT_TRY(share_norm(ops, x, &all, err));
    count_work(ops, OP_GROUP_NORM, 0, bytes_of(x) + bytes_of(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_GROUP_NORM, start, ops->backend->group_norm(ops, w, &all, x, y, err));
}

tt_status tt_op_layer_norm(tt_ops *ops, const tt_weight *w, float eps, const tt_tensor *x,
                           tt_tensor *y, tt_err *err) {
    TT_TRY(expect("layer norm", "x", x, x->n, x->h, x->w, w->n_out, err));
    TT_TRY(expect("layer norm", "y", y, x->n, x->h, x->w, x->c, err));
    count_work(ops, OP_LAYER_NORM, 0, bytes_of(x) + bytes_of(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_LAYER_NORM, start, ops->backend->layer_norm(ops, w, eps, x, y, err));
}

static tt_status check_heads(const char *what, const tt_tensor *t, int64_t offset, int64_t width,
                             tt_err *err) {
    if (offset >= 0 && offset + width <= t->c) return TT_OK;
    return wrong_shape("attention", what, t, t->n, t->h, t->w, offset + width, err);
}

tt_status tt_op_attention(tt_ops *ops, const tt_attention *args, tt_tensor *y, tt_err *err) {
    const tt_tensor *q = args->q, *k = args->k, *v = args->v;
    if (args->heads < 1 || args->head_dim < 1)
        return tt_fail(err, TT_E_INVALID, "attention: %lld heads of %lld", (long long)args->heads,
                       (long long)args->head_dim);
    int64_t width = args->heads * args->head_dim;
    TT_TRY(check_heads("q", q, args->q_offset, width, err));
    TT_TRY(check_heads("k", k, args->k_offset, width, err));
    TT_TRY(check_heads("v", v, args->v_offset, width, err));
    TT_TRY(expect("attention", "k", k, q->n, k->h, k->w, k->c, err));
    TT_TRY(expect("attention", "v", v, q->n, k->h, k->w, v->c, err));
    TT_TRY(expect("attention", "y", y, q->n, q->h, q->w, width, err));
    count_attention(ops, args, y);
    int64_t start = start_clock(ops);
    return timed(ops, OP_ATTENTION, start, ops->backend->attention(ops, args, y, err));
}

tt_status tt_op_embed(tt_ops *ops, const tt_weight *table, const tt_weight *positions,
                      const int32_t *ids, tt_tensor *y, tt_err *err) {
    int64_t tokens = tt_tensor_tokens(y);
    if (tokens > positions->n_in || positions->n_out != table->n_out)
        return tt_fail(err, TT_E_INVALID, "embedding: %lld tokens, positions are [%lld, %lld]",
                       (long long)tokens, (long long)positions->n_in, (long long)positions->n_out);
    TT_TRY(expect("embedding", "y", y, y->n, y->h, y->w, table->n_out, err));
    for (int64_t i = 0; i < y->n * tokens; i++)
        if (ids[i] < 0 || ids[i] >= table->n_in)
            return tt_fail(err, TT_E_INVALID,
                           "token id %d: the model's vocabulary has %lld entries", (int)ids[i],
                           (long long)table->n_in);
    count_work(ops, OP_EMBED, 0, 2 * bytes_of(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_EMBED, start, ops->backend->embed(ops, table, positions, ids, y, err));
}

tt_status tt_op_upsample(tt_ops *ops, const tt_tensor *x, tt_tensor *y, tt_err *err) {
    TT_TRY(expect("upsample", "y", y, x->n, y->h, y->w, x->c, err));
    count_work(ops, OP_UPSAMPLE, 0, bytes_of(x) + bytes_of(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_UPSAMPLE, start, ops->backend->upsample(ops, x, y, err));
}

tt_status tt_op_concat(tt_ops *ops, const tt_tensor *a, const tt_tensor *b, tt_tensor *y,
                       tt_err *err) {
    TT_TRY(expect("concat", "b", b, a->n, a->h, a->w, b->c, err));
    TT_TRY(expect("concat", "y", y, a->n, a->h, a->w, a->c + b->c, err));
    count_work(ops, OP_CONCAT, 0, 2 * bytes_of(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_CONCAT, start, ops->backend->concat(ops, a, b, y, err));
}

tt_status tt_op_activate(tt_ops *ops, tt_activation act, const tt_tensor *x, tt_tensor *y,
                         tt_err *err) {
    TT_TRY(expect("activation", "y", y, x->n, x->h, x->w, x->c, err));
    count_work(ops, OP_ACTIVATE, 0, bytes_of(x) + bytes_of(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_ACTIVATE, start, ops->backend->activate(ops, act, x, y, err));
}

tt_status tt_op_upload(tt_ops *ops, const float *host, tt_tensor *y, tt_err *err) {
    count_work(ops, OP_UPLOAD, 0, bytes_of(y) + host_bytes(y));
    int64_t start = start_clock(ops);
    return timed(ops, OP_UPLOAD, start, ops->backend->upload(ops, host, y, err));
}

tt_status tt_op_download(tt_ops *ops, const tt_tensor *x, float *host, tt_err *err) {
    count_work(ops, OP_DOWNLOAD, 0, bytes_of(x) + host_bytes(x));
    int64_t start = start_clock(ops);
    return timed(ops, OP_DOWNLOAD, start, ops->backend->download(ops, x, host, err));
}
