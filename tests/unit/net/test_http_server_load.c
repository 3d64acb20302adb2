/* The HTTP server with many clients at once: thousands parked, descriptors that change hands all the time, and clients that
 * leave at any moment. Run under the sanitizers, these are the tests of its races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/http_server.h"
#include "unit/net/raw_http.h"

#define HOST "Host: localhost\r\n"
#define PARK "GET /park HTTP/1.1\r\n" HOST "\r\n"

enum { MANY = 2000, MAX_WAITING = 8192 };

/* ---- the server under test --------------------------------------------------------------------------------------- */

typedef struct fixture {
    tt_http_server *server;
    int port;
    atomic_int n_handled, n_gone, n_ended;
    atomic_bool is_over;
    struct {
        pthread_mutex_t mutex;
        tt_http_exchange *waiting[MAX_WAITING];
        int n_waiting;
    } shared;
} fixture;

static void keep(fixture *f, tt_http_exchange *x) {
    pthread_mutex_lock(&f->shared.mutex);
    f->shared.waiting[f->shared.n_waiting++] = x;
    pthread_mutex_unlock(&f->shared.mutex);
}

/* `which` NULL: any. NULL when it is not there: somebody else has taken it, and ends it. */
static tt_http_exchange *take(fixture *f, const tt_http_exchange *which) {
    tt_http_exchange *found = NULL;
    pthread_mutex_lock(&f->shared.mutex);
    for (int i = 0; i < f->shared.n_waiting && !found; i++) {
        if (which && f->shared.waiting[i] != which) continue;
        found = f->shared.waiting[i];
        f->shared.waiting[i] = f->shared.waiting[--f->shared.n_waiting];
    }
    pthread_mutex_unlock(&f->shared.mutex);
    return found;
}

static int count_waiting(fixture *f) {
    pthread_mutex_lock(&f->shared.mutex);
    int n = f->shared.n_waiting;
    pthread_mutex_unlock(&f->shared.mutex);
    return n;
}

static void on_gone(void *context, tt_http_exchange *x) {
    fixture *f = context;
    atomic_fetch_add(&f->n_gone, 1);
    if (!take(f, x)) return;
    atomic_fetch_add(&f->n_ended, 1);
    tt_http_drop(x);
}

static void handle(void *context, tt_http_exchange *x) {
    fixture *f = context;
    const char *path = tt_http_path(x);
    atomic_fetch_add(&f->n_handled, 1);
    if (strcmp(path, "/park") == 0) {
        tt_http_park(x, on_gone, f);
        keep(f, x);
    } else if (strcmp(path, "/stream") == 0) {
        tt_http_stream_begin(x, "text/event-stream", 4096, on_gone, f);
        keep(f, x);
    } else {
        size_t size;
        const char *body = tt_http_body(x, &size);
        atomic_fetch_add(&f->n_ended, 1);
        tt_http_reply(x, 200, "text/plain", body, size);
    }
}

static int set_up(void **state) {
    fixture *f = tt_alloc(sizeof *f);
    /* Half a request and the client's end may come in one read, of which libmicrohttpd then sees the first only: such a
     * connection stays until it is overdue. */
    tt_http_server_options options = {.host = "127.0.0.1",
                                      .n_threads = 2,
                                      .context = f,
                                      .handle = handle,
                                      .idle_timeout_ms = 5000,
                                      .head_timeout_ms = 5000};
    pthread_mutex_init(&f->shared.mutex, NULL);
    if (tt_http_server_open(&options, &f->server, NULL) != TT_OK) return -1;
    f->port = tt_http_server_port(f->server);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tt_http_server_close(f->server, 0);
    pthread_mutex_destroy(&f->shared.mutex);
    tt_free(f);
    return 0;
}

/* No event tells a client of what the server's users see. */
static void wait_until(fixture *f, bool (*check)(fixture *f, int n), int n) {
    int64_t start_us = tt_clock_us();
    while (!check(f, n)) {
        if (tt_clock_us() - start_us > RAW_WAIT_MS * 1000LL)
            fail_msg("expected %d: %d wait, %d gone, %d ended, %d connections", n, count_waiting(f),
                     atomic_load(&f->n_gone), atomic_load(&f->n_ended),
                     tt_http_server_connections(f->server));
        usleep(1000);
    }
}

