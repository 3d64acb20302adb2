/* The queue in memory: one mutex, a hash table by id, a list in order of arrival. Everything is gone with the process. */
#ifndef TT_JOB_QUEUE_MEMORY_H
#define TT_JOB_QUEUE_MEMORY_H

#include "job/queue.h"

typedef struct tt_queue_memory_options {
    int64_t max_waiting; /* jobs in the queue; 0: 10,000 */
    /* all jobs' text, output, chunks; ended jobs are forgotten early, oldest first, before a submission is refused; 0: 1 GiB */
    int64_t max_stored_bytes;
    int64_t retention_ms; /* of ended jobs; 0: TT_JOB_DEFAULT_RETENTION_MS */
} tt_queue_memory_options;

tt_status tt_queue_memory_new(const tt_queue_memory_options *options, tt_queue **out, tt_err *err);

#endif
