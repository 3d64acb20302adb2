/* Any bytes as a download's journal: what is accepted is written again to the same bytes, and claims no chunk beyond the
 * last. A second pass has the checksums set right, as a fuzzer cannot guess SHA-256. */
#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/download_journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHECKED_BYTES = TT__JOURNAL_SLOT_BYTES - 32 };

static void must(int is_true) {
    if (!is_true) abort();
}

static void look(const unsigned char *bytes, size_t size) {
    unsigned char slot[TT__JOURNAL_SLOT_BYTES];
    tt__journal j;
    if (!tt__journal_parse(bytes, size, &j)) return;
    tt__journal_format(&j, slot);
    size_t at = (size_t)(j.sequence % 2) * TT__JOURNAL_SLOT_BYTES;
    must(at + sizeof slot <= size && memcmp(slot, bytes + at, sizeof slot) == 0);
    uint64_t n = tt__journal_n_chunks(&j);
    must(n > 0 && n <= TT__JOURNAL_MAX_CHUNKS && (n - 1) * j.chunk_bytes < j.total);
    for (uint64_t i = n; i < TT__JOURNAL_MAX_CHUNKS; i++) must(!tt__journal_has(&j, i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned char *copy = malloc(size + 1); /* of its own, so that a read behind the end is seen */
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    look(copy, size);
    for (size_t at = 0; at + TT__JOURNAL_SLOT_BYTES <= size; at += TT__JOURNAL_SLOT_BYTES)
        must(EVP_Digest(copy + at, CHECKED_BYTES, copy + at + CHECKED_BYTES, NULL, EVP_sha256(),
                        NULL) == 1);
    look(copy, size);
    free(copy);
    return 0;
}
