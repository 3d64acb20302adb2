/* The table of the CUDA back-end, its state and memory, and the operations that are one call of a kernel. */
#include "tensor/cuda/cuda.h"

#include "base/alloc.h"

enum {
    DEVICE = 0,            /* CUDA_VISIBLE_DEVICES chooses another */
    OLDEST_MAJOR = 8,      /* compute capability: bf16 tensor cores and cp.async came with Ampere */
    WORKSPACE_ALIGN = 256, /* cuBLASLt refuses less */
};

tt_status tt__cuda_check(int error, const char *what, tt_err *err) {
    if (error == cudaSuccess) return TT_OK;
    tt_status code = error == cudaErrorMemoryAllocation ? TT_E_NOMEM : TT_E_INTERNAL;
    return tt_fail(err, code, "%s: CUDA says \"%s\"", what, cudaGetErrorString((cudaError_t)error));
}

/* ---- memory: called from several threads while weights are packed
 * ------------------------------------------------------------ */

static void *allocate(tt_ops *ops, size_t size_bytes) {
    void *p = NULL;
    if (cudaMallocAsync(&p, size_bytes, tt__cuda_state(ops)->stream) == cudaSuccess) return p;
    (void)cudaGetLastError(); /* reported as a failed allocation, not by the next launch */
    return NULL;
}

static void release(tt_ops *ops, void *p) {
    if (p) cudaFreeAsync(p, tt__cuda_state(ops)->stream);
}

tt_status tt__cuda_workspace_take(tt_ops *ops, size_t size_bytes, tt_cuda_workspace *out,
                                  tt_err *err) {
    *out = (tt_cuda_workspace){0};
    if (size_bytes == 0) return TT_OK;
    TT_TRY(tt_scratch_take(&ops->scratch, size_bytes + WORKSPACE_ALIGN, &out->piece, err));
    uintptr_t up = (uintptr_t)out->piece + WORKSPACE_ALIGN - 1;
    out->place = (void *)(up - up % WORKSPACE_ALIGN);
    return TT_OK;
}

void tt__cuda_workspace_give(tt_ops *ops, tt_cuda_workspace *w) {
    if (w->piece) tt_scratch_give(&ops->scratch, w->piece);
}

static size_t memory_left(tt_ops *ops) {
    (void)ops;
    size_t left = 0, total = 0;
    uint64_t reserved = 0, used = 0;
    cudaMemPool_t pool;
    if (cudaMemGetInfo(&left, &total) != cudaSuccess) return 0;
    if (cudaDeviceGetDefaultMemPool(&pool, DEVICE) == cudaSuccess) {
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used);
    }
    return left + (size_t)(reserved - used);
}

/* ---- opening
 * ------------------------------------------------------------------------------------------------------------------ */

static tt_status check_device(tt_err *err) {
    int n = 0, driver = 0, major = 0, minor = 0;
    cudaError_t status = cudaGetDeviceCount(&n);
    if (status == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess &&
        !driver)
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "no NVIDIA GPU to run on: this machine has no NVIDIA driver (a container needs the GPU "
            "passed in)");
    if (status == cudaErrorInsufficientDriver)
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "the NVIDIA driver here is made for CUDA %d.%d, this program needs %d.%d or newer",
            driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    if (status != cudaSuccess || n < 1)
        return tt_fail(err, TT_E_UNSUPPORTED, "no NVIDIA GPU to run on: CUDA says \"%s\"",
                       cudaGetErrorString(status != cudaSuccess ? status : cudaErrorNoDevice));
    TT_TRY(tt__cuda_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, DEVICE),
                          "the GPU", err));
    TT_TRY(tt__cuda_check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, DEVICE),
                          "the GPU", err));
    if (major < OLDEST_MAJOR)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "the GPU has compute capability %d.%d, expected at least %d.0 (Ampere)",
                       major, minor, OLDEST_MAJOR);
    return TT_OK;
}

/* The pool keeps what was freed: the next request asks for the same again. */
static tt_status keep_pool(tt_err *err) {
    cudaMemPool_t pool;
    uint64_t most = UINT64_MAX;
    TT_TRY(
        tt__cuda_check(cudaDeviceGetDefaultMemPool(&pool, DEVICE), "the GPU's memory pool", err));
    return tt__cuda_check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &most),
                          "the GPU's memory pool", err);
}

static void close_cuda(tt_ops *ops) {
    tt_cuda_state *state = ops->state;
    if (!state) return;
    if (state->stream) cudaStreamSynchronize(state->stream);
    tt__cuda_clock_free(state->clock);
    tt__cuda_graphs_close(state);
    tt__cuda_products_close(state);
    tt__cuda_staging_release(state);
    tt__cuda_lanes_release(state);
    if (state->stream) cudaStreamDestroy(state->stream);
    tt_free(state);
    ops->state = NULL;
}

static tt_status open_parts(tt_cuda_state *state, tt_err *err) {
    TT_TRY(check_device(err));
    TT_TRY(keep_pool(err));
    TT_TRY(tt__cuda_check(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking),
                          "opening the GPU", err));
    TT_TRY(tt__cuda_products_open(state, err));
    return tt__cuda_graphs_open(state, err);
}

