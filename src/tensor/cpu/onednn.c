/* The adapter to oneDNN.
 *
 * Both majors speak the same ideas with other words: 2.x fills operation descriptors by value, 3.x
 * makes primitive descriptors directly and hides memory descriptors behind pointers. The first
 * section below is the whole difference; the rest of the file is written once.
 *
 * Invariants: source and destination are plain (NHWC or row-major), only weights have a layout of
 * oneDNN's choosing; scratch memory comes from the caller, so running allocates nothing; a
 * primitive's memory objects are its own and get new pointers at each run, so one thread at a time
 * uses a primitive.
 *
 * It does not choose between CPU kinds: oneDNN does. A type that it has no kernel for is an error
 * sentence. */
#include "tensor/cpu/onednn.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#include "base/alloc.h"

struct tt_dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

struct tt_dnn_layout {
    dnnl_memory_desc_t desc;
};

enum { MAX_ARGS = 7 };

struct tt_dnn_primitive {
    dnnl_primitive_desc_t desc;                           /* NULL once compiled */
    dnnl_primitive_t primitive;                           /* NULL until compiled */
    dnnl_memory_t x, weights, bias, y, mul, add, scratch; /* NULL where absent */
    int mul_index, add_index;                             /* positions among the post-ops */
    size_t scratch_bytes;
    tt_dnn_layout layout; /* of the weights */
};

static tt_status failed(tt_err *err, dnnl_status_t status, const char *what,
                        const tt_dnn_spec *spec) {
    if (status == dnnl_unimplemented)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "oneDNN has no %s %s kernel for this CPU; use f32 instead",
                       spec && spec->dtype == TT_BF16 ? "bf16" : "f32", what);
    if (status == dnnl_out_of_memory)
        return tt_fail(err, TT_E_NOMEM, "oneDNN: out of memory: %s", what);
    return tt_fail(err, TT_E_INTERNAL, "oneDNN: %s failed with status %d", what, (int)status);
}

static const char *what_of(const tt_dnn_spec *spec) {
    return spec->kernel ? "convolution" : "matrix product";
}

#define DNN_TRY(call, what, spec)                                                     \
    do {                                                                              \
        dnnl_status_t dnn_status_ = (call);                                           \
        if (dnn_status_ != dnnl_success) return failed(err, dnn_status_, what, spec); \
    } while (0)

/* ---- 2.x and 3.x
 * ------------------------------------------------------------------------------------ */

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t desc_ref;
#define REF(desc) (desc)

static dnnl_status_t desc_make(dnnl_memory_desc_t *d, int rank, const dnnl_dims_t dims,
                               dnnl_data_type_t type, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(d, rank, dims, type, tag);
}
static dnnl_status_t desc_copy(dnnl_memory_desc_t *d, desc_ref from) {
    return dnnl_memory_desc_clone(d, from);
}
static void desc_free(dnnl_memory_desc_t *d) {
    if (*d) dnnl_memory_desc_destroy(*d);
    *d = NULL;
}
static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha) {
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, 0);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const tt_dnn_spec *s, const dnnl_memory_desc_t d[4],
                              const_dnnl_primitive_attr_t attr) {
    const_dnnl_memory_desc_t bias = s->has_bias ? d[2] : NULL;
    if (s->kernel == 0)
        return dnnl_matmul_primitive_desc_create(out, engine, d[0], d[1], bias, d[3], attr);
    const dnnl_dims_t strides = {s->stride, s->stride}, dilates = {0, 0};
    const dnnl_dims_t before = {s->pad_top, s->pad_left}, after = {s->pad_bottom, s->pad_right};
    return dnnl_convolution_forward_primitive_desc_create(
        out, engine, dnnl_forward_inference, dnnl_convolution_direct, d[0], d[1], bias, d[3],
        strides, dilates, before, after, attr);
}

#else

typedef const dnnl_memory_desc_t *desc_ref;
#define REF(desc) (&(desc))

