/* Serve mode: RunPod's endpoint API on this machine, over a queue in memory, with this worker behind it. */
#ifndef TT_WORKER_SERVE_H
#define TT_WORKER_SERVE_H

#include "worker/pool.h"

typedef struct tt_serve_options {
    tt_pool_options pool; /* what it points to is borrowed */
    bool is_isolated;
    const char *host;
    int port;                   /* 0: any free one */
    int concurrency;            /* 0: the configuration's */
    const char *key;            /* "": none asked for */
    const char *cors_origin;    /* "": no CORS headers */
    const char *webhook_secret; /* "": webhooks are not signed */
    bool allows_private_webhooks;
    int64_t max_waiting;   /* jobs in the queue; 0: the queue's default */
    const char *worker_id; /* shown in results */
    const char *greeting;  /* logged first: "Starting API server." */
} tt_serve_options;

/* The exit status: 0, or 1 for a server that could not start and a worker that is not fit. */
int tt_serve_run(const tt_serve_options *options);

#endif
