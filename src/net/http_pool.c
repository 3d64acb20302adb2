/* A libcurl multi handle on a tt_loop: libcurl says which sockets to watch and when to be called again, the loop calls it.
 *
 * Two pools per loop, because a connection that was opened for a trusted request must not be used again for a stranger's URL:
 * what guard.h checks is the connection being made, and a kept-alive one is not made.
 *
 * SIGPIPE: sockets are written with MSG_NOSIGNAL, but before libcurl 7.87 OpenSSL writes by itself, with write(2). So the
 * signal is blocked in this thread while libcurl works, and one that came is taken away: nothing of the process's own
 * arrangement changes, and a child that the program starts inherits no mask. Three system calls, below a microsecond.
 *
 * Everything that libcurl calls back only takes notes. Transfers are finished after libcurl has returned, so the caller's
 * callback may send and cancel as it likes. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/alloc.h"
#include "net/http_parts.h"
#include "net/loop_parts.h"

/* Idle and busy connections per pool; beyond it idle ones are closed. More than any worker has slots. */
#define MAX_CONNECTIONS 1024L

struct tt__http_pool {
    tt_loop *loop;
    CURLM *multi;
    tt_timer *timer;
    tt_http_transfer *first; /* in flight */
    bool has_unwatched;      /* one of them must be failed */
};

/* ---- SIGPIPE ----------------------------------------------------------------------------------------------------- */

typedef struct pipe_guard {
    sigset_t pipe, before;
} pipe_guard;

static void pipe_guard_begin(pipe_guard *g) {
    sigemptyset(&g->pipe);
    sigaddset(&g->pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &g->pipe, &g->before);
}

static void pipe_guard_end(const pipe_guard *g) {
    static const struct timespec NO_WAIT = {0, 0};
    if (sigismember(&g->before, SIGPIPE)) return;
    while (sigtimedwait(&g->pipe, NULL, &NO_WAIT) == SIGPIPE) continue;
    pthread_sigmask(SIG_SETMASK, &g->before, NULL);
}

/* ---- libcurl's wishes -------------------------------------------------------------------------------------------- */

static void on_socket_ready(void *context, int fd, uint32_t events);

/* NULL for libcurl's own handles. */
static tt_http_transfer *transfer_of(CURL *easy) {
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    return (tt_http_transfer *)(void *)private;
}

static uint32_t epoll_events_of(int what) {
    switch (what) {
    case CURL_POLL_IN:
        return EPOLLIN;
    case CURL_POLL_OUT:
        return EPOLLOUT;
    case CURL_POLL_INOUT:
        return EPOLLIN | EPOLLOUT;
    }
    return 0; /* CURL_POLL_REMOVE, CURL_POLL_NONE */
}

/* Which sockets a transfer has on the loop: libcurl closes those that are still connecting without telling us (7.88), and
 * the number may then be another thread's. So they are unwatched before a transfer is taken away. */
static void note_watched(tt_http_transfer *t, int fd, bool is_watched) {
    for (int i = 0; t && i < TT__HTTP_WATCHED; i++)
        if (t->watched[i] == fd) t->watched[i] = 0;
    for (int i = 0; t && is_watched && i < TT__HTTP_WATCHED; i++)
        if (t->watched[i] == 0) {
            t->watched[i] = fd;
            return;
        }
}

static void unwatch_all(tt_http_transfer *t) {
    for (int i = 0; i < TT__HTTP_WATCHED; i++) {
        if (t->watched[i]) tt_loop_unwatch(t->pool->loop, t->watched[i]);
        t->watched[i] = 0;
    }
}

/* libcurl gives up all transfers of a pool when this says no, so it never does: the one transfer is failed instead. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused) {
    tt__http_pool *pool = context;
    (void)unused;
    uint32_t events = epoll_events_of(what);
    tt_http_transfer *t = transfer_of(easy);
    note_watched(t, fd, events != 0);
    if (events == 0) {
        tt_loop_unwatch(pool->loop, fd);
        return 0;
    }
    if (tt__loop_watch_io(pool->loop, fd, events, on_socket_ready, pool, NULL) == TT_OK) return 0;
    if (t) t->is_unwatched = pool->has_unwatched = true;
    return 0;
}

static int on_timer(CURLM *multi, long delay_ms, void *context) {
    tt__http_pool *pool = context;
    (void)multi;
    tt__loop_timer_move(pool->loop, pool->timer, delay_ms);
    return 0;
}

/* ---- work and its results ---------------------------------------------------------------------------------------- */

static void link_in(tt__http_pool *pool, tt_http_transfer *t) {
    t->pool = pool;
    t->previous = NULL;
    t->next = pool->first;
    if (t->next) t->next->previous = t;
    pool->first = t;
}

