/* Names of diffusers and transformers, of all versions: nearly canonical already. */
#include <string.h>

#include "weights/parts.h"

/* A VAE's attention before diffusers 0.14 used these names. */
static const struct {
    const char *from, *to;
} old_vae[] = {
    {".attentions.0.query.", ".attentions.0.to_q."},
    {".attentions.0.key.", ".attentions.0.to_k."},
    {".attentions.0.value.", ".attentions.0.to_v."},
    {".attentions.0.proj_attn.", ".attentions.0.to_out.0."},
};

static void name_vae(char *out, size_t size, const char *name) {
    for (size_t i = 0; i < sizeof old_vae / sizeof *old_vae; i++) {
        const char *at = strstr(name, old_vae[i].from);
        if (!at) continue;
        snprintf(out, size, "vae.%.*s%s%s", (int)(at - name), name, old_vae[i].to,
                 at + strlen(old_vae[i].from));
        return;
    }
    snprintf(out, size, "vae.%s", name);
}

/* transformers 5 saves a CLIPTextModel without the "text_model." that every earlier version wrote. */
static void name_text(char *out, size_t size, const char *component, const char *name) {
    bool is_bare = tt__after(name, "embeddings.") || tt__after(name, "encoder.") ||
                   tt__after(name, "final_layer_norm.");
    snprintf(out, size, "%s.%s%s", component, is_bare ? "text_model." : "", name);
}

/* A matrix that some files store as a 1x1 convolution. */
static bool is_matrix(const char *name) {
    static const char *const ends[] = {".proj_in.weight", ".proj_out.weight", ".to_q.weight",
                                       ".to_k.weight",    ".to_v.weight",     ".to_out.0.weight"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (tt_ends_with(name, ends[i])) return true;
    return false;
}

static bool begins_with_one_of(const char *name, const char *const *starts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (tt__after(name, starts[i])) return true;
    return false;
}

/* "down_blocks.0.resnets...": the module after the block's number must be one that SDXL has. */
static bool is_known_unet(const char *name) {
    static const char *const ends[] = {"conv_in.", "conv_norm_out.", "conv_out.", "time_embedding.",
                                       "add_embedding."};
    static const char *const modules[] = {"resnets.", "attentions.", "downsamplers.",
                                          "upsamplers."};
    const char *rest = tt__after(name, "mid_block.");
    if (!rest &&
        ((rest = tt__after(name, "down_blocks.")) || (rest = tt__after(name, "up_blocks.")))) {
        rest += strspn(rest, "0123456789");
        rest = *rest == '.' ? rest + 1 : NULL;
    }
    if (rest) return begins_with_one_of(rest, modules, sizeof modules / sizeof *modules);
    return begins_with_one_of(name, ends, sizeof ends / sizeof *ends);
}

static bool is_known_vae(const char *name) {
    static const char *const starts[] = {"encoder.", "decoder.", "quant_conv.", "post_quant_conv."};
    return begins_with_one_of(name, starts, sizeof starts / sizeof *starts);
}

tt_status tt__add_diffusers(tt_checkpoint *c, const tt_safetensors *file, const tt_st_tensor *t,
                            const char *component, const char *name, tt_err *err) {
    char out[TT__NAME_BYTES];
    if (tt__is_ignored(name) || tt__is_scale(name)) return TT_OK;
    if (strcmp(component, "unet") == 0 && !is_known_unet(name))
        return tt__fail_unknown_tensor(file, t->name, "UNet", err);
    if (strcmp(component, "vae") == 0 && !is_known_vae(name))
        return tt__fail_unknown_tensor(file, t->name, "VAE", err);
    if (strcmp(component, "vae") == 0)
        name_vae(out, sizeof out, name);
    else if (component[0] == 't')
        name_text(out, sizeof out, component, name);
    else
        snprintf(out, sizeof out, "%s.%s", component, name);
    return tt__checkpoint_add(c, file, t, out, &(tt__view){.squeezed = is_matrix(out)}, err);
}
