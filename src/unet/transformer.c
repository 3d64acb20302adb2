/* The UNet's transformer. Queries, keys and values of self-attention are one product; cross-attention's keys and
 * values are computed once per picture; the gated unit is one operation; biases and residuals ride on the products. */
#include <stddef.h>

#include "base/alloc.h"
#include "unet/parts.h"

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status load_layer(tt_unet_layer *y, tt_loader *l, const char *prefix, tt_err *err) {
    static const char *const qkv[] = {"attn1.to_q", "attn1.to_k", "attn1.to_v"};
    static const char *const kv[] = {"attn2.to_k", "attn2.to_v"};
    TT_TRY(tt_load_norm(l, prefix, "norm1", &y->norm1, err));
    TT_TRY(tt_load_stacked(l, prefix, qkv, 3, &y->qkv, err));
    TT_TRY(tt_load_linear(l, prefix, "attn1.to_out.0", &y->out1, err));
    TT_TRY(tt_load_norm(l, prefix, "norm2", &y->norm2, err));
    TT_TRY(tt_load_linear(l, prefix, "attn2.to_q", &y->q2, err));
    bool may =
        tt_loader_int8(l, false); /* used once per picture, and on text, which has large outliers */
    TT_TRY(tt_load_stacked(l, prefix, kv, 2, &y->kv2, err));
    tt_loader_int8(l, may);
    TT_TRY(tt_load_linear(l, prefix, "attn2.to_out.0", &y->out2, err));
    TT_TRY(tt_load_norm(l, prefix, "norm3", &y->norm3, err));
    TT_TRY(tt_load_gated(l, prefix, "ff.net.0.proj", &y->ff_gated, err));
    return tt_load_linear(l, prefix, "ff.net.2", &y->ff_out, err);
}

/* Checks what the shapes of one layer must agree on. */
static tt_status check_layer(const tt_unet_transformer *t, const tt_loader *l, const char *prefix,
                             int64_t context_width, tt_err *err) {
    const struct {
        const char *name;
        int dim;
        int64_t expected;
    } rules[] = {
        {"attn1.to_q", 0, t->inner},      {"attn1.to_q", 1, t->inner},
        {"attn1.to_k", 0, t->inner},      {"attn1.to_v", 0, t->inner},
        {"attn1.to_out.0", 0, t->inner},  {"attn2.to_q", 1, t->inner},
        {"attn2.to_q", 0, t->inner},      {"attn2.to_k", 0, t->inner},
        {"attn2.to_k", 1, context_width}, {"attn2.to_v", 0, t->inner},
        {"ff.net.0.proj", 1, t->inner},   {"ff.net.2", 0, t->inner},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        int64_t found;
        TT_TRY(tt_load_size(l, prefix, rules[i].name, rules[i].dim, &found, err));
        if (found != rules[i].expected)
            return tt_fail(err, TT_E_FORMAT,
                           "tensor %s.%s.weight: dimension %d is %lld, expected %lld", prefix,
                           rules[i].name, rules[i].dim, (long long)found,
                           (long long)rules[i].expected);
    }
    return TT_OK;
}

static tt_status set_heads(tt_unet_transformer *t, const tt_unet *u, const char *prefix,
                           int64_t heads, tt_err *err) {
    int64_t head_dim = u->facts.unet.head_dim;
    if (heads == 0) heads = t->inner % head_dim == 0 ? t->inner / head_dim : 1;
    if (heads < 1 || t->inner % heads != 0)
        return tt_fail(err, TT_E_FORMAT, "%s: width %lld does not divide into %lld heads", prefix,
                       (long long)t->inner, (long long)heads);
    t->heads = heads;
    t->head_dim = t->inner / heads;
    return TT_OK;
}

