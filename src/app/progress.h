/* How far a job is, as the JSON value that clients see while it runs:
 *
 *     {"stage": "text" | "denoise" | "vae" | "encode", "step": 7, "steps": 24, "picture": 0, "pictures": 1,
 *      "elapsed_ms": 2950, "eta_ms": 7160, "preview": "data:image/jpeg;base64,..."}
 *
 *     {"stage": "fetch", "phase": "download", "model": "boats.safetensors", "bytes": 94371840, "total_bytes": 209715200,
 *      "bytes_per_s": 210000000, "elapsed_ms": 450, "eta_ms": 549, "text": "downloading boats.safetensors 45 %, 210 MB/s, 1 s left"}
 *
 * picture counts from 0. eta_ms is null until a step has been timed. The preview is what the steps so far promise; only
 * jobs of this machine get one, where bytes cost nothing. */
#ifndef TT_APP_PROGRESS_H
#define TT_APP_PROGRESS_H

#include "base/buf.h"
#include "store/store.h"
#include "tintype/engine.h"
#include "tintype/worker.h"

typedef struct tt_app_progress {
    const tt_job *job;  /* borrowed */
    tt_reply *reply;    /* borrowed */
    double decode_ms;   /* what the VAE took for one such picture, from earlier jobs; 0: unknown */
    int64_t started_us; /* monotonic */
    int64_t previewed_us;    /* when the last preview was made; 0: never */
    double first_step_ms;    /* on the engine's clock: when denoising began */
    int n_pictures, n_steps; /* in all */
    int picture, step;       /* last heard */
    tt_buf preview, text;    /* owned: the last preview as a data URI; scratch */
} tt_app_progress;

void tt_app_progress_init(tt_app_progress *p, const tt_job *job, tt_reply *reply,
                          const tt_request *request);
void tt_app_progress_release(tt_app_progress *p);

/* A job that waits for a model. All else zero. */
typedef struct tt_app_fetching {
    const tt_job *job; /* borrowed */
    tt_reply *reply;   /* borrowed */
    int64_t started_us;
} tt_app_fetching;

/* A tt_app_fetching_fn with a tt_app_fetching as context: false once the job is cancelled. A model that is here is nobody's
 * news: looking for it is not told. */
bool tt_app_progress_fetching(void *context, const tt_store_progress *progress);

/* Before the engine is called, and between it and the picture files. */
void tt_app_progress_text(tt_app_progress *p);
void tt_app_progress_encode(tt_app_progress *p);

/* A tt_progress_fn with a tt_app_progress as context: false once the job is cancelled. Progress that cannot be made for
 * want of memory is left out. */
bool tt_app_progress_step(void *context, const tt_progress *step);

#endif
