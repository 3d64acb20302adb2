/* What shapes cannot tell: from a file's metadata and markers, and from a folder's config files. The long configs are
 * what diffusers 0.42 and transformers 5 write for a pipeline of small models. */
#include "weights/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/layout_model.c"
#include "support/safetensors_writer.c"

/* ---- single files ----------------------------------------------------------------------------------- */

static void write_with(const char *key, const char *value, const char *marker) {
    st_writer w;
    st_begin(&w);
    if (key) st_metadata(&w, key, value);
    layout_add_ldm(&w, NULL, true, TT_F16);
    if (marker) st_add(&w, marker, TT_F32, 1, (int64_t[]){0}, NULL);
    st_save(&w, layout_file);
}

static tt_checkpoint *open_with(const char *key, const char *value, const char *marker) {
    write_with(key, value, marker);
    return layout_opens(layout_file);
}

static void bare_file_has_the_values_of_sdxl(void **state) {
    (void)state;
    tt_checkpoint *c = open_with(NULL, NULL, NULL);
    const tt_model_facts *f = tt_checkpoint_facts(c);
    assert_int_equal(f->text[0].heads, 1); /* width 8 is no multiple of 64 */
    assert_int_equal(f->text[1].heads, 2); /* width 128 */
    assert_string_equal(f->text[0].activation, "quick_gelu");
    assert_string_equal(f->text[1].activation, "gelu");
    assert_int_equal(f->text[0].pad_id, 49407);
    assert_int_equal(f->text[1].pad_id, 0);
    assert_true(f->text[1].pool_at_largest);
    assert_int_equal(f->unet.heads[0], 0);
    assert_int_equal(f->unet.head_dim, 64);
    assert_int_equal(f->unet.groups, 32);
    assert_true(f->unet.norm_eps == 1e-5f && f->unet.attention_norm_eps == 1e-6f);
    assert_int_equal(f->unet.size_frequencies, 256);
    assert_true(f->unet.flip_sin_to_cos && f->unet.frequency_shift == 0);
    assert_true(f->vae.scaling_factor == 0.13025f && f->vae.shift_factor == 0);
    assert_true(f->vae.norm_eps == 1e-6f && f->vae.force_upcast);
    assert_int_equal(f->schedule.prediction, TT_PREDICT_EPSILON);
    assert_int_equal(f->schedule.train_steps, 1000);
    assert_true(f->schedule.beta_start == 0.00085 && f->schedule.beta_end == 0.012);
    assert_string_equal(f->schedule.beta_schedule, "scaled_linear");
    assert_string_equal(f->schedule.spacing, "");
    assert_int_equal(f->schedule.steps_offset, 1);
    assert_false(f->schedule.zero_terminal_snr);
    assert_true(f->zero_absent_negative);
    assert_int_equal(f->defaults.width, 0);
    tt_checkpoint_close(c);
}

static void write_sigmas(float low, float high, int64_t n) {
    st_writer w;
    const float values[] = {high, high};
    st_begin(&w);
    layout_add_ldm(&w, NULL, true, TT_F16);
    if (low > 0) st_add(&w, "edm_vpred.sigma_min", TT_F32, 0, NULL, &low);
    st_add_f32(&w, "edm_vpred.sigma_max", TT_F16, 1, &n, values);
    st_save(&w, layout_file);
}

/* CosXL is marked by two tensors. */
static void a_model_over_sigmas_names_its_range(void **state) {
    (void)state;
    static const struct {
        float low, high;
        double expected_low;
    } cases[] = {{0.25f, 64, 0.25}, {0, 120, 0.002}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_sigmas(cases[i].low, cases[i].high, 1);
        tt_checkpoint *c = layout_opens(layout_file);
        const tt_model_facts *f = tt_checkpoint_facts(c);
        assert_int_equal(f->schedule.prediction, TT_PREDICT_V);
        assert_true(f->schedule.edm_sigma_min == cases[i].expected_low);
        assert_true(f->schedule.edm_sigma_max == (double)cases[i].high);
        tt_checkpoint_close(c);
    }
    write_sigmas(0, 120, 2);
    layout_refuses(layout_file, TT_E_FORMAT, "edm_vpred.sigma_max: expected one number");
    write_sigmas(0, 0, 1);
    layout_refuses(layout_file, TT_E_FORMAT, "edm_vpred.sigma_max: expected one number");
}

