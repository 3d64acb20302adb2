/* See json_place.h. The text is walked again, which is slow and simple: it is done for mistakes only. Names are compared
 * as they are written: one with escapes is not found, and its object's place stands for it. */
#include "app/json_place.h"

#include <stdbool.h>
#include <string.h>

#include "base/json_span.h"

typedef struct part {
    const char *at;
    size_t size;
} part;

static size_t skip_space(const char *text, size_t size, size_t at) {
    while (at < size && memchr(" \t\r\n", text[at], 4)) at++;
    return at;
}

static part trim(const char *text, size_t size) {
    size_t at = skip_space(text, size, 0);
    return (part){text + at, size - at};
}

static bool find_member(part of, const char *name, part *found, const char **at_name) {
    const char *member, *value;
    size_t at = 0, member_size, value_size;
    while (tt_json_next_member(of.at, of.size, &at, &member, &member_size, &value, &value_size))
        if (strlen(name) == member_size && memcmp(name, member, member_size) == 0) {
            *found = (part){value, value_size};
            *at_name = member - 1; /* its quote */
            return true;
        }
    return false;
}

/* The end of the value that begins at `at`: brackets balance outside strings. */
static size_t end_of_value(const char *text, size_t size, size_t at) {
    size_t depth = 0;
    bool is_string = false;
    for (; at < size; at++) {
        char c = text[at];
        if (is_string) {
            if (c == '\\') at++;
            if (c == '"') is_string = false;
        } else if (c == '"') {
            is_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (depth == 0) return at;
            depth--;
        } else if (c == ',' && depth == 0) {
            return at;
        }
    }
    return at < size ? at : size;
}

static bool find_element(part of, size_t index, part *found) {
    if (of.size == 0 || of.at[0] != '[') return false;
    for (size_t at = 1;; at++) {
        at = skip_space(of.at, of.size, at);
        size_t end = end_of_value(of.at, of.size, at);
        if (end == at) return false;
        if (index-- == 0) {
            *found = (part){of.at + at, end - at};
            return true;
        }
        if (end >= of.size || of.at[end] != ',') return false;
        at = end;
    }
}

tt_json_place tt_json_place_at(const char *text, size_t size, size_t byte) {
    tt_json_place place = {1, 1};
    for (size_t i = 0; i < byte && i < size; i++) {
        bool is_inside_character = ((unsigned char)text[i] & 0xc0) == 0x80;
        if (text[i] == '\n')
            place = (tt_json_place){place.line + 1, 1};
        else if (!is_inside_character)
            place.column++;
    }
    return place;
}

tt_json_place tt_json_place_of(const char *text, size_t size, const tt_json_step *path,
                               size_t n_steps, int of_name) {
    part now = trim(text, size);
    const char *at = now.at;
    for (size_t i = 0; i < n_steps; i++) {
        const char *at_name = NULL;
        bool is_found = path[i].name ? find_member(now, path[i].name, &now, &at_name)
                                     : find_element(now, path[i].index, &now);
        if (!is_found) break;
        at = of_name && at_name && i + 1 == n_steps ? at_name : now.at;
    }
    return tt_json_place_at(text, size, (size_t)(at - text));
}
