/* From a prompt's segments to what one text encoder takes: chunks of n_positions ids, each with its markers and padding, and a
 * weight per id.
 *
 *     position   0      1 ... k       k + 1   k + 2 ... n_positions - 1
 *     id         start  tokens        end     padding
 *     weight     1      the segment's  1       1
 *
 * Every segment is tokenised by itself. Where the tokens are cut:
 *
 *     A1111    after n_positions - 2 (75) tokens; if a comma is among the last 20 of them, what follows it moves to the next
 *              chunk. A BREAK ends a chunk. An embedding's vectors stay together.
 *     ComfyUI  after 75 tokens; a segment of less than 8 tokens moves to the next chunk whole, longer ones are cut
 *     cut      one chunk, the rest of the tokens is dropped and counted (diffusers, compel)
 *
 * Textual inversions: where one is named, `rows` points at its vectors, which are fed in place of the ids' embeddings. */
#ifndef TT_TEXT_CHUNKS_H
#define TT_TEXT_CHUNKS_H

#include "text/embedding.h"
#include "text/prompt_segments.h"
#include "text/tokenizer.h"

typedef enum tt_chunk_rule { TT_CHUNK_A1111, TT_CHUNK_COMFY, TT_CHUNK_CUT } tt_chunk_rule;

#define TT_CHUNK_BACKTRACK 20 /* A1111's own setting */

typedef struct tt_chunk_options {
    tt_chunk_rule rule;
    int backtrack;   /* tokens to look back for a comma; 0: never */
    int n_positions; /* ids per chunk, at least 3: tt_clip_positions */
    int32_t pad_id;
    /* as transformers, find the padding token's text in prompts too: "!" is id 0 for the second encoder then (tokenizer.h).
     * A1111 and ComfyUI do not. */
    bool pad_in_text;
    /* embeddings: by their bare name (A1111); else by embedding:name (ComfyUI) */
    bool named_by_word;
    int which;                             /* the encoder: whose rows of an embedding */
    const tt_embedding *const *embeddings; /* [n_embeddings], borrowed as long as the chunks live */
    size_t n_embeddings;                   /* at most TT_MAX_EMBEDDINGS */
} tt_chunk_options;

/* The rule, padding and naming that go with a syntax; the rest is for the caller to fill in. */
tt_chunk_options tt_chunk_options_for(tt_prompt_syntax syntax);

typedef struct tt_chunks {
    int n, n_positions; /* chunks, 1 to TT_MAX_PROMPT_CHUNKS; ids per chunk */
    int32_t *ids;       /* owned, [n, n_positions] */
    float *weights;     /* owned, [n, n_positions] */
    /* owned, [n, n_positions]: where a token came from; -1: markers and padding */
    int32_t *segments;
    const float **rows;  /* owned, [n, n_positions], each NULL or borrowed from an embedding */
    int *n_used;         /* owned, [n]: tokens between the markers */
    size_t n_tokens;     /* of the prompt, vectors of embeddings included */
    size_t n_cut;        /* of those, dropped by TT_CHUNK_CUT */
    size_t n_rows_cut;   /* vectors of embeddings dropped because one does not fit a chunk */
    size_t n_embeddings; /* how often one was named */
    bool has_weights;    /* any weight is not 1 */
    bool has_rows;
} tt_chunks;

/* *out is to be released also after a failure. TT_E_INVALID: more than TT_MAX_PROMPT_CHUNKS chunks; embedding:name (ComfyUI)
 * of one that is not there. */
tt_status tt_chunks_build(const tt_tokenizer *t, const tt_segments *segments,
                          const tt_chunk_options *options, tt_chunks *out, tt_err *err);
void tt_chunks_release(tt_chunks *c);

#endif
