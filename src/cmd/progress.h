/* How far the picture is, on standard error: a bar on a terminal, a line every tenth elsewhere.
 * Never the prompt. */
#ifndef TT_CMD_PROGRESS_H
#define TT_CMD_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "tintype/engine.h"

typedef struct tt__progress_view {
    bool is_terminal;
    int columns;       /* of the terminal */
    double started_ms; /* when the first step began, on the engine's clock */
    int shown_tenths;  /* of the lines printed so far */
    bool is_open;      /* the bar's line has no end yet */
} tt__progress_view;

void tt__progress_view_init(tt__progress_view *view);
void tt__progress_view_show(tt__progress_view *view, const tt_progress *progress);
void tt__progress_view_end(tt__progress_view *view); /* ends the bar's line */

enum { TT_DURATION_BYTES = 32, TT_PROGRESS_BYTES = 192 };

/* "7 s", "1 min 05 s", "2 h 03 min" */
void tt__progress_duration(char out[TT_DURATION_BYTES], double seconds);
/* "picture 2/4, 7/24 steps, 0.42 s/it, 7 s left"; started_ms as in tt__progress_view. */
void tt__progress_text(char out[TT_PROGRESS_BYTES], const tt_progress *progress, double started_ms);

#endif
