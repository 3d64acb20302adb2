/* The hasher: SHA-256 of all chunks in order, from memory, or from the part file where an earlier process left them or memory
 * was needed for others meanwhile. A core does 1.9 GB/s with SHA instructions and 0.5 without, so it keeps pace with 15 or 4
 * Gbit/s. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/download_parts.h"

enum { READ_BYTES = 256 * 1024 };

typedef enum found { FOUND_NOTHING, FOUND_END, FOUND_STOP, FOUND_SLOT, FOUND_ON_DISK } found;

static tt__slot *held_slot(tt__window *w, uint64_t chunk) {
    for (int i = 0; i < TT_DOWNLOAD_MEMORY_CHUNKS; i++) {
        tt__slot *s = &w->slots[i];
        bool is_whole = s->state == TT__SLOT_COMPLETE || s->state == TT__SLOT_WRITTEN;
        if (is_whole && s->chunk == chunk) return s;
    }
    return NULL;
}

static found look_unlocked(tt__window *w, uint64_t chunk, tt__slot **slot) {
    if (w->shared.must_end) return FOUND_STOP;
    if (chunk >= w->shared.n_chunks) return FOUND_END;
    if ((*slot = held_slot(w, chunk))) {
        (*slot)->is_being_hashed = true;
        return FOUND_SLOT;
    }
    return tt__journal_has(&w->shared.written, chunk) ? FOUND_ON_DISK : FOUND_NOTHING;
}

/* Waits until the chunk is there, or nothing more is to come. */
static found await(tt__window *w, uint64_t chunk, tt__slot **slot) {
    found what;
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.wanted = chunk;
    while ((what = look_unlocked(w, chunk, slot)) == FOUND_NOTHING)
        pthread_cond_wait(&w->shared.for_hasher, &w->shared.mutex); /* window_end always comes */
    w->shared.wanted = UINT64_MAX;
    pthread_mutex_unlock(&w->shared.mutex);
    return what;
}

static bool update(tt__window *w, const unsigned char *bytes, size_t size) {
    int64_t start_us = tt_clock_us();
    bool is_good = EVP_DigestUpdate(w->sha, bytes, size) == 1;
    w->hash_us += tt_clock_us() - start_us;
    return is_good;
}

static void fail(tt__window *w, int read_errno) {
    pthread_mutex_lock(&w->shared.mutex);
    if (read_errno)
        w->shared.read_errno = read_errno;
    else
        w->shared.has_hash_failed = true;
    pthread_mutex_unlock(&w->shared.mutex);
    tt__window_wake(w);
}

/* Where a chunk ends, and whether to go on: its size is that of the whole file's rest. */
static uint64_t end_of(tt__window *w, uint64_t chunk, bool *must_end) {
    uint64_t end = (chunk + 1) * w->chunk_bytes;
    pthread_mutex_lock(&w->shared.mutex);
    if (end > w->shared.total) end = w->shared.total;
    *must_end = w->shared.must_end;
    pthread_mutex_unlock(&w->shared.mutex);
    return end;
}

static bool hash_from_disk(tt__window *w, uint64_t chunk) {
    unsigned char bytes[READ_BYTES];
    bool must_end;
    uint64_t at = chunk * w->chunk_bytes, end = end_of(w, chunk, &must_end);
    while (at < end && !must_end) {
        size_t room = end - at < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        ssize_t n = pread(w->part_fd, bytes, room, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || !update(w, bytes, (size_t)n)) {
            fail(w, n < 0 ? errno : n == 0 ? EIO : 0);
            return false;
        }
        at += (uint64_t)n;
        end_of(w, chunk, &must_end);
    }
    return at == end;
}

static bool hash_slot(tt__window *w, tt__slot *slot) {
    if (!update(w, slot->bytes, slot->size)) {
        fail(w, 0);
        return false;
    }
    pthread_mutex_lock(&w->shared.mutex);
    slot->is_being_hashed = false;
    slot->is_hashed = true;
    if (slot->state == TT__SLOT_WRITTEN) tt__slot_free_unlocked(w, slot);
    pthread_mutex_unlock(&w->shared.mutex);
    return true;
}

static void finish(tt__window *w) {
    if (EVP_DigestFinal_ex(w->sha, w->digest, NULL) != 1) {
        fail(w, 0);
        return;
    }
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.has_digest = true;
    pthread_mutex_unlock(&w->shared.mutex);
    tt__window_wake(w);
}

void *tt__hasher_main(void *window) {
    tt__window *w = window;
    tt__slot *slot = NULL;
    for (uint64_t chunk = 0;; chunk++) {
        found what = await(w, chunk, &slot);
        if (what == FOUND_END) finish(w);
        if (what == FOUND_END || what == FOUND_STOP) return NULL;
        if (what == FOUND_SLOT ? !hash_slot(w, slot) : !hash_from_disk(w, chunk)) return NULL;
    }
}
