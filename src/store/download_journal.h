/* The journal of a download: which chunks are on disk, and of which bytes. Its form is in download_journal.c. */
#ifndef TT_STORE_DOWNLOAD_JOURNAL_H
#define TT_STORE_DOWNLOAD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TT__IDENTITY_BYTES = 32 };

enum {
    TT__JOURNAL_SLOT_BYTES = 16384, /* two of them: one is whole whatever happens to the other */
    TT__JOURNAL_BITMAP_BYTES = 15360,
    TT__JOURNAL_MAX_CHUNKS = 8 * TT__JOURNAL_BITMAP_BYTES, /* 60 GiB of chunks of 512 KiB */
    TT__JOURNAL_MAX_CHUNK_BYTES = 16 << 20,
};

typedef struct tt__journal {
    uint64_t total, sequence;
    uint32_t chunk_bytes;
    unsigned char identity[TT__IDENTITY_BYTES];
    unsigned char written[TT__JOURNAL_BITMAP_BYTES]; /* chunk i: byte i / 8, bit i % 8 */
} tt__journal;

uint64_t tt__journal_n_chunks(const tt__journal *j);
bool tt__journal_has(const tt__journal *j, uint64_t chunk);
void tt__journal_add(tt__journal *j, uint64_t chunk);
void tt__journal_format(const tt__journal *j, unsigned char slot[TT__JOURNAL_SLOT_BYTES]);
/* The newest valid slot of a journal's bytes; false when there is none. */
bool tt__journal_parse(const unsigned char *bytes, size_t size, tt__journal *out);
bool tt__journal_read(const char *path, tt__journal *out);
/* Writes the slot after the last one, synced; false (errno) when that is impossible. */
bool tt__journal_write(int fd, tt__journal *j);

#endif
