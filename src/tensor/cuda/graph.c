/* cuDNN's graph interface, for graphs of one operation: describe the tensors and the operation, ask the heuristic which engines
 * would run it, take the first that can be made into a plan.
 *
 *     tensor, tensor... -> operation -> graph -> heuristic -> engine configurations -> plan;    variant pack + plan -> run
 *
 * All descriptors stay alive as long as their plan, since the later ones refer to the earlier. Engines that would change the
 * numbers are passed over: in f32 those that round inputs (TF32) or transform them (Winograd, FFT), and everywhere those whose sums
 * are not f32 or have no fixed order. An operation without an engine is remembered as such, and done in another way. */
#include "base/alloc.h"
#include "tensor/cuda/cuda.h"

#include <math.h>

enum {
    MOST_DESCRIPTORS = 48,
    MOST_CONFIGS = 16, /* of one heuristic: the first few are the good ones */
    MOST_NOTES = 16,
    RANK = 4,
    TENSOR_ALIGN = 16, /* bytes */
    SCALE_UID = 100,   /* the others are numbered from 1 */
};

/* A plan that wants more is passed over. */
static const int64_t MOST_WORKSPACE = (int64_t)1 << 30;

struct tt_cuda_graph {
    int n_tensors;
    int n_descriptors;
    cudnnBackendDescriptor_t descriptors[MOST_DESCRIPTORS]; /* owned */
    cudnnBackendDescriptor_t plan;                          /* one of them; NULL: no engine */
    int64_t workspace;
    float scale; /* of attention */
    bool has_scale;
};

/* ---- the interface in a shorter form; the first failure makes all that follows fail
 * -------------------------------------------------------- */

typedef struct builder {
    const tt_cudnn *dnn;
    cudnnHandle_t handle;
    tt_cuda_graph *g;
    bool bf16;
    cudnnStatus_t status;
    bool is_full; /* no room for one more descriptor */
} builder;

static bool good(const builder *b) {
    return b->status == CUDNN_STATUS_SUCCESS && !b->is_full;
}

static cudnnBackendDescriptor_t new_descriptor(builder *b, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t d = NULL;
    b->is_full |= b->g->n_descriptors == MOST_DESCRIPTORS;
    if (!good(b)) return NULL;
    b->status = b->dnn->cudnnBackendCreateDescriptor(type, &d);
    if (good(b)) b->g->descriptors[b->g->n_descriptors++] = d;
    return d;
}

static void set(builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *values) {
    if (good(b)) b->status = b->dnn->cudnnBackendSetAttribute(d, name, type, n, values);
}

static void set_numbers(builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                        int64_t n, const int64_t *values) {
    set(b, d, name, CUDNN_TYPE_INT64, n, values);
}

static void set_part(builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                     cudnnBackendDescriptor_t part) {
    set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part);
}

static void finalize(builder *b, cudnnBackendDescriptor_t d) {
    if (good(b)) b->status = b->dnn->cudnnBackendFinalize(d);
}

