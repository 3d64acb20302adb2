/* Opening a model: back-ends, tokenizers, networks; then everything is read at once. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "pipeline/passes.h"
#include "sample/names.h"

enum { SDXL_SIDE = 1024, DEFAULT_STEPS = 24 };
static const float DEFAULT_GUIDANCE = 4.5f;
static const char DEFAULT_SAMPLER[] = "DPM++ 2M Karras";

const char *tt_version(void) {
    return TT_VERSION;
}

void tt_engine_options_defaults(tt_engine_options *options) {
    *options = (tt_engine_options){.precision = TT_PRECISION_AUTO};
}

const tt_engine_info *tt_engine_get_info(const tt_engine *engine) {
    return &engine->info;
}

static tt_dtype dtype_of(tt_precision precision, tt_dtype automatic) {
    if (precision == TT_PRECISION_AUTO) return automatic;
    return precision == TT_PRECISION_BF16 ? TT_BF16 : TT_F32;
}

static const char *precision_name(tt_dtype dtype) {
    return dtype == TT_BF16 ? "bf16" : "f32";
}

/* The types of everything and of the VAE. What multiplies in int8 adds up in bf16, on CPUs that lack it too; their VAE is
 * better off in f32. */
static tt_status choose_dtypes(const tt_engine_options *o, tt_dtype *dtype, tt_dtype *vae_dtype,
                               tt_err *err) {
    bool has_bf16 = o->device == TT_DEVICE_CUDA || tt_cpu_has_bf16();
    tt_dtype automatic = has_bf16 ? TT_BF16 : TT_F32;
    if (o->vae_precision == TT_PRECISION_INT8)
        return tt_fail(err, TT_E_INVALID, "VAE precision int8: expected f32 or bf16");
    bool is_int8 = o->precision == TT_PRECISION_INT8;
    *dtype = is_int8 ? TT_BF16 : dtype_of(o->precision, automatic);
    *vae_dtype = dtype_of(o->vae_precision, is_int8 ? automatic : *dtype);
    return TT_OK;
}

static tt_backend_kind backend_of(tt_device device) {
    switch (device) {
    case TT_DEVICE_CPU:
        return TT_BACKEND_CPU;
    case TT_DEVICE_REF:
        return TT_BACKEND_REF;
    case TT_DEVICE_CUDA:
        return TT_BACKEND_CUDA;
    }
    return TT_BACKEND_CPU;
}

static tt_status open_backends(tt_engine *e, const tt_engine_options *o, tt_err *err) {
    tt_dtype dtype, vae_dtype;
    TT_TRY(choose_dtypes(o, &dtype, &vae_dtype, err));
    e->backend = backend_of(o->device);
    tt_ops_options options = {.backend = e->backend, .dtype = dtype, .n_threads = o->n_threads};
    TT_TRY(tt_ops_open(&options, &e->ops, err));
    e->vae_ops = e->ops;
    if (o->precision == TT_PRECISION_INT8) TT_TRY(tt_ops_allow_int8(e->ops, err));
    options.dtype = vae_dtype;
    if (vae_dtype != dtype) TT_TRY(tt_ops_open(&options, &e->vae_ops, err));
    e->info.precision = tt_ops_has_int8(e->ops) ? "int8" : precision_name(dtype);
    e->info.vae_precision = precision_name(vae_dtype);
    e->info.n_threads = tt_ops_threads(e->ops);
    return TT_OK;
}

/* A folder may bring tokenizers; a single file means CLIP's own. */
static tt_status open_tokenizer(tt_engine *e, int which, tt_err *err) {
    static const char *const folders[TT_TEXT_ENCODERS] = {"tokenizer", "tokenizer_2"};
    static const char *const files[] = {"tokenizer.json", "vocab.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char relative[64], path[4096];
        snprintf(relative, sizeof relative, "%s/%s", folders[which], files[i]);
        if (!tt_checkpoint_file(e->checkpoint, relative, path, sizeof path)) continue;
        *strrchr(path, '/') = '\0';
        return tt_tokenizer_open_folder(path, &e->tokenizers[which], err);
    }
    if (which == 1 && strcmp(e->info.layout, "ldm file") == 0) {
        e->tokenizers[1] = e->tokenizers[0];
        return TT_OK;
    }
    return tt_tokenizer_open(&e->tokenizers[which], err);
}

