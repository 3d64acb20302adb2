/* Options: what becomes of a picture, and where the job comes from. */
#include "app/options_parts.h"

static const char *const *format_names(void) {
    static const char *const names[] = {"png", "jpeg", "jpg", "webp", NULL};
    return names;
}

static const tt_option OUTPUT[] = {
    {
        .id = TT_OPT_FORMAT,
        .field = "format",
        .field_aliases = {"output_format", "image_format"},
        .flag = "--format",
        .environment = "TINTYPE_FORMAT",
        .value_name = "NAME",
        .type = TT_OPTION_CHOICE,
        .is_common = true,
        .choices = format_names,
        .fixed_default = "png",
        .default_text = "what the name in --out ends with, else png",
        .help = "File format of the picture. All three carry the settings inside.",
        .example = "webp",
    },
    {
        .id = TT_OPT_QUALITY,
        .field = "quality",
        .field_aliases = {"output_quality"},
        .flag = "--quality",
        .environment = "TINTYPE_QUALITY",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .is_common = true,
        .minimum = 1,
        .maximum = 100,
        .default_text = "92 for jpeg, 90 for webp",
        .help = "Quality of jpeg and webp; png is always exact.",
        .example = "95",
    },
    {
        .id = TT_OPT_OUT,
        .flag = "--out",
        .flag_aliases = {"--output", "-o"},
        .environment = "TINTYPE_OUT",
        .value_name = "FILE",
        .type = TT_OPTION_STRING,
        .is_common = true,
        .default_text = "tintype-SEED.png in the current directory; no file with --json",
        .help = "Where the picture goes: a file, or a directory. Several pictures get their "
                "seed before the "
                "extension.",
        .example = "boat.png",
    },
    {
        .id = TT_OPT_JSON,
        .flag = "--json",
        .environment = "TINTYPE_JSON",
        .type = TT_OPTION_SWITCH,
        .is_common = true,
        .fixed_default = "false",
        .help = "Prints the job's result as JSON on standard output, and nothing else there.",
        .example = "true",
    },
    {
        .id = TT_OPT_NO_PREVIEW,
        .flag = "--no-preview",
        .environment = "TINTYPE_NO_PREVIEW",
        .type = TT_OPTION_SWITCH,
        .is_common = true,
        .fixed_default = "false",
        .help = "Does not show the picture in the terminal.",
        .example = "true",
    },
};

const tt__option_group tt__output_options = {"Output", OUTPUT, sizeof OUTPUT / sizeof *OUTPUT};

static const tt_option SOURCE[] = {
    {
        .id = TT_OPT_INPUT,
        .flag = "--input",
        .environment = "TINTYPE_INPUT",
        .value_name = "FILE",
        .type = TT_OPTION_STRING,
        .is_common = true,
        .default_text = "test_input.json in the current directory, when there is no --prompt",
        .help = "A job as a JSON file, {\"input\": {\"prompt\": \"...\"}}; - is standard "
                "input. Flags beside it "
                "change single fields.",
        .example = "test_input.json",
    },
    {
        .id = TT_OPT_TEST_INPUT,
        .flag = "--test_input",
        .commands = ANYWHERE,
        .flag_aliases = {"--test-input"},
        .environment = "TINTYPE_TEST_INPUT",
        .value_name = "JSON",
        .type = TT_OPTION_STRING,
        .default_text = "none",
        .help = "The same job, as text on the command line.",
        .example = "{\"input\": {\"prompt\": \"a red boat\"}}",
    },
    {
        .id = TT_OPT_TEST_OUTPUT,
        .flag = "--test_output",
        .flag_aliases = {"--test-output"},
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_TEST_OUTPUT",
        .value_name = "FILE",
        .type = TT_OPTION_STRING,
        .default_text = "none",
        .help = "Where a worker writes the whole result of its test job.",
        .example = "result.json",
    },
};

const tt__option_group tt__source_options = {"Where the job comes from", SOURCE,
                                             sizeof SOURCE / sizeof *SOURCE};
