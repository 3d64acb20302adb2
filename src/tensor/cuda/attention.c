/* Attention, by the first way that fits:
 *   cuDNN's own operation      bf16, heads up to 128 wide, no causal mask
 *   attention.cu               the same, also causal, on every GPU
 *   products                   anything: f32, and the VAE's one head of 512. Scores of a block of queries, softmax, product with
 *                              the values; the block is chosen so that its scores stay near the cache. */
#include "tensor/cuda/cuda.h"

#include <math.h>

enum {
    WIDEST_FLASH = 128,
    PIECE =
        8, /* bf16 values in 16 bytes: what tensor cores' loads want offsets and strides to be multiples of */
};

/* Scores at once: 32 MB of f32, what an L2 cache of the smaller GPUs holds. */
static const int64_t MOST_SCORES = (int64_t)8 << 20;

typedef struct block { /* of queries of one picture, all heads */
    const tt_attention *a;
    int64_t picture, first, rows;
    void *scores, *p; /* [heads, rows, keys] */
} block;

static char *at(const tt_tensor *t, int64_t token, int64_t column) {
    return (char *)t->data + (size_t)(token * t->c + column) * tt_dtype_size(t->dtype);
}

/* ---- by products
 * ---------------------------------------------------------------------------------------------------------------- */

static tt_status score(tt_ops *ops, const block *b, tt_err *err) {
    const tt_attention *a = b->a;
    int64_t keys = tt_tensor_tokens(a->k), queries = tt_tensor_tokens(a->q);
    const tt_cuda_gemm g = {.rows = b->rows,
                            .n_out = keys,
                            .k = a->head_dim,
                            .x_stride = a->q->c,
                            .w_stride = a->k->c,
                            .y_stride = keys,
                            .batch = a->heads,
                            .x_batch = a->head_dim,
                            .w_batch = a->head_dim,
                            .y_batch = b->rows * keys,
                            .x = at(a->q, b->picture * queries + b->first, a->q_offset),
                            .w = at(a->k, b->picture * keys, a->k_offset),
                            .y = b->scores,
                            .alpha = 1.0f / sqrtf((float)a->head_dim),
                            .in_bf16 = ops->dtype == TT_BF16};
    return tt__cuda_product(ops, &g, err);
}

static tt_status soften(tt_ops *ops, const block *b, tt_err *err) {
    const tt_cuda_softmax s = {.scores = b->scores,
                               .p = b->p,
                               .heads = b->a->heads,
                               .rows = b->rows,
                               .keys = tt_tensor_tokens(b->a->k),
                               .first = b->first,
                               .causal = b->a->causal,
                               .bf16 = ops->dtype == TT_BF16};
    if (ops->scratch.measuring) return TT_OK;
    return tt__cuda_check(tt__cuda_launch_softmax(&s, tt__cuda_state(ops)->stream), "softmax", err);
}

static tt_status weigh_values(tt_ops *ops, const block *b, const tt_tensor *y, tt_err *err) {
    const tt_attention *a = b->a;
    int64_t keys = tt_tensor_tokens(a->k), queries = tt_tensor_tokens(a->q);
    bool bf16 = ops->dtype == TT_BF16;
    const tt_cuda_gemm g = {.rows = b->rows,
                            .n_out = a->head_dim,
                            .k = keys,
                            .x_stride = keys,
                            .w_stride = a->v->c,
                            .y_stride = y->c,
                            .batch = a->heads,
                            .x_batch = b->rows * keys,
                            .w_batch = a->head_dim,
                            .y_batch = a->head_dim,
                            .x = b->p,
                            .w = at(a->v, b->picture * keys, a->v_offset),
                            .y = at(y, b->picture * queries + b->first, 0),
                            .alpha = 1,
                            .w_is_kn = true,
                            .in_bf16 = bf16,
                            .out_bf16 = bf16};
    return tt__cuda_product(ops, &g, err);
}

static tt_status attend_block(tt_ops *ops, const block *b, const tt_tensor *y, tt_err *err) {
    TT_TRY(score(ops, b, err));
    TT_TRY(soften(ops, b, err));
    return weigh_values(ops, b, y, err);
}