static tt_status check_fit(const tt_engine *e, tt_err *err) {
    if (tt_unet_size_ids(e->unet) != TT_UNET_SIZE_IDS)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "model %s: its UNet takes an aesthetic score, as the SDXL refiner's: name a "
                       "base model, and this as its refiner",
                       e->model_name);
    int64_t width = tt_clip_width(e->clips[0]) + tt_clip_width(e->clips[1]);
    if (width != tt_unet_context_width(e->unet))
        return tt_fail(err, TT_E_FORMAT,
                       "model %s: the text encoders give %lld + %lld features, the UNet takes %lld",
                       e->model_name, (long long)tt_clip_width(e->clips[0]),
                       (long long)tt_clip_width(e->clips[1]),
                       (long long)tt_unet_context_width(e->unet));
    if (tt_clip_pooled_width(e->clips[1]) != tt_unet_pooled_width(e->unet))
        return tt_fail(
            err, TT_E_FORMAT,
            "model %s: the second text encoder pools to %lld features, the UNet takes %lld",
            e->model_name, (long long)tt_clip_pooled_width(e->clips[1]),
            (long long)tt_unet_pooled_width(e->unet));
    if (tt_clip_positions(e->clips[0]) != tt_clip_positions(e->clips[1]))
        return tt_fail(err, TT_E_FORMAT, "model %s: text encoders of %d and %d positions",
                       e->model_name, tt_clip_positions(e->clips[0]),
                       tt_clip_positions(e->clips[1]));
    int64_t channels = tt_vae_latent_channels(e->vae), taken = tt_unet_in_channels(e->unet);
    if ((taken != channels && taken != 2 * channels + 1) ||
        tt_unet_out_channels(e->unet) != channels)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "model %s: its UNet takes %lld channels and gives %lld, its VAE has %lld; "
                       "editing models "
                       "(8 channels) are not supported",
                       e->model_name, (long long)tt_unet_in_channels(e->unet),
                       (long long)tt_unet_out_channels(e->unet),
                       (long long)tt_vae_latent_channels(e->vae));
    if (tt_vae_latent_channels(e->vae) > TT_PREVIEW_MAX_CHANNELS)
        return tt_fail(err, TT_E_UNSUPPORTED, "model %s: latents of %lld channels, at most %d",
                       e->model_name, (long long)tt_vae_latent_channels(e->vae),
                       TT_PREVIEW_MAX_CHANNELS);
    return TT_OK;
}

static tt_status open_networks(tt_engine *e, tt_loader *loader, tt_err *err) {
    static const char *const components[] = {"unet", "te1", "te2"};
    for (size_t i = 0; i < sizeof components / sizeof *components; i++)
        TT_TRY(tt_checkpoint_require(e->checkpoint, components[i], err));
    for (int i = 0; i < TT_TEXT_ENCODERS; i++)
        TT_TRY(tt_clip_open(loader, e->ops, i, &e->clips[i], err));
    TT_TRY(tt_unet_open(loader, e->ops, &e->unet, err));
    for (int i = 0; i < TT_TEXT_ENCODERS; i++) TT_TRY(open_tokenizer(e, i, err));
    TT_TRY(tt__vae_open(e, err));
    TT_TRY(check_fit(e, err));
    e->info.paints_in = e->paints_in =
        tt_unet_in_channels(e->unet) != tt_vae_latent_channels(e->vae);
    return tt_loader_run(loader, err);
}

