/* See loop.h. One epoll instance holds everything that can be waited for: the sockets of the HTTP client, watched descriptors
 * and an eventfd by which other threads say that there is news (a posted call, a stop). Timers give the wait its end.
 * libcurl hangs on it by its socket interface (http_pool.c), so a round costs what is ready and not what is open: waiting in
 * curl_multi_poll would poll every connection at each of them.
 *
 * A round: wait; descriptors that are ready; calls posted before the round; timers that were due when it began. What a
 * callback adds waits for the next round, so nothing starves. A stop is heeded after each callback; calls and events that
 * are left are seen by the next tt_loop_run.
 *
 * Watches lie in a table by descriptor. An event carries the number of the watch it was meant for, so an event that was
 * fetched before its watch was taken back (or its descriptor closed and given to another) finds nobody. */
#include "net/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/loop_parts.h"
#include "net/timers.h"

enum {
    MAX_EVENTS = 128,        /* fetched by one wait; more come with the next */
    MAX_POSTS = 1024 * 1024, /* waiting calls; so many mean that the loop's thread hangs */
    FIRST_WATCHES = 64,
    US_PER_MS = 1000,
};
#define NEVER_US INT64_MAX
/* Far beyond any use, near enough for sums of two not to wrap. */
#define MAX_DELAY_MS (INT64_MAX / US_PER_MS / 4)

typedef struct post {
    struct post *next;
    tt_loop_fn fn;
    void *context;
} post;

typedef struct posts { /* first in, first out */
    post *first, **end;
    int n;
} posts;

typedef struct watch {
    uint32_t number; /* 0: nobody watches this descriptor */
    tt_loop_fn fn;
    tt__loop_io_fn io; /* instead of fn */
    void *context;
} watch;

struct tt_loop {
    int epoll,
        news; /* news: an eventfd, readable when something was posted or the loop shall stop */
    tt__timers timers;
    watch *watches; /* [n_watches], by descriptor */
    int n_watches;
    uint32_t n_watched; /* the next watch's number */
    posts running;      /* taken from shared.waiting for this round */
    void *guest;
    void (*free_guest)(void *guest);
    atomic_bool must_stop; /* any thread, signal handlers */
    struct {               /* any thread, under the mutex */
        pthread_mutex_t mutex;
        posts waiting;
    } shared;
};

/* ---- posted calls ------------------------------------------------------------------------------------------------ */

static void posts_init(posts *p) {
    *p = (posts){.end = &p->first};
}

static void posts_add(posts *p, post *call) {
    *p->end = call;
    p->end = &call->next;
    p->n++;
}

static post *posts_take(posts *p) {
    post *call = p->first;
    if (!call) return NULL;
    p->first = call->next;
    p->n--;
    if (!p->first) p->end = &p->first;
    return call;
}

/* Moves all of `from` behind `to`. */
static void posts_move(posts *from, posts *to) {
    if (!from->first) return;
    *to->end = from->first;
    to->end = from->end;
    to->n += from->n;
    posts_init(from);
}

static void posts_release(posts *p) {
    for (post *call; (call = posts_take(p));) tt_free(call);
}

/* A full eventfd (EAGAIN) is readable already: nothing else can fail here. */
static void tell(tt_loop *loop) {
    int saved = errno;
    static const uint64_t ONE = 1;
    ssize_t n = write(loop->news, &ONE, sizeof ONE);
    (void)n;
    errno = saved;
}

tt_status tt_loop_post(tt_loop *loop, tt_loop_fn fn, void *context, tt_err *err) {
    post *call = tt_alloc(sizeof *call);
    if (!call) return tt_fail_nomem(err, "posted call", sizeof *call);
    *call = (post){.fn = fn, .context = context};
    pthread_mutex_lock(&loop->shared.mutex);
    int n = loop->shared.waiting.n;
    if (n < MAX_POSTS) posts_add(&loop->shared.waiting, call);
    pthread_mutex_unlock(&loop->shared.mutex);
    if (n == MAX_POSTS) {
        tt_free(call);
        return tt_fail(err, TT_E_NOMEM, "event loop: %d posted calls wait already", n);
    }
    if (n == 0) tell(loop); /* otherwise whoever posted first has told */
    return TT_OK;
}

void tt_loop_stop(tt_loop *loop) {
    atomic_store(&loop->must_stop, true);
    tell(loop);
}

static void run_posts(tt_loop *loop) {
    pthread_mutex_lock(&loop->shared.mutex);
    posts_move(&loop->shared.waiting, &loop->running);
    pthread_mutex_unlock(&loop->shared.mutex);
    while (!atomic_load(&loop->must_stop)) {
        post *call = posts_take(&loop->running);
        if (!call) return;
        tt_loop_fn fn = call->fn;
        void *context = call->context;
        tt_free(call);
        fn(context);
    }
}