static cudnnBackendDescriptor_t new_tensor(builder *b, int64_t uid, cudnnDataType_t type,
                                           const int64_t dims[RANK], const int64_t strides[RANK]) {
    cudnnBackendDescriptor_t d = new_descriptor(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t align = TENSOR_ALIGN;
    set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set_numbers(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, RANK, dims);
    set_numbers(b, d, CUDNN_ATTR_TENSOR_STRIDES, RANK, strides);
    set_numbers(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1, &uid);
    set_numbers(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1, &align);
    return d;
}

static cudnnDataType_t type_of(const builder *b) {
    return b->bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* n, c, h, w as cuDNN names them, channels last in memory. */
static cudnnBackendDescriptor_t new_picture(builder *b, int64_t uid, int64_t n, int64_t c,
                                            int64_t h, int64_t w) {
    const int64_t dims[RANK] = {n, c, h, w}, strides[RANK] = {h * w * c, 1, w * c, c};
    cudnnBackendDescriptor_t d = new_tensor(b, uid, type_of(b), dims, strides);
    finalize(b, d);
    return d;
}

/* ---- from an operation to a plan
 * ---------------------------------------------------------------------------------------------- */

static bool changes_numbers(const builder *b, cudnnBackendNumericalNote_t note) {
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
        note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
        return true;
    return !b->bf16 && note != CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP;
}

static bool is_acceptable(builder *b, cudnnBackendDescriptor_t config) {
    cudnnBackendNumericalNote_t notes[MOST_NOTES];
    int64_t n = 0;
    cudnnBackendDescriptor_t engine = new_descriptor(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (!good(b) ||
        b->dnn->cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                                         &engine) != CUDNN_STATUS_SUCCESS ||
        b->dnn->cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                         CUDNN_TYPE_NUMERICAL_NOTE, MOST_NOTES, &n,
                                         notes) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < n && i < MOST_NOTES; i++)
        if (changes_numbers(b, notes[i])) return false;
    return true;
}

/* Frees the descriptors made since there were n. */
static void drop_to(builder *b, int n) {
    while (b->g->n_descriptors > n)
        b->dnn->cudnnBackendDestroyDescriptor(b->g->descriptors[--b->g->n_descriptors]);
}

static bool make_plan(builder *b, cudnnBackendDescriptor_t config) {
    int64_t n = 0;
    cudnnBackendDescriptor_t plan = new_descriptor(b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->handle);
    set_part(b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    finalize(b, plan);
    if (!good(b) ||
        b->dnn->cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                         CUDNN_TYPE_INT64, 1, &n,
                                         &b->g->workspace) != CUDNN_STATUS_SUCCESS ||
        b->g->workspace > MOST_WORKSPACE)
        return false;
    b->g->plan = plan;
    return true;
}

/* The first acceptable engine of one heuristic that works. */
static void try_heuristic(builder *b, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode) {
    cudnnBackendDescriptor_t configs[MOST_CONFIGS];
    int64_t n = 0;
    cudnnBackendDescriptor_t heuristic = new_descriptor(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_part(b, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(b, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finalize(b, heuristic);
    for (int i = 0; i < MOST_CONFIGS; i++)
        configs[i] = new_descriptor(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!good(b)) return;
    b->status =
        b->dnn->cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_CONFIGS, &n, configs);
    int keep = b->g->n_descriptors;
    for (int64_t i = 0; good(b) && i < n && i < MOST_CONFIGS && !b->g->plan; i++) {
        if (is_acceptable(b, configs[i]) && make_plan(b, configs[i])) return;
        drop_to(b, keep);
        b->status = CUDNN_STATUS_SUCCESS; /* this engine's trouble only */
    }
}

/* b->g->plan stays NULL where nothing works: that is an answer. */
static void plan_operation(builder *b, cudnnBackendDescriptor_t operation) {
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    cudnnBackendDescriptor_t graph = new_descriptor(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set_part(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
    set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->handle);
    finalize(b, graph);
    int keep = b->g->n_descriptors;
    for (int i = 0; i < 2 && good(b) && !b->g->plan; i++) {
        drop_to(b, keep);
        try_heuristic(b, graph, modes[i]);
        if (!b->g->plan) b->status = CUDNN_STATUS_SUCCESS;
    }
}

/* ---- the two operations
 * ------------------------------------------------------------------------------------------------------- */

static cudnnBackendDescriptor_t new_convolution(builder *b, const tt_cuda_conv_key *k) {
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t n_spatial = 2, pads[] = {k->pad_h, k->pad_w}, ones[] = {1, 1},
                  strides[] = {k->stride, k->stride};
    cudnnBackendDescriptor_t d = new_descriptor(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set_numbers(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 1, &n_spatial);
    set_numbers(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, n_spatial, pads);
    set_numbers(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, n_spatial, pads);
    set_numbers(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, n_spatial, ones);
    set_numbers(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, n_spatial, strides);
    finalize(b, d);
    return d;
}

static void build_conv(builder *b, const void *key) {
    const tt_cuda_conv_key *k = key;
    const float one = 1, zero = 0;
    cudnnBackendDescriptor_t x = new_picture(b, 1, k->n, k->c_in, k->h, k->w);
    cudnnBackendDescriptor_t w = new_picture(b, 2, k->c_out, k->c_in, k->kernel, k->kernel);
    cudnnBackendDescriptor_t y = new_picture(b, 3, k->n, k->c_out, k->y_h, k->y_w);
    cudnnBackendDescriptor_t conv = new_convolution(b, k);
    cudnnBackendDescriptor_t op =
        new_descriptor(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_part(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv);
    set_part(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_part(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    set_part(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    finalize(b, op);
    b->g->n_tensors = 3;
    plan_operation(b, op);
}

static cudnnBackendDescriptor_t new_heads(builder *b, int64_t uid, const tt_cuda_attention_key *k,
                                          int64_t tokens, int64_t stride) {
    const int64_t dims[RANK] = {k->n, k->heads, tokens, k->head_dim};
    const int64_t strides[RANK] = {tokens * stride, k->head_dim, stride, 1};
    cudnnBackendDescriptor_t d = new_tensor(b, uid, CUDNN_DATA_BFLOAT16, dims, strides);
    finalize(b, d);
    return d;
}

/* The scale is a number of the host, read when the plan runs. */
static cudnnBackendDescriptor_t new_scale(builder *b, const tt_cuda_attention_key *k) {
    const int64_t ones[RANK] = {1, 1, 1, 1};
    const bool by_value = true;
    cudnnBackendDescriptor_t d = new_tensor(b, SCALE_UID, CUDNN_DATA_FLOAT, ones, ones);
    set(b, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    finalize(b, d);
    b->g->scale = 1.0f / sqrtf((float)k->head_dim);
    b->g->has_scale = true;
    return d;
}

/* One operation since cuDNN 9.13 (CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR); older ones refuse it. */
static void build_attention(builder *b, const void *key) {
    const tt_cuda_attention_key *k = key;
#if CUDNN_VERSION >= 91300
    cudnnBackendDescriptor_t q = new_heads(b, 1, k, k->queries, k->q_stride);
    cudnnBackendDescriptor_t keys = new_heads(b, 2, k, k->keys, k->k_stride);
    cudnnBackendDescriptor_t v = new_heads(b, 3, k, k->keys, k->v_stride);
    cudnnBackendDescriptor_t y = new_heads(b, 4, k, k->queries, k->y_stride);
    cudnnBackendDescriptor_t scale = new_scale(b, k);
    cudnnBackendDescriptor_t op = new_descriptor(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    set_part(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    set_part(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, keys);
    set_part(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    set_part(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, y);
    set_part(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
    finalize(b, op);
    plan_operation(b, op);
#endif
    b->g->n_tensors = 4;
}

/* ---- plans by their keys
 * ----------------------------------------------------------------------------------------------------- */

static void release_graph(void *context, void *value) {
    builder b = {.dnn = &((tt_cuda_state *)context)->dnn, .g = value};
    drop_to(&b, 0);
    tt_free(value);
}

/* cuDNN may be missing: convolutions are then products over gathered pixels, and attention is our own. */
tt_status tt__cuda_graphs_open(tt_cuda_state *state, tt_err *err) {
    TT_TRY(tt__cuda_cache_new(release_graph, state, &state->graphs, err));
    if (tt__cudnn_load(&state->dnn, NULL) != TT_OK) return TT_OK;
    cudnnStatus_t status = state->dnn.cudnnCreate(&state->dnn_handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = state->dnn.cudnnSetStream(state->dnn_handle, state->stream);
    if (status == CUDNN_STATUS_SUCCESS) return TT_OK;
    return tt_fail(err, TT_E_INTERNAL, "cuDNN cannot be opened: it says \"%s\"",
                   state->dnn.cudnnGetErrorString(status));
}

void tt__cuda_graphs_close(tt_cuda_state *state) {
    tt__cuda_cache_free(state->graphs);
    if (state->dnn_handle) state->dnn.cudnnDestroy(state->dnn_handle);
}

static tt_status graph_for(tt_cuda_state *state, const void *key, size_t size, bool bf16,
                           void (*build)(builder *, const void *key), const tt_cuda_graph **out,
                           tt_err *err) {
    *out = NULL;
    if (!state->dnn_handle) return TT_OK;
    tt_cuda_graph *g = tt__cuda_cache_get(state->graphs, key, size);
    if (!g) {
        g = tt_alloc(sizeof *g);
        if (!g) return tt_fail_nomem(err, "a plan of cuDNN", sizeof *g);
        builder b = {.dnn = &state->dnn, .handle = state->dnn_handle, .g = g, .bf16 = bf16};
        build(&b, key);
        TT_TRY(tt__cuda_cache_put(state->graphs, key, size, g, err));
    }
    if (g->plan) *out = g;
    return TT_OK;
}

tt_status tt__cuda_graph_conv(tt_cuda_state *state, const tt_cuda_conv_key *key,
                              const tt_cuda_graph **out, tt_err *err) {
    return graph_for(state, key, sizeof *key, key->bf16, build_conv, out, err);
}

tt_status tt__cuda_graph_attention(tt_cuda_state *state, const tt_cuda_attention_key *key,
                                   const tt_cuda_graph **out, tt_err *err) {
    return graph_for(state, key, sizeof *key, true, build_attention, out, err);
}

/* ---- running
 * ----------------------------------------------------------------------------------------------------------------- */

static cudnnStatus_t execute(const tt_cuda_state *state, const tt_cuda_graph *g,
                             void *const *tensors, void *workspace) {
    const tt_cudnn *dnn = &state->dnn;
    int64_t uids[TT_CUDA_GRAPH_MOST_TENSORS + 1];
    void *places[TT_CUDA_GRAPH_MOST_TENSORS + 1];
    int n = g->n_tensors;
    cudnnBackendDescriptor_t pack;
    for (int i = 0; i < n; i++) uids[i] = i + 1, places[i] = tensors[i];
    if (g->has_scale) uids[n] = SCALE_UID, places[n++] = (void *)(uintptr_t)&g->scale;
    cudnnStatus_t status =
        dnn->cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    status = dnn->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                           CUDNN_TYPE_INT64, n, uids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = dnn->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                               CUDNN_TYPE_VOID_PTR, n, places);
    if (status == CUDNN_STATUS_SUCCESS)
        status = dnn->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                               CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (status == CUDNN_STATUS_SUCCESS) status = dnn->cudnnBackendFinalize(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = dnn->cudnnBackendExecute(state->dnn_handle, g->plan, pack);
    dnn->cudnnBackendDestroyDescriptor(pack);
    return status;
}

tt_status tt__cuda_graph_run(tt_ops *ops, const tt_cuda_graph *g, void *const *tensors,
                             tt_err *err) {
    tt_cuda_state *state = tt__cuda_state(ops);
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    tt_cuda_workspace workspace;
    TT_TRY(tt__cuda_workspace_take(ops, (size_t)g->workspace, &workspace, err));
    if (!ops->scratch.measuring) status = execute(state, g, tensors, workspace.place);
    tt__cuda_workspace_give(ops, &workspace);
    if (status == CUDNN_STATUS_SUCCESS) return TT_OK;
    return tt_fail(err, TT_E_INTERNAL, "a convolution or attention: cuDNN says \"%s\"",
                   state->dnn.cudnnGetErrorString(status));
}