tt_status tt__transformer_load(tt_unet_transformer *t, tt_loader *l, const char *prefix,
                               const tt_unet *u, int64_t heads, tt_err *err) {
    char name[TT_NAME_BYTES];
    int n = tt_checkpoint_count(tt_loader_checkpoint(l),
                                tt_name(name, "%s.transformer_blocks.%%d.norm1.weight", prefix));
    if (n < 1 || n > TT_UNET_MAX_DEPTH)
        return tt_fail(err, TT_E_FORMAT, "%s: %d transformer blocks, expected 1 to %d", prefix, n,
                       TT_UNET_MAX_DEPTH);
    t->layers = tt_alloc((size_t)n * sizeof *t->layers);
    if (!t->layers) return tt_fail_nomem(err, "a transformer", (size_t)n * sizeof *t->layers);
    t->n_layers = n;
    t->groups = u->facts.unet.groups;
    t->group_eps = u->facts.unet.attention_norm_eps;
    TT_TRY(tt_load_size(l, prefix, "proj_in", 1, &t->width, err));
    TT_TRY(tt_load_size(l, prefix, "proj_in", 0, &t->inner, err));
    TT_TRY(set_heads(t, u, prefix, heads, err));
    TT_TRY(tt_load_norm(l, prefix, "norm", &t->norm, err));
    TT_TRY(tt_load_linear(l, prefix, "proj_in", &t->proj_in, err));
    TT_TRY(tt_load_linear(l, prefix, "proj_out", &t->proj_out, err));
    for (int i = 0; i < n; i++) {
        tt_name(name, "%s.transformer_blocks.%d", prefix, i);
        TT_TRY(check_layer(t, l, name, u->context_width, err));
        TT_TRY(load_layer(&t->layers[i], l, name, err));
    }
    return TT_OK;
}

void tt__transformer_release(tt_unet_transformer *t, tt_ops *ops) {
    tt__transformer_end(t, ops);
    for (int i = 0; i < t->n_layers; i++) {
        tt_unet_layer *y = &t->layers[i];
        tt_weight *const weights[] = {y->norm1, y->qkv,  y->out1,  y->norm2,    y->q2,
                                      y->kv2,   y->out2, y->norm3, y->ff_gated, y->ff_out};
        for (size_t j = 0; j < sizeof weights / sizeof *weights; j++)
            tt_weight_free(ops, weights[j]);
    }
    tt_free(t->layers);
    tt_weight_free(ops, t->norm);
    tt_weight_free(ops, t->proj_in);
    tt_weight_free(ops, t->proj_out);
    *t = (tt_unet_transformer){0};
}

/* ---- once per picture ------------------------------------------------------------------------------- */

tt_status tt__transformer_begin(tt_unet_transformer *t, tt_ops *ops, const tt_tensor *context,
                                size_t *bytes, tt_err *err) {
    for (int i = 0; i < t->n_layers; i++) {
        tt_tensor *kv = &t->layers[i].kv;
        TT_TRY(tt_request_tensor_new(ops, context->n, 1, context->w, 2 * t->inner, kv, err));
        *bytes += (size_t)tt_tensor_count(kv) * tt_dtype_size(kv->dtype);
        TT_TRY(tt_op_linear(ops, t->layers[i].kv2, context, NULL, kv, err));
    }
    return TT_OK;
}

void tt__transformer_end(tt_unet_transformer *t, tt_ops *ops) {
    for (int i = 0; i < t->n_layers; i++) tt_request_tensor_free(ops, &t->layers[i].kv);
}

/* ---- once per step ---------------------------------------------------------------------------------- */

static const float LAYER_NORM_EPS = 1e-5f; /* torch's default; no SDXL config changes it */

static tt_status like(tt_ops *ops, const tt_tensor *x, int64_t c, tt_tensor *out, tt_err *err) {
    return tt_scratch_new(ops, x->n, x->h, x->w, c, out, err);
}

/* *x = out(attention) + *x: consumes both inputs, replaces *x by a new scratch tensor. */
static tt_status add_projected(tt_ops *ops, const tt_weight *out, tt_tensor *attended, tt_tensor *x,
                               tt_err *err) {
    tt_tensor y;
    const tt_epilogue residual = {.add = x};
    TT_TRY(like(ops, x, x->c, &y, err));
    TT_TRY(tt_op_linear(ops, out, attended, &residual, &y, err));
    tt_scratch_free(ops, attended);
    tt_scratch_free(ops, x);
    *x = y;
    return TT_OK;
}

