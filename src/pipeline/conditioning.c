/* From texts to what the UNet is conditioned on.
 *
 * Every text that a step uses is encoded before the first step (or was, by an earlier request). The UNet's keys and values are
 * made from one variant at a time: when the prompt changes on the way, or a step goes without guidance, tt_unet_begin runs
 * again. That costs a hundredth of a step; to keep those of every variant would cost 25 MB each for SDXL.
 *
 * All texts must have one number of chunks. A1111 fills shorter ones up with chunks of the encoded empty prompt; ComfyUI repeats
 * them, which leaves their attention as it was, to the least common multiple, or asks the UNet once for each of the two. Here that
 * multiple must be within TT_MAX_PROMPT_CHUNKS; else they are filled up. */
#include <string.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

/* Two texts of 16 KiB, sixteen adapters, 64 embeddings with their paths. */
#define MAX_KEY_BYTES TT_MIB

/* ---- one text --------------------------------------------------------------------------------------- */

/* Two passes, so that scratch memory is there; their text does not matter. */
static tt_status rehearse_encoders(tt_ops *ops, const tt__model *m, tt_err *err) {
    float nothing = 0;
    int32_t *ids = tt_alloc((size_t)tt_clip_positions(m->clips[1]) * sizeof *ids);
    tt_status status = TT_OK;
    if (!ids) return tt_fail_nomem(err, "token ids", sizeof *ids);
    tt_ops_plan_begin(ops);
    for (int i = 0; i < TT_TEXT_ENCODERS && status == TT_OK; i++)
        if (m->clips[i])
            status = tt_clip_encode(m->clips[i], ids, &nothing, i == 1 ? &nothing : NULL, err);
    if (status == TT_OK) status = tt_ops_plan_end(ops, err);
    tt_free(ids);
    return status;
}

/* Adapters that change an encoder, by file and strength. */
static tt_status add_adapters(const tt_generation *g, tt_buf *key, tt_err *err) {
    for (int i = 0; i < g->n_uses; i++) {
        const tt_adapter_strength *s = &g->uses[i].strength;
        const tt_adapter_identity file = tt_adapter_get_identity(g->uses[i].adapter);
        const float strengths[] = {s->te1, s->te2};
        if (s->te1 == 0 && s->te2 == 0) continue;
        TT_TRY(tt_buf_append(key, &file, sizeof file, err));
        TT_TRY(tt_buf_append(key, strengths, sizeof strengths, err));
    }
    return TT_OK;
}

/* Everything that the states depend on. */
static tt_status write_key(const tt_generation *g, const tt_buf texts[TT_PROMPT_ENCODERS],
                           const tt_encode_options *o, tt_buf *key, tt_err *err) {
    const tt__words *w = &g->words;
    const int64_t numbers[] = {
        o->syntax,       o->skip_rule,           o->clip_skip,          g->n_uses,
        w->n_embeddings, (int64_t)texts[0].size, (int64_t)texts[1].size};
    tt_buf_init(key, MAX_KEY_BYTES);
    TT_TRY(tt_buf_append(key, numbers, sizeof numbers, err));
    TT_TRY(add_adapters(g, key, err));
    for (int i = 0; i < w->n_embeddings; i++) {
        const tt__opened_file *f = w->embedding_files[i];
        TT_TRY(tt_buf_append(key, &f->identity, sizeof f->identity, err));
        TT_TRY(tt_buf_append(key, f->path, strlen(f->path) + 1, err));
        const char *name = tt_embedding_name(w->embeddings[i]);
        TT_TRY(tt_buf_append(key, name, strlen(name) + 1, err));
    }
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++)
        TT_TRY(tt_buf_append(key, texts[i].data, texts[i].size, err));
    return TT_OK;
}

static tt_encode_options options_of(const tt_generation *g, int side) {
    tt_encode_options o = tt_encode_options_for(g->manner.syntax);
    o.skip_rule = g->manner.skip_rule;
    bool of_prompt_only = o.skip_rule == TT_CLIP_SKIP_DIFFUSERS;
    o.clip_skip = side == TT__NEGATIVE && of_prompt_only ? 0 : g->request->clip_skip;
    o.chunks.embeddings = g->words.embeddings;
    o.chunks.n_embeddings = (size_t)g->words.n_embeddings;
    return o;
}

