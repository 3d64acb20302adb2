/* Inside the room: the vocabulary of the settings line, shared by its writer and its reader. */
#ifndef TT_IMAGE_PARAMETERS_FORM_H
#define TT_IMAGE_PARAMETERS_FORM_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TT__FIELD_STEPS,
    TT__FIELD_SAMPLER,
    TT__FIELD_SCHEDULE,
    TT__FIELD_CFG,
    TT__FIELD_SEED,
    TT__FIELD_SIZE,
    TT__FIELD_MODEL,
    TT__FIELD_VERSION,
    TT__FIELD_EXACT_PROMPT,
    TT__FIELD_EXACT_NEGATIVE,
    TT__N_FIELDS,
};
extern const char *const tt__field_keys[TT__N_FIELDS];
extern const char tt__negative_mark[];

enum { TT__MIN_KEY_BYTES = 2, TT__MAX_KEY_BYTES = 64 };

bool tt__is_space(char c);                         /* ASCII white space */
size_t tt__key_length(const char *text, size_t n); /* bytes at the start that may stand in a key */
int tt__field_of_key(const char *key, size_t n);   /* TT__N_FIELDS: none of ours */

#endif
