/* The watcher thread: hears clients leave, cuts off slow ones. And the table of connections, which both need.
 *
 * A client that leaves. libmicrohttpd takes a suspended connection out of its own epoll and reads nothing from it, so the
 * descriptor is registered here with EPOLLRDHUP | EPOLLET when its exchange first waits. Registering reports what happened
 * before as well. An event carries descriptor and generation; the slot says whether somebody still wants to know.
 *
 * Slow clients. Every connection that owes us a request has a deadline in its slot, an atomic that server threads move and
 * the watcher compares about once a second: at 16,000 connections a sweep reads 0.8 MB. Past it the socket is shut down, and
 * libmicrohttpd closes it as it does any other. The table's mutex is held meanwhile, and libmicrohttpd announces a close
 * before it closes, so the descriptor cannot be someone else's by then. Without open connections there are no sweeps. */
#include "net/http_server_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

enum {
    SWEEP_MS = 1000,  /* or a quarter of the shortest timeout */
    MAX_EVENTS = 256, /* per wait; more come at once with the next */
    MS_PER_S = 1000,
    MAX_SLOTS = 1 << 20 /* descriptors beyond a million are refused: no machine here has so many */
};

/* What an event's 64 bits mean: generation << 32 | descriptor of a connection, with 31 bits of generation, or: */
#define TAG_WAKE       ((uint64_t)1 << 63)
#define MAX_GENERATION 0x7fffffffu

static void wake(tt_http_server *server) {
    uint64_t one = 1;
    ssize_t ignored = write(server->wake_fd, &one, sizeof one); /* full means: awake already */
    (void)ignored;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static tt__http_slot *find_slot(const tt_http_server *server, uint32_t fd) {
    uint32_t block = fd / TT__HTTP_SLOTS_PER_BLOCK;
    tt__http_slot *slots =
        block < (uint32_t)server->n_blocks ? atomic_load(&server->blocks[block]) : NULL;
    return slots ? &slots[fd % TT__HTTP_SLOTS_PER_BLOCK] : NULL;
}

static void add_block_unlocked(tt_http_server *server, uint32_t block) {
    if (block >= (uint32_t)server->n_blocks || atomic_load(&server->blocks[block])) return;
    tt__http_slot *slots = tt_alloc(TT__HTTP_SLOTS_PER_BLOCK * sizeof *slots);
    if (!slots) return;
    for (uint32_t i = 0; i < TT__HTTP_SLOTS_PER_BLOCK; i++)
        slots[i].fd = (int)(block * TT__HTTP_SLOTS_PER_BLOCK + i);
    atomic_store(&server->blocks[block], slots);
}

static void open_slot_unlocked(tt__http_thread *thread, tt__http_slot *slot) {
    tt_http_server *server = thread->server;
    slot->generation = slot->generation % MAX_GENERATION + 1;
    slot->is_open = true;
    slot->thread = thread;
    atomic_store(&slot->deadline_ms, tt_clock_ms() + server->head_ms);
    server->shared.n_connections++;
}

tt__http_slot *tt__http_take_slot(tt__http_thread *thread, int fd, uint32_t *generation) {
    tt_http_server *server = thread->server;
    pthread_mutex_lock(&server->shared.mutex);
    add_block_unlocked(server, (uint32_t)fd / TT__HTTP_SLOTS_PER_BLOCK);
    tt__http_slot *slot = find_slot(server, (uint32_t)fd);
    if (slot) {
        open_slot_unlocked(thread, slot);
        *generation = slot->generation;
    }
    bool is_first = server->shared.n_connections == 1;
    pthread_mutex_unlock(&server->shared.mutex);
    if (is_first) wake(server); /* sweeps begin */
    return slot;
}

static void close_slot_unlocked(tt_http_server *server, tt__http_slot *slot) {
    if (slot->is_watched) epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, slot->fd, NULL);
    atomic_store(&slot->deadline_ms, 0);
    slot->is_open = slot->is_watched = false;
    slot->exchange = NULL;
    server->shared.n_connections--;
}

void tt__http_free_slot(tt_http_server *server, tt__http_slot *slot, uint32_t generation) {
    pthread_mutex_lock(&server->shared.mutex);
    if (slot->is_open && slot->generation == generation) close_slot_unlocked(server, slot);
    bool is_wanted = server->shared.is_full;
    server->shared.is_full = false;
    pthread_mutex_unlock(&server->shared.mutex);
    if (is_wanted) tt__http_wake_all(server);
}

