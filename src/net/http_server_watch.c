/* The watcher thread: accepts, hears clients leave, cuts off slow ones. One epoll for all of it.
 *
 * A client that leaves. libmicrohttpd takes a suspended connection out of its own epoll and reads nothing from it, so the
 * descriptor is registered here with EPOLLRDHUP | EPOLLET when its exchange first waits. Registering reports what happened
 * before as well. An event carries descriptor and generation; the slot says whether somebody still wants to know.
 *
 * Slow clients. Every connection that owes us a request has a deadline in its slot, an atomic that server threads move and
 * the watcher compares about once a second: at 16,000 connections a sweep reads 0.6 MB. Past it the socket is shut down, and
 * libmicrohttpd closes it as it does any other. The slot's mutex is held meanwhile, and libmicrohttpd announces a close
 * before it closes, so the descriptor cannot be someone else's by then. Without open connections there are no sweeps.
 *
 * Full. At max_connections, or when descriptors run out, listening sockets are left alone until a connection closes or the
 * next sweep comes; clients wait in the kernel's queue. */
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
    MAX_ACCEPTS =
        64, /* per listening socket and wait, so that leaving clients are heard during a rush */
    US_PER_MS = 1000,
    MAX_SLOTS = 1 << 20 /* descriptors beyond a million are refused: no machine here has so many */
};

/* What an event's 64 bits mean: a connection is generation << 32 | descriptor, with 31 bits of generation. */
#define TAG_OWN        ((uint64_t)1 << 63) /* | index of a listening socket, or: */
#define TAG_WAKE       (TAG_OWN | UINT32_MAX)
#define MAX_GENERATION 0x7fffffffu

int64_t tt__http_now_ms(void) {
    return tt_clock_us() / US_PER_MS;
}

static void wake(tt_http_server *server) {
    uint64_t one = 1;
    ssize_t ignored = write(server->wake_fd, &one, sizeof one); /* full means: awake already */
    (void)ignored;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static tt__http_slot *find_slot_unlocked(const tt_http_server *server, uint32_t fd) {
    uint32_t block = fd / TT__HTTP_SLOTS_PER_BLOCK;
    if (block >= (uint32_t)server->n_blocks || !server->blocks[block]) return NULL;
    return &server->blocks[block][fd % TT__HTTP_SLOTS_PER_BLOCK];
}

static bool add_block_unlocked(tt_http_server *server, uint32_t block) {
    if (block >= (uint32_t)server->n_blocks) return false;
    tt__http_slot *slots = tt_alloc(TT__HTTP_SLOTS_PER_BLOCK * sizeof *slots);
    if (!slots) return false;
    for (uint32_t i = 0; i < TT__HTTP_SLOTS_PER_BLOCK; i++)
        slots[i].fd = (int)(block * TT__HTTP_SLOTS_PER_BLOCK + i);
    server->blocks[block] = slots;
    return true;
}

static void free_slot_unlocked(tt_http_server *server, tt__http_slot *slot) {
    if (!slot->is_open) return;
    if (slot->is_watched) epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, slot->fd, NULL);
    atomic_store(&slot->deadline_ms, 0);
    slot->is_open = slot->is_started = slot->is_watched = false;
    slot->exchange = NULL;
    server->shared.n_connections--;
}

static void take_slot_unlocked(tt_http_server *server, tt__http_slot *slot) {
    free_slot_unlocked(server, slot); /* libmicrohttpd once closed without a word: no memory */
    slot->generation = slot->generation % MAX_GENERATION + 1;
    slot->is_open = true;
    atomic_store(&slot->deadline_ms, tt__http_now_ms() + server->head_ms);
    server->shared.n_connections++;
}

/* The slot of a connection just accepted; NULL: no memory, or the descriptor is beyond the table. */
static tt__http_slot *take_slot(tt_http_server *server, int fd) {
    pthread_mutex_lock(&server->shared.mutex);
    tt__http_slot *slot = find_slot_unlocked(server, (uint32_t)fd);
    if (!slot && add_block_unlocked(server, (uint32_t)fd / TT__HTTP_SLOTS_PER_BLOCK))
        slot = find_slot_unlocked(server, (uint32_t)fd);
    if (slot) take_slot_unlocked(server, slot);
    pthread_mutex_unlock(&server->shared.mutex);
    return slot;
}

static void free_slot(tt_http_server *server, tt__http_slot *slot) {
    pthread_mutex_lock(&server->shared.mutex);
    free_slot_unlocked(server, slot);
    bool is_paused = server->shared.is_paused;
    pthread_mutex_unlock(&server->shared.mutex);
    if (is_paused) wake(server);
}

