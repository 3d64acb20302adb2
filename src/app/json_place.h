/* Where in a JSON text a value stands, for messages about files that people edit. */
#ifndef TT_APP_JSON_PLACE_H
#define TT_APP_JSON_PLACE_H

#include <stddef.h>

typedef struct tt_json_place {
    size_t line, column; /* from 1; columns count characters */
} tt_json_place;

/* One step from a value to a part of it: a member's name, or, where that is NULL, an index. */
typedef struct tt_json_step {
    const char *name;
    size_t index;
} tt_json_step;

/* The place of the value at the end of the path, or of the member's name where `of_name`. What is not there gives the
 * place of the last value that is. `text` must have been parsed without an error. */
tt_json_place tt_json_place_of(const char *text, size_t size, const tt_json_step *path,
                               size_t n_steps, int of_name);

/* The place of a byte. */
tt_json_place tt_json_place_at(const char *text, size_t size, size_t byte);

#endif
