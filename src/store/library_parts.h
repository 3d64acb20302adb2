/* Between the files of the library.
 *
 *     library_open.c       roots, their folders' descriptors, whether ours can be written
 *     library_files.c      the few things that are done with files: read small ones, write them whole, unique names, time
 *     library_record.c     the JSON of names and of what is known about bytes
 *     library_names.c      names, aliases, pins
 *     library_find.c       from a reference to an entry; the list
 *     library_blobs.c      bytes: look, take away
 *     library_incoming.c   downloads in progress
 *     library_commit.c     a part becomes bytes with a name
 *     library_locks.c      who is fetching
 *     library_leases.c     who is using, and when last
 *     library_index.c      a walk over all of a root, for what has to see everything
 *     library_gc.c         what goes
 *     library_remove.c     what somebody wants gone
 *     library_verify.c     hashes
 *     library_backup.c     all names as one text
 *     library_negative.c   what could not be had
 *     library_folders.c    plain folders of files
 *
 * Threads: a library is constant after it was opened, but for the locks seen (fenced in tt__seen) and what the
 * descriptors of its own root stand for (library_open.c). */
#ifndef TT_STORE_LIBRARY_PARTS_H
#define TT_STORE_LIBRARY_PARTS_H

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/json.h"
#include "store/library.h"

enum {
    TT__KEY_HEX = TT_DIGEST_HEX, /* keys are SHA-256 too */
    TT__NONCE_HEX = 16,
    TT__FILE_NAME_BYTES = 256,
    TT__SEEN_LOCKS = 64, /* other processes' downloads that this one watches at once */
    TT__LOCK_STALE_MS = 60 * 1000,
    TT__LEASE_STALE_S = 5 * 60,
    TT__TRASH_GRACE_S = 10 * 60,
    TT__ORPHAN_GRACE_S = 60 * 60,
    TT__PART_GRACE_S = 24 * 60 * 60,
    TT__NAME_GRACE_S = 90 * 24 * 60 * 60, /* a name without bytes still knows what they were */
    TT__USED_GRAIN_S = 10 * 60,
};

typedef enum tt__folder {
    TT__BLOBS, /* blobs/sha256 */
    TT__NAMES,
    TT__USED,
    TT__NEGATIVE,
    TT__LEASES,
    TT__LOCKS,
    TT__TMP,
    TT__TRASH,
    TT__FOLDERS
} tt__folder;

typedef struct tt__root {
    char path[TT_MODEL_PATH_BYTES]; /* absolute where the system can say it */
    int fd;                         /* of the root itself; -1: not there */
    int v1[TT__FOLDERS];            /* -1: not there */
    bool is_ours;                   /* and can be written */
} tt__root;

/* What a lock's counter was when it was last seen to change, on our clock. */
typedef struct tt__sighting {
    char key[TT__KEY_HEX + 1];
    char text[96];
    int64_t since_ms;
} tt__sighting;

struct tt_library {
    tt__root roots[TT_LIBRARY_MAX_ROOTS + 1]; /* read-only ones first */
    int n_roots;
    tt__root *own; /* the last of them; NULL: none was given, or it cannot be written */
    char reason[TT_ERR_MESSAGE_BYTES];
    uint64_t max_bytes, reserve_bytes;
    bool no_locks;
    char machine[TT__NONCE_HEX +
                 1];      /* boot and process namespace: where a process' number means something */
    bool knows_processes; /* /proc tells who lives */
    pthread_mutex_t placing; /* held while own is looked for, and made and opened again */
    struct tt__seen {
        pthread_mutex_t mutex;
        tt__sighting locks[TT__SEEN_LOCKS];
        int next;
    } seen;
};

/* ---- library_open.c ---------------------------------------------------------------------------------------------- */

/* Before anything is written: TT_E_IO with the reason where that cannot be. Folders that were taken away are made again. */
tt_status tt__need_own(tt_library *l, tt_err *err);

/* ---- library_files.c --------------------------------------------------------------------------------------------- */

void tt__nonce(char out[TT__NONCE_HEX + 1]); /* random, unique in the world */
/* SHA-256 of a and, where b is not NULL, of a zero byte and b. */
void tt__key(const char *a, const char *b, char out[TT__KEY_HEX + 1]);
bool tt__is_hex(const char *text, size_t n);
/* Whole regular file below dir, no link followed, at most out->limit_bytes. */
tt_status tt__read_at(int dir, const char *name, tt_buf *out, tt_err *err);
/* Old or new, never half: a file in tmp, synced, renamed; then the folder is synced. */
tt_status tt__write_at(tt_library *l, int dir, const char *name, const tt_buf *text, tt_err *err);
bool tt__stat_at(int dir, const char *name, struct stat *out); /* regular files only, no links */
/* What the file system's server thinks is now, in seconds: file times are compared with this. */
int64_t tt__fs_now_s(tt_library *l);
int64_t tt__now_s(void);
/* A folder to walk; NULL (errno) when it is not there. dir stays open. */
DIR *tt__walk(int dir);
bool tt__process_is_dead(const tt_library *l, const char *machine, long pid, uint64_t started);
uint64_t tt__process_start(long pid); /* 0: no such process */

