/* Lanes: each is one request at a time for what is missing of one range. Ranges are handed out in order; one that came back
 * goes first, from the byte where it broke. Bytes are gathered chunk by chunk in slots of the window; a lane whose bytes find no slot
 * waits in the callback, and all others with it: that is how disk and journal hold the network back. Before the first good head there is one lane only, as nobody knows yet whether ranges are understood.
 *
 * What went wrong decides what happens to the range: asked for again after a wait that grows with its tries, at once when
 * the lane was only slow, after the time the server named for all lanes, with a fresh link, or the attempt ends. A stream
 * (one request, no range) cannot be taken up in the middle: its every trouble ends the attempt, and download.c makes another. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/download_parts.h"

int64_t tt__scaled_ms(const tt__download *d, int64_t ms) {
    int divisor = d->options->time_divisor > 0 ? d->options->time_divisor : 1;
    return ms > divisor ? ms / divisor : ms > 0;
}

int tt__n_busy(const tt__download *d) {
    int n = 0;
    for (int i = 0; i < d->n_lanes_max; i++) n += d->lanes[i].transfer != NULL;
    return n;
}

/* The first reason counts. */
void tt__end_attempt(tt__download *d, const tt__problem *why) {
    if (!d->has_ended) d->outcome = *why;
    d->has_ended = true;
    tt_loop_stop(d->loop);
}

