/* The config files of a diffusers folder. A key that is absent has the value that diffusers or transformers give
 * it, which is not always SDXL's. A key that asks for something this engine does not do is refused with its
 * name: silence would be a wrong picture. What follows from tensor shapes (widths, depths, channels) is not read here. */
#include <string.h>

#include "base/file.h"
#include "weights/parts.h"

enum { PATH_BYTES = 4096, MAX_STEPS = 100000, MAX_GROUPS = 65536, MAX_TOKEN = 1 << 20 };

/* ---- rules ------------------------------------------------------------------------------------------ */

/* Null, absent, or one of these JSON texts, separated by '|'. A list must have only such elements. */
typedef struct rule {
    const char *key, *allowed;
} rule;

static const rule unet_rules[] = {
    {"_class_name", "\"UNet2DConditionModel\""},
    {"act_fn", "\"silu\"|\"swish\""},
    {"addition_embed_type", "\"text_time\""},
    {"attention_type", "\"default\""},
    {"center_input_sample", "false"},
    {"class_embed_type", ""},
    {"class_embeddings_concat", "false"},
    {"conv_in_kernel", "3"},
    {"conv_out_kernel", "3"},
    {"cross_attention_norm", ""},
    {"down_block_types", "\"DownBlock2D\"|\"CrossAttnDownBlock2D\""},
    {"downsample_padding", "1"},
    {"dual_cross_attention", "false"},
    {"encoder_hid_dim", ""},
    {"encoder_hid_dim_type", ""},
    {"mid_block_only_cross_attention", "false"},
    {"mid_block_scale_factor", "1|1.0"},
    {"mid_block_type", "\"UNetMidBlock2DCrossAttn\"|\"UNetMidBlock2D\""},
    {"num_class_embeds", ""},
    {"only_cross_attention", "false"},
    {"resnet_out_scale_factor", "1|1.0"},
    {"resnet_skip_time_act", "false"},
    {"resnet_time_scale_shift", "\"default\""},
    {"time_cond_proj_dim", ""},
    {"time_embedding_act_fn", ""},
    {"time_embedding_type", "\"positional\""},
    {"timestep_post_act", ""},
    {"up_block_types", "\"UpBlock2D\"|\"CrossAttnUpBlock2D\""},
};

static const rule vae_rules[] = {
    {"_class_name", "\"AutoencoderKL\""},
    {"act_fn", "\"silu\"|\"swish\""},
    {"down_block_types", "\"DownEncoderBlock2D\""},
    {"up_block_types", "\"UpDecoderBlock2D\""},
    {"latents_mean", ""},
    {"latents_std", ""},
};

static const rule scheduler_rules[] = {
    {"trained_betas", ""},
    {"thresholding", "false"},
    {"variance_type", "\"fixed_small\"|\"fixed_small_log\""},
    {"algorithm_type", "\"dpmsolver++\"|\"sde-dpmsolver++\""},
    {"solver_order", "2"},
    {"solver_type", "\"midpoint\"|\"bh2\""},
    {"lower_order_final", "true"},
    {"euler_at_final", "false"},
    {"use_exponential_sigmas", "false"},
    {"use_beta_sigmas", "false"},
    {"use_lu_lambdas", "false"},
    {"use_flow_sigmas", "false"},
    {"final_sigmas_type", "\"zero\""},
    {"interpolation_type", "\"linear\""},
    {"timestep_type", "\"discrete\""},
    {"sigma_min", ""},
    {"sigma_max", ""},
    {"solver_p", ""},
};

static bool is_allowed(const char *text, const char *allowed) {
    size_t length = strlen(text);
    while (*allowed) {
        size_t n = strcspn(allowed, "|");
        if (n == length && memcmp(allowed, text, n) == 0) return true;
        allowed += n + (allowed[n] == '|');
    }
    return false;
}

static tt_status check_value(const rule *r, json_object *value, tt_err *err) {
    const char *text =
        value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN) : "null";
    if (!text) return tt_fail_nomem(err, r->key, 0);
    if (is_allowed(text, r->allowed)) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED, "%s: %.100s is not supported", r->key, text);
}

