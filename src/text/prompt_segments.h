/* A prompt's text, cut into runs of one weight: what is between prompt.h, which resolves tags and schedules, and chunks.h,
 * which makes token ids of it.
 *
 *     A1111    (x) multiplies by 1.1, [x] divides by 1.1, (x:1.4) multiplies by 1.4, nested ones multiply.
 *              \( \) \[ \] \\ are characters, another backslash vanishes. A bracket that is never closed holds to the end, one
 *              that was never opened is text. BREAK, a word of its own, starts a new chunk with the white space around it.
 *              Runs of equal weight are one. (A1111 takes BREAK inside brackets for a word of negative weight; here it
 *              breaks there too.)
 *     ComfyUI  (x) multiplies by 1.1, (x:1.4) sets the weight whatever is around it. \( and \) are characters. Unbalanced
 *              brackets are text.
 *     compel   (x)1.4 multiplies by 1.4, (x)++ by 1.1 each, (x)-- by 0.9 each, and so does word+ at a word's end. (x) alone is
 *              x. "x" is x, brackets and signs included. Unbalanced brackets, and .and( .blend( .swap( are refused.
 *     plain    one run of weight 1. */
#ifndef TT_TEXT_PROMPT_SEGMENTS_H
#define TT_TEXT_PROMPT_SEGMENTS_H

#include "text/prompt.h"

typedef struct tt_segment {
    size_t begin, size; /* bytes of tt_segments.text */
    double weight;      /* finite, at most TT_MAX_PROMPT_WEIGHT either way */
    bool is_break;      /* no text: what follows starts a new chunk */
} tt_segment;

typedef struct tt_segments {
    tt_buf text; /* escapes resolved, what brackets did removed */
    tt_segment *items;
    size_t n, capacity;
} tt_segments;

/* Fills *out (at least one segment, which may be empty), to be released also after a failure. TT_E_INVALID with one
 * sentence and the byte where it is: weights that are no number or out of range, too deep, too many. */
tt_status tt_segments_parse(const char *text, size_t size, tt_prompt_syntax syntax,
                            tt_segments *out, tt_err *err);
void tt_segments_release(tt_segments *s);

#endif
