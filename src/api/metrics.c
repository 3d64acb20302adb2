/* See metrics.h. Names follow Prometheus' rules: base units, _total, few labels. Rows that are still zero are left out where a
 * label could have many values. */
#include "api/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/routes.h"
#include "api/webhooks.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"

/* From a cached answer to SDXL on a slow CPU: BentoML's 5 ms to 180 s, and two more. */
static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,  2.5,
                                5,     10,   30,    60,   120, 180,  300, 600};
enum { N_BOUNDS = sizeof bounds / sizeof *bounds };

typedef struct histogram {
    atomic_int_fast64_t buckets[N_BOUNDS + 1]; /* not cumulative; the last is +Inf */
    atomic_int_fast64_t sum_us;
} histogram;

static const int codes[] = {200, 204, 400, 401, 403, 404, 405, 409, 413, 429, 499, 500, 503};
enum { N_CODES = sizeof codes / sizeof *codes, N_ROUTE_ROWS = TT__N_ROUTES + 1 };

struct tt__metrics {
    atomic_int_fast64_t http[N_ROUTE_ROWS][TT__N_METHODS]
                            [N_CODES + 1]; /* the last of each: other */
    histogram http_seconds[N_ROUTE_ROWS];
    histogram queue_seconds, execution_seconds;
    atomic_int_fast64_t hooks[TT__N_HOOK_RESULTS], hooks_abandoned;
};

tt_status tt__metrics_new(tt__metrics **out, tt_err *err) {
    *out = tt_alloc(sizeof **out); /* zeroed atomics are zero */
    return *out ? TT_OK : tt_fail_nomem(err, "metrics", sizeof **out);
}