static tt_status open_cuda(tt_ops *ops, tt_err *err) {
    tt_cuda_state *state = tt_alloc(sizeof *state);
    if (!state) return tt_fail_nomem(err, "the CUDA back-end", sizeof *state);
    ops->state = state;
    tt__cuda_lanes_init(state);
    tt_status status = open_parts(state, err);
    if (status != TT_OK) close_cuda(ops);
    return status;
}

static void begin(tt_ops *ops) {
    tt__cuda_state(ops)->deferred.w = NULL; /* of a pass that was given up */
    tt__cuda_cache_trim(tt__cuda_state(ops)->products);
    tt__cuda_cache_trim(tt__cuda_state(ops)->graphs);
}

/* ---- operations
 * --------------------------------------------------------------------------------------------------------------- */

static tt_status group_norm(tt_ops *ops, const tt_weight *w, const tt_group_norm *args,
                            const tt_tensor *x, tt_tensor *y, tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    void *partials;
    size_t size = (size_t)tt__cuda_group_norm_floats(x->n, args->groups) * sizeof(float);
    TT_TRY(tt_scratch_take(&ops->scratch, size, &partials, err));
    tt_cuda_group_norm g = {.x = x->data,
                            .gamma = w->data,
                            .beta = w->bias,
                            .y = y->data,
                            .partials = partials,
                            .n = x->n,
                            .positions = tt_tensor_tokens(x),
                            .c = x->c,
                            .groups = args->groups,
                            .eps = args->eps,
                            .silu = args->silu,
                            .bf16 = ops->dtype == TT_BF16};
    if (args->add) {
        g.add = (const char *)args->add->data +
                (size_t)args->add_offset * tt_dtype_size(args->add->dtype);
        g.add_stride = args->add->c;
    }
    int error =
        ops->scratch.measuring ? 0 : tt__cuda_launch_group_norm(&g, tt__cuda_state(ops)->stream);
    tt_scratch_give(&ops->scratch, partials);
    return tt__cuda_check(error, "group norm", err);
}

static tt_status layer_norm(tt_ops *ops, const tt_weight *w, float eps, const tt_tensor *x,
                            tt_tensor *y, tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    const tt_cuda_layer_norm l = {.x = x->data,
                                  .gamma = w->data,
                                  .beta = w->bias,
                                  .y = y->data,
                                  .rows = tt_tensor_rows(x),
                                  .c = x->c,
                                  .eps = eps,
                                  .bf16 = ops->dtype == TT_BF16};
    if (ops->scratch.measuring) return TT_OK;
    return tt__cuda_check(tt__cuda_launch_layer_norm(&l, tt__cuda_state(ops)->stream), "layer norm",
                          err);
}

static tt_status activate(tt_ops *ops, tt_activation act, const tt_tensor *x, tt_tensor *y,
                          tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    const tt_epilogue e = {.act = act};
    return tt__cuda_finish(ops, x->data, NULL, &e, y, err);
}

static tt_status upsample(tt_ops *ops, const tt_tensor *x, tt_tensor *y, tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    const tt_cuda_upsample u = {.x = x->data,
                                .y = y->data,
                                .n = x->n,
                                .x_h = x->h,
                                .x_w = x->w,
                                .y_h = y->h,
                                .y_w = y->w,
                                .bytes = x->c * (int64_t)tt_dtype_size(x->dtype)};
    if (ops->scratch.measuring) return TT_OK;
    return tt__cuda_check(tt__cuda_launch_upsample(&u, tt__cuda_state(ops)->stream), "upsample",
                          err);
}

static tt_status concat(tt_ops *ops, const tt_tensor *a, const tt_tensor *b, tt_tensor *y,
                        tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    int64_t size = (int64_t)tt_dtype_size(a->dtype);
    if (ops->scratch.measuring) return TT_OK;
    return tt__cuda_check(tt__cuda_launch_concat(a->data, b->data, y->data, tt_tensor_rows(a),
                                                 a->c * size, b->c * size,
                                                 tt__cuda_state(ops)->stream),
                          "concat", err);
}

const tt_backend tt__backend_cuda = {
    .name = "cuda",
    .open = open_cuda,
    .close = close_cuda,
    .alloc = allocate,
    .release = release,
    .put = tt__cuda_put,
    .memory_left = memory_left,
    .mark = tt__cuda_mark,
    .settle = tt__cuda_settle,
    .begin = begin,
    .pack_linear = tt__cuda_pack_linear,
    .pack_conv = tt__cuda_pack_conv,
    .unpack = tt__cuda_unpack,
    .linear = tt__cuda_linear,
    .conv = tt__cuda_conv,
    .group_norm = group_norm,
    .layer_norm = layer_norm,
    .attention = tt__cuda_attention,
    .activate = activate,
    .embed = tt__cuda_embed,
    .upsample = upsample,
    .concat = concat,
    .upload = tt__cuda_upload,
    .download = tt__cuda_download,
};
