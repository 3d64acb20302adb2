/* compel's weights:
 *
 *     prompt = { "(" prompt ")" [suffix or number] | '"' characters '"' [suffix] | word [suffix] | space }
 *     suffix = "+" { "+" } | "-" { "-" }           at the end of what it follows: before white space, , . ; : ! ? ) or the end
 *
 * A backslash before ( ) " + - or \ makes a character of it. The suffix of a word is found from its end, so "well-lit" has
 * none and "well-lit-" has one. Plain text keeps its white space. Segments of equal weight that touch are one. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "text/prompt_parts.h"

#define PLUS_FACTOR  1.1
#define MINUS_FACTOR 0.9

typedef struct parser {
    const char *text;
    size_t size, at;
    tt_segments *out;
    struct {
        size_t segment, at; /* the first one inside; where the bracket stands */
    } open[TT_MAX_PROMPT_NESTING];
    size_t n_open;
} parser;

static bool is_one_of(const char *set, char c) {
    return c && strchr(set, c);
}

static bool is_escape(const parser *p, size_t at) {
    return p->text[at] == '\\' && at + 1 < p->size && is_one_of("()\"+-\\", p->text[at + 1]);
}

static void multiply_since(tt_segments *s, size_t first, double factor) {
    for (size_t i = first; i < s->n; i++) s->items[i].weight *= factor;
}

/* The factor of a run of one sign at the parser's place, if what follows may follow it; 1 and no move otherwise. */
static double take_signs(parser *p) {
    size_t end = p->at;
    while (end < p->size && p->text[end] == p->text[p->at]) end++;
    if (p->at == p->size || !is_one_of("+-", p->text[p->at])) return 1;
    if (end < p->size && !tt__is_ascii_space(p->text[end]) && !is_one_of(",.;:!?)", p->text[end]))
        return 1;
    double base = p->text[p->at] == '+' ? PLUS_FACTOR : MINUS_FACTOR;
    double factor = pow(base, (double)(end - p->at));
    p->at = end;
    return factor;
}

/* A number directly behind ")"; 1 and no move when there is none. A point at its end ends a sentence. */
static tt_status take_number(parser *p, double *factor, tt_err *err) {
    size_t begin = p->at, end = begin;
    *factor = 1;
    while (end < p->size && is_one_of("0123456789.", p->text[end])) end++;
    while (end > begin && p->text[end - 1] == '.') end--;
    if (end == begin) return TT_OK;
    p->at = end;
    if (tt__number_parse(p->text + begin, end - begin, false, factor)) return TT_OK;
    return tt_fail_at(err, TT_E_INVALID, (int64_t)begin,
                      "prompt: the weight \"%.*s\" at byte %zu is not a number",
                      (int)(end - begin < 40 ? end - begin : 40), p->text + begin, begin);
}

/* Functions of several prompts, which would need several predictions. */
static tt_status refuse_call(const parser *p, tt_err *err) {
    static const char *const names[] = {".and(", ".blend(", ".swap("};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (p->size - p->at >= n && memcmp(p->text + p->at, names[i], n) == 0)
            return tt_fail_at(err, TT_E_UNSUPPORTED, (int64_t)p->at,
                              "prompt: %s) at byte %zu is not supported, only weights are",
                              names[i], p->at);
    }
    return TT_OK;
}

static tt_status close_bracket(parser *p, tt_err *err) {
    double factor = 1;
    if (p->n_open == 0)
        return tt_fail_at(err, TT_E_INVALID, (int64_t)p->at,
                          "prompt: \")\" at byte %zu closes nothing", p->at);
    size_t first = p->open[--p->n_open].segment;
    p->at++;
    TT_TRY(refuse_call(p, err));
    TT_TRY(take_number(p, &factor, err));
    if (factor == 1) factor = take_signs(p);
    multiply_since(p->out, first, factor);
    return TT_OK;
}

static tt_status open_bracket(parser *p, tt_err *err) {
    if (p->n_open == TT_MAX_PROMPT_NESTING) return tt__fail_nesting(p->at, err);
    p->open[p->n_open].segment = p->out->n;
    p->open[p->n_open++].at = p->at++;
    return TT_OK;
}

/* Characters up to `end` as a segment, escapes resolved; then a suffix. */
static tt_status add_characters(parser *p, size_t end, size_t skip, tt_err *err) {
    TT_TRY(tt__segments_push(p->out, 1, false, err));
    for (; p->at < end; p->at++) {
        if (is_escape(p, p->at)) p->at++;
        TT_TRY(tt__segments_append(p->out, p->text + p->at, 1, err));
    }
    p->at = end + skip;
    p->out->items[p->out->n - 1].weight = take_signs(p);
    return TT_OK;
}

static tt_status take_quoted(parser *p, tt_err *err) {
    size_t end = ++p->at;
    while (end < p->size && p->text[end] != '"') end += is_escape(p, end) ? 2 : 1;
    if (end >= p->size)
        return tt_fail_at(err, TT_E_INVALID, (int64_t)p->at - 1,
                          "prompt: the quotation mark at byte %zu is never closed", p->at - 1);
    TT_TRY(add_characters(p, end, 1, err));
    return refuse_call(p, err);
}

/* A word up to white space, a bracket or a quotation mark; its suffix, if it has one, is left to add_characters. */
static tt_status take_word(parser *p, tt_err *err) {
    size_t end = p->at, signs;
    while (end < p->size && !tt__is_ascii_space(p->text[end]) && !is_one_of("()\"", p->text[end]))
        end += is_escape(p, end) ? 2 : 1;
    signs = end; /* "word++," has its signs before the comma */
    while (signs > p->at && is_one_of(",.;:!?", p->text[signs - 1])) signs--;
    size_t first = signs;
    while (first > p->at + 1 && is_one_of("+-", p->text[first - 1]) &&
           p->text[first - 1] == p->text[signs - 1] && p->text[first - 2] != '\\')
        first--;
    bool may_follow = end == p->size || !is_one_of("(\"", p->text[end]) || signs < end;
    return add_characters(p, first < signs && may_follow ? first : end, 0, err);
}

static tt_status take_space(parser *p, tt_err *err) {
    size_t end = p->at;
    while (end < p->size && tt__is_ascii_space(p->text[end])) end++;
    TT_TRY(tt__segments_push(p->out, 1, false, err));
    TT_TRY(tt__segments_append(p->out, p->text + p->at, end - p->at, err));
    p->at = end;
    return TT_OK;
}

tt_status tt__segments_compel(const char *text, size_t size, tt_segments *out, tt_err *err) {
    parser p = {.text = text, .size = size, .out = out};
    while (p.at < size) {
        if (text[p.at] == '(')
            TT_TRY(open_bracket(&p, err));
        else if (text[p.at] == ')')
            TT_TRY(close_bracket(&p, err));
        else if (text[p.at] == '"')
            TT_TRY(take_quoted(&p, err));
        else if (tt__is_ascii_space(text[p.at]))
            TT_TRY(take_space(&p, err));
        else
            TT_TRY(take_word(&p, err));
        tt__segments_join_if_many(out, p.n_open ? p.open[p.n_open - 1].segment : 0);
    }
    if (p.n_open)
        return tt_fail_at(err, TT_E_INVALID, (int64_t)p.open[p.n_open - 1].at,
                          "prompt: the bracket at byte %zu is never closed",
                          p.open[p.n_open - 1].at);
    tt__segments_join(out, 0);
    return TT_OK;
}
