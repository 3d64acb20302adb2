/* What a file is when it is not the base model of SDXL. People hand over whatever their download folder has; the
 * sentence they get should name it. Probes are tensor names that only that family has. */
#include <string.h>

#include "weights/parts.h"

typedef struct family {
    const char *mark; /* part of a tensor's name */
    const char *what;
} family;

/* In this order: a LoRA for Flux is a LoRA first. */
static const family families[] = {
    {".lora_down.", "a LoRA, not a model: name it as a LoRA, together with the model it is for"},
    {".lora_up.", "a LoRA, not a model: name it as a LoRA, together with the model it is for"},
    {".lora_A.", "a LoRA, not a model: name it as a LoRA, together with the model it is for"},
    {".lora.down.", "a LoRA, not a model: name it as a LoRA, together with the model it is for"},
    {".hada_w1_a", "a LoHa adapter, not a model: name it as a LoRA, together with its model"},
    {".lokr_w1", "a LoKr adapter, not a model: name it as a LoRA, together with its model"},
    {"control_model.", "a ControlNet, which is not supported"},
    {"controlnet_cond_embedding.", "a ControlNet, which is not supported"},
    {"input_hint_block.", "a ControlNet, which is not supported"},
    {"ip_adapter.", "an IP-Adapter, which is not supported"},
    {"emb_params", "a textual inversion embedding, not a model"},
    {"string_to_param", "a textual inversion embedding, not a model"},
    {"double_blocks.", "a Flux model: only SDXL is supported"},
    {"single_transformer_blocks.", "a Flux model: only SDXL is supported"},
    {"joint_blocks.", "a Stable Diffusion 3 model: only SDXL is supported"},
    {"cond_stage_model.transformer.", "a Stable Diffusion 1.x model: only SDXL is supported"},
    {"cond_stage_model.model.", "a Stable Diffusion 2.x model: only SDXL is supported"},
};

tt_status tt__refuse_unknown_file(const tt_safetensors *file, tt_err *err) {
    size_t n = tt_safetensors_count(file);
    const char *path = tt_safetensors_path(file);
    if (n == 0) return tt_fail(err, TT_E_FORMAT, "%s: the file holds no tensors", path);
    for (size_t k = 0; k < sizeof families / sizeof *families; k++)
        for (size_t i = 0; i < n; i++)
            if (strstr(tt_safetensors_at(file, i)->name, families[k].mark))
                return tt_fail(err, TT_E_UNSUPPORTED, "%s is %s", path, families[k].what);
    if (tt_safetensors_find(file, "clip_g") || tt_safetensors_find(file, "clip_l"))
        return tt_fail(err, TT_E_UNSUPPORTED, "%s is a textual inversion embedding, not a model",
                       path);
    return tt_fail(
        err, TT_E_UNSUPPORTED,
        "%s is not an SDXL model: none of its %zu tensors is where a UNet, VAE or text encoder "
        "would have it (the first is %s)",
        path, n, tt_safetensors_at(file, 0)->name);
}

static bool has(const tt_safetensors *file, const char *prefix, const char *name) {
    char full[TT__NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return tt_safetensors_find(file, full) != NULL;
}

/* Columns of a matrix; 0 when it is not there. */
static int64_t columns(const tt_safetensors *file, const char *prefix, const char *name) {
    char full[TT__NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const tt_st_tensor *t = tt_safetensors_find(file, full);
    return t && t->info.rank == 2 ? t->info.shape[1] : 0;
}

static tt_status refuse(const tt_safetensors *file, const char *what, tt_err *err) {
    return tt_fail(err, TT_E_UNSUPPORTED, "%s is %s", tt_safetensors_path(file), what);
}

static bool is_refiner(const tt_safetensors *file, const char *prefix) {
    const int64_t refiner_vector = 1280 + 5 * 256; /* pooled text and five size numbers */
    return has(file, "", "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight") ||
           columns(file, prefix, "label_emb.0.0.weight") == refiner_vector ||
           columns(file, prefix, "add_embedding.linear_1.weight") == refiner_vector;
}

tt_status tt__refuse_other_unet(const tt_safetensors *file, const char *prefix, bool as_refiner,
                                tt_err *err) {
    if (has(file, "", "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"))
        return refuse(file, "a Stable Diffusion 1.x model: only SDXL is supported", err);
    if (has(file, "", "cond_stage_model.model.token_embedding.weight"))
        return refuse(file, "a Stable Diffusion 2.x model: only SDXL is supported", err);
    if (has(file, prefix, "controlnet_cond_embedding.conv_in.weight"))
        return refuse(file, "a ControlNet, which is not supported", err);
    if (!has(file, prefix, "label_emb.0.0.weight") &&
        !has(file, prefix, "add_embedding.linear_1.weight"))
        return refuse(
            file,
            "not an SDXL model: its UNet takes no picture size (label_emb), like Stable Diffusion "
            "1.x and 2.x",
            err);
    if (!as_refiner && is_refiner(file, prefix))
        return refuse(
            file,
            "the SDXL refiner, which goes on from a base model's work: name a base model, "
            "and this as its refiner",
            err);
    if (has(file, prefix, "time_embed.cond_proj.weight") ||
        has(file, prefix, "time_embedding.cond_proj.weight"))
        return refuse(
            file, "a full LCM model (its UNet takes the guidance scale), which is not supported",
            err);
    if (has(file, "", "edm_mean") || has(file, "", "edm_std"))
        return refuse(file, "a Playground model (EDM), which is not supported", err);
    return TT_OK;
}

bool tt__is_scale(const char *name) {
    static const char *const suffixes[] = {".scale_weight", ".scale_input", ".weight_scale",
                                           ".input_scale"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (tt_ends_with(name, suffixes[i])) return true;
    return strstr(name, "scaled_fp8") != NULL;
}

bool tt__is_ignored(const char *name) {
    return tt_ends_with(name, "position_ids") || tt_ends_with(name, "logit_scale");
}

tt_status tt__fail_unknown_tensor(const tt_safetensors *file, const char *name, const char *network,
                                  tt_err *err) {
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "%s: tensor %s is not part of SDXL's %s: a different architecture",
                   tt_safetensors_path(file), name, network);
}