static void every_key_of_the_metadata_is_read(void **state) {
    (void)state;
    tt_checkpoint *c = open_with(
        "tintype.config",
        "{\"text_encoder_1\":{\"heads\":3,\"activation\":\"gelu\",\"pad_id\":7,\"eos_id\":2,\"norm_"
        "eps\":1e-4},"
        "\"text_encoder_2\":{\"heads\":5,\"eos_id\":999,\"layers\":3},"
        "\"unet\":{\"heads\":[2,4],\"middle_heads\":6,\"head_dim\":16,\"groups\":1,\"norm_eps\":1e-"
        "3,"
        "\"transformer_group_norm_eps\":1e-2,\"layer_norm_eps\":1e-05,\"size_frequencies\":8,"
        "\"flip_sin_to_cos\":false,\"frequency_shift\":1},"
        "\"vae\":{\"groups\":2,\"norm_eps\":1e-2,\"scale\":0.5,\"shift\":0.25,\"force_upcast\":"
        "false,"
        "\"attention_heads\":1},"
        "\"schedule\":{\"prediction\":\"v\",\"steps\":500,\"beta_start\":0.001,\"beta_end\":0.02,"
        "\"beta_schedule\":\"linear\",\"zero_terminal_snr\":true,\"spacing\":\"trailing\",\"steps_"
        "offset\":0,"
        "\"karras\":true},"
        "\"defaults\":{\"width\":64,\"height\":96,\"steps\":9,\"cfg\":2.5,\"sampler\":\"euler\","
        "\"negative\":\"empty\"}}",
        NULL);
    const tt_model_facts *f = tt_checkpoint_facts(c);
    assert_int_equal(f->text[0].heads, 3);
    assert_string_equal(f->text[0].activation, "gelu");
    assert_int_equal(f->text[0].pad_id, 7);
    assert_true(f->text[0].pool_at_largest);
    assert_true(f->text[0].norm_eps == 1e-4f);
    assert_int_equal(f->text[1].heads, 5);
    assert_int_equal(f->text[1].eos_id, 999);
    assert_false(f->text[1].pool_at_largest);
    assert_int_equal(f->unet.heads[0], 2);
    assert_int_equal(f->unet.heads[1], 4);
    assert_int_equal(f->unet.middle_heads, 6);
    assert_int_equal(f->unet.head_dim, 16);
    assert_int_equal(f->unet.groups, 1);
    assert_true(f->unet.norm_eps == 1e-3f && f->unet.attention_norm_eps == 1e-2f);
    assert_int_equal(f->unet.size_frequencies, 8);
    assert_true(!f->unet.flip_sin_to_cos && f->unet.frequency_shift == 1);
    assert_int_equal(f->vae.groups, 2);
    assert_true(f->vae.norm_eps == 1e-2f && f->vae.scaling_factor == 0.5f);
    assert_true(f->vae.shift_factor == 0.25f && !f->vae.force_upcast);
    assert_int_equal(f->schedule.prediction, TT_PREDICT_V);
    assert_int_equal(f->schedule.train_steps, 500);
    assert_true(f->schedule.beta_start == 0.001 && f->schedule.beta_end == 0.02);
    assert_string_equal(f->schedule.beta_schedule, "linear");
    assert_string_equal(f->schedule.spacing, "trailing");
    assert_true(f->schedule.zero_terminal_snr && f->schedule.use_karras);
    assert_int_equal(f->schedule.steps_offset, 0);
    assert_false(f->zero_absent_negative);
    assert_int_equal(f->defaults.height, 96);
    assert_true(f->defaults.guidance == 2.5);
    tt_checkpoint_close(c);
}

