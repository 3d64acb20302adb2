/* Everything a person can ask for, one row per option; the rows are in options_*.c. Flags, environment variables, job fields,
 * the help text and the job's JSON schema are all read from this table; nothing else in the program
 * names an option twice. */
#ifndef TT_APP_OPTIONS_H
#define TT_APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum tt_option_id {
    /* What to draw */
    TT_OPT_PROMPT,
    TT_OPT_NEGATIVE_PROMPT,
    TT_OPT_WIDTH,
    TT_OPT_HEIGHT,
    TT_OPT_SEED,
    TT_OPT_COUNT,
    TT_OPT_PROMPT_2,
    TT_OPT_NEGATIVE_PROMPT_2,
    TT_OPT_PROMPT_SYNTAX,
    TT_OPT_NEGATIVE_POLICY,
    TT_OPT_CLIP_SKIP,
    /* How to draw it */
    TT_OPT_STEPS,
    TT_OPT_CFG,
    TT_OPT_SAMPLER,
    TT_OPT_SCHEDULE,
    TT_OPT_RECIPE,
    TT_OPT_GUIDANCE_RESCALE,
    TT_OPT_GUIDANCE_START,
    TT_OPT_GUIDANCE_END,
    TT_OPT_ETA,
    TT_OPT_NOISE,
    TT_OPT_COMPAT,
    TT_OPT_VARIATION_STRENGTH,
    TT_OPT_VARIATION_SEED,
    TT_OPT_ORIGINAL_WIDTH,
    TT_OPT_ORIGINAL_HEIGHT,
    TT_OPT_TARGET_WIDTH,
    TT_OPT_TARGET_HEIGHT,
    TT_OPT_CROP_LEFT,
    TT_OPT_CROP_TOP,
    TT_OPT_PRESET,
    /* Pictures to start from */
    TT_OPT_IMAGE,
    TT_OPT_STRENGTH,
    TT_OPT_MASK,
    TT_OPT_OUTPAINT,
    /* After the first pass */
    TT_OPT_HIRES_SCALE,
    TT_OPT_HIRES_STRENGTH,
    TT_OPT_HIRES_STEPS,
    TT_OPT_HIRES_UPSCALER,
    TT_OPT_REFINER_START,
    TT_OPT_AESTHETIC_SCORE,
    TT_OPT_NEGATIVE_AESTHETIC_SCORE,
    TT_OPT_REFINER_STEPS,
    /* LoRAs and embeddings */
    TT_OPT_LORAS,
    TT_OPT_LORA_FOLDER,
    TT_OPT_EMBEDDINGS,
    /* Output */
    TT_OPT_FORMAT,
    TT_OPT_QUALITY,
    TT_OPT_OUT,
    TT_OPT_JSON,
    TT_OPT_NO_PREVIEW,
    /* Where the job comes from */
    TT_OPT_INPUT,
    TT_OPT_TEST_INPUT,
    TT_OPT_TEST_OUTPUT,
    /* Model and machine */
    TT_OPT_CONFIG,
    TT_OPT_MODEL,
    TT_OPT_VAE,
    TT_OPT_REFINER,
    TT_OPT_PREVIEW_DECODER,
    TT_OPT_DTYPE,
    TT_OPT_VAE_DTYPE,
    TT_OPT_VAE_TILING,
    TT_OPT_PREDICTION,
    TT_OPT_DEVICE,
    TT_OPT_THREADS,
    /* Where models come from */
    TT_OPT_MODELS,
    TT_OPT_MODELS_READONLY,
    TT_OPT_MODELS_MAX_BYTES,
    TT_OPT_CIVITAI_KEY,
    TT_OPT_HF_TOKEN,
    TT_OPT_OFFLINE,
    TT_OPT_TRUST_FIRST_USE,
    TT_OPT_DOWNLOAD_CONNECTIONS,
    TT_OPT_CIVITAI_URL,
    TT_OPT_HF_URL,
    TT_OPT_ALLOW_PRIVATE,
    TT_OPT_CA_FILE,
    /* Serving */
    TT_OPT_SERVE_API,
    TT_OPT_HOST,
    TT_OPT_PORT,
    TT_OPT_CONCURRENCY,
    TT_OPT_QUEUE_LIMIT,
    TT_OPT_API_KEY,
    TT_OPT_CORS_ORIGIN,
    TT_OPT_WEBHOOK_SECRET,
    TT_OPT_PRIVATE_WEBHOOKS,
    TT_OPT_LOG_LEVEL,
    TT_OPT_NO_ISOLATION,
    TT_OPT_DEBUGGER,
    /* Writing a handler */
    TT_OPT_ONCE,
    TT_OPT_SDK,
    TT_OPTION_COUNT
} tt_option_id;

