/* ComfyUI's weights. A text is cut into items: what is between matching outermost brackets, and what is between those. An item
 * in brackets loses them, gets its weight, and is cut likewise. An item's weight is what follows its last colon, if that is
 * a number. The counter of open brackets may fall below zero, as ComfyUI's does: "a) (b)" has no brackets.
 *
 * The work is linear per level of nesting, of which there are at most TT_MAX_PROMPT_NESTING. */
#include "base/limits.h"
#include "text/prompt_parts.h"

#define BRACKET_FACTOR 1.1

typedef struct parser {
    const char *text;
    tt_segments *out;
} parser;

static tt_status take_level(const parser *p, size_t begin, size_t end, double weight, int depth,
                            tt_err *err);

/* True when text[at] is the backslash of an escaped bracket. */
static bool is_escape(const parser *p, size_t at, size_t end) {
    return p->text[at] == '\\' && at + 1 < end &&
           (p->text[at + 1] == '(' || p->text[at + 1] == ')');
}

static tt_status add_text(const parser *p, size_t begin, size_t end, double weight, tt_err *err) {
    TT_TRY(tt__segments_push(p->out, weight, false, err));
    for (size_t at = begin; at < end; at++) {
        if (!is_escape(p, at, end)) continue;
        TT_TRY(tt__segments_append(p->out, p->text + begin, at - begin, err));
        begin = ++at;
    }
    return tt__segments_append(p->out, p->text + begin, end - begin, err);
}

/* The weight of what stands in brackets, and where its text ends. */
static double item_weight(const parser *p, size_t begin, size_t *end, double weight) {
    size_t colon = *end;
    while (colon > begin && p->text[colon - 1] != ':') colon--;
    double found;
    size_t from = colon, to = *end;
    tt__trim(p->text, &from, &to);
    if (colon <= begin + 1 || !tt__number_parse(p->text + from, to - from, true, &found))
        return weight * BRACKET_FACTOR;
    *end = colon - 1;
    return found;
}

/* One item: text, or "(" anything ")". */
static tt_status take_item(const parser *p, size_t begin, size_t end, double weight, int depth,
                           tt_err *err) {
    bool is_closed = p->text[end - 1] == ')' && !(end - begin > 1 && is_escape(p, end - 2, end));
    if (end - begin < 2 || p->text[begin] != '(' || !is_closed)
        return add_text(p, begin, end, weight, err);
    if (depth == TT_MAX_PROMPT_NESTING) return tt__fail_nesting(begin, err);
    begin++;
    end--;
    weight = item_weight(p, begin, &end, weight);
    return take_level(p, begin, end, weight, depth + 1, err);
}

static tt_status take_level(const parser *p, size_t begin, size_t end, double weight, int depth,
                            tt_err *err) {
    long n_open = 0;
    for (size_t at = begin; at < end; at++) {
        if (is_escape(p, at, end)) {
            at++;
        } else if (p->text[at] == '(') {
            if (n_open++ == 0 && at > begin) {
                TT_TRY(take_item(p, begin, at, weight, depth, err));
                begin = at;
            }
        } else if (p->text[at] == ')' && --n_open == 0) {
            TT_TRY(take_item(p, begin, at + 1, weight, depth, err));
            begin = at + 1;
        }
    }
    return begin < end ? take_item(p, begin, end, weight, depth, err) : TT_OK;
}

tt_status tt__segments_comfy(const char *text, size_t size, tt_segments *out, tt_err *err) {
    const parser p = {.text = text, .out = out};
    return take_level(&p, 0, size, 1, 0, err);
}