static void wrong_metadata_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
        tt_status code;
    } cases[] = {
        {"{", "metadata tintype.config: invalid JSON", TT_E_FORMAT},
        {"[]", "expected an object", TT_E_FORMAT},
        {"{\"unet\":1}", "unet: expected an object, found a number", TT_E_FORMAT},
        {"{\"unet\":{\"groups\":0}}", "unet: groups: expected 1 to 65536, found 0", TT_E_FORMAT},
        {"{\"unet\":{\"groups\":\"32\"}}", "groups: expected a whole number", TT_E_FORMAT},
        {"{\"unet\":{\"heads\":[]}}", "heads: expected 1 to 8 numbers", TT_E_FORMAT},
        {"{\"unet\":{\"heads\":[1,0]}}", "heads: expected whole numbers from 1", TT_E_FORMAT},
        {"{\"unet\":{\"heads\":-3}}", "heads: expected 1 to 4096, found -3", TT_E_FORMAT},
        {"{\"unet\":{\"layer_norm_eps\":1}}", "layer_norm_eps: only 1e-05 is supported",
         TT_E_UNSUPPORTED},
        {"{\"vae\":{\"scale\":0}}", "vae: scale: expected", TT_E_FORMAT},
        {"{\"vae\":{\"norm_eps\":-1}}", "norm_eps: expected", TT_E_FORMAT},
        {"{\"vae\":{\"attention_heads\":2}}", "only 1 is supported", TT_E_UNSUPPORTED},
        {"{\"text_encoder_1\":{\"activation\":\"a very long activation\"}}",
         "the text has 22 bytes", TT_E_FORMAT},
        {"{\"text_encoder_2\":{\"eos_id\":-7}}", "eos_id: expected 0", TT_E_FORMAT},
        {"{\"schedule\":{\"prediction\":\"sample\"}}",
         "prediction type \"sample\" is not supported", TT_E_UNSUPPORTED},
        {"{\"schedule\":{\"beta_schedule\":\"cosine\"}}",
         "beta_schedule \"cosine\" is not supported", TT_E_UNSUPPORTED},
        {"{\"schedule\":{\"spacing\":\"odd\"}}", "timestep spacing \"odd\"", TT_E_UNSUPPORTED},
        {"{\"schedule\":{\"steps\":1}}", "steps: expected 2", TT_E_FORMAT},
        {"{\"defaults\":{\"negative\":\"what\"}}", "negative: expected", TT_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_with("tintype.config", cases[i].text, NULL);
        layout_refuses(layout_file, cases[i].code, cases[i].sentence);
    }
}

static void marker_tensors_and_model_specs_are_honoured(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *marker;
        tt_prediction prediction;
        bool zero;
    } cases[] = {
        {NULL, NULL, "v_pred", TT_PREDICT_V, false},
        {NULL, NULL, "ztsnr", TT_PREDICT_EPSILON, true},
        {"modelspec.prediction_type", "v", NULL, TT_PREDICT_V, false},
        {"modelspec.prediction_type", "epsilon", NULL, TT_PREDICT_EPSILON, false},
        {"tintype.config", "{\"schedule\":{\"prediction\":\"epsilon\"}}", "v_pred",
         TT_PREDICT_EPSILON, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_checkpoint *c = open_with(cases[i].key, cases[i].value, cases[i].marker);
        assert_int_equal(tt_checkpoint_facts(c)->schedule.prediction, cases[i].prediction);
        assert_int_equal(tt_checkpoint_facts(c)->schedule.zero_terminal_snr, cases[i].zero);
        tt_checkpoint_close(c);
    }
}

/* ---- folders ---------------------------------------------------------------------------------------- */

static const char unet_json[] =
    "{\"_class_name\":\"UNet2DConditionModel\",\"_diffusers_version\":\"0.42.1\",\"act_fn\":"
    "\"silu\","
    "\"addition_embed_type\":\"text_time\",\"addition_embed_type_num_heads\":64,\"addition_time_"
    "embed_dim\":8,"
    "\"attention_head_dim\":[2,4],\"attention_type\":\"default\",\"block_out_channels\":[2,4],"
    "\"center_input_sample\":false,\"class_embed_type\":null,\"class_embeddings_concat\":false,"
    "\"conv_in_kernel\":3,\"conv_out_kernel\":3,\"cross_attention_dim\":64,\"cross_attention_"
    "norm\":null,"
    "\"down_block_types\":[\"DownBlock2D\",\"CrossAttnDownBlock2D\"],\"downsample_padding\":1,"
    "\"dropout\":0.0,"
    "\"dual_cross_attention\":false,\"encoder_hid_dim\":null,\"encoder_hid_dim_type\":null,"
    "\"flip_sin_to_cos\":true,\"freq_shift\":0,\"in_channels\":4,\"layers_per_block\":2,"
    "\"mid_block_only_cross_attention\":null,\"mid_block_scale_factor\":1,"
    "\"mid_block_type\":\"UNetMidBlock2DCrossAttn\",\"norm_eps\":1e-05,\"norm_num_groups\":1,"
    "\"num_attention_heads\":null,\"num_class_embeds\":null,\"only_cross_attention\":false,\"out_"
    "channels\":4,"
    "\"projection_class_embeddings_input_dim\":80,\"resnet_out_scale_factor\":1.0,"
    "\"resnet_skip_time_act\":false,\"resnet_time_scale_shift\":\"default\","
    "\"reverse_transformer_layers_per_block\":null,\"sample_size\":32,\"time_cond_proj_dim\":null,"
    "\"time_embedding_act_fn\":null,\"time_embedding_dim\":null,\"time_embedding_type\":"
    "\"positional\","
    "\"timestep_post_act\":null,\"transformer_layers_per_block\":[1,2],"
    "\"up_block_types\":[\"CrossAttnUpBlock2D\",\"UpBlock2D\"],\"upcast_attention\":false,"
    "\"use_linear_projection\":true}";
