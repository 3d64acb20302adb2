/* Names: one small file each, under the hash of the identity. An alias is a file of its own that says which identity it stands
 * for, so that a lookup by either never walks the folder; the record repeats the alias for lists and backups. */
#include <string.h>
#include <unistd.h>

#include "store/library_parts.h"

static const char ALIAS[] = "alias";

static void file_of(const char *identity, char out[TT__FILE_NAME_BYTES]) {
    char key[TT__KEY_HEX + 1];
    tt__key(identity, NULL, key);
    snprintf(out, TT__FILE_NAME_BYTES, "%s.json", key);
}

static void file_of_alias(const char *alias, char out[TT__FILE_NAME_BYTES]) {
    char key[TT__KEY_HEX + 1];
    tt__key(ALIAS, alias, key);
    snprintf(out, TT__FILE_NAME_BYTES, "%s.json", key);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static tt_status read_record(const tt__root *root, const char *file, tt_library_entry *out,
                             tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    tt_status status = tt__read_at(root->v1[TT__NAMES], file, &text, err);
    if (status == TT_OK) status = tt__record_parse(text.data ? text.data : "", text.size, out, err);
    tt_buf_release(&text);
    return status;
}

tt_status tt__name_read(const tt__root *root, const char *identity, tt_library_entry *out,
                        tt_err *err) {
    char file[TT__FILE_NAME_BYTES];
    file_of(identity, file);
    TT_TRY(read_record(root, file, out, err));
    if (strcmp(out->identity, identity) == 0) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "the record of %.200s speaks of another identity", identity);
}

bool tt__name_read_file(const tt__root *root, const char *file, tt_library_entry *out) {
    char expected[TT__FILE_NAME_BYTES];
    if (read_record(root, file, out, NULL) != TT_OK) return false;
    file_of(out->identity, expected);
    return strcmp(file, expected) == 0;
}

/* A file that says {"alias": word, "stands_for": identity}, and lies where that word's file does. */
bool tt__alias_of_file(const tt__root *root, const char *file, char identity[TT_REFERENCE_BYTES]) {
    char word[TT_MODEL_NAME_BYTES] = "", expected[TT__FILE_NAME_BYTES];
    json_object *tree = NULL;
    tt_buf text;
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    bool is_good = tt__read_at(root->v1[TT__NAMES], file, &text, NULL) == TT_OK && text.size > 0 &&
                   tt_json_parse(text.data, text.size, &tree, NULL) == TT_OK &&
                   json_object_is_type(tree, json_type_object) &&
                   tt__member_text(tree, "alias", word, sizeof word) &&
                   tt__member_text(tree, "stands_for", identity, TT_REFERENCE_BYTES) && *identity;
    json_object_put(tree);
    tt_buf_release(&text);
    file_of_alias(word, expected);
    return is_good && strcmp(file, expected) == 0;
}

