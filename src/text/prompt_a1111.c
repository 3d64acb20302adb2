/* A1111's weights. A closed bracket multiplies the weights of all segments since it was opened; round and square ones are
 * matched apart, so "(a [b) c]" is legal. The order of the multiplications is A1111's, in double, so that "the same weight"
 * (runs of which are joined, and then share a call of the tokenizer) means the same. Each segment is multiplied once per
 * bracket around it, at most 2 * TT_MAX_PROMPT_NESTING times. */
#include <string.h>
#include <utf8proc.h>

#include "base/limits.h"
#include "text/prompt_parts.h"
#include "text/tokenizer_parts.h"

#define ROUND_FACTOR 1.1

typedef struct stack {
    size_t first
        [TT_MAX_PROMPT_NESTING]; /* the segment that would come next when the bracket was opened */
    size_t n;
} stack;

typedef struct parser {
    const char *text;
    size_t size, at;
    tt_segments *out;
    stack round, square;
} parser;

static void multiply_since(tt_segments *s, size_t first, double factor) {
    for (size_t i = first; i < s->n; i++)
        if (!s->items[i].is_break) s->items[i].weight *= factor;
}

static tt_status open_bracket(parser *p, stack *s, tt_err *err) {
    if (s->n == TT_MAX_PROMPT_NESTING) return tt__fail_nesting(p->at, err);
    s->first[s->n++] = p->out->n;
    p->at++;
    return TT_OK;
}

static tt_status add_text(parser *p, size_t size, tt_err *err) {
    TT_TRY(tt__segments_push(p->out, 1, false, err));
    TT_TRY(tt__segments_append(p->out, p->text + p->at, size, err));
    p->at += size;
    return TT_OK;
}

/* ---- BREAK ------------------------------------------------------------------------------------------ */

/* A letter, digit or underscore, as Python's \w. */
static bool is_word_at(const char *text, size_t size, size_t at, size_t *next) {
    int32_t c = tt__decode_utf8(text, size, at, next);
    utf8proc_category_t category = utf8proc_category(c);
    return c == '_' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

/* White space as Python's \s. */
static bool is_space_at(const char *text, size_t size, size_t at, size_t *next) {
    int32_t c = tt__decode_utf8(text, size, at, next);
    utf8proc_category_t category = utf8proc_category(c);
    return (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
           (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

/* Where the character before `at` begins; at > begin. */
static size_t previous(const char *text, size_t begin, size_t at) {
    do at--;
    while (at > begin && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

/* The next BREAK in text[from, end), with the white space around it: [*begin, *stop). */
static bool find_break(const char *text, size_t from, size_t end, size_t *begin, size_t *stop) {
    static const char BREAK[] = "BREAK";
    enum { BREAK_BYTES = sizeof BREAK - 1 };
    size_t next;
    for (size_t at = from; at + BREAK_BYTES <= end; at++) {
        if (memcmp(text + at, BREAK, BREAK_BYTES) != 0) continue;
        *begin = at;
        *stop = at + BREAK_BYTES;
        if (at > from && is_word_at(text, end, previous(text, from, at), &next)) continue;
        if (*stop < end && is_word_at(text, end, *stop, &next)) continue;
        while (*begin > from && is_space_at(text, end, previous(text, from, *begin), &next))
            *begin = previous(text, from, *begin);
        while (*stop < end && is_space_at(text, end, *stop, &next)) *stop = next;
        return true;
    }
    return false;
}

/* A run without brackets, colons and backslashes. */
static tt_status add_run(parser *p, size_t size, tt_err *err) {
    size_t end = p->at + size, begin, stop;
    while (find_break(p->text, p->at, end, &begin, &stop)) {
        TT_TRY(add_text(p, begin - p->at, err));
        TT_TRY(tt__segments_push(p->out, 1, true, err));
        p->at = stop;
    }
    return add_text(p, end - p->at, err);
}

/* ---- the pieces ------------------------------------------------------------------------------------- */

static tt_status add_escape(parser *p, tt_err *err) {
    p->at++;
    bool is_escape = p->at < p->size && p->text[p->at] && strchr("()[]\\", p->text[p->at]);
    return add_text(p, is_escape ? 1 : 0, err);
}

/* ":1.4)" at the parser's place. False: it is something else. */
static bool find_weight(const parser *p, size_t *begin, size_t *size, size_t *end) {
    size_t at = p->at + 1;
    while (at < p->size && tt__is_ascii_space(p->text[at])) at++;
    *begin = at;
    if (at < p->size && (p->text[at] == '+' || p->text[at] == '-')) at++;
    size_t digits = at;
    while (at < p->size && p->text[at] && strchr("0123456789.", p->text[at])) at++;
    *size = at - *begin;
    if (at == digits) return false;
    while (at < p->size && tt__is_ascii_space(p->text[at])) at++;
    *end = at + 1;
    return at < p->size && p->text[at] == ')';
}

static tt_status add_colon(parser *p, tt_err *err) {
    size_t begin, size, end;
    double weight;
    if (!find_weight(p, &begin, &size, &end)) return add_text(p, 1, err);
    if (p->round.n == 0) return add_run(p, end - p->at, err);
    if (!tt__number_parse(p->text + begin, size, false, &weight))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)begin,
                          "prompt: the weight \"%.*s\" at byte %zu is not a number",
                          (int)(size < 40 ? size : 40), p->text + begin, begin);
    multiply_since(p->out, p->round.first[--p->round.n], weight);
    p->at = end;
    return TT_OK;
}

static tt_status close_bracket(parser *p, stack *s, double factor, tt_err *err) {
    if (s->n == 0) return add_text(p, 1, err);
    multiply_since(p->out, s->first[--s->n], factor);
    p->at++;
    return TT_OK;
}

static tt_status take_piece(parser *p, tt_err *err) {
    switch (p->text[p->at]) {
    case '\\':
        return add_escape(p, err);
    case '(':
        return open_bracket(p, &p->round, err);
    case '[':
        return open_bracket(p, &p->square, err);
    case ')':
        return close_bracket(p, &p->round, ROUND_FACTOR, err);
    case ']':
        return close_bracket(p, &p->square, 1 / ROUND_FACTOR, err);
    case ':':
        return add_colon(p, err);
    default:
        break;
    }
    size_t end = p->at;
    while (end < p->size && (!p->text[end] || !strchr("\\()[]:", p->text[end]))) end++;
    return add_run(p, end - p->at, err);
}

/* Segments from here on will all be multiplied alike. */
static size_t innermost(const parser *p) {
    size_t round = p->round.n ? p->round.first[p->round.n - 1] : 0;
    size_t square = p->square.n ? p->square.first[p->square.n - 1] : 0;
    return round > square ? round : square;
}

tt_status tt__segments_a1111(const char *text, size_t size, tt_segments *out, tt_err *err) {
    parser p = {.text = text, .size = size, .out = out};
    while (p.at < size) {
        TT_TRY(take_piece(&p, err));
        tt__segments_join_if_many(out, innermost(&p));
    }
    for (size_t i = 0; i < p.round.n; i++) multiply_since(out, p.round.first[i], ROUND_FACTOR);
    for (size_t i = 0; i < p.square.n; i++)
        multiply_since(out, p.square.first[i], 1 / ROUND_FACTOR);
    tt__segments_join(out, 0);
    return TT_OK;
}
