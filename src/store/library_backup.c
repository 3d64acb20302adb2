/* All names as one text, and back.
 *
 *     {"tintype_names": 1, "names": [<record>, ...]}
 *
 * A restored name has no bytes until they are fetched; it then already knows their digest, and the alias leads to it. */
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "store/library_parts.h"

static const char MEMBER[] = "tintype_names";
enum { BACKUP_VERSION = 1 };

static tt_status append_name(const tt__root *root, const char *file, tt_buf *out, int *n,
                             tt_err *err) {
    tt_library_entry entry;
    if (!tt__name_read_file(root, file, &entry)) return TT_OK;
    TT_TRY(tt_buf_puts(out, (*n)++ ? "," : "", err));
    TT_TRY(tt_buf_puts(out, "\n", err));
    return tt__record_format(&entry, out, err);
}

static tt_status append_names(const tt__root *root, tt_buf *out, tt_err *err) {
    DIR *folder = tt__walk(root->v1[TT__NAMES]);
    struct dirent *file;
    tt_status status = TT_OK;
    int n_written = 0;
    for (int n = 0;
         folder && status == TT_OK && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (file->d_name[0] != '.') status = append_name(root, file->d_name, out, &n_written, err);
    if (folder) closedir(folder);
    return status;
}

/* Of our root: read-only ones are somebody else's to keep. One that cannot be written can still be read. */
tt_status tt_library_backup(tt_library *l, tt_buf *out, tt_err *err) {
    const tt__root *own = l->n_roots ? &l->roots[l->n_roots - 1] : NULL;
    TT_TRY(tt_buf_printf(out, err, "{\"%s\": %d, \"names\": [", MEMBER, BACKUP_VERSION));
    if (own) TT_TRY(append_names(own, out, err));
    return tt_buf_puts(out, "]}\n", err);
}

static tt_status restore_one(tt_library *l, json_object *tree, int *n_restored,
                             int *n_missing_bytes, tt_err *err) {
    tt_library_entry entry, before;
    tt__blob_state state;
    TT_TRY(tt__record_read(tree, &entry, err));
    if (tt__name_read(l->own, entry.identity, &before, NULL) == TT_OK) return TT_OK;
    TT_TRY(tt__name_write(l, &entry, err));
    (*n_restored)++;
    if (!tt__blob_find(l, entry.digest, entry.size, &state, NULL)) (*n_missing_bytes)++;
    return TT_OK;
}

static tt_status names_of(json_object *tree, json_object **names, tt_err *err) {
    int64_t version = 0;
    if (!json_object_is_type(tree, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "backup: expected an object, found %s",
                       tt_json_type_name(tree));
    TT_TRY(tt_json_get_i64(tree, MEMBER, &version, err));
    if (version != BACKUP_VERSION)
        return tt_fail(err, TT_E_FORMAT, "backup: expected \"%s\": %d", MEMBER, BACKUP_VERSION);
    if (!json_object_object_get_ex(tree, "names", names) ||
        !json_object_is_type(*names, json_type_array))
        return tt_fail(err, TT_E_FORMAT, "backup: expected a list \"names\"");
    if (json_object_array_length(*names) > TT_LIBRARY_MAX_FILES)
        return tt_fail(err, TT_E_FORMAT, "backup: %zu names, expected at most %d",
                       json_object_array_length(*names), TT_LIBRARY_MAX_FILES);
    return TT_OK;
}

static tt_status restore_all(tt_library *l, json_object *tree, int *n_restored,
                             int *n_missing_bytes, tt_err *err) {
    json_object *names;
    TT_TRY(names_of(tree, &names, err));
    for (size_t i = 0; i < json_object_array_length(names); i++) {
        tt_status status =
            restore_one(l, json_object_array_get_idx(names, i), n_restored, n_missing_bytes, err);
        if (status != TT_OK) return tt_fail_prefix(err, status, "backup: name %zu", i + 1);
    }
    return TT_OK;
}

tt_status tt_library_restore(tt_library *l, const char *json, size_t size, int *n_restored,
                             int *n_missing_bytes, tt_err *err) {
    json_object *tree;
    *n_restored = *n_missing_bytes = 0;
    TT_TRY(tt__need_own(l, err));
    TT_TRY(tt_json_parse(json, size, &tree, err));
    tt_status status = restore_all(l, tree, n_restored, n_missing_bytes, err);
    json_object_put(tree);
    return status;
}
