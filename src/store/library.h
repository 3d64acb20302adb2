/* The files of the store: bytes under their digest, names that point at them, and who uses what. No network.
 *
 *     <root>/v1/blobs/sha256/ab/<64 hex>         bytes, 0444, appear whole or not at all
 *     <root>/v1/blobs/sha256/ab/<64 hex>.json    size, kind, what was verified
 *     <root>/v1/names/<sha256 of identity>.json  identity, digest, source, when, pins: written last; a name without bytes is a miss
 *     <root>/v1/used/<64 hex>                    coarse time of the last use: at most one write in ten minutes
 *     <root>/v1/negative/<sha256 of identity and credential>    why it cannot be had, until when
 *     <root>/v1/leases/<64 hex>.<process>        in use: never evicted while the heartbeat counts
 *     <root>/v1/locks/  v1/tmp/  v1/trash/       who is fetching; parts; evicted files, ten minutes before they go
 *     <root>/CACHEDIR.TAG
 *
 * Many processes on many machines share a root over NFS and worse: locks save work and are never needed for correctness.
 * Everything is opened below a descriptor of v1 with O_NOFOLLOW; no name in here comes from outside, they are all digests.
 * Read-only roots are looked at too, first; they are never written and never hidden. A root that cannot be written serves
 * what it has.
 *
 * Any number of threads; nothing is kept in memory but descriptors. */
#ifndef TT_STORE_LIBRARY_H
#define TT_STORE_LIBRARY_H

#include "base/buf.h"
#include "store/reference.h"

typedef struct tt_library tt_library;

enum {
    TT_LIBRARY_MAX_ROOTS = 8, /* read-only ones */
    TT_LIBRARY_MAX_RECORD_BYTES =
        64 * 1024, /* one JSON file: two references and a few names, all escaped */
    TT_LIBRARY_MAX_FILES = 64 * 1024,     /* looked at in one folder; a store has hundreds */
    TT_LIBRARY_LEASE_BEAT_MS = 20 * 1000, /* how often to call tt_library_lease_beat, */
    TT_LIBRARY_LOCK_BEAT_MS = 5 * 1000,   /* and tt_library_lock_beat */
    TT_LIBRARY_MIN_PREFIX = 8,            /* digits of a digest that people may give */
};

typedef struct tt_library_options {
    const char *root; /* made when it is missing; NULL: nothing is kept */
    /* [n_read_only] further roots, of the same form or plain folders of files */
    const char *const *read_only;
    int n_read_only;
    uint64_t max_bytes; /* of all blobs in root; 0: no limit but the disk */
    /* that tt_library_gc leaves free on the disk beside what it makes room for */
    uint64_t reserve_bytes;
    bool no_locks; /* for tests: as if the file system's locks did nothing */
} tt_library_options;

tt_status tt_library_open(const tt_library_options *options, tt_library **out, tt_err *err);
void tt_library_close(tt_library *l); /* NULL is fine */

/* Why root cannot be written ("read-only file system"); NULL when it can. Owned by the library. */
const char *tt_library_read_only_reason(const tt_library *l);

/* What is known of one model. A plain value. */
typedef struct tt_library_entry {
    char identity[TT_REFERENCE_BYTES]; /* "" for a blob that no name points at */
    char digest[TT_DIGEST_HEX + 1];
    char path[TT_MODEL_PATH_BYTES];  /* of the bytes */
    char name[TT_MODEL_NAME_BYTES];  /* for people */
    char alias[TT_MODEL_NAME_BYTES]; /* a word given by the owner; "" */
    char base_model[64], version[TT_MODEL_NAME_BYTES];
    char resolved[TT_REFERENCE_BYTES]; /* where it was fetched from, without secrets */
    char etag[256];
    tt_model_kind kind;
    uint64_t size;
    int64_t fetched_s, used_s; /* Unix time; 0: never */
    bool is_pinned, is_read_only, can_be_fetched_again;
    bool is_leased; /* by anybody; only lists say */
} tt_library_entry;

/* By identity, alias or digest (also a unique beginning of at least 8 digits, for people). TT_E_NOT_FOUND when it is not
 * here. Compares size and stamp only, never hashes. TT_E_FORMAT when it is here but was touched since it was written
 * (copied, or worse): tt_library_verify of the same reference tells, and makes it good or takes it away. */
tt_status tt_library_find(tt_library *l, const tt_reference *reference, tt_library_entry *out,
                          tt_err *err);
