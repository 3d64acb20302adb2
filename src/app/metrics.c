/* See metrics.h. Names: tintype_engine_*, tintype_store_*, base units, _total on counters. */
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

void tt_app_metrics_opened(tt_app_metrics *m, const tt_engine_info *info, bool was_open) {
    pthread_mutex_lock(&m->lock);
    m->shared.loads++;
    m->shared.switches += was_open;
    snprintf(m->shared.model, sizeof m->shared.model, "%s", info->model_name);
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
    m->shared.kept += result->n_adapters > 0 && result->adapters_were_kept;
    m->shared.adapters += result->adapters_were_kept ? 0 : (uint64_t)result->n_adapters;
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
    put(p, "# TYPE tintype_%s %s\n", name, type);
    if (unit) put(p, "# UNIT tintype_%s %s\n", name, unit);
    put(p, "# HELP tintype_%s %s\n", name, help);
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
    put_head(p, "engine_jobs", "counter", NULL,
             "Jobs that the engine was asked for, by how they ended.");
    for (int i = 0; i < TT_OUTCOME_COUNT; i++)
        put(p, "tintype_engine_jobs_total{outcome=\"%s\"} %" PRIu64 "\n", OUTCOMES[i],
            m->shared.jobs[i]);
    put_head(p, "engine_pictures", "counter", NULL, "Pictures made.");
    put(p, "tintype_engine_pictures_total %" PRIu64 "\n", m->shared.pictures);
    put_head(p, "engine_steps", "counter", NULL, "Denoising steps of the pictures made.");
    put(p, "tintype_engine_steps_total %" PRIu64 "\n", m->shared.steps);
    put_head(p, "engine_model_loads", "counter", NULL, "Models opened.");
    put(p, "tintype_engine_model_loads_total %" PRIu64 "\n", m->shared.loads);
    put_head(p, "engine_model_switches", "counter", NULL, "Models opened in another one's place.");
    put(p, "tintype_engine_model_switches_total %" PRIu64 "\n", m->shared.switches);
    put_head(p, "engine_adapters_applied", "counter", NULL, "LoRAs put into weights.");
    put(p, "tintype_engine_adapters_applied_total %" PRIu64 "\n", m->shared.adapters);
    put_head(p, "engine_adapters_kept", "counter", NULL,
             "Jobs whose LoRAs were still in the weights from the job before.");
    put(p, "tintype_engine_adapters_kept_total %" PRIu64 "\n", m->shared.kept);
}

static void put_gauges(page *p, const tt_app_metrics *m) {
    put_head(p, "engine_load_seconds", "gauge", "seconds", "What opening the model took.");
    put(p, "tintype_engine_load_seconds %.6f\n", m->shared.load_s);
    put_head(p, "engine_weights_bytes", "gauge", "bytes", "Resident weights.");
    put(p, "tintype_engine_weights_bytes %zu\n", m->shared.weight_bytes);
    put_head(p, "engine_peak_memory_bytes", "gauge", "bytes",
             "The peak resident size of the process that draws.");
    put(p, "tintype_engine_peak_memory_bytes %zu\n", m->shared.peak_bytes);
}

/* A file's name: in a label, quotes, backslashes and line ends are escaped, and what is not UTF-8 is '?'. */
static void put_label(page *p, const char *text) {
    tt_err clean;
    tt_fail(&clean, TT_E_INVALID, "%s", text);
    for (const char *at = clean.message; *at; at++)
        put(p, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at == '\n' ? ' ' : *at);
}

static void put_model(page *p, const tt_app_metrics *m) {
    if (!m->shared.model[0]) return;
    put_head(p, "engine_open_model", "gauge", NULL, "The model that is open: its name.");
    put(p, "tintype_engine_open_model{model=\"");
    put_label(p, m->shared.model);
    put(p, "\"} 1\n");
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void put_store_counter(page *p, const char *name, const char *unit, const char *help,
                              double value) {
    char family[64];
    snprintf(family, sizeof family, "store_%s", name);
    put_head(p, family, "counter", unit, help);
    put(p, "tintype_%s_total %.15g\n", family, value);
}

static void put_key(page *p, const char *name, const char *help, tt_key_state state) {
    static const tt_key_state all[] = {TT_KEY_ABSENT, TT_KEY_ACCEPTED, TT_KEY_REFUSED,
                                       TT_KEY_UNKNOWN};
    put_head(p, name, "gauge", NULL, help);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        put(p, "tintype_%s{state=\"%s\"} %d\n", name, tt_key_state_name(all[i]), all[i] == state);
}

static void put_store(page *p, const tt_store_counts *c) {
    put_store_counter(p, "fetches", NULL, "Models downloaded.", (double)c->fetched);
    put_head(p, "store_failures", "counter", NULL, "Models that could not be had, by why.");
    for (int i = TT_FETCH_OK + 1; i < TT_FETCH_CLASSES; i++)
        put(p, "tintype_store_failures_total{class=\"%s\"} %" PRIu64 "\n",
            tt_fetch_class_name((tt_fetch_class)i), c->failed[i]);
    put_store_counter(p, "found", NULL, "Models that were here when they were asked for.",
                      (double)c->found);
    put_store_counter(p, "fetched_bytes", "bytes", "Bytes of models over the network.",
                      (double)c->bytes);
    put_store_counter(p, "fetch_seconds", "seconds", "Time spent downloading.", c->seconds);
    put_store_counter(p, "evictions", NULL, "Models removed to make room.", (double)c->evicted);
    put_store_counter(p, "evicted_bytes", "bytes", "What those took.", (double)c->evicted_bytes);
    put_key(p, "civitai_key", "Whether CivitAI accepts CIVITAI_API_KEY.", c->civitai_key);
    put_key(p, "hf_token", "Whether Hugging Face accepts HF_TOKEN.", c->hf_token);
}

size_t tt_app_metrics_write(tt_app_metrics *m, const tt_store_counts *store, char *text,
                            size_t size) {
    page p = {.text = text, .size = size};
    pthread_mutex_lock(&m->lock);
    put_head(&p, "engine_phase_seconds", "histogram", "seconds",
             "What each phase of a job took, over all its pictures.");
    for (int i = 0; i < TT_PHASE_COUNT; i++) put_phase(&p, m, (tt_app_phase)i);
    put_counters(&p, m);
    put_gauges(&p, m);
    put_model(&p, m);
    pthread_mutex_unlock(&m->lock);
    if (store) put_store(&p, store);
    if (p.used < size) return p.used;
    if (size > 0) text[0] = '\0';
    return 0;
}
