/* Reads everything and compares. For people who ask, and for bytes whose time says that somebody touched them: bytes that turn
 * out to be right get a fresh stamp, wrong ones go into trash/ (their names stay, and the next fetch replaces them). */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/library_parts.h"

enum { READ_BYTES = 4 << 20 };

typedef struct verification {
    tt_library *l;
    const tt__root *root;
    bool (*each)(void *context, const tt_library_entry *entry, bool is_good);
    void *context;
    tt_library_verified *out;
    unsigned char *buffer; /* [READ_BYTES] */
    EVP_MD_CTX *sha;
    bool goes_on;
} verification;

static bool hash_fd(verification *v, int fd, char digest[TT_DIGEST_HEX + 1]) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    ssize_t n = 0;
    bool is_fine = EVP_DigestInit_ex(v->sha, EVP_sha256(), NULL) == 1;
    while (is_fine && ((n = read(fd, v->buffer, READ_BYTES)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0) is_fine = EVP_DigestUpdate(v->sha, v->buffer, (size_t)n) == 1;
    if (!is_fine || n < 0 || EVP_DigestFinal_ex(v->sha, sum, NULL) != 1) return false;
    for (int i = 0; i < TT_DIGEST_HEX / 2; i++) snprintf(digest + 2 * i, 3, "%02x", sum[i]);
    return true;
}

/* Fresh facts for bytes that were hashed. */
static void stamp(verification *v, const char *digest) {
    struct stat st;
    tt__facts facts;
    if (!v->root->is_ours) return;
    if (tt__blob_look(v->root, digest, 0, &st, &facts) != TT__BLOB_TOUCHED) return;
    facts.size = (uint64_t)st.st_size;
    facts.stamp_s = st.st_mtim.tv_sec;
    tt__facts_write(v->l, digest, &facts, NULL);
}

static void describe(verification *v, const char *digest, tt_library_entry *out) {
    tt__facts facts;
    struct stat st;
    memset(out, 0, sizeof *out);
    memcpy(out->digest, digest, sizeof out->digest);
    tt__blob_look(v->root, digest, 0, &st, &facts);
    out->kind = facts.kind;
    out->size = facts.size;
    snprintf(out->name, sizeof out->name, "%s", facts.name);
    tt__entry_complete(v->root, out);
}

static void conclude(verification *v, const char *digest, bool is_good) {
    tt_library_entry entry;
    describe(v, digest, &entry);
    if (is_good)
        stamp(v, digest);
    else if (v->root->is_ours)
        tt__blob_away(v->l, digest, false);
    if (is_good) v->out->n_good++;
    if (!is_good && v->out->n_bad++ == 0)
        memcpy(v->out->first_bad, digest, sizeof v->out->first_bad);
    if (v->each) v->goes_on = v->each(v->context, &entry, is_good);
}

/* Bytes that cannot be read are missing, not bad: an I/O error of a network volume must not throw models away. */
static bool verify_blob(void *context, const char *digest) {
    verification *v = context;
    char found[TT_DIGEST_HEX + 1] = "";
    int fd = tt__blob_open(v->root, digest);
    bool is_read = fd >= 0 && hash_fd(v, fd, found);
    if (fd >= 0) close(fd);
    if (is_read)
        conclude(v, digest, strcmp(found, digest) == 0);
    else
        v->out->n_missing++;
    return v->goes_on;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void count_missing(verification *v) {
    DIR *folder = tt__walk(v->root->v1[TT__NAMES]);
    struct dirent *file;
    for (int n = 0; folder && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++) {
        tt_library_entry entry;
        tt__blob_state state;
        if (file->d_name[0] == '.' || !tt__name_read_file(v->root, file->d_name, &entry)) continue;
        if (!tt__blob_find(v->l, entry.digest, 0, &state, NULL)) v->out->n_missing++;
    }
    if (folder) closedir(folder);
}

static void verify_all(verification *v) {
    for (int i = 0; v->goes_on && i < v->l->n_roots; i++) {
        v->root = &v->l->roots[i];
        tt__blobs_walk(v->root, verify_blob, v);
        if (v->goes_on) count_missing(v);
    }
}

/* The digest behind a reference, whatever the state of its bytes. */
static tt_status digest_of(tt_library *l, const tt_reference *r, char digest[TT_DIGEST_HEX + 1],
                           tt_err *err) {
    tt_library_entry entry;
    char identity[TT_REFERENCE_BYTES];
    const char *name = r->identity;
    if (r->type == TT_REF_DIGEST) {
        memcpy(digest, r->digest, TT_DIGEST_HEX + 1);
        return TT_OK;
    }
    for (int i = l->n_roots - 1; r->type == TT_REF_NAME && i >= 0; i--)
        if (tt__alias_read(&l->roots[i], r->path, identity)) name = identity;
    if (tt_library_recall(l, name, &entry, NULL) != TT_OK)
        TT_TRY(tt_library_find(l, r, &entry, err));
    if (!*entry.digest)
        return tt_fail(err, TT_E_INVALID, "%.300s has no digest to compare with", r->identity);
    memcpy(digest, entry.digest, TT_DIGEST_HEX + 1);
    return TT_OK;
}

static tt_status verify_one(verification *v, const tt_reference *only, tt_err *err) {
    char digest[TT_DIGEST_HEX + 1];
    bool is_here = false;
    TT_TRY(digest_of(v->l, only, digest, err));
    for (int i = 0; v->goes_on && i < v->l->n_roots; i++) {
        v->root = &v->l->roots[i];
        if (tt__blob_look(v->root, digest, 0, NULL, NULL) == TT__BLOB_ABSENT) continue;
        is_here = true;
        verify_blob(v, digest);
    }
    if (!is_here) v->out->n_missing++;
    return TT_OK;
}

tt_status tt_library_verify(tt_library *l, const tt_reference *only,
                            bool (*each)(void *context, const tt_library_entry *entry,
                                         bool is_good),
                            void *context, tt_library_verified *out, tt_err *err) {
    verification v = {.l = l, .each = each, .context = context, .out = out, .goes_on = true};
    tt_status status = TT_OK;
    *out = (tt_library_verified){0};
    v.buffer = tt_alloc(READ_BYTES);
    v.sha = v.buffer ? EVP_MD_CTX_new() : NULL;
    if (!v.sha)
        status = tt_fail_nomem(err, "verification", READ_BYTES);
    else if (only)
        status = verify_one(&v, only, err);
    else
        verify_all(&v);
    EVP_MD_CTX_free(v.sha);
    tt_free(v.buffer);
    return status;
}
