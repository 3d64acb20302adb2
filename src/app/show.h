/* Pieces of somebody else's input, made fit for a message: short, valid UTF-8, no control
 * characters. */
#ifndef TT_APP_SHOW_H
#define TT_APP_SHOW_H

#include <json-c/json.h>
#include <stddef.h>

/* Enough for a name or a number; longer values end in "...". */
enum { TT_SHOWN_BYTES = 96 };

/* The text itself. Invalid bytes and control characters become '?'. */
void tt_show_text(char out[TT_SHOWN_BYTES], const char *text, size_t size);
/* A value: numbers and booleans as they are, strings in quotes, "an object", "an array", "nothing"
 * for NULL. */
void tt_show_json(char out[TT_SHOWN_BYTES], json_object *value);

#endif
