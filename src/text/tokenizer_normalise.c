/* The first half of the tokenizer: Unicode. NFC, white space, lower case, and the cut into pieces.
 *
 * All knowledge of characters comes from utf8proc, so newly assigned letters follow its Unicode
 * version. utf8proc's own decomposition sorts combining marks by swapping neighbours, which takes
 * minutes for a megabyte of them; here each run of marks is sorted by counting. Lower case is by
 * single characters, as in the tokenizer we follow: a Greek sigma at a word's end stays medial. */
#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/tokenizer_parts.h"

enum {
    MAX_DECOMPOSITION = 18,    /* code points of one character; canonical ones have at most 4 */
    N_COMBINING_CLASSES = 256, /* 0 (a starter) to 254 */
    UTF8_MAX_BYTES = 4,
};

static const utf8proc_option_t NFC = UTF8PROC_COMPOSE | UTF8PROC_STABLE;

/* ---- character classes ----------------------------------------------------------------------- */

typedef enum char_class { SPACE, LETTER, NUMBER, OTHER } char_class;

/* Unicode's White_Space. */
static bool is_space(int32_t c, utf8proc_category_t category) {
    return (c >= '\t' && c <= '\r') || c == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

static char_class classify(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return LETTER;
    if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return NUMBER;
    return is_space(c, category) ? SPACE : OTHER;
}

int32_t tt__decode_utf8(const char *text, size_t size, size_t at, size_t *next) {
    int32_t c = 0;
    size_t left = size - at < UTF8_MAX_BYTES ? size - at : UTF8_MAX_BYTES;
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)left, &c);
    *next = at + (n > 0 ? (size_t)n : 1);
    return c;
}

/* ---- NFC ------------------------------------------------------------------------------------- */

/* The normaliser we follow has the tables of Unicode 9: to it, younger marks are starters, and younger letters
 * neither compose nor decompose. Every character since with a combining class or a canonical composition is in
 * one of these ranges; what else is in them has neither. So has U+11A7, which utf8proc up to 2.8 drops after a
 * Hangul syllable. */
static bool is_left_alone(int32_t c) {
    static const struct {
        int32_t first, last;
    } ranges[] = {
        {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
        {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x11a7, 0x11a7},
        {0x1715, 0x1715},   {0x1abf, 0x1aeb},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},
        {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efa, 0x10eff},
        {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
        {0x11380, 0x113e2}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11943},
        {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
        {0x11d42, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16100, 0x1612f},
        {0x16d40, 0x16d6a}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
        {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef},
        {0x1e6e3, 0x1e6f5},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && c >= ranges[i].first; i++)
        if (c <= ranges[i].last) return true;
    return false;
}

static unsigned combining_class(int32_t c) {
    if (is_left_alone(c)) return 0;
    return (unsigned)utf8proc_get_property(c)->combining_class % N_COMBINING_CLASSES;
}

/* Stable sort of n marks by combining class, through `spare`. */
static void sort_marks(int32_t *marks, size_t n, int32_t *spare) {
    size_t place[N_COMBINING_CLASSES + 1] = {0};
    for (size_t i = 0; i < n; i++) place[combining_class(marks[i]) + 1]++;
    for (size_t k = 1; k <= N_COMBINING_CLASSES; k++) place[k] += place[k - 1];
    for (size_t i = 0; i < n; i++) spare[place[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, spare, n * sizeof *marks);
}

/* Unicode's canonical ordering: sorts every run of marks between starters. */
static void order_marks(int32_t *points, size_t n, int32_t *spare) {
    for (size_t i = 0; i < n; i++) {
        size_t begin = i;
        while (i < n && combining_class(points[i]) != 0) i++;
        if (i - begin > 1) sort_marks(points + begin, i - begin, spare);
    }
}

/* How many code points the canonical decomposition of `text` has; it writes them when `points` is
 * set. */
static size_t decompose(const char *text, size_t size, int32_t *points) {
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        int32_t some[MAX_DECOMPOSITION];
        int32_t c = tt__decode_utf8(text, size, at, &at);
        utf8proc_ssize_t k = utf8proc_decompose_char(c, some, MAX_DECOMPOSITION, NFC, NULL);
        if (k < 1 || k > MAX_DECOMPOSITION || is_left_alone(c)) some[0] = c, k = 1;
        if (points) memcpy(points + n, some, (size_t)k * sizeof *some);
        n += (size_t)k;
    }
    return n;
}

/* Composes n ordered code points in place; returns how many are left. Characters left alone stay as they are
 * and keep their neighbours apart. */
static size_t compose(int32_t *points, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t begin = i;
        while (i < n && !is_left_alone(points[i])) i++;
        utf8proc_ssize_t k =
            utf8proc_normalize_utf32(points + begin, (utf8proc_ssize_t)(i - begin), NFC);
        size_t length = k < 0 ? i - begin : (size_t)k;
        memmove(points + kept, points + begin, length * sizeof *points);
        kept += length;
        if (i < n) points[kept++] = points[i];
    }
    return kept;
}

