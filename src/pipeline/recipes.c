/* Recipes of distilled models, for people: by name onto a request. What each one is stands in sample/recipes.c. */
#include "sample/recipes.h"

#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "pipeline/parts.h"

/* Of sample/recipes.c, in its order; a test holds the two together. */
static const char *const names[] = {
    "turbo",   "turbo-2", "turbo-4", "lightning-4", "lightning-2", "lightning-8",
    "hyper-8", "hyper-1", "hyper-2", "hyper-4",     "hyper-cfg-8", "hyper-cfg-12",
    "lcm",     "lcm-8",   "tcd",     "tcd-8",       "dmd2-4",      NULL};

const char *const *tt_recipe_names(void) {
    return names;
}

static tt_status fail_unknown(const char *name, tt_err *err) {
    tt_err full;
    tt_buf list;
    tt_buf_init(&list, TT_KIB);
    tt_status status = TT_OK;
    for (int i = 0; names[i] && status == TT_OK; i++)
        status = tt_buf_printf(&list, &full, "%s%s", i ? ", " : "", names[i]);
    status = tt_fail(err, TT_E_INVALID, "recipe: expected one of %s, found \"%.40s\"",
                     status == TT_OK ? list.data : "tt_recipe_names", name ? name : "");
    tt_buf_release(&list);
    return status;
}

tt_status tt_recipe_apply(const char *name, tt_request *request, tt_err *err) {
    const tt_sample_recipe *recipe = name ? tt_sample_recipe_find(name) : NULL;
    if (!recipe) return fail_unknown(name, err);
    request->sampler = recipe->sampler;
    request->schedule = recipe->schedule;
    request->steps = recipe->steps;
    request->guidance = recipe->guidance;
    request->eta = recipe->eta;
    return TT_OK;
}
