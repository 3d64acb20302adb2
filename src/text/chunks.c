/* Cutting a row of tokens into chunks.
 *
 * Whatever the rule, a chunk is a run of neighbours in that row: so a rule only decides where runs begin and end (`cuts`), and the
 * filling in of markers and padding is the same for all. A1111's moving of what follows a comma is a cut made earlier. */
#include "text/chunks.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/chunks_parts.h"

enum { N_MARKERS = 2, COMFY_LONG_TOKENS = 8 };

tt_chunk_options tt_chunk_options_for(tt_prompt_syntax syntax) {
    bool is_diffusers = syntax == TT_PROMPT_PLAIN || syntax == TT_PROMPT_COMPEL;
    return (tt_chunk_options){.rule = syntax == TT_PROMPT_A1111   ? TT_CHUNK_A1111
                                      : syntax == TT_PROMPT_COMFY ? TT_CHUNK_COMFY
                                                                  : TT_CHUNK_CUT,
                              .backtrack = TT_CHUNK_BACKTRACK,
                              .pad_in_text = is_diffusers,
                              .named_by_word = syntax != TT_PROMPT_COMFY};
}

void tt_chunks_release(tt_chunks *c) {
    tt_free(c->ids);
    tt_free(c->weights);
    tt_free(c->segments);
    tt_free(c->rows);
    tt_free(c->n_used);
    *c = (tt_chunks){0};
}

/* ---- where to cut ----------------------------------------------------------------------------------- */

typedef struct cuts {
    size_t begin[TT_MAX_PROMPT_CHUNKS], end[TT_MAX_PROMPT_CHUNKS];
    int n;
    size_t from; /* where the chunk being filled begins */
    size_t room; /* tokens per chunk */
} cuts;

/* Ends the chunk being filled before entry `end`; the next begins at `next`. */
static tt_status cut(cuts *c, size_t end, size_t next, tt_err *err) {
    if (c->n == TT_MAX_PROMPT_CHUNKS)
        return tt_fail(err, TT_E_INVALID, "prompt: more than %d chunks of %zu tokens",
                       TT_MAX_PROMPT_CHUNKS, c->room);
    c->begin[c->n] = c->from;
    c->end[c->n++] = end;
    c->from = next;
    return TT_OK;
}

static tt_status cut_as_a1111(const tt__entries *e, int backtrack, cuts *c, tt_err *err) {
    size_t behind_comma = 0; /* entry behind the last comma of this chunk; 0: none */
    for (size_t i = 0; i < e->n; i++) {
        const tt__entry *entry = &e->items[i];
        size_t unit = (size_t)entry->unit;
        bool is_full = i - c->from == c->room;
        if (entry->is_break) {
            TT_TRY(cut(c, i, i + 1, err));
            behind_comma = 0;
            continue;
        }
        if (unit == 0) continue;
        if (!entry->is_comma && is_full && behind_comma &&
            i - (behind_comma - 1) <= (size_t)backtrack)
            TT_TRY(cut(c, behind_comma, behind_comma, err));
        else if (is_full || i - c->from + unit > c->room)
            TT_TRY(cut(c, i, i, err));
        if (i - c->from + unit > c->room) TT_TRY(cut(c, i, i, err)); /* what moved left no room */
        if (behind_comma <= c->from) behind_comma = 0;
        if (entry->is_comma && !is_full) behind_comma = i + 1;
    }
    return e->n > c->from || c->n == 0 ? cut(c, e->n, e->n, err) : TT_OK;
}

static tt_status cut_as_comfy(const tt__entries *e, cuts *c, tt_err *err) {
    for (size_t i = 0; i < e->n;) {
        size_t left = (size_t)e->items[i].unit;
        bool is_long = left >= COMFY_LONG_TOKENS || left > c->room;
        while (left > c->room - (i - c->from)) {
            size_t taken = is_long ? c->room - (i - c->from) : 0;
            i += taken;
            left -= taken;
            TT_TRY(cut(c, i, i, err));
        }
        i += left;
    }
    return cut(c, e->n, e->n, err);
}

