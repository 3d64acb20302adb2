/* `tintype help`, `tintype run --help` and `tintype schema`; see run.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/help.h"
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

int tt__run_help(void) {
    static const char intro[] =
        "tintype run: makes pictures from a prompt, or from a job in a JSON file.\n"
        "\n"
        "  tintype run --prompt \"a lighthouse on the sea at sunset\" --seed 5 --out boat.png\n"
        "  tintype run                                 the job in ./test_input.json\n"
        "  tintype run --input job.json --json         the job's result as JSON on standard "
        "output\n"
        "\n"
        "A flag beats the same field of the job, which beats the environment variable.\n"
        "Exit codes: 0 done, 1 failed while working, 2 the flags or the job make no sense, 130 "
        "cancelled.\n";
    return print_made(intro, tt_help_options);
}

int tt__schema(void) {
    return print_made("", tt_help_schema);
}

int tt__help(void) {
    static const char text[] =
        "Tintype makes SDXL pictures.\n"
        "\n"
        "  tintype run        one job to picture files; \"tintype run --help\" tells every option\n"
        "  tintype schema     the JSON schema of a job\n"
        "  tintype version    the version\n"
        "  tintype help       this text\n"
        "\n"
        "Without a command, tintype does what run does.\n"
        "\n"
        "  tintype run --prompt \"a lighthouse on the sea at sunset\"\n"
        "  tintype run --model sd_xl_base_1.0.safetensors --prompt \"...\" --count 4 --out "
        "boats.webp\n";
    return tt__print(text, sizeof text - 1);
}
