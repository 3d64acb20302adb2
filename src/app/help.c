/* The help text for `--help`; see help.h. Flags stand in a column of their own, sentences are
 * wrapped beside them. */
#include "app/help.h"

#include <string.h>

#include "app/options.h"

enum { COLUMNS = 100, FLAG_COLUMN = 2, TEXT_COLUMN = 26, MAX_ROW_BYTES = 4096 };
/* More names than these are a list to look up, not to read on the way. */
enum { MAX_SHORT_CHOICES = 5 };

/* Goes to `column`, on a new line where the cursor is already past it. */
static tt_status go_to_column(tt_buf *out, size_t *at, size_t column, tt_err *err) {
    if (*at + 2 > column) {
        TT_TRY(tt_buf_puts(out, "\n", err));
        *at = 0;
    }
    TT_TRY(tt_buf_printf(out, err, "%*s", (int)(column - *at), ""));
    *at = column;
    return TT_OK;
}

/* Appends the words of `text` from the cursor on, wrapped to the text column. */
static tt_status wrap(tt_buf *out, size_t *at, const char *text, tt_err *err) {
    while (*text) {
        size_t word = strcspn(text, " ");
        bool is_first = *at == TEXT_COLUMN;
        if (!is_first && *at + 1 + word > COLUMNS) {
            *at = COLUMNS;
            TT_TRY(go_to_column(out, at, TEXT_COLUMN, err));
            is_first = true;
        }
        if (!is_first) TT_TRY(tt_buf_puts(out, " ", err));
        TT_TRY(tt_buf_append(out, text, word, err));
        *at += word + !is_first;
        text += word + strspn(text + word, " ");
    }
    return TT_OK;
}

static tt_status write_range(const tt_option *row, tt_buf *text, tt_err *err) {
    if (row->type == TT_OPTION_SEED) return tt_buf_puts(text, " 0 to 2^64-1.", err);
    if (row->type != TT_OPTION_INTEGER && row->type != TT_OPTION_NUMBER) return TT_OK;
    if (row->minimum == row->maximum) return TT_OK;
    TT_TRY(tt_buf_printf(text, err, " %g to %g", row->minimum, row->maximum));
    if (row->multiple_of) TT_TRY(tt_buf_printf(text, err, ", a multiple of %d", row->multiple_of));
    return tt_buf_puts(text, ".", err);
}

static tt_status write_choices(const tt_option *row, tt_help_detail detail, tt_buf *text,
                               tt_err *err) {
    if (!row->choices) return TT_OK;
    const char *const *names = row->choices();
    int n = 0;
    while (names[n]) n++;
    if (detail == TT_HELP_SHORT && n > MAX_SHORT_CHOICES) return TT_OK;
    TT_TRY(tt_buf_puts(text, " One of:", err));
    for (int i = 0; i < n; i++) TT_TRY(tt_buf_printf(text, err, "%s %s", i ? "," : "", names[i]));
    return tt_buf_puts(text, ".", err);
}

static tt_status write_sentences(const tt_option *row, tt_help_detail detail, tt_buf *text,
                                 tt_err *err) {
    TT_TRY(tt_buf_puts(text, row->help, err));
    if (detail == TT_HELP_ALL) TT_TRY(write_range(row, text, err));
    TT_TRY(write_choices(row, detail, text, err));
    if (row->type == TT_OPTION_SWITCH || row->type == TT_OPTION_UNUSED) return TT_OK;
    const char *fallback = row->default_text ? row->default_text : row->fixed_default;
    return tt_buf_printf(text, err, " Default: %s.", fallback);
}

static tt_status write_names(const char *label, const char *first, const char *const aliases[],
                             tt_buf *text, tt_err *err) {
    const char *between = label;
    if (first) {
        TT_TRY(tt_buf_printf(text, err, "%s%s", between, first));
        between = ", ";
    }
    for (int i = 0; i < TT_OPTION_ALIASES && aliases[i]; i++) {
        TT_TRY(tt_buf_printf(text, err, "%s%s", between, aliases[i]));
        between = ", ";
    }
    return between == label ? TT_OK : tt_buf_puts(text, "] ", err);
}

