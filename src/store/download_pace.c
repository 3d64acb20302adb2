/* The clock's side of a download, four times a second: the deadline, the caller's wish to stop, progress, lanes that are slow
 * beside their peers, and how many lanes there shall be.
 *
 *     slow     after 5 s of a request, below a tenth of the median of the other lanes (Ollama's rule): the range is asked for again
 *     lanes    every 2 s, when all were busy: half as many more if the last change made the whole faster by a tenth; halved on
 *              429 and 503 (download_net.c), and then no more of them for half a minute */
#include <stdlib.h>

#include "base/clock.h"
#include "store/download_parts.h"

enum {
    SLOW_AFTER_MS = 5000,
    SLOW_DIVISOR = 10,
    COUNT_LANES_MS = 2000,
    MS_PER_S = 1000,
};

#define FASTER_BY 1.1 /* more lanes only if the last ones were worth it */
#define SPEED_WEIGHT \
    0.25 /* of the newest quarter second in a lane's speed: about a second is remembered */

/* ---- deadline, stop, progress ------------------------------------------------------------------------------------ */

static bool end(tt__download *d, tt_fetch_class class_, const char *what) {
    tt__problem p;
    tt__problem_set(&p, TT__FATAL, class_, "%s: %s", d->file.name, what);
    tt__end_attempt(d, &p);
    return false;
}

/* Over the samples that are kept; 0 before there are two. */
static double speed_of_last_seconds(tt__download *d, uint64_t done, int64_t now_ms) {
    int oldest = d->n_samples < TT__SPEED_SAMPLES ? 0 : d->n_samples % TT__SPEED_SAMPLES;
    double speed = 0;
    if (d->n_samples > 0 && now_ms > d->sample_ms[oldest] && done > d->samples[oldest])
        speed = (double)(done - d->samples[oldest]) * MS_PER_S /
                (double)(now_ms - d->sample_ms[oldest]);
    d->samples[d->n_samples % TT__SPEED_SAMPLES] = done;
    d->sample_ms[d->n_samples % TT__SPEED_SAMPLES] = now_ms;
    d->n_samples++;
    return speed;
}

static bool tell_progress(tt__download *d, int64_t now_ms) {
    uint64_t done = d->resumed_bytes + d->stored_bytes;
    tt_download_progress p = {.bytes_done = done,
                              .bytes_total = d->total,
                              .bytes_per_s = speed_of_last_seconds(d, done, now_ms),
                              .eta_ms = -1,
                              .n_connections = tt__n_busy(d)};
    if (p.bytes_per_s > 0 && d->total > done)
        p.eta_ms = (int64_t)((double)(d->total - done) * MS_PER_S / p.bytes_per_s);
    d->told_ms = now_ms;
    return d->options->progress(d->options->progress_context, &p);
}

bool tt__pace_look(tt__download *d) {
    int64_t now_ms = tt_clock_ms();
    if (d->has_ended) return false;
    if (d->services->stop && atomic_load(d->services->stop))
        return end(d, TT_FETCH_CANCELLED, "stopped");
    if (now_ms >= d->deadline_ms)
        return end(d, TT_FETCH_DEADLINE, "the download did not end within its deadline");
    bool is_due = now_ms - d->told_ms >= tt__scaled_ms(d, TT__TICK_MS);
    if (d->options->progress && is_due && !tell_progress(d, now_ms))
        return end(d, TT_FETCH_CANCELLED, "cancelled");
    return true;
}

/* ---- lanes ------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Bytes per second of the present request. */
static double present_speed(const tt__lane *lane, int64_t now_ms) {
    int64_t age_ms = now_ms - lane->started_ms;
    return (double)lane->n_bytes * MS_PER_S / (double)(age_ms > 0 ? age_ms : 1);
}

void tt__lane_measure(tt__lane *lane) {
    double speed = present_speed(lane, tt_clock_ms());
    lane->speed = lane->speed > 0 ? lane->speed + SPEED_WEIGHT * (speed - lane->speed) : speed;
}

