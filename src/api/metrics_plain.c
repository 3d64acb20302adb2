/* OpenMetrics to Prometheus' text format 0.0.4 (tt__metrics_to_plain of metrics.h).
 *
 * They differ, as far as we and our workers write them, in three things: in the older format the family of a counter bears
 * the _total of its samples, "info" is a gauge whose family bears _info, and there is neither # UNIT nor # EOF. */
#include <string.h>

#include "api/metrics.h"

typedef struct line {
    const char *text;
    size_t size; /* without the line break */
} line;

typedef struct words { /* "# TYPE name rest" */
    line keyword, name, rest;
} words;

static line next_word(line *from) {
    while (from->size && from->text[0] == ' ') from->text++, from->size--;
    line word = {from->text, 0};
    while (word.size < from->size && from->text[word.size] != ' ') word.size++;
    from->text += word.size;
    from->size -= word.size;
    return word;
}

static bool is(line word, const char *text) {
    return word.size == strlen(text) && memcmp(word.text, text, word.size) == 0;
}

static bool read_comment(line l, words *out) {
    if (!is(next_word(&l), "#")) return false;
    out->keyword = next_word(&l);
    out->name = next_word(&l);
    if (l.size) l.text++, l.size--; /* the one space before the rest */
    out->rest = l;
    return true;
}

static line next_line(const char *text, size_t size, size_t *at) {
    const char *start = text + *at;
    const char *end = memchr(start, '\n', size - *at);
    line l = {start, end ? (size_t)(end - start) : size - *at};
    *at += l.size + (end ? 1 : 0);
    return l;
}

/* What the family's name needs behind it: looked up in the whole text, since HELP may stand before TYPE. */
static const char *suffix_of(line name, const char *text, size_t size) {
    words w;
    for (size_t at = 0; at < size;) {
        line l = next_line(text, size, &at);
        if (!l.size || l.text[0] != '#' || !read_comment(l, &w) || !is(w.keyword, "TYPE")) continue;
        if (w.name.size != name.size || memcmp(w.name.text, name.text, name.size) != 0) continue;
        return is(w.rest, "counter") ? "_total" : is(w.rest, "info") ? "_info" : "";
    }
    return "";
}

static tt_status put(tt_buf *out, line l, tt_err *err) {
    return tt_buf_append(out, l.text, l.size, err);
}

static tt_status write_comment(const words *w, const char *suffix, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "# ", err));
    TT_TRY(put(out, w->keyword, err));
    TT_TRY(tt_buf_puts(out, " ", err));
    TT_TRY(put(out, w->name, err));
    TT_TRY(tt_buf_puts(out, suffix, err));
    TT_TRY(tt_buf_puts(out, " ", err));
    line rest = is(w->keyword, "TYPE") && is(w->rest, "info") ? (line){"gauge", 5} : w->rest;
    TT_TRY(put(out, rest, err));
    return tt_buf_puts(out, "\n", err);
}

tt_status tt__metrics_to_plain(const char *text, size_t size, tt_buf *out, tt_err *err) {
    for (size_t at = 0; at < size;) {
        words w;
        line l = next_line(text, size, &at);
        if (l.size && l.text[0] == '#' && read_comment(l, &w)) {
            if (is(w.keyword, "EOF") || is(w.keyword, "UNIT")) continue;
            if (is(w.keyword, "TYPE") || is(w.keyword, "HELP")) {
                TT_TRY(write_comment(&w, suffix_of(w.name, text, size), out, err));
                continue;
            }
        }
        TT_TRY(put(out, l, err));
        TT_TRY(tt_buf_puts(out, "\n", err));
    }
    return TT_OK;
}
