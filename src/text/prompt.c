/* Opening a prompt: the checks that hold for all of it, and the tags.
 *
 * A tag is  "<" word ":" anything but ">" ">"  wherever it stands, escapes or brackets notwithstanding: so A1111 finds them, before
 * it looks at anything else. What follows the name is split at every colon; "te=0.5" is by name, the others by place. */
#include "text/prompt.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/prompt_parts.h"

void tt_prompt_close(tt_prompt *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_loras; i++) tt_free(p->loras[i].name);
    tt_free(p->loras);
    tt__brackets_release(&p->brackets);
    tt_buf_release(&p->text);
    tt_free(p);
}

const tt_prompt_lora *tt_prompt_loras(const tt_prompt *p, size_t *n) {
    *n = p->n_loras;
    return p->loras;
}

size_t tt_prompt_unknown_tags(const tt_prompt *p) {
    return p->n_unknown_tags;
}

/* ---- tags ------------------------------------------------------------------------------------------- */

/* A tag in the text, borrowed. */
typedef struct tag {
    size_t at; /* of "<" in the prompt */
    const char *kind, *arguments;
    size_t kind_size, arguments_size;
} tag;

static bool is_word_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_kind(const tag *t, const char *kind) {
    return t->kind_size == strlen(kind) && memcmp(t->kind, kind, t->kind_size) == 0;
}

/* The tag that begins at text[at]; *end: behind it. */
static bool find_tag(const char *text, size_t size, size_t at, tag *t, size_t *end) {
    size_t word = at + 1, colon = word;
    while (colon < size && is_word_character(text[colon])) colon++;
    if (colon == word || colon >= size || text[colon] != ':') return false;
    const char *close = memchr(text + colon, '>', size - colon);
    if (!close || close == text + colon + 1) return false;
    *end = (size_t)(close - text) + 1;
    *t = (tag){.at = at,
               .kind = text + word,
               .kind_size = colon - word,
               .arguments = text + colon + 1,
               .arguments_size = *end - 1 - (colon + 1)};
    return true;
}

/* "te=", "unet=" or a place: 1 and 2 behind the name. */
static tt_status read_argument(tt_prompt_lora *lora, bool *has_unet, int place, const char *text,
                               size_t size, size_t at, tt_err *err) {
    const char *equals = memchr(text, '=', size);
    size_t name_size = equals ? (size_t)(equals - text) : 0, begin = equals ? name_size + 1 : 0;
    bool is_te = equals ? name_size == 2 && !memcmp(text, "te", 2) : place == 1;
    bool is_unet = equals ? name_size == 4 && !memcmp(text, "unet", 4) : place == 2;
    double value;
    if (!is_te && !is_unet)
        return tt_fail_at(err, TT_E_INVALID, (int64_t)at,
                          "prompt: the LoRA at byte %zu has an argument \"%.*s\", expected at most "
                          "two numbers, or te= and unet=",
                          at, (int)(size < 40 ? size : 40), text);
    tt__trim(text, &begin, &size);
    if (!tt__number_parse(text + begin, size - begin, true, &value) ||
        fabs(value) > (double)TT_MAX_PROMPT_LORA_STRENGTH)
        return tt_fail_at(err, TT_E_INVALID, (int64_t)at,
                          "prompt: the LoRA at byte %zu has the strength \"%.*s\", expected a "
                          "number from -%g to %g",
                          at, (int)(size - begin < 40 ? size - begin : 40), text + begin,
                          (double)TT_MAX_PROMPT_LORA_STRENGTH, (double)TT_MAX_PROMPT_LORA_STRENGTH);
    *(is_te ? &lora->te : &lora->unet) = (float)value;
    *has_unet |= is_unet;
    return TT_OK;
}

/* The strengths in what follows the name; t->arguments begins with the name. */
static tt_status read_strengths(const tag *t, size_t name_size, tt_prompt_lora *lora, tt_err *err) {
    bool has_unet = false;
    int place = 0;
    *lora = (tt_prompt_lora){.te = 1};
    for (size_t begin = name_size + 1; begin <= t->arguments_size;) {
        const char *text = t->arguments + begin;
        const char *colon = memchr(text, ':', t->arguments_size - begin);
        size_t size = colon ? (size_t)(colon - text) : t->arguments_size - begin;
        if (!memchr(text, '=', size)) place++;
        TT_TRY(read_argument(lora, &has_unet, place, text, size, t->at, err));
        begin += size + 1;
    }
    if (!has_unet) lora->unet = lora->te;
    return TT_OK;
}

