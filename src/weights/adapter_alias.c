/* Every spelling of every module of a checkpoint. Trainers write a module's path with its dots as underscores, and that
 * cannot be undone: to_out_0 may be to.out.0 or to_out.0. So the table is built forward, from the modules that there are to
 * all names they go by, and a key is only ever looked up. Dots are flattened on both sides, so dotted and flattened files
 * need one entry.
 *
 * A name that two modules share belongs to neither (the tables of SDXL have none); the module's other names still count. */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "weights/adapter_parts.h"

enum { UNET, TE1, TE2, NETWORKS };
static const char *const networks[NETWORKS] = {"unet.", "te1.", "te2."};

/* Levels of the UNet, for the original numbering: how many blocks come before each. */
typedef struct unet_plan {
    int n_levels;
    int resnets_down[TT_MAX_LEVELS], resnets_up[TT_MAX_LEVELS];
    int first_down[TT_MAX_LEVELS], first_up[TT_MAX_LEVELS];
    bool has_middle_attention;
} unet_plan;

typedef struct maker {
    tt_adapter *a;
    tt__aliases *aliases;
    unet_plan plan;
    tt_err *err;
} maker;

/* ---- adding ----------------------------------------------------------------------------------------- */

static tt_status add(maker *m, const tt__alias *alias, int network, const char *name) {
    tt__aliases *t = m->aliases;
    char flat[TT__NAME_BYTES];
    snprintf(flat, sizeof flat, "%d:%s", network, name);
    for (char *p = flat; *p; p++)
        if (*p == '.') *p = '_';
    void *array = t->entries;
    tt_status grown = tt__adapter_reserve(&array, &t->capacity, t->n, sizeof *t->entries, m->err);
    t->entries = array;
    TT_TRY(grown);
    const char *copy = tt_arena_strndup(&m->a->arena, flat, strlen(flat));
    if (!copy) return tt_fail_nomem(m->err, "names of modules", strlen(flat));
    int64_t existing;
    TT_TRY(tt__names_add(&t->names, copy, (uint32_t)t->n, &existing, m->err));
    if (existing == TT__NO_NAME)
        t->entries[t->n++] = *alias;
    else if (memcmp(&t->entries[existing], alias, sizeof *alias) != 0)
        t->entries[existing] = (tt__alias){.modules = {UINT32_MAX, UINT32_MAX, UINT32_MAX}};
    return TT_OK;
}

static tt_status add_module(maker *m, uint32_t module, int network, const char *name) {
    tt__alias alias = {.modules = {module, 0, 0}};
    return add(m, &alias, network, name);
}

/* ---- UNet, original names --------------------------------------------------------------------------- */

typedef struct rename_rule {
    const char *from, *to;
} rename_rule;

static const rename_rule unet_ends[] = {
    {"conv_in", "input_blocks.0.0"},
    {"conv_norm_out", "out.0"},
    {"conv_out", "out.2"},
    {"time_embedding.linear_1", "time_embed.0"},
    {"time_embedding.linear_2", "time_embed.2"},
    {"add_embedding.linear_1", "label_emb.0.0"},
    {"add_embedding.linear_2", "label_emb.0.2"},
};
static const rename_rule unet_resnet[] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"},
};

static const char *renamed(const rename_rule *rules, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(rules[i].from, name) == 0) return rules[i].to;
    return name;
}
#define RENAMED(rules, name) renamed(rules, sizeof rules / sizeof *rules, name)

/* Reads "12." at *text and steps over it; -1 when there is no such number. */
static int take_index(const char **text) {
    const char *p = *text;
    int value = 0;
    while (isdigit((unsigned char)*p) && value < 10000) value = value * 10 + (*p++ - '0');
    if (p == *text || *p != '.') return -1;
    *text = p + 1;
    return value;
}

static void plan_unet(unet_plan *plan, const tt_checkpoint *c) {
    int down = 1, up = 0; /* input_blocks.0 is conv_in */
    char name[TT__NAME_BYTES];
    plan->n_levels = tt_checkpoint_count(c, "unet.down_blocks.%d.resnets.0.norm1.weight");
    if (plan->n_levels > TT_MAX_LEVELS) plan->n_levels = TT_MAX_LEVELS;
    for (int i = 0; i < plan->n_levels; i++) {
        snprintf(name, sizeof name, "unet.down_blocks.%d.resnets.%%d.norm1.weight", i);
        plan->resnets_down[i] = tt_checkpoint_count(c, name);
        plan->first_down[i] = down;
        down += plan->resnets_down[i] + 1;
        snprintf(name, sizeof name, "unet.up_blocks.%d.resnets.%%d.norm1.weight", i);
        plan->resnets_up[i] = tt_checkpoint_count(c, name);
        plan->first_up[i] = up;
        up += plan->resnets_up[i];
    }
    plan->has_middle_attention = tt_checkpoint_has(c, "unet.mid_block.attentions.0.norm.weight");
}

