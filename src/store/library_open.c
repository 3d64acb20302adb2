/* Roots, and whether ours can be written. A root is looked at once: its folders' descriptors are kept, so that nobody who
 * moves a folder or plants a link later leads us elsewhere.
 *
 * Unless ours itself is taken away or replaced while it is open (somebody empties the volume under a worker that runs for days):
 * who is about to write finds out, and it is made and opened again, under the same numbers.
 *
 * Ours is made when it is missing. Whatever stands in the way (a volume that is not mounted, a read-only one, a link where a
 * folder should be) is kept as the reason and ends nothing: what is there is served. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "store/library_parts.h"

enum { FOLDER_MODE = 0755, FILE_MODE = 0644 };

static const char *const FOLDERS[TT__FOLDERS] = {
    [TT__BLOBS] = "blobs",       [TT__NAMES] = "names",   [TT__USED] = "used",
    [TT__NEGATIVE] = "negative", [TT__LEASES] = "leases", [TT__LOCKS] = "locks",
    [TT__TMP] = "tmp",           [TT__TRASH] = "trash",
};

static int open_folder(int dir, const char *name) {
    return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void look_in(tt__root *root, int v1) {
    for (int i = 0; i < TT__FOLDERS; i++) {
        root->v1[i] = open_folder(v1, FOLDERS[i]);
        if (i != TT__BLOBS || root->v1[i] < 0) continue;
        int blobs = root->v1[i];
        root->v1[i] = open_folder(blobs, "sha256");
        close(blobs);
    }
}

static void open_root(tt__root *root, const char *path) {
    char real[PATH_MAX];
    const char *known = realpath(path, real) ? real : path;
    snprintf(root->path, sizeof root->path, "%s", known);
    for (int i = 0; i < TT__FOLDERS; i++) root->v1[i] = -1;
    root->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int v1 = root->fd >= 0 ? open_folder(root->fd, "v1") : -1;
    if (v1 < 0) return;
    look_in(root, v1);
    close(v1);
}

static void close_root(tt__root *root) {
    for (int i = 0; i < TT__FOLDERS; i++)
        if (root->v1[i] >= 0) close(root->v1[i]);
    if (root->fd >= 0) close(root->fd);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static tt_status make(int dir, const char *name, const char *path, tt_err *err) {
    if (mkdirat(dir, name, FOLDER_MODE) == 0 || errno == EEXIST) return TT_OK;
    return tt_fail_errno(err, "cannot make a folder in", path);
}

/* The root and what leads to it. */
static tt_status make_path(const char *path, tt_err *err) {
    char part[TT_MODEL_PATH_BYTES];
    for (const char *at = path;; at++) {
        if (at > path && (*at == '/' || *at == '\0')) {
            snprintf(part, sizeof part, "%.*s", (int)(at - path), path);
            if (mkdir(part, FOLDER_MODE) != 0 && errno != EEXIST && !tt_file_is_directory(part))
                return tt_fail_errno(err, "cannot make the folder", part);
        }
        if (*at == '\0') return TT_OK;
    }
}

static tt_status make_folders(int root, const char *path, tt_err *err) {
    TT_TRY(make(root, "v1", path, err));
    int v1 = open_folder(root, "v1");
    if (v1 < 0) return tt_fail_errno(err, "cannot open v1 (is it a link?) in", path);
    tt_status status = TT_OK;
    for (int i = 0; i < TT__FOLDERS && status == TT_OK; i++)
        status = make(v1, FOLDERS[i], path, err);
    int blobs = status == TT_OK ? open_folder(v1, FOLDERS[TT__BLOBS]) : -1;
    if (status == TT_OK && blobs < 0)
        status = tt_fail_errno(err, "cannot open v1/blobs (is it a link?) in", path);
    if (status == TT_OK) status = make(blobs, "sha256", path, err);
    if (blobs >= 0) close(blobs);
    close(v1);
    return status;
}