/* ---- white space and case, into UTF-8 -------------------------------------------------------- */

static tt_status append_character(tt_buf *out, int32_t c, tt_err *err) {
    utf8proc_uint8_t bytes[UTF8_MAX_BYTES];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    return tt_buf_append(out, bytes, (size_t)n, err);
}

static tt_status append_lowercase(tt_buf *out, int32_t c, tt_err *err) {
    enum { I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 }; /* the one character with two in lower case */
    if (c != I_WITH_DOT) return append_character(out, utf8proc_tolower(c), err);
    TT_TRY(append_character(out, 'i', err));
    return append_character(out, DOT_ABOVE, err);
}

static tt_status append_points(tt_buf *out, const int32_t *points, size_t n, tt_err *err) {
    bool after_space = false;
    for (size_t i = 0; i < n; i++) {
        bool space = is_space(points[i], utf8proc_category(points[i]));
        if (!space)
            TT_TRY(append_lowercase(out, points[i], err));
        else if (!after_space)
            TT_TRY(tt_buf_append(out, " ", 1, err));
        after_space = space;
    }
    return TT_OK;
}

tt_status tt__normalise(const char *text, size_t size, tt_buf *out, tt_err *err) {
    size_t n = decompose(text, size, NULL), bytes;
    if (n == 0) return TT_OK;
    if (!tt_mul_size(n, 2 * sizeof(int32_t), &bytes)) return tt_fail_nomem(err, "text", n);
    int32_t *points = tt_alloc(bytes);
    if (!points) return tt_fail_nomem(err, "normalising text", bytes);
    decompose(text, size, points);
    order_marks(points, n, points + n);
    tt_status status = append_points(out, points, compose(points, n), err);
    tt_free(points);
    return status;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* What is a piece whatever follows it: a marker that got its spelling from lower casing (so that it
 * is text, not a marker), and the endings. Its length; 0 when there is none here. */
static size_t literal_piece(const char *text, size_t size) {
    static const char *const literals[] = {TT__BOS_NAME, TT__EOS_NAME, "'s",  "'t", "'re",
                                           "'ve",        "'m",         "'ll", "'d"};
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        size_t length = strlen(literals[i]);
        if (size >= length && !memcmp(text, literals[i], length)) return length;
    }
    return 0;
}

bool tt__next_piece(const char *text, size_t size, size_t at, size_t *begin, size_t *end) {
    char_class kind = SPACE;
    size_t next = at;
    while (kind == SPACE) {
        if (next >= size) return false;
        at = next;
        kind = classify(tt__decode_utf8(text, size, at, &next));
    }
    *begin = at;
    size_t literal = kind == OTHER ? literal_piece(text + at, size - at) : 0;
    *end = literal ? at + literal : next;
    if (literal || kind == NUMBER) return true;
    while (*end < size && classify(tt__decode_utf8(text, size, *end, &next)) == kind) *end = next;
    return true;
}
