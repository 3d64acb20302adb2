/* See ask.h. Each try runs the loop until the answer, the deadline or the stop; a timer looks at the stop ten times a second. */
#include "store/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "store/answer.h"
#include "store/reference_parts.h"

enum {
    FIRST_WAIT_MS = 250,
    LONGEST_WAIT_MS = 20 * 1000,
    EDGE_WAIT_MS = 5 * 1000, /* less only feeds the page (models.md 9) */
    LOOK_MS = 100,
    STALL_MS = 15 * 1000,
    CONNECT_MS = 8 * 1000,
};

typedef struct waiting {
    tt__ask_state *ask;
    const tt__question *question;
    tt__answer *answer;
    tt_status failure;
    bool was_refused, has_head, is_done;
    char message[TT_ERR_MESSAGE_BYTES];
    tt_http_transfer *transfer;
    tt_timer *timer;
} waiting;

static int64_t scaled(const tt__ask_state *a, int64_t ms) {
    int divisor = a->services->time_divisor > 0 ? a->services->time_divisor : 1;
    return ms / divisor;
}

static bool is_stopped(const tt__ask_state *a) {
    if (a->services->stop && atomic_load(a->services->stop)) return true;
    return a->goes_on && !a->goes_on(a->goes_on_context);
}

tt_status tt__ask_begin(tt__ask_state *a, const tt_source_services *services, int64_t deadline_ms,
                        tt_fetch_error *error) {
    *a = (tt__ask_state){.services = services, .end_ms = tt_clock_ms() + deadline_ms};
    tt_backoff_init(&a->backoff, FIRST_WAIT_MS, LONGEST_WAIT_MS, (uint64_t)tt_clock_us());
    if (tt_loop_new(&a->loop, &error->err) == TT_OK) return TT_OK;
    return tt_fetch_fail(error, TT_FETCH_INTERNAL, "%s", error->err.message);
}

void tt__ask_end(tt__ask_state *a) {
    tt_loop_free(a->loop);
    a->loop = NULL;
}

void tt__answer_release(tt__answer *answer) {
    tt_buf_release(&answer->body);
}

/* ---- one try ----------------------------------------------------------------------------------------------------- */

static void copy_header(const tt_http_response *r, const char *name, char *out, size_t size) {
    const char *value = tt_http_response_header(r, name);
    snprintf(out, size, "%s", value ? value : "");
}

static bool begins_with(const char *text, const char *word) {
    return strncasecmp(text, word, strlen(word)) == 0;
}

static void read_head(tt__answer *out, const tt_http_response *r) {
    out->status = r->status;
    out->content_length = r->content_length;
    out->retry_after_ms = r->retry_after_ms;
    snprintf(out->content_type, sizeof out->content_type, "%s", r->content_type);
    copy_header(r, "ETag", out->etag, sizeof out->etag);
    copy_header(r, "X-Linked-Etag", out->linked_etag, sizeof out->linked_etag);
    copy_header(r, "X-Linked-Size", out->linked_size, sizeof out->linked_size);
    copy_header(r, "X-Repo-Commit", out->commit, sizeof out->commit);
    copy_header(r, "X-Error-Code", out->error_code, sizeof out->error_code);
    copy_header(r, "X-Error-Message", out->error_message, sizeof out->error_message);
    copy_header(r, "Content-Range", out->content_range, sizeof out->content_range);
    out->is_page = begins_with(r->content_type, "text/html") ||
                   begins_with(r->content_type, "application/xhtml") ||
                   begins_with(r->content_type, "application/xml") ||
                   begins_with(r->content_type, "text/xml");
    out->is_edge = tt__is_edge_page(r);
}

/* RateLimit: "resolvers";r=0;t=17 says it in seconds where Retry-After is missing. */
static void read_rate(tt__answer *out, const tt_http_response *r) {
    enum { SECOND_MS = 1000, MOST_S = 24 * 3600 };
    const char *limit = tt_http_response_header(r, "RateLimit");
    const char *t = limit && out->retry_after_ms < 0 ? strstr(limit, ";t=") : NULL;
    int64_t seconds = 0;
    if (!t || r->status != 429) return;
    for (t += 3; *t >= '0' && *t <= '9' && seconds < MOST_S; t++)
        seconds = 10 * seconds + (*t - '0');
    out->retry_after_ms = (seconds + 1) * SECOND_MS;
}

