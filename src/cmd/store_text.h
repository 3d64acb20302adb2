/* Sizes, times and names of models as people read and write them. */
#ifndef TT_CMD_STORE_TEXT_H
#define TT_CMD_STORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TT__SIZE_BYTES = 24, TT__AGO_BYTES = 24, TT__NAME_BYTES = 160 };

/* "6.94 GB": powers of 1000, three digits. */
void tt__size_text(char out[TT__SIZE_BYTES], uint64_t bytes);
/* "200GB", "1.5 TB", "512MiB", "1000": a number and a unit, B when there is none. False when it is none, 0 or too large. */
bool tt__size_read(const char *text, uint64_t *out);

/* "never" for 0, "just now", "5 minutes ago", "3 days ago"; both in Unix time. */
void tt__ago_text(char out[TT__AGO_BYTES], int64_t then_s, int64_t now_s);

/* Somebody else's text for a terminal: no control characters, nothing that turns the direction of writing or has no width;
 * those become '?'. At most `columns` columns (0: as many as there are), cut with "...". */
void tt__shown(char out[TT__NAME_BYTES], const char *text, int columns);
/* The same for whole sentences and paths: uncut but where `size` bytes end. */
void tt__clean(char *out, size_t size, const char *text);
/* Columns that such a text takes. */
int tt__columns(const char *shown);

#endif
