/* Between the files of the download. One object, tt__download, lives as long as tt_download runs; an attempt is one pass from
 * the first request to the last byte (or a failure), and most downloads have one.
 *
 *     download.c          attempts: which kind, when another, what the outcome is
 *     download_net.c      lanes: requests on the loop, their trouble, their second tries
 *     download_check.c    an answer's head: is it what was asked for?
 *     download_pace.c     the clock's side: progress, deadline, slow lanes, how many lanes
 *     download_chunks.c   the window: chunks in memory and which are on disk, shared by the three threads
 *     download_hash.c     thread: SHA-256 of the chunks in order
 *     download_disk.c     thread: chunks to the part file, sync, journal; the part file itself
 *     download_journal.c  the journal's bytes
 *     download_text.c     the first bytes
 *
 * Threads: everything is the calling thread's, which runs the loop, but for what download_chunks.c fences. */
#ifndef TT_STORE_DOWNLOAD_PARTS_H
#define TT_STORE_DOWNLOAD_PARTS_H

#include "net/backoff.h"
#include "net/http_client.h"
#include "store/answer.h"
#include "store/download.h"
#include "store/download_window.h"

/* ---- download_text.c --------------------------------------------------------------------------------------------- */

/* NULL when these first bytes may begin a safetensors file of `total` bytes (0: not known), else what they are. */
enum { TT__SNIFF_BYTES = 64 };
const char *tt__sniff(const unsigned char *bytes, size_t n, uint64_t total);

/* ---- download_disk.c --------------------------------------------------------------------------------------------- */

typedef struct tt__download tt__download;

tt_status tt__part_open(tt__download *d);
/* Room for total bytes beside the reserve; the writer then asks for it where the file system can. */
tt_status tt__part_prepare(tt__download *d, uint64_t total);
tt_status tt__part_finish(tt__download *d, uint64_t total); /* exact size, synced, closed */
void tt__part_close(tt__download *d);                       /* after failure */
void tt__journal_forget(tt__download *d);                   /* closes and removes it */
void tt__journal_begin(tt__download *d, uint64_t total);    /* when this attempt keeps one */
void tt__journal_close(tt__download *d);
void tt__journal_take_up(tt__download *d); /* sets the window's `resumed` */
tt_status tt__fail_disk(tt__download *d, const char *what, int number);

/* ---- the download ------------------------------------------------------------------------------------------------ */

typedef enum tt__trouble {
    TT__FINE,
    TT__AGAIN,      /* this try failed; another may not */
    TT__AGAIN_FREE, /* not the server's failure: a stall, a slow lane */
    TT__BUSY,       /* 429, 503: fewer lanes, later */
    TT__EXPIRED,    /* the link */
    /* From here on the attempt is over: */
    TT__NO_RANGES,   /* what came is not the range asked for */
    TT__WRONG_BYTES, /* a digest or an exact size that does not fit */
    TT__OTHER_FILE,  /* the journal belongs to different bytes */
    TT__FATAL,
} tt__trouble;

typedef struct tt__problem {
    tt__trouble trouble;
    int64_t wait_ms; /* BUSY: asked for; -1: not */
    tt_fetch_error error;
} tt__problem;

typedef struct tt__lane tt__lane;

/* Chunks that are asked for together, from the one that is being received to the end. */
typedef struct tt__range {
    bool is_open;
    uint64_t chunk, end;  /* end: the first that is not its own */
    tt__slot *slot;       /* what there is of `chunk`; NULL: nothing */
    tt__lane *lane;       /* who asks; NULL: it waits for a lane */
    uint64_t tried_first; /* byte: where the last try began */
    int n_tries, n_free_tries;
    tt_backoff backoff;
    int64_t not_before_ms;
} tt__range;

/* Lanes, and ranges that wait for a second try. Each holds one slot at most, so that there are always others. */
enum { TT__MAX_RANGES = 2 * TT_DOWNLOAD_MAX_CONNECTIONS };
_Static_assert(TT__MAX_RANGES < TT_DOWNLOAD_MEMORY_CHUNKS / 2 &&
                   TT__MAX_RANGES < TT_DOWNLOAD_INTERVAL_CHUNKS / 2,
               "chunks that are not complete must not keep a journal from being due");

struct tt__lane {
    tt__download *d;
    tt_http_transfer *transfer; /* NULL: idle */
    tt__range *range;
    uint64_t first, last; /* of the range asked for */
    int url_number;       /* which of the links was asked */
    bool is_body_good;    /* the head was */
    tt__problem problem;
    int64_t started_ms;
    uint64_t n_bytes; /* of this request */
    double speed;     /* bytes/s of the requests that ended, smoothed; 0: none did */
};