/* ---- filling in ------------------------------------------------------------------------------------- */

static tt_status make_room(tt_chunks *c, tt_err *err) {
    size_t count = (size_t)c->n * (size_t)c->n_positions;
    c->ids = tt_alloc(count * sizeof *c->ids);
    c->weights = tt_alloc(count * sizeof *c->weights);
    c->segments = tt_alloc(count * sizeof *c->segments);
    c->rows = tt_alloc(count * sizeof *c->rows);
    c->n_used = tt_alloc((size_t)c->n * sizeof *c->n_used);
    if (c->ids && c->weights && c->segments && c->rows && c->n_used) return TT_OK;
    return tt_fail_nomem(err, "a prompt's chunks", count * sizeof *c->rows);
}

static void fill(tt_chunks *c, int chunk, const tt__entry *entries, int n, const tt_tokenizer *t,
                 int32_t pad_id) {
    int first = chunk * c->n_positions;
    c->n_used[chunk] = n;
    for (int i = 0; i < c->n_positions; i++) {
        bool is_token = i >= 1 && i <= n;
        const tt__entry *e = is_token ? &entries[i - 1] : NULL;
        int32_t marker = i == 0 ? tt_tokenizer_bos_id(t) : tt_tokenizer_eos_id(t);
        c->ids[first + i] = e ? e->id : i <= n + 1 ? marker : pad_id;
        c->weights[first + i] = e ? e->weight : 1;
        c->segments[first + i] = e ? e->segment : -1;
        c->rows[first + i] = e ? e->row : NULL;
        c->has_weights |= c->weights[first + i] != 1;
        c->has_rows |= c->rows[first + i] != NULL;
    }
}

static tt_status cut_and_fill(const tt_tokenizer *t, const tt__entries *e,
                              const tt_chunk_options *o, tt_chunks *out, tt_err *err) {
    cuts c = {.room = (size_t)o->n_positions - N_MARKERS};
    size_t n_tokens = 0;
    for (size_t i = 0; i < e->n; i++) n_tokens += !e->items[i].is_break;
    if (o->rule == TT_CHUNK_A1111)
        TT_TRY(cut_as_a1111(e, o->backtrack, &c, err));
    else if (o->rule == TT_CHUNK_COMFY)
        TT_TRY(cut_as_comfy(e, &c, err));
    else
        TT_TRY(cut(&c, e->n < c.room ? e->n : c.room, e->n, err));
    *out = (tt_chunks){.n = c.n,
                       .n_positions = o->n_positions,
                       .n_tokens = n_tokens,
                       .n_rows_cut = e->n_rows_cut,
                       .n_embeddings = e->n_embeddings};
    if (o->rule == TT_CHUNK_CUT) out->n_cut = n_tokens - c.end[0];
    TT_TRY(make_room(out, err));
    for (int i = 0; i < c.n; i++)
        fill(out, i, e->items ? e->items + c.begin[i] : NULL, (int)(c.end[i] - c.begin[i]), t,
             o->pad_id);
    return TT_OK;
}

tt_status tt_chunks_build(const tt_tokenizer *t, const tt_segments *segments,
                          const tt_chunk_options *options, tt_chunks *out, tt_err *err) {
    tt__entries entries;
    *out = (tt_chunks){0};
    if (options->n_positions < N_MARKERS + 1 || options->n_embeddings > TT_MAX_EMBEDDINGS)
        return tt_fail(err, TT_E_INVALID,
                       "chunks of %d positions with %zu embeddings: expected at least %d, at most "
                       "%d",
                       options->n_positions, options->n_embeddings, N_MARKERS + 1,
                       TT_MAX_EMBEDDINGS);
    tt_status status = tt__entries_build(t, segments, options, &entries, err);
    if (status == TT_OK) status = cut_and_fill(t, &entries, options, out, err);
    tt__entries_release(&entries);
    return status;
}
