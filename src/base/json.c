/* See json.h. Text becomes a tree in json_parse.c; here are the getters, each of which checks the type it needs, and the
 * writing of strings. */
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/limits.h"

tt_status tt_json_read_file(const char *path, json_object **out, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JSON_BYTES);
    *out = NULL;
    tt_status status = tt_file_read(path, &text, err);
    if (status == TT_OK) {
        status = tt_json_parse(text.data ? text.data : "", text.size, out, err);
        if (status != TT_OK) tt_fail_prefix(err, status, "%s", path);
    }
    tt_buf_release(&text);
    return status;
}

const char *tt_json_type_name(json_object *value) {
    switch (json_object_get_type(value)) {
    case json_type_null:
        return "null";
    case json_type_boolean:
        return "a boolean";
    case json_type_double:
    case json_type_int:
        return "a number";
    case json_type_object:
        return "an object";
    case json_type_array:
        return "an array";
    case json_type_string:
        return "a string";
    }
    return "something unknown";
}

json_object *tt_json_value(json_object *o, const char *name) {
    json_object *value = NULL;
    if (json_object_is_type(o, json_type_object)) json_object_object_get_ex(o, name, &value);
    return value;
}

static tt_status wrong_type(const char *name, const char *expected, json_object *value,
                            tt_err *err) {
    return tt_fail(err, TT_E_INVALID, "%s: expected %s, found %s", name, expected,
                   tt_json_type_name(value));
}

static tt_status not_whole(const char *name, json_object *value, tt_err *err) {
    return tt_fail(err, TT_E_INVALID, "%s: expected a whole number of at most 64 bits, found %.40s",
                   name, json_object_to_json_string(value));
}

tt_status tt_json_get_i64(json_object *o, const char *name, int64_t *out, tt_err *err) {
    static const double MAX_EXACT =
        9007199254740992.0; /* 2^53: every whole double below is exact */
    json_object *value = tt_json_value(o, name);
    if (!value) return TT_OK;
    if (json_object_is_type(value, json_type_double)) { /* 24.0 is an integer to a person */
        double d = json_object_get_double(value);
        if (d != floor(d) || fabs(d) > MAX_EXACT) return not_whole(name, value, err);
        *out = (int64_t)d;
        return TT_OK;
    }
    if (!json_object_is_type(value, json_type_int))
        return wrong_type(name, "a whole number", value, err);
    if (json_object_get_int64(value) == INT64_MAX && json_object_get_uint64(value) > INT64_MAX)
        return not_whole(name, value, err);
    *out = json_object_get_int64(value);
    return TT_OK;
}

tt_status tt_json_get_double(json_object *o, const char *name, double *out, tt_err *err) {
    json_object *value = tt_json_value(o, name);
    if (!value) return TT_OK;
    if (!json_object_is_type(value, json_type_double) && !json_object_is_type(value, json_type_int))
        return wrong_type(name, "a number", value, err);
    *out = json_object_get_double(value);
    return TT_OK;
}

tt_status tt_json_get_bool(json_object *o, const char *name, bool *out, tt_err *err) {
    json_object *value = tt_json_value(o, name);
    if (!value) return TT_OK;
    if (!json_object_is_type(value, json_type_boolean))
        return wrong_type(name, "true or false", value, err);
    *out = json_object_get_boolean(value);
    return TT_OK;
}

tt_status tt_json_get_string(json_object *o, const char *name, const char **out, tt_err *err) {
    json_object *value = tt_json_value(o, name);
    if (!value) return TT_OK;
    if (!json_object_is_type(value, json_type_string))
        return wrong_type(name, "a string", value, err);
    *out = json_object_get_string(value);
    return TT_OK;
}

const char *tt_json_text(json_object *o, const char *name, const char *otherwise) {
    json_object *value = tt_json_value(o, name);
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : otherwise;
}

int64_t tt_json_i64(json_object *o, const char *name, int64_t otherwise) {
    int64_t value = otherwise;
    (void)tt_json_get_i64(o, name, &value, NULL);
    return value;
}

double tt_json_double(json_object *o, const char *name, double otherwise) {
    double value = otherwise;
    (void)tt_json_get_double(o, name, &value, NULL);
    return value;
}

bool tt_json_bool(json_object *o, const char *name, bool otherwise) {
    json_object *value = tt_json_value(o, name);
    return json_object_is_type(value, json_type_boolean) ? json_object_get_boolean(value)
                                                         : otherwise;
}

size_t tt_json_length(json_object *list) {
    return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

tt_status tt_json_append_string(tt_buf *b, const char *text, size_t size, tt_err *err) {
    TT_TRY(tt_buf_puts(b, "\"", err));
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            TT_TRY(tt_buf_printf(b, err, "\\%c", c));
        else if (c < ' ' || c == 0x7f)
            TT_TRY(tt_buf_printf(b, err, "\\u%04x", c));
        else
            TT_TRY(tt_buf_append(b, &text[i], 1, err));
    }
    return tt_buf_puts(b, "\"", err);
}
