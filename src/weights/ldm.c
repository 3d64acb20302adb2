/* The original ("ldm", "sgm") names of UNet, VAE and the second text encoder, translated to canonical ones.
 *
 * The UNet's blocks are numbered through there, whatever their level. Where a level ends can be seen from its
 * downsampler, input_blocks.N.0.op, so a plan is made first: which block and slot each number means. It holds for any
 * number of levels and blocks per level:
 *
 *     input_blocks   0 conv_in | 1 .. L0 resnets of level 0, L0+1 its downsampler | resnets of level 1 ...
 *     output_blocks  level count reversed, one resnet more per level, upsampler inside the last one
 *
 * A name that cannot be placed is an error and not skipped: a skipped tensor would be a wrong picture. */
#include <ctype.h>
#include <string.h>

#include "weights/parts.h"

static const tt__view as_is = {0}, squeezed = {.squeezed = true};

typedef struct rename_rule {
    const char *from, *to;
} rename_rule;

/* Appends the new spelling of `rest` to `out` by the first rule that fits; false: none does. */
static bool append_renamed(char *out, size_t size, const rename_rule *rules, size_t n_rules,
                           const char *rest) {
    size_t length = strlen(out);
    for (size_t i = 0; i < n_rules; i++) {
        const char *tail = tt__after(rest, rules[i].from);
        if (!tail) continue;
        return snprintf(out + length, size - length, "%s%s", rules[i].to, tail) <
               (int)(size - length);
    }
    return false;
}

#define RENAME(out, rules, rest) \
    append_renamed(out, TT__NAME_BYTES, rules, sizeof rules / sizeof *rules, rest)

/* Reads "12." at *text and steps over it; -1 when there is no such number. */
static int take_index(const char **text) {
    const char *p = *text;
    int value = 0;
    while (isdigit((unsigned char)*p) && value < 10000) value = value * 10 + (*p++ - '0');
    if (p == *text || *p != '.') return -1;
    *text = p + 1;
    return value;
}

/* ---- UNet ------------------------------------------------------------------------------------------- */

static bool has_input(const tt_safetensors *file, const char *prefix, int i, const char *leaf) {
    char name[TT__NAME_BYTES];
    snprintf(name, sizeof name, "%sinput_blocks.%d.%s", prefix, i, leaf);
    return tt_safetensors_find(file, name) != NULL;
}

static tt_status fail_blocks(const tt_safetensors *file, tt_err *err) {
    return tt_fail(err, TT_E_UNSUPPORTED, "%s: the UNet has more than %d levels or %d blocks",
                   tt_safetensors_path(file), TT_MAX_LEVELS, TT__LDM_MAX_BLOCKS);
}

tt_status tt__ldm_plan_unet(tt__ldm_plan *plan, const tt_safetensors *file, const char *prefix,
                            tt_err *err) {
    int layers[TT_MAX_LEVELS + 1] = {0};
    int level = 0, i = 1;
    plan->n_input = 1;
    for (;; i++) {
        bool is_end = has_input(file, prefix, i, "0.op.weight");
        if (!is_end && !has_input(file, prefix, i, "0.in_layers.0.weight")) break;
        if (i == TT__LDM_MAX_BLOCKS || level == TT_MAX_LEVELS) return fail_blocks(file, err);
        plan->input[i] = (tt__ldm_place){level, layers[level]};
        if (is_end)
            level++;
        else
            layers[level]++;
    }
    plan->n_input = i;
    for (int up = 0; up <= level; up++)
        for (int slot = 0; slot <= layers[level - up]; slot++) {
            if (plan->n_output == TT__LDM_MAX_BLOCKS) return fail_blocks(file, err);
            plan->output[plan->n_output++] = (tt__ldm_place){up, slot};
        }
    return TT_OK;
}

