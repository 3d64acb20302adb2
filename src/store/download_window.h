/* The window of a download: chunks in memory between the loop that receives them and the two threads that write and hash them. */
#ifndef TT_STORE_DOWNLOAD_WINDOW_H
#define TT_STORE_DOWNLOAD_WINDOW_H

#include <openssl/evp.h>
#include <pthread.h>

#include "base/err.h"
#include "store/download.h"
#include "store/download_journal.h"

/* FREE --take--> FILLING --complete--> COMPLETE --written--> WRITTEN --hashed, or room is needed--> FREE; what was hashed
 * before it was written is free when it is. */
typedef enum tt__slot_state {
    TT__SLOT_FREE,
    TT__SLOT_FILLING,
    TT__SLOT_COMPLETE,
    TT__SLOT_WRITTEN
} tt__slot_state;

/* A chunk in memory. FILLING: the loop's alone. Afterwards nobody writes its bytes; writer and hasher read them. */
typedef struct tt__slot {
    unsigned char *bytes; /* [chunk_bytes], in the window's memory */
    size_t size, got;
    uint64_t chunk;
    tt__slot_state state;            /* shared, as are: */
    bool is_being_hashed, is_hashed; /* of a COMPLETE or WRITTEN one */
} tt__slot;

typedef struct tt__window {
    int part_fd, journal_fd; /* journal_fd -1: none is kept */
    int wake_fd;             /* an eventfd: done, or something failed */
    size_t chunk_bytes;
    int64_t journal_ms;
    uint64_t reserve_bytes; /* of the part file: the writer asks for them; 0: not known */
    unsigned char
        *memory; /* [TT_DOWNLOAD_MEMORY_CHUNKS][chunk_bytes], owned; touched as far as needed */
    tt__slot slots[TT_DOWNLOAD_MEMORY_CHUNKS];

    tt__journal resumed; /* chunks that were on disk before; constant while the threads run */
    bool has_resumed;

    struct {
        pthread_mutex_t mutex;
        pthread_cond_t for_loop, for_writer, for_hasher;
        bool must_end; /* the threads leave soon */
        bool is_loop_waiting;
        uint64_t total, n_chunks; /* UINT64_MAX: not known yet */
        uint64_t wanted;          /* the chunk that the hasher waits for; UINT64_MAX: none */
        uint64_t written_bytes;
        tt__journal written;         /* what is on disk: the writer's to change */
        uint64_t n_taken, n_covered; /* chunks: begun in memory; in the journal since */
        bool is_bounded;             /* a journal is kept, and could be written */
        short free_slots[TT_DOWNLOAD_MEMORY_CHUNKS]; /* the one used last is taken first */
        int n_free;
        bool is_synced, has_digest; /* the end of each thread's work */
        int write_errno, read_errno;
        bool has_hash_failed;
    } shared;

    pthread_t writer, hasher;
    bool has_writer, has_hasher;
    int n_unsynced,
        n_unstarted; /* the writer's: chunks; unstarted: the disk was not told to begin */
    int64_t synced_ms;
    EVP_MD_CTX *sha; /* the hasher's, as are: */
    unsigned char digest[32];
    int64_t hash_us;
} tt__window;

tt_status tt__window_init(tt__window *w, size_t chunk_bytes, tt_err *err);
void tt__window_release(tt__window *w);
/* Ready for an attempt: all slots free, nothing known. Only while no threads run. */
void tt__window_clear(tt__window *w);
/* Starts the threads. total 0: not known, tt__window_set_total comes later. */
tt_status tt__window_begin(tt__window *w, uint64_t total, tt_err *err);
void tt__window_end(tt__window *w); /* stops and joins them; they may be done or not */

/* A slot for this chunk, FILLING. NULL: not now, as the disk or the journal is behind; tt__window_wait waits until it may be
 * worth another try. */
tt__slot *tt__window_take(tt__window *w, uint64_t chunk, size_t size);
void tt__window_wait(tt__window *w, int64_t for_ms);
void tt__window_complete(tt__window *w, tt__slot *slot);
void tt__window_set_total(tt__window *w, uint64_t total);

typedef struct tt__window_state {
    bool is_done; /* synced and hashed */
    int write_errno, read_errno;
    bool has_hash_failed;
} tt__window_state;
tt__window_state tt__window_look(tt__window *w);

/* For the two threads: */
void tt__window_wake(tt__window *w);
void tt__slot_free_unlocked(tt__window *w, tt__slot *slot);
void tt__loop_go_on_unlocked(tt__window *w); /* there may be room for it now */

void *tt__hasher_main(void *window);
void *tt__writer_main(void *window);

#endif
