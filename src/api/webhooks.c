/* See webhooks.h. A delivery is in the list (under the mutex) from tt__hooks_add until it is over; everything else about it
 * belongs to the loop's thread, to which it is posted once.
 *
 *     posted --> ready --> sending --2xx--> over
 *                  ^          |----final 4xx, or no try left--> over (abandoned)
 *                  '--timer---'
 */
#include "api/webhooks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/answer.h"
#include "api/metrics.h"
#include "api/sign.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "net/backoff.h"
#include "net/http_client.h"

enum { ID_BYTES = TT_JOB_ID_BYTES + 16, HEADER_BYTES = 256 };

typedef struct delivery delivery;
struct delivery {
    tt__hooks *hooks;
    char job_id[TT_JOB_ID_BYTES];
    char id[ID_BYTES]; /* webhook-id */
    char *url;
    tt_blob *pieces[TT__ANSWER_PIECES];
    int n_pieces, n_tries;
    size_t body_bytes;
    char failure[96]; /* why the last try failed */
    tt_backoff backoff;
    delivery *next, *previous; /* of all; under the mutex */
    delivery *next_ready;
    tt_timer *timer;
    tt_http_transfer *transfer;
};

struct tt__hooks {
    tt_api *api;
    tt__secret secret;
    delivery *ready, **ready_end; /* of the loop's thread, as n_sending */
    int n_sending;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        delivery *all;
        int64_t n, n_untried;
        size_t bytes;
    } shared;
};

static void log_line(const delivery *d, tt_log_level level, const char *what) {
    tt_log_write(d->hooks->api->options.log, level, d->job_id, "Webhook %s. try=%d of=%d%s%s", what,
                 d->n_tries, TT__HOOK_TRIES, d->failure[0] ? " reason=" : "", d->failure);
}