static tt_training steps_training_of(const tt_model_facts *facts) {
    tt_training t = {.train_steps = (int)facts->schedule.train_steps,
                     .beta_start = facts->schedule.beta_start,
                     .beta_end = facts->schedule.beta_end,
                     .beta_schedule = facts->schedule.beta_schedule,
                     .zero_terminal_snr = facts->schedule.zero_terminal_snr,
                     .spacing = facts->schedule.spacing,
                     .steps_offset = (int)facts->schedule.steps_offset};
    return t;
}

/* Trained over sigmas, with v prediction: CosXL's, in the range that the file names. */
static tt_training edm_training_of(const tt_model_facts *facts) {
    tt_training t;
    tt_training_cosxl(&t);
    if (!(facts->schedule.edm_sigma_max > 0)) return t;
    t.edm_sigma_min = facts->schedule.edm_sigma_min;
    t.edm_sigma_max = facts->schedule.edm_sigma_max;
    return t;
}

tt_status tt__training_of(const tt_model_facts *facts, const char *wanted, tt__trained *out,
                          tt_err *err) {
    static const struct {
        const char *name, *canonical;
        tt_sample_prediction prediction;
        bool is_edm;
    } known[] = {
        {"epsilon", "epsilon", TT_SAMPLE_EPSILON, false},
        {"v_prediction", "v_prediction", TT_SAMPLE_V, false},
        {"v", "v_prediction", TT_SAMPLE_V, false},
        {"edm", "edm", TT_SAMPLE_V, true},
    };
    bool is_v = facts->schedule.prediction == TT_PREDICT_V;
    if (!wanted && facts->schedule.edm_sigma_max > 0) wanted = "edm";
    if (!wanted) wanted = is_v ? "v_prediction" : "epsilon";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(wanted, known[i].name) != 0) continue;
        out->prediction = known[i].prediction;
        out->name = known[i].canonical;
        out->training = known[i].is_edm ? edm_training_of(facts) : steps_training_of(facts);
        return TT_OK;
    }
    return tt_fail(err, TT_E_INVALID, "prediction \"%.40s\": expected epsilon, v_prediction or edm",
                   wanted);
}

void tt__last_part(const char *path, char *out, size_t size) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') start--;
    snprintf(out, size, "%.*s", (int)(n - start), path + start);
}

/* The file's own words count, then those of a recipe that its name speaks of, then SDXL's. */
static void set_defaults(tt_engine *e) {
    const tt_model_facts *facts = tt_checkpoint_facts(e->checkpoint);
    const tt_sample_recipe *recipe = e->recipe = tt_sample_recipe_of_file(e->model_name);
    tt_engine_info *info = &e->info;
    info->layout = facts->layout;
    info->recipe = recipe ? recipe->name : NULL;
    info->default_width = facts->defaults.width > 0 ? (int)facts->defaults.width : SDXL_SIDE;
    info->default_height = facts->defaults.height > 0 ? (int)facts->defaults.height : SDXL_SIDE;
    info->default_steps = facts->defaults.steps > 0 ? (int)facts->defaults.steps
                          : recipe                  ? recipe->steps
                                                    : DEFAULT_STEPS;
    info->default_guidance = facts->defaults.guidance > 0 ? (float)facts->defaults.guidance
                             : recipe                     ? recipe->guidance
                                                          : DEFAULT_GUIDANCE;
    snprintf(e->default_sampler, sizeof e->default_sampler, "%s",
             facts->defaults.sampler[0] ? facts->defaults.sampler : DEFAULT_SAMPLER);
    if (recipe && !facts->defaults.sampler[0])
        tt_sample_label(recipe->sampler, recipe->schedule, e->default_sampler);
    info->default_sampler = e->default_sampler;
}

