/* Whose folder it is, and what becomes of folders that are nobody's any more. See spool.h.
 *
 * The lock is a file that is removed with its folder, so whoever locked it looks whether it still is the one that the name
 * leads to: otherwise two workers could each hold a lock of their own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/spool_parts.h"

enum {
    MAX_SWEEPS = 100,
    MAX_FILES = TT_SPOOL_MAX_FILES + 16
}; /* one start-up does not clean for minutes */

/* ---- the lock ---------------------------------------------------------------------------------------------------- */

static bool is_current(int folder_fd, int lock_fd) {
    struct stat ours, named;
    return fstat(lock_fd, &ours) == 0 &&
           fstatat(folder_fd, "lock", &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

tt_status tt__spool_lock(int folder_fd, const char *path, int *lock_fd, tt_err *err) {
    *lock_fd = openat(folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*lock_fd < 0) return tt_fail_errno(err, "cannot write in", path);
    bool is_locked = flock(*lock_fd, LOCK_EX | LOCK_NB) == 0;
    if (!is_locked && errno != EWOULDBLOCK) return tt_fail_errno(err, "cannot lock", path);
    if (is_locked && is_current(folder_fd, *lock_fd)) return TT_OK;
    return tt_fail(err, TT_E_IO, "another worker uses %.300s", path);
}

/* ---- sweeping ---------------------------------------------------------------------------------------------------- */

void tt__spool_remove_folder(int folder_fd, const char *path) {
    unlinkat(folder_fd, "running", 0);
    unlinkat(folder_fd, "lock", 0);
    rmdir(path); /* refuses what is not empty */
}

static int64_t age_ms(const struct stat *facts) {
    return tt__spool_now_ms() - (int64_t)facts->st_mtim.tv_sec * 1000;
}

/* Nothing in it is younger than the age; -1 on doubt counts as young. */
static bool is_stale(int fd) {
    struct stat facts;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    bool is_old = folder && fstat(fd, &facts) == 0 && age_ms(&facts) > TT_SPOOL_SWEEP_AGE_MS;
    if (!folder && copy >= 0) close(copy);
    for (struct dirent *file; is_old && (file = readdir(folder));)
        if (strcmp(file->d_name, "..") != 0)
            is_old = fstatat(fd, file->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
                     age_ms(&facts) > TT_SPOOL_SWEEP_AGE_MS;
    if (folder) closedir(folder);
    return is_old;
}

static bool is_ours(const char *name) {
    size_t size = strlen(name);
    return (size > 7 && strcmp(name + size - 7, ".result") == 0) ||
           (size > 5 && strcmp(name + size - 5, ".part") == 0);
}

static void remove_results(int fd) {
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder) {
        if (copy >= 0) close(copy);
        return;
    }
    struct dirent *file;
    for (int n = 0; n < MAX_FILES && (file = readdir(folder)); n++)
        if (is_ours(file->d_name)) unlinkat(fd, file->d_name, 0);
    closedir(folder);
}

static void sweep_one(int root_fd, const char *root, const char *name, const tt_log *log) {
    char path[PATH_MAX];
    int lock_fd = -1;
    int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return;
    bool is_nobodys = is_stale(fd) && tt_path_join(path, sizeof path, root, name, NULL) == TT_OK &&
                      tt__spool_lock(fd, path, &lock_fd, NULL) == TT_OK;
    if (is_nobodys) {
        remove_results(fd);
        tt__spool_remove_folder(fd, path);
        tt_log_write(log, TT_LOG_WARN, NULL,
                     "What a worker left more than 48 hours ago is dropped: %s", name);
    }
    if (lock_fd >= 0) close(lock_fd);
    close(fd);
}

void tt__spool_sweep(const char *root, const tt_log *log) {
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int copy = fd >= 0 ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *file;
    for (int n = 0; folder && n < MAX_SWEEPS && (file = readdir(folder)); n++)
        if (file->d_name[0] != '.') sweep_one(fd, root, file->d_name, log);
    if (folder)
        closedir(folder);
    else if (copy >= 0)
        close(copy);
    if (fd >= 0) close(fd);
}
