/* Bodies that are streamed, the answer's fields, stalls, and who may be trusted: raw servers, and openssl's own s_server for
 * TLS. */
#include "unit/net/http_client_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/clock.h"

enum { NEVER = -1 };

typedef struct streamed {
    result end; /* first: note() fills it */
    int n_heads, status;
    int64_t content_length;
    char etag[100];
    size_t n_bytes;
    char bytes[PATTERN_BYTES];
    bool refuses_head;
    long refuses_after; /* bytes */
} streamed;

static streamed seen;

static bool see_head(void *context, const tt_http_response *head) {
    streamed *s = context;
    const char *etag = tt_http_response_header(head, "etag");
    assert_int_equal(s->n_bytes, 0);
    assert_int_equal(head->failure, TT_OK);
    assert_string_equal(head->body, "");
    s->n_heads++;
    s->status = head->status;
    s->content_length = head->content_length;
    snprintf(s->etag, sizeof s->etag, "%s", etag ? etag : "(none)");
    return !s->refuses_head;
}

static bool see_bytes(void *context, const void *bytes, size_t size) {
    streamed *s = context;
    assert_int_equal(s->n_heads, 1);
    assert_true(size <= sizeof s->bytes - s->n_bytes);
    memcpy(s->bytes + s->n_bytes, bytes, size);
    s->n_bytes += size;
    return s->refuses_after == NEVER || s->n_bytes <= (size_t)s->refuses_after;
}

static int begin(void **state) {
    seen = (streamed){.refuses_after = NEVER};
    pattern();
    return set_up(state);
}

static tt_http_request get_stream(const char *path) {
    tt_http_request request = get(path);
    request.on_head = see_head;
    request.on_bytes = see_bytes;
    return request;
}

static void fetch_stream(const tt_http_request *request) {
    tt_err err = {.message = ""};
    n_awaited = 1;
    if (tt_http_send(loop, request, note, &seen, NULL, &err) != TT_OK) fail_msg("%s", err.message);
    run();
    assert_int_equal(seen.end.n_calls, 1);
    got = seen.end;
}

/* ---- streaming --------------------------------------------------------------------------------------------------- */

static void serve_pattern(raw_server *s, int fd) {
    char head[200];
    while (raw_read_request(s, fd)) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 206 Partial\r\nETag: \"first\"\r\nContent-Length: %d\r\neTag:  \"x y\" "
                 "\r\nEmpty:\r\n\r\n",
                 PATTERN_BYTES);
        raw_puts(fd, head);
        raw_send(fd, pattern(), PATTERN_BYTES);
    }
}

static void a_streamed_body_comes_in_order_after_its_head(void **state) {
    (void)state;
    server = raw_server_start(serve_pattern);
    tt_http_request request = get_stream("/");
    fetch_stream(&request);
    assert_int_equal(got.failure, TT_OK);
    assert_int_equal(got.status, 206);
    assert_int_equal(got.body_bytes, 0);
    assert_int_equal(seen.status, 206);
    assert_int_equal(seen.content_length, PATTERN_BYTES);
    assert_string_equal(seen.etag, "\"x y\""); /* the last of a name, without spaces around */
    assert_int_equal(seen.n_bytes, PATTERN_BYTES);
    assert_memory_equal(seen.bytes, pattern(), PATTERN_BYTES);
}

static void serve_chunks_and_trailer(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd, "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 3\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n"
                     "3\r\nabc\r\n4\r\ndefg\r\n0\r\nETag: \"b\"\r\n\r\n");
}

static void streamed_chunks_are_put_together_and_trailers_mean_nothing(void **state) {
    (void)state;
    server = raw_server_start(serve_chunks_and_trailer);
    tt_http_request request = get_stream("/");
    for (int i = 1; i <= 2; i++) {
        seen = (streamed){.refuses_after = NEVER};
        fetch_stream(&request);
        assert_int_equal(got.failure, TT_OK);
        assert_int_equal(seen.n_heads, 1);
        assert_string_equal(seen.etag, "\"a\"");
        assert_int_equal(seen.content_length, -1);
        assert_int_equal(seen.n_bytes, 7);
        assert_memory_equal(seen.bytes, "abcdefg", 7);
    }
}

