/* Downloads in progress: <key>.<owner>.<nonce>.part and its journal with .j behind, in tmp/. The owner is
 *
 *     <machine>.<pid>.<start>    a process; when that is known to be dead, its part is taken over by renaming it, which one of
 *                                several wins
 *     left                       nobody: its process gave up and left it, to be taken over in the same way
 *
 * A process on another machine cannot be known to be dead: it may be frozen and come back, and then writes into a file that is
 * a model by now. So a part that nobody touched for ten minutes is copied, and only the copy is used. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/library_parts.h"

enum { FILE_MODE = 0600, IDLE_S = 10 * 60, COPY_BYTES = 64 << 20 };

static const char PART[] = ".part", LEFT[] = "left";

typedef enum owner { NOBODY, DEAD, ELSEWHERE, ALIVE } owner;

static bool is_part_of(const char *name, const char *key) {
    size_t n = strlen(name), m = sizeof PART - 1;
    return n > TT__KEY_HEX + 1 + m && strncmp(name, key, TT__KEY_HEX) == 0 &&
           name[TT__KEY_HEX] == '.' && strcmp(name + n - m, PART) == 0;
}

static owner owner_of(const tt_library *l, const char *name) {
    const char *at = name + TT__KEY_HEX + 1;
    char machine[TT__NONCE_HEX + 1];
    long pid;
    uint64_t started;
    if (strncmp(at, LEFT, sizeof LEFT - 1) == 0) return NOBODY;
    if (sscanf(at, "%16[0-9a-f].%ld.%" SCNu64, machine, &pid, &started) != 3) return ALIVE;
    if (strcmp(machine, l->machine) != 0) return ELSEWHERE;
    return tt__process_is_dead(l, machine, pid, started) ? DEAD : ALIVE;
}

static void name_ours(const tt_library *l, const char *key, char out[TT__FILE_NAME_BYTES]) {
    char nonce[TT__NONCE_HEX + 1];
    tt__nonce(nonce);
    snprintf(out, TT__FILE_NAME_BYTES, "%s.%s.%ld.%" PRIu64 ".%s%s", key, l->machine,
             (long)getpid(), tt__process_start(getpid()), nonce, PART);
}

static void journal_of(const char *part, char out[TT__FILE_NAME_BYTES]) {
    snprintf(out, TT__FILE_NAME_BYTES, "%.250s.j", part);
}

static bool rename_both(int tmp, const char *from, const char *to) {
    char from_journal[TT__FILE_NAME_BYTES], to_journal[TT__FILE_NAME_BYTES];
    journal_of(from, from_journal);
    journal_of(to, to_journal);
    if (renameat(tmp, from, tmp, to) != 0) return false;
    renameat(tmp, from_journal, tmp, to_journal);
    return true;
}

static void unlink_both(int tmp, const char *name) {
    char journal[TT__FILE_NAME_BYTES];
    journal_of(name, journal);
    unlinkat(tmp, journal, 0);
    unlinkat(tmp, name, 0);
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

/* Holes stay holes where the file system knows them. */
static bool copy_bytes(int from, int to, off_t size) {
    if (ftruncate(to, size) != 0) return false;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) return errno == ENXIO;
        off_t end = lseek(from, data, SEEK_HOLE), out = data;
        if (end < 0) return false;
        while (data < end) {
            size_t n = end - data < COPY_BYTES ? (size_t)(end - data) : COPY_BYTES;
            ssize_t done = copy_file_range(from, &data, to, &out, n, 0);
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0) return false;
        }
        at = end;
    }
    return true;
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* False as well when somebody wrote into it meanwhile. */
static bool copy_file(int tmp, const char *from_name, const char *to_name) {
    struct stat before, after;
    int from = openat(tmp, from_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    int to = openat(tmp, to_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    bool is_copied = from >= 0 && to >= 0 && fstat(from, &before) == 0 &&
                     copy_bytes(from, to, before.st_size) && fstat(from, &after) == 0 &&
                     is_same(&before, &after) && tt_file_sync(to);
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    return is_copied;
}

/* The journal first: what it claims was in the part before. */
static bool copy_both(int tmp, const char *from, const char *to) {
    char from_journal[TT__FILE_NAME_BYTES], to_journal[TT__FILE_NAME_BYTES];
    journal_of(from, from_journal);
    journal_of(to, to_journal);
    bool is_copied = copy_file(tmp, from_journal, to_journal) && copy_file(tmp, from, to);
    if (is_copied)
        unlink_both(tmp, from);
    else
        unlink_both(tmp, to);
    return is_copied;
}

static bool is_idle(int tmp, const char *name, int64_t now_s) {
    char journal[TT__FILE_NAME_BYTES];
    struct stat part, j;
    journal_of(name, journal);
    return tt__stat_at(tmp, name, &part) && tt__stat_at(tmp, journal, &j) &&
           part.st_mtim.tv_sec < now_s - IDLE_S && j.st_mtim.tv_sec < now_s - IDLE_S;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

/* One is enough; others that are nobody's go. */
static bool take_over(tt_library *l, const char *key, const char *ours) {
    int tmp = l->own->v1[TT__TMP];
    DIR *folder = tt__walk(tmp);
    struct dirent *file;
    bool has_one = false;
    for (int n = 0; folder && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++) {
        if (!is_part_of(file->d_name, key) || strcmp(file->d_name, ours) == 0) continue;
        owner o = owner_of(l, file->d_name);
        bool may_take = o == NOBODY || o == DEAD;
        if (may_take && has_one)
            unlink_both(tmp, file->d_name);
        else if (may_take)
            has_one = rename_both(tmp, file->d_name, ours);
        else if (o == ELSEWHERE && !has_one && is_idle(tmp, file->d_name, tt__fs_now_s(l)))
            has_one = copy_both(tmp, file->d_name, ours);
    }
    if (folder) closedir(folder);
    return has_one;
}

static tt_status path_in_tmp(const tt_library *l, const char *name, char out[TT_MODEL_PATH_BYTES],
                             tt_err *err) {
    int n = snprintf(out, TT_MODEL_PATH_BYTES, "%s/v1/tmp/%s", l->own->path, name);
    if (n > 0 && n < TT_MODEL_PATH_BYTES) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "the path of the folder of models is too long");
}

tt_status tt_library_part_begin(tt_library *l, const char *identity, tt_library_part *out,
                                tt_err *err) {
    char key[TT__KEY_HEX + 1], name[TT__FILE_NAME_BYTES], journal[TT__FILE_NAME_BYTES];
    TT_TRY(tt__need_own(l, err));
    tt__key(identity, NULL, key);
    name_ours(l, key, name);
    journal_of(name, journal);
    TT_TRY(path_in_tmp(l, name, out->part_path, err));
    TT_TRY(path_in_tmp(l, journal, out->journal_path, err));
    out->is_resumed = take_over(l, key, name);
    return TT_OK;
}

static const char *name_of(const tt_library_part *part) {
    const char *slash = strrchr(part->part_path, '/');
    return slash ? slash + 1 : "";
}

void tt_library_part_drop(tt_library *l, const tt_library_part *part) {
    if (l->own && *name_of(part)) unlink_both(l->own->v1[TT__TMP], name_of(part));
}

void tt_library_part_leave(tt_library *l, const tt_library_part *part) {
    char name[TT__FILE_NAME_BYTES], nonce[TT__NONCE_HEX + 1];
    if (!l->own || strlen(name_of(part)) < TT__KEY_HEX) return;
    tt__nonce(nonce);
    snprintf(name, sizeof name, "%.*s.%s.%s%s", TT__KEY_HEX, name_of(part), LEFT, nonce, PART);
    rename_both(l->own->v1[TT__TMP], name_of(part), name);
}
