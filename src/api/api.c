/* See api.h. From the outside in: a request is matched with its row of the route table (routes.c), checked (access.c) and
 * given to that row's handler (submit.c, jobs.c, events.c, pages.c), which answers or parks it (park.c). The queue tells of
 * every change, on whatever thread made it: waits are answered there, events and webhooks are left to the loop's thread. */
#include "api/api.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/access.h"
#include "api/answer.h"
#include "api/events.h"
#include "api/metrics.h"
#include "api/park.h"
#include "api/routes.h"
#include "api/sweeper.h"
#include "api/waits.h"
#include "api/webhooks.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"

enum { FIRST_TRIES_MS = 3000 }; /* at close: a webhook's receiver answers within this or is slow */

/* ---- what the queue tells ---------------------------------------------------------------------------------------- */

static void remember(tt_api *api, const char *id) {
    pthread_mutex_lock(&api->recent.mutex);
    char *at = api->recent.ids[api->recent.n++ % TT__RECENT_JOBS];
    snprintf(at, TT_JOB_ID_BYTES, "%s", id);
    pthread_mutex_unlock(&api->recent.mutex);
}

int tt__recent_ids(tt_api *api, char ids[TT__RECENT_JOBS][TT_JOB_ID_BYTES]) {
    pthread_mutex_lock(&api->recent.mutex);
    int64_t n = api->recent.n;
    int count = n < TT__RECENT_JOBS ? (int)n : TT__RECENT_JOBS;
    for (int i = 0; i < count; i++)
        memcpy(ids[i], api->recent.ids[(n - 1 - i) % TT__RECENT_JOBS], TT_JOB_ID_BYTES);
    pthread_mutex_unlock(&api->recent.mutex);
    return count;
}

static void job_ended(tt_api *api, const char *id) {
    tt_queue *queue = api->options.queue;
    tt_job_view view;
    tt__park_job_ended(api, id);
    if (queue->get(queue, id, tt_clock_ms(), &view, NULL) != TT_OK) return;
    tt__metrics_job(api->metrics, &view);
    tt__hooks_add(api->hooks, &view);
    tt_job_view_release(&view);
}

static void listen_to_queue(void *context, tt_queue_event event, const char *id,
                            const char *worker_id, int attempt) {
    tt_api *api = context;
    (void)worker_id;
    (void)attempt;
    if (event == TT_QUEUE_STOP) return;
    if (event == TT_QUEUE_SUBMITTED) remember(api, id);
    if (event == TT_QUEUE_ENDED) job_ended(api, id);
    if (event == TT_QUEUE_STREAMED) tt__park_job_streamed(api, id);
    if (event == TT_QUEUE_SUBMITTED || event == TT_QUEUE_CLAIMED || event == TT_QUEUE_REQUEUED)
        tt__sweeper_hurry(api->sweeper);
    tt__events_job_changed(api, id);
}

/* ---- the loop's thread ------------------------------------------------------------------------------------------- */

/* Keeps event streams alive, and mends what a failed allocation may have left waiting. */
static void beat(void *context) {
    tt_api *api = context;
    tt_err err;
    tt__events_beat(api);
    tt__park_turn(api);
    if (tt_loop_timer(api->loop, TT__EVENTS_BEAT_MS, beat, api, NULL, &err) != TT_OK)
        tt_log_write(api->options.log, TT_LOG_WARN, NULL, "no more heartbeats: %s", err.message);
}

static void *run_loop(void *context) {
    tt_api *api = context;
    tt_err err;
    if (tt_loop_run(api->loop, &err) != TT_OK)
        tt_log_write(api->options.log, TT_LOG_ERROR, NULL, "the API's loop ended: %s", err.message);
    return NULL;
}

/* Signals are the program's business: this thread takes none. */
static tt_status start_thread(tt_api *api, tt_err *err) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&api->thread, NULL, run_loop, api);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure) return tt_fail(err, TT_E_IO, "cannot start a thread: %s", strerror(failure));
    api->has_thread = true;
    return TT_OK;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static tt_status copy_text(const char *text, char **out, tt_err *err) {
    *out = text ? tt_strdup(text) : NULL;
    return *out || !text ? TT_OK : tt_fail_nomem(err, "options of the API", strlen(text) + 1);
}