static tt_status check_rules(json_object *config, const rule *rules, size_t n, tt_err *err) {
    for (size_t i = 0; i < n; i++) {
        json_object *value;
        if (!json_object_object_get_ex(config, rules[i].key, &value) || !value) continue;
        if (!json_object_is_type(value, json_type_array)) {
            TT_TRY(check_value(&rules[i], value, err));
            continue;
        }
        for (size_t k = 0; k < json_object_array_length(value); k++)
            TT_TRY(check_value(&rules[i], json_object_array_get_idx(value, k), err));
    }
    return TT_OK;
}
#define CHECK_RULES(config, rules, err) \
    check_rules(config, rules, sizeof rules / sizeof *rules, err)

static bool has_value(json_object *o, const char *key) {
    json_object *value;
    return json_object_object_get_ex(o, key, &value) && value;
}

/* ---- networks --------------------------------------------------------------------------------------- */

static tt_status refuse_refiner(tt_err *err) {
    return tt_fail(
        err, TT_E_UNSUPPORTED,
        "this is the SDXL refiner, which goes on from a base model's work: name a base model, and "
        "this as its refiner");
}

static tt_status unet_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    tt_model_facts *f = &c->facts;
    const int64_t diffusers_heads = 8, refiner_vector = 1280 + 5 * 256;
    int64_t vector = 0;
    float eps = f->unet.norm_eps;
    TT_TRY(CHECK_RULES(o, unet_rules, err));
    if (!has_value(o, "addition_embed_type"))
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "the UNet takes no picture size (addition_embed_type is not text_time): this is not an "
            "SDXL model");
    TT_TRY(tt__get_i64(o, "projection_class_embeddings_input_dim", 0, INT32_MAX, &vector, err));
    if (vector == refiner_vector && !c->as_refiner) return refuse_refiner(err);
    /* "attention_head_dim" is the number of heads, by an old mistake that diffusers keeps; the other name wins */
    for (int i = 0; i < TT_MAX_LEVELS; i++) f->unet.heads[i] = diffusers_heads;
    TT_TRY(tt__get_heads(o, "attention_head_dim", f->unet.heads, err));
    TT_TRY(tt__get_heads(o, "num_attention_heads", f->unet.heads, err));
    TT_TRY(tt__get_i64(o, "norm_num_groups", 1, MAX_GROUPS, &f->unet.groups, err));
    TT_TRY(tt__get_float(o, "norm_eps", 0, 1, &eps, err));
    TT_TRY(
        tt__get_i64(o, "addition_time_embed_dim", 2, MAX_GROUPS, &f->unet.size_frequencies, err));
    TT_TRY(tt__get_bool(o, "flip_sin_to_cos", &f->unet.flip_sin_to_cos, err));
    f->unet.norm_eps = eps;
    return tt__get_float(o, "freq_shift", -1, 1, &f->unet.frequency_shift, err);
}

static tt_status vae_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    tt_model_facts *f = &c->facts;
    TT_TRY(CHECK_RULES(o, vae_rules, err));
    f->vae.scaling_factor = 0.18215f; /* diffusers' own, which is not SDXL's */
    TT_TRY(tt__get_float(o, "scaling_factor", 1e-6, 1e6, &f->vae.scaling_factor, err));
    TT_TRY(tt__get_float(o, "shift_factor", -1e6, 1e6, &f->vae.shift_factor, err));
    TT_TRY(tt__get_i64(o, "norm_num_groups", 1, MAX_GROUPS, &f->vae.groups, err));
    return tt__get_bool(o, "force_upcast", &f->vae.force_upcast, err);
}

static tt_status text_config(tt_text_facts *t, json_object *o, tt_err *err) {
    const int64_t transformers_heads = 8;
    t->heads = transformers_heads;
    snprintf(t->activation, sizeof t->activation, "quick_gelu");
    t->eos_id = TT__TEXT_TOKENS_END;
    t->pool_at_largest = false;
    TT_TRY(tt__get_i64(o, "num_attention_heads", 1, 4096, &t->heads, err));
    TT_TRY(tt__get_text(o, "hidden_act", t->activation, sizeof t->activation, err));
    TT_TRY(tt__get_float(o, "layer_norm_eps", 0, 1, &t->norm_eps, err));
    return tt__set_eos(t, o, "eos_token_id", err);
}

static tt_status text1_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    return text_config(&c->facts.text[0], o, err);
}
static tt_status text2_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    return text_config(&c->facts.text[1], o, err);
}

