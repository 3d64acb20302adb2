/* Letters and digits of ASCII alone: names of formats, protocols and files, whatever the locale. */
#ifndef TT_BASE_ASCII_H
#define TT_BASE_ASCII_H

#include <stdbool.h>
#include <string.h>

static inline char tt_ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The value of a hexadecimal digit of either case; -1: none. */
static inline int tt_hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = tt_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool tt_ends_with(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

#endif