void tt__metrics_free(tt__metrics *m) {
    tt_free(m);
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static void add(atomic_int_fast64_t *counter, int64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static int64_t read(const atomic_int_fast64_t *counter) {
    return (int64_t)atomic_load_explicit(counter, memory_order_relaxed);
}

static void observe(histogram *h, int64_t us) {
    int i = 0;
    while (i < N_BOUNDS && (double)us > bounds[i] * 1e6) i++;
    add(&h->buckets[i], 1);
    add(&h->sum_us, us);
}

void tt__metrics_http(tt__metrics *m, const tt__route *route, tt__method method, int http,
                      int64_t duration_us) {
    int row = route ? (int)(route - tt__routes) : TT__N_ROUTES;
    int code = 0;
    while (code < N_CODES && codes[code] != http) code++;
    add(&m->http[row][method][code], 1);
    observe(&m->http_seconds[row], duration_us);
}

void tt__metrics_job(tt__metrics *m, const tt_job_view *ended) {
    observe(&m->queue_seconds, ended->delay_ms * 1000);
    if (ended->attempt > 0) observe(&m->execution_seconds, ended->execution_ms * 1000);
}

void tt__metrics_hook(tt__metrics *m, tt__hook_result result) {
    add(&m->hooks[result], 1);
}

void tt__metrics_hook_abandoned(tt__metrics *m) {
    add(&m->hooks_abandoned, 1);
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */

static tt_status family(tt_buf *out, const char *name, const char *type, const char *help,
                        tt_err *err) {
    return tt_buf_printf(out, err, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

/* `label` is "" or `name="value"`. */
static tt_status write_histogram(tt_buf *out, const char *name, const char *label,
                                 const histogram *h, tt_err *err) {
    int64_t n = 0;
    const char *comma = label[0] ? "," : "";
    for (int i = 0; i <= N_BOUNDS; i++) {
        char bound[16] = "+Inf";
        n += read(&h->buckets[i]);
        if (i < N_BOUNDS && bounds[i] < 1) snprintf(bound, sizeof bound, "%g", bounds[i]);
        if (i < N_BOUNDS && bounds[i] >= 1) snprintf(bound, sizeof bound, "%.1f", bounds[i]);
        TT_TRY(tt_buf_printf(out, err, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", name, label, comma,
                             bound, n));
    }
    const char *open = label[0] ? "{" : "", *close = label[0] ? "}" : "";
    double sum = (double)read(&h->sum_us) / 1e6;
    TT_TRY(tt_buf_printf(out, err, "%s_sum%s%s%s %.6f\n", name, open, label, close, sum));
    return tt_buf_printf(out, err, "%s_count%s%s%s %" PRId64 "\n", name, open, label, close, n);
}

static tt_status write_jobs(tt_api *api, tt_buf *out, tt_err *err) {
    tt_queue_counts c = {.in_queue = 0};
    api->options.queue->counts(api->options.queue, tt_clock_ms(), &c);
    TT_TRY(family(out, "tintype_jobs", "counter", "Jobs that ended, by status.", err));
    TT_TRY(tt_buf_printf(out, err,
                         "tintype_jobs_total{status=\"completed\"} %" PRId64 "\n"
                         "tintype_jobs_total{status=\"failed\"} %" PRId64 "\n"
                         "tintype_jobs_total{status=\"cancelled\"} %" PRId64 "\n"
                         "tintype_jobs_total{status=\"timed_out\"} %" PRId64 "\n",
                         c.completed, c.failed, c.cancelled, c.timed_out));
    TT_TRY(family(out, "tintype_job_retries", "counter", "Jobs that were put back to run again.",
                  err));
    TT_TRY(tt_buf_printf(out, err, "tintype_job_retries_total %" PRId64 "\n", c.retried));
    TT_TRY(family(out, "tintype_queue_jobs", "gauge", "Jobs that wait or run now.", err));
    TT_TRY(tt_buf_printf(out, err,
                         "tintype_queue_jobs{state=\"waiting\"} %" PRId64 "\n"
                         "tintype_queue_jobs{state=\"running\"} %" PRId64 "\n",
                         c.in_queue, c.in_progress));
    TT_TRY(family(out, "tintype_queue_oldest_age_seconds", "gauge",
                  "Age of the job that has waited longest; 0 when none waits.", err));
    TT_TRY(tt_buf_printf(out, err, "tintype_queue_oldest_age_seconds %.3f\n",
                         (double)c.oldest_waiting_ms / 1000));
    TT_TRY(family(out, "tintype_queue_stored_bytes", "gauge",
                  "Bytes of jobs, outputs and chunks that the queue keeps.", err));
    return tt_buf_printf(out, err, "tintype_queue_stored_bytes %" PRId64 "\n", c.stored_bytes);
}

static tt_status write_job_seconds(const tt__metrics *m, tt_buf *out, tt_err *err) {
    TT_TRY(family(out, "tintype_job_queue_seconds", "histogram", "Time that ended jobs had waited.",
                  err));
    TT_TRY(write_histogram(out, "tintype_job_queue_seconds", "", &m->queue_seconds, err));
    TT_TRY(family(out, "tintype_job_execution_seconds", "histogram",
                  "Time that ended jobs had run.", err));
    return write_histogram(out, "tintype_job_execution_seconds", "", &m->execution_seconds, err);
}

static tt_status write_workers(tt_api *api, tt_buf *out, tt_err *err) {
    tt_api_workers w = {.idle = 0};
    if (!api->options.workers) return TT_OK;
    api->options.workers(api->options.context, &w);
    TT_TRY(family(out, "tintype_workers", "gauge", "Workers, by state as in /health.", err));
    return tt_buf_printf(out, err,
                         "tintype_workers{state=\"idle\"} %d\n"
                         "tintype_workers{state=\"initializing\"} %d\n"
                         "tintype_workers{state=\"ready\"} %d\n"
                         "tintype_workers{state=\"running\"} %d\n"
                         "tintype_workers{state=\"throttled\"} %d\n"
                         "tintype_workers{state=\"unhealthy\"} %d\n",
                         w.idle, w.initializing, w.ready, w.running, w.throttled, w.unhealthy);
}

static const char *route_label(int row) {
    return row < TT__N_ROUTES ? tt__routes[row].path : "other";
}

static tt_status write_http_row(const tt__metrics *m, int row, tt_buf *out, tt_err *err) {
    for (int method = 0; method < TT__N_METHODS; method++)
        for (int code = 0; code <= N_CODES; code++) {
            int64_t n = read(&m->http[row][method][code]);
            char text[8] = "other";
            if (code < N_CODES) snprintf(text, sizeof text, "%d", codes[code]);
            if (n == 0) continue;
            TT_TRY(
                tt_buf_printf(out, err,
                              "tintype_http_requests_total{route=\"%s\",method=\"%s\",code=\"%s\"} "
                              "%" PRId64 "\n",
                              route_label(row), tt__method_name((tt__method)method), text, n));
        }
    return TT_OK;
}

static bool is_used(const histogram *h) {
    for (int i = 0; i <= N_BOUNDS; i++)
        if (read(&h->buckets[i])) return true;
    return false;
}

static tt_status write_http(const tt__metrics *m, tt_buf *out, tt_err *err) {
    TT_TRY(family(out, "tintype_http_requests", "counter",
                  "Requests answered, by route, method and status; 499: the client left first.",
                  err));
    for (int row = 0; row < N_ROUTE_ROWS; row++) TT_TRY(write_http_row(m, row, out, err));
    TT_TRY(family(out, "tintype_http_request_duration_seconds", "histogram",
                  "Time from a request to its answer, waits included.", err));
    for (int row = 0; row < N_ROUTE_ROWS; row++) {
        char label[64];
        if (!is_used(&m->http_seconds[row])) continue;
        snprintf(label, sizeof label, "route=\"%s\"", route_label(row));
        TT_TRY(write_histogram(out, "tintype_http_request_duration_seconds", label,
                               &m->http_seconds[row], err));
    }
    return TT_OK;
}

static tt_status write_hooks(tt_api *api, tt_buf *out, tt_err *err) {
    static const char *const names[TT__N_HOOK_RESULTS] = {"2xx", "3xx", "4xx", "5xx", "none"};
    const tt__metrics *m = api->metrics;
    TT_TRY(family(out, "tintype_webhook_deliveries", "counter",
                  "Tries to deliver a webhook, by the answer's class; none: there was no answer.",
                  err));
    for (int i = 0; i < TT__N_HOOK_RESULTS; i++)
        TT_TRY(tt_buf_printf(out, err,
                             "tintype_webhook_deliveries_total{code_class=\"%s\"} %" PRId64 "\n",
                             names[i], read(&m->hooks[i])));
    TT_TRY(family(out, "tintype_webhooks_abandoned", "counter",
                  "Webhooks that were given up: refused, out of tries, or too many.", err));
    TT_TRY(tt_buf_printf(out, err, "tintype_webhooks_abandoned_total %" PRId64 "\n",
                         read(&m->hooks_abandoned)));
    TT_TRY(family(out, "tintype_webhooks_pending", "gauge", "Webhooks not yet delivered.", err));
    return tt_buf_printf(out, err, "tintype_webhooks_pending %" PRId64 "\n",
                         tt__hooks_pending(api->hooks));
}

/* A label's value: quotes, backslashes and line breaks escaped. */
static tt_status put_label(tt_buf *out, const char *text, tt_err *err) {
    for (const char *c = text; *c; c++) {
        const char *escape = *c == '"' ? "\\\"" : *c == '\\' ? "\\\\" : *c == '\n' ? "\\n" : NULL;
        TT_TRY(escape ? tt_buf_puts(out, escape, err) : tt_buf_append(out, c, 1, err));
    }
    return TT_OK;
}

static tt_status write_build(tt_api *api, tt_buf *out, tt_err *err) {
    TT_TRY(family(out, "tintype_build_info", "gauge", "Always 1; what runs here.", err));
    TT_TRY(tt_buf_puts(out, "tintype_build_info{version=\"", err));
    TT_TRY(put_label(out, api->version, err));
    return tt_buf_puts(out, "\"} 1\n", err);
}

/* The worker's families, without an end of their own; a half-written text is taken back. */
static void write_callers(tt_api *api, tt_buf *out) {
    static const char eof[] = "# EOF\n";
    size_t start = out->size, eof_size = sizeof eof - 1;
    tt_err err;
    if (!api->options.metrics) return;
    tt_status status = api->options.metrics(api->options.context, out, &err);
    if (out->size - start >= eof_size &&
        memcmp(out->data + out->size - eof_size, eof, eof_size) == 0)
        out->size -= eof_size;
    if (status == TT_OK && out->size > start && out->data[out->size - 1] != '\n')
        status = tt_buf_puts(out, "\n", &err);
    if (status != TT_OK) out->size = start;
    if (out->data) out->data[out->size] = '\0';
    if (status != TT_OK)
        tt_log_write(api->options.log, TT_LOG_WARN, NULL, "metrics of the worker: %s", err.message);
}

tt_status tt__metrics_write(tt_api *api, tt_buf *out, tt_err *err) {
    TT_TRY(write_jobs(api, out, err));
    TT_TRY(write_job_seconds(api->metrics, out, err));
    TT_TRY(write_workers(api, out, err));
    TT_TRY(write_http(api->metrics, out, err));
    TT_TRY(write_hooks(api, out, err));
    TT_TRY(tt__metrics_process(out, err));
    TT_TRY(write_build(api, out, err));
    write_callers(api, out);
    return tt_buf_puts(out, "# EOF\n", err);
}
