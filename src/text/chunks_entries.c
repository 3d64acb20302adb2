/* Segments to tokens, and embeddings found among them.
 *
 * By word (A1111), a name is found as a run of token ids inside a segment, the longest name first: so "easynegative,"
 * and "(easynegative:0.8)" name it, and a name that is part of a longer word does not, unless the tokenizer cuts there.
 * In ComfyUI's way the text is cut at " embedding:" before it is tokenised, and what is between is one unit of tokens. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/chunks_parts.h"

static const char MARK[] = "embedding:"; /* ComfyUI's */
enum { MARK_BYTES = sizeof MARK - 1 };

typedef struct builder {
    const tt_tokenizer *t;
    const tt_chunk_options *o;
    tt__entries *out;
    tt_tokens *names; /* owned, [n_embeddings]: their ids, when they are found by word */
    tt_tokens tokens; /* of the text at hand */
    int32_t comma_id;
} builder;

void tt__entries_release(tt__entries *e) {
    tt_free(e->items);
    *e = (tt__entries){0};
}

static tt_status push(builder *b, const tt__entry *entry, tt_err *err) {
    enum { FIRST_CAPACITY = 128 };
    tt__entries *e = b->out;
    if (e->n == TT_MAX_TOKENS)
        return tt_fail(err, TT_E_INVALID, "prompt: more than %d tokens", TT_MAX_TOKENS);
    if (e->n == e->capacity) {
        size_t capacity = e->capacity ? 2 * e->capacity : FIRST_CAPACITY;
        tt__entry *grown = tt_realloc(e->items, capacity * sizeof *grown);
        if (!grown) return tt_fail_nomem(err, "a prompt's tokens", capacity * sizeof *grown);
        e->items = grown;
        e->capacity = capacity;
    }
    e->items[e->n++] = *entry;
    return TT_OK;
}

/* b->tokens = the ids of a text. */
static tt_status tokenize(builder *b, const char *text, size_t size, tt_err *err) {
    int32_t pad_id = b->o->pad_in_text ? b->o->pad_id : tt_tokenizer_eos_id(b->t);
    b->tokens.n = 0;
    return tt_tokenizer_encode(b->t, text, size, pad_id, &b->tokens, err);
}

/* The vectors of an embedding, as one unit. */
static tt_status push_rows(builder *b, const tt_embedding *e, const tt_segment *s, size_t segment,
                           tt_err *err) {
    int n = tt_embedding_n_rows(e), room = b->o->n_positions - 2;
    bool is_cut = n > room && b->o->rule != TT_CHUNK_COMFY;
    if (is_cut) b->out->n_rows_cut += (size_t)(n - room);
    if (is_cut) n = room;
    b->out->n_embeddings++;
    for (int i = 0; i < n; i++) {
        const float *row =
            tt_embedding_rows(e, b->o->which) + i * tt_embedding_width(e, b->o->which);
        const tt__entry entry = {.segment = (int32_t)segment,
                                 .unit = i == 0 ? n : 0,
                                 .weight = (float)s->weight,
                                 .row = row};
        TT_TRY(push(b, &entry, err));
    }
    return TT_OK;
}

static tt_status push_token(builder *b, int32_t id, int32_t unit, const tt_segment *s,
                            size_t segment, tt_err *err) {
    const tt__entry entry = {.id = id,
                             .segment = (int32_t)segment,
                             .unit = unit,
                             .is_comma = id == b->comma_id,
                             .weight = (float)s->weight};
    return push(b, &entry, err);
}

/* ---- by word ---------------------------------------------------------------------------------------- */

static tt_status tokenize_names(builder *b, tt_err *err) {
    size_t n = b->o->n_embeddings;
    b->names = tt_alloc((n + 1) * sizeof *b->names);
    if (!b->names) return tt_fail_nomem(err, "embeddings' names", (n + 1) * sizeof *b->names);
    for (size_t i = 0; i < n; i++) {
        const char *name = tt_embedding_name(b->o->embeddings[i]);
        TT_TRY(tokenize(b, name, strlen(name), err));
        b->names[i] = b->tokens;
        b->tokens = (tt_tokens){0};
    }
    return TT_OK;
}

/* The embedding with the longest name at token `at`; NULL: none. */
static const tt_embedding *find_name(const builder *b, size_t at, size_t *n_tokens) {
    const tt_embedding *found = NULL;
    *n_tokens = 0;
    for (size_t i = 0; b->names && i < b->o->n_embeddings; i++) {
        const tt_tokens *name = &b->names[i];
        if (name->n <= *n_tokens || name->n > b->tokens.n - at) continue;
        if (memcmp(name->ids, b->tokens.ids + at, name->n * sizeof *name->ids) != 0) continue;
        found = b->o->embeddings[i];
        *n_tokens = name->n;
    }
    return found;
}