/* Backups leave such folders out (bford.info/cachedir). */
static void tag(int root) {
    static const char TAG[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                              "# Models that can be fetched again.\n";
    int fd = openat(root, "CACHEDIR.TAG", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    FILE_MODE);
    if (fd < 0) return;
    if (write(fd, TAG, sizeof TAG - 1) < 0) unlinkat(root, "CACHEDIR.TAG", 0);
    close(fd);
}

static tt_status try_writing(const tt__root *root, tt_err *err) {
    char name[TT__NONCE_HEX + 1];
    for (int i = 0; i < TT__FOLDERS; i++)
        if (root->v1[i] < 0)
            return tt_fail(err, TT_E_IO, "cannot open v1/%s (is it a link?) in %s", FOLDERS[i],
                           root->path);
    tt__nonce(name);
    int fd = openat(root->v1[TT__TMP], name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return tt_fail_errno(err, "cannot write in", root->path);
    close(fd);
    unlinkat(root->v1[TT__TMP], name, 0);
    return TT_OK;
}

static tt_status make_own(const char *path, tt_err *err) {
    TT_TRY(make_path(path, err));
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return tt_fail_errno(err, "cannot open", path);
    tt_status status = make_folders(root, path, err);
    if (status == TT_OK) tag(root);
    close(root);
    return status;
}

static void open_own(tt_library *l, const char *path) {
    tt_err err = {.code = TT_OK};
    tt_status status =
        path ? make_own(path, &err) : tt_fail(&err, TT_E_INVALID, "no folder for models was given");
    if (path) {
        tt__root *root = &l->roots[l->n_roots++];
        open_root(root, path);
        if (status == TT_OK) status = try_writing(root, &err);
        root->is_ours = status == TT_OK;
        if (root->is_ours) l->own = root;
    }
    if (status != TT_OK) snprintf(l->reason, sizeof l->reason, "%s", err.message);
}

/* ---- again ------------------------------------------------------------------------------------------------------- */

/* Whether what is held is what stands at the path. */
static bool is_in_place(const tt__root *root) {
    enum { ROOM = TT_MODEL_PATH_BYTES - 64 };
    for (int i = 0; i < TT__FOLDERS; i++) {
        char path[TT_MODEL_PATH_BYTES];
        struct stat there, held;
        snprintf(path, sizeof path, "%.*s/v1/%s%s", ROOM, root->path, FOLDERS[i],
                 i == TT__BLOBS ? "/sha256" : "");
        if (stat(path, &there) != 0 || fstat(root->v1[i], &held) != 0 ||
            there.st_dev != held.st_dev || there.st_ino != held.st_ino)
            return false;
    }
    return true;
}

/* dup3(2) replaces what a number stands for in one step: who uses it at this moment has the old folder or the new one. */
static tt_status replace_folders(tt__root *own, const tt__root *fresh, tt_err *err) {
    bool is_done = dup3(fresh->fd, own->fd, O_CLOEXEC) >= 0;
    for (int i = 0; is_done && i < TT__FOLDERS; i++)
        is_done = dup3(fresh->v1[i], own->v1[i], O_CLOEXEC) >= 0;
    return is_done ? TT_OK : tt_fail_errno(err, "cannot open again", own->path);
}

static tt_status place_again(tt__root *own, tt_err *err) {
    tt__root fresh = {.fd = -1};
    TT_TRY(make_own(own->path, err));
    open_root(&fresh, own->path);
    tt_status status = try_writing(&fresh, err);
    if (status == TT_OK) status = replace_folders(own, &fresh, err);
    close_root(&fresh);
    return status;
}

tt_status tt__need_own(tt_library *l, tt_err *err) {
    if (!l->own)
        return tt_fail(err, TT_E_IO, "the folder of models cannot be written: %s", l->reason);
    pthread_mutex_lock(&l->placing);
    tt_status status = is_in_place(l->own) ? TT_OK : place_again(l->own, err);
    pthread_mutex_unlock(&l->placing);
    return status;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static size_t read_small(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : 0;
    if (fd >= 0) close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* Two containers of one machine share its boot but not their processes' numbers, hence both. */
static void know_machine(tt_library *l) {
    char boot[64], space[64], key[TT__KEY_HEX + 1];
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[n > 0 ? n : 0] = '\0';
    if (!read_small("/proc/sys/kernel/random/boot_id", boot, sizeof boot) || n <= 0)
        tt__nonce(boot); /* then nobody's death can be proved */
    tt__key(boot, space, key);
    snprintf(l->machine, sizeof l->machine, "%.*s", TT__NONCE_HEX, key);
    l->knows_processes = tt__process_start(getpid()) != 0;
}

static tt_status check_options(const tt_library_options *o, tt_err *err) {
    if (o->n_read_only > TT_LIBRARY_MAX_ROOTS)
        return tt_fail(err, TT_E_INVALID, "%d read-only folders of models, expected at most %d",
                       o->n_read_only, TT_LIBRARY_MAX_ROOTS);
    for (int i = -1; i < o->n_read_only; i++) {
        const char *path = i < 0 ? o->root : o->read_only[i];
        enum { TAIL = 128 }; /* v1/blobs/sha256/ab/ and a digest */
        if (path && (*path == '\0' || strlen(path) + TAIL > TT_MODEL_PATH_BYTES))
            return tt_fail(err, TT_E_INVALID,
                           "folder of models: a path of %zu bytes, expected 1 to %d", strlen(path),
                           TT_MODEL_PATH_BYTES - TAIL);
    }
    return TT_OK;
}

tt_status tt_library_open(const tt_library_options *o, tt_library **out, tt_err *err) {
    *out = NULL;
    TT_TRY(check_options(o, err));
    tt_library *l = tt_alloc(sizeof *l);
    if (!l) return tt_fail_nomem(err, "library", sizeof *l);
    pthread_mutex_init(&l->seen.mutex, NULL);
    pthread_mutex_init(&l->placing, NULL);
    l->max_bytes = o->max_bytes;
    l->reserve_bytes = o->reserve_bytes;
    l->no_locks = o->no_locks;
    know_machine(l);
    for (int i = 0; i < o->n_read_only; i++) open_root(&l->roots[l->n_roots++], o->read_only[i]);
    open_own(l, o->root);
    *out = l;
    return TT_OK;
}

void tt_library_close(tt_library *l) {
    if (!l) return;
    for (int i = 0; i < l->n_roots; i++) close_root(&l->roots[i]);
    pthread_mutex_destroy(&l->seen.mutex);
    pthread_mutex_destroy(&l->placing);
    tt_free(l);
}

const char *tt_library_read_only_reason(const tt_library *l) {
    return l->own ? NULL : l->reason;
}
