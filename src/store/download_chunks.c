/* The window: chunks in memory between the network and the two threads that take them, the writer and the hasher, and the map
 * of what is on disk.
 *
 * Each chunk goes to the disk as soon as it is complete and stays in memory until it was hashed; when all memory is taken, the
 * written one that is furthest from its turn gives its place, and is read back then. So the network never waits for the hash,
 * and the hash never for more than the next chunk in order.
 *
 * The network waits in two cases: all memory holds chunks that the disk has not taken yet, or one interval of chunks is not
 * in the journal yet. The second is what a killed process can lose at most: a chunk counts from its first byte on. Neither
 * waits for ever, because only TT__MAX_RANGES slots can be incomplete and the writer needs nothing from the loop.
 *
 * `shared` and the slots' states are the only things that three threads touch, under its mutex. Each has a condition of its
 * own to wait for, as waking a thread costs more than hashing ten KB. The threads allocate nothing and wake the loop by an
 * eventfd, so they cannot fail for want of memory. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/download_parts.h"

/* ---- for the loop ------------------------------------------------------------------------------------------------ */

static tt__slot *furthest_written(tt__window *w) {
    tt__slot *found = NULL;
    for (int i = 0; i < TT_DOWNLOAD_MEMORY_CHUNKS; i++) {
        tt__slot *s = &w->slots[i];
        if (s->state != TT__SLOT_WRITTEN || s->is_being_hashed) continue;
        if (!found || s->chunk > found->chunk) found = s;
    }
    return found;
}

static tt__slot *take_unlocked(tt__window *w) {
    bool is_full = w->shared.is_bounded &&
                   w->shared.n_taken - w->shared.n_covered >= TT_DOWNLOAD_INTERVAL_CHUNKS;
    if (is_full) return NULL;
    if (w->shared.n_free > 0) return &w->slots[w->shared.free_slots[--w->shared.n_free]];
    return furthest_written(w);
}

tt__slot *tt__window_take(tt__window *w, uint64_t chunk, size_t size) {
    pthread_mutex_lock(&w->shared.mutex);
    tt__slot *s = take_unlocked(w);
    w->shared.is_loop_waiting = !s;
    if (s) {
        unsigned char *bytes = s->bytes;
        *s = (tt__slot){.bytes = bytes, .chunk = chunk, .size = size, .state = TT__SLOT_FILLING};
        w->shared.n_taken++;
    }
    pthread_mutex_unlock(&w->shared.mutex);
    return s;
}

void tt__window_wait(tt__window *w, int64_t for_ms) {
    const struct timespec until = tt_clock_moment(tt_clock_ms() + for_ms);
    pthread_mutex_lock(&w->shared.mutex);
    if (w->shared.is_loop_waiting)
        pthread_cond_timedwait(&w->shared.for_loop, &w->shared.mutex, &until);
    pthread_mutex_unlock(&w->shared.mutex);
}

void tt__window_complete(tt__window *w, tt__slot *slot) {
    pthread_mutex_lock(&w->shared.mutex);
    slot->state = TT__SLOT_COMPLETE;
    pthread_cond_signal(&w->shared.for_writer);
    if (w->shared.wanted == slot->chunk) pthread_cond_signal(&w->shared.for_hasher);
    pthread_mutex_unlock(&w->shared.mutex);
}

static uint64_t n_chunks_of(const tt__window *w, uint64_t total) {
    return total / w->chunk_bytes + (total % w->chunk_bytes != 0);
}

