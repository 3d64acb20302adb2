/* Servers that misbehave: every answer that contradicts another is seen, every failure that may pass is tried again, and the
 * bytes are right in the end or the class of the failure is. */
#include "base/alloc.h"
#include "unit/store/download_server.h"

enum { SIZE = 25 * DL_CHUNK + 17 };

/* ---- ranges that make no sense ----------------------------------------------------------------------------------- */

static const char *range_head; /* instead of a good one, for all ranges but the first */

static bool serve_odd_range(dl_server *s, int fd, const dl_request *r) {
    if (!r->has_range || r->first == 0) return dl_serve_well(s, fd, r);
    atomic_store(&s->flag, true);
    return dl_puts(fd, "%s", range_head) && dl_body(s, fd, 0, DL_CHUNK) && false;
}

static void a_range_that_was_not_asked_for_leads_to_a_stream(void **state) {
    (void)state;
    static const char *const HEADS[] = {
        "HTTP/1.1 206 P\r\nETag: \"one\"\r\nContent-Range: bytes 0-4095/102417\r\n\r\n",
        "HTTP/1.1 206 P\r\nETag: \"one\"\r\nContent-Range: bytes 4096-8191/*\r\n\r\n",
        "HTTP/1.1 206 P\r\nETag: \"one\"\r\nContent-Range: bytes 4096-8191/99999999\r\n\r\n",
        "HTTP/1.1 206 P\r\nETag: \"one\"\r\nContent-Length: 4096\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n",
        "HTTP/1.1 206 P\r\nETag: \"one\"\r\nContent-Range: nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 102417\r\n\r\n",
        "HTTP/1.1 416 No\r\nContent-Range: bytes */102417\r\nContent-Length: 0\r\n\r\n"};
    for (size_t i = 0; i < sizeof HEADS / sizeof *HEADS; i++) {
        range_head = HEADS[i];
        dl_case *c = dl_begin(serve_odd_range, SIZE);
        dl_expect_good(c);
        assert_true(atomic_load(&c->server->flag));
        dl_end(c);
    }
}

/* More than announced, in chunks, where no length stops it. */
static bool serve_too_much(dl_server *s, int fd, const dl_request *r) {
    if (!r->has_range) return dl_serve_well(s, fd, r);
    dl_puts(fd,
            "HTTP/1.1 206 P\r\nETag: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n"
            "Transfer-Encoding: chunked\r\n\r\n",
            s->etag, r->first, dl_last(s, r), s->size);
    return dl_puts(fd, "2000\r\n") && dl_body(s, fd, 0, 0x2000) && dl_puts(fd, "\r\n0\r\n\r\n");
}

static void more_bytes_than_the_range_has_are_not_taken(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_too_much, SIZE);
    dl_expect_good(c);
    dl_end(c);
}

/* Another file under the same link from the fifth request on. */
static bool serve_changed(dl_server *s, int fd, const dl_request *r) {
    if (r->number == 4) s->etag = "\"two\"";
    return dl_serve_well(s, fd, r);
}

static void a_file_that_changes_meanwhile_is_fetched_anew(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_changed, SIZE);
    c->file.digest[0] = '\0'; /* only the validator can tell */
    c->options.n_connections = 1;
    dl_expect_good(c);
    assert_int_equal(c->server->n_requests, 6); /* four chunks, the one that differs, the stream */
    dl_end(c);
}

static bool serve_parts_always(dl_server *s, int fd, const dl_request *r) {
    if (r->has_range) return dl_serve_all(s, fd);
    return dl_head_206(s, fd, 0, s->size - 1) && dl_body(s, fd, 0, s->size);
}

static void a_server_that_contradicts_itself_is_given_up(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_parts_always, SIZE);
    dl_expect_failure(c, TT_FETCH_RANGE, "a part of it (HTTP 206)");
    dl_end(c);
}

/* ---- failures that pass ------------------------------------------------------------------------------------------ */

