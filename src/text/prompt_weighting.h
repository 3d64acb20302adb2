/* How the weights of tokens change the hidden states of a chunk. Pure arithmetic on host arrays [n_tokens, width]; sums in
 * double.
 *
 *     A1111    z *= w, then all of z scaled so that its mean is what it was ("Original")
 *     no norm  z *= w
 *     ComfyUI  z = e + w (z - e), e: the states of the empty prompt at the same position
 *     compel   as ComfyUI for w > 1. A part with w < 1 is blended with the states of the prompt without it: tt_weighting_add
 *     none     nothing: diffusers knows no weights */
#ifndef TT_TEXT_PROMPT_WEIGHTING_H
#define TT_TEXT_PROMPT_WEIGHTING_H

#include <stdbool.h>
#include <stdint.h>

#include "text/prompt.h"

typedef enum tt_weighting {
    TT_WEIGHTING_A1111,
    TT_WEIGHTING_NO_NORM,
    TT_WEIGHTING_COMFY,
    TT_WEIGHTING_COMPEL,
    TT_WEIGHTING_NONE
} tt_weighting;

/* The one that goes with a syntax. */
tt_weighting tt_weighting_for(tt_prompt_syntax syntax);

/* Whether tt_weighting_apply reads `empty`. */
bool tt_weighting_needs_empty(tt_weighting mode);

/* Changes states [n_tokens, width] in place by weights [n_tokens], markers and padding included (their weight is 1). `empty`: the
 * states of the empty prompt's chunk, same shape, or NULL. Nothing changes when all weights are 1. */
void tt_weighting_apply(tt_weighting mode, const float *weights, const float *empty,
                        int64_t n_tokens, int64_t width, float *states);

/* compel's w < 1. The states become (states + sum of share_i * without_i) / (1 + sum of share_i), where
 * share = tan((1 - w) pi / 2): 0 at w = 1, 1 at w = 0.5, very large at 0. Add each one, then finish once. */
double tt_weighting_share(double weight);
void tt_weighting_add(float *states, const float *without, double share, int64_t count);
void tt_weighting_finish(float *states, double sum_of_shares, int64_t count);

#endif
