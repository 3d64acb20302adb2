/* One safetensors file: a whole model by the original names, or one network alone in either spelling. Networks are
 * told apart by prefixes; a bare UNet or VAE has none. */
#include <string.h>

#include "weights/parts.h"

typedef enum spelling { ABSENT, LDM, DIFFUSERS } spelling;

/* Where UNet and VAE are in this file. */
typedef struct layout {
    spelling unet, vae;
    const char *unet_prefix, *vae_prefix;
    bool has_text;
    const char *refiner_prefix; /* where a refiner has the second text encoder; NULL: not wanted */
    tt__ldm_plan plan;
} layout;

static const char te1_prefix[] = "conditioner.embedders.0.transformer.";
static const char *const te2_prefixes[] = {"conditioner.embedders.1.model.",
                                           "conditioner.embedders.1.transformer."};
static const char refiner_te2_prefix[] = "conditioner.embedders.0.model.";
static const char *const unet_prefixes[] = {"model.diffusion_model.", ""};
static const char *const vae_prefixes[] = {"first_stage_model.", "vae.", ""};

static bool has(const tt_safetensors *file, const char *prefix, const char *name) {
    char full[TT__NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return tt_safetensors_find(file, full) != NULL;
}

static void find_unet(layout *l, const tt_safetensors *file) {
    for (size_t i = 0; i < sizeof unet_prefixes / sizeof *unet_prefixes && !l->unet; i++) {
        const char *p = l->unet_prefix = unet_prefixes[i];
        if (has(file, p, "input_blocks.0.0.weight"))
            l->unet = LDM;
        else if (has(file, p, "conv_in.weight") && has(file, p, "time_embedding.linear_1.weight"))
            l->unet = DIFFUSERS;
    }
}

static void find_vae(layout *l, const tt_safetensors *file) {
    for (size_t i = 0; i < sizeof vae_prefixes / sizeof *vae_prefixes && !l->vae; i++) {
        const char *p = l->vae_prefix = vae_prefixes[i];
        if (has(file, p, "decoder.up.0.block.0.norm1.weight"))
            l->vae = LDM;
        else if (has(file, p, "decoder.up_blocks.0.resnets.0.norm1.weight"))
            l->vae = DIFFUSERS;
    }
}

static void find_text(layout *l, const tt_safetensors *file) {
    l->has_text = has(file, te1_prefix, "text_model.embeddings.token_embedding.weight") ||
                  has(file, te2_prefixes[0], "token_embedding.weight") ||
                  has(file, te2_prefixes[1], "text_model.embeddings.token_embedding.weight");
}

static bool is_training_leftover(const char *name) {
    static const char *const starts[] = {"model_ema.",    "alphas_cumprod", "betas",     "sqrt_",
                                         "log_one_minus", "posterior_",     "denoiser.", "v_pred",
                                         "ztsnr",         "logvar",         "scaled_fp8"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (tt__after(name, starts[i])) return true;
    return false;
}

static tt_status add_tensor(tt_checkpoint *c, const layout *l, const tt_safetensors *file,
                            const tt_st_tensor *t, tt_err *err) {
    const char *rest;
    if (tt__is_scale(t->name) || tt__is_ignored(t->name) || is_training_leftover(t->name))
        return TT_OK;
    if ((rest = tt__after(t->name, te1_prefix)))
        return tt__add_diffusers(c, file, t, "te1", rest, err);
    for (size_t i = 0; i < sizeof te2_prefixes / sizeof *te2_prefixes; i++)
        if ((rest = tt__after(t->name, te2_prefixes[i])))
            return tt__add_ldm_te2(c, file, t, rest, err);
    if (l->refiner_prefix && (rest = tt__after(t->name, l->refiner_prefix)))
        return tt__add_ldm_te2(c, file, t, rest, err);
    if (l->vae && l->vae_prefix[0] && (rest = tt__after(t->name, l->vae_prefix)))
        return l->vae == LDM ? tt__add_ldm_vae(c, &l->plan, file, t, rest, err)
                             : tt__add_diffusers(c, file, t, "vae", rest, err);
    if (l->unet && (rest = tt__after(t->name, l->unet_prefix)))
        return l->unet == LDM ? tt__add_ldm_unet(c, &l->plan, file, t, rest, err)
                              : tt__add_diffusers(c, file, t, "unet", rest, err);
    if (l->vae && !l->vae_prefix[0])
        return l->vae == LDM ? tt__add_ldm_vae(c, &l->plan, file, t, t->name, err)
                             : tt__add_diffusers(c, file, t, "vae", t->name, err);
    return TT_OK; /* of no network: other tools' notes */
}

tt_status tt__add_single_file(tt_checkpoint *c, tt_err *err) {
    tt_safetensors *file;
    layout l = {.refiner_prefix = c->as_refiner ? refiner_te2_prefix : NULL};
    TT_TRY(tt__checkpoint_open_file(c, c->path, &file, err));
    find_unet(&l, file);
    find_vae(&l, file);
    find_text(&l, file);
    if (!l.unet && !l.vae && !l.has_text) return tt__refuse_unknown_file(file, err);
    if (l.unet) TT_TRY(tt__refuse_other_unet(file, l.unet_prefix, c->as_refiner, err));
    if (l.unet == LDM) TT_TRY(tt__ldm_plan_unet(&l.plan, file, l.unet_prefix, err));
    if (l.vae == LDM) tt__ldm_plan_vae(&l.plan, file, l.vae_prefix);
    for (size_t i = 0; i < tt_safetensors_count(file); i++)
        TT_TRY(add_tensor(c, &l, file, tt_safetensors_at(file, i), err));
    return TT_OK;
}
