/* See json_lex.h.
 *
 * A job's answer is nearly all one base64 string, so the run of plain bytes inside a string is the path that matters: it is
 * taken 32 bytes at a time with word arithmetic, which any compiler and machine do well. */
#include "base/json_lex.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/utf8.h"

tt_status tt__json_fail_at(const tt__json_lexer *l, size_t offset, const char *why) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < l->size; i++) {
        column++;
        if (l->text[i] == '\n') line++, column = 1;
    }
    return tt_fail_at(l->err, TT_E_FORMAT, (int64_t)offset,
                      "invalid JSON at line %zu, column %zu: %s", line, column, why);
}

tt_status tt__json_fail_here(const tt__json_lexer *l, const char *why) {
    return tt__json_fail_at(l, l->at, l->at < l->size ? why : "it ends too early");
}

void tt__json_skip_space(tt__json_lexer *l) {
    while (l->at < l->size && memchr(" \t\r\n", l->text[l->at], 4)) l->at++;
}

bool tt__json_take_word(tt__json_lexer *l, const char *word) {
    size_t length = strlen(word);
    if (l->size - l->at < length || memcmp(l->text + l->at, word, length) != 0) return false;
    l->at += length;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

static bool is_plain(char c) {
    return c != '"' && c != '\\' && (unsigned char)c >= ' ';
}

static const uint64_t ONES = 0x0101010101010101u; /* a one in each byte */

/* A high bit in each byte of `word` below `limit` (at most 128); bytes above the first such may have one too. */
static uint64_t bytes_below(uint64_t word, uint64_t limit) {
    return (word - ONES * limit) & ~word & (ONES << 7);
}

/* Not zero when a byte of `word` is not plain. */
static uint64_t bytes_not_plain(uint64_t word) {
    return bytes_below(word, ' ') | bytes_below(word ^ ONES * '"', 1) |
           bytes_below(word ^ ONES * '\\', 1);
}

size_t tt__json_plain_length(const char *text, size_t size) {
    uint64_t words[4];
    size_t i = 0;
    for (; size - i >= sizeof words; i += sizeof words) {
        memcpy(words, text + i, sizeof words);
        if (bytes_not_plain(words[0]) | bytes_not_plain(words[1]) | bytes_not_plain(words[2]) |
            bytes_not_plain(words[3]))
            break;
    }
    while (i < size && is_plain(text[i])) i++;
    return i;
}

static tt_status read_hex4(tt__json_lexer *l, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, l->at++) {
        int digit = tt_hex_digit(tt__json_peek(l));
        if (digit < 0) return tt__json_fail_here(l, "\\u needs four hexadecimal digits");
        *out = *out << 4 | (uint32_t)digit;
    }
    return TT_OK;
}

/* \uXXXX, behind the u; characters beyond U+FFFF are written as two of them. */
static tt_status read_unicode_escape(tt__json_lexer *l, uint32_t *value) {
    size_t start = l->at - 2;
    uint32_t low;
    TT_TRY(read_hex4(l, value));
    if (*value < 0xd800 || *value > 0xdfff) return TT_OK;
    if (*value > 0xdbff || l->size - l->at < 2 || memcmp(l->text + l->at, "\\u", 2) != 0)
        return tt__json_fail_at(l, start, "half of a surrogate pair");
    l->at += 2;
    TT_TRY(read_hex4(l, &low));
    if (low < 0xdc00 || low > 0xdfff) return tt__json_fail_at(l, start, "half of a surrogate pair");
    *value = 0x10000 + ((*value - 0xd800) << 10) + (low - 0xdc00);
    return TT_OK;
}

tt_status tt__json_read_escape(tt__json_lexer *l, char utf8[4], size_t *n) {
    static const char NAMES[] = "\"\\/bfnrt", MEANINGS[] = "\"\\/\b\f\n\r\t";
    l->at++; /* the backslash */
    char c = tt__json_peek(l);
    if (c == 'u') {
        uint32_t value;
        l->at++;
        TT_TRY(read_unicode_escape(l, &value));
        *n = tt_utf8_encode(value, utf8);
        return TT_OK;
    }
    const char *name = c ? strchr(NAMES, c) : NULL;
    if (!name) return tt__json_fail_here(l, "unknown escape after \\");
    l->at++;
    utf8[0] = MEANINGS[name - NAMES];
    *n = 1;
    return TT_OK;
}

static tt_status append(tt_buf *decoded, const char *bytes, size_t n, tt_err *err) {
    return decoded ? tt_buf_append(decoded, bytes, n, err) : TT_OK;
}

tt_status tt__json_read_string(tt__json_lexer *l, tt_buf *decoded) {
    if (decoded) {
        decoded->size = 0;
        TT_TRY(tt_buf_append(decoded, "", 0, l->err)); /* an empty string is terminated as well */
    }
    l->at++; /* the opening quote */
    for (;;) {
        size_t n = tt__json_plain_length(l->text + l->at, l->size - l->at);
        TT_TRY(append(decoded, l->text + l->at, n, l->err));
        l->at += n;
        char c = tt__json_peek(l);
        if (c == '\\') {
            char utf8[4];
            TT_TRY(tt__json_read_escape(l, utf8, &n));
            TT_TRY(append(decoded, utf8, n, l->err));
        } else if (c == '"') {
            l->at++;
            return TT_OK;
        } else {
            return tt__json_fail_here(l,
                                      "a control character inside a string; write it as an escape");
        }
    }
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static tt_status skip_digits(tt__json_lexer *l) {
    if (!is_digit(tt__json_peek(l))) return tt__json_fail_here(l, "a digit is missing");
    while (is_digit(tt__json_peek(l))) l->at++;
    return TT_OK;
}

static tt_status scan_number(tt__json_lexer *l, bool *is_integer, bool *has_exponent) {
    *is_integer = true;
    *has_exponent = false;
    if (tt__json_peek(l) == '-') l->at++;
    if (tt__json_peek(l) == '0' && l->at + 1 < l->size && is_digit(l->text[l->at + 1]))
        return tt__json_fail_here(l, "a number with a leading zero");
    TT_TRY(skip_digits(l));
    if (tt__json_peek(l) == '.') {
        *is_integer = false;
        l->at++;
        TT_TRY(skip_digits(l));
    }
    if (tt__json_peek(l) == 'e' || tt__json_peek(l) == 'E') {
        *is_integer = false;
        *has_exponent = true;
        l->at++;
        if (tt__json_peek(l) == '+' || tt__json_peek(l) == '-') l->at++;
        TT_TRY(skip_digits(l));
    }
    return TT_OK;
}

tt_status tt__json_read_number(tt__json_lexer *l, tt__json_number *out) {
    enum { SURELY_FINITE_BYTES = 308 }; /* DBL_MAX has 309 digits: shorter texts need no strtod */
    size_t start = l->at;
    bool has_exponent;
    TT_TRY(scan_number(l, &out->is_integer, &has_exponent));
    size_t length = l->at - start;
    if (length > TT__JSON_NUMBER_BYTES)
        return tt__json_fail_at(l, start, "a number of more than 320 characters");
    memcpy(out->text, l->text + start, length);
    out->text[length] = '\0';
    if ((has_exponent || length > SURELY_FINITE_BYTES) && !isfinite(strtod(out->text, NULL)))
        return tt__json_fail_at(l, start, "a number too large for a double");
    return TT_OK;
}
