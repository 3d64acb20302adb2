/* From a prompt's text to what the UNet is conditioned on, through both text encoders: the calls of prompt_segments.h, chunks.h,
 * clip.h and prompt_weighting.h in their order.
 *
 *     tt_text_encoder encoders[] = {tt_text_encoder_of(clip1, tokenizer1, pad1), tt_text_encoder_of(clip2, tokenizer2, pad2)};
 *     tt_encode_options options = tt_encode_options_for(TT_PROMPT_A1111);
 *     tt_prompt_encode(encoders, schedule.texts[v], &options, &positive, err);      per variant
 *     tt_prompt_encode(encoders, negative_texts, &options, &negative, err);
 *
 * Every chunk is a pass of each encoder; the pooled vector is the second encoder's for the first chunk, untouched by
 * weights. When the encoders' texts have different numbers of chunks, the shorter one is filled up with chunks of the encoded
 * empty prompt: A1111's rule. Bringing prompts to one number of chunks is the caller's.
 *
 * Encoding twice the same text with the same options gives the same numbers: callers may keep results by text. */
#ifndef TT_TEXT_PROMPT_ENCODE_H
#define TT_TEXT_PROMPT_ENCODE_H

#include "text/chunks.h"
#include "text/clip.h"
#include "text/prompt_weighting.h"

/* What is known of one encoder. Plain values; everything is borrowed. A width of 0 says that there is none: its text is not
 * read, and of the rest only n_positions counts. */
typedef struct tt_text_encoder {
    const tt_tokenizer *tokenizer;
    int32_t pad_id;
    int n_positions, n_layers; /* tt_clip_positions, tt_clip_layers */
    int64_t width, pooled_width;
    void *context; /* the clip */
    tt_status (*run)(void *context, const tt_clip_input *input, float *hidden, float *pooled,
                     tt_err *err); /* tt_clip_encode_input */
} tt_text_encoder;

tt_text_encoder tt_text_encoder_of(tt_clip *clip, const tt_tokenizer *tokenizer, int32_t pad_id);

typedef struct tt_encode_options {
    tt_prompt_syntax syntax;
    tt_weighting weighting;
    /* rule, backtrack, pad_in_text, named_by_word and embeddings; the rest comes from the encoder. With
     * TT_WEIGHTING_COMPEL the rule is TT_CHUNK_CUT whatever it says. */
    tt_chunk_options chunks;
    tt_clip_skip_rule skip_rule;
    int clip_skip; /* 0: not given. With TT_CLIP_SKIP_DIFFUSERS pass 0 for the negative prompt. */
} tt_encode_options;

/* Everything that goes with a syntax; clip skip as people mean it, for plain and compel as diffusers counts. */
tt_encode_options tt_encode_options_for(tt_prompt_syntax syntax);

/* Request lifetime. */
typedef struct tt_conditioning {
    int n_chunks, n_positions;
    int64_t width, pooled_width; /* both encoders side by side; of the second encoder */
    float *states;               /* owned, [n_chunks * n_positions, width] */
    float *pooled;               /* owned, [pooled_width] */
    /* Of the encoder that has more of them, for the answer's metadata: */
    size_t n_tokens;     /* of the text, vectors of embeddings included */
    size_t n_cut;        /* tokens that were dropped: plain and compel */
    size_t n_rows_cut;   /* vectors of embeddings that were dropped */
    size_t n_embeddings; /* how often an embedding was named */
} tt_conditioning;

/* texts: one per encoder, as tt_prompt_schedule has them. *out is empty after a failure. TT_E_INVALID for what the text
 * asks for and cannot have; embeddings of other widths than the encoders'. */
tt_status tt_prompt_encode(const tt_text_encoder encoders[TT_PROMPT_ENCODERS],
                           const tt_buf texts[TT_PROMPT_ENCODERS], const tt_encode_options *options,
                           tt_conditioning *out, tt_err *err);

/* Zeros: SDXL's way of an absent negative prompt. */
tt_status tt_conditioning_zeros(const tt_text_encoder encoders[TT_PROMPT_ENCODERS], int n_chunks,
                                tt_conditioning *out, tt_err *err);

void tt_conditioning_release(tt_conditioning *c); /* all zero is fine */

#endif
