/* JSON through json-c, with the strictness and the error positions it lacks by default.
 *
 * Objects are json-c's; the caller puts the root with json_object_put. Getters read one member, say what was
 * expected and found, and leave *out unchanged when the member is absent or null (so *out is the default). */
#ifndef TT_BASE_JSON_H
#define TT_BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Parses exactly one JSON value: valid UTF-8, no comments, no trailing commas, no trailing bytes, depth <=
 * TT_MAX_JSON_DEPTH. The error's position is a byte offset and its text has "line L, column C". */
tt_status tt_json_parse(const char *text, size_t size, json_object **out, tt_err *err);
tt_status tt_json_read_file(const char *path, json_object **out, tt_err *err);

tt_status tt_json_get_i64(json_object *o, const char *name, int64_t *out, tt_err *err);
tt_status tt_json_get_double(json_object *o, const char *name, double *out, tt_err *err);
tt_status tt_json_get_bool(json_object *o, const char *name, bool *out, tt_err *err);
/* The text is borrowed from `o`. */
tt_status tt_json_get_string(json_object *o, const char *name, const char **out, tt_err *err);

/* Appends `text` as a JSON string literal, quotes included. `text` must be valid UTF-8. */
tt_status tt_json_append_string(tt_buf *b, const char *text, size_t size, tt_err *err);

/* The English name of a JSON value's type, for messages: "a string", "an object"... */
const char *tt_json_type_name(json_object *value);

/* True when the bytes are well-formed UTF-8; *bad_at gets the offset of the first bad byte. */
bool tt_utf8_is_valid(const char *text, size_t size, size_t *bad_at);

#endif
