/* What is left behind is taken up again, or is not when it does not fit. With a child process that is killed at random
 * moments: run with arguments, this program is that child. */
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "store/download_parts.h"
#include "unit/store/download_server.h"

extern char **environ;

enum { SIZE = 40 * DL_CHUNK + 17 };

/* Good for so many requests; then the server is silent. */
static int n_served;

static bool serve_some(dl_server *s, int fd, const dl_request *r) {
    if (r->number < n_served) return dl_serve_well(s, fd, r);
    dl_wait_for_close(fd);
    return false;
}

/* Leaves a part and its journal behind; about n chunks are in it. */
static dl_case *begin_with_part(int n) {
    dl_case *c = dl_begin(serve_some, SIZE);
    n_served = n;
    c->options.deadline_ms = 100;
    c->options.time_divisor = 1;
    dl_expect_failure(c, TT_FETCH_DEADLINE, "deadline");
    assert_int_equal(access(c->journal, F_OK), 0);
    dl_quiet(c->server);
    c->server->serve = dl_serve_well;
    c->server->sent = 0;
    c->server->n_requests = 0;
    c->options.deadline_ms = 120 * 1000;
    c->options.time_divisor = 10;
    return c;
}

static void only_what_is_missing_is_fetched(void **state) {
    (void)state;
    dl_case *c = begin_with_part(20);
    dl_expect_good(c);
    assert_int_equal(c->out.fetched_bytes, SIZE - 20 * DL_CHUNK);
    assert_int_equal(c->server->n_requests, 21);
    dl_end(c);
}

static void without_a_digest_a_strong_etag_decides(void **state) {
    (void)state;
    for (int changes = 0; changes < 2; changes++) {
        dl_case *c = dl_begin(serve_some, SIZE);
        n_served = 20;
        c->file.digest[0] = '\0';
        c->options.deadline_ms = 100;
        c->options.time_divisor = 1;
        dl_expect_failure(c, TT_FETCH_DEADLINE, "deadline");
        dl_quiet(c->server);
        c->server->serve = dl_serve_well;
        c->options.deadline_ms = 120 * 1000;
        if (changes) {
            c->server->etag = "\"two\"";
            memset(c->server->bytes + 100, 'x', 1000);
        }
        dl_expect_good(c);
        assert_int_equal(c->out.fetched_bytes, changes ? SIZE : SIZE - 20 * DL_CHUNK);
        dl_end(c);
    }
}

static void without_digest_and_etag_nothing_is_resumed(void **state) {
    (void)state;
    dl_case *c = dl_begin(serve_some, SIZE);
    n_served = 20;
    c->file.digest[0] = '\0';
    c->server->etag = "W/\"weak\"";
    c->options.deadline_ms = 100;
    c->options.time_divisor = 1;
    dl_expect_failure(c, TT_FETCH_DEADLINE, "deadline");
    assert_int_not_equal(access(c->journal, F_OK), 0);
    dl_quiet(c->server);
    c->server->serve = dl_serve_well;
    c->options.deadline_ms = 120 * 1000;
    dl_expect_good(c);
    assert_int_equal(c->out.fetched_bytes, SIZE);
    dl_end(c);
}

/* As version 1 was: slots of 4 KiB with their checksum in the last 32 bytes, all else as now. */
static void write_old_journal(const char *path) {
    enum { SLOT = 4096, SUM = 32, VERSION_AT = 8 };
    static unsigned char slot[TT__JOURNAL_SLOT_BYTES];
    static tt__journal j;
    assert_true(tt__journal_read(path, &j));
    tt__journal_format(&j, slot);
    slot[VERSION_AT] = 1;
    assert_int_equal(EVP_Digest(slot, SLOT - SUM, slot + SLOT - SUM, NULL, EVP_sha256(), NULL), 1);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 2; i++) assert_int_equal(fwrite(slot, 1, SLOT, f), SLOT);
    assert_int_equal(fclose(f), 0);
}

