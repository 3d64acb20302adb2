/* The part file, and the writer: a chunk goes to its place in the file as soon as it is complete, in any order. In between the
 * file is synced and the journal says so: never the other way round. All of it on a thread of its own, because a sync on a
 * network volume takes as long as the network gives: meanwhile memory fills, and the hash goes on. The disk is told to begin
 * every few MiB, so that a sync finds little left to wait for.
 *
 * ENOSPC, EDQUOT, EFBIG and the rest are one class (DISK): what to do is the caller's to decide. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/download_parts.h"

enum {
    SYNC_CHUNKS = TT_DOWNLOAD_INTERVAL_CHUNKS / 2, /* the other half may come in during the sync */
    START_CHUNKS = 8,                              /* 4 MiB: large enough for any disk */
};

/* ---- the writer -------------------------------------------------------------------------------------------------- */

static int write_whole(int fd, const unsigned char *bytes, size_t size, uint64_t at) {
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, bytes + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        done += (size_t)n;
    }
    return 0;
}

static tt__slot *unwritten_slot(tt__window *w) {
    tt__slot *first = NULL;
    for (int i = 0; i < TT_DOWNLOAD_MEMORY_CHUNKS; i++) {
        tt__slot *s = &w->slots[i];
        if (s->state != TT__SLOT_COMPLETE) continue;
        if (!first || s->chunk < first->chunk) first = s;
    }
    return first;
}

static void wait_unlocked(tt__window *w) {
    struct timespec until;
    if (w->n_unsynced == 0 || w->journal_fd < 0) {
        pthread_cond_wait(&w->shared.for_writer, &w->shared.mutex); /* window_end always comes */
        return;
    }
    int64_t due_ms = w->synced_ms + w->journal_ms;
    until.tv_sec = due_ms / 1000;
    until.tv_nsec = due_ms % 1000 * 1000000;
    pthread_cond_timedwait(&w->shared.for_writer, &w->shared.mutex, &until);
}

static bool is_sync_due(const tt__window *w) {
    if (w->n_unsynced == 0 || w->journal_fd < 0) return false;
    return w->n_unsynced >= SYNC_CHUNKS || tt_clock_ms() - w->synced_ms >= w->journal_ms;
}

/* The next chunk to write; NULL: nothing but a sync, or (*must_leave) the end. Who must end writes what is there: it need not
 * be fetched again. */
static tt__slot *await(tt__window *w, bool *must_leave) {
    tt__slot *slot = NULL;
    *must_leave = false;
    pthread_mutex_lock(&w->shared.mutex);
    while (!is_sync_due(w) && !(slot = unwritten_slot(w))) {
        *must_leave = w->shared.must_end || w->shared.written_bytes >= w->shared.total;
        if (*must_leave) break;
        wait_unlocked(w);
    }
    pthread_mutex_unlock(&w->shared.mutex);
    return slot;
}

static void fail_write(tt__window *w, int number) {
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.write_errno = number;
    tt__loop_go_on_unlocked(w);
    pthread_mutex_unlock(&w->shared.mutex);
    tt__window_wake(w);
}

