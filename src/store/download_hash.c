/* The hasher: SHA-256 of all chunks in order, from the window, or from the part file where an earlier process left them. A
 * core does 1.8 GB/s with SHA instructions and 0.5 without, so it keeps pace with 14 or 4 Gbit/s. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/download_parts.h"

enum { READ_BYTES = 256 * 1024 };

typedef enum found { FOUND_END, FOUND_STOP, FOUND_SLOT, FOUND_ON_DISK } found;

static tt__slot *complete_slot(tt__window *w, uint64_t chunk) {
    for (int i = 0; i < TT_DOWNLOAD_WINDOW_CHUNKS; i++) {
        tt__slot *s = &w->slots[i];
        if (s->state == TT__SLOT_COMPLETE && s->chunk == chunk && !s->is_hashed) return s;
    }
    return NULL;
}

/* Waits until the chunk is there, or nothing more is to come. */
static found await(tt__window *w, uint64_t chunk, tt__slot **slot) {
    found what = FOUND_STOP;
    pthread_mutex_lock(&w->shared.mutex);
    while (!w->shared.must_end) {
        if (chunk >= w->shared.n_chunks)
            what = FOUND_END;
        else if (w->has_resumed && tt__journal_has(&w->resumed, chunk))
            what = FOUND_ON_DISK;
        else if ((*slot = complete_slot(w, chunk)))
            what = FOUND_SLOT;
        if (what != FOUND_STOP) break;
        pthread_cond_wait(&w->shared.changed, &w->shared.mutex); /* window_end always comes */
    }
    pthread_mutex_unlock(&w->shared.mutex);
    return what;
}

static bool update(tt__window *w, const unsigned char *bytes, size_t size) {
    int64_t start_us = tt_clock_us();
    bool is_good = EVP_DigestUpdate(w->sha, bytes, size) == 1;
    w->hash_us += tt_clock_us() - start_us;
    return is_good;
}

static bool must_end(tt__window *w) {
    pthread_mutex_lock(&w->shared.mutex);
    bool must = w->shared.must_end;
    pthread_mutex_unlock(&w->shared.mutex);
    return must;
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

static bool hash_from_disk(tt__window *w, uint64_t chunk) {
    unsigned char bytes[READ_BYTES];
    uint64_t at = chunk * w->chunk_bytes, end = at + w->chunk_bytes;
    if (end > w->resumed.total) end = w->resumed.total;
    while (at < end && !must_end(w)) {
        size_t room = end - at < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        ssize_t n = pread(w->part_fd, bytes, room, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || !update(w, bytes, (size_t)n)) {
            fail(w, n < 0 ? errno : n == 0 ? EIO : 0);
            return false;
        }
        at += (uint64_t)n;
    }
    return at == end;
}

static bool hash_slot(tt__window *w, tt__slot *slot) {
    if (!update(w, slot->bytes, slot->size)) {
        fail(w, 0);
        return false;
    }
    pthread_mutex_lock(&w->shared.mutex);
    slot->is_hashed = true;
    tt__slot_pass_unlocked(w, slot);
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
