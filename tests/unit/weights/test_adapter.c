/* Adapters: which names are found, what is refused and with which sentence, how strengths reach blocks. The values of merged
 * weights are tests/golden/test_adapters.c's. */
#include "weights/adapter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "support/layout_model.c"
#include "support/safetensors_writer.c"

#define BLOCK  "transformer_blocks.0."
#define FLAT   "transformer_blocks_0_"
#define PROJ   "lora_unet_mid_block_attentions_0_proj_out"     /* [16, 16] */
#define TO_K   "lora_unet_input_blocks_3_1_" FLAT "attn2_to_k" /* [16, 32] */
#define DOWN_W ".lora_down.weight"
#define UP_W   ".lora_up.weight"

static tt_checkpoint *model;
static char file[160];

/* The layout model and what its table lacks: two attentions, whole convolutions. */
static int begin_model(void **state) {
    st_writer w;
    if (layout_begin(state) != 0) return -1;
    st_begin(&w);
    layout_add_ldm(&w, NULL, true, TT_F32);
    const char *prefix = "model.diffusion_model.";
    static const struct {
        const char *name;
        int rank;
        int64_t shape[4];
    } more[] = {
        {"input_blocks.3.1." BLOCK "attn2.to_k.weight", 2, {16, 32}},
        {"input_blocks.3.1." BLOCK "attn1.to_out.0.weight", 2, {16, 16}},
        {"input_blocks.3.1." BLOCK "attn1.to_q.weight", 2, {16, 16}},
        {"input_blocks.3.0.in_layers.2.weight", 4, {16, 8, 3, 3}},
        {"output_blocks.2.0.in_layers.0.weight", 1, {24}},
        {"output_blocks.3.0.in_layers.0.weight", 1, {16}},
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, more[i].name);
        st_add(&w, name, TT_F32, more[i].rank, more[i].shape, NULL);
    }
    st_save(&w, layout_file);
    model = layout_opens(layout_file);
    snprintf(file, sizeof file, "%s.lora.safetensors", layout_file);
    return 0;
}

static int end_model(void **state) {
    tt_checkpoint_close(model);
    unlink(file);
    return layout_end(state);
}

/* ---- making files ----------------------------------------------------------------------------------- */

static void add(st_writer *w, const char *stem, const char *end, int64_t rows, int64_t columns) {
    char name[512];
    float values[4096];
    snprintf(name, sizeof name, "%s%s", stem, end);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = 0.5f;
    st_add_f32(w, name, TT_F16, 2, (int64_t[]){rows, columns}, values);
}

static void add_alpha(st_writer *w, const char *stem, float alpha) {
    char name[512];
    snprintf(name, sizeof name, "%s.alpha", stem);
    st_add_f32(w, name, TT_F32, 0, NULL, &alpha);
}

static void add_pair(st_writer *w, const char *stem, int64_t out, int64_t in, int64_t rank) {
    add(w, stem, DOWN_W, rank, in);
    add(w, stem, UP_W, out, rank);
}

static tt_adapter *opens(void) {
    tt_err err = {0};
    tt_adapter *a = NULL;
    if (tt_adapter_open(file, model, &a, &err) != TT_OK) fail_msg("%s", err.message);
    return a;
}

static void refuses(st_writer *w, tt_status code, const char *sentence) {
    tt_err err = {0};
    tt_adapter *a = (void *)1;
    st_save(w, file);
    tt_status status = tt_adapter_open(file, model, &a, &err);
    if (!strstr(err.message, sentence)) print_error("found: %s\n", err.message);
    assert_non_null(strstr(err.message, sentence));
    assert_int_equal(status, code);
    assert_null(a);
}

/* ---- names ------------------------------------------------------------------------------------------ */

