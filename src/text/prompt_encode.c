/* One text through one encoder gives a `part`: states of its chunks. The parts are then laid side by side.
 *
 * compel's weights below 1 ask for one more pass per part of the prompt that has one, without that part; passes are what
 * costs, so TT_MAX_PROMPT_CHUNKS bounds them too. compel masks the tokens of that part from the attention; here, as in its
 * DownweightMode.REMOVE, they are left out, and what follows moves forward. */
#include "text/prompt_encode.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

typedef struct part {
    const tt_text_encoder *encoder;
    const tt_encode_options *options;
    tt_chunk_options chunk_options; /* complete */
    int n_skipped;
    tt_segments segments;
    tt_chunks chunks;
    float *states; /* owned, [chunks.n, n_positions, width] */
    /* owned, [n_positions, width]: the encoded empty prompt; NULL: not asked for yet */
    float *empty;
    float *spare; /* owned, likewise: states without a part of the prompt */
} part;

static tt_status run_clip(void *context, const tt_clip_input *input, float *hidden, float *pooled,
                          tt_err *err) {
    return tt_clip_encode_input(context, input, hidden, pooled, err);
}

tt_text_encoder tt_text_encoder_of(tt_clip *clip, const tt_tokenizer *tokenizer, int32_t pad_id) {
    return (tt_text_encoder){.tokenizer = tokenizer,
                             .pad_id = pad_id,
                             .n_positions = tt_clip_positions(clip),
                             .n_layers = tt_clip_layers(clip),
                             .width = tt_clip_width(clip),
                             .pooled_width = tt_clip_pooled_width(clip),
                             .context = clip,
                             .run = run_clip};
}

tt_encode_options tt_encode_options_for(tt_prompt_syntax syntax) {
    bool is_diffusers = syntax == TT_PROMPT_PLAIN || syntax == TT_PROMPT_COMPEL;
    return (tt_encode_options){.syntax = syntax,
                               .weighting = tt_weighting_for(syntax),
                               .chunks = tt_chunk_options_for(syntax),
                               .skip_rule =
                                   is_diffusers ? TT_CLIP_SKIP_DIFFUSERS : TT_CLIP_SKIP_USUAL};
}

/* ---- one encoder ------------------------------------------------------------------------------------ */

static void part_release(part *p) {
    tt_segments_release(&p->segments);
    tt_chunks_release(&p->chunks);
    tt_free(p->states);
    tt_free(p->empty);
    tt_free(p->spare);
}

static size_t chunk_values(const part *p) {
    return (size_t)p->encoder->n_positions * (size_t)p->encoder->width;
}

static tt_status new_states(const part *p, int n_chunks, float **out, tt_err *err) {
    size_t bytes;
    *out = NULL;
    if (tt_mul_size(chunk_values(p) * sizeof(float), (size_t)n_chunks, &bytes))
        *out = tt_alloc(bytes);
    return *out ? TT_OK : tt_fail_nomem(err, "text states", bytes);
}

/* Chunk `i` of `chunks` through the encoder. */
static tt_status run_chunk(const part *p, const tt_chunks *chunks, int i, float *states,
                           float *pooled, tt_err *err) {
    size_t first = (size_t)i * (size_t)chunks->n_positions;
    const tt_clip_input input = {.ids = chunks->ids + first,
                                 .rows = chunks->has_rows ? chunks->rows + first : NULL,
                                 .n_skipped = p->n_skipped};
    return p->encoder->run(p->encoder->context, &input, states, pooled, err);
}

/* p->empty = the encoded empty prompt. */
static tt_status encode_empty(part *p, tt_err *err) {
    static char nothing[] = "";
    tt_segment one = {.weight = 1};
    const tt_segments segments = {.text = {.data = nothing}, .items = &one, .n = 1};
    tt_chunks chunks = {0};
    if (p->empty) return TT_OK;
    TT_TRY(new_states(p, 1, &p->empty, err));
    tt_status status =
        tt_chunks_build(p->encoder->tokenizer, &segments, &p->chunk_options, &chunks, err);
    if (status == TT_OK) status = run_chunk(p, &chunks, 0, p->empty, NULL, err);
    tt_chunks_release(&chunks);
    return status;
}

