/* The arguments that every worker understands: the reference SDK's (runpod.md 2.1) and ours. */
#ifndef TT_WORKER_FLAGS_H
#define TT_WORKER_FLAGS_H

#include <stdbool.h>

#include "base/buf.h"

typedef struct tt_flags { /* texts are borrowed from argv; NULL: not given */
    const char *log_level;
    bool debugger, serve_api, no_isolation, help;
    int api_port;        /* 0: any free one; -1: not given */
    int api_concurrency; /* 0: not given */
    const char *api_host, *test_input, *test_output;
} tt_flags;

/* "--flag value", "--flag=value", switches alone. TT_E_INVALID: a flag that is not known, with the nearest that is, or a value
 * that cannot be meant. ignores_unknown: others' arguments are skipped without a word. */
tt_status tt_flags_read(int argc, char **argv, bool ignores_unknown, tt_flags *out, tt_err *err);

/* Appends the text of --help. */
tt_status tt_flags_help(const char *program, tt_buf *out, tt_err *err);

#endif
