/* The states of a job and the legal moves between them (runpod.md 4.3).
 *
 *     IN_QUEUE --claim--> IN_PROGRESS --finish--> COMPLETED | FAILED
 *        ^  |                |  |  '--deadline--> TIMED_OUT
 *        |  '----cancel------|--'--cancel-------> CANCELLED
 *        |                   |
 *        '---release---------'      FAILED, TIMED_OUT --retry--> IN_QUEUE
 *
 * A waiting job whose ttl is over becomes TIMED_OUT as well. */
#ifndef TT_JOB_STATE_H
#define TT_JOB_STATE_H

#include <stdbool.h>

typedef enum tt_job_state {
    TT_JOB_IN_QUEUE,
    TT_JOB_IN_PROGRESS,
    TT_JOB_COMPLETED,
    TT_JOB_FAILED,
    TT_JOB_CANCELLED,
    TT_JOB_TIMED_OUT,
} tt_job_state;

const char *tt_job_state_name(tt_job_state state); /* "IN_QUEUE"; static */
bool tt_job_state_is_final(tt_job_state state);
bool tt_job_state_may_become(tt_job_state from, tt_job_state to);

#endif