/* Every second request fails in the way of this test. */
static bool (*fail_how)(dl_server *s, int fd, const dl_request *r);

static bool serve_every_second(dl_server *s, int fd, const dl_request *r) {
    return r->number % 2 ? dl_serve_well(s, fd, r) : fail_how(s, fd, r);
}

static bool fail_by_close(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)fd, (void)r;
    return false;
}

static bool fail_by_truncation(dl_server *s, int fd, const dl_request *r) {
    uint64_t n = dl_last(s, r) - r->first + 1;
    dl_head_206(s, fd, r->first, dl_last(s, r));
    dl_body(s, fd, r->first, n / 2);
    return false;
}

static bool fail_by_reset(dl_server *s, int fd, const dl_request *r) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    dl_head_206(s, fd, r->first, dl_last(s, r));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)!connect(fd, &nowhere, sizeof nowhere); /* dissolves the connection: a reset */
    return false;
}

static bool fail_by_500(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "500 Oops", "");
}

static bool fail_by_520(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "520 Edge", "");
}

static bool fail_by_429(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "429 Slow down", "Retry-After: 1\r\n");
}

static bool fail_by_503(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "503 Busy", "");
}

static bool fail_by_nonsense(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_puts(fd, "220 ftp.example ready\r\n\r\n") && false;
}

static bool fail_by_stall(dl_server *s, int fd, const dl_request *r) {
    uint64_t n = dl_last(s, r) - r->first + 1;
    dl_head_206(s, fd, r->first, dl_last(s, r));
    dl_body(s, fd, r->first, n / 3);
    dl_wait_for_close(fd);
    return false;
}

static bool fail_by_silence(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    dl_wait_for_close(fd);
    return false;
}

static void what_may_pass_is_tried_again(void **state) {
    (void)state;
    static bool (*const WAYS[])(dl_server *, int, const dl_request *) = {
        fail_by_close, fail_by_truncation, fail_by_reset,    fail_by_500,   fail_by_520,
        fail_by_429,   fail_by_503,        fail_by_nonsense, fail_by_stall, fail_by_silence};
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++) {
        fail_how = WAYS[i];
        dl_case *c = dl_begin(serve_every_second, 9 * DL_CHUNK);
        c->options.n_connections = 2;
        c->options.time_divisor = 200;
        dl_expect_good(c);
        assert_true(c->out.n_retries > 0);
        dl_end(c);
    }
}

static void a_broken_range_goes_on_where_it_broke(void **state) {
    (void)state;
    fail_how = fail_by_truncation;
    for (int range = 1; range <= 4; range += 3) {
        dl_case *c = dl_begin(serve_every_second, 9 * DL_CHUNK);
        c->options.range_chunks = range;
        dl_expect_good(c);
        assert_int_equal(c->out.fetched_bytes, 9 * DL_CHUNK); /* nothing twice */
        dl_end(c);
    }
}

static bool serve_failure(dl_server *s, int fd, const dl_request *r) {
    return fail_how(s, fd, r);
}

static void what_does_not_pass_has_its_class(void **state) {
    (void)state;
    static const struct {
        bool (*way)(dl_server *, int, const dl_request *);
        tt_fetch_class class_;
        const char *part;
    } CASES[] = {{fail_by_close, TT_FETCH_NETWORK, "closed without an answer"},
                 {fail_by_500, TT_FETCH_NETWORK, "HTTP 500"},
                 {fail_by_520, TT_FETCH_EDGE, "HTTP 520"},
                 {fail_by_429, TT_FETCH_RATE, "HTTP 429"},
                 {fail_by_503, TT_FETCH_NETWORK, "HTTP 503"},
                 {fail_by_silence, TT_FETCH_NETWORK, "stalled"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        fail_how = CASES[i].way;
        dl_case *c = dl_begin(serve_failure, SIZE);
        c->options.time_divisor = 200;
        dl_expect_failure(c, CASES[i].class_, CASES[i].part);
        assert_in_range(c->server->n_requests, 7, 10);
        if (CASES[i].class_ == TT_FETCH_RATE) assert_int_equal(c->error.retry_after_ms, 1000);
        dl_end(c);
    }
}

static bool fail_by_long_wait(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "429 Slow down", "Retry-After: 3600\r\n");
}