static void serve_after_hints(raw_server *s, int fd) {
    while (raw_read_request(s, fd))
        raw_puts(fd, "HTTP/1.1 103 Early Hints\r\nETag: \"early\"\r\n\r\n"
                     "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n");
}

static void an_empty_answer_has_a_head_and_interim_ones_none(void **state) {
    (void)state;
    server = raw_server_start(serve_after_hints);
    tt_http_request request = get_stream("/");
    fetch_stream(&request);
    assert_int_equal(seen.n_heads, 1);
    assert_int_equal(seen.status, 204);
    assert_string_equal(seen.etag, "(none)");
    assert_int_equal(seen.n_bytes, 0);
}

static const char *answer;

static void serve_answer(raw_server *s, int fd) {
    if (raw_read_request(s, fd)) raw_puts(fd, answer);
}

static void a_body_shorter_than_announced_is_a_failure(void **state) {
    (void)state;
    static const char *const SHORT[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"};
    server = raw_server_start(serve_answer);
    for (size_t i = 0; i < sizeof SHORT / sizeof *SHORT; i++) {
        seen = (streamed){.refuses_after = NEVER};
        answer = SHORT[i];
        tt_http_request request = get_stream("/");
        fetch_stream(&request);
        expect_failure(TT_E_IO, "the connection ");
        assert_int_equal(seen.n_bytes, 3);
    }
}

/* Nothing was announced, so nothing is missing: who asked has to know better. */
static void a_body_without_length_ends_with_the_connection(void **state) {
    (void)state;
    server = raw_server_start(serve_answer);
    answer = "HTTP/1.1 200 OK\r\n\r\nabc";
    tt_http_request request = get_stream("/");
    fetch_stream(&request);
    assert_int_equal(got.failure, TT_OK);
    assert_int_equal(seen.content_length, -1);
    assert_int_equal(seen.n_bytes, 3);
}

static void content_lengths_are_digits(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        int64_t length;
    } CASES[] = {
        {"HTTP/1.1 304 X\r\nContent-Length: 9223372036854775807\r\n\r\n", INT64_MAX},
        {"HTTP/1.1 304 X\r\nContent-Length: 0\r\n\r\n", 0},
        {"HTTP/1.1 304 X\r\n\r\n", -1},
    };
    server = raw_server_start(serve_answer);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        seen = (streamed){.refuses_after = NEVER};
        answer = CASES[i].answer;
        tt_http_request request = get_stream("/");
        fetch_stream(&request);
        assert_int_equal(seen.content_length, CASES[i].length);
    }
}

static void a_callback_that_says_no_ends_the_transfer(void **state) {
    (void)state;
    server = raw_server_start(serve_pattern);
    tt_http_request request = get_stream("/?secret");
    seen.refuses_head = true;
    fetch_stream(&request);
    expect_failure(TT_E_CANCELLED, "ended by who asked");
    assert_int_equal(seen.n_bytes, 0);
    seen = (streamed){.refuses_after = 1000};
    fetch_stream(&request);
    expect_failure(TT_E_CANCELLED, "ended by who asked");
    assert_true(seen.n_bytes > 1000 && seen.n_bytes < PATTERN_BYTES);
}

