/* The CLIP tokenizer: text to token ids, exactly as transformers' CLIPTokenizer (the one diffusers uses).
 *
 *     text -> special tokens cut out, as they stand
 *          -> NFC, runs of white space to one space, lower case
 *          -> pieces: 's 't 're 've 'm 'll 'd, runs of letters, single digits, runs of anything else
 *          -> bytes
 *          -> byte-pair merges by rank, the last symbol of a piece marked as a word's end
 *
 * Special tokens are <|startoftext|>, <|endoftext|> and the padding token. The last one is why encode asks for
 * pad_id, and why SDXL's two encoders get different ids for one prompt: the first pads with <|endoftext|> (49407);
 * the second pads with id 0, whose text is "!", so that transformers takes every "!" of a prompt for a padding
 * token: "wow!" is [2781, 256] for the first and [2781, 0] for the second.
 *
 * A tokenizer is immutable once open: any number of threads may use one. */
#ifndef TT_TEXT_TOKENIZER_H
#define TT_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct tt_tokenizer tt_tokenizer;

/* Token ids without the start and end markers. The caller owns the struct; all zero is an empty
 * list. */
typedef struct tt_tokens {
    int32_t *ids; /* owned, [n] */
    size_t n;
    size_t capacity;
} tt_tokens;
void tt_tokens_release(tt_tokens *tokens); /* frees; the struct is an empty list again */

/* The vocabulary built into the program: OpenAI's, 49408 ids. 4 to 8 ms. */
tt_status tt_tokenizer_open(tt_tokenizer **out, tt_err *err);

/* The tokenizer a diffusers folder brings: tokenizer.json, or else vocab.json and merges.txt, and
 * the padding token of tokenizer_config.json where there is one. */
tt_status tt_tokenizer_open_folder(const char *path, tt_tokenizer **out, tt_err *err);
/* Its two older files: a JSON object {name: id} and one merge "left right" a line. */
tt_status tt_tokenizer_open_files(const char *vocab_path, const char *merges_path,
                                  tt_tokenizer **out, tt_err *err);
/* tokenizer.json: the members model.vocab, model.merges and added_tokens. */
tt_status tt_tokenizer_open_json(const char *path, tt_tokenizer **out, tt_err *err);

void tt_tokenizer_close(tt_tokenizer *t); /* NULL is fine */

int32_t tt_tokenizer_size(const tt_tokenizer *t);   /* ids are 0 .. size - 1 */
int32_t tt_tokenizer_bos_id(const tt_tokenizer *t); /* <|startoftext|> */
int32_t tt_tokenizer_eos_id(const tt_tokenizer *t); /* <|endoftext|> */
/* The padding token the folder's tokenizer_config.json names; else the end token. */
int32_t tt_tokenizer_pad_id(const tt_tokenizer *t);

/* Appends the ids of `text` (UTF-8, `size` bytes; a NUL is a character like others) to `out`,
 * without markers. `pad_id` is what the ids will be padded with. TT_E_INVALID, and `out` as it was:
 * text that is not UTF-8 (the error's position is the byte offset), longer than
 * TT_MAX_TOKENIZER_BYTES, or of more than TT_MAX_TOKENS tokens. Time is n log n in the text's
 * length, whatever the text. */
tt_status tt_tokenizer_encode(const tt_tokenizer *t, const char *text, size_t size, int32_t pad_id,
                              tt_tokens *out, tt_err *err);

/* What a text encoder takes: start marker, the tokens (those beyond n_positions - 2 are cut), end
 * marker, padding. `ids` is [n_positions], owned by the caller. */
tt_status tt_tokenizer_pad(const tt_tokenizer *t, const tt_tokens *tokens, int32_t pad_id,
                           int n_positions, int32_t *ids, tt_err *err);

/* Appends the text of `n` ids to `out`, for messages: lower case, a space after each word but the
 * last, and U+FFFD where the tokens hold a part of a character. */
tt_status tt_tokenizer_decode(const tt_tokenizer *t, const int32_t *ids, size_t n, tt_buf *out,
                              tt_err *err);

#endif
