/* The table of requests that wait: by job, by deadline, and by token.
 *
 * Whoever takes a wait out owns it and must end its exchange; a wait is taken once. The exchange's on_gone callback may
 * run beside that on another thread, so it never gets a pointer: it gets a token, and a token of a wait that was taken is
 * simply unknown.
 *
 *     reserve --park the exchange--> activate --take_*--> the taker ends the exchange, then free
 *
 * Waits of the kind TT__WAIT_EVENTS are not taken by a job's events but marked dirty; only the loop's thread takes them, so
 * there the pointers of take_dirty and all_events stay valid until it does.
 *
 * One mutex; every call is short: take_job walks one chain of the hash table, deadlines are a heap. About 300 bytes a wait. Any
 * thread unless said otherwise. */
#ifndef TT_API_WAITS_H
#define TT_API_WAITS_H

#include "api/parts.h"

typedef enum tt__wait_kind {
    TT__WAIT_RUNSYNC, /* its client owns the job: leaving cancels it */
    TT__WAIT_STATUS,
    TT__WAIT_STREAM,
    TT__WAIT_EVENTS,
} tt__wait_kind;

typedef struct tt__wait tt__wait;
struct tt__wait {
    tt__call call; /* constant once active; call.id is the job */
    tt__wait_kind kind;
    int64_t deadline_ms; /* INT64_MAX: none */
    tt__wait *next;      /* of the list that a take_* gave */
    struct {             /* of events.c, on the loop's thread: what the client knows */
        int state, attempt, n_stream_waiting;
        int64_t progress_number;
    } known;
    struct { /* of waits.c, under its mutex */
        uint32_t slot;
        bool is_active, is_gone, is_dirty;
        size_t heap_at;
        tt__wait *chain_next, *chain_previous, *dirty_next;
    } own;
};

typedef uintptr_t tt__wait_token;

tt_status tt__waits_new(tt__waits **out, tt_err *err);
void tt__waits_free(tt__waits *w); /* waits still inside are freed, their exchanges are not ended */

/* A wait with its token, not yet in the table; the caller fills call, kind, deadline_ms and known. */
tt_status tt__waits_reserve(tt__waits *w, tt__wait **out, tt__wait_token *token, tt_err *err);
typedef enum tt__activated {
    TT__ACTIVE,
    TT__ACTIVE_FIRST, /* its deadline is now the nearest: arm the timer */
    TT__NOT_ACTIVE,   /* the client has left, or memory is gone: the wait is the caller's again */
} tt__activated;
tt__activated tt__waits_activate(tt__waits *w, tt__wait *wait);
/* Taken, or never activated. */
void tt__wait_free(tt__waits *w, tt__wait *wait);

tt__wait *tt__waits_take_token(tt__waits *w, tt__wait_token token); /* NULL: unknown */
/* All of a job but events; with only_stream: those of /stream. A list; NULL: none. */
tt__wait *tt__waits_take_job(tt__waits *w, const char *id, bool only_stream);
tt__wait *tt__waits_take_due(tt__waits *w, int64_t now_ms); /* the list of deadlines that passed */
tt__wait *tt__waits_take_all(tt__waits *w);                 /* all but events */
int64_t tt__waits_next_deadline(tt__waits *w);              /* INT64_MAX: none */

/* What on_gone does: a wait that is not yet active, or of events, is marked; any other is taken and returned. */
tt__wait *tt__waits_gone(tt__waits *w, tt__wait_token token, bool *has_events);
bool tt__waits_is_gone(tt__waits *w, const tt__wait *wait);

/* Marks the events waits of a job (NULL: of all). True when the loop must be told: it was not since the last take_dirty. */
bool tt__waits_mark(tt__waits *w, const char *id);
tt__wait *tt__waits_take_dirty(tt__waits *w); /* a list by `next`; the waits stay in the table */
void tt__waits_untold(tt__waits *w);          /* telling failed: the next mark tries again */
void tt__waits_take_events(tt__waits *w, tt__wait *wait);
/* Waits until no events waits are left, at most timeout_ms. */
bool tt__waits_await_no_events(tt__waits *w, int64_t timeout_ms);

#endif
