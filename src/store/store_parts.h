/* Between the files of the store.
 *
 *     store.c           open, close, counts
 *     store_fetch.c     a caller: look, ask what was denied, join a flight, wait
 *     store_look.c      what is here
 *     store_flight.c    one fetch that several callers may wait for: its thread, its end
 *     store_work.c      what that thread does, from the lock to the commit
 *     store_part.c      the download itself, with what goes wrong on disks
 *     store_beats.c     leases and locks that must be kept alive: a thread
 *
 * Threads: a caller waits on its own thread and calls its own progress there; the work is done by the flight's thread. What
 * they share is in tt_store.shared, under its mutex. No callback is called, and no file is touched, with it held. */
#ifndef TT_STORE_STORE_PARTS_H
#define TT_STORE_STORE_PARTS_H

#include <pthread.h>

#include "store/store.h"

/* ---- store_beats.c ----------------------------------------------------------------------------------------------- */

/* A lease of this process, shared by all who use these bytes. It is kept a little longer than it is used: the next request
 * for the same model then needs no file. */
typedef struct tt__held {
    struct tt__held *next;
    char digest[TT_DIGEST_HEX + 1];
    tt_library_lease *lease;
    int n_users;
} tt__held;

typedef struct tt__locked {
    struct tt__locked *next;
    tt_library_lock *lock;
} tt__locked;

typedef struct tt__beats {
    tt_library *library;
    pthread_mutex_t mutex; /* of all that follows */
    pthread_cond_t changed;
    tt__held *held;
    tt__locked *locked;
    pthread_t thread;
    bool has_thread, must_end;
} tt__beats;

void tt__beats_init(tt__beats *b, tt_library *library);
void tt__beats_release(tt__beats *b);
/* *out NULL: no lease is needed. */
tt_status tt__beats_lease(tt__beats *b, const char *digest, tt_library_lease **out, tt_err *err);
void tt__beats_unlease(tt__beats *b, tt_library_lease *lease); /* NULL is fine */
/* Now, and not at the next beat: somebody needs room. */
void tt__beats_end_unused(tt__beats *b);
/* Keeps a lock alive until it is handed to unlock, which releases it. NULL is fine. */
void tt__beats_lock(tt__beats *b, tt__locked *locked);
void tt__beats_unlock(tt__beats *b, tt__locked *locked);

/* ---- store_flight.c ---------------------------------------------------------------------------------------------- */

typedef struct tt__flight {
    struct tt__flight *next;
    tt_store *s;
    tt_reference reference;
    tt_model_kind kind;
    pthread_t thread;

    /* The thread's own until is_done, then everybody's: */
    tt_status status;
    tt_fetch_error error;
    tt_library_entry entry;
    tt_library_lease *lease; /* so that nothing is evicted before its callers hold theirs */
    bool was_here;           /* somebody else had fetched it */
    bool is_fetched;         /* by us; neither: the same bytes had another name */
    uint64_t fetched_bytes;
    double ms[TT_PHASES];
    int64_t phase_since_ms;

    /* Under shared.mutex: */
    int n_waiters;
    /* so long another process may be waited for: the most patient caller's */
    int64_t patience_end_ms;
    bool is_done;
    tt_store_phase phase;
    char name[TT_MODEL_NAME_BYTES];
    tt_download_progress download;
} tt__flight;

struct tt_store {
    tt_store_options options;
    tt_library *library;
    tt__beats beats;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        tt__flight *flights; /* that may be joined */
        tt__flight *left;    /* that nobody waits for any more: joined at the next occasion */
        tt_store_counts counts;
    } shared;
};

/* A lease for whoever will hand it to tt_store_release; NULL: there is none, which harms little. */
tt_library_lease *tt__lease(tt_store *s, const char *digest);

/* Joins the flight for this or starts one, waits, and leaves it. A copy of its result goes to *out. */
tt_status tt__flight_take(tt_store *s, const tt_reference *r, const tt_store_fetch_options *options,
                          int64_t deadline_ms, tt_store_model *out, tt_fetch_error *error);
void tt__flights_reap(tt_store *s, bool must_wait);

/* For the thread: */
void tt__flight_phase(tt__flight *f, tt_store_phase phase);
void tt__flight_name(tt__flight *f, const char *name);
void tt__flight_download(tt__flight *f, const tt_download_progress *p);
bool tt__flight_is_patient(tt__flight *f);
bool tt__flight_is_unwanted(tt__flight *f); /* nobody waits, or everything stops */
tt_status tt__flight_cancelled(tt__flight *f);

/* ---- store_look.c ------------------------------------------------------------------------------------------------ */

/* TT_OK; TT_E_NOT_FOUND with error->class_ OK: not here, may be fetched; else a failure. Takes the lease. */
tt_status tt__look(tt_store *s, const tt_reference *r, tt_model_kind kind, tt_library_entry *out,
                   tt_library_lease **lease, tt_fetch_error *error);

/* ---- store_work.c, store_part.c ---------------------------------------------------------------------------------- */

void tt__work(tt__flight *f); /* fills in status and everything else */
const char *tt__credential(const tt_store *s, const tt_reference *r);
int64_t tt__default_deadline_ms(tt_model_kind kind);

/* Fetches, checks and commits; f->entry has what is known, and gets the rest. */
tt_status tt__fetch_part(tt__flight *f, const tt_source_file *file);

#endif