static const struct {
    const char *key, *canonical;
    int64_t out, in;
} SPELLINGS[] = {
    {TO_K, "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"lora_unet_down_blocks_1_attentions_0_" FLAT "attn2_to_k",
     "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k",
     "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"down_blocks.1.attentions.0." BLOCK "attn2.to_k",
     "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"diffusion_model.input_blocks.3.1." BLOCK "attn2.to_k",
     "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"lycoris_down_blocks_1_attentions_0_" FLAT "attn2_to_k",
     "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"base_model.model.down_blocks.1.attentions.0." BLOCK "attn2.to_k",
     "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
    {"unet.base_model.model.down_blocks.1.attentions.0." BLOCK "attn1.to_out.0",
     "unet.down_blocks.1.attentions.0." BLOCK "attn1.to_out.0", 16, 16},
    {"unet.down_blocks.1.attentions.0." BLOCK "attn1.processor.to_q",
     "unet.down_blocks.1.attentions.0." BLOCK "attn1.to_q", 16, 16},
    {"unet.down_blocks.1.attentions.0." BLOCK "attn1.processor.to_out",
     "unet.down_blocks.1.attentions.0." BLOCK "attn1.to_out.0", 16, 16},
    {"lora_unet_time_embed_0", "unet.time_embedding.linear_1", 32, 8},
    {"lora_unet_time_embedding_linear_1", "unet.time_embedding.linear_1", 32, 8},
    {"lora_unet_label_emb_0_0", "unet.add_embedding.linear_1", 32, 20},
    {"lora_unet_input_blocks_0_0", "unet.conv_in", 8, 36},
    {"lora_unet_out_2", "unet.conv_out", 4, 72},
    {"lora_unet_input_blocks_2_0_op", "unet.down_blocks.0.downsamplers.0.conv", 8, 72},
    {"lora_unet_input_blocks_3_0_in_layers_2", "unet.down_blocks.1.resnets.0.conv1", 16, 72},
    {"lora_unet_input_blocks_3_0_skip_connection", "unet.down_blocks.1.resnets.0.conv_shortcut", 16,
     8},
    {"lora_unet_middle_block_1_proj_out", "unet.mid_block.attentions.0.proj_out", 16, 16},
    {"lora_unet_middle_block_2_out_layers_3", "unet.mid_block.resnets.1.conv2", 16, 144},
    {"lora_unet_output_blocks_1_2_conv", "unet.up_blocks.0.upsamplers.0.conv", 16, 144},
    {"lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
     "te1.text_model.encoder.layers.0.self_attn.q_proj", 8, 8},
    {"lora_te_text_model_encoder_layers_0_self_attn_q_proj",
     "te1.text_model.encoder.layers.0.self_attn.q_proj", 8, 8},
    {"text_encoder.text_model.encoder.layers.0.self_attn.to_q",
     "te1.text_model.encoder.layers.0.self_attn.q_proj", 8, 8},
    {"text_encoder.encoder.layers.0.self_attn.q_proj",
     "te1.text_model.encoder.layers.0.self_attn.q_proj", 8, 8},
    {"lora_te2_text_model_encoder_layers_0_self_attn_q_proj",
     "te2.text_model.encoder.layers.0.self_attn.q_proj", 4, 12},
    {"text_encoder_2.text_model.encoder.layers.0.self_attn.v_proj",
     "te2.text_model.encoder.layers.0.self_attn.v_proj", 4, 12},
    {"lora_te2_transformer_resblocks_0_attn_in_proj",
     "te2.text_model.encoder.layers.0.self_attn.k_proj", 12, 12},
    {"lora_te2_text_projection", "te2.text_projection", 6, 5},
};

static void every_spelling_finds_its_module(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof SPELLINGS / sizeof *SPELLINGS; i++) {
        st_writer w;
        char name[256];
        const tt_adapter_strength one = tt_adapter_strength_all(1),
                                  zero = tt_adapter_strength_all(0);
        st_begin(&w);
        add_pair(&w, SPELLINGS[i].key, SPELLINGS[i].out, SPELLINGS[i].in, 2);
        st_save(&w, file);
        tt_adapter *a = opens();
        snprintf(name, sizeof name, "%s.weight", SPELLINGS[i].canonical);
        if (!tt_adapter_touches(a, name, &one)) fail_msg("%s is not %s", SPELLINGS[i].key, name);
        assert_false(tt_adapter_touches(a, name, &zero));
        snprintf(name, sizeof name, "%s.bias", SPELLINGS[i].canonical);
        assert_false(tt_adapter_touches(a, name, &one));
        assert_int_equal(tt_adapter_get_report(a)->n_unmatched, 0);
        tt_adapter_close(a);
    }
}

