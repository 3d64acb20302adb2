/* The facts of a single file: SDXL's own values, then what marker tensors and metadata say. Every key of
 * "tintype.config" is optional, and every value is checked, because a file may say anything: 0 groups would
 * divide by zero much later, in another room. */
#include <math.h>
#include <string.h>

#include "weights/parts.h"

enum {
    MAX_HEADS = 4096,
    MAX_GROUPS = 65536,
    MAX_FREQUENCIES = 65536,
    MAX_TOKEN = 1 << 20,
    MAX_TRAIN_STEPS = 100000,
    HF_LARGEST_EOS =
        2, /* transformers pools at the largest id when eos_token_id is 2, for old configs */
};
static const double max_eps = 1.0, max_scale = 1e6;

/* ---- readers ---------------------------------------------------------------------------------------- */

/* base/json.h blames the caller's request; here it is a file. */
static tt_status as_format(tt_status status, tt_err *err) {
    if (status != TT_E_INVALID) return status;
    if (err) err->code = TT_E_FORMAT;
    return TT_E_FORMAT;
}

tt_status tt__get_i64(json_object *o, const char *key, int64_t low, int64_t high, int64_t *out,
                      tt_err *err) {
    int64_t value = *out;
    TT_TRY(as_format(tt_json_get_i64(o, key, &value, err), err));
    if (value == *out) return TT_OK;
    if (value < low || value > high)
        return tt_fail(err, TT_E_FORMAT, "%s: expected %lld to %lld, found %lld", key,
                       (long long)low, (long long)high, (long long)value);
    *out = value;
    return TT_OK;
}

tt_status tt__get_double(json_object *o, const char *key, double low, double high, double *out,
                         tt_err *err) {
    double value = *out;
    TT_TRY(as_format(tt_json_get_double(o, key, &value, err), err));
    if (value == *out) return TT_OK;
    if (!(value >= low && value <= high))
        return tt_fail(err, TT_E_FORMAT, "%s: expected %g to %g, found %g", key, low, high, value);
    *out = value;
    return TT_OK;
}

tt_status tt__get_float(json_object *o, const char *key, double low, double high, float *out,
                        tt_err *err) {
    double value = (double)*out;
    TT_TRY(tt__get_double(o, key, low, high, &value, err));
    *out = (float)value;
    return TT_OK;
}

tt_status tt__get_bool(json_object *o, const char *key, bool *out, tt_err *err) {
    return as_format(tt_json_get_bool(o, key, out, err), err);
}

tt_status tt__get_text(json_object *o, const char *key, char *out, size_t size, tt_err *err) {
    const char *text = NULL;
    TT_TRY(as_format(tt_json_get_string(o, key, &text, err), err));
    if (!text) return TT_OK;
    if (strlen(text) >= size)
        return tt_fail(err, TT_E_FORMAT, "%s: the text has %zu bytes, at most %zu are expected",
                       key, strlen(text), size - 1);
    memcpy(out, text, strlen(text) + 1);
    return TT_OK;
}

static tt_status get_object(json_object *o, const char *key, json_object **out, tt_err *err) {
    *out = NULL;
    if (!json_object_object_get_ex(o, key, out) || !*out) return TT_OK;
    if (json_object_is_type(*out, json_type_object)) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: expected an object, found %s", key,
                   tt_json_type_name(*out));
}

tt_status tt__get_heads(json_object *o, const char *key, int64_t heads[TT_MAX_LEVELS],
                        tt_err *err) {
    json_object *value;
    if (!json_object_object_get_ex(o, key, &value) || !value) return TT_OK;
    if (!json_object_is_type(value, json_type_array)) {
        int64_t all = 0;
        TT_TRY(tt__get_i64(o, key, 1, MAX_HEADS, &all, err));
        for (int i = 0; i < TT_MAX_LEVELS; i++) heads[i] = all;
        return TT_OK;
    }
    size_t n = json_object_array_length(value);
    if (n == 0 || n > TT_MAX_LEVELS)
        return tt_fail(err, TT_E_FORMAT, "%s: expected 1 to %d numbers, found %zu", key,
                       TT_MAX_LEVELS, n);
    for (size_t i = 0; i < TT_MAX_LEVELS;
         i++) { /* the last one stands for levels beyond the list */
        json_object *one = json_object_array_get_idx(value, i < n ? i : n - 1);
        int64_t count = json_object_is_type(one, json_type_int) ? json_object_get_int64(one) : 0;
        if (count < 1 || count > MAX_HEADS)
            return tt_fail(err, TT_E_FORMAT, "%s: expected whole numbers from 1 to %d", key,
                           MAX_HEADS);
        heads[i] = count;
    }
    return TT_OK;
}

