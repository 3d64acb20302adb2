/* See state.h. The moves are a table: row from, column to. */
#include "job/state.h"

#include <stddef.h>

enum { N_STATES = TT_JOB_TIMED_OUT + 1 };

static const char *const NAMES[N_STATES] = {
    [TT_JOB_IN_QUEUE] = "IN_QUEUE",   [TT_JOB_IN_PROGRESS] = "IN_PROGRESS",
    [TT_JOB_COMPLETED] = "COMPLETED", [TT_JOB_FAILED] = "FAILED",
    [TT_JOB_CANCELLED] = "CANCELLED", [TT_JOB_TIMED_OUT] = "TIMED_OUT",
};

static const bool MAY_BECOME[N_STATES][N_STATES] = {
    [TT_JOB_IN_QUEUE] = {[TT_JOB_IN_PROGRESS] = true,
                         [TT_JOB_CANCELLED] = true,
                         [TT_JOB_TIMED_OUT] = true}, /* its ttl */
    [TT_JOB_IN_PROGRESS] = {[TT_JOB_IN_QUEUE] = true,
                            [TT_JOB_COMPLETED] = true,
                            [TT_JOB_FAILED] = true,
                            [TT_JOB_CANCELLED] = true,
                            [TT_JOB_TIMED_OUT] = true},
    [TT_JOB_FAILED] = {[TT_JOB_IN_QUEUE] = true},
    [TT_JOB_TIMED_OUT] = {[TT_JOB_IN_QUEUE] = true},
};

static bool is_known(tt_job_state state) {
    return (size_t)state < N_STATES;
}

const char *tt_job_state_name(tt_job_state state) {
    return is_known(state) ? NAMES[state] : "UNKNOWN";
}

bool tt_job_state_is_final(tt_job_state state) {
    return is_known(state) && state >= TT_JOB_COMPLETED;
}

bool tt_job_state_may_become(tt_job_state from, tt_job_state to) {
    return is_known(from) && is_known(to) && MAY_BECOME[from][to];
}
