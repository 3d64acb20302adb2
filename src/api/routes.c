/* See routes.h. */
#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"

#define JSON "application/json"
#define HTML "text/html"

#define EXAMPLE_ID "\"0b6e2a1c-3f5d-4f0e-9a57-2d1c8e4b7a90-u1\""
#define EXAMPLE_DONE                                                                             \
    "{\"id\": " EXAMPLE_ID ", \"status\": \"COMPLETED\", \"delayTime\": 12, \"executionTime\": " \
    "3470, \"retries\": 0, \"workerId\": \"local\", \"output\": {\"image\": \"iVBORw0...\"}}"

const tt__route tt__routes[TT__N_ROUTES] = {
    {TT__TAKES_POST, "/run", true, TT__KEYED, tt__handle_run, "Submit a job and return at once",
     "The answer is the job's id; ask /status/{id} for its result, follow /events/{id}, or name a "
     "webhook.",
     "", JSON, "Accepted", "{\"id\": " EXAMPLE_ID ", \"status\": \"IN_QUEUE\"}", "400 413 429 503",
     TT_MAX_RUN_BYTES},
    {TT__TAKES_POST, "/runsync", true, TT__KEYED, tt__handle_runsync,
     "Submit a job and wait for its result",
     "When the wait is over first, the answer is {\"id\", \"status\"} and the job goes on: ask "
     "/status/{id}. "
     "A client that closes its connection cancels the job.",
     "wait", JSON, "Result", EXAMPLE_DONE, "400 413 429 503", TT_MAX_RUNSYNC_BYTES},
    {TT__TAKES_GET | TT__TAKES_POST, "/status/{id}", true, TT__KEYED, tt__handle_status,
     "A job's state, and its result once it has ended",
     "While a job runs, output is the newest progress that its handler reported.", "ttl", JSON,
     "Result", EXAMPLE_DONE, "400 404 503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET | TT__TAKES_POST, "/status-sync/{id}", true, TT__KEYED, tt__handle_status_sync,
     "The same, but wait until the job has ended", "A client that leaves changes nothing.", "wait",
     JSON, "Result", EXAMPLE_DONE, "400 404 503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET | TT__TAKES_POST, "/stream/{id}", true, TT__KEYED, tt__handle_stream,
     "The chunks a streaming handler sent since the last call",
     "Each chunk is given once. The end: a final status with an empty stream. With wait, the "
     "answer comes as soon as "
     "there is a chunk or the job has ended.",
     "wait", JSON, "Stream",
     "{\"id\": " EXAMPLE_ID ", \"status\": \"IN_PROGRESS\", \"stream\": [{\"output\": 1}, "
     "{\"output\": 2}]}",
     "400 404 503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_POST, "/cancel/{id}", true, TT__KEYED, tt__handle_cancel, "Stop a job",
     "A waiting job is removed, a running one is told to stop. A job that had ended keeps its "
     "status, which is the "
     "answer.",
     "", JSON, "Accepted", "{\"id\": " EXAMPLE_ID ", \"status\": \"CANCELLED\"}", "404 503",
     TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_POST, "/retry/{id}", true, TT__KEYED, tt__handle_retry,
     "Run a FAILED or TIMED_OUT job again", "It keeps its id and loses its previous output.", "",
     JSON, "Accepted", "{\"id\": " EXAMPLE_ID ", \"status\": \"IN_QUEUE\"}", "404 409 503",
     TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_POST, "/purge-queue", true, TT__KEYED, tt__handle_purge, "Remove every waiting job",
     "Running jobs are not touched.", "", JSON, "Purged",
     "{\"removed\": 2, \"status\": \"completed\"}", "503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/health", true, TT__OPEN, tt__handle_health, "Counts of jobs and workers", "",
     "", JSON, "Health",
     "{\"jobs\": {\"completed\": 12, \"failed\": 0, \"inProgress\": 1, \"inQueue\": 3, "
     "\"retried\": "
     "0}, "
     "\"workers\": {\"idle\": 0, \"initializing\": 0, \"ready\": 1, \"running\": 1, \"throttled\": "
     "0, \"unhealthy\": 0}}",
     "", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/requests", true, TT__KEYED, tt__handle_requests,
     "The newest jobs, without their output", "At most 100, the newest first.", "", JSON,
     "Requests",
     "{\"requests\": [{\"id\": " EXAMPLE_ID
     ", \"status\": \"IN_QUEUE\", \"delayTime\": 5, \"retries\": 0}]}",
     "503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/events/{id}", true, TT__KEYED, tt__handle_events,
     "Follow a job: server-sent events",
     "Events: status (state and times), progress (what the handler reported, numbered by id:), "
     "stream ({\"waiting\": "
     "n} chunks for /stream), end (state, times, error; the output is at /status/{id}). "
     "Last-Event-ID resumes.",
     "", "text/event-stream", "", "event: progress\nid: 7\ndata: {\"step\": 7, \"steps\": 24}\n\n",
     "404 503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/", false, TT__OPEN, tt__handle_playground, "Playground", "", "", HTML, "", "",
     "", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/docs", false, TT__OPEN, tt__handle_docs, "This documentation as a page", "",
     "", HTML, "", "", "", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/openapi.json", false, TT__OPEN, tt__handle_openapi,
     "This documentation as OpenAPI 3.1", "", "", JSON, "", "", "", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/metrics", false, TT__KEYED, tt__handle_metrics, "Numbers for Prometheus",
     "OpenMetrics when Accept asks for application/openmetrics-text, else Prometheus' text format.",
     "", "text/plain", "", "", "503", TT_MAX_OTHER_BODY_BYTES},
    {TT__TAKES_GET, "/ready", false, TT__OPEN, tt__handle_ready,
     "200 when jobs can run now, 503 with the reason when not", "", "", JSON, "Ready",
     "{\"ready\": true}", "503", TT_MAX_OTHER_BODY_BYTES},
};

