/* What is done with files here, and with time. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/library_parts.h"

enum { FILE_MODE = 0644 };

static void write_hex(const unsigned char *bytes, size_t n, char *out) {
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = HEX[bytes[i] >> 4];
        out[2 * i + 1] = HEX[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

/* The kernel's generator does not fail after boot; if it did, clock and process still keep neighbours apart. */
void tt__nonce(char out[TT__NONCE_HEX + 1]) {
    unsigned char bytes[TT__NONCE_HEX / 2];
    uint64_t spare = (uint64_t)tt_clock_us() ^ (uint64_t)getpid() << 40;
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) memcpy(bytes, &spare, sizeof bytes);
    write_hex(bytes, sizeof bytes, out);
}

/* A failure of the digest (no memory) gives a key that fits nothing: a miss. */
void tt__key(const char *a, const char *b, char out[TT__KEY_HEX + 1]) {
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    if (sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) && EVP_DigestUpdate(sha, a, strlen(a)) &&
        (!b || (EVP_DigestUpdate(sha, "", 1) && EVP_DigestUpdate(sha, b, strlen(b)))))
        EVP_DigestFinal_ex(sha, sum, NULL);
    EVP_MD_CTX_free(sha);
    write_hex(sum, TT__KEY_HEX / 2, out);
}

bool tt__is_hex(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
    }
    return true;
}

/* ---- small files ------------------------------------------------------------------------------------------------- */

bool tt__stat_at(int dir, const char *name, struct stat *out) {
    if (dir < 0) return false;
    return fstatat(dir, name, out, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(out->st_mode);
}

static tt_status read_fd(int fd, const char *name, tt_buf *out, tt_err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return tt_fail_errno(err, "cannot look at", name);
    if (!S_ISREG(st.st_mode)) return tt_fail(err, TT_E_FORMAT, "%s: no regular file", name);
    if (st.st_size < 0 || (uint64_t)st.st_size > out->limit_bytes)
        return tt_fail(err, TT_E_FORMAT, "%s: %lld bytes, expected at most %zu", name,
                       (long long)st.st_size, out->limit_bytes);
    TT_TRY(tt_buf_reserve(out, (size_t)st.st_size, err));
    for (size_t left = (size_t)st.st_size; left > 0;) {
        ssize_t n = read(fd, out->data + out->size, left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tt_fail_errno(err, "cannot read", name);
        if (n == 0) break;
        out->size += (size_t)n;
        left -= (size_t)n;
    }
    if (out->data) out->data[out->size] = '\0';
    return TT_OK;
}

/* O_NONBLOCK: a pipe that somebody planted must not hold us. */
tt_status tt__read_at(int dir, const char *name, tt_buf *out, tt_err *err) {
    if (dir < 0) return tt_fail(err, TT_E_NOT_FOUND, "%s: its folder is not there", name);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tt_fail_errno(err, "cannot open", name);
    tt_status status = read_fd(fd, name, out, err);
    close(fd);
    return status;
}

static bool write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

static tt_status fill(int dir, const char *name, const tt_buf *text, tt_err *err) {
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return tt_fail_errno(err, "cannot write", name);
    tt_status status = TT_OK;
    if (!write_all(fd, text->data, text->size) || !tt_file_sync(fd))
        status = tt_fail_errno(err, "cannot write", name);
    if (close(fd) != 0 && status == TT_OK) status = tt_fail_errno(err, "cannot write", name);
    return status;
}

tt_status tt__write_at(tt_library *l, int dir, const char *name, const tt_buf *text, tt_err *err) {
    char part[TT__NONCE_HEX + 1];
    int tmp = l->own->v1[TT__TMP];
    tt__nonce(part);
    tt_status status = fill(tmp, part, text, err);
    if (status == TT_OK && renameat(tmp, part, dir, name) != 0)
        status = tt_fail_errno(err, "cannot rename to", name);
    if (status != TT_OK) unlinkat(tmp, part, 0);
    if (status == TT_OK) fsync(dir); /* a failure: the file itself was synced */
    return status;
}

DIR *tt__walk(int dir) {
    int copy = dir >= 0 ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder && copy >= 0) close(copy);
    return folder;
}

/* ---- time and processes ------------------------------------------------------------------------------------------ */

int64_t tt__now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

/* A fresh file has the time of whoever keeps the files: ages of other files are differences on one clock, however wrong
 * ours is. */
int64_t tt__fs_now_s(tt_library *l) {
    char name[TT__NONCE_HEX + 1];
    struct stat st = {0};
    int tmp = l->own->v1[TT__TMP];
    tt__nonce(name);
    int fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    bool is_known = fd >= 0 && fstat(fd, &st) == 0;
    if (fd >= 0) {
        close(fd);
        unlinkat(tmp, name, 0);
    }
    return is_known ? st.st_mtim.tv_sec : tt__now_s();
}

/* The 22nd field of /proc/PID/stat, counted behind the name's bracket (proc(5)). */
uint64_t tt__process_start(long pid) {
    enum { FIELDS_BEHIND_NAME = 20 };
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strrchr(text, ')');
    for (int i = 0; at && i < FIELDS_BEHIND_NAME; i++) at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* Only where it is certain: same boot, same namespace, and no such process, or a younger one of its number. */
bool tt__process_is_dead(const tt_library *l, const char *machine, long pid, uint64_t started) {
    if (strcmp(machine, l->machine) != 0 || pid <= 0 || !l->knows_processes) return false;
    return tt__process_start(pid) != started;
}