static void weigh(const part *p, const tt_chunks *chunks, int i, float *states) {
    tt_weighting_apply(p->options->weighting,
                       chunks->weights + (size_t)i * (size_t)chunks->n_positions, p->empty,
                       chunks->n_positions, p->encoder->width, states);
}

/* ---- compel's weights below 1 ----------------------------------------------------------------------- */

/* p->spare = the states of the prompt without segment `left_out`. */
static tt_status encode_without(part *p, size_t left_out, tt_err *err) {
    tt_segment *items = p->segments.items;
    tt_chunks chunks = {0};
    size_t size = items[left_out].size;
    items[left_out].size = 0;
    tt_status status =
        tt_chunks_build(p->encoder->tokenizer, &p->segments, &p->chunk_options, &chunks, err);
    items[left_out].size = size;
    if (status == TT_OK) status = run_chunk(p, &chunks, 0, p->spare, NULL, err);
    if (status == TT_OK) weigh(p, &chunks, 0, p->spare);
    tt_chunks_release(&chunks);
    return status;
}

static tt_status blend_lighter(part *p, tt_err *err) {
    double sum = 0;
    int n_passes = 0;
    for (size_t i = 0; i < p->segments.n; i++) {
        const tt_segment *s = &p->segments.items[i];
        double share = tt_weighting_share(s->weight);
        if (s->size == 0 || share <= 0) continue;
        if (++n_passes > TT_MAX_PROMPT_CHUNKS)
            return tt_fail(err, TT_E_INVALID,
                           "prompt: more than %d parts with a weight below 1: each takes a pass of "
                           "the text encoders",
                           TT_MAX_PROMPT_CHUNKS);
        if (!p->spare) TT_TRY(new_states(p, 1, &p->spare, err));
        TT_TRY(encode_without(p, i, err));
        tt_weighting_add(p->states, p->spare, share, (int64_t)chunk_values(p));
        sum += share;
    }
    if (sum > 0) tt_weighting_finish(p->states, sum, (int64_t)chunk_values(p));
    return TT_OK;
}

/* ---- all chunks of one encoder ---------------------------------------------------------------------- */

static tt_status check_embeddings(const part *p, tt_err *err) {
    const tt_chunk_options *o = &p->chunk_options;
    for (size_t i = 0; i < o->n_embeddings; i++) {
        int64_t width = tt_embedding_width(o->embeddings[i], o->which);
        if (width != p->encoder->width)
            return tt_fail(err, TT_E_INVALID,
                           "embedding %s: vectors of %lld values for text encoder %d, it takes "
                           "%lld",
                           tt_embedding_name(o->embeddings[i]), (long long)width, o->which + 1,
                           (long long)p->encoder->width);
    }
    return TT_OK;
}

static tt_status part_open(part *p, const tt_text_encoder *encoder, int which, const tt_buf *text,
                           const tt_encode_options *options, tt_err *err) {
    *p = (part){.encoder = encoder, .options = options, .chunk_options = options->chunks};
    p->chunk_options.n_positions = encoder->n_positions;
    p->chunk_options.pad_id = encoder->pad_id;
    p->chunk_options.which = which;
    if (options->weighting == TT_WEIGHTING_COMPEL) p->chunk_options.rule = TT_CHUNK_CUT;
    TT_TRY(check_embeddings(p, err));
    TT_TRY(tt_clip_skip_of_layers(encoder->n_layers, options->skip_rule, options->clip_skip,
                                  &p->n_skipped, err));
    TT_TRY(tt_segments_parse(text->data ? text->data : "", text->size, options->syntax,
                             &p->segments, err));
    return tt_chunks_build(encoder->tokenizer, &p->segments, &p->chunk_options, &p->chunks, err);
}

static tt_status part_encode(part *p, float *pooled, tt_err *err) {
    TT_TRY(new_states(p, p->chunks.n, &p->states, err));
    if (p->chunks.has_weights && tt_weighting_needs_empty(p->options->weighting))
        TT_TRY(encode_empty(p, err));
    for (int i = 0; i < p->chunks.n; i++) {
        float *states = p->states + (size_t)i * chunk_values(p);
        TT_TRY(run_chunk(p, &p->chunks, i, states, i == 0 ? pooled : NULL, err));
        weigh(p, &p->chunks, i, states);
    }
    return p->options->weighting == TT_WEIGHTING_COMPEL ? blend_lighter(p, err) : TT_OK;
}

