/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TT_BASE_UTF8_H
#define TT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length in bytes (1 to 4) of the well-formed sequence at p, of which n >= 1 bytes may be read; 0
 * when malformed. */
size_t tt_utf8_sequence(const char *p, size_t n);

/* True when the bytes are well-formed UTF-8; otherwise *bad_at (may be NULL) gets the offset of the
 * first bad byte. */
bool tt_utf8_is_valid(const char *text, size_t size, size_t *bad_at);

/* Writes a scalar value (no surrogate, at most U+10FFFF) and returns its length, 1 to 4. */
size_t tt_utf8_encode(uint32_t value, char out[4]);

/* For text of outside origin in messages and log lines, in place: control characters, which would forge lines or steer a
 * terminal, and bytes that are not UTF-8 become '?'. With `was_cut`, a sequence that the end of `text` splits is dropped. */
void tt_utf8_make_printable(char *text, bool was_cut);

#endif
