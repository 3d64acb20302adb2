/* From a URL to a verified file beside its final place: models.md 3.3.
 *
 *     chunks        TT_DOWNLOAD_CHUNK_BYTES: the unit of memory, of the part file and of its journal
 *     connections   up to n_connections HTTP/1.1 GETs with ranges of many chunks, handed out in order; few first, more while
 *                   that makes it faster, fewer on 429 and 503
 *     disk          a chunk that is complete is written to its place at once, whatever its place
 *     hash          SHA-256 takes chunks in order on a thread of its own: from memory as long as there is room for them until
 *                   their turn comes, else from the part file, where the system's cache still has them
 *     journal       beside the part file: size, whose bytes, which chunks are written and synced. What was received and is not
 *                   yet in it never exceeds one interval, over all connections: no more is taken from the network before.
 *                   After a crash only chunks that are missing are asked for, and the others are read back for the digest. Whose: the
 *                   digest that was promised, else a strong ETag; without either nothing is resumed
 *     checks        every 206: exactly the range asked for, total and validator as at first, no Content-Encoding; a 200 to
 *                   a range: one stream from the start; the first bytes must look like safetensors.
 *                   A digest or an exact size that does not fit: once more from the start, as one stream
 *     trouble       a stalled connection (15 s, 30 s before the first byte) or one below a tenth of its peers' speed gives its
 *                   range back; tries with full jitter, Retry-After obeyed; an expired link is resolved again by `again`
 *
 * The caller owns the part file's name (unique to this process) and removes it after failure unless it means to resume. */
#ifndef TT_STORE_DOWNLOAD_H
#define TT_STORE_DOWNLOAD_H

#include "store/source.h"

enum {
    TT_DOWNLOAD_CHUNK_BYTES = 512 << 10, /* a few of them fit a core's second-level cache */
    TT_DOWNLOAD_RANGE_CHUNKS = 32,       /* asked for at once: 16 MiB */
    TT_DOWNLOAD_CONNECTIONS = 8,         /* unless the options say otherwise */
    TT_DOWNLOAD_MAX_CONNECTIONS = 16,
    TT_DOWNLOAD_MEMORY_CHUNKS = 128, /* 64 MiB: what waits for the disk, or for the hash */
    /* What a process that dies may have received in vain, 64 MiB at most: so many chunks may be begun and not yet be in
     * the journal. It is written when half of them wait for it, and after so long a time. */
    TT_DOWNLOAD_INTERVAL_CHUNKS = 128,
    TT_DOWNLOAD_JOURNAL_MS = 2000,
};

typedef struct tt_download_progress {
    uint64_t bytes_done, bytes_total; /* total 0: not known yet */
    double bytes_per_s;               /* of the last seconds */
    int64_t eta_ms;                   /* -1: not known */
    int n_connections;
} tt_download_progress;

typedef struct tt_download_options {
    const char *part_path;    /* written here; exists already: resumed when its journal fits */
    const char *journal_path; /* "": no resume */
    uint64_t max_bytes;       /* tt_model_kind_max_bytes */
    uint64_t reserve_bytes;   /* that must stay free on the disk */
    int n_connections;        /* 0: TT_DOWNLOAD_CONNECTIONS */
    int64_t deadline_ms;      /* from now */
    /* About four times a second, on the calling thread; false: cancel (the part and its journal stay). May be NULL. */
    bool (*progress)(void *context, const tt_download_progress *progress);
    void *progress_context;
    /* Fills in a fresh URL for the same file: links expire. May be NULL. */
    tt_status (*again)(void *context, tt_source_file *file, tt_fetch_error *error);
    void *again_context;
    /* For tests: */
    int chunk_bytes;  /* 0: TT_DOWNLOAD_CHUNK_BYTES */
    int range_chunks; /* 0: TT_DOWNLOAD_RANGE_CHUNKS */
    int time_divisor; /* waits, stalls and intervals are this many times shorter; 0: 1 */
} tt_download_options;

typedef struct tt_downloaded {
    char digest[TT_DIGEST_HEX + 1]; /* of the bytes as they are */
    uint64_t size;
    uint64_t fetched_bytes; /* over the network, repeated ranges included */
    double seconds, hash_seconds;
    int n_retries, n_connections; /* tries beyond the first; the most at once */
} tt_downloaded;

/* Blocking. On success part_path holds all bytes, synced and closed without error, digest and size as the source
 * promised where it did; the journal is gone. */
tt_status tt_download(const tt_source_services *services, const tt_source_file *file,
                      const tt_download_options *options, tt_downloaded *out,
                      tt_fetch_error *error);

#endif