static const char vae_json[] =
    "{\"_class_name\":\"AutoencoderKL\",\"act_fn\":\"silu\",\"block_out_channels\":[32,64],"
    "\"down_block_types\":[\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],\"force_upcast\":false,"
    "\"in_channels\":3,\"latent_channels\":4,\"latents_mean\":null,\"latents_std\":null,"
    "\"mid_block_add_attention\":true,\"norm_num_groups\":16,\"scaling_factor\":0.18215,\"shift_"
    "factor\":null,"
    "\"up_block_types\":[\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"],\"use_post_quant_conv\":true,"
    "\"use_quant_conv\":true}";
static const char text_json[] =
    "{\"architectures\":[\"CLIPTextModel\"],\"bos_token_id\":0,\"eos_token_id\":2,\"hidden_act\":"
    "\"gelu\","
    "\"hidden_size\":32,\"layer_norm_eps\":1e-05,\"num_attention_heads\":4,\"num_hidden_layers\":5,"
    "\"pad_token_id\":1,\"vocab_size\":1000}";
static const char scheduler_json[] =
    "{\"_class_name\":\"EulerDiscreteScheduler\",\"beta_end\":0.012,\"beta_schedule\":\"scaled_"
    "linear\","
    "\"beta_start\":0.00085,\"clip_sample\":false,\"final_sigmas_type\":\"zero\","
    "\"interpolation_type\":\"linear\",\"num_train_timesteps\":1000,\"prediction_type\":\"v_"
    "prediction\","
    "\"rescale_betas_zero_snr\":true,\"sigma_max\":null,\"sigma_min\":null,\"steps_offset\":1,"
    "\"timestep_spacing\":\"trailing\",\"timestep_type\":\"discrete\",\"trained_betas\":null,"
    "\"use_beta_sigmas\":false,\"use_exponential_sigmas\":false,\"use_karras_sigmas\":true}";

static int make_model_folder(void **state) {
    (void)state;
    layout_write_folder(&(layout_style){.suffix = ""}, TT_F16);
    return 0;
}

static void folder_configs_are_read(void **state) {
    (void)state;
    layout_write_text("model_index.json", "{\"_class_name\":\"StableDiffusionXLPipeline\","
                                          "\"force_zeros_for_empty_prompt\":false}");
    layout_write_text("unet/config.json", unet_json);
    layout_write_text("vae/config.json", vae_json);
    layout_write_text("text_encoder/config.json", text_json);
    layout_write_text("text_encoder_2/config.json", "{\"eos_token_id\":49407}");
    layout_write_text("scheduler/scheduler_config.json", scheduler_json);
    layout_write_text("tokenizer/tokenizer_config.json",
                      "{\"added_tokens_decoder\":{\"1001\":{\"content\":\"<|endoftext|>\"}},"
                      "\"pad_token\":\"<|endoftext|>\"}");
    layout_write_text("tokenizer_2/special_tokens_map.json", "{\"pad_token\":{\"content\":\"!\"}}");
    tt_checkpoint *c = layout_opens(layout_folder);
    const tt_model_facts *f = tt_checkpoint_facts(c);
    assert_int_equal(f->unet.heads[0], 2);
    assert_int_equal(f->unet.heads[1], 4);
    assert_int_equal(f->unet.heads[2], 4);
    assert_int_equal(f->unet.groups, 1);
    assert_int_equal(f->unet.size_frequencies, 8);
    assert_int_equal(f->vae.groups, 16);
    assert_true(f->vae.scaling_factor == 0.18215f && !f->vae.force_upcast);
    assert_int_equal(f->text[0].heads, 4);
    assert_string_equal(f->text[0].activation, "gelu");
    assert_true(f->text[0].pool_at_largest);
    assert_int_equal(f->text[0].pad_id, 1001);
    assert_int_equal(f->text[1].heads, 8); /* transformers' own value */
    assert_string_equal(f->text[1].activation, "quick_gelu");
    assert_false(f->text[1].pool_at_largest);
    assert_int_equal(f->text[1].eos_id, 49407);
    assert_int_equal(f->text[1].pad_id, 0);
    assert_int_equal(f->schedule.prediction, TT_PREDICT_V);
    assert_string_equal(f->schedule.class_name, "EulerDiscreteScheduler");
    assert_string_equal(f->schedule.spacing, "trailing");
    assert_true(f->schedule.zero_terminal_snr && f->schedule.use_karras);
    assert_int_equal(f->schedule.steps_offset, 1);
    assert_false(f->zero_absent_negative);
    tt_checkpoint_close(c);
}

