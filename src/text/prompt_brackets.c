/* Which brackets of an A1111 prompt are schedules: one pass with a stack, linear in the text.
 *
 * The grammar (A1111's), for what is inside brackets:
 *
 *     prompt     = { "(" prompt [":" prompt] ")" | "[" prompt "]" | scheduled | alternate | characters }
 *     scheduled  = "[" [prompt ":"] prompt ":" number "]"
 *     alternate  = "[" prompt "|" prompt { "|" prompt } "]"
 *
 * Characters are all but ( ) [ ] : |, or any behind a backslash. Outside of it, at the top, any character may stand
 * alone. So a bracket counts only when all inside it is well-formed: `is_clean`. A closing bracket that does not match the last
 * one open belongs to no rule, and spoils all that are open around it; what is inside them may still be fine. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/prompt_parts.h"

typedef struct scan {
    const char *text;
    tt__brackets *found;
    size_t open[TT_MAX_PROMPT_NESTING]; /* indices of those open */
    size_t n_open;
} scan;

void tt__brackets_release(tt__brackets *b) {
    tt_free(b->items);
    *b = (tt__brackets){0};
}

tt_status tt__fail_nesting(size_t at, tt_err *err) {
    return tt_fail_at(err, TT_E_INVALID, (int64_t)at,
                      "prompt: more than %d brackets inside each other at byte %zu",
                      TT_MAX_PROMPT_NESTING, at);
}

static tt_status push(scan *s, size_t at, tt_err *err) {
    enum { FIRST_CAPACITY = 16 };
    tt__brackets *b = s->found;
    if (b->n == b->capacity) {
        size_t capacity = b->capacity ? 2 * b->capacity : FIRST_CAPACITY;
        tt__bracket *grown = tt_realloc(b->items, capacity * sizeof *grown);
        if (!grown) return tt_fail_nomem(err, "a prompt's brackets", capacity * sizeof *grown);
        b->items = grown;
        b->capacity = capacity;
    }
    b->items[b->n] = (tt__bracket){.open = at, .is_clean = true};
    s->open[s->n_open++] = b->n++;
    return TT_OK;
}

static void spoil_open(scan *s) {
    for (size_t i = 0; i < s->n_open; i++) s->found->items[s->open[i]].is_clean = false;
}

/* Whether the last part of [..:when] is a number, and which. */
static bool read_when(const scan *s, tt__bracket *b) {
    size_t begin = b->colons[b->n_colons - 1] + 1, end = b->close;
    tt__trim(s->text, &begin, &end);
    b->is_share = memchr(s->text + begin, '.', end - begin) != NULL;
    return tt__number_parse(s->text + begin, end - begin, true, &b->when);
}

/* What a closed bracket is; not clean when it is none of the rules. */
static void classify(scan *s, tt__bracket *b) {
    bool is_square = s->text[b->open] == '[';
    if (!is_square || (b->n_colons == 0 && b->n_pipes == 0))
        b->is_clean &= b->n_pipes == 0 && b->n_colons <= 1;
    else if (b->n_colons == 0 && b->is_clean)
        b->kind = TT__BRACKET_ALTERNATE;
    else if (b->n_pipes == 0 && b->n_colons <= 2 && b->is_clean && read_when(s, b))
        b->kind = TT__BRACKET_SCHEDULED;
    else
        b->is_clean = false;
    s->found->is_scheduled |= b->kind != TT__BRACKET_TEXT;
}

static void close_bracket(scan *s, size_t at) {
    char opener = s->text[at] == ')' ? '(' : '[';
    tt__bracket *b = s->n_open ? &s->found->items[s->open[s->n_open - 1]] : NULL;
    if (!b || s->text[b->open] != opener) {
        spoil_open(s);
        return;
    }
    s->n_open--;
    b->close = at;
    classify(s, b);
    if (!b->is_clean) spoil_open(s);
}

static void note_separator(scan *s, size_t at) {
    if (s->n_open == 0) return;
    tt__bracket *b = &s->found->items[s->open[s->n_open - 1]];
    if (s->text[at] == '|')
        b->n_pipes++;
    else if (b->n_colons++ < 2)
        b->colons[b->n_colons - 1] = at;
}

tt_status tt__brackets_find(const char *text, size_t size, tt__brackets *out, tt_err *err) {
    scan s = {.text = text, .found = out};
    for (size_t i = 0; i < size; i++) switch (text[i]) {
        case '\\':
            i++;
            break;
        case '(':
        case '[':
            if (s.n_open == TT_MAX_PROMPT_NESTING) return tt__fail_nesting(i, err);
            TT_TRY(push(&s, i, err));
            break;
        case ')':
        case ']':
            close_bracket(&s, i);
            break;
        case ':':
        case '|':
            note_separator(&s, i);
            break;
        default:
            break;
        }
    return TT_OK;
}
