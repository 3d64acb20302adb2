/* The keeper: a process without threads between the worker and its handler process.
 *
 *     worker (I/O) --fork--> keeper --fork--> handlers          all three made before any thread exists
 *          '---------- SOCK_SEQPACKET channel -----'
 *
 * When the handler process dies, the keeper writes one DIED packet (wait status) to the same channel, where it comes after
 * everything the dead process said, waits for RESTART or the channel's end, and forks again from its own untouched memory.
 * It ends when the worker closes the channel. A worker that is killed takes both with it (PR_SET_PDEATHSIG, and the
 * channel's end).
 *
 * Both ignore what a terminal sends to the whole group (SIGINT, SIGTERM, by an empty handler, so that programs the handlers
 * start see the default): ends are announced on the channel. Processes that a dead handler process leaves behind become the
 * keeper's children, which reaps them; so a worker that is a container's process 1 has nothing else to reap. */
#ifndef TT_WORKER_KEEPER_H
#define TT_WORKER_KEEPER_H

#include "base/err.h"

/* In the child: runs body(context, channel_fd) and ends the process with its result; never returns there. In the worker:
 * returns with the channel's other end. Call it before any thread is made. */
tt_status tt_keeper_start(int (*body)(void *context, int channel_fd), void *context,
                          int *channel_fd, int *keeper_pid, tt_err *err);

/* Ends the keeper, and with it a handler process that still runs, and reaps it. Close the channel first. */
void tt_keeper_end(int keeper_pid);

#endif
