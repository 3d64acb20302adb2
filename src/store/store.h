/* Where models come from. A reference goes in, a verified local file comes out; whatever has to happen in between happens
 * here: look, lock, ask the service, check the disk, download, verify, commit, remember.
 *
 *     tt_store_open(&options, &store, err);
 *     tt_store_fetch(store, "civitai:128078", &fetch, &model, &error);      blocks; network only when it is not here
 *     use(model.path);
 *     tt_store_release(store, &model);                                     ends the lease
 *     tt_store_close(store);
 *
 * Any number of threads; two that want the same thing share one download. */
#ifndef TT_STORE_STORE_H
#define TT_STORE_STORE_H

#include "base/log.h"
#include "store/download.h"
#include "store/library.h"

typedef struct tt_store tt_store;

enum { TT_STORE_MAX_HF_CACHES = 4 };

typedef struct tt_store_options {
    tt_library_options library;
    tt_source_services services;
    const char *const *hf_caches; /* "hub" folders, read in place; [n_hf_caches] */
    int n_hf_caches;
    bool is_offline; /* nothing is asked or fetched */
    /* Whether URLs without a known digest may be taken at their first word; else they need #sha256=. */
    bool trust_first_use;
    int n_connections;      /* of one download; 0: the default */
    uint64_t reserve_bytes; /* that must stay free on the disk; 0: TT_STORE_RESERVE_BYTES */
    const tt_log *log;      /* borrowed; NULL: silent */
} tt_store_options;

#define TT_STORE_RESERVE_BYTES ((uint64_t)256 << 20) /* for journals, results and the system */

/* Everything inside options is borrowed until the close. */
tt_status tt_store_open(const tt_store_options *options, tt_store **out, tt_err *err);
void tt_store_close(tt_store *s); /* NULL is fine; all models are to be released before */
tt_library *tt_store_library(tt_store *s);

typedef enum tt_store_phase {
    TT_PHASE_LOOKUP,
    TT_PHASE_WAIT, /* another process is fetching it */
    TT_PHASE_RESOLVE,
    TT_PHASE_DOWNLOAD,
    TT_PHASE_VERIFY, /* structure */
    TT_PHASE_COMMIT,
    TT_PHASES
} tt_store_phase;
const char *tt_store_phase_name(tt_store_phase p);

typedef struct tt_store_progress {
    tt_store_phase phase;
    const char *name; /* for people; "" until it is known */
    tt_download_progress download;
} tt_store_progress;

typedef struct tt_store_fetch_options {
    tt_model_kind kind;  /* what it is wanted for */
    int64_t deadline_ms; /* 0: 15 minutes for a checkpoint, 2 for others (models.md 3.3) */
    bool only_local;     /* TT_FETCH_OFFLINE instead of the network */
    /* what could not be had a while ago is asked for all the same: a person wants it */
    bool asks_again;
    const char *alias; /* a word to remember it by; NULL: none */
    bool (*progress)(void *context,
                     const tt_store_progress *progress); /* false: cancel. May be NULL */
    void *progress_context;
} tt_store_fetch_options;

/* A model that is here. Release it. */
typedef struct tt_store_model {
    tt_library_entry entry;
    bool was_here;        /* no network was touched */
    double ms[TT_PHASES]; /* by phase */
    uint64_t fetched_bytes;
    tt_library_lease *lease; /* the store's: it beats by itself */
} tt_store_model;

tt_status tt_store_fetch(tt_store *s, const char *reference, const tt_store_fetch_options *options,
                         tt_store_model *out, tt_fetch_error *error);
/* Whether it is here at this moment. Nothing is fetched, leased or counted. */
bool tt_store_has(tt_store *s, const char *reference, tt_model_kind kind);
/* Reads all that is here under this digest and compares. True: it was something else, and is gone. */
bool tt_store_is_spoilt(tt_store *s, const char *digest);
void tt_store_release(tt_store *s, tt_store_model *model); /* all zero is fine */

/* What happened so far, for metrics. A consistent copy. */
typedef struct tt_store_counts {
    uint64_t fetched; /* downloads that ended well */
    uint64_t failed[TT_FETCH_CLASSES];
    uint64_t found;                          /* without network */
    uint64_t bytes;                          /* over the network */
    double seconds;                          /* downloading */
    uint64_t evicted, evicted_bytes, shared; /* shared: waited for another thread's download */
    tt_key_state civitai_key, hf_token;      /* as last checked or seen in an answer */
} tt_store_counts;
tt_store_counts tt_store_get_counts(tt_store *s);

/* Asks the services whether the keys are accepted; fills in the counts. */
void tt_store_check_keys(tt_store *s, int64_t deadline_ms);

#endif