static tt_status push_lora(tt_prompt *p, const tt_prompt_lora *lora, const char *name,
                           size_t name_size, tt_err *err) {
    enum { FIRST_CAPACITY = 4 };
    if (p->n_loras == TT_MAX_PROMPT_LORAS)
        return tt_fail(err, TT_E_INVALID, "prompt: more than %d LoRAs", TT_MAX_PROMPT_LORAS);
    if (p->n_loras == p->lora_capacity) {
        size_t capacity = p->lora_capacity ? 2 * p->lora_capacity : FIRST_CAPACITY;
        tt_prompt_lora *grown = tt_realloc(p->loras, capacity * sizeof *grown);
        if (!grown) return tt_fail_nomem(err, "a prompt's LoRAs", capacity * sizeof *grown);
        p->loras = grown;
        p->lora_capacity = capacity;
    }
    char *copy = tt_alloc(name_size + 1);
    if (!copy) return tt_fail_nomem(err, "a LoRA's name", name_size + 1);
    memcpy(copy, name, name_size);
    p->loras[p->n_loras] = *lora;
    p->loras[p->n_loras++].name = copy;
    return TT_OK;
}

static tt_status add_lora(tt_prompt *p, const tag *t, tt_err *err) {
    tt_prompt_lora lora;
    const char *colon = memchr(t->arguments, ':', t->arguments_size);
    size_t end = colon ? (size_t)(colon - t->arguments) : t->arguments_size, begin = 0;
    TT_TRY(read_strengths(t, end, &lora, err));
    tt__trim(t->arguments, &begin, &end);
    if (begin == end || memchr(t->arguments, '\0', end))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)t->at,
                          "prompt: the LoRA at byte %zu has no name", t->at);
    return push_lora(p, &lora, t->arguments + begin, end - begin, err);
}

static tt_status take_tag(tt_prompt *p, const tag *t, tt_err *err) {
    if (is_kind(t, "lora") || is_kind(t, "lyco")) return add_lora(p, t, err);
    if (is_kind(t, "hypernet"))
        return tt_fail_at(err, TT_E_UNSUPPORTED, (int64_t)t->at,
                          "prompt: hypernetworks are not supported (byte %zu)", t->at);
    p->n_unknown_tags++;
    return TT_OK;
}

static tt_status take_tags(tt_prompt *p, const char *text, size_t size, tt_err *err) {
    size_t kept = 0, end; /* text before `kept` is dealt with */
    for (size_t at = 0; at < size; at++) {
        tag t;
        if (text[at] != '<' || !find_tag(text, size, at, &t, &end)) continue;
        TT_TRY(tt_buf_append(&p->text, text + kept, at - kept, err));
        TT_TRY(take_tag(p, &t, err));
        kept = end;
        at = end - 1;
    }
    return tt_buf_append(&p->text, text + kept, size - kept, err);
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static tt_status check_text(const char *text, size_t size, tt_err *err) {
    size_t bad_at = 0;
    if (size > TT_MAX_PROMPT_BYTES)
        return tt_fail(err, TT_E_INVALID, "prompt: %zu bytes, the limit is %zu", size,
                       TT_MAX_PROMPT_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at,
                          "prompt is not valid UTF-8 at byte %zu", bad_at);
    return TT_OK;
}

static tt_status fill(tt_prompt *p, const char *text, size_t size, tt_err *err) {
    if (p->syntax != TT_PROMPT_A1111) return tt_buf_append(&p->text, text, size, err);
    TT_TRY(take_tags(p, text, size, err));
    if (p->text.size == 0) return TT_OK;
    return tt__brackets_find(p->text.data, p->text.size, &p->brackets, err);
}

tt_status tt_prompt_open(const char *text, size_t size, tt_prompt_syntax syntax, tt_prompt **out,
                         tt_err *err) {
    *out = NULL;
    TT_TRY(check_text(text, size, err));
    tt_prompt *p = tt_alloc(sizeof *p);
    if (!p) return tt_fail_nomem(err, "a prompt", sizeof *p);
    p->syntax = syntax;
    tt_buf_init(&p->text, TT_MAX_PROMPT_BYTES);
    tt_status status = size ? fill(p, text, size, err) : TT_OK;
    if (status == TT_OK)
        *out = p;
    else
        tt_prompt_close(p);
    return status;
}