static tt__http_slot *start_slot(tt_http_server *server, int fd) {
    pthread_mutex_lock(&server->shared.mutex);
    tt__http_slot *slot = find_slot_unlocked(server, (uint32_t)fd);
    if (slot && !slot->is_open) take_slot_unlocked(server, slot); /* was given up as lost */
    if (slot) slot->is_started = true;
    pthread_mutex_unlock(&server->shared.mutex);
    return slot;
}

void tt__http_on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code) {
    tt_http_server *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context) free_slot(server, *socket_context);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? start_slot(server, info->connect_fd) : NULL;
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
    tt__http_slot *slot = find_slot_unlocked(server, fd);
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
        if (!server->blocks[block]) continue;
        for (int i = 0; i < TT__HTTP_SLOTS_PER_BLOCK; i++)
            tell(server, (uint32_t)(block * TT__HTTP_SLOTS_PER_BLOCK + i), true, 0);
    }
}

/* ---- accepting --------------------------------------------------------------------------------------------------- */

static void set_listening(tt_http_server *server, bool is_on) {
    for (int i = 0; i < server->n_listeners; i++) {
        struct epoll_event event = {.events = is_on ? EPOLLIN : 0,
                                    .data.u64 = TAG_OWN | (uint64_t)i};
        epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listeners[i], &event);
    }
}

static void pause_accepting(tt_http_server *server) {
    pthread_mutex_lock(&server->shared.mutex);
    server->shared.is_paused = true;
    pthread_mutex_unlock(&server->shared.mutex);
    set_listening(server, false);
}

static void try_accepting_again(tt_http_server *server) {
    pthread_mutex_lock(&server->shared.mutex);
    bool is_due =
        server->shared.is_paused && server->shared.n_connections < server->max_connections;
    if (is_due) server->shared.is_paused = false;
    pthread_mutex_unlock(&server->shared.mutex);
    if (is_due) set_listening(server, true);
}

static bool is_full(tt_http_server *server) {
    return tt_http_server_connections(server) >= server->max_connections;
}

static void add(tt_http_server *server, int fd, const struct sockaddr *address, socklen_t size) {
    struct MHD_Daemon *daemon = server->daemons[server->next_daemon];
    server->next_daemon = (server->next_daemon + 1) % server->n_daemons;
    tt__http_slot *slot = take_slot(server, fd);
    if (!slot)
        close(fd);
    else if (MHD_add_connection(daemon, fd, address, size) != MHD_YES) /* it has closed fd */
        free_slot(server, slot);
}

/* False: no more for now, and the reason will not go away by itself. */
static bool accept_one(tt_http_server *server, int listener, bool *is_empty) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    *is_empty = false;
    if (fd >= 0) {
        add(server, fd, (const struct sockaddr *)&address, size);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        *is_empty = true;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        return false;
    }
    return true; /* other failures are of that one connection: the next may be well */
}

static void accept_some(tt_http_server *server, int listener) {
    bool is_empty = false;
    for (int i = 0; i < MAX_ACCEPTS && !is_empty; i++) {
        if (is_full(server) || !accept_one(server, listener, &is_empty)) {
            pause_accepting(server);
            return;
        }
    }
}

static void stop_listening(tt_http_server *server) {
    for (int i = 0; i < server->n_listeners; i++) close(server->listeners[i]);
    server->n_listeners = 0;
}

/* ---- deadlines --------------------------------------------------------------------------------------------------- */

static void sweep_slot(tt_http_server *server, tt__http_slot *slot, int64_t now_ms) {
    int64_t deadline_ms = atomic_load(&slot->deadline_ms);
    if (deadline_ms == 0 || now_ms < deadline_ms) return;
    pthread_mutex_lock(&server->shared.mutex);
    /* The exchange fails when a server thread moved the deadline meanwhile: the request came in time. */
    if (slot->is_open && atomic_compare_exchange_strong(&slot->deadline_ms, &deadline_ms, 0)) {
        if (slot->is_started)
            shutdown(slot->fd, SHUT_RDWR);
        else
            free_slot_unlocked(server, slot); /* libmicrohttpd closed it without a word */
    }
    pthread_mutex_unlock(&server->shared.mutex);
}

static void sweep(tt_http_server *server) {
    int64_t now_ms = tt__http_now_ms();
    for (int block = 0; block < server->n_blocks; block++) {
        if (!server->blocks[block]) continue;
        for (int i = 0; i < TT__HTTP_SLOTS_PER_BLOCK; i++)
            sweep_slot(server, &server->blocks[block][i], now_ms);
    }
    try_accepting_again(server);
}

