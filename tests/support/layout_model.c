/* See the header. Values are small numbers that f16 holds exactly, different for every name and place. */
#include "support/layout_model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* clang-format off */
const layout_pair layout_pairs[LAYOUT_PAIRS] = {
    {"unet", "time_embed.0.weight", "time_embedding.linear_1.weight", 2, {32, 8}},
    {"unet", "time_embed.2.bias", "time_embedding.linear_2.bias", 1, {32}},
    {"unet", "label_emb.0.0.weight", "add_embedding.linear_1.weight", 2, {32, 20}},
    {"unet", "label_emb.0.2.bias", "add_embedding.linear_2.bias", 1, {32}},
    {"unet", "input_blocks.0.0.weight", "conv_in.weight", 4, {8, 4, 3, 3}},
    {"unet", "input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight", 1, {8}},
    {"unet", "input_blocks.1.0.in_layers.2.weight", "down_blocks.0.resnets.0.conv1.weight", 4, {8, 8, 3, 3}},
    {"unet", "input_blocks.1.0.emb_layers.1.weight", "down_blocks.0.resnets.0.time_emb_proj.weight", 2, {8, 32}},
    {"unet", "input_blocks.1.0.out_layers.0.bias", "down_blocks.0.resnets.0.norm2.bias", 1, {8}},
    {"unet", "input_blocks.1.0.out_layers.3.bias", "down_blocks.0.resnets.0.conv2.bias", 1, {8}},
    {"unet", "input_blocks.2.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight", 4, {8, 8, 3, 3}},
    {"unet", "input_blocks.3.0.in_layers.0.weight", "down_blocks.1.resnets.0.norm1.weight", 1, {8}},
    {"unet", "input_blocks.3.0.skip_connection.weight", "down_blocks.1.resnets.0.conv_shortcut.weight", 4, {16, 8, 1, 1}},
    {"unet", "input_blocks.3.1.norm.weight", "down_blocks.1.attentions.0.norm.weight", 1, {16}},
    {"unet", "input_blocks.3.1.proj_in.weight", "down_blocks.1.attentions.0.proj_in.weight", 2, {16, 16}},
    {"unet", "input_blocks.3.1.transformer_blocks.0.attn1.to_out.0.bias", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.bias", 1, {16}},
    {"unet", "input_blocks.3.1.transformer_blocks.1.ff.net.0.proj.weight", "down_blocks.1.attentions.0.transformer_blocks.1.ff.net.0.proj.weight", 2, {64, 16}},
    {"unet", "input_blocks.3.1.proj_out.bias", "down_blocks.1.attentions.0.proj_out.bias", 1, {16}},
    {"unet", "middle_block.0.in_layers.2.bias", "mid_block.resnets.0.conv1.bias", 1, {16}},
    {"unet", "middle_block.1.proj_out.weight", "mid_block.attentions.0.proj_out.weight", 2, {16, 16}},
    {"unet", "middle_block.2.out_layers.3.weight", "mid_block.resnets.1.conv2.weight", 4, {16, 16, 3, 3}},
    {"unet", "output_blocks.0.0.in_layers.0.weight", "up_blocks.0.resnets.0.norm1.weight", 1, {32}},
    {"unet", "output_blocks.0.1.norm.bias", "up_blocks.0.attentions.0.norm.bias", 1, {16}},
    {"unet", "output_blocks.1.0.in_layers.0.weight", "up_blocks.0.resnets.1.norm1.weight", 1, {24}},
    {"unet", "output_blocks.1.1.norm.bias", "up_blocks.0.attentions.1.norm.bias", 1, {16}},
    {"unet", "output_blocks.1.2.conv.weight", "up_blocks.0.upsamplers.0.conv.weight", 4, {16, 16, 3, 3}},
    {"unet", "output_blocks.2.0.skip_connection.bias", "up_blocks.1.resnets.0.conv_shortcut.bias", 1, {8}},
    {"unet", "output_blocks.3.0.emb_layers.1.bias", "up_blocks.1.resnets.1.time_emb_proj.bias", 1, {8}},
    {"unet", "out.0.weight", "conv_norm_out.weight", 1, {8}},
    {"unet", "out.2.weight", "conv_out.weight", 4, {4, 8, 3, 3}},
    {"vae", "encoder.conv_in.weight", "encoder.conv_in.weight", 4, {8, 3, 3, 3}},
    {"vae", "encoder.down.0.block.0.norm1.weight", "encoder.down_blocks.0.resnets.0.norm1.weight", 1, {8}},
    {"vae", "encoder.down.0.downsample.conv.bias", "encoder.down_blocks.0.downsamplers.0.conv.bias", 1, {8}},
    {"vae", "encoder.down.1.block.0.nin_shortcut.weight", "encoder.down_blocks.1.resnets.0.conv_shortcut.weight", 4, {16, 8, 1, 1}},
    {"vae", "encoder.mid.block_2.conv2.bias", "encoder.mid_block.resnets.1.conv2.bias", 1, {16}},
    {"vae", "encoder.norm_out.weight", "encoder.conv_norm_out.weight", 1, {16}},
    {"vae", "quant_conv.weight", "quant_conv.weight", 4, {8, 8, 1, 1}},
    {"vae", "post_quant_conv.bias", "post_quant_conv.bias", 1, {4}},
    {"vae", "decoder.conv_in.weight", "decoder.conv_in.weight", 4, {16, 4, 3, 3}},
    {"vae", "decoder.mid.block_1.norm1.weight", "decoder.mid_block.resnets.0.norm1.weight", 1, {16}},
    {"vae", "decoder.mid.attn_1.norm.weight", "decoder.mid_block.attentions.0.group_norm.weight", 1, {16}},
    {"vae", "decoder.mid.attn_1.q.weight", "decoder.mid_block.attentions.0.to_q.weight", 2, {16, 16}},
    {"vae", "decoder.mid.attn_1.k.bias", "decoder.mid_block.attentions.0.to_k.bias", 1, {16}},
    {"vae", "decoder.mid.attn_1.v.weight", "decoder.mid_block.attentions.0.to_v.weight", 2, {16, 16}},
    {"vae", "decoder.mid.attn_1.proj_out.weight", "decoder.mid_block.attentions.0.to_out.0.weight", 2, {16, 16}},
    {"vae", "decoder.up.1.block.0.norm1.weight", "decoder.up_blocks.0.resnets.0.norm1.weight", 1, {16}},
    {"vae", "decoder.up.1.upsample.conv.weight", "decoder.up_blocks.0.upsamplers.0.conv.weight", 4, {16, 16, 3, 3}},
    {"vae", "decoder.up.0.block.0.norm1.weight", "decoder.up_blocks.1.resnets.0.norm1.weight", 1, {16}},
    {"vae", "decoder.up.0.block.1.conv1.weight", "decoder.up_blocks.1.resnets.1.conv1.weight", 4, {8, 8, 3, 3}},
    {"vae", "decoder.norm_out.bias", "decoder.conv_norm_out.bias", 1, {8}},
    {"vae", "decoder.conv_out.weight", "decoder.conv_out.weight", 4, {3, 8, 3, 3}},
    {"te1", "text_model.embeddings.token_embedding.weight", "text_model.embeddings.token_embedding.weight", 2, {50, 8}},
    {"te1", "text_model.encoder.layers.0.self_attn.q_proj.weight", "text_model.encoder.layers.0.self_attn.q_proj.weight", 2, {8, 8}},
    {"te1", "text_model.final_layer_norm.bias", "text_model.final_layer_norm.bias", 1, {8}},
    {"te2", "token_embedding.weight", "text_model.embeddings.token_embedding.weight", 2, {20, 128}},
    {"te2", "positional_embedding", "text_model.embeddings.position_embedding.weight", 2, {7, 128}},
    {"te2", "transformer.resblocks.0.ln_1.weight", "text_model.encoder.layers.0.layer_norm1.weight", 1, {128}},
    {"te2", "transformer.resblocks.0.ln_2.bias", "text_model.encoder.layers.0.layer_norm2.bias", 1, {128}},
    {"te2", "transformer.resblocks.0.mlp.c_fc.bias", "text_model.encoder.layers.0.mlp.fc1.bias", 1, {512}},
    {"te2", "transformer.resblocks.0.mlp.c_proj.bias", "text_model.encoder.layers.0.mlp.fc2.bias", 1, {128}},
    {"te2", "transformer.resblocks.0.attn.out_proj.bias", "text_model.encoder.layers.0.self_attn.out_proj.bias", 1, {128}},
    {"te2", "ln_final.weight", "text_model.final_layer_norm.weight", 1, {128}},
    /* parts of one stored tensor there: see add_fused */
    {"te2", NULL, "text_model.encoder.layers.0.self_attn.q_proj.weight", 2, {4, 12}},
    {"te2", NULL, "text_model.encoder.layers.0.self_attn.k_proj.weight", 2, {4, 12}},
    {"te2", NULL, "text_model.encoder.layers.0.self_attn.v_proj.weight", 2, {4, 12}},
    {"te2", NULL, "text_model.encoder.layers.0.self_attn.q_proj.bias", 1, {4}},
    {"te2", NULL, "text_model.encoder.layers.0.self_attn.k_proj.bias", 1, {4}},
    {"te2", NULL, "text_model.encoder.layers.0.self_attn.v_proj.bias", 1, {4}},
    {"te2", NULL, "text_projection.weight", 2, {6, 5}},
};
/* clang-format on */

static char root[] = "/tmp/tt_checkpoint_XXXXXX";
char layout_file[128], layout_folder[128];

/* ---- values ----------------------------------------------------------------------------------------- */

size_t layout_count(const layout_pair *p) {
    size_t count = 1;
    for (int i = 0; i < p->rank; i++) count *= (size_t)p->shape[i];
    return count;
}

void layout_name(char *out, size_t size, const layout_pair *p) {
    snprintf(out, size, "%s.%s", p->component, p->canonical);
}

/* Small numbers that f16 holds exactly, different for every name and place. */
void layout_fill(float *values, const char *name, size_t n) {
    uint32_t h = 2166136261u;
    for (const char *c = name; *c; c++) h = (h ^ (uint32_t)*c) * 16777619u;
    for (size_t i = 0; i < n; i++) {
        h = h * 1664525u + 1013904223u;
        values[i] = (float)((int)(h >> 22) - 512) / 256.0f;
    }
}

void layout_values(const layout_pair *p, float *values) {
    char name[256];
    layout_name(name, sizeof name, p);
    assert_true(layout_count(p) <= LAYOUT_MAX_ELEMENTS);
    layout_fill(values, name, layout_count(p));
}

static const layout_pair *find_pair(const char *canonical) {
    for (int i = 0; i < LAYOUT_PAIRS; i++)
        if (strcmp(layout_pairs[i].component, "te2") == 0 &&
            strcmp(layout_pairs[i].canonical, canonical) == 0)
            return &layout_pairs[i];
    abort();
}

/* ---- writing the layouts ---------------------------------------------------------------------------- */

static const char *ldm_prefix(const char *component) {
    if (strcmp(component, "unet") == 0) return "model.diffusion_model.";
    if (strcmp(component, "vae") == 0) return "first_stage_model.";
    return strcmp(component, "te1") == 0 ? "conditioner.embedders.0.transformer."
                                         : "conditioner.embedders.1.model.";
}

/* q, k, v below each other, and the projection transposed, as OpenCLIP stores them. */
static void add_fused(st_writer *w, tt_dtype dtype) {
    static const char *const kinds[] = {"weight", "bias"};
    float all[3 * 48], one[30], transposed[30];
    char name[256];
    for (int kind = 0; kind < 2; kind++) {
        size_t each = kind == 0 ? 48 : 4;
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "text_model.encoder.layers.0.self_attn.%c_proj.%s",
                     "qkv"[i], kinds[kind]);
            layout_values(find_pair(name), all + (size_t)i * each);
        }
        snprintf(name, sizeof name,
                 "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_%s",
                 kinds[kind]);
        st_add_f32(w, name, dtype, kind == 0 ? 2 : 1, (int64_t[]){12, 12}, all);
    }
    layout_values(find_pair("text_projection.weight"), one);
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 5; k++) transposed[k * 6 + i] = one[i * 5 + k];
    st_add_f32(w, "conditioner.embedders.1.model.text_projection", dtype, 2, (int64_t[]){5, 6},
               transposed);
}

