/* Downloads that end well, and what is refused: against a server of raw sockets that keeps the file, which is compared byte
 * for byte. */
#include <sys/resource.h>

#include "unit/store/download_server.h"

enum { SIZE = 25 * DL_CHUNK + 17 };

/* ---- good -------------------------------------------------------------------------------------------------------- */

static void a_file_arrives_whole_over_several_connections(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    dl_expect_good(c);
    assert_int_equal(c->out.fetched_bytes, SIZE);
    assert_true(c->out.n_connections > 1 && c->out.n_connections <= TT_DOWNLOAD_CONNECTIONS);
    assert_int_equal(c->server->n_requests, 26);
    dl_end(c);
}

static void every_size_around_a_chunk_arrives(void **state) {
    (void)state;
    static const size_t SIZES[] = {50,           DL_CHUNK - 1,  DL_CHUNK,      DL_CHUNK + 1,
                                   2 * DL_CHUNK, 16 * DL_CHUNK, 17 * DL_CHUNK, 40 * DL_CHUNK + 1};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        dl_case *c = dl_begin(dl_serve_well, SIZES[i]);
        dl_expect_good(c);
        dl_end(c);
    }
}

static void a_range_has_many_chunks(void **state) {
    (void)state;
    static const size_t SIZES[] = {50, 8 * DL_CHUNK - 1, 8 * DL_CHUNK, 8 * DL_CHUNK + 1,
                                   300 * DL_CHUNK + 17};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        for (int n_connections = 1; n_connections <= 8; n_connections += 7) {
            dl_case *c = dl_begin(dl_serve_well, SIZES[i]);
            c->options.range_chunks = 8;
            c->options.n_connections = n_connections;
            dl_expect_good(c);
            assert_int_equal(c->out.fetched_bytes, SIZES[i]);
            assert_int_equal(c->server->n_requests,
                             (SIZES[i] + 8 * DL_CHUNK - 1) / ((size_t)8 * DL_CHUNK));
            dl_end(c);
        }
}

enum { MORE_THAN_MEMORY = TT_DOWNLOAD_MEMORY_CHUNKS + 40 };

/* The first range is the last to come, until which the hash waits. */
static bool serve_the_first_last(dl_server *s, int fd, const dl_request *r) {
    enum { PATIENCE = 30 * 1000 };
    for (int i = 0; r->first < DL_CHUNK && s->n_requests < MORE_THAN_MEMORY && i < PATIENCE; i++) {
        if (i == 0) dl_head_206(s, fd, r->first, dl_last(s, r));
        usleep(1000);
        if (s->n_requests >= MORE_THAN_MEMORY)
            return dl_body(s, fd, r->first, dl_last(s, r) - r->first + 1);
    }
    return dl_serve_well(s, fd, r);
}

static void chunks_that_find_no_memory_are_read_back(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_the_first_last, (size_t)2 * MORE_THAN_MEMORY * DL_CHUNK);
    c->options.time_divisor = 1; /* nobody is slow */
    dl_expect_good(c);
    assert_int_equal(c->out.fetched_bytes, c->server->size);
    dl_end(c);
}

static void nothing_need_be_promised(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->file.digest[0] = '\0';
    c->file.size = 0;
    c->file.size_is_exact = false;
    dl_expect_good(c);
    dl_end(c);
}

static void a_size_that_is_only_a_word_does_not_bind(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->file.size = SIZE + 1000;
    c->file.size_is_exact = false;
    dl_expect_good(c);
    dl_end(c);
}

static bool serve_and_look(dl_server *s, int fd, const dl_request *r) {
    bool is_good = strncmp(r->head, "GET /file?signature=secret HTTP/1.1\r\n", 36) == 0 &&
                   strstr(r->head, "\r\nUser-Agent: tests/1\r\n") &&
                   strstr(r->head, "\r\nAccept-Encoding: identity\r\n") &&
                   !strstr(r->head, "Authorization") && !strstr(r->head, "Referer");
    if (!is_good) atomic_store(&s->flag, true);
    return dl_serve_well(s, fd, r);
}

static void requests_carry_no_credential(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_and_look, SIZE);
    c->services.civitai_key = "key";
    c->services.hf_token = "token";
    dl_expect_good(c);
    assert_false(atomic_load(&c->server->flag));
    dl_end(c);
}

