/* See delivery.h. Always in exactly one of two places: a transfer, or a timer. A try that cannot even start (no memory) counts
 * as a failed one. The log has one line when it first fails or fails otherwise than before, and one when it succeeds after
 * all, not one per try. */
#include "worker/delivery.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/backoff.h"

/* Lines of headers and pieces of body that a delivery copies: the most that wire.h and s3.h make. */
enum { MAX_HEADERS = 12, MAX_PIECES = 8 };
/* A Retry-After beyond this is not believed: the result would wait for an hour because of one mistyped header. */
enum { MAX_RETRY_AFTER_MS = 60 * 1000 };

struct tt_delivery {
    tt_delivery_options options; /* its pointers point into the fields below */
    char *job_id, *url;
    char *headers[MAX_HEADERS + 1];
    tt_http_piece body[MAX_PIECES];

    tt_backoff backoff;
    int64_t end_ms; /* monotonic */
    int n_tries;
    int last_status; /* of the last failure; -1: none yet */
    char reason[128];
    tt_http_transfer *transfer;
    tt_timer *timer;
};

static void free_delivery(tt_delivery *d) {
    tt_free(d->job_id);
    tt_free(d->url);
    for (int i = 0; d->headers[i]; i++) tt_free(d->headers[i]);
    tt_free(d);
}

static void end(tt_delivery *d, tt_delivery_verdict verdict, int status) {
    tt_delivery_outcome outcome = {verdict, status, d->n_tries, d->reason};
    if (verdict == TT_DELIVERY_DELIVERED && d->last_status >= 0)
        tt_log_write(d->options.log, TT_LOG_INFO, d->job_id, "The %s was delivered at try %d.",
                     d->options.what, d->n_tries);
    d->options.done(d->options.context, &outcome);
    free_delivery(d);
}

/* ---- one try ----------------------------------------------------------------------------------------------------- */

static void begin_try(void *context);

/* Waits, or gives up when the patience would end meanwhile. */
static void wait_or_expire(tt_delivery *d, int status, int64_t retry_after_ms) {
    int64_t pause_ms = tt_backoff_next_ms(&d->backoff);
    if (retry_after_ms > MAX_RETRY_AFTER_MS) retry_after_ms = MAX_RETRY_AFTER_MS;
    if (pause_ms < retry_after_ms) pause_ms = retry_after_ms;
    if (status != d->last_status)
        tt_log_write(d->options.log, TT_LOG_WARN, d->job_id,
                     "The %s is not delivered yet: %s. Trying again.", d->options.what, d->reason);
    d->last_status = status;
    if (tt_clock_ms() + pause_ms >= d->end_ms ||
        tt_loop_timer(d->options.loop, pause_ms, begin_try, d, &d->timer, NULL) != TT_OK)
        end(d, TT_DELIVERY_EXPIRED, status);
}

static bool is_worth_another_try(const tt_delivery *d, int status) {
    bool is_forbidden = status == 401 || status == 403, is_elsewhere = status / 100 == 3;
    return tt_http_is_retryable(status) || is_elsewhere ||
           (is_forbidden && d->options.retries_forbidden);
}

static void on_response(void *context, const tt_http_response *response) {
    tt_delivery *d = context;
    int status = response->status;
    d->transfer = NULL;
    if (response->failure != TT_OK)
        snprintf(d->reason, sizeof d->reason, "%s", response->message);
    else
        snprintf(d->reason, sizeof d->reason, "HTTP %d", status);
    if (response->failure != TT_OK || is_worth_another_try(d, status))
        wait_or_expire(d, status, response->retry_after_ms);
    else if (status < 400)
        end(d, TT_DELIVERY_DELIVERED, status);
    else
        end(d, status == 404 || status == 410 ? TT_DELIVERY_GONE : TT_DELIVERY_REFUSED, status);
}

static int64_t try_timeout_ms(const tt_delivery *d) {
    int64_t size = 0;
    for (int i = 0; i < d->options.n_body; i++) size += (int64_t)d->body[i].size;
    return d->options.retry_base_ms * TT_DELIVERY_TRY_BASES + size / TT_DELIVERY_BYTES_PER_MS;
}

static tt_status send(tt_delivery *d, tt_err *err) {
    const tt_http_request request = {.method = d->options.method,
                                     .url = d->url,
                                     .headers = (const char *const *)d->headers,
                                     .body = d->body,
                                     .n_body = d->options.n_body,
                                     .timeout_ms = try_timeout_ms(d)};
    return tt_http_send(d->options.loop, &request, on_response, d, &d->transfer, err);
}

static void begin_try(void *context) {
    tt_delivery *d = context;
    tt_err err;
    d->timer = NULL;
    d->n_tries++;
    if (send(d, &err) == TT_OK) return;
    snprintf(d->reason, sizeof d->reason, "%.120s", err.message);
    wait_or_expire(d, 0, -1);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static tt_status copy_options(tt_delivery *d, const tt_delivery_options *options, tt_err *err) {
    d->options = *options;
    if (options->n_body > MAX_PIECES)
        return tt_fail(err, TT_E_INTERNAL, "%d pieces, at most %d", options->n_body, MAX_PIECES);
    for (int i = 0; i < options->n_body; i++) d->body[i] = options->body[i];
    if (!(d->job_id = tt_strdup(options->job_id)) || !(d->url = tt_strdup(options->url)))
        return tt_fail_nomem(err, "delivery", strlen(options->url));
    for (int i = 0; options->headers[i]; i++) {
        if (i == MAX_HEADERS) return tt_fail(err, TT_E_INTERNAL, "more than %d headers", i);
        d->headers[i] = tt_strdup(options->headers[i]);
        if (!d->headers[i]) return tt_fail_nomem(err, "header", strlen(options->headers[i]));
    }
    return TT_OK;
}

tt_status tt_delivery_start(const tt_delivery_options *options, tt_delivery **out, tt_err *err) {
    *out = NULL;
    tt_delivery *d = tt_alloc(sizeof *d);
    if (!d) return tt_fail_nomem(err, "delivery", sizeof *d);
    d->last_status = -1;
    d->end_ms = tt_clock_ms() + options->patience_ms;
    tt_backoff_init(&d->backoff, options->retry_base_ms, options->retry_base_ms * TT_DELIVERY_CAP,
                    (uint64_t)tt_clock_us() ^ (uint64_t)(uintptr_t)d);
    tt_status status = copy_options(d, options, err);
    d->n_tries = 1;
    if (status == TT_OK) status = send(d, err);
    if (status != TT_OK) {
        free_delivery(d);
        return status;
    }
    *out = d;
    return TT_OK;
}

void tt_delivery_cancel(tt_delivery *d) {
    if (!d) return;
    tt_http_cancel(d->options.loop, d->transfer);
    tt_loop_timer_cancel(d->options.loop, d->timer);
    free_delivery(d);
}

void tt_delivery_hurry(tt_delivery *d, int64_t patience_ms) {
    if (d->end_ms > tt_clock_ms() + patience_ms) d->end_ms = tt_clock_ms() + patience_ms;
    if (!d->timer) return;
    tt_timer *pause = d->timer;
    if (tt_loop_timer(d->options.loop, 0, begin_try, d, &d->timer, NULL) != TT_OK) return;
    tt_loop_timer_cancel(d->options.loop, pause);
}
