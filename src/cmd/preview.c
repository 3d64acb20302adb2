/* See preview.h. Two rows stay free: for the line that names the file, and the prompt of the shell. */
#include "cmd/preview.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "image/halfblock.h"

bool tt__preview_is_possible(void) {
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    if (!isatty(STDOUT_FILENO) || (no_color && no_color[0])) return false;
    return term && term[0] && strcmp(term, "dumb") != 0;
}

/* Every cell is two colour escapes of at most 20 bytes and a three-byte character. */
enum { MAX_COLUMNS = 160, MAX_ROWS = 60, MAX_CELL_BYTES = 48, USUAL_COLUMNS = 80, USUAL_ROWS = 24 };

static int at_most(int value, int limit) {
    return value < limit ? value : limit;
}

tt_status tt__preview_show(const tt_picture *picture, tt_err *err) {
    struct winsize size = {.ws_col = 0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    int columns = at_most(size.ws_col > 0 ? size.ws_col : USUAL_COLUMNS, MAX_COLUMNS);
    int rows = at_most(size.ws_row > 2 ? size.ws_row - 2 : USUAL_ROWS, MAX_ROWS);
    tt_image image = {picture->rgb, picture->width, picture->height};
    tt_buf text;
    tt_buf_init(&text, (size_t)MAX_COLUMNS * MAX_ROWS * MAX_CELL_BYTES);
    tt_status status = tt_image_halfblock(&image, columns, rows, &text, err);
    if (status == TT_OK) fwrite(text.data, 1, text.size, stdout);
    tt_buf_release(&text);
    return status;
}
