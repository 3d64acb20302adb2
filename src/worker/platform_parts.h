/* Shared by the files of the platform source (platform.h). */
#ifndef TT_WORKER_PLATFORM_PARTS_H
#define TT_WORKER_PLATFORM_PARTS_H

#include "net/backoff.h"
#include "net/http_client.h"
#include "worker/delivery.h"
#include "worker/dispatch.h"
#include "worker/platform.h"
#include "worker/spool.h"
#include "worker/urls.h"
#include "worker/wire.h"

/* Pauses after failures are multiples of environment->retry_base_ms (500 ms), so that tests can shorten them all alike. */
enum {
    TT__SHORT_PAUSES = 2,    /* 1 s: between empty answers; between polls for stops */
    TT__PROGRESS_WAITS = 4,  /* 2 s: a final waits that long for the progress post before it */
    TT__LIMIT_PAUSES = 10,   /* 5 s: after 429 without a Retry-After, as the reference */
    TT__PROGRESS_TRIES = 20, /* 10 s: one progress post */
    TT__LONGEST_PAUSES = 60, /* 30 s */
    TT__CHUNK_PATIENCE =
        120, /* 60 s: one chunk of a stream; then it is given up, the stream goes on */
    TT__DRAIN_PATIENCE = 120, /* 60 s: a result that cannot be delivered while the worker ends */
    TT__ABSENT_PAUSES =
        120, /* 60 s: between questions for a route that the platform does not have */
};
/* A Retry-After beyond this is not believed. */
enum { TT__MAX_RETRY_AFTER_MS = 60 * 1000 };

/* What last went wrong with one kind of request: the log tells changes, not tries. */
typedef struct tt__trouble {
    int status; /* 0: the network; TT__NO_TROUBLE: none */
} tt__trouble;
enum { TT__NO_TROUBLE = -1 };

typedef struct tt__chunk {
    struct tt__chunk *next;
    tt_blob *blob; /* held */
    void (*sent)(void *context);
    void *context;
} tt__chunk;

/* A job from the moment it is taken until the platform has its end. */
typedef struct tt__task {
    tt_platform *platform;
    struct tt__task *next_of_key;     /* in the table */
    struct tt__task *next, *previous; /* in the order taken */
    uint64_t key;
    tt_spool_facts facts; /* the job's id, the worker that took it */
    int64_t deadline_ms;  /* monotonic; INT64_MAX: none */
    int64_t patience_ms;  /* how long its end is offered */
    bool is_running;      /* the dispatcher has it, and will call finish */
    bool is_stopped;      /* by the platform: nothing is posted any more */
    bool is_leftover;     /* of a worker before */

    struct {              /* platform_progress.c */
        tt_blob *pending; /* the newest not yet sent, held */
        tt_wire_body body;
        tt_http_transfer *transfer;
        tt_timer *timer;
        int64_t last_ms;
    } progress;
    struct {
        tt__chunk *first, **last; /* the first is being delivered */
        tt_wire_body body;
        tt_delivery *delivery;
        bool has_lost;
    } stream;
    struct { /* platform_end.c */
        tt_wire_body body;
        tt_blob *output; /* held while it may have to be uploaded */
        bool stops_pod;
        bool is_small;         /* the body is a report about a result that was refused */
        tt_delivery *delivery; /* of the body, or of the upload */
        char *link;            /* where the upload will be found */
        tt_timer *progress_wait, *spool_wait;
        tt_spool_entry *entry;
        int mark;
    } end;
} tt__task;

enum { TT__TASK_BUCKETS = 256 };

struct tt_platform {
    tt_source source; /* first */
    tt_loop *loop;
    const tt_log *log;
    const tt_environment *environment;
    bool refresh_worker;
    tt_urls urls;
    tt_wire_headers headers;
    tt_spool *spool; /* NULL: nothing is kept on disk */
    tt_dispatch *dispatch;
    bool is_started, is_draining, has_told_drained, has_taken;
    tt_timer *drained_timer, *leftover_timer;

    struct {
        tt__task *of_key[TT__TASK_BUCKETS];
        tt__task *first, *last;
        int n;
        uint64_t last_key;
    } tasks;

