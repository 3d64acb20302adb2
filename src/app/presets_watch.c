/* A presets file that may change while it is used: looked at (one stat) whenever somebody asks, which is once or twice a job. What
 * is handed out is a share of an immutable whole, so a request sees one state from beginning to end. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "app/presets.h"
#include "base/alloc.h"

typedef struct stamp { /* of the file: what changes when it is edited or replaced */
    int64_t size, modified_ns;
    uint64_t inode;
} stamp;

struct tt_presets_watch {
    const char *path;
    const tt_log *log;
    atomic_bool is_poked;
    pthread_mutex_t lock;
    struct { /* under lock */
        tt_presets *presets;
        stamp seen;
    } shared;
};

static stamp stamp_of(const char *path) {
    struct stat s;
    if (stat(path, &s) != 0) return (stamp){.size = -1};
    return (stamp){.size = s.st_size,
                   .modified_ns = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec,
                   .inode = s.st_ino};
}

static bool is_same(stamp a, stamp b) {
    return a.size == b.size && a.modified_ns == b.modified_ns && a.inode == b.inode;
}

tt_status tt_presets_watch_new(const char *path, const tt_log *log, tt_presets_watch **out,
                               tt_problems *problems, tt_err *err) {
    *out = NULL;
    tt_presets_watch *w = tt_alloc(sizeof *w);
    if (!w) return tt_fail_nomem(err, "presets", sizeof *w);
    w->path = path;
    w->log = log;
    atomic_init(&w->is_poked, false);
    w->shared.seen = stamp_of(path);
    tt_status status = tt_presets_open(path, &w->shared.presets, problems, err);
    if (status != TT_OK) {
        tt_free(w);
        return status;
    }
    pthread_mutex_init(&w->lock, NULL);
    *out = w;
    return TT_OK;
}

void tt_presets_watch_free(tt_presets_watch *w) {
    if (!w) return;
    tt_presets_release(w->shared.presets);
    pthread_mutex_destroy(&w->lock);
    tt_free(w);
}

/* Under the lock. */
static void read_again(tt_presets_watch *w) {
    tt_problems problems;
    tt_presets *fresh;
    tt_err err;
    tt_problems_init(&problems);
    if (tt_presets_open(w->path, &fresh, &problems, &err) == TT_OK) {
        tt_presets_release(w->shared.presets);
        w->shared.presets = fresh;
        tt_log_write(w->log, TT_LOG_INFO, NULL, "presets | read again. presets=%d",
                     tt_presets_count(fresh));
    } else
        tt_log_write(
            w->log, TT_LOG_ERROR, NULL,
            "presets | the changed file is not used, what was read before stays. problems=%d | %s",
            problems.count, problems.count ? problems.list[0].message : err.message);
}

tt_presets *tt_presets_watch_get(tt_presets_watch *w) {
    pthread_mutex_lock(&w->lock);
    bool is_poked = atomic_exchange(&w->is_poked, false);
    stamp now = stamp_of(w->path);
    if (is_poked || !is_same(now, w->shared.seen)) read_again(w);
    w->shared.seen = now;
    tt_presets *p = tt_presets_share(w->shared.presets);
    pthread_mutex_unlock(&w->lock);
    return p;
}

void tt_presets_watch_poke(tt_presets_watch *w) {
    atomic_store(&w->is_poked, true);
}