tt_status tt__hooks_new(tt_api *api, tt__hooks **out, tt_err *err) {
    tt__hooks *h = tt_alloc(sizeof *h);
    *out = NULL;
    if (!h) return tt_fail_nomem(err, "webhooks", sizeof *h);
    tt_status status = tt__secret_parse(api->options.webhook_secret, &h->secret, err);
    if (status != TT_OK) {
        tt_free(h);
        return status;
    }
    h->api = api;
    h->ready_end = &h->ready;
    pthread_mutex_init(&h->shared.mutex, NULL);
    tt_clock_condition_init(&h->shared.changed);
    *out = h;
    return TT_OK;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static void release(delivery *d) {
    for (int i = 0; i < d->n_pieces; i++) tt_blob_release(d->pieces[i]);
    tt_free(d->url);
    tt_free(d);
}

static bool list_put(tt__hooks *h, delivery *d) {
    pthread_mutex_lock(&h->shared.mutex);
    bool is_room = h->shared.n < TT__HOOK_MAX_PENDING &&
                   h->shared.bytes + d->body_bytes <= TT__HOOK_MAX_PENDING_BYTES;
    if (is_room) {
        d->next = h->shared.all;
        if (d->next) d->next->previous = d;
        h->shared.all = d;
        h->shared.n++;
        h->shared.n_untried++;
        h->shared.bytes += d->body_bytes;
    }
    pthread_mutex_unlock(&h->shared.mutex);
    return is_room;
}

/* Out of the list, and freed. */
static void over(delivery *d) {
    tt__hooks *h = d->hooks;
    pthread_mutex_lock(&h->shared.mutex);
    if (d->next) d->next->previous = d->previous;
    if (d->previous)
        d->previous->next = d->next;
    else
        h->shared.all = d->next;
    h->shared.n--;
    h->shared.bytes -= d->body_bytes;
    if (d->n_tries == 0) h->shared.n_untried--;
    pthread_cond_broadcast(&h->shared.changed);
    pthread_mutex_unlock(&h->shared.mutex);
    release(d);
}

static void abandon(delivery *d, const char *why) {
    log_line(d, TT_LOG_WARN, why);
    tt__metrics_hook_abandoned(d->hooks->api->metrics);
    over(d);
}

static void count_try(delivery *d) {
    tt__hooks *h = d->hooks;
    if (d->n_tries++ > 0) return;
    pthread_mutex_lock(&h->shared.mutex);
    h->shared.n_untried--;
    pthread_cond_broadcast(&h->shared.changed);
    pthread_mutex_unlock(&h->shared.mutex);
}

int64_t tt__hooks_pending(tt__hooks *h) {
    pthread_mutex_lock(&h->shared.mutex);
    int64_t n = h->shared.n;
    pthread_mutex_unlock(&h->shared.mutex);
    return n;
}

void tt__hooks_await_first_tries(tt__hooks *h, int64_t timeout_ms) {
    struct timespec until = tt_clock_moment(tt_clock_ms() + timeout_ms);
    pthread_mutex_lock(&h->shared.mutex);
    while (h->shared.n_untried > 0 &&
           pthread_cond_timedwait(&h->shared.changed, &h->shared.mutex, &until) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&h->shared.mutex);
}

void tt__hooks_free(tt__hooks *h) {
    if (!h) return;
    if (h->shared.n > 0)
        tt_log_write(h->api->options.log, TT_LOG_WARN, NULL,
                     "Webhooks not delivered before the end: %" PRId64 ".", h->shared.n);
    for (delivery *next, *d = h->shared.all; d; d = next) {
        next = d->next;
        tt_http_cancel(h->api->loop, d->transfer);
        release(d);
    }
    tt__secret_release(&h->secret);
    pthread_cond_destroy(&h->shared.changed);
    pthread_mutex_destroy(&h->shared.mutex);
    tt_free(h);
}

/* ---- trying: the loop's thread ----------------------------------------------------------------------------------- */

static void pump(tt__hooks *h);

static void make_ready(void *context) {
    delivery *d = context;
    tt__hooks *h = d->hooks;
    d->timer = NULL;
    d->next_ready = NULL;
    *h->ready_end = d;
    h->ready_end = &d->next_ready;
    pump(h);
}

static void try_later(delivery *d, int64_t asked_ms) {
    tt_err err;
    if (d->n_tries >= TT__HOOK_TRIES) {
        abandon(d, "given up");
        return;
    }
    int64_t wait_ms = tt_backoff_next_ms(&d->backoff);
    if (asked_ms > wait_ms) /* Retry-After, within reason */
        wait_ms = asked_ms < TT__HOOK_LONGEST_WAIT_MS ? asked_ms : TT__HOOK_LONGEST_WAIT_MS;
    log_line(d, TT_LOG_DEBUG, "is tried again later");
    if (tt_loop_timer(d->hooks->api->loop, wait_ms, make_ready, d, &d->timer, &err) != TT_OK)
        abandon(d, "given up for want of memory");
}

static void note_failure(delivery *d, const tt_http_response *response) {
    d->failure[0] = '\0';
    if (response->status / 100 == 2) return;
    if (response->failure == TT_OK)
        snprintf(d->failure, sizeof d->failure, "HTTP status %d", response->status);
    else
        snprintf(d->failure, sizeof d->failure, "%.95s", response->message);
}

static tt__hook_result classify(const tt_http_response *response) {
    if (response->failure != TT_OK) return TT__HOOK_NO_ANSWER;
    int hundreds = response->status / 100;
    if (hundreds == 2) return TT__HOOK_2XX;
    if (hundreds == 3) return TT__HOOK_3XX;
    if (hundreds == 4) return TT__HOOK_4XX;
    return TT__HOOK_5XX;
}

static void answered(void *context, const tt_http_response *response) {
    delivery *d = context;
    tt__hooks *h = d->hooks;
    tt__hook_result result = classify(response);
    d->transfer = NULL;
    h->n_sending--;
    count_try(d);
    tt__metrics_hook(h->api->metrics, result);
    note_failure(d, response);
    if (result == TT__HOOK_2XX) {
        log_line(d, TT_LOG_DEBUG, "delivered");
        over(d);
    } else if (result == TT__HOOK_4XX && !tt_http_is_retryable(response->status)) {
        abandon(d, "refused");
    } else {
        try_later(d, response->retry_after_ms);
    }
    pump(h);
}

static tt_status send_signed(delivery *d, const char *const *headers, tt_err *err) {
    tt_http_piece body[TT__ANSWER_PIECES];
    for (int i = 0; i < d->n_pieces; i++)
        body[i] = (tt_http_piece){d->pieces[i]->data, d->pieces[i]->size};
    tt_http_request request = {
        .method = "POST",
        .url = d->url,
        .headers = headers,
        .body = body,
        .n_body = d->n_pieces,
        .timeout_ms = TT__HOOK_TIMEOUT_MS,
        .public_only = !d->hooks->api->options.allows_private_webhooks,
    };
    return tt_http_send(d->hooks->api->loop, &request, answered, d, &d->transfer, err);
}

static tt_status send(delivery *d, tt_err *err) {
    char timestamp[24], signature[TT__SIGNATURE_BYTES] = "";
    char id_header[HEADER_BYTES], time_header[HEADER_BYTES], signature_header[HEADER_BYTES];
    const tt__secret *secret = &d->hooks->secret;
    snprintf(timestamp, sizeof timestamp, "%lld", (long long)time(NULL));
    snprintf(id_header, sizeof id_header, "webhook-id: %s", d->id);
    snprintf(time_header, sizeof time_header, "webhook-timestamp: %s", timestamp);
    if (secret->size)
        TT_TRY(tt__sign(secret, d->id, timestamp, d->pieces, d->n_pieces, signature, err));
    snprintf(signature_header, sizeof signature_header, "webhook-signature: %s", signature);
    const char *headers[] = {"Content-Type: application/json", id_header, time_header,
                             secret->size ? signature_header : NULL, NULL};
    return send_signed(d, headers, err);
}

static void pump(tt__hooks *h) {
    while (h->ready && h->n_sending < TT__HOOK_MAX_SENDING) {
        tt_err err;
        delivery *d = h->ready;
        h->ready = d->next_ready;
        if (!h->ready) h->ready_end = &h->ready;
        h->n_sending++;
        if (send(d, &err) == TT_OK) continue;
        h->n_sending--;
        count_try(d);
        snprintf(d->failure, sizeof d->failure, "%.95s", err.message);
        tt__metrics_hook(h->api->metrics, TT__HOOK_NO_ANSWER);
        try_later(d, -1);
    }
}

/* ---- a new delivery: any thread ---------------------------------------------------------------------------------- */

static tt_status new_delivery(tt__hooks *h, const tt_job_view *view, delivery **out, tt_err *err) {
    delivery *d = tt_alloc(sizeof *d);
    *out = d;
    if (!d) return tt_fail_nomem(err, "webhook", sizeof *d);
    d->hooks = h;
    memcpy(d->job_id, view->id, sizeof d->job_id);
    snprintf(d->id, sizeof d->id, "%s-%d", view->id, view->attempt);
    int64_t first_ms = h->api->options.webhook_retry_ms;
    tt_backoff_init(&d->backoff, first_ms > 0 ? first_ms : TT__HOOK_FIRST_WAIT_MS,
                    TT__HOOK_LONGEST_WAIT_MS, (uint64_t)tt_clock_us() ^ (uintptr_t)d);
    d->url = tt_strdup(view->webhook);
    tt_status status = d->url ? tt__answer_write(view, d->pieces, &d->n_pieces, err)
                              : tt_fail_nomem(err, "webhook", strlen(view->webhook) + 1);
    for (int i = 0; i < d->n_pieces; i++) d->body_bytes += d->pieces[i]->size;
    if (status != TT_OK) release(d);
    return status;
}

static void not_added(tt__hooks *h, const tt_job_view *view, const char *why) {
    tt__metrics_hook_abandoned(h->api->metrics);
    tt_log_write(h->api->options.log, TT_LOG_ERROR, view->id, "Webhook will not be sent: %s", why);
}

void tt__hooks_add(tt__hooks *h, const tt_job_view *ended) {
    delivery *d = NULL;
    tt_err err;
    if (!ended->webhook) return;
    if (new_delivery(h, ended, &d, &err) != TT_OK) {
        not_added(h, ended, err.message);
    } else if (!list_put(h, d)) {
        release(d);
        not_added(h, ended, "too many are pending");
    } else if (tt_loop_post(h->api->loop, make_ready, d, &err) != TT_OK) {
        over(d);
        not_added(h, ended, err.message);
    }
}