static void a_limit_holds_for_streams_that_ask_for_one(void **state) {
    (void)state;
    server = raw_server_start(serve_pattern);
    tt_http_request request = get_stream("/");
    request.max_response_bytes = 100 * 1000;
    fetch_stream(&request);
    expect_failure(TT_E_FORMAT, "too large: more than 100000 bytes");
    seen = (streamed){.refuses_after = NEVER};
    request.max_response_bytes = PATTERN_BYTES;
    fetch_stream(&request);
    assert_int_equal(got.failure, TT_OK);
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static void serve_many_fields(raw_server *s, int fd) {
    int n = 0;
    char line[40];
    while (raw_read_request(s, fd)) {
        int n_lines = n++ == 0 ? 190 : 200; /* and three more: status, length, the empty one */
        raw_puts(fd, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < n_lines; i++) {
            snprintf(line, sizeof line, "X-%d: %d\r\n", i, i);
            raw_puts(fd, line);
        }
        raw_puts(fd, "Content-Length: 2\r\n\r\nok");
    }
}

static void look_for_a_field(void *context, const tt_http_response *r) {
    if (r->failure == TT_OK) {
        assert_string_equal(tt_http_response_header(r, "x-0"), "0");
        assert_string_equal(tt_http_response_header(r, "X-189"), "189");
        assert_null(tt_http_response_header(r, "X-190"));
        assert_null(tt_http_response_header(r, "X"));
        assert_null(tt_http_response_header(r, ""));
    } else {
        assert_null(tt_http_response_header(r, "X-0"));
        assert_int_equal(r->content_length, -1);
    }
    note(context, r);
}

static void fields_are_found_and_too_many_refused(void **state) {
    (void)state;
    server = raw_server_start(serve_many_fields);
    tt_http_request request = get("/");
    for (int i = 0; i < 2; i++) {
        n_awaited = 1;
        assert_int_equal(tt_http_send(loop, &request, look_for_a_field, &got, NULL, NULL), TT_OK);
        run();
        assert_int_equal(got.failure, i == 0 ? TT_OK : TT_E_FORMAT);
    }
}

static void odd_lines_are_as_if_absent(void **state) {
    (void)state;
    server = raw_server_start(serve_answer);
    answer = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\n ETag: \"folded\"\r\n: nameless\r\nETag \r\n"
             "Content-Length: 1\r\n\r\nx";
    tt_http_request request = get_stream("/");
    fetch_stream(&request);
    if (seen.n_heads)
        assert_string_equal(seen.etag, "\"a\""); /* newer libcurl refuses the answer */
}

/* ---- stalls ------------------------------------------------------------------------------------------------------ */

static void serve_then_stall(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    raw_wait_for_close(fd);
}

static void serve_nothing(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_wait_for_close(fd);
}

static void a_stall_ends_the_transfer_and_silence_after_twice_the_time(void **state) {
    (void)state;
    server = raw_server_start(serve_then_stall);
    tt_http_request request = get_stream("/?secret");
    request.stall_timeout_ms = 100;
    int64_t start_ms = tt_clock_ms();
    fetch_stream(&request);
    expect_failure(TT_E_IO, "stalled: no byte for 100 ms");
    assert_true(tt_clock_ms() - start_ms >= 100);
    assert_int_equal(seen.n_bytes, 3);
    raw_server_stop(server);
    server = raw_server_start(serve_nothing);
    request = get("/");
    request.stall_timeout_ms = 100;
    start_ms = tt_clock_ms();
    fetch(&request);
    expect_failure(TT_E_IO, "stalled: no byte for 200 ms");
    assert_true(tt_clock_ms() - start_ms >= 200);
}

static void serve_slowly(raw_server *s, int fd) {
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        raw_puts(fd, "x");
        usleep(30 * 1000);
    }
}

static void slow_is_not_stalled(void **state) {
    (void)state;
    server = raw_server_start(serve_slowly);
    tt_http_request request = get_stream("/");
    request.stall_timeout_ms = 500; /* less than the whole takes */
    fetch_stream(&request);
    assert_int_equal(got.failure, TT_OK);
    assert_int_equal(seen.n_bytes, 20);
}

static atomic_bool is_hold_over;

static void serve_a_rest_after_the_hold(raw_server *s, int fd) {
    enum { PATIENCE = 30 * 1000 };
    raw_read_request(s, fd);
    raw_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    for (int i = 0; !atomic_load(&is_hold_over) && i < PATIENCE; i++) usleep(1000);
    raw_puts(fd, "cd");
}

/* The first of the two that hears something keeps the loop waiting for longer than a stall may last. */
static bool hold_once(void *context, const void *bytes, size_t size) {
    enum { HOLD_MS = 1200 };
    (void)context, (void)bytes, (void)size;
    if (!atomic_load(&is_hold_over)) usleep(HOLD_MS * 1000);
    atomic_store(&is_hold_over, true);
    return true;
}

