/* Encoded texts that are kept between requests: people change the seed more often than the words. Engine lifetime; one thread.
 *
 * A text is the same when everything that its states depend on is: the key says it all (prompts.c). What a request asked for
 * stays until the next tt__texts_trim. */
#ifndef TT_PIPELINE_TEXTS_H
#define TT_PIPELINE_TEXTS_H

#include "base/buf.h"
#include "text/prompt_encode.h"

typedef struct tt__text {
    struct tt__text *next; /* asked for before this one */
    tt_buf key;            /* owned */
    tt_conditioning states;
} tt__text;

typedef struct tt__texts {
    tt__text *first; /* owned list, the one asked for last first */
} tt__texts;

/* NULL: not kept. Valid until the next trim. */
const tt_conditioning *tt__texts_find(tt__texts *t, const tt_buf *key);
/* Takes over *key and *states also when it fails; both are empty afterwards. */
tt_status tt__texts_add(tt__texts *t, tt_buf *key, tt_conditioning *states,
                        const tt_conditioning **out, tt_err *err);
size_t tt__texts_bytes(const tt__texts *t);
void tt__texts_trim(tt__texts *t);
void tt__texts_release(tt__texts *t); /* all zero is fine */

#endif
