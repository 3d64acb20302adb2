/* See channel.h. The header and the bytes go out in one sendmsg, so nothing is copied together first. A closed peer is
 * EPIPE, never SIGPIPE. The kernel reports a peer that closed with unread packets once, as ECONNRESET, even before
 * packets that it sent earlier: those are still read. */
#include "worker/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

tt_status tt_channel_open(int fds[2], tt_err *err) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0) return TT_OK;
    return tt_fail_errno(err, "cannot make a pair of", "sockets");
}

/* The packet that begins at byte `sent` of a message; its payload's size. */
static size_t cut_packet(const tt_packet_header *message, size_t size, size_t sent,
                         tt_packet_header *packet) {
    size_t n = size - sent;
    *packet = *message;
    packet->flags &= ~(uint32_t)TT_MESSAGE_MORE;
    if (n > TT_CHANNEL_PAYLOAD_BYTES) {
        n = TT_CHANNEL_PAYLOAD_BYTES;
        packet->flags |= TT_MESSAGE_MORE;
    }
    return n;
}

static bool send_packet(int fd, tt_packet_header *packet, const char *bytes, size_t n, int flags) {
    struct iovec pieces[2] = {{packet, sizeof *packet}, {(void *)bytes, n}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = n ? 2 : 1};
    ssize_t done;
    do {
        done = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    return done >= 0;
}

static tt_channel_result send_message(int fd, const tt_packet_header *header, const void *bytes,
                                      size_t size, size_t *sent, int flags) {
    tt_packet_header packet;
    do {
        size_t n = cut_packet(header, size, *sent, &packet);
        const char *from = bytes ? (const char *)bytes + *sent : NULL;
        if (!send_packet(fd, &packet, from, n, flags))
            return errno == EAGAIN || errno == EWOULDBLOCK ? TT_CHANNEL_WAIT : TT_CHANNEL_GONE;
        *sent += n;
    } while (packet.flags & TT_MESSAGE_MORE);
    return TT_CHANNEL_DONE;
}

tt_channel_result tt_channel_try_send(int fd, const tt_packet_header *header, const void *bytes,
                                      size_t size, size_t *sent) {
    return send_message(fd, header, bytes, size, sent, MSG_DONTWAIT);
}

tt_status tt_channel_send(int fd, const tt_packet_header *header, const void *bytes, size_t size,
                          tt_err *err) {
    size_t sent = 0;
    if (send_message(fd, header, bytes, size, &sent, 0) == TT_CHANNEL_DONE) return TT_OK;
    return tt_fail(err, TT_E_IO, "channel: cannot send: %s", strerror(errno));
}

static tt_channel_result receive(int fd, tt_packet_header *header, char *bytes, size_t *size,
                                 int flags) {
    *header = (tt_packet_header){0};
    struct iovec pieces[2] = {{header, sizeof *header}, {bytes, TT_CHANNEL_PAYLOAD_BYTES}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ssize_t n;
    do {
        n = recvmsg(fd, &message, flags);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    *size = 0;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return TT_CHANNEL_WAIT;
    if (n == 0) return TT_CHANNEL_GONE;
    if (n < (ssize_t)sizeof *header || (message.msg_flags & MSG_TRUNC)) {
        if (n > 0) errno = EBADMSG;
        header->type = UINT32_MAX;
        return TT_CHANNEL_GONE;
    }
    *size = (size_t)n - sizeof *header;
    return TT_CHANNEL_DONE;
}

tt_channel_result tt_channel_try_receive(int fd, tt_packet_header *header, char *bytes,
                                         size_t *size) {
    return receive(fd, header, bytes, size, MSG_DONTWAIT);
}

tt_status tt_channel_receive(int fd, tt_packet_header *header, char *bytes, size_t *size,
                             tt_err *err) {
    if (receive(fd, header, bytes, size, 0) == TT_CHANNEL_DONE || header->type == 0) return TT_OK;
    return tt_fail(err, TT_E_IO, "channel: cannot receive: %s", strerror(errno));
}