static void time_that_a_callback_takes_is_nobodys_stall(void **state) {
    (void)state;
    result ends[2] = {{.n_calls = 0}, {.n_calls = 0}};
    server = raw_server_start(serve_a_rest_after_the_hold);
    tt_http_request request = get("/");
    request.on_bytes = hold_once;
    request.stall_timeout_ms = 500;
    n_awaited = 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(tt_http_send(loop, &request, note, &ends[i], NULL, NULL), TT_OK);
    run();
    for (int i = 0; i < 2; i++)
        if (ends[i].failure != TT_OK) fail_msg("%s", ends[i].message);
}

/* ---- who may be asked -------------------------------------------------------------------------------------------- */

static void plain_http_is_refused_to_https_only(void **state) {
    (void)state;
    tt_err err;
    tt_http_request request = {
        .method = "GET", .url = "HTTP://127.0.0.1:1/?secret", .https_only = true};
    assert_int_equal(tt_http_send(loop, &request, note, &got, NULL, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "https"));
    assert_null(strstr(err.message, "secret"));
}

static void a_proxy_is_asked_unless_it_is_refused(void **state) {
    (void)state;
    server = raw_server_start(serve_hello);
    setenv("http_proxy", url_of(""), 1);
    tt_http_request request = {.method = "GET", .url = "http://somewhere.invalid/"};
    fetch(&request);
    assert_int_equal(got.status, 200); /* of the "proxy" */
    request.no_proxy = true;
    fetch(&request);
    unsetenv("http_proxy");
    assert_int_equal(got.failure, TT_E_IO);
    assert_int_equal(server->n_requests, 1);
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

typedef struct tls_server { /* openssl's own */
    char folder[60], certificate[100], key[100];
    pid_t pid;
    int out, port;
} tls_server;

/* Runs openssl in the folder; its standard output is *out when that is not NULL. */
static pid_t openssl(const tls_server *t, int *out, const char *const *args) {
    int ends[2], nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(nowhere >= 0);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(nowhere, 0);
        dup2(out ? ends[1] : nowhere, 1);
        dup2(nowhere, 2);
        if (chdir(t->folder) == 0) execvp("openssl", (char *const *)(void *)args);
        _exit(127);
    }
    close(nowhere);
    close(ends[1]);
    if (out)
        *out = ends[0];
    else
        close(ends[0]);
    return pid;
}