static void what_does_not_fit_is_reported(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    st_metadata(&w, "ss_base_model_version", "sdxl_base_v1-0");
    add_pair(&w, PROJ, 16, 16, 4);
    add_pair(&w, TO_K, 16, 32, 2);
    add_alpha(&w, TO_K, 1);
    add_alpha(&w, "lora_unet_conv_in", 1); /* of a module that was pruned away */
    for (int i = 0; i < 3; i++) {
        char stem[64];
        snprintf(stem, sizeof stem, "lora_te1_text_model_encoder_layers_%d_mlp_fc1", 20 + i);
        add_pair(&w, stem, 8, 8, 2);
    }
    st_save(&w, file);
    tt_adapter *a = opens();
    const tt_adapter_report *r = tt_adapter_get_report(a);
    assert_string_equal(r->kinds, "LoRA");
    assert_string_equal(r->base_model, "sdxl_base_v1-0");
    assert_string_equal(r->name, strrchr(file, '/') + 1);
    assert_int_equal(r->rank_min, 2);
    assert_int_equal(r->rank_max, 4);
    assert_int_equal(r->n_keys, 12);
    assert_int_equal(r->n_matched, 5);
    assert_int_equal(r->n_unmatched, 7);
    assert_int_equal(r->n_modules[0], 2);
    assert_int_equal(r->n_modules[1], 0);
    assert_string_equal(r->unmatched[0],
                        "lora_te1_text_model_encoder_layers_20_mlp_fc1.lora_down.weight");
    assert_non_null(r->unmatched[TT_ADAPTER_UNMATCHED_NAMED - 1]);
    tt_adapter_close(a);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

static void other_architectures_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *stem;
        int64_t width;
        const char *sentence;
    } table[] = {
        {"lora_unet_down_blocks_0_attentions_0_" FLAT "attn2_to_k", 768,
         "is for Stable Diffusion 1.5"},
        {"unet.up_blocks.1.attentions.0." BLOCK "attn2.to_k", 1024, "is for Stable Diffusion 2"},
        {"lora_unet_input_blocks_3_1_" FLAT "attn2_to_k", 1280, "is for the SDXL refiner"},
        {"lora_unet_double_blocks_0_img_attn_qkv", 16, "is for Flux"},
        {"transformer.single_transformer_blocks.0.attn.to_q", 16, "is for Flux"},
        {"transformer.transformer_blocks.0.attn.add_k_proj", 16, "is for Stable Diffusion 3"},
        {"diffusion_model.joint_blocks.0.x_block.attn.qkv", 16, "is for Stable Diffusion 3"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        st_writer w;
        st_begin(&w);
        add_pair(&w, table[i].stem, 4, table[i].width, 1);
        refuses(&w, TT_E_UNSUPPORTED, table[i].sentence);
    }
    st_writer w;
    st_begin(&w);
    st_metadata(&w, "ss_base_model_version", "sd_v1");
    add_pair(&w, "lora_unet_down_blocks_7_attentions_0_proj_in", 4, 4, 1);
    refuses(&w, TT_E_UNSUPPORTED, "is for Stable Diffusion 1.5, this model is Stable Diffusion XL");
    st_begin(&w); /* names fit, shapes do not */
    st_metadata(&w, "modelspec.architecture", "stable-diffusion-v2-768-v/lora");
    add_pair(&w, PROJ, 4, 4, 1);
    refuses(&w, TT_E_UNSUPPORTED, "is for Stable Diffusion 2, this model is Stable Diffusion XL");
}

static void what_is_no_adapter_is_refused(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    add(&w, "something.else", "", 2, 2);
    refuses(&w, TT_E_UNSUPPORTED,
            "none of its 1 keys fits a module of this model (the first is "
            "something.else)");
    st_begin(&w);
    add(&w, "model.diffusion_model.middle_block.1.proj_out", ".weight", 16, 16);
    refuses(&w, TT_E_FORMAT, "is no adapter: it holds whole weights");
    st_begin(&w);
    refuses(&w, TT_E_FORMAT, "the file holds no tensors");
    tt_err err;
    tt_adapter *a;
    st_save_bytes(file, "PK\3\4 and so on, a zip file", 26);
    assert_int_equal(tt_adapter_open(file, model, &a, &err), TT_E_FORMAT);
    assert_non_null(strstr(err.message, "pickle"));
    assert_int_equal(tt_adapter_open("/nonexistent/x.safetensors", model, &a, &err),
                     TT_E_NOT_FOUND);
}