static void who_asks_for_an_hour_is_not_waited_for(void **state) {
    (void)state;
    fail_how = fail_by_long_wait;
    dl_case *c = dl_begin(serve_failure, SIZE);
    dl_expect_failure(c, TT_FETCH_RATE, "HTTP 429");
    assert_int_equal(c->server->n_requests, 1);
    assert_int_equal(c->error.retry_after_ms, 3600 * 1000);
    dl_end(c);
}

static const char *final_status;

static bool serve_status(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, final_status, "Location: http://other.example/?key=secret\r\n");
}

static void answers_that_are_final_are_not_asked_twice(void **state) {
    (void)state;
    static const struct {
        const char *status;
        tt_fetch_class class_;
    } CASES[] = {{"401 U", TT_FETCH_AUTH},   {"403 F", TT_FETCH_FORBIDDEN},
                 {"404 N", TT_FETCH_GONE},   {"410 G", TT_FETCH_GONE},
                 {"451 L", TT_FETCH_REGION}, {"302 F", TT_FETCH_REFUSED},
                 {"400 B", TT_FETCH_NETWORK}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        final_status = CASES[i].status;
        dl_case *c = dl_begin(serve_status, SIZE);
        dl_expect_failure(c, CASES[i].class_, "HTTP ");
        assert_int_equal(c->server->n_requests, 1);
        dl_end(c);
    }
}

/* A stream breaks three times, and each time at a later place. */
static bool serve_breaking_stream(dl_server *s, int fd, const dl_request *r) {
    if (r->has_range || r->number >= 4) return dl_serve_all(s, fd);
    dl_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", s->size);
    dl_body(s, fd, 0, s->size / 5 * (uint64_t)r->number);
    return false;
}

static void a_stream_that_breaks_begins_anew(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_breaking_stream, SIZE);
    c->options.time_divisor = 100;
    dl_expect_good(c);
    assert_true(c->server->n_requests >= 5);
    dl_end(c);
}

/* ---- slow lanes -------------------------------------------------------------------------------------------------- */

/* The second range drips, a byte in a while, the first time it is asked for; the others are quick but not instant. */
static bool serve_one_slowly(dl_server *s, int fd, const dl_request *r) {
    usleep(1000);
    if (r->first != DL_CHUNK || atomic_exchange(&s->flag, true)) return dl_serve_well(s, fd, r);
    dl_head_206(s, fd, r->first, dl_last(s, r));
    for (uint64_t at = r->first; at <= dl_last(s, r); at++) {
        if (!dl_body(s, fd, at, 1)) return false;
        usleep(20 * 1000);
    }
    return true;
}

static void a_lane_far_slower_than_the_others_gives_its_range_back(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_one_slowly, 200 * DL_CHUNK);
    c->options.time_divisor = 100;
    dl_expect_good(c); /* the whole chunk would have taken 80 s */
    assert_true(c->out.n_retries >= 1);
    dl_end(c);
}

static bool serve_at_leisure(dl_server *s, int fd, const dl_request *r) {
    usleep(2000);
    return dl_serve_well(s, fd, r);
}

static void connections_are_added_while_that_helps(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_at_leisure, 1000 * DL_CHUNK);
    c->options.time_divisor = 100;
    c->options.n_connections = 16;
    dl_expect_good(c);
    assert_in_range(c->out.n_connections, 5, 16);
    dl_end(c);
}

/* ---- links that expire ------------------------------------------------------------------------------------------- */

