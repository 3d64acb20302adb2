/* What goes, in the order in which it costs least: left-overs, orphans, then models, the least used first.
 *
 * Never: what is pinned, leased, in a read-only root, or cannot be fetched again; what was used a moment ago goes last. A model
 * goes into trash/ for ten minutes, so that who opens it at this moment fails cleanly or reads on; where the disk itself is
 * full it goes at once. Its name stays: it knows where the bytes came from and what they were.
 *
 * One process at a time, by a lock, unless somebody needs room now. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/library_parts.h"

static const char LOCK[] =
    "collecting garbage"; /* no identity: those have no spaces in this form */

typedef struct collection {
    tt_library *l;
    tt__index index;
    int64_t now_s;
    bool is_rehearsal;
    tt_library_sweep *out;
} collection;

/* ---- left-overs -------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct stat *st) {
    enum { BLOCK_BYTES = 512 };
    return (uint64_t)st->st_blocks * BLOCK_BYTES;
}

static bool is_old(const struct stat *st, int64_t now_s, int64_t grace_s) {
    return st->st_mtim.tv_sec < now_s - grace_s;
}

static bool remove_file(collection *c, int dir, const char *name, const struct stat *st) {
    if (!c->is_rehearsal && unlinkat(dir, name, 0) != 0) return false;
    c->out->freed_bytes += bytes_of(st);
    return true;
}

/* Calls `each` for the regular files of a folder. */
static void each_file(collection *c, tt__folder which,
                      void (*each)(collection *c, int dir, const char *name,
                                   const struct stat *st)) {
    int dir = c->l->own->v1[which];
    DIR *folder = tt__walk(dir);
    struct dirent *file;
    struct stat st;
    for (int n = 0; folder && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (tt__stat_at(dir, file->d_name, &st)) each(c, dir, file->d_name, &st);
    if (folder) closedir(folder);
}

static void sweep_part(collection *c, int dir, const char *name, const struct stat *st) {
    if (is_old(st, c->now_s, TT__PART_GRACE_S) && remove_file(c, dir, name, st)) c->out->n_parts++;
}

static void sweep_lock(collection *c, int dir, const char *name, const struct stat *st) {
    if (is_old(st, c->now_s, TT__PART_GRACE_S)) remove_file(c, dir, name, st);
}

/* "<digest>.<second it went>.<nonce>" */
static void sweep_trash(collection *c, int dir, const char *name, const struct stat *st) {
    const char *dot = strchr(name, '.');
    long long since = dot ? strtoll(dot + 1, NULL, 10) : 0;
    bool is_fresh = since > c->now_s - TT__TRASH_GRACE_S && since <= c->now_s + TT__TRASH_GRACE_S;
    if (!is_fresh) remove_file(c, dir, name, st);
}

static void sweep_all_trash(collection *c, int dir, const char *name, const struct stat *st) {
    remove_file(c, dir, name, st);
}

static void sweep_negative(collection *c, int dir, const char *name, const struct stat *st) {
    if (is_old(st, c->now_s, TT__PART_GRACE_S)) remove_file(c, dir, name, st);
}

static void sweep_used(collection *c, int dir, const char *name, const struct stat *st) {
    if (!tt__index_find(&c->index, name) && is_old(st, c->now_s, TT__PART_GRACE_S))
        remove_file(c, dir, name, st);
}

/* Names without bytes. Damaged ones and aliases that lead nowhere go after the same time. */
static void sweep_name(collection *c, int dir, const char *name, const struct stat *st) {
    tt_library_entry entry;
    tt__blob_state state;
    char unused[TT_REFERENCE_BYTES];
    if (!is_old(st, c->now_s, TT__NAME_GRACE_S)) return;
    bool is_name = tt__name_read_file(c->l->own, name, &entry);
    if (is_name && tt__blob_find(c->l, entry.digest, 0, &state, NULL)) return;
    if (!is_name && tt__alias_of_file(c->l->own, name, unused) &&
        tt__name_read(c->l->own, unused, &entry, NULL) == TT_OK)
        return;
    if (is_name && !c->is_rehearsal) tt__name_delete(c->l, &entry);
    if (!is_name) remove_file(c, dir, name, st);
    c->out->n_names++;
}

static void sweep_left_overs(collection *c) {
    each_file(c, TT__TMP, sweep_part);
    each_file(c, TT__TRASH, sweep_trash);
    each_file(c, TT__LOCKS, sweep_lock);
    each_file(c, TT__NEGATIVE, sweep_negative);
    each_file(c, TT__USED, sweep_used);
    each_file(c, TT__NAMES, sweep_name);
    tt__leases_walk(c->l, c->now_s, NULL, NULL, !c->is_rehearsal);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* Marks the item as gone. */
static bool evict(collection *c, tt__indexed *item, bool at_once) {
    if (!c->is_rehearsal && !tt__blob_away(c->l, item->digest, at_once)) return false;
    item->has_bytes = false;
    c->out->kept_bytes -= item->size;
    c->out->freed_bytes += item->size;
    c->out->evicted_bytes += item->size;
    return true;
}

static void sweep_orphans(collection *c) {
    for (size_t i = 0; i < c->index.n; i++) {
        tt__indexed *item = &c->index.items[i];
        if (item->n_names || item->is_leased || item->is_rare ||
            item->used_s > c->now_s - TT__ORPHAN_GRACE_S)
            continue;
        if (evict(c, item, false)) c->out->n_orphans++;
    }
}

static tt__indexed *least_used(const collection *c) {
    tt__indexed *least = NULL;
    for (size_t i = 0; i < c->index.n; i++) {
        tt__indexed *item = &c->index.items[i];
        if (!item->has_bytes || item->is_pinned || item->is_leased || item->is_rare) continue;
        bool is_less = !least || item->used_s < least->used_s ||
                       (item->used_s == least->used_s && item->size > least->size);
        if (is_less) least = item;
    }
    return least;
}

static bool fits_budget(const collection *c, uint64_t need) {
    uint64_t max = c->l->max_bytes;
    return max == 0 || (need <= max && c->out->kept_bytes <= max - need);
}

/* What a rehearsal would have freed counts as free. */
static bool fits_disk(const collection *c, uint64_t need) {
    struct statvfs fs;
    if (fstatvfs(c->l->own->v1[TT__TMP], &fs) != 0) return true;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (c->is_rehearsal) free_bytes += c->out->freed_bytes;
    return free_bytes >= need && free_bytes - need >= c->l->reserve_bytes;
}

static void evict_until(collection *c, uint64_t need, bool (*fits)(const collection *, uint64_t),
                        bool at_once) {
    while (!fits(c, need)) {
        tt__indexed *item = least_used(c);
        if (!item) return;
        item->is_leased =
            !evict(c, item, at_once); /* one that cannot be moved is not tried again */
        if (!item->is_leased) c->out->n_evicted++;
    }
}

static void make_room(collection *c, uint64_t need) {
    evict_until(c, need, fits_budget, false);
    if (need == 0 || fits_disk(c, need)) return;
    each_file(c, TT__TRASH, sweep_all_trash);
    evict_until(c, need, fits_disk, true);
}

tt_status tt_library_gc(tt_library *l, uint64_t need_bytes, bool is_rehearsal,
                        tt_library_sweep *out, tt_err *err) {
    tt_library_lock *lock = NULL;
    *out = (tt_library_sweep){0};
    TT_TRY(tt__need_own(l, err));
    bool is_first = is_rehearsal || tt_library_lock_try(l, LOCK, &lock);
    collection c = {.l = l, .is_rehearsal = is_rehearsal, .out = out, .now_s = tt__fs_now_s(l)};
    tt_status status = tt__index_make(l, l->own, &c.index, err);
    for (size_t i = 0; i < c.index.n; i++) out->kept_bytes += c.index.items[i].size;
    if (status == TT_OK && is_first) {
        sweep_left_overs(&c);
        sweep_orphans(&c);
    }
    if (status == TT_OK && (is_first || need_bytes)) make_room(&c, need_bytes);
    tt__index_release(&c.index);
    tt_library_lock_release(lock);
    return status;
}