static tt_status take_by_word(builder *b, const char *text, const tt_segment *s, size_t segment,
                              tt_err *err) {
    TT_TRY(tokenize(b, text, s->size, err));
    for (size_t at = 0; at < b->tokens.n;) {
        size_t n_tokens;
        const tt_embedding *e = find_name(b, at, &n_tokens);
        if (e)
            TT_TRY(push_rows(b, e, s, segment, err));
        else
            TT_TRY(push_token(b, b->tokens.ids[at], 1, s, segment, err));
        at += e ? n_tokens : 1;
    }
    return TT_OK;
}

/* ---- embedding:name --------------------------------------------------------------------------------- */

static bool is_name_end(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const tt_embedding *find_exact(const builder *b, const char *name, size_t size) {
    static const char SUFFIX[] = ".safetensors";
    size_t suffix = sizeof SUFFIX - 1;
    if (size > suffix && memcmp(name + size - suffix, SUFFIX, suffix) == 0) size -= suffix;
    for (size_t i = 0; i < b->o->n_embeddings; i++) {
        const char *one = tt_embedding_name(b->o->embeddings[i]);
        if (strlen(one) == size && memcmp(one, name, size) == 0) return b->o->embeddings[i];
    }
    return NULL;
}

/* The name behind the mark, up to white space; commas at its end belong to it only if a file is called so. */
static tt_status take_embedding(builder *b, const char *text, size_t size, size_t *used,
                                const tt_segment *s, size_t segment, tt_err *err) {
    size_t end = 0;
    while (end < size && !is_name_end(text[end])) end++;
    const tt_embedding *e = find_exact(b, text, end);
    *used = end;
    while (!e && *used > 0 && text[*used - 1] == ',') e = find_exact(b, text, --*used);
    if (!e)
        return tt_fail(err, TT_E_INVALID, "prompt: there is no embedding \"%.*s\"",
                       (int)(end < 80 ? end : 80), text);
    return push_rows(b, e, s, segment, err);
}

static tt_status take_unit(builder *b, const char *text, size_t size, const tt_segment *s,
                           size_t segment, tt_err *err) {
    TT_TRY(tokenize(b, text, size, err));
    for (size_t i = 0; i < b->tokens.n; i++)
        TT_TRY(push_token(b, b->tokens.ids[i], i ? 0 : (int32_t)b->tokens.n, s, segment, err));
    return TT_OK;
}

/* Where the mark stands next: at the beginning, or behind a space or a line's end. */
static size_t find_mark(const char *text, size_t size, size_t at) {
    for (; at + MARK_BYTES <= size; at++)
        if ((at == 0 || text[at - 1] == ' ' || text[at - 1] == '\n') &&
            memcmp(text + at, MARK, MARK_BYTES) == 0)
            return at;
    return size;
}

static tt_status take_by_mark(builder *b, const char *text, const tt_segment *s, size_t segment,
                              tt_err *err) {
    size_t at = 0, mark = find_mark(text, s->size, 0);
    while (mark < s->size) {
        size_t used, name = mark + MARK_BYTES;
        TT_TRY(take_unit(b, text + at, mark - at, s, segment, err));
        TT_TRY(take_embedding(b, text + name, s->size - name, &used, s, segment, err));
        at = name + used;
        mark = find_mark(text, s->size, at);
    }
    return take_unit(b, text + at, s->size - at, s, segment, err);
}

/* ---- all segments ----------------------------------------------------------------------------------- */

static tt_status take_segment(builder *b, const tt_segments *segments, size_t i, tt_err *err) {
    const tt_segment *s = &segments->items[i];
    const char *text = segments->text.data + s->begin;
    if (s->is_break) {
        const tt__entry entry = {.segment = (int32_t)i, .is_break = true};
        return b->o->rule == TT_CHUNK_A1111 ? push(b, &entry, err) : TT_OK;
    }
    if (b->o->named_by_word) return take_by_word(b, text, s, i, err);
    return take_by_mark(b, text, s, i, err);
}

tt_status tt__entries_build(const tt_tokenizer *t, const tt_segments *segments,
                            const tt_chunk_options *options, tt__entries *out, tt_err *err) {
    builder b = {.t = t, .o = options, .out = out};
    tt_status status = TT_OK;
    *out = (tt__entries){0};
    TT_TRY_OUT(tokenize(&b, ",", 1, err));
    b.comma_id = b.tokens.n == 1 ? b.tokens.ids[0] : -1;
    if (options->named_by_word && options->n_embeddings) TT_TRY_OUT(tokenize_names(&b, err));
    for (size_t i = 0; i < segments->n; i++) TT_TRY_OUT(take_segment(&b, segments, i, err));
out:
    for (size_t i = 0; b.names && i < options->n_embeddings; i++) tt_tokens_release(&b.names[i]);
    tt_free(b.names);
    tt_tokens_release(&b.tokens);
    return status;
}