static bool serve_expiring(dl_server *s, int fd, const dl_request *r) {
    int served = atomic_load(&s->number); /* links given out */
    char wanted[60];
    snprintf(wanted, sizeof wanted, "GET /file?link=%d&", served);
    if (!strstr(r->head, wanted)) return dl_status(fd, "403 Expired", "");
    return dl_serve_well(s, fd, r);
}

/* Good for twelve requests each. */
static bool serve_expiring_often(dl_server *s, int fd, const dl_request *r) {
    if (r->number && r->number % 12 == 0) atomic_fetch_add(&s->number, 1);
    return serve_expiring(s, fd, r);
}

static int n_again;

static void link_to(const dl_server *s, tt_source_file *file) {
    snprintf(file->url, sizeof file->url, "http://127.0.0.1:%d/file?link=%d&signature=secret",
             s->port, atomic_load(&s->number));
}

static tt_status again(void *context, tt_source_file *file, tt_fetch_error *error) {
    (void)error;
    n_again++;
    link_to(context, file);
    return TT_OK;
}

static dl_case *begin_expiring(dl_serve_fn serve) {
    dl_case *c = dl_begin(serve, SIZE);
    n_again = 0;
    c->file.is_signed = true;
    link_to(c->server, &c->file);
    c->options.again = again;
    c->options.again_context = c->server;
    c->options.time_divisor = 200;
    return c;
}

static void an_expired_link_is_resolved_again(void **state) {
    (void)state;
    dl_case *c = begin_expiring(serve_expiring_often);
    c->options.n_connections = 1;
    dl_expect_good(c);
    assert_true(n_again >= 1);
    dl_end(c);
    c = begin_expiring(serve_expiring); /* expired from the start */
    atomic_store(&c->server->number, 1);
    dl_expect_good(c);
    assert_true(n_again >= 1);
    dl_end(c);
}

static tt_status again_as_before(void *context, tt_source_file *file, tt_fetch_error *error) {
    (void)context, (void)file, (void)error;
    n_again++;
    return TT_OK;
}

static void a_link_that_never_works_is_given_up(void **state) {
    (void)state;
    dl_case *c = begin_expiring(serve_expiring);
    atomic_store(&c->server->number, 1);
    c->options.again = again_as_before;
    dl_expect_failure(c, TT_FETCH_FORBIDDEN, "HTTP 403");
    assert_int_equal(n_again, 5);
    dl_end(c);
}

static tt_status again_fails(void *context, tt_source_file *file, tt_fetch_error *error) {
    (void)context, (void)file;
    return tt_fetch_fail(error, TT_FETCH_GONE, "it was removed");
}

static tt_status again_differs(void *context, tt_source_file *file, tt_fetch_error *error) {
    again(context, file, error);
    memset(file->digest, 'b', TT_DIGEST_HEX);
    return TT_OK;
}

static void what_resolving_again_says_is_told(void **state) {
    (void)state;
    dl_case *c = begin_expiring(serve_expiring);
    atomic_store(&c->server->number, 1);
    c->options.again = again_fails;
    dl_expect_failure(c, TT_FETCH_GONE, "it was removed");
    c->options.again = again_differs;
    dl_expect_failure(c, TT_FETCH_DIGEST, "other bytes than before");
    dl_end(c);
}

/* The fresh link leads to a host with another ETag: a digest makes that safe, and without one it is another file. */
static bool serve_elsewhere(dl_server *s, int fd, const dl_request *r) {
    if (r->number == 8) {
        s->etag = "\"other host\"";
        atomic_fetch_add(&s->number, 1);
    }
    return r->has_range ? serve_expiring(s, fd, r) : dl_serve_well(s, fd, r);
}

static void another_host_may_serve_the_rest(void **state) {
    (void)state;
    for (int promises = 0; promises < 2; promises++) {
        dl_case *c = begin_expiring(serve_elsewhere);
        c->options.n_connections = 1;
        if (!promises) c->file.digest[0] = '\0';
        dl_expect_good(c);
        assert_true(n_again >= 1);
        if (promises) assert_true(c->out.fetched_bytes < 2 * SIZE); /* the first part was kept */
        dl_end(c);
    }
}

