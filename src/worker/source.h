/* Where jobs come from and where their results go: the platform (platform.h) or a queue of this process (local_source.h).
 * The dispatcher (dispatch.h) stands between a source and the handler process. All calls both ways happen on the loop's
 * thread; none blocks. */
#ifndef TT_WORKER_SOURCE_H
#define TT_WORKER_SOURCE_H

#include "base/blob.h"
#include "job/envelope.h"

typedef struct tt_dispatch tt_dispatch;

typedef struct
    tt_final { /* how a job ended; blobs are raw JSON, NULL: none. The receiver takes its own holds */
    tt_blob *output;
    tt_blob *error; /* a JSON value of any type, normally a string */
    bool is_stream; /* the handler streams: the end says so on the wire, output is the list or [] */
    bool stops_pod; /* "stopPod": true: the platform replaces this worker */
} tt_final;

/* `key` names a job between source and dispatcher; chosen by the source, unique among its running jobs (two jobs of the
 * platform may carry the same id, runpod.md 1.4). */
typedef struct tt_source tt_source;
struct tt_source { /* embedded first */
    /* n_free slots are waiting for work; n_running jobs were given and have not ended: begin, resize or abort taking. Called
     * on every change, but not from inside itself: jobs may be given from within. */
    void (*slots)(tt_source *s, int n_free, int n_running);
    void (*progress)(tt_source *s, uint64_t key, tt_blob *value);
    /* `sent` is called once, maybe after the job's end, when the chunk is on its way or given up: the handler waits for it
     * before it is too many chunks ahead. A source that is freed need not call it. */
    void (*stream)(tt_source *s, uint64_t key, tt_blob *chunk, void (*sent)(void *context),
                   void *context);
    /* Exactly once per job that was given. was_stopped: it did not end by itself (cancelled, past its deadline, or handed back
     * because the worker ends), and `final` is empty. May come from inside tt_dispatch_cancel. */
    void (*finish)(tt_source *s, uint64_t key, const tt_final *final, bool was_stopped);
    /* Stop taking at once; then tt_dispatch_source_drained as soon as nothing is left to deliver. */
    void (*drain)(tt_source *s);
};

#endif
