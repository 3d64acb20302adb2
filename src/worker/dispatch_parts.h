/* The inside of the dispatch files: dispatch.c (jobs, slots), dispatch_send.c (to the handlers), dispatch_receive.c (from
 * them), dispatch_life.c (death, restart, the end). */
#ifndef TT_WORKER_DISPATCH_PARTS_H
#define TT_WORKER_DISPATCH_PARTS_H

#include <pthread.h>

#include "base/limits.h"
#include "net/backoff.h"
#include "worker/channel.h"
#include "worker/dispatch.h"

/* One job from its give to its finish. */
typedef struct tt__run {
    uint64_t key;    /* the source's */
    uint64_t number; /* on the channel, once started: serial * TT_MAX_CONCURRENCY + slot */
    tt_envelope envelope;
    int attempt;
    int64_t deadline_ms, started_us;
    bool is_stopped;  /* by the source */
    bool is_given_up; /* the worker ends */
    int64_t hung_ms;  /* when a stopped job's handler is taken for hung */
    struct {          /* what is still to be said to its handler, in this order */
        struct tt__run *next;
        bool is_listed;
        bool has_job;
        size_t sent_bytes; /* of the job's text */
        int n_chunks;      /* that left */
        bool progress;     /* left */
        bool cancel;
    } tell;
    tt_buf output, error; /* raw JSON, as far as it came */
    tt_buf message;       /* a PROGRESS or STREAM that is not yet whole */
    tt_buf chunks;        /* all chunks as a list, without its closing bracket */
    tt_err failure;       /* what could not be kept; TT_OK: nothing */
    struct tt__run *next; /* while it waits */
} tt__run;

typedef struct tt__ticket { /* a chunk that the source has not sent yet; outlives its job */
    struct tt__ticket *next, *previous;
    tt_dispatch *dispatch;
    uint64_t number;
} tt__ticket;

typedef enum tt__dispatch_state {
    TT__STARTING, /* a handler process exists or is being made; it has not said READY */
    TT__READY,
    TT__DEAD,     /* the process died, a restart may come */
    TT__UNFIT,    /* for good: the mode that runs was told */
    TT__QUITTING, /* QUIT was said, or will be */
    TT__ENDED,    /* the loop was told to stop */
} tt__dispatch_state;

struct tt_dispatch {
    tt_dispatch_options options;
    tt__dispatch_state state;
    int handlers_pid; /* 0: not known */
    int concurrency;
    uint64_t serial;
    tt__run *slots[TT_MAX_CONCURRENCY]; /* running */
    int n_running;
    tt__run *first_waiting, *last_waiting;
    int n_waiting;
    tt__ticket *tickets;
    tt_blob *no_memory; /* the error of a job for whose error there is no memory */

    struct {
        tt__run *first, *last; /* jobs with something to tell */
        bool resize, quit, restart, reload;
        int writable_fd; /* an epoll: readable when the channel takes more */
        bool is_blocked; /* it is being watched */
    } tell;
    struct { /* what the source was last told of its slots */
        bool is_telling;
        int n_free, n_running;
    } told;

    bool was_ready, is_draining, is_source_drained, has_given_up;
    int n_deaths; /* without a finished job between */
    tt_backoff restart_backoff;
    tt_timer *restart_timer, *drain_timer, *grace_timer, *quit_timer, *hung_timer;

    tt_buf metrics;
    char packet[TT_CHANNEL_PAYLOAD_BYTES];

    struct { /* a copy for other threads */
        pthread_mutex_t lock;
        tt_dispatch_counts counts;
    } shared;
};

/* dispatch.c */
void tt__dispatch_advance(
    tt_dispatch *d); /* after any change: starts jobs, tells the source, ends what is over */
tt__run *tt__dispatch_run(tt_dispatch *d, uint64_t number); /* NULL: it ended */
typedef struct tt__ending {
    int64_t end_flags;      /* TT_END_* */
    bool is_stopped;        /* nobody wants what it said, or it said nothing */
    const char *error_type; /* a report instead of what it said; NULL: none */
    const char *error_message;
} tt__ending;
void tt__dispatch_end_run(tt_dispatch *d, tt__run *run, const tt__ending *ending);
void tt__dispatch_end_all(tt_dispatch *d, const tt__ending *ending, bool also_waiting);

/* dispatch_final.c */
/* The final of a job; its blobs are held by the caller. */
tt_final tt__dispatch_final(tt_dispatch *d, tt__run *run, const tt__ending *ending);

/* dispatch_send.c */
tt_status tt__dispatch_open_channel(tt_dispatch *d, tt_err *err);
void tt__dispatch_close_channel(tt_dispatch *d);
void tt__dispatch_tell(tt_dispatch *d, tt__run *run); /* it has something to tell */
void tt__dispatch_untell(tt_dispatch *d, tt__run *run);
void tt__dispatch_flush(tt_dispatch *d);

/* dispatch_receive.c */
void tt__dispatch_on_readable(void *dispatch);

/* dispatch_life.c */
void tt__dispatch_died(tt_dispatch *d, int wait_status);
void tt__dispatch_channel_gone(tt_dispatch *d);
void tt__dispatch_unfit(tt_dispatch *d, const char *check, const char *reason);
void tt__dispatch_watch_hung(tt_dispatch *d);
void tt__dispatch_check_end(tt_dispatch *d);
void tt__dispatch_stop_timers(tt_dispatch *d);

#endif
