/* The UNet's tree and its forward pass. Weights are declared in load.c.
 *
 * Ownership in the pass: every part returns a fresh scratch tensor. Tensors of the way down belong to the skip
 * stack until the way up pops them; `hidden` points at the newest one, and is only freed by its owner. */
#include "unet/unet.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "unet/parts.h"

int64_t tt_unet_in_channels(const tt_unet *u) {
    return u->in_channels;
}
int64_t tt_unet_out_channels(const tt_unet *u) {
    return u->out_channels;
}
int64_t tt_unet_context_width(const tt_unet *u) {
    return u->context_width;
}
int64_t tt_unet_pooled_width(const tt_unet *u) {
    return u->pooled_width;
}
int tt_unet_size_ids(const tt_unet *u) {
    return u->n_size_ids;
}
size_t tt_unet_request_bytes(const tt_unet *u) {
    return u->request_bytes;
}

void tt__sinusoid(float value, int64_t width, bool cos_first, float shift, float *out) {
    int64_t half = width / 2;
    const float log_period = 9.2103403719761836f; /* ln 10000 */
    for (int64_t i = 0; i < half; i++) {
        float frequency = expf(-log_period * (float)i / ((float)half - shift));
        float angle = value * frequency;
        out[cos_first ? i : half + i] = cosf(angle);
        out[cos_first ? half + i : i] = sinf(angle);
    }
    if (width % 2) out[width - 1] = 0;
}

/* ---- once per picture ------------------------------------------------------------------------------- */

typedef tt_status (*transformer_fn)(tt_unet_transformer *t, void *context, tt_err *err);

static tt_status each_transformer(tt_unet *u, transformer_fn f, void *context, tt_err *err) {
    for (int i = 0; i < u->n_levels; i++) {
        for (int j = 0; j < u->down[i].n_stages; j++)
            TT_TRY(f(&u->down[i].stages[j].transformer, context, err));
        for (int j = 0; j < u->up[i].n_stages; j++)
            TT_TRY(f(&u->up[i].stages[j].transformer, context, err));
    }
    return f(&u->middle[0].transformer, context, err);
}

typedef struct begin_context {
    tt_unet *u;
    const tt_tensor *text;
} begin_context;

static tt_status begin_transformer(tt_unet_transformer *t, void *context, tt_err *err) {
    begin_context *b = context;
    return tt__transformer_begin(t, b->u->ops, b->text, &b->u->request_bytes, err);
}

static tt_status end_transformer(tt_unet_transformer *t, void *context, tt_err *err) {
    (void)err;
    tt__transformer_end(t, ((tt_unet *)context)->ops);
    return TT_OK;
}

static float size_id(const tt_unet *u, const tt_unet_condition *c, int64_t row, int k) {
    bool is_score = u->n_size_ids == TT_UNET_REFINER_IDS && k == TT_UNET_REFINER_IDS - 1;
    return is_score && row < c->n - 1 ? c->negative_score : c->size_ids[k];
}

/* The vector beside the text: pooled row, then the sinusoids of the size numbers. */
static tt_status size_conditioning(tt_unet *u, const tt_unet_condition *c, tt_err *err) {
    int64_t width = u->pooled_width + u->n_size_ids * u->size_width;
    float *vector = tt_alloc((size_t)(c->n * width) * sizeof *vector);
    if (!vector) return tt_fail_nomem(err, "the size conditioning", (size_t)(c->n * width) * 4);
    for (int64_t i = 0; i < c->n; i++) {
        float *row = vector + i * width;
        memcpy(row, c->pooled + i * u->pooled_width, (size_t)u->pooled_width * sizeof *row);
        for (int k = 0; k < u->n_size_ids; k++)
            tt__sinusoid(size_id(u, c, i, k), u->size_width, u->facts.unet.flip_sin_to_cos,
                         u->facts.unet.frequency_shift, row + u->pooled_width + k * u->size_width);
    }
    tt_tensor x = {0}, hidden = {0};
    tt_status status = TT_OK;
    TT_TRY_OUT(tt_scratch_new(u->ops, c->n, 1, 1, width, &x, err));
    TT_TRY_OUT(tt_op_upload(u->ops, vector, &x, err));
    TT_TRY_OUT(tt_scratch_new(u->ops, c->n, 1, 1, u->emb_width, &hidden, err));
    TT_TRY_OUT(
        tt_op_linear(u->ops, u->add_1, &x, &(tt_epilogue){.act = TT_ACT_SILU}, &hidden, err));
    TT_TRY_OUT(tt_request_tensor_new(u->ops, c->n, 1, 1, u->emb_width, &u->add_emb, err));
    TT_TRY_OUT(tt_op_linear(u->ops, u->add_2, &hidden, NULL, &u->add_emb, err));
    tt_scratch_free(u->ops, &x);
    tt_scratch_free(u->ops, &hidden);
out:
    tt_free(vector);
    return status;
}

