/* Options: serving jobs, and writing a handler. */
#include "app/options_parts.h"

enum { MAX_PORT = 65535 };
/* What the SDK accepts as handlers at once (runpod.md 2.1); one engine serves them in turn. */
enum { MAX_CONCURRENCY = 1000 };
/* Waiting jobs: more than a day of pictures for anyone. */
enum { MAX_QUEUE = 100000 };

static const tt_option SERVE[] = {
    {
        .id = TT_OPT_SERVE_API,
        .flag = "--rp_serve_api",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_SERVE_API",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Serves the endpoint API on this machine; \"tintype serve\" implies it.",
        .example = "true",
    },
    {
        .id = TT_OPT_HOST,
        .flag = "--host",
        .flag_aliases = {"--rp_api_host"},
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_HOST",
        .value_name = "ADDRESS",
        .type = TT_OPTION_STRING,
        .fixed_default = "localhost",
        .help = "Where to listen. 0.0.0.0 is every address of the machine, as a container "
                "needs it: set TINTYPE_API_KEY then.",
        .example = "0.0.0.0",
    },
    {
        .id = TT_OPT_PORT,
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
        .help = "Port to listen on.",
        .example = "8000",
    },
    {
        .id = TT_OPT_CONCURRENCY,
        .flag = "--rp_api_concurrency",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_CONCURRENCY",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .minimum = 1,
        .maximum = MAX_CONCURRENCY,
        .fixed_default = "1",
        .help = "Accepted as RunPod's workers do, and without effect: one model makes one "
                "picture at a time, the other jobs wait.",
        .example = "1",
    },
    {
        .id = TT_OPT_QUEUE_LIMIT,
        .flag = "--queue-limit",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_QUEUE_LIMIT",
        .value_name = "N",
        .type = TT_OPTION_INTEGER,
        .minimum = 1,
        .maximum = MAX_QUEUE,
        .default_text = "the server's own limit",
        .help = "Jobs that may wait; more are refused with status 429.",
        .example = "100",
    },
    {
        .id = TT_OPT_API_KEY,
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_API_KEY",
        .type = TT_OPTION_STRING,
        .default_text = "none: nobody is asked",
        .help = "The key that clients must send as Authorization: Bearer KEY. There is no flag "
                "for it: flags can be read by everybody on the machine.",
        .example = "a-long-random-text",
    },
    {
        .id = TT_OPT_CORS_ORIGIN,
        .flag = "--cors-origin",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_CORS_ORIGIN",
        .value_name = "ORIGIN",
        .type = TT_OPTION_STRING,
        .default_text = "none: other pages may not",
        .help = "The web page that may call the API from a browser, or * for any.",
        .example = "https://example.org",
    },
    {
        .id = TT_OPT_WEBHOOK_SECRET,
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_WEBHOOK_SECRET",
        .type = TT_OPTION_STRING,
        .default_text = "none: webhooks are not signed",
        .help = "What webhooks are signed with, whsec_ and base64 (Standard Webhooks). There is "
                "no flag for it.",
        .example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    },
    {
        .id = TT_OPT_PRIVATE_WEBHOOKS,
        .flag = "--allow-private-webhooks",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_ALLOW_PRIVATE_WEBHOOKS",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Lets webhooks go to addresses of this machine and its private network.",
        .example = "true",
    },
    {
        .id = TT_OPT_LOG_LEVEL,
        .flag = "--log-level",
        .flag_aliases = {"--rp_log_level"},
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_LOG_LEVEL",
        .value_name = "NAME",
        .type = TT_OPTION_STRING,
        .default_text = "RUNPOD_LOG_LEVEL, else info",
        .help = "How much is told: error, warn, info, debug, trace, or notset for silence.",
        .example = "debug",
    },
    {
        .id = TT_OPT_NO_ISOLATION,
        .flag = "--no-isolation",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_NO_ISOLATION",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Runs jobs in the worker's own process, for debuggers: a crash then ends it.",
        .example = "true",
    },
    {
        .id = TT_OPT_DEBUGGER,
        .flag = "--rp_debugger",
        .commands = TT_FOR_WORKER,
        .environment = "TINTYPE_DEBUGGER",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Accepted as RunPod's workers do; it adds nothing, since every answer has its "
                "timings.",
        .example = "true",
    },
};

const tt__option_group tt__serve_options = {"Serving", SERVE, sizeof SERVE / sizeof *SERVE};

static const tt_option DEV[] = {
    {
        .id = TT_OPT_ONCE,
        .flag = "--once",
        .commands = TT_FOR_DEV,
        .environment = "TINTYPE_ONCE",
        .type = TT_OPTION_SWITCH,
        .fixed_default = "false",
        .help = "Compiles and runs once, and ends with the run's exit status.",
        .example = "true",
    },
    {
        .id = TT_OPT_SDK,
        .flag = "--sdk",
        .commands = TT_FOR_DEV,
        .environment = "TINTYPE_SDK",
        .value_name = "FOLDER",
        .type = TT_OPTION_STRING,
        .default_text = "where the program itself lies: a build tree, or lib/ and include/ "
                        "beside its bin/",
        .help = "Where the SDK's library and headers are.",
        .example = "/usr/local",
    },
};

const tt__option_group tt__dev_options = {"Writing a handler", DEV, sizeof DEV / sizeof *DEV};