static void parts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    add_pair(&w, PROJ, 16, 17, 2);
    refuses(&w, TT_E_FORMAT,
            "module " PROJ ": lora_down.weight has shape [2, 17], expected [2, 16]");
    st_begin(&w);
    add(&w, PROJ, DOWN_W, 2, 16);
    add(&w, PROJ, UP_W, 16, 3);
    refuses(&w, TT_E_FORMAT, "lora_up.weight has shape [16, 3], expected [16, 2]");
    st_begin(&w);
    add(&w, PROJ, DOWN_W, 2, 16);
    refuses(&w, TT_E_FORMAT, "lora_up.weight is missing");
    st_begin(&w);
    add_alpha(&w, PROJ, 1);
    refuses(&w, TT_E_UNSUPPORTED, "none of its 1 keys fits");
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 0);
    refuses(&w, TT_E_FORMAT, "its rank is 0");
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add_pair(&w, "unet.mid_block.attentions.0.proj_out", 16, 16, 1);
    refuses(&w, TT_E_FORMAT, "are the same part of one module");
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add(&w, PROJ, ".diff", 16, 16);
    refuses(&w, TT_E_FORMAT, "parts of two kinds");
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add_alpha(&w, PROJ, INFINITY);
    refuses(&w, TT_E_FORMAT, "is not finite");
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add(&w, PROJ, ".dora_scale", 15, 1);
    refuses(&w, TT_E_FORMAT, "dora_scale has shape [15, 1], expected [16, 1]");
    st_begin(&w);
    st_add(&w, PROJ DOWN_W, TT_I32, 2, (int64_t[]){1, 16}, NULL);
    add(&w, PROJ, UP_W, 16, 1);
    refuses(&w, TT_E_FORMAT, "has dtype I32");
}

static void lycoris_parts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    add(&w, PROJ, ".hada_w1_a", 16, 2);
    add(&w, PROJ, ".hada_w1_b", 2, 16);
    add(&w, PROJ, ".hada_w2_a", 16, 2);
    refuses(&w, TT_E_FORMAT, "hada_w2_b is missing");
    st_begin(&w);
    add(&w, PROJ, ".lokr_w1", 3, 4);
    add(&w, PROJ, ".lokr_w2", 4, 4);
    refuses(&w, TT_E_FORMAT, "lokr_w1 [3, 4] does not divide [16, 16]");
    st_begin(&w);
    st_add(&w, PROJ ".oft_blocks", TT_F32, 3, (int64_t[]){3, 5, 5}, NULL);
    refuses(&w, TT_E_FORMAT, "oft_blocks [3, 5, 5] does not cut 16 rows into blocks");
    st_begin(&w); /* three butterflies of blocks of 8 need 32 rows */
    st_add(&w, PROJ ".oft_blocks", TT_F32, 4, (int64_t[]){3, 2, 8, 8}, NULL);
    refuses(&w, TT_E_FORMAT, "does not cut 16 rows");
    st_begin(&w);
    add(&w, PROJ, ".a1.weight", 16, 2);
    add(&w, PROJ, ".a2.weight", 2, 16);
    add(&w, PROJ, ".b1.weight", 16, 2);
    refuses(&w, TT_E_FORMAT, "b2.weight is missing");
    st_begin(&w);
    st_add(&w, "lora_te2_transformer_resblocks_0_attn_in_proj.oft_blocks", TT_F32, 3,
           (int64_t[]){3, 4, 4}, NULL);
    refuses(&w, TT_E_UNSUPPORTED, "not supported on a fused projection");
}

static void numbers_that_are_not_finite_fail_when_they_are_used(void **state) {
    (void)state;
    st_writer w;
    tt_err err;
    float down[16] = {0}, values[256] = {0};
    down[7] = NAN;
    st_begin(&w);
    st_add_f32(&w, PROJ DOWN_W, TT_F32, 2, (int64_t[]){1, 16}, down);
    add(&w, PROJ, UP_W, 16, 1);
    st_save(&w, file);
    tt_adapter *a = opens();
    tt_adapter_strength one = tt_adapter_strength_all(1);
    const char *name = "unet.mid_block.attentions.0.proj_out.weight";
    assert_int_equal(tt_adapter_apply(a, name, &one, values, 256, &err), TT_E_FORMAT);
    assert_non_null(strstr(err.message, "element 7 is not finite"));
    assert_int_equal(tt_adapter_apply(a, name, &one, values, 255, &err), TT_E_INVALID);
    assert_int_equal(tt_adapter_apply(a, "unet.nothing.weight", &one, values, 255, &err), TT_OK);
    tt_adapter_close(a);
}

static void metadata_that_is_not_json_is_refused(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    st_metadata(&w, "lora_adapter_metadata", "{not json");
    add_pair(&w, PROJ, 16, 16, 1);
    refuses(&w, TT_E_FORMAT, "metadata lora_adapter_metadata");
    st_begin(&w);
    st_metadata(&w, "adapter_config", "[1, 2]");
    add_pair(&w, PROJ, 16, 16, 1);
    refuses(&w, TT_E_FORMAT, "expected an object");
}

/* ---- strengths -------------------------------------------------------------------------------------- */

