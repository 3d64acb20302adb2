/* Leases and locks live by being touched. One thread does it for the whole store, from the first of them on: a caller may be
 * busy for minutes with a model that it holds. Files are touched under the mutex: a file system that hangs would hold the
 * callers anyway. */
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/store_parts.h"

void tt__beats_init(tt__beats *b, tt_library *library) {
    *b = (tt__beats){.library = library};
    pthread_mutex_init(&b->mutex, NULL);
    tt_clock_condition_init(&b->changed);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void beat_locks_unlocked(tt__beats *b) {
    for (tt__locked *k = b->locked; k; k = k->next) tt_library_lock_beat(k->lock);
}

/* Those that nobody used since the last time go. */
static void beat_leases_unlocked(tt__beats *b) {
    for (tt__held **at = &b->held; *at;) {
        tt__held *h = *at;
        if (h->n_users > 0) {
            tt_library_lease_beat(h->lease);
            at = &h->next;
            continue;
        }
        *at = h->next;
        tt_library_lease_release(h->lease);
        tt_free(h);
    }
}

static void wait_unlocked(tt__beats *b, int64_t until_ms) {
    struct timespec until = tt_clock_moment(until_ms);
    while (!b->must_end && tt_clock_ms() < until_ms)
        pthread_cond_timedwait(&b->changed, &b->mutex, &until);
}

static void *run(void *context) {
    tt__beats *b = context;
    int64_t leases_ms = tt_clock_ms();
    pthread_mutex_lock(&b->mutex);
    while (!b->must_end) {
        wait_unlocked(b, tt_clock_ms() + TT_LIBRARY_LOCK_BEAT_MS);
        if (b->must_end) break;
        beat_locks_unlocked(b);
        if (tt_clock_ms() - leases_ms < TT_LIBRARY_LEASE_BEAT_MS) continue;
        beat_leases_unlocked(b);
        leases_ms = tt_clock_ms();
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

/* Without the thread a lease would hold for five minutes only: then better none of it. */
static bool start_unlocked(tt__beats *b) {
    if (!b->has_thread) b->has_thread = pthread_create(&b->thread, NULL, run, b) == 0;
    return b->has_thread;
}

void tt__beats_release(tt__beats *b) {
    pthread_mutex_lock(&b->mutex);
    b->must_end = true;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    if (b->has_thread) pthread_join(b->thread, NULL);
    for (tt__held *h = b->held; h;) {
        tt__held *next = h->next;
        tt_library_lease_release(h->lease);
        tt_free(h);
        h = next;
    }
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->mutex);
}

/* ---- leases ------------------------------------------------------------------------------------------------------ */

static tt__held *find_unlocked(const tt__beats *b, const char *digest) {
    for (tt__held *h = b->held; h; h = h->next)
        if (strcmp(h->digest, digest) == 0) return h;
    return NULL;
}

static tt_status add_unlocked(tt__beats *b, const char *digest, tt_library_lease **out,
                              tt_err *err) {
    if (!start_unlocked(b))
        return tt_fail(err, TT_E_INTERNAL, "cannot start the thread that keeps leases");
    TT_TRY(tt_library_lease_take(b->library, digest, out, err));
    if (!*out) return TT_OK;
    tt__held *h = tt_alloc(sizeof *h);
    if (!h) {
        tt_library_lease_release(*out);
        *out = NULL;
        return tt_fail_nomem(err, "lease", sizeof *h);
    }
    *h = (tt__held){.next = b->held, .lease = *out, .n_users = 1};
    memcpy(h->digest, digest, sizeof h->digest);
    b->held = h;
    return TT_OK;
}

tt_status tt__beats_lease(tt__beats *b, const char *digest, tt_library_lease **out, tt_err *err) {
    tt_status status = TT_OK;
    *out = NULL;
    if (!*digest) return TT_OK;
    pthread_mutex_lock(&b->mutex);
    tt__held *h = find_unlocked(b, digest);
    if (h) {
        h->n_users++;
        *out = h->lease;
    } else {
        status = add_unlocked(b, digest, out, err);
    }
    pthread_mutex_unlock(&b->mutex);
    return status;
}

void tt__beats_unlease(tt__beats *b, tt_library_lease *lease) {
    if (!lease) return;
    pthread_mutex_lock(&b->mutex);
    for (tt__held *h = b->held; h; h = h->next)
        if (h->lease == lease) h->n_users--;
    pthread_mutex_unlock(&b->mutex);
}

void tt__beats_end_unused(tt__beats *b) {
    pthread_mutex_lock(&b->mutex);
    beat_leases_unlocked(b);
    pthread_mutex_unlock(&b->mutex);
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

void tt__beats_lock(tt__beats *b, tt__locked *locked) {
    if (!locked->lock) return;
    pthread_mutex_lock(&b->mutex);
    start_unlocked(b); /* without: others think it dead after a minute, and fetch too */
    locked->next = b->locked;
    b->locked = locked;
    pthread_mutex_unlock(&b->mutex);
}

void tt__beats_unlock(tt__beats *b, tt__locked *locked) {
    if (!locked->lock) return;
    pthread_mutex_lock(&b->mutex);
    for (tt__locked **at = &b->locked; *at; at = &(*at)->next)
        if (*at == locked) {
            *at = locked->next;
            break;
        }
    pthread_mutex_unlock(&b->mutex);
    tt_library_lock_release(locked->lock);
    locked->lock = NULL;
}
