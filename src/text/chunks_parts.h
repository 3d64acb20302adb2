/* Between chunks.c and chunks_entries.c: a prompt as one row of tokens, not yet cut. */
#ifndef TT_TEXT_CHUNKS_PARTS_H
#define TT_TEXT_CHUNKS_PARTS_H

#include "text/chunks.h"

typedef struct tt__entry {
    int32_t id;      /* what is fed to the encoder */
    int32_t segment; /* index */
    /* at the first of entries that belong together: how many; 0 at the others, and at a BREAK */
    int32_t unit;
    bool is_break; /* no token */
    bool is_comma; /* A1111's place to cut behind */
    float weight;
    const float *row; /* NULL: the id's own embedding */
} tt__entry;

typedef struct tt__entries {
    tt__entry *items; /* owned */
    size_t n, capacity;
    size_t n_rows_cut, n_embeddings;
} tt__entries;

/* Release also after a failure. */
tt_status tt__entries_build(const tt_tokenizer *t, const tt_segments *segments,
                            const tt_chunk_options *options, tt__entries *out, tt_err *err);
void tt__entries_release(tt__entries *e);

#endif