static const rename_rule unet_ends[] = {
    {"time_embed.0.", "unet.time_embedding.linear_1."},
    {"time_embed.2.", "unet.time_embedding.linear_2."},
    {"label_emb.0.0.", "unet.add_embedding.linear_1."},
    {"label_emb.0.2.", "unet.add_embedding.linear_2."},
    {"input_blocks.0.0.", "unet.conv_in."},
    {"out.0.", "unet.conv_norm_out."},
    {"out.2.", "unet.conv_out."},
};

static const rename_rule unet_resnet[] = {
    {"in_layers.0.", "norm1."},          {"in_layers.2.", "conv1."},
    {"emb_layers.1.", "time_emb_proj."}, {"out_layers.0.", "norm2."},
    {"out_layers.3.", "conv2."},         {"skip_connection.", "conv_shortcut."},
};

/* These begin the names inside a spatial transformer; they are the same in both spellings. */
static const rename_rule unet_attention[] = {
    {"norm.", "norm."},
    {"proj_in.", "proj_in."},
    {"proj_out.", "proj_out."},
    {"transformer_blocks.", "transformer_blocks."},
};

static const rename_rule unet_down[] = {{"op.", "conv."}};
static const rename_rule unet_up[] = {{"conv.", "conv."}};

/* "<side>_blocks.<block>.<kind>.<slot>.<leaf>" for what hangs below one numbered module. */
static bool name_module(char *out, const char *side, int block, int slot, const char *leaf) {
    snprintf(out, TT__NAME_BYTES, "unet.%s.%d.resnets.%d.", side, block, slot);
    if (RENAME(out, unet_resnet, leaf)) return true;
    snprintf(out, TT__NAME_BYTES, "unet.%s.%d.attentions.%d.", side, block, slot);
    if (RENAME(out, unet_attention, leaf)) return true;
    snprintf(out, TT__NAME_BYTES, "unet.%s.%d.%s.0.", side, block,
             side[0] == 'd' ? "downsamplers" : "upsamplers");
    return side[0] == 'd' ? RENAME(out, unet_down, leaf) : RENAME(out, unet_up, leaf);
}

static bool name_middle(char *out, const char *rest) {
    int i = take_index(&rest);
    if (i < 0 || i > 2) return false;
    snprintf(out, TT__NAME_BYTES, "unet.mid_block.resnets.%d.", i == 0 ? 0 : 1);
    if (RENAME(out, unet_resnet, rest)) return true;
    snprintf(out, TT__NAME_BYTES, "unet.mid_block.attentions.0.");
    return RENAME(out, unet_attention, rest);
}

static bool name_unet(char *out, const tt__ldm_plan *plan, const char *name) {
    const char *rest;
    out[0] = '\0';
    if (RENAME(out, unet_ends, name)) return true;
    if ((rest = tt__after(name, "middle_block."))) return name_middle(out, rest);
    bool is_input = (rest = tt__after(name, "input_blocks.")) != NULL;
    if (!is_input && !(rest = tt__after(name, "output_blocks."))) return false;
    int i = take_index(&rest);
    int n = is_input ? plan->n_input : plan->n_output;
    if (i < (is_input ? 1 : 0) || i >= n || take_index(&rest) < 0) return false;
    const tt__ldm_place *place = is_input ? &plan->input[i] : &plan->output[i];
    return name_module(out, is_input ? "down_blocks" : "up_blocks", place->block, place->slot,
                       rest);
}

/* Some trainers store the transformers' projections as 1x1 convolutions. */
static bool is_projection(const char *name) {
    return tt_ends_with(name, ".proj_in.weight") || tt_ends_with(name, ".proj_out.weight");
}

tt_status tt__add_ldm_unet(tt_checkpoint *c, const tt__ldm_plan *plan, const tt_safetensors *file,
                           const tt_st_tensor *t, const char *name, tt_err *err) {
    char out[TT__NAME_BYTES];
    if (!name_unet(out, plan, name)) return tt__fail_unknown_tensor(file, t->name, "UNet", err);
    return tt__checkpoint_add(c, file, t, out, is_projection(out) ? &squeezed : &as_is, err);
}

