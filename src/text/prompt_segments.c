/* The list of segments, and the checks that hold for every syntax. */
#include "text/prompt_segments.h"

#include <math.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/prompt_parts.h"

void tt_segments_release(tt_segments *s) {
    tt_buf_release(&s->text);
    tt_free(s->items);
    *s = (tt_segments){0};
}

tt_status tt__segments_push(tt_segments *s, double weight, bool is_break, tt_err *err) {
    enum { FIRST_CAPACITY = 8 };
    if (s->n == TT_MAX_PROMPT_SEGMENTS)
        return tt_fail(err, TT_E_INVALID, "prompt: more than %d parts of different weight",
                       TT_MAX_PROMPT_SEGMENTS);
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : FIRST_CAPACITY;
        tt_segment *grown = tt_realloc(s->items, capacity * sizeof *grown);
        if (!grown) return tt_fail_nomem(err, "a prompt's segments", capacity * sizeof *grown);
        s->items = grown;
        s->capacity = capacity;
    }
    s->items[s->n++] = (tt_segment){.begin = s->text.size, .weight = weight, .is_break = is_break};
    return TT_OK;
}

tt_status tt__segments_append(tt_segments *s, const char *text, size_t size, tt_err *err) {
    TT_TRY(tt_buf_append(&s->text, text, size, err));
    s->items[s->n - 1].size += size;
    return TT_OK;
}

void tt__segments_join(tt_segments *s, size_t first) {
    size_t kept = first;
    for (size_t i = first + 1; i < s->n; i++) {
        tt_segment *last = &s->items[kept];
        if (!last->is_break && !s->items[i].is_break && last->weight == s->items[i].weight)
            last->size += s->items[i].size;
        else
            s->items[++kept] = s->items[i];
    }
    if (first < s->n) s->n = kept + 1;
}

void tt__segments_join_if_many(tt_segments *s, size_t first) {
    if (s->n > TT_MAX_PROMPT_SEGMENTS / 2) tt__segments_join(s, first);
}

static tt_status check_weights(const tt_segments *s, tt_err *err) {
    for (size_t i = 0; i < s->n; i++) {
        double weight = s->items[i].weight;
        if (!(fabs(weight) <= TT_MAX_PROMPT_WEIGHT))
            return tt_fail(err, TT_E_INVALID,
                           "prompt: its part %zu of %zu has the weight %g, expected -%d to %d",
                           i + 1, s->n, weight, TT_MAX_PROMPT_WEIGHT, TT_MAX_PROMPT_WEIGHT);
    }
    return TT_OK;
}

static tt_status parse_plain(const char *text, size_t size, tt_segments *out, tt_err *err) {
    TT_TRY(tt__segments_push(out, 1, false, err));
    return tt__segments_append(out, text, size, err);
}

tt_status tt_segments_parse(const char *text, size_t size, tt_prompt_syntax syntax,
                            tt_segments *out, tt_err *err) {
    static tt_status (*const parsers[TT_PROMPT_SYNTAXES])(
        const char *, size_t, tt_segments *, tt_err *) = {tt__segments_a1111, tt__segments_comfy,
                                                          tt__segments_compel, parse_plain};
    size_t bad_at = 0;
    *out = (tt_segments){0};
    tt_buf_init(&out->text, TT_MAX_PROMPT_BYTES);
    if (size > TT_MAX_PROMPT_BYTES)
        return tt_fail(err, TT_E_INVALID, "prompt: %zu bytes, the limit is %zu", size,
                       TT_MAX_PROMPT_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at,
                          "prompt is not valid UTF-8 at byte %zu", bad_at);
    TT_TRY(parsers[syntax](text, size, out, err));
    if (out->n == 0) TT_TRY(tt__segments_push(out, 1, false, err));
    TT_TRY(tt_buf_puts(&out->text, "", err)); /* data is never NULL */
    return check_weights(out, err);
}
