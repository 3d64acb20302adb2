/* The spool's folder, its lock, and the table of jobs in flight. See spool.h.
 *
 *     running: TT_SPOOL_MARKS + 1 records of fixed size (spool_parts.h), native byte order: it never leaves the machine
 *              record 0     "tintype running 1" in job_id; anything else and the whole table counts as empty
 *              record 1...  is_used, taken_ms, job id, worker id
 *
 * The file's blocks are reserved when it is made: a mapped page that the disk has no room for would end the process. */
#include "worker/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "worker/spool_parts.h"

static const char MAGIC[] = "tintype running 1";
#define TABLE_BYTES ((size_t)(TT_SPOOL_MARKS + 1) * sizeof(tt__spool_record))

int64_t tt__spool_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* The folder above may be everybody's (/tmp): only one that is ours, and no link, is trusted with results. */
static tt_status make_folder(const char *path, tt_err *err) {
    struct stat facts;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return tt_fail_errno(err, "cannot make", path);
    if (lstat(path, &facts) != 0) return tt_fail_errno(err, "cannot look at", path);
    if (!S_ISDIR(facts.st_mode)) return tt_fail(err, TT_E_IO, "%.300s is not a folder", path);
    if (facts.st_uid != geteuid())
        return tt_fail(err, TT_E_IO, "%.300s belongs to another user", path);
    return TT_OK;
}

static void safe_name(const char *id, char out[TT_JOB_ID_BYTES]) {
    static const char HARMLESS[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t i = 0;
    for (; id[i] && i + 1 < TT_JOB_ID_BYTES; i++)
        out[i] = strchr(HARMLESS, id[i]) && (i > 0 || id[i] != '.') ? id[i] : '_';
    out[i] = '\0';
}

static tt_status open_folder(tt_spool *s, const char *folder, const char *name, tt_err *err) {
    char safe[TT_JOB_ID_BYTES];
    safe_name(name, safe);
    TT_TRY(make_folder(folder, err));
    TT_TRY(tt_path_join(s->folder, sizeof s->folder, folder, safe, err));
    TT_TRY(make_folder(s->folder, err));
    s->folder_fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s->folder_fd < 0) return tt_fail_errno(err, "cannot open", s->folder);
    return tt__spool_lock(s->folder_fd, s->folder, &s->lock_fd, err);
}

/* ---- jobs in flight ---------------------------------------------------------------------------------------------- */

static tt_status map_table(tt_spool *s, int fd, tt_err *err) {
    struct stat facts;
    if (fstat(fd, &facts) != 0) return tt_fail_errno(err, "cannot look at", "the table of jobs");
    if (facts.st_size != (off_t)TABLE_BYTES && ftruncate(fd, 0) != 0)
        return tt_fail_errno(err, "cannot shorten", "the table of jobs");
    int failure = posix_fallocate(fd, 0, (off_t)TABLE_BYTES);
    if (failure != 0) {
        errno = failure;
        return tt_fail_errno(err, "no room for", "the table of jobs");
    }
    void *table = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table == MAP_FAILED) return tt_fail_errno(err, "cannot map", "the table of jobs");
    s->records = table;
    if (strncmp(s->records[0].job_id, MAGIC, TT_JOB_ID_BYTES) != 0) memset(table, 0, TABLE_BYTES);
    memcpy(s->records[0].job_id, MAGIC, sizeof MAGIC);
    return TT_OK;
}

static tt_status open_table(tt_spool *s, tt_err *err) {
    s->is_old = tt_alloc(TT_SPOOL_MARKS * sizeof *s->is_old);
    if (!s->is_old) return tt_fail_nomem(err, "marks of jobs", TT_SPOOL_MARKS);
    int fd = openat(s->folder_fd, "running", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return tt_fail_errno(err, "cannot write in", s->folder);
    tt_status status = map_table(s, fd, err);
    close(fd); /* the mapping stays */
    for (int i = 0; status == TT_OK && i < TT_SPOOL_MARKS; i++)
        s->is_old[i] = atomic_load(&s->records[i + 1].is_used) != 0;
    return status;
}

int tt_spool_mark(tt_spool *s, const char *job_id) {
    for (int n = 0; s && n < TT_SPOOL_MARKS; n++) {
        int mark = (s->next_mark + n) % TT_SPOOL_MARKS;
        tt__spool_record *record = &s->records[mark + 1];
        if (atomic_load_explicit(&record->is_used, memory_order_relaxed)) continue;
        record->taken_ms = tt__spool_now_ms();
        snprintf(record->job_id, sizeof record->job_id, "%s", job_id);
        snprintf(record->worker_id, sizeof record->worker_id, "%s", s->worker_id);
        atomic_store_explicit(&record->is_used, 1, memory_order_release);
        s->next_mark = (mark + 1) % TT_SPOOL_MARKS;
        return mark;
    }
    return -1;
}

void tt_spool_unmark(tt_spool *s, int mark) {
    if (s && mark >= 0 && mark < TT_SPOOL_MARKS)
        atomic_store_explicit(&s->records[mark + 1].is_used, 0, memory_order_release);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static tt_status open_all(tt_spool *s, const char *folder, const char *name, tt_err *err) {
    TT_TRY(open_folder(s, folder, name, err));
    TT_TRY(open_table(s, err));
    TT_TRY(tt__spool_scan(s, err));
    tt__spool_sweep(folder, s->log);
    return tt__spool_writer_start(s, err);
}

tt_status tt_spool_open(const char *folder, const char *name, const char *worker_id,
                        const tt_log *log, tt_spool **out, tt_err *err) {
    *out = NULL;
    size_t longest = strlen(worker_id) > strlen(name) ? strlen(worker_id) : strlen(name);
    if (longest >= TT_JOB_ID_BYTES)
        return tt_fail(err, TT_E_INVALID, "worker id: %zu bytes, at most %d fit a folder's name",
                       longest, TT_JOB_ID_BYTES - 1);
    tt_spool *s = tt_alloc(sizeof *s);
    if (!s) return tt_fail_nomem(err, "spool", sizeof *s);
    s->log = log;
    s->folder_fd = s->lock_fd = -1;
    s->shared.last = &s->shared.first;
    pthread_mutex_init(&s->shared.mutex, NULL);
    pthread_cond_init(&s->shared.changed, NULL);
    snprintf(s->worker_id, sizeof s->worker_id, "%s", worker_id);
    tt_status status = open_all(s, folder, name, err);
    if (status != TT_OK) {
        tt_spool_close(s);
        return status;
    }
    *out = s;
    return TT_OK;
}

static bool is_empty(const tt_spool *s) {
    if (!s->has_writer || s->shared.n_files > 0) return false; /* the writer has ended */
    for (int i = 0; i < TT_SPOOL_MARKS; i++)
        if (atomic_load(&s->records[i + 1].is_used)) return false;
    return true;
}

void tt_spool_close(tt_spool *s) {
    if (!s) return;
    tt__spool_writer_stop(s);
    if (is_empty(s)) tt__spool_remove_folder(s->folder_fd, s->folder);
    if (s->records) munmap(s->records, TABLE_BYTES);
    if (s->folder_fd >= 0) close(s->folder_fd);
    if (s->lock_fd >= 0) close(s->lock_fd); /* unlocks */
    pthread_cond_destroy(&s->shared.changed);
    pthread_mutex_destroy(&s->shared.mutex);
    tt_free(s->is_old);
    tt_free(s->left);
    tt_free(s);
}