bool tt__alias_read(const tt__root *root, const char *alias, char identity[TT_REFERENCE_BYTES]) {
    char file[TT__FILE_NAME_BYTES];
    file_of_alias(alias, file);
    return tt__alias_of_file(root, file, identity);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static tt_status write_record(tt_library *l, const tt_library_entry *entry, tt_err *err) {
    char file[TT__FILE_NAME_BYTES];
    tt_buf text;
    file_of(entry->identity, file);
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    tt_status status = tt__record_format(entry, &text, err);
    if (status == TT_OK) status = tt__write_at(l, l->own->v1[TT__NAMES], file, &text, err);
    tt_buf_release(&text);
    return status;
}

static tt_status format_alias(const tt_library_entry *entry, tt_buf *text, tt_err *err) {
    TT_TRY(tt_buf_puts(text, "{\"alias\": ", err));
    TT_TRY(tt_json_append_string(text, entry->alias, strlen(entry->alias), err));
    TT_TRY(tt_buf_puts(text, ", \"stands_for\": ", err));
    TT_TRY(tt_json_append_string(text, entry->identity, strlen(entry->identity), err));
    return tt_buf_puts(text, "}\n", err);
}

static tt_status write_alias(tt_library *l, const tt_library_entry *entry, tt_err *err) {
    char file[TT__FILE_NAME_BYTES];
    tt_buf text;
    file_of_alias(entry->alias, file);
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    tt_status status = format_alias(entry, &text, err);
    if (status == TT_OK) status = tt__write_at(l, l->own->v1[TT__NAMES], file, &text, err);
    tt_buf_release(&text);
    return status;
}

/* Who had this alias before has none from now on. */
static void take_alias_away(tt_library *l, const tt_library_entry *entry) {
    char identity[TT_REFERENCE_BYTES];
    tt_library_entry before;
    if (!tt__alias_read(l->own, entry->alias, identity)) return;
    if (strcmp(identity, entry->identity) == 0) return;
    if (tt__name_read(l->own, identity, &before, NULL) != TT_OK) return;
    before.alias[0] = '\0';
    write_record(l, &before, NULL);
}

/* An alias that this name had and has no more would still lead here. */
static void forget_old_alias(tt_library *l, const tt_library_entry *before,
                             const tt_library_entry *now) {
    char file[TT__FILE_NAME_BYTES], identity[TT_REFERENCE_BYTES];
    if (!*before->alias || (now && strcmp(before->alias, now->alias) == 0)) return;
    if (!tt__alias_read(l->own, before->alias, identity)) return;
    if (strcmp(identity, before->identity) != 0) return;
    file_of_alias(before->alias, file);
    unlinkat(l->own->v1[TT__NAMES], file, 0);
}

tt_status tt__name_write(tt_library *l, const tt_library_entry *entry, tt_err *err) {
    tt_library_entry before;
    if (tt__name_read(l->own, entry->identity, &before, NULL) == TT_OK)
        forget_old_alias(l, &before, entry);
    if (*entry->alias) take_alias_away(l, entry);
    TT_TRY(write_record(l, entry, err));
    return *entry->alias ? write_alias(l, entry, err) : TT_OK;
}

void tt__name_delete(tt_library *l, const tt_library_entry *entry) {
    char file[TT__FILE_NAME_BYTES];
    forget_old_alias(l, entry, NULL);
    file_of(entry->identity, file);
    unlinkat(l->own->v1[TT__NAMES], file, 0);
}

/* ---- the library's own calls ------------------------------------------------------------------------------------- */

tt_status tt_library_recall(tt_library *l, const char *identity, tt_library_entry *out,
                            tt_err *err) {
    for (int i = l->n_roots - 1; i >= 0; i--) /* ours is written last and knows most */
        if (tt__name_read(&l->roots[i], identity, out, NULL) == TT_OK) return TT_OK;
    return tt_fail(err, TT_E_NOT_FOUND, "no record of %.300s", identity);
}

tt_status tt_library_name(tt_library *l, const tt_library_entry *entry, tt_err *err) {
    tt__blob_state state;
    TT_TRY(tt__need_own(l, err));
    if (!*entry->identity || !tt_digest_parse(entry->digest, strlen(entry->digest), NULL))
        return tt_fail(err, TT_E_INVALID, "a name needs an identity and a digest");
    if (!tt__blob_find(l, entry->digest, entry->size, &state, NULL))
        return tt_fail(err, TT_E_NOT_FOUND, "%.200s: the bytes %.12s... are not here",
                       entry->identity, entry->digest);
    return tt__name_write(l, entry, err);
}

tt_status tt_library_pin(tt_library *l, const tt_reference *reference, bool pinned, tt_err *err) {
    tt_library_entry entry, ours;
    TT_TRY(tt__need_own(l, err));
    TT_TRY(tt_library_find(l, reference, &entry, err));
    if (!*entry.identity)
        return tt_fail(err, TT_E_INVALID, "%.300s has no name in the store to be pinned by",
                       reference->identity);
    if (entry.is_read_only)
        return tt_fail(err, TT_E_INVALID, "%.300s is in a read-only folder: nothing removes it",
                       entry.identity);
    TT_TRY(tt__name_read(l->own, entry.identity, &ours, err));
    ours.is_pinned = pinned;
    return tt__name_write(l, &ours, err);
}
