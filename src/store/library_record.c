/* Records as JSON. Whoever can write on the volume can write these, so they are read as strictly as anything from outside.
 *
 *     a name    {"v": 1, "identity": s, "digest": 64 hex, "size": n, "kind": s, "name": s, "alias": s, "base_model": s,
 *                "version": s, "resolved": s, "etag": s, "fetched_s": n, "pinned": b, "again": b}
 *     bytes     {"v": 1, "size": n, "stamp_s": n, "kind": s, "again": b, "name": s}
 *
 * identity, digest, size and kind must be there; members that are not known are passed over, so that a later version may
 * add some. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "store/library_parts.h"

enum { RECORD_VERSION = 1 };

bool tt__member_text(json_object *tree, const char *name, char *out, size_t size) {
    json_object *value;
    out[0] = '\0';
    if (!json_object_object_get_ex(tree, name, &value) || !value) return true;
    if (!json_object_is_type(value, json_type_string)) return false;
    const char *text = json_object_get_string(value);
    size_t n = (size_t)json_object_get_string_len(value);
    if (n >= size || strlen(text) != n) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) return false;
    memcpy(out, text, n + 1);
    return true;
}

static tt_status text_of(json_object *tree, const char *name, char *out, size_t size, tt_err *err) {
    if (tt__member_text(tree, name, out, size)) return TT_OK;
    return tt_fail(err, TT_E_FORMAT,
                   "\"%s\": expected a text of less than %zu bytes without control characters",
                   name, size);
}

static tt_status number_of(json_object *tree, const char *name, int64_t *out, tt_err *err) {
    *out = 0;
    TT_TRY(tt_json_get_i64(tree, name, out, err));
    if (*out < 0) return tt_fail(err, TT_E_FORMAT, "\"%s\": expected no negative number", name);
    return TT_OK;
}

static tt_status check_form(json_object *tree, tt_err *err) {
    int64_t version = 0;
    if (!json_object_is_type(tree, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "record: expected an object, found %s",
                       tt_json_type_name(tree));
    TT_TRY(tt_json_get_i64(tree, "v", &version, err));
    if (version != RECORD_VERSION)
        return tt_fail(err, TT_E_FORMAT, "record: version %" PRId64 ", expected %d", version,
                       RECORD_VERSION);
    return TT_OK;
}

static tt_status kind_of(json_object *tree, tt_model_kind *out, tt_err *err) {
    char kind[16];
    TT_TRY(text_of(tree, "kind", kind, sizeof kind, err));
    return tt_model_kind_parse(kind, out, err);
}

static tt_status size_of(json_object *tree, uint64_t *out, tt_err *err) {
    int64_t size;
    TT_TRY(number_of(tree, "size", &size, err));
    if (size == 0) return tt_fail(err, TT_E_FORMAT, "\"size\": expected more than 0");
    *out = (uint64_t)size;
    return TT_OK;
}

static tt_status read_identity(json_object *tree, tt_library_entry *e, tt_err *err) {
    TT_TRY(text_of(tree, "identity", e->identity, sizeof e->identity, err));
    TT_TRY(text_of(tree, "digest", e->digest, sizeof e->digest, err));
    if (!*e->identity) return tt_fail(err, TT_E_FORMAT, "\"identity\": expected a text");
    if (strlen(e->digest) != TT_DIGEST_HEX || !tt__is_hex(e->digest, TT_DIGEST_HEX))
        return tt_fail(err, TT_E_FORMAT, "\"digest\": expected %d small hexadecimal digits",
                       TT_DIGEST_HEX);
    TT_TRY(size_of(tree, &e->size, err));
    return kind_of(tree, &e->kind, err);
}

static tt_status read_texts(json_object *tree, tt_library_entry *e, tt_err *err) {
    TT_TRY(text_of(tree, "name", e->name, sizeof e->name, err));
    TT_TRY(text_of(tree, "alias", e->alias, sizeof e->alias, err));
    TT_TRY(text_of(tree, "base_model", e->base_model, sizeof e->base_model, err));
    TT_TRY(text_of(tree, "version", e->version, sizeof e->version, err));
    TT_TRY(text_of(tree, "resolved", e->resolved, sizeof e->resolved, err));
    return text_of(tree, "etag", e->etag, sizeof e->etag, err);
}

static tt_status read_entry(json_object *tree, tt_library_entry *e, tt_err *err) {
    TT_TRY(check_form(tree, err));
    TT_TRY(read_identity(tree, e, err));
    TT_TRY(read_texts(tree, e, err));
    TT_TRY(number_of(tree, "fetched_s", &e->fetched_s, err));
    TT_TRY(tt_json_get_bool(tree, "pinned", &e->is_pinned, err));
    return tt_json_get_bool(tree, "again", &e->can_be_fetched_again, err);
}

/* Getters speak of a caller's mistake; here it is the file's. */
static tt_status as_format(tt_status status, tt_err *err) {
    if (status != TT_E_INVALID) return status;
    if (err) err->code = TT_E_FORMAT;
    return TT_E_FORMAT;
}

