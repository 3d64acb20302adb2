/* The texts of one request: opened, cut into what each step uses, encoded. Request lifetime. */
#ifndef TT_PIPELINE_WORDS_H
#define TT_PIPELINE_WORDS_H

#include "base/limits.h"
#include "pipeline/manner.h"
#include "pipeline/opened.h"
#include "text/prompt_encode.h"

enum { TT__NEGATIVE, TT__POSITIVE, TT__SIDES }; /* in the order of the UNet's rows */

typedef struct tt__words {
    tt_prompt *prompts[TT__SIDES][TT_PROMPT_ENCODERS]; /* owned; NULL: absent */
    tt_prompt_schedule schedules[TT__SIDES];
    const tt_conditioning
        *states[TT__SIDES][TT_MAX_PROMPT_VARIANTS]; /* the engine's; NULL: zeros */
    const tt_conditioning *empty; /* likewise, of the empty prompt; NULL where nobody needs it */
    bool repeats;                 /* shorter ones are repeated, not filled up with empty chunks */
    int n_chunks;                 /* that the UNet is given */
    int n_calls;                  /* of the denoiser, per picture */
    bool is_after;                /* a pass after that: the words that it ended with, to the end */
    /* Textual inversions that the prompts may mean; the engine's. */
    const tt__opened_file *embedding_files[TT_MAX_EMBEDDINGS];
    const tt_embedding *embeddings[TT_MAX_EMBEDDINGS];
    int n_embeddings;
    /* What the UNet was given last: which variant of each side, in how many rows. 0 rows: nothing yet. */
    int begun[TT__SIDES];
    int64_t begun_rows;
} tt__words;

#endif