bool tt__http_has_room(tt_http_server *server) {
    pthread_mutex_lock(&server->shared.mutex);
    bool has_room = server->shared.n_connections < server->max_connections;
    if (!has_room) server->shared.is_full = true;
    pthread_mutex_unlock(&server->shared.mutex);
    return has_room;
}

void tt__http_on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code) {
    tt_http_server *server = cls;
    tt__http_slot *slot = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) { /* nobody else can open or close this slot now */
        if (slot) tt__http_free_slot(server, slot, slot->generation);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? find_slot(server, (uint32_t)info->connect_fd) : NULL;
}

/* ---- clients that leave ------------------------------------------------------------------------------------------ */

static void register_unlocked(tt_http_server *server, tt__http_slot *slot) {
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uint64_t)slot->generation << 32 | (uint32_t)slot->fd};
    int what = slot->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    /* A refusal (the kernel's memory) costs only the news that the client left. */
    if (epoll_ctl(server->epoll_fd, what, slot->fd, &event) == 0) slot->is_watched = true;
}

bool tt__http_watch(tt_http_server *server, tt__http_slot *slot, tt_http_exchange *x) {
    pthread_mutex_lock(&server->shared.mutex);
    bool may_wait = atomic_load(&server->stage) < TT__HTTP_STOPPING;
    if (may_wait) {
        slot->exchange = x;
        register_unlocked(server, slot);
    }
    pthread_mutex_unlock(&server->shared.mutex);
    return may_wait;
}

void tt__http_unwatch(tt_http_server *server, tt__http_slot *slot) {
    pthread_mutex_lock(&server->shared.mutex);
    slot->exchange = NULL;
    pthread_mutex_unlock(&server->shared.mutex);
}

static void tell(tt_http_server *server, uint32_t fd, bool is_any, uint32_t generation) {
    pthread_mutex_lock(&server->shared.mutex);
    tt__http_slot *slot = find_slot(server, fd);
    tt_http_exchange *x = NULL;
    if (slot && slot->is_open && (is_any || slot->generation == generation)) x = slot->exchange;
    if (x) tt__http_exchange_hold(x);
    pthread_mutex_unlock(&server->shared.mutex);
    if (!x) return;
    tt__http_gone(x);
    tt__http_exchange_release(x);
}

static void tell_everyone(tt_http_server *server) {
    for (int block = 0; block < server->n_blocks; block++) {
        if (!atomic_load(&server->blocks[block])) continue;
        for (int i = 0; i < TT__HTTP_SLOTS_PER_BLOCK; i++)
            tell(server, (uint32_t)(block * TT__HTTP_SLOTS_PER_BLOCK + i), true, 0);
    }
}

/* ---- deadlines --------------------------------------------------------------------------------------------------- */

static void sweep_slot(tt_http_server *server, tt__http_slot *slot, int64_t now_ms) {
    int64_t deadline_ms = atomic_load(&slot->deadline_ms);
    if (deadline_ms == 0 || now_ms < deadline_ms) return;
    pthread_mutex_lock(&server->shared.mutex);
    /* The exchange fails when a server thread moved the deadline meanwhile: the request came in time. */
    if (slot->is_open && atomic_compare_exchange_strong(&slot->deadline_ms, &deadline_ms, 0))
        shutdown(slot->fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->shared.mutex);
}

static void sweep(tt_http_server *server) {
    int64_t now_ms = tt_clock_ms();
    for (int block = 0; block < server->n_blocks; block++) {
        tt__http_slot *slots = atomic_load(&server->blocks[block]);
        for (int i = 0; i < TT__HTTP_SLOTS_PER_BLOCK && slots; i++)
            sweep_slot(server, &slots[i], now_ms);
    }
}

static int64_t sweep_every_ms(const tt_http_server *server) {
    int64_t shortest = server->idle_ms < server->head_ms ? server->idle_ms : server->head_ms;
    int64_t quarter = shortest / 4 + 1;
    return quarter < SWEEP_MS ? quarter : SWEEP_MS;
}

