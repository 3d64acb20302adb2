/* The table of options and finding in it; see options.h. The rows are in options_*.c, one file per group or two; what they
 * mean to the engine is in request*.c. */
#include "app/options.h"

#include <assert.h>
#include <string.h>

#include "app/options_parts.h"
#include "base/nearest.h"

/* In the order of tt_option_id, which is that of the help. */
static const tt__option_group *const GROUPS[] = {
    &tt__words_options,    &tt__draw_options,   &tt__image_options,  &tt__after_options,
    &tt__adapters_options, &tt__output_options, &tt__source_options, &tt__model_options,
    &tt__store_options,    &tt__serve_options,  &tt__dev_options};
enum { N_GROUPS = sizeof GROUPS / sizeof *GROUPS };

/* The group of an id; *at becomes the place in it. */
static const tt__option_group *find_group(tt_option_id id, int *at) {
    int i = 0;
    *at = (int)id;
    assert(id < TT_OPTION_COUNT);
    for (; i < N_GROUPS - 1 && *at >= GROUPS[i]->n; i++) *at -= GROUPS[i]->n;
    assert(*at < GROUPS[i]->n);
    return GROUPS[i];
}

const tt_option *tt_option_get(tt_option_id id) {
    int at;
    return &find_group(id, &at)->rows[at];
}

const char *tt_option_group(tt_option_id id) {
    int at;
    return find_group(id, &at)->title;
}

bool tt_option_is_for(tt_option_id id, int commands) {
    const tt_option *row = tt_option_get(id);
    int of_row = row->commands ? row->commands : TT_FOR_RUN;
    return (of_row & commands) != 0;
}

static const char *match(const char *candidate, const char *name, size_t length) {
    bool is_same = candidate && strlen(candidate) == length && memcmp(candidate, name, length) == 0;
    return is_same ? candidate : NULL;
}

/* The candidate or alias that equals the name. */
static const char *match_any(const char *candidate, const char *const aliases[], const char *name,
                             size_t length) {
    const char *found = match(candidate, name, length);
    for (int i = 0; !found && i < TT_OPTION_ALIASES && aliases[i]; i++)
        found = match(aliases[i], name, length);
    return found;
}

bool tt_option_find_field(const char *name, tt_option_id *id, const char **spelling) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        *spelling = match_any(row->field, row->field_aliases, name, strlen(name));
        *id = (tt_option_id)i;
        if (*spelling) return true;
    }
    return false;
}

bool tt_option_find_flag(const char *name, size_t length, tt_option_id *id, const char **spelling) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        *spelling = match_any(row->flag, row->flag_aliases, name, length);
        *id = (tt_option_id)i;
        if (*spelling) return true;
    }
    return false;
}

const char *tt_option_nearest_field(const char *name) {
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        tt_nearest_offer(&nearest, row->field);
        for (int k = 0; k < TT_OPTION_ALIASES; k++)
            tt_nearest_offer(&nearest, row->field_aliases[k]);
    }
    return nearest.best;
}

const char *tt_option_nearest_flag(const char *name, int commands) {
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        if (!tt_option_is_for((tt_option_id)i, commands)) continue;
        tt_nearest_offer(&nearest, row->flag);
        for (int k = 0; k < TT_OPTION_ALIASES; k++)
            tt_nearest_offer(&nearest, row->flag_aliases[k]);
    }
    return nearest.best;
}
