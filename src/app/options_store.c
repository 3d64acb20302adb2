/* Options: where models come from and are kept. From the environment only: what a machine or an endpoint is set up with. The
 * commands about models read them as well (cmd/store_options.c, which also knows the names that other programs use). */
#include "app/options_parts.h"
#include "store/download.h"

static const tt_option STORE[] = {
    {
        .id = TT_OPT_MODELS,
        .commands = ANYWHERE,
        .environment = "TINTYPE_MODELS",
        .type = TT_OPTION_STRING,
        .default_text = "/runpod-volume/models where there is such a volume, else "
                        "~/.local/share/tintype/models",
        .help = "The folder that downloaded models are kept in.",
        .example = "/data/models",
    },
    {
        .id = TT_OPT_MODELS_READONLY,
        .commands = ANYWHERE,
        .environment = "TINTYPE_MODELS_READONLY",
        .type = TT_OPTION_STRING,
        .default_text = "models/ beside the program",
        .help =
            "More folders to look into first, with colons between them; nothing is written there.",
        .example = "/opt/models:/mnt/shared",
    },
    {
        .id = TT_OPT_MODELS_MAX_BYTES,
        .commands = ANYWHERE,
        .environment = "TINTYPE_MODELS_MAX_BYTES",
        .type = TT_OPTION_STRING,
        .default_text = "what the disk has",
        .help =
            "How much the folder may hold. Beyond it the least used models go, but none that is "
            "pinned or in use.",
        .example = "200GB",
    },
    {
        .id = TT_OPT_CIVITAI_KEY,
        .commands = ANYWHERE,
        .environment = "CIVITAI_API_KEY",
        .type = TT_OPTION_STRING,
        .default_text = "none: CivitAI then refuses most downloads",
        .help = "The key for CivitAI. It goes to CivitAI's own hosts only.",
        .example = "0123456789abcdef",
    },
    {
        .id = TT_OPT_HF_TOKEN,
        .commands = ANYWHERE,
        .environment = "HF_TOKEN",
        .type = TT_OPTION_STRING,
        .default_text = "what Hugging Face's own tools have stored",
        .help = "The token for gated and private repositories of Hugging Face.",
        .example = "hf_0123456789",
    },
    {
        .id = TT_OPT_OFFLINE,
        .commands = ANYWHERE,
        .environment = "TINTYPE_OFFLINE",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Fetches nothing: only models that are here can be used.",
        .example = "true",
    },
    {
        .id = TT_OPT_TRUST_FIRST_USE,
        .commands = ANYWHERE,
        .environment = "TINTYPE_TRUST_FIRST_USE",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Takes URLs without #sha256= at their first word, and holds them to it.",
        .example = "true",
    },
    {
        .id = TT_OPT_DOWNLOAD_CONNECTIONS,
        .commands = ANYWHERE,
        .environment = "TINTYPE_DOWNLOAD_CONNECTIONS",
        .type = TT_OPTION_INTEGER,
        .minimum = 1,
        .maximum = TT_DOWNLOAD_MAX_CONNECTIONS,
        .default_text = "8",
        .help = "Connections of one download.",
        .example = "4",
    },
    {
        .id = TT_OPT_CIVITAI_URL,
        .commands = ANYWHERE,
        .environment = "TINTYPE_CIVITAI_URL",
        .type = TT_OPTION_STRING,
        .default_text = "https://civitai.com",
        .help = "A mirror in CivitAI's place.",
        .example = "https://civitai.example.org",
    },
    {
        .id = TT_OPT_HF_URL,
        .commands = ANYWHERE,
        .environment = "TINTYPE_HF_URL",
        .type = TT_OPTION_STRING,
        .default_text = "https://huggingface.co",
        .help = "A mirror in Hugging Face's place.",
        .example = "https://hf.example.org",
    },
    {
        .id = TT_OPT_ALLOW_PRIVATE,
        .commands = ANYWHERE,
        .environment = "TINTYPE_ALLOW_PRIVATE",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Lets models and pictures come from private addresses and by plain http.",
        .example = "true",
    },
    {
        .id = TT_OPT_CA_FILE,
        .commands = ANYWHERE,
        .environment = "TINTYPE_CA_FILE",
        .type = TT_OPTION_STRING,
        .default_text = "the system's certificates alone",
        .help = "A PEM file with certificates to trust as well.",
        .example = "/etc/ssl/company.pem",
    },
};

const tt__option_group tt__store_options = {"Where models come from (environment only)", STORE,
                                            sizeof STORE / sizeof *STORE};
