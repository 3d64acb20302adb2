/* `tintype help`, `tintype run --help` and `tintype schema`; see run.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/help.h"
#include "app/options.h"
#include "cmd/run.h"

enum { MAX_TEXT_BYTES = 1024 * 1024 };

int tt__print(const char *text, unsigned long size) {
    errno = 0;
    if (fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0) return TT_EXIT_OK;
    fprintf(stderr, "tintype: cannot write to standard output: %s\n", strerror(errno));
    return TT_EXIT_FAILED;
}

static int print_made(const char *before, tt_status (*make)(tt_buf *, tt_err *)) {
    tt_buf text;
    tt_err err;
    int code = TT_EXIT_FAILED;
    tt_buf_init(&text, MAX_TEXT_BYTES);
    tt_status status = tt_buf_puts(&text, before, &err);
    if (status == TT_OK) status = make(&text, &err);
    if (status == TT_OK)
        code = tt__print(text.data, text.size);
    else
        fprintf(stderr, "tintype: %s\n", err.message);
    tt_buf_release(&text);
    return code;
}

static tt_status run_options(tt_buf *out, tt_err *err) {
    TT_TRY(tt_help_options(TT_FOR_RUN, TT_HELP_SHORT, out, err));
    return tt_buf_puts(out,
                       "\ntintype run --help all: every option, its limits, its names in a job and "
                       "in the environment,\nand an example of each.\n",
                       err);
}

static tt_status all_run_options(tt_buf *out, tt_err *err) {
    return tt_help_options(TT_FOR_RUN, TT_HELP_ALL, out, err);
}

int tt__run_help(bool is_all) {
    static const char intro[] =
        "tintype run: makes pictures from a prompt, or from a job in a JSON file.\n"
        "\n"
        "  tintype run --prompt \"a lighthouse on the sea at sunset\" --seed 5 --out boat.png\n"
        "  tintype run                                 the job in ./test_input.json\n"
        "  tintype run --prompt \"...\" --lora old-photo.safetensors:0.8 --image photo.jpg "
        "--strength 0.6\n"
        "  tintype run --input job.json --json         the job's result as JSON on standard "
        "output\n"
        "\n"
        "A flag beats the same field of the job, which beats the environment variable.\n"
        "Exit codes: 0 done, 1 failed while working, 2 the flags or the job make no sense, 130 "
        "cancelled.\n";
    return print_made(intro, is_all ? all_run_options : run_options);
}

static tt_status worker_options(tt_buf *out, tt_err *err) {
    return tt_help_options(TT_FOR_WORKER, TT_HELP_ALL, out, err);
}

int tt__serve_help(bool is_all) {
    (void)is_all;
    static const char intro[] =
        "tintype serve: RunPod's endpoint API on this machine, with a page to try it.\n"
        "\n"
        "  tintype serve                               http://localhost:8000\n"
        "  TINTYPE_API_KEY=... tintype serve --host 0.0.0.0 --port 80 --model "
        "sd_xl_base_1.0.safetensors\n"
        "  curl -d '{\"input\": {\"prompt\": \"a red boat\"}}' localhost:8000/runsync\n"
        "\n"
        "Fields of a job: \"tintype schema\". A field that a job leaves out is taken from its "
        "environment\nvariable (\"tintype run --help all\"), else from the model.\n";
    return print_made(intro, worker_options);
}

int tt__worker_help(bool is_all) {
    (void)is_all;
    static const char intro[] =
        "tintype worker: makes the pictures that a RunPod endpoint is asked for.\n"
        "\n"
        "With RUNPOD_WEBHOOK_GET_JOB set, as on RunPod, jobs come from the platform; with\n"
        "--rp_serve_api, from the endpoint API on this machine; otherwise it runs one test job, "
        "from\n--test_input or test_input.json. \"tintype\" alone does the same where one of "
        "these asks for it.\n";
    return print_made(intro, worker_options);
}

static tt_status dev_options(tt_buf *out, tt_err *err) {
    return tt_help_options(TT_FOR_DEV, TT_HELP_ALL, out, err);
}

int tt__dev_help(bool is_all) {
    (void)is_all;
    static const char intro[] =
        "tintype dev: for the author of a handler in C (tintype/worker.h). Compiles it, runs the "
        "job in\nthe test_input.json beside it, and does so again whenever a file there is saved.\n"
        "\n"
        "  tintype dev handler.c [more.c ...]          until Ctrl-C\n"
        "  tintype dev handler.c --once                once, with the run's exit status\n"
        "\n"
        "CC and CFLAGS are used as make does.\n";
    return print_made(intro, dev_options);
}

int tt__schema(void) {
    return print_made("", tt_help_schema);
}

int tt__help(void) {
    static const char text[] =
        "Tintype makes SDXL pictures.\n"
        "\n"
        "Pictures\n"
        "  tintype run        one job to picture files\n"
        "  tintype serve      RunPod's endpoint API on this machine, with a page to try it\n"
        "  tintype worker     jobs from RunPod's platform\n"
        "  tintype schema     the JSON schema of a job\n"
        "\n"
        "Models\n"
        "  tintype pull       fetches from CivitAI, Hugging Face, S3 or any URL\n"
        "  tintype models     those that are here; show tells all of one\n"
        "  tintype rm         takes away; pin and unpin say what stays, gc makes room\n"
        "  tintype verify     compares models with their digests\n"
        "  tintype backup     their names and sources as one file; restore reads it\n"
        "  tintype presets    settings under a name, from tintype.json: lists and checks them\n"
        "\n"
        "Further\n"
        "  tintype bench      what this machine makes of a model, and where the time goes\n"
        "  tintype dev        compiles and runs a handler in C whenever it is saved\n"
        "  tintype version    the version\n"
        "  tintype help       this text; \"tintype help serve\" tells every option of serve\n"
        "\n"
        "Without a command, tintype is a worker where RUNPOD_WEBHOOK_GET_JOB, RUNPOD_REALTIME_PORT "
        "or\n--rp_serve_api says so, and otherwise does what run does.\n"
        "\n"
        "  tintype run --prompt \"a lighthouse on the sea at sunset\"\n"
        "  tintype run --model sd_xl_base_1.0.safetensors --prompt \"...\" --count 4 --out "
        "boats.webp\n"
        "  tintype pull civitai:128078\n"
        "  tintype serve --port 8000\n";
    return tt__print(text, sizeof text - 1);
}
