/* The queue in memory from inside: its job, its index and its events. Private to job (and its tests). */
#ifndef TT_JOB_PARTS_H
#define TT_JOB_PARTS_H

#include <pthread.h>

#include "job/queue_memory.h"

/* ---- a job ------------------------------------------------------------------------------------------------------- */

typedef enum tt__time_out {
    TT__NO_TIME_OUT,
    TT__EXECUTION_TIME_OUT,
    TT__TTL_TIME_OUT
} tt__time_out;

typedef struct tt__memory_job tt__memory_job;
struct tt__memory_job {
    tt__memory_job *chain; /* the next in its bucket */
    tt__memory_job *previous,
        *next;        /* in the waiting or the ended list; a running job is in neither */
    uint64_t hash;    /* of the id */
    uint64_t arrival; /* place in line: waiting jobs are sorted by it */
    size_t at_due;    /* place in the heap */
    int64_t due_ms;   /* waiting, running: times out; ended: forgotten */

    char id[TT_JOB_ID_BYTES], worker_id[TT_JOB_ID_BYTES];
    tt_job_state state;
    int attempt;
    bool is_started; /* the latest attempt ran, or runs: started_ms means something */
    int64_t execution_timeout_ms, ttl_ms;
    int64_t submitted_ms, queued_ms, started_ms, finished_ms; /* queued: submitted or retried */

    tt_blob *envelope, *progress, *output, *error; /* held */
    int64_t progress_number;
    tt__time_out time_out; /* of TIMED_OUT: its sentence is written when somebody asks */
    int64_t time_out_ms;   /* the limit that was passed, as it was then */
    char *webhook;         /* owned */
    tt_blob **chunks;      /* owned; [first_chunk, end_chunk) hold what nobody took yet */
    size_t first_chunk, end_chunk, chunk_capacity;
    int64_t stored_bytes; /* what this job takes */
};

int64_t tt__blob_cost(const tt_blob *blob); /* bytes; NULL: 0 */
int64_t tt__ms_after(int64_t now_ms, int64_t span_ms);
int64_t tt__memory_job_ttl_end(const tt__memory_job *job);
int64_t tt__memory_job_run_end(
    const tt__memory_job *job); /* of the attempt that runs: the earlier of timeout and ttl */

tt_status tt__memory_job_new(const tt_job_spec *spec, int64_t now_ms, tt__memory_job **out,
                             tt_err *err);
void tt__memory_job_free(tt__memory_job *job);
void tt__memory_job_drop_chunks(tt__memory_job *job);
/* Room at end_chunk, filled with NULL. */
tt_status tt__memory_job_reserve_chunk(tt__memory_job *job, tt_err *err);
/* Release *out also on failure. */
tt_status tt__memory_job_view(const tt__memory_job *job, int64_t now_ms, tt_job_view *out,
                              tt_err *err);

typedef struct tt__job_list {
    tt__memory_job *first, *last;
} tt__job_list;

void tt__job_list_append(tt__job_list *list, tt__memory_job *job);
void tt__job_list_insert_by_arrival(tt__job_list *list,
                                    tt__memory_job *job); /* walks from the front */
void tt__job_list_remove(tt__job_list *list, tt__memory_job *job);

/* ---- the index: every job by id, and by when it is due ----------------------------------------------------------- */

typedef struct tt__job_index {
    tt__memory_job **buckets; /* chains by hash; n_buckets is a power of two */
    tt__memory_job **due;     /* a binary heap, the earliest first */
    size_t n_buckets, n_jobs, due_capacity;
    uint64_t seed;
} tt__job_index;

tt_status tt__job_index_init(tt__job_index *index, tt_err *err);
void tt__job_index_release(tt__job_index *index); /* not the jobs */
tt__memory_job *tt__job_index_find(const tt__job_index *index, const char *id);
/* job->id, arrival and due_ms are set. Fails for memory alone, then nothing has changed. */
tt_status tt__job_index_add(tt__job_index *index, tt__memory_job *job, tt_err *err);
void tt__job_index_remove(tt__job_index *index, tt__memory_job *job);
/* Also after a new arrival. */
void tt__job_index_set_due(tt__job_index *index, tt__memory_job *job, int64_t due_ms);

/* ---- events, in order -------------------------------------------------------------------------------------------- */

typedef struct tt__queue_event tt__queue_event;
struct tt__queue_event {
    tt__queue_event *previous, *next;
    uint64_t hash;      /* of the job's id */
    pthread_t thread;   /* that caused it, and tells it */
    bool is_being_told; /* the listeners run; the mutex is not held */
    tt_queue_event what;
    int attempt;
    char id[TT_JOB_ID_BYTES], worker_id[TT_JOB_ID_BYTES];
};

typedef struct tt__queue_event_line {
    tt__queue_event *first, *last; /* caused and not yet told, oldest first */
    tt__queue_event *spare;        /* by next */
    int n_spare;
} tt__queue_event_line;

/* ---- the queue --------------------------------------------------------------------------------------------------- */

typedef struct tt__memory_queue {
    tt_queue base;
    tt_queue_memory_options options; /* defaults filled in */
    struct {
        tt_queue_listener call;
        void *context;
    } listeners[TT_QUEUE_MAX_LISTENERS]; /* constant once several threads use the queue */
    int n_listeners;
    pthread_cond_t told; /* an event has been told */
    pthread_mutex_t mutex;
    struct { /* only with the mutex held */
        tt__job_index index;
        tt__job_list waiting; /* by arrival */
        tt__job_list ended;   /* in the order in which they ended */
        tt__queue_event_line events;
        uint64_t n_arrivals;
        tt_queue_counts counts; /* oldest_waiting_ms: computed when asked */
        int64_t ended_bytes;    /* what could be forgotten */
    } shared;
} tt__memory_queue;

/* All with the mutex held. Reserve first, for everything that a change will cause: adding cannot fail then. */
tt_status tt__queue_events_reserve(tt__memory_queue *q, int n, tt_err *err);
void tt__queue_events_add(tt__memory_queue *q, const tt__memory_job *job, tt_queue_event what);
/* Unlocks the mutex, then tells what this thread has caused. */
void tt__queue_events_tell_unlocking(tt__memory_queue *q);
void tt__queue_events_release(tt__memory_queue *q);

#endif