static const struct {
    const char *name, *text;
} params[] = {
    {"wait", "Milliseconds to wait, from 1000 to 300000 (values outside are moved to the nearest). "
             "Default: 90000 "
             "for /runsync and /status-sync, no wait for /stream."},
    {"ttl",
     "Changes how long the job may live, in milliseconds from its submission: 10000 to 604800000."},
};

const char *tt__param_text(const char *name, size_t name_size) {
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        if (strlen(params[i].name) == name_size && memcmp(params[i].name, name, name_size) == 0)
            return params[i].text;
    return NULL;
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

/* Past "/v2/{endpoint}" when more follows; NULL when the path is not below it. */
static const char *below_endpoint(const char *path) {
    if (strncmp(path, "/v2/", 4) != 0) return NULL;
    const char *slash = strchr(path + 4, '/');
    return slash && slash > path + 4 ? slash : NULL;
}

static bool fits(const char *pattern, const char *path, char id[TT_JOB_ID_BYTES]) {
    const char *hole = strchr(pattern, '{');
    id[0] = '\0';
    if (!hole) return strcmp(pattern, path) == 0;
    size_t prefix = (size_t)(hole - pattern);
    if (strncmp(pattern, path, prefix) != 0) return false;
    const char *value = path + prefix;
    if (!value[0] || strchr(value, '/')) return false;
    if (strlen(value) < TT_JOB_ID_BYTES) /* else it names no job: "" is found nowhere either */
        snprintf(id, TT_JOB_ID_BYTES, "%s", value);
    return true;
}

const tt__route *tt__route_find(const char *path, char id[TT_JOB_ID_BYTES]) {
    const char *below = below_endpoint(path);
    for (int i = 0; i < TT__N_ROUTES; i++) {
        const tt__route *route = &tt__routes[i];
        if (fits(route->path, path, id)) return route;
        if (below && route->is_runpod && fits(route->path, below, id)) return route;
    }
    id[0] = '\0';
    return NULL;
}

bool tt__route_takes(const tt__route *route, tt__method method) {
    if (method == TT__POST) return route->methods & TT__TAKES_POST;
    if (method == TT__GET || method == TT__HEAD) return route->methods & TT__TAKES_GET;
    return method == TT__OPTIONS;
}

const char *tt__route_allow(const tt__route *route) {
    static const char *const names[] = {"OPTIONS", "GET, HEAD, OPTIONS", "POST, OPTIONS",
                                        "GET, HEAD, POST, OPTIONS"};
    return names[route->methods & (TT__TAKES_GET | TT__TAKES_POST)];
}

static const char *const method_names[TT__N_METHODS] = {"GET", "POST", "HEAD", "OPTIONS", "other"};

tt__method tt__method_of(const char *name) {
    for (int i = 0; i < TT__OTHER; i++)
        if (strcmp(method_names[i], name) == 0) return (tt__method)i;
    return TT__OTHER;
}

const char *tt__method_name(tt__method method) {
    return method_names[method];
}
