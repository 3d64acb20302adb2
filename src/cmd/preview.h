/* The picture itself in a terminal. */
#ifndef TT_CMD_PREVIEW_H
#define TT_CMD_PREVIEW_H

#include <stdbool.h>

#include "tintype/engine.h"

/* True when standard output is a terminal that shows colours and nobody asked for none (NO_COLOR). */
bool tt__preview_is_possible(void);

/* Prints the picture in half-block characters, as wide as the terminal allows. */
tt_status tt__preview_show(const tt_picture *picture, tt_err *err);

#endif
