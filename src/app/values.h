/* Reads one setting as what its row in the table says it is. Types are strict: "24" in quotes is
 * not a number, 24.0 is a whole one.
 *
 * A value that breaks its row's rules adds a problem (the name as the user wrote it, what was
 * expected, what was found) and leaves *out unchanged; so does an option that nobody set, without a
 * problem. Texts are borrowed from the settings or the table. */
#ifndef TT_APP_VALUES_H
#define TT_APP_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "app/settings.h"

void tt_value_integer(const tt_settings *s, tt_option_id id, int *out, tt_problems *problems);
void tt_value_number(const tt_settings *s, tt_option_id id, float *out, tt_problems *problems);
void tt_value_seed(const tt_settings *s, tt_option_id id, uint64_t *out, tt_problems *problems);
void tt_value_switch(const tt_settings *s, tt_option_id id, bool *out, tt_problems *problems);
/* *out is the table's own copy of the choice. */
void tt_value_choice(const tt_settings *s, tt_option_id id, const char **out,
                     tt_problems *problems);
/* Valid UTF-8 without NUL, at most TT_MAX_PROMPT_BYTES. */
void tt_value_text(const tt_settings *s, tt_option_id id, const char **out, tt_problems *problems);
/* Any bytes but NUL, not empty: a path. */
void tt_value_string(const tt_settings *s, tt_option_id id, const char **out,
                     tt_problems *problems);

/* Left, top, right, bottom: "1,2,3,4", one number for all, [1, 2, 3, 4], or an object of some. */
enum { TT_SIDES = 4 };
void tt_value_sides(const tt_settings *s, tt_option_id id, int out[TT_SIDES],
                    tt_problems *problems);

/* Somebody said it; the table's default does not count. */
static inline bool tt_value_is_said(const tt_settings *s, tt_option_id id) {
    return s->of[id].value != NULL && s->of[id].origin > TT_FROM_DEFAULT;
}

static inline bool tt_value_is_set(const tt_settings *s, tt_option_id id) {
    return s->of[id].value != NULL;
}

#endif
