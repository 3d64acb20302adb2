/* Prompts to conditioning: token ids for both encoders, hidden states side by side, the pooled row. */
#include <string.h>

#include "base/alloc.h"
#include "pipeline/parts.h"

/* Ids of `text` as encoder `which` takes them; *n_tokens: how many the text has, before any cut. */
static tt_status tokenize(const tt_engine *e, int which, const char *text, int32_t *ids,
                          size_t *n_tokens, tt_err *err) {
    const tt_text_facts *facts = &tt_checkpoint_facts(e->checkpoint)->text[which];
    tt_tokens tokens = {0};
    tt_status status = tt_tokenizer_encode(e->tokenizers[which], text, strlen(text),
                                           (int32_t)facts->pad_id, &tokens, err);
    if (status == TT_OK)
        status = tt_tokenizer_pad(e->tokenizers[which], &tokens, (int32_t)facts->pad_id,
                                  tt_clip_positions(e->clips[which]), ids, err);
    *n_tokens = tokens.n;
    tt_tokens_release(&tokens);
    return status;
}

/* One text through both encoders into row `row` of the condition. */
static tt_status encode_row(tt_generation *g, const char *text, int64_t row, size_t *n_tokens,
                            tt_err *err) {
    tt_engine *e = g->engine;
    int64_t positions = tt_clip_positions(e->clips[0]), context = tt_unet_context_width(e->unet);
    int64_t column = 0;
    int32_t *ids = tt_alloc((size_t)positions * sizeof *ids);
    float *hidden = tt_alloc((size_t)(positions * context) * sizeof *hidden);
    tt_status status = TT_OK;
    if (!ids || !hidden)
        TT_TRY_OUT(tt_fail_nomem(err, "text states", (size_t)(positions * context) * 4));
    for (int i = 0; i < TT_TEXT_ENCODERS; i++) {
        int64_t width = tt_clip_width(e->clips[i]);
        size_t count;
        TT_TRY_OUT(tokenize(e, i, text, ids, &count, err));
        if (n_tokens && count > *n_tokens) *n_tokens = count;
        TT_TRY_OUT(tt_clip_encode(e->clips[i], ids, hidden,
                                  i == 1 ? g->pooled + row * tt_unet_pooled_width(e->unet) : NULL,
                                  err));
        for (int64_t t = 0; t < positions; t++)
            memcpy(g->context + (row * positions + t) * context + column, hidden + t * width,
                   (size_t)width * sizeof *hidden);
        column += width;
    }
out:
    tt_free(ids);
    tt_free(hidden);
    return status;
}

/* An absent negative prompt is zeros where the model says so (engine.md 4.10); "" is always encoded. */
tt_status tt__encode_text(tt_generation *g, tt_err *err) {
    const tt_request *r = g->request;
    bool zeros =
        !r->negative_prompt && tt_checkpoint_facts(g->engine->checkpoint)->zero_absent_negative;
    size_t n_tokens = 0;
    int places = tt_clip_positions(g->engine->clips[0]) - 2; /* less the two markers */
    g->result->negative_policy = zeros ? "zeros" : "encoded";
    TT_TRY(encode_row(g, r->prompt, g->n_rows - 1, &n_tokens, err));
    g->result->prompt_tokens = (int)n_tokens;
    g->result->prompt_tokens_used = (int)n_tokens < places ? (int)n_tokens : places;
    if (g->n_rows == 1 || zeros) return TT_OK; /* buffers start as zeros */
    return encode_row(g, r->negative_prompt ? r->negative_prompt : "", 0, NULL, err);
}
