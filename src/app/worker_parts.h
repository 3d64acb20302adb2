/* Inside the worker: worker.c (its life), worker_job.c (one job), worker_models.c (where its models come from). */
#ifndef TT_APP_WORKER_PARTS_H
#define TT_APP_WORKER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "app/metrics.h"
#include "app/models_store.h"
#include "app/resident.h"
#include "app/worker.h"

enum { TT__N_CHECKS = 2 };

struct tt_app_worker {
    tt_app_worker_options options;
    tt_worker_config config;
    tt_fitness_check checks[TT__N_CHECKS];
    tt_buf schema;          /* owned */
    tt_app_metrics metrics; /* has its own lock */
    /* Owned; NULL until somebody needs it. Written by the engine's user only; the thread that asks for metrics reads it under
     * store_lock, so that it is not closed meanwhile. */
    _Atomic(tt_store *) store;
    pthread_mutex_t store_lock;
    tt_app_stock stock;   /* of the worker's own models; a job has a copy with its preset */
    tt_app_models models; /* of that */
    pthread_mutex_t engine_lock;
    struct { /* under engine_lock */
        tt_app_resident resident;
        double decode_ms_per_pixel; /* of the last job: what the next may expect; 0: none yet */
    } shared;
};

/* worker_models.c */
void tt__worker_models_init(tt_app_worker *w);
/* At start: keys, and by the presets' policy the default preset's files; then its model is opened. */
tt_status tt__worker_models_start(tt_app_worker *w, tt_err *err);
/* Opens what the settings ask for, unless it is open. Under the lock; folders are taken out of the sentence. */
tt_status tt__worker_open(tt_app_worker *w, const tt_settings *s, tt_app_fetching_fn fetching,
                          void *fetching_context, tt_err *err);
bool tt__worker_store_counts(tt_app_worker *w, tt_store_counts *out); /* false: no store */
/* The model and the store are closed; leases end. May be called again. */
void tt__worker_models_close(tt_app_worker *w);

/* worker_job.c: a tt_handler. */
void tt__worker_handle(const tt_job *job, tt_reply *reply, void *context);

#endif
