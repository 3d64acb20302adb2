/* Inside the room: the table's groups, one file each (options_*.c). options.c puts them in order. */
#ifndef TT_APP_OPTIONS_PARTS_H
#define TT_APP_OPTIONS_PARTS_H

#include "app/options.h"

typedef struct tt__option_group {
    const char *title;
    const tt_option *rows; /* in the order of tt_option_id */
    int n;
} tt__option_group;

extern const tt__option_group tt__words_options, tt__draw_options, tt__image_options,
    tt__after_options, tt__adapters_options, tt__output_options, tt__source_options,
    tt__model_options, tt__store_options, tt__serve_options, tt__dev_options;

/* Rows of options that a running program needs as well as a single run. */
enum { ANYWHERE = TT_FOR_RUN | TT_FOR_WORKER };

#endif