static dnnl_status_t desc_make(dnnl_memory_desc_t *d, int rank, const dnnl_dims_t dims,
                               dnnl_data_type_t type, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(d, rank, dims, type, tag);
}
static dnnl_status_t desc_copy(dnnl_memory_desc_t *d, desc_ref from) {
    *d = *from;
    return dnnl_success;
}
static void desc_free(dnnl_memory_desc_t *d) {
    (void)d;
}
static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha) {
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, 0);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const tt_dnn_spec *s, const dnnl_memory_desc_t d[4],
                              const_dnnl_primitive_attr_t attr) {
    const dnnl_memory_desc_t *bias = s->has_bias ? &d[2] : NULL;
    if (s->kernel == 0) {
        dnnl_matmul_desc_t matmul;
        dnnl_status_t status = dnnl_matmul_desc_init(&matmul, &d[0], &d[1], bias, &d[3]);
        if (status != dnnl_success) return status;
        return dnnl_primitive_desc_create(out, &matmul, attr, engine, NULL);
    }
    const dnnl_dims_t strides = {s->stride, s->stride};
    const dnnl_dims_t before = {s->pad_top, s->pad_left}, after = {s->pad_bottom, s->pad_right};
    dnnl_convolution_desc_t conv;
    dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&conv, dnnl_forward_inference, dnnl_convolution_direct,
                                           &d[0], &d[1], bias, &d[3], strides, before, after);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(out, &conv, attr, engine, NULL);
}

#endif

/* ---- engine
 * ----------------------------------------------------------------------------------------- */

tt_status tt__dnn_open(tt_dnn **out, tt_err *err) {
    *out = NULL;
    tt_dnn *dnn = tt_alloc(sizeof *dnn);
    if (!dnn) return tt_fail_nomem(err, "oneDNN", sizeof *dnn);
    dnnl_status_t status = dnnl_engine_create(&dnn->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        tt__dnn_close(dnn);
        return failed(err, status, "opening the CPU engine", NULL);
    }
    *out = dnn;
    return TT_OK;
}

void tt__dnn_close(tt_dnn *dnn) {
    if (!dnn) return;
    if (dnn->stream) dnnl_stream_destroy(dnn->stream);
    if (dnn->engine) dnnl_engine_destroy(dnn->engine);
    tt_free(dnn);
}

/* ---- descriptors
 * ------------------------------------------------------------------------------------ */

enum { D_X, D_WEIGHTS, D_BIAS, D_Y, D_COUNT };

static int64_t out_size(int64_t size, int pad, const tt_dnn_spec *s) {
    return (size + pad - s->kernel) / s->stride + 1;
}

/* x, weights (weights_tag), bias, y as oneDNN dimensions: [rows, c] or [n, c, h, w] in NHWC order.
 */
static dnnl_status_t make_descs(const tt_dnn_spec *s, dnnl_format_tag_t weights_tag,
                                dnnl_memory_desc_t d[D_COUNT]) {
    dnnl_data_type_t type = s->dtype == TT_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_status_t e[D_COUNT];
    if (s->kernel == 0) {
        e[D_X] = desc_make(&d[D_X], 2, (dnnl_dims_t){s->n, s->c_in}, type, dnnl_ab);
        e[D_WEIGHTS] =
            desc_make(&d[D_WEIGHTS], 2, (dnnl_dims_t){s->c_in, s->c_out}, type, weights_tag);
        e[D_BIAS] = desc_make(&d[D_BIAS], 2, (dnnl_dims_t){1, s->c_out}, dnnl_f32, dnnl_ab);
        e[D_Y] = desc_make(&d[D_Y], 2, (dnnl_dims_t){s->n, s->c_out}, type, dnnl_ab);
    } else {
        int64_t h = out_size(s->h, s->pad_top + s->pad_bottom, s);
        int64_t w = out_size(s->w, s->pad_left + s->pad_right, s);
        e[D_X] = desc_make(&d[D_X], 4, (dnnl_dims_t){s->n, s->c_in, s->h, s->w}, type, dnnl_nhwc);
        e[D_WEIGHTS] =
            desc_make(&d[D_WEIGHTS], 4, (dnnl_dims_t){s->c_out, s->c_in, s->kernel, s->kernel},
                      type, weights_tag);
        e[D_BIAS] = desc_make(&d[D_BIAS], 1, (dnnl_dims_t){s->c_out}, dnnl_f32, dnnl_a);
        e[D_Y] = desc_make(&d[D_Y], 4, (dnnl_dims_t){s->n, s->c_out, h, w}, type, dnnl_nhwc);
    }
    for (int i = 0; i < D_COUNT; i++)
        if (e[i] != dnnl_success) return e[i];
    return dnnl_success;
}

static void free_descs(dnnl_memory_desc_t d[D_COUNT]) {
    for (int i = 0; i < D_COUNT; i++) desc_free(&d[i]);
}