tt_status tt__record_read(json_object *tree, tt_library_entry *out, tt_err *err) {
    memset(out, 0, sizeof *out);
    return as_format(read_entry(tree, out, err), err);
}

tt_status tt__record_parse(const char *text, size_t size, tt_library_entry *out, tt_err *err) {
    json_object *tree;
    memset(out, 0, sizeof *out);
    TT_TRY(tt_json_parse(text, size, &tree, err));
    tt_status status = tt__record_read(tree, out, err);
    json_object_put(tree);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Text of outside origin is made printable first: what we write must be what we read. */
static tt_status put_text(tt_buf *b, const char *name, const char *text, tt_err *err) {
    char clean[TT_REFERENCE_BYTES];
    snprintf(clean, sizeof clean, "%s", text);
    tt_utf8_make_printable(clean, false);
    TT_TRY(tt_buf_printf(b, err, ", \"%s\": ", name));
    return tt_json_append_string(b, clean, strlen(clean), err);
}

static tt_status put_texts(tt_buf *b, const tt_library_entry *e, tt_err *err) {
    TT_TRY(put_text(b, "identity", e->identity, err));
    TT_TRY(put_text(b, "digest", e->digest, err));
    TT_TRY(put_text(b, "kind", tt_model_kind_name(e->kind), err));
    TT_TRY(put_text(b, "name", e->name, err));
    TT_TRY(put_text(b, "alias", e->alias, err));
    TT_TRY(put_text(b, "base_model", e->base_model, err));
    TT_TRY(put_text(b, "version", e->version, err));
    TT_TRY(put_text(b, "resolved", e->resolved, err));
    return put_text(b, "etag", e->etag, err);
}

tt_status tt__record_format(const tt_library_entry *e, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "{\"v\": %d", RECORD_VERSION));
    TT_TRY(put_texts(out, e, err));
    return tt_buf_printf(out, err,
                         ", \"size\": %" PRIu64 ", \"fetched_s\": %" PRId64
                         ", \"pinned\": %s, \"again\": %s}\n",
                         e->size, e->fetched_s, e->is_pinned ? "true" : "false",
                         e->can_be_fetched_again ? "true" : "false");
}

/* ---- what is known of bytes -------------------------------------------------------------------------------------- */

static tt_status read_facts(json_object *tree, tt__facts *out, tt_err *err) {
    TT_TRY(check_form(tree, err));
    TT_TRY(size_of(tree, &out->size, err));
    TT_TRY(number_of(tree, "stamp_s", &out->stamp_s, err));
    TT_TRY(kind_of(tree, &out->kind, err));
    TT_TRY(text_of(tree, "name", out->name, sizeof out->name, err));
    return tt_json_get_bool(tree, "again", &out->can_be_fetched_again, err);
}

tt_status tt__facts_parse(const char *text, size_t size, tt__facts *out, tt_err *err) {
    json_object *tree;
    *out = (tt__facts){0};
    TT_TRY(tt_json_parse(text, size, &tree, err));
    tt_status status = as_format(read_facts(tree, out, err), err);
    json_object_put(tree);
    return status;
}

tt_status tt__facts_format(const tt__facts *f, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "{\"v\": %d", RECORD_VERSION));
    TT_TRY(put_text(out, "kind", tt_model_kind_name(f->kind), err));
    TT_TRY(put_text(out, "name", f->name, err));
    return tt_buf_printf(out, err,
                         ", \"size\": %" PRIu64 ", \"stamp_s\": %" PRId64 ", \"again\": %s}\n",
                         f->size, f->stamp_s, f->can_be_fetched_again ? "true" : "false");
}
