/* What is missing, and what is something else: each has its own sentence. */
#include "weights/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/layout_model.c"
#include "support/safetensors_writer.c"

/* ---- what is missing or something else -------------------------------------------------------------- */

static void missing_networks_are_named(void **state) {
    (void)state;
    st_writer w;
    tt_err err;
    tt_tensor_info info;
    st_begin(&w);
    layout_add_ldm(&w, "unet", false, TT_F16);
    st_save(&w, layout_file);
    tt_checkpoint *c = layout_opens(layout_file);
    assert_int_equal(tt_checkpoint_require(c, "unet", &err), TT_OK);
    assert_int_equal(tt_checkpoint_require(c, "vae", &err), TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "has no VAE: name a VAE file"));
    assert_non_null(strstr(err.message, layout_file));
    assert_int_equal(tt_checkpoint_info(c, "te1.text_model.final_layer_norm.weight", &info, &err),
                     TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "has no first text encoder"));
    assert_int_equal(tt_checkpoint_require(c, "te2", &err), TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "second text encoder"));
    assert_int_equal(tt_checkpoint_require(c, "clip", &err), TT_E_INTERNAL);
    tt_checkpoint_close(c);
}

static void refuses_file_with(const char *tensor, const char *sentence) {
    st_writer w;
    st_begin(&w);
    st_add(&w, tensor, TT_F16, 2, (int64_t[]){1, 1}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_UNSUPPORTED, sentence);
}

static void other_families_are_named(void **state) {
    (void)state;
    refuses_file_with("lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight", "is a LoRA");
    refuses_file_with("unet.down_blocks.1.attentions.0.proj_in.lora_A.weight", "is a LoRA");
    refuses_file_with("lora_unet_x.hada_w1_a", "LoHa");
    refuses_file_with("lora_unet_x.lokr_w1", "LoKr");
    refuses_file_with("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "Flux");
    refuses_file_with("model.diffusion_model.joint_blocks.0.x", "Stable Diffusion 3");
    refuses_file_with("control_model.input_blocks.0.0.weight", "ControlNet");
    refuses_file_with("emb_params", "textual inversion");
    refuses_file_with("clip_g", "textual inversion");
    refuses_file_with("something.else", "is not an SDXL model");
    st_writer w;
    st_begin(&w);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_FORMAT, "holds no tensors");
    layout_refuses(TT_SOURCE_DIR "/models/tintype-old-photo.safetensors", TT_E_UNSUPPORTED,
                   "is a LoRA");
}

/* An SDXL UNet and one tensor more that tells another model. */
static void refuses_unet_with(const char *tensor, int64_t columns, const char *sentence) {
    st_writer w;
    st_begin(&w);
    layout_add_ldm(&w, "unet", true, TT_F16);
    st_add(&w, tensor, TT_F16, 2, (int64_t[]){1, columns}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_UNSUPPORTED, sentence);
}

static void relatives_of_sdxl_are_named(void **state) {
    (void)state;
    refuses_unet_with("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
                      1, "Stable Diffusion 1.x");
    refuses_unet_with("cond_stage_model.model.token_embedding.weight", 1, "Stable Diffusion 2.x");
    refuses_unet_with("conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight", 1,
                      "refiner");
    refuses_unet_with("model.diffusion_model.time_embed.cond_proj.weight", 1, "LCM");
    refuses_unet_with("edm_mean", 1, "Playground");
    refuses_unet_with("model.diffusion_model.input_blocks.3.2.motion.weight", 1,
                      "not part of SDXL's UNet");
    refuses_unet_with("model.diffusion_model.input_blocks.77.0.in_layers.0.weight", 1,
                      "not part of SDXL's UNet");
    refuses_unet_with("model.diffusion_model.extra.weight", 1, "not part of SDXL's UNet");
    st_writer w;
    st_begin(&w);
    st_add(&w, "input_blocks.0.0.weight", TT_F16, 4, (int64_t[]){1, 4, 1, 1}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_UNSUPPORTED, "takes no picture size");
    st_begin(&w);
    st_add(&w, "input_blocks.0.0.weight", TT_F16, 4, (int64_t[]){1, 4, 1, 1}, NULL);
    st_add(&w, "label_emb.0.0.weight", TT_F16, 2, (int64_t[]){1, 2560}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_UNSUPPORTED, "refiner");
}

/* Its text encoder is where a base model has its first, and is the second here. */
static void a_refiner_is_opened_when_it_is_asked_for(void **state) {
    (void)state;
    const tt_checkpoint_options options = {.as_refiner = true};
    const char *norm = "te2.text_model.encoder.layers.0.layer_norm1.weight";
    st_writer w;
    tt_err err;
    tt_tensor_info info;
    tt_checkpoint *c;
    st_begin(&w);
    layout_add_ldm(&w, "unet", true, TT_F16);
    st_add(&w, "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight", TT_F16, 1,
           (int64_t[]){3}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_UNSUPPORTED, "name a base model, and this as its refiner");
    if (tt_checkpoint_open_with(layout_file, &options, &c, &err)) fail_msg("%s", err.message);
    layout_holds(c, "unet");
    assert_int_equal(tt_checkpoint_info(c, norm, &info, &err), TT_OK);
    assert_int_equal(info.shape[0], 3);
    assert_false(tt_checkpoint_facts(c)->zero_absent_negative);
    tt_checkpoint_close(c);
}

