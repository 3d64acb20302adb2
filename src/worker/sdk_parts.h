/* The inside of tt_job and tt_reply, for who runs handlers: pool.c (over the channel) and desk.c (in this process). */
#ifndef TT_WORKER_SDK_PARTS_H
#define TT_WORKER_SDK_PARTS_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>

#include "job/envelope.h"
#include "tintype/worker.h"

/* ---- the job ------------------------------------------------------------------------------------------------------ */

typedef struct tt__kept tt__kept; /* a string that lives as long as its job */

typedef struct tt__job_state { /* what changes while a handler runs; any thread */
    atomic_bool is_cancelled;
    atomic_bool was_noticed; /* the handler was told so */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* is_cancelled, n_unsent */
    struct {                /* under the lock */
        int n_unsent;       /* chunks of the stream that have not left */
        bool is_progress_unsent;
        tt_buf progress; /* the newest that waits for that; size 0: none */
        tt__kept *kept;
        bool was_read;
        json_object *input; /* the tree of the input, made when first asked for */
    } shared;
} tt__job_state;

struct tt_job {
    tt_envelope envelope;
    int attempt;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    bool is_local;
    tt__job_state *state; /* owned */

    uint64_t number; /* the pool's: on the channel, and its lists */
    struct tt_job *next;
};

/* attempt 1, no deadline. default_id as tt_envelope_parse. */
tt_status tt__job_new(const char *text, size_t size, const char *default_id, tt_job **out,
                      tt_err *err);
void tt__job_free(tt_job *job); /* NULL is fine */
void tt__job_cancel(tt_job *job);
/* Waits until one of the first `max` chunks is free; false when the job was cancelled. Counts one more. */
bool tt__job_wait_for_chunk(tt_job *job, int max);
void tt__job_chunk_left(tt_job *job);

/* ---- the reply ---------------------------------------------------------------------------------------------------- */

/* Where the parts of a reply go while the handler runs. Embedded first. */
typedef struct tt__outlet tt__outlet;
struct tt__outlet {
    tt_status (*piece)(tt__outlet *o, tt_job *job, const void *bytes, size_t size, tt_err *err);
    bool (*stream)(tt__outlet *o, tt_job *job, const char *json, size_t size);
    void (*progress)(tt__outlet *o, tt_job *job, const char *json, size_t size);
};

struct tt_reply {
    tt__outlet *outlet;
    tt_job *job;
    bool is_streaming;
    const char *worker_id, *hostname; /* borrowed */
    bool has_output, has_pieces, has_error, refreshes_worker;
    tt_buf output, error; /* raw JSON */
    tt_err failure;       /* the first; TT_OK: none */
};

typedef struct tt__settled { /* how it ended; raw JSON, borrowed from the reply */
    tt_span output;          /* absent: none, or its pieces went out already */
    tt_span error;           /* absent: none */
    bool refreshes_worker;
    bool voids_pieces; /* pieces that went out must not be used */
} tt__settled;

void tt__reply_init(tt_reply *reply, tt__outlet *outlet, tt_job *job);
void tt__reply_release(tt_reply *reply);
/* After the handler returned: applies the rules of runpod.md 1.6. A streaming reply's output goes out as its last chunk. */
void tt__reply_settle(tt_reply *reply, tt__settled *out);

#endif
