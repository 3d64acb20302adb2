/* Who is using bytes, and when they were last used: times of small files, given by whoever keeps the file system.
 *
 * A lease is a file whose time is moved on while it holds; five minutes without that and it counts no more, nor if it lies as far
 * ahead, from before a clock was put right: one that beats is at the present again in seconds. If it is gone (a process
 * that was frozen for an hour comes back), the next beat makes it again. In it stands
 *
 *     <machine> <pid> <start of the process>
 *
 * and what a process here left that is known to be dead counts no more at once: whoever comes after a crash may need its room. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/library_parts.h"

enum { FILE_MODE = 0644, MAX_TEXT_BYTES = 128 };

struct tt_library_lease {
    tt_library *l;
    char name[TT__FILE_NAME_BYTES];
};

static bool write_lease(const tt_library *l, const char *name) {
    char text[MAX_TEXT_BYTES];
    int n = snprintf(text, sizeof text, "%s %ld %" PRIu64 "\n", l->machine, (long)getpid(),
                     tt__process_start(getpid()));
    int fd = openat(l->own->v1[TT__LEASES], name,
                    O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, FILE_MODE);
    if (fd < 0) return false;
    bool is_written = write(fd, text, (size_t)n) == n;
    futimens(fd, NULL);
    return close(fd) == 0 && is_written;
}

/* Bytes in a read-only root need none. */
tt_status tt_library_lease_take(tt_library *l, const char *digest, tt_library_lease **out,
                                tt_err *err) {
    char nonce[TT__NONCE_HEX + 1];
    *out = NULL;
    if (!l->own || !*digest) return TT_OK;
    tt__nonce(nonce);
    tt_library_lease *lease = tt_alloc(sizeof *lease);
    if (!lease) return tt_fail_nomem(err, "lease", sizeof *lease);
    lease->l = l;
    snprintf(lease->name, sizeof lease->name, "%.*s.%s", TT_DIGEST_HEX, digest, nonce);
    if (!write_lease(l, lease->name)) {
        tt_fail_errno(err, "cannot write a lease in", l->own->path);
        tt_free(lease);
        return TT_E_IO;
    }
    *out = lease;
    return TT_OK;
}

void tt_library_lease_beat(tt_library_lease *lease) {
    if (!lease) return;
    int dir = lease->l->own->v1[TT__LEASES];
    if (utimensat(dir, lease->name, NULL, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        write_lease(lease->l, lease->name);
}

void tt_library_lease_release(tt_library_lease *lease) {
    if (!lease) return;
    unlinkat(lease->l->own->v1[TT__LEASES], lease->name, 0);
    tt_free(lease);
}

/* "<64 hex>.<16 hex>" */
static bool is_lease(const char *name) {
    return strlen(name) == TT_DIGEST_HEX + 1 + TT__NONCE_HEX && tt__is_hex(name, TT_DIGEST_HEX) &&
           name[TT_DIGEST_HEX] == '.';
}

static bool is_left_by_the_dead(const tt_library *l, const char *name) {
    char machine[TT__NONCE_HEX + 1];
    long pid;
    uint64_t started;
    tt_buf text;
    tt_buf_init(&text, MAX_TEXT_BYTES);
    bool is_dead = tt__read_at(l->own->v1[TT__LEASES], name, &text, NULL) == TT_OK &&
                   text.size > 0 &&
                   sscanf(text.data, "%16[0-9a-f] %ld %" SCNu64, machine, &pid, &started) == 3 &&
                   tt__process_is_dead(l, machine, pid, started);
    tt_buf_release(&text);
    return is_dead;
}

void tt__leases_walk(tt_library *l, int64_t now_s, void (*each)(void *context, const char *digest),
                     void *context, bool may_remove) {
    DIR *folder = tt__walk(l->own->v1[TT__LEASES]);
    struct dirent *file;
    struct stat st;
    for (int n = 0; folder && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++) {
        char digest[TT_DIGEST_HEX + 1];
        if (!is_lease(file->d_name) || !tt__stat_at(l->own->v1[TT__LEASES], file->d_name, &st))
            continue;
        bool counts = st.st_mtim.tv_sec > now_s - TT__LEASE_STALE_S &&
                      st.st_mtim.tv_sec < now_s + TT__LEASE_STALE_S &&
                      !is_left_by_the_dead(l, file->d_name);
        memcpy(digest, file->d_name, TT_DIGEST_HEX);
        digest[TT_DIGEST_HEX] = '\0';
        if (counts && each) each(context, digest);
        if (!counts && may_remove) unlinkat(l->own->v1[TT__LEASES], file->d_name, 0);
    }
    if (folder) closedir(folder);
}

/* ---- last use ---------------------------------------------------------------------------------------------------- */

int64_t tt__used_s(const tt__root *root, const char *digest) {
    struct stat st;
    return tt__stat_at(root->v1[TT__USED], digest, &st) ? st.st_mtim.tv_sec : 0;
}

/* Our clock decides only whether it is worth a write. */
void tt_library_touch(tt_library *l, const char *digest) {
    if (!l->own || !tt_digest_parse(digest, strlen(digest), NULL)) return;
    int64_t now = tt__now_s(), before = tt__used_s(l->own, digest);
    if (before > now - TT__USED_GRAIN_S && before < now + TT__USED_GRAIN_S) return;
    int fd = openat(l->own->v1[TT__USED], digest,
                    O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, FILE_MODE);
    if (fd < 0) return;
    futimens(fd, NULL);
    close(fd);
}