/* ---- both ------------------------------------------------------------------------------------------- */

void tt_conditioning_release(tt_conditioning *c) {
    tt_free(c->states);
    tt_free(c->pooled);
    *c = (tt_conditioning){0};
}

static size_t conditioning_chunk_bytes(const tt_conditioning *c) {
    return (size_t)c->n_positions * (size_t)c->width * sizeof *c->states;
}

tt_status tt_conditioning_zeros(const tt_text_encoder encoders[TT_PROMPT_ENCODERS], int n_chunks,
                                tt_conditioning *out, tt_err *err) {
    *out = (tt_conditioning){.n_chunks = n_chunks,
                             .n_positions = encoders[0].n_positions,
                             .width = encoders[0].width + encoders[1].width,
                             .pooled_width = encoders[1].pooled_width};
    size_t bytes = 0, pooled_bytes = (size_t)(out->pooled_width + 1) * sizeof *out->pooled;
    if (n_chunks >= 0 && tt_mul_size(conditioning_chunk_bytes(out), (size_t)n_chunks, &bytes)) {
        out->states = tt_alloc(bytes);
        out->pooled = tt_alloc(pooled_bytes);
    }
    if (out->states && out->pooled) return TT_OK;
    tt_conditioning_release(out);
    return tt_fail_nomem(err, "a prompt's states", bytes + pooled_bytes);
}

/* The part's states into their columns of the conditioning, and the empty prompt's behind them. */
static tt_status place(part *p, int64_t column, tt_conditioning *out, tt_err *err) {
    size_t width = (size_t)p->encoder->width, n_positions = (size_t)out->n_positions;
    if (p->chunks.n < out->n_chunks) TT_TRY(encode_empty(p, err));
    for (size_t t = 0; t < (size_t)out->n_chunks * n_positions; t++) {
        bool is_own = t / n_positions < (size_t)p->chunks.n;
        const float *row = is_own ? p->states + t * width : p->empty + (t % n_positions) * width;
        memcpy(out->states + t * (size_t)out->width + column, row, width * sizeof *row);
    }
    return TT_OK;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static void count(const part *p, tt_conditioning *out) {
    out->n_tokens = larger(out->n_tokens, p->chunks.n_tokens);
    out->n_cut = larger(out->n_cut, p->chunks.n_cut);
    out->n_rows_cut = larger(out->n_rows_cut, p->chunks.n_rows_cut);
    out->n_embeddings = larger(out->n_embeddings, p->chunks.n_embeddings);
}

tt_status tt_prompt_encode(const tt_text_encoder encoders[TT_PROMPT_ENCODERS],
                           const tt_buf texts[TT_PROMPT_ENCODERS], const tt_encode_options *options,
                           tt_conditioning *out, tt_err *err) {
    part parts[TT_PROMPT_ENCODERS] = {0};
    tt_status status = TT_OK;
    int n_chunks = 1;
    int64_t column = 0;
    *out = (tt_conditioning){0};
    if (encoders[0].n_positions != encoders[1].n_positions)
        return tt_fail(err, TT_E_INVALID, "text encoders of %d and %d positions",
                       encoders[0].n_positions, encoders[1].n_positions);
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
        if (encoders[i].width == 0) continue;
        TT_TRY_OUT(part_open(&parts[i], &encoders[i], i, &texts[i], options, err));
        if (parts[i].chunks.n > n_chunks) n_chunks = parts[i].chunks.n;
    }
    TT_TRY_OUT(tt_conditioning_zeros(encoders, n_chunks, out, err));
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
        if (encoders[i].width == 0) continue;
        TT_TRY_OUT(part_encode(&parts[i], i == 1 ? out->pooled : NULL, err));
        TT_TRY_OUT(place(&parts[i], column, out, err));
        count(&parts[i], out);
        column += encoders[i].width;
    }
out:
    for (int i = 0; i < TT_PROMPT_ENCODERS; i++) part_release(&parts[i]);
    if (status != TT_OK) tt_conditioning_release(out);
    return status;
}