/* What is not wanted is not read: ending here costs the connection, which is cheaper than a model. */
static bool on_head(void *context, const tt_http_response *head) {
    waiting *w = context;
    w->has_head = true;
    read_head(w->answer, head);
    read_rate(w->answer, head);
    bool is_redirect = head->status >= 300 && head->status < 400;
    return w->question->wants_body || is_redirect || head->status >= 400;
}

static bool on_bytes(void *context, const void *bytes, size_t size) {
    waiting *w = context;
    return tt_buf_append(&w->answer->body, bytes, size, NULL) == TT_OK;
}

static void on_done(void *context, const tt_http_response *r) {
    waiting *w = context;
    w->is_done = true;
    w->transfer = NULL;
    w->failure = r->failure;
    w->was_refused = r->was_refused;
    snprintf(w->message, sizeof w->message, "%s", r->message ? r->message : "");
    if (r->failure == TT_OK)
        snprintf(w->answer->location, sizeof w->answer->location, "%s", r->location);
    bool is_unwanted = w->failure == TT_E_CANCELLED && w->has_head && w->answer->body.size == 0 &&
                       !w->question->wants_body;
    if (is_unwanted) w->failure = TT_OK;
    tt_loop_stop(w->ask->loop);
}

static void look(void *context) {
    waiting *w = context;
    w->timer = NULL;
    if (is_stopped(w->ask) || tt_clock_ms() >= w->ask->end_ms ||
        tt_loop_timer(w->ask->loop, LOOK_MS, look, w, &w->timer, NULL) != TT_OK)
        tt_loop_stop(w->ask->loop);
}

static tt_status fail_ended(const tt__ask_state *a, const char *whom, tt_fetch_error *error) {
    if (is_stopped(a)) return tt_fetch_fail(error, TT_FETCH_CANCELLED, "cancelled");
    return tt_fetch_fail(error, TT_FETCH_DEADLINE, "%s did not answer in the time there was", whom);
}

static tt_status run(waiting *w, tt_fetch_error *error) {
    tt__ask_state *a = w->ask;
    tt_status status = tt_loop_timer(a->loop, LOOK_MS, look, w, &w->timer, &error->err);
    if (status == TT_OK) status = tt_loop_run(a->loop, &error->err);
    tt_loop_timer_cancel(a->loop, w->timer);
    if (!w->is_done) tt_http_cancel(a->loop, w->transfer);
    if (status != TT_OK) return tt_fetch_fail(error, TT_FETCH_INTERNAL, "%s", error->err.message);
    return w->is_done ? TT_OK : fail_ended(a, w->question->whom, error);
}

static tt_status send(waiting *w, tt_fetch_error *error) {
    const tt__question *q = w->question;
    const tt_source_services *s = w->ask->services;
    char bearer[TT_SOURCE_HEADERS_BYTES], agent[256];
    const char *headers[5];
    int n = 0;
    snprintf(agent, sizeof agent, "User-Agent: %s", s->user_agent ? s->user_agent : "tintype");
    headers[n++] = agent;
    headers[n++] = "Accept-Encoding: identity";
    if (q->first_byte) headers[n++] = "Range: bytes=0-0";
    if (q->bearer && q->bearer[0]) {
        snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", q->bearer);
        headers[n++] = bearer;
    }
    headers[n] = NULL;
    const tt_http_request request = {.method = q->method,
                                     .url = q->url,
                                     .headers = headers,
                                     .timeout_ms = w->ask->end_ms - tt_clock_ms() + LOOK_MS,
                                     .connect_timeout_ms = CONNECT_MS,
                                     .max_response_bytes = TT__ASK_BODY_BYTES,
                                     .public_only = !s->allow_private,
                                     .https_only = !s->allow_private,
                                     .no_proxy = true,
                                     .ca_file = s->ca_file,
                                     .stall_timeout_ms = STALL_MS,
                                     .on_head = on_head,
                                     .on_bytes = on_bytes};
    if (tt_http_send(w->ask->loop, &request, on_done, w, &w->transfer, &error->err) == TT_OK)
        return run(w, error);
    return tt_fetch_fail(error, TT_FETCH_REFUSED, "%s: %s", q->whom, error->err.message);
}

