/* See show.h. */
#include "app/show.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

enum { MAX_PIECE_BYTES = TT_SHOWN_BYTES - 16 }; /* leaves room for quotes and dots */

/* The longest cut of at most `size` bytes that does not end inside a UTF-8 sequence. */
static size_t whole_characters(const char *text, size_t size) {
    while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) size--;
    return size;
}

void tt_show_text(char out[TT_SHOWN_BYTES], const char *text, size_t size) {
    size_t n = size > MAX_PIECE_BYTES ? whole_characters(text, MAX_PIECE_BYTES) : size;
    memcpy(out, text, n);
    out[n] = '\0';
    size_t bad_at;
    while (!tt_utf8_is_valid(out, n, &bad_at)) out[bad_at] = '?';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f) out[i] = '?';
    if (n < size) snprintf(out + n, TT_SHOWN_BYTES - n, "...");
}

void tt_show_json(char out[TT_SHOWN_BYTES], json_object *value) {
    if (json_object_is_type(value, json_type_string)) {
        char text[TT_SHOWN_BYTES];
        tt_show_text(text, json_object_get_string(value),
                     (size_t)json_object_get_string_len(value));
        snprintf(out, TT_SHOWN_BYTES, "\"%.*s\"", TT_SHOWN_BYTES - 3, text);
    } else if (!value) {
        snprintf(out, TT_SHOWN_BYTES, "nothing");
    } else if (json_object_is_type(value, json_type_object) ||
               json_object_is_type(value, json_type_array)) {
        snprintf(out, TT_SHOWN_BYTES, "%s", tt_json_type_name(value));
    } else {
        const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
        tt_show_text(out, text ? text : "?", text ? strlen(text) : 1);
    }
}
