/* See json_span.h. tt_json_check is in json_parse.c: it is the parser without its tree.
 *
 * Walking trusts that the text is valid and so only has to find ends: strings are taken whole, containers end where their
 * brackets balance. On text that is not valid it may find nothing or nonsense, but never reads outside. */
#include "base/json_span.h"

#include <string.h>

#include "base/json_lex.h"

/* From the opening quote to behind the closing one; false when there is none. */
static bool skip_string(tt__json_lexer *l) {
    l->at++;
    while (l->at < l->size) {
        l->at += tt__json_plain_length(l->text + l->at, l->size - l->at);
        if (l->at == l->size) return false;
        if (l->text[l->at] == '"') {
            l->at++;
            return true;
        }
        l->at += l->text[l->at] == '\\' && l->size - l->at > 1 ? 2 : 1;
    }
    return false;
}

static bool skip_container(tt__json_lexer *l) {
    size_t depth = 0;
    while (l->at < l->size) {
        char c = l->text[l->at];
        if (c == '"') {
            if (!skip_string(l)) return false;
            continue;
        }
        l->at++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) return true;
    }
    return false;
}

/* Numbers, true, false, null: up to what may follow a value. */
static bool skip_scalar(tt__json_lexer *l) {
    size_t start = l->at;
    while (l->at < l->size && !memchr(",}] \t\r\n", l->text[l->at], 7)) l->at++;
    return l->at > start;
}

static bool skip_value(tt__json_lexer *l) {
    char c = tt__json_peek(l);
    if (c == '"') return skip_string(l);
    return c == '{' || c == '[' ? skip_container(l) : skip_scalar(l);
}

/* Over white space, then over `c`; false when something else is there. */
static bool take(tt__json_lexer *l, char c) {
    tt__json_skip_space(l);
    if (l->at == l->size || l->text[l->at] != c) return false;
    l->at++;
    return true;
}

bool tt_json_next_member(const char *text, size_t size, size_t *at, const char **name,
                         size_t *name_size, const char **value, size_t *value_size) {
    tt__json_lexer l = {.text = text, .size = size, .at = *at};
    if (*at > size || !take(&l, *at == 0 ? '{' : ',')) return false;
    tt__json_skip_space(&l);
    size_t start = l.at;
    if (tt__json_peek(&l) != '"' || !skip_string(&l)) return false; /* an empty object as well */
    *name = text + start + 1;
    *name_size = l.at - start - 2;
    if (!take(&l, ':')) return false;
    tt__json_skip_space(&l);
    start = l.at;
    if (!skip_value(&l)) return false;
    *value = text + start;
    *value_size = l.at - start;
    *at = l.at;
    return true;
}

/* True when the raw name, with its escapes undone, is `name`. */
static bool is_name(const char *raw, size_t size, const char *name) {
    size_t length = strlen(name);
    if (!memchr(raw, '\\', size)) return size == length && memcmp(raw, name, size) == 0;
    tt__json_lexer l = {.text = raw, .size = size};
    size_t at = 0;
    while (l.at < size) {
        char bytes[4] = {raw[l.at]};
        size_t n = 1;
        if (bytes[0] != '\\')
            l.at++;
        else if (tt__json_read_escape(&l, bytes, &n) != TT_OK)
            return false;
        if (length - at < n || memcmp(name + at, bytes, n) != 0) return false;
        at += n;
    }
    return at == length;
}

bool tt_json_member(const char *text, size_t size, const char *name, const char **value,
                    size_t *value_size) {
    const char *raw, *found;
    size_t raw_size, found_size, at = 0;
    while (tt_json_next_member(text, size, &at, &raw, &raw_size, &found, &found_size)) {
        if (!is_name(raw, raw_size, name)) continue;
        *value = found;
        *value_size = found_size;
        return true;
    }
    return false;
}
