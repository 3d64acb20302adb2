/* The journal of a download: which chunks of the part file are written and synced. Two slots, written in turn, each with a
 * number and a checksum: a write that is torn leaves the other one. All numbers are little-endian.
 *
 *     0     8    "tt.parts"
 *     8     4    version, 2
 *     12    4    chunk_bytes
 *     16    8    total: bytes of the whole file
 *     24    8    sequence: the slot with the larger one is newer; it lies at slot sequence % 2
 *     32    32   identity: of which bytes this is a part (SHA-256 of "sha256:..." or "etag:..."); no link, no key
 *     64    15360 written: chunk i is byte i / 8, bit i % 8
 *     15424 928  zero
 *     16352 32   SHA-256 of all before it
 *
 * Whatever is not exactly this is no journal: the download starts anew. A journal never claims what is not on disk, as
 * the part file is synced first. */
#include "store/download_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum {
    VERSION = 2,
    VERSION_AT = 8,
    CHUNK_AT = 12,
    TOTAL_AT = 16,
    SEQUENCE_AT = 24,
    IDENTITY_AT = 32,
    WRITTEN_AT = 64,
    ZERO_AT = WRITTEN_AT + TT__JOURNAL_BITMAP_BYTES,
    SUM_BYTES = 32,
    SUM_AT = TT__JOURNAL_SLOT_BYTES - SUM_BYTES,
    FILE_BYTES = 2 * TT__JOURNAL_SLOT_BYTES,
};

static const char MAGIC[VERSION_AT] = {'t', 't', '.', 'p', 'a', 'r', 't', 's'};

uint64_t tt__journal_n_chunks(const tt__journal *j) {
    return j->total / j->chunk_bytes + (j->total % j->chunk_bytes != 0);
}

bool tt__journal_has(const tt__journal *j, uint64_t chunk) {
    return chunk < TT__JOURNAL_MAX_CHUNKS && (j->written[chunk / 8] >> (chunk % 8) & 1) != 0;
}

void tt__journal_add(tt__journal *j, uint64_t chunk) {
    if (chunk < TT__JOURNAL_MAX_CHUNKS)
        j->written[chunk / 8] = (unsigned char)(j->written[chunk / 8] | 1u << (chunk % 8));
}

static void put(unsigned char *at, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t take(const unsigned char *at, int n_bytes) {
    uint64_t value = 0;
    for (int i = n_bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static bool sum(const unsigned char *slot, unsigned char out[SUM_BYTES]) {
    return EVP_Digest(slot, SUM_AT, out, NULL, EVP_sha256(), NULL) == 1;
}

void tt__journal_format(const tt__journal *j, unsigned char slot[TT__JOURNAL_SLOT_BYTES]) {
    memset(slot, 0, TT__JOURNAL_SLOT_BYTES);
    memcpy(slot, MAGIC, sizeof MAGIC);
    put(slot + VERSION_AT, VERSION, 4);
    put(slot + CHUNK_AT, j->chunk_bytes, 4);
    put(slot + TOTAL_AT, j->total, 8);
    put(slot + SEQUENCE_AT, j->sequence, 8);
    memcpy(slot + IDENTITY_AT, j->identity, TT__IDENTITY_BYTES);
    memcpy(slot + WRITTEN_AT, j->written, TT__JOURNAL_BITMAP_BYTES);
    if (!sum(slot, slot + SUM_AT)) memset(slot + SUM_AT, 0, SUM_BYTES); /* no journal, then */
}

static bool is_zero(const unsigned char *at, const unsigned char *end) {
    for (; at < end; at++)
        if (*at) return false;
    return true;
}

/* No bit beyond the last chunk. */
static bool is_bitmap_good(const tt__journal *j) {
    uint64_t n = tt__journal_n_chunks(j);
    if (n == 0 || n > TT__JOURNAL_MAX_CHUNKS) return false;
    for (uint64_t i = n; i < TT__JOURNAL_MAX_CHUNKS; i++)
        if (tt__journal_has(j, i)) return false;
    return true;
}

static bool parse_slot(const unsigned char *slot, int place, tt__journal *out) {
    unsigned char expected[SUM_BYTES];
    if (memcmp(slot, MAGIC, sizeof MAGIC) != 0 || take(slot + VERSION_AT, 4) != VERSION)
        return false;
    if (!sum(slot, expected) || memcmp(expected, slot + SUM_AT, SUM_BYTES) != 0) return false;
    *out = (tt__journal){.total = take(slot + TOTAL_AT, 8),
                         .sequence = take(slot + SEQUENCE_AT, 8),
                         .chunk_bytes = (uint32_t)take(slot + CHUNK_AT, 4)};
    memcpy(out->identity, slot + IDENTITY_AT, TT__IDENTITY_BYTES);
    memcpy(out->written, slot + WRITTEN_AT, TT__JOURNAL_BITMAP_BYTES);
    return out->chunk_bytes > 0 && out->chunk_bytes <= TT__JOURNAL_MAX_CHUNK_BYTES &&
           out->sequence % 2 == (uint64_t)place && is_zero(slot + ZERO_AT, slot + SUM_AT) &&
           is_bitmap_good(out);
}

bool tt__journal_parse(const unsigned char *bytes, size_t size, tt__journal *out) {
    tt__journal found;
    bool has_one = false;
    for (int place = 0; place < 2; place++) {
        size_t at = (size_t)place * TT__JOURNAL_SLOT_BYTES;
        if (size < at + TT__JOURNAL_SLOT_BYTES || !parse_slot(bytes + at, place, &found)) continue;
        if (!has_one || found.sequence > out->sequence) *out = found;
        has_one = true;
    }
    return has_one;
}

bool tt__journal_read(const char *path, tt__journal *out) {
    unsigned char bytes[FILE_BYTES];
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    while (size < sizeof bytes) {
        ssize_t n = pread(fd, bytes + size, sizeof bytes - size, (off_t)size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        size += (size_t)n;
    }
    close(fd);
    return tt__journal_parse(bytes, size, out);
}

bool tt__journal_write(int fd, tt__journal *j) {
    unsigned char slot[TT__JOURNAL_SLOT_BYTES];
    j->sequence++;
    tt__journal_format(j, slot);
    off_t at = (off_t)(j->sequence % 2) * TT__JOURNAL_SLOT_BYTES;
    for (size_t done = 0; done < sizeof slot;) {
        ssize_t n = pwrite(fd, slot + done, sizeof slot - done, at + (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return tt_file_sync_data(fd);
}
