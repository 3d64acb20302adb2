/* See warnings.h. Sentences are made in a tt_err, which keeps them short, UTF-8, and out of memory's way. */
#include "app/warnings.h"

#include <stdio.h>
#include <string.h>

typedef struct teller {
    tt_app_warning_fn each;
    void *context;
    tt_err *err;
} teller;

static tt_status tell(const teller *t, const tt_err *made) {
    return t->each(t->context, made->message, t->err);
}

static tt_status tell_cut(const teller *t, const tt_result *result) {
    tt_err made;
    if (result->prompt_tokens <= result->prompt_tokens_used) return TT_OK;
    tt_fail(&made, TT_E_INVALID, "the prompt has %d tokens, only the first %d were used",
            result->prompt_tokens, result->prompt_tokens_used);
    return tell(t, &made);
}

static tt_status tell_tags(const teller *t, const tt_result *result) {
    tt_err made;
    if (result->n_unknown_tags == 0) return TT_OK;
    tt_fail(&made, TT_E_INVALID,
            "%d tag%s in the prompt of the form <name:...> mean%s nothing here and %s taken out",
            result->n_unknown_tags, result->n_unknown_tags == 1 ? "" : "s",
            result->n_unknown_tags == 1 ? "s" : "", result->n_unknown_tags == 1 ? "was" : "were");
    return tell(t, &made);
}

static tt_status tell_unmatched(const teller *t, const tt_result_adapter *a) {
    enum { NAMES_BYTES = 320 };
    char names[NAMES_BYTES] = "";
    size_t used = 0;
    tt_err made;
    if (a->n_unmatched == 0) return TT_OK;
    for (int i = 0; i < TT_UNMATCHED_NAMED && i < a->n_unmatched && used < sizeof names; i++) {
        int n = snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", a->unmatched[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    const char *more = a->n_unmatched > TT_UNMATCHED_NAMED ? ", ..." : "";
    tt_fail(&made, TT_E_INVALID,
            "LoRA %s: %d of its %d keys mean nothing to this model and had no effect: %s%s%s%s",
            a->name, a->n_unmatched, a->n_keys, names, more,
            a->base_model[0] ? "; it says it is for " : "", a->base_model);
    return tell(t, &made);
}

tt_status tt_app_warnings(const tt_app_facts *facts, tt_app_warning_fn each, void *context,
                          tt_err *err) {
    const teller t = {each, context, err};
    tt_err made;
    TT_TRY(tell_cut(&t, facts->result));
    TT_TRY(tell_tags(&t, facts->result));
    for (int i = 0; i < facts->result->n_adapters; i++)
        TT_TRY(tell_unmatched(&t, &facts->result->adapters[i]));
    for (int i = 0; i < facts->request->n_unused; i++) {
        const tt_app_unused *unused = &facts->request->unused[i];
        tt_fail(&made, TT_E_INVALID, "%s was not used: %s", unused->field, unused->why);
        TT_TRY(tell(&t, &made));
    }
    return TT_OK;
}