/* Adds all tensors of one component (NULL: of all) by their original names. */
void layout_add_ldm(st_writer *w, const char *only, bool prefixed, tt_dtype dtype) {
    float values[LAYOUT_MAX_ELEMENTS];
    char name[512];
    for (int i = 0; i < LAYOUT_PAIRS; i++) {
        const layout_pair *p = &layout_pairs[i];
        if (!p->ldm || (only && strcmp(only, p->component) != 0)) continue;
        bool is_conv_there = strcmp(p->component, "vae") == 0 && p->rank == 2;
        layout_values(p, values);
        snprintf(name, sizeof name, "%s%s", prefixed ? ldm_prefix(p->component) : "", p->ldm);
        st_add_f32(w, name, dtype, is_conv_there ? 4 : p->rank,
                   is_conv_there ? (int64_t[]){p->shape[0], p->shape[1], 1, 1} : p->shape, values);
    }
    if (!only || strcmp(only, "te2") == 0) add_fused(w, dtype);
}

void layout_write_ldm(tt_dtype dtype) {
    st_writer w;
    st_begin(&w);
    layout_add_ldm(&w, NULL, true, dtype);
    int64_t ids[7] = {0};
    st_add(&w, "conditioner.embedders.0.transformer.text_model.embeddings.position_ids", TT_I64, 2,
           (int64_t[]){1, 7}, ids);
    st_add(&w, "conditioner.embedders.1.model.logit_scale", TT_F32, 0, NULL, NULL);
    st_add(&w, "model_ema.decay", TT_F32, 0, NULL, NULL);
    st_add(&w, "alphas_cumprod", TT_F32, 1, (int64_t[]){3}, NULL);
    st_add(&w, "first_stage_model.loss.logvar", TT_F32, 0, NULL, NULL);
    st_save(&w, layout_file);
}

