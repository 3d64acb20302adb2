/* What the engine did, as OpenMetrics text: how long each phase took, how many pictures and jobs, how much memory. One
 * writer and one reader, each on a thread of its own. */
#ifndef TT_APP_METRICS_H
#define TT_APP_METRICS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"
#include "tintype/engine.h"

typedef enum tt_app_phase {
    TT_PHASE_TEXT,
    TT_PHASE_DENOISE,
    TT_PHASE_VAE,
    TT_PHASE_ENCODE,
    TT_PHASE_COUNT
} tt_app_phase;

typedef enum tt_app_outcome {
    TT_OUTCOME_DONE,
    TT_OUTCOME_INVALID, /* the job asked for something that makes no sense */
    TT_OUTCOME_FAILED,
    TT_OUTCOME_CANCELLED,
    TT_OUTCOME_COUNT
} tt_app_outcome;

enum { TT_PHASE_BUCKETS = 17 };

typedef struct tt_app_metrics {
    pthread_mutex_t lock;
    struct {                                                    /* under the lock */
        uint64_t buckets[TT_PHASE_COUNT][TT_PHASE_BUCKETS + 1]; /* the last: +Inf */
        double sum_s[TT_PHASE_COUNT];
        uint64_t jobs[TT_OUTCOME_COUNT];
        uint64_t pictures, steps;
        uint64_t loads, switches; /* models opened; of them in another's place */
        uint64_t adapters, kept; /* applied; sets that were still applied from the request before */
        char model[128];         /* what is open; "": nothing yet */
        double load_s;
        size_t weight_bytes, peak_bytes;
    } shared;
} tt_app_metrics;

void tt_app_metrics_init(tt_app_metrics *m);
void tt_app_metrics_release(tt_app_metrics *m);

/* `was_open`: another one was, before. */
void tt_app_metrics_opened(tt_app_metrics *m, const tt_engine_info *info, bool was_open);
/* A job that gave pictures, with `steps` each. */
void tt_app_metrics_drawn(tt_app_metrics *m, const tt_result *result, int steps, double encode_ms);
void tt_app_metrics_count(tt_app_metrics *m, tt_app_outcome outcome);

/* What the store counted is added where there is one (NULL: none). Writes the families, NUL-terminated; returns the bytes before the NUL. 0 when they do not fit: half a family would spoil
 * the whole page. */
size_t tt_app_metrics_write(tt_app_metrics *m, const tt_store_counts *store, char *text,
                            size_t size);

#endif
