/* Hundreds of downloads from a server that fails in a random way about every fourth time: whatever comes, a download that says
 * it is good has the right bytes, and one that fails says so in a class that fits. Every round has a seed, which is printed
 * when it goes wrong. */
#include "unit/store/download_server.h"

enum {
    N_ROUNDS = 500,
    FAULT_IN = 4,
    MAX_CHUNKS = 40,
};

static pthread_mutex_t dice_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t dice_state;

static uint64_t dice(uint64_t n) {
    pthread_mutex_lock(&dice_mutex);
    uint64_t value = dl_random(&dice_state) % n;
    pthread_mutex_unlock(&dice_mutex);
    return value;
}

static bool send_wrong_range(dl_server *s, int fd, const dl_request *r) {
    uint64_t last = dl_last(s, r);
    dl_puts(fd,
            "HTTP/1.1 206 P\r\nETag: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n"
            "Content-Length: %" PRIu64 "\r\n\r\n",
            s->etag, r->first + 1, last, s->size + dice(2), last - r->first + 1);
    return dl_body(s, fd, r->first, last - r->first + 1);
}

static bool send_part_of_it(dl_server *s, int fd, const dl_request *r) {
    uint64_t n = dl_last(s, r) - r->first + 1;
    if (!r->has_range) {
        dl_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", s->size);
        dl_body(s, fd, 0, dice(s->size));
        return false;
    }
    dl_head_206(s, fd, r->first, dl_last(s, r));
    dl_body(s, fd, r->first, dice(n));
    return false;
}

static bool send_other_validator(dl_server *s, int fd, const dl_request *r) {
    uint64_t last = dl_last(s, r);
    dl_puts(fd,
            "HTTP/1.1 206 P\r\nETag: \"%d\"\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n"
            "Content-Length: %" PRIu64 "\r\n\r\n",
            (int)dice(5), r->first, last, s->size, last - r->first + 1);
    return dl_body(s, fd, r->first, last - r->first + 1);
}

/* The right head with other bytes: only the digest can tell. */
static bool send_wrong_bytes(dl_server *s, int fd, const dl_request *r) {
    uint64_t n = dl_last(s, r) - r->first + 1;
    return dl_head_206(s, fd, r->first, dl_last(s, r)) && dl_body(s, fd, dice(s->size - n + 1), n);
}

static bool stall(dl_server *s, int fd, const dl_request *r) {
    if (r->has_range && dice(2)) dl_head_206(s, fd, r->first, dl_last(s, r));
    dl_wait_for_close(fd);
    return false;
}

static bool serve_at_random(dl_server *s, int fd, const dl_request *r) {
    static const char *const STATUSES[] = {"500 O", "502 B", "503 B", "429 S",
                                           "408 T", "520 E", "403 F", "416 R"};
    if (dice(FAULT_IN)) return dl_serve_well(s, fd, r);
    switch (dice(40)) {
    case 0:
        return send_wrong_range(s, fd, r);
    case 1:
        return send_other_validator(s, fd, r);
    case 2:
        return r->has_range ? send_wrong_bytes(s, fd, r) : dl_serve_all(s, fd);
    case 3:
        return dl_serve_all(s, fd);
    case 4:
        return dl_puts(fd, "nonsense\r\n\r\n") && false;
    case 5:
        return stall(s, fd, r);
    case 6:
        return dl_status(fd, STATUSES[dice(8)], "Retry-After: 1\r\n");
    default:
        if (dice(2)) return send_part_of_it(s, fd, r);
        return dice(2) ? false : dl_status(fd, STATUSES[dice(5)], "");
    }
}

static tt_status again(void *context, tt_source_file *file, tt_fetch_error *error) {
    (void)context, (void)file, (void)error;
    return TT_OK;
}

static bool fits(tt_fetch_class class_) {
    return class_ == TT_FETCH_NETWORK || class_ == TT_FETCH_RANGE || class_ == TT_FETCH_RATE ||
           class_ == TT_FETCH_EDGE || class_ == TT_FETCH_FORBIDDEN || class_ == TT_FETCH_DIGEST ||
           class_ == TT_FETCH_CONTENT /* wrong first bytes */;
}

/* True when it ended well. */
static bool one_round(uint64_t seed) {
    dice_state = seed;
    dl_case *c = dl_begin(serve_at_random, 100 + dice(MAX_CHUNKS * DL_CHUNK));
    c->options.n_connections = 1 + (int)dice(8);
    c->options.range_chunks = 1 + (int)dice(6);
    c->options.time_divisor = 500;
    c->file.is_signed = true;
    c->options.again = again;
    bool is_good = dl_fetch(c) == TT_OK;
    if (!is_good && !fits(c->error.class_))
        fail_msg("seed %" PRIu64 ": %s: %s", seed, tt_fetch_class_name(c->error.class_),
                 c->error.err.message);
    if (is_good) dl_expect_file(c);
    dl_quiet(c->server);
    c->server->serve = dl_serve_well; /* whatever was left: a good server mends it */
    if (!is_good) dl_expect_good(c);
    dl_end(c);
    return is_good;
}

static void no_fault_makes_a_wrong_file(void **state) {
    (void)state;
    int n_good = 0;
    for (uint64_t round = 0; round < N_ROUNDS; round++) n_good += one_round(round * 7919 + 1);
    print_message("%d of %d downloads ended well\n", n_good, N_ROUNDS);
    assert_true(n_good > N_ROUNDS / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_fault_makes_a_wrong_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
