/* See serve.h. Four parts, each with its own threads, meet in the queue: the server's threads answer clients through the API,
 * the API's thread looks after deadlines and webhooks, and the loop (this thread) feeds the handler process.
 *
 *     clients -- http_server -- api -- queue_memory -- local_source -- dispatch == handler process
 *
 * At the end the order is: running jobs finish, waits are answered, the server closes, then the queue goes, and with it every
 * job that had not run: a queue in memory promises no more. */
#include "worker/serve.h"

#include <string.h>

#include "api/api.h"
#include "base/limits.h"
#include "job/queue_memory.h"
#include "worker/host.h"
#include "worker/local_source.h"

enum { CLOSE_GRACE_MS = 5000 };

typedef struct serve {
    const tt_serve_options *options;
    tt_host host;
    tt_queue *queue;
    tt_local_source *source;
    tt_api *api;
    tt_http_server *server;
    struct { /* the loop writes, the server's threads read */
        pthread_mutex_t lock;
        tt_buf metrics; /* the handler process's own */
    } shared;
} serve;

static const tt_log *log_of(const serve *s) {
    return s->options->pool.log;
}

/* ---- told by the dispatcher: the loop's thread -------------------------------------------------------------------- */

static void on_ready(void *context) {
    serve *s = context;
    tt_log_write(log_of(s), TT_LOG_INFO, NULL, "The worker is ready.");
    tt_local_source_start(s->source, s->host.dispatch);
}

static void on_unfit(void *context, const char *check, const char *reason) {
    serve *s = context;
    s->host.exit_status = 1;
    tt_log_write(log_of(s), TT_LOG_ERROR, NULL, "The worker cannot go on: %s: %s", check, reason);
    tt_dispatch_drain(s->host.dispatch);
}

static void on_metrics(void *context, const char *text, size_t size) {
    serve *s = context;
    pthread_mutex_lock(&s->shared.lock);
    s->shared.metrics.size = 0;
    tt_buf_append(&s->shared.metrics, text, size, NULL);
    if (size > 0 && text[size - 1] != '\n') tt_buf_puts(&s->shared.metrics, "\n", NULL);
    pthread_mutex_unlock(&s->shared.lock);
}

/* ---- asked by the API: any thread --------------------------------------------------------------------------------- */

/* One slot is what the platform calls a worker. */
static void count_workers(void *context, tt_api_workers *out) {
    serve *s = context;
    tt_dispatch_counts c;
    tt_dispatch_get_counts(s->host.dispatch, &c);
    *out = (tt_api_workers){.running = c.running};
    if (c.is_ready)
        out->ready = out->idle = c.concurrency > c.running ? c.concurrency - c.running : 0;
    else if (c.restarts > 0)
        out->unhealthy = c.concurrency;
    else
        out->initializing = c.concurrency;
}

static bool is_ready(void *context, char reason[256]) {
    serve *s = context;
    tt_dispatch_counts c;
    tt_dispatch_get_counts(s->host.dispatch, &c);
    if (c.is_ready && !c.is_draining) return true;
    snprintf(reason, 256, "%s",
             c.is_draining ? "the worker ends" : "the handler process is starting");
    return false;
}

static bool takes_jobs(void *context) {
    serve *s = context;
    tt_dispatch_counts c;
    tt_dispatch_get_counts(s->host.dispatch, &c);
    return !c.is_draining;
}