static void parts_of_a_strength_have_names(void **state) {
    (void)state;
    tt_err err;
    tt_adapter_strength s = tt_adapter_strength_all(1);
    assert_int_equal(tt_adapter_strength_set(&s, "TE", 0.5f, &err), TT_OK);
    assert_true(s.te1 == 0.5f && s.te2 == 0.5f && s.unet == 1.0f);
    assert_int_equal(tt_adapter_strength_set(&s, "in", 0.25f, &err), TT_OK);
    assert_int_equal(tt_adapter_strength_set(&s, "IN04", 2, &err), TT_OK);
    assert_true(s.blocks[3] == 0.25f && s.blocks[4] == 2 && s.blocks[12] == 1);
    assert_int_equal(tt_adapter_strength_set(&s, "M00", 3, &err), TT_OK);
    assert_int_equal(tt_adapter_strength_set(&s, "out11", 4, &err), TT_OK);
    assert_true(s.blocks[12] == 3 && s.blocks[24] == 4 && s.blocks[23] == 1);
    static const char *const wrong[] = {"", "in12", "in001", "m01", "inner", "out-1", "vae"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(tt_adapter_strength_set(&s, wrong[i], 1, &err), TT_E_INVALID);
        assert_non_null(strstr(err.message, "expected unet, te, te1"));
    }
    assert_int_equal(tt_adapter_strength_set(&s, "unet", 101, &err), TT_E_INVALID);
    assert_int_equal(tt_adapter_strength_set(&s, "unet", NAN, &err), TT_E_INVALID);
    assert_int_equal(tt_adapter_strength_check(&s, &err), TT_OK);
    s.blocks[7] = INFINITY;
    assert_int_equal(tt_adapter_strength_check(&s, &err), TT_E_INVALID);
}

static void each_block_has_its_own_strength(void **state) {
    (void)state;
    static const struct {
        const char *block, *stem, *canonical;
        int64_t out, in;
    } table[] = {
        {"in00", "lora_unet_conv_in", "unet.conv_in", 8, 36},
        {"in02", "lora_unet_input_blocks_2_0_op", "unet.down_blocks.0.downsamplers.0.conv", 8, 72},
        {"in03", TO_K, "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k", 16, 32},
        {"mid", PROJ, "unet.mid_block.attentions.0.proj_out", 16, 16},
        {"out01", "lora_unet_output_blocks_1_2_conv", "unet.up_blocks.0.upsamplers.0.conv", 16,
         144},
    };
    const size_t n = sizeof table / sizeof *table;
    st_writer w;
    st_begin(&w);
    for (size_t i = 0; i < n; i++) add_pair(&w, table[i].stem, table[i].out, table[i].in, 1);
    add_pair(&w, "lora_unet_time_embed_0", 32, 8, 1);
    st_save(&w, file);
    tt_adapter *a = opens();
    for (size_t i = 0; i < n; i++) {
        tt_adapter_strength s = tt_adapter_strength_all(1);
        assert_int_equal(tt_adapter_strength_set(&s, table[i].block, 0, NULL), TT_OK);
        for (size_t k = 0; k < n; k++) {
            char name[256];
            snprintf(name, sizeof name, "%s.weight", table[k].canonical);
            assert_int_equal(tt_adapter_touches(a, name, &s), i != k);
        }
        assert_true(tt_adapter_touches(a, "unet.time_embedding.linear_1.weight", &s));
    }
    tt_adapter_close(a);
}

/* up [16, 1] and down [1, 16] of 0.5: every element moves by 0.25 alpha strength. */
static void strength_and_alpha_multiply(void **state) {
    (void)state;
    st_writer w;
    float values[256] = {0};
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add_alpha(&w, PROJ, 8);
    st_save(&w, file);
    tt_adapter *a = opens();
    tt_adapter_strength s = tt_adapter_strength_all(0.5f);
    assert_int_equal(tt_adapter_strength_set(&s, "mid", 3, NULL), TT_OK);
    assert_int_equal(
        tt_adapter_apply(a, "unet.mid_block.attentions.0.proj_out.weight", &s, values, 256, NULL),
        TT_OK);
    for (int i = 0; i < 256; i++) assert_true(values[i] == 3.0f);
    tt_adapter_close(a);
}

static void save_with_patterns(const char *patterns) {
    st_writer w;
    char metadata[512];
    snprintf(metadata, sizeof metadata, "{\"unet.lora_alpha\": 8, \"unet.alpha_pattern\": %s}",
             patterns);
    st_begin(&w);
    st_metadata(&w, "lora_adapter_metadata", metadata);
    add_pair(&w, PROJ, 16, 16, 1);
    st_save(&w, file);
}

