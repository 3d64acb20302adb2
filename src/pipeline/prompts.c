/* A request's four texts: opened, and cut into the few that its steps use. Encoding them is conditioning.c's.
 *
 * Steps of a schedule are the denoiser's calls: samplers that ask twice per step show [a|b] twice as often, as in A1111. */
#include <string.h>

#include "pipeline/parts.h"

tt_status tt__check_texts(const tt_request *r, const tt__manner *manner, tt_err *err) {
    const char *const texts[] = {r->prompt, r->prompt_2, r->negative_prompt, r->negative_prompt_2};
    static const char *const names[] = {"prompt", "prompt 2", "negative prompt",
                                        "negative prompt 2"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tt_prompt *p;
        size_t n;
        if (!texts[i]) continue;
        tt_status status = tt_prompt_open(texts[i], strlen(texts[i]), manner->syntax, &p, err);
        if (status != TT_OK) return i ? tt_fail_prefix(err, status, "%s", names[i]) : status;
        const tt_prompt_lora *loras = tt_prompt_loras(p, &n);
        if (n > 0 && !r->find_adapter)
            status = tt_fail(err, TT_E_INVALID,
                             "%s: <lora:%.80s> names an adapter, and there is nowhere to look for "
                             "it by name",
                             names[i], loras[0].name);
        tt_prompt_close(p);
        TT_TRY(status);
    }
    return TT_OK;
}

/* An absent negative prompt that is not zeros is an empty one. */
const char *tt__negative_text(const tt_generation *g) {
    const tt_request *r = g->request;
    const tt__manner *m = &g->manner;
    const char *second = r->negative_prompt_2;
    bool is_absent = !r->negative_prompt || (m->empty_is_absent && !r->negative_prompt[0]);
    bool second_is_absent = !second || (m->empty_is_absent && !second[0]);
    if (!is_absent) return r->negative_prompt;
    bool zeros = m->absent == TT__ABSENT_ZEROS ||
                 (m->absent == TT__ABSENT_BY_MODEL &&
                  tt_checkpoint_facts(g->model.checkpoint)->zero_absent_negative);
    return zeros && second_is_absent ? NULL : "";
}

tt_status tt__open_texts(tt_generation *g, tt_err *err) {
    const tt_request *r = g->request;
    const char *negative = tt__negative_text(g);
    const char *const texts[TT__SIDES][TT_PROMPT_ENCODERS] = {
        {negative, negative ? r->negative_prompt_2 : NULL}, {r->prompt, r->prompt_2}};
    for (int side = TT__SIDES - 1; side >= 0; side--)
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
            tt_prompt **p = &g->words.prompts[side][i];
            if (!texts[side][i]) continue;
            TT_TRY(
                tt_prompt_open(texts[side][i], strlen(texts[side][i]), g->manner.syntax, p, err));
            g->result->n_unknown_tags += (int)tt_prompt_unknown_tags(*p);
        }
    return TT_OK;
}

tt_status tt__schedule_texts(tt_generation *g, tt_err *err) {
    tt__words *w = &g->words;
    w->n_calls = tt_sampler_model_calls(g->sampler);
    int n_steps = w->n_calls < TT_MAX_STEPS ? w->n_calls : TT_MAX_STEPS;
    for (int side = 0; side < TT__SIDES; side++) {
        if (!w->prompts[side][0] || (side == TT__NEGATIVE && g->n_rows == 1)) continue;
        const tt_prompt *const both[] = {w->prompts[side][0], w->prompts[side][1]};
        TT_TRY(tt_prompt_schedule_init(&w->schedules[side], both, n_steps, err));
    }
    g->result->prompt_variants = w->schedules[TT__POSITIVE].n_variants;
    return TT_OK;
}

int tt__variant_of_call(const tt__words *w, int side, int call) {
    const tt_prompt_schedule *s = &w->schedules[side];
    if (s->n_variants <= 1 || w->n_calls < 1) return 0;
    if (w->is_after) return s->variant_of_step[s->n_steps - 1];
    int step = (int)((int64_t)call * s->n_steps / w->n_calls);
    return s->variant_of_step[step < s->n_steps ? step : s->n_steps - 1];
}

void tt__words_release(tt__words *w) {
    for (int side = 0; side < TT__SIDES; side++) {
        tt_prompt_schedule_release(&w->schedules[side]);
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++) tt_prompt_close(w->prompts[side][i]);
    }
}
