/* CLIP's text transformer: pre-norm, causal, with biases everywhere.
 *
 * SDXL takes the states before the last layer; the last layer only matters for the pooled row, so an encoder without text
 * projection does not even load it. */
#include "text/clip.h"

#include <string.h>

#include "base/alloc.h"

enum { MAX_LAYERS = 128 }; /* bigG has 32 */

typedef struct clip_layer {
    tt_weight *norm1, *qkv, *out, *norm2, *fc1, *fc2;
} clip_layer;

struct tt_clip {
    tt_ops *ops;
    tt_text_facts facts;
    tt_activation act;
    int64_t width, mlp_width, pooled_width, heads;
    int64_t positions_n, vocabulary;
    int n_layers; /* those loaded */
    int n_hidden; /* how many give the hidden states */
    clip_layer *layers;
    tt_weight *tokens, *positions, *final_norm, *projection;
};

int64_t tt_clip_width(const tt_clip *c) {
    return c->width;
}
int64_t tt_clip_pooled_width(const tt_clip *c) {
    return c->pooled_width;
}
int tt_clip_positions(const tt_clip *c) {
    return (int)c->positions_n;
}
int64_t tt_clip_vocabulary(const tt_clip *c) {
    return c->vocabulary;
}

/* ---- loading ---------------------------------------------------------------------------------------- */