enum { TT__SPEED_SAMPLES = 12 }; /* of a quarter second: the progress' speed is of 3 s */

struct tt__download {
    const tt_source_services *services;
    const tt_download_options *options;
    tt_source_file file; /* a copy: `again` fills it in */
    tt_fetch_error *error;
    tt_loop *loop;
    tt__window window;
    int64_t begun_ms, deadline_ms;
    size_t chunk_bytes;
    uint64_t range_chunks;
    uint64_t max_bytes; /* the caller's, and what a map of chunks can hold */

    /* of this attempt: */
    bool is_stream;                             /* one request without a range */
    bool is_begun;                              /* the first head was good: */
    uint64_t total;                             /* 0: not known */
    uint64_t n_chunks;                          /* UINT64_MAX: not known */
    uint64_t next_chunk;                        /* the first that was never handed out */
    char validator[TT_SOURCE_VALIDATOR_BYTES];  /* of all its answers; "" */
    unsigned char identity[TT__IDENTITY_BYTES]; /* of the bytes; has_identity */
    bool has_identity;
    bool has_ended;
    tt__problem outcome; /* why it ended; FINE when it is done */
    uint64_t streamed;   /* a stream's bytes so far */
    uint64_t resumed_bytes;

    tt__range ranges[TT__MAX_RANGES];
    tt__lane lanes[TT_DOWNLOAD_MAX_CONNECTIONS];
    int n_lanes_max, n_lanes_wanted;
    int64_t hold_until_ms; /* no request begins before: Retry-After */
    tt_timer *wake_timer, *tick_timer;

    int url_number, n_again;
    int64_t again_ms;         /* when the last link was got */
    int validator_url_number; /* whose answer the validator is from */
    bool has_started_over;    /* a digest or size did not fit, once */
    int n_stream_tries;

    uint64_t stored_bytes; /* of this attempt: in slots or beyond */
    uint64_t fetched_bytes;
    int n_retries, n_lanes_most;
    int64_t told_ms;    /* when progress was */
    int64_t paced_ms;   /* when lanes were last counted */
    double paced_speed; /* and how fast they were */
    uint64_t paced_bytes;
    int64_t lanes_held_until_ms; /* no more lanes before */
    uint64_t samples[TT__SPEED_SAMPLES];
    int64_t sample_ms[TT__SPEED_SAMPLES];
    int n_samples;
};

enum {
    TT__MAX_TRIES = 6,      /* per range, without progress in between */
    TT__MAX_FREE_TRIES = 3, /* stalls and slow lanes that do not count */
    TT__RETRY_BASE_MS = 250,
    TT__RETRY_CAP_MS = 20 * 1000,
    TT__MAX_WAIT_MS = 60 * 1000, /* who asks for more is told the failure instead */
    TT__STALL_MS = 15 * 1000,    /* twice before the first byte */
    TT__AGAIN_MS = 30 * 1000,    /* between two fresh links */
    TT__MAX_AGAIN = 5,
    TT__FIRST_LANES = 4,
    TT__TICK_MS = 250,
};

int64_t tt__scaled_ms(const tt__download *d, int64_t ms); /* by time_divisor */
int tt__n_busy(const tt__download *d);                    /* lanes with a request */

/* ---- download_check.c -------------------------------------------------------------------------------------------- */

tt_status tt__problem_set(tt__problem *p, tt__trouble trouble, tt_fetch_class class_,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Fills lane->problem when the head is not what was asked for; the first good one begins the attempt. */
void tt__check_head(tt__lane *lane, const tt_http_response *head);
tt_status tt__begin(tt__download *d, uint64_t total);
bool tt__identity_of(const tt_source_file *file, const char *validator,
                     unsigned char out[TT__IDENTITY_BYTES]);

/* ---- download_net.c ---------------------------------------------------------------------------------------------- */

void tt__pump(tt__download *d); /* gives idle lanes work */
void tt__end_attempt(tt__download *d, const tt__problem *why);
/* Takes the lane's range away, to be asked for again. */
void tt__lane_give_up(tt__lane *lane);
/* Gets a fresh link for an expired one, or says (in p) why not. *wait_ms: not yet, so long. */
bool tt__renew_link(tt__download *d, int url_number, tt__problem *p, int64_t *wait_ms);
void tt__lanes_cancel(tt__download *d);
void tt__on_wake(void *download); /* the window's wake_fd is readable */

/* ---- download_pace.c --------------------------------------------------------------------------------------------- */

tt_status tt__pace_begin(tt__download *d, tt_err *err); /* the tick timer */
/* Deadline, stop, progress: false when the attempt has ended. */
bool tt__pace_look(tt__download *d);
void tt__lane_measure(tt__lane *lane); /* at the end of a request that brought its range */

#endif
