/* Shared by the files of the spool (spool.h). */
#ifndef TT_WORKER_SPOOL_PARTS_H
#define TT_WORKER_SPOOL_PARTS_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "worker/spool.h"

/* One record of the table of jobs in flight. `is_used` is written last when a job is taken and first when it is done, so
 * a process that dies in between leaves either a whole record or none. */
typedef struct tt__spool_record {
    _Atomic uint32_t is_used;
    uint32_t reserved;
    int64_t taken_ms; /* wall clock */
    char job_id[TT_JOB_ID_BYTES];
    char worker_id[TT_JOB_ID_BYTES];
} tt__spool_record;

typedef enum tt__entry_state { TT__QUEUED, TT__WRITING, TT__ON_DISK, TT__FAILED } tt__entry_state;

enum { TT__SPOOL_NAME_BYTES = 64 };

struct tt_spool_entry {
    tt_spool_entry *next; /* in the queue */
    tt__entry_state state;
    bool is_unwanted; /* delivered: remove the file */
    bool is_left;     /* the worker ends: nobody asks for this entry again */
    int64_t at_ms;    /* wall clock */
    char name[TT__SPOOL_NAME_BYTES];
    tt_spool_facts facts;
    tt_wire_body body; /* held until written */
    size_t size_bytes;
};

struct tt_spool {
    const tt_log *log; /* borrowed */
    char folder[PATH_MAX];
    char worker_id[TT_JOB_ID_BYTES];
    int folder_fd, lock_fd;

    tt__spool_record *records; /* mapped; record 0 is the file's head; NULL: no marks */
    bool *is_old;              /* [TT_SPOOL_MARKS] marks of the worker before */
    int next_mark;             /* where the search for a free one goes on */

    char (*left)[TT__SPOOL_NAME_BYTES]; /* names of results found by open, oldest first */
    int n_left, next_left, next_old;

    uint64_t n_named; /* entries so far: names are unique within a millisecond */

    pthread_t writer;
    bool has_writer;
    struct { /* under the mutex; the loop's thread and the writer */
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        tt_spool_entry *first, **last;
        int n_files;
        int64_t n_bytes;
        bool is_closing, is_failing;
    } shared;
};

int64_t tt__spool_now_ms(void); /* wall clock: ages outlive processes */

/* spool_write.c */
tt_status tt__spool_writer_start(tt_spool *s, tt_err *err);
void tt__spool_writer_stop(tt_spool *s);
/* An entry for a file that is there. NULL when memory is out. */
tt_spool_entry *tt__spool_entry_of_file(const char *name, size_t size_bytes);

/* spool_sweep.c */
/* Opens and locks <folder_fd>/lock. TT_E_IO when somebody else holds it. */
tt_status tt__spool_lock(int folder_fd, const char *path, int *lock_fd, tt_err *err);
/* Removes folders beside ours that nobody holds and nothing happened in for TT_SPOOL_SWEEP_AGE_MS. */
void tt__spool_sweep(const char *folder, const tt_log *log);
/* Takes an empty folder away, with its lock and table. */
void tt__spool_remove_folder(int folder_fd, const char *path);

/* spool_left.c: finds what the worker before left; removes half-written files. */
tt_status tt__spool_scan(tt_spool *s, tt_err *err);

#endif
