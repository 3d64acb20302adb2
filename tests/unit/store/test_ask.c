/* What an answer's head promises and whose page it is: read strictly, or not believed. */
#include "store/answer.h"
#include "store/ask.h"
#include "unit/store/download_server.h"

static void expect_promise(const char *content_range, uint64_t size) {
    tt__answer answer = {.status = 206, .content_length = 1};
    tt_source_file file = {.size = 0};
    snprintf(answer.content_range, sizeof answer.content_range, "%s", content_range);
    tt__take_promises(&answer, &file);
    if (file.size != size) fail_msg("\"%s\": %" PRIu64, content_range, file.size);
    assert_int_equal(file.size_is_exact, size > 0);
}

static void a_size_is_believed_when_the_range_is_the_one_asked_for(void **state) {
    (void)state;
    expect_promise("bytes 0-0/6938078334", 6938078334);
    expect_promise("BYTES 0-0/1", 1);
    static const char *const NONE[] = {"",
                                       "bytes 0-0/*",
                                       "bytes */6938078334",
                                       "nonsense/6938078334",
                                       "bytes 0-0/6938078334 and more",
                                       "bytes 0-0/-1",
                                       "bytes 5-5/6938078334",
                                       "bytes 0-0/99999999999999999999"};
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++) expect_promise(NONE[i], 0);
}

static void only_a_strong_validator_is_kept(void **state) {
    (void)state;
    static const struct {
        const char *etag, *kept;
    } CASES[] = {
        {"\"abc\"", "\"abc\""}, {"W/\"abc\"", ""}, {"\"abc", ""}, {"\"a\"b\"", ""}, {"", ""}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt__answer answer = {.status = 200, .content_length = 10};
        tt_source_file file = {.size = 0};
        snprintf(answer.etag, sizeof answer.etag, "%s", CASES[i].etag);
        tt__take_promises(&answer, &file);
        assert_string_equal(file.validator, CASES[i].kept);
        assert_int_equal(file.size, 10);
    }
}

/* ---- whose page -------------------------------------------------------------------------------------------------- */

static const char *page; /* status line and headers */

static bool serve_the_page(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_puts(fd, "HTTP/1.1 %sContent-Length: 0\r\n\r\n", page);
}

/* As a download sees it, and as a question does. */
static void expect_class(const char *text, tt_fetch_class download, bool is_edge) {
    tt__ask_state ask;
    tt__answer answer = {.status = 0};
    page = text;
    dl_case *c = dl_begin(serve_the_page, DL_CHUNK);
    c->services.time_divisor = c->options.time_divisor = 100; /* a stall: 150 ms */
    dl_expect_failure(c, download, "HTTP ");
    const tt__question q = {.method = "GET", .url = c->file.url, .whom = "it", .wants_body = true};
    assert_int_equal(tt__ask_begin(&ask, &c->services, 20 * 1000, &c->error), TT_OK);
    assert_int_equal(tt__ask(&ask, &q, &answer, &c->error), TT_OK);
    if (answer.is_edge != is_edge) fail_msg("%s: edge %d", text, answer.is_edge);
    tt__answer_release(&answer);
    tt__ask_end(&ask);
    dl_end(c);
}

#define FRONT "Server: cloudflare\r\n"
#define HTML  "Content-Type: text/html; charset=UTF-8\r\n"
#define XML   "Content-Type: application/xml\r\n"

static void a_front_speaks_for_itself_and_a_storage_behind_it_too(void **state) {
    (void)state;
    expect_class("403 Forbidden\r\n" FRONT HTML, TT_FETCH_EDGE, true);
    expect_class("403 Forbidden\r\nServer: nginx\r\n" HTML, TT_FETCH_FORBIDDEN, false);
    expect_class("403 Forbidden\r\n" FRONT XML, TT_FETCH_FORBIDDEN, false); /* an expired link */
    expect_class("404 Not Found\r\n" FRONT HTML, TT_FETCH_GONE, false);
    expect_class("503 Wait\r\n" FRONT HTML, TT_FETCH_EDGE, true);
    expect_class("503 Wait\r\ncf-mitigated: challenge\r\n", TT_FETCH_EDGE, true);
    expect_class("503 Wait\r\nServer: nginx\r\n" HTML, TT_FETCH_NETWORK, false);
    expect_class("522 Timed out\r\n", TT_FETCH_EDGE, true);
    expect_class("529 Busy\r\n", TT_FETCH_NETWORK, false); /* nobody's */
    expect_class("530 Unknown\r\n", TT_FETCH_EDGE, true);
    expect_class("429 Slow\r\n" FRONT HTML, TT_FETCH_RATE, true); /* slower, whoever says it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_is_believed_when_the_range_is_the_one_asked_for),
        cmocka_unit_test(only_a_strong_validator_is_kept),
        cmocka_unit_test(a_front_speaks_for_itself_and_a_storage_behind_it_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
