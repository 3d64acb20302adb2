/* What the surroundings say to a worker: RunPod's variables (runpod.md 1.1), read once into a struct. The only place that
 * knows their names. Odd values are taken as a person means them: spaces and line ends around a value, GET_JOB with
 * $RUNPOD_POD_ID inside, a missing RUNPOD_POD_ID (HOSTNAME, then a random UUID), an interval below a second (1 s), the stale
 * RUNPOD_WEBHOOK_JOB_STREAM, the reference's place-holders (PING_NOT_SET, JOB_DONE_URL, JOB_STREAM_URL: not set). */
#ifndef TT_WORKER_ENVIRONMENT_H
#define TT_WORKER_ENVIRONMENT_H

#include "base/log.h"

/* The release of the reference SDK whose protocol this worker speaks. Said in pings and error reports as runpod_version: the
 * platform may choose what it offers by it (the stop channel came with 1.10.0). */
#define TT_RUNPOD_VERSION "1.12.0"

/* getenv, or a test's table */
typedef const char *(*tt_lookup_fn)(void *context, const char *name);

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
    char *spool_folder;       /* undelivered results (spool.h); "": none are kept on disk */
    bool skips_system_checks;
    double min_memory_gb, min_disk_percent;
    bool checks_network; /* off unless asked for */
    /* Storage for results that are too large (BUCKET_*); "" when not all three are set. */
    char *bucket_url, *bucket_key_id, *bucket_secret;
    char *bucket_name; /* BUCKET_NAME; "": the endpoint's URL names it */

    /* TINTYPE_DELIVERY_PATIENCE_MS: how long after its end a result is offered again and again. */
    int64_t delivery_patience_ms;
    /* For tests, which cannot wait as long as production must. TINTYPE_RETRY_BASE_MS: every pause after a failure is a
     * multiple of it. TINTYPE_POLL_TIMEOUT_MS: of one long poll (take, stop). */
    int64_t retry_base_ms, poll_timeout_ms;
} tt_environment;

/* TT_E_INVALID: a variable whose value cannot be meant; the sentence names it. Release it also after a failure. */
tt_status tt_environment_read(tt_lookup_fn lookup, void *context, tt_environment *out, tt_err *err);
void tt_environment_release(tt_environment *e);

#endif