/* A part of other bytes: by the digest, the size, the chunks' size, or the journal's own checks. */
static void a_part_that_does_not_fit_is_not_taken_up(void **state) {
    (void)state;
    enum {
        OTHER_DIGEST,
        OTHER_SIZE,
        OTHER_CHUNKS,
        SHORT_PART,
        TORN_JOURNAL,
        OLD_JOURNAL,
        ALIEN_JOURNAL,
        N
    };
    for (int what = 0; what < N; what++) {
        dl_case *c = begin_with_part(20);
        if (what == OTHER_DIGEST) {
            c->server->bytes[5000] ^= 1;
            dl_digest(c->server, c->file.digest);
        } else if (what == OTHER_SIZE) {
            c->server->size = SIZE - 1;
            dl_promise(c);
        } else if (what == OTHER_CHUNKS) {
            c->options.chunk_bytes = DL_CHUNK + 1;
        } else if (what == SHORT_PART) {
            assert_int_equal(truncate(c->part, 100), 0);
        } else if (what == TORN_JOURNAL) {
            assert_int_equal(truncate(c->journal, TT__JOURNAL_SLOT_BYTES - 1), 0);
        } else if (what == OLD_JOURNAL) {
            write_old_journal(c->journal);
        } else {
            FILE *f = fopen(c->journal, "w");
            assert_non_null(f);
            for (int i = 0; i < 9000; i++) fputc('x', f);
            assert_int_equal(fclose(f), 0);
        }
        dl_expect_good(c);
        assert_int_equal(c->out.fetched_bytes, c->server->size);
        dl_end(c);
    }
}

/* The part's bytes were changed behind the journal's back: the digest tells, and the stream mends it. */
static void a_part_that_lies_is_found_out(void **state) {
    (void)state;
    dl_case *c = begin_with_part(20);
    c->options.time_divisor = 1; /* nobody is slow: no byte is asked for a third time */
    FILE *f = fopen(c->part, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 3000, SEEK_SET), 0);
    assert_int_equal(fwrite("lie", 1, 3, f), 3);
    assert_int_equal(fclose(f), 0);
    dl_expect_good(c);
    assert_int_equal(c->out.fetched_bytes, SIZE - 20 * DL_CHUNK + SIZE);
    dl_end(c);
}

static bool serve_nobody(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)fd, (void)r;
    return false;
}

/* A journal written by the format's own writer, beside a finished part: it claims every chunk but each nth (0: all of them), as
 * a process leaves it that was killed after the last byte, or in the middle. */
