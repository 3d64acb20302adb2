/* Timers in the order in which they are due; equal times fire in the order in which they were set. Used by loop.c, which
 * owns the clock: times are whatever the caller counts in. One thread. */
#ifndef TT_NET_TIMERS_H
#define TT_NET_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/loop.h"

struct tt_timer {
    int64_t due_us;
    uint64_t order; /* of setting */
    tt_loop_fn fn;
    void *context;
    size_t at;  /* its place in the heap */
    bool stays; /* not freed when it fires (loop_parts.h) */
};

typedef struct tt__timers {
    tt_timer **heap; /* owned, as are the timers in it */
    size_t size, capacity;
    uint64_t n_set; /* the next timer's order */
} tt__timers;

void tt__timers_release(tt__timers *t);
tt_status tt__timers_add(tt__timers *t, int64_t due_us, tt_loop_fn fn, void *context,
                         tt_timer **out, tt_err *err);
/* As if it were set now, with a new time. Never fails. */
void tt__timers_move(tt__timers *t, tt_timer *timer, int64_t due_us);
void tt__timers_remove(tt__timers *t, tt_timer *timer); /* and frees it */
tt_timer *tt__timers_first(const tt__timers *t);        /* NULL when there is none */

#endif
