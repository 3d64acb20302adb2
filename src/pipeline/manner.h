/* What a request means where it says nothing: one look at compat, prompt syntax and the rest, before anything is made. */
#ifndef TT_PIPELINE_MANNER_H
#define TT_PIPELINE_MANNER_H

#include "sample/compat.h"
#include "sample/noise.h"
#include "text/clip.h"
#include "text/prompt.h"
#include "tintype/engine.h"

typedef enum tt__absent { TT__ABSENT_BY_MODEL, TT__ABSENT_ZEROS, TT__ABSENT_ENCODED } tt__absent;

typedef struct tt__manner {
    tt_sample_compat compat;
    tt_noise_kind noise;
    tt_prompt_syntax syntax;
    tt_clip_skip_rule skip_rule;
    tt__absent absent;    /* what an absent negative prompt is */
    bool empty_is_absent; /* an empty one is no different */
} tt__manner;

/* TT_E_INVALID with one sentence for names that mean nothing. */
tt_status tt__manner_of(const tt_request *r, tt__manner *out, tt_err *err);
const char *tt__syntax_name(tt_prompt_syntax syntax); /* canonical, static */

#endif