/* The expectations are what peft.utils.other.get_pattern_key makes of "mid_block.attentions.0.proj_out". */
static void patterns_of_alpha_are_expressions(void **state) {
    (void)state;
    static const struct {
        const char *patterns;
        float alpha;
    } cases[] = {
        {"{}", 8},
        {"{\"proj_out\": 4}", 4},
        {"{\"attentions.0.proj_out\": 4}", 4},
        {"{\"roj_out\": 4}", 8},
        {"{\"proj_out\": 4, \"attentions.0.proj_out\": 2}", 4},
        {"{\"attentions.0.proj_out\": 2, \"proj_out\": 4}", 2},
        {"{\"^mid_block.attentions.0.proj_out\": 4}", 4},
        {"{\"^attentions.0.proj_out\": 4}", 8},
        {"{\"mid_block.*proj_out\": 4}", 4},
        {"{\"down_blocks.*proj_out\": 4}", 8},
        {"{\"mid_block\\\\.attentions\\\\.\\\\d+\\\\.proj_out\": 4}", 4},
        {"{\"attentions.[0-4].proj_out\": 4}", 4},
        {"{\"attentions.[1-4].proj_out\": 4}", 8},
        {"{\".*?(proj_in|proj_out)\": 4}", 4},
        {"{\"proj_(?:in|out)\": 4}", 4},
    };
    const tt_adapter_strength one = tt_adapter_strength_all(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float values[256] = {0};
        save_with_patterns(cases[i].patterns);
        tt_adapter *a = opens();
        assert_int_equal(tt_adapter_apply(a, "unet.mid_block.attentions.0.proj_out.weight", &one,
                                          values, 256, NULL),
                         TT_OK);
        if (values[0] != 0.25f * cases[i].alpha)
            fail_msg("%s: found alpha %g, expected %g", cases[i].patterns, (double)values[0] / 0.25,
                     (double)cases[i].alpha);
        tt_adapter_close(a);
    }
}

/* Another strength for its modules, silently, would be a wrong picture. */
static void patterns_that_cannot_be_read_are_refused(void **state) {
    (void)state;
    static const char *const patterns[] = {
        "{\"proj_(?=o)out\": 4}", "{\"((p{2000}){2000}){2000}\": 4}", "{\"proj_out\\\\b\": 4}",
        "{\"(proj_out\": 4}", "{\"[\\\\d]proj_out\": 4}"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        tt_err err = {0};
        tt_adapter *a = NULL;
        save_with_patterns(patterns[i]);
        assert_int_equal(tt_adapter_open(file, model, &a, &err), TT_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "metadata alpha_pattern"));
        assert_null(a);
    }
}

/* PEFT's LoHa and LoKr: alpha / r, also where LoKr's factors are whole. w is 0.5 * 0.5 or (0.5 * 0.5)^2 everywhere. */
static void other_kinds_have_their_own_word_for_alpha(void **state) {
    (void)state;
    static const char *const loha[] = {".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b"};
    const tt_adapter_strength one = tt_adapter_strength_all(1);
    for (int is_loha = 0; is_loha <= 1; is_loha++) {
        st_writer w;
        float values[256] = {0};
        st_begin(&w);
        st_metadata(&w, "adapter_config",
                    is_loha ? "{\"r\": 1, \"alpha\": 8, \"lora_alpha\": 3}"
                            : "{\"r\": 4, \"alpha\": 8}");
        for (int i = 0; i < 4 && is_loha; i++)
            add(&w, PROJ, loha[i], i % 2 ? 1 : 16, i % 2 ? 16 : 1);
        if (!is_loha) add(&w, PROJ, ".lokr_w1", 4, 4);
        if (!is_loha) add(&w, PROJ, ".lokr_w2", 4, 4);
        st_save(&w, file);
        tt_adapter *a = opens();
        assert_int_equal(tt_adapter_apply(a, "unet.mid_block.attentions.0.proj_out.weight", &one,
                                          values, 256, NULL),
                         TT_OK);
        assert_true(values[0] == (is_loha ? 0.0625f * 8 : 0.25f * 2));
        tt_adapter_close(a);
    }
}