tt_status tt__set_prediction(tt_model_facts *facts, const char *name, tt_err *err) {
    if (strcmp(name, "epsilon") == 0)
        facts->schedule.prediction = TT_PREDICT_EPSILON;
    else if (strcmp(name, "v") == 0 || strcmp(name, "v_prediction") == 0)
        facts->schedule.prediction = TT_PREDICT_V;
    else
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "prediction type \"%s\" is not supported: epsilon and v_prediction are",
                       name);
    return TT_OK;
}

tt_status tt__set_eos(tt_text_facts *text, json_object *o, const char *key, tt_err *err) {
    int64_t id = -1;
    TT_TRY(as_format(tt_json_get_i64(o, key, &id, err), err));
    if (id == -1) return TT_OK;
    if (id < 0 || id > MAX_TOKEN)
        return tt_fail(err, TT_E_FORMAT, "%s: expected 0 to %d, found %lld", key, MAX_TOKEN,
                       (long long)id);
    text->pool_at_largest = id == HF_LARGEST_EOS;
    text->eos_id = text->pool_at_largest ? TT__TEXT_TOKENS_END : id;
    return TT_OK;
}

/* ---- defaults --------------------------------------------------------------------------------------- */

void tt__facts_defaults(tt_model_facts *f) {
    *f = (tt_model_facts){
        .layout = "",
        .text[0] = {0, "quick_gelu", 1e-5f, TT__TEXT_TOKENS_END, TT__TEXT_TOKENS_END, true},
        .text[1] = {0, "gelu", 1e-5f, 0, TT__TEXT_TOKENS_END, true},
        .unet = {.head_dim = 64,
                 .groups = 32,
                 .norm_eps = 1e-5f,
                 .attention_norm_eps = 1e-6f,
                 .size_frequencies = 256,
                 .flip_sin_to_cos = true},
        .vae = {.groups = 32, .norm_eps = 1e-6f, .scaling_factor = 0.13025f, .force_upcast = true},
        .schedule = {.prediction = TT_PREDICT_EPSILON,
                     .train_steps = 1000,
                     .beta_start = 0.00085,
                     .beta_end = 0.012,
                     .beta_schedule = "scaled_linear",
                     .steps_offset = 1},
        .zero_absent_negative = true,
    };
}

/* ---- metadata --------------------------------------------------------------------------------------- */

static tt_status text_config(tt_text_facts *t, json_object *o, tt_err *err) {
    TT_TRY(tt__get_i64(o, "heads", 1, MAX_HEADS, &t->heads, err));
    TT_TRY(tt__get_text(o, "activation", t->activation, sizeof t->activation, err));
    TT_TRY(tt__get_float(o, "norm_eps", 0, max_eps, &t->norm_eps, err));
    TT_TRY(tt__get_i64(o, "pad_id", 0, MAX_TOKEN, &t->pad_id, err));
    return tt__set_eos(t, o, "eos_id", err);
}

/* Numbers that our layers have built in: another value must be refused. */
static tt_status must_be(json_object *o, const char *key, double only, tt_err *err) {
    double value = only;
    TT_TRY(as_format(tt_json_get_double(o, key, &value, err), err));
    if (value == only) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED, "%s: only %g is supported, found %g", key, only, value);
}

static tt_status unet_config(tt_model_facts *f, json_object *o, tt_err *err) {
    TT_TRY(tt__get_heads(o, "heads", f->unet.heads, err));
    TT_TRY(tt__get_i64(o, "middle_heads", 1, MAX_HEADS, &f->unet.middle_heads, err));
    TT_TRY(tt__get_i64(o, "head_dim", 1, MAX_HEADS, &f->unet.head_dim, err));
    TT_TRY(tt__get_i64(o, "groups", 1, MAX_GROUPS, &f->unet.groups, err));
    TT_TRY(tt__get_float(o, "norm_eps", 0, max_eps, &f->unet.norm_eps, err));
    TT_TRY(tt__get_float(o, "transformer_group_norm_eps", 0, max_eps, &f->unet.attention_norm_eps,
                         err));
    TT_TRY(tt__get_i64(o, "size_frequencies", 2, MAX_FREQUENCIES, &f->unet.size_frequencies, err));
    TT_TRY(tt__get_bool(o, "flip_sin_to_cos", &f->unet.flip_sin_to_cos, err));
    TT_TRY(tt__get_float(o, "frequency_shift", -1, 1, &f->unet.frequency_shift, err));
    return must_be(o, "layer_norm_eps", 1e-5, err);
}

