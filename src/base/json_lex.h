/* The words of JSON text (strings, numbers, names of values) and the errors that say where it breaks: the one lexer behind
 * tt_json_parse, tt_json_check and the member spans. Private to base. */
#ifndef TT_BASE_JSON_LEX_H
#define TT_BASE_JSON_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum { TT__JSON_NUMBER_BYTES = 320 }; /* the longest exact double has 309 digits before the point */

typedef struct tt__json_lexer {
    const char *text; /* borrowed */
    size_t size, at;
    tt_err *err;
} tt__json_lexer;

typedef struct tt__json_number {
    char text[TT__JSON_NUMBER_BYTES + 1];
    bool is_integer; /* neither fraction nor exponent; of any length */
} tt__json_number;

/* TT_E_FORMAT: "invalid JSON at line L, column C: <why>". `here` says "it ends too early" at the end of the text. */
tt_status tt__json_fail_at(const tt__json_lexer *l, size_t offset, const char *why);
tt_status tt__json_fail_here(const tt__json_lexer *l, const char *why);

/* The byte at l->at, or NUL at the end (a NUL in the text is refused like any other stray byte). */
static inline char tt__json_peek(const tt__json_lexer *l) {
    return l->at < l->size ? l->text[l->at] : '\0';
}

/* Each leaves l->at behind what it read; behind a failure it stands where the text breaks. */
void tt__json_skip_space(tt__json_lexer *l);
bool tt__json_take_word(tt__json_lexer *l, const char *word);
/* At the opening quote. The decoded text replaces what is in `decoded`; NULL: it is checked only. */
tt_status tt__json_read_string(tt__json_lexer *l, tt_buf *decoded);
/* At the backslash: the UTF-8 of one escape. */
tt_status tt__json_read_escape(tt__json_lexer *l, char utf8[4], size_t *n);
/* At the first digit or the minus. Refuses what no double can hold. */
tt_status tt__json_read_number(tt__json_lexer *l, tt__json_number *out);

/* Bytes from `text` up to the first that is a quote, a backslash or below a space; `size` when there is none. */
size_t tt__json_plain_length(const char *text, size_t size);

#endif