static int clamp_block(int i) {
    return i < TT_ADAPTER_SIDE_BLOCKS ? i : TT_ADAPTER_SIDE_BLOCKS - 1;
}
static int input_block(int i) {
    return clamp_block(i);
}
static int output_block(int i) {
    return TT_ADAPTER_SIDE_BLOCKS + 1 + clamp_block(i);
}

static tt_status add_middle(maker *m, uint32_t id, const char *rest) {
    char name[TT__NAME_BYTES];
    const char *leaf;
    m->a->modules[id].block = TT_ADAPTER_SIDE_BLOCKS;
    if ((leaf = tt__after(rest, "attentions.0."))) {
        snprintf(name, sizeof name, "middle_block.1.%s", leaf);
        return add_module(m, id, UNET, name);
    }
    if (!(leaf = tt__after(rest, "resnets."))) return TT_OK;
    int i = take_index(&leaf);
    snprintf(name, sizeof name, "middle_block.%d.%s", i == 0 ? 0 : 2, RENAMED(unet_resnet, leaf));
    TT_TRY(add_module(m, id, UNET, name));
    if (i != 1 || m->plan.has_middle_attention) return TT_OK;
    snprintf(name, sizeof name, "middle_block.1.%s", RENAMED(unet_resnet, leaf));
    return add_module(m, id, UNET, name);
}

/* Upsamplers are the last module of their block, after the attention where there is one. */
static tt_status add_upsampler(maker *m, uint32_t id, int block) {
    char name[TT__NAME_BYTES];
    for (int slot = 1; slot <= 2; slot++) {
        snprintf(name, sizeof name, "output_blocks.%d.%d.conv", block, slot);
        TT_TRY(add_module(m, id, UNET, name));
    }
    return TT_OK;
}

/* rest: "<level>.resnets.<slot>.conv1" and the like. */
static tt_status add_level(maker *m, uint32_t id, bool is_up, const char *rest) {
    const unet_plan *plan = &m->plan;
    const char *side = is_up ? "output_blocks" : "input_blocks", *leaf;
    char name[TT__NAME_BYTES];
    int level = take_index(&rest);
    if (level < 0 || level >= plan->n_levels) return TT_OK;
    int block = is_up ? plan->first_up[level] : plan->first_down[level];
    bool is_resnet = (leaf = tt__after(rest, "resnets.")) != NULL;
    if (is_resnet || (leaf = tt__after(rest, "attentions."))) {
        block += take_index(&leaf);
        if (is_resnet) leaf = RENAMED(unet_resnet, leaf);
    } else {
        block += is_up ? plan->resnets_up[level] - 1 : plan->resnets_down[level];
    }
    m->a->modules[id].block = is_up ? output_block(block) : input_block(block);
    if (!leaf && is_up) return add_upsampler(m, id, block);
    if (!leaf)
        snprintf(name, sizeof name, "%s.%d.0.op", side, block);
    else
        snprintf(name, sizeof name, "%s.%d.%d.%s", side, block, is_resnet ? 0 : 1, leaf);
    return add_module(m, id, UNET, name);
}

/* diffusers' first LoRA files name the attention's processor: "attn1.processor.to_q" plus "_lora". */
static tt_status add_processor(maker *m, uint32_t id, const char *path) {
    static const char *const leaves[] = {"to_q", "to_k", "to_v", "to_out.0"};
    char name[TT__NAME_BYTES];
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        if (!tt_ends_with(path, leaves[i])) continue;
        int length = (int)(strlen(path) - strlen(leaves[i]));
        const char *leaf = strcmp(leaves[i], "to_out.0") == 0 ? "to_out" : leaves[i];
        snprintf(name, sizeof name, "%.*sprocessor.%s", length, path, leaf);
        return add_module(m, id, UNET, name);
    }
    return TT_OK;
}

static tt_status add_unet(maker *m, uint32_t id, const char *path) {
    const char *rest;
    TT_TRY(add_module(m, id, UNET, path));
    TT_TRY(add_processor(m, id, path));
    if ((rest = tt__after(path, "mid_block."))) return add_middle(m, id, rest);
    if ((rest = tt__after(path, "down_blocks."))) return add_level(m, id, false, rest);
    if ((rest = tt__after(path, "up_blocks."))) return add_level(m, id, true, rest);
    const char *original = RENAMED(unet_ends, path);
    if (strcmp(path, "conv_in") == 0) m->a->modules[id].block = input_block(0);
    return original == path ? TT_OK : add_module(m, id, UNET, original);
}

/* ---- text encoders ---------------------------------------------------------------------------------- */

