/* RunPod's client API (runpod.md 4) over a queue, with what a person needs around it: events, docs, playground, metrics.
 *
 *     POST /run  POST /runsync?wait=ms  GET|POST /status/{id}  /status-sync/{id}?wait=  /stream/{id}?wait=
 *     POST /cancel/{id}  /retry/{id}  /purge-queue   GET /health  GET /events/{id}  GET /requests
 *     each also below /v2/{any endpoint id}/
 *     GET /  (playground)  /docs  /openapi.json  /metrics  /ready
 *
 * Parked waits hold no thread. A /runsync whose client leaves cancels its job. tt_api_handle is the server's `handle`.
 * The API owns one thread (a tt_loop): deadlines of waits, events, webhooks, and the queue's sweep. */
#ifndef TT_API_API_H
#define TT_API_API_H

#include "job/queue.h"
#include "net/http_server.h"

typedef struct tt_api tt_api;

typedef struct tt_api_workers { /* of GET /health (runpod.md 4.4) */
    int idle, initializing, ready, running, throttled, unhealthy;
} tt_api_workers;

typedef struct tt_api_options {
    tt_queue *queue;             /* borrowed; the API listens to it */
    const tt_log *log;           /* borrowed */
    const char *title, *version; /* NULL: "Worker", Tintype's */
    /* JSON Schema of the whole job ({"properties": {"input": ...}}), or NULL: any object with an input. */
    const char *input_schema;
    /* NULL: no key asked for. "Bearer KEY" and the bare key are accepted, compared in constant time. /health, /ready, /,
     * /docs and /openapi.json stay open; /metrics needs the key. */
    const char *key;
    const char *cors_origin;      /* NULL: no CORS headers; "*" or one origin */
    const char *webhook_secret;   /* "whsec_<base64>"; NULL: webhooks are not signed */
    bool allows_private_webhooks; /* default off: the SSRF guard */
    int64_t webhook_retry_ms;     /* before the second try, doubled after; 0: 5 s */
    /* Of jobs whose policy does not say; 0: the queue's defaults. */
    int64_t execution_timeout_ms, ttl_ms;
    void *context;
    void (*workers)(void *context, tt_api_workers *out); /* any thread */
    tt_status (*metrics)(void *context, tt_buf *out,
                         tt_err *err); /* appends OpenMetrics families; may be NULL */
    bool (*is_ready)(void *context, char reason[256]); /* for /ready */
    /* False: new jobs are refused with 503, since nobody will run them; what waits goes on. NULL: always true. Any thread. */
    bool (*takes_jobs)(void *context);
} tt_api_options;

/* Strings are copied. TT_E_INVALID: a schema that is no JSON object, a malformed webhook secret, an empty key. */
tt_status tt_api_new(const tt_api_options *options, tt_api **out, tt_err *err);
/* After the server is closed and when nothing changes the queue any more (it tells us of every change), before the queue is
 * freed. NULL is fine. */
void tt_api_free(tt_api *api);
void tt_api_handle(void *api, tt_http_exchange *exchange);
/* For tt_http_server_options.max_body_bytes: 10 MB for /run, 20 MB for /runsync, little for the rest. */
size_t tt_api_max_body_bytes(void *api, const char *method, const char *path);
/* Answers everything that waits (503, or events' end), refuses what comes; before tt_http_server_close. Gives webhooks that
 * were not yet tried a few seconds for their first try. */
void tt_api_close(tt_api *api);

#endif