static tt_status find_activation(tt_clip *c, const char *prefix, tt_err *err) {
    static const struct {
        const char *name;
        tt_activation act;
    } known[] = {{"quick_gelu", TT_ACT_QUICK_GELU},
                 {"gelu", TT_ACT_GELU},
                 {"gelu_new", TT_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", TT_ACT_GELU_TANH},
                 {"relu", TT_ACT_RELU},
                 {"silu", TT_ACT_SILU}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(c->facts.activation, known[i].name) == 0) {
            c->act = known[i].act;
            return TT_OK;
        }
    return tt_fail(err, TT_E_UNSUPPORTED, "%s: activation \"%s\", expected quick_gelu or gelu",
                   prefix, c->facts.activation);
}

static tt_status find_sizes(tt_clip *c, const tt_loader *l, const char *prefix, tt_err *err) {
    char embeddings[TT_NAME_BYTES], layers[TT_NAME_BYTES];
    tt_name(embeddings, "%s.text_model.embeddings", prefix);
    tt_name(layers, "%s.text_model.encoder.layers", prefix);
    TT_TRY(tt_load_size(l, embeddings, "token_embedding", 0, &c->vocabulary, err));
    TT_TRY(tt_load_size(l, embeddings, "token_embedding", 1, &c->width, err));
    TT_TRY(tt_load_size(l, embeddings, "position_embedding", 0, &c->positions_n, err));
    TT_TRY(tt_load_size(l, layers, "0.mlp.fc1", 0, &c->mlp_width, err));
    if (tt_load_has(l, prefix, "text_projection"))
        TT_TRY(tt_load_size(l, prefix, "text_projection", 0, &c->pooled_width, err));
    c->heads = c->facts.heads;
    if (c->heads == 0) c->heads = c->width % 64 == 0 ? c->width / 64 : 1;
    if (c->heads < 1 || c->width % c->heads != 0)
        return tt_fail(err, TT_E_FORMAT, "%s: width %lld does not divide into %lld heads", prefix,
                       (long long)c->width, (long long)c->heads);
    return TT_OK;
}

static tt_status load_layer(clip_layer *y, tt_loader *l, const char *prefix, tt_err *err) {
    static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    TT_TRY(tt_load_norm(l, prefix, "layer_norm1", &y->norm1, err));
    TT_TRY(tt_load_stacked(l, prefix, qkv, 3, &y->qkv, err));
    TT_TRY(tt_load_linear(l, prefix, "self_attn.out_proj", &y->out, err));
    TT_TRY(tt_load_norm(l, prefix, "layer_norm2", &y->norm2, err));
    TT_TRY(tt_load_linear(l, prefix, "mlp.fc1", &y->fc1, err));
    return tt_load_linear(l, prefix, "mlp.fc2", &y->fc2, err);
}

/* Layers end where there is no norm: is it the norm alone that is missing? */
static tt_status check_end(const tt_checkpoint *c, const char *prefix, int n, tt_err *err) {
    char name[TT_NAME_BYTES];
    tt_tensor_info info;
    tt_name(name, "%s.text_model.encoder.layers.%d.mlp.fc1.weight", prefix, n);
    if (!tt_checkpoint_has(c, name)) return TT_OK;
    tt_name(name, "%s.text_model.encoder.layers.%d.layer_norm1.weight", prefix, n);
    return tt_checkpoint_info(c, name, &info, err);
}

static tt_status load_layers(tt_clip *c, tt_loader *l, const char *prefix, tt_err *err) {
    char name[TT_NAME_BYTES];
    int n = tt_checkpoint_count(
        tt_loader_checkpoint(l),
        tt_name(name, "%s.text_model.encoder.layers.%%d.layer_norm1.weight", prefix));
    TT_TRY(check_end(tt_loader_checkpoint(l), prefix, n, err));
    if (n < 1 || n > MAX_LAYERS)
        return tt_fail(err, TT_E_FORMAT, "%s: %d layers, expected 1 to %d", prefix, n, MAX_LAYERS);
    c->n_hidden = n - 1;
    c->n_layers = c->pooled_width ? n : n - 1;
    c->layers = tt_alloc((size_t)n * sizeof *c->layers);
    if (!c->layers) return tt_fail_nomem(err, "a text encoder", (size_t)n * sizeof *c->layers);
    for (int i = 0; i < c->n_layers; i++)
        TT_TRY(load_layer(&c->layers[i], l,
                          tt_name(name, "%s.text_model.encoder.layers.%d", prefix, i), err));
    return TT_OK;
}

static tt_status load_all(tt_clip *c, tt_loader *l, const char *prefix, tt_err *err) {
    char model[TT_NAME_BYTES];
    tt_name(model, "%s.text_model", prefix);
    TT_TRY(find_activation(c, prefix, err));
    TT_TRY(find_sizes(c, l, prefix, err));
    TT_TRY(tt_load_embedding(l, model, "embeddings.token_embedding", &c->tokens, err));
    TT_TRY(tt_load_embedding(l, model, "embeddings.position_embedding", &c->positions, err));
    TT_TRY(load_layers(c, l, prefix, err));
    if (c->pooled_width == 0) return TT_OK;
    TT_TRY(tt_load_norm(l, model, "final_layer_norm", &c->final_norm, err));
    return tt_load_linear(l, prefix, "text_projection", &c->projection, err);
}

tt_status tt_clip_open(tt_loader *loader, tt_ops *ops, int which, tt_clip **out, tt_err *err) {
    *out = NULL;
    tt_clip *c = tt_alloc(sizeof *c);
    if (!c) return tt_fail_nomem(err, "a text encoder", sizeof *c);
    c->ops = ops;
    c->facts = tt_checkpoint_facts(tt_loader_checkpoint(loader))->text[which];
    tt_loader_use(loader, ops);
    tt_status status = load_all(c, loader, which == 0 ? "te1" : "te2", err);
    if (status == TT_OK)
        *out = c;
    else
        tt_clip_close(c);
    return status;
}

void tt_clip_close(tt_clip *c) {
    if (!c) return;
    for (int i = 0; c->layers && i < c->n_layers; i++) {
        const clip_layer *y = &c->layers[i];
        tt_weight *const weights[] = {y->norm1, y->qkv, y->out, y->norm2, y->fc1, y->fc2};
        for (size_t j = 0; j < sizeof weights / sizeof *weights; j++)
            tt_weight_free(c->ops, weights[j]);
    }
    tt_free(c->layers);
    tt_weight_free(c->ops, c->tokens);
    tt_weight_free(c->ops, c->positions);
    tt_weight_free(c->ops, c->final_norm);
    tt_weight_free(c->ops, c->projection);
    tt_free(c);
}

/* ---- encoding --------------------------------------------------------------------------------------- */

/* *y = w(norm(x)), with an activation; fresh. */
static tt_status normed_product(const tt_clip *c, const tt_weight *norm, const tt_weight *w,
                                tt_activation act, const tt_tensor *x, tt_tensor *y, tt_err *err) {
    tt_tensor normed;
    TT_TRY(tt_scratch_new(c->ops, 1, 1, x->w, x->c, &normed, err));
    TT_TRY(tt_op_layer_norm(c->ops, norm, c->facts.norm_eps, x, &normed, err));
    TT_TRY(tt_scratch_new(c->ops, 1, 1, x->w, tt_weight_rows(w), y, err));
    TT_TRY(tt_op_linear(c->ops, w, &normed, &(tt_epilogue){.act = act}, y, err));
    tt_scratch_free(c->ops, &normed);
    return TT_OK;
}

/* *x += w(branch); gives branch back. */
static tt_status add_product(const tt_clip *c, const tt_weight *w, tt_tensor *branch, tt_tensor *x,
                             tt_err *err) {
    tt_tensor y;
    TT_TRY(tt_scratch_new(c->ops, 1, 1, x->w, x->c, &y, err));
    TT_TRY(tt_op_linear(c->ops, w, branch, &(tt_epilogue){.add = x}, &y, err));
    tt_scratch_free(c->ops, branch);
    tt_scratch_free(c->ops, x);
    *x = y;
    return TT_OK;
}

static tt_status run_layer(const tt_clip *c, const clip_layer *layer, tt_tensor *x, tt_err *err) {
    tt_tensor qkv, attended, hidden;
    TT_TRY(normed_product(c, layer->norm1, layer->qkv, TT_ACT_NONE, x, &qkv, err));
    const tt_attention args = {.q = &qkv,
                               .k = &qkv,
                               .v = &qkv,
                               .k_offset = c->width,
                               .v_offset = 2 * c->width,
                               .heads = c->heads,
                               .head_dim = c->width / c->heads,
                               .causal = true};
    TT_TRY(tt_scratch_new(c->ops, 1, 1, x->w, c->width, &attended, err));
    TT_TRY(tt_op_attention(c->ops, &args, &attended, err));
    tt_scratch_free(c->ops, &qkv);
    TT_TRY(add_product(c, layer->out, &attended, x, err));
    TT_TRY(normed_product(c, layer->norm2, layer->fc1, c->act, x, &hidden, err));
    return add_product(c, layer->fc2, &hidden, x, err);
}

/* Where the pooled vector is read: the first end token, or the first largest id (engine.md 1.3). */
static int64_t pooled_row(const tt_clip *c, const int32_t *ids) {
    int64_t largest = 0;
    for (int64_t i = 0; i < c->positions_n; i++) {
        if (!c->facts.pool_at_largest && ids[i] == c->facts.eos_id) return i;
        if (ids[i] > ids[largest]) largest = i;
    }
    return c->facts.pool_at_largest ? largest : 0;
}

/* Row `row` of x through the final norm and the projection. */
static tt_status pool(const tt_clip *c, const tt_tensor *x, int64_t row, float *pooled,
                      tt_err *err) {
    tt_tensor normed, y;
    TT_TRY(tt_scratch_new(c->ops, 1, 1, x->w, x->c, &normed, err));
    TT_TRY(tt_op_layer_norm(c->ops, c->final_norm, c->facts.norm_eps, x, &normed, err));
    tt_tensor one = normed;
    one.w = 1;
    one.data = (char *)normed.data + (size_t)(row * x->c) * tt_dtype_size(x->dtype);
    TT_TRY(tt_scratch_new(c->ops, 1, 1, 1, c->pooled_width, &y, err));
    TT_TRY(tt_op_linear(c->ops, c->projection, &one, NULL, &y, err));
    TT_TRY(tt_op_download(c->ops, &y, pooled, err));
    tt_scratch_free(c->ops, &normed);
    tt_scratch_free(c->ops, &y);
    return TT_OK;
}

/* Puts the given rows, with their positions added, into x. The rows make a table of their own, so that the back-end adds the
 * positions as it does for ids; the two are then merged on the host, where rounding to x's type happened already. */
static tt_status inject_rows(const tt_clip *c, const float *const *rows, const int32_t *ids,
                             float *host, tt_tensor *x, tt_err *err) {
    size_t width = (size_t)c->width, n = (size_t)c->positions_n;
    tt_weight *table = NULL;
    tt_tensor y = {0};
    tt_status status = TT_OK;
    float *merged = host, *values = host + n * width; /* then values in the back-end's type */
    for (size_t i = 0; i < n; i++)
        if (rows[i]) memcpy(values + i * width, rows[i], width * sizeof *values);
    tt_dtype dtype = tt_ops_dtype(c->ops);
    tt_convert(merged, dtype, values, TT_F32, n * width);
    TT_TRY_OUT(tt_weight_embedding(c->ops, merged, c->positions_n, c->width, &table, err));
    TT_TRY_OUT(tt_scratch_new(c->ops, 1, 1, c->positions_n, c->width, &y, err));
    TT_TRY_OUT(tt_op_embed(c->ops, table, c->positions, ids, &y, err));
    TT_TRY_OUT(tt_op_download(c->ops, x, merged, err));
    TT_TRY_OUT(tt_op_download(c->ops, &y, values, err));
    for (size_t i = 0; i < n; i++)
        if (rows[i]) memcpy(merged + i * width, values + i * width, width * sizeof *merged);
    status = tt_op_upload(c->ops, merged, x, err);
out:
    tt_scratch_free(c->ops, &y);
    tt_weight_free(c->ops, table);
    return status;
}

static tt_status embed_rows(const tt_clip *c, const float *const *rows, tt_tensor *x, tt_err *err) {
    size_t count = (size_t)(c->positions_n * c->width), n = (size_t)c->positions_n;
    bool has_rows = false;
    for (size_t i = 0; rows && i < n; i++) has_rows |= rows[i] != NULL;
    if (!has_rows) return TT_OK;
    int32_t *ids = tt_alloc(n * sizeof *ids); /* row i of the table at position i */
    float *host = tt_alloc(2 * count * sizeof *host);
    for (size_t i = 0; ids && i < n; i++) ids[i] = (int32_t)i;
    tt_status status = ids && host ? inject_rows(c, rows, ids, host, x, err)
                                   : tt_fail_nomem(err, "embeddings", 2 * count * sizeof *host);
    tt_free(ids);
    tt_free(host);
    return status;
}

tt_status tt_clip_encode_input(tt_clip *c, const tt_clip_input *input, float *hidden, float *pooled,
                               tt_err *err) {
    tt_tensor x;
    bool wants_pooled = pooled && c->pooled_width > 0;
    int n_read = c->n_hidden - input->n_skipped; /* layers before `hidden` */
    if (input->n_skipped < 0 || (n_read < 1 && input->n_skipped > 0))
        return tt_fail(err, TT_E_INVALID, "text encoder: %d of its %d layers skipped",
                       input->n_skipped, c->n_hidden);
    TT_TRY(tt_scratch_new(c->ops, 1, 1, c->positions_n, c->width, &x, err));
    TT_TRY(tt_op_embed(c->ops, c->tokens, c->positions, input->ids, &x, err));
    TT_TRY(embed_rows(c, input->rows, &x, err));
    for (int i = 0; i < n_read; i++) TT_TRY(run_layer(c, &c->layers[i], &x, err));
    TT_TRY(tt_op_download(c->ops, &x, hidden, err));
    if (wants_pooled) {
        for (int i = n_read; i < c->n_layers; i++) TT_TRY(run_layer(c, &c->layers[i], &x, err));
        TT_TRY(pool(c, &x, pooled_row(c, input->ids), pooled, err));
    }
    tt_scratch_free(c->ops, &x);
    return TT_OK;
}

tt_status tt_clip_encode(tt_clip *c, const int32_t *ids, float *hidden, float *pooled,
                         tt_err *err) {
    return tt_clip_encode_input(c, &(tt_clip_input){.ids = ids}, hidden, pooled, err);
}

/* ---- clip skip -------------------------------------------------------------------------------------- */

int tt_clip_layers(const tt_clip *c) {
    return c->n_hidden;
}

tt_status tt_clip_skip_of_layers(int n_layers, tt_clip_skip_rule rule, int clip_skip,
                                 int *n_skipped, tt_err *err) {
    int base = rule == TT_CLIP_SKIP_DIFFUSERS ? 0 : 2; /* the setting of the penultimate states */
    *n_skipped = 0;
    if (rule == TT_CLIP_SKIP_IGNORED) return TT_OK;
    int largest = base + (n_layers > 1 ? n_layers - 1 : 0);
    if (clip_skip < 0 || clip_skip > largest)
        return tt_fail(err, TT_E_INVALID, "clip skip %d: this model's text encoders allow 0 to %d",
                       clip_skip, largest);
    if (clip_skip > base) *n_skipped = clip_skip - base;
    return TT_OK;
}

tt_status tt_clip_skip(const tt_clip *c, tt_clip_skip_rule rule, int clip_skip, int *n_skipped,
                       tt_err *err) {
    return tt_clip_skip_of_layers(c->n_hidden, rule, clip_skip, n_skipped, err);
}
