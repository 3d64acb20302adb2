/* Matrix products by cuBLASLt.
 *
 * The library counts columns first; seen that way our row-major y[rows, n_out] is a matrix [n_out, rows], and y = x w^T becomes
 * w' x' with nothing moved. A plan is what its heuristic says is fastest for the sizes, made when they first occur, in rehearsal.
 * Bias and the added tensor ride on the product. What it has no algorithm for goes to gemm.cu. */
#include <string.h>

#include "base/alloc.h"
#include "tensor/cuda/cuda.h"

/* What an algorithm may use besides its operands; the library's own advice for Hopper. */
static const size_t MOST_WORKSPACE = (size_t)32 << 20;

enum {
    WIDEST_ALIGN = 16, /* bytes, of operands; more gains nothing */
};

/* The step from one batch's w, or y, to the next is not part of the key: where it is the distance of two allocations, it is different
 * in every layer, and the algorithm does not depend on it. */

typedef struct product_key {
    int64_t rows, n_out, k, x_stride, w_stride, y_stride, batch;
    int32_t align, flags; /* bits: w_is_kn, in_bf16, out_bf16, bias, add */
} product_key;

typedef struct product_plan {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
    bool has_algo;
} product_plan;

static tt_status check(const tt_cuda_state *s, cublasStatus_t status, tt_err *err) {
    if (status == CUBLAS_STATUS_SUCCESS) return TT_OK;
    return tt_fail(err, TT_E_INTERNAL, "a product: cuBLASLt says \"%s\"",
                   s->blas.cublasLtGetStatusString(status));
}

static void release_plan(void *context, void *value) {
    const tt_cublas *blas = &((tt_cuda_state *)context)->blas;
    product_plan *p = value;
    if (p->desc) blas->cublasLtMatmulDescDestroy(p->desc);
    if (p->w) blas->cublasLtMatrixLayoutDestroy(p->w);
    if (p->x) blas->cublasLtMatrixLayoutDestroy(p->x);
    if (p->y) blas->cublasLtMatrixLayoutDestroy(p->y);
    tt_free(p);
}

tt_status tt__cuda_products_open(tt_cuda_state *state, tt_err *err) {
    TT_TRY(tt__cublas_load(&state->blas, err));
    TT_TRY(check(state, state->blas.cublasLtCreate(&state->lt), err));
    return tt__cuda_cache_new(release_plan, state, &state->products, err);
}

void tt__cuda_products_close(tt_cuda_state *state) {
    tt__cuda_cache_free(state->products);
    if (state->lt) state->blas.cublasLtDestroy(state->lt);
}

/* The largest power of two, up to 16, that all operands' addresses and steps are multiples of. */
static int32_t alignment(const tt_cuda_gemm *g) {
    size_t in = g->in_bf16 ? 2 : 4, out = g->out_bf16 ? 2 : 4;
    size_t all = (size_t)(uintptr_t)g->x | (size_t)(uintptr_t)g->w | (size_t)(uintptr_t)g->y |
                 (size_t)(uintptr_t)g->add | WIDEST_ALIGN;
    all |= (size_t)(g->x_batch | g->w_batch) * in |
           (size_t)g->y_batch * out; /* of negative steps too */
    return (int32_t)(all & (~all + 1));
}

static product_key key_of(const tt_cuda_gemm *g) {
    return (product_key){.rows = g->rows,
                         .n_out = g->n_out,
                         .k = g->k,
                         .x_stride = g->x_stride,
                         .w_stride = g->w_stride,
                         .y_stride = g->y_stride,
                         .batch = g->batch,
                         .align = alignment(g),
                         .flags = g->w_is_kn | g->in_bf16 << 1 | g->out_bf16 << 2 |
                                  (g->bias != NULL) << 3 | (g->add != NULL) << 4};
}

/* ---- plans
 * -------------------------------------------------------------------------------------------------------------------- */

static tt_status make_layout(tt_cuda_state *s, bool bf16, int64_t rows, int64_t columns,
                             int64_t stride, int64_t n_batch, cublasLtMatrixLayout_t *out,
                             tt_err *err) {
    const tt_cublas *blas = &s->blas;
    int32_t batch = (int32_t)n_batch;
    TT_TRY(check(s,
                 blas->cublasLtMatrixLayoutCreate(out, bf16 ? CUDA_R_16BF : CUDA_R_32F,
                                                  (uint64_t)rows, (uint64_t)columns, stride),
                 err));
    return check(s,
                 blas->cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                        &batch, sizeof batch),
                 err);
}

static tt_status set_step(tt_cuda_state *s, cublasLtMatrixLayout_t layout, int64_t step,
                          tt_err *err) {
    return check(s,
                 s->blas.cublasLtMatrixLayoutSetAttribute(
                     layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step),
                 err);
}

static tt_status set_steps(tt_cuda_state *s, const tt_cuda_gemm *g, product_plan *p, tt_err *err) {
    if (g->batch == 1) return TT_OK;
    TT_TRY(set_step(s, p->w, g->w_batch, err));
    TT_TRY(set_step(s, p->x, g->x_batch, err));
    return set_step(s, p->y, g->y_batch, err);
}