static dnnl_alg_kind_t eltwise_of(tt_activation act, float *alpha) {
    *alpha = 0;
    switch (act) {
    case TT_ACT_SILU:
        *alpha = 1;
        return dnnl_eltwise_swish;
    case TT_ACT_QUICK_GELU:
        *alpha = 1.702f;
        return dnnl_eltwise_swish;
    case TT_ACT_GELU:
        return dnnl_eltwise_gelu_erf;
    case TT_ACT_GELU_TANH:
        return dnnl_eltwise_gelu_tanh;
    case TT_ACT_RELU:
        return dnnl_eltwise_relu;
    case TT_ACT_NONE:
        break;
    }
    return dnnl_alg_kind_undef;
}

/* Post-ops in the order of the contract: activation, mul, add. `indices` gets the places of mul and
 * add. */
static dnnl_status_t make_attr(const tt_dnn_spec *s, desc_ref y, dnnl_primitive_attr_t *attr,
                               int indices[2]) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_post_ops_create(&ops);
    float alpha;
    dnnl_alg_kind_t kind = eltwise_of((tt_activation)s->act, &alpha);
    int n = 0;
    if (status == dnnl_success && kind != dnnl_alg_kind_undef) {
        status = append_eltwise(ops, kind, alpha);
        n++;
    }
    indices[0] = n;
    if (status == dnnl_success && s->has_mul) {
        status = dnnl_post_ops_append_binary(ops, dnnl_binary_mul, y);
        n++;
    }
    indices[1] = n;
    if (status == dnnl_success && s->has_add)
        status = s->kernel ? append_sum(ops) : dnnl_post_ops_append_binary(ops, dnnl_binary_add, y);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return status;
}

/* layout NULL: oneDNN chooses the weights' layout. */
static dnnl_status_t describe_with(tt_dnn *dnn, const tt_dnn_spec *s,
                                   const dnnl_memory_desc_t *layout, dnnl_primitive_desc_t *out,
                                   int indices[2]) {
    dnnl_memory_desc_t d[D_COUNT];
    memset(d, 0, sizeof d);
    dnnl_primitive_attr_t attr = NULL;
    *out = NULL;
    dnnl_status_t status = make_descs(s, dnnl_format_tag_any, d);
    if (status == dnnl_success && layout) {
        desc_free(&d[D_WEIGHTS]);
        status = desc_copy(&d[D_WEIGHTS], REF(*layout));
    }
    if (status == dnnl_success) status = make_attr(s, REF(d[D_Y]), &attr, indices);
    if (status == dnnl_success) status = describe(out, dnn->engine, s, d, attr);
    if (attr) dnnl_primitive_attr_destroy(attr);
    free_descs(d);
    return status;
}

/* As oneDNN would do it on one thread: the layout that all numbers of threads then share. */
static dnnl_status_t describe_for_one_thread(tt_dnn *dnn, const tt_dnn_spec *s,
                                             dnnl_primitive_desc_t *out, int indices[2]) {
    int n_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dnnl_status_t status = describe_with(dnn, s, NULL, out, indices);
    omp_set_num_threads(n_threads);
    return status;
}

static bool is_reference(dnnl_primitive_desc_t desc) {
    const char *name = "";
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name);
    return strncmp(name, "ref", strlen("ref")) == 0;
}

/* oneDNN 2.6 blocks some very small convolutions (3x4 positions) by the number of threads, and sums in another order then.
 * So the layout is the one for a single thread; where the kernel for more threads refuses it, the one for a single thread
 * runs, and results stay the same. */
static dnnl_status_t make_primitive_desc(tt_dnn *dnn, const tt_dnn_spec *s,
                                         dnnl_primitive_desc_t *out, int indices[2]) {
    dnnl_primitive_desc_t single;
    dnnl_memory_desc_t layout;
    memset(&layout, 0, sizeof layout);
    dnnl_status_t status = describe_for_one_thread(dnn, s, &single, indices);
    if (status != dnnl_success) return status;
    status = desc_copy(&layout, dnnl_primitive_desc_query_md(single, dnnl_query_weights_md, 0));
    if (status == dnnl_success) status = describe_with(dnn, s, &layout, out, indices);
    desc_free(&layout);
    if (status == dnnl_success && (!is_reference(*out) || is_reference(single))) {
        dnnl_primitive_desc_destroy(single);
        return status;
    }
    if (*out) dnnl_primitive_desc_destroy(*out);
    *out = single;
    return dnnl_success;
}

/* ---- packing
 * ---------------------------------------------------------------------------------------- */

/* Rewrites `from` (plain) into `to` (layout's order). Loading packs from several threads at once, so each call
 * has a stream of its own. */
