/* See store_text.h. Widths are those of terminals that follow Unicode's East Asian Width: two columns for what is written in
 * squares and for emoji, none for combining marks of the common blocks. A wrong guess costs a crooked table. */
#include "cmd/store_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

void tt__size_text(char out[TT__SIZE_BYTES], uint64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    enum { THOUSAND = 1000 };
    double value = (double)bytes;
    int unit = 0;
    /* 999.5 would be printed as 1000. */
    while (value >= (unit ? 999.5 : THOUSAND)) {
        value /= THOUSAND;
        unit++;
    }
    int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out, TT__SIZE_BYTES, "%.*f %s", digits, value, units[unit]);
}

static bool unit_of(const char *text, double *out) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},         {"B", 1},        {"kB", 1e3},     {"MB", 1e6},    {"GB", 1e9},
                 {"TB", 1e12},    {"K", 1e3},      {"M", 1e6},      {"G", 1e9},     {"T", 1e12},
                 {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcasecmp(text, units[i].name) == 0) {
            *out = units[i].bytes;
            return true;
        }
    return false;
}

bool tt__size_read(const char *text, uint64_t *out) {
    const double most = 0x1p62;
    double unit;
    char *end;
    if (!text[0] || !strchr("0123456789.", text[0])) return false; /* no sign, "inf" or "nan" */
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) return false;
    double value = strtod(text, &end);
    while (*end == ' ') end++;
    if (end == text || !unit_of(end, &unit)) return false;
    double bytes = floor(value * unit);
    if (!(bytes >= 1 && bytes < most)) return false;
    *out = (uint64_t)bytes;
    return true;
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

void tt__ago_text(char out[TT__AGO_BYTES], int64_t then_s, int64_t now_s) {
    enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR, YEAR = 365 * DAY, MONTH = YEAR / 12 };
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {
        {YEAR, "year"}, {MONTH, "month"}, {DAY, "day"}, {HOUR, "hour"}, {MINUTE, "minute"}};
    int64_t ago = now_s - then_s;
    snprintf(out, TT__AGO_BYTES, "%s", then_s == 0 ? "never" : "just now"); /* the future, too */
    for (size_t i = 0; then_s != 0 && i < sizeof units / sizeof *units; i++) {
        int64_t n = ago / units[i].seconds;
        if (n < 1) continue;
        if (n > 99999) n = 99999;
        snprintf(out, TT__AGO_BYTES, "%d %s%s ago", (int)n, units[i].name, n == 1 ? "" : "s");
        return;
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

typedef struct range {
    uint32_t first, last;
} range;

static bool is_in(uint32_t c, const range *ranges, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

/* Controls of both sets, what has no width, marks and overrides of direction, other ends of lines, tags, private use. */
static bool is_unfit(uint32_t c) {
    static const range unfit[] = {{0, 0x1f},        {0x7f, 0x9f},       {0xad, 0xad},
                                  {0x61c, 0x61c},   {0x200b, 0x200f},   {0x2028, 0x202e},
                                  {0x2060, 0x206f}, {0xe000, 0xf8ff},   {0xfeff, 0xfeff},
                                  {0xfff0, 0xfffb}, {0xe0000, 0x10ffff}};
    return is_in(c, unfit, sizeof unfit / sizeof *unfit);
}

static int width_of(uint32_t c) {
    static const range none[] = {{0x300, 0x36f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}};
    static const range two[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
                                {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
                                {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
                                {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd}};
    if (is_in(c, none, sizeof none / sizeof *none)) return 0;
    return is_in(c, two, sizeof two / sizeof *two) ? 2 : 1;
}

/* One character of text that is valid UTF-8. */
static uint32_t decode(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    uint32_t c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) c = c << 6 | (p[i] & 0x3fu);
    return c;
}

/* The next character, '?' where it is unfit; its length in the text in *n. */
static uint32_t next(const char *text, size_t *n) {
    *n = tt_utf8_sequence(text, strlen(text));
    if (*n == 0) {
        *n = 1;
        return '?';
    }
    uint32_t c = decode(text, *n);
    return is_unfit(c) ? '?' : c;
}

int tt__columns(const char *shown) {
    int columns = 0;
    for (size_t n; *shown; shown += n) columns += width_of(next(shown, &n));
    return columns;
}

void tt__clean(char *out, size_t size, const char *text) {
    enum { LONGEST = 4 };
    size_t used = 0;
    for (size_t n; *text && used + LONGEST < size; text += n)
        used += tt_utf8_encode(next(text, &n), out + used);
    out[used] = '\0';
}

void tt__shown(char out[TT__NAME_BYTES], const char *text, int columns) {
    static const char dots[] = "...";
    enum { DOTS = 3, LONGEST = 4 };
    size_t used = 0, cut_at = 0, n;
    int width = 0;
    if (columns <= 0) columns = TT__NAME_BYTES;
    for (; *text; text += n) {
        uint32_t c = next(text, &n);
        width += width_of(c);
        if (width > columns || used + LONGEST + DOTS >= TT__NAME_BYTES) {
            used = cut_at;
            memcpy(out + used, dots, DOTS);
            used += DOTS;
            break;
        }
        used += tt_utf8_encode(c, out + used);
        if (width <= columns - DOTS) cut_at = used;
    }
    out[used] = '\0';
}