static tt_status normed_product(tt_ops *ops, const tt_weight *norm, const tt_weight *w, int64_t c,
                                const tt_tensor *x, tt_tensor *y, tt_err *err) {
    tt_tensor normed;
    TT_TRY(like(ops, x, x->c, &normed, err));
    TT_TRY(tt_op_layer_norm(ops, norm, LAYER_NORM_EPS, x, &normed, err));
    TT_TRY(like(ops, x, c, y, err));
    TT_TRY(tt_op_linear(ops, w, &normed, NULL, y, err));
    tt_scratch_free(ops, &normed);
    return TT_OK;
}

static tt_status self_attention(const tt_unet_transformer *t, const tt_unet_layer *layer,
                                tt_ops *ops, tt_tensor *x, tt_err *err) {
    tt_tensor qkv, attended;
    TT_TRY(normed_product(ops, layer->norm1, layer->qkv, 3 * t->inner, x, &qkv, err));
    const tt_attention args = {.q = &qkv,
                               .k = &qkv,
                               .v = &qkv,
                               .k_offset = t->inner,
                               .v_offset = 2 * t->inner,
                               .heads = t->heads,
                               .head_dim = t->head_dim};
    TT_TRY(like(ops, x, t->inner, &attended, err));
    TT_TRY(tt_op_attention(ops, &args, &attended, err));
    tt_scratch_free(ops, &qkv);
    return add_projected(ops, layer->out1, &attended, x, err);
}

static tt_status cross_attention(const tt_unet_transformer *t, const tt_unet_layer *layer,
                                 tt_ops *ops, tt_tensor *x, tt_err *err) {
    tt_tensor q, attended;
    TT_TRY(normed_product(ops, layer->norm2, layer->q2, t->inner, x, &q, err));
    const tt_attention args = {.q = &q,
                               .k = &layer->kv,
                               .v = &layer->kv,
                               .v_offset = t->inner,
                               .heads = t->heads,
                               .head_dim = t->head_dim};
    TT_TRY(like(ops, x, t->inner, &attended, err));
    TT_TRY(tt_op_attention(ops, &args, &attended, err));
    tt_scratch_free(ops, &q);
    return add_projected(ops, layer->out2, &attended, x, err);
}

/* GEGLU (Shazeer 2020): value * gelu(gate). */
static tt_status feed_forward(const tt_unet_transformer *t, const tt_unet_layer *layer, tt_ops *ops,
                              int64_t hidden, tt_tensor *x, tt_err *err) {
    tt_tensor normed, gated;
    TT_TRY(like(ops, x, t->inner, &normed, err));
    TT_TRY(tt_op_layer_norm(ops, layer->norm3, LAYER_NORM_EPS, x, &normed, err));
    TT_TRY(like(ops, x, hidden, &gated, err));
    TT_TRY(tt_op_gated(ops, layer->ff_gated, TT_ACT_GELU, &normed, &gated, err));
    tt_scratch_free(ops, &normed);
    return add_projected(ops, layer->ff_out, &gated, x, err);
}

tt_status tt__transformer_run(const tt_unet_transformer *t, tt_ops *ops, const tt_tensor *x,
                              tt_tensor *y, tt_err *err) {
    tt_tensor normed, hidden;
    const tt_group_norm norm = {.groups = t->groups, .eps = t->group_eps};
    TT_TRY(like(ops, x, x->c, &normed, err));
    TT_TRY(tt_op_group_norm(ops, t->norm, &norm, x, &normed, err));
    TT_TRY(like(ops, x, t->inner, &hidden, err));
    TT_TRY(tt_op_linear(ops, t->proj_in, &normed, NULL, &hidden, err));
    tt_scratch_free(ops, &normed);
    for (int i = 0; i < t->n_layers; i++) {
        const tt_unet_layer *layer = &t->layers[i];
        TT_TRY(self_attention(t, layer, ops, &hidden, err));
        TT_TRY(cross_attention(t, layer, ops, &hidden, err));
        TT_TRY(feed_forward(t, layer, ops, tt_weight_rows(layer->ff_gated), &hidden, err));
    }
    const tt_epilogue residual = {.add = x};
    TT_TRY(like(ops, x, x->c, y, err));
    TT_TRY(tt_op_linear(ops, t->proj_out, &hidden, &residual, y, err));
    tt_scratch_free(ops, &hidden);
    return TT_OK;
}