/* ---- library_record.c -------------------------------------------------------------------------------------------- */

/* A name's file: everything but path, used_s, is_read_only and is_leased. Every field is bounded and printable. */
tt_status tt__record_parse(const char *text, size_t size, tt_library_entry *out, tt_err *err);
tt_status tt__record_read(json_object *tree, tt_library_entry *out, tt_err *err);
tt_status tt__record_format(const tt_library_entry *entry, tt_buf *out, tt_err *err);

/* A blob's file. */
typedef struct tt__facts {
    uint64_t size;
    int64_t stamp_s; /* modification time when it was written or last hashed */
    tt_model_kind kind;
    bool can_be_fetched_again;
    char name[TT_MODEL_NAME_BYTES];
} tt__facts;
tt_status tt__facts_parse(const char *text, size_t size, tt__facts *out, tt_err *err);
tt_status tt__facts_format(const tt__facts *facts, tt_buf *out, tt_err *err);

/* A bounded string without control characters; false: something else. Absent: "". */
bool tt__member_text(json_object *tree, const char *name, char *out, size_t size);

/* ---- library_names.c --------------------------------------------------------------------------------------------- */

/* The record under this identity in one root; path is not looked for. */
tt_status tt__name_read(const tt__root *root, const char *identity, tt_library_entry *out,
                        tt_err *err);
/* One that was found by its file's name. False: not a record (an alias, damage). */
bool tt__name_read_file(const tt__root *root, const char *file, tt_library_entry *out);
tt_status tt__name_write(tt_library *l, const tt_library_entry *entry, tt_err *err);
void tt__name_delete(tt_library *l, const tt_library_entry *entry);
/* The identity an alias stands for; false: no such alias here. */
bool tt__alias_of_file(const tt__root *root, const char *file, char identity[TT_REFERENCE_BYTES]);
bool tt__alias_read(const tt__root *root, const char *alias, char identity[TT_REFERENCE_BYTES]);

/* ---- library_blobs.c --------------------------------------------------------------------------------------------- */

typedef enum tt__blob_state { TT__BLOB_ABSENT, TT__BLOB_TOUCHED, TT__BLOB_GOOD } tt__blob_state;

/* size 0: whatever it is. facts may be NULL. */
tt__blob_state tt__blob_look(const tt__root *root, const char *digest, uint64_t size,
                             struct stat *st, tt__facts *facts);
/* The first root that has it; NULL. *state is the best seen. */
const tt__root *tt__blob_find(const tt_library *l, const char *digest, uint64_t size,
                              tt__blob_state *state, tt__facts *facts);
void tt__blob_path(const tt__root *root, const char *digest, char path[TT_MODEL_PATH_BYTES]);
int tt__blob_open(const tt__root *root, const char *digest);                   /* -1 (errno) */
int tt__blob_folder(const tt__root *root, const char *digest, bool must_make); /* ab/; -1 (errno) */
tt_status tt__facts_write(tt_library *l, const char *digest, const tt__facts *facts, tt_err *err);
/* One entry of a folder, whatever it is. */
bool tt__move_to_trash(tt_library *l, int folder, const char *name_here);
/* Into trash/, or gone at once. */
bool tt__blob_away(tt_library *l, const char *digest, bool at_once);
/* Path, used_s, is_read_only of an entry whose bytes are in root. */
void tt__entry_complete(const tt__root *root, tt_library_entry *entry);

/* ---- library_leases.c -------------------------------------------------------------------------------------------- */

/* Leases of root that count: walks once. `each` gets digests; NULL only removes stale ones. */
void tt__leases_walk(tt_library *l, int64_t now_s, void (*each)(void *context, const char *digest),
                     void *context, bool may_remove);
int64_t tt__used_s(const tt__root *root, const char *digest);

/* ---- library_index.c --------------------------------------------------------------------------------------------- */

typedef struct tt__indexed {
    char digest[TT_DIGEST_HEX + 1];
    uint64_t size;
    int64_t changed_s, used_s; /* of the bytes; last use or, where later, when they came */
    int n_names;
    bool has_bytes, is_pinned, is_leased, is_rare; /* rare: cannot be fetched again */
} tt__indexed;

typedef struct tt__index {
    tt__indexed *items; /* sorted by digest */
    size_t n, capacity;
} tt__index;

/* Bytes, and digests that names speak of. */
tt_status tt__index_make(tt_library *l, const tt__root *root, tt__index *out, tt_err *err);
void tt__index_release(tt__index *index);
tt__indexed *tt__index_find(const tt__index *index, const char *digest);
/* Every digest with a file; false from `each` stops. */
void tt__blobs_walk(const tt__root *root, bool (*each)(void *context, const char *digest),
                    void *context);

/* ---- library_folders.c ------------------------------------------------------------------------------------------- */

/* A plain file by its name, with or without .safetensors. */
bool tt__plain_find(const tt_library *l, const char *name, tt_library_entry *out);
bool tt__plain_walk(const tt_library *l, bool (*each)(void *context, const tt_library_entry *entry),
                    void *context);

#endif
