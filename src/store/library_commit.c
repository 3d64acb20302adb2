/* A verified part becomes a model. In this order, each step durable before the next, so that whoever dies in between leaves
 * less than he had, never something wrong:
 *
 *     1  the part is whole, synced where the file system can, 0444 where it has modes
 *     2  it gets its digest's name                    died here: bytes without facts; the next commit replaces them
 *     3  what is known about it is written beside     died here: an orphan, found by digest, gone after an hour
 *     4  the folder is synced
 *     5  the name is written, and its folder synced   only now anybody finds it by name
 *
 * The name is not taken from anybody: bytes that are there under this digest and untouched stay, and the part goes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/library_parts.h"

enum { BLOB_MODE = 0444 };

static tt_status seal(int fd, const char *name, struct stat *st, tt_err *err) {
    if (fstat(fd, st) != 0) return tt_fail_errno(err, "cannot look at", name);
    if (!S_ISREG(st->st_mode) || st->st_size <= 0)
        return tt_fail(err, TT_E_FORMAT, "%s: expected a regular file with bytes in it", name);
    (void)fchmod(fd, BLOB_MODE); /* file systems without modes, or of another owner, refuse */
    if (!tt_file_sync(fd)) return tt_fail_errno(err, "cannot write", name);
    return TT_OK;
}

static tt_status seal_part(tt_library *l, const char *name, const tt_library_entry *entry,
                           struct stat *st, tt_err *err) {
    int fd = openat(l->own->v1[TT__TMP], name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tt_fail_errno(err, "cannot open", name);
    tt_status status = seal(fd, name, st, err);
    if (close(fd) != 0 && status == TT_OK) status = tt_fail_errno(err, "cannot write", name);
    if (status == TT_OK && entry->size && entry->size != (uint64_t)st->st_size)
        status = tt_fail(err, TT_E_FORMAT, "%s: %lld bytes, expected %llu", entry->identity,
                         (long long)st->st_size, (unsigned long long)entry->size);
    return status;
}

/* Not over a file that is there if it can be helped: somebody may be reading it, and on a network file system loses it. But one
 * that is not known to be good is replaced. Where renaming without replacing is unknown, replacing does no harm: the bytes are
 * the same. */
static tt_status give_name(tt_library *l, const char *name, int folder, const char *digest,
                           uint64_t size, tt_err *err) {
    int tmp = l->own->v1[TT__TMP];
    if (renameat2(tmp, name, folder, digest, RENAME_NOREPLACE) == 0) return TT_OK;
    if (errno == EEXIST && tt__blob_look(l->own, digest, size, NULL, NULL) == TT__BLOB_GOOD)
        return TT_OK; /* somebody was faster; the part is dropped later */
    if (renameat(tmp, name, folder, digest) == 0) return TT_OK;
    return tt_fail_errno(err, "cannot move into place", digest);
}

/* Something that is no file is in the way of the name, or of that of the facts. */
static void clear_way(tt_library *l, int folder, const char *digest) {
    struct stat st;
    char facts[TT__FILE_NAME_BYTES];
    snprintf(facts, sizeof facts, "%s.json", digest);
    const char *const names[] = {digest, facts};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (fstatat(folder, names[i], &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(st.st_mode))
            continue;
        if (unlinkat(folder, names[i], 0) != 0) tt__move_to_trash(l, folder, names[i]);
    }
}

static tt_status place_in(tt_library *l, int folder, const char *name, const char *digest,
                          tt__blob_state before, const tt__facts *facts, tt_err *err) {
    if (before != TT__BLOB_GOOD) {
        clear_way(l, folder, digest);
        TT_TRY(give_name(l, name, folder, digest, facts->size, err));
        TT_TRY(tt__facts_write(l, digest, facts, err));
    }
    fsync(folder);
    return TT_OK;
}

static tt_status place(tt_library *l, const char *name, const tt_library_entry *entry,
                       const struct stat *st, tt_err *err) {
    tt__facts facts = {.size = (uint64_t)st->st_size,
                       .stamp_s = st->st_mtim.tv_sec,
                       .kind = entry->kind,
                       .can_be_fetched_again = entry->can_be_fetched_again};
    snprintf(facts.name, sizeof facts.name, "%s", entry->name);
    struct stat found;
    tt__blob_state before = tt__blob_look(l->own, entry->digest, facts.size, &found, NULL);
    int folder = tt__blob_folder(l->own, entry->digest, true);
    if (folder < 0) return tt_fail_errno(err, "cannot make the folder of", entry->digest);
    tt_status status = place_in(l, folder, name, entry->digest, before, &facts, err);
    close(folder);
    return status;
}

tt_status tt_library_commit(tt_library *l, const tt_library_part *part, tt_library_entry *entry,
                            tt_err *err) {
    const char *slash = strrchr(part->part_path, '/');
    const char *name = slash ? slash + 1 : part->part_path;
    struct stat st;
    TT_TRY(tt__need_own(l, err));
    if (!tt_digest_parse(entry->digest, strlen(entry->digest), entry->digest) || !*entry->identity)
        return tt_fail(err, TT_E_INVALID, "a commit needs an identity and a digest");
    TT_TRY(seal_part(l, name, entry, &st, err));
    TT_TRY(place(l, name, entry, &st, err));
    tt_library_part_drop(l, part);
    entry->size = (uint64_t)st.st_size;
    if (entry->fetched_s == 0) entry->fetched_s = tt__now_s();
    TT_TRY(tt__name_write(l, entry, err));
    tt__entry_complete(l->own, entry);
    return TT_OK;
}