static tt_status vae_config(tt_model_facts *f, json_object *o, tt_err *err) {
    TT_TRY(tt__get_i64(o, "groups", 1, MAX_GROUPS, &f->vae.groups, err));
    TT_TRY(tt__get_float(o, "norm_eps", 0, max_eps, &f->vae.norm_eps, err));
    TT_TRY(tt__get_float(o, "scale", 1e-6, max_scale, &f->vae.scaling_factor, err));
    TT_TRY(tt__get_float(o, "shift", -max_scale, max_scale, &f->vae.shift_factor, err));
    TT_TRY(tt__get_bool(o, "force_upcast", &f->vae.force_upcast, err));
    return must_be(o, "attention_heads", 1, err);
}

static tt_status schedule_config(tt_model_facts *f, json_object *o, tt_err *err) {
    char prediction[32] = "";
    TT_TRY(tt__get_text(o, "prediction", prediction, sizeof prediction, err));
    if (prediction[0]) TT_TRY(tt__set_prediction(f, prediction, err));
    TT_TRY(tt__get_i64(o, "steps", 2, MAX_TRAIN_STEPS, &f->schedule.train_steps, err));
    TT_TRY(tt__get_double(o, "beta_start", 1e-12, 0.999, &f->schedule.beta_start, err));
    TT_TRY(tt__get_double(o, "beta_end", 1e-12, 0.999, &f->schedule.beta_end, err));
    TT_TRY(tt__get_text(o, "beta_schedule", f->schedule.beta_schedule,
                        sizeof f->schedule.beta_schedule, err));
    TT_TRY(tt__get_bool(o, "zero_terminal_snr", &f->schedule.zero_terminal_snr, err));
    TT_TRY(tt__get_text(o, "spacing", f->schedule.spacing, sizeof f->schedule.spacing, err));
    TT_TRY(tt__get_i64(o, "steps_offset", 0, MAX_TRAIN_STEPS, &f->schedule.steps_offset, err));
    TT_TRY(tt__get_bool(o, "karras", &f->schedule.use_karras, err));
    TT_TRY(tt__get_bool(o, "set_alpha_to_one", &f->schedule.set_alpha_to_one, err));
    return tt__get_text(o, "class", f->schedule.class_name, sizeof f->schedule.class_name, err);
}

static tt_status defaults_config(tt_model_facts *f, json_object *o, tt_err *err) {
    const int64_t max_side = 1 << 20,
                  max_steps = 100000; /* sanity; the pipeline has the real limits */
    char negative[16] = "";
    TT_TRY(tt__get_i64(o, "width", 1, max_side, &f->defaults.width, err));
    TT_TRY(tt__get_i64(o, "height", 1, max_side, &f->defaults.height, err));
    TT_TRY(tt__get_i64(o, "steps", 1, max_steps, &f->defaults.steps, err));
    TT_TRY(tt__get_double(o, "cfg", 0, 1000, &f->defaults.guidance, err));
    TT_TRY(tt__get_text(o, "sampler", f->defaults.sampler, sizeof f->defaults.sampler, err));
    TT_TRY(tt__get_text(o, "negative", negative, sizeof negative, err));
    if (strcmp(negative, "zeros") == 0)
        f->zero_absent_negative = true;
    else if (strcmp(negative, "empty") == 0)
        f->zero_absent_negative = false;
    else if (negative[0])
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "negative: expected \"zeros\" or \"empty\", found \"%s\"", negative);
    return TT_OK;
}

static tt_status text1_config(tt_model_facts *f, json_object *o, tt_err *err) {
    return text_config(&f->text[0], o, err);
}
static tt_status text2_config(tt_model_facts *f, json_object *o, tt_err *err) {
    return text_config(&f->text[1], o, err);
}

tt_status tt__facts_from_config(tt_model_facts *facts, json_object *config, tt_err *err) {
    static const struct {
        const char *key;
        tt_status (*read)(tt_model_facts *, json_object *, tt_err *);
    } sections[] = {
        {"text_encoder_1", text1_config},
        {"text_encoder_2", text2_config},
        {"unet", unet_config},
        {"vae", vae_config},
        {"schedule", schedule_config},
        {"defaults", defaults_config},
    };
    if (!json_object_is_type(config, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "expected an object, found %s", tt_json_type_name(config));
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        json_object *o;
        TT_TRY(get_object(config, sections[i].key, &o, err));
        tt_status status = o ? sections[i].read(facts, o, err) : TT_OK;
        if (status != TT_OK) return tt_fail_prefix(err, status, "%s", sections[i].key);
    }
    return TT_OK;
}

