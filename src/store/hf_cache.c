/* The cache folder of Hugging Face's library, read in place (models.md 2.3):
 *
 *     models--org--name/refs/main              a commit's name
 *     models--org--name/snapshots/<commit>/<path>      the file, or a link to ../../blobs/<etag>
 *     models--org--name/blobs/<etag>           for large files the etag is the SHA-256
 *
 * A link must end inside the repository's folder; what leads elsewhere is not there. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "store/source.h"

enum { COMMIT_HEX = 40 };

static bool is_commit(const char *text) {
    return strlen(text) == COMMIT_HEX && strspn(text, "0123456789abcdef") == COMMIT_HEX;
}

static bool repo_folder(const char *root, const char *repo, char out[TT_MODEL_PATH_BYTES]) {
    const char *slash = strchr(repo, '/');
    int n = slash ? snprintf(out, TT_MODEL_PATH_BYTES, "%s/models--%.*s--%s", root,
                             (int)(slash - repo), repo, slash + 1)
                  : -1;
    return n > 0 && n < TT_MODEL_PATH_BYTES && tt_file_is_directory(out);
}

/* The text of refs/<revision>, a commit. */
static bool read_ref(const char *folder, const char *revision, char commit[COMMIT_HEX + 1]) {
    char path[TT_MODEL_PATH_BYTES];
    tt_buf text;
    int n = snprintf(path, sizeof path, "%s/refs/%s", folder, revision);
    if (n < 0 || (size_t)n >= sizeof path) return false;
    tt_buf_init(&text, 2 * COMMIT_HEX);
    bool is_read = tt_file_read(path, &text, NULL) == TT_OK && text.size >= COMMIT_HEX;
    if (is_read) snprintf(commit, COMMIT_HEX + 1, "%.*s", COMMIT_HEX, text.data);
    tt_buf_release(&text);
    return is_read && is_commit(commit);
}

/* Without refs the first snapshot, as the platform's own documentation has it. */
static bool first_snapshot(const char *folder, char commit[COMMIT_HEX + 1]) {
    char path[TT_MODEL_PATH_BYTES];
    bool is_found = false;
    int n = snprintf(path, sizeof path, "%s/snapshots", folder);
    DIR *dir = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (is_commit(d->d_name) && (!is_found || strcmp(d->d_name, commit) < 0)) {
            snprintf(commit, COMMIT_HEX + 1, "%s", d->d_name);
            is_found = true;
        }
    if (dir) closedir(dir);
    return is_found;
}

static bool find_commit(const char *folder, const char *revision, char commit[COMMIT_HEX + 1]) {
    if (is_commit(revision)) {
        snprintf(commit, COMMIT_HEX + 1, "%s", revision);
        return true;
    }
    return read_ref(folder, revision, commit) ||
           (strcmp(revision, "main") == 0 && first_snapshot(folder, commit));
}

/* Where a path really ends, if that is inside the folder. */
static bool resolve_inside(const char *folder, const char *path, char real[PATH_MAX]) {
    char home[PATH_MAX];
    if (!realpath(folder, home) || !realpath(path, real)) return false;
    size_t n = strlen(home);
    return strncmp(home, real, n) == 0 && real[n] == '/';
}

static tt_status not_here(const tt_reference *r, const char *root, tt_err *err) {
    return tt_fail(err, TT_E_NOT_FOUND, "%s: not in the cache %s", r->identity, root);
}

/* The last such part: a cache may lie below a folder that is called like one. */
static const char *last_of(const char *path, const char *part) {
    const char *found = NULL;
    for (const char *at = path; (at = strstr(at, part)); at++)
        if (at == path || at[-1] == '/') found = at;
    return found;
}

bool tt_hf_cache_name(const char *path, char out[TT_REFERENCE_BYTES]) {
    static const char MODELS[] = "models--", SNAPSHOTS[] = "/snapshots/", BETWEEN[] = "--";
    char commit[COMMIT_HEX + 1];
    const char *org = last_of(path, MODELS);
    if (!org) return false;
    org += sizeof MODELS - 1;
    const char *end = strchr(org, '/'), *name = strstr(org, BETWEEN);
    if (!end || !name || name >= end || strncmp(end, SNAPSHOTS, sizeof SNAPSHOTS - 1) != 0)
        return false;
    const char *rest = end + sizeof SNAPSHOTS - 1;
    snprintf(commit, sizeof commit, "%s", rest);
    if (!is_commit(commit) || (rest[COMMIT_HEX] && rest[COMMIT_HEX] != '/')) return false;
    rest += COMMIT_HEX;
    int org_size = (int)(name - org);
    name += sizeof BETWEEN - 1;
    int n = snprintf(out, TT_REFERENCE_BYTES, "hf://%.*s/%.*s@%s%s", org_size, org,
                     (int)(end - name), name, commit, rest[0] && rest[1] ? rest : "");
    return n < TT_REFERENCE_BYTES;
}

tt_status tt_hf_cache_find(const char *cache_root, const tt_reference *reference,
                           char path[TT_MODEL_PATH_BYTES], char digest[TT_DIGEST_HEX + 1],
                           tt_err *err) {
    char folder[TT_MODEL_PATH_BYTES], commit[COMMIT_HEX + 1] = "", real[PATH_MAX];
    digest[0] = '\0';
    if (reference->type != TT_REF_HF || !repo_folder(cache_root, reference->repo, folder) ||
        !find_commit(folder, reference->revision, commit))
        return not_here(reference, cache_root, err);
    bool is_file = reference->path[0] != '\0';
    int n = snprintf(path, TT_MODEL_PATH_BYTES, "%s/snapshots/%s%s%s", folder, commit,
                     is_file ? "/" : "", reference->path);
    if (n < 0 || n >= TT_MODEL_PATH_BYTES || !resolve_inside(folder, path, real) ||
        tt_file_is_directory(real) == is_file)
        return not_here(reference, cache_root, err);
    const char *blob = strrchr(real, '/') + 1;
    if (!tt_digest_parse(blob, strlen(blob), digest)) digest[0] = '\0';
    return TT_OK;
}