static void absent_keys_have_the_libraries_defaults(void **state) {
    (void)state;
    layout_write_text("unet/config.json", "{\"addition_embed_type\":\"text_time\"}");
    layout_write_text("vae/config.json", "{}");
    layout_write_text("scheduler/scheduler_config.json",
                      "{\"_class_name\":\"EulerDiscreteScheduler\"}");
    tt_checkpoint *c = layout_opens(layout_folder);
    const tt_model_facts *f = tt_checkpoint_facts(c);
    assert_int_equal(f->unet.heads[0], 8);
    assert_true(f->vae.scaling_factor == 0.18215f);
    assert_true(f->schedule.beta_start == 0.0001 && f->schedule.beta_end == 0.02);
    assert_string_equal(f->schedule.beta_schedule, "linear");
    assert_int_equal(f->schedule.steps_offset, 0);
    tt_checkpoint_close(c);
    layout_write_text("scheduler/scheduler_config.json", "{\"_class_name\":\"LCMScheduler\"}");
    c = layout_opens(layout_folder);
    assert_string_equal(tt_checkpoint_facts(c)->schedule.beta_schedule, "scaled_linear");
    tt_checkpoint_close(c);
}

static void heads_may_be_one_number_or_named_properly(void **state) {
    (void)state;
    layout_write_text("unet/config.json",
                      "{\"addition_embed_type\":\"text_time\",\"attention_head_dim\":5}");
    tt_checkpoint *c = layout_opens(layout_folder);
    assert_int_equal(tt_checkpoint_facts(c)->unet.heads[1], 5);
    tt_checkpoint_close(c);
    layout_write_text("unet/config.json",
                      "{\"addition_embed_type\":\"text_time\",\"attention_head_dim\":5,"
                      "\"num_attention_heads\":[1,2,3]}");
    c = layout_opens(layout_folder);
    assert_int_equal(tt_checkpoint_facts(c)->unet.heads[1], 2);
    tt_checkpoint_close(c);
}

static void scheduler_algorithm_is_kept(void **state) {
    (void)state;
    layout_write_text(
        "scheduler/scheduler_config.json",
        "{\"_class_name\":\"DPMSolverMultistepScheduler\",\"algorithm_type\":\"sde-dpmsolver++\","
        "\"solver_order\":2,\"solver_type\":\"midpoint\",\"variance_type\":null}");
    tt_checkpoint *c = layout_opens(layout_folder);
    assert_string_equal(tt_checkpoint_facts(c)->schedule.algorithm, "sde-dpmsolver++");
    tt_checkpoint_close(c);
}

static void unusual_pad_tokens_are_looked_up(void **state) {
    (void)state;
    layout_write_text("tokenizer/tokenizer_config.json", "{\"pad_token\":\"<pad>\"}");
    layout_refuses(layout_folder, TT_E_FORMAT, "pad_token \"<pad>\" is not in the vocabulary");
    layout_write_text("tokenizer/vocab.json", "{\"a\":0,\"<pad>\":77}");
    tt_checkpoint *c = layout_opens(layout_folder);
    assert_int_equal(tt_checkpoint_facts(c)->text[0].pad_id, 77);
    tt_checkpoint_close(c);
}

