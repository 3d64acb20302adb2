/* Reads the UNet's shape out of the checkpoint and declares its weights.
 *
 * Where the engine asks for int8, it is for what most of the time and memory goes to, the levels' 3x3 convolutions and the
 * transformers' products. In the engine's type stay: the first convolution and the last, on which every pixel depends; all that the
 * time goes through; shortcuts (nn/resnet.c); keys and values of the text (transformer.c). */
#include <string.h>

#include "base/alloc.h"
#include "unet/parts.h"

static int count(const tt_loader *l, const char *format, const char *prefix) {
    char pattern[TT_NAME_BYTES];
    tt_name(pattern, "%s.%s", prefix, format);
    return tt_checkpoint_count(tt_loader_checkpoint(l), pattern);
}

/* Adds the resnet's time projection to the list of names that are stacked. */
typedef struct time_names {
    char names[TT_MAX_LEVELS * 2 * TT_UNET_MAX_RESNETS + 2][TT_NAME_BYTES];
    int n;
} time_names;

static tt_status load_stage(tt_unet_stage *s, tt_unet *u, tt_loader *l, time_names *times,
                            const char *resnet, const char *transformer, int64_t heads,
                            tt_err *err) {
    int64_t rows;
    TT_TRY(
        tt_resnet_load(&s->resnet, l, resnet, u->facts.unet.groups, u->facts.unet.norm_eps, err));
    tt_name(times->names[times->n++], "%s.time_emb_proj", resnet);
    TT_TRY(tt_load_size(l, resnet, "time_emb_proj", 0, &rows, err));
    if (rows != s->resnet.c_out)
        return tt_fail(err, TT_E_UNSUPPORTED, "%s.time_emb_proj: %lld rows, expected %lld", resnet,
                       (long long)rows, (long long)s->resnet.c_out);
    s->time_offset = u->stack_width;
    u->stack_width += rows;
    if (!tt_load_has(l, transformer, "norm")) return TT_OK;
    return tt__transformer_load(&s->transformer, l, transformer, u, heads, err);
}

/* One level of one direction. `index` counts as in the file; `depth` is the level from the top, for its heads. */
static tt_status load_level(tt_unet_level *level, tt_unet *u, tt_loader *l, time_names *times,
                            bool is_up, int index, int depth, tt_err *err) {
    char prefix[TT_NAME_BYTES], resnet[TT_NAME_BYTES], transformer[TT_NAME_BYTES];
    tt_name(prefix, "unet.%s_blocks.%d", is_up ? "up" : "down", index);
    level->n_stages = count(l, "resnets.%d.conv1.weight", prefix);
    if (level->n_stages < 1 || level->n_stages > TT_UNET_MAX_RESNETS)
        return tt_fail(err, TT_E_FORMAT, "%s: %d resnets, expected 1 to %d", prefix,
                       level->n_stages, TT_UNET_MAX_RESNETS);
    for (int j = 0; j < level->n_stages; j++) {
        tt_name(resnet, "%s.resnets.%d", prefix, j);
        tt_name(transformer, "%s.attentions.%d", prefix, j);
        TT_TRY(load_stage(&level->stages[j], u, l, times, resnet, transformer,
                          u->facts.unet.heads[depth], err));
    }
    const char *sampler = is_up ? "upsamplers.0.conv" : "downsamplers.0.conv";
    level->has_sampler = tt_load_has(l, prefix, sampler);
    if (!level->has_sampler) return TT_OK;
    if (is_up) TT_TRY(tt_load_upsample_conv(l, prefix, sampler, &level->doubler, err));
    return tt_load_conv(l, prefix, sampler, is_up ? 1 : 2, 1, &level->sampler, err);
}

static tt_status load_middle(tt_unet *u, tt_loader *l, time_names *times, tt_err *err) {
    int64_t heads = u->facts.unet.middle_heads ? u->facts.unet.middle_heads
                                               : u->facts.unet.heads[u->n_levels - 1];
    u->n_middle = count(l, "resnets.%d.conv1.weight", "unet.mid_block");
    if (u->n_middle < 1 || u->n_middle > 2)
        return tt_fail(err, TT_E_UNSUPPORTED, "unet.mid_block: %d resnets, expected 1 or 2",
                       u->n_middle);
    for (int i = 0; i < u->n_middle; i++) {
        char resnet[TT_NAME_BYTES], transformer[TT_NAME_BYTES];
        tt_name(resnet, "unet.mid_block.resnets.%d", i);
        tt_name(transformer, "unet.mid_block.attentions.%d", i);
        TT_TRY(load_stage(&u->middle[i], u, l, times, resnet, transformer, heads, err));
    }
    return TT_OK;
}