tt_status tt_unet_begin(tt_unet *u, const tt_unet_condition *c, tt_err *err) {
    tt_tensor text;
    tt_unet_end(u);
    u->n = c->n;
    TT_TRY(size_conditioning(u, c, err));
    TT_TRY(tt_scratch_new(u->ops, c->n, 1, c->tokens, u->context_width, &text, err));
    TT_TRY(tt_op_upload(u->ops, c->context, &text, err));
    TT_TRY(each_transformer(u, begin_transformer, &(begin_context){u, &text}, err));
    tt_scratch_free(u->ops, &text);
    return TT_OK;
}

void tt_unet_end(tt_unet *u) {
    each_transformer(u, end_transformer, u, NULL);
    tt_request_tensor_free(u->ops, &u->add_emb);
    u->request_bytes = 0;
}

/* ---- once per step ---------------------------------------------------------------------------------- */

typedef struct pass { /* one forward pass */
    tt_unet *u;
    tt_ops *ops;
    tt_tensor time; /* [n, 1, 1, stack_width]: every resnet's time term */
    tt_tensor skips[TT_UNET_MAX_SKIPS];
    int n_skips;
} pass;

/* SiLU(time embedding + size embedding), projected for all resnets at once. */
static tt_status embed_time(pass *p, float timestep, tt_err *err) {
    tt_unet *u = p->u;
    tt_tensor x, hidden, emb;
    float row[TT_UNET_MAX_TIME_WIDTH];
    tt__sinusoid(timestep, u->time_width, u->facts.unet.flip_sin_to_cos,
                 u->facts.unet.frequency_shift, row);
    TT_TRY(tt_scratch_new(p->ops, u->n, 1, 1, u->time_width, &x, err));
    for (int64_t i = 0; i < u->n; i++) {
        tt_tensor one = x;
        one.n = 1;
        one.data = (char *)x.data + (size_t)(i * u->time_width) * tt_dtype_size(x.dtype);
        TT_TRY(tt_op_upload(p->ops, row, &one, err));
    }
    TT_TRY(tt_scratch_new(p->ops, u->n, 1, 1, u->emb_width, &hidden, err));
    TT_TRY(tt_op_linear(p->ops, u->time_1, &x, &(tt_epilogue){.act = TT_ACT_SILU}, &hidden, err));
    TT_TRY(tt_scratch_new(p->ops, u->n, 1, 1, u->emb_width, &emb, err));
    TT_TRY(tt_op_linear(p->ops, u->time_2, &hidden, &(tt_epilogue){.add = &u->add_emb}, &emb, err));
    TT_TRY(tt_op_activate(p->ops, TT_ACT_SILU, &emb, &emb, err));
    TT_TRY(tt_scratch_new(p->ops, u->n, 1, 1, u->stack_width, &p->time, err));
    TT_TRY(tt_op_linear(p->ops, u->time_stack, &emb, NULL, &p->time, err));
    tt_scratch_free(p->ops, &x);
    tt_scratch_free(p->ops, &hidden);
    tt_scratch_free(p->ops, &emb);
    return TT_OK;
}

static void push(pass *p, const tt_tensor *t) {
    p->skips[p->n_skips++] = *t;
}

/* resnet, then transformer if there is one: x -> *y, fresh. */
static tt_status run_stage(pass *p, const tt_unet_stage *s, const tt_tensor *x, tt_tensor *y,
                           tt_err *err) {
    TT_TRY(tt_resnet_run(&s->resnet, p->ops, x, &p->time, s->time_offset, y, err));
    if (s->transformer.n_layers == 0) return TT_OK;
    tt_tensor before = *y;
    TT_TRY(tt__transformer_run(&s->transformer, p->ops, &before, y, err));
    tt_scratch_free(p->ops, &before);
    return TT_OK;
}

static tt_status way_down(pass *p, const tt_tensor *x, tt_err *err) {
    tt_unet *u = p->u;
    tt_tensor hidden;
    TT_TRY(tt_scratch_new(p->ops, x->n, x->h, x->w, tt_weight_rows(u->conv_in), &hidden, err));
    TT_TRY(tt_op_conv(p->ops, u->conv_in, x, NULL, &hidden, err));
    push(p, &hidden);
    for (int i = 0; i < u->n_levels; i++) {
        const tt_unet_level *level = &u->down[i];
        for (int j = 0; j < level->n_stages; j++) {
            const tt_tensor before = hidden;
            TT_TRY(run_stage(p, &level->stages[j], &before, &hidden, err));
            push(p, &hidden);
        }
        if (!level->sampler) continue;
        const tt_tensor before = hidden;
        TT_TRY(tt_scratch_new(p->ops, before.n, (before.h + 1) / 2, (before.w + 1) / 2, before.c,
                              &hidden, err));
        TT_TRY(tt_op_conv(p->ops, level->sampler, &before, NULL, &hidden, err));
        push(p, &hidden);
    }
    return TT_OK;
}

