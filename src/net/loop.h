/* One thread's event loop: HTTP transfers (http_client.h), readable descriptors, timers, and calls posted by others.
 *
 * Everything but tt_loop_post and tt_loop_stop belongs to the thread that runs the loop (or to the one that made it,
 * before the loop runs). Callbacks run on that thread, never from inside the call that registered them, and must not block.
 * Waiting is one epoll_wait until the next timer: no busy loop, no polling interval.
 *
 * The loop raises no SIGPIPE, whether the program ignores it or not. */
#ifndef TT_NET_LOOP_H
#define TT_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct tt_loop tt_loop;
typedef struct tt_timer tt_timer;
typedef void (*tt_loop_fn)(void *context);

tt_status tt_loop_new(tt_loop **out, tt_err *err);
/* Transfers, timers and posted calls that are left are dropped without their callback. NULL is fine. No other thread may be
 * inside tt_loop_post or tt_loop_stop any more: join them first. */
void tt_loop_free(tt_loop *loop);

/* Until tt_loop_stop, also one that came before. TT_E_INTERNAL when the system's wait fails. No callback begins after a
 * stop; what is left waits for the next run. */
tt_status tt_loop_run(tt_loop *loop, tt_err *err);
void tt_loop_stop(tt_loop *loop); /* any thread, also a signal handler */

/* Any thread: runs fn(context) on the loop's thread, in the order posted. */
tt_status tt_loop_post(tt_loop *loop, tt_loop_fn fn, void *context, tt_err *err);

/* Once, after delay_ms (>= 0), never early; timers of the same moment in the order they were set. *out may be NULL. The timer is gone once it has fired or was cancelled. */
tt_status tt_loop_timer(tt_loop *loop, int64_t delay_ms, tt_loop_fn fn, void *context,
                        tt_timer **out, tt_err *err);
void tt_loop_timer_cancel(tt_loop *loop, tt_timer *timer); /* NULL is fine */

/* Calls fn whenever fd is readable or closed by the other end (level-triggered), until unwatched. fd stays the caller's, who
 * unwatches it before closing it. Pipes, sockets and the like; TT_E_INVALID when it is watched already. */
tt_status tt_loop_watch(tt_loop *loop, int fd, tt_loop_fn fn, void *context, tt_err *err);
void tt_loop_unwatch(tt_loop *loop, int fd);

#endif
