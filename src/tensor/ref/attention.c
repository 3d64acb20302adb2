/* softmax(q k^T / sqrt(d)) v, one query at a time: three passes over the keys instead of a row of
 * scores, so that nothing is allocated. */
#include <math.h>

#include "tensor/ref/ref.h"

typedef struct head_view { /* one picture, one head */
    const tt_attention *a;
    int64_t n, head;
} head_view;

static double at(const tt_tensor *t, int64_t offset, const head_view *v, int64_t token, int64_t i) {
    return tt__ref_get(t, (v->n * tt_tensor_tokens(t) + token) * t->c + offset +
                              v->head * v->a->head_dim + i);
}

static double score(const head_view *v, int64_t query, int64_t key) {
    const tt_attention *a = v->a;
    double sum = 0;
    for (int64_t i = 0; i < a->head_dim; i++)
        sum += at(a->q, a->q_offset, v, query, i) * at(a->k, a->k_offset, v, key, i);
    return sum / sqrt((double)a->head_dim);
}

static void attend(const head_view *v, int64_t query, tt_tensor *y) {
    const tt_attention *a = v->a;
    int64_t keys = tt_tensor_tokens(a->k);
    if (a->causal && keys > query + 1) keys = query + 1;
    double largest = -INFINITY, total = 0;
    for (int64_t key = 0; key < keys; key++) largest = fmax(largest, score(v, query, key));
    for (int64_t key = 0; key < keys; key++) total += exp(score(v, query, key) - largest);
    for (int64_t i = 0; i < a->head_dim; i++) {
        double sum = 0;
        for (int64_t key = 0; key < keys; key++)
            sum += exp(score(v, query, key) - largest) * at(a->v, a->v_offset, v, key, i);
        int64_t row = v->n * tt_tensor_tokens(y) + query;
        tt__ref_set(y, row * y->c + v->head * a->head_dim + i, sum / total);
    }
}

tt_status tt__ref_attention(tt_ops *ops, const tt_attention *args, tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    for (int64_t n = 0; n < y->n; n++)
        for (int64_t head = 0; head < args->heads; head++) {
            const head_view view = {args, n, head};
            for (int64_t query = 0; query < tt_tensor_tokens(y); query++) attend(&view, query, y);
        }
    return TT_OK;
}
