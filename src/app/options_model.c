/* Options: what is chosen when the program starts: model and machine. */
#include "app/options_parts.h"

/* More threads than any machine this runs on has cores. */
enum { MAX_THREADS = 1024 };

static const char *const *precision_names(void) {
    static const char *const names[] = {"auto", "f32", "bf16", "int8", NULL};
    return names;
}

static const char *const *vae_precision_names(void) {
    static const char *const names[] = {"auto", "f32", "bf16", NULL};
    return names;
}

static const char *const *tiling_names(void) {
    static const char *const names[] = {"auto", "never", "always", NULL};
    return names;
}

static const char *const *prediction_names(void) {
    static const char *const names[] = {"epsilon", "v_prediction", "edm", NULL};
    return names;
}

static const char *const *device_names(void) {
    static const char *const names[] = {"cpu", "cuda", "ref", NULL};
    return names;
}

static const tt_option MODEL[] = {
    {
        .id = TT_OPT_CONFIG,
        .flag = "--config",
        .commands = ANYWHERE,
        .environment = "TINTYPE_CONFIG",
        .value_name = "FILE",
        .type = TT_OPTION_STRING,
        .default_text = "tintype.json in the current directory, where there is one",
        .help = "The file with the presets; \"tintype presets\" checks it.",
        .example = "tintype.json",
    },
    {
        .id = TT_OPT_MODEL,
        .flag = "--model",
        .commands = ANYWHERE,
        .environment = "TINTYPE_MODEL",
        .value_name = "MODEL",
        .type = TT_OPTION_STRING,
        .is_common = true,
        .default_text = "the small demonstration model that comes with the program",
        .help =
            "An SDXL checkpoint: a .safetensors file, a folder in diffusers' layout, or where to "
            "fetch it from (civitai:128078, hf://org/repo/file, an address, ...; \"tintype help "
            "pull\" has all forms).",
        .example = "sd_xl_base_1.0.safetensors",
    },
    {
        .id = TT_OPT_VAE,
        .flag = "--vae",
        .commands = ANYWHERE,
        .environment = "TINTYPE_VAE",
        .value_name = "MODEL",
        .type = TT_OPTION_STRING,
        .default_text = "the model's own",
        .help = "Another VAE: a .safetensors file, a folder with one, or a whole model to take it "
                "from; or where to fetch it from, as --model.",
        .example = "sdxl_vae.safetensors",
    },
    {
        .id = TT_OPT_REFINER,
        .flag = "--refiner",
        .commands = ANYWHERE,
        .environment = "TINTYPE_REFINER",
        .value_name = "MODEL",
        .type = TT_OPTION_STRING,
        .default_text = "none",
        .help =
            "An SDXL refiner, for --refiner-start: a file, or where to fetch it from, as --model.",
        .example = "sd_xl_refiner_1.0.safetensors",
    },
    {
        .id = TT_OPT_PREVIEW_DECODER,
        .flag = "--preview-decoder",
        .commands = ANYWHERE,
        .environment = "TINTYPE_PREVIEW_DECODER",
        .value_name = "PATH",
        .type = TT_OPTION_STRING,
        .default_text = "none: previews are a small map of colours",
        .help = "A tiny decoder (TAESD XL's form) for previews in full size.",
        .example = "taesdxl_decoder.safetensors",
    },
    {
        .id = TT_OPT_DTYPE,
        .flag = "--dtype",
        .commands = ANYWHERE,
        .environment = "TINTYPE_DTYPE",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .is_common = true,
        .choices = precision_names,
        .fixed_default = "auto",
        .default_text = "auto: bf16 where the processor has it natively, else f32",
        .help = "Arithmetic of the networks. int8: bf16 with most of the UNet in 8 bits, faster "
                "and smaller; CPUs with AVX-512 VNNI or AMX.",
        .example = "f32",
    },
    {
        .id = TT_OPT_VAE_DTYPE,
        .flag = "--vae-dtype",
        .commands = ANYWHERE,
        .environment = "TINTYPE_VAE_DTYPE",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .choices = vae_precision_names,
        .fixed_default = "auto",
        .default_text = "auto: as --dtype, bf16 for int8",
        .help = "Arithmetic of the VAE, which turns latents into pixels.",
        .example = "f32",
    },
    {
        .id = TT_OPT_VAE_TILING,
        .flag = "--vae-tiling",
        .commands = ANYWHERE,
        .environment = "TINTYPE_VAE_TILING",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .choices = tiling_names,
        .fixed_default = "auto",
        .default_text = "auto: when it would need more memory than there is",
        .help = "Decodes in tiles: less memory, two to three times the work.",
        .example = "always",
    },
    {
        .id = TT_OPT_PREDICTION,
        .flag = "--prediction",
        .commands = ANYWHERE,
        .environment = "TINTYPE_PREDICTION",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .choices = prediction_names,
        .default_text = "what the model says",
        .help = "What the network was trained to predict, for files that do not say so.",
        .example = "v_prediction",
    },
    {
        .id = TT_OPT_DEVICE,
        .flag = "--device",
        .commands = ANYWHERE,
        .environment = "TINTYPE_DEVICE",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .is_common = true,
        .choices = device_names,
        .fixed_default = "cpu",
        .help = "Where it runs. cuda is an NVIDIA GPU, in builds for it. ref is the plain C "
                "reference: slow, and the truth that cpu is "
                "tested against.",
        .example = "ref",
    },
    {
        .id = TT_OPT_THREADS,
        .flag = "--threads",
        .commands = ANYWHERE,
        .environment = "TINTYPE_THREADS",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .is_common = true,
        .minimum = 0,
        .maximum = MAX_THREADS,
        .fixed_default = "0",
        .default_text = "0: all cores the program may use",
        .help = "Threads that compute. The picture does not depend on them.",
        .example = "2",
    },
};

const tt__option_group tt__model_options = {"Model and machine", MODEL,
                                            sizeof MODEL / sizeof *MODEL};
