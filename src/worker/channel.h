/* Messages between the worker (I/O) and its handler process over a SOCK_SEQPACKET pair.
 *
 * A message is one or more packets of at most TT_CHANNEL_PACKET_BYTES: a header, then bytes. Packets are atomic, so a process
 * that dies leaves no half packet; TT_MESSAGE_MORE says that the message goes on in the next packet of the same type and job.
 *
 *     to the handlers:  JOB (value: attempt; deadline in `extra`; bytes: the job)  CANCEL  SENT (a stream chunk left)
 *                       RESIZE (value: threads)  RESTART  QUIT
 *     from them:        READY  UNFIT (bytes: check NUL reason)  PROGRESS  STREAM  OUTPUT (a piece)  ERROR (a piece)
 *                       END (value: TT_END_* flags)  CONCURRENCY (value)  METRICS
 *     from the keeper:  DIED (value: wait status) */
#ifndef TT_WORKER_CHANNEL_H
#define TT_WORKER_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum tt_message_type {
    TT_MESSAGE_JOB = 1,
    TT_MESSAGE_CANCEL,
    TT_MESSAGE_SENT,
    TT_MESSAGE_RESIZE,
    TT_MESSAGE_RESTART,
    TT_MESSAGE_QUIT,
    TT_MESSAGE_READY,
    TT_MESSAGE_UNFIT,
    TT_MESSAGE_PROGRESS,
    TT_MESSAGE_STREAM,
    TT_MESSAGE_OUTPUT,
    TT_MESSAGE_ERROR,
    TT_MESSAGE_END,
    TT_MESSAGE_CONCURRENCY,
    TT_MESSAGE_METRICS,
    TT_MESSAGE_DIED,
} tt_message_type;

enum { TT_MESSAGE_MORE = 1 };                           /* flags */
enum { TT_END_REFRESH_WORKER = 1, TT_END_STOPPED = 2 }; /* value of END */
enum { TT_CHANNEL_PACKET_BYTES = 64 * 1024 };

typedef struct tt_packet_header {
    uint32_t type, flags;
    uint64_t job; /* 0: not about a job */
    int64_t value, extra;
} tt_packet_header;

/* Blocks while the other side is slow. TT_E_IO when it is gone. Several threads: one message at a time, by the caller's lock. */
tt_status tt_channel_send(int fd, const tt_packet_header *header, const void *bytes, size_t size,
                          tt_err *err);
/* One packet. *size is 0 with type 0 at the end of the channel. `bytes` has TT_CHANNEL_PACKET_BYTES. */
tt_status tt_channel_receive(int fd, tt_packet_header *header, char *bytes, size_t *size,
                             tt_err *err);

#endif