static tt_status from_metadata(tt_model_facts *facts, const char *text, tt_err *err) {
    json_object *config;
    TT_TRY(tt_json_parse(text, strlen(text), &config, err));
    tt_status status = tt__facts_from_config(facts, config, err);
    json_object_put(config);
    return status;
}

/* A tensor that is one number, more than 0. *out stays as it is when there is none. */
static tt_status read_number(const tt_safetensors *file, const char *name, double *out,
                             tt_err *err) {
    const tt_st_tensor *t = tt_safetensors_find(file, name);
    double raw; /* the largest type there is */
    float value = 0;
    if (!t) return TT_OK;
    size_t item = tt_dtype_size(t->info.dtype);
    bool is_number = t->info.dtype <= TT_F8_E5M2 && t->size == item && item <= sizeof raw;
    if (is_number) {
        TT_TRY(tt_safetensors_read(file, t, 0, &raw, item, err));
        tt_convert(&value, TT_F32, &raw, t->info.dtype, 1);
        *out = value;
    }
    if (is_number && isfinite(value) && value > 0) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s: expected one number more than 0",
                   tt_safetensors_path(file), name);
}

/* The marks of CosXL (engine.md 2.2). Its range is what is assumed of a file that leaves an end out. */
static tt_status read_edm(tt_model_facts *facts, const tt_safetensors *file, tt_err *err) {
    static const char low[] = "edm_vpred.sigma_min", high[] = "edm_vpred.sigma_max";
    if (!tt_safetensors_find(file, low) && !tt_safetensors_find(file, high)) return TT_OK;
    facts->schedule.prediction = TT_PREDICT_V;
    facts->schedule.edm_sigma_min = 0.002;
    facts->schedule.edm_sigma_max = 120;
    TT_TRY(read_number(file, low, &facts->schedule.edm_sigma_min, err));
    return read_number(file, high, &facts->schedule.edm_sigma_max, err);
}

tt_status tt__facts_from_file(tt_model_facts *facts, const tt_safetensors *file, tt_err *err) {
    const char *config = tt_safetensors_metadata(file, "tintype.config");
    const char *hint = tt_safetensors_metadata(file, "modelspec.prediction_type");
    /* "v" is what trainers write there; anything else is too often a slip to be trusted */
    if (hint && (strcmp(hint, "v") == 0 || strcmp(hint, "v_prediction") == 0))
        facts->schedule.prediction = TT_PREDICT_V;
    if (tt_safetensors_find(file, "v_pred")) facts->schedule.prediction = TT_PREDICT_V;
    if (tt_safetensors_find(file, "ztsnr")) facts->schedule.zero_terminal_snr = true;
    TT_TRY(read_edm(facts, file, err));
    if (!config) return TT_OK;
    tt_status status = from_metadata(facts, config, err);
    if (status == TT_OK) return TT_OK;
    return tt_fail_prefix(err, status, "%s: metadata tintype.config", tt_safetensors_path(file));
}

/* ---- last check ------------------------------------------------------------------------------------- */

static tt_status check_words(const tt_checkpoint *c, tt_err *err) {
    const char *betas = c->facts.schedule.beta_schedule, *spacing = c->facts.schedule.spacing;
    if (strcmp(betas, "scaled_linear") != 0 && strcmp(betas, "linear") != 0)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "%s: beta_schedule \"%s\" is not supported: scaled_linear and linear are",
                       c->path, betas);
    if (spacing[0] && strcmp(spacing, "leading") != 0 && strcmp(spacing, "trailing") != 0 &&
        strcmp(spacing, "linspace") != 0)
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "%s: timestep spacing \"%s\" is not supported: leading, trailing and linspace are",
            c->path, spacing);
    return TT_OK;
}

/* CLIP's heads are 64 wide; a width that is no multiple belongs to a test model with one head. */
static void guess_text_heads(tt_checkpoint *c, int i) {
    const int64_t clip_head_dim = 64;
    char name[TT__NAME_BYTES];
    tt_tensor_info info;
    snprintf(name, sizeof name, "te%d.text_model.embeddings.token_embedding.weight", i + 1);
    if (c->facts.text[i].heads || tt_checkpoint_info(c, name, &info, NULL) != TT_OK) return;
    int64_t width = info.rank == 2 ? info.shape[1] : 0;
    c->facts.text[i].heads = width > 0 && width % clip_head_dim == 0 ? width / clip_head_dim : 1;
}

tt_status tt__facts_finish(tt_checkpoint *c, tt_err *err) {
    guess_text_heads(c, 0);
    guess_text_heads(c, 1);
    return check_words(c, err);
}
