/* The tender: asks the user's concurrency_modifier and metrics on a thread of its own, so that one that takes long delays
 * nothing. Asked at the start, soon after jobs ended, and once a second; not more often than every TICK_MS, since jobs may end
 * thousands of times a second and nobody looks that often. */
#include <errno.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "worker/pool_parts.h"

enum { IDLE_MS = 1000, TICK_MS = 100, FIRST_MS = 1000 };

static struct timespec in_ms(int64_t ms) {
    return tt_clock_moment(tt_clock_ms() + ms);
}

/* False once the pool ends. Under the lock. */
static bool wait_until(tt__pool *p, int64_t ms, bool ends_by_job) {
    struct timespec end = in_ms(ms);
    int waited = 0;
    while (waited != ETIMEDOUT && !p->shared.is_quitting &&
           !(ends_by_job && p->shared.has_ended_job))
        waited = pthread_cond_timedwait(&p->tick, &p->lock, &end);
    return !p->shared.is_quitting;
}

static bool wait_for_tick(tt__pool *p) {
    pthread_mutex_lock(&p->lock);
    bool goes_on = wait_until(p, TICK_MS, false) && wait_until(p, IDLE_MS - TICK_MS, true);
    p->shared.has_ended_job = false;
    pthread_mutex_unlock(&p->lock);
    return goes_on;
}

static void ask_concurrency(tt__pool *p, int *current) {
    const tt_worker_config *config = p->options->config;
    int wanted = config->concurrency_modifier(config->context, *current);
    if (wanted < 1 || wanted > TT_MAX_CONCURRENCY || wanted == *current) return;
    tt_packet_header header = {.type = TT_MESSAGE_CONCURRENCY, .value = wanted};
    if (tt__pool_send(p, &header, NULL, 0)) *current = wanted;
}

static void ask_metrics(tt__pool *p, char *text) {
    const tt_worker_config *config = p->options->config;
    size_t size = config->metrics(config->context, text, TT_MAX_METRICS_BYTES);
    tt_packet_header header = {.type = TT_MESSAGE_METRICS};
    if (size <= TT_MAX_METRICS_BYTES) tt__pool_send(p, &header, text, size);
}

static void tell_modified(tt__pool *p) {
    pthread_mutex_lock(&p->lock);
    p->shared.was_modified = true;
    pthread_cond_broadcast(&p->tick);
    pthread_mutex_unlock(&p->lock);
}

void tt__pool_wait_for_modifier(tt__pool *p) {
    struct timespec end = in_ms(FIRST_MS);
    int waited = 0;
    pthread_mutex_lock(&p->lock);
    while (waited != ETIMEDOUT && !p->shared.was_modified)
        waited = pthread_cond_timedwait(&p->tick, &p->lock, &end);
    pthread_mutex_unlock(&p->lock);
}

void *tt__pool_tend(void *pool) {
    tt__pool *p = pool;
    const tt_worker_config *config = p->options->config;
    int current = config->concurrency > 0 ? config->concurrency : 1;
    char *text = config->metrics ? tt_alloc(TT_MAX_METRICS_BYTES) : NULL;
    do {
        if (config->concurrency_modifier) ask_concurrency(p, &current);
        tell_modified(p);
        if (text) ask_metrics(p, text);
    } while (wait_for_tick(p));
    tt_free(text);
    return NULL;
}