static const char *folder_of(const char *component) {
    if (component[0] != 't') return component;
    return component[2] == '1' ? "text_encoder" : "text_encoder_2";
}

static const char *stem_of(const char *component) {
    return component[0] == 't' ? "model" : "diffusion_pytorch_model";
}

static void old_vae_name(char *name, size_t size) {
    static const char *const names[][2] = {
        {"to_q.", "query."}, {"to_k.", "key."}, {"to_v.", "value."}, {"to_out.0.", "proj_attn."}};
    for (int i = 0; i < 4; i++) {
        char *at = strstr(name, names[i][0]);
        if (!at) continue;
        char tail[64];
        snprintf(tail, sizeof tail, "%s", at + strlen(names[i][0]));
        snprintf(at, size - (size_t)(at - name), "%s%s", names[i][1], tail);
    }
}

static void write_component(const char *component, const layout_style *style, tt_dtype dtype) {
    float values[LAYOUT_MAX_ELEMENTS];
    char name[512], path[512];
    int n_files = style->sharded && strcmp(component, "unet") == 0 ? 3 : 1;
    FILE *index = NULL;
    int n_indexed = 0;
    snprintf(path, sizeof path, "%s/%s", layout_folder, folder_of(component));
    mkdir(path, 0700);
    if (n_files > 1) {
        snprintf(path, sizeof path, "%s/unet/%s", layout_folder, style->index);
        index = fopen(path, "w");
        fprintf(index, "{\"metadata\":{},\"weight_map\":{");
    }
    for (int f = 0; f < n_files; f++) {
        st_writer w;
        char file[128];
        st_begin(&w);
        if (n_files > 1)
            snprintf(file, sizeof file, "%s-%05d-of-%05d.safetensors", stem_of(component), f + 1,
                     3);
        else
            snprintf(file, sizeof file, "%s%s.safetensors", stem_of(component), style->suffix);
        for (int i = 0; i < LAYOUT_PAIRS; i++) {
            const layout_pair *p = &layout_pairs[i];
            if (strcmp(p->component, component) != 0 || i % n_files != f) continue;
            layout_values(p, values);
            snprintf(name, sizeof name, "%s", p->canonical);
            if (style->old_vae && component[0] == 'v') old_vae_name(name, sizeof name);
            if (style->bare_te1 && component[2] == '1')
                memmove(name, name + 11, strlen(name + 11) + 1);
            st_add_f32(&w, name, dtype, p->rank, p->shape, values);
            if (index) fprintf(index, "%s\"%s\":\"%s\"", n_indexed++ ? "," : "", name, file);
        }
        snprintf(path, sizeof path, "%s/%s/%s", layout_folder, folder_of(component), file);
        st_save(&w, path);
    }
    if (index) {
        fprintf(index, "}}");
        fclose(index);
    }
}

