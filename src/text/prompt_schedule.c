/* The text of a prompt at a step, and the set of texts over all steps.
 *
 * Nothing is kept per step: the brackets found once (prompt_brackets.c) are walked with the step in hand. Alternations can
 * differ at every step, so equal texts are found by comparing with those seen; there are few. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/prompt_parts.h"

typedef struct walk {
    const tt_prompt *p;
    int step, n_steps; /* step from 1, as A1111 counts */
    tt_buf *out;
} walk;

/* The first bracket that opens at or after `at`. */
static size_t first_bracket(const tt__brackets *b, size_t at) {
    size_t low = 0, high = b->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->items[middle].open < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The end of the part of an alternation that begins at `begin`: at the next pipe of its own level, or at its end. */
static size_t part_end(const walk *w, const tt__bracket *b, size_t begin) {
    const tt__brackets *all = &w->p->brackets;
    size_t next = first_bracket(all, begin);
    for (size_t at = begin; at < b->close; at++) {
        while (next < all->n && all->items[next].open < at) next++;
        if (next < all->n && all->items[next].open == at) at = all->items[next].close;
        if (w->p->text.data[at] == '\\')
            at++;
        else if (w->p->text.data[at] == '|')
            return at;
    }
    return b->close;
}

static void choose_alternate(const walk *w, const tt__bracket *b, size_t *begin, size_t *end) {
    int part = (w->step - 1) % (b->n_pipes + 1);
    *begin = b->open + 1;
    *end = part_end(w, b, *begin);
    for (; part > 0; part--) {
        *begin = *end + 1;
        *end = part_end(w, b, *begin);
    }
}

static void choose_scheduled(const walk *w, const tt__bracket *b, size_t *begin, size_t *end) {
    double when = b->is_share ? b->when * w->n_steps : b->when;
    if (when > w->n_steps) when = w->n_steps;
    bool is_before = w->step <= (int)(when < 0 ? -1 : when);
    size_t last = b->colons[b->n_colons - 1];
    size_t first = b->n_colons == 2 ? b->colons[0] : b->open; /* where "after" begins */
    *begin = is_before ? b->open + 1 : first + 1;
    *end = is_before ? (b->n_colons == 2 ? first : b->open + 1) : last;
}

/* Appends text[begin, end). Brackets nest no deeper than TT_MAX_PROMPT_NESTING, and so does this. */
static tt_status emit(const walk *w, size_t begin, size_t end, tt_err *err) {
    const tt__brackets *all = &w->p->brackets;
    for (size_t i = first_bracket(all, begin); i < all->n && all->items[i].open < end; i++) {
        const tt__bracket *b = &all->items[i];
        size_t part_begin, part_stop;
        if (b->kind == TT__BRACKET_TEXT || b->open < begin) continue;
        TT_TRY(tt_buf_append(w->out, w->p->text.data + begin, b->open - begin, err));
        if (b->kind == TT__BRACKET_ALTERNATE)
            choose_alternate(w, b, &part_begin, &part_stop);
        else
            choose_scheduled(w, b, &part_begin, &part_stop);
        TT_TRY(emit(w, part_begin, part_stop, err));
        begin = b->close + 1;
    }
    return tt_buf_append(w->out, w->p->text.data + begin, end - begin, err);
}

tt_status tt_prompt_at_step(const tt_prompt *p, int step, int n_steps, tt_buf *out, tt_err *err) {
    if (p->text.size == 0) return TT_OK;
    walk w = {.p = p, .step = step < 1 ? 1 : step, .n_steps = n_steps, .out = out};
    return emit(&w, 0, p->text.size, err);
}

/* ---- all steps -------------------------------------------------------------------------------------- */

void tt_prompt_schedule_release(tt_prompt_schedule *s) {
    for (int v = 0; s->texts && v < s->n_variants; v++)
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++) tt_buf_release(&s->texts[v][i]);
    tt_free(s->texts);
    tt_free(s->variant_of_step);
    *s = (tt_prompt_schedule){0};
}

static bool same_text(const tt_buf *a, const tt_buf *b) {
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Writes the texts of a step behind the variants there are; they count when they are new. */
static tt_status write_texts(tt_prompt_schedule *s, const tt_prompt *const *prompts, int step,
                             tt_err *err) {
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
        tt_buf *text = &s->texts[s->n_variants][i];
        const tt_prompt *p = prompts[i] ? prompts[i] : prompts[0];
        text->size = 0;
        TT_TRY(tt_prompt_at_step(p, step, s->n_steps, text, err));
        TT_TRY(tt_buf_puts(text, "", err));
    }
    return TT_OK;
}

static tt_status add_step(tt_prompt_schedule *s, const tt_prompt *const *prompts, int step,
                          tt_err *err) {
    tt_buf *fresh = s->texts[s->n_variants];
    TT_TRY(write_texts(s, prompts, step, err));
    int v = 0;
    while (v < s->n_variants &&
           !(same_text(&s->texts[v][0], &fresh[0]) && same_text(&s->texts[v][1], &fresh[1])))
        v++;
    if (v == TT_MAX_PROMPT_VARIANTS)
        return tt_fail(err, TT_E_INVALID,
                       "prompt: its schedules make more than %d different texts over %d steps",
                       TT_MAX_PROMPT_VARIANTS, s->n_steps);
    if (v == s->n_variants) s->n_variants++;
    s->variant_of_step[step] = v;
    return TT_OK;
}

static bool is_scheduled(const tt_prompt *p) {
    return p && p->brackets.is_scheduled;
}

/* One place more than variants may be, for the text being compared. */
static tt_status make_room(tt_prompt_schedule *s, tt_err *err) {
    size_t steps_bytes = (size_t)s->n_steps * sizeof *s->variant_of_step;
    size_t texts_bytes = (TT_MAX_PROMPT_VARIANTS + 1) * sizeof *s->texts;
    s->variant_of_step = tt_alloc(steps_bytes);
    s->texts = tt_alloc(texts_bytes);
    if (!s->variant_of_step || !s->texts)
        return tt_fail_nomem(err, "a prompt's schedule", steps_bytes + texts_bytes);
    for (int v = 0; v <= TT_MAX_PROMPT_VARIANTS; v++)
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++)
            tt_buf_init(&s->texts[v][i], TT_MAX_PROMPT_BYTES);
    return TT_OK;
}

tt_status tt_prompt_schedule_init(tt_prompt_schedule *s,
                                  const tt_prompt *const prompts[TT_PROMPT_ENCODERS], int n_steps,
                                  tt_err *err) {
    *s = (tt_prompt_schedule){.n_steps = n_steps};
    if (n_steps < 1 || n_steps > TT_MAX_STEPS)
        return tt_fail(err, TT_E_INVALID, "prompt schedule: %d steps, expected 1 to %d", n_steps,
                       TT_MAX_STEPS);
    bool changes = is_scheduled(prompts[0]) || is_scheduled(prompts[1]);
    tt_status status = make_room(s, err);
    for (int step = 0; status == TT_OK && step < (changes ? n_steps : 1); step++)
        status = add_step(s, prompts, step, err);
    for (int i = 0; s->texts && i < TT_PROMPT_ENCODERS; i++) /* the text that was not new */
        tt_buf_release(&s->texts[s->n_variants][i]);
    if (status != TT_OK) tt_prompt_schedule_release(s);
    return status;
}