/* The first cross-attention's key width: what the text must be wide. */
static tt_status find_context_width(tt_unet *u, const tt_loader *l, tt_err *err) {
    for (int i = 0; i < TT_MAX_LEVELS; i++) {
        char prefix[TT_NAME_BYTES];
        tt_name(prefix, "unet.down_blocks.%d.attentions.0.transformer_blocks.0", i);
        if (tt_load_has(l, prefix, "attn2.to_k"))
            return tt_load_size(l, prefix, "attn2.to_k", 1, &u->context_width, err);
    }
    return tt_fail(err, TT_E_UNSUPPORTED, "the UNet has no cross-attention: not an SDXL model");
}

/* Pooled text, then the size numbers: how many those are is told by the width of the second text encoder's projection, where
 * the checkpoint has it. What fits no kind of model is left to those who compare widths. */
static int count_size_ids(const tt_unet *u, const tt_loader *l, int64_t add_width) {
    int64_t pooled, refiner = TT_UNET_REFINER_IDS * u->size_width;
    if (!tt_load_has(l, "te2", "text_projection")) return TT_UNET_SIZE_IDS;
    if (tt_load_size(l, "te2", "text_projection", 0, &pooled, NULL)) return TT_UNET_SIZE_IDS;
    return add_width - pooled == refiner ? TT_UNET_REFINER_IDS : TT_UNET_SIZE_IDS;
}

static tt_status find_sizes(tt_unet *u, const tt_loader *l, tt_err *err) {
    int64_t add_width;
    TT_TRY(tt_load_size(l, "unet", "conv_in", 1, &u->in_channels, err));
    TT_TRY(tt_load_size(l, "unet", "conv_out", 0, &u->out_channels, err));
    TT_TRY(tt_load_size(l, "unet.time_embedding", "linear_1", 1, &u->time_width, err));
    TT_TRY(tt_load_size(l, "unet.time_embedding", "linear_2", 0, &u->emb_width, err));
    if (!tt_load_has(l, "unet.add_embedding", "linear_1"))
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "the UNet has no size conditioning (add_embedding): not an SDXL model");
    TT_TRY(tt_load_size(l, "unet.add_embedding", "linear_1", 1, &add_width, err));
    TT_TRY(find_context_width(u, l, err));
    u->size_width = u->facts.unet.size_frequencies;
    u->n_size_ids = count_size_ids(u, l, add_width);
    u->pooled_width = add_width - u->n_size_ids * u->size_width;
    if (u->pooled_width < 1)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "unet.add_embedding: width %lld, expected more than %d x %lld size numbers",
                       (long long)add_width, u->n_size_ids, (long long)u->size_width);
    if (u->time_width > TT_UNET_MAX_TIME_WIDTH)
        return tt_fail(err, TT_E_FORMAT, "unet.time_embedding: width %lld, expected at most %d",
                       (long long)u->time_width, TT_UNET_MAX_TIME_WIDTH);
    return TT_OK;
}

static tt_status load_ends(tt_unet *u, tt_loader *l, tt_err *err) {
    TT_TRY(tt_load_conv(l, "unet", "conv_in", 1, 1, &u->conv_in, err));
    TT_TRY(tt_load_linear(l, "unet.time_embedding", "linear_1", &u->time_1, err));
    TT_TRY(tt_load_linear(l, "unet.time_embedding", "linear_2", &u->time_2, err));
    TT_TRY(tt_load_linear(l, "unet.add_embedding", "linear_1", &u->add_1, err));
    TT_TRY(tt_load_linear(l, "unet.add_embedding", "linear_2", &u->add_2, err));
    TT_TRY(tt_load_norm(l, "unet", "conv_norm_out", &u->norm_out, err));
    return tt_load_conv(l, "unet", "conv_out", 1, 1, &u->conv_out, err);
}

