/* What the files of the prompt share. Not for others: their headers are prompt.h and prompt_segments.h. */
#ifndef TT_TEXT_PROMPT_PARTS_H
#define TT_TEXT_PROMPT_PARTS_H

#include "text/prompt.h"
#include "text/prompt_segments.h"

/* ---- brackets (prompt_brackets.c) ------------------------------------------------------------------- */

typedef enum tt__bracket_kind {
    TT__BRACKET_TEXT,      /* ( ) and [ ]: weights, or a bracket that is no such thing */
    TT__BRACKET_SCHEDULED, /* [a:b:when] */
    TT__BRACKET_ALTERNATE, /* [a|b] */
} tt__bracket_kind;

/* One opening bracket of the text. Positions are bytes. */
typedef struct tt__bracket {
    size_t open, close;    /* close: of the matching bracket, 0 while there is none */
    size_t colons[2];      /* the first two at its own level */
    int n_colons, n_pipes; /* at its own level */
    bool is_clean;         /* everything inside is well-formed */
    tt__bracket_kind kind;
    bool is_share; /* `when` is a share of the steps */
    double when;
} tt__bracket;

typedef struct tt__brackets {
    tt__bracket *items; /* owned, in order of `open` */
    size_t n, capacity;
    bool is_scheduled; /* any of them is not TT__BRACKET_TEXT */
} tt__brackets;

tt_status tt__brackets_find(const char *text, size_t size, tt__brackets *out, tt_err *err);
void tt__brackets_release(tt__brackets *b);

struct tt_prompt {
    tt_prompt_syntax syntax;
    tt_buf text; /* without tags */
    tt_prompt_lora *loras;
    size_t n_loras, lora_capacity, n_unknown_tags;
    tt__brackets brackets; /* empty for syntaxes without schedules */
};

/* ---- numbers and characters (prompt_number.c) ------------------------------------------------------- */

/* A decimal number, the whole of text[0, size): sign, digits, one point, and with `exponent_too` an exponent. False for
 * anything else, too long or not finite. */
bool tt__number_parse(const char *text, size_t size, bool exponent_too, double *out);

/* ASCII white space, as Python's float() and int() skip it. */
static inline bool tt__is_ascii_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
/* Moves *begin and *end inwards over ASCII white space. */
static inline void tt__trim(const char *text, size_t *begin, size_t *end) {
    while (*begin < *end && tt__is_ascii_space(text[*begin])) ++*begin;
    while (*end > *begin && tt__is_ascii_space(text[*end - 1])) --*end;
}

/* ---- segments, one syntax each ---------------------------------------------------------------------- */

tt_status tt__segments_a1111(const char *text, size_t size, tt_segments *out, tt_err *err);
tt_status tt__segments_comfy(const char *text, size_t size, tt_segments *out, tt_err *err);
tt_status tt__segments_compel(const char *text, size_t size, tt_segments *out, tt_err *err);

/* Appends an empty segment; and bytes to the last one. */
tt_status tt__segments_push(tt_segments *s, double weight, bool is_break, tt_err *err);
tt_status tt__segments_append(tt_segments *s, const char *text, size_t size, tt_err *err);

/* Joins neighbours of equal weight among the segments from `first` on. */
void tt__segments_join(tt_segments *s, size_t first);
/* The same once there are so many that joining may be what keeps them below the limit. */
void tt__segments_join_if_many(tt_segments *s, size_t first);

/* The sentence of every parser for brackets deeper than TT_MAX_PROMPT_NESTING. */
tt_status tt__fail_nesting(size_t at, tt_err *err);

#endif
