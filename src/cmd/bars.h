/* How far a download is, on standard error: one bar on a terminal, redrawn in its place; else a line every tenth or every
 * ten seconds. The terminal's width is asked for each time, so a window that changes is followed. */
#ifndef TT_CMD_BARS_H
#define TT_CMD_BARS_H

#include "cmd/store_text.h"
#include "store/store.h"

typedef struct tt__bar {
    bool is_terminal;
    int drawn;                      /* columns of the line that is there; 0: none */
    int tenths;                     /* of the last plain line; -1: none yet */
    int64_t told_ms;                /* when that was */
    tt_store_phase phase;           /* of the last plain line */
    char reference[TT__NAME_BYTES]; /* what to call it before its name is known */
} tt__bar;

void tt__bar_init(tt__bar *b, const char *reference);
void tt__bar_show(tt__bar *b, const tt_store_progress *p);
void tt__bar_end(tt__bar *b); /* wipes the bar: what comes next stands in its place */

enum { TT__BAR_BYTES = 512 };
/* The bar's line for a terminal of so many columns; never wider. */
void tt__bar_line(char out[TT__BAR_BYTES], const char *reference, const tt_store_progress *p,
                  int columns);

#endif
