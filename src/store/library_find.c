/* From a reference to an entry, and the list of all.
 *
 *     identity          one record, one stat
 *     a word            an alias, else a plain file of that name, else the beginning of a digest
 *     sha256:...        the bytes; when nothing but they are known, the entry has no identity
 *
 * A name in one root may speak of bytes in another: a read-only root that was copied, a name given to shipped bytes. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/library_parts.h"

static tt_status not_here(const char *what, tt_err *err) {
    return tt_fail(err, TT_E_NOT_FOUND, "%.300s is not in the store", what);
}

static tt_status touched(const tt_library_entry *entry, tt_err *err) {
    return tt_fail(err, TT_E_FORMAT,
                   "%.200s: the bytes %.12s... were touched since they were written",
                   *entry->identity ? entry->identity : "store", entry->digest);
}

/* The bytes of an entry that has digest and size. */
static tt_status find_bytes(tt_library *l, tt_library_entry *entry, tt__facts *facts, tt_err *err) {
    tt__blob_state state;
    const tt__root *root = tt__blob_find(l, entry->digest, entry->size, &state, facts);
    if (!root) return not_here(*entry->identity ? entry->identity : entry->digest, err);
    if (state == TT__BLOB_TOUCHED) return touched(entry, err);
    tt__entry_complete(root, entry);
    return TT_OK;
}

/* A touched one is better known than a missing one. */
static tt_status find_identity(tt_library *l, const char *identity, tt_library_entry *out,
                               tt_err *err) {
    tt_status best = TT_E_NOT_FOUND;
    not_here(identity, err);
    for (int i = 0; i < l->n_roots; i++) {
        tt_err here;
        if (tt__name_read(&l->roots[i], identity, out, NULL) != TT_OK) continue;
        tt_status status = find_bytes(l, out, NULL, &here);
        if (status == TT_OK) return TT_OK;
        if (status == TT_E_FORMAT && err) *err = here;
        if (status == TT_E_FORMAT) best = status;
    }
    return best;
}

static tt_status find_digest(tt_library *l, const char *digest, tt_library_entry *out,
                             tt_err *err) {
    tt__facts facts;
    struct stat st;
    memset(out, 0, sizeof *out);
    memcpy(out->digest, digest, sizeof out->digest);
    TT_TRY(find_bytes(l, out, &facts, err));
    out->kind = facts.kind;
    out->can_be_fetched_again = facts.can_be_fetched_again;
    snprintf(out->name, sizeof out->name, "%s", facts.name);
    out->size = facts.size;
    if (stat(out->path, &st) == 0) {
        out->size = (uint64_t)st.st_size;
        out->fetched_s = st.st_mtim.tv_sec;
    }
    return TT_OK;
}

/* ---- the beginning of a digest ----------------------------------------------------------------------------------- */

typedef struct prefix_search {
    const char *prefix;
    char digest[TT_DIGEST_HEX + 1];
    int n;
} prefix_search;

static bool compare_prefix(void *context, const char *digest) {
    prefix_search *p = context;
    if (strncmp(digest, p->prefix, strlen(p->prefix)) != 0) return true;
    if (p->n && strcmp(digest, p->digest) == 0) return true; /* the same bytes in two roots */
    memcpy(p->digest, digest, sizeof p->digest);
    return ++p->n < 2;
}

static tt_status find_prefix(tt_library *l, const char *prefix, tt_library_entry *out,
                             tt_err *err) {
    prefix_search p = {.prefix = prefix};
    size_t n = strlen(prefix);
    if (n < TT_LIBRARY_MIN_PREFIX || n > TT_DIGEST_HEX || !tt__is_hex(prefix, n))
        return not_here(prefix, err);
    for (int i = 0; i < l->n_roots && p.n < 2; i++)
        tt__blobs_walk(&l->roots[i], compare_prefix, &p);
    if (p.n == 0) return not_here(prefix, err);
    if (p.n > 1)
        return tt_fail(err, TT_E_INVALID, "%s: the digests of several models begin so", prefix);
    return find_digest(l, p.digest, out, err);
}