/* ---- scheduler -------------------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, list[i]) == 0) return true;
    return false;
}

/* Schedulers of other mathematics, and keys that only some classes read. */
static tt_status check_class(const char *name, json_object *o, tt_err *err) {
    static const char *const clipping[] = {"DDIMScheduler", "DDPMScheduler", "LCMScheduler"};
    bool clips = is_one_of(name, clipping, sizeof clipping / sizeof *clipping);
    bool clip_sample = strcmp(name, "LCMScheduler") != 0; /* the default of the other two */
    if (strstr(name, "FlowMatch") || strstr(name, "EDM"))
        return tt_fail(err, TT_E_UNSUPPORTED, "the scheduler %s is not supported", name);
    TT_TRY(tt__get_bool(o, "clip_sample", &clip_sample, err));
    if (clips && clip_sample)
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "clip_sample: true is not supported (SDXL's latents are not limited to -1...1)");
    return TT_OK;
}

/* What a scheduler class has when its config does not say. */
static void scheduler_defaults(tt_model_facts *f, const char *name) {
    static const char *const latent[] = {"LCMScheduler", "TCDScheduler"};
    bool has_latent_betas = is_one_of(name, latent, sizeof latent / sizeof *latent);
    f->schedule.beta_start = has_latent_betas ? 0.00085 : 0.0001;
    f->schedule.beta_end = has_latent_betas ? 0.012 : 0.02;
    snprintf(f->schedule.beta_schedule, sizeof f->schedule.beta_schedule, "%s",
             has_latent_betas ? "scaled_linear" : "linear");
    f->schedule.steps_offset = 0;
    f->schedule.set_alpha_to_one = true;
}

static tt_status scheduler_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    tt_model_facts *f = &c->facts;
    char prediction[32] = "epsilon";
    TT_TRY(CHECK_RULES(o, scheduler_rules, err));
    TT_TRY(
        tt__get_text(o, "_class_name", f->schedule.class_name, sizeof f->schedule.class_name, err));
    TT_TRY(check_class(f->schedule.class_name, o, err));
    scheduler_defaults(f, f->schedule.class_name);
    TT_TRY(tt__get_text(o, "prediction_type", prediction, sizeof prediction, err));
    TT_TRY(tt__set_prediction(f, prediction, err));
    TT_TRY(tt__get_i64(o, "num_train_timesteps", 2, MAX_STEPS, &f->schedule.train_steps, err));
    TT_TRY(tt__get_double(o, "beta_start", 1e-12, 0.999, &f->schedule.beta_start, err));
    TT_TRY(tt__get_double(o, "beta_end", 1e-12, 0.999, &f->schedule.beta_end, err));
    TT_TRY(tt__get_text(o, "beta_schedule", f->schedule.beta_schedule,
                        sizeof f->schedule.beta_schedule, err));
    TT_TRY(tt__get_bool(o, "rescale_betas_zero_snr", &f->schedule.zero_terminal_snr, err));
    TT_TRY(
        tt__get_text(o, "timestep_spacing", f->schedule.spacing, sizeof f->schedule.spacing, err));
    TT_TRY(tt__get_i64(o, "steps_offset", 0, MAX_STEPS, &f->schedule.steps_offset, err));
    TT_TRY(tt__get_text(o, "algorithm_type", f->schedule.algorithm, sizeof f->schedule.algorithm,
                        err));
    TT_TRY(tt__get_bool(o, "set_alpha_to_one", &f->schedule.set_alpha_to_one, err));
    return tt__get_bool(o, "use_karras_sigmas", &f->schedule.use_karras, err);
}

static tt_status model_index(tt_checkpoint *c, json_object *o, tt_err *err) {
    char name[64] = "";
    bool aesthetics = false;
    TT_TRY(tt__get_text(o, "_class_name", name, sizeof name, err));
    if (name[0] && !strstr(name, "StableDiffusionXL"))
        return tt_fail(err, TT_E_UNSUPPORTED, "the pipeline %s is not supported: only SDXL is",
                       name);
    TT_TRY(tt__get_bool(o, "requires_aesthetics_score", &aesthetics, err));
    if (aesthetics && !c->as_refiner) return refuse_refiner(err);
    return tt__get_bool(o, "force_zeros_for_empty_prompt", &c->facts.zero_absent_negative, err);
}

/* ---- tokenizers ------------------------------------------------------------------------------------- */

/* "pad_token": "!" or {"content": "!", ...}; NULL when there is none. */
static const char *pad_token(json_object *o) {
    json_object *token;
    if (!json_object_object_get_ex(o, "pad_token", &token)) return NULL;
    if (json_object_is_type(token, json_type_object) &&
        !json_object_object_get_ex(token, "content", &token))
        return NULL;
    return json_object_is_type(token, json_type_string) ? json_object_get_string(token) : NULL;
}

