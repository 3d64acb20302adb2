/* What is chosen when the engine is opened; see request.h. */
#include <string.h>

#include "app/request.h"
#include "app/show.h"
#include "app/values.h"
#include "base/file.h"

static tt_precision precision_named(const char *name) {
    if (strcmp(name, "f32") == 0) return TT_PRECISION_F32;
    if (strcmp(name, "int8") == 0) return TT_PRECISION_INT8;
    return strcmp(name, "bf16") == 0 ? TT_PRECISION_BF16 : TT_PRECISION_AUTO;
}

static tt_device device_named(const char *name) {
    if (strcmp(name, "cuda") == 0) return TT_DEVICE_CUDA;
    return strcmp(name, "ref") == 0 ? TT_DEVICE_REF : TT_DEVICE_CPU;
}

static tt_tiling tiling_named(const char *name) {
    if (strcmp(name, "never") == 0) return TT_TILING_NEVER;
    return strcmp(name, "always") == 0 ? TT_TILING_ALWAYS : TT_TILING_AUTO;
}

static void read_paths(const tt_settings *s, tt_engine_options *out, tt_problems *problems) {
    tt_value_string(s, TT_OPT_MODEL, &out->model_path, problems);
    tt_value_string(s, TT_OPT_VAE, &out->vae_path, problems);
    tt_value_string(s, TT_OPT_REFINER, &out->refiner_path, problems);
    tt_value_string(s, TT_OPT_PREVIEW_DECODER, &out->preview_decoder_path, problems);
}

tt_status tt_app_engine_read(const tt_settings *s, tt_engine_options *out, tt_problems *problems,
                             tt_err *err) {
    const char *dtype = "auto", *vae_dtype = "auto", *device = "cpu", *tiling = "auto";
    tt_engine_options_defaults(out);
    read_paths(s, out, problems);
    tt_value_choice(s, TT_OPT_DTYPE, &dtype, problems);
    tt_value_choice(s, TT_OPT_VAE_DTYPE, &vae_dtype, problems);
    tt_value_choice(s, TT_OPT_VAE_TILING, &tiling, problems);
    tt_value_choice(s, TT_OPT_DEVICE, &device, problems);
    tt_value_choice(s, TT_OPT_PREDICTION, &out->prediction, problems);
    tt_value_integer(s, TT_OPT_THREADS, &out->n_threads, problems);
    out->precision = precision_named(dtype);
    out->vae_precision = precision_named(vae_dtype);
    out->vae_tiling = tiling_named(tiling);
    out->device = device_named(device);
    return tt_problems_status(problems, err);
}

static void read_folder(const tt_settings *s, tt_option_id id, const char **out,
                        tt_problems *problems) {
    char shown[TT_SHOWN_BYTES];
    tt_value_string(s, id, out, problems);
    if (!*out || tt_file_is_directory(*out)) return;
    tt_show_text(shown, *out, strlen(*out));
    tt_problems_add(problems, "%s: expected a folder, found none at \"%s\"", s->of[id].spelling,
                    shown);
}

void tt_app_folders_read(const tt_settings *s, tt_app_folders *out, tt_problems *problems) {
    *out = (tt_app_folders){.of_kind = {NULL}};
    read_folder(s, TT_OPT_LORA_FOLDER, &out->of_kind[TT_MODEL_LORA], problems);
    read_folder(s, TT_OPT_EMBEDDINGS, &out->of_kind[TT_MODEL_EMBEDDING], problems);
}