static bool are_waiting(fixture *f, int n) {
    return count_waiting(f) == n;
}

static bool are_gone(fixture *f, int n) {
    return atomic_load(&f->n_gone) == n;
}

static bool are_connected(fixture *f, int n) {
    return tt_http_server_connections(f->server) == n;
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

/* Both ends of a connection are in this process. */
static int count_affordable(int wanted) {
    enum { OTHERS = 200, LEAST = 10 };
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0); /* the server has raised it */
    int affordable = limit.rlim_cur > 1 << 20 ? wanted : (int)limit.rlim_cur / 2 - OTHERS;
    if (affordable < LEAST) affordable = LEAST;
    return wanted < affordable ? wanted : affordable;
}

static void thousands_wait_and_are_answered_or_leave(void **state) {
    fixture *f = *state;
    int n = count_affordable(MANY);
    raw_client *clients = tt_alloc((size_t)n * sizeof *clients);
    for (int i = 0; i < n; i++) {
        clients[i] = raw_connect(f->port);
        assert_true(raw_send(&clients[i], PARK));
    }
    wait_until(f, are_waiting, n);
    assert_int_equal(tt_http_server_connections(f->server), n);
    raw_expect(f->port, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, ""); /* there is room beside them */
    for (int i = 0; i < n; i += 2) raw_close(&clients[i]);
    wait_until(f, are_gone, (n + 1) / 2);
    for (tt_http_exchange *x; (x = take(f, NULL));) tt_http_reply(x, 200, "text/plain", "ok", 2);
    for (int i = 1; i < n; i += 2) {
        raw_expect_on(&clients[i], 200, "ok");
        raw_close(&clients[i]);
    }
    wait_until(f, are_connected, 0);
    assert_int_equal(atomic_load(&f->n_gone), (n + 1) / 2);
    tt_free(clients);
}

static void ten_thousand_requests_leave_nothing_behind(void **state) {
    enum { REQUESTS = 10 * 1000, PER_CONNECTION = 100 };
    static const char TEXT[] = "POST /x HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nping";
    fixture *f = *state;
    for (int i = 0; i < REQUESTS / PER_CONNECTION; i++) {
        raw_client c = raw_connect(f->port);
        for (int j = 0; j < PER_CONNECTION; j++) {
            assert_true(raw_send(&c, TEXT));
            raw_expect_on(&c, 200, "ping");
        }
        raw_close(&c);
    }
    assert_int_equal(atomic_load(&f->n_handled), REQUESTS);
    wait_until(f, are_connected, 0);
}

/* ---- descriptors that change hands ------------------------------------------------------------------------------- */

static void *come_and_go(void *context) {
    enum { ROUNDS = 500 };
    fixture *f = context;
    for (int i = 0; i < ROUNDS; i++) {
        raw_client c = raw_connect(f->port);
        raw_send(&c, i % 4 == 0 ? PARK : "GET /x HTTP/1.1\r\n" HOST "\r\n");
        if (i % 4 == 1 || i % 4 == 2) raw_more(&c); /* the others leave at once */
        raw_close(&c);
    }
    return NULL;
}

static void short_connections_do_not_disturb_parked_ones(void **state) {
    enum { PARKED = 100, THREADS = 4 };
    fixture *f = *state;
    raw_client clients[PARKED];
    tt_http_exchange *parked[PARKED];
    pthread_t threads[THREADS];
    for (int i = 0; i < PARKED; i++) {
        clients[i] = raw_connect(f->port);
        raw_send(&clients[i], PARK);
    }
    wait_until(f, are_waiting, PARKED);
    for (int i = 0; i < PARKED; i++) parked[i] = take(f, NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, f), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    wait_until(f, are_waiting, 0); /* those of the storm have gone, and no one else */
    for (int i = 0; i < PARKED; i++) {
        struct pollfd p = {.fd = clients[i].fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 0), 0);
    }
    for (int i = 0; i < PARKED; i++) tt_http_reply(parked[i], 200, NULL, "still here", 10);
    for (int i = 0; i < PARKED; i++) {
        raw_expect_on(&clients[i], 200, "still here");
        raw_close(&clients[i]);
    }
    wait_until(f, are_connected, 0);
}

/* ---- everything at once ------------------------------------------------------------------------------------------ */

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u; /* Numerical Recipes' generator: any will do */
    return *state >> 16;
}

