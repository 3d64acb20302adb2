/* Messages over the channel: whole, in order, and a clear end. The packet rules are socket(7)'s SOCK_SEQPACKET. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "worker/channel.h"

static char packet[TT_CHANNEL_PAYLOAD_BYTES];

static void open_channel(int fds[2]) {
    tt_err err;
    assert_int_equal(tt_channel_open(fds, &err), TT_OK);
}

static void close_channel(const int fds[2]) {
    close(fds[0]);
    close(fds[1]);
}

static void a_message_carries_its_header_and_bytes(void **state) {
    (void)state;
    int fds[2];
    open_channel(fds);
    tt_packet_header sent = {TT_MESSAGE_JOB, 0, 7, -3, INT64_MAX}, got;
    size_t size;
    assert_int_equal(tt_channel_send(fds[0], &sent, "hello", 5, NULL), TT_OK);
    assert_int_equal(tt_channel_send(fds[0], &sent, NULL, 0, NULL), TT_OK);
    assert_int_equal(tt_channel_receive(fds[1], &got, packet, &size, NULL), TT_OK);
    assert_memory_equal(&got, &sent, sizeof got);
    assert_int_equal(size, 5);
    assert_memory_equal(packet, "hello", 5);
    assert_int_equal(tt_channel_receive(fds[1], &got, packet, &size, NULL), TT_OK);
    assert_int_equal(got.type, TT_MESSAGE_JOB);
    assert_int_equal(size, 0);
    close_channel(fds);
}

/* Sends and receives by turns in one thread; returns the number of packets. */
static int pass(const int fds[2], const char *bytes, size_t size) {
    tt_packet_header header = {.type = TT_MESSAGE_OUTPUT, .job = 1}, got;
    size_t sent = 0, received = 0, n;
    int n_packets = 0;
    tt_channel_result result;
    do {
        result = tt_channel_try_send(fds[0], &header, bytes, size, &sent);
        assert_int_not_equal(result, TT_CHANNEL_GONE);
        while (tt_channel_try_receive(fds[1], &got, packet, &n) == TT_CHANNEL_DONE) {
            assert_memory_equal(packet, bytes + received, n);
            received += n;
            n_packets++;
            assert_int_equal(!!(got.flags & TT_MESSAGE_MORE), received < size);
        }
    } while (result == TT_CHANNEL_WAIT);
    assert_int_equal(received, size);
    return n_packets;
}

static void messages_of_any_size_are_cut_into_packets_and_end_once(void **state) {
    (void)state;
    enum { MANY = 40 };
    static const size_t SIZES[] = {0, 1, TT_CHANNEL_PAYLOAD_BYTES, TT_CHANNEL_PAYLOAD_BYTES + 1,
                                   (size_t)MANY * TT_CHANNEL_PAYLOAD_BYTES};
    static const int PACKETS[] = {1, 1, 1, 2, MANY};
    int fds[2];
    char *bytes = tt_alloc((size_t)MANY * TT_CHANNEL_PAYLOAD_BYTES);
    for (size_t i = 0; i < (size_t)MANY * TT_CHANNEL_PAYLOAD_BYTES; i++)
        bytes[i] = (char)(i * 31 >> 3);
    open_channel(fds);
    for (int i = 0; i < 5; i++) assert_int_equal(pass(fds, bytes, SIZES[i]), PACKETS[i]);
    close_channel(fds);
    tt_free(bytes);
}

static void a_full_channel_says_wait_instead_of_waiting(void **state) {
    (void)state;
    int fds[2];
    open_channel(fds);
    tt_packet_header header = {.type = TT_MESSAGE_CANCEL, .job = 1}, got;
    size_t sent = 0, size, n = 0;
    while (tt_channel_try_send(fds[0], &header, NULL, 0, &sent) == TT_CHANNEL_DONE) n++;
    assert_true(n > 1);
    assert_int_equal(tt_channel_try_receive(fds[1], &got, packet, &size), TT_CHANNEL_DONE);
    assert_int_equal(tt_channel_try_send(fds[0], &header, NULL, 0, &sent), TT_CHANNEL_DONE);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tt_channel_try_receive(fds[1], &got, packet, &size), TT_CHANNEL_DONE);
    assert_int_equal(tt_channel_try_receive(fds[1], &got, packet, &size), TT_CHANNEL_WAIT);
    close_channel(fds);
}

static void a_closed_channel_ends_both_directions(void **state) {
    (void)state;
    int fds[2];
    open_channel(fds);
    close(fds[0]);
    tt_packet_header header = {.type = TT_MESSAGE_QUIT}, got = {.type = 99};
    size_t size = 1, sent = 0;
    tt_err err;
    assert_int_equal(tt_channel_receive(fds[1], &got, packet, &size, &err), TT_OK);
    assert_int_equal(got.type, 0);
    assert_int_equal(size, 0);
    assert_int_equal(tt_channel_send(fds[1], &header, NULL, 0, &err), TT_E_IO);
    assert_int_equal(tt_channel_try_send(fds[1], &header, NULL, 0, &sent), TT_CHANNEL_GONE);
    close(fds[1]);
}

static void what_was_sent_before_the_end_is_read_even_if_the_sender_left_packets_unread(
    void **state) {
    (void)state;
    int fds[2];
    open_channel(fds);
    tt_packet_header header = {.type = TT_MESSAGE_DIED, .value = 11}, got;
    size_t size;
    assert_int_equal(tt_channel_send(fds[1], &header, NULL, 0, NULL), TT_OK); /* never read */
    assert_int_equal(tt_channel_send(fds[0], &header, NULL, 0, NULL), TT_OK);
    close(fds[0]);
    assert_int_equal(tt_channel_receive(fds[1], &got, packet, &size, NULL), TT_OK);
    assert_int_equal(got.type, TT_MESSAGE_DIED);
    assert_int_equal(tt_channel_receive(fds[1], &got, packet, &size, NULL), TT_OK);
    assert_int_equal(got.type, 0);
    close(fds[1]);
}

static void bytes_that_are_no_packet_are_an_error(void **state) {
    (void)state;
    int fds[2];
    open_channel(fds);
    tt_packet_header got;
    size_t size;
    tt_err err;
    assert_int_equal(send(fds[0], "short", 5, 0), 5);
    assert_int_equal(tt_channel_receive(fds[1], &got, packet, &size, &err), TT_E_IO);
    assert_int_equal(send(fds[0], "short", 5, 0), 5);
    assert_int_equal(tt_channel_try_receive(fds[1], &got, packet, &size), TT_CHANNEL_GONE);
    assert_int_not_equal(got.type, 0);
    close_channel(fds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_carries_its_header_and_bytes),
        cmocka_unit_test(messages_of_any_size_are_cut_into_packets_and_end_once),
        cmocka_unit_test(a_full_channel_says_wait_instead_of_waiting),
        cmocka_unit_test(a_closed_channel_ends_both_directions),
        cmocka_unit_test(
            what_was_sent_before_the_end_is_read_even_if_the_sender_left_packets_unread),
        cmocka_unit_test(bytes_that_are_no_packet_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
