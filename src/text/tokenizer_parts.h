/* What the files of the tokenizer share. Not for others: their header is tokenizer.h. */
#ifndef TT_TEXT_TOKENIZER_PARTS_H
#define TT_TEXT_TOKENIZER_PARTS_H

#include <stdbool.h>

#include "text/bpe.h"
#include "text/tokenizer.h"

#define TT__BOS_NAME "<|startoftext|>"
#define TT__EOS_NAME "<|endoftext|>"

/* A token that is found in the text as it stands, before the text is cut into pieces. */
typedef struct tt__special {
    char *text; /* owned; normalised when `normalised` is set */
    size_t size;
    int32_t id;
    bool normalised; /* looked for in the normalised text: so in any case of letters */
} tt__special;

struct tt_tokenizer {
    tt__bpe bpe;
    tt__special *specials; /* owned, [n_specials] */
    size_t n_specials;
    int32_t bos_id, eos_id, pad_id;
};

/* The character at text[at] of valid UTF-8, and where the next one starts. */
int32_t tt__decode_utf8(const char *text, size_t size, size_t at, size_t *next);

/* Appends NFC, white space collapsed, lower case, to `out`. `text` is valid UTF-8. */
tt_status tt__normalise(const char *text, size_t size, tt_buf *out, tt_err *err);

/* The first piece of normalised text at or after `at`: [*begin, *end) in bytes. False at the end.
 */
bool tt__next_piece(const char *text, size_t size, size_t at, size_t *begin, size_t *end);

/* An empty tokenizer, to be closed by tt_tokenizer_close. */
tt_status tt__tokenizer_new(tt_tokenizer **out, tt_err *err);
tt_status tt__tokenizer_add_special(tt_tokenizer *t, const char *text, size_t size, int32_t id,
                                    bool normalised, tt_err *err);
void tt__tokenizer_remove_special(tt_tokenizer *t,
                                  int32_t id); /* nothing happens when it is none */
/* Once vocabulary and merges are in: finds the markers, adds them to the special tokens unless they
 * are there, and seals the tables. */
tt_status tt__tokenizer_finish(tt_tokenizer *t, tt_err *err);

#endif