/* False when this machine has no openssl. */
static bool make_certificate(tls_server *t) {
    static const char *const ARGS[] = {"openssl",
                                       "req",
                                       "-x509",
                                       "-newkey",
                                       "ec",
                                       "-pkeyopt",
                                       "ec_paramgen_curve:prime256v1",
                                       "-nodes",
                                       "-days",
                                       "2",
                                       "-subj",
                                       "/CN=localhost",
                                       "-addext",
                                       "subjectAltName=IP:127.0.0.1",
                                       "-keyout",
                                       "key.pem",
                                       "-out",
                                       "cert.pem",
                                       NULL};
    int status;
    snprintf(t->folder, sizeof t->folder, "/tmp/tt_tls_XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    snprintf(t->certificate, sizeof t->certificate, "%s/cert.pem", t->folder);
    snprintf(t->key, sizeof t->key, "%s/key.pem", t->folder);
    pid_t pid = openssl(t, NULL, ARGS);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* s_server says "ACCEPT 127.0.0.1:PORT" when it listens. */
static void start_tls(tls_server *t) {
    static const char *const ARGS[] = {"openssl",  "s_server", "-accept", "127.0.0.1:0", "-cert",
                                       "cert.pem", "-key",     "key.pem", "-HTTP",       NULL};
    char said[1000];
    size_t n = 0;
    t->pid = openssl(t, &t->out, ARGS);
    for (t->port = 0; t->port == 0;) {
        ssize_t size = read(t->out, said + n, sizeof said - 1 - n);
        if (size <= 0) fail_msg("openssl s_server did not start");
        n += (size_t)size;
        said[n] = '\0';
        const char *at = strstr(said, "ACCEPT "), *colon = at ? strrchr(at, ':') : NULL;
        if (colon && strchr(colon, '\n')) t->port = (int)strtol(colon + 1, NULL, 10);
    }
}

static void end_tls(tls_server *t) {
    static const char *const NAMES[] = {"cert.pem", "key.pem", "answer"};
    char path[100];
    if (t->pid > 0) {
        kill(t->pid, SIGKILL);
        waitpid(t->pid, NULL, 0);
        close(t->out);
    }
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        snprintf(path, sizeof path, "%s/%s", t->folder, NAMES[i]);
        unlink(path);
    }
    rmdir(t->folder);
}

/* What s_server -HTTP sends as it is. */
static void write_answer(const tls_server *t) {
    char path[100];
    snprintf(path, sizeof path, "%s/answer", t->folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", PATTERN_BYTES);
    assert_int_equal(fwrite(pattern(), 1, PATTERN_BYTES, f), PATTERN_BYTES);
    assert_int_equal(fclose(f), 0);
}

static void a_certificate_is_trusted_when_its_file_is_given(void **state) {
    (void)state;
    tls_server tls = {.pid = 0};
    char url[60];
    if (!make_certificate(&tls)) {
        end_tls(&tls);
        skip();
    }
    write_answer(&tls);
    start_tls(&tls);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/answer", tls.port);
    tt_http_request request = {.method = "GET",
                               .url = url,
                               .https_only = true,
                               .ca_file = tls.certificate,
                               .on_head = see_head,
                               .on_bytes = see_bytes};
    fetch_stream(&request);
    if (got.failure != TT_OK) fail_msg("%s", got.message);
    assert_memory_equal(seen.bytes, pattern(), PATTERN_BYTES);
    seen = (streamed){.refuses_after = NEVER};
    request.ca_file = NULL;
    fetch_stream(&request);
    expect_failure(TT_E_IO, "certificate is not trusted");
    seen = (streamed){.refuses_after = NEVER};
    request.ca_file = tls.key; /* no certificate in it */
    fetch_stream(&request);
    expect_failure(TT_E_IO, "list of trusted certificates is unreadable");
    end_tls(&tls);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void every_allocation_of_a_stream_may_fail(void **state) {
    (void)state;
    bool was_enough = false;
    server = raw_server_start(serve_chunks_and_trailer);
    for (int n = 0; !was_enough; n++) {
        tt_http_request request = get_stream("/");
        request.stall_timeout_ms = GIVE_UP_MS;
        seen = (streamed){.refuses_after = NEVER};
        tt_loop_free(loop);
        assert_int_equal(tt_loop_new(&loop, NULL), TT_OK);
        tt_timer *limit;
        assert_int_equal(tt_loop_timer(loop, GIVE_UP_MS, give_up, NULL, &limit, NULL), TT_OK);
        n_awaited = 1;
        tt_alloc_fail_after(n);
        tt_status status = tt_http_send(loop, &request, note, &seen, NULL, NULL);
        if (status == TT_OK) assert_int_equal(tt_loop_run(loop, NULL), TT_OK);
        tt_alloc_fail_after(-1);
        assert_false(has_given_up);
        if (status == TT_OK) status = seen.end.failure;
        was_enough = status == TT_OK;
        if (!was_enough) assert_int_equal(status, TT_E_NOMEM);
        assert_true(n < 1000);
    }
    assert_int_equal(seen.n_bytes, 7);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_streamed_body_comes_in_order_after_its_head),
        TEST(streamed_chunks_are_put_together_and_trailers_mean_nothing),
        TEST(an_empty_answer_has_a_head_and_interim_ones_none),
        TEST(a_body_shorter_than_announced_is_a_failure),
        TEST(a_body_without_length_ends_with_the_connection),
        TEST(content_lengths_are_digits),
        TEST(a_callback_that_says_no_ends_the_transfer),
        TEST(a_limit_holds_for_streams_that_ask_for_one),
        TEST(fields_are_found_and_too_many_refused),
        TEST(odd_lines_are_as_if_absent),
        TEST(a_stall_ends_the_transfer_and_silence_after_twice_the_time),
        TEST(slow_is_not_stalled),
        TEST(time_that_a_callback_takes_is_nobodys_stall),
        TEST(plain_http_is_refused_to_https_only),
        TEST(a_proxy_is_asked_unless_it_is_refused),
        TEST(a_certificate_is_trusted_when_its_file_is_given),
        TEST(every_allocation_of_a_stream_may_fail),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
