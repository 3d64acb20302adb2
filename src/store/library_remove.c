/* Taking a model away because somebody says so. By name: that name, and the bytes when it was the last. By digest: every
 * name of it. Bytes in use stay, as orphans, until the garbage collection finds them unused. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/library_parts.h"

typedef struct removal {
    tt_library *l;
    const char *digest;
    int n_removed;
} removal;

static void remove_name_file(removal *r, const char *file) {
    tt_library_entry entry;
    if (!tt__name_read_file(r->l->own, file, &entry)) return;
    if (strcmp(entry.digest, r->digest) != 0) return;
    tt__name_delete(r->l, &entry);
    r->n_removed++;
}

static void remove_names(removal *r) {
    DIR *folder = tt__walk(r->l->own->v1[TT__NAMES]);
    struct dirent *file;
    for (int n = 0; folder && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (file->d_name[0] != '.') remove_name_file(r, file->d_name);
    if (folder) closedir(folder);
}

static tt_status remove_bytes(tt_library *l, const char *digest, uint64_t *freed, tt_err *err) {
    tt__index index;
    TT_TRY(tt__index_make(l, l->own, &index, err));
    const tt__indexed *item = tt__index_find(&index, digest);
    bool may = item && item->has_bytes && item->n_names == 0 && !item->is_leased;
    if (may && tt__blob_away(l, digest, false)) *freed = item->size;
    tt__index_release(&index);
    return TT_OK;
}

/* The name is enough to be removed by; its bytes may be gone, touched, or shipped. */
static tt_status find_name(tt_library *l, const tt_reference *r, tt_library_entry *out,
                           tt_err *err) {
    char identity[TT_REFERENCE_BYTES];
    if (r->type == TT_REF_NAME && tt__alias_read(l->own, r->path, identity))
        return tt__name_read(l->own, identity, out, err);
    if (r->type != TT_REF_NAME && tt__name_read(l->own, r->identity, out, NULL) == TT_OK)
        return TT_OK;
    return tt_library_find(l, r, out, err);
}

tt_status tt_library_remove(tt_library *l, const tt_reference *reference, uint64_t *freed,
                            tt_err *err) {
    tt_library_entry entry;
    *freed = 0;
    TT_TRY(tt__need_own(l, err));
    TT_TRY(find_name(l, reference, &entry, err));
    if (entry.is_read_only)
        return tt_fail(err, TT_E_INVALID, "%.300s is in a read-only folder", reference->identity);
    if (*entry.identity) {
        tt__name_delete(l, &entry);
    } else {
        removal r = {.l = l, .digest = entry.digest};
        remove_names(&r);
    }
    return remove_bytes(l, entry.digest, freed, err);
}