static bool serve_to_anna(dl_server *s, int fd, const dl_request *r) {
    bool is_good = strstr(r->head, "\r\nAuthorization: Bearer anna\r\n") &&
                   strstr(r->head, "\r\nX-Amz-Date: today\r\n") &&
                   strstr(r->head, "\r\nAccept-Encoding: identity\r\n");
    if (!is_good) atomic_store(&s->flag, true);
    return dl_serve_well(s, fd, r);
}

static void what_the_source_wants_to_be_asked_with_is_sent(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_to_anna, SIZE);
    snprintf(c->file.headers, sizeof c->file.headers,
             "Authorization: Bearer anna\nX-Amz-Date: today\n");
    dl_expect_good(c);
    assert_false(atomic_load(&c->server->flag));
    dl_end(c);
}

static void one_connection_is_enough(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->options.n_connections = 1;
    dl_expect_good(c);
    assert_int_equal(c->out.n_connections, 1);
    assert_int_equal(c->server->n_most, 1);
    dl_end(c);
}

static void no_journal_is_kept_when_none_is_wanted(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->options.journal_path = "";
    dl_expect_good(c);
    dl_end(c);
}

typedef struct told {
    int at_which_no;
    atomic_int n;
    uint64_t last;
    bool went_back;
} told;

static told tale;

static bool tell(void *context, const tt_download_progress *p) {
    told *t = context;
    t->went_back = t->went_back || p->bytes_done < t->last;
    t->last = p->bytes_done;
    assert_true(p->bytes_total == 0 || p->bytes_done <= p->bytes_total);
    assert_true(p->eta_ms >= -1);
    return atomic_fetch_add(&t->n, 1) + 1 != t->at_which_no;
}

/* Holds back the second half until progress was told twice. */
static bool serve_what_is_told(dl_server *s, int fd, const dl_request *r) {
    enum { HALF = 12, PATIENCE = 30 * 1000 };
    for (int i = 0; r->number >= HALF && atomic_load(&tale.n) < 2 && i < PATIENCE; i++)
        usleep(1000);
    return dl_serve_well(s, fd, r);
}

static void progress_is_told_and_can_cancel(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_what_is_told, SIZE);
    c->options.progress = tell;
    c->options.progress_context = &tale;
    dl_expect_good(c);
    assert_true(atomic_load(&tale.n) >= 2);
    assert_false(tale.went_back);
    dl_end(c);
    c = dl_begin(serve_what_is_told, SIZE);
    c->options.progress = tell;
    c->options.progress_context = &tale;
    tale.at_which_no = 2;
    tale.last = 0;
    atomic_store(&tale.n, 0);
    dl_expect_failure(c, TT_FETCH_CANCELLED, "cancelled");
    assert_int_equal(atomic_load(&tale.n), 2);
    assert_int_equal(access(c->part, F_OK), 0); /* the part stays, to be taken up again */
    dl_expect_good(c);
    dl_end(c);
}

/* ---- a server without ranges ------------------------------------------------------------------------------------- */

static bool serve_only_all(dl_server *s, int fd, const dl_request *r) {
    (void)r;
    return dl_serve_all(s, fd);
}

static void a_server_without_ranges_is_read_as_a_stream(void **state) {
    (void)state;
    static const size_t SIZES[] = {50, DL_CHUNK, 3 * DL_CHUNK, SIZE, 100 * DL_CHUNK};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        dl_case *c = dl_begin(serve_only_all, SIZES[i]);
        dl_expect_good(c);
        assert_int_equal(c->server->n_requests, 2); /* the first had a range */
        dl_end(c);
    }
}

