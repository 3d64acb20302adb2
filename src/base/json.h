/* JSON in json-c's trees, read with the strictness and the error positions that json-c lacks.
 *
 * Objects are json-c's; the caller puts the root with json_object_put. Getters read one member, say
 * what was expected and found, and leave *out unchanged when the member is absent or null (so *out
 * is the default). */
#ifndef TT_BASE_JSON_H
#define TT_BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/utf8.h" /* tt_utf8_is_valid: JSON text is UTF-8 */

/* Parses exactly one value, strictly by RFC 8259: valid UTF-8, no comments, no trailing commas or
 * bytes, no NaN, no lone surrogates; no name twice in one object; nesting <= TT_MAX_JSON_DEPTH; at
 * most TT_MAX_JSON_BYTES. Whole numbers of 64 bits (signed or unsigned) are exact. TT_E_FORMAT's
 * position is a byte offset and its text has "line L, column C" (columns count bytes). *out is NULL
 * for null and on failure. */
tt_status tt_json_parse(const char *text, size_t size, json_object **out, tt_err *err);
tt_status tt_json_read_file(const char *path, json_object **out, tt_err *err);

tt_status tt_json_get_i64(json_object *o, const char *name, int64_t *out, tt_err *err);
tt_status tt_json_get_double(json_object *o, const char *name, double *out, tt_err *err);
tt_status tt_json_get_bool(json_object *o, const char *name, bool *out, tt_err *err);
/* The text is borrowed from `o`. */
tt_status tt_json_get_string(json_object *o, const char *name, const char **out, tt_err *err);

/* For trees whose form was checked before, and for members that may as well be missing: what is absent, null or of another
 * type is `otherwise`. `o` may be NULL or no object; what is returned is borrowed from it. */
json_object *tt_json_value(json_object *o, const char *name); /* NULL: absent or null */
const char *tt_json_text(json_object *o, const char *name, const char *otherwise);
int64_t tt_json_i64(json_object *o, const char *name, int64_t otherwise);
double tt_json_double(json_object *o, const char *name, double otherwise);
bool tt_json_bool(json_object *o, const char *name, bool otherwise);
size_t tt_json_length(json_object *list); /* 0: no list */

/* Appends `text` as a JSON string literal, quotes included. `text` must be valid UTF-8. */
tt_status tt_json_append_string(tt_buf *b, const char *text, size_t size, tt_err *err);

/* The English name of a JSON value's type, for messages: "a string", "an object"... */
const char *tt_json_type_name(json_object *value);

#endif