static bool write_slot(tt__window *w, tt__slot *slot) {
    int number = write_whole(w->part_fd, slot->bytes, slot->size, slot->chunk * w->chunk_bytes);
    if (number) {
        fail_write(w, number);
        return false;
    }
    pthread_mutex_lock(&w->shared.mutex);
    tt__journal_add(&w->shared.written, slot->chunk);
    w->shared.written_bytes += slot->size;
    slot->state = TT__SLOT_WRITTEN;
    if (slot->is_hashed)
        tt__slot_free_unlocked(w, slot);
    else
        tt__loop_go_on_unlocked(w);
    pthread_mutex_unlock(&w->shared.mutex);
    w->n_unsynced++;
    if (++w->n_unstarted < START_CHUNKS) return true;
    sync_file_range(w->part_fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a wish: the sync tells failures */
    w->n_unstarted = 0;
    return true;
}

/* A journal that cannot be written costs a resume, not the download. */
static bool sync_part(tt__window *w) {
    if (!tt_file_sync_data(w->part_fd)) {
        fail_write(w, errno);
        return false;
    }
    bool is_told = w->journal_fd >= 0 && tt__journal_write(w->journal_fd, &w->shared.written);
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.is_bounded = is_told;
    w->shared.n_covered += (uint64_t)w->n_unsynced;
    tt__loop_go_on_unlocked(w);
    pthread_mutex_unlock(&w->shared.mutex);
    w->n_unsynced = w->n_unstarted = 0;
    w->synced_ms = tt_clock_ms();
    return true;
}

static void finish(tt__window *w) {
    if (w->n_unsynced && !sync_part(w)) return;
    pthread_mutex_lock(&w->shared.mutex);
    w->shared.is_synced = w->shared.written_bytes >= w->shared.total;
    pthread_mutex_unlock(&w->shared.mutex);
    tt__window_wake(w);
}

/* Where files live in memory, room that is asked for first costs as much as room that is written. */
static bool is_in_memory(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* fallocate(2) itself: the C library's posix_fallocate would write all blocks where the file system has no such call. Here,
 * because some take their time. */
static bool reserve(tt__window *w) {
    if (is_in_memory(w->part_fd)) return true;
    while (w->reserve_bytes && fallocate(w->part_fd, 0, 0, (off_t)w->reserve_bytes) != 0) {
        if (errno == EINTR) continue;
        if (errno == EOPNOTSUPP || errno == ENOSYS) break;
        fail_write(w, errno);
        return false;
    }
    return true;
}

void *tt__writer_main(void *window) {
    tt__window *w = window;
    if (!reserve(w)) return NULL;
    for (bool must_leave;;) {
        tt__slot *slot = await(w, &must_leave);
        if (must_leave) break;
        if (slot ? !write_slot(w, slot) : !sync_part(w)) return NULL;
    }
    finish(w);
    return NULL;
}

/* ---- the part file ----------------------------------------------------------------------------------------------- */

tt_status tt__fail_disk(tt__download *d, const char *what, int number) {
    return tt_fetch_fail(d->error, TT_FETCH_DISK, "%s: %s: %s", d->file.name, what,
                         strerror(number));
}

tt_status tt__part_open(tt__download *d) {
    enum { PRIVATE = 0600 }; /* whoever commits it makes it readable */
    d->window.part_fd =
        open(d->options->part_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, PRIVATE);
    return d->window.part_fd >= 0 ? TT_OK : tt__fail_disk(d, "the part file", errno);
}

/* What is free, without what the file holds already. */
static tt_status check_room(tt__download *d, uint64_t total) {
    enum { BLOCK_BYTES = 512 }; /* st_blocks counts in these everywhere */
    struct statvfs fs;
    struct stat part;
    bool is_told = fstatvfs(d->window.part_fd, &fs) == 0;
    if (!is_told && errno == ENOSYS) return TT_OK; /* nobody knows: the writes will tell */
    if (!is_told || fstat(d->window.part_fd, &part) != 0)
        return tt__fail_disk(d, "the disk's free space", errno);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize,
             held_bytes = (uint64_t)part.st_blocks * BLOCK_BYTES;
    uint64_t needed = (total > held_bytes ? total - held_bytes : 0) + d->options->reserve_bytes;
    if (needed <= free_bytes) return TT_OK;
    return tt_fetch_fail(d->error, TT_FETCH_DISK,
                         "%s: the disk has %llu MiB free, expected %llu for the file and %llu in "
                         "reserve",
                         d->file.name, (unsigned long long)free_bytes >> 20,
                         (unsigned long long)(needed - d->options->reserve_bytes) >> 20,
                         (unsigned long long)d->options->reserve_bytes >> 20);
}

tt_status tt__part_prepare(tt__download *d, uint64_t total) {
    if (!d->window.has_resumed && ftruncate(d->window.part_fd, 0) != 0)
        return tt__fail_disk(d, "emptying the part file", errno);
    d->window.reserve_bytes = total;
    return check_room(d, total);
}

/* The size first: a stream of unknown length, or an earlier and longer file, may have left another. Late errors of network
 * file systems come with the close. */
tt_status tt__part_finish(tt__download *d, uint64_t total) {
    struct stat part;
    int fd = d->window.part_fd;
    if (fstat(fd, &part) != 0) return tt__fail_disk(d, "the part file's size", errno);
    if ((uint64_t)part.st_size != total &&
        (ftruncate(fd, (off_t)total) != 0 || !tt_file_sync_data(fd)))
        return tt__fail_disk(d, "the part file's size", errno);
    d->window.part_fd = -1;
    if (close(fd) != 0) return tt__fail_disk(d, "closing the part file", errno);
    return TT_OK;
}

void tt__part_close(tt__download *d) {
    if (d->window.part_fd >= 0) close(d->window.part_fd);
    d->window.part_fd = -1;
}

/* ---- the journal's file ------------------------------------------------------------------------------------------ */

static bool keeps_journal(const tt__download *d, uint64_t total) {
    return d->options->journal_path && *d->options->journal_path && d->has_identity && total > 0 &&
           !d->is_stream;
}

/* An old one is kept when it was taken up, else emptied before the part file is touched. */
void tt__journal_begin(tt__download *d, uint64_t total) {
    enum { PRIVATE = 0600 };
    tt__window *w = &d->window;
    if (w->has_resumed) w->shared.written = w->resumed;
    if (!keeps_journal(d, total)) return;
    int fresh = w->has_resumed ? 0 : O_TRUNC;
    w->journal_fd =
        open(d->options->journal_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | fresh, PRIVATE);
    w->shared.written.total = total;
    w->shared.written.chunk_bytes = (uint32_t)d->chunk_bytes;
    memcpy(w->shared.written.identity, d->identity, sizeof d->identity);
    if (fresh && w->journal_fd >= 0) fsync(w->journal_fd); /* the old claims are gone for good */
}

/* Emptied before it is removed: a crash may bring a removed file back. */
void tt__journal_forget(tt__download *d) {
    const char *path = d->options->journal_path;
    if (d->window.journal_fd >= 0) close(d->window.journal_fd);
    d->window.journal_fd = -1;
    if (!path || !*path) return;
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    unlink(path);
}

void tt__journal_close(tt__download *d) {
    if (d->window.journal_fd >= 0) close(d->window.journal_fd);
    d->window.journal_fd = -1;
}

/* What an earlier process left, if it fits what is wanted as far as is known before the first answer. */
void tt__journal_take_up(tt__download *d) {
    const char *path = d->options->journal_path;
    tt__window *w = &d->window;
    tt__journal *j = &w->resumed;
    struct stat part;
    unsigned char identity[TT__IDENTITY_BYTES];
    w->has_resumed = false;
    if (!path || !*path || !tt__journal_read(path, j) || fstat(w->part_fd, &part) != 0) return;
    if (j->chunk_bytes != d->chunk_bytes || j->total > d->max_bytes ||
        (d->file.size_is_exact && d->file.size && j->total != d->file.size))
        return;
    if (*d->file.digest && (!tt__identity_of(&d->file, "", identity) ||
                            memcmp(identity, j->identity, sizeof identity) != 0))
        return;
    for (uint64_t i = 0; i < tt__journal_n_chunks(j); i++)
        if (tt__journal_has(j, i) && (uint64_t)part.st_size < (i + 1) * d->chunk_bytes &&
            (uint64_t)part.st_size < j->total)
            return; /* it claims more than there is */
    w->has_resumed = true;
}