/* ---- tries ------------------------------------------------------------------------------------------------------- */

tt_status tt__ask_wait(tt__ask_state *a, int64_t ms, tt_fetch_error *error) {
    int64_t until = tt_clock_ms() + scaled(a, ms);
    if (until >= a->end_ms) return fail_ended(a, "the other side", error);
    while (tt_clock_ms() < until && !is_stopped(a)) {
        struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
        nanosleep(&nap, NULL);
    }
    return is_stopped(a) ? fail_ended(a, "", error) : TT_OK;
}

/* How long to wait before asking again; -1: this is the answer. */
static int64_t wait_before_next(tt__ask_state *a, const waiting *w) {
    const tt__answer *answer = w->answer;
    if (w->failure != TT_OK)
        return w->failure == TT_E_IO && !w->was_refused ? tt_backoff_next_ms(&a->backoff) : -1;
    if (answer->is_edge) return EDGE_WAIT_MS;
    if (!tt_http_is_retryable(answer->status)) return -1;
    if (answer->retry_after_ms > TT__ASK_MAX_WAIT_MS) return -1;
    return answer->retry_after_ms >= 0 ? answer->retry_after_ms : tt_backoff_next_ms(&a->backoff);
}

static tt_status judge(const waiting *w, tt_fetch_error *error) {
    const char *whom = w->question->whom;
    if (w->failure == TT_OK) return TT_OK;
    if (w->was_refused)
        return tt_fetch_fail(error, TT_FETCH_REFUSED,
                             "%s: the address lies inside this network and is not asked (set "
                             "TINTYPE_ALLOW_PRIVATE=1 if it should be)",
                             whom);
    if (w->failure == TT_E_IO)
        return tt_fetch_fail(error, TT_FETCH_NETWORK, "%s: %s", whom, w->message);
    return tt_fetch_fail(error, TT_FETCH_CONTENT, "%s: %s", whom,
                         w->message[0] ? w->message : "an answer larger than any should be");
}

static void begin_answer(tt__answer *answer) {
    tt_buf body = answer->body;
    *answer = (tt__answer){.body = body, .content_length = -1, .retry_after_ms = -1};
    answer->body.size = 0;
    answer->body.limit_bytes = TT__ASK_BODY_BYTES;
}

tt_status tt__ask(tt__ask_state *a, const tt__question *q, tt__answer *answer,
                  tt_fetch_error *error) {
    tt_backoff_reset(&a->backoff);
    for (int n = 1;; n++) {
        waiting w = {.ask = a, .question = q, .answer = answer};
        begin_answer(answer);
        TT_TRY(send(&w, error));
        int64_t wait_ms = wait_before_next(a, &w);
        bool has_time = tt_clock_ms() + scaled(a, wait_ms) < a->end_ms;
        if (wait_ms < 0 || n == TT__ASK_TRIES || !has_time) return judge(&w, error);
        TT_TRY(tt__ask_wait(a, wait_ms, error));
    }
}

/* ---- what an answer means ---------------------------------------------------------------------------------------- */

tt_status tt__fail_status(const tt__answer *answer, const char *whom, const char *what,
                          tt_fetch_error *error) {
    enum { REGION = 451, RATE = 429, GONE = 410, MISSING = 404, SERVER = 500 };
    int s = answer->status;
    tt_status status;
    if (answer->is_edge)
        return tt_fetch_fail(error, TT_FETCH_EDGE,
                             "%s: a page of %s's front came instead of an answer (HTTP %d); try "
                             "again later",
                             what, whom, s);
    if (s == REGION)
        return tt_fetch_fail(error, TT_FETCH_REGION,
                             "%s: %s does not serve the country this machine is in (HTTP 451); run "
                             "in another region",
                             what, whom);
    if (s == RATE) {
        status = tt_fetch_fail(
            error, TT_FETCH_RATE,
            "%s: %s says there were too many requests (HTTP 429); try again later", what, whom);
        error->retry_after_ms = answer->retry_after_ms;
        return status;
    }
    if (s == GONE || s == MISSING)
        return tt_fetch_fail(error, TT_FETCH_GONE, "%s: not there at %s (HTTP %d)", what, whom, s);
    if (s >= SERVER)
        return tt_fetch_fail(error, TT_FETCH_NETWORK, "%s: %s fails (HTTP %d)", what, whom, s);
    if (s >= 200 && s < 300 && answer->is_page)
        return tt_fetch_fail(error, TT_FETCH_CONTENT, "%s: %s sent a page, expected a model", what,
                             whom);
    return tt_fetch_fail(error, TT_FETCH_CONTENT,
                         "%s: %s answered HTTP %d, which is no answer here", what, whom, s);
}

