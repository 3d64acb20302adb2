/* The keeper: a process without threads between the worker and its handler process.
 *
 *     worker (I/O) --fork--> keeper --fork--> handlers          all three made before any thread exists
 *          '---------- SOCK_SEQPACKET channel -----'
 *
 * When the handler process dies, the keeper writes one DIED packet (wait status) to the same channel, where it comes after
 * everything the dead process said, waits for RESTART or the channel's end, and forks again from its own untouched memory. It
 * ends when the channel is closed by the worker, or the handler process ended in good order. A worker that is killed takes
 * both with it (PR_SET_PDEATHSIG, and the channel's end). */
#ifndef TT_WORKER_KEEPER_H
#define TT_WORKER_KEEPER_H

#include "base/err.h"

/* In the child: runs body(context, channel_fd) and ends the process with its result; never returns there. In the worker:
 * returns with the channel's other end. Call it before any thread is made. */
tt_status tt_keeper_start(int (*body)(void *context, int channel_fd), void *context,
                          int *channel_fd, int *keeper_pid, tt_err *err);

#endif