    struct { /* platform_take.c */
        int n_free;
        bool is_giving;
        tt_http_transfer *transfer;
        tt_timer *timer;
        int64_t begun_ms;
        tt_backoff failures, empties;
        int n_empty; /* instant empty answers in a row */
        tt__trouble trouble;
    } take;
    struct { /* platform_stop.c */
        tt_http_transfer *transfer;
        tt_timer *timer;
        int64_t begun_ms;
        tt_backoff failures;
        tt__trouble trouble;
        int n_matched; /* by the answer being read */
    } stop;
    struct { /* platform_ping.c */
        tt_http_transfer *transfer;
        tt_timer *timer;
        int64_t due_ms;
        tt__trouble trouble;
        tt_http_transfer *unfit;
        tt_timer *unfit_timer;
        void (*unfit_done)(void *context);
        void *unfit_context;
    } ping;
};

/* platform.c */
int64_t tt__pauses(const tt_platform *p, int n); /* n times the base */
/* A timer that must come. Without the memory for it the worker drains: it could only stand still. */
void tt__after(tt_platform *p, int64_t delay_ms, tt_loop_fn fn, void *context, tt_timer **out);
/* "Failed to <what>. | <reason>" when `status` is another trouble than before. */
void tt__trouble_tell(tt_platform *p, tt__trouble *trouble, tt_log_level level, const char *what,
                      int status, const char *reason);
void tt__trouble_end(tt_platform *p, tt__trouble *trouble, const char *what);
const char *tt__reason(const tt_http_response *response, char out[128]);
void tt__check_drained(tt_platform *p);
void tt__next_leftover(tt_platform *p);

/* platform_task.c */
tt_status tt__task_new(tt_platform *p, const char *job_id, tt__task **out, tt_err *err);
tt__task *tt__task_find(tt_platform *p, uint64_t key);
/* Cancels everything about it and takes it from the table; nobody's callback is called. Does not touch disk or marks. */
void tt__task_free(tt__task *task);
/* The ids of all that the platform waits for, joined by commas, each once, at most TT_MAX_PING_IDS_BYTES. */
tt_status tt__task_ids(tt_platform *p, tt_buf *out, tt_err *err);

/* platform_take.c, platform_stop.c, platform_ping.c */
void tt__take_update(tt_platform *p);
void tt__take_cancel(tt_platform *p);
void tt__stop_start(tt_platform *p);
void tt__stop_cancel(tt_platform *p);
void tt__ping_start(tt_platform *p);
void tt__ping_cancel(tt_platform *p);

/* platform_progress.c: what is said while a job runs */
void tt__task_progress(tt__task *task, tt_blob *value);
void tt__task_stream(tt__task *task, tt_blob *chunk, void (*sent)(void *context), void *context);
/* Drops what is not yet sent; what is on its way stays. */
void tt__task_quiet(tt__task *task);
/* Drops all of it; each chunk's `sent` is called. */
void tt__task_silence(tt__task *task);
bool tt__task_is_talking(const tt__task *task);

/* platform_end.c */
void tt__task_finish(tt__task *task, const tt_final *final, bool was_stopped);
/* Ends a task that never ran with {"error": sentence}. */
void tt__task_refuse(tt__task *task, const char *sentence);
/* The body is there; posts it as soon as nothing about the job is on its way any more. */
void tt__task_try_end(tt__task *task);
/* The platform wants nothing more of it. */
void tt__task_forget(tt__task *task);
/* The worker ends: what cannot be delivered soon is left on disk. */
void tt__task_hurry(tt__task *task);
/* The upload of its output ended: where it can be read, or NULL and why not. */
void tt__task_uploaded(tt__task *task, const char *link, const char *reason);
/* Leaves its result on disk, if it has one; false when it could not. One that is on disk needs no mark; a job that still
 * runs, or whose result is lost, keeps its mark, so that the next worker at least reports it. */
bool tt__task_leave(tt__task *task);

/* platform_upload.c: begins the upload of the task's output; tt__task_uploaded follows, unless it fails. */
tt_status tt__task_upload(tt__task *task, tt_err *err);

#endif
