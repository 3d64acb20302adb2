/* Numbers inside prompts: a strict reader in front of strtod, which alone would take hexadecimal, "nan" and "infinity". */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/prompt_parts.h"

enum { NUMBER_BYTES = 40 }; /* more digits than a double has, and room to be careless */

static size_t skip_digits(const char *text, size_t size, size_t at, size_t *n_digits) {
    for (; at < size && text[at] >= '0' && text[at] <= '9'; at++) ++*n_digits;
    return at;
}

static size_t skip_sign(const char *text, size_t size, size_t at) {
    return at < size && (text[at] == '+' || text[at] == '-') ? at + 1 : at;
}

/* The end of the exponent at `at`, or `at` when there is none. */
static size_t skip_exponent(const char *text, size_t size, size_t at) {
    size_t n_digits = 0;
    if (at >= size || (text[at] != 'e' && text[at] != 'E')) return at;
    size_t end = skip_digits(text, size, skip_sign(text, size, at + 1), &n_digits);
    return n_digits ? end : at;
}

bool tt__number_parse(const char *text, size_t size, bool exponent_too, double *out) {
    char copy[NUMBER_BYTES + 1] = {0};
    size_t n_digits = 0;
    if (size == 0 || size > NUMBER_BYTES) return false;
    size_t at = skip_digits(text, size, skip_sign(text, size, 0), &n_digits);
    if (at < size && text[at] == '.') at = skip_digits(text, size, at + 1, &n_digits);
    if (n_digits && exponent_too) at = skip_exponent(text, size, at);
    if (n_digits == 0 || at != size) return false;
    memcpy(copy, text, size);
    *out = strtod(copy, NULL);
    return isfinite(*out);
}
