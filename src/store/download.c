/* See download.h; download_parts.h says what is where. Here: which attempt comes next.
 *
 *     ranges, with what an earlier process left    --other file-->    ranges, from nothing
 *     ranges                                       --the server's ranges make no sense-->    a stream, from nothing
 *     any        --digest or exact size wrong-->   a stream, from nothing: it rules out every error of ranges. Once.
 *     a stream   --network-->                      a stream, from nothing, a few times
 *
 * Each arrow is taken a fixed number of times, so this ends. Everything else that ends an attempt ends the download. */
#include "store/download.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/download_parts.h"

enum { MAX_STREAM_TRIES = 4, US_PER_S = 1000000 };

/* ---- one attempt ------------------------------------------------------------------------------------------------- */

static void reset_attempt(tt__download *d) {
    d->is_begun = d->has_ended = false;
    d->total = d->streamed = d->resumed_bytes = d->stored_bytes = 0;
    d->n_chunks = UINT64_MAX;
    d->next_chunk = 0;
    d->validator[0] = '\0';
    d->validator_url_number = d->url_number;
    d->outcome = (tt__problem){.trouble = TT__FATAL};
    for (int i = 0; i < TT_DOWNLOAD_MAX_CONNECTIONS; i++) d->lanes[i] = (tt__lane){.d = d};
    memset(d->ranges, 0, sizeof d->ranges);
    tt__window_clear(&d->window);
}

static bool is_whole(const tt__journal *j) {
    for (uint64_t i = 0; i < tt__journal_n_chunks(j); i++)
        if (!tt__journal_has(j, i)) return false;
    return true;
}

/* Nothing is missing: with a promised digest nobody need be asked; else the last chunk is fetched again, for an answer to
 * compare validators with. */
static void treat_whole_part(tt__download *d) {
    tt__journal *j = &d->window.resumed;
    uint64_t last = tt__journal_n_chunks(j) - 1;
    tt__problem p;
    if (!is_whole(j)) return;
    if (!*d->file.digest)
        j->written[last / 8] = (unsigned char)(j->written[last / 8] & ~(1u << (last % 8)));
    else if (tt__begin(d, j->total) != TT_OK) {
        p = d->outcome;
        tt__end_attempt(d, &p);
    }
}

static tt_status run_loop(tt__download *d, tt_err *err) {
    TT_TRY(tt_loop_watch(d->loop, d->window.wake_fd, tt__on_wake, d, err));
    tt_status status = tt__pace_begin(d, err);
    if (status == TT_OK && d->window.has_resumed) treat_whole_part(d);
    if (status == TT_OK) tt__pump(d);
    if (status == TT_OK) status = tt_loop_run(d->loop, err);
    tt_loop_timer_cancel(d->loop, d->tick_timer);
    tt_loop_timer_cancel(d->loop, d->wake_timer);
    d->tick_timer = d->wake_timer = NULL;
    tt_loop_unwatch(d->loop, d->window.wake_fd);
    return status;
}

static void attempt(tt__download *d, bool may_resume) {
    tt_err err;
    reset_attempt(d);
    if (may_resume) tt__journal_take_up(d);
    if (!d->window.has_resumed) tt__journal_forget(d);
    if (run_loop(d, &err) != TT_OK)
        tt__problem_set(&d->outcome, TT__FATAL, TT_FETCH_INTERNAL, "%s: %s", d->file.name,
                        err.message);
    tt__lanes_cancel(d);
    tt__window_end(&d->window);
    tt__journal_close(d);
}

/* ---- what it came to --------------------------------------------------------------------------------------------- */

static void write_digest(const tt__download *d, char out[TT_DIGEST_HEX + 1]) {
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->window.digest; i++) {
        out[2 * i] = HEX[d->window.digest[i] >> 4];
        out[2 * i + 1] = HEX[d->window.digest[i] & 15];
    }
    out[TT_DIGEST_HEX] = '\0';
}

static void check_digest(tt__download *d, tt_downloaded *out) {
    write_digest(d, out->digest);
    if (!*d->file.digest || strcmp(d->file.digest, out->digest) == 0) return;
    tt__problem_set(&d->outcome, TT__WRONG_BYTES, TT_FETCH_DIGEST,
                    "%s: expected the SHA-256 %s, found %s", d->file.name, d->file.digest,
                    out->digest);
}

static bool begin_stream(tt__download *d) {
    d->is_stream = true;
    d->n_retries++;
    return true;
}

static bool start_over(tt__download *d) {
    bool may = !d->has_started_over;
    d->has_started_over = true;
    return may && begin_stream(d);
}

/* A stream's trouble: the wait before the next one is told to the lanes as a hold. */
static bool stream_again(tt__download *d) {
    tt_backoff backoff;
    int64_t wait_ms = d->outcome.wait_ms;
    if (++d->n_stream_tries >= MAX_STREAM_TRIES || wait_ms > TT__MAX_WAIT_MS) return false;
    if (d->outcome.trouble == TT__EXPIRED) {
        int number = d->lanes[0].url_number;
        if (!tt__renew_link(d, number, &d->outcome, &wait_ms)) return false;
    } else {
        tt_backoff_init(&backoff, TT__RETRY_BASE_MS, TT__RETRY_CAP_MS, (uint64_t)tt_clock_us());
        for (int i = 0; i < d->n_stream_tries && d->outcome.wait_ms < 0; i++)
            wait_ms = tt_backoff_next_ms(&backoff);
        wait_ms = tt__scaled_ms(d, wait_ms);
    }
    d->hold_until_ms = tt_clock_ms() + wait_ms;
    return begin_stream(d);
}