static tt_status each_block(tt_ops *ops, const tt_attention *a, int64_t most_rows, void *scores,
                            void *p, const tt_tensor *y, tt_err *err) {
    int64_t queries = tt_tensor_tokens(a->q);
    for (int64_t n = 0; n < y->n; n++)
        for (int64_t first = 0; first < queries; first += most_rows) {
            const block b = {.a = a,
                             .picture = n,
                             .first = first,
                             .rows = queries - first < most_rows ? queries - first : most_rows,
                             .scores = scores,
                             .p = p};
            TT_TRY(attend_block(ops, &b, y, err));
        }
    return TT_OK;
}

static tt_status by_products(tt_ops *ops, const tt_attention *a, const tt_tensor *y, tt_err *err) {
    int64_t keys = tt_tensor_tokens(a->k), queries = tt_tensor_tokens(a->q);
    int64_t row = a->heads * keys, most_rows = row < MOST_SCORES ? MOST_SCORES / row : 1;
    void *scores, *p = NULL;
    if (most_rows > queries) most_rows = queries;
    size_t count = (size_t)(most_rows * row);
    TT_TRY(tt_scratch_take(&ops->scratch, count * sizeof(float), &scores, err));
    tt_status status = TT_OK;
    if (ops->dtype == TT_BF16)
        status = tt_scratch_take(&ops->scratch, count * sizeof(uint16_t), &p, err);
    if (status == TT_OK) status = each_block(ops, a, most_rows, scores, p ? p : scores, y, err);
    if (p) tt_scratch_give(&ops->scratch, p);
    tt_scratch_give(&ops->scratch, scores);
    return status;
}

/* ---- in one piece
 * --------------------------------------------------------------------------------------------------------------- */

static bool is_flash(const tt_ops *ops, const tt_attention *a) {
    int64_t all =
        a->head_dim | a->q_offset | a->k_offset | a->v_offset | a->q->c | a->k->c | a->v->c;
    return ops->dtype == TT_BF16 && a->head_dim <= WIDEST_FLASH && all % PIECE == 0;
}

static tt_status by_cudnn(tt_ops *ops, const tt_attention *a, const tt_tensor *y, bool *done,
                          tt_err *err) {
    const tt_cuda_attention_key key = {.kind = TT_CUDA_GRAPH_ATTENTION,
                                       .n = y->n,
                                       .heads = a->heads,
                                       .head_dim = a->head_dim,
                                       .queries = tt_tensor_tokens(a->q),
                                       .keys = tt_tensor_tokens(a->k),
                                       .q_stride = a->q->c,
                                       .k_stride = a->k->c,
                                       .v_stride = a->v->c,
                                       .y_stride = y->c};
    const tt_cuda_graph *graph;
    void *const tensors[] = {at(a->q, 0, a->q_offset), at(a->k, 0, a->k_offset),
                             at(a->v, 0, a->v_offset), y->data};
    TT_TRY(tt__cuda_graph_attention(tt__cuda_state(ops), &key, &graph, err));
    *done = graph != NULL;
    return graph ? tt__cuda_graph_run(ops, graph, tensors, err) : TT_OK;
}

static tt_status by_flash(tt_ops *ops, const tt_attention *a, const tt_tensor *y, tt_err *err) {
    const tt_cuda_flash f = {.q = at(a->q, 0, a->q_offset),
                             .k = at(a->k, 0, a->k_offset),
                             .v = at(a->v, 0, a->v_offset),
                             .y = y->data,
                             .n = y->n,
                             .heads = a->heads,
                             .head_dim = a->head_dim,
                             .queries = tt_tensor_tokens(a->q),
                             .keys = tt_tensor_tokens(a->k),
                             .q_stride = a->q->c,
                             .k_stride = a->k->c,
                             .v_stride = a->v->c,
                             .y_stride = y->c,
                             .causal = a->causal};
    if (ops->scratch.measuring) return TT_OK;
    return tt__cuda_check(tt__cuda_launch_flash(&f, tt__cuda_state(ops)->stream), "attention", err);
}

tt_status tt__cuda_attention(tt_ops *ops, const tt_attention *args, tt_tensor *y, tt_err *err) {
    bool done = false;
    TT_TRY(tt__cuda_catch_up(ops, err));
    if (!is_flash(ops, args)) return by_products(ops, args, y, err);
    if (!args->causal) TT_TRY(by_cudnn(ops, args, y, &done, err));
    return done ? TT_OK : by_flash(ops, args, y, err);
}
