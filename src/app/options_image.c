/* Options: pictures to start from, and what happens after the first pass. */
#include "app/options_parts.h"
#include "base/limits.h"

/* Four times the trained side is TT_MAX_SIDE_PIXELS. */
enum { MAX_HIRES_SCALE = 4 };
/* The scores of the refiner's training pictures went from 1 to 10. */
enum { MAX_AESTHETIC_SCORE = 10 };

static const char *const *upscaler_names(void) {
    static const char *const names[] = {"latent", "picture", NULL};
    return names;
}

static const tt_option IMAGE[] = {
    {
        .id = TT_OPT_IMAGE,
        .field = "image",
        .field_aliases = {"init_image", "input_image", "image_base64", "image_url"},
        .flag = "--image",
        .flag_aliases = {"--init-image"},
        .environment = "TINTYPE_IMAGE",
        .value_name = "FILE",
        .type = TT_OPTION_PICTURE,
        .is_common = true,
        .default_text = "none: noise alone",
        .help = "A picture to start from: PNG, JPEG or WebP. It is scaled, and cropped at the "
                "middle, to the picture's size. A job brings it as base64 or a data URI, or names "
                "an https URL.",
        .example = "photo.jpg",
    },
    {
        .id = TT_OPT_STRENGTH,
        .field = "strength",
        .field_aliases = {"denoising_strength", "denoise", "prompt_strength"},
        .flag = "--strength",
        .flag_aliases = {"--denoising-strength"},
        .environment = "TINTYPE_STRENGTH",
        .value_name = "X",
        .type = TT_OPTION_NUMBER,
        .is_common = true,
        .minimum = 0,
        .maximum = 1,
        .default_text = "0.75; 0.9 with --outpaint",
        .help =
            "How much of the given picture is made anew: more than 0; at 1 it only lends its size.",
        .example = "0.6",
    },
    {
        .id = TT_OPT_MASK,
        .field = "mask",
        .field_aliases = {"mask_image", "mask_base64", "mask_url"},
        .flag = "--mask",
        .flag_aliases = {"--mask-image"},
        .environment = "TINTYPE_MASK",
        .value_name = "FILE",
        .type = TT_OPTION_PICTURE,
        .is_common = true,
        .default_text = "none: everywhere",
        .help = "Where to paint, as a picture beside the given one: white is made anew, black "
                "stays as it is. The word alpha takes what is transparent in the given picture.",
        .example = "mask.png",
    },
    {
        .id = TT_OPT_OUTPAINT,
        .field = "outpaint",
        .flag = "--outpaint",
        .environment = "TINTYPE_OUTPAINT",
        .value_name = "LEFT,TOP,RIGHT,BOTTOM",
        .type = TT_OPTION_SIDES,
        .minimum = 0,
        .maximum = TT_MAX_SIDE_PIXELS,
        .default_text = "none",
        .help =
            "Makes the given picture larger by this many pixels on each side, rounded up to "
            "multiples of 8, and paints what is new. One number is all four sides. A job may also "
            "send a list or {\"left\": ..., \"top\": ..., \"right\": ..., \"bottom\": ...}.",
        .example = "0,0,256,0",
    },
};

const tt__option_group tt__image_options = {"Pictures to start from", IMAGE,
                                            sizeof IMAGE / sizeof *IMAGE};

static const tt_option AFTER[] = {
    {
        .id = TT_OPT_HIRES_SCALE,
        .field = "hires_scale",
        .field_aliases = {"hr_scale"},
        .flag = "--hires",
        .flag_aliases = {"--hires-scale"},
        .environment = "TINTYPE_HIRES_SCALE",
        .value_name = "X",
        .type = TT_OPTION_NUMBER,
        .minimum = 1,
        .maximum = MAX_HIRES_SCALE,
        .fixed_default = "1",
        .default_text = "1: no second pass",
        .help = "A second pass in a larger size: width and height grow by this. Keeps large "
                "pictures from showing things twice.",
        .example = "1.5",
    },
    {
        .id = TT_OPT_HIRES_STRENGTH,
        .field = "hires_strength",
        .field_aliases = {"hr_strength"},
        .flag = "--hires-strength",
        .environment = "TINTYPE_HIRES_STRENGTH",
        .value_name = "X",
        .type = TT_OPTION_NUMBER,
        .minimum = 0,
        .maximum = 1,
        .default_text = "0.7",
        .help = "How much the second pass makes anew: more than 0.",
        .example = "0.5",
    },
    {
        .id = TT_OPT_HIRES_STEPS,
        .field = "hires_steps",
        .field_aliases = {"hr_second_pass_steps", "hr_steps"},
        .flag = "--hires-steps",
        .environment = "TINTYPE_HIRES_STEPS",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .minimum = 0,
        .maximum = TT_MAX_STEPS,
        .fixed_default = "0",
        .default_text = "0: as --steps",
        .help = "Steps of the second pass.",
        .example = "12",
    },
    {
        .id = TT_OPT_HIRES_UPSCALER,
        .field = "hires_upscaler",
        .field_aliases = {"hr_upscaler"},
        .flag = "--hires-upscaler",
        .environment = "TINTYPE_HIRES_UPSCALER",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .choices = upscaler_names,
        .default_text = "latent",
        .help = "What is enlarged before the second pass: latents, or the picture itself by "
                "Lanczos, sharper and through the VAE twice.",
        .example = "picture",
    },
    {
        .id = TT_OPT_REFINER_START,
        .field = "refiner_start",
        .field_aliases = {"high_noise_frac", "refiner_switch_at", "denoising_end"},
        .flag = "--refiner-start",
        .flag_aliases = {"--high-noise-frac"},
        .environment = "TINTYPE_REFINER_START",
        .value_name = "X",
        .type = TT_OPTION_NUMBER,
        .minimum = 0,
        .maximum = 1,
        .fixed_default = "0",
        .default_text = "0: never",
        .help = "The share of the steps after which the refiner (--refiner) takes over; its makers "
                "say 0.8.",
        .example = "0.8",
    },
    {
        .id = TT_OPT_AESTHETIC_SCORE,
        .field = "aesthetic_score",
        .flag = "--aesthetic-score",
        .environment = "TINTYPE_AESTHETIC_SCORE",
        .value_name = "X",
        .type = TT_OPTION_NUMBER,
        .minimum = 0,
        .maximum = MAX_AESTHETIC_SCORE,
        .fixed_default = "6",
        .help = "What the refiner is told of how good the picture is.",
        .example = "7",
    },
    {
        .id = TT_OPT_NEGATIVE_AESTHETIC_SCORE,
        .field = "negative_aesthetic_score",
        .flag = "--negative-aesthetic-score",
        .environment = "TINTYPE_NEGATIVE_AESTHETIC_SCORE",
        .value_name = "X",
        .type = TT_OPTION_NUMBER,
        .minimum = 0,
        .maximum = MAX_AESTHETIC_SCORE,
        .fixed_default = "2.5",
        .help = "What it is told of the picture to stay away from.",
        .example = "2",
    },
    {
        .id = TT_OPT_REFINER_STEPS,
        .field = "refiner_inference_steps",
        .type = TT_OPTION_UNUSED,
        .default_text = "none",
        .help = "What other workers call the steps of a refiner. Here it takes its share of the "
                "steps: told as unused.",
        .example = "null",
    },
};

const tt__option_group tt__after_options = {"After the first pass", AFTER,
                                            sizeof AFTER / sizeof *AFTER};