/* ---- VAE -------------------------------------------------------------------------------------------- */

void tt__ldm_plan_vae(tt__ldm_plan *plan, const tt_safetensors *file, const char *prefix) {
    char name[TT__NAME_BYTES];
    for (plan->vae_levels = 0; plan->vae_levels < TT_MAX_LEVELS; plan->vae_levels++) {
        snprintf(name, sizeof name, "%sdecoder.up.%d.block.0.norm1.weight", prefix,
                 plan->vae_levels);
        if (!tt_safetensors_find(file, name)) break;
    }
}

static const rename_rule vae_resnet[] = {
    {"norm1.", "norm1."},
    {"norm2.", "norm2."},
    {"conv1.", "conv1."},
    {"conv2.", "conv2."},
    {"nin_shortcut.", "conv_shortcut."},
};
static const rename_rule vae_attention[] = {
    {"norm.", "group_norm."},   {"q.", "to_q."}, {"k.", "to_k."}, {"v.", "to_v."},
    {"proj_out.", "to_out.0."},
};
static const rename_rule vae_sampler[] = {{"conv.", "conv."}};
static const rename_rule vae_ends[] = {
    {"conv_in.", "conv_in."},
    {"norm_out.", "conv_norm_out."},
    {"conv_out.", "conv_out."},
};
static const rename_rule vae_quant[] = {
    {"quant_conv.", "vae.quant_conv."},
    {"post_quant_conv.", "vae.post_quant_conv."},
};

/* "down.1.block.0.conv1.weight" and the like. */
static bool name_vae_level(char *out, const char *half, const char *side, int level,
                           const char *rest) {
    const char *leaf;
    if ((leaf = tt__after(rest, "block."))) {
        int slot = take_index(&leaf);
        snprintf(out, TT__NAME_BYTES, "vae.%s.%s_blocks.%d.resnets.%d.", half, side, level, slot);
        return slot >= 0 && RENAME(out, vae_resnet, leaf);
    }
    leaf = tt__after(rest, side[0] == 'd' ? "downsample." : "upsample.");
    if (!leaf) return false;
    snprintf(out, TT__NAME_BYTES, "vae.%s.%s_blocks.%d.%ssamplers.0.", half, side, level, side);
    return RENAME(out, vae_sampler, leaf);
}

static bool name_vae_middle(char *out, const char *half, const char *rest) {
    const char *leaf;
    if ((leaf = tt__after(rest, "attn_1."))) {
        snprintf(out, TT__NAME_BYTES, "vae.%s.mid_block.attentions.0.", half);
        return RENAME(out, vae_attention, leaf);
    }
    if (!(leaf = tt__after(rest, "block_"))) return false;
    int slot = take_index(&leaf);
    snprintf(out, TT__NAME_BYTES, "vae.%s.mid_block.resnets.%d.", half, slot - 1);
    return (slot == 1 || slot == 2) && RENAME(out, vae_resnet, leaf);
}

static bool name_vae(char *out, const tt__ldm_plan *plan, const char *name) {
    const char *rest, *inner;
    out[0] = '\0';
    if (RENAME(out, vae_quant, name)) return true;
    bool is_decoder = (rest = tt__after(name, "decoder.")) != NULL;
    if (!is_decoder && !(rest = tt__after(name, "encoder."))) return false;
    const char *half = is_decoder ? "decoder" : "encoder";
    snprintf(out, TT__NAME_BYTES, "vae.%s.", half);
    if (RENAME(out, vae_ends, rest)) return true;
    if ((inner = tt__after(rest, "mid."))) return name_vae_middle(out, half, inner);
    if (!(inner = tt__after(rest, is_decoder ? "up." : "down."))) return false;
    int level = take_index(&inner);
    if (level < 0 || (is_decoder && level >= plan->vae_levels)) return false;
    if (is_decoder) level = plan->vae_levels - 1 - level; /* counted from the output there */
    return name_vae_level(out, half, is_decoder ? "up" : "down", level, inner);
}

