/* Exchanges that wait: parked and streamed ones, clients that leave them, and closing the server under them. What the client
 * sees is one truth; how often on_gone came, and when, is the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/http_server.h"
#include "unit/net/raw_http.h"

#define HOST "Host: localhost\r\n"
#define PARK "GET /park HTTP/1.1\r\n" HOST "\r\n"

enum { MAX_WAITING = 64, STREAM_PENDING = 64 * 1024, LARGE_BLOB = 32 << 20 };

/* ---- the server under test --------------------------------------------------------------------------------------- */

typedef struct fixture {
    tt_http_server *server;
    int port;
    bool ends_in_gone; /* on_gone drops what left */
    tt_blob *large;    /* sent by /large */
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        tt_http_exchange *waiting[MAX_WAITING]; /* parked or streaming, not ended; NULL: taken */
        int n_waiting, n_left;                  /* ever */
        int n_gone;                             /* calls of on_gone */
        bool is_held;                           /* on_gone does not return until released */
        bool is_holding;
    } shared;
} fixture;

static void lock(fixture *f) {
    pthread_mutex_lock(&f->shared.mutex);
}

static void unlock(fixture *f) {
    pthread_mutex_unlock(&f->shared.mutex);
}

static void changed(fixture *f) {
    pthread_cond_broadcast(&f->shared.changed);
}

/* Waits, locked, for a change; a test that waits for nothing fails. */
static bool wait_changed(fixture *f) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += RAW_WAIT_MS / 1000;
    return pthread_cond_timedwait(&f->shared.changed, &f->shared.mutex, &deadline) == 0;
}

/* True for the one who may end it. */
static bool take(fixture *f, tt_http_exchange *x) {
    bool is_mine = false;
    lock(f);
    for (int i = 0; i < f->shared.n_waiting; i++) {
        if (f->shared.waiting[i] != x) continue;
        f->shared.waiting[i] = NULL;
        is_mine = true;
    }
    unlock(f);
    return is_mine;
}

static void on_gone(void *context, tt_http_exchange *x) {
    fixture *f = context;
    assert_non_null(tt_http_header(x, "Host")); /* still readable */
    lock(f);
    f->shared.n_gone++;
    f->shared.is_holding = f->shared.is_held;
    changed(f);
    while (f->shared.is_held && wait_changed(f)) continue;
    f->shared.is_holding = false;
    changed(f);
    unlock(f);
    if (f->ends_in_gone && take(f, x)) tt_http_drop(x);
}

static void keep(fixture *f, tt_http_exchange *x) {
    lock(f);
    if (f->shared.n_waiting < MAX_WAITING) f->shared.waiting[f->shared.n_waiting++] = x;
    changed(f);
    unlock(f);
}

static void handle(void *context, tt_http_exchange *x) {
    fixture *f = context;
    const char *path = tt_http_path(x);
    if (strcmp(path, "/park") == 0) {
        tt_http_park(x, on_gone, f);
        keep(f, x);
    } else if (strcmp(path, "/quiet") == 0) {
        tt_http_park(x, NULL, NULL);
        keep(f, x);
    } else if (strcmp(path, "/stream") == 0) {
        tt_http_add_header(x, "Cache-Control", "no-cache", NULL);
        tt_http_stream_begin(x, "text/event-stream", STREAM_PENDING, on_gone, f);
        keep(f, x);
    } else if (strcmp(path, "/park-and-reply") == 0) {
        tt_http_park(x, on_gone, f);
        tt_http_reply(x, 200, "text/plain", "at once", 7);
    } else if (strcmp(path, "/stream-and-end") == 0) {
        tt_http_stream_begin(x, "text/plain", STREAM_PENDING, on_gone, f);
        tt_http_stream_write(x, "all ", 4);
        tt_http_stream_write(x, "of it", 5);
        tt_http_stream_end(x);
    } else if (strcmp(path, "/large") == 0) {
        tt_blob *pieces[2] = {tt_blob_hold(f->large), tt_blob_hold(f->large)};
        tt_http_reply_blobs(x, 200, "application/octet-stream", pieces, 2);
    } else {
        tt_http_reply(x, 200, "text/plain", "ok", 2);
    }
}