/* PEFT's save_pretrained. */
static void alpha_may_stand_in_the_file_beside(void **state) {
    (void)state;
    st_writer w;
    float values[256] = {0};
    char folder[] = "/tmp/tt_peft_XXXXXX", weights[64], config[64];
    const tt_adapter_strength one = tt_adapter_strength_all(1);
    tt_adapter *a = NULL;
    tt_err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(weights, sizeof weights, "%s/adapter_model.safetensors", folder);
    snprintf(config, sizeof config, "%s/adapter_config.json", folder);
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    st_save(&w, weights);
    assert_int_equal(tt_file_write(config, "{\"r\": 1, \"lora_alpha\": 8}",
                                   strlen("{\"r\": 1, \"lora_alpha\": 8}"), &err),
                     TT_OK);
    assert_int_equal(tt_adapter_open(weights, model, &a, &err), TT_OK);
    assert_int_equal(
        tt_adapter_apply(a, "unet.mid_block.attentions.0.proj_out.weight", &one, values, 256, NULL),
        TT_OK);
    assert_true(values[0] == 0.25f * 8);
    tt_adapter_close(a);
    assert_int_equal(tt_file_write(config, "[]", 2, &err), TT_OK);
    assert_int_equal(tt_adapter_open(weights, model, &a, &err), TT_E_FORMAT);
    assert_non_null(strstr(err.message, "adapter_config.json: expected an object"));
    unlink(config);
    unlink(weights);
    rmdir(folder);
}

/* PEFT's lora_bias: what up adds to the outputs, scaled as they are. */
static void a_bias_of_up_is_scaled_too(void **state) {
    (void)state;
    st_writer w;
    float values[16] = {0};
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add_alpha(&w, PROJ, 8);
    add(&w, PROJ, ".lora_up.bias", 16, 1);
    st_save(&w, file);
    tt_adapter *a = opens();
    const tt_adapter_strength half = tt_adapter_strength_all(0.5f), none = {0};
    static const char bias[] = "unet.mid_block.attentions.0.proj_out.bias";
    assert_int_equal(tt_adapter_get_report(a)->n_unmatched, 0);
    assert_true(tt_adapter_touches(a, bias, &half));
    assert_false(tt_adapter_touches(a, bias, &none));
    assert_int_equal(tt_adapter_apply(a, bias, &half, values, 16, NULL), TT_OK);
    for (int i = 0; i < 16; i++) assert_true(values[i] == 0.5f * 8 * 0.5f);
    tt_adapter_close(a);
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add(&w, PROJ, ".lora_up.bias", 15, 1);
    refuses(&w, TT_E_FORMAT, "lora_up.bias has shape [15, 1], expected [16, 1]");
}

/* Whatever the cut, the numbers are those of the whole, bit for bit. */
static void rows_change_as_the_whole_does(void **state) {
    (void)state;
    enum { OUT = 16, IN = 32, STEP = 5 };
    const char *name = "unet.down_blocks.1.attentions.0." BLOCK "attn2.to_k.weight";
    st_writer w;
    float down[4 * IN], up[OUT * 4], whole[OUT * IN], cut[OUT * IN];
    layout_fill(down, "down", 4 * IN);
    layout_fill(up, "up", OUT * 4);
    layout_fill(whole, "whole", OUT * IN);
    memcpy(cut, whole, sizeof cut);
    st_begin(&w);
    st_add_f32(&w, TO_K DOWN_W, TT_F16, 2, (int64_t[]){4, IN}, down);
    st_add_f32(&w, TO_K UP_W, TT_F16, 2, (int64_t[]){OUT, 4}, up);
    st_save(&w, file);
    tt_adapter *a = opens();
    tt_adapter_strength s = tt_adapter_strength_all(0.7f);
    assert_true(tt_adapter_goes_by_rows(a, name, &s));
    assert_int_equal(tt_adapter_apply(a, name, &s, whole, OUT * IN, NULL), TT_OK);
    tt_adapter_rows *rows;
    assert_int_equal(tt_adapter_rows_open(a, name, &s, OUT, IN, &rows, NULL), TT_OK);
    for (int i = 0; i < OUT; i += STEP)
        tt_adapter_rows_apply(rows, i, OUT - i < STEP ? OUT - i : STEP, cut + i * IN);
    assert_memory_equal(cut, whole, sizeof cut);
    tt_adapter_rows_close(rows);
    assert_int_equal(tt_adapter_rows_open(a, name, &s, IN, OUT, &rows, NULL), TT_E_INVALID);
    assert_null(rows);
    tt_adapter_close(a);
}

