/* What the HTTP client needs of a loop beyond loop.h: both directions of a descriptor, a timer that is only moved, and a
 * place to live. The loop's thread. */
#ifndef TT_NET_LOOP_PARTS_H
#define TT_NET_LOOP_PARTS_H

#include "net/loop.h"

/* `events` are epoll's: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP. */
typedef void (*tt__loop_io_fn)(void *context, int fd, uint32_t events);

/* Watches fd for `events`, also when it is watched already. Ends with tt_loop_unwatch. */
tt_status tt__loop_watch_io(tt_loop *loop, int fd, uint32_t events, tt__loop_io_fn fn,
                            void *context, tt_err *err);

/* A timer that stays: it fires when its time has come and then waits to be moved. Moving never fails. Ends with
 * tt_loop_timer_cancel. */
tt_status tt__loop_timer_keep(tt_loop *loop, tt_loop_fn fn, void *context, tt_timer **out,
                              tt_err *err);
void tt__loop_timer_move(tt_loop *loop, tt_timer *timer, int64_t delay_ms); /* < 0: never */

bool tt__loop_is_stopping(const tt_loop *loop);

/* One guest per loop, freed with it while watches and timers can still be taken back. */
void tt__loop_set_guest(tt_loop *loop, void *guest, void (*free_guest)(void *guest));
void *tt__loop_guest(const tt_loop *loop); /* NULL: none yet */

#endif
