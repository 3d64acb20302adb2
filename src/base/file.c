/* See file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_CHUNK_BYTES = 64 * 1024,
    MAX_PART_NAMES = 100, /* leftovers and other threads with the same path */
};

static tt_status read_all(int fd, const char *path, tt_buf *out, tt_err *err) {
    for (;;) {
        TT_TRY(tt_buf_reserve(out,
                              READ_CHUNK_BYTES < out->limit_bytes - out->size
                                  ? READ_CHUNK_BYTES
                                  : out->limit_bytes - out->size,
                              err));
        size_t room = out->capacity - out->size - 1;
        if (room > out->limit_bytes - out->size) room = out->limit_bytes - out->size;
        char probe;
        ssize_t n = read(fd, room ? out->data + out->size : &probe, room ? room : 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tt_fail_errno(err, "cannot read", path);
        if (n == 0) return TT_OK;
        if (!room)
            return tt_fail(err, TT_E_INVALID, "%s: larger than %zu bytes", path, out->limit_bytes);
        out->size += (size_t)n;
        out->data[out->size] = '\0';
    }
}

tt_status tt_file_read(const char *path, tt_buf *out, tt_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return tt_fail_errno(err, "cannot open", path);
    tt_status status = read_all(fd, path, out, err);
    close(fd);
    return status;
}

static tt_status write_all(int fd, const char *path, const char *bytes, size_t size, tt_err *err) {
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tt_fail_errno(err, "cannot write", path);
        bytes += n;
        size -= (size_t)n;
    }
    return TT_OK;
}

static bool is_unknown(int number) {
    return number == EINVAL || number == ENOSYS || number == EOPNOTSUPP;
}

bool tt_file_sync(int fd) {
    return fsync(fd) == 0 || is_unknown(errno);
}

bool tt_file_sync_data(int fd) {
    return fdatasync(fd) == 0 || is_unknown(errno);
}

static tt_status write_and_close(int fd, const char *path, const void *bytes, size_t size,
                                 bool must_sync, tt_err *err) {
    tt_status status = write_all(fd, path, bytes, size, err);
    if (status == TT_OK && must_sync && !tt_file_sync(fd))
        status = tt_fail_errno(err, "cannot write", path);
    if (close(fd) != 0 && status == TT_OK) status = tt_fail_errno(err, "cannot write", path);
    return status;
}

static bool is_special(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/* Creates a new file beside `path`, whatever a crash or another thread left there; its name goes to
 * `name`. */
static tt_status create_beside(const char *path, char name[PATH_MAX], int *fd, tt_err *err) {
    for (int attempt = 0; attempt < MAX_PART_NAMES; attempt++) {
        int n = snprintf(name, PATH_MAX, "%s.%ld-%d.part", path, (long)getpid(), attempt);
        if (n < 0 || n >= PATH_MAX) return tt_fail(err, TT_E_INVALID, "path too long: %s", path);
        *fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (*fd >= 0) return TT_OK;
        if (errno != EEXIST) break;
    }
    return tt_fail_errno(err, "cannot write", path);
}

static tt_status write_in_place(const char *path, const void *bytes, size_t size, tt_err *err) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return tt_fail_errno(err, "cannot write", path);
    return write_and_close(fd, path, bytes, size, false, err);
}

tt_status tt_file_write(const char *path, const void *bytes, size_t size, tt_err *err) {
    if (tt_file_is_directory(path))
        return tt_fail(err, TT_E_INVALID, "cannot write %s: it is a directory", path);
    if (is_special(path)) return write_in_place(path, bytes, size, err);
    char temporary[PATH_MAX];
    int fd;
    TT_TRY(create_beside(path, temporary, &fd, err));
    tt_status status = write_and_close(fd, path, bytes, size, true, err);
    if (status == TT_OK && rename(temporary, path) != 0)
        status = tt_fail_errno(err, "cannot write", path);
    if (status != TT_OK) unlink(temporary);
    return status;
}

bool tt_file_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool tt_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

tt_status tt_path_join(char *out, size_t size, const char *directory, const char *name,
                       tt_err *err) {
    int n = snprintf(out, size, "%s/%s", directory, name);
    if (n < 0 || (size_t)n >= size)
        return tt_fail(err, TT_E_INVALID, "path too long: %s/%s", directory, name);
    return TT_OK;
}
