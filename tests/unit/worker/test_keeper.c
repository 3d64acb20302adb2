/* The keeper: tells deaths after everything the dead process said, restarts from untouched memory, and never outlives its
 * worker. The outside truth is the kernel's: waitpid(2), signal(7), prctl(2). */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/channel.h"
#include "worker/keeper.h"

static char packet[TT_CHANNEL_PAYLOAD_BYTES];

typedef struct child { /* what the body should do; each process has its own copy */
    int n_starts;
    int way; /* a signal to die of, or minus the status to end with */
} child;

static void say(int fd, uint32_t type, int64_t value) {
    tt_packet_header header = {.type = type, .value = value};
    tt_channel_send(fd, &header, NULL, 0, NULL);
}

/* Tells its number of starts and its process id, waits for one message, and ends as told. */
static int body(void *context, int fd) {
    child *c = context;
    tt_packet_header header;
    size_t size;
    c->n_starts++;
    say(fd, TT_MESSAGE_READY, getpid());
    say(fd, TT_MESSAGE_CONCURRENCY, c->n_starts);
    if (tt_channel_receive(fd, &header, packet, &size, NULL) != TT_OK || header.type == 0) return 0;
    say(fd, TT_MESSAGE_END, 0);
    if (c->way > 0) {
        signal(c->way, SIG_DFL); /* sanitizers catch some */
        raise(c->way);
    }
    return -c->way;
}

static int64_t expect(int fd, uint32_t type) {
    tt_packet_header header;
    size_t size;
    assert_int_equal(tt_channel_receive(fd, &header, packet, &size, NULL), TT_OK);
    assert_int_equal(header.type, type);
    return header.value;
}

static int start(child *c, int *keeper) {
    int fd;
    tt_err err;
    assert_int_equal(tt_keeper_start(body, c, &fd, keeper, &err), TT_OK);
    return fd;
}

/* Starts, lets it die as `way` says, and returns the wait status that the keeper tells. */
static int die(int way) {
    child c = {.way = way};
    int keeper;
    int fd = start(&c, &keeper);
    expect(fd, TT_MESSAGE_READY);
    expect(fd, TT_MESSAGE_CONCURRENCY);
    say(fd, TT_MESSAGE_CANCEL, 0);
    expect(fd, TT_MESSAGE_END); /* said before the death, so read before it */
    int status = (int)expect(fd, TT_MESSAGE_DIED);
    close(fd);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper); /* ends by itself */
    return status;
}

static void the_way_of_a_death_is_told(void **state) {
    (void)state;
    int status = die(SIGSEGV);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    status = die(SIGKILL);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    status = die(-3);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    status = die(0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_restart_begins_from_untouched_memory_and_old_messages_are_gone(void **state) {
    (void)state;
    child c = {.way = SIGSEGV};
    int keeper;
    int fd = start(&c, &keeper);
    for (int i = 0; i < 3; i++) {
        expect(fd, TT_MESSAGE_READY);
        assert_int_equal(expect(fd, TT_MESSAGE_CONCURRENCY), 1); /* never 2 */
        say(fd, TT_MESSAGE_CANCEL, 0);
        say(fd, TT_MESSAGE_CANCEL, 0); /* for the dead one: the next must not see it */
        expect(fd, TT_MESSAGE_END);
        expect(fd, TT_MESSAGE_DIED);
        say(fd, TT_MESSAGE_RESTART, 0);
    }
    expect(fd, TT_MESSAGE_READY);
    close(fd);
    tt_keeper_end(keeper);
}

static void both_ignore_the_signals_of_a_terminal(void **state) {
    (void)state;
    child c = {.way = -7};
    int keeper;
    int fd = start(&c, &keeper);
    pid_t handlers = (pid_t)expect(fd, TT_MESSAGE_READY);
    expect(fd, TT_MESSAGE_CONCURRENCY);
    kill(keeper, SIGINT);
    kill(keeper, SIGTERM);
    kill(handlers, SIGINT);
    kill(handlers, SIGTERM);
    say(fd, TT_MESSAGE_CANCEL, 0);
    expect(fd, TT_MESSAGE_END);
    assert_int_equal(WEXITSTATUS((int)expect(fd, TT_MESSAGE_DIED)), 7);
    close(fd);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
}

/* The reading end of a pipe that both hold open ends when they are gone. */
static void a_killed_worker_takes_both_with_it(void **state) {
    (void)state;
    int alive[2], ready[2];
    assert_int_equal(pipe(alive), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t worker = fork();
    if (worker == 0) {
        child c = {.way = 0};
        int keeper, fd;
        tt_packet_header header;
        size_t size;
        close(alive[0]);
        if (tt_keeper_start(body, &c, &fd, &keeper, NULL) != TT_OK) _exit(1);
        tt_channel_receive(fd, &header, packet, &size, NULL);
        if (write(ready[1], "!", 1) != 1) _exit(1);
        for (;;) pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(alive[1]);
    kill(worker, SIGKILL);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    assert_int_equal(read(alive[0], &byte, 1), 0);
    close(alive[0]);
    close(ready[0]);
    close(ready[1]);
}

static int hang(void *context, int fd) {
    (void)context;
    say(fd, TT_MESSAGE_READY, getpid());
    while (pause() < 0) {
    }
    return 0;
}

static void ending_the_keeper_ends_a_handler_process_that_hangs(void **state) {
    (void)state;
    int alive[2], fd, keeper;
    char byte;
    assert_int_equal(pipe(alive), 0);
    assert_int_equal(tt_keeper_start(hang, NULL, &fd, &keeper, NULL), TT_OK);
    close(alive[1]);
    expect(fd, TT_MESSAGE_READY);
    close(fd);
    tt_keeper_end(keeper);
    assert_int_equal(read(alive[0], &byte, 1), 0);
    close(alive[0]);
}

/* Leaves a process behind that ends after its parent did: somebody must reap it. */
static int leave_a_child(void *context, int fd) {
    int gate[2];
    pid_t parent = getpid();
    (void)context;
    if (pipe(gate) != 0 || fork() != 0) return 0;
    close(gate[1]);
    char byte;
    if (read(gate[0], &byte, 1) != 0) return 1; /* until the parent is gone */
    while (getppid() == parent) sched_yield();  /* its files close a moment before it is gone */
    say(fd, TT_MESSAGE_METRICS, getppid());
    return 0;
}

static void the_keeper_inherits_what_a_handler_process_leaves(void **state) {
    (void)state;
    int fd, keeper;
    assert_int_equal(tt_keeper_start(leave_a_child, NULL, &fd, &keeper, NULL), TT_OK);
    int64_t parent = 0;
    for (int i = 0; i < 2; i++) { /* DIED and the stray's word, in any order */
        tt_packet_header header;
        size_t size;
        assert_int_equal(tt_channel_receive(fd, &header, packet, &size, NULL), TT_OK);
        if (header.type == TT_MESSAGE_METRICS) parent = header.value;
    }
    assert_int_equal(parent, keeper);
    close(fd);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_of_a_death_is_told),
        cmocka_unit_test(a_restart_begins_from_untouched_memory_and_old_messages_are_gone),
        cmocka_unit_test(both_ignore_the_signals_of_a_terminal),
        cmocka_unit_test(a_killed_worker_takes_both_with_it),
        cmocka_unit_test(ending_the_keeper_ends_a_handler_process_that_hangs),
        cmocka_unit_test(the_keeper_inherits_what_a_handler_process_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