static int64_t sweep_every_ms(const tt_http_server *server) {
    int64_t shortest = server->idle_ms < server->head_ms ? server->idle_ms : server->head_ms;
    int64_t quarter = shortest / 4 + 1;
    return quarter < SWEEP_MS ? quarter : SWEEP_MS;
}

static int wait_ms(tt_http_server *server, int64_t next_sweep_ms) {
    pthread_mutex_lock(&server->shared.mutex);
    bool has_work = server->shared.n_connections > 0 || server->shared.is_paused;
    pthread_mutex_unlock(&server->shared.mutex);
    if (!has_work) return -1;
    int64_t left_ms = next_sweep_ms - tt__http_now_ms();
    return left_ms > 0 ? (int)left_ms : 0;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void on_event(tt_http_server *server, uint64_t tag) {
    uint64_t count;
    if (tag == TAG_WAKE) {
        ssize_t ignored = read(server->wake_fd, &count, sizeof count);
        (void)ignored;
        try_accepting_again(server);
    } else if (tag & TAG_OWN) {
        uint64_t i = tag & ~TAG_OWN;
        if (i < (uint64_t)server->n_listeners) accept_some(server, server->listeners[i]);
    } else {
        tell(server, (uint32_t)tag, false, (uint32_t)(tag >> 32));
    }
}

static void set_reached(tt_http_server *server, tt__http_stage stage) {
    pthread_mutex_lock(&server->shared.mutex);
    server->shared.reached = stage;
    pthread_cond_broadcast(&server->shared.changed);
    pthread_mutex_unlock(&server->shared.mutex);
}

/* Goes through the stages up to the one that was asked for. */
static void follow_stage(tt_http_server *server, tt__http_stage *reached) {
    tt__http_stage wanted = (tt__http_stage)atomic_load(&server->stage);
    if (*reached < TT__HTTP_DRAINING && wanted >= TT__HTTP_DRAINING) {
        stop_listening(server);
        set_reached(server, TT__HTTP_DRAINING);
    }
    if (*reached < TT__HTTP_STOPPING && wanted >= TT__HTTP_STOPPING) {
        tell_everyone(server); /* whoever came too late for this saw the stage in tt__http_watch */
        set_reached(server, TT__HTTP_STOPPING);
    }
    *reached = wanted;
}

static void *watch(void *cls) {
    tt_http_server *server = cls;
    tt__http_stage reached = TT__HTTP_SERVING;
    struct epoll_event events[MAX_EVENTS];
    int64_t every_ms = sweep_every_ms(server), next_sweep_ms = 0;
    while (reached < TT__HTTP_STOPPED) {
        int n = epoll_wait(server->epoll_fd, events, MAX_EVENTS, wait_ms(server, next_sweep_ms));
        for (int i = 0; i < n; i++) on_event(server, events[i].data.u64);
        follow_stage(server, &reached);
        if (tt__http_now_ms() >= next_sweep_ms) {
            sweep(server);
            next_sweep_ms = tt__http_now_ms() + every_ms;
        }
    }
    return NULL;
}

static bool add_own(tt_http_server *server, int fd, uint64_t tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static tt_status open_epoll(tt_http_server *server, tt_err *err) {
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool is_good =
        server->epoll_fd >= 0 && server->wake_fd >= 0 && add_own(server, server->wake_fd, TAG_WAKE);
    for (int i = 0; i < server->n_listeners && is_good; i++)
        is_good = add_own(server, server->listeners[i], TAG_OWN | (uint64_t)i);
    return is_good ? TT_OK : tt_fail_errno(err, "cannot watch connections of", "the HTTP server");
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

void tt__http_watch_reach(tt_http_server *server, tt__http_stage stage) {
    if (!server->is_watching) return;
    atomic_store(&server->stage, stage);
    wake(server);
    if (stage == TT__HTTP_STOPPED) {
        pthread_join(server->watcher, NULL);
        server->is_watching = false;
        return;
    }
    pthread_mutex_lock(&server->shared.mutex);
    while (server->shared.reached < stage)
        pthread_cond_wait(&server->shared.changed, &server->shared.mutex);
    pthread_mutex_unlock(&server->shared.mutex);
}

void tt__http_watch_release(tt_http_server *server) {
    stop_listening(server);
    if (server->epoll_fd >= 0) close(server->epoll_fd);
    if (server->wake_fd >= 0) close(server->wake_fd);
    for (int i = 0; i < server->n_blocks && server->blocks; i++) tt_free(server->blocks[i]);
    tt_free(server->blocks);
}
