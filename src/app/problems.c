/* See problems.h. */
#include "app/problems.h"

#include <stdio.h>
#include <string.h>

/* All sentences of a full list and their separators. */
enum { MAX_TEXT_BYTES = (TT_MAX_PROBLEMS + 1) * (TT_ERR_MESSAGE_BYTES + 8) };

void tt_problems_init(tt_problems *p) {
    p->count = 0;
}

void tt_problems_add(tt_problems *p, const char *format, ...) {
    int place = p->count++;
    if (place >= TT_MAX_PROBLEMS) return;
    char text[2 * TT_ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tt_fail(&p->list[place], TT_E_INVALID, "%s", text);
}

tt_status tt_problems_write(const tt_problems *p, const char *separator, tt_buf *out, tt_err *err) {
    for (int i = 0; i < p->count && i < TT_MAX_PROBLEMS; i++) {
        if (i > 0) TT_TRY(tt_buf_puts(out, separator, err));
        TT_TRY(tt_buf_puts(out, p->list[i].message, err));
    }
    if (p->count <= TT_MAX_PROBLEMS) return TT_OK;
    return tt_buf_printf(out, err, "%sand %d more", separator, p->count - TT_MAX_PROBLEMS);
}

tt_status tt_problems_status(const tt_problems *p, tt_err *err) {
    if (p->count == 0) return TT_OK;
    tt_buf text;
    tt_buf_init(&text, MAX_TEXT_BYTES);
    tt_status status = tt_problems_write(p, "; ", &text, err);
    if (status == TT_OK) status = tt_fail(err, TT_E_INVALID, "%s", text.data);
    tt_buf_release(&text);
    return status;
}