/* Of requests that ended, unless the present one has lasted: when the whole network slows down, nobody is slow. */
static double recent_speed(const tt__download *d, const tt__lane *lane, int64_t now_ms) {
    bool has_lasted =
        lane->transfer && now_ms - lane->started_ms >= tt__scaled_ms(d, SLOW_AFTER_MS) / 2;
    return has_lasted ? present_speed(lane, now_ms) : lane->speed;
}

/* Of all lanes but one; 0 when there is none, or none has brought anything. */
static double median_of_others(const tt__download *d, const tt__lane *lane, int64_t now_ms) {
    double speeds[TT_DOWNLOAD_MAX_CONNECTIONS] = {0};
    size_t n = 0;
    for (int i = 0; i < d->n_lanes_max; i++) {
        double speed = recent_speed(d, &d->lanes[i], now_ms);
        if (&d->lanes[i] != lane && speed > 0) speeds[n++] = speed;
    }
    qsort(speeds, n, sizeof *speeds, by_size);
    return n ? speeds[n / 2] : 0;
}

static bool is_slow(const tt__download *d, const tt__lane *lane, int64_t now_ms) {
    if (!lane->transfer || !lane->range || lane->range->n_free_tries >= TT__MAX_FREE_TRIES ||
        now_ms - lane->started_ms < tt__scaled_ms(d, SLOW_AFTER_MS))
        return false;
    return present_speed(lane, now_ms) * SLOW_DIVISOR < median_of_others(d, lane, now_ms);
}

static void look_at_lanes(tt__download *d, int64_t now_ms) {
    for (int i = 0; i < d->n_lanes_max && !d->is_stream && !d->has_ended; i++)
        if (is_slow(d, &d->lanes[i], now_ms)) tt__lane_give_up(&d->lanes[i]);
}

/* Lanes that had nothing to ask for say nothing about the network. */
static void count_lanes(tt__download *d, int64_t now_ms) {
    int64_t passed_ms = now_ms - d->paced_ms;
    if (passed_ms < tt__scaled_ms(d, COUNT_LANES_MS)) return;
    double speed = (double)(d->stored_bytes - d->paced_bytes) * MS_PER_S / (double)passed_ms;
    bool may_grow = now_ms >= d->lanes_held_until_ms && tt__n_busy(d) >= d->n_lanes_wanted;
    if (may_grow && speed > FASTER_BY * d->paced_speed) {
        d->n_lanes_wanted += d->n_lanes_wanted > 1 ? d->n_lanes_wanted / 2 : 1;
        if (d->n_lanes_wanted > d->n_lanes_max) d->n_lanes_wanted = d->n_lanes_max;
        d->paced_speed = speed;
    }
    d->paced_ms = now_ms;
    d->paced_bytes = d->stored_bytes;
}

/* ---- the tick ---------------------------------------------------------------------------------------------------- */

static void on_tick(void *context);

static tt_status set_tick(tt__download *d, tt_err *err) {
    return tt_loop_timer(d->loop, tt__scaled_ms(d, TT__TICK_MS), on_tick, d, &d->tick_timer, err);
}

static void on_tick(void *context) {
    tt__download *d = context;
    tt_err err;
    d->tick_timer = NULL;
    if (!tt__pace_look(d)) return;
    int64_t now_ms = tt_clock_ms();
    look_at_lanes(d, now_ms);
    if (d->is_begun) count_lanes(d, now_ms);
    tt__pump(d);
    if (set_tick(d, &err) != TT_OK) end(d, TT_FETCH_INTERNAL, err.message);
}

tt_status tt__pace_begin(tt__download *d, tt_err *err) {
    d->paced_ms = tt_clock_ms();
    d->paced_bytes = 0;
    d->paced_speed = 0;
    d->n_samples = 0;
    d->tick_timer = NULL;
    return set_tick(d, err);
}