/* ---- timers ------------------------------------------------------------------------------------------------------ */

static int64_t due_us(int64_t delay_ms) {
    if (delay_ms < 0) delay_ms = 0;
    if (delay_ms > MAX_DELAY_MS) delay_ms = MAX_DELAY_MS;
    return tt_clock_us() + delay_ms * US_PER_MS;
}

tt_status tt_loop_timer(tt_loop *loop, int64_t delay_ms, tt_loop_fn fn, void *context,
                        tt_timer **out, tt_err *err) {
    tt_timer *timer;
    TT_TRY(tt__timers_add(&loop->timers, due_us(delay_ms), fn, context, &timer, err));
    if (out) *out = timer;
    return TT_OK;
}

void tt_loop_timer_cancel(tt_loop *loop, tt_timer *timer) {
    if (timer) tt__timers_remove(&loop->timers, timer);
}

tt_status tt__loop_timer_keep(tt_loop *loop, tt_loop_fn fn, void *context, tt_timer **out,
                              tt_err *err) {
    TT_TRY(tt__timers_add(&loop->timers, NEVER_US, fn, context, out, err));
    (*out)->stays = true;
    return TT_OK;
}

void tt__loop_timer_move(tt_loop *loop, tt_timer *timer, int64_t delay_ms) {
    tt__timers_move(&loop->timers, timer, delay_ms < 0 ? NEVER_US : due_us(delay_ms));
}

/* Those that were due and set when this began. Later ones of the same moment have a higher order and sort behind them. */
static void run_timers(tt_loop *loop) {
    int64_t now_us = tt_clock_us();
    uint64_t end = loop->timers.n_set;
    while (!atomic_load(&loop->must_stop)) {
        tt_timer *timer = tt__timers_first(&loop->timers);
        if (!timer || timer->due_us > now_us || timer->order >= end) return;
        tt_loop_fn fn = timer->fn;
        void *context = timer->context;
        if (timer->stays)
            tt__timers_move(&loop->timers, timer, NEVER_US);
        else
            tt__timers_remove(&loop->timers, timer);
        fn(context);
    }
}

