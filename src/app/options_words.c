/* Options: what a picture shows. */
#include "app/options_parts.h"
#include "base/limits.h"

/* The longest encoder of SDXL has 32 layers, the shorter 12. */
enum { MAX_CLIP_SKIP = 12 };

static const char *const *syntax_names(void) {
    static const char *const names[] = {"a1111", "comfyui", "compel", "plain", NULL};
    return names;
}

static const char *const *policy_names(void) {
    static const char *const names[] = {"zeros", "encoded", NULL};
    return names;
}

static const tt_option WORDS[] = {
    {
        .id = TT_OPT_PROMPT,
        .field = "prompt",
        .flag = "--prompt",
        .environment = "TINTYPE_PROMPT",
        .value_name = "TEXT",
        .type = TT_OPTION_TEXT,
        .is_common = true,
        .default_text = "none: it must be given, but may be empty",
        .help = "What the picture shows, at any length. (red:1.4) weighs a word, [cat:dog:0.5] "
                "changes it on the way, <lora:name:0.8> adds a LoRA.",
        .example = "a lighthouse on the sea at sunset",
    },
    {
        .id = TT_OPT_NEGATIVE_PROMPT,
        .field = "negative_prompt",
        .field_aliases = {"negative"},
        .flag = "--negative",
        .flag_aliases = {"--negative-prompt"},
        .environment = "TINTYPE_NEGATIVE_PROMPT",
        .value_name = "TEXT",
        .type = TT_OPTION_TEXT,
        .is_common = true,
        .default_text = "absent; an empty text is encoded like any other",
        .help = "What the picture should not show. Needs a guidance above 1.",
        .example = "blurry",
    },
    {
        .id = TT_OPT_WIDTH,
        .field = "width",
        .flag = "--width",
        .environment = "TINTYPE_WIDTH",
        .value_name = "PIXELS",
        .type = TT_OPTION_INTEGER,
        .is_common = true,
        .minimum = TT_MIN_SIDE_PIXELS,
        .maximum = TT_MAX_SIDE_PIXELS,
        .multiple_of = TT_SIDE_MULTIPLE,
        .default_text =
            "the size of a given picture, else what the model was trained for, 1024 for SDXL",
        .help = "Width of the picture.",
        .example = "1024",
    },
    {
        .id = TT_OPT_HEIGHT,
        .field = "height",
        .flag = "--height",
        .environment = "TINTYPE_HEIGHT",
        .value_name = "PIXELS",
        .type = TT_OPTION_INTEGER,
        .is_common = true,
        .minimum = TT_MIN_SIDE_PIXELS,
        .maximum = TT_MAX_SIDE_PIXELS,
        .multiple_of = TT_SIDE_MULTIPLE,
        .default_text =
            "the size of a given picture, else what the model was trained for, 1024 for SDXL",
        .help = "Height of the picture.",
        .example = "1024",
    },
    {
        .id = TT_OPT_SEED,
        .field = "seed",
        .flag = "--seed",
        .environment = "TINTYPE_SEED",
        .value_name = "N",
        .type = TT_OPTION_SEED,
        .is_common = true,
        .default_text = "random below 2^32, and always told",
        .help = "Where the noise starts: the same seed and settings give the same picture.",
        .example = "5",
    },
    {
        .id = TT_OPT_COUNT,
        .field = "num_images",
        .field_aliases = {"count", "num_images_per_prompt", "batch_size", "batch", "num_outputs"},
        .flag = "--count",
        .flag_aliases = {"--num-images"},
        .environment = "TINTYPE_COUNT",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .is_common = true,
        .minimum = 1,
        .maximum = TT_MAX_PICTURES,
        .fixed_default = "1",
        .help = "How many pictures. They take the seeds N, N+1, N+2...",
        .example = "4",
    },
    {
        .id = TT_OPT_PROMPT_2,
        .field = "prompt_2",
        .field_aliases = {"prompt2"},
        .flag = "--prompt-2",
        .environment = "TINTYPE_PROMPT_2",
        .value_name = "TEXT",
        .type = TT_OPTION_TEXT,
        .default_text = "the prompt",
        .help = "Another prompt for the second, larger text encoder.",
        .example = "an oil painting, thick strokes",
    },
    {
        .id = TT_OPT_NEGATIVE_PROMPT_2,
        .field = "negative_prompt_2",
        .field_aliases = {"negative_prompt2"},
        .flag = "--negative-2",
        .flag_aliases = {"--negative-prompt-2"},
        .environment = "TINTYPE_NEGATIVE_PROMPT_2",
        .value_name = "TEXT",
        .type = TT_OPTION_TEXT,
        .default_text = "the negative prompt",
        .help = "Another negative prompt for the second text encoder.",
        .example = "photograph",
    },
    {
        .id = TT_OPT_PROMPT_SYNTAX,
        .field = "prompt_syntax",
        .field_aliases = {"syntax", "prompt_parser", "weighting"},
        .flag = "--prompt-syntax",
        .environment = "TINTYPE_PROMPT_SYNTAX",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .choices = syntax_names,
        .default_text = "that of --compat, else a1111",
        .help = "Whose weights and brackets a prompt is written with. plain takes every character "
                "as it stands, and like compel cuts at 75 tokens.",
        .example = "compel",
    },
    {
        .id = TT_OPT_NEGATIVE_POLICY,
        .field = "negative_policy",
        .flag = "--negative-policy",
        .environment = "TINTYPE_NEGATIVE_POLICY",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .choices = policy_names,
        .default_text = "that of --compat, else what the model says",
        .help = "What an absent negative prompt is: nothing at all, or an empty text.",
        .example = "encoded",
    },
    {
        .id = TT_OPT_CLIP_SKIP,
        .field = "clip_skip",
        .flag = "--clip-skip",
        .environment = "TINTYPE_CLIP_SKIP",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .minimum = 1,
        .maximum = MAX_CLIP_SKIP,
        .default_text = "2, what SDXL was trained with",
        .help =
            "Which layer of the text encoders is read, counted from the end as people count: 1 is "
            "the last. With a1111's prompts 1 means 2, as it does there.",
        .example = "2",
    },
};

const tt__option_group tt__words_options = {"What to draw", WORDS, sizeof WORDS / sizeof *WORDS};