static tt_status set_desc(tt_cuda_state *s, product_plan *p, cublasLtMatmulDescAttributes_t name,
                          const void *value, size_t size, tt_err *err) {
    return check(s, s->blas.cublasLtMatmulDescSetAttribute(p->desc, name, value, size), err);
}

static tt_status set_bias(tt_cuda_state *s, product_plan *p, const void *bias, tt_err *err) {
    return set_desc(s, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, err);
}

static tt_status describe(tt_cuda_state *s, const tt_cuda_gemm *g, product_plan *p, tt_err *err) {
    const cublasOperation_t turn = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    TT_TRY(
        check(s, s->blas.cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), err));
    if (!g->w_is_kn) TT_TRY(set_desc(s, p, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof turn, err));
    if (g->bias) {
        TT_TRY(set_desc(s, p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue, err));
        TT_TRY(set_bias(s, p, g->bias_as_y, err));
    }
    int64_t w_rows = g->w_is_kn ? g->n_out : g->k, w_columns = g->w_is_kn ? g->k : g->n_out;
    TT_TRY(make_layout(s, g->in_bf16, w_rows, w_columns, g->w_stride, g->batch, &p->w, err));
    TT_TRY(make_layout(s, g->in_bf16, g->k, g->rows, g->x_stride, g->batch, &p->x, err));
    TT_TRY(make_layout(s, g->out_bf16, g->n_out, g->rows, g->y_stride, g->batch, &p->y, err));
    return set_steps(s, g, p, err);
}

static tt_status set_preference(tt_cuda_state *s, cublasLtMatmulPreference_t preference,
                                uint32_t align, tt_err *err) {
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const tt_cublas *blas = &s->blas;
    TT_TRY(check(s,
                 blas->cublasLtMatmulPreferenceSetAttribute(
                     preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &MOST_WORKSPACE,
                     sizeof MOST_WORKSPACE),
                 err));
    for (int i = 0; i < 4; i++)
        TT_TRY(check(s,
                     blas->cublasLtMatmulPreferenceSetAttribute(preference, aligned[i], &align,
                                                                sizeof align),
                     err));
    return TT_OK;
}

/* No algorithm is an answer, not a failure. */
static tt_status choose(tt_cuda_state *s, product_plan *p, int32_t align, tt_err *err) {
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    TT_TRY(check(s, s->blas.cublasLtMatmulPreferenceCreate(&preference), err));
    tt_status status = set_preference(s, preference, (uint32_t)align, err);
    if (status == TT_OK &&
        s->blas.cublasLtMatmulAlgoGetHeuristic(s->lt, p->desc, p->w, p->x, p->y, p->y, preference,
                                               1, &found, &n) == CUBLAS_STATUS_SUCCESS &&
        n == 1 && found.state == CUBLAS_STATUS_SUCCESS) {
        p->has_algo = true;
        p->algo = found.algo;
        p->workspace = found.workspaceSize;
    }
    s->blas.cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

static tt_status plan_for(tt_cuda_state *s, const tt_cuda_gemm *g, product_plan **out,
                          tt_err *err) {
    const product_key key = key_of(g);
    *out = tt__cuda_cache_get(s->products, &key, sizeof key);
    if (*out) return TT_OK;
    product_plan *p = tt_alloc(sizeof *p);
    if (!p) return tt_fail_nomem(err, "a product's plan", sizeof *p);
    tt_status status = describe(s, g, p, err);
    if (status == TT_OK) status = choose(s, p, key.align, err);
    if (status != TT_OK) {
        release_plan(s, p);
        return status;
    }
    *out = p;
    return tt__cuda_cache_put(s->products, &key, sizeof key, p, err);
}

/* ---- running
 * ------------------------------------------------------------------------------------------------------------------ */

static tt_status multiply(tt_cuda_state *s, const tt_cuda_gemm *g, product_plan *p, void *workspace,
                          tt_err *err) {
    const float one = 1, zero = 0;
    if (!p->has_algo) return tt__cuda_check(tt__cuda_launch_gemm(g, s->stream), "a product", err);
    if (g->bias) TT_TRY(set_bias(s, p, g->bias_as_y, err));
    TT_TRY(set_steps(s, g, p, err));
    return check(s,
                 s->blas.cublasLtMatmul(s->lt, p->desc, &g->alpha, g->w, p->w, g->x, p->x,
                                        g->add ? &one : &zero, g->add ? g->add : g->y, p->y, g->y,
                                        p->y, &p->algo, workspace, p->workspace, s->stream),
                 err);
}

tt_status tt__cuda_product(tt_ops *ops, const tt_cuda_gemm *g, tt_err *err) {
    tt_cuda_state *state = tt__cuda_state(ops);
    product_plan *plan;
    tt_cuda_workspace workspace;
    TT_TRY(plan_for(state, g, &plan, err));
    TT_TRY(tt__cuda_workspace_take(ops, plan->workspace, &workspace, err));
    tt_status status =
        ops->scratch.measuring ? TT_OK : multiply(state, g, plan, workspace.place, err);
    tt__cuda_workspace_give(ops, &workspace);
    return status;
}