static tt_status reorder(tt_dnn *dnn, desc_ref from_desc, const void *from, desc_ref to_desc,
                         void *to, tt_err *err) {
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t a = NULL, b = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&desc, from_desc, dnn->engine,
                                                              to_desc, dnn->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&primitive, desc);
    if (status == dnnl_success)
        status = dnnl_memory_create(&a, from_desc, dnn->engine, (void *)(uintptr_t)from);
    if (status == dnnl_success) status = dnnl_memory_create(&b, to_desc, dnn->engine, to);
    if (status == dnnl_success)
        status = dnnl_stream_create(&stream, dnn->engine, dnnl_stream_default_flags);
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, a}, {DNNL_ARG_TO, b}};
        status = dnnl_primitive_execute(primitive, stream, 2, args);
        dnnl_stream_wait(stream);
    }
    if (stream) dnnl_stream_destroy(stream);
    if (a) dnnl_memory_destroy(a);
    if (b) dnnl_memory_destroy(b);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return status == dnnl_success ? TT_OK : failed(err, status, "packing weights", NULL);
}

static tt_status new_layout(desc_ref desc, tt_dnn_layout **out, tt_err *err) {
    *out = tt_alloc(sizeof **out);
    if (!*out) return tt_fail_nomem(err, "a layout", sizeof **out);
    dnnl_status_t status = desc_copy(&(*out)->desc, desc);
    if (status == dnnl_success) return TT_OK;
    tt_free(*out);
    *out = NULL;
    return failed(err, status, "copying a layout", NULL);
}

/* `from` in the order of from_desc, rewritten into fresh memory in the order of `to_desc`. */
static tt_status rewrite(tt_dnn *dnn, desc_ref from_desc, const void *from, desc_ref to_desc,
                         tt_dnn_layout **layout, void **data, size_t *size_bytes, tt_err *err) {
    *data = NULL;
    TT_TRY(new_layout(to_desc, layout, err));
    *size_bytes = dnnl_memory_desc_get_size(REF((*layout)->desc));
    *data = tt_alloc_aligned(*size_bytes);
    tt_status status = *data ? reorder(dnn, from_desc, from, REF((*layout)->desc), *data, err)
                             : tt_fail_nomem(err, "a packed weight", *size_bytes);
    if (status == TT_OK) return TT_OK;
    tt_free(*data);
    tt__dnn_layout_free(*layout);
    *data = NULL;
    *layout = NULL;
    return status;
}

tt_status tt__dnn_pack(tt_dnn *dnn, const tt_dnn_spec *spec, const void *plain,
                       tt_dnn_layout **layout, void **data, size_t *size_bytes, tt_err *err) {
    dnnl_primitive_desc_t desc;
    dnnl_memory_desc_t d[D_COUNT];
    int indices[2];
    DNN_TRY(describe_for_one_thread(dnn, spec, &desc, indices), what_of(spec), spec);
    memset(d, 0, sizeof d);
    dnnl_status_t made = make_descs(spec, spec->kernel ? dnnl_oihw : dnnl_ba, d);
    tt_status status = made != dnnl_success
                           ? failed(err, made, "describing weights", spec)
                           : rewrite(dnn, REF(d[D_WEIGHTS]), plain,
                                     dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
                                     layout, data, size_bytes, err);
    free_descs(d);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

bool tt__dnn_layout_fits(const tt_dnn_primitive *p, const tt_dnn_layout *layout) {
    return dnnl_memory_desc_equal(REF(p->layout.desc), REF(layout->desc)) != 0;
}

tt_status tt__dnn_repack(tt_dnn *dnn, const tt_dnn_primitive *p, const tt_dnn_layout *from,
                         const void *from_data, tt_dnn_layout **layout, void **data,
                         size_t *size_bytes, tt_err *err) {
    return rewrite(dnn, REF(from->desc), from_data, REF(p->layout.desc), layout, data, size_bytes,
                   err);
}

void tt__dnn_layout_free(tt_dnn_layout *layout) {
    if (!layout) return;
    desc_free(&layout->desc);
    tt_free(layout);
}

/* ---- primitives
 * ------------------------------------------------------------------------------------- */

static dnnl_status_t memory_like(tt_dnn *dnn, dnnl_primitive_desc_t desc, dnnl_query_t what,
                                 int index, dnnl_memory_t *out) {
    return dnnl_memory_create(out, dnnl_primitive_desc_query_md(desc, what, index), dnn->engine,
                              DNNL_MEMORY_NONE);
}

static dnnl_status_t make_memories(tt_dnn *dnn, const tt_dnn_spec *s, dnnl_primitive_desc_t desc,
                                   tt_dnn_primitive *p) {
    dnnl_status_t status = memory_like(dnn, desc, dnnl_query_src_md, 0, &p->x);
    if (status == dnnl_success)
        status = memory_like(dnn, desc, dnnl_query_weights_md, 0, &p->weights);
    if (status == dnnl_success && s->has_bias)
        status = memory_like(dnn, desc, dnnl_query_weights_md, 1, &p->bias);
    if (status == dnnl_success) status = memory_like(dnn, desc, dnnl_query_dst_md, 0, &p->y);
    if (status == dnnl_success && s->has_mul)
        status = memory_like(dnn, desc, dnnl_query_dst_md, 0, &p->mul);
    if (status == dnnl_success && s->has_add && s->kernel == 0)
        status = memory_like(dnn, desc, dnnl_query_dst_md, 0, &p->add);
    if (status == dnnl_success)
        status = memory_like(dnn, desc, dnnl_query_scratchpad_md, 0, &p->scratch);
    p->scratch_bytes =
        dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0));
    return status;
}

