/* The SDXL worker: the engine behind the SDK of tintype/worker.h. One model, one job at a time.
 *
 *     start     opens the model (in the handlers' process)
 *     checks    "model": its files can be read; "render": a 64 x 64 picture of one step is a picture
 *     handler   {"input": {...}} -> settings -> request -> pictures -> {"image": "...", "metadata": {...}}
 *
 * A job that asks for something senseless is answered with all that is wrong in one sentence. Clients never see a path, and
 * nothing logs a prompt. */
#ifndef TT_APP_WORKER_H
#define TT_APP_WORKER_H

#include "app/models.h"
#include "app/settings.h"
#include "base/log.h"
#include "tintype/engine.h"
#include "tintype/worker.h"

typedef struct tt_app_worker tt_app_worker;

typedef struct tt_app_worker_options {
    const tt_settings
        *settings;            /* what the environment says; a job's own fields beat it. Borrowed */
    tt_engine_options engine; /* the model path must be there. Strings borrowed */
    const tt_log *log;        /* borrowed; NULL: silent */
    /* Where LoRAs and pictures behind URLs come from. Borrowed; NULL: from nowhere. */
    const tt_app_models *models;
} tt_app_worker_options;

/* Opens nothing yet. */
tt_status tt_app_worker_new(const tt_app_worker_options *options, tt_app_worker **out, tt_err *err);
void tt_app_worker_free(tt_app_worker *w); /* NULL is fine */

/* For tt_worker_main; borrowed. `context` is the worker. */
const tt_worker_config *tt_app_worker_config(const tt_app_worker *w);

#endif