void tt__window_set_total(tt__window *w, uint64_t total) {
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.total = total;
    w->shared.n_chunks = n_chunks_of(w, total);
    pthread_cond_signal(&w->shared.for_writer);
    pthread_cond_signal(&w->shared.for_hasher);
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

void tt__loop_go_on_unlocked(tt__window *w) {
    if (!w->shared.is_loop_waiting) return;
    w->shared.is_loop_waiting = false;
    pthread_cond_signal(&w->shared.for_loop);
}

void tt__slot_free_unlocked(tt__window *w, tt__slot *slot) {
    slot->state = TT__SLOT_FREE;
    w->shared.free_slots[w->shared.n_free++] = (short)(slot - w->slots);
    tt__loop_go_on_unlocked(w);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* Releases what it made when it fails. */
static bool init_conditions(tt__window *w) {
    pthread_cond_t *const all[] = {&w->shared.for_loop, &w->shared.for_writer,
                                   &w->shared.for_hasher};
    enum { N = sizeof all / sizeof *all };
    int n = 0;
    while (n < N && tt_clock_condition_init(all[n]) == 0) n++;
    bool is_good = n == N && pthread_mutex_init(&w->shared.mutex, NULL) == 0;
    while (!is_good && n > 0) pthread_cond_destroy(all[--n]);
    return is_good;
}

tt_status tt__window_init(tt__window *w, size_t chunk_bytes, tt_err *err) {
    *w = (tt__window){.part_fd = -1, .journal_fd = -1, .wake_fd = -1, .chunk_bytes = chunk_bytes};
    if (!init_conditions(w)) return tt_fail(err, TT_E_INTERNAL, "download: no locks");
    size_t size = TT_DOWNLOAD_MEMORY_CHUNKS * chunk_bytes;
    w->memory = tt_alloc_aligned(size);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->sha = EVP_MD_CTX_new();
    if (w->memory && w->wake_fd >= 0 && w->sha) return TT_OK;
    bool has_memory = w->memory != NULL;
    tt__window_release(w);
    if (!has_memory) return tt_fail_nomem(err, "download", size);
    return tt_fail(err, TT_E_INTERNAL, "download: no event descriptor, or no SHA-256");
}

void tt__window_release(tt__window *w) {
    tt_free(w->memory);
    EVP_MD_CTX_free(w->sha);
    if (w->wake_fd >= 0) close(w->wake_fd);
    pthread_cond_destroy(&w->shared.for_loop);
    pthread_cond_destroy(&w->shared.for_writer);
    pthread_cond_destroy(&w->shared.for_hasher);
    pthread_mutex_destroy(&w->shared.mutex);
    w->memory = NULL;
    w->sha = NULL;
    w->wake_fd = -1;
}

/* The first slots are taken first, so that little memory is touched where little is needed. */
static void clear_slots(tt__window *w) {
    for (int i = 0; i < TT_DOWNLOAD_MEMORY_CHUNKS; i++) {
        w->slots[i] = (tt__slot){.bytes = w->memory + (size_t)i * w->chunk_bytes};
        w->shared.free_slots[i] = (short)(TT_DOWNLOAD_MEMORY_CHUNKS - 1 - i);
    }
    w->shared.n_free = TT_DOWNLOAD_MEMORY_CHUNKS;
}

void tt__window_clear(tt__window *w) {
    clear_slots(w);
    w->has_resumed = false;
    w->reserve_bytes = 0;
    w->n_unsynced = w->n_unstarted = 0;
    w->shared.must_end = w->shared.is_loop_waiting = false;
    w->shared.is_synced = w->shared.has_digest = w->shared.has_hash_failed = false;
    w->shared.is_bounded = false;
    w->shared.write_errno = w->shared.read_errno = 0;
    w->shared.written_bytes = w->shared.n_taken = w->shared.n_covered = 0;
    w->shared.total = w->shared.n_chunks = w->shared.wanted = UINT64_MAX;
    memset(&w->shared.written, 0, sizeof w->shared.written);
}

static uint64_t resumed_bytes(const tt__window *w, uint64_t total, uint64_t n_chunks) {
    uint64_t bytes = 0;
    for (uint64_t i = 0; w->has_resumed && i < n_chunks; i++)
        if (tt__journal_has(&w->resumed, i))
            bytes += i + 1 < n_chunks ? w->chunk_bytes : total - i * w->chunk_bytes;
    return bytes;
}

tt_status tt__window_begin(tt__window *w, uint64_t total, tt_err *err) {
    if (total) {
        w->shared.total = total;
        w->shared.n_chunks = n_chunks_of(w, total);
        w->shared.written_bytes = resumed_bytes(w, total, w->shared.n_chunks);
    }
    w->shared.is_bounded = w->journal_fd >= 0;
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
    pthread_cond_signal(&w->shared.for_writer);
    pthread_cond_signal(&w->shared.for_hasher);
    pthread_mutex_unlock(&w->shared.mutex);
    if (w->has_writer) pthread_join(w->writer, NULL);
    if (w->has_hasher) pthread_join(w->hasher, NULL);
    w->has_writer = w->has_hasher = false;
}
