/* The window: chunks in memory between the network and the two threads that take them, the writer and the hasher.
 *
 *     FREE --take--> FILLING --complete--> COMPLETE --both have passed--> FREE
 *
 * Chunks are handed out in order, so the window always holds the lowest ones that are missing: the hasher, who needs them in
 * order, never waits for a chunk that has no place. Memory is asked for when a slot is first used and used again, the
 * warmest slot first.
 *
 * `shared` is the only thing that three threads touch, under its mutex. The threads allocate nothing and wake the loop by
 * an eventfd, so they cannot fail for want of memory. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/download_parts.h"

/* ---- for the loop ------------------------------------------------------------------------------------------------ */

static tt__slot *find_free(tt__window *w) {
    tt__slot *cold = NULL;
    for (int i = 0; i < TT_DOWNLOAD_WINDOW_CHUNKS; i++) {
        tt__slot *s = &w->slots[i];
        if (s->state != TT__SLOT_FREE) continue;
        if (s->bytes) return s;
        if (!cold) cold = s;
    }
    return cold;
}

tt__slot *tt__window_take(tt__window *w, uint64_t chunk, size_t size, bool *is_out_of_memory) {
    *is_out_of_memory = false;
    pthread_mutex_lock(&w->shared.mutex);
    tt__slot *s = find_free(w); /* only this thread takes: it stays free */
    pthread_mutex_unlock(&w->shared.mutex);
    if (!s) return NULL;
    if (!s->bytes && !(s->bytes = tt_alloc(w->chunk_bytes))) {
        *is_out_of_memory = true;
        return NULL;
    }
    unsigned char *bytes = s->bytes;
    pthread_mutex_lock(&w->shared.mutex);
    *s = (tt__slot){.bytes = bytes,
                    .chunk = chunk,
                    .size = size,
                    .state = TT__SLOT_FILLING,
                    .is_filling = true};
    pthread_mutex_unlock(&w->shared.mutex);
    return s;
}

void tt__window_complete(tt__window *w, tt__slot *slot) {
    slot->is_filling = false;
    slot->lane = NULL;
    pthread_mutex_lock(&w->shared.mutex);
    slot->state = TT__SLOT_COMPLETE;
    pthread_cond_broadcast(&w->shared.changed);
    pthread_mutex_unlock(&w->shared.mutex);
}

void tt__window_set_total(tt__window *w, uint64_t n_chunks) {
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.n_chunks = n_chunks;
    pthread_cond_broadcast(&w->shared.changed);
    pthread_mutex_unlock(&w->shared.mutex);
}

void tt__window_wait(tt__window *w, int64_t for_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + for_ms % 1000 * 1000000;
    until.tv_sec += for_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&w->shared.mutex);
    if (!find_free(w)) pthread_cond_timedwait(&w->shared.changed, &w->shared.mutex, &until);
    pthread_mutex_unlock(&w->shared.mutex);
}

tt__window_state tt__window_look(tt__window *w) {
    pthread_mutex_lock(&w->shared.mutex);
    tt__window_state state = {.is_done = w->shared.is_synced && w->shared.has_digest,
                              .write_errno = w->shared.write_errno,
                              .read_errno = w->shared.read_errno,
                              .has_hash_failed = w->shared.has_hash_failed};
    pthread_mutex_unlock(&w->shared.mutex);
    return state;
}

/* ---- for the threads --------------------------------------------------------------------------------------------- */

void tt__window_wake(tt__window *w) {
    uint64_t one = 1;
    while (write(w->wake_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}

void tt__slot_pass_unlocked(tt__window *w, tt__slot *slot) {
    if (!slot->is_written || !slot->is_hashed) return;
    slot->state = TT__SLOT_FREE;
    pthread_cond_broadcast(&w->shared.changed);
    tt__window_wake(w);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static bool init_shared(tt__window *w) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) return false;
    bool is_good = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                   pthread_cond_init(&w->shared.changed, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    if (!is_good) return false;
    if (pthread_mutex_init(&w->shared.mutex, NULL) == 0) return true;
    pthread_cond_destroy(&w->shared.changed);
    return false;
}

tt_status tt__window_init(tt__window *w, size_t chunk_bytes, tt_err *err) {
    *w = (tt__window){.part_fd = -1, .journal_fd = -1, .wake_fd = -1, .chunk_bytes = chunk_bytes};
    if (!init_shared(w)) return tt_fail(err, TT_E_INTERNAL, "download: no locks");
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->sha = EVP_MD_CTX_new();
    if (w->wake_fd >= 0 && w->sha) return TT_OK;
    tt__window_release(w);
    return tt_fail(err, TT_E_INTERNAL, "download: no event descriptor, or no SHA-256");
}

void tt__window_release(tt__window *w) {
    for (int i = 0; i < TT_DOWNLOAD_WINDOW_CHUNKS; i++) tt_free(w->slots[i].bytes);
    EVP_MD_CTX_free(w->sha);
    if (w->wake_fd >= 0) close(w->wake_fd);
    pthread_cond_destroy(&w->shared.changed);
    pthread_mutex_destroy(&w->shared.mutex);
    w->sha = NULL;
    w->wake_fd = -1;
}

void tt__window_clear(tt__window *w) {
    for (int i = 0; i < TT_DOWNLOAD_WINDOW_CHUNKS; i++)
        w->slots[i] = (tt__slot){.bytes = w->slots[i].bytes};
    w->has_resumed = false;
    w->n_unsynced = 0;
    w->shared.must_end = w->shared.is_synced = w->shared.has_digest = false;
    w->shared.has_hash_failed = false;
    w->shared.write_errno = w->shared.read_errno = 0;
    w->shared.n_written = 0;
    w->shared.n_chunks = UINT64_MAX;
}

static uint64_t n_resumed(const tt__window *w, uint64_t n_chunks) {
    uint64_t n = 0;
    for (uint64_t i = 0; w->has_resumed && i < n_chunks; i++) n += tt__journal_has(&w->resumed, i);
    return n;
}

tt_status tt__window_begin(tt__window *w, uint64_t total, tt_err *err) {
    if (total) {
        w->shared.n_chunks = total / w->chunk_bytes + (total % w->chunk_bytes != 0);
        w->shared.n_written = n_resumed(w, w->shared.n_chunks);
    }
    w->synced_ms = tt_clock_ms();
    if (EVP_DigestInit_ex(w->sha, EVP_sha256(), NULL) != 1)
        return tt_fail(err, TT_E_INTERNAL, "download: SHA-256 is not to be had");
    w->has_writer = pthread_create(&w->writer, NULL, tt__writer_main, w) == 0;
    w->has_hasher = w->has_writer && pthread_create(&w->hasher, NULL, tt__hasher_main, w) == 0;
    if (w->has_hasher) return TT_OK;
    return tt_fail(err, TT_E_INTERNAL, "download: the system allows no further thread");
}

void tt__window_end(tt__window *w) {
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.must_end = true;
    pthread_cond_broadcast(&w->shared.changed);
    pthread_mutex_unlock(&w->shared.mutex);
    if (w->has_writer) pthread_join(w->writer, NULL);
    if (w->has_hasher) pthread_join(w->hasher, NULL);
    w->has_writer = w->has_hasher = false;
}