static const rename_rule open_clip[] = {
    {"layer_norm1", "ln_1"},
    {"layer_norm2", "ln_2"},
    {"mlp.fc1", "mlp.c_fc"},
    {"mlp.fc2", "mlp.c_proj"},
    {"self_attn.out_proj", "attn.out_proj"},
};
static const rename_rule open_clip_ends[] = {
    {"text_model.embeddings.token_embedding", "token_embedding"},
    {"text_model.embeddings.position_embedding", "positional_embedding"},
    {"text_model.final_layer_norm", "ln_final"},
};
/* diffusers' first LoRA files, again: "self_attn.to_q" plus "_lora". */
static const rename_rule old_attention[] = {
    {"self_attn.q_proj", "self_attn.to_q"},
    {"self_attn.k_proj", "self_attn.to_k"},
    {"self_attn.v_proj", "self_attn.to_v"},
    {"self_attn.out_proj", "self_attn.to_out"},
};

/* OpenCLIP keeps q, k and v in one matrix, one below the other: one name for three modules, added at the first. */
static tt_status add_fused(maker *m, uint32_t id, const char *stem, int layer) {
    char name[TT__NAME_BYTES];
    tt__alias alias = {.modules = {id, 0, 0}, .is_fused = true};
    size_t length = strlen(stem) - strlen("q_proj");
    for (int i = 1; i < TT__THIRDS; i++) {
        snprintf(name, sizeof name, "%.*s%c_proj", (int)length, stem, "qkv"[i]);
        int64_t other = tt__names_find(&m->a->stems, name);
        if (other == TT__NO_NAME) return TT_OK;
        alias.modules[i] = (uint32_t)other;
    }
    snprintf(name, sizeof name, "transformer.resblocks.%d.attn.in_proj", layer);
    return add(m, &alias, TE2, name);
}

static tt_status add_text(maker *m, uint32_t id, int network, const char *path) {
    char name[TT__NAME_BYTES];
    const char *bare = tt__after(path, "text_model."), *rest;
    TT_TRY(add_module(m, id, network, path));
    if (!bare) return TT_OK;
    TT_TRY(add_module(m, id, network, bare)); /* transformers 5 */
    const char *end = RENAMED(open_clip_ends, path);
    if (end != path) return add_module(m, id, network, end);
    if (!(rest = tt__after(bare, "encoder.layers."))) return TT_OK;
    int layer = take_index(&rest);
    const char *old = RENAMED(old_attention, rest);
    if (old != rest) {
        snprintf(name, sizeof name, "text_model.encoder.layers.%d.%s", layer, old);
        TT_TRY(add_module(m, id, network, name));
    }
    if (network != TE2) return TT_OK;
    if (strcmp(rest, "self_attn.q_proj") == 0)
        return add_fused(m, id, m->a->modules[id].stem, layer);
    const char *original = RENAMED(open_clip, rest);
    if (original == rest) return TT_OK;
    snprintf(name, sizeof name, "transformer.resblocks.%d.%s", layer, original);
    return add_module(m, id, TE2, name);
}

/* ---- the modules ------------------------------------------------------------------------------------ */

static int network_of(const char *name) {
    for (int i = 0; i < NETWORKS; i++)
        if (tt__after(name, networks[i])) return i;
    return -1;
}

static tt_status find_module(tt_adapter *a, const tt__entry *e, tt_err *err) {
    int network = network_of(e->name);
    const char *dot = strrchr(e->name, '.');
    bool is_parameter = dot && (strcmp(dot, ".weight") == 0 || strcmp(dot, ".bias") == 0);
    if (network < 0 || !is_parameter) return TT_OK;
    void *array = a->modules;
    tt_status grown =
        tt__adapter_reserve(&array, &a->module_capacity, a->n_modules, sizeof *a->modules, err);
    a->modules = array;
    TT_TRY(grown);
    const char *stem = tt_arena_strndup(&a->arena, e->name, (size_t)(dot - e->name));
    if (!stem) return tt_fail_nomem(err, "names of modules", strlen(e->name));
    int64_t existing;
    TT_TRY(tt__names_add(&a->stems, stem, (uint32_t)a->n_modules, &existing, err));
    if (existing != TT__NO_NAME) return TT_OK;
    a->modules[a->n_modules++] =
        (tt__module){.stem = stem, .network = network, .block = TT__NO_BLOCK};
    return TT_OK;
}

tt_status tt__aliases_make(tt__aliases *t, tt_adapter *a, tt_err *err) {
    maker m = {.a = a, .aliases = t, .err = err};
    for (size_t i = 0; i < a->checkpoint->n_entries; i++)
        TT_TRY(find_module(a, &a->checkpoint->entries[i], err));
    plan_unet(&m.plan, a->checkpoint);
    for (uint32_t id = 0; id < a->n_modules; id++) {
        const tt__module *module = &a->modules[id];
        const char *path = module->stem + strlen(networks[module->network]);
        if (module->network == UNET)
            TT_TRY(add_unet(&m, id, path));
        else
            TT_TRY(add_text(&m, id, module->network, path));
    }
    return TT_OK;
}

void tt__aliases_release(tt__aliases *t) {
    tt__names_release(&t->names);
    tt_free(t->entries);
    *t = (tt__aliases){0};
}
