/* Messages between the worker (I/O) and its handler process over a SOCK_SEQPACKET pair.
 *
 * A message is one or more packets of at most TT_CHANNEL_PACKET_BYTES: a header, then bytes. Packets are atomic, so a process
 * that dies leaves no half packet; TT_MESSAGE_MORE says that the message goes on in the next packet of the same type and job.
 * A header is in the byte order of the machine: both ends are the same program.
 *
 *     to the handlers:  JOB (value: attempt; extra: deadline; bytes: the job)  CANCEL  SENT (value: TT_SENT_*)
 *                       RESIZE (value: threads)  QUIT
 *     to the keeper:    RESTART
 *     from the handlers: READY (value: process id)  UNFIT (bytes: check NUL reason)  PROGRESS  STREAM
 *                       OUTPUT (a piece; extra: bytes of all pieces, 0: unknown)  ERROR (a piece)
 *                       END (value: TT_END_* flags; bytes: the last piece of the output)  CONCURRENCY (value)  METRICS
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
    TT_MESSAGE_RELOAD,
} tt_message_type;

enum { TT_MESSAGE_MORE = 1 };             /* flags */
enum { TT_SENT_CHUNK, TT_SENT_PROGRESS }; /* value of SENT: what left */
enum {                                    /* value of END */
       TT_END_REFRESH_WORKER = 1,
       TT_END_STOPPED = 2,  /* the handler saw that it should stop */
       TT_END_NO_OUTPUT = 4 /* pieces that were sent are void */
};

typedef struct tt_packet_header {
    uint32_t type, flags;
    uint64_t job; /* 0: not about a job */
    int64_t value, extra;
} tt_packet_header;

/* 64 KiB: three of them fit a socket buffer of the usual 208 KiB, so that neither side waits for the other's every packet. */
enum { TT_CHANNEL_PACKET_BYTES = 64 * 1024 };
enum { TT_CHANNEL_PAYLOAD_BYTES = TT_CHANNEL_PACKET_BYTES - (int)sizeof(tt_packet_header) };

/* Both ends, closed on exec. */
tt_status tt_channel_open(int fds[2], tt_err *err);

/* Blocks while the other side is slow. TT_E_IO when it is gone. Several threads: one message at a time, by the caller's lock. */
tt_status tt_channel_send(int fd, const tt_packet_header *header, const void *bytes, size_t size,
                          tt_err *err);
/* One packet. *size is 0 with type 0 at the end of the channel. `bytes` has TT_CHANNEL_PAYLOAD_BYTES. */
tt_status tt_channel_receive(int fd, tt_packet_header *header, char *bytes, size_t *size,
                             tt_err *err);

/* The same for an end that must never wait. */
typedef enum tt_channel_result {
    TT_CHANNEL_DONE,
    TT_CHANNEL_WAIT, /* no room, or nothing there: again when the descriptor is ready */
    TT_CHANNEL_GONE  /* the other side closed, or sends what is no packet */
} tt_channel_result;

/* Sends as many packets of the message as there is room for. *sent counts the bytes that left; start it at 0, and call again
 * with the same message until DONE. */
tt_channel_result tt_channel_try_send(int fd, const tt_packet_header *header, const void *bytes,
                                      size_t size, size_t *sent);
tt_channel_result tt_channel_try_receive(int fd, tt_packet_header *header, char *bytes,
                                         size_t *size);

#endif