tt_status tt__add_ldm_vae(tt_checkpoint *c, const tt__ldm_plan *plan, const tt_safetensors *file,
                          const tt_st_tensor *t, const char *name, tt_err *err) {
    char out[TT__NAME_BYTES];
    bool is_network = tt__after(name, "encoder.") || tt__after(name, "decoder.") ||
                      tt__after(name, "quant_conv.") || tt__after(name, "post_quant_conv.");
    if (!is_network) return TT_OK; /* losses, averages: what training left behind */
    if (!name_vae(out, plan, name)) return tt__fail_unknown_tensor(file, t->name, "VAE", err);
    return tt__checkpoint_add(c, file, t, out, strstr(out, ".attentions.") ? &squeezed : &as_is,
                              err);
}

/* ---- second text encoder (OpenCLIP's names) --------------------------------------------------------- */

static const rename_rule te2_ends[] = {
    {"token_embedding.weight", "te2.text_model.embeddings.token_embedding.weight"},
    {"positional_embedding", "te2.text_model.embeddings.position_embedding.weight"},
    {"ln_final.", "te2.text_model.final_layer_norm."},
};
static const rename_rule te2_layer[] = {
    {"ln_1.", "layer_norm1."},
    {"ln_2.", "layer_norm2."},
    {"mlp.c_fc.", "mlp.fc1."},
    {"mlp.c_proj.", "mlp.fc2."},
    {"attn.out_proj.", "self_attn.out_proj."},
};

/* in_proj_weight and in_proj_bias hold q, k and v one below the other. */
static tt_status add_thirds(tt_checkpoint *c, const tt_safetensors *file, const tt_st_tensor *t,
                            int layer, const char *kind, tt_err *err) {
    char out[TT__NAME_BYTES];
    for (int third = 1; third <= 3; third++) {
        snprintf(out, sizeof out, "te2.text_model.encoder.layers.%d.self_attn.%c_proj.%s", layer,
                 "qkv"[third - 1], kind);
        TT_TRY(tt__checkpoint_add(c, file, t, out, &(tt__view){.third = third}, err));
    }
    return TT_OK;
}

tt_status tt__add_ldm_te2(tt_checkpoint *c, const tt_safetensors *file, const tt_st_tensor *t,
                          const char *name, tt_err *err) {
    char out[TT__NAME_BYTES] = "";
    const char *rest;
    if (strcmp(name, "text_projection") == 0) /* used as x P there: [in, out] */
        return tt__checkpoint_add(c, file, t, "te2.text_projection.weight",
                                  &(tt__view){.transposed = true}, err);
    if (tt__after(name, "text_model.") || tt__after(name, "text_projection."))
        return tt__add_diffusers(c, file, t, "te2", name, err);
    if (RENAME(out, te2_ends, name)) return tt__checkpoint_add(c, file, t, out, &as_is, err);
    if (!(rest = tt__after(name, "transformer.resblocks.")))
        return TT_OK; /* the picture half of CLIP */
    int layer = take_index(&rest);
    if (layer >= 0 && strcmp(rest, "attn.in_proj_weight") == 0)
        return add_thirds(c, file, t, layer, "weight", err);
    if (layer >= 0 && strcmp(rest, "attn.in_proj_bias") == 0)
        return add_thirds(c, file, t, layer, "bias", err);
    snprintf(out, sizeof out, "te2.text_model.encoder.layers.%d.", layer);
    if (layer < 0 || !RENAME(out, te2_layer, rest))
        return tt__fail_unknown_tensor(file, t->name, "second text encoder", err);
    return tt__checkpoint_add(c, file, t, out, &as_is, err);
}