tt_status tt__dnn_primitive_new(tt_dnn *dnn, const tt_dnn_spec *spec, tt_dnn_primitive **out,
                                tt_err *err) {
    dnnl_primitive_desc_t desc;
    int indices[2];
    *out = NULL;
    DNN_TRY(make_primitive_desc(dnn, spec, &desc, indices), what_of(spec), spec);
    tt_dnn_primitive *p = tt_alloc(sizeof *p);
    if (!p) {
        dnnl_primitive_desc_destroy(desc);
        return failed(err, dnnl_out_of_memory, what_of(spec), spec);
    }
    p->desc = desc;
    p->mul_index = indices[0];
    p->add_index = indices[1];
    dnnl_status_t status = make_memories(dnn, spec, desc, p);
    if (status == dnnl_success)
        status = desc_copy(&p->layout.desc,
                           dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0));
    if (status != dnnl_success) {
        tt__dnn_primitive_free(p);
        return failed(err, status, what_of(spec), spec);
    }
    *out = p;
    return TT_OK;
}

void tt__dnn_primitive_free(tt_dnn_primitive *p) {
    if (!p) return;
    const dnnl_memory_t memories[] = {p->x, p->weights, p->bias, p->y, p->mul, p->add, p->scratch};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->desc) dnnl_primitive_desc_destroy(p->desc);
    desc_free(&p->layout.desc);
    tt_free(p);
}

tt_status tt__dnn_compile(tt_dnn_primitive *p, tt_err *err) {
    if (p->primitive) return TT_OK;
    DNN_TRY(dnnl_primitive_create(&p->primitive, p->desc), "generating code", NULL);
    dnnl_primitive_desc_destroy(p->desc);
    p->desc = NULL;
    return TT_OK;
}

size_t tt__dnn_scratch_bytes(const tt_dnn_primitive *p) {
    return p->scratch_bytes;
}

/* Points `memory` at data and adds it to the argument list; an absent memory is skipped. */
static dnnl_status_t bind(dnnl_exec_arg_t *list, int *n, int arg, dnnl_memory_t memory,
                          const void *data) {
    if (!memory) return dnnl_success;
    list[(*n)++] = (dnnl_exec_arg_t){arg, memory};
    return dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data);
}

tt_status tt__dnn_run(tt_dnn *dnn, tt_dnn_primitive *p, const tt_dnn_args *a, tt_err *err) {
    dnnl_exec_arg_t list[MAX_ARGS];
    int n = 0;
    TT_TRY(tt__dnn_compile(p, err));
    dnnl_status_t e[MAX_ARGS] = {
        bind(list, &n, DNNL_ARG_SRC, p->x, a->x),
        bind(list, &n, DNNL_ARG_WEIGHTS, p->weights, a->weights),
        bind(list, &n, DNNL_ARG_BIAS, p->bias, a->bias),
        bind(list, &n, DNNL_ARG_DST, p->y, a->y),
        bind(list, &n, DNNL_ARG_ATTR_MULTIPLE_POST_OP(p->mul_index) | DNNL_ARG_SRC_1, p->mul,
             a->mul),
        bind(list, &n, DNNL_ARG_ATTR_MULTIPLE_POST_OP(p->add_index) | DNNL_ARG_SRC_1, p->add,
             a->add),
        bind(list, &n, DNNL_ARG_SCRATCHPAD, p->scratch, a->scratch),
    };
    for (int i = 0; i < MAX_ARGS; i++) DNN_TRY(e[i], "binding memory", NULL);
    DNN_TRY(dnnl_primitive_execute(p->primitive, dnn->stream, n, list), "running a primitive",
            NULL);
    DNN_TRY(dnnl_stream_wait(dnn->stream), "waiting for a primitive", NULL);
    return TT_OK;
}
