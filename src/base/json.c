/* See json.h. json-c in JSON_TOKENER_STRICT mode still accepts some things the RFC does not (NaN,
 * single quotes); what it lets through here is harmless because every getter checks the type it
 * needs. */
#include "base/json.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/limits.h"

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. Returns the length of the
 * sequence at p (n bytes left), 0 when it is malformed. */
static size_t utf8_sequence(const unsigned char *p, size_t n) {
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2) return 0;
    size_t length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > n) return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
    return length;
}

bool tt_utf8_is_valid(const char *text, size_t size, size_t *bad_at) {
    for (size_t i = 0; i < size;) {
        size_t length = utf8_sequence((const unsigned char *)text + i, size - i);
        if (length == 0) {
            if (bad_at) *bad_at = i;
            return false;
        }
        i += length;
    }
    return true;
}

static tt_status fail_at_offset(const char *text, size_t size, size_t offset, const char *why,
                                tt_err *err) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < size; i++) {
        column++;
        if (text[i] == '\n') line++, column = 1;
    }
    return tt_fail_at(err, TT_E_FORMAT, (int64_t)offset, "invalid JSON at line %zu, column %zu: %s",
                      line, column, why);
}

/* json-c silently turns a whole number beyond 64 bits into the nearest one that fits: a seed nobody
 * asked for. */
static bool is_too_large(const char *digits, size_t n, bool is_negative) {
    const char *limit = is_negative ? "9223372036854775808" : "18446744073709551615";
    size_t limit_length = strlen(limit);
    return n > limit_length || (n == limit_length && memcmp(digits, limit, n) > 0);
}

static bool has_too_large_integer(const char *text, size_t size, size_t *at) {
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        if (in_string || text[i] < '0' || text[i] > '9') continue;
        size_t first = i;
        while (i < size && text[i] >= '0' && text[i] <= '9') i++;
        bool is_whole = i == size || !strchr(".eE", text[i]) || !text[i];
        bool is_negative = first > 0 && text[first - 1] == '-';
        bool is_fraction = first > 0 && strchr(".eE+", text[first - 1]) != NULL;
        *at = first;
        if (is_whole && !is_fraction && is_too_large(text + first, i - first, is_negative))
            return true;
        i--;
    }
    return false;
}

tt_status tt_json_parse(const char *text, size_t size, json_object **out, tt_err *err) {
    *out = NULL;
    size_t bad_at = 0;
    if (size > TT_MAX_JSON_BYTES || size > INT_MAX)
        return tt_fail(err, TT_E_INVALID, "JSON text has %zu bytes, the limit is %zu", size,
                       TT_MAX_JSON_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return fail_at_offset(text, size, bad_at, "not valid UTF-8", err);
    if (has_too_large_integer(text, size, &bad_at))
        return fail_at_offset(text, size, bad_at, "a whole number that does not fit in 64 bits",
                              err);
    struct json_tokener *tokener = json_tokener_new_ex(TT_MAX_JSON_DEPTH);
    if (!tokener) return tt_fail_nomem(err, "JSON parser", sizeof(void *));
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    json_object *root = json_tokener_parse_ex(tokener, text, (int)size);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    if (problem == json_tokener_continue && size > 0) { /* a bare number ends only at a delimiter */
        root = json_tokener_parse_ex(tokener, " ", 1);
        problem = json_tokener_get_error(tokener);
        end = size;
    }
    json_tokener_free(tokener);
    if (problem == json_tokener_continue)
        return fail_at_offset(text, size, size, "it ends too early", err);
    if (problem != json_tokener_success)
        return fail_at_offset(text, size, end, json_tokener_error_desc(problem), err);
    while (end < size && strchr(" \t\r\n", text[end]) && text[end]) end++;
    if (end < size) {
        json_object_put(root);
        return fail_at_offset(text, size, end, "more text after the value", err);
    }
    *out = root;
    return TT_OK;
}

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

static bool find(json_object *o, const char *name, json_object **value) {
    return json_object_object_get_ex(o, name, value) && *value;
}

static tt_status wrong_type(const char *name, const char *expected, json_object *value,
                            tt_err *err) {
    return tt_fail(err, TT_E_INVALID, "%s: expected %s, found %s", name, expected,
                   tt_json_type_name(value));
}

tt_status tt_json_get_i64(json_object *o, const char *name, int64_t *out, tt_err *err) {
    json_object *value;
    if (!find(o, name, &value)) return TT_OK;
    if (json_object_is_type(value, json_type_double)) { /* 24.0 is an integer to a person */
        double d = json_object_get_double(value);
        if (d != floor(d) || fabs(d) > 9007199254740992.0)
            return wrong_type(name, "a whole number", value, err);
        *out = (int64_t)d;
        return TT_OK;
    }
    if (!json_object_is_type(value, json_type_int))
        return wrong_type(name, "a whole number", value, err);
    *out = json_object_get_int64(value);
    return TT_OK;
}

tt_status tt_json_get_double(json_object *o, const char *name, double *out, tt_err *err) {
    json_object *value;
    if (!find(o, name, &value)) return TT_OK;
    if (!json_object_is_type(value, json_type_double) && !json_object_is_type(value, json_type_int))
        return wrong_type(name, "a number", value, err);
    *out = json_object_get_double(value);
    return TT_OK;
}

tt_status tt_json_get_bool(json_object *o, const char *name, bool *out, tt_err *err) {
    json_object *value;
    if (!find(o, name, &value)) return TT_OK;
    if (!json_object_is_type(value, json_type_boolean))
        return wrong_type(name, "true or false", value, err);
    *out = json_object_get_boolean(value);
    return TT_OK;
}

tt_status tt_json_get_string(json_object *o, const char *name, const char **out, tt_err *err) {
    json_object *value;
    if (!find(o, name, &value)) return TT_OK;
    if (!json_object_is_type(value, json_type_string))
        return wrong_type(name, "a string", value, err);
    *out = json_object_get_string(value);
    return TT_OK;
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