typedef enum tt_option_type {
    TT_OPTION_TEXT,    /* UTF-8 for the model, "" is fine, no NUL */
    TT_OPTION_STRING,  /* a path or JSON text, passed on as it is */
    TT_OPTION_INTEGER, /* minimum..maximum, a multiple of multiple_of when that is not 0 */
    TT_OPTION_NUMBER,  /* minimum..maximum, finite */
    TT_OPTION_SEED,    /* 0..2^64-1 */
    TT_OPTION_CHOICE,  /* one of choices() */
    TT_OPTION_NAME,    /* one of choices(), or another name that the engine understands */
    TT_OPTION_SWITCH,  /* a flag without a value; true or false elsewhere */
    TT_OPTION_LIST,    /* a JSON array; a flag adds one entry, or brings an array as JSON */
    TT_OPTION_PICTURE, /* a flag: a file; a job: base64, a data URI, an https URL */
    TT_OPTION_SIDES, /* "left,top,right,bottom", or an array or object of them; minimum..maximum each */
    TT_OPTION_UNUSED, /* a setting that goes with one: any value is accepted and told as unused; job only */
} tt_option_type;

/* The commands that take a row's flag; a set of bits. */
enum { TT_FOR_RUN = 1, TT_FOR_WORKER = 2 /* serve and worker */, TT_FOR_DEV = 4 };

enum { TT_OPTION_ALIASES = 5 };

/* Static strings; NULL where a row has no such thing. */
typedef struct tt_option {
    tt_option_id id;
    const char *field;                            /* its name in a job; NULL: not chosen per job */
    const char *field_aliases[TT_OPTION_ALIASES]; /* other accepted names, NULL-terminated */
    const char *flag; /* "--steps"; NULL: in a job only, or, for secrets, in the environment only */
    const char *flag_aliases[TT_OPTION_ALIASES]; /* NULL-terminated */
    const char *environment;                     /* "TINTYPE_STEPS" */
    const char *value_name;                      /* "N" in "--steps N"; NULL for a switch */
    tt_option_type type;
    int commands; /* TT_FOR_*; 0: TT_FOR_RUN */
    double minimum, maximum;
    int multiple_of;
    const char *const *(*choices)(void); /* NULL-terminated */
    const char *fixed_default; /* the value when nobody says anything, as a flag would spell it */
    const char *default_text; /* in words, where there is no fixed default or it needs explaining */
    const char *items;        /* LIST: the JSON schema of an entry */
    bool is_common;           /* in the short help, too */
    const char *help;         /* complete sentences */
    const char *example;      /* a value, as a flag would spell it */
} tt_option;

const tt_option *tt_option_get(tt_option_id id);
const char *tt_option_group(tt_option_id id); /* the title of its group in the help */

/* True when one of the commands (TT_FOR_*) takes the row's flag or environment variable. */
bool tt_option_is_for(tt_option_id id, int commands);

/* The row whose field or field alias is `name`; false when there is none. *spelling gets the
 * table's own copy. */
bool tt_option_find_field(const char *name, tt_option_id *id, const char **spelling);
/* The same for a flag: the `length` bytes at `name`, dashes included. */
bool tt_option_find_flag(const char *name, size_t length, tt_option_id *id, const char **spelling);

/* The known field, or flag of the commands, most like `name`; NULL when nothing is near. Static. */
const char *tt_option_nearest_field(const char *name);
const char *tt_option_nearest_flag(const char *name, int commands);

#endif