static tt_status encode_fresh(tt_generation *g, const tt_buf texts[TT_PROMPT_ENCODERS],
                              const tt_encode_options *o, tt_conditioning *out, tt_err *err) {
    const tt__model *m = &g->model;
    tt_text_encoder encoders[TT_PROMPT_ENCODERS] = {
        {.n_positions = tt_clip_positions(m->clips[1])}}; /* a refiner has the second only */
    const tt_model_facts *facts = tt_checkpoint_facts(m->checkpoint);
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++)
        if (m->clips[i])
            encoders[i] =
                tt_text_encoder_of(m->clips[i], m->tokenizers[i], (int32_t)facts->text[i].pad_id);
    TT_TRY(rehearse_encoders(g->engine->ops, m, err));
    return tt_prompt_encode(encoders, texts, o, out, err);
}

tt_status tt__encode_text(tt_generation *g, int side, const tt_buf texts[TT_PROMPT_ENCODERS],
                          const tt_conditioning **out, tt_err *err) {
    const tt_encode_options options = options_of(g, side);
    tt_conditioning states = {0};
    tt_buf key;
    tt_status status = write_key(g, texts, &options, &key, err);
    *out = status == TT_OK ? tt__texts_find(g->model.texts, &key) : NULL;
    if (status == TT_OK && !*out) {
        status = encode_fresh(g, texts, &options, &states, err);
        if (status == TT_OK) return tt__texts_add(g->model.texts, &key, &states, out, err);
    }
    tt_buf_release(&key);
    return status;
}

/* ---- all of a request ------------------------------------------------------------------------------- */

