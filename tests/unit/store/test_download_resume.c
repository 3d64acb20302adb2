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

/* A part of other bytes: by the digest, the size, the chunks' size, or the journal's own checks. */
static void a_part_that_does_not_fit_is_not_taken_up(void **state) {
    (void)state;
    enum { OTHER_DIGEST, OTHER_SIZE, OTHER_CHUNKS, SHORT_PART, TORN_JOURNAL, ALIEN_JOURNAL, N };
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
            assert_int_equal(truncate(c->journal, 4000), 0);
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

/* The journal as it is when all chunks are in it, which a finished download removes: written here by the format's own
 * writer, beside the finished part. */
static void write_whole_journal(const dl_case *c) {
    tt__journal j = {.total = SIZE, .chunk_bytes = DL_CHUNK};
    assert_true(tt__identity_of(&c->file, c->server->etag, j.identity));
    for (uint64_t i = 0; i < tt__journal_n_chunks(&j); i++) tt__journal_add(&j, i);
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
        write_whole_journal(c);
        dl_quiet(c->server);
        if (promises) c->server->serve = serve_nobody;
        dl_expect_good(c);
        assert_int_equal(c->out.fetched_bytes, promises ? 0 : 17);
        dl_end(c);
    }
}

/* ---- killed ------------------------------------------------------------------------------------------------------ */

enum { MAX_FILES = 160, FILE_CHUNKS = 600, N_KILLS = 200, LOST_CHUNKS = 20 };

/* The child: "PORT FOLDER DIGEST SIZE". */
static int be_child(char **args) {
    static dl_case c;
    c.services = (tt_source_services){.allow_private = true};
    snprintf(c.file.url, sizeof c.file.url, "http://127.0.0.1:%s/file", args[1]);
    snprintf(c.part, sizeof c.part, "%s/part", args[2]);
    snprintf(c.journal, sizeof c.journal, "%s/part.j", args[2]);
    dl_options(&c);
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

/* Whatever was lost in memory or since the last journal is fetched again: never more than both together, and what was sent
 * but not received. */
static int kill_until_it_ends(dl_case *c, uint64_t *random) {
    int n_kills = 0;
    while (!run_child(c, dl_random(random) % (80 * DL_CHUNK))) n_kills++;
    dl_expect_file(c);
    assert_int_not_equal(access(c->journal, F_OK), 0);
    unsigned long long most =
        c->server->size + (unsigned long long)n_kills * LOST_CHUNKS * DL_CHUNK;
    if (c->server->sent > most)
        fail_msg("%d kills: sent %llu, expected at most %llu", n_kills, c->server->sent, most);
    return n_kills;
}

static void a_process_killed_at_any_moment_loses_little(void **state) {
    (void)state;
    uint64_t random = 42;
    int n_kills = 0, n_files = 0;
    unsigned long long sent = 0, size = 0;
    assert_int_equal(LOST_CHUNKS, TT_DOWNLOAD_JOURNAL_CHUNKS + TT_DOWNLOAD_WINDOW_CHUNKS);
    for (; n_kills < N_KILLS; n_files++) {
        dl_case *c = dl_begin(dl_serve_well, FILE_CHUNKS * DL_CHUNK + 100);
        n_kills += kill_until_it_ends(c, &random);
        sent += c->server->sent;
        size += c->server->size;
        dl_end(c);
        assert_true(n_files < MAX_FILES);
    }
    print_message("%d kills, %d files: sent %.2f times their size\n", n_kills, n_files,
                  (double)sent / (double)size);
}

int main(int n, char **args) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_missing_is_fetched),
        cmocka_unit_test(without_a_digest_a_strong_etag_decides),
        cmocka_unit_test(without_digest_and_etag_nothing_is_resumed),
        cmocka_unit_test(a_part_that_does_not_fit_is_not_taken_up),
        cmocka_unit_test(a_part_that_lies_is_found_out),
        cmocka_unit_test(a_whole_part_needs_little_network),
        cmocka_unit_test(a_process_killed_at_any_moment_loses_little),
    };
    return n == 5 ? be_child(args) : cmocka_run_group_tests(tests, NULL, NULL);
}
