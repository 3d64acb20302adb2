/* What is here, without asking anybody: a path, the library, caches that Hugging Face's library or the platform filled.
 *
 * A path is served as it is, file or folder: it belongs to whoever wrote it down. Bytes in the library whose stamp does not
 * fit are hashed here, once: then they are good again, or gone. */
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_parts.h"

static tt_status absent(tt_fetch_error *error) {
    *error = (tt_fetch_error){.class_ = TT_FETCH_OK, .retry_after_ms = -1};
    return TT_E_NOT_FOUND;
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

/* "~/x" by the system's own list of users: the environment is not ours to read. */
static bool expand(const char *path, char out[TT_MODEL_PATH_BYTES]) {
    enum { BUFFER_BYTES = 4096 };
    char buffer[BUFFER_BYTES];
    struct passwd entry, *found = NULL;
    const char *home = "";
    if (path[0] == '~') {
        if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) != 0 || !found)
            return false;
        home = found->pw_dir;
        path++;
    }
    int n = snprintf(out, TT_MODEL_PATH_BYTES, "%s%s", home, path);
    return n >= 0 && n < TT_MODEL_PATH_BYTES;
}

static bool describe_path(const char *path, tt_model_kind kind, tt_library_entry *out) {
    struct stat st;
    memset(out, 0, sizeof *out);
    if (!expand(path, out->path) || stat(out->path, &st) != 0) return false;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return false;
    const char *slash = strrchr(out->path, '/');
    snprintf(out->name, sizeof out->name, "%.*s", TT_MODEL_NAME_BYTES - 1,
             slash && slash[1] ? slash + 1 : out->path);
    snprintf(out->identity, sizeof out->identity, "%.*s", TT_REFERENCE_BYTES - 1, path);
    out->kind = kind;
    out->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    out->fetched_s = st.st_mtim.tv_sec;
    out->is_read_only = true;
    return true;
}

static tt_status look_at_path(tt_store *s, const tt_reference *r, tt_model_kind kind,
                              tt_library_entry *out, tt_fetch_error *error) {
    if (describe_path(r->path, kind, out)) return TT_OK;
    if (tt_library_find(s->library, r, out, NULL) == TT_OK) return TT_OK;
    return tt_fetch_fail(error, TT_FETCH_GONE, "%.300s: no such file", r->path);
}

/* ---- the library ------------------------------------------------------------------------------------------------- */

static tt_status find(tt_store *s, const tt_reference *r, tt_library_entry *out, tt_err *err) {
    tt_library_verified verified;
    tt_status status = tt_library_find(s->library, r, out, err);
    if (status != TT_E_FORMAT) return status;
    tt_log_write(s->options.log, TT_LOG_WARN, NULL, "%s; hashing them.", err->message);
    TT_TRY(tt_library_verify(s->library, r, NULL, NULL, &verified, err));
    return tt_library_find(s->library, r, out, err);
}

/* The lease comes first, then a second look: what was evicted in between is a miss. */
static tt_status find_and_lease(tt_store *s, const tt_reference *r, tt_library_entry *out,
                                tt_library_lease **lease, tt_err *err) {
    TT_TRY(find(s, r, out, err));
    if (out->is_read_only || !*out->digest) return TT_OK;
    *lease = tt__lease(s, out->digest);
    struct stat st;
    if (stat(out->path, &st) == 0) {
        tt_library_touch(s->library, out->digest);
        return TT_OK;
    }
    tt__beats_unlease(&s->beats, *lease);
    *lease = NULL;
    return TT_E_NOT_FOUND;
}

/* Bytes that the reference pins may be here under another name. */
static tt_status find_pinned(tt_store *s, const tt_reference *r, tt_library_entry *out,
                             tt_library_lease **lease, tt_err *err) {
    tt_reference digest = {.type = TT_REF_DIGEST};
    memcpy(digest.digest, r->digest, sizeof digest.digest);
    snprintf(digest.identity, sizeof digest.identity, "sha256:%s", r->digest);
    TT_TRY(find_and_lease(s, &digest, out, lease, err));
    snprintf(out->identity, sizeof out->identity, "%s", r->identity);
    tt_library_name(s->library, out, NULL); /* so that the next look is shorter */
    return TT_OK;
}

/* ---- caches ------------------------------------------------------------------------------------------------------ */

static bool find_cached(tt_store *s, const tt_reference *r, tt_model_kind kind,
                        tt_library_entry *out) {
    for (int i = 0; i < s->options.n_hf_caches; i++) {
        char path[TT_MODEL_PATH_BYTES], digest[TT_DIGEST_HEX + 1];
        if (tt_hf_cache_find(s->options.hf_caches[i], r, path, digest, NULL) != TT_OK) continue;
        if (!describe_path(path, kind, out)) continue;
        snprintf(out->identity, sizeof out->identity, "%s", r->identity);
        snprintf(out->name, sizeof out->name, "%.*s", TT_MODEL_NAME_BYTES - 1,
                 *r->path ? r->path : r->repo);
        snprintf(out->digest, sizeof out->digest, "%s", digest);
        if (!tt_hf_cache_name(path, out->resolved)) out->resolved[0] = '\0';
        out->can_be_fetched_again = true;
        return true;
    }
    return false;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static bool is_never_fetched(const tt_reference *r) {
    return r->type == TT_REF_NAME || r->type == TT_REF_DIGEST;
}

static tt_status say_absent(const tt_reference *r, tt_status status, const tt_err *err,
                            tt_fetch_error *error) {
    if (status == TT_E_INVALID) return tt_fetch_fail(error, TT_FETCH_REFERENCE, "%s", err->message);
    if (status != TT_E_NOT_FOUND && status != TT_E_FORMAT)
        return tt_fetch_fail(error, status == TT_E_IO ? TT_FETCH_DISK : TT_FETCH_INTERNAL, "%s",
                             err->message);
    if (is_never_fetched(r))
        return tt_fetch_fail(error, TT_FETCH_GONE, "%.300s: no model of this name is in the store",
                             r->identity);
    return absent(error);
}

tt_status tt__look(tt_store *s, const tt_reference *r, tt_model_kind kind, tt_library_entry *out,
                   tt_library_lease **lease, tt_fetch_error *error) {
    tt_err err = {.code = TT_OK};
    *lease = NULL;
    if (r->type == TT_REF_PATH) return look_at_path(s, r, kind, out, error);
    tt_status status = find_and_lease(s, r, out, lease, &err);
    if (status == TT_E_NOT_FOUND && *r->digest && r->type != TT_REF_DIGEST)
        status = find_pinned(s, r, out, lease, &err);
    if (status == TT_OK) return TT_OK;
    if (r->type == TT_REF_HF && find_cached(s, r, kind, out)) return TT_OK;
    return say_absent(r, status, &err, error);
}