static int wait_ms(tt_http_server *server, int64_t next_sweep_ms) {
    pthread_mutex_lock(&server->shared.mutex);
    bool has_work = server->shared.n_connections > 0;
    pthread_mutex_unlock(&server->shared.mutex);
    if (!has_work) return -1;
    int64_t left_ms = next_sweep_ms - tt_clock_ms();
    return left_ms > 0 ? (int)left_ms : 0;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void on_event(tt_http_server *server, uint64_t tag) {
    uint64_t count;
    if (tag != TAG_WAKE) {
        tell(server, (uint32_t)tag, false, (uint32_t)(tag >> 32));
        return;
    }
    ssize_t ignored = read(server->wake_fd, &count, sizeof count);
    (void)ignored;
}

/* When the server stops. Whoever comes too late for this sees the stage in tt__http_watch. */
static void tell_everyone_once(tt_http_server *server, bool *is_done) {
    if (*is_done || atomic_load(&server->stage) < TT__HTTP_STOPPING) return;
    *is_done = true;
    tell_everyone(server);
    pthread_mutex_lock(&server->shared.mutex);
    server->shared.is_everyone_told = true;
    pthread_cond_broadcast(&server->shared.changed);
    pthread_mutex_unlock(&server->shared.mutex);
}

static void *watch(void *cls) {
    tt_http_server *server = cls;
    struct epoll_event events[MAX_EVENTS];
    int64_t every_ms = sweep_every_ms(server), next_sweep_ms = 0;
    bool is_everyone_told = false;
    while (atomic_load(&server->stage) < TT__HTTP_STOPPED) {
        int n = epoll_wait(server->epoll_fd, events, MAX_EVENTS, wait_ms(server, next_sweep_ms));
        for (int i = 0; i < n; i++) on_event(server, events[i].data.u64);
        tell_everyone_once(server, &is_everyone_told);
        if (tt_clock_ms() >= next_sweep_ms) {
            sweep(server);
            next_sweep_ms = tt_clock_ms() + every_ms;
        }
    }
    return NULL;
}

static tt_status open_epoll(tt_http_server *server, tt_err *err) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_WAKE};
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd >= 0 && server->wake_fd >= 0 &&
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd, &event) == 0)
        return TT_OK;
    return tt_fail_errno(err, "cannot watch connections of", "the HTTP server");
}

static tt_status make_table(tt_http_server *server, tt_err *err) {
    struct rlimit limit;
    size_t n_slots = MAX_SLOTS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < MAX_SLOTS)
        n_slots = (size_t)limit.rlim_cur;
    server->n_blocks = (int)(n_slots / TT__HTTP_SLOTS_PER_BLOCK + 1);
    server->blocks = tt_alloc((size_t)server->n_blocks * sizeof *server->blocks);
    if (server->blocks) return TT_OK;
    return tt_fail_nomem(err, "table of connections", n_slots);
}

tt_status tt__http_watch_start(tt_http_server *server, tt_err *err) {
    TT_TRY(make_table(server, err));
    TT_TRY(open_epoll(server, err));
    int failure = pthread_create(&server->watcher, NULL, watch, server);
    if (failure != 0)
        return tt_fail(err, TT_E_IO, "cannot start a thread of the HTTP server: %s",
                       strerror(failure));
    server->is_watching = true;
    return TT_OK;
}

static bool is_everyone_told(void *cls) {
    const tt_http_server *server = cls;
    return server->shared.is_everyone_told;
}

void tt__http_watch_tell_everyone(tt_http_server *server) {
    if (!server->is_watching) return;
    wake(server);
    /* The users' callbacks have no deadline, and libmicrohttpd may not be stopped before. */
    while (!tt__http_wait(server, is_everyone_told, server, TT__HTTP_TELL_MS))
        tt_log_write(server->options.log, TT_LOG_ERROR, NULL,
                     "HTTP: closing, but an on_gone has not returned for %d s",
                     TT__HTTP_TELL_MS / MS_PER_S);
}

void tt__http_watch_stop(tt_http_server *server) {
    if (!server->is_watching) return;
    wake(server);
    pthread_join(server->watcher, NULL);
    server->is_watching = false;
}

void tt__http_watch_release(tt_http_server *server) {
    if (server->epoll_fd >= 0) close(server->epoll_fd);
    if (server->wake_fd >= 0) close(server->wake_fd);
    for (int i = 0; i < server->n_blocks && server->blocks; i++)
        tt_free(atomic_load(&server->blocks[i]));
    tt_free(server->blocks);
}
