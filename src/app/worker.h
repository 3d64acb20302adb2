/* The SDXL worker: the engine behind the SDK of tintype/worker.h. One model open at a time, one job at a time.
 *
 *     start     fetches what is to be here at start, opens the model (in the handlers' process)
 *     checks    "model": its files can be read; "render": a 64 x 64 picture of one step is a picture
 *     handler   {"input": {...}} -> preset -> settings -> request -> model, LoRAs -> pictures
 *               -> {"image": "...", "metadata": {...}}
 *
 * A job that asks for something senseless is answered with all that is wrong in one sentence; so is one whose model cannot be
 * had or opened, and the worker lives on. Clients never see a path, and nothing logs a prompt.
 *
 * Models: what a job's preset names is opened in place of what is open, if that is something else. A job that is cancelled, or
 * past its deadline, cancels its download; what came so far is kept for the next. */
#ifndef TT_APP_WORKER_H
#define TT_APP_WORKER_H

#include "app/models.h"
#include "app/presets.h"
#include "app/settings.h"
#include "base/log.h"
#include "tintype/engine.h"
#include "tintype/worker.h"

typedef struct tt_app_worker tt_app_worker;

/* All borrowed, with what they point to. */
typedef struct tt_app_worker_options {
    const tt_settings *settings; /* what the environment says; a job's own fields beat it */
    /* the model path may be a reference; NULL where presets name models */
    tt_engine_options engine;
    const tt_log *log;             /* NULL: silent */
    const tt_app_folders *folders; /* NULL: none */
    const tt_store_options *store; /* opened in the handlers' process; NULL: nothing is fetched */
    tt_presets_watch *presets;     /* NULL: none */
} tt_app_worker_options;

/* Opens nothing yet. */
tt_status tt_app_worker_new(const tt_app_worker_options *options, tt_app_worker **out, tt_err *err);
void tt_app_worker_free(tt_app_worker *w); /* NULL is fine */

/* For tt_worker_main; borrowed. `context` is the worker. */
const tt_worker_config *tt_app_worker_config(const tt_app_worker *w);

#endif