/* The loader stays: it is the recipe by which adapters make weights anew. */
static tt_status open_adapters(tt_engine *e, tt_err *err) {
    tt_adapters_options options;
    tt_adapters_options_defaults(&options);
    e->adapter_files.kind = tt__adapter_files();
    e->embedding_files.kind = tt__embedding_files();
    return tt_adapters_new(e->loader, &options, &e->adapters, err);
}

static tt_status open_engine(tt_engine *e, const tt_engine_options *o, tt_err *err) {
    tt__last_part(o->model_name && o->model_name[0] ? o->model_name : o->model_path, e->model_name,
                  sizeof e->model_name);
    e->info.model_name = e->model_name;
    TT_TRY(tt_checkpoint_open(o->model_path, &e->checkpoint, err));
    e->vae_checkpoint = e->checkpoint;
    if (o->vae_path && o->vae_path[0])
        TT_TRY(tt_checkpoint_open(o->vae_path, &e->vae_checkpoint, err));
    e->tiling = o->vae_tiling;
    e->vae_max_bytes = o->vae_max_bytes;
    set_defaults(e);
    TT_TRY(tt__training_of(tt_checkpoint_facts(e->checkpoint), o->prediction, &e->trained, err));
    e->info.prediction = e->trained.name;
    TT_TRY(open_backends(e, o, err));
    TT_TRY(tt_loader_new(e->checkpoint, &e->loader, err));
    TT_TRY(open_networks(e, e->loader, err));
    TT_TRY(open_adapters(e, err));
    if (o->preview_decoder_path && o->preview_decoder_path[0])
        TT_TRY(tt__tiny_open(e, o->preview_decoder_path, err));
    e->info.n_parameters = tt_checkpoint_parameters(e->checkpoint, "");
    if (e->vae_checkpoint != e->checkpoint)
        e->info.n_parameters += tt_checkpoint_parameters(e->vae_checkpoint, "vae.") -
                                tt_checkpoint_parameters(e->checkpoint, "vae.");
    e->info.n_int8 = tt_loader_int8_numbers(e->loader);
    if (o->refiner_path && o->refiner_path[0]) TT_TRY(tt__refiner_open(e, o->refiner_path, err));
    tt__count_weights(e);
    return TT_OK;
}

tt_status tt_engine_open(const tt_engine_options *options, tt_engine **out, tt_err *err) {
    int64_t start = tt_clock_us();
    *out = NULL;
    if (!options->model_path || !options->model_path[0])
        return tt_fail(err, TT_E_INVALID,
                       "no model named: expected a safetensors file or a diffusers folder");
    tt_engine *e = tt_alloc(sizeof *e);
    if (!e) return tt_fail_nomem(err, "the engine", sizeof *e);
    tt_status status = open_engine(e, options, err);
    if (status != TT_OK) {
        tt_engine_close(e);
        return status;
    }
    e->info.load_ms = (double)(tt_clock_us() - start) / 1000;
    *out = e;
    return TT_OK;
}

void tt_engine_close(tt_engine *e) {
    if (!e) return;
    tt_adapters_free(e->adapters);
    tt__opened_release(&e->adapter_files);
    tt__opened_release(&e->embedding_files);
    tt__texts_release(&e->texts);
    tt__refiner_close(e);
    tt_unet_close(e->unet);
    tt__vae_close(e);
    tt_tiny_decoder_close(e->preview.tiny);
    for (int i = 0; i < TT_TEXT_ENCODERS; i++) tt_clip_close(e->clips[i]);
    if (e->tokenizers[1] != e->tokenizers[0]) tt_tokenizer_close(e->tokenizers[1]);
    tt_tokenizer_close(e->tokenizers[0]);
    tt_loader_free(e->loader);
    if (e->vae_ops != e->ops) tt_ops_close(e->vae_ops);
    tt_ops_close(e->ops);
    if (e->vae_checkpoint != e->checkpoint) tt_checkpoint_close(e->vae_checkpoint);
    tt_checkpoint_close(e->checkpoint);
    tt_free(e);
}