static void link_out(tt_http_transfer *t) {
    if (t->next) t->next->previous = t->previous;
    if (t->previous)
        t->previous->next = t->next;
    else
        t->pool->first = t->next;
    t->pool = NULL;
}

void tt__http_pool_remove(tt_http_transfer *t) {
    pipe_guard guard;
    unwatch_all(t);
    pipe_guard_begin(&guard);
    curl_multi_remove_handle(t->pool->multi, t->easy);
    pipe_guard_end(&guard);
    link_out(t);
}

tt_status tt__http_pool_add(tt__http_pool *pool, tt_http_transfer *t, tt_err *err) {
    CURLMcode code = curl_multi_add_handle(pool->multi, t->easy);
    if (code == CURLM_OUT_OF_MEMORY) return tt_fail_nomem(err, "HTTP request", sizeof *t);
    if (code != CURLM_OK)
        return tt_fail(err, TT_E_INTERNAL, "HTTP request: %s", curl_multi_strerror(code));
    link_in(pool, t);
    return TT_OK;
}

static tt_http_transfer *next_ended(tt__http_pool *pool, CURLcode *code) {
    int n_left;
    for (CURLMsg *m; (m = curl_multi_info_read(pool->multi, &n_left));) {
        if (m->msg != CURLMSG_DONE) continue;
        *code = m->data.result;
        tt_http_transfer *t = transfer_of(m->easy_handle);
        memset(t->watched, 0, sizeof t->watched); /* its connection may go on to live */
        return t;
    }
    return NULL;
}

static tt_http_transfer *next_unwatched(tt__http_pool *pool) {
    if (!pool->has_unwatched) return NULL;
    for (tt_http_transfer *t = pool->first; t; t = t->next)
        if (t->is_unwatched) return t;
    pool->has_unwatched = false;
    return NULL;
}

/* After a stop of the loop no callback begins: what ended is found by the timer of the next run. */
static void finish_ended(tt__http_pool *pool) {
    while (!tt__loop_is_stopping(pool->loop)) {
        CURLcode code = CURLE_ABORTED_BY_CALLBACK;
        tt_http_transfer *t = next_ended(pool, &code);
        if (!t) t = next_unwatched(pool);
        if (!t) return;
        tt__http_pool_remove(t);
        tt__http_finish(t, code);
    }
    tt__loop_timer_move(pool->loop, pool->timer, 0);
}

static void act(tt__http_pool *pool, curl_socket_t fd, int what) {
    pipe_guard guard;
    int n_running;
    pipe_guard_begin(&guard);
    curl_multi_socket_action(pool->multi, fd, what, &n_running);
    pipe_guard_end(&guard);
    finish_ended(pool);
}

/* A socket that broke is shown to libcurl as ready for both: it finds the error by reading or writing. */
static void on_socket_ready(void *context, int fd, uint32_t events) {
    int what = 0;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_IN;
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_OUT;
    act(context, fd, what);
}

static void on_time(void *context) {
    act(context, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* Older versions of libcurl demand that its one-time setup runs in one thread; the flag it leaves is the only state of this
 * room that outlives a loop. */
static void set_libcurl_up(void) {
    curl_global_init(CURL_GLOBAL_ALL);
}

static tt_status make_multi(tt__http_pool *pool, tt_err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_libcurl_up);
    pool->multi = curl_multi_init();
    if (!pool->multi) return tt_fail_nomem(err, "HTTP client", sizeof *pool);
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, MAX_CONNECTIONS);
    return TT_OK;
}

tt_status tt__http_pool_new(tt_loop *loop, tt__http_pool **out, tt_err *err) {
    tt__http_pool *pool = tt_alloc(sizeof *pool);
    if (!pool) return tt_fail_nomem(err, "HTTP client", sizeof *pool);
    pool->loop = loop;
    tt_status status = tt__loop_timer_keep(loop, on_time, pool, &pool->timer, err);
    if (status == TT_OK) status = make_multi(pool, err);
    if (status == TT_OK)
        *out = pool;
    else
        tt__http_pool_free(pool);
    return status;
}

/* libcurl calls for the timer and the sockets until its handle is gone. */
void tt__http_pool_free(tt__http_pool *pool) {
    if (!pool) return;
    for (tt_http_transfer *t; (t = pool->first);) {
        tt__http_pool_remove(t);
        tt__http_transfer_free(t);
    }
    pipe_guard guard;
    pipe_guard_begin(&guard);
    curl_multi_cleanup(pool->multi); /* NULL is refused and fine */
    pipe_guard_end(&guard);
    tt_loop_timer_cancel(pool->loop, pool->timer);
    tt_free(pool);
}