/* The newest skip -> *y, fresh. */
static tt_status through_middle(pass *p, tt_tensor *y, tt_err *err) {
    const tt_tensor x = p->skips[p->n_skips - 1];
    TT_TRY(run_stage(p, &p->u->middle[0], &x, y, err));
    if (p->u->n_middle < 2) return TT_OK;
    tt_tensor before = *y;
    TT_TRY(run_stage(p, &p->u->middle[1], &before, y, err));
    tt_scratch_free(p->ops, &before);
    return TT_OK;
}

/* *hidden = stage([*hidden, popped skip]) */
static tt_status up_stage(pass *p, const tt_unet_stage *s, tt_tensor *hidden, tt_err *err) {
    tt_tensor *skip = &p->skips[--p->n_skips], both;
    TT_TRY(
        tt_scratch_new(p->ops, hidden->n, hidden->h, hidden->w, hidden->c + skip->c, &both, err));
    TT_TRY(tt_op_concat(p->ops, hidden, skip, &both, err));
    tt_scratch_free(p->ops, skip);
    tt_scratch_free(p->ops, hidden);
    TT_TRY(run_stage(p, s, &both, hidden, err));
    tt_scratch_free(p->ops, &both);
    return TT_OK;
}

/* To the size of the skip that comes next, which may be one less than the double: the border is elsewhere then, and weights
 * that are folded do not fit. */
static tt_status upsample_odd(pass *p, const tt_weight *conv, const tt_tensor *x, tt_tensor *y,
                              tt_err *err) {
    tt_tensor large;
    TT_TRY(tt_scratch_new(p->ops, x->n, y->h, y->w, x->c, &large, err));
    TT_TRY(tt_op_upsample(p->ops, x, &large, err));
    TT_TRY(tt_op_conv(p->ops, conv, &large, NULL, y, err));
    tt_scratch_free(p->ops, &large);
    return TT_OK;
}

static tt_status upsample(pass *p, const tt_unet_level *level, tt_tensor *hidden, tt_err *err) {
    const tt_tensor *next = &p->skips[p->n_skips - 1];
    tt_tensor x = *hidden;
    int64_t c = tt_weight_rows(level->sampler);
    TT_TRY(tt_scratch_new(p->ops, x.n, next->h, next->w, c, hidden, err));
    if (next->h == 2 * x.h && next->w == 2 * x.w)
        TT_TRY(tt_op_upsample_conv(p->ops, level->doubler, &x, hidden, err));
    else
        TT_TRY(upsample_odd(p, level->sampler, &x, hidden, err));
    tt_scratch_free(p->ops, &x);
    return TT_OK;
}

static tt_status way_up(pass *p, tt_tensor *hidden, tt_err *err) {
    for (int i = 0; i < p->u->n_levels; i++) {
        const tt_unet_level *level = &p->u->up[i];
        for (int j = 0; j < level->n_stages; j++)
            TT_TRY(up_stage(p, &level->stages[j], hidden, err));
        if (level->sampler) TT_TRY(upsample(p, level, hidden, err));
    }
    return TT_OK;
}

static tt_status out_head(pass *p, tt_tensor *hidden, float *out, tt_err *err) {
    tt_unet *u = p->u;
    const tt_group_norm norm = {
        .groups = u->facts.unet.groups, .eps = u->facts.unet.norm_eps, .silu = true};
    tt_tensor normed, y;
    TT_TRY(tt_scratch_new(p->ops, hidden->n, hidden->h, hidden->w, hidden->c, &normed, err));
    TT_TRY(tt_op_group_norm(p->ops, u->norm_out, &norm, hidden, &normed, err));
    tt_scratch_free(p->ops, hidden);
    TT_TRY(tt_scratch_new(p->ops, normed.n, normed.h, normed.w, u->out_channels, &y, err));
    TT_TRY(tt_op_conv(p->ops, u->conv_out, &normed, NULL, &y, err));
    tt_scratch_free(p->ops, &normed);
    TT_TRY(tt_op_download(p->ops, &y, out, err));
    tt_scratch_free(p->ops, &y);
    return TT_OK;
}

tt_status tt_unet_forward(tt_unet *u, const float *x, int64_t h, int64_t w, float timestep,
                          float *out, tt_err *err) {
    pass p = {.u = u, .ops = u->ops};
    tt_tensor input, hidden;
    TT_TRY(embed_time(&p, timestep, err));
    TT_TRY(tt_scratch_new(p.ops, u->n, h, w, u->in_channels, &input, err));
    TT_TRY(tt_op_upload(p.ops, x, &input, err));
    TT_TRY(way_down(&p, &input, err));
    tt_scratch_free(p.ops, &input);
    TT_TRY(through_middle(&p, &hidden, err));
    TT_TRY(way_up(&p, &hidden, err));
    tt_scratch_free(p.ops, &p.time);
    return out_head(&p, &hidden, out, err);
}
