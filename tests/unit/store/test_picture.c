/* Pictures behind URLs: what arrives, and what is refused. */
#include "unit/store/download_server.h"

#include "base/buf.h"
#include "store/picture.h"

enum { SIZE = 30000, MS = 20000, DIVISOR = 1000 };

static bool serve_picture(dl_server *s, int fd, const dl_request *r) {
    bool is_clean =
        strstr(r->head, "\r\nUser-Agent: tests/1\r\n") && !strstr(r->head, "Authorization");
    if (!is_clean) atomic_store(&s->flag, true);
    return dl_puts(fd, "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %zu\r\n\r\n",
                   s->size) &&
           dl_body(s, fd, 0, s->size);
}

static tt_status fetch(dl_case *c, const char *url, tt_buf *out) {
    c->services.civitai_key = "key";
    c->services.time_divisor = DIVISOR;
    tt_buf_init(out, 4 * SIZE);
    const tt_picture_options options = {.deadline_ms = MS};
    return tt_picture_fetch(&c->services, url, &options, out, &c->error);
}

static void a_picture_arrives_and_no_key_is_sent(void **state) {
    (void)state;
    tt_buf out;
    dl_case *c = dl_begin(serve_picture, SIZE);
    assert_int_equal(fetch(c, c->file.url, &out), TT_OK);
    assert_int_equal(out.size, SIZE);
    assert_memory_equal(out.data, c->server->bytes, SIZE);
    assert_false(atomic_load(&c->server->flag));
    tt_buf_release(&out);
    dl_end(c);
}

static bool serve_page(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_puts(fd,
                   "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<a/>");
}

static bool serve_nothing(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "404 Not Found", "");
}

static bool serve_redirect(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "302 Found", "Location: ftp://127.0.0.1/secret\r\n");
}

static bool serve_circle(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "302 Found", "Location: /again\r\n");
}

static void assert_refused(dl_serve_fn serve, tt_fetch_class class_, const char *words) {
    tt_buf out;
    dl_case *c = dl_begin(serve, SIZE);
    assert_int_not_equal(fetch(c, c->file.url, &out), TT_OK);
    if (!strstr(c->error.err.message, words)) fail_msg("%s", c->error.err.message);
    assert_int_equal(c->error.class_, class_);
    assert_null(strstr(c->error.err.message, "secret")); /* URLs may be signed */
    assert_int_equal(out.size, 0);
    tt_buf_release(&out);
    dl_end(c);
}

static void what_is_no_picture_is_refused_in_words(void **state) {
    (void)state;
    assert_refused(serve_page, TT_FETCH_CONTENT,
                   "expected a picture from 127.0.0.1, found the type text/html");
    assert_refused(serve_nothing, TT_FETCH_GONE, "(HTTP 404)");
    assert_refused(serve_redirect, TT_FETCH_REFUSED, "no https URL");
    assert_refused(serve_circle, TT_FETCH_REFUSED, "more than 5 redirects");
}

static void too_much_is_refused(void **state) {
    (void)state;
    tt_buf out;
    dl_case *c = dl_begin(serve_picture, 8 * SIZE);
    assert_int_not_equal(fetch(c, c->file.url, &out), TT_OK);
    assert_int_equal(c->error.class_, TT_FETCH_SIZE);
    tt_buf_release(&out);
    dl_end(c);
}

static void strangers_reach_no_private_address_and_no_http(void **state) {
    (void)state;
    tt_buf out;
    char url[100];
    dl_case *c = dl_begin(serve_picture, SIZE);
    c->services.allow_private = false;
    assert_int_not_equal(fetch(c, c->file.url, &out), TT_OK);
    assert_int_equal(c->error.class_, TT_FETCH_REFUSED);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/x", c->server->port);
    assert_int_not_equal(fetch(c, url, &out), TT_OK);
    assert_int_equal(c->error.class_, TT_FETCH_REFUSED);
    assert_int_not_equal(fetch(c, "https://127.0.0.1/x", &out), TT_OK);
    assert_int_equal(c->error.class_, TT_FETCH_REFUSED);
    assert_int_equal(c->server->n_requests, 0);
    dl_end(c);
}

static void a_server_that_is_not_there_is_told_after_its_tries(void **state) {
    (void)state;
    tt_buf out;
    char url[100];
    dl_case *c = dl_begin(serve_picture, SIZE);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", c->server->port);
    shutdown(c->server->listener, SHUT_RDWR); /* the port stays ours, and refuses */
    assert_int_equal(fetch(c, url, &out), TT_E_IO);
    if (!strstr(c->error.err.message, "connect")) fail_msg("%s", c->error.err.message);
    dl_end(c);
}

/* Silent before the head, in the middle of the body, or busy and asking for patience. */
static int way_to_wait;

static bool serve_and_wait(dl_server *s, int fd, const dl_request *r) {
    (void)r;
    if (way_to_wait == 1)
        dl_puts(fd, "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %zu\r\n\r\nabc",
                s->size);
    if (way_to_wait == 2) return dl_status(fd, "503 Busy", "Retry-After: 50\r\n");
    dl_wait_for_close(fd);
    return false;
}

static bool goes_on_until_asked(void *context) {
    dl_server *s = context;
    return atomic_load(&s->n_requests) == 0;
}

static void whoever_waits_for_a_picture_can_cancel(void **state) {
    (void)state;
    for (way_to_wait = 0; way_to_wait < 3; way_to_wait++) {
        tt_buf out;
        dl_case *c = dl_begin(serve_and_wait, SIZE);
        const tt_picture_options options = {.deadline_ms = (int64_t)1000 * MS,
                                            .goes_on = goes_on_until_asked,
                                            .goes_on_context = c->server};
        tt_buf_init(&out, 4 * SIZE);
        assert_int_equal(tt_picture_fetch(&c->services, c->file.url, &options, &out, &c->error),
                         TT_E_CANCELLED);
        assert_int_equal(c->error.class_, TT_FETCH_CANCELLED);
        assert_int_equal(c->server->n_requests, 1);
        tt_buf_release(&out);
        dl_end(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_arrives_and_no_key_is_sent),
        cmocka_unit_test(what_is_no_picture_is_refused_in_words),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(strangers_reach_no_private_address_and_no_http),
        cmocka_unit_test(a_server_that_is_not_there_is_told_after_its_tries),
        cmocka_unit_test(whoever_waits_for_a_picture_can_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
