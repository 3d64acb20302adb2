/* Bytes under their digest. A file under blobs/ is whole since it got its name; what is compared later is its size and, where
 * we wrote it, the second it was last changed: enough to notice a truncated disk or a foreign hand, for the price of one stat.
 * Read-only roots (images, copies) carry whatever times their maker gave them: there only the size counts. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/library_parts.h"

enum { FOLDER_MODE = 0755, PREFIX = 2 };

int tt__blob_folder(const tt__root *root, const char *digest, bool must_make) {
    char name[PREFIX + 1];
    int blobs = root->v1[TT__BLOBS];
    if (blobs < 0) {
        errno = ENOENT;
        return -1;
    }
    snprintf(name, sizeof name, "%.*s", PREFIX, digest);
    if (must_make && mkdirat(blobs, name, FOLDER_MODE) == 0) fsync(blobs);
    return openat(blobs, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool read_facts(int folder, const char *digest, tt__facts *out) {
    char name[TT__FILE_NAME_BYTES];
    tt_buf text;
    snprintf(name, sizeof name, "%s.json", digest);
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    bool is_good = tt__read_at(folder, name, &text, NULL) == TT_OK && text.size > 0 &&
                   tt__facts_parse(text.data, text.size, out, NULL) == TT_OK;
    tt_buf_release(&text);
    if (!is_good) *out = (tt__facts){0};
    return is_good;
}

static tt__blob_state judge(const tt__root *root, const struct stat *st, uint64_t size,
                            bool has_facts, const tt__facts *facts) {
    uint64_t found = (uint64_t)st->st_size;
    if (found == 0 || (size && found != size)) return TT__BLOB_ABSENT;
    if (!root->is_ours) return !has_facts || facts->size == found ? TT__BLOB_GOOD : TT__BLOB_ABSENT;
    bool is_same = has_facts && facts->size == found && facts->stamp_s == st->st_mtim.tv_sec;
    return is_same ? TT__BLOB_GOOD : TT__BLOB_TOUCHED;
}

tt__blob_state tt__blob_look(const tt__root *root, const char *digest, uint64_t size,
                             struct stat *st, tt__facts *facts) {
    tt__facts unwanted;
    struct stat found;
    if (!facts) facts = &unwanted;
    if (!st) st = &found;
    *facts = (tt__facts){0};
    int folder = tt__blob_folder(root, digest, false);
    if (folder < 0) return TT__BLOB_ABSENT;
    tt__blob_state state = TT__BLOB_ABSENT;
    if (tt__stat_at(folder, digest, st)) {
        bool has_facts = read_facts(folder, digest, facts);
        state = judge(root, st, size, has_facts, facts);
    }
    close(folder);
    return state;
}

const tt__root *tt__blob_find(const tt_library *l, const char *digest, uint64_t size,
                              tt__blob_state *state, tt__facts *facts) {
    const tt__root *found = NULL;
    *state = TT__BLOB_ABSENT;
    for (int i = 0; i < l->n_roots && *state != TT__BLOB_GOOD; i++) {
        tt__facts facts_here;
        tt__blob_state here = tt__blob_look(&l->roots[i], digest, size, NULL, &facts_here);
        if (here <= *state) continue;
        *state = here;
        found = &l->roots[i];
        if (facts) *facts = facts_here;
    }
    return found;
}

void tt__blob_path(const tt__root *root, const char *digest, char path[TT_MODEL_PATH_BYTES]) {
    enum { ROOM = TT_MODEL_PATH_BYTES - 128 }; /* tt_library_open saw that it fits */
    snprintf(path, TT_MODEL_PATH_BYTES, "%.*s/v1/blobs/sha256/%.*s/%.*s", ROOM, root->path, PREFIX,
             digest, TT_DIGEST_HEX, digest);
}

int tt__blob_open(const tt__root *root, const char *digest) {
    int folder = tt__blob_folder(root, digest, false);
    if (folder < 0) return -1;
    int fd = openat(folder, digest, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    int number = errno;
    close(folder);
    errno = number;
    return fd;
}

tt_status tt__facts_write(tt_library *l, const char *digest, const tt__facts *facts, tt_err *err) {
    char name[TT__FILE_NAME_BYTES];
    tt_buf text;
    int folder = tt__blob_folder(l->own, digest, true);
    if (folder < 0) return tt_fail_errno(err, "cannot open the folder of", digest);
    snprintf(name, sizeof name, "%s.json", digest);
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    tt_status status = tt__facts_format(facts, &text, err);
    if (status == TT_OK) status = tt__write_at(l, folder, name, &text, err);
    tt_buf_release(&text);
    close(folder);
    return status;
}

/* The time is part of the name: rename leaves a file's own times alone. */
bool tt__move_to_trash(tt_library *l, int folder, const char *name_here) {
    char name[TT__FILE_NAME_BYTES], nonce[TT__NONCE_HEX + 1];
    tt__nonce(nonce);
    snprintf(name, sizeof name, "%.200s.%lld.%s", name_here, (long long)tt__fs_now_s(l), nonce);
    return renameat(folder, name_here, l->own->v1[TT__TRASH], name) == 0;
}

bool tt__blob_away(tt_library *l, const char *digest, bool at_once) {
    char facts[TT__FILE_NAME_BYTES];
    int folder = tt__blob_folder(l->own, digest, false);
    if (folder < 0) return false;
    snprintf(facts, sizeof facts, "%s.json", digest);
    bool is_away =
        at_once ? unlinkat(folder, digest, 0) == 0 : tt__move_to_trash(l, folder, digest);
    if (is_away) {
        unlinkat(folder, facts, 0);
        unlinkat(l->own->v1[TT__USED], digest, 0);
    }
    close(folder);
    return is_away;
}

void tt__entry_complete(const tt__root *root, tt_library_entry *entry) {
    tt__blob_path(root, entry->digest, entry->path);
    entry->is_read_only = !root->is_ours;
    entry->used_s = tt__used_s(root, entry->digest);
}