static int set_up(void **state) {
    fixture *f = tt_alloc(sizeof *f);
    tt_http_server_options options = {
        .host = "127.0.0.1", .n_threads = 2, .context = f, .handle = handle};
    pthread_mutex_init(&f->shared.mutex, NULL);
    pthread_cond_init(&f->shared.changed, NULL);
    f->ends_in_gone = true;
    if (tt_http_server_open(&options, &f->server, NULL) != TT_OK) return -1;
    f->port = tt_http_server_port(f->server);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tt_http_server_close(f->server, 0);
    tt_blob_release(f->large);
    pthread_cond_destroy(&f->shared.changed);
    pthread_mutex_destroy(&f->shared.mutex);
    tt_free(f);
    return 0;
}

/* The next waiting exchange, taken. */
static tt_http_exchange *next_waiting(fixture *f) {
    lock(f);
    while (f->shared.n_left == f->shared.n_waiting)
        if (!wait_changed(f)) fail_msg("no request came to wait");
    tt_http_exchange *x = f->shared.waiting[f->shared.n_left];
    f->shared.waiting[f->shared.n_left++] = NULL;
    unlock(f);
    return x;
}

static void wait_for_waiting(fixture *f, int n) {
    lock(f);
    while (f->shared.n_waiting < n)
        if (!wait_changed(f)) fail_msg("%d of %d requests wait", f->shared.n_waiting, n);
    unlock(f);
}

static void wait_for_gone(fixture *f, int n) {
    lock(f);
    while (f->shared.n_gone < n)
        if (!wait_changed(f)) fail_msg("%d of %d clients were seen to leave", f->shared.n_gone, n);
    unlock(f);
}

static int count_gone(fixture *f) {
    lock(f);
    int n = f->shared.n_gone;
    unlock(f);
    return n;
}

static void wait_for_connections(fixture *f, int n) {
    int64_t start_us = tt_clock_us();
    while (tt_http_server_connections(f->server) != n) { /* no event tells of this */
        assert_true(tt_clock_us() - start_us < RAW_WAIT_MS * 1000LL);
        usleep(1000);
    }
}

static raw_client ask(fixture *f, const char *text) {
    raw_client c = raw_connect(f->port);
    raw_send(&c, text);
    return c;
}

/* ---- parked ------------------------------------------------------------------------------------------------------ */

static void a_parked_exchange_is_answered_from_another_thread(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, PARK);
    for (int i = 0; i < 20; i++) { /* and its connection stays good */
        tt_http_exchange *x = next_waiting(f);
        tt_http_reply(x, 202, "text/plain", "late", 4);
        raw_expect_on(&c, 202, "late");
        raw_send(&c, PARK);
    }
    tt_http_reply(next_waiting(f), 200, NULL, NULL, 0);
    raw_expect_on(&c, 200, "");
    assert_int_equal(count_gone(f), 0);
    raw_close(&c);
}

static void an_answer_inside_the_handler_needs_no_waiting(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, "GET /park-and-reply HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, "at once");
    raw_send(&c, "GET /park-and-reply HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, "at once");
    raw_close(&c);
}

static void requests_behind_a_parked_one_wait_for_it(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, PARK "GET /x HTTP/1.1\r\n" HOST "\r\n" PARK);
    tt_http_reply(next_waiting(f), 200, NULL, "first", 5);
    raw_expect_on(&c, 200, "first");
    raw_expect_on(&c, 200, "ok");
    tt_http_reply(next_waiting(f), 200, NULL, "third", 5);
    raw_expect_on(&c, 200, "third");
    raw_close(&c);
}

static void a_client_that_leaves_is_noticed_while_parked(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        raw_client c = ask(f, PARK);
        wait_for_waiting(f, i + 1);
        raw_close(&c);
        wait_for_gone(f, i + 1);
    }
    wait_for_connections(f, 0);
    assert_int_equal(count_gone(f), 10); /* once each */
}

/* A reset instead of an orderly end. */
static void a_client_that_resets_is_noticed_while_parked(void **state) {
    fixture *f = *state;
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    raw_client c = ask(f, PARK);
    wait_for_waiting(f, 1);
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    raw_close(&c);
    wait_for_gone(f, 1);
    wait_for_connections(f, 0);
}