static int common_multiple(int a, int b) {
    int x = a, y = b;
    while (y) {
        int rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b; /* at most TT_MAX_PROMPT_CHUNKS squared */
}

/* How many chunks the UNet gets, and by which rule. */
static void choose_chunks(tt_generation *g) {
    tt__words *w = &g->words;
    int most = 1, multiple = 1;
    for (int side = 0; side < TT__SIDES; side++)
        for (int v = 0; v < w->schedules[side].n_variants; v++) {
            int n = w->states[side][v]->n_chunks;
            if (n > most) most = n;
            if (multiple <= TT_MAX_PROMPT_CHUNKS) multiple = common_multiple(multiple, n);
        }
    w->repeats = g->manner.syntax == TT_PROMPT_COMFY && multiple <= TT_MAX_PROMPT_CHUNKS;
    w->n_chunks = w->repeats ? multiple : most;
    if (most > g->result->prompt_chunks) g->result->prompt_chunks = most;
}

static bool needs_empty(const tt__words *w) {
    for (int side = 0; !w->repeats && side < TT__SIDES; side++)
        for (int v = 0; v < w->schedules[side].n_variants; v++)
            if (w->states[side][v]->n_chunks < w->n_chunks) return true;
    return false;
}

static int people_s_clip_skip(const tt_generation *g, tt_err *err) {
    int n_skipped;
    tt_clip *first = g->engine->clips[0];
    if (tt_clip_skip(first, g->manner.skip_rule, g->request->clip_skip, &n_skipped, err)) return 0;
    return n_skipped + 2; /* the penultimate states are their 2 */
}

static void count_tokens(tt_generation *g) {
    tt_result *result = g->result;
    const tt_conditioning *first = g->words.states[TT__POSITIVE][0];
    result->prompt_tokens = (int)(first->n_tokens + first->n_rows_cut);
    result->prompt_tokens_used = (int)(first->n_tokens - first->n_cut);
    for (int side = 0; side < TT__SIDES; side++)
        if (g->words.schedules[side].n_variants)
            result->n_embeddings += (int)g->words.states[side][0]->n_embeddings;
    result->clip_skip = people_s_clip_skip(g, NULL);
    result->prompt_syntax = tt__syntax_name(g->manner.syntax);
    bool is_encoded = g->words.schedules[TT__NEGATIVE].n_variants > 0;
    result->negative_policy = g->n_rows == 1 ? "unused" : is_encoded ? "encoded" : "zeros";
}

/* Every variant of one side. *n_chunks counts those of all sides. */
static tt_status encode_side(tt_generation *g, int side, int *n_chunks, tt_err *err) {
    tt__words *w = &g->words;
    for (int v = 0; v < w->schedules[side].n_variants; v++) {
        TT_TRY(tt__encode_text(g, side, w->schedules[side].texts[v], &w->states[side][v], err));
        *n_chunks += w->states[side][v]->n_chunks;
        if (*n_chunks > TT_MAX_REQUEST_CHUNKS)
            return tt_fail(err, TT_E_INVALID,
                           "prompts: the texts of all steps have more than %d chunks of 75 tokens "
                           "together",
                           TT_MAX_REQUEST_CHUNKS);
    }
    return TT_OK;
}

tt_status tt__fit_chunks(tt_generation *g, tt_err *err) {
    static char nothing[] = "";
    const tt_buf empty[TT_PROMPT_ENCODERS] = {{.data = nothing}, {.data = nothing}};
    choose_chunks(g);
    if (!needs_empty(&g->words)) return TT_OK;
    return tt__encode_text(g, TT__POSITIVE, empty, &g->words.empty, err);
}

tt_status tt__encode_texts(tt_generation *g, tt_err *err) {
    tt_ops_begin(g->engine->ops);
    int n_chunks = 0;
    for (int side = TT__SIDES - 1; side >= 0; side--) TT_TRY(encode_side(g, side, &n_chunks, err));
    TT_TRY(tt__fit_chunks(g, err));
    count_tokens(g);
    return TT_OK;
}

int64_t tt__context_tokens(const tt_generation *g) {
    return (int64_t)g->words.n_chunks * tt_clip_positions(g->model.clips[1]);
}

/* ---- to the UNet ------------------------------------------------------------------------------------ */

/* One row of context and pooled; NULL states are zeros. */
static void fill_row(const tt_generation *g, const tt_conditioning *states, int64_t row) {
    const tt__words *w = &g->words;
    int64_t width = tt_unet_context_width(g->model.unet),
            pooled_width = tt_unet_pooled_width(g->model.unet),
            chunk = tt_clip_positions(g->model.clips[1]) * width;
    float *context = g->context + row * w->n_chunks * chunk;
    float *pooled = g->pooled + row * pooled_width;
    memset(context, 0, (size_t)(w->n_chunks * chunk) * sizeof *context);
    memset(pooled, 0, (size_t)pooled_width * sizeof *pooled);
    if (!states) return;
    memcpy(pooled, states->pooled, (size_t)pooled_width * sizeof *pooled);
    for (int i = 0; i < w->n_chunks; i++) {
        int own = w->repeats ? i % states->n_chunks : i;
        const float *from =
            own < states->n_chunks ? states->states + own * chunk : w->empty->states;
        memcpy(context + i * chunk, from, (size_t)chunk * sizeof *context);
    }
}

tt_status tt__condition(tt_generation *g, int call, int64_t rows, tt_err *err) {
    tt__words *w = &g->words;
    int variants[TT__SIDES];
    bool is_same = w->begun_rows == rows;
    for (int side = 0; side < TT__SIDES; side++) {
        variants[side] = tt__variant_of_call(w, side, call);
        bool matters = side == TT__POSITIVE || rows == 2;
        is_same = is_same && (!matters || w->begun[side] == variants[side]);
    }
    if (is_same) return TT_OK;
    w->begun_rows = 0; /* until it is done */
    if (rows == 2) fill_row(g, w->states[TT__NEGATIVE][variants[TT__NEGATIVE]], 0);
    fill_row(g, w->states[TT__POSITIVE][variants[TT__POSITIVE]], rows - 1);
    g->condition.n = rows;
    TT_TRY(tt_unet_begin(g->model.unet, &g->condition, err));
    memcpy(w->begun, variants, sizeof variants);
    w->begun_rows = rows;
    return TT_OK;
}