/* Milliseconds until the next timer, rounded up so that none is met too early; -1: none. */
static int wait_ms(const tt_loop *loop) {
    const tt_timer *timer = tt__timers_first(&loop->timers);
    if (loop->running.first) return 0;
    if (!timer || timer->due_us == NEVER_US) return -1;
    int64_t left_us = timer->due_us - tt_clock_us();
    if (left_us <= 0) return 0;
    int64_t left_ms = (left_us + US_PER_MS - 1) / US_PER_MS;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static watch *watch_of(const tt_loop *loop, int fd) {
    bool is_known = fd >= 0 && fd < loop->n_watches && loop->watches[fd].number != 0;
    return is_known ? &loop->watches[fd] : NULL;
}

static tt_status make_room(tt_loop *loop, int fd, tt_err *err) {
    if (fd < 0) return tt_fail(err, TT_E_INVALID, "event loop: %d is no descriptor", fd);
    if (fd < loop->n_watches) return TT_OK;
    int n = loop->n_watches ? loop->n_watches : FIRST_WATCHES;
    while (n <= fd && n < INT_MAX / 2) n *= 2;
    size_t bytes = (size_t)n * sizeof *loop->watches;
    watch *watches = tt_realloc(loop->watches, bytes);
    if (!watches) return tt_fail_nomem(err, "table of watched descriptors", bytes);
    memset(watches + loop->n_watches, 0, (size_t)(n - loop->n_watches) * sizeof *watches);
    loop->watches = watches;
    loop->n_watches = n;
    return TT_OK;
}

/* The number says which watch an event is meant for. 0 is left out: it marks an empty place and the eventfd. */
static uint64_t tag_of(int fd, uint32_t number) {
    return (uint64_t)number << 32 | (uint32_t)fd;
}

static uint32_t next_number(tt_loop *loop) {
    if (++loop->n_watched == 0) loop->n_watched = 1;
    return loop->n_watched;
}

static tt_status control(tt_loop *loop, int operation, int fd, uint32_t events, uint32_t number,
                         tt_err *err) {
    struct epoll_event event = {.events = events, .data.u64 = tag_of(fd, number)};
    if (epoll_ctl(loop->epoll, operation, fd, &event) == 0) return TT_OK;
    return tt_fail(err, TT_E_IO, "event loop: cannot watch descriptor %d: %s", fd, strerror(errno));
}

static tt_status add_watch(tt_loop *loop, int fd, uint32_t events, const watch *w, tt_err *err) {
    TT_TRY(make_room(loop, fd, err));
    uint32_t number = next_number(loop);
    TT_TRY(control(loop, EPOLL_CTL_ADD, fd, events, number, err));
    loop->watches[fd] = *w;
    loop->watches[fd].number = number;
    return TT_OK;
}

tt_status tt_loop_watch(tt_loop *loop, int fd, tt_loop_fn fn, void *context, tt_err *err) {
    if (watch_of(loop, fd))
        return tt_fail(err, TT_E_INVALID, "event loop: descriptor %d is watched already", fd);
    return add_watch(loop, fd, EPOLLIN, &(watch){.fn = fn, .context = context}, err);
}

tt_status tt__loop_watch_io(tt_loop *loop, int fd, uint32_t events, tt__loop_io_fn fn,
                            void *context, tt_err *err) {
    watch *old = watch_of(loop, fd);
    if (!old) return add_watch(loop, fd, events, &(watch){.io = fn, .context = context}, err);
    return control(loop, EPOLL_CTL_MOD, fd, events, old->number, err);
}

/* epoll forgets a closed descriptor by itself, so a refusal here means that there is nothing to forget. */
void tt_loop_unwatch(tt_loop *loop, int fd) {
    watch *w = watch_of(loop, fd);
    if (!w) return;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    *w = (watch){.number = 0};
}

static void drain_news(const tt_loop *loop) {
    uint64_t count;
    ssize_t n = read(loop->news, &count, sizeof count);
    (void)n; /* EAGAIN: an earlier read took it all */
}

static void dispatch(tt_loop *loop, const struct epoll_event *event) {
    int fd = (int)(uint32_t)event->data.u64;
    uint32_t number = (uint32_t)(event->data.u64 >> 32);
    if (number == 0) {
        drain_news(loop);
        return;
    }
    const watch *w = watch_of(loop, fd);
    if (!w || w->number != number) return; /* taken back since the event was fetched */
    if (w->io)
        w->io(w->context, fd, event->events);
    else
        w->fn(w->context);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static tt_status run_once(tt_loop *loop, tt_err *err) {
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(loop->epoll, events, MAX_EVENTS, wait_ms(loop));
    if (n < 0 && errno != EINTR)
        return tt_fail(err, TT_E_INTERNAL, "event loop: cannot wait: %s", strerror(errno));
    for (int i = 0; i < n && !atomic_load(&loop->must_stop); i++) dispatch(loop, &events[i]);
    run_posts(loop);
    run_timers(loop);
    return TT_OK;
}

tt_status tt_loop_run(tt_loop *loop, tt_err *err) {
    tt_status status = TT_OK;
    while (status == TT_OK && !atomic_load(&loop->must_stop)) status = run_once(loop, err);
    atomic_store(&loop->must_stop, false);
    return status;
}

bool tt__loop_is_stopping(const tt_loop *loop) {
    return atomic_load(&loop->must_stop);
}

void tt__loop_set_guest(tt_loop *loop, void *guest, void (*free_guest)(void *guest)) {
    loop->guest = guest;
    loop->free_guest = free_guest;
}

void *tt__loop_guest(const tt_loop *loop) {
    return loop->guest;
}

static tt_status open_descriptors(tt_loop *loop, tt_err *err) {
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0)
        return tt_fail(err, TT_E_IO, "event loop: cannot make an epoll: %s", strerror(errno));
    loop->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->news < 0)
        return tt_fail(err, TT_E_IO, "event loop: cannot make an eventfd: %s", strerror(errno));
    return control(loop, EPOLL_CTL_ADD, loop->news, EPOLLIN, 0, err);
}

tt_status tt_loop_new(tt_loop **out, tt_err *err) {
    *out = NULL;
    tt_loop *loop = tt_alloc(sizeof *loop);
    if (!loop) return tt_fail_nomem(err, "event loop", sizeof *loop);
    loop->epoll = loop->news = -1;
    posts_init(&loop->running);
    posts_init(&loop->shared.waiting);
    pthread_mutex_init(&loop->shared.mutex, NULL);
    tt_status status = open_descriptors(loop, err);
    if (status != TT_OK) {
        tt_loop_free(loop);
        return status;
    }
    *out = loop;
    return TT_OK;
}

void tt_loop_free(tt_loop *loop) {
    if (!loop) return;
    if (loop->free_guest) loop->free_guest(loop->guest);
    posts_release(&loop->running);
    posts_release(&loop->shared.waiting);
    pthread_mutex_destroy(&loop->shared.mutex);
    tt__timers_release(&loop->timers);
    tt_free(loop->watches);
    if (loop->news >= 0) close(loop->news);
    if (loop->epoll >= 0) close(loop->epoll);
    tt_free(loop);
}
