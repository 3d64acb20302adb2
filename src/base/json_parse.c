/* tt_json_parse: a strict RFC 8259 reader that builds json-c's tree.
 *
 * json-c's own reader is lenient in ways that matter to callers of a service, and differently in
 * each version: it takes NaN, single quotes and raw control characters, replaces lone surrogates,
 * and lets the last of two equal names win in silence. This one refuses all of that with the offset
 * of the offending byte, and keeps the text of numbers that are not integers, so that 4.5 is
 * written back as 4.5.
 *
 * Recursive descent; depth is bounded by TT_MAX_JSON_DEPTH. Every function leaves p->at behind what
 * it read. */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"

enum { MAX_NUMBER_BYTES = 320 }; /* the longest exact double has 309 digits before the point */

typedef struct parser {
    const char *text; /* valid UTF-8, borrowed */
    size_t size, at;
    int depth;
    tt_buf scratch; /* the string being decoded */
    tt_err *err;
} parser;

static tt_status fail_at(parser *p, size_t offset, const char *why) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < p->size; i++) {
        column++;
        if (p->text[i] == '\n') line++, column = 1;
    }
    return tt_fail_at(p->err, TT_E_FORMAT, (int64_t)offset,
                      "invalid JSON at line %zu, column %zu: %s", line, column, why);
}

static tt_status fail_here(parser *p, const char *why) {
    return fail_at(p, p->at, p->at < p->size ? why : "it ends too early");
}

static tt_status nomem(parser *p) {
    return tt_fail_nomem(p->err, "JSON value", sizeof(void *));
}

/* The byte at p->at, or NUL at the end (a NUL in the text is refused like any other stray byte). */
static char peek(const parser *p) {
    return p->at < p->size ? p->text[p->at] : '\0';
}