/* ---- ends from outside ------------------------------------------------------------------------------------------- */

static void a_deadline_ends_it_and_the_part_stays(void **state) {
    (void)state;
    fail_how = fail_by_silence;
    dl_case *c = dl_begin(serve_failure, SIZE);
    c->options.deadline_ms = 50;
    c->options.time_divisor = 1;
    dl_expect_failure(c, TT_FETCH_DEADLINE, "deadline");
    assert_int_equal(access(c->part, F_OK), 0);
    dl_end(c);
}

static atomic_bool must_stop;

static bool serve_and_stop(dl_server *s, int fd, const dl_request *r) {
    if (r->number == 10) atomic_store(&must_stop, true);
    if (r->number >= 10) dl_wait_for_close(fd);
    return r->number < 10 && dl_serve_well(s, fd, r);
}

static void a_stop_ends_it_and_the_rest_is_fetched_later(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_and_stop, SIZE);
    c->services.stop = &must_stop;
    dl_expect_failure(c, TT_FETCH_CANCELLED, "stopped");
    uint64_t before = c->out.fetched_bytes;
    atomic_store(&must_stop, false);
    dl_quiet(c->server);
    c->server->serve = dl_serve_well;
    dl_expect_good(c);
    assert_true(before >= 5 * DL_CHUNK);
    assert_true(c->out.fetched_bytes < SIZE); /* what was complete was kept */
    dl_end(c);
}

static void nobody_listening_is_a_failure_of_the_network(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    snprintf(c->file.url, sizeof c->file.url, "http://127.0.0.1:1/?secret");
    c->options.time_divisor = 200;
    dl_expect_failure(c, TT_FETCH_NETWORK, "could not connect");
    dl_end(c);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void every_allocation_may_fail(void **state) {
    (void)state;
    bool was_enough = false;
    for (int n = 0; !was_enough; n++) {
        dl_case *c = dl_begin(dl_serve_well, 3 * DL_CHUNK);
        tt_alloc_fail_after(n);
        tt_status status = dl_fetch(c);
        was_enough = status == TT_OK && n > 40;
        tt_alloc_fail_after(-1);
        if (status == TT_OK)
            dl_expect_file(c);
        else if (c->error.class_ != TT_FETCH_INTERNAL)
            fail_msg("allocation %d: %s", n, c->error.err.message);
        dl_end(c);
        assert_true(n < 2000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_that_was_not_asked_for_leads_to_a_stream),
        cmocka_unit_test(more_bytes_than_the_range_has_are_not_taken),
        cmocka_unit_test(a_file_that_changes_meanwhile_is_fetched_anew),
        cmocka_unit_test(a_server_that_contradicts_itself_is_given_up),
        cmocka_unit_test(what_may_pass_is_tried_again),
        cmocka_unit_test(a_broken_range_goes_on_where_it_broke),
        cmocka_unit_test(what_does_not_pass_has_its_class),
        cmocka_unit_test(who_asks_for_an_hour_is_not_waited_for),
        cmocka_unit_test(answers_that_are_final_are_not_asked_twice),
        cmocka_unit_test(a_stream_that_breaks_begins_anew),
        cmocka_unit_test(a_lane_far_slower_than_the_others_gives_its_range_back),
        cmocka_unit_test(connections_are_added_while_that_helps),
        cmocka_unit_test(an_expired_link_is_resolved_again),
        cmocka_unit_test(a_link_that_never_works_is_given_up),
        cmocka_unit_test(what_resolving_again_says_is_told),
        cmocka_unit_test(another_host_may_serve_the_rest),
        cmocka_unit_test(a_deadline_ends_it_and_the_part_stays),
        cmocka_unit_test(a_stop_ends_it_and_the_rest_is_fetched_later),
        cmocka_unit_test(nobody_listening_is_a_failure_of_the_network),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
