/* Test mode: one job from --test_input or test_input.json, run here and now in this process, everything told on standard
 * output (runpod.md 2.2, Appendix B). Unlike the reference, results are JSON, streaming handlers really run, and mistakes in
 * the job's text are shown where they are. */
#ifndef TT_WORKER_DESK_H
#define TT_WORKER_DESK_H

#include "base/log.h"
#include "tintype/worker.h"

typedef struct tt_desk_options {
    const tt_worker_config *config; /* borrowed */
    const tt_log *log;              /* borrowed */
    const char *test_input;  /* the job's text; NULL: test_input.json in the current directory */
    const char *test_output; /* a file for the whole result; NULL: none */
    const char *worker_id, *hostname; /* borrowed; for error reports */
} tt_desk_options;

/* The exit status: 0, or 1 for a job that failed or could not be run. */
int tt_desk_run(const tt_desk_options *options);

#endif