static void skip_space(parser *p) {
    while (p->at < p->size && memchr(" \t\r\n", p->text[p->at], 4)) p->at++;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* ---- strings
 * ---------------------------------------------------------------------------------------- */

static tt_status parse_hex4(parser *p, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        char c = peek(p);
        uint32_t digit;
        if (is_digit(c))
            digit = (uint32_t)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            digit = (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return fail_here(p, "\\u needs four hexadecimal digits");
        *out = *out << 4 | digit;
    }
    return TT_OK;
}

/* \uXXXX, behind the u; characters beyond U+FFFF are written as two of them. */
static tt_status parse_unicode_escape(parser *p) {
    size_t start = p->at - 2;
    uint32_t value, low;
    TT_TRY(parse_hex4(p, &value));
    if (value >= 0xd800 && value <= 0xdfff) {
        if (value > 0xdbff || p->size - p->at < 2 || memcmp(p->text + p->at, "\\u", 2) != 0)
            return fail_at(p, start, "half of a surrogate pair");
        p->at += 2;
        TT_TRY(parse_hex4(p, &low));
        if (low < 0xdc00 || low > 0xdfff) return fail_at(p, start, "half of a surrogate pair");
        value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
    }
    char utf8[4];
    return tt_buf_append(&p->scratch, utf8, tt_utf8_encode(value, utf8), p->err);
}

static tt_status parse_escape(parser *p) {
    static const char NAMES[] = "\"\\/bfnrt", MEANINGS[] = "\"\\/\b\f\n\r\t";
    p->at++; /* the backslash */
    char c = peek(p);
    if (c == 'u') {
        p->at++;
        return parse_unicode_escape(p);
    }
    const char *name = c ? strchr(NAMES, c) : NULL;
    if (!name) return fail_here(p, "unknown escape after \\");
    p->at++;
    return tt_buf_append(&p->scratch, &MEANINGS[name - NAMES], 1, p->err);
}

/* Decodes a string literal into p->scratch. */
static tt_status parse_string(parser *p) {
    p->scratch.size = 0;
    TT_TRY(tt_buf_reserve(&p->scratch, 0, p->err));
    p->at++; /* the opening quote */
    for (;;) {
        size_t start = p->at;
        while (p->at < p->size && p->text[p->at] != '"' && p->text[p->at] != '\\' &&
               (unsigned char)p->text[p->at] >= ' ')
            p->at++;
        TT_TRY(tt_buf_append(&p->scratch, p->text + start, p->at - start, p->err));
        char c = peek(p);
        if (c == '\\') {
            TT_TRY(parse_escape(p));
        } else if (c == '"') {
            p->at++;
            return TT_OK;
        } else {
            return fail_here(p, "a control character inside a string; write it as an escape");
        }
    }
}

/* ---- numbers
 * ---------------------------------------------------------------------------------------- */

static tt_status skip_digits(parser *p) {
    if (!is_digit(peek(p))) return fail_here(p, "a digit is missing");
    while (is_digit(peek(p))) p->at++;
    return TT_OK;
}

static tt_status scan_number(parser *p, bool *is_integer) {
    *is_integer = true;
    if (peek(p) == '-') p->at++;
    if (peek(p) == '0' && p->at + 1 < p->size && is_digit(p->text[p->at + 1]))
        return fail_here(p, "a number with a leading zero");
    TT_TRY(skip_digits(p));
    if (peek(p) == '.') {
        *is_integer = false;
        p->at++;
        TT_TRY(skip_digits(p));
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        *is_integer = false;
        p->at++;
        if (peek(p) == '+' || peek(p) == '-') p->at++;
        TT_TRY(skip_digits(p));
    }
    return TT_OK;
}

/* Integers of 64 bits stay exact; larger ones become doubles, as in other languages. */
static json_object *number_object(const char *text, bool is_integer, double value) {
    errno = 0;
    if (is_integer && text[0] == '-') {
        int64_t i = strtoimax(text, NULL, 10);
        if (errno == 0) return json_object_new_int64(i);
    } else if (is_integer) {
        uint64_t u = strtoumax(text, NULL, 10);
        if (errno == 0)
            return u <= INT64_MAX ? json_object_new_int64((int64_t)u) : json_object_new_uint64(u);
    }
    return json_object_new_double_s(value, text);
}

static tt_status parse_number(parser *p, json_object **out) {
    char text[MAX_NUMBER_BYTES + 1];
    size_t start = p->at;
    bool is_integer;
    TT_TRY(scan_number(p, &is_integer));
    size_t length = p->at - start;
    if (length > MAX_NUMBER_BYTES) return fail_at(p, start, "a number of more than 320 characters");
    memcpy(text, p->text + start, length);
    text[length] = '\0';
    double value = strtod(text, NULL);
    if (!isfinite(value)) return fail_at(p, start, "a number too large for a double");
    *out = number_object(text, is_integer, value);
    return *out ? TT_OK : nomem(p);
}

/* ---- values
 * ----------------------------------------------------------------------------------------- */

static tt_status parse_value(parser *p, json_object **out);

static bool take_word(parser *p, const char *word) {
    size_t length = strlen(word);
    if (p->size - p->at < length || memcmp(p->text + p->at, word, length) != 0) return false;
    p->at += length;
    return true;
}

/* Behind an element: a comma (more follows) or `closing`. */
static tt_status parse_separator(parser *p, char closing, const char *expected, bool *is_end) {
    skip_space(p);
    char c = peek(p);
    if (c != ',' && c != closing) return fail_here(p, expected);
    p->at++;
    *is_end = c == closing;
    skip_space(p);
    return TT_OK;
}

static tt_status parse_elements(parser *p, json_object *array) {
    bool is_end = peek(p) == ']';
    if (is_end) p->at++;
    while (!is_end) {
        json_object *element;
        TT_TRY(parse_value(p, &element));
        if (json_object_array_add(array, element) != 0) {
            json_object_put(element);
            return nomem(p);
        }
        TT_TRY(parse_separator(p, ']', "expected ',' or ']'", &is_end));
    }
    return TT_OK;
}

/* A name and its colon. The name is left in *name, owned by the caller. */
static tt_status parse_name(parser *p, json_object *object, json_object **name) {
    size_t start = p->at;
    if (peek(p) != '"') return fail_here(p, "expected a name in double quotes");
    TT_TRY(parse_string(p));
    if (strlen(p->scratch.data) != p->scratch.size)
        return fail_at(p, start, "a NUL character in a name");
    if (json_object_object_get_ex(object, p->scratch.data, NULL))
        return fail_at(p, start, "the same name twice in one object");
    skip_space(p);
    if (peek(p) != ':') return fail_here(p, "expected ':'");
    p->at++;
    skip_space(p);
    *name = json_object_new_string_len(p->scratch.data, (int)p->scratch.size);
    return *name ? TT_OK : nomem(p);
}

static tt_status parse_member(parser *p, json_object *object) {
    json_object *name, *value = NULL;
    TT_TRY(parse_name(p, object, &name));
    tt_status status = parse_value(p, &value);
    if (status == TT_OK && json_object_object_add_ex(object, json_object_get_string(name), value,
                                                     JSON_C_OBJECT_ADD_KEY_IS_NEW) != 0) {
        json_object_put(value);
        status = nomem(p);
    }
    json_object_put(name);
    return status;
}

static tt_status parse_members(parser *p, json_object *object) {
    bool is_end = peek(p) == '}';
    if (is_end) p->at++;
    while (!is_end) {
        TT_TRY(parse_member(p, object));
        TT_TRY(parse_separator(p, '}', "expected ',' or '}'", &is_end));
    }
    return TT_OK;
}

static tt_status parse_container(parser *p, json_object **out) {
    if (p->depth == TT_MAX_JSON_DEPTH) return fail_here(p, "nested too deeply");
    bool is_object = peek(p) == '{';
    json_object *container = is_object ? json_object_new_object() : json_object_new_array();
    if (!container) return nomem(p);
    p->depth++;
    p->at++;
    skip_space(p);
    tt_status status = is_object ? parse_members(p, container) : parse_elements(p, container);
    p->depth--;
    if (status != TT_OK)
        json_object_put(container);
    else
        *out = container;
    return status;
}

/* One value; *out is owned by the caller on success (NULL for null) and NULL on failure. */
static tt_status parse_value(parser *p, json_object **out) {
    *out = NULL;
    char c = peek(p);
    if (c == '{' || c == '[') return parse_container(p, out);
    if (c == '-' || is_digit(c)) return parse_number(p, out);
    if (take_word(p, "null")) return TT_OK;
    if (c == '"') {
        TT_TRY(parse_string(p));
        *out = json_object_new_string_len(p->scratch.data, (int)p->scratch.size);
    } else if (take_word(p, "true")) {
        *out = json_object_new_boolean(1);
    } else if (take_word(p, "false")) {
        *out = json_object_new_boolean(0);
    } else {
        return fail_here(p, "expected a value");
    }
    return *out ? TT_OK : nomem(p);
}

tt_status tt_json_parse(const char *text, size_t size, json_object **out, tt_err *err) {
    *out = NULL;
    if (size > TT_MAX_JSON_BYTES)
        return tt_fail(err, TT_E_INVALID, "JSON text has %zu bytes, the limit is %zu", size,
                       TT_MAX_JSON_BYTES);
    parser p = {.text = text, .size = size, .err = err};
    tt_buf_init(&p.scratch, TT_MAX_JSON_BYTES);
    size_t bad_at;
    if (!tt_utf8_is_valid(text, size, &bad_at)) return fail_at(&p, bad_at, "not valid UTF-8");
    skip_space(&p);
    tt_status status = parse_value(&p, out);
    skip_space(&p);
    if (status == TT_OK && p.at < size) status = fail_here(&p, "more text after the value");
    if (status != TT_OK) {
        json_object_put(*out);
        *out = NULL;
    }
    tt_buf_release(&p.scratch);
    return status;
}
