/* What a worker must not forget when it is killed: the jobs it has taken, and the results it could not deliver yet.
 *
 *     <folder>/<name>/lock              held with flock by the one worker that uses this folder
 *                     running           the table of jobs in flight, mapped into memory (spool.c draws it)
 *                     <ms>-<n>.result   one undelivered result: a line of JSON with what is needed to post it (never a
 *                                       key), a line end, the body byte for byte
 *                     <ms>-<n>.part     a result being written; left-overs of that are removed
 *
 * The name is that of the worker whose successor shall find them. A worker that leaves nothing takes its folder away; folders
 * of workers that never came back are swept by whoever comes (a network volume sees thousands of pods).
 *
 * Marks cost a few memory writes, no system call: the kernel keeps the mapped page when the process dies. Results are
 * written by a thread of the spool, so that a slow disk never delays a heartbeat: written, synced, renamed.
 *
 * All calls from one thread (the loop's); none waits for the disk but open, next and close. A NULL spool keeps nothing. */
#ifndef TT_WORKER_SPOOL_H
#define TT_WORKER_SPOOL_H

#include "base/log.h"
#include "job/envelope.h"
#include "worker/wire.h"

typedef struct tt_spool tt_spool;
typedef struct tt_spool_entry tt_spool_entry; /* one result */

/* The platform forgets a job 24 h after it was submitted (runpod.md 4.2, policy.ttl): older left-overs help nobody. */
#define TT_SPOOL_MAX_AGE_MS ((int64_t)24 * 3600 * 1000)
/* The table of jobs in flight: as many as a worker may run at once (worker.h: 1000), rounded up. More run unmarked. */
enum { TT_SPOOL_MARKS = 1024 };
/* Beyond these, results are kept in memory only: a platform that was away for a day must not fill the disk. */
enum { TT_SPOOL_MAX_FILES = 10000 };
#define TT_SPOOL_MAX_BYTES ((int64_t)4 << 30)

/* Folders in which nothing happened for this long, and which no worker holds, are swept. */
#define TT_SPOOL_SWEEP_AGE_MS (2 * TT_SPOOL_MAX_AGE_MS)

/* Makes the folders (mode 0700), locks them, finds what was left. TT_E_IO with the reason when another worker uses them, they
 * belong to somebody else, or cannot be written. worker_id is kept with each mark. */
tt_status tt_spool_open(const char *folder, const char *name, const char *worker_id,
                        const tt_log *log, tt_spool **out, tt_err *err);
/* Waits until what was put is on disk; removes the folder when there is nothing in it. NULL is fine. */
void tt_spool_close(tt_spool *spool);

/* ---- jobs in flight ---------------------------------------------------------------------------------------------- */

/* A mark for tt_spool_unmark; -1: none (no spool, table full). */
int tt_spool_mark(tt_spool *spool, const char *job_id);
void tt_spool_unmark(tt_spool *spool, int mark);

/* ---- results ----------------------------------------------------------------------------------------------------- */

typedef struct tt_spool_facts {
    char job_id[TT_JOB_ID_BYTES];
    char worker_id[TT_JOB_ID_BYTES]; /* of the worker that took the job */
    bool is_stream;
} tt_spool_facts;

/* Starts writing; takes holds of the body's blobs. NULL when it cannot (told in the log, once per change). */
tt_spool_entry *tt_spool_put(tt_spool *spool, const tt_spool_facts *facts,
                             const tt_wire_body *body);
/* Somebody else has the result: the file is removed, or never written. The entry is gone. NULL is fine. */
void tt_spool_remove(tt_spool *spool, tt_spool_entry *entry);
/* The file stays for the next worker. The entry is gone. True when it is on disk, or about to be. NULL is fine: false. */
bool tt_spool_leave(tt_spool *spool, tt_spool_entry *entry);

/* ---- what a killed worker left ----------------------------------------------------------------------------------- */

typedef struct tt_spool_leftover {
    tt_spool_facts facts;
    tt_blob *body;         /* the caller's; NULL: the job was running when the worker was killed */
    tt_spool_entry *entry; /* of the file; NULL without one */
    int mark;              /* of the job; -1 without one */
} tt_spool_leftover;

/* The next of those found by open, oldest result first, then jobs without a result; false after the last. What is too old
 * or damaged is removed with a line in the log. */
bool tt_spool_next_leftover(tt_spool *spool, tt_spool_leftover *out);

#endif