static void write_journal(const dl_case *c, uint64_t nth_missing) {
    static tt__journal j;
    j = (tt__journal){.total = SIZE, .chunk_bytes = DL_CHUNK};
    assert_true(tt__identity_of(&c->file, c->server->etag, j.identity));
    for (uint64_t i = 0; i < tt__journal_n_chunks(&j); i++)
        if (!nth_missing || i % nth_missing) tt__journal_add(&j, i);
    int fd = open(c->journal, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_true(tt__journal_write(fd, &j));
    close(fd);
}

/* Killed after the last byte was written: nothing is asked for when the digest was promised, else the last chunk. */
static void a_whole_part_needs_little_network(void **state) {
    (void)state;
    for (int promises = 0; promises < 2; promises++) {
        dl_case *c = dl_begin(dl_serve_well, SIZE);
        if (!promises) c->file.digest[0] = '\0';
        dl_expect_good(c);
        write_journal(c, 0);
        dl_quiet(c->server);
        if (promises) c->server->serve = serve_nobody;
        dl_expect_good(c);
        assert_int_equal(c->out.fetched_bytes, promises ? 0 : 17);
        dl_end(c);
    }
}

/* A range ends where a chunk is that need not be fetched. */
static void holes_are_filled_and_nothing_else_is_asked_for(void **state) {
    (void)state;
    for (int range = 1; range <= 8; range += 7) {
        dl_case *c = dl_begin(dl_serve_well, SIZE);
        c->options.range_chunks = range;
        dl_expect_good(c);
        write_journal(c, 6); /* 0, 6, ... 36 are missing */
        dl_quiet(c->server);
        int n_before = c->server->n_requests;
        dl_expect_good(c);
        assert_int_equal(c->out.fetched_bytes, 7 * DL_CHUNK);
        assert_int_equal(c->server->n_requests - n_before, 7);
        dl_end(c);
    }
}

/* ---- killed ------------------------------------------------------------------------------------------------------ */

/* What a process may have received in vain is one interval: all that was begun in memory and is not in the journal. What the
 * server sent beyond it lies in the buffers of its sockets: at most the range that each connection was asked for. */
enum {
    MAX_FILES = 160,
    N_KILLS = 200,
    KILL_CHUNK = 1024,
    KILL_RANGE_CHUNKS = 8,
    FILE_BYTES = 2400 * KILL_CHUNK + 100,
    INTERVAL_BYTES = TT_DOWNLOAD_INTERVAL_CHUNKS * KILL_CHUNK,
    IN_SOCKETS_BYTES = TT_DOWNLOAD_CONNECTIONS * KILL_RANGE_CHUNKS * KILL_CHUNK,
};

static void kill_options(dl_case *c) {
    dl_options(c);
    c->options.chunk_bytes = KILL_CHUNK;
    c->options.range_chunks = KILL_RANGE_CHUNKS;
}

/* The child: "PORT FOLDER DIGEST SIZE". */
static int be_child(char **args) {
    static dl_case c;
    c.services = (tt_source_services){.allow_private = true};
    snprintf(c.file.url, sizeof c.file.url, "http://127.0.0.1:%s/file", args[1]);
    snprintf(c.part, sizeof c.part, "%s/part", args[2]);
    snprintf(c.journal, sizeof c.journal, "%s/part.j", args[2]);
    kill_options(&c);
    snprintf(c.file.digest, sizeof c.file.digest, "%s", args[3]);
    c.file.size = strtoull(args[4], NULL, 10);
    c.file.size_is_exact = true;
    return dl_fetch(&c) == TT_OK ? 0 : 1;
}

static pid_t start_child(const dl_case *c) {
    char port[20], size[30];
    pid_t pid;
    snprintf(port, sizeof port, "%d", c->server->port);
    snprintf(size, sizeof size, "%zu", c->server->size);
    const char *const args[] = {"child", port, c->folder, c->file.digest, size, NULL};
    assert_int_equal(
        posix_spawn(&pid, "/proc/self/exe", NULL, NULL, (char *const *)(uintptr_t)args, environ),
        0);
    return pid;
}

/* Runs until it ends or was killed after so many more bytes; true when it ended. */
static bool run_child(dl_case *c, unsigned long long n_bytes) {
    int status;
    dl_server *s = c->server;
    atomic_store(&s->kill_at, 0);
    pid_t pid = start_child(c);
    atomic_store(&s->victim, pid);
    atomic_store(&s->kill_at, atomic_load(&s->sent) + n_bytes);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    atomic_store(&s->victim, 0);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

/* Bytes that the journal beside the part says are there. */
static unsigned long long n_covered(const dl_case *c) {
    static tt__journal j;
    unsigned long long n = 0;
    if (!tt__journal_read(c->journal, &j)) return 0;
    for (uint64_t i = 0; i < tt__journal_n_chunks(&j); i++)
        if (tt__journal_has(&j, i)) n += i + 1 < tt__journal_n_chunks(&j) ? KILL_CHUNK : 100;
    return n;
}

/* The server's threads have noticed the death when its count no longer moves: their connections are ended. */
static int kill_until_it_ends(dl_case *c, uint64_t *random, unsigned long long *most_lost) {
    int n_kills = 0;
    unsigned long long covered = 0;
    for (;; n_kills++) {
        unsigned long long sent = c->server->sent;
        if (run_child(c, dl_random(random) % (4 * (unsigned long long)INTERVAL_BYTES))) break;
        dl_quiet(c->server);
        sent = c->server->sent - sent;
        unsigned long long gained = n_covered(c) - covered, lost = sent - gained;
        covered += gained;
        if (lost > *most_lost) *most_lost = lost;
        if (gained <= sent && lost <= INTERVAL_BYTES + IN_SOCKETS_BYTES) continue;
        fail_msg("kill %d: %llu bytes were sent and %llu are in the journal: more than %d lost",
                 n_kills, sent, gained, INTERVAL_BYTES + IN_SOCKETS_BYTES);
    }
    dl_expect_file(c);
    assert_int_not_equal(access(c->journal, F_OK), 0);
    return n_kills;
}

static void a_process_killed_at_any_moment_loses_one_interval_at_most(void **state) {
    (void)state;
    uint64_t random = 42;
    int n_kills = 0, n_files = 0;
    unsigned long long sent = 0, size = 0, most_lost = 0;
    for (; n_kills < N_KILLS; n_files++) {
        dl_case *c = dl_begin(dl_serve_well, FILE_BYTES);
        n_kills += kill_until_it_ends(c, &random, &most_lost);
        sent += c->server->sent;
        size += c->server->size;
        dl_end(c);
        assert_true(n_files < MAX_FILES);
    }
    print_message(
        "%d kills, %d files: sent %.2f times their size, at most %llu bytes in vain by one "
        "kill (one interval: %d)\n",
        n_kills, n_files, (double)sent / (double)size, most_lost, INTERVAL_BYTES);
}

int main(int n, char **args) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_missing_is_fetched),
        cmocka_unit_test(without_a_digest_a_strong_etag_decides),
        cmocka_unit_test(without_digest_and_etag_nothing_is_resumed),
        cmocka_unit_test(a_part_that_does_not_fit_is_not_taken_up),
        cmocka_unit_test(a_part_that_lies_is_found_out),
        cmocka_unit_test(a_whole_part_needs_little_network),
        cmocka_unit_test(holes_are_filled_and_nothing_else_is_asked_for),
        cmocka_unit_test(a_process_killed_at_any_moment_loses_one_interval_at_most),
    };
    return n == 5 ? be_child(args) : cmocka_run_group_tests(tests, NULL, NULL);
}