void layout_remove(const char *path) {
    DIR *d = opendir(path);
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        char inner[1024];
        if (e->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (unlink(inner) != 0) layout_remove(inner);
    }
    if (d) closedir(d);
    rmdir(path);
}

void layout_write_folder(const layout_style *style, tt_dtype dtype) {
    static const char *const components[] = {"unet", "vae", "te1", "te2"};
    layout_remove(layout_folder);
    mkdir(layout_folder, 0700);
    for (int i = 0; i < 4; i++) write_component(components[i], style, dtype);
}

void layout_write_text(const char *relative, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", layout_folder, relative);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
    st_save_bytes(path, text, strlen(text));
}

/* ---- checking --------------------------------------------------------------------------------------- */

tt_checkpoint *layout_opens(const char *path) {
    tt_err err = {0};
    tt_checkpoint *c = NULL;
    if (tt_checkpoint_open(path, &c, &err) != TT_OK) fail_msg("%s", err.message);
    return c;
}

void layout_refuses(const char *path, tt_status code, const char *sentence) {
    tt_err err = {0};
    tt_checkpoint *c = (void *)1;
    tt_status status = tt_checkpoint_open(path, &c, &err);
    if (!strstr(err.message, sentence)) print_error("found: %s\n", err.message);
    assert_non_null(strstr(err.message, sentence));
    assert_non_null(strstr(err.message, path));
    assert_int_equal(status, code);
    assert_null(c);
}

