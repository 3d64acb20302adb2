/* The table of options; see options.h. Order is the order of the help. Rows say what an option is;
 * what it means to the engine is in request.c. */
#include "app/options.h"

#include <string.h>

#include "base/limits.h"
#include "base/nearest.h"
#include "tintype/engine.h"

static const char *const *noise_names(void) {
    static const char *const names[] = {"cpu", "cpu-f16", "cuda", NULL};
    return names;
}

static const char *const *format_names(void) {
    static const char *const names[] = {"png", "jpeg", "jpg", "webp", NULL};
    return names;
}

static const char *const *precision_names(void) {
    static const char *const names[] = {"auto", "f32", "bf16", NULL};
    return names;
}

static const char *const *prediction_names(void) {
    static const char *const names[] = {"epsilon", "v_prediction", NULL};
    return names;
}

static const char *const *device_names(void) {
    static const char *const names[] = {"cpu", "ref", NULL};
    return names;
}

#define GROUP_WHAT   "What to draw"
#define GROUP_HOW    "How to draw it"
#define GROUP_OUTPUT "Output"
#define GROUP_JOB    "Where the job comes from"
#define GROUP_ENGINE "Model and machine"
#define GROUP_SERVE  "Serving"
#define GROUP_DEV    "Writing a handler"

/* More threads than any machine this runs on has cores. */
enum { MAX_THREADS = 1024 };
enum { MAX_PORT = 65535 };
/* What the SDK accepts as handlers at once (runpod.md 2.1); one engine serves them in turn. */
enum { MAX_CONCURRENCY = 1000 };
/* Waiting jobs: more than a day of pictures for anyone. */
enum { MAX_QUEUE = 100000 };
enum { ANYWHERE = TT_FOR_RUN | TT_FOR_WORKER };

