/* The worker SDK: write one function, test it with test_input.json, serve it on this machine, run it on RunPod.
 *
 *     #include <tintype/worker.h>
 *
 *     static void hello(const tt_job *job, tt_reply *reply, void *context) {
 *         (void)context;
 *         tt_reply_string(reply, "Hello, %s!", tt_job_string(job, "name", "World"));
 *     }
 *
 *     int main(int argc, char **argv) {
 *         return tt_worker_main(argc, argv, &(tt_worker_config){.handler = hello});
 *     }
 *
 * Which mode runs (runpod.md 2.1): --rp_serve_api serves the endpoint API here; else --test_input, or no
 * RUNPOD_WEBHOOK_GET_JOB in the environment, runs one test job; else jobs come from the platform.
 *
 * Processes: handlers run in a process of their own, forked when tt_worker_main is called, so that a handler that crashes
 * costs one job, reported as failed, and not the connection to the platform. Whatever is heavy (a model, a GPU) belongs into
 * `start`, which runs there. Threads: up to `concurrency` handlers at once, each on a thread of its own; none of them ever
 * delays taking jobs, heartbeats, progress, stop or delivery. */
#ifndef TINTYPE_WORKER_H
#define TINTYPE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tintype/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the job: constant while its handler runs -------------------------------------------------------------------- */

typedef struct tt_job tt_job;

const char *tt_job_id(const tt_job *job);
/* The raw JSON of "input" (any type), and of the whole job with every key that came. NUL-terminated, valid JSON. */
const char *tt_job_input(const tt_job *job, size_t *size_bytes);
const char *tt_job_text(const tt_job *job, size_t *size_bytes);
/* The raw JSON of one top-level key ("webhook", "s3Config"...), NUL-terminated; NULL when absent. */
const char *tt_job_member(const tt_job *job, const char *name);

/* One key of an input object. The fallback when it is absent, null or of another type. Strings live as long as the job. */
const char *tt_job_string(const tt_job *job, const char *key, const char *fallback);
double tt_job_number(const tt_job *job, const char *key, double fallback);
int64_t tt_job_integer(const tt_job *job, const char *key, int64_t fallback);
bool tt_job_bool(const tt_job *job, const char *key, bool fallback);
/* The raw JSON of one key of the input; NULL when absent. */
const char *tt_job_value(const tt_job *job, const char *key);

int tt_job_attempt(const tt_job *job);          /* 1: the first try that this worker knows of */
int64_t tt_job_remaining_ms(const tt_job *job); /* until its deadline; INT64_MAX: none known */
/* True once nobody wants the result: stopped by the platform, cancelled, past its deadline, or the worker must end. Poll it;
 * return soon afterwards. What is returned then goes nowhere. */
bool tt_job_is_cancelled(const tt_job *job);
/* Sleeps, but not longer than until the job is cancelled; false when it was. */
bool tt_job_sleep_ms(const tt_job *job, int64_t ms);
bool tt_job_is_local(const tt_job *job); /* test or serve mode: previews cost nothing there */

/* ---- the reply: used by the handler's thread, until it returns --------------------------------------------------- */

/* A handler that sets nothing answers null. Functions copy what they are given. JSON must be valid; if not, the job fails
 * and says so. Failures (memory, invalid JSON) are remembered and become the job's error: no need to check each call. */
typedef struct tt_reply tt_reply;

/* The output, as JSON of any type. Of an object, two top-level members are the reference's special ones and are taken out: a
 * true "error" is the job's error, a true "refresh_worker" does as tt_reply_refresh_worker; an empty object is no output. */
void tt_reply_json(tt_reply *reply, const char *json, size_t size_bytes);
void tt_reply_string(tt_reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The output in pieces of raw JSON text, for what is large: each piece goes out as it comes. Together they must be one JSON
 * value; they are not parsed again. */
void tt_reply_append(tt_reply *reply, const void *bytes, size_t size_bytes);
/* {"error": "..."}: the job is FAILED. With an output set as well, both are sent. */
void tt_reply_error(tt_reply *reply, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tt_reply_error_json(tt_reply *reply, const char *json, size_t size_bytes);
/* What the reference SDK sends for an exception: error_type, error_message, hostname, worker_id, version as JSON text. */
void tt_reply_exception(tt_reply *reply, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* One chunk of a stream, a JSON value; needs is_streaming. False once nobody wants more. An object with something in its
 * "error" is not sent: it ends the stream with that error. An output that is set as well goes out as the last chunk. */
bool tt_reply_stream(tt_reply *reply, const char *json, size_t size_bytes);
/* The latest state, a JSON value; clients see it as output while the job runs. Never blocks, never fails the job: when they
 * come faster than they can be sent, older ones are dropped. */
void tt_reply_progress(tt_reply *reply, const char *json, size_t size_bytes);
/* The worker is replaced after this job. */
void tt_reply_refresh_worker(tt_reply *reply);

/* ---- the worker -------------------------------------------------------------------------------------------------- */

typedef void (*tt_handler)(const tt_job *job, tt_reply *reply, void *context);

typedef struct tt_fitness_check {
    const char *name;
    /* TT_OK, or a sentence in err: the worker reports it to the platform and exits 1. */
    tt_status (*check)(void *context, tt_err *err);
} tt_fitness_check;

typedef struct tt_worker_config {
    tt_handler handler; /* required */
    void *context;      /* passed to everything below */

    int concurrency; /* jobs at once; 0: 1 */
    /* Asked before each take with the present number; 1..1000, anything else keeps it. Called on a thread of its own; may
     * change while jobs run: more start at once, fewer as they end. Overrides `concurrency` after the first call. */
    int (*concurrency_modifier)(void *context, int current);

    bool is_streaming;            /* the handler uses tt_reply_stream */
    bool return_aggregate_stream; /* the final answer repeats all chunks as a list */
    bool refresh_worker;          /* a new worker for each job */

    tt_status (*start)(
        void *context,
        tt_err *err); /* once per handler process, before the first job: load models here */
    /* On SIGHUP: read what may be read again. On a thread of the worker's own, while jobs run; return soon. NULL: SIGHUP ends the
     * worker as SIGTERM does. */
    void (*reload)(void *context);
    void (*stop)(void *context); /* once, before the handler process ends in good order */
    /* after start; before the system's own (memory, disk, network) */
    const tt_fitness_check *checks;
    int n_checks;

    const char *name, *version; /* for the served pages; NULL: "worker", "" */
    /* JSON Schema of a job, for the served pages and OpenAPI; NULL: none */
    const char *input_schema;
    /* Appends OpenMetrics text for GET /metrics: asked for in the handler process about once a second and after each job;
     * returns the bytes written into text (at most size). NULL: none. */
    size_t (*metrics)(void *context, char *text, size_t size);
    /* the caller has read argv itself: unknown arguments are ignored without a word */
    bool handles_flags;
} tt_worker_config;

/* Runs until the work is done; returns the process's exit status: 0, or 1 for a failed test job, an unfit worker, a server that
 * could not start, 2 for flags it does not understand. */
int tt_worker_main(int argc, char **argv, const tt_worker_config *config);

#ifdef __cplusplus
}
#endif
#endif