/* Every tensor of the components has its values. */
void layout_holds(const tt_checkpoint *c, const char *only) {
    float expected[LAYOUT_MAX_ELEMENTS] = {0}, found[LAYOUT_MAX_ELEMENTS] = {0};
    char name[256];
    for (int i = 0; i < LAYOUT_PAIRS; i++) {
        const layout_pair *p = &layout_pairs[i];
        if (only && strcmp(only, p->component) != 0) continue;
        tt_err err = {0};
        layout_name(name, sizeof name, p);
        layout_values(p, expected);
        if (tt_checkpoint_read(c, name, TT_F32, p->rank, p->shape, found, &err) != TT_OK)
            fail_msg("%s", err.message);
        for (size_t k = 0; k < layout_count(p); k++)
            if (expected[k] != found[k]) fail_msg("%s: element %zu", name, k);
    }
}

void layout_check(const char *path, const char *only) {
    tt_checkpoint *c = layout_opens(path);
    layout_holds(c, only);
    tt_checkpoint_close(c);
}

int layout_begin(void **state) {
    (void)state;
    if (!mkdtemp(root)) return -1;
    snprintf(layout_file, sizeof layout_file, "%s/model.safetensors", root);
    snprintf(layout_folder, sizeof layout_folder, "%s/folder", root);
    return 0;
}

int layout_end(void **state) {
    (void)state;
    layout_remove(root);
    return 0;
}