void tt__lanes_cancel(tt__download *d) {
    for (int i = 0; i < TT_DOWNLOAD_MAX_CONNECTIONS; i++) {
        tt__lane *lane = &d->lanes[i];
        tt_http_cancel(d->loop, lane->transfer);
        lane->transfer = NULL;
        lane->range = NULL;
    }
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

/* The first byte that it lacks. */
static uint64_t next_byte(const tt__download *d, const tt__range *r) {
    return r->chunk * d->chunk_bytes + (r->slot ? r->slot->got : 0);
}

/* The journal's word before the first head; 0: not known. */
static uint64_t known_total(const tt__download *d) {
    return d->is_begun ? d->total : d->window.has_resumed ? d->window.resumed.total : 0;
}

static uint64_t last_byte(const tt__download *d, const tt__range *r) {
    uint64_t end = r->end * d->chunk_bytes, total = known_total(d);
    return (total && total < end ? total : end) - 1;
}

/* ---- second tries ------------------------------------------------------------------------------------------------ */

/* A try that brought an eighth of a range is progress: counting begins anew. */
static void ask_again(tt__download *d, tt__range *range, const tt__problem *p) {
    int64_t wait_ms = p->wait_ms;
    uint64_t is_progress = d->range_chunks * d->chunk_bytes / 8;
    if (next_byte(d, range) - range->tried_first > is_progress) range->n_tries = 0;
    if (p->trouble == TT__AGAIN_FREE && range->n_free_tries < TT__MAX_FREE_TRIES) {
        range->n_free_tries++;
        wait_ms = 0;
    } else if (++range->n_tries > TT__MAX_TRIES || wait_ms > TT__MAX_WAIT_MS) {
        tt__end_attempt(d, p);
        return;
    }
    if (wait_ms < 0) wait_ms = tt_backoff_next_ms(&range->backoff);
    range->not_before_ms = tt_clock_ms() + tt__scaled_ms(d, wait_ms);
    d->n_retries++;
}

static void be_gentler(tt__download *d, const tt__problem *p) {
    enum { HOLD_LANES_MS = 30 * 1000 };
    int64_t now_ms = tt_clock_ms();
    d->n_lanes_wanted = d->n_lanes_wanted > 1 ? d->n_lanes_wanted / 2 : 1;
    d->lanes_held_until_ms = now_ms + tt__scaled_ms(d, HOLD_LANES_MS);
    if (p->wait_ms > 0 && p->wait_ms <= TT__MAX_WAIT_MS)
        d->hold_until_ms = now_ms + tt__scaled_ms(d, p->wait_ms);
}

bool tt__renew_link(tt__download *d, int url_number, tt__problem *p, int64_t *wait_ms) {
    int64_t now_ms = tt_clock_ms();
    *wait_ms = 0;
    if (url_number < d->url_number) return true; /* another lane has been here */
    int64_t due_ms = d->again_ms + tt__scaled_ms(d, TT__AGAIN_MS);
    if (d->n_again > 0 && due_ms > now_ms) {
        *wait_ms = due_ms - now_ms;
        return true;
    }
    if (d->n_again >= TT__MAX_AGAIN) return false;
    tt_source_file *file = &d->file;
    char digest[TT_DIGEST_HEX + 1];
    memcpy(digest, file->digest, sizeof digest);
    uint64_t size = file->size_is_exact ? file->size : 0;
    d->n_again++;
    if (d->options->again(d->options->again_context, file, &p->error) != TT_OK) return false;
    d->again_ms = tt_clock_ms();
    d->url_number++;
    if (strcmp(digest, file->digest) == 0 && (!size || !file->size_is_exact || size == file->size))
        return true;
    tt__problem_set(p, TT__FATAL, TT_FETCH_DIGEST,
                    "%s: its source promises other bytes than before", file->name);
    return false;
}

static void take_fresh_link(tt__lane *lane, tt__range *range) {
    tt__download *d = lane->d;
    int64_t wait_ms;
    if (!tt__renew_link(d, lane->url_number, &lane->problem, &wait_ms)) {
        lane->problem.trouble = TT__FATAL;
        tt__end_attempt(d, &lane->problem);
        return;
    }
    range->not_before_ms = tt_clock_ms() + wait_ms;
    if (wait_ms) d->hold_until_ms = range->not_before_ms;
    d->n_retries++;
}

/* The range has no lane any more. */
static void treat(tt__lane *lane, tt__range *range) {
    tt__download *d = lane->d;
    const tt__problem *p = &lane->problem;
    bool is_over = d->is_stream || p->trouble >= TT__NO_RANGES;
    if (p->trouble == TT__BUSY) be_gentler(d, p);
    if (is_over)
        tt__end_attempt(d, p);
    else if (p->trouble == TT__EXPIRED)
        take_fresh_link(lane, range);
    else
        ask_again(d, range, p);
}

void tt__lane_give_up(tt__lane *lane) {
    tt__range *range = lane->range;
    tt_http_cancel(lane->d->loop, lane->transfer);
    lane->transfer = NULL;
    lane->range = NULL;
    range->lane = NULL;
    tt__problem_set(&lane->problem, TT__AGAIN_FREE, TT_FETCH_NETWORK,
                    "%s: a connection far slower than the others", lane->d->file.name);
    treat(lane, range);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static bool on_head(void *context, const tt_http_response *head) {
    tt__lane *lane = context;
    tt__check_head(lane, head);
    return lane->problem.trouble == TT__FINE;
}

/* As soon as there are enough of the file's first bytes. */
static bool sniff(tt__lane *lane, const tt__slot *slot, size_t got_before, bool is_all) {
    size_t n = slot->got;
    if (slot->chunk != 0 || got_before >= TT__SNIFF_BYTES || (n < TT__SNIFF_BYTES && !is_all))
        return true;
    const char *found =
        tt__sniff(slot->bytes, n < TT__SNIFF_BYTES ? n : TT__SNIFF_BYTES, lane->d->total);
    if (!found) return true;
    tt__problem_set(&lane->problem, TT__FATAL, TT_FETCH_CONTENT,
                    "%s: expected a safetensors file, found %s", lane->d->file.name, found);
    return false;
}

static void fail_window(tt__download *d, const tt__window_state *state) {
    tt__problem p = {.trouble = TT__FATAL, .wait_ms = -1};
    if (state->has_hash_failed)
        tt__problem_set(&p, TT__FATAL, TT_FETCH_INTERNAL, "%s: SHA-256 failed", d->file.name);
    else {
        tt__fail_disk(d, state->write_errno ? "writing" : "reading the part back",
                      state->write_errno ? state->write_errno : state->read_errno);
        p.error = *d->error;
    }
    tt__end_attempt(d, &p);
}

static bool has_failed(const tt__window_state *state) {
    return state->write_errno || state->read_errno || state->has_hash_failed;
}

/* A connection cannot be told to wait, so the callback waits for the disk: at most until the deadline, looking at the
 * clock's side of things all the time. NULL: the attempt has ended. */
static tt__slot *await_slot(tt__download *d, uint64_t chunk) {
    enum { LOOK_MS = 100 };
    uint64_t left = known_total(d) ? known_total(d) - chunk * d->chunk_bytes : UINT64_MAX;
    size_t size = left < d->chunk_bytes ? (size_t)left : d->chunk_bytes;
    for (;;) {
        tt__slot *slot = tt__window_take(&d->window, chunk, size);
        if (slot) return slot;
        tt__window_state state = tt__window_look(&d->window);
        if (has_failed(&state)) fail_window(d, &state);
        if (!tt__pace_look(d)) return NULL;
        tt__window_wait(&d->window, LOOK_MS);
    }
}

/* Copies what fits into the range's present chunk; how much did, is *taken. */
static bool fill(tt__lane *lane, const void *bytes, size_t size, size_t *taken) {
    tt__download *d = lane->d;
    tt__range *range = lane->range;
    if (!range->slot) range->slot = await_slot(d, range->chunk);
    tt__slot *slot = range->slot;
    if (!slot) return false;
    size_t before = slot->got, room = slot->size - before;
    *taken = size < room ? size : room;
    memcpy(slot->bytes + before, bytes, *taken);
    slot->got += *taken;
    d->stored_bytes += *taken;
    if (!sniff(lane, slot, before, slot->got == slot->size)) return false;
    if (slot->got < slot->size) return true;
    range->slot = NULL;
    range->chunk++;
    tt__window_complete(&d->window, slot);
    return true;
}

static void count(tt__lane *lane, size_t size) {
    lane->n_bytes += size;
    lane->d->fetched_bytes += size;
}

static bool on_range_bytes(void *context, const void *bytes, size_t size) {
    tt__lane *lane = context;
    const char *at = bytes;
    count(lane, size);
    for (size_t taken; size > 0; at += taken, size -= taken) {
        if (lane->range->chunk == lane->range->end) break;
        if (!fill(lane, at, size, &taken)) return false;
    }
    if (size == 0) return true;
    tt__problem_set(&lane->problem, TT__NO_RANGES, TT_FETCH_RANGE,
                    "%s: the server sends more than the range it announced", lane->d->file.name);
    return false;
}

static bool is_stream_too_long(tt__lane *lane, size_t size) {
    tt__download *d = lane->d;
    if (size <= d->max_bytes - d->streamed) return false;
    tt__problem_set(&lane->problem, TT__FATAL, TT_FETCH_SIZE,
                    "%s: more than %" PRIu64 " bytes, which is the most for its kind", d->file.name,
                    d->max_bytes);
    return true;
}

static bool on_stream_bytes(void *context, const void *bytes, size_t size) {
    tt__lane *lane = context;
    const char *at = bytes;
    count(lane, size);
    if (is_stream_too_long(lane, size)) return false;
    for (size_t taken; size > 0; at += taken, size -= taken) {
        if (!fill(lane, at, size, &taken)) return false;
        lane->d->streamed += taken;
    }
    return true;
}

/* ---- the end of a request ---------------------------------------------------------------------------------------- */

/* What is too short for a look at its first bytes has not had one. */
static bool sniff_short(tt__lane *lane, const tt__slot *slot) {
    static unsigned char nothing[1];
    const tt__slot empty = {.bytes = nothing};
    if (lane->d->streamed == 0) return sniff(lane, &empty, 0, true);
    return !slot || sniff(lane, slot, slot->got >= TT__SNIFF_BYTES ? slot->got : 0, true);
}

/* The last chunk of a stream is as long as it happened to be. The size first: whoever looks for the chunk needs it. */
static void end_stream(tt__lane *lane, tt__range *range) {
    tt__download *d = lane->d;
    tt__slot *slot = range->slot;
    range->is_open = false;
    bool is_good = sniff_short(lane, slot);
    if (is_good && d->file.size_is_exact && d->file.size && d->streamed != d->file.size)
        is_good = tt__problem_set(&lane->problem, TT__WRONG_BYTES, TT_FETCH_SIZE,
                                  "%s: expected %" PRIu64 " bytes, found %" PRIu64, d->file.name,
                                  d->file.size, d->streamed) == TT_OK;
    if (!is_good) {
        tt__end_attempt(d, &lane->problem);
        return;
    }
    d->total = d->streamed;
    tt__window_set_total(&d->window, d->total);
    if (!slot) return;
    slot->size = slot->got;
    tt__window_complete(&d->window, slot);
}

static void judge_failure(tt__lane *lane, const tt_http_response *r) {
    tt__problem *p = &lane->problem;
    const char *name = lane->d->file.name;
    if (p->trouble != TT__FINE) return; /* we ended it ourselves */
    if (r->failure == TT_E_NOMEM)
        tt__problem_set(p, TT__FATAL, TT_FETCH_INTERNAL, "%s: %s", name, r->message);
    else if (r->was_refused)
        tt__problem_set(p, TT__FATAL, TT_FETCH_REFUSED, "%s: %s", name, r->message);
    else
        tt__problem_set(p, r->has_stalled ? TT__AGAIN_FREE : TT__AGAIN, TT_FETCH_NETWORK, "%s: %s",
                        name, r->message);
}

static void on_done(void *context, const tt_http_response *r) {
    tt__lane *lane = context;
    tt__download *d = lane->d;
    tt__range *range = lane->range;
    lane->transfer = NULL;
    lane->range = NULL;
    range->lane = NULL;
    if (r->failure == TT_OK && d->is_stream)
        end_stream(lane, range);
    else if (r->failure == TT_OK && range->chunk == range->end) {
        tt__lane_measure(lane);
        range->is_open = false;
    } else {
        if (r->failure == TT_OK)
            tt__problem_set(&lane->problem, TT__AGAIN, TT_FETCH_NETWORK,
                            "%s: the answer ended early", d->file.name);
        judge_failure(lane, r);
        treat(lane, range);
    }
    tt__pump(d);
}

/* ---- work for lanes ---------------------------------------------------------------------------------------------- */

enum { OWN_HEADERS = 3, SOURCE_HEADERS = 8 /* a service that wants to know who asks needs four */ };

/* What the source wants its url to be asked with: redirects are not followed, so it goes nowhere else. `lines` is a copy. */
static int add_source_headers(char lines[TT_SOURCE_HEADERS_BYTES], const char **headers, int n) {
    for (char *at = lines, *end; *at && n < SOURCE_HEADERS; at = end) {
        end = at + strcspn(at, "\n");
        if (*end) *end++ = '\0';
        headers[n++] = at;
    }
    return n;
}

static tt_status send(tt__lane *lane, tt_err *err) {
    enum { LINE_BYTES = 300 };
    tt__download *d = lane->d;
    char range[LINE_BYTES], agent[LINE_BYTES], lines[TT_SOURCE_HEADERS_BYTES];
    const char *headers[OWN_HEADERS + SOURCE_HEADERS + 1];
    memcpy(lines, d->file.headers, sizeof lines);
    int n = add_source_headers(lines, headers, 0);
    if (!d->is_stream) {
        snprintf(range, sizeof range, "Range: bytes=%" PRIu64 "-%" PRIu64, lane->first, lane->last);
        headers[n++] = range;
    }
    if (d->services->user_agent && *d->services->user_agent) {
        snprintf(agent, sizeof agent, "User-Agent: %s", d->services->user_agent);
        headers[n++] = agent;
    }
    headers[n++] = "Accept-Encoding: identity";
    headers[n] = NULL;
    bool has_ca = d->services->ca_file && *d->services->ca_file;
    int64_t left_ms = d->deadline_ms - tt_clock_ms();
    const tt_http_request request = {
        .method = "GET",
        .url = d->file.url,
        .headers = headers,
        .timeout_ms = left_ms > 0 ? left_ms : 1,
        .stall_timeout_ms = tt__scaled_ms(d, TT__STALL_MS),
        .https_only = !d->services->allow_private,
        .public_only = !d->services->allow_private,
        .no_proxy = true,
        .ca_file = has_ca ? d->services->ca_file : NULL,
        .on_head = on_head,
        .on_bytes = d->is_stream ? on_stream_bytes : on_range_bytes,
    };
    return tt_http_send(d->loop, &request, on_done, lane, &lane->transfer, err);
}

static tt_status start(tt__lane *lane, tt__range *range) {
    tt__download *d = lane->d;
    tt_err err;
    lane->range = range;
    range->lane = lane;
    range->tried_first = lane->first = next_byte(d, range);
    lane->last = last_byte(d, range);
    lane->url_number = d->url_number;
    lane->problem = (tt__problem){.trouble = TT__FINE};
    lane->started_ms = tt_clock_ms();
    lane->n_bytes = 0;
    if (send(lane, &err) == TT_OK) return TT_OK;
    tt__problem p;
    tt__problem_set(&p, TT__FATAL, err.code == TT_E_INVALID ? TT_FETCH_REFUSED : TT_FETCH_INTERNAL,
                    "%s: %s", d->file.name, err.message);
    tt__end_attempt(d, &p);
    return err.code;
}

/* The lowest range that waits for a lane and may begin; *due_ms: when the next one may. */
static tt__range *waiting_range(tt__download *d, int64_t now_ms, int64_t *due_ms) {
    tt__range *first = NULL;
    for (int i = 0; i < TT__MAX_RANGES; i++) {
        tt__range *r = &d->ranges[i];
        if (!r->is_open || r->lane) continue;
        if (r->not_before_ms > now_ms) {
            if (*due_ms < 0 || r->not_before_ms < *due_ms) *due_ms = r->not_before_ms;
        } else if (!first || r->chunk < first->chunk) {
            first = r;
        }
    }
    return first;
}

static bool has_resumed(const tt__download *d, uint64_t chunk) {
    return d->window.has_resumed && tt__journal_has(&d->window.resumed, chunk);
}

/* From the first chunk that nobody has asked for, up to one that is there. */
static uint64_t end_of_range(const tt__download *d, uint64_t chunk) {
    uint64_t total = known_total(d), end = chunk + 1;
    uint64_t n_chunks = total ? total / d->chunk_bytes + (total % d->chunk_bytes != 0) : UINT64_MAX;
    while (end < n_chunks && end - chunk < d->range_chunks && !has_resumed(d, end)) end++;
    return end;
}

/* NULL when there is none, or too many wait already. */
static tt__range *fresh_range(tt__download *d) {
    tt__range *range = NULL;
    for (int i = 0; i < TT__MAX_RANGES && !range; i++)
        if (!d->ranges[i].is_open) range = &d->ranges[i];
    while (has_resumed(d, d->next_chunk)) d->next_chunk++;
    bool is_end = d->next_chunk >= d->n_chunks || (d->is_stream && d->next_chunk > 0);
    if (!range || is_end) return NULL;
    *range =
        (tt__range){.is_open = true, .chunk = d->next_chunk, .end = end_of_range(d, d->next_chunk)};
    uint64_t seed = (uint64_t)tt_clock_us() ^ range->chunk << 32;
    tt_backoff_init(&range->backoff, TT__RETRY_BASE_MS, TT__RETRY_CAP_MS, seed);
    d->next_chunk = range->end;
    return range;
}

static void on_wake_timer(void *context) {
    tt__download *d = context;
    d->wake_timer = NULL;
    tt__pump(d);
}

/* Without memory for a timer the next tick does it. */
static void wake_later(tt__download *d, int64_t due_ms) {
    int64_t left_ms = due_ms - tt_clock_ms();
    tt_loop_timer_cancel(d->loop, d->wake_timer);
    d->wake_timer = NULL;
    tt_loop_timer(d->loop, left_ms > 0 ? left_ms : 0, on_wake_timer, d, &d->wake_timer, NULL);
}

static tt__lane *idle_lane(tt__download *d) {
    for (int i = 0; i < d->n_lanes_max; i++)
        if (!d->lanes[i].transfer) return &d->lanes[i];
    return NULL;
}

void tt__pump(tt__download *d) {
    int64_t now_ms = tt_clock_ms(), due_ms = -1;
    int n_wanted = d->is_begun && !d->is_stream ? d->n_lanes_wanted : 1;
    if (d->has_ended) return;
    if (d->hold_until_ms > now_ms) {
        wake_later(d, d->hold_until_ms);
        return;
    }
    for (int n_busy = tt__n_busy(d); n_busy < n_wanted; n_busy++) {
        tt__lane *lane = idle_lane(d);
        tt__range *range = waiting_range(d, now_ms, &due_ms);
        bool may_be_fresh = d->is_begun || due_ms < 0;
        if (!range && may_be_fresh && lane) range = fresh_range(d);
        if (!lane || !range || start(lane, range) != TT_OK) break;
        if (n_busy + 1 > d->n_lanes_most) d->n_lanes_most = n_busy + 1;
    }
    if (due_ms >= 0) wake_later(d, due_ms);
}

void tt__on_wake(void *download) {
    tt__download *d = download;
    static const tt__problem DONE = {.trouble = TT__FINE};
    uint64_t n;
    while (read(d->window.wake_fd, &n, sizeof n) < 0 && errno == EINTR) continue;
    tt__window_state state = tt__window_look(&d->window);
    if (has_failed(&state))
        fail_window(d, &state);
    else if (state.is_done)
        tt__end_attempt(d, &DONE);
    else
        tt__pump(d);
}