static bool serve_chunked(dl_server *s, int fd, const dl_request *r) {
    (void)r;
    if (!dl_puts(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")) return false;
    for (size_t at = 0; at < s->size; at += 1000) {
        size_t n = s->size - at < 1000 ? s->size - at : 1000;
        if (!dl_puts(fd, "%zx\r\n", n) || !dl_body(s, fd, at, n) || !dl_puts(fd, "\r\n"))
            return false;
    }
    return dl_puts(fd, "0\r\n\r\n");
}

static bool serve_until_close(dl_server *s, int fd, const dl_request *r) {
    (void)r;
    dl_puts(fd, "HTTP/1.1 200 OK\r\n\r\n");
    dl_body(s, fd, 0, s->size);
    return false;
}

static void a_stream_of_unknown_length_is_measured(void **state) {
    (void)state;
    static const dl_serve_fn WAYS[] = {serve_chunked, serve_until_close};
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++)
        for (int promises = 0; promises < 2; promises++) {
            dl_case *c = dl_begin(WAYS[i], SIZE);
            if (!promises) {
                c->file.digest[0] = '\0';
                c->file.size_is_exact = false;
            }
            dl_expect_good(c);
            dl_end(c);
        }
}

static bool serve_endless(dl_server *s, int fd, const dl_request *r) {
    (void)r;
    bool goes_on = dl_puts(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (goes_on)
        goes_on = dl_puts(fd, "400\r\n") && dl_body(s, fd, 0, 0x400) && dl_puts(fd, "\r\n");
    return false;
}

static void an_endless_stream_ends_at_the_limit(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_endless, SIZE);
    c->options.max_bytes = 300 * 1000;
    dl_expect_failure(c, TT_FETCH_SIZE, "more than 300000 bytes");
    dl_end(c);
}

/* ---- what is no model -------------------------------------------------------------------------------------------- */

static const char *page_type;

static bool serve_page(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_puts(fd, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 4\r\n\r\nabcd",
                   page_type);
}

static void pages_are_refused_by_their_type(void **state) {
    (void)state;
    static const char *const TYPES[] = {"text/html; charset=utf-8", "application/json", "Text/XML"};
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        dl_case *c = dl_begin(serve_page, SIZE);
        page_type = TYPES[i];
        dl_expect_failure(c, TT_FETCH_CONTENT, TYPES[i]);
        assert_int_equal(c->server->n_requests, 1); /* no other try: it would be the same */
        dl_end(c);
    }
}

static void contents_are_refused_by_their_first_bytes(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *name;
    } CASES[] = {{"<!DOCTYPE html><html>", 21, "an HTML page"},
                 {"  <?xml version=\"1.0\"?>", 22, "an XML or HTML page"},
                 {"{\"error\":\"no\"}", 14, "JSON"},
                 {"PK\003\004aaaaaa", 10, "zip"},
                 {"\200\002}q\000aaaaa", 10, "a pickle"},
                 {"\037\213\010\000aaaaaa", 10, "gzip"},
                 {"version https://git-lfs.github.com/spec/v1", 42, "a Git LFS pointer"},
                 {"\377\377\377\377\377\377\377\177{", 9, "no safetensors file"},
                 {"\001\000\000\000\000\000\000\000{", 9, "no safetensors file"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (int is_stream = 0; is_stream < 2; is_stream++) {
            dl_case *c = dl_begin(is_stream ? serve_chunked : dl_serve_well, SIZE);
            memcpy(c->server->bytes, CASES[i].bytes, CASES[i].size);
            dl_expect_failure(c, TT_FETCH_CONTENT, CASES[i].name);
            dl_end(c);
        }
}

static bool serve_nothing(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "200 OK", "");
}

static void nothing_is_no_model(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_nothing, SIZE);
    dl_expect_failure(c, TT_FETCH_CONTENT, "empty");
    dl_end(c);
}

static bool serve_gzip(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "206 Partial Content",
                     "Content-Encoding: gzip\r\nContent-Range: bytes 0-4095/102417\r\n");
}

static void compressed_bytes_are_refused(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_gzip, SIZE);
    dl_expect_failure(c, TT_FETCH_CONTENT, "compressed (gzip)");
    dl_end(c);
}

/* ---- sizes and digests ------------------------------------------------------------------------------------------- */

static void too_large_for_its_kind_is_refused_before_a_byte(void **state) {
    (void)state;
    for (int is_known = 0; is_known < 2; is_known++) {
        dl_case *c = dl_begin(dl_serve_well, SIZE);
        c->options.max_bytes = SIZE - 1;
        c->file.size_is_exact = is_known;
        dl_expect_failure(c, TT_FETCH_SIZE, "expected at most");
        assert_int_equal(c->out.fetched_bytes, 0);
        assert_int_equal(c->server->n_requests, is_known ? 0 : 1);
        dl_end(c);
    }
}

static void a_size_that_does_not_fit_gets_one_fresh_try(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->file.size = SIZE + 1;
    dl_expect_failure(c, TT_FETCH_SIZE, "expected");
    assert_int_equal(c->server->n_requests, 2);
    dl_end(c);
}

/* Wrong bytes for ranges only, as a broken cache does. */
static bool serve_wrong_ranges(dl_server *s, int fd, const dl_request *r) {
    if (!r->has_range) return dl_serve_all(s, fd);
    uint64_t n = dl_last(s, r) - r->first + 1;
    return dl_head_206(s, fd, r->first, dl_last(s, r)) && dl_body(s, fd, r->first ? 1 : 0, n);
}

