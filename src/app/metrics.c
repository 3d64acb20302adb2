/* See metrics.h. Names: tintype_engine_*, base units, _total on counters. */
#include "app/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Seconds. From the text encoders on a GPU to the denoising of a large picture on two cores. */
static const double BOUNDS[TT_PHASE_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,  2.5,
                                                5,     10,   30,    60,   120, 180,  300, 600};
static const char *const PHASES[TT_PHASE_COUNT] = {"text", "denoise", "vae", "encode"};
static const char *const OUTCOMES[TT_OUTCOME_COUNT] = {"done", "invalid", "failed", "cancelled"};

void tt_app_metrics_init(tt_app_metrics *m) {
    memset(&m->shared, 0, sizeof m->shared);
    pthread_mutex_init(&m->lock, NULL);
}

void tt_app_metrics_release(tt_app_metrics *m) {
    pthread_mutex_destroy(&m->lock);
}

void tt_app_metrics_opened(tt_app_metrics *m, const tt_engine_info *info) {
    pthread_mutex_lock(&m->lock);
    m->shared.load_s = info->load_ms / 1000;
    m->shared.weight_bytes = info->weight_bytes;
    pthread_mutex_unlock(&m->lock);
}

static void observe(tt_app_metrics *m, tt_app_phase phase, double seconds) {
    int bucket = 0;
    while (bucket < TT_PHASE_BUCKETS && seconds > BOUNDS[bucket]) bucket++;
    m->shared.buckets[phase][bucket]++;
    m->shared.sum_s[phase] += seconds;
}

void tt_app_metrics_drawn(tt_app_metrics *m, const tt_result *result, int steps, double encode_ms) {
    const tt_timings *t = &result->timings;
    pthread_mutex_lock(&m->lock);
    observe(m, TT_PHASE_TEXT, t->text_ms / 1000);
    observe(m, TT_PHASE_DENOISE, t->denoise_ms / 1000);
    observe(m, TT_PHASE_VAE, t->vae_ms / 1000);
    observe(m, TT_PHASE_ENCODE, encode_ms / 1000);
    m->shared.pictures += (uint64_t)result->n_pictures;
    m->shared.steps += (uint64_t)result->n_pictures * (uint64_t)steps;
    if (result->peak_bytes > m->shared.peak_bytes) m->shared.peak_bytes = result->peak_bytes;
    pthread_mutex_unlock(&m->lock);
}

void tt_app_metrics_count(tt_app_metrics *m, tt_app_outcome outcome) {
    pthread_mutex_lock(&m->lock);
    m->shared.jobs[outcome]++;
    pthread_mutex_unlock(&m->lock);
}

/* ---- the text ------------------------------------------------------------------------------------------------------ */

typedef struct page {
    char *text;
    size_t size, used; /* used > size: it did not fit */
} page;

static void put(page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(page *p, const char *format, ...) {
    size_t at = p->used < p->size
                    ? p->used
                    : p->size; /* at the end there is no room, and nothing is written */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(p->text + at, p->size - at, format, args);
    va_end(args);
    p->used += n > 0 ? (size_t)n : 0;
}

static void put_head(page *p, const char *name, const char *type, const char *unit,
                     const char *help) {
    put(p, "# TYPE tintype_engine_%s %s\n", name, type);
    if (unit) put(p, "# UNIT tintype_engine_%s %s\n", name, unit);
    put(p, "# HELP tintype_engine_%s %s\n", name, help);
}

static void put_phase(page *p, const tt_app_metrics *m, tt_app_phase phase) {
    static const char family[] = "tintype_engine_phase_seconds";
    uint64_t count = 0;
    for (int i = 0; i < TT_PHASE_BUCKETS; i++) {
        count += m->shared.buckets[phase][i];
        put(p, "%s_bucket{phase=\"%s\",le=\"%.4g\"} %" PRIu64 "\n", family, PHASES[phase],
            BOUNDS[i], count);
    }
    count += m->shared.buckets[phase][TT_PHASE_BUCKETS];
    put(p, "%s_bucket{phase=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", family, PHASES[phase], count);
    put(p, "%s_sum{phase=\"%s\"} %.6f\n", family, PHASES[phase], m->shared.sum_s[phase]);
    put(p, "%s_count{phase=\"%s\"} %" PRIu64 "\n", family, PHASES[phase], count);
}

static void put_counters(page *p, const tt_app_metrics *m) {
    put_head(p, "jobs", "counter", NULL, "Jobs that the engine was asked for, by how they ended.");
    for (int i = 0; i < TT_OUTCOME_COUNT; i++)
        put(p, "tintype_engine_jobs_total{outcome=\"%s\"} %" PRIu64 "\n", OUTCOMES[i],
            m->shared.jobs[i]);
    put_head(p, "pictures", "counter", NULL, "Pictures made.");
    put(p, "tintype_engine_pictures_total %" PRIu64 "\n", m->shared.pictures);
    put_head(p, "steps", "counter", NULL, "Denoising steps of the pictures made.");
    put(p, "tintype_engine_steps_total %" PRIu64 "\n", m->shared.steps);
}

static void put_gauges(page *p, const tt_app_metrics *m) {
    put_head(p, "load_seconds", "gauge", "seconds", "What opening the model took.");
    put(p, "tintype_engine_load_seconds %.6f\n", m->shared.load_s);
    put_head(p, "weights_bytes", "gauge", "bytes", "Resident weights.");
    put(p, "tintype_engine_weights_bytes %zu\n", m->shared.weight_bytes);
    put_head(p, "peak_memory_bytes", "gauge", "bytes",
             "The peak resident size of the process that draws.");
    put(p, "tintype_engine_peak_memory_bytes %zu\n", m->shared.peak_bytes);
}

size_t tt_app_metrics_write(tt_app_metrics *m, char *text, size_t size) {
    page p = {.text = text, .size = size};
    pthread_mutex_lock(&m->lock);
    put_head(&p, "phase_seconds", "histogram", "seconds",
             "What each phase of a job took, over all its pictures.");
    for (int i = 0; i < TT_PHASE_COUNT; i++) put_phase(&p, m, (tt_app_phase)i);
    put_counters(&p, m);
    put_gauges(&p, m);
    pthread_mutex_unlock(&m->lock);
    if (p.used < size) return p.used;
    if (size > 0) text[0] = '\0';
    return 0;
}