/* The other ways to say it: [also --x] [job: steps] [TINTYPE_STEPS] */
static tt_status write_other_names(const tt_option *row, tt_buf *text, tt_err *err) {
    static const char *const no_aliases[TT_OPTION_ALIASES] = {NULL};
    TT_TRY(write_names("[also ", NULL, row->flag_aliases, text, err));
    TT_TRY(write_names("[job: ", row->field, row->field_aliases, text, err));
    return write_names("[", row->environment, no_aliases, text, err);
}

/* As it would be typed: in quotes where a shell needs them. */
static tt_status write_example(const tt_option *row, tt_buf *text, tt_err *err) {
    const char *value = row->example;
    if (!row->flag && row->field)
        return tt_buf_printf(text, err, "Example: \"%s\": %s", row->field, value);
    if (!row->flag) return tt_buf_printf(text, err, "Example: %s=%s", row->environment, value);
    if (row->type == TT_OPTION_SWITCH) return tt_buf_printf(text, err, "Example: %s", row->flag);
    bool is_plain = strpbrk(value, " \"*{[<(") == NULL;
    const char *quote = is_plain ? "" : strchr(value, '"') ? "'" : "\"";
    return tt_buf_printf(text, err, "Example: %s %s%s%s", row->flag, quote, value, quote);
}

static tt_status write_line(tt_buf *out, size_t *at, const char *text, tt_err *err) {
    *at = COLUMNS;
    TT_TRY(go_to_column(out, at, TEXT_COLUMN, err));
    return wrap(out, at, text, err);
}

static tt_status write_details(const tt_option *row, tt_buf *out, size_t *at, tt_buf *text,
                               tt_err *err) {
    if (row->flag || row->field) { /* else it has one name, and that was told */
        text->size = 0;
        TT_TRY(write_other_names(row, text, err));
        TT_TRY(write_line(out, at, text->data, err));
    }
    text->size = 0;
    TT_TRY(write_example(row, text, err));
    return write_line(out, at, text->data, err);
}

static tt_status write_row(const tt_option *row, tt_help_detail detail, tt_buf *out, tt_buf *text,
                           tt_err *err) {
    size_t start = out->size;
    TT_TRY(tt_buf_printf(out, err, "%*s", FLAG_COLUMN, ""));
    const char *otherwise = row->field ? "(in a job only)" : row->environment;
    TT_TRY(tt_buf_puts(out, row->flag ? row->flag : otherwise, err));
    if (row->value_name) TT_TRY(tt_buf_printf(out, err, " %s", row->value_name));
    size_t at = out->size - start;
    TT_TRY(go_to_column(out, &at, TEXT_COLUMN, err));
    TT_TRY(write_sentences(row, detail, text, err));
    TT_TRY(wrap(out, &at, text->data, err));
    if (detail == TT_HELP_ALL) TT_TRY(write_details(row, out, &at, text, err));
    return tt_buf_puts(out, "\n", err);
}

tt_status tt_help_options(int commands, tt_help_detail detail, tt_buf *out, tt_err *err) {
    const char *group = "";
    tt_status status = TT_OK;
    for (int i = 0; i < TT_OPTION_COUNT && status == TT_OK; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        const char *title = tt_option_group((tt_option_id)i);
        if (!tt_option_is_for((tt_option_id)i, commands)) continue;
        if (detail == TT_HELP_SHORT && !row->is_common) continue;
        if (strcmp(group, title) != 0) status = tt_buf_printf(out, err, "\n%s\n", title);
        group = title;
        tt_buf text;
        tt_buf_init(&text, MAX_ROW_BYTES);
        if (status == TT_OK) status = write_row(row, detail, out, &text, err);
        tt_buf_release(&text);
    }
    return status;
}
