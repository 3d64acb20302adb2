/* See flags.h. One table: reading, help and suggestions follow it. */
#include "worker/flags.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/nearest.h"

typedef enum kind { SWITCH, NUMBER, TEXT } kind;

typedef struct row {
    const char *name;
    kind kind;
    size_t offset;  /* of the member of tt_flags */
    int least, max; /* of a NUMBER */
    const char *value, *help;
} row;

enum { MAX_PORT = 65535, MAX_NAME_BYTES = 32 };

static const row ROWS[] = {
    {"--test_input", TEXT, offsetof(tt_flags, test_input), 0, 0, "JSON",
     "run this job, {\"input\": ...}, and end; without it and without a platform: test_input.json"},
    {"--test_output", TEXT, offsetof(tt_flags, test_output), 0, 0, "FILE",
     "write the test job's whole result there"},
    {"--rp_serve_api", SWITCH, offsetof(tt_flags, serve_api), 0, 0, "",
     "serve the endpoint API on this machine"},
    {"--rp_api_host", TEXT, offsetof(tt_flags, api_host), 0, 0, "HOST",
     "where to listen (localhost; 0.0.0.0 for every address)"},
    {"--rp_api_port", NUMBER, offsetof(tt_flags, api_port), 0, MAX_PORT, "N",
     "(8000; 0: any free one)"},
    {"--rp_api_concurrency", NUMBER, offsetof(tt_flags, api_concurrency), 1, TT_MAX_CONCURRENCY,
     "N", "jobs at once (the worker's own number)"},
    {"--rp_log_level", TEXT, offsetof(tt_flags, log_level), 0, 0, "LEVEL",
     "ERROR, WARN, INFO, DEBUG or TRACE; NOTSET: silence"},
    {"--rp_debugger", SWITCH, offsetof(tt_flags, debugger), 0, 0, "", "accepted, and adds nothing"},
    {"--no-isolation", SWITCH, offsetof(tt_flags, no_isolation), 0, 0, "",
     "run handlers in the worker's own process, for debuggers"},
    {"--help", SWITCH, offsetof(tt_flags, help), 0, 0, "", "this text"},
};
enum { N_ROWS = sizeof ROWS / sizeof ROWS[0] };

static tt_status unknown(const char *argument, size_t length, tt_err *err) {
    char name[MAX_NAME_BYTES + 1] = "";
    memcpy(name, argument, length < MAX_NAME_BYTES ? length : MAX_NAME_BYTES);
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < N_ROWS; i++) tt_nearest_offer(&nearest, ROWS[i].name);
    if (name[0] != '-') return tt_fail(err, TT_E_INVALID, "unexpected argument \"%s\"", name);
    if (!nearest.best)
        return tt_fail(err, TT_E_INVALID, "unknown flag %s; --help lists the known", name);
    return tt_fail(err, TT_E_INVALID, "unknown flag %s, did you mean %s?", name, nearest.best);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static tt_status set_number(const row *r, const char *text, int *out, tt_err *err) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < r->least || n > r->max)
        return tt_fail(err, TT_E_INVALID, "%s: expected a number from %d to %d, found \"%.80s\"",
                       r->name, r->least, r->max, text);
    *out = (int)n;
    return TT_OK;
}

static tt_status set(const row *r, const char *value, tt_flags *out, tt_err *err) {
    void *member = (char *)out + r->offset;
    if (r->kind == NUMBER) return set_number(r, value, member, err);
    if (r->kind == TEXT)
        *(const char **)member = value;
    else
        *(bool *)member = true;
    return TT_OK;
}

static const row *find(const char *argument, size_t length) {
    for (int i = 0; i < N_ROWS; i++)
        if (strlen(ROWS[i].name) == length && memcmp(ROWS[i].name, argument, length) == 0)
            return &ROWS[i];
    return NULL;
}

static tt_status read_argument(int argc, char **argv, int *i, bool ignores_unknown, tt_flags *out,
                               tt_err *err) {
    const char *argument = argv[*i];
    size_t length = strcspn(argument, "=");
    const row *r = find(argument, length);
    if (!r) return ignores_unknown ? TT_OK : unknown(argument, length, err);
    const char *value = argument[length] == '=' ? argument + length + 1 : NULL;
    if (r->kind == SWITCH && value) return tt_fail(err, TT_E_INVALID, "%s takes no value", r->name);
    if (r->kind != SWITCH && !value) {
        if (*i + 1 >= argc)
            return tt_fail(err, TT_E_INVALID, "%s: expected %s after it", r->name, r->value);
        value = argv[++*i];
    }
    return set(r, value, out, err);
}

tt_status tt_flags_read(int argc, char **argv, bool ignores_unknown, tt_flags *out, tt_err *err) {
    *out = (tt_flags){.api_port = -1};
    for (int i = 1; i < argc; i++) TT_TRY(read_argument(argc, argv, &i, ignores_unknown, out, err));
    return TT_OK;
}

tt_status tt_flags_help(const char *program, tt_buf *out, tt_err *err) {
    enum { COLUMN = 28 };
    TT_TRY(tt_buf_printf(out, err,
                         "usage: %s [flags]\n\n"
                         "A worker. With RUNPOD_WEBHOOK_GET_JOB in the environment it works for "
                         "the platform.\n\n",
                         program));
    for (int i = 0; i < N_ROWS; i++) {
        const row *r = &ROWS[i];
        int gap = COLUMN - (int)strlen(r->name) - 1;
        TT_TRY(tt_buf_printf(out, err, "  %s %-*s%s\n", r->name, gap, r->value, r->help));
    }
    return TT_OK;
}