static tt_status find_word(tt_library *l, const char *word, tt_library_entry *out, tt_err *err) {
    char identity[TT_REFERENCE_BYTES];
    for (int i = l->n_roots - 1; i >= 0; i--) /* what the owner said last comes first */
        if (tt__alias_read(&l->roots[i], word, identity))
            return find_identity(l, identity, out, err);
    if (tt__plain_find(l, word, out)) return TT_OK;
    return find_prefix(l, word, out, err);
}

tt_status tt_library_find(tt_library *l, const tt_reference *r, tt_library_entry *out,
                          tt_err *err) {
    tt_status status;
    if (r->type == TT_REF_NAME)
        status = find_word(l, r->path, out, err);
    else if (r->type == TT_REF_DIGEST)
        status = find_digest(l, r->digest, out, err);
    else if (r->type == TT_REF_PATH)
        status = tt__plain_find(l, r->path, out) ? TT_OK : not_here(r->path, err);
    else
        status = find_identity(l, r->identity, out, err);
    if (status != TT_OK) memset(out, 0, sizeof *out);
    return status;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

typedef struct listing {
    tt_library *l;
    const tt__root *root;
    const tt__index *index;
    bool (*each)(void *context, const tt_library_entry *entry);
    void *context;
    bool goes_on;
} listing;

/* The same name in an earlier root was listed already. */
static bool is_known_before(const listing *s, const char *identity) {
    tt_library_entry other;
    for (const tt__root *root = s->l->roots; root < s->root; root++)
        if (tt__name_read(root, identity, &other, NULL) == TT_OK) return true;
    return false;
}

static void list_name(listing *s, const char *file) {
    tt_library_entry entry;
    if (!tt__name_read_file(s->root, file, &entry)) return;
    if (find_bytes(s->l, &entry, NULL, NULL) != TT_OK || is_known_before(s, entry.identity)) return;
    const tt__indexed *item = tt__index_find(s->index, entry.digest);
    entry.is_leased = item && item->is_leased;
    s->goes_on = s->each(s->context, &entry);
}

static void list_names(listing *s) {
    DIR *folder = tt__walk(s->root->v1[TT__NAMES]);
    struct dirent *file;
    for (int n = 0; folder && s->goes_on && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder));
         n++)
        if (file->d_name[0] != '.') list_name(s, file->d_name);
    if (folder) closedir(folder);
}

static void list_nameless(listing *s) {
    for (size_t i = 0; s->goes_on && i < s->index->n; i++) {
        const tt__indexed *item = &s->index->items[i];
        tt_library_entry entry;
        if (!item->has_bytes || item->n_names) continue;
        if (find_digest(s->l, item->digest, &entry, NULL) != TT_OK) continue;
        entry.is_leased = item->is_leased;
        s->goes_on = s->each(s->context, &entry);
    }
}

tt_status tt_library_list(tt_library *l, bool (*each)(void *context, const tt_library_entry *entry),
                          void *context, tt_err *err) {
    listing s = {.l = l, .each = each, .context = context, .goes_on = true};
    tt__index indexes[TT_LIBRARY_MAX_ROOTS + 1] = {{0}};
    tt_status status = TT_OK;
    for (int i = 0; i < l->n_roots && status == TT_OK; i++)
        status = tt__index_make(l, &l->roots[i], &indexes[i], err);
    for (int pass = 0; status == TT_OK && pass < 2; pass++)
        for (int i = 0; i < l->n_roots && s.goes_on; i++) {
            s.root = &l->roots[i];
            s.index = &indexes[i];
            if (pass == 0)
                list_names(&s);
            else
                list_nameless(&s);
        }
    if (status == TT_OK && s.goes_on) tt__plain_walk(l, each, context);
    for (int i = 0; i < l->n_roots; i++) tt__index_release(&indexes[i]);
    return status;
}