static void a_digest_that_does_not_fit_gets_one_fresh_stream(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_wrong_ranges, SIZE);
    dl_expect_good(c);
    assert_int_equal(c->out.fetched_bytes, 2 * SIZE);
    dl_end(c);
    c = dl_begin(dl_serve_well, SIZE);
    memset(c->file.digest, 'a', TT_DIGEST_HEX);
    dl_expect_failure(c, TT_FETCH_DIGEST, "expected the SHA-256 aaaa");
    assert_int_equal(c->out.fetched_bytes, 2 * SIZE);
    assert_int_not_equal(access(c->journal, F_OK), 0); /* nobody takes that up */
    dl_end(c);
}

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

static void a_full_disk_is_seen_before_the_first_byte(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->options.reserve_bytes = (uint64_t)1 << 60;
    dl_expect_failure(c, TT_FETCH_DISK, "in reserve");
    assert_int_equal(c->out.fetched_bytes, 0);
    dl_end(c);
}

static void a_part_that_cannot_be_made_is_told(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->options.part_path = "/nonexistent/part";
    dl_expect_failure(c, TT_FETCH_DISK, "No such file");
    c->options.part_path = c->part;
    assert_int_equal(symlink("/tmp/elsewhere", c->part), 0);
    dl_expect_failure(c, TT_FETCH_DISK, "the part file"); /* a link is not followed */
    dl_end(c);
}

/* The limit on a file's size is met as a full disk is: by the reservation where the size is known, in the middle where not. */
static void a_write_that_fails_ends_the_download(void **state) {
    (void)state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = SIZE / 2;
    signal(SIGXFSZ, SIG_IGN);
    for (int is_stream = 0; is_stream < 2; is_stream++) {
        dl_case *c = dl_begin(is_stream ? serve_chunked : dl_serve_well, SIZE);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        dl_expect_failure(c, TT_FETCH_DISK, "too large");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        dl_end(c);
    }
    signal(SIGXFSZ, SIG_DFL);
}

/* ---- policy ------------------------------------------------------------------------------------------------------ */

static void private_addresses_and_http_are_refused_to_strangers(void **state) {
    (void)state;
    dl_case *c = dl_begin(dl_serve_well, SIZE);
    c->services.allow_private = false;
    dl_expect_failure(c, TT_FETCH_REFUSED, "https");
    snprintf(c->file.url, sizeof c->file.url, "https://127.0.0.1:%d/file?signature=secret",
             c->server->port);
    dl_expect_failure(c, TT_FETCH_REFUSED, "not public");
    assert_int_equal(c->server->n_connections, 0);
    dl_end(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_arrives_whole_over_several_connections),
        cmocka_unit_test(every_size_around_a_chunk_arrives),
        cmocka_unit_test(a_range_has_many_chunks),
        cmocka_unit_test(chunks_that_find_no_memory_are_read_back),
        cmocka_unit_test(nothing_need_be_promised),
        cmocka_unit_test(a_size_that_is_only_a_word_does_not_bind),
        cmocka_unit_test(requests_carry_no_credential),
        cmocka_unit_test(what_the_source_wants_to_be_asked_with_is_sent),
        cmocka_unit_test(one_connection_is_enough),
        cmocka_unit_test(no_journal_is_kept_when_none_is_wanted),
        cmocka_unit_test(progress_is_told_and_can_cancel),
        cmocka_unit_test(a_server_without_ranges_is_read_as_a_stream),
        cmocka_unit_test(a_stream_of_unknown_length_is_measured),
        cmocka_unit_test(an_endless_stream_ends_at_the_limit),
        cmocka_unit_test(pages_are_refused_by_their_type),
        cmocka_unit_test(contents_are_refused_by_their_first_bytes),
        cmocka_unit_test(nothing_is_no_model),
        cmocka_unit_test(compressed_bytes_are_refused),
        cmocka_unit_test(too_large_for_its_kind_is_refused_before_a_byte),
        cmocka_unit_test(a_size_that_does_not_fit_gets_one_fresh_try),
        cmocka_unit_test(a_digest_that_does_not_fit_gets_one_fresh_stream),
        cmocka_unit_test(a_full_disk_is_seen_before_the_first_byte),
        cmocka_unit_test(a_part_that_cannot_be_made_is_told),
        cmocka_unit_test(a_write_that_fails_ends_the_download),
        cmocka_unit_test(private_addresses_and_http_are_refused_to_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
