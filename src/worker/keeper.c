/* See keeper.h. The price of the second process is a few pages: it never touches what it inherited.
 *
 * Children that do not exec end by _exit: what the program registered with atexit belongs to the worker. */
#include "worker/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/channel.h"

typedef struct keeper {
    int (*body)(void *context, int channel_fd);
    void *context;
    int channel_fd;
} keeper;

static void nothing(int number) {
    (void)number;
}

/* An empty handler rather than SIG_IGN, which programs started by exec would inherit. */
static void ignore_terminal(void) {
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

/* Dies with its parent; false when that is gone already. */
static bool tie_to(pid_t parent) {
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

static void run_handlers(const keeper *k, pid_t parent) {
    int status = tie_to(parent) ? k->body(k->context, k->channel_fd) : 1;
    fflush(NULL);
    _exit(status); /* lint: allow: a forked child must not run the worker's atexit functions */
}

/* The wait status of the handler process. Strays that it left to us are reaped on the way. */
static int wait_for(pid_t child) {
    int status = 0;
    for (;;) {
        pid_t pid = waitpid(-1, &status, 0);
        if (pid == child) return status;
        if (pid < 0 && errno != EINTR) return 0; /* cannot be: the child is ours to reap */
    }
}

/* True when told to start another; false at the end of the channel. What was meant for the dead one is thrown away. */
static bool wait_for_restart(int fd) {
    char bytes[TT_CHANNEL_PAYLOAD_BYTES];
    tt_packet_header header;
    size_t size;
    while (tt_channel_receive(fd, &header, bytes, &size, NULL) == TT_OK && header.type != 0)
        if (header.type == TT_MESSAGE_RESTART) return true;
    return false;
}

static void keep(const keeper *k) {
    enum { NOT_FORKED = 255 << 8 }; /* the wait status of a process that ended with 255 */
    for (;;) {
        pid_t self = getpid();
        pid_t child = fork();
        if (child == 0) run_handlers(k, self);
        int status = child > 0 ? wait_for(child) : NOT_FORKED;
        tt_packet_header died = {.type = TT_MESSAGE_DIED, .value = status};
        if (tt_channel_send(k->channel_fd, &died, NULL, 0, NULL) != TT_OK) return;
        if (!wait_for_restart(k->channel_fd)) return;
    }
}

static void run_keeper(const keeper *k, pid_t worker) {
    ignore_terminal();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (tie_to(worker)) keep(k);
    _exit(0); /* lint: allow: a forked child must not run the worker's atexit functions */
}

tt_status tt_keeper_start(int (*body)(void *context, int channel_fd), void *context,
                          int *channel_fd, int *keeper_pid, tt_err *err) {
    int fds[2];
    TT_TRY(tt_channel_open(fds, err));
    fflush(NULL); /* what is buffered would be written by each process */
    pid_t worker = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        run_keeper(&(keeper){body, context, fds[1]}, worker);
    }
    close(fds[1]);
    if (pid < 0) {
        tt_status status = tt_fail_errno(err, "cannot fork", "the handler process");
        close(fds[0]);
        return status;
    }
    *channel_fd = fds[0];
    *keeper_pid = pid;
    return TT_OK;
}

void tt_keeper_end(int keeper_pid) {
    kill(keeper_pid, SIGKILL);
    while (waitpid(keeper_pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