static void a_client_that_left_before_parking_is_noticed(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 50; i++) {
        raw_client c = ask(f, PARK);
        raw_close(&c);
        wait_for_waiting(f, i + 1);
    }
    wait_for_gone(f, 50);
    wait_for_connections(f, 0);
    assert_int_equal(count_gone(f), 50);
}

static void an_answer_to_a_client_that_left_goes_nowhere(void **state) {
    fixture *f = *state;
    f->ends_in_gone = false;
    raw_client c = ask(f, PARK);
    tt_http_exchange *x = next_waiting(f);
    raw_close(&c);
    wait_for_gone(f, 1);
    wait_for_connections(f, 0); /* the descriptor does not wait for the answer */
    assert_string_equal(tt_http_path(x), "/park");
    assert_string_equal(tt_http_header(x, "host"), "localhost");
    tt_http_reply(x, 200, "text/plain", "too late", 8);
    assert_int_equal(count_gone(f), 1);
}

static void an_exchange_without_on_gone_may_lose_its_client(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, "GET /quiet HTTP/1.1\r\n" HOST "\r\n");
    tt_http_exchange *x = next_waiting(f);
    raw_close(&c);
    wait_for_connections(f, 0);
    tt_http_drop(x);
    assert_int_equal(count_gone(f), 0);
}

static void dropping_a_parked_exchange_closes_it(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, PARK);
    tt_http_drop(next_waiting(f));
    raw_expect_end(&c);
    raw_close(&c);
    assert_int_equal(count_gone(f), 0);
}

/* Documented in http_server.h: `nc -N` is taken for gone. */
static void a_half_closed_client_counts_as_gone(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, PARK);
    wait_for_waiting(f, 1);
    shutdown(c.fd, SHUT_WR);
    wait_for_gone(f, 1);
    raw_expect_end(&c);
    raw_close(&c);
    c = ask(f, "GET /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    shutdown(c.fd, SHUT_WR); /* and one that need not wait is answered all the same */
    raw_expect_on(&c, 200, "ok");
    raw_close(&c);
}

/* ---- an end that meets on_gone ----------------------------------------------------------------------------------- */

typedef struct ender {
    fixture *f;
    tt_http_exchange *x;
    bool was_holding_after;
} ender;

static void *end_it(void *context) {
    ender *e = context;
    tt_http_reply(e->x, 200, NULL, "x", 1);
    lock(e->f);
    e->was_holding_after = e->f->shared.is_holding;
    unlock(e->f);
    return NULL;
}

static void an_end_waits_for_a_running_on_gone(void **state) {
    fixture *f = *state;
    pthread_t thread;
    f->ends_in_gone = false;
    f->shared.is_held = true;
    raw_client c = ask(f, PARK);
    ender e = {.f = f, .x = next_waiting(f)};
    raw_close(&c);
    wait_for_gone(f, 1);
    assert_int_equal(pthread_create(&thread, NULL, end_it, &e), 0);
    usleep(50 * 1000); /* gives a wrong end the time to return; a right one cannot */
    lock(f);
    f->shared.is_held = false;
    changed(f);
    unlock(f);
    pthread_join(thread, NULL);
    assert_false(e.was_holding_after);
}