/* The size that a first byte's answer gives; 0: none that makes sense. */
static uint64_t total_of(const char *content_range) {
    tt__content_range r;
    bool is_first = tt__content_range_parse(content_range, &r) && r.first == 0 && r.has_total;
    return is_first ? r.total : 0;
}

void tt__take_promises(const tt__answer *answer, tt_source_file *out) {
    enum { PART = 206 };
    if (answer->status == PART)
        out->size = total_of(answer->content_range);
    else if (answer->content_length > 0)
        out->size = (uint64_t)answer->content_length;
    out->size_is_exact = out->size > 0;
    if (tt__etag_is_strong(answer->etag))
        snprintf(out->validator, sizeof out->validator, "%s", answer->etag);
}

/* ---- redirects --------------------------------------------------------------------------------------------------- */

static bool read_url(const char *url, tt__url *out) {
    return (begins_with(url, "https://") || begins_with(url, "http://")) &&
           strlen(url) < TT_SOURCE_URL_BYTES && tt__url_read(url, out, NULL) == TT_OK;
}

bool tt__may_tell(const tt_source_services *services, const char *url, const char *base,
                  const char *const *domains) {
    tt__url u, b;
    if (!read_url(url, &u)) return false;
    bool is_base = base && read_url(base, &b) && strcmp(u.host, b.host) == 0 && u.port == b.port &&
                   u.is_https == b.is_https;
    if (is_base && (u.is_https || services->allow_private)) return true;
    for (; u.is_https && !u.port && *domains; domains++)
        if (tt__host_is_of(u.host, *domains)) return true;
    return false;
}

/* The first address is the caller's own, the others are where servers sent us. */
static tt_status refuse_hop(int n_hops, const char *to, const char *why, tt_fetch_error *error) {
    if (n_hops > 0)
        return tt_fetch_fail(error, TT_FETCH_REFUSED, "a redirect to %s is not followed: %s", to,
                             why);
    return tt_fetch_fail(error, TT_FETCH_REFUSED,
                         "%s is not asked: %s (set TINTYPE_ALLOW_PRIVATE=1 if it should be)", to,
                         why);
}

tt_status tt__check_hop(const tt_source_services *services, const char *url, int n_hops,
                        tt_fetch_error *error) {
    tt__url u;
    char to[sizeof u.host + 32];
    if (n_hops > TT_SOURCE_MAX_HOPS)
        return tt_fetch_fail(error, TT_FETCH_REFUSED, "more than %d redirects, expected a file",
                             TT_SOURCE_MAX_HOPS);
    if (!read_url(url, &u))
        return tt_fetch_fail(error, TT_FETCH_REFUSED, "%s that is no https URL is not %s",
                             n_hops > 0 ? "a redirect to something" : "an address",
                             n_hops > 0 ? "followed" : "asked");
    if (services->allow_private) return TT_OK;
    if (!u.is_https) {
        snprintf(to, sizeof to, "http://%s", u.host);
        return refuse_hop(n_hops, to, "only https is", error);
    }
    if (!u.port) return TT_OK;
    snprintf(to, sizeof to, "port %d of %s", u.port, u.host);
    return refuse_hop(n_hops, to, "only 443 is", error);
}

void tt__name_of(const char *text, char out[TT_MODEL_NAME_BYTES]) {
    size_t n = strlen(text), at = 0;
    if (n > TT_MODEL_NAME_BYTES - 1) n = TT_MODEL_NAME_BYTES - 1;
    while (n > 0 && n < strlen(text) && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        out[at++] = c < 0x20 || c == 0x7f ? ' ' : text[i];
    }
    out[at] = '\0';
}
