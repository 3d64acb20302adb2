/* What the surroundings say to a worker: RunPod's variables (runpod.md 1.1), read once into a struct. The only place that
 * knows their names. Odd values are taken as a person means them: GET_JOB with $RUNPOD_POD_ID inside, a missing
 * RUNPOD_POD_ID (HOSTNAME, then a random UUID), an interval below a second (1 s), the stale RUNPOD_WEBHOOK_JOB_STREAM. */
#ifndef TT_WORKER_ENVIRONMENT_H
#define TT_WORKER_ENVIRONMENT_H

#include "base/log.h"

typedef const char *(*tt_lookup_fn)(void *context,
                                    const char *name); /* getenv, or a test's table */

typedef struct tt_environment { /* strings are owned by the struct; "" when not set, never NULL */
    char *get_job_url, *post_output_url, *post_stream_url, *ping_url; /* templates */
    char *api_key; /* raw value of Authorization; never logged */
    char *worker_id, *hostname, *endpoint_id;
    char *user_agent; /* "Tintype/0.1.0 (Linux ...; x86_64) RunPod-compatible" */
    int64_t ping_interval_ms;
    tt_log_level log_level;
    bool logs_json;           /* RUNPOD_ENDPOINT_ID is set */
    bool has_pod_id;          /* RUNPOD_POD_ID itself was set */
    int64_t max_output_bytes; /* of one result's body; beyond it a small error is sent instead */
    char *
        spool_folder; /* results that could not be delivered yet; "": a folder under the system's temporary one */
    bool skips_system_checks;
    double min_memory_gb, min_disk_percent;
    bool checks_network; /* off unless asked for */
    /* Storage for results that are too large (BUCKET_*). */
    char *bucket_url, *bucket_key_id, *bucket_secret;
} tt_environment;

/* TT_E_INVALID: a variable whose value cannot be meant; the sentence names it. Release it also after a failure. */
tt_status tt_environment_read(tt_lookup_fn lookup, void *context, tt_environment *out, tt_err *err);
void tt_environment_release(tt_environment *e);

#endif