/* Clients that leave at the moment of their answer: whoever takes the exchange ends it, and on_gone comes at most once. */
static void leaving_and_answering_may_meet(void **state) {
    fixture *f = *state;
    for (int i = 0; i < MAX_WAITING; i++) {
        raw_client c = ask(f, PARK);
        wait_for_waiting(f, i + 1);
        lock(f);
        tt_http_exchange *x = f->shared.waiting[i];
        unlock(f);
        raw_close(&c);
        if (x && take(f, x)) tt_http_reply(x, 200, NULL, "meet", 4);
    }
    wait_for_connections(f, 0);
    assert_true(count_gone(f) <= MAX_WAITING);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void a_stream_arrives_as_it_is_written(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    tt_http_exchange *x = next_waiting(f);
    tt_buf head, chunk;
    tt_buf_init(&head, 4096);
    assert_true(raw_take_through(&c, "\r\n\r\n", &head)); /* before any of the body */
    assert_non_null(strstr(head.data, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(head.data, "Cache-Control: no-cache\r\n"));
    assert_non_null(strcasestr(head.data, "Transfer-Encoding: chunked\r\n"));
    tt_buf_release(&head);
    for (int i = 0; i < 20; i++) {
        char line[32];
        int n = snprintf(line, sizeof line, "data: %d\n\n", i);
        assert_true(tt_http_stream_write(x, line, (size_t)n));
        tt_buf_init(&chunk, 4096);
        assert_true(raw_take_through(&c, line, &chunk));
        tt_buf_release(&chunk);
    }
    tt_http_stream_end(x);
    assert_true(raw_take_through(&c, "0\r\n\r\n", NULL));
    raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&c, 200, "ok");
    raw_close(&c);
    assert_int_equal(count_gone(f), 0);
}

static void a_stream_may_end_before_it_begins_to_flow(void **state) {
    fixture *f = *state;
    raw_expect(f->port, "GET /stream-and-end HTTP/1.1\r\n" HOST "\r\n", 200, "all of it");
    raw_client c =
        ask(f, "GET /stream-and-end HTTP/1.0\r\n\r\n"); /* no chunks: the end is the end */
    raw_answer a = raw_read_answer(&c, false);
    assert_string_equal(a.body.data, "all of it");
    raw_answer_release(&a);
    raw_close(&c);
    assert_int_equal(count_gone(f), 0);
}

static void writes_beyond_the_pending_limit_are_refused(void **state) {
    fixture *f = *state;
    static char block[STREAM_PENDING / 4];
    raw_client c = raw_connect_with(f->port, 4096);
    raw_send(&c, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    tt_http_exchange *x = next_waiting(f);
    size_t n_written = 0;
    memset(block, 'b', sizeof block);
    /* The socket's buffers fill first; then what waits here. */
    while (tt_http_stream_write(x, block, sizeof block)) n_written += sizeof block;
    assert_true(n_written >= STREAM_PENDING - sizeof block);
    assert_false(tt_http_stream_write(x, block, STREAM_PENDING + 1));
    assert_true(tt_http_stream_write(x, block, 0));
    tt_http_stream_end(x); /* after what is pending was sent */
    raw_answer a = raw_read_answer(&c, false);
    assert_true(a.is_whole);
    assert_int_equal(a.body.size, n_written);
    raw_answer_release(&a);
    raw_close(&c);
}

static void a_client_that_leaves_a_quiet_stream_is_noticed(void **state) {
    fixture *f = *state;
    f->ends_in_gone = false;
    raw_client c = ask(f, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    tt_http_exchange *x = next_waiting(f);
    assert_true(tt_http_stream_write(x, "one", 3));
    assert_true(raw_take_through(&c, "one", NULL));
    raw_close(&c);
    wait_for_gone(f, 1);
    wait_for_connections(f, 0);
    assert_false(tt_http_stream_write(x, "two", 3));
    tt_http_stream_end(x);
    assert_int_equal(count_gone(f), 1);
}

static void a_client_that_leaves_a_busy_stream_is_noticed(void **state) {
    fixture *f = *state;
    static const char block[1024] = {'b'};
    f->ends_in_gone = false;
    raw_client c = raw_connect_with(f->port, 4096);
    raw_send(&c, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    tt_http_exchange *x = next_waiting(f);
    while (tt_http_stream_write(x, block, sizeof block)) continue; /* it does not read: stuck */
    raw_close(&c);
    wait_for_gone(f, 1);
    assert_false(tt_http_stream_write(x, "b", 1));
    tt_http_drop(x);
    wait_for_connections(f, 0);
    assert_int_equal(count_gone(f), 1);
}

static void a_dropped_stream_is_seen_to_be_cut(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    tt_http_exchange *x = next_waiting(f);
    tt_http_stream_write(x, "half", 4);
    assert_true(raw_take_through(&c, "half", NULL));
    tt_http_drop(x);
    while (raw_more(&c)) continue;
    assert_null(strstr(c.in.data, "0\r\n\r\n")); /* no last chunk */
    raw_close(&c);
}

static void head_of_a_stream_has_no_body_and_ends_it(void **state) {
    fixture *f = *state;
    raw_client c = ask(f, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
    raw_answer a = raw_read_answer(&c, true);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "Content-Type"), "text/event-stream");
    raw_answer_release(&a);
    wait_for_gone(f, 1); /* nobody will read it */
    raw_expect_end(&c);
    raw_close(&c);
}

/* ---- large answers ----------------------------------------------------------------------------------------------- */

static void blobs_larger_than_the_sockets_reach_slow_readers(void **state) {
    fixture *f = *state;
    tt_buf text;
    tt_buf_init(&text, LARGE_BLOB);
    assert_int_equal(tt_buf_reserve(&text, LARGE_BLOB, NULL), TT_OK);
    for (size_t i = 0; i < LARGE_BLOB; i++) text.data[i] = (char)(i * 2654435761u >> 11);
    text.size = LARGE_BLOB;
    assert_int_equal(tt_blob_take(&text, &f->large, NULL), TT_OK);
    raw_client slow = raw_connect_with(f->port, 16 * 1024);
    raw_send(&slow, "GET /large HTTP/1.1\r\n" HOST "\r\n");
    raw_expect(f->port, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200,
               "ok"); /* others are served meanwhile */
    raw_answer a = raw_read_answer(&slow, false);
    assert_true(a.is_whole);
    assert_int_equal(a.body.size, 2 * (size_t)LARGE_BLOB);
    assert_memory_equal(a.body.data, f->large->data, LARGE_BLOB);
    assert_memory_equal(a.body.data + LARGE_BLOB, f->large->data, LARGE_BLOB);
    raw_answer_release(&a);
    raw_close(&slow);
    raw_client quitter = ask(f, "GET /large HTTP/1.1\r\n" HOST "\r\n");
    assert_true(raw_more(&quitter));
    raw_close(&quitter);
    wait_for_connections(f, 0);
    assert_int_equal(atomic_load(&f->large->holders), 1);
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void closing_tells_everyone_who_waits(void **state) {
    fixture *f = *state;
    raw_client clients[8];
    for (int i = 0; i < 8; i++)
        clients[i] = ask(f, i % 2 ? PARK : "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    wait_for_waiting(f, 8);
    tt_http_server_close(f->server, 0);
    f->server = NULL;
    assert_int_equal(count_gone(f), 8);
    for (int i = 0; i < 8; i++) {
        while (raw_more(&clients[i])) continue;
        raw_close(&clients[i]);
    }
}

static void *answer_later(void *context) {
    fixture *f = context;
    usleep(20 * 1000); /* so that the close waits already; either order is right */
    tt_http_reply(next_waiting(f), 200, NULL, "in time", 7);
    return NULL;
}

static void closing_waits_for_answers_within_its_grace(void **state) {
    fixture *f = *state;
    pthread_t thread;
    raw_client c = ask(f, PARK), kept = ask(f, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&kept, 200, "ok");
    wait_for_waiting(f, 1);
    assert_int_equal(pthread_create(&thread, NULL, answer_later, f), 0);
    int64_t start_us = tt_clock_us();
    tt_http_server_close(f->server, 60 * 1000);
    f->server = NULL;
    assert_true(tt_clock_us() - start_us < 30 * 1000 * 1000LL); /* not the whole grace */
    pthread_join(thread, NULL);
    raw_expect_on(&c, 200, "in time");
    raw_expect_end(&c);
    raw_expect_end(&kept);
    assert_int_equal(count_gone(f), 0);
    raw_close(&c);
    raw_close(&kept);
}

typedef struct closer {
    tt_http_server *server;
    int64_t grace_ms;
} closer;

static void *close_it(void *context) {
    closer *c = context;
    tt_http_server_close(c->server, c->grace_ms);
    return NULL;
}

static void a_closing_server_refuses_new_requests(void **state) {
    fixture *f = *state;
    pthread_t thread;
    closer closing = {f->server, 60 * 1000};
    raw_client parked = ask(f, PARK), kept = ask(f, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_on(&kept, 200, "ok");
    tt_http_exchange *x = next_waiting(f);
    f->server = NULL;
    assert_int_equal(pthread_create(&thread, NULL, close_it, &closing), 0);
    int fd; /* refused once nobody listens any more */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    do {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int failure = connect(fd, (struct sockaddr *)&address, sizeof address);
        close(fd);
        if (failure != 0) break;
    } while (true);
    raw_send(&kept, "GET /x HTTP/1.1\r\n" HOST "\r\n");
    raw_answer a = raw_read_answer(&kept, false);
    assert_int_equal(a.status, 503);
    assert_string_equal(a.body.data, "{\"error\": \"the server is closing\"}");
    raw_answer_release(&a);
    tt_http_reply(x, 200, NULL, "last", 4);
    pthread_join(thread, NULL);
    raw_expect_on(&parked, 200, "last");
    raw_close(&parked);
    raw_close(&kept);
}

/* The server's memory lives until its last exchange. */
static void an_end_after_the_close_is_harmless(void **state) {
    fixture *f = *state;
    pthread_t thread;
    closer closing = {f->server, 0};
    f->ends_in_gone = false;
    raw_client c = ask(f, PARK);
    tt_http_exchange *x = next_waiting(f);
    f->server = NULL;
    assert_int_equal(pthread_create(&thread, NULL, close_it, &closing), 0);
    raw_expect_end(&c);
    wait_for_gone(f, 1);
    assert_string_equal(tt_http_path(x), "/park");
    tt_http_reply(x, 200, NULL, "x", 1); /* the close waits for this, but not for ever */
    pthread_join(thread, NULL);
    raw_close(&c);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void waiting_survives_every_failed_allocation(void **state) {
    fixture *f = *state;
    static const char *const TEXTS[] = {PARK, "GET /stream HTTP/1.1\r\n" HOST "\r\n"};
    for (int i = 0; i < 2; i++) {
        for (int n = 0; n < 8; n++) {
            raw_client c = raw_connect(f->port);
            raw_send(&c, "GET /x HTTP/1.1\r\n" HOST "\r\n");
            raw_expect_on(&c, 200, "ok");
            int before = f->shared.n_waiting;
            raw_send(&c, TEXTS[i]);
            wait_for_waiting(f, before + 1);
            tt_http_exchange *x = next_waiting(f);
            tt_alloc_fail_after(n);
            if (i == 0) {
                tt_http_reply(x, 200, NULL, "hello", 5);
            } else {
                tt_http_stream_write(x, "hello", 5);
                tt_http_stream_end(x);
            }
            tt_alloc_fail_after(-1);
            raw_answer a = raw_read_answer(&c, false);
            if (a.status != 0) assert_int_equal(a.status, 200);
            raw_answer_release(&a);
            raw_close(&c);
        }
    }
}

int main(void) {
#define SERVED(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SERVED(a_parked_exchange_is_answered_from_another_thread),
        SERVED(an_answer_inside_the_handler_needs_no_waiting),
        SERVED(requests_behind_a_parked_one_wait_for_it),
        SERVED(a_client_that_leaves_is_noticed_while_parked),
        SERVED(a_client_that_resets_is_noticed_while_parked),
        SERVED(a_client_that_left_before_parking_is_noticed),
        SERVED(an_answer_to_a_client_that_left_goes_nowhere),
        SERVED(an_exchange_without_on_gone_may_lose_its_client),
        SERVED(dropping_a_parked_exchange_closes_it),
        SERVED(a_half_closed_client_counts_as_gone),
        SERVED(an_end_waits_for_a_running_on_gone),
        SERVED(leaving_and_answering_may_meet),
        SERVED(a_stream_arrives_as_it_is_written),
        SERVED(a_stream_may_end_before_it_begins_to_flow),
        SERVED(writes_beyond_the_pending_limit_are_refused),
        SERVED(a_client_that_leaves_a_quiet_stream_is_noticed),
        SERVED(a_client_that_leaves_a_busy_stream_is_noticed),
        SERVED(a_dropped_stream_is_seen_to_be_cut),
        SERVED(head_of_a_stream_has_no_body_and_ends_it),
        SERVED(blobs_larger_than_the_sockets_reach_slow_readers),
        SERVED(closing_tells_everyone_who_waits),
        SERVED(closing_waits_for_answers_within_its_grace),
        SERVED(a_closing_server_refuses_new_requests),
        SERVED(an_end_after_the_close_is_harmless),
        SERVED(waiting_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