/* The way up must pop exactly what the way down pushed, with the widths its resnets expect. */
static tt_status check_skips(const tt_unet *u, tt_err *err) {
    int64_t widths[TT_UNET_MAX_SKIPS];
    int n = 0;
    widths[n++] = u->down[0].stages[0].resnet.c_in;
    for (int i = 0; i < u->n_levels; i++) {
        for (int j = 0; j < u->down[i].n_stages; j++)
            widths[n++] = u->down[i].stages[j].resnet.c_out;
        if (u->down[i].has_sampler) widths[n] = widths[n - 1], n++;
    }
    int64_t hidden = u->middle[u->n_middle - 1].resnet.c_out;
    for (int i = 0; i < u->n_levels; i++)
        for (int j = 0; j < u->up[i].n_stages; j++) {
            const tt_resnet *r = &u->up[i].stages[j].resnet;
            if (n == 0 || r->c_in != hidden + widths[n - 1])
                return tt_fail(err, TT_E_FORMAT,
                               "unet.up_blocks.%d.resnets.%d: takes %lld channels, expected %lld",
                               i, j, (long long)r->c_in,
                               (long long)(n ? hidden + widths[n - 1] : hidden));
            hidden = r->c_out;
            n--;
        }
    if (n != 0)
        return tt_fail(err, TT_E_FORMAT, "the UNet's way up leaves %d skips of its way down unused",
                       n);
    return TT_OK;
}

static tt_status load_levels(tt_unet *u, tt_loader *l, time_names *times, tt_err *err) {
    u->n_levels = count(l, "down_blocks.%d.resnets.0.conv1.weight", "unet");
    if (u->n_levels < 1 || u->n_levels > TT_MAX_LEVELS ||
        count(l, "up_blocks.%d.resnets.0.conv1.weight", "unet") != u->n_levels)
        return tt_fail(
            err, TT_E_FORMAT, "the UNet has %d levels down and %d up, expected 1 to %d of each",
            u->n_levels, count(l, "up_blocks.%d.resnets.0.conv1.weight", "unet"), TT_MAX_LEVELS);
    for (int i = 0; i < u->n_levels; i++)
        TT_TRY(load_level(&u->down[i], u, l, times, false, i, i, err));
    TT_TRY(load_middle(u, l, times, err));
    for (int i = 0; i < u->n_levels; i++)
        TT_TRY(load_level(&u->up[i], u, l, times, true, i, u->n_levels - 1 - i, err));
    return check_skips(u, err);
}

static tt_status load_time_stack(tt_unet *u, tt_loader *l, time_names *times, tt_err *err) {
    const char *names[sizeof times->names / sizeof times->names[0]];
    const size_t prefix = strlen("unet.");
    for (int i = 0; i < times->n; i++) names[i] = times->names[i] + prefix;
    return tt_load_stacked(l, "unet", names, times->n, &u->time_stack, err);
}

tt_status tt_unet_open(tt_loader *loader, tt_ops *ops, tt_unet **out, tt_err *err) {
    *out = NULL;
    tt_unet *u = tt_alloc(sizeof *u);
    time_names *times = tt_alloc(sizeof *times);
    tt_status status = TT_OK;
    if (!u || !times) {
        tt_free(u);
        tt_free(times);
        return tt_fail_nomem(err, "the UNet", sizeof *u);
    }
    u->ops = ops;
    u->facts = *tt_checkpoint_facts(tt_loader_checkpoint(loader));
    tt_loader_use(loader, ops);
    TT_TRY_OUT(find_sizes(u, loader, err));
    TT_TRY_OUT(load_ends(u, loader, err));
    tt_loader_int8(loader, true);
    TT_TRY_OUT(load_levels(u, loader, times, err));
    tt_loader_int8(loader, false);
    TT_TRY_OUT(load_time_stack(u, loader, times, err));
    TT_TRY_OUT(tt_loader_check_all(loader, "unet.", err));
out:
    tt_free(times);
    if (status == TT_OK)
        *out = u;
    else
        tt_unet_close(u);
    return status;
}

static void release_stage(tt_unet_stage *s, tt_ops *ops) {
    tt_resnet_release(&s->resnet, ops);
    tt__transformer_release(&s->transformer, ops);
}

static void release_level(tt_unet_level *level, tt_ops *ops) {
    for (int i = 0; i < TT_UNET_MAX_RESNETS; i++) release_stage(&level->stages[i], ops);
    tt_weight_free(ops, level->sampler);
    tt_weight_free(ops, level->doubler);
}

void tt_unet_close(tt_unet *u) {
    if (!u) return;
    tt_weight *const weights[] = {u->conv_in, u->norm_out, u->conv_out, u->time_1,
                                  u->time_2,  u->add_1,    u->add_2,    u->time_stack};
    for (int i = 0; i < TT_MAX_LEVELS; i++) {
        release_level(&u->down[i], u->ops);
        release_level(&u->up[i], u->ops);
    }
    release_stage(&u->middle[0], u->ops);
    release_stage(&u->middle[1], u->ops);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        tt_weight_free(u->ops, weights[i]);
    tt_request_tensor_free(u->ops, &u->add_emb);
    tt_free(u);
}
