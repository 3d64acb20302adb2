/* From a URL to a verified file beside its final place: models.md 3.3.
 *
 *     connections   up to n_connections HTTP/1.1 GETs with ranges of TT_DOWNLOAD_CHUNK_BYTES, handed out in order; few first,
 *                   more while that makes it faster, fewer on 429 and 503
 *     memory        a window of chunks: a chunk that is complete is written at once and waits for its turn to be hashed
 *     hash          SHA-256 takes chunks in order from memory, on a thread of its own: no second read
 *     journal       beside the part file: size, whose bytes, which chunks are written; after a crash the digest's prefix is
 *                   computed again from the local file and only missing chunks are asked for. Whose: the digest that was
 *                   promised, else a strong ETag; without either nothing is resumed
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
    TT_DOWNLOAD_CHUNK_BYTES = 16 << 20,
    TT_DOWNLOAD_CONNECTIONS = 8, /* unless the options say otherwise */
    TT_DOWNLOAD_MAX_CONNECTIONS = 16,
    TT_DOWNLOAD_WINDOW_CHUNKS = 16, /* in memory: 256 MiB */
    /* The journal is written after so many written chunks (64 MiB) and after so long a time. What a process that dies had
     * fetched since, and what it had in memory, is fetched again: at most JOURNAL + WINDOW chunks. */
    TT_DOWNLOAD_JOURNAL_CHUNKS = 4,
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