/* Ends what waits, in every way there is. */
static void *end_at_random(void *context) {
    fixture *f = context;
    uint32_t random = 7;
    while (!atomic_load(&f->is_over) || count_waiting(f) > 0) {
        tt_http_exchange *x = take(f, NULL);
        if (!x) {
            usleep(100);
            continue;
        }
        bool is_stream = strcmp(tt_http_path(x), "/stream") == 0;
        uint32_t r = next_random(&random) % 4;
        if (is_stream && r > 0) tt_http_stream_write(x, "data: 1\n\n", 9);
        atomic_fetch_add(&f->n_ended, 1);
        if (r == 0)
            tt_http_drop(x);
        else if (is_stream)
            tt_http_stream_end(x);
        else
            tt_http_reply(x, 200, "text/plain", "ok", 2);
    }
    return NULL;
}

typedef struct visitor {
    fixture *f;
    uint32_t random;
} visitor;

static void *visit_at_random(void *context) {
    enum { ROUNDS = 400 };
    static const char *const TEXTS[] = {PARK, "GET /stream HTTP/1.1\r\n" HOST "\r\n",
                                        "GET /x HTTP/1.1\r\n" HOST "\r\n",
                                        "POST /x HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nhal"};
    visitor *v = context;
    for (int i = 0; i < ROUNDS; i++) {
        raw_client c = raw_connect(v->f->port);
        for (uint32_t n = next_random(&v->random) % 3; n < 3; n++)
            if (!raw_send(&c, TEXTS[next_random(&v->random) % 4])) break;
        uint32_t patience = next_random(&v->random) % 3;
        struct pollfd p = {.fd = c.fd, .events = POLLIN};
        if (patience > 0) poll(&p, 1, (int)patience);
        raw_close(&c);
    }
    return NULL;
}

static void every_exchange_ends_once_whatever_happens(void **state) {
    enum { VISITORS = 4, ENDERS = 2 };
    fixture *f = *state;
    pthread_t visitors[VISITORS], enders[ENDERS];
    visitor v[VISITORS];
    for (int i = 0; i < ENDERS; i++)
        assert_int_equal(pthread_create(&enders[i], NULL, end_at_random, f), 0);
    for (int i = 0; i < VISITORS; i++) {
        v[i] = (visitor){f, (uint32_t)i * 977 + 1};
        assert_int_equal(pthread_create(&visitors[i], NULL, visit_at_random, &v[i]), 0);
    }
    for (int i = 0; i < VISITORS; i++) pthread_join(visitors[i], NULL);
    wait_until(f, are_connected, 0);
    atomic_store(&f->is_over, true);
    for (int i = 0; i < ENDERS; i++) pthread_join(enders[i], NULL);
    assert_int_equal(atomic_load(&f->n_handled), atomic_load(&f->n_ended));
    assert_true(atomic_load(&f->n_handled) > 100);
}

/* The same, and the server closes in the middle. */
static void closing_under_load_is_clean(void **state) {
    enum { VISITORS = 3, ROUNDS = 10 };
    for (int round = 0; round < ROUNDS; round++) {
        fixture *f = *state;
        pthread_t ender;
        raw_client clients[64];
        assert_int_equal(pthread_create(&ender, NULL, end_at_random, f), 0);
        for (int i = 0; i < 64; i++) {
            clients[i] = raw_connect(f->port);
            raw_send(&clients[i], i % 3 ? PARK : "GET /stream HTTP/1.1\r\n" HOST "\r\n");
            if (i % 5 == 0) raw_close(&clients[i]);
        }
        tt_http_server_close(f->server, round % 2 ? 1000 : 0);
        f->server = NULL;
        atomic_store(&f->is_over, true);
        pthread_join(ender, NULL);
        assert_int_equal(atomic_load(&f->n_handled), atomic_load(&f->n_ended));
        for (int i = 0; i < 64; i++) raw_close(&clients[i]);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

int main(void) {
#define SERVED(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SERVED(thousands_wait_and_are_answered_or_leave),
        SERVED(ten_thousand_requests_leave_nothing_behind),
        SERVED(short_connections_do_not_disturb_parked_ones),
        SERVED(every_exchange_ends_once_whatever_happens),
        SERVED(closing_under_load_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
