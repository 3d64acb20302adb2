/* "Did you mean ...?": the candidate a person most likely meant. */
#ifndef TT_BASE_NEAREST_H
#define TT_BASE_NEAREST_H

#include <stddef.h>

typedef struct tt_nearest {
    const char *word; /* borrowed */
    const char *best; /* borrowed from the best offer so far; NULL when none was near enough */
    size_t distance;
} tt_nearest;

void tt_nearest_init(tt_nearest *n, const char *word);
void tt_nearest_offer(tt_nearest *n, const char *candidate); /* NULL is ignored */

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b. Case does not
 * count, '-' equals
 * '_', and only the first 63 bytes are compared. */
size_t tt_edit_distance(const char *a, const char *b);

#endif
