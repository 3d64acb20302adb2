/* Opening and closing the server; http_server_parts.h draws how the rest fits together.
 *
 * Price: two threads besides the caller's for the usual n_threads of 1; a parked exchange costs 6 kB (bench/parked.c). A round
 * of a server thread in which connections were resumed walks libmicrohttpd's list of all that thread's suspended ones.
 * It does not do: TLS, HTTP/2, compression, ranges, files. */
#include "net/http_server.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/http_server_parts.h"

enum {
    /* Descriptors left for the rest of the program: models, log files, outgoing connections. */
    RESERVED_DESCRIPTORS = 64,
    UNKNOWN_OPEN_DESCRIPTORS = 64, /* without /proc */
    MIN_CONNECTIONS = 8,
};

/* ---- how many connections ---------------------------------------------------------------------------------------- */

static int count_open_descriptors(void) {
    DIR *list = opendir("/proc/self/fd");
    int n = 0;
    if (!list) return UNKNOWN_OPEN_DESCRIPTORS;
    while (readdir(list)) n++;
    closedir(list);
    return n;
}

/* The soft limit is a courtesy to programs that use select; we do not. */
static void find_max_connections(tt_http_server *server) {
    int wanted = server->options.max_connections;
    struct rlimit limit;
    server->max_connections = wanted > 0 ? wanted : TT_HTTP_DEFAULT_CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    if (limit.rlim_cur >= INT32_MAX) return; /* RLIM_INFINITY too */
    int left = (int)limit.rlim_cur - count_open_descriptors() - RESERVED_DESCRIPTORS;
    if (left < MIN_CONNECTIONS) left = MIN_CONNECTIONS;
    if (server->max_connections > left) server->max_connections = left;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static tt_status init_shared(tt_http_server *server, tt_err *err) {
    if (pthread_mutex_init(&server->shared.mutex, NULL) != 0)
        return tt_fail_nomem(err, "HTTP server", sizeof *server);
    if (tt_clock_condition_init(&server->shared.changed) == 0) return TT_OK;
    pthread_mutex_destroy(&server->shared.mutex);
    return tt_fail_nomem(err, "HTTP server", sizeof *server);
}

static tt_status new_server(const tt_http_server_options *options, tt_http_server **out,
                            tt_err *err) {
    tt_http_server *server = tt_alloc(sizeof *server);
    if (!server) return tt_fail_nomem(err, "HTTP server", sizeof *server);
    tt_status status = init_shared(server, err);
    if (status != TT_OK) {
        tt_free(server);
        return status;
    }
    server->options = *options;
    server->options.host = NULL;
    server->idle_ms =
        options->idle_timeout_ms > 0 ? options->idle_timeout_ms : TT_HTTP_DEFAULT_IDLE_MS;
    server->head_ms =
        options->head_timeout_ms > 0 ? options->head_timeout_ms : TT_HTTP_DEFAULT_HEAD_MS;
    server->epoll_fd = server->wake_fd = -1;
    atomic_init(&server->holders, 1);
    *out = server;
    return TT_OK;
}

/* Signals are the program's business: none is delivered to the server's threads, but those that a thread causes itself. */
static void fill_quiet(sigset_t *set) {
    static const int OWN[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF};
    sigfillset(set);
    for (size_t i = 0; i < sizeof OWN / sizeof *OWN; i++) sigdelset(set, OWN[i]);
}

static tt_status start_quiet_threads(tt_http_server *server, tt_err *err) {
    int n_threads = server->options.n_threads > 0 ? server->options.n_threads : 1;
    sigset_t quiet, before;
    if (n_threads > TT_HTTP_MAX_THREADS)
        return tt_fail(err, TT_E_INVALID, "HTTP server: expected at most %d threads, found %d",
                       TT_HTTP_MAX_THREADS, n_threads);
    fill_quiet(&quiet);
    pthread_sigmask(SIG_SETMASK, &quiet, &before);
    tt_status status = tt__http_watch_start(server, err);
    if (status == TT_OK) status = tt__http_serve_start(server, n_threads, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

tt_status tt_http_server_open(const tt_http_server_options *options, tt_http_server **out,
                              tt_err *err) {
    tt_http_server *server;
    *out = NULL;
    TT_TRY(new_server(options, &server, err));
    tt_status status = tt__http_listen(server, options->host, options->port, err);
    if (status == TT_OK) {
        find_max_connections(server);
        status = start_quiet_threads(server, err);
    }
    if (status != TT_OK) {
        tt_http_server_close(server, 0);
        return status;
    }
    *out = server;
    return TT_OK;
}

int tt_http_server_port(const tt_http_server *server) {
    return server->port;
}

int tt_http_server_connections(const tt_http_server *server) {
    /* const to the caller; a mutex is not part of what it sees */
    pthread_mutex_t *mutex = (pthread_mutex_t *)&server->shared.mutex;
    pthread_mutex_lock(mutex);
    int n = server->shared.n_connections;
    pthread_mutex_unlock(mutex);
    return n;
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

bool tt__http_wait(tt_http_server *server, bool (*check)(void *cls), void *cls,
                   int64_t timeout_ms) {
    struct timespec deadline = tt_clock_moment(tt_clock_ms() + timeout_ms);
    int failure = 0;
    bool is_so;
    pthread_mutex_lock(&server->shared.mutex);
    while (!(is_so = check(cls)) && failure == 0)
        failure = pthread_cond_timedwait(&server->shared.changed, &server->shared.mutex, &deadline);
    pthread_mutex_unlock(&server->shared.mutex);
    return is_so;
}

static bool has_no_exchanges(void *cls) {
    const tt_http_server *server = cls;
    return server->shared.n_exchanges == 0;
}

void tt__http_server_release(tt_http_server *server) {
    if (atomic_fetch_sub(&server->holders, 1) != 1) return;
    pthread_cond_destroy(&server->shared.changed);
    pthread_mutex_destroy(&server->shared.mutex);
    tt_free(server);
}

/* The descriptors stay until no thread looks at them any more. */
static void stop_listening(tt_http_server *server) {
    for (int i = 0; i < server->n_listeners; i++) shutdown(server->listeners[i], SHUT_RDWR);
    tt__http_wake_all(server);
}

static void release_all(tt_http_server *server) {
    for (int i = 0; i < server->n_listeners; i++) close(server->listeners[i]);
    tt__http_serve_release(server);
    tt__http_watch_release(server);
}

void tt_http_server_close(tt_http_server *server, int64_t grace_ms) {
    if (!server) return;
    atomic_store(&server->stage, TT__HTTP_DRAINING);
    stop_listening(server);
    tt__http_wait(server, has_no_exchanges, server, grace_ms > 0 ? grace_ms : 0);
    atomic_store(&server->stage, TT__HTTP_STOPPING);
    tt__http_watch_tell_everyone(server);
    tt__http_serve_stop(server); /* nothing is suspended now, and nothing will be */
    tt__http_watch_stop(server);
    release_all(server);
    if (!tt__http_wait(server, has_no_exchanges, server, TT__HTTP_LATE_END_MS))
        tt_log_write(server->options.log, TT_LOG_WARN, NULL,
                     "HTTP: closed with exchanges whose users have not ended them");
    tt__http_server_release(server);
}
