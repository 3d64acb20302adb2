/* Options: LoRAs and embeddings. */
#include "app/options_parts.h"

/* One entry of "loras". request_loras.c reads it; a test says that both know the same members. */
static const char LORA_SCHEMA[] =
    "{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"object\", \"properties\": {\n"
    " \"name\": {\"type\": \"string\", \"description\": \"A file in the LoRA folder; beside a "
    "source, what results call it.\"},\n"
    " \"source\": {\"type\": \"string\", \"description\": \"Where it comes from, when that is not "
    "its name. Also path, url, file.\"},\n"
    " \"scale\": {\"type\": \"number\", \"default\": 1, \"description\": \"How strongly it acts. "
    "Also weight, strength.\"},\n"
    " \"unet\": {\"type\": \"number\", \"description\": \"Another scale for the UNet.\"},\n"
    " \"te\": {\"type\": \"number\", \"description\": \"Another scale for the text encoders; te1 "
    "and te2 for one of them.\"},\n"
    " \"te1\": {\"type\": \"number\"}, \"te2\": {\"type\": \"number\"},\n"
    " \"blocks\": {\"type\": \"object\", \"additionalProperties\": {\"type\": \"number\"},\n"
    "  \"description\": \"Factors of the UNet's blocks: in, mid, out, in00 to in11, out00 to "
    "out11.\"}}}]}\n";

static const tt_option ADAPTERS[] = {
    {
        .id = TT_OPT_LORAS,
        .field = "loras",
        .field_aliases = {"lora"},
        .flag = "--lora",
        .environment = "TINTYPE_LORA",
        .value_name = "FILE[:SCALE]",
        .type = TT_OPTION_LIST,
        .is_common = true,
        .items = LORA_SCHEMA,
        .default_text = "none",
        .help =
            "A LoRA or one of its kin (LoCon, LoHa, LoKr, DoRA, OFT, ...) to apply: a file, where "
            "to fetch it from (civitai:135867:0.6), or the name of one that the preset lists; may "
            "be given again for more. Scales of parts after the colon: x:0.8, x:unet=0.8,te=0, "
            "x:1,in=0.5,out03=1.2. A job names one of its preset or a file in the folder of "
            "--lora-folder, in text or as {\"name\": ..., \"scale\": ..., \"unet\": ..., \"te\": "
            "..., \"blocks\": {...}}.",
        .example = "old-photo.safetensors:0.8",
    },
    {
        .id = TT_OPT_LORA_FOLDER,
        .flag = "--lora-folder",
        .commands = ANYWHERE,
        .environment = "TINTYPE_LORAS",
        .value_name = "FOLDER",
        .type = TT_OPTION_STRING,
        .default_text = "none",
        .help = "Where the LoRAs are that jobs and prompts (<lora:name:0.8>) name, with or without "
                ".safetensors.",
        .example = "models/loras",
    },
    {
        .id = TT_OPT_EMBEDDINGS,
        .flag = "--embeddings",
        .flag_aliases = {"--embedding-folder"},
        .commands = ANYWHERE,
        .environment = "TINTYPE_EMBEDDINGS",
        .value_name = "FOLDER",
        .type = TT_OPTION_STRING,
        .default_text = "none",
        .help = "Textual inversions: a prompt names one by its file, without .safetensors.",
        .example = "models/embeddings",
    },
};

const tt__option_group tt__adapters_options = {"LoRAs and embeddings", ADAPTERS,
                                               sizeof ADAPTERS / sizeof *ADAPTERS};