/* Whether there shall be another attempt. */
static bool shall_go_on(tt__download *d, bool was_resumed) {
    switch (d->outcome.trouble) {
    case TT__FINE:
        return false;
    case TT__OTHER_FILE:
        return was_resumed;
    case TT__NO_RANGES:
        return !d->is_stream && begin_stream(d);
    case TT__WRONG_BYTES:
        return start_over(d);
    case TT__FATAL:
        return false;
    default:
        return d->is_stream && stream_again(d);
    }
}

static tt_status conclude(tt__download *d, tt_downloaded *out) {
    if (d->outcome.trouble != TT__FINE) {
        *d->error = d->outcome.error;
        if (d->outcome.trouble == TT__WRONG_BYTES) tt__journal_forget(d);
        return d->error->err.code;
    }
    out->size = d->total;
    TT_TRY(tt__part_finish(d, d->total));
    tt__journal_forget(d);
    return TT_OK;
}

static tt_status run(tt__download *d, tt_downloaded *out) {
    for (bool may_resume = true;; may_resume = false) {
        attempt(d, may_resume);
        if (d->outcome.trouble == TT__FINE) check_digest(d, out);
        if (!shall_go_on(d, may_resume)) return conclude(d, out);
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static size_t chunk_bytes_of(const tt_download_options *options) {
    int n = options->chunk_bytes;
    return n > 0 && n <= TT__JOURNAL_MAX_CHUNK_BYTES ? (size_t)n : TT_DOWNLOAD_CHUNK_BYTES;
}

/* Nothing is larger than what the map of chunks can hold. */
static void count_sizes(tt__download *d) {
    const tt_download_options *o = d->options;
    d->chunk_bytes = chunk_bytes_of(o);
    uint64_t most = (uint64_t)TT__JOURNAL_MAX_CHUNKS * d->chunk_bytes;
    d->range_chunks = o->range_chunks > 0 ? (uint64_t)o->range_chunks : TT_DOWNLOAD_RANGE_CHUNKS;
    d->max_bytes = o->max_bytes < most ? o->max_bytes : most;
}

static void count_lanes(tt__download *d) {
    int n = d->options->n_connections > 0 ? d->options->n_connections : TT_DOWNLOAD_CONNECTIONS;
    d->n_lanes_max = n < TT_DOWNLOAD_MAX_CONNECTIONS ? n : TT_DOWNLOAD_MAX_CONNECTIONS;
    d->n_lanes_wanted = d->n_lanes_max < TT__FIRST_LANES ? d->n_lanes_max : TT__FIRST_LANES;
}

static tt_status fail_start(tt__download *d, const tt_err *err) {
    return tt_fetch_fail(d->error, TT_FETCH_INTERNAL, "%s", err->message);
}

/* Too large for its kind by its own source's word. */
static tt_status check_promise(tt__download *d) {
    if (!d->file.size_is_exact || d->file.size <= d->max_bytes) return TT_OK;
    return tt_fetch_fail(d->error, TT_FETCH_SIZE,
                         "%s: %llu bytes, expected at most %llu for its kind", d->file.name,
                         (unsigned long long)d->file.size, (unsigned long long)d->max_bytes);
}

static tt_status with_loop(tt__download *d, tt_downloaded *out) {
    tt_err err;
    if (tt_loop_new(&d->loop, &err) != TT_OK) return fail_start(d, &err);
    tt_status status = check_promise(d);
    if (status == TT_OK) status = tt__part_open(d);
    if (status == TT_OK) status = run(d, out);
    tt_loop_free(d->loop);
    tt__part_close(d);
    out->fetched_bytes = d->fetched_bytes;
    out->seconds = (double)(tt_clock_ms() - d->begun_ms) / 1000;
    out->hash_seconds = (double)d->window.hash_us / US_PER_S;
    out->n_retries = d->n_retries;
    out->n_connections = d->n_lanes_most;
    return status;
}

tt_status tt_download(const tt_source_services *services, const tt_source_file *file,
                      const tt_download_options *options, tt_downloaded *out,
                      tt_fetch_error *error) {
    tt_err err;
    tt__download *d = tt_alloc(sizeof *d);
    *out = (tt_downloaded){.size = 0};
    if (!d) return tt_fetch_fail(error, TT_FETCH_INTERNAL, "download: out of memory for its state");
    d->services = services;
    d->options = options;
    d->file = *file;
    if (!*d->file.name) memcpy(d->file.name, "download", sizeof "download");
    d->error = error;
    d->begun_ms = tt_clock_ms();
    d->deadline_ms = d->begun_ms + options->deadline_ms;
    count_sizes(d);
    count_lanes(d);
    tt_status status = tt__window_init(&d->window, d->chunk_bytes, &err);
    if (status == TT_OK) {
        d->window.journal_ms = tt__scaled_ms(d, TT_DOWNLOAD_JOURNAL_MS);
        status = with_loop(d, out);
        tt__window_release(&d->window);
    } else {
        status = fail_start(d, &err);
    }
    tt_free(d);
    return status;
}
