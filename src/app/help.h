/* The options, told to people and to programs. Both are made from the table alone. */
#ifndef TT_APP_HELP_H
#define TT_APP_HELP_H

#include "base/buf.h"

typedef enum tt_help_detail {
    TT_HELP_SHORT, /* the options most used: what they do, and their default */
    TT_HELP_ALL, /* every option, with its range, default, job fields, environment variable and an example */
} tt_help_detail;

/* The options of the commands (TT_FOR_* of options.h), by group; at most 100 columns. */
tt_status tt_help_options(int commands, tt_help_detail detail, tt_buf *out, tt_err *err);

/* The JSON schema (draft 2020-12) of a job, {"input": {...}}. */
tt_status tt_help_schema(tt_buf *out, tt_err *err);
/* Its fields alone, the members of an object's "properties"; `here` is a JSON pointer to that object's schema ("#/properties/input"). */
tt_status tt_help_schema_fields(tt_buf *out, const char *here, tt_err *err);

#endif
