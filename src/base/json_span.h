/* Finding members in JSON text without building a tree: for text that is passed on byte for byte.
 * The text must have passed tt_json_check (or come from tt_json_parse's input); spans are borrowed from it. */
#ifndef TT_BASE_JSON_SPAN_H
#define TT_BASE_JSON_SPAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The same strictness and errors as tt_json_parse, without a tree; `max_bytes` replaces TT_MAX_JSON_BYTES (a stored answer
 * is larger than a request). */
tt_status tt_json_check(const char *text, size_t size, size_t max_bytes, tt_err *err);

/* The value of a top-level member of an object; false when text is no object or has no such member. */
bool tt_json_member(const char *text, size_t size, const char *name, const char **value,
                    size_t *value_size);

/* Walks the top-level members in order: start with *at = 0; false after the last. The name is raw (escapes not undone),
 * without quotes. */
bool tt_json_next_member(const char *text, size_t size, size_t *at, const char **name,
                         size_t *name_size, const char **value, size_t *value_size);

#endif