/* The name's record, also when its bytes are gone: what they were, and where they came from. path is "" then. */
tt_status tt_library_recall(tt_library *l, const char *identity, tt_library_entry *out,
                            tt_err *err);
/* Names first, then bytes without one, then plain files; `each` says false to stop. */
tt_status tt_library_list(tt_library *l, bool (*each)(void *context, const tt_library_entry *entry),
                          void *context, tt_err *err);

/* Room for one download: unique names in tmp/, or those of a dead process's download of the same identity, taken over. */
typedef struct tt_library_part {
    char part_path[TT_MODEL_PATH_BYTES], journal_path[TT_MODEL_PATH_BYTES];
    bool is_resumed;
} tt_library_part;
tt_status tt_library_part_begin(tt_library *l, const char *identity, tt_library_part *out,
                                tt_err *err);
void tt_library_part_drop(tt_library *l, const tt_library_part *part);  /* removes both files */
void tt_library_part_leave(tt_library *l, const tt_library_part *part); /* for whoever comes next */

/* The verified part becomes a blob, then the name is written: rename, directory sync, 0444. A blob that is there already
 * with the same digest wins. entry->path is filled in. An alias that named something else names this from now on. */
tt_status tt_library_commit(tt_library *l, const tt_library_part *part, tt_library_entry *entry,
                            tt_err *err);
/* The name alone, for bytes that are here under another name. */
tt_status tt_library_name(tt_library *l, const tt_library_entry *entry, tt_err *err);

/* Saves work only: true when this process should fetch; false when another does (ask again, or find it done). Stale locks
 * are those whose counter stood still for a minute on our clock. */
typedef struct tt_library_lock tt_library_lock;
bool tt_library_lock_try(tt_library *l, const char *identity, tt_library_lock **out);
void tt_library_lock_beat(tt_library_lock *lock); /* every few seconds while it is held */
void tt_library_lock_release(tt_library_lock *lock);

/* In use: eviction leaves it alone. Beat at least once a minute. NULL is fine everywhere. */
typedef struct tt_library_lease tt_library_lease;
tt_status tt_library_lease_take(tt_library *l, const char *digest, tt_library_lease **out,
                                tt_err *err);
void tt_library_lease_beat(tt_library_lease *lease);
void tt_library_lease_release(tt_library_lease *lease);
void tt_library_touch(tt_library *l, const char *digest); /* used now */

tt_status tt_library_pin(tt_library *l, const tt_reference *reference, bool pinned, tt_err *err);
/* The name goes; its bytes too when no other name points at them and nobody uses them. */
tt_status tt_library_remove(tt_library *l, const tt_reference *reference, uint64_t *freed,
                            tt_err *err);

typedef struct tt_library_sweep {
    int n_evicted, n_orphans, n_parts, n_names; /* removed */
    uint64_t freed_bytes, evicted_bytes /* of them */, kept_bytes;
} tt_library_sweep;
/* Orphans after an hour, dead parts after a day, trash after ten minutes, and, until `need_bytes` fit into the budget and
 * on the disk, the least used models. is_rehearsal: says what it would do. */
tt_status tt_library_gc(tt_library *l, uint64_t need_bytes, bool is_rehearsal,
                        tt_library_sweep *out, tt_err *err);

/* Hashes what is there. Bytes that are not what their name says are moved to trash/. */
typedef struct tt_library_verified {
    int n_good, n_bad, n_missing;
    char first_bad[TT_DIGEST_HEX + 1];
} tt_library_verified;
tt_status tt_library_verify(tt_library *l, const tt_reference *only /* NULL: everything */,
                            bool (*each)(void *context, const tt_library_entry *entry,
                                         bool is_good),
                            void *context, tt_library_verified *out, tt_err *err);

/* All name records as one JSON text (no bytes of models, no secrets), and back: records that are there already stay. */
tt_status tt_library_backup(tt_library *l, tt_buf *out, tt_err *err);
tt_status tt_library_restore(tt_library *l, const char *json, size_t size, int *n_restored,
                             int *n_missing_bytes, tt_err *err);

/* What could not be had, so that nobody asks again at once. `credential` tells keys apart without keeping them: any text; only
 * its hash is stored. */
void tt_library_deny(tt_library *l, const char *identity, const char *credential,
                     const tt_fetch_error *why, int64_t for_ms);
bool tt_library_is_denied(tt_library *l, const char *identity, const char *credential,
                          tt_fetch_error *why);

#endif