static const tt_option OPTIONS[TT_OPTION_COUNT] = {
    [TT_OPT_PROMPT] =
        {
            .field = "prompt",
            .flag = "--prompt",
            .environment = "TINTYPE_PROMPT",
            .value_name = "TEXT",
            .type = TT_OPTION_TEXT,
            .default_text = "none: it must be given, but may be empty",
            .group = GROUP_WHAT,
            .help = "What the picture shows. The first 75 tokens count.",
            .example = "a lighthouse on the sea at sunset",
        },
    [TT_OPT_NEGATIVE_PROMPT] =
        {
            .field = "negative_prompt",
            .field_aliases = {"negative"},
            .flag = "--negative",
            .flag_aliases = {"--negative-prompt"},
            .environment = "TINTYPE_NEGATIVE_PROMPT",
            .value_name = "TEXT",
            .type = TT_OPTION_TEXT,
            .default_text =
                "absent, which SDXL takes as zeros; an empty text is encoded like any other",
            .group = GROUP_WHAT,
            .help = "What the picture should not show. Needs a guidance above 1.",
            .example = "blurry",
        },
    [TT_OPT_WIDTH] =
        {
            .field = "width",
            .flag = "--width",
            .environment = "TINTYPE_WIDTH",
            .value_name = "PIXELS",
            .type = TT_OPTION_INTEGER,
            .minimum = TT_MIN_SIDE_PIXELS,
            .maximum = TT_MAX_SIDE_PIXELS,
            .multiple_of = TT_SIDE_MULTIPLE,
            .default_text = "the size the model was trained for, 1024 for SDXL",
            .group = GROUP_WHAT,
            .help = "Width of the picture.",
            .example = "1024",
        },
    [TT_OPT_HEIGHT] =
        {
            .field = "height",
            .flag = "--height",
            .environment = "TINTYPE_HEIGHT",
            .value_name = "PIXELS",
            .type = TT_OPTION_INTEGER,
            .minimum = TT_MIN_SIDE_PIXELS,
            .maximum = TT_MAX_SIDE_PIXELS,
            .multiple_of = TT_SIDE_MULTIPLE,
            .default_text = "the size the model was trained for, 1024 for SDXL",
            .group = GROUP_WHAT,
            .help = "Height of the picture.",
            .example = "1024",
        },
    [TT_OPT_SEED] =
        {
            .field = "seed",
            .flag = "--seed",
            .environment = "TINTYPE_SEED",
            .value_name = "N",
            .type = TT_OPTION_SEED,
            .default_text = "random below 2^32, and always told",
            .group = GROUP_WHAT,
            .help = "Where the noise starts: the same seed and settings give the same picture.",
            .example = "5",
        },
    [TT_OPT_COUNT] =
        {
            .field = "num_images",
            .field_aliases = {"count", "num_images_per_prompt", "batch_size", "batch",
                              "num_outputs"},
            .flag = "--count",
            .flag_aliases = {"--num-images"},
            .environment = "TINTYPE_COUNT",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 1,
            .maximum = TT_MAX_PICTURES,
            .fixed_default = "1",
            .group = GROUP_WHAT,
            .help = "How many pictures. They take the seeds N, N+1, N+2...",
            .example = "4",
        },
    [TT_OPT_STEPS] =
        {
            .field = "steps",
            .field_aliases = {"num_inference_steps"},
            .flag = "--steps",
            .environment = "TINTYPE_STEPS",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 1,
            .maximum = TT_MAX_STEPS,
            .default_text = "24 unless the model says otherwise",
            .group = GROUP_HOW,
            .help = "Denoising steps. Time grows with them; past 30 or so pictures hardly change.",
            .example = "24",
        },
    [TT_OPT_CFG] =
        {
            .field = "cfg_scale",
            .field_aliases = {"guidance_scale", "cfg", "guidance"},
            .flag = "--cfg",
            .flag_aliases = {"--cfg-scale", "--guidance-scale"},
            .environment = "TINTYPE_CFG_SCALE",
            .value_name = "X",
            .type = TT_OPTION_NUMBER,
            .minimum = 0,
            .maximum = TT_MAX_GUIDANCE,
            .default_text = "4.5 unless the model says otherwise",
            .group = GROUP_HOW,
            .help = "Classifier-free guidance: how closely the prompt is followed. 1 and below "
                    "switch it off, "
                    "which halves the time.",
            .example = "4.5",
        },
    [TT_OPT_GUIDANCE_RESCALE] =
        {
            .field = "guidance_rescale",
            .field_aliases = {"cfg_rescale"},
            .flag = "--guidance-rescale",
            .flag_aliases = {"--cfg-rescale"},
            .environment = "TINTYPE_GUIDANCE_RESCALE",
            .value_name = "X",
            .type = TT_OPTION_NUMBER,
            .minimum = 0,
            .maximum = 1,
            .fixed_default = "0",
            .group = GROUP_HOW,
            .help =
                "Pulls back colours that strong guidance burns out; 0.7 suits v-prediction models.",
            .example = "0.7",
        },
    [TT_OPT_SAMPLER] =
        {
            .field = "sampler",
            .field_aliases = {"scheduler", "sampler_name"},
            .flag = "--sampler",
            .flag_aliases = {"--scheduler"},
            .environment = "TINTYPE_SAMPLER",
            .value_name = "NAME",
            .type = TT_OPTION_SAMPLER,
            .choices = tt_sampler_names,
            .default_text = "the model's, DPM++ 2M Karras for most",
            .group = GROUP_HOW,
            .help = "How noise is taken away. Names of other programs are understood, their "
                    "schedule included: "
                    "\"DPM++ 2M Karras\", \"Euler a\", EulerDiscreteScheduler, K_EULER.",
            .example = "DPM++ 2M Karras",
        },
    [TT_OPT_SCHEDULE] =
        {
            .field = "schedule",
            .field_aliases = {"schedule_type"},
            .flag = "--schedule",
            .environment = "TINTYPE_SCHEDULE",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = tt_schedule_names,
            .default_text = "the sampler's",
            .group = GROUP_HOW,
            .help = "Which noise levels the steps visit.",
            .example = "karras",
        },
    [TT_OPT_NOISE] =
        {
            .field = "noise",
            .field_aliases = {"noise_source"},
            .flag = "--noise",
            .environment = "TINTYPE_NOISE",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = noise_names,
            .fixed_default = "cpu",
            .group = GROUP_HOW,
            .help = "Whose random numbers a seed means: PyTorch's on the CPU in 32 or 16 bits, or "
                    "on a GPU.",
            .example = "cuda",
        },
    [TT_OPT_CLIP_SKIP] =
        {
            .field = "clip_skip",
            .flag = "--clip-skip",
            .environment = "TINTYPE_CLIP_SKIP",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 2,
            .maximum = 2,
            .fixed_default = "2",
            .group = GROUP_HOW,
            .help = "Which layer of the text encoders is read, counted from the end. 2 is what "
                    "SDXL was trained "
                    "with and what recipes mean; nothing else is built yet.",
            .example = "2",
        },
    [TT_OPT_LORAS] =
        {
            .field = "loras",
            .type = TT_OPTION_LIST,
            .default_text = "none",
            .group = GROUP_HOW,
            .help = "LoRAs to apply. Not built yet: only an empty list is accepted, so that none "
                    "is silently left "
                    "out.",
            .example = "[]",
        },
    [TT_OPT_PRESET] =
        {
            .field = "preset",
            .type = TT_OPTION_RESERVED,
            .default_text = "none",
            .group = GROUP_HOW,
            .help = "Settings under a name. Presets cannot be chosen yet.",
            .example = "null",
        },
    [TT_OPT_REFINER_STEPS] =
        {
            .field = "refiner_inference_steps",
            .type = TT_OPTION_UNUSED,
            .default_text = "none",
            .group = GROUP_HOW,
            .help = "Steps of a refiner model. There is no refiner here: told as unused.",
            .example = "null",
        },
    [TT_OPT_HIGH_NOISE_FRAC] =
        {
            .field = "high_noise_frac",
            .type = TT_OPTION_UNUSED,
            .default_text = "none",
            .group = GROUP_HOW,
            .help = "Where a refiner model takes over. There is no refiner here: told as unused.",
            .example = "null",
        },
    [TT_OPT_STRENGTH] =
        {
            .field = "strength",
            .type = TT_OPTION_UNUSED,
            .default_text = "none",
            .group = GROUP_HOW,
            .help = "How much of a given picture changes. Pictures start from noise only: told as "
                    "unused.",
            .example = "null",
        },
    [TT_OPT_IMAGE_URL] =
        {
            .field = "image_url",
            .type = TT_OPTION_RESERVED,
            .default_text = "none",
            .group = GROUP_HOW,
            .help = "A picture to start from. Pictures start from noise only.",
            .example = "null",
        },
    [TT_OPT_FORMAT] =
        {
            .field = "format",
            .field_aliases = {"output_format", "image_format"},
            .flag = "--format",
            .environment = "TINTYPE_FORMAT",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = format_names,
            .fixed_default = "png",
            .default_text = "what the name in --out ends with, else png",
            .group = GROUP_OUTPUT,
            .help = "File format of the picture. All three carry the settings inside.",
            .example = "webp",
        },
    [TT_OPT_QUALITY] =
        {
            .field = "quality",
            .field_aliases = {"output_quality"},
            .flag = "--quality",
            .environment = "TINTYPE_QUALITY",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 1,
            .maximum = 100,
            .default_text = "92 for jpeg, 90 for webp",
            .group = GROUP_OUTPUT,
            .help = "Quality of jpeg and webp; png is always exact.",
            .example = "95",
        },
    [TT_OPT_OUT] =
        {
            .flag = "--out",
            .flag_aliases = {"--output", "-o"},
            .environment = "TINTYPE_OUT",
            .value_name = "FILE",
            .type = TT_OPTION_STRING,
            .default_text = "tintype-SEED.png in the current directory; no file with --json",
            .group = GROUP_OUTPUT,
            .help = "Where the picture goes: a file, or a directory. Several pictures get their "
                    "seed before the "
                    "extension.",
            .example = "boat.png",
        },
    [TT_OPT_JSON] =
        {
            .flag = "--json",
            .environment = "TINTYPE_JSON",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_OUTPUT,
            .help = "Prints the job's result as JSON on standard output, and nothing else there.",
            .example = "true",
        },
    [TT_OPT_NO_PREVIEW] =
        {
            .flag = "--no-preview",
            .environment = "TINTYPE_NO_PREVIEW",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_OUTPUT,
            .help = "Does not show the picture in the terminal.",
            .example = "true",
        },
    [TT_OPT_INPUT] =
        {
            .flag = "--input",
            .environment = "TINTYPE_INPUT",
            .value_name = "FILE",
            .type = TT_OPTION_STRING,
            .default_text = "test_input.json in the current directory, when there is no --prompt",
            .group = GROUP_JOB,
            .help = "A job as a JSON file, {\"input\": {\"prompt\": \"...\"}}; - is standard "
                    "input. Flags beside it "
                    "change single fields.",
            .example = "test_input.json",
        },
    [TT_OPT_TEST_INPUT] =
        {
            .flag = "--test_input",
            .commands = ANYWHERE,
            .flag_aliases = {"--test-input"},
            .environment = "TINTYPE_TEST_INPUT",
            .value_name = "JSON",
            .type = TT_OPTION_STRING,
            .default_text = "none",
            .group = GROUP_JOB,
            .help = "The same job, as text on the command line.",
            .example = "{\"input\": {\"prompt\": \"a red boat\"}}",
        },
    [TT_OPT_TEST_OUTPUT] =
        {
            .flag = "--test_output",
            .flag_aliases = {"--test-output"},
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_TEST_OUTPUT",
            .value_name = "FILE",
            .type = TT_OPTION_STRING,
            .default_text = "none",
            .group = GROUP_JOB,
            .help = "Where a worker writes the whole result of its test job.",
            .example = "result.json",
        },
    [TT_OPT_MODEL] =
        {
            .flag = "--model",
            .commands = ANYWHERE,
            .environment = "TINTYPE_MODEL",
            .value_name = "PATH",
            .type = TT_OPTION_STRING,
            .default_text = "the small demonstration model that comes with the program",
            .group = GROUP_ENGINE,
            .help = "An SDXL checkpoint: a .safetensors file, or a folder in diffusers' layout.",
            .example = "sd_xl_base_1.0.safetensors",
        },
    [TT_OPT_DTYPE] =
        {
            .flag = "--dtype",
            .commands = ANYWHERE,
            .environment = "TINTYPE_DTYPE",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = precision_names,
            .fixed_default = "auto",
            .default_text = "auto: bf16 where the processor has it natively, else f32",
            .group = GROUP_ENGINE,
            .help = "Arithmetic of the networks.",
            .example = "f32",
        },
    [TT_OPT_VAE_DTYPE] =
        {
            .flag = "--vae-dtype",
            .commands = ANYWHERE,
            .environment = "TINTYPE_VAE_DTYPE",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = precision_names,
            .fixed_default = "auto",
            .default_text = "auto: as --dtype",
            .group = GROUP_ENGINE,
            .help = "Arithmetic of the VAE, which turns latents into pixels.",
            .example = "f32",
        },
    [TT_OPT_PREDICTION] =
        {
            .flag = "--prediction",
            .commands = ANYWHERE,
            .environment = "TINTYPE_PREDICTION",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = prediction_names,
            .default_text = "what the model says",
            .group = GROUP_ENGINE,
            .help = "What the network was trained to predict, for files that do not say so.",
            .example = "v_prediction",
        },
    [TT_OPT_DEVICE] =
        {
            .flag = "--device",
            .commands = ANYWHERE,
            .environment = "TINTYPE_DEVICE",
            .value_name = "NAME",
            .type = TT_OPTION_CHOICE,
            .choices = device_names,
            .fixed_default = "cpu",
            .group = GROUP_ENGINE,
            .help = "Where it runs. ref is the plain C reference: slow, and the truth that cpu is "
                    "tested against.",
            .example = "ref",
        },
    [TT_OPT_THREADS] =
        {
            .flag = "--threads",
            .commands = ANYWHERE,
            .environment = "TINTYPE_THREADS",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 0,
            .maximum = MAX_THREADS,
            .fixed_default = "0",
            .default_text = "0: all cores the program may use",
            .group = GROUP_ENGINE,
            .help = "Threads that compute. The picture does not depend on them.",
            .example = "2",
        },
    [TT_OPT_SERVE_API] =
        {
            .flag = "--rp_serve_api",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_SERVE_API",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_SERVE,
            .help = "Serves the endpoint API on this machine; \"tintype serve\" implies it.",
            .example = "true",
        },
    [TT_OPT_HOST] =
        {
            .flag = "--host",
            .flag_aliases = {"--rp_api_host"},
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_HOST",
            .value_name = "ADDRESS",
            .type = TT_OPTION_STRING,
            .fixed_default = "localhost",
            .group = GROUP_SERVE,
            .help = "Where to listen. 0.0.0.0 is every address of the machine, as a container "
                    "needs it: set TINTYPE_API_KEY then.",
            .example = "0.0.0.0",
        },
    [TT_OPT_PORT] =
        {
            .flag = "--port",
            .flag_aliases = {"--rp_api_port"},
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_PORT",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 0,
            .maximum = MAX_PORT,
            .fixed_default = "8000",
            .default_text = "8000; 0 takes any free port, and the first line says which",
            .group = GROUP_SERVE,
            .help = "Port to listen on.",
            .example = "8000",
        },
    [TT_OPT_CONCURRENCY] =
        {
            .flag = "--rp_api_concurrency",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_CONCURRENCY",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 1,
            .maximum = MAX_CONCURRENCY,
            .fixed_default = "1",
            .group = GROUP_SERVE,
            .help = "Accepted as RunPod's workers do, and without effect: one model makes one "
                    "picture at a time, the other jobs wait.",
            .example = "1",
        },
    [TT_OPT_QUEUE_LIMIT] =
        {
            .flag = "--queue-limit",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_QUEUE_LIMIT",
            .value_name = "N",
            .type = TT_OPTION_INTEGER,
            .minimum = 1,
            .maximum = MAX_QUEUE,
            .default_text = "the server's own limit",
            .group = GROUP_SERVE,
            .help = "Jobs that may wait; more are refused with status 429.",
            .example = "100",
        },
    [TT_OPT_API_KEY] =
        {
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_API_KEY",
            .type = TT_OPTION_STRING,
            .default_text = "none: nobody is asked",
            .group = GROUP_SERVE,
            .help = "The key that clients must send as Authorization: Bearer KEY. There is no flag "
                    "for it: flags can be read by everybody on the machine.",
            .example = "a-long-random-text",
        },
    [TT_OPT_CORS_ORIGIN] =
        {
            .flag = "--cors-origin",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_CORS_ORIGIN",
            .value_name = "ORIGIN",
            .type = TT_OPTION_STRING,
            .default_text = "none: other pages may not",
            .group = GROUP_SERVE,
            .help = "The web page that may call the API from a browser, or * for any.",
            .example = "https://example.org",
        },
    [TT_OPT_WEBHOOK_SECRET] =
        {
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_WEBHOOK_SECRET",
            .type = TT_OPTION_STRING,
            .default_text = "none: webhooks are not signed",
            .group = GROUP_SERVE,
            .help =
                "What webhooks are signed with, whsec_ and base64 (Standard Webhooks). There is "
                "no flag for it.",
            .example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
    [TT_OPT_PRIVATE_WEBHOOKS] =
        {
            .flag = "--allow-private-webhooks",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_ALLOW_PRIVATE_WEBHOOKS",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_SERVE,
            .help = "Lets webhooks go to addresses of this machine and its private network.",
            .example = "true",
        },
    [TT_OPT_LOG_LEVEL] =
        {
            .flag = "--log-level",
            .flag_aliases = {"--rp_log_level"},
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_LOG_LEVEL",
            .value_name = "NAME",
            .type = TT_OPTION_STRING,
            .default_text = "RUNPOD_LOG_LEVEL, else info",
            .group = GROUP_SERVE,
            .help = "How much is told: error, warn, info, debug, trace, or notset for silence.",
            .example = "debug",
        },
    [TT_OPT_NO_ISOLATION] =
        {
            .flag = "--no-isolation",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_NO_ISOLATION",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_SERVE,
            .help = "Runs jobs in the worker's own process, for debuggers: a crash then ends it.",
            .example = "true",
        },
    [TT_OPT_DEBUGGER] =
        {
            .flag = "--rp_debugger",
            .commands = TT_FOR_WORKER,
            .environment = "TINTYPE_DEBUGGER",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_SERVE,
            .help = "Accepted as RunPod's workers do; it adds nothing, since every answer has its "
                    "timings.",
            .example = "true",
        },
    [TT_OPT_ONCE] =
        {
            .flag = "--once",
            .commands = TT_FOR_DEV,
            .environment = "TINTYPE_ONCE",
            .type = TT_OPTION_SWITCH,
            .fixed_default = "false",
            .group = GROUP_DEV,
            .help = "Compiles and runs once, and ends with the run's exit status.",
            .example = "true",
        },
    [TT_OPT_SDK] =
        {
            .flag = "--sdk",
            .commands = TT_FOR_DEV,
            .environment = "TINTYPE_SDK",
            .value_name = "FOLDER",
            .type = TT_OPTION_STRING,
            .default_text = "where the program itself lies: a build tree, or lib/ and include/ "
                            "beside its bin/",
            .group = GROUP_DEV,
            .help = "Where the SDK's library and headers are.",
            .example = "/usr/local",
        },
};

const tt_option *tt_option_get(tt_option_id id) {
    return &OPTIONS[id];
}

bool tt_option_is_for(tt_option_id id, int commands) {
    int of_row = OPTIONS[id].commands ? OPTIONS[id].commands : TT_FOR_RUN;
    return (of_row & commands) != 0;
}

static const char *match(const char *candidate, const char *name, size_t length) {
    bool is_same = candidate && strlen(candidate) == length && memcmp(candidate, name, length) == 0;
    return is_same ? candidate : NULL;
}

/* The candidate or alias that equals the name. */
static const char *match_any(const char *candidate, const char *const aliases[], const char *name,
                             size_t length) {
    const char *found = match(candidate, name, length);
    for (int i = 0; !found && i < TT_OPTION_ALIASES && aliases[i]; i++)
        found = match(aliases[i], name, length);
    return found;
}

bool tt_option_find_field(const char *name, tt_option_id *id, const char **spelling) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        *spelling = match_any(OPTIONS[i].field, OPTIONS[i].field_aliases, name, strlen(name));
        *id = (tt_option_id)i;
        if (*spelling) return true;
    }
    return false;
}

bool tt_option_find_flag(const char *name, size_t length, tt_option_id *id, const char **spelling) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        *spelling = match_any(OPTIONS[i].flag, OPTIONS[i].flag_aliases, name, length);
        *id = (tt_option_id)i;
        if (*spelling) return true;
    }
    return false;
}

const char *tt_option_nearest_field(const char *name) {
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        tt_nearest_offer(&nearest, OPTIONS[i].field);
        for (int k = 0; k < TT_OPTION_ALIASES; k++)
            tt_nearest_offer(&nearest, OPTIONS[i].field_aliases[k]);
    }
    return nearest.best;
}

const char *tt_option_nearest_flag(const char *name, int commands) {
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        if (!tt_option_is_for((tt_option_id)i, commands)) continue;
        tt_nearest_offer(&nearest, OPTIONS[i].flag);
        for (int k = 0; k < TT_OPTION_ALIASES; k++)
            tt_nearest_offer(&nearest, OPTIONS[i].flag_aliases[k]);
    }
    return nearest.best;
}