/* DoRA's norms and the like are of whole tensors. Where the adapter does nothing, nothing stands in the way. */
static void what_looks_at_the_whole_does_not_go_by_rows(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    add(&w, PROJ, ".dora_scale", 16, 1);
    st_save(&w, file);
    tt_adapter *a = opens();
    tt_adapter_strength one = tt_adapter_strength_all(1), none = tt_adapter_strength_all(0);
    const char *name = "unet.mid_block.attentions.0.proj_out.weight";
    assert_false(tt_adapter_goes_by_rows(a, name, &one));
    assert_true(tt_adapter_goes_by_rows(a, name, &none));
    assert_true(tt_adapter_goes_by_rows(a, "unet.conv_in.weight", &one));
    tt_adapter_rows *rows;
    float values[16] = {0}, zeros[16] = {0};
    assert_int_equal(tt_adapter_rows_open(a, name, &none, 16, 16, &rows, NULL), TT_OK);
    tt_adapter_rows_apply(rows, 3, 1, values);
    assert_memory_equal(values, zeros, sizeof values);
    tt_adapter_rows_close(rows);
    tt_adapter_close(a);
}

static void opening_rows_survives_any_allocation_failing(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    add_pair(&w, PROJ, 16, 16, 1);
    st_save(&w, file);
    tt_adapter *a = opens();
    tt_adapter_strength one = tt_adapter_strength_all(1);
    for (int64_t n = 0;; n++) {
        tt_err err;
        tt_adapter_rows *rows;
        tt_alloc_fail_after(n);
        tt_status status = tt_adapter_rows_open(a, "unet.mid_block.attentions.0.proj_out.weight",
                                                &one, 16, 16, &rows, &err);
        tt_alloc_fail_after(-1);
        tt_adapter_rows_close(rows);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_true(n < 1000);
    }
    tt_adapter_close(a);
}

/* ---- the rest --------------------------------------------------------------------------------------- */

static void a_file_that_changed_is_another(void **state) {
    (void)state;
    st_writer w;
    for (int i = 0; i < 2; i++) {
        st_begin(&w);
        add_pair(&w, PROJ, 16, 16, 1 + i);
        st_save(&w, file);
        tt_adapter *a = opens(), *b = opens();
        tt_adapter_identity x = tt_adapter_get_identity(a), y = tt_adapter_get_identity(b);
        assert_memory_equal(&x, &y, sizeof x);
        static tt_adapter_identity first;
        if (i == 0) first = x;
        if (i == 1) assert_memory_not_equal(&first, &x, sizeof x);
        tt_adapter_close(a);
        tt_adapter_close(b);
    }
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    st_metadata(&w, "adapter_config", "{\"lora_alpha\": 1}");
    add_pair(&w, PROJ, 16, 16, 1);
    add(&w, PROJ, ".dora_scale", 16, 1);
    st_save(&w, file);
    tt_adapter_strength one = tt_adapter_strength_all(1);
    for (int64_t n = 0;; n++) {
        tt_err err;
        tt_adapter *a = NULL;
        float values[256];
        for (int i = 0; i < 256; i++) values[i] = 1;
        tt_alloc_fail_after(n);
        tt_status status = tt_adapter_open(file, model, &a, &err);
        if (status == TT_OK)
            status = tt_adapter_apply(a, "unet.mid_block.attentions.0.proj_out.weight", &one,
                                      values, 256, &err);
        tt_alloc_fail_after(-1);
        tt_adapter_close(a);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_finds_its_module),
        cmocka_unit_test(what_does_not_fit_is_reported),
        cmocka_unit_test(other_architectures_are_refused_by_name),
        cmocka_unit_test(what_is_no_adapter_is_refused),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(lycoris_parts_that_do_not_fit_are_refused),
        cmocka_unit_test(numbers_that_are_not_finite_fail_when_they_are_used),
        cmocka_unit_test(metadata_that_is_not_json_is_refused),
        cmocka_unit_test(parts_of_a_strength_have_names),
        cmocka_unit_test(each_block_has_its_own_strength),
        cmocka_unit_test(strength_and_alpha_multiply),
        cmocka_unit_test(patterns_of_alpha_are_expressions),
        cmocka_unit_test(patterns_that_cannot_be_read_are_refused),
        cmocka_unit_test(other_kinds_have_their_own_word_for_alpha),
        cmocka_unit_test(alpha_may_stand_in_the_file_beside),
        cmocka_unit_test(a_bias_of_up_is_scaled_too),
        cmocka_unit_test(rows_change_as_the_whole_does),
        cmocka_unit_test(what_looks_at_the_whole_does_not_go_by_rows),
        cmocka_unit_test(opening_rows_survives_any_allocation_failing),
        cmocka_unit_test(a_file_that_changed_is_another),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, begin_model, end_model);
}