static void two_names_for_one_tensor_are_refused(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    layout_add_ldm(&w, NULL, true, TT_F16);
    st_add(&w, "conditioner.embedders.1.transformer.text_model.final_layer_norm.weight", TT_F16, 1,
           (int64_t[]){128}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_FORMAT, "are both te2.text_model.final_layer_norm.weight");
}

static void views_of_the_wrong_shape_are_refused(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    layout_add_ldm(&w, "vae", true, TT_F16);
    st_add(&w, "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight", TT_F16,
           2, (int64_t[]){4, 4}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_FORMAT, "a third each");
    st_begin(&w);
    layout_add_ldm(&w, "vae", true, TT_F16);
    st_add(&w, "conditioner.embedders.1.model.text_projection", TT_F16, 1, (int64_t[]){4}, NULL);
    st_save(&w, layout_file);
    layout_refuses(layout_file, TT_E_FORMAT, "expected a matrix");
}

static void folders_without_a_model_say_so(void **state) {
    (void)state;
    layout_remove(layout_folder);
    mkdir(layout_folder, 0700);
    layout_refuses(layout_folder, TT_E_NOT_FOUND, "a directory without a model");
    layout_write_text("x.safetensors", "");
    layout_refuses(layout_folder, TT_E_NOT_FOUND, "x.safetensors");
    layout_write_text("unet/other.txt", "");
    layout_refuses(layout_folder, TT_E_NOT_FOUND, "holds no diffusion_pytorch_model.safetensors");
    layout_write_text("unet/diffusion_pytorch_model.bin", "");
    layout_refuses(layout_folder, TT_E_UNSUPPORTED, "only pickled weights");
    layout_refuses("/nowhere/model", TT_E_NOT_FOUND, "cannot open");
}

static void bad_indexes_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "weight_map: expected an object"},
        {"[]", "weight_map: expected an object"},
        {"{\"weight_map\":{\"a\":1}}", "expected a file name"},
        {"{\"weight_map\":{\"a\":\"../../x\"}}", "is not the name of a file in this folder"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "is not the name of a file in this folder"},
        {"{\"weight_map\":{\"a\":\"absent.safetensors\"}}", "cannot open"},
        {"{\"weight_map\":", "invalid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        layout_remove(layout_folder);
        mkdir(layout_folder, 0700);
        layout_write_text("unet/diffusion_pytorch_model.safetensors.index.json", cases[i][0]);
        tt_err err = {0};
        tt_checkpoint *c;
        assert_int_not_equal(tt_checkpoint_open(layout_folder, &c, &err), TT_OK);
        if (!strstr(err.message, cases[i][1])) fail_msg("%s", err.message);
    }
    layout_write_folder(&(layout_style){.sharded = true,
                                        .suffix = "",
                                        .index = "diffusion_pytorch_model.safetensors.index.json"},
                        TT_F16);
    layout_write_text(
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "{\"weight_map\":{\"absent\":\"diffusion_pytorch_model-00001-of-00003.safetensors\"}}");
    layout_refuses(layout_folder, TT_E_FORMAT, "tensor absent is not in");
}

static void files_of_a_folder_are_found(void **state) {
    (void)state;
    char path[256];
    layout_write_folder(&(layout_style){.suffix = ""}, TT_F16);
    layout_write_text("tokenizer/vocab.json", "{}");
    tt_checkpoint *c = layout_opens(layout_folder);
    assert_true(tt_checkpoint_file(c, "tokenizer/vocab.json", path, sizeof path));
    assert_int_equal(access(path, R_OK), 0);
    assert_false(tt_checkpoint_file(c, "tokenizer/vocab.json", path, 10));
    assert_false(tt_checkpoint_file(c, "tokenizer/absent", path, sizeof path));
    assert_string_equal(tt_checkpoint_path(c), layout_folder);
    assert_string_equal(tt_checkpoint_facts(c)->layout, "diffusers folder");
    tt_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_networks_are_named),
        cmocka_unit_test(other_families_are_named),
        cmocka_unit_test(relatives_of_sdxl_are_named),
        cmocka_unit_test(a_refiner_is_opened_when_it_is_asked_for),
        cmocka_unit_test(two_names_for_one_tensor_are_refused),
        cmocka_unit_test(views_of_the_wrong_shape_are_refused),
        cmocka_unit_test(folders_without_a_model_say_so),
        cmocka_unit_test(bad_indexes_are_refused),
        cmocka_unit_test(files_of_a_folder_are_found),
    };
    return cmocka_run_group_tests(tests, layout_begin, layout_end);
}