static tt_status write_metrics(void *context, tt_buf *out, tt_err *err) {
    serve *s = context;
    tt_dispatch_counts c;
    tt_dispatch_get_counts(s->host.dispatch, &c);
    TT_TRY(tt_buf_printf(out, err,
                         "# TYPE tintype_handler_restarts counter\n"
                         "# HELP tintype_handler_restarts Times that a dead handler process was "
                         "started again.\n"
                         "tintype_handler_restarts_total %lld\n"
                         "# TYPE tintype_handler_crashed_jobs counter\n"
                         "# HELP tintype_handler_crashed_jobs Jobs whose handler process died.\n"
                         "tintype_handler_crashed_jobs_total %lld\n",
                         (long long)c.restarts, (long long)c.crashed_jobs));
    pthread_mutex_lock(&s->shared.lock);
    tt_status status = tt_buf_append(out, s->shared.metrics.data, s->shared.metrics.size, err);
    pthread_mutex_unlock(&s->shared.lock);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static tt_status open_dispatch(serve *s, tt_err *err) {
    const tt_serve_options *o = s->options;
    tt_queue_memory_options queue = {.max_waiting = o->max_waiting};
    tt_dispatch_options dispatch;
    TT_TRY(tt_queue_memory_new(&queue, &s->queue, err));
    TT_TRY(tt_local_source_new(s->host.loop, log_of(s), s->queue, o->worker_id, &s->source, err));
    tt_host_dispatch_options(&s->host, &dispatch);
    dispatch.source = tt_local_source_source(s->source);
    if (o->concurrency > 0) dispatch.concurrency = o->concurrency;
    dispatch.hands_back = true;
    dispatch.context = s;
    dispatch.ready = on_ready;
    dispatch.unfit = on_unfit;
    dispatch.metrics = on_metrics;
    return tt_host_dispatch(&s->host, &dispatch, err);
}

static const char *or_null(const char *text) {
    return text && text[0] ? text : NULL;
}

static tt_status open_api(serve *s, tt_err *err) {
    const tt_serve_options *o = s->options;
    const tt_worker_config *config = o->pool.config;
    tt_api_options api = {.queue = s->queue,
                          .log = log_of(s),
                          .title = config->name ? config->name : "worker",
                          .version = config->version ? config->version : "",
                          .input_schema = config->input_schema,
                          .key = or_null(o->key),
                          .cors_origin = or_null(o->cors_origin),
                          .webhook_secret = or_null(o->webhook_secret),
                          .allows_private_webhooks = o->allows_private_webhooks,
                          .context = s,
                          .workers = count_workers,
                          .metrics = write_metrics,
                          .is_ready = is_ready,
                          .takes_jobs = takes_jobs};
    return tt_api_new(&api, &s->api, err);
}

static tt_status open_server(serve *s, tt_err *err) {
    tt_http_server_options server = {.host = s->options->host,
                                     .port = s->options->port,
                                     .log = log_of(s),
                                     .context = s->api,
                                     .handle = tt_api_handle,
                                     .max_body_bytes = tt_api_max_body_bytes};
    return tt_http_server_open(&server, &s->server, err);
}

static bool is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strncmp(host, "127.", 4) == 0;
}

static void tell_where(const serve *s) {
    const tt_serve_options *o = s->options;
    bool is_v6 = strchr(o->host, ':') != NULL;
    tt_log_write(log_of(s), TT_LOG_INFO, NULL,
                 "Serving the API at http://%s%s%s:%d (Ctrl-C ends) key=%s isolation=%s",
                 is_v6 ? "[" : "", o->host, is_v6 ? "]" : "", tt_http_server_port(s->server),
                 or_null(o->key) ? "on" : "off", o->is_isolated ? "on" : "off");
    if (!is_loopback(o->host) && !or_null(o->key))
        tt_log_write(log_of(s), TT_LOG_WARN, NULL,
                     "Everybody who reaches this address can run jobs: set TINTYPE_API_KEY.");
}

static tt_status open_all(serve *s, tt_err *err) {
    TT_TRY(tt_host_begin(&s->host, &s->options->pool, s->options->is_isolated, err));
    TT_TRY(open_dispatch(s, err));
    TT_TRY(open_api(s, err));
    TT_TRY(open_server(s, err));
    tell_where(s);
    return TT_OK;
}

static void close_all(serve *s) {
    if (s->api) tt_api_close(s->api);
    tt_http_server_close(s->server, CLOSE_GRACE_MS);
    tt_api_free(s->api);
    tt_local_source_free(s->source);
    tt_host_end(&s->host);
    if (s->queue) s->queue->free(s->queue);
}

int tt_serve_run(const tt_serve_options *options) {
    serve s = {.options = options};
    tt_err err;
    pthread_mutex_init(&s.shared.lock, NULL);
    tt_buf_init(&s.shared.metrics, TT_MAX_METRICS_BYTES + 1);
    tt_log_write(log_of(&s), TT_LOG_INFO, NULL, "%s", options->greeting);
    tt_status status = open_all(&s, &err);
    if (status == TT_OK) status = tt_host_run(&s.host, &err);
    if (status != TT_OK) tt_log_write(log_of(&s), TT_LOG_ERROR, NULL, "%s", err.message);
    int code = status == TT_OK ? s.host.exit_status : 1;
    close_all(&s);
    tt_buf_release(&s.shared.metrics);
    pthread_mutex_destroy(&s.shared.lock);
    return code;
}
