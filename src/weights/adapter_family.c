/* What an adapter is when it is not for this model. The architecture is told from names that only another has, and from
 * the width of the text that cross-attention reads; what the file says of itself counts only when nothing fits, because
 * converted and merged files often carry the words of what they were made from. */
#include <string.h>

#include "weights/adapter_parts.h"

static const struct {
    const char *mark; /* part of a key */
    const char *what;
} marks[] = {
    {"single_transformer_blocks", "Flux"},       {"lora_unet_double_blocks", "Flux"},
    {"lora_unet_single_blocks", "Flux"},         {"diffusion_model.double_blocks", "Flux"},
    {"diffusion_model.single_blocks", "Flux"},   {"joint_blocks", "Stable Diffusion 3"},
    {"attn.add_k_proj", "Stable Diffusion 3"},   {"lora_te3_", "Flux or Stable Diffusion 3"},
    {"lora_prior_", "Stable Cascade"},           {".self_attn.norm_q", "a video model (Wan)"},
    {"cross_attn.k_img", "a video model (Wan)"}, {"controlnet", "a ControlNet"},
    {"motion_modules", "AnimateDiff"},
};

/* The widths of text that other models' cross-attention reads. */
static const struct {
    int64_t width;
    const char *what;
} widths[] = {
    {768, "Stable Diffusion 1.5"},
    {1024, "Stable Diffusion 2"},
    {1280, "the SDXL refiner"},
    {2048, "Stable Diffusion XL"},
    {4096, "a model with a T5 text encoder"},
};

/* What ss_base_model_version and modelspec.architecture begin with. */
static const struct {
    const char *begin, *what;
} spellings[] = {
    {"sdxl", NULL}, /* NULL: ours */
    {"stable-diffusion-xl", NULL},
    {"sd_v1", "Stable Diffusion 1.5"},
    {"sd_1", "Stable Diffusion 1.5"},
    {"stable-diffusion-v1", "Stable Diffusion 1.5"},
    {"sd_v2", "Stable Diffusion 2"},
    {"sd_2", "Stable Diffusion 2"},
    {"stable-diffusion-v2", "Stable Diffusion 2"},
    {"sd3", "Stable Diffusion 3"},
    {"stable-diffusion-3", "Stable Diffusion 3"},
    {"flux", "Flux"},
    {"stable-cascade", "Stable Cascade"},
    {"wan", "a video model (Wan)"},
    {"hunyuan", "Hunyuan"},
};

void tt__adapter_find_base_model(tt_adapter *a) {
    static const char *const keys[] = {"ss_base_model_version", "modelspec.architecture"};
    a->report.base_model = "";
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !a->report.base_model[0]; i++) {
        const char *text = tt_safetensors_metadata(a->file, keys[i]);
        if (text) a->report.base_model = text;
    }
}

static tt_status refuse(const tt_adapter *a, const char *what, tt_err *err) {
    return tt_fail(err, TT_E_UNSUPPORTED, "lora %s is for %s, this model is Stable Diffusion XL",
                   a->report.name, what);
}

/* attn2 reads the text: the second dimension of what multiplies it. 0: this key does not tell. */
static int64_t context_width(const tt_st_tensor *t) {
    tt__part part;
    size_t at = 0, length;
    bool is_key = strstr(t->name, "attn2_to_k") || strstr(t->name, "attn2.to_k") ||
                  strstr(t->name, "attn2.processor.to_k");
    if (!is_key || t->info.rank < 2 || !tt__part_of_key(t->name, &at, &part, &length)) return 0;
    bool tells = part == TT__LORA_DOWN || part == TT__HADA_W1_B || part == TT__DIFF;
    return tells ? t->info.shape[1] : 0;
}

static int64_t own_context_width(const tt_adapter *a) {
    for (size_t i = 0; i < a->n_modules; i++) {
        char name[TT__NAME_BYTES];
        tt_tensor_info info;
        if (!tt_ends_with(a->modules[i].stem, ".attn2.to_k")) continue;
        snprintf(name, sizeof name, "%s.weight", a->modules[i].stem);
        if (tt_checkpoint_info(a->checkpoint, name, &info, NULL) == TT_OK && info.rank > 1)
            return info.shape[1];
    }
    return 0;
}

tt_status tt__adapter_refuse_family(const tt_adapter *a, tt_err *err) {
    int64_t own = own_context_width(a);
    for (size_t i = 0; i < tt_safetensors_count(a->file); i++) {
        const tt_st_tensor *t = tt_safetensors_at(a->file, i);
        for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
            if (strstr(t->name, marks[k].mark)) return refuse(a, marks[k].what, err);
        int64_t width = context_width(t);
        if (width == 0 || own == 0 || width == own) continue;
        for (size_t k = 0; k < sizeof widths / sizeof *widths; k++)
            if (width == widths[k].width)
                return tt_fail(err, TT_E_UNSUPPORTED,
                               "lora %s is for %s: its cross-attention reads text of width %lld, "
                               "this model's %lld",
                               a->report.name, widths[k].what, (long long)width, (long long)own);
    }
    return TT_OK;
}

tt_status tt__adapter_refuse_stated(const tt_adapter *a, tt_err *err) {
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
        if (tt__after(a->report.base_model, spellings[i].begin))
            return spellings[i].what ? refuse(a, spellings[i].what, err) : TT_OK;
    return TT_OK;
}

tt_status tt__adapter_refuse_unmatched(const tt_adapter *a, tt_err *err) {
    const tt_adapter_report *r = &a->report;
    if (r->n_matched > 0) return TT_OK;
    if (r->n_keys == 0)
        return tt_fail(err, TT_E_FORMAT, "lora %s: the file holds no tensors", r->name);
    TT_TRY(tt__adapter_refuse_stated(a, err));
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "lora %s: none of its %d keys fits a module of this model (the first is %s)",
                   r->name, r->n_keys, r->unmatched[0]);
}
