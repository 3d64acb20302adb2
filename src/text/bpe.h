/* Byte-pair encoding: a vocabulary of names, ranked merges, and the merging of one word. Used by
 * the tokenizer only.
 *
 * Names are written in the byte alphabet of GPT-2: every byte is one printable character, so that a
 * name is text ("Ġ" is a space). A name that ends in "</w>" ends a word. */
#ifndef TT_TEXT_BPE_H
#define TT_TEXT_BPE_H

#include "base/err.h"
#include "text/tokenizer.h"

/* A token's name; not NUL-terminated, not owned. */
typedef struct tt__name {
    const char *text;
    size_t size; /* bytes, at most TT__MAX_NAME_BYTES */
} tt__name;

/* The longest name in CLIP has under 200 bytes. */
enum { TT__MAX_NAME_BYTES = 1024 };

typedef struct tt__bpe_span {
    uint32_t start, size; /* bytes in tt__bpe.text; size 0: no token has this id */
} tt__bpe_span;

typedef struct tt__bpe_merge {
    int32_t left, right, joined;
} tt__bpe_merge;

/* Filled between init and seal, constant afterwards. */
typedef struct tt__bpe {
    char *text; /* owned: all names, back to back */
    size_t text_size, text_capacity;
    tt__bpe_span *spans; /* owned, [n_ids] */
    int32_t n_ids;
    tt__bpe_merge *merges; /* owned, [n_merges], in order of rank */
    uint32_t n_merges, max_merges;
    uint32_t *merge_slots; /* owned hash table: (left, right) -> rank + 1; 0 is free */
    uint32_t merge_mask;
    uint32_t *name_slots; /* owned hash table: name -> id + 1; NULL once sealed */
    uint32_t name_mask;
    int32_t inner_ids[256], last_ids[256]; /* of a byte inside a word and at its end; -1: none */
    int32_t unknown_id;                    /* for bytes that have none */
} tt__bpe;

/* Room for names of `text_bytes` bytes in all, ids below n_ids, and max_merges merges. */
tt_status tt__bpe_init(tt__bpe *b, int32_t n_ids, size_t text_bytes, uint32_t max_merges,
                       tt_err *err);
void tt__bpe_release(tt__bpe *b);

/* TT_E_FORMAT when the name or the id is taken, or the id is out of range. */
tt_status tt__bpe_add_token(tt__bpe *b, int32_t id, tt__name name, tt_err *err);
/* The merge of the next rank. Both names and their join must be tokens. A pair given twice keeps the later
 * rank. */
tt_status tt__bpe_add_merge(tt__bpe *b, tt__name left, tt__name right, tt_err *err);
/* The same for a join that is no token yet: it becomes one, with this id. */
tt_status tt__bpe_add_joined(tt__bpe *b, int32_t id, tt__name left, tt__name right, tt_err *err);
/* -1 when there is none. Not after seal. */
int32_t tt__bpe_find(const tt__bpe *b, tt__name name);
void tt__bpe_seal(tt__bpe *b, int32_t unknown_id);

/* The UTF-8 of a byte's character in the alphabet; returns its length, 1 or 2. */
size_t tt__bpe_byte_name(unsigned char byte, char name[2]);
/* The byte that a character of the alphabet stands for; -1 for any other character. */
int tt__bpe_character_byte(int32_t character);

/* Working memory for merging, kept from word to word. All zero to begin with. */
typedef struct tt__bpe_scratch {
    struct tt__bpe_symbol *symbols; /* owned, [capacity] */
    struct tt__bpe_candidate *heap; /* owned, [3 * capacity] */
    size_t capacity;
} tt__bpe_scratch;
void tt__bpe_scratch_release(tt__bpe_scratch *s);

/* Appends the ids of one word (n bytes, n > 0) to `out`. */
tt_status tt__bpe_encode(const tt__bpe *b, tt__bpe_scratch *scratch, const char *word, size_t n,
                         tt_tokens *out, tt_err *err);

/* Appends one id; TT_E_INVALID beyond TT_MAX_TOKENS. */
tt_status tt__tokens_push(tt_tokens *tokens, int32_t id, tt_err *err);

#endif