static void configs_that_cannot_be_honoured_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *path, *text, *sentence;
    } cases[] = {
        {"model_index.json", "{\"_class_name\":\"FluxPipeline\"}", "FluxPipeline is not supported"},
        {"model_index.json", "{\"requires_aesthetics_score\":true}", "refiner"},
        {"unet/config.json", "{}", "this is not an SDXL model"},
        {"unet/config.json", "{\"_class_name\":\"ControlNetModel\"}",
         "_class_name: \"ControlNetModel\""},
        {"unet/config.json", "{\"act_fn\":\"gelu\"}", "act_fn: \"gelu\" is not supported"},
        {"unet/config.json", "{\"class_embed_type\":\"timestep\"}", "class_embed_type"},
        {"unet/config.json", "{\"encoder_hid_dim\":64}", "encoder_hid_dim: 64"},
        {"unet/config.json", "{\"time_cond_proj_dim\":256}", "time_cond_proj_dim"},
        {"unet/config.json", "{\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\"]}",
         "down_block_types: \"AttnDownBlock2D\""},
        {"unet/config.json", "{\"addition_embed_type\":\"text\"}", "addition_embed_type"},
        {"unet/config.json",
         "{\"addition_embed_type\":\"text_time\",\"projection_class_embeddings_input_dim\":2560}",
         "refiner"},
        {"vae/config.json", "{\"_class_name\":\"AutoencoderTiny\"}", "AutoencoderTiny"},
        {"vae/config.json", "{\"latents_mean\":[1,2]}", "latents_mean"},
        {"scheduler/scheduler_config.json", "{\"_class_name\":\"FlowMatchEulerDiscreteScheduler\"}",
         "FlowMatchEulerDiscreteScheduler is not supported"},
        {"scheduler/scheduler_config.json", "{\"prediction_type\":\"sample\"}", "prediction type"},
        {"scheduler/scheduler_config.json", "{\"beta_schedule\":\"squaredcos_cap_v2\"}",
         "squaredcos_cap_v2"},
        {"scheduler/scheduler_config.json", "{\"trained_betas\":[0.1]}", "trained_betas"},
        {"scheduler/scheduler_config.json", "{\"use_exponential_sigmas\":true}",
         "use_exponential_sigmas"},
        {"scheduler/scheduler_config.json", "{\"_class_name\":\"DDIMScheduler\"}", "clip_sample"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model_folder(state);
        layout_write_text(cases[i].path, cases[i].text);
        layout_refuses(layout_folder, TT_E_UNSUPPORTED, cases[i].sentence);
    }
}

/* Whether these are there is told by the tensors. */
static void parts_that_a_vae_may_lack_may_be_lacking(void **state) {
    make_model_folder(state);
    layout_write_text("vae/config.json", "{\"use_quant_conv\":false,\"use_post_quant_conv\":false,"
                                         "\"mid_block_add_attention\":false}");
    tt_checkpoint_close(layout_opens(layout_folder));
}

static void broken_configs_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{", "invalid JSON"},
        {"[]", "expected an object, found an array"},
        {"{\"addition_embed_type\":\"text_time\",\"norm_num_groups\":0}",
         "norm_num_groups: expected 1"},
        {"{\"addition_embed_type\":\"text_time\",\"attention_head_dim\":\"5\"}",
         "expected a whole number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        layout_write_text("unet/config.json", cases[i][0]);
        layout_refuses(layout_folder, TT_E_FORMAT, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare_file_has_the_values_of_sdxl),
        cmocka_unit_test(a_model_over_sigmas_names_its_range),
        cmocka_unit_test(every_key_of_the_metadata_is_read),
        cmocka_unit_test(wrong_metadata_is_refused),
        cmocka_unit_test(marker_tensors_and_model_specs_are_honoured),
        cmocka_unit_test_setup(folder_configs_are_read, make_model_folder),
        cmocka_unit_test_setup(absent_keys_have_the_libraries_defaults, make_model_folder),
        cmocka_unit_test_setup(heads_may_be_one_number_or_named_properly, make_model_folder),
        cmocka_unit_test_setup(scheduler_algorithm_is_kept, make_model_folder),
        cmocka_unit_test_setup(unusual_pad_tokens_are_looked_up, make_model_folder),
        cmocka_unit_test_setup(configs_that_cannot_be_honoured_are_refused, make_model_folder),
        cmocka_unit_test_setup(parts_that_a_vae_may_lack_may_be_lacking, make_model_folder),
        cmocka_unit_test_setup(broken_configs_are_refused, make_model_folder),
    };
    return cmocka_run_group_tests(tests, layout_begin, layout_end);
}
