/* The server threads: each runs one libmicrohttpd daemon and accepts connections for it.
 *
 * The loop is ours and libmicrohttpd is only asked to do what is due (MHD_run never waits). Its own threads drain epoll in
 * rounds of 128 events and wait again when a round was full: a burst of exactly 128 then lies unserved until something else
 * happens, or for ever, and a resume or a new connection that was announced in that burst with it (0.9.75 and 1.0.1).
 *
 * What a thread waits for: the daemon's epoll, the listening sockets while there is room, and an eventfd that others write
 * after they have resumed a connection. All threads wait on the same listening sockets; whoever is first accepts.
 *
 * Full. At max_connections, or when descriptors run out, listening sockets are left alone until a connection closes or a
 * second has passed; clients wait in the kernel's queue. */
#include "net/http_server_parts.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    MAX_ACCEPTS =
        32, /* per socket and round, so that a rush does not keep those waiting who are served */
    RETRY_MS = 1000, /* out of descriptors or memory: when to try again */
    MS_PER_S = 1000
};

void tt__http_wake(const tt__http_thread *thread) {
    uint64_t one = 1;
    ssize_t ignored = write(thread->wake_fd, &one, sizeof one); /* full means: awake already */
    (void)ignored;
}

void tt__http_wake_all(tt_http_server *server) {
    for (int i = 0; i < server->n_threads; i++) tt__http_wake(&server->threads[i]);
}

/* ---- accepting --------------------------------------------------------------------------------------------------- */

static void add(tt__http_thread *thread, int fd, const struct sockaddr *address, socklen_t size) {
    uint32_t generation;
    tt__http_slot *slot = tt__http_take_slot(thread, fd, &generation);
    if (!slot)
        close(fd);
    else if (MHD_add_connection(thread->daemon, fd, address, size) != MHD_YES)
        tt__http_free_slot(thread->server, slot, generation); /* it has closed fd */
}

/* False: no more for now. */
static bool accept_one(tt__http_thread *thread, int listener) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        add(thread, fd, (const struct sockaddr *)&address, size);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        thread->retry_ms = tt_clock_ms() + RETRY_MS;
    /* Other failures than "nobody waits" are of that one connection: the next may be well. */
    return fd >= 0 || errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
}

static bool is_listening(const tt__http_thread *thread) {
    return atomic_load(&thread->server->stage) == TT__HTTP_SERVING &&
           tt_clock_ms() >= thread->retry_ms;
}

static void accept_some(tt__http_thread *thread, int listener) {
    for (int i = 0; i < MAX_ACCEPTS && is_listening(thread); i++)
        if (!tt__http_has_room(thread->server) || !accept_one(thread, listener)) return;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/* -1: until something happens. */
static int wait_ms(const tt__http_thread *thread) {
    MHD_UNSIGNED_LONG_LONG daemon_ms;
    int64_t left_ms = INT32_MAX, retry_ms = thread->retry_ms - tt_clock_ms();
    if (MHD_get_timeout(thread->daemon, &daemon_ms) == MHD_YES && daemon_ms < INT32_MAX)
        left_ms = (int64_t)daemon_ms;
    if (retry_ms > 0 && retry_ms < left_ms) left_ms = retry_ms;
    return left_ms == INT32_MAX ? -1 : (int)left_ms;
}

static void wait_and_accept(tt__http_thread *thread) {
    enum { DAEMON, WAKE, LISTENERS };
    const tt_http_server *server = thread->server;
    struct pollfd fds[LISTENERS + TT__HTTP_MAX_LISTENERS] = {
        [DAEMON] = {.fd = thread->epoll_fd, .events = POLLIN},
        [WAKE] = {.fd = thread->wake_fd, .events = POLLIN},
    };
    bool is_open = is_listening(thread) && tt__http_has_room(thread->server);
    for (int i = 0; i < server->n_listeners; i++) /* poll passes over a negative one */
        fds[LISTENERS + i] =
            (struct pollfd){.fd = is_open ? server->listeners[i] : -1, .events = POLLIN};
    int n = LISTENERS + server->n_listeners;
    if (poll(fds, (nfds_t)n, wait_ms(thread)) <= 0) return;
    if (fds[WAKE].revents) {
        uint64_t count;
        ssize_t ignored = read(thread->wake_fd, &count, sizeof count);
        (void)ignored;
    }
    for (int i = 0; i < server->n_listeners; i++)
        if (fds[LISTENERS + i].revents) accept_some(thread, server->listeners[i]);
}

static void *serve(void *cls) {
    tt__http_thread *thread = cls;
    while (atomic_load(&thread->server->stage) < TT__HTTP_STOPPED) {
        wait_and_accept(thread);
        MHD_run(thread->daemon);
    }
    return NULL;
}

/* ---- starting and stopping --------------------------------------------------------------------------------------- */

/* MHD_OPTION_UNESCAPE_CALLBACK: leaves escapes alone. libmicrohttpd's own takes broken ones and NULs without a word. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text) {
    (void)cls, (void)connection;
    return strlen(text);
}

/* Connections are counted by us: libmicrohttpd's own limit is never reached. */
static struct MHD_Daemon *start_daemon(tt_http_server *server) {
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;
    unsigned idle_s = (unsigned)((server->idle_ms + MS_PER_S - 1) / MS_PER_S);
    unsigned limit = (unsigned)server->max_connections + TT_HTTP_MAX_THREADS;
    return MHD_start_daemon(flags, 0, NULL, NULL, tt__http_on_request, server,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)TT__HTTP_POOL_BYTES,
                            MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT,
                            idle_s, MHD_OPTION_NOTIFY_COMPLETED, tt__http_on_completed, server,
                            MHD_OPTION_NOTIFY_CONNECTION, tt__http_on_connection, server,
                            MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
                            MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

static tt_status fail_start(int reason, tt_err *err) {
    return tt_fail(err, TT_E_IO, "cannot start a thread of the HTTP server: %s", strerror(reason));
}

static tt_status start_thread(tt_http_server *server, tt_err *err) {
    tt__http_thread *thread = &server->threads[server->n_threads];
    *thread = (tt__http_thread){.server = server, .wake_fd = -1};
    server->n_threads++; /* from here on stop and release see to it */
    thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (thread->wake_fd < 0) return fail_start(errno, err);
    thread->daemon = start_daemon(server);
    if (!thread->daemon) return fail_start(errno, err);
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(thread->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info) return fail_start(ENOSYS, err);
    thread->epoll_fd = info->epoll_fd;
    int failure = pthread_create(&thread->id, NULL, serve, thread);
    if (failure != 0) return fail_start(failure, err);
    thread->is_running = true;
    return TT_OK;
}

tt_status tt__http_serve_start(tt_http_server *server, int n_threads, tt_err *err) {
    while (server->n_threads < n_threads) TT_TRY(start_thread(server, err));
    return TT_OK;
}

void tt__http_serve_stop(tt_http_server *server) {
    atomic_store(&server->stage, TT__HTTP_STOPPED);
    tt__http_wake_all(server);
    for (int i = 0; i < server->n_threads; i++) {
        tt__http_thread *thread = &server->threads[i];
        if (thread->is_running) pthread_join(thread->id, NULL);
        if (thread->daemon) MHD_stop_daemon(thread->daemon); /* closes what is open, here */
        thread->is_running = false;
        thread->daemon = NULL;
    }
}

/* After the last callback of a connection. */
void tt__http_serve_release(tt_http_server *server) {
    for (int i = 0; i < server->n_threads; i++)
        if (server->threads[i].wake_fd >= 0) close(server->threads[i].wake_fd);
}