static tt_status copy_options(tt_api *api, const tt_api_options *options, tt_err *err) {
    api->options = *options;
    TT_TRY(copy_text(options->title ? options->title : "Worker", &api->title, err));
    TT_TRY(copy_text(options->version ? options->version : TT_VERSION, &api->version, err));
    TT_TRY(copy_text(options->cors_origin, &api->cors_origin, err));
    TT_TRY(tt__access_set_key(api, options->key, err));
    TT_TRY(tt__pages_make(api, options->input_schema, err));
    return tt__hooks_new(api, &api->hooks, err);
}

static void forget_borrowed_texts(tt_api_options *o) {
    o->title = o->version = o->input_schema = o->key = NULL;
    o->cors_origin = o->webhook_secret = NULL;
}

static tt_status make_parts(tt_api *api, const tt_api_options *options, tt_err *err) {
    tt_queue *queue = options->queue;
    TT_TRY(tt_loop_new(&api->loop, err));
    TT_TRY(tt__waits_new(&api->waits, err));
    TT_TRY(tt__metrics_new(&api->metrics, err));
    TT_TRY(tt__sweeper_new(api, &api->sweeper, err));
    TT_TRY(copy_options(api, options, err));
    forget_borrowed_texts(&api->options);
    TT_TRY(tt__sweeper_start(api->sweeper, err));
    TT_TRY(tt_loop_timer(api->loop, TT__EVENTS_BEAT_MS, beat, api, NULL, err));
    TT_TRY(start_thread(api, err));
    return queue->listen(queue, listen_to_queue, api, err); /* last: there is no way back */
}

tt_status tt_api_new(const tt_api_options *options, tt_api **out, tt_err *err) {
    tt_api *api = tt_alloc(sizeof *api);
    *out = NULL;
    if (!api) return tt_fail_nomem(err, "API", sizeof *api);
    pthread_mutex_init(&api->recent.mutex, NULL);
    tt_status status = make_parts(api, options, err);
    if (status == TT_OK)
        *out = api;
    else
        tt_api_free(api);
    return status;
}

void tt_api_close(tt_api *api) {
    atomic_store(&api->is_closing, true);
    tt__park_close(api);
    tt__events_close(api);
    tt__hooks_await_first_tries(api->hooks, FIRST_TRIES_MS);
}

void tt_api_free(tt_api *api) {
    if (!api) return;
    if (api->has_thread) {
        tt_loop_stop(api->loop);
        pthread_join(api->thread, NULL);
    }
    tt__hooks_free(api->hooks);
    tt__sweeper_free(api->sweeper);
    tt_loop_free(api->loop);
    tt__waits_free(api->waits);
    tt__metrics_free(api->metrics);
    tt_blob_release(api->openapi);
    tt_blob_release(api->docs);
    tt_free(api->playground_policy);
    tt_free(api->title);
    tt_free(api->version);
    tt_free(api->cors_origin);
    pthread_mutex_destroy(&api->recent.mutex);
    tt_free(api);
}

/* ---- a request --------------------------------------------------------------------------------------------------- */

size_t tt_api_max_body_bytes(void *context, const char *method, const char *path) {
    char id[TT_JOB_ID_BYTES];
    (void)context;
    const tt__route *route = tt__route_find(path, id);
    bool takes_body = route && tt__method_of(method) == TT__POST;
    return takes_body ? route->max_body_bytes : TT_MAX_OTHER_BODY_BYTES;
}

static void reply_wrong_method(const tt__call *call, const char *method) {
    const char *allow = tt__route_allow(call->route);
    (void)tt_http_add_header(call->x, "Allow", allow, NULL);
    tt__reply_error(call, 405, "%s takes %s, found %.16s", call->route->path, allow, method);
}

void tt_api_handle(void *context, tt_http_exchange *x) {
    tt_api *api = context;
    tt_err err;
    tt__call call = {.api = api, .x = x, .started_us = tt_clock_us()};
    const char *method = tt_http_method(x), *path = tt_http_path(x);
    call.method = tt__method_of(method);
    call.route = tt__route_find(path, call.id);
    if (tt__access_add_cors(&call, &err) != TT_OK)
        tt__reply_failure(&call, &err);
    else if (!call.route)
        tt__reply_error(&call, 404, "no such path: %.200s (see /docs)", path);
    else if (!tt__route_takes(call.route, call.method))
        reply_wrong_method(&call, method);
    else if (call.method == TT__OPTIONS)
        tt__access_reply_options(&call);
    else if (atomic_load(&api->is_closing) && call.route->access == TT__KEYED)
        tt__reply_error(&call, 503, "the server is shutting down");
    else if (tt__access_allows(&call))
        call.route->handle(&call);
}
