/* See nearest.h. Damerau-Levenshtein in its restricted form (no edit inside a swap): three rows of
 * a table. The names compared are short and few, so nothing cleverer is wanted. */
#include "base/nearest.h"

#include <ctype.h>
#include <string.h>

enum { MAX_COMPARED_BYTES = 63 };

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static char fold(char c) {
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

size_t tt_edit_distance(const char *a, const char *b) {
    size_t na = strnlen(a, MAX_COMPARED_BYTES), nb = strnlen(b, MAX_COMPARED_BYTES);
    size_t rows[3][MAX_COMPARED_BYTES + 1];
    size_t *before = rows[0], *previous = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++) before[j] = previous[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t replace = previous[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            row[j] = min_size(replace, min_size(previous[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                row[j] = min_size(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = previous;
        previous = row;
        row = spare;
    }
    return previous[nb];
}

/* A third of a word wrong is a slip; more is another word. */
static size_t farthest_slip(const char *word) {
    size_t length = strlen(word);
    return length <= 3 ? 1 : length < 6 ? 2 : length / 3;
}

void tt_nearest_init(tt_nearest *n, const char *word) {
    *n = (tt_nearest){.word = word, .distance = farthest_slip(word) + 1};
}

void tt_nearest_offer(tt_nearest *n, const char *candidate) {
    if (!candidate) return;
    size_t distance = tt_edit_distance(n->word, candidate);
    if (distance >= n->distance) return;
    n->distance = distance;
    n->best = candidate;
}