/* The id of a special token: in "added_tokens_decoder": {"49407": {"content": "<|endoftext|>"}...}, or by CLIP's own
 * vocabulary; -1: unknown. */
static int64_t token_id(json_object *o, const char *token) {
    json_object *added, *content;
    if (json_object_object_get_ex(o, "added_tokens_decoder", &added) &&
        json_object_is_type(added, json_type_object)) {
        json_object_object_foreach(added, id, value) {
            if (!json_object_object_get_ex(value, "content", &content)) continue;
            if (!json_object_is_type(content, json_type_string)) continue;
            if (strcmp(json_object_get_string(content), token) == 0) return strtoll(id, NULL, 10);
        }
    }
    if (strcmp(token, "<|endoftext|>") == 0) return TT__TEXT_TOKENS_END;
    if (strcmp(token, "<|startoftext|>") == 0) return TT__TEXT_TOKENS_END - 1;
    return strcmp(token, "!") == 0 ? 0 : -1;
}

/* Any other pad token stands in the vocabulary. */
static tt_status id_in_vocabulary(const tt_checkpoint *c, const char *tokenizer, const char *token,
                                  int64_t *id, tt_err *err) {
    char relative[64], path[PATH_BYTES];
    json_object *vocabulary;
    snprintf(relative, sizeof relative, "%s/vocab.json", tokenizer);
    if (tt_checkpoint_file(c, relative, path, sizeof path)) {
        TT_TRY(tt_json_read_file(path, &vocabulary, err));
        tt_status status = tt__get_i64(vocabulary, token, 0, MAX_TOKEN, id, err);
        json_object_put(vocabulary);
        TT_TRY(status);
    }
    if (*id >= 0) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "pad_token \"%.60s\" is not in the vocabulary", token);
}

static tt_status tokenizer_config(tt_checkpoint *c, json_object *o, int which, tt_err *err) {
    const char *token = pad_token(o);
    if (!token) return TT_OK;
    int64_t id = token_id(o, token);
    if (id < 0) TT_TRY(id_in_vocabulary(c, which ? "tokenizer_2" : "tokenizer", token, &id, err));
    if (id > MAX_TOKEN)
        return tt_fail(err, TT_E_FORMAT, "pad_token: id %lld is too large", (long long)id);
    c->facts.text[which].pad_id = id;
    return TT_OK;
}

static tt_status tokenizer1_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    return tokenizer_config(c, o, 0, err);
}
static tt_status tokenizer2_config(tt_checkpoint *c, json_object *o, tt_err *err) {
    return tokenizer_config(c, o, 1, err);
}

/* ---- all -------------------------------------------------------------------------------------------- */

typedef tt_status config_reader(tt_checkpoint *, json_object *, tt_err *);

static tt_status read_config(tt_checkpoint *c, const char *relative, config_reader *read,
                             tt_err *err) {
    char path[PATH_BYTES];
    json_object *config;
    if (!tt_checkpoint_file(c, relative, path, sizeof path)) return TT_OK;
    TT_TRY(tt_json_read_file(path, &config, err));
    tt_status status =
        json_object_is_type(config, json_type_object)
            ? read(c, config, err)
            : tt_fail(err, TT_E_FORMAT, "expected an object, found %s", tt_json_type_name(config));
    json_object_put(config);
    return status == TT_OK ? TT_OK : tt_fail_prefix(err, status, "%s", path);
}

tt_status tt__facts_from_folder(tt_checkpoint *c, tt_err *err) {
    static const struct {
        const char *path;
        config_reader *read;
    } files[] = {
        {"model_index.json", model_index},
        {"unet/config.json", unet_config},
        {"vae/config.json", vae_config},
        {"text_encoder/config.json", text1_config},
        {"text_encoder_2/config.json", text2_config},
        {"scheduler/scheduler_config.json", scheduler_config},
        /* later ones win: a tokenizer's config over the older special_tokens_map */
        {"tokenizer/special_tokens_map.json", tokenizer1_config},
        {"tokenizer_2/special_tokens_map.json", tokenizer2_config},
        {"tokenizer/tokenizer_config.json", tokenizer1_config},
        {"tokenizer_2/tokenizer_config.json", tokenizer2_config},
    };
    if (tt__is_vae_folder(c)) return read_config(c, "config.json", vae_config, err);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        TT_TRY(read_config(c, files[i].path, files[i].read, err));
    return TT_OK;
}
