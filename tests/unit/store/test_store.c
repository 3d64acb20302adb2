/* The store as its users meet it, against a server of raw sockets: what is fetched, shared, kept, refused and forgotten. What
 * lies in the folder afterwards is compared with the server's own bytes. */
#include "unit/store/download_server.h"
#include "unit/store/library_case.h"

#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/store.h"

/* ThreadSanitizer knows nothing of children that start threads of their own. */
#if defined __SANITIZE_THREAD__
#define TT_THREADS_ARE_WATCHED
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define TT_THREADS_ARE_WATCHED
#endif
#endif

typedef struct st_case {
    lb_case *lb;
    dl_server *server;
    tt_store_options options;
    tt_store *s;
    char digest[TT_DIGEST_HEX + 1], url[200], pinned[400];
    atomic_bool stop;
} st_case;

enum { SIZE = 300 * 1000 };

/* A true safetensors file: one tensor of noise. */
static void make_model(dl_server *server) {
    char header[128];
    size_t head = 8 + 96;
    int n = snprintf(header, sizeof header,
                     "{\"w\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}",
                     server->size - head, server->size - head);
    memset(header + n, ' ', (size_t)(96 - n));
    memset(server->bytes, 0, 8);
    server->bytes[0] = 96;
    memcpy(server->bytes + 8, header, 96);
}

static void open_store(st_case *c) {
    tt_err err;
    if (tt_store_open(&c->options, &c->s, &err) != TT_OK) fail_msg("%s", err.message);
}

/* The bytes as they are now. */
static void promise(st_case *c) {
    dl_digest(c->server, c->digest);
    snprintf(c->pinned, sizeof c->pinned, "%s#sha256=%s", c->url, c->digest);
}

static st_case *begin_with(dl_serve_fn serve, size_t size) {
    st_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->lb = lb_begin();
    c->server = dl_start(serve, size, size);
    make_model(c->server);
    snprintf(c->url, sizeof c->url, "http://127.0.0.1:%d/models/toy.safetensors", c->server->port);
    promise(c);
    c->options = (tt_store_options){.library = {.root = c->lb->root},
                                    .services = {.allow_private = true,
                                                 .user_agent = "tests/1",
                                                 .time_divisor = 100,
                                                 .stop = &c->stop},
                                    .reserve_bytes = 1};
    open_store(c);
    return c;
}

static st_case *begin(void) {
    return begin_with(dl_serve_well, SIZE);
}

static void end(st_case *c) {
    tt_store_close(c->s);
    assert_int_equal(lb_count(c->lb, "v1/leases"), 0);
    assert_int_equal(lb_count(c->lb, "v1/locks"), 0);
    dl_stop(c->server);
    lb_end(c->lb);
    free(c);
}

/* Other bytes from now on, once every answer has been given. */
static void change(st_case *c, size_t at) {
    while (atomic_load(&c->server->n_open) > 0) usleep(1000);
    c->server->bytes[at] ^= 1;
}

static tt_status fetch(st_case *c, const char *reference, tt_store_model *m, tt_fetch_error *e) {
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA};
    return tt_store_fetch(c->s, reference, &options, m, e);
}

static void expect_bytes(const st_case *c, const char *path) {
    struct stat st;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    assert_int_equal(st.st_size, c->server->size);
    unsigned char *bytes = malloc(c->server->size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, c->server->size, f), c->server->size);
    assert_memory_equal(bytes, c->server->bytes, c->server->size);
    free(bytes);
    fclose(f);
}

static void expect_fetched(st_case *c, const char *reference, bool was_here) {
    tt_store_model m;
    tt_fetch_error e;
    if (fetch(c, reference, &m, &e) != TT_OK)
        fail_msg("%s: %s", tt_fetch_class_name(e.class_), e.err.message);
    assert_int_equal(m.was_here, was_here);
    assert_string_equal(m.entry.digest, c->digest);
    expect_bytes(c, m.entry.path);
    tt_store_release(c->s, &m);
}

static void expect_failure(st_case *c, const char *reference, tt_fetch_class class_,
                           const char *part) {
    tt_store_model m;
    tt_fetch_error e;
    if (fetch(c, reference, &m, &e) == TT_OK || e.class_ != class_)
        fail_msg("expected %s, found %s: %s", tt_fetch_class_name(class_),
                 tt_fetch_class_name(e.class_), e.err.message);
    if (!strstr(e.err.message, part))
        fail_msg("\"%s\" says nothing of \"%s\"", e.err.message, part);
    assert_null(m.lease);
}

/* ---- good -------------------------------------------------------------------------------------------------------- */

static void a_pinned_url_is_fetched_once(void **state) {
    (void)state;
    st_case *c = begin();
    expect_fetched(c, c->pinned, false);
    int n = c->server->n_requests;
    expect_fetched(c, c->pinned, true);
    assert_int_equal(c->server->n_requests, n);
    tt_store_counts counts = tt_store_get_counts(c->s);
    assert_int_equal(counts.fetched, 1);
    assert_int_equal(counts.found, 1);
    assert_true(counts.bytes >= SIZE);
    assert_int_equal(lb_count(c->lb, "v1/tmp"), 0);
    end(c);
}

static void what_is_leased_is_not_evicted(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_model m;
    tt_fetch_error e;
    tt_library_sweep sweep;
    tt_err err;
    assert_int_equal(fetch(c, c->pinned, &m, &e), TT_OK);
    struct statvfs fs;
    assert_int_equal(statvfs(c->lb->root, &fs), 0);
    uint64_t more_than_there_is = (uint64_t)fs.f_blocks * fs.f_frsize;
    assert_int_equal(tt_library_gc(tt_store_library(c->s), more_than_there_is, true, &sweep, &err),
                     TT_OK);
    assert_int_equal(sweep.n_evicted, 0);
    tt_store_release(c->s, &m);
    end(c);
}

static void an_alias_is_remembered(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_model m;
    tt_fetch_error e;
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA, .alias = "toy"};
    assert_int_equal(tt_store_fetch(c->s, c->pinned, &options, &m, &e), TT_OK);
    tt_store_release(c->s, &m);
    expect_fetched(c, "toy", true);
    options.alias = "12345"; /* would mean a version of CivitAI's */
    assert_int_not_equal(tt_store_fetch(c->s, c->pinned, &options, &m, &e), TT_OK);
    assert_int_equal(e.class_, TT_FETCH_REFERENCE);
    end(c);
}

static void the_same_bytes_are_not_fetched_under_another_name(void **state) {
    (void)state;
    st_case *c = begin();
    char other[400], digest[100];
    expect_fetched(c, c->pinned, false);
    unsigned long long sent = c->server->sent;
    snprintf(other, sizeof other, "http://127.0.0.1:%d/other.safetensors#sha256=%s",
             c->server->port, c->digest);
    expect_fetched(c, other, true);
    snprintf(digest, sizeof digest, "sha256:%s", c->digest);
    expect_fetched(c, digest, true);
    assert_int_equal(c->server->sent, sent);
    assert_int_equal(lb_count(c->lb, "v1/names"), 2);
    end(c);
}

static void a_file_is_served_where_it_lies(void **state) {
    (void)state;
    st_case *c = begin();
    char path[4096];
    tt_store_model m;
    tt_fetch_error e;
    lb_path(c->lb, path, "by hand.safetensors");
    lb_write(path, "anything");
    assert_int_equal(fetch(c, path, &m, &e), TT_OK);
    assert_string_equal(m.entry.path, path);
    assert_true(m.was_here && m.entry.is_read_only && !m.lease);
    tt_store_release(c->s, &m);
    expect_failure(c, "/nowhere/at all.safetensors", TT_FETCH_GONE, "no such file");
    end(c);
}

/* A time that is not ours says that somebody was there: hashed once, believed again or fetched anew. */
static void touched_bytes_are_hashed_once(void **state) {
    (void)state;
    st_case *c = begin();
    char path[4096];
    expect_fetched(c, c->pinned, false);
    lb_blob_path(c->lb, c->digest, path);
    lb_age(path, 100);
    unsigned long long sent = c->server->sent;
    expect_fetched(c, c->pinned, true);
    assert_int_equal(c->server->sent, sent);
    assert_int_equal(chmod(path, 0644), 0);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fputc('x', f), 'x');
    fclose(f);
    lb_age(path, 50);
    expect_fetched(c, c->pinned, false);
    assert_int_equal(lb_count(c->lb, "v1/trash"), 1);
    end(c);
}

/* ---- what is promised -------------------------------------------------------------------------------------------- */

static void a_url_without_a_digest_needs_a_pin(void **state) {
    (void)state;
    st_case *c = begin();
    expect_failure(c, c->url, TT_FETCH_REFERENCE, "#sha256=");
    assert_int_equal(lb_count(c->lb, "v1/names"), 0);
    end(c);
}

static void a_first_word_that_was_trusted_binds(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_model m;
    tt_fetch_error e;
    c->options.trust_first_use = true;
    tt_store_close(c->s);
    open_store(c);
    assert_int_equal(fetch(c, c->url, &m, &e), TT_OK);
    assert_string_equal(m.entry.digest, c->digest);
    unlink(m.entry.path);
    tt_store_release(c->s, &m);
    expect_fetched(c, c->url, false); /* the same again */
    assert_int_equal(fetch(c, c->url, &m, &e), TT_OK);
    unlink(m.entry.path);
    tt_store_release(c->s, &m);
    change(c, c->server->size - 1);
    expect_failure(c, c->url, TT_FETCH_DIGEST, "expected the SHA-256");
    end(c);
}

static void wrong_bytes_never_get_a_name(void **state) {
    (void)state;
    st_case *c = begin();
    change(c, 200);
    expect_failure(c, c->pinned, TT_FETCH_DIGEST, "expected the SHA-256");
    assert_int_equal(lb_count(c->lb, "v1/names"), 0);
    assert_int_equal(lb_count(c->lb, "v1/blobs/sha256"), 0);
    assert_int_equal(lb_count(c->lb, "v1/tmp"), 0);
    end(c);
}

static void broken_structure_is_refused_and_remembered(void **state) {
    (void)state;
    st_case *c = begin();
    memcpy(c->server->bytes + 8, "{\"w\":{\"dtype\":\"U7\"", 18);
    promise(c);
    expect_failure(c, c->pinned, TT_FETCH_FORMAT, "toy");
    assert_int_equal(lb_count(c->lb, "v1/blobs/sha256"), 0);
    assert_int_equal(lb_count(c->lb, "v1/tmp"), 0);
    int n = c->server->n_requests;
    expect_failure(c, c->pinned, TT_FETCH_FORMAT, "toy"); /* without asking */
    assert_int_equal(c->server->n_requests, n);
    end(c);
}

static bool serve_nothing(dl_server *s, int fd, const dl_request *r) {
    (void)s, (void)r;
    return dl_status(fd, "404 Not Found", "");
}

static void what_is_gone_is_asked_for_once(void **state) {
    (void)state;
    st_case *c = begin_with(serve_nothing, SIZE);
    expect_failure(c, c->pinned, TT_FETCH_GONE, "");
    int n = c->server->n_requests;
    expect_failure(c, c->pinned, TT_FETCH_GONE, "");
    assert_int_equal(c->server->n_requests, n);
    tt_store_counts counts = tt_store_get_counts(c->s);
    assert_int_equal(counts.failed[TT_FETCH_GONE], 2);
    end(c);
}

/* ---- policy ------------------------------------------------------------------------------------------------------ */

static void offline_serves_what_is_here(void **state) {
    (void)state;
    st_case *c = begin();
    char other[400];
    expect_fetched(c, c->pinned, false);
    tt_store_close(c->s);
    c->options.is_offline = true;
    open_store(c);
    expect_fetched(c, c->pinned, true);
    snprintf(other, sizeof other, "http://127.0.0.1:%d/other", c->server->port);
    expect_failure(c, other, TT_FETCH_OFFLINE, "nothing may be fetched");
    end(c);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    st_case *c = begin();
    expect_failure(c, "", TT_FETCH_REFERENCE, "empty");
    expect_failure(c, "ftp://x/y", TT_FETCH_REFERENCE, "");
    expect_failure(c, "unknown", TT_FETCH_GONE, "no model of this name");
    end(c);
}

static void a_root_that_cannot_be_written_says_so(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store *own = c->s;
    const char *shipped[] = {c->lb->root};
    expect_fetched(c, c->pinned, false);
    c->options.library.root = "/proc/nowhere";
    c->options.library.read_only = shipped;
    c->options.library.n_read_only = 1;
    open_store(c);
    expect_fetched(c, c->pinned, true);
    expect_failure(c, "http://127.0.0.1:9/other", TT_FETCH_DISK, "/proc/nowhere");
    tt_store_close(c->s);
    c->s = own;
    end(c);
}

static void more_than_may_be_kept_is_refused_before_the_first_byte(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_close(c->s);
    c->options.library.max_bytes = SIZE - 1;
    open_store(c);
    expect_failure(c, c->pinned, TT_FETCH_DISK, "may take");
    end(c);
}

static void the_least_used_makes_room(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_close(c->s);
    c->options.library.max_bytes = SIZE + SIZE / 2;
    open_store(c);
    expect_fetched(c, c->pinned, false);
    tt_store_close(c->s); /* its lease goes */
    open_store(c);
    change(c, c->server->size - 1);
    promise(c);
    expect_fetched(c, c->pinned, false);
    tt_store_counts counts = tt_store_get_counts(c->s);
    assert_int_equal(counts.evicted, 1);
    assert_int_equal(counts.evicted_bytes, SIZE);
    end(c);
}

static void what_the_disk_spoilt_is_taken_away_and_fetched_again(void **state) {
    (void)state;
    st_case *c = begin();
    struct stat st;
    char path[4096];
    expect_fetched(c, c->pinned, false);
    assert_false(tt_store_is_spoilt(c->s, c->digest));
    lb_blob_path(c->lb, c->digest, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(chmod(path, 0644), 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && pwrite(fd, "?", 1, st.st_size / 2) == 1);
    const struct timespec times[2] = {st.st_atim, st.st_mtim}; /* nothing tells but the bytes */
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    assert_true(tt_store_is_spoilt(c->s, c->digest));
    assert_false(tt_store_is_spoilt(c->s, c->digest));
    expect_fetched(c, c->pinned, false);
    end(c);
}

/* A lease is kept for a while after its last use, so that the next finds it. Who needs the room does not wait for that. */
static void what_nobody_uses_any_more_makes_room_at_once(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_model m;
    tt_fetch_error e;
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA};
    tt_store_close(c->s);
    c->options.library.max_bytes = SIZE + SIZE / 2;
    open_store(c);
    assert_int_equal(tt_store_fetch(c->s, c->pinned, &options, &m, &e), TT_OK);
    change(c, c->server->size - 1);
    promise(c);
    tt_store_model none;
    assert_int_not_equal(tt_store_fetch(c->s, c->pinned, &options, &none, &e), TT_OK);
    assert_int_equal(e.class_, TT_FETCH_DISK);
    tt_store_release(c->s, &m);
    expect_fetched(c, c->pinned, false);
    assert_int_equal(tt_store_get_counts(c->s).evicted, 1);
    end(c);
}

/* ---- sharing ----------------------------------------------------------------------------------------------------- */

typedef struct st_caller {
    st_case *c;
    pthread_t thread;
    atomic_int n_told;
    int cancel_at; /* 0: never */
    int64_t deadline_ms;
    tt_status status;
    tt_fetch_error error;
    tt_store_model model;
} st_caller;

static bool on_progress(void *context, const tt_store_progress *p) {
    st_caller *caller = context;
    assert_true(p->phase < TT_PHASES && p->name);
    int n = atomic_fetch_add(&caller->n_told, 1) + 1;
    return caller->cancel_at == 0 || n < caller->cancel_at;
}

static void *call(void *context) {
    st_caller *caller = context;
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA,
                                      .deadline_ms = caller->deadline_ms,
                                      .progress = on_progress,
                                      .progress_context = caller};
    caller->status =
        tt_store_fetch(caller->c->s, caller->c->pinned, &options, &caller->model, &caller->error);
    return NULL;
}

static void start(st_case *c, st_caller *callers, int n) {
    for (int i = 0; i < n; i++) {
        callers[i].c = c;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
}

static void join(st_caller *callers, int n) {
    for (int i = 0; i < n; i++) assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
}

/* Holds every answer's body until the test lets go. */
static bool serve_when_told(dl_server *s, int fd, const dl_request *r) {
    while (!atomic_load(&s->flag)) usleep(1000);
    return dl_serve_well(s, fd, r);
}

static void await_told(st_caller *callers, int n, int times) {
    for (int i = 0; i < n; i++)
        while (atomic_load(&callers[i].n_told) < times) usleep(1000);
}

static void callers_at_once_share_one_download(void **state) {
    (void)state;
    enum { N = 8 };
    st_case *c = begin_with(serve_when_told, SIZE);
    st_caller callers[N] = {{0}};
    start(c, callers, N);
    await_told(callers, N, 3); /* each is told, again and again, while all wait */
    atomic_store(&c->server->flag, true);
    join(callers, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(callers[i].status, TT_OK);
        expect_bytes(c, callers[i].model.entry.path);
        tt_store_release(c->s, &callers[i].model);
    }
    tt_store_counts counts = tt_store_get_counts(c->s);
    assert_int_equal(counts.fetched, 1);
    assert_int_equal(counts.shared, N - 1);
    assert_true(counts.bytes < 2 * SIZE);
    end(c);
}

static void one_who_cancels_does_not_stop_the_others(void **state) {
    (void)state;
    enum { N = 3 };
    st_case *c = begin_with(serve_when_told, SIZE);
    st_caller callers[N] = {{.cancel_at = 3}, {0}, {.deadline_ms = 400}};
    start(c, callers, N);
    pthread_join(callers[0].thread, NULL);
    pthread_join(callers[2].thread, NULL);
    assert_int_equal(callers[0].status, TT_E_CANCELLED);
    assert_int_equal(callers[2].error.class_, TT_FETCH_DEADLINE);
    atomic_store(&c->server->flag, true);
    pthread_join(callers[1].thread, NULL);
    assert_int_equal(callers[1].status, TT_OK);
    expect_bytes(c, callers[1].model.entry.path);
    tt_store_release(c->s, &callers[1].model);
    end(c);
}

static bool serve_first_half(dl_server *s, int fd, const dl_request *r) {
    if (atomic_load(&s->flag)) return dl_serve_well(s, fd, r);
    if (!dl_head_206(s, fd, r->first, dl_last(s, r))) return false;
    if (!dl_body(s, fd, r->first, (dl_last(s, r) - r->first) / 2)) return false;
    while (!atomic_load(&s->flag)) usleep(1000);
    return false;
}

static void when_all_leave_the_fetch_ends_and_another_may_come(void **state) {
    (void)state;
    st_case *c = begin_with(serve_first_half, SIZE);
    st_caller callers[2] = {{.cancel_at = 3}, {.cancel_at = 4}};
    start(c, callers, 2);
    join(callers, 2);
    assert_int_equal(callers[0].status, TT_E_CANCELLED);
    assert_int_equal(callers[1].status, TT_E_CANCELLED);
    atomic_store(&c->server->flag, true);
    expect_fetched(c, c->pinned, false);
    end(c);
}

static void stopping_ends_every_wait(void **state) {
    (void)state;
    st_case *c = begin_with(serve_first_half, SIZE);
    st_caller callers[2] = {{0}, {0}};
    start(c, callers, 2);
    await_told(callers, 2, 2);
    atomic_store(&c->stop, true);
    join(callers, 2);
    assert_int_equal(callers[0].error.class_, TT_FETCH_CANCELLED);
    assert_int_equal(callers[1].error.class_, TT_FETCH_CANCELLED);
    atomic_store(&c->server->flag, true);
    end(c);
}

/* ---- speed ------------------------------------------------------------------------------------------------------- */

/* Printed, not judged: a lookup that costs a millisecond is one that somebody will notice in the numbers. */
static void a_warm_lookup_is_timed(void **state) {
    (void)state;
    enum { N = 500 };
    st_case *c = begin();
    char digest[100];
    expect_fetched(c, c->pinned, false);
    snprintf(digest, sizeof digest, "sha256:%s", c->digest);
    const char *const references[] = {c->pinned, digest};
    for (int i = 0; i < 2; i++) {
        int64_t begun = tt_clock_us();
        for (int n = 0; n < N; n++) {
            tt_store_model m;
            assert_int_equal(fetch(c, references[i], &m, NULL), TT_OK);
            tt_store_release(c->s, &m);
        }
        print_message("a warm lookup by %s: %lld us\n", i ? "digest" : "name",
                      (long long)(tt_clock_us() - begun) / N);
    }
    end(c);
}

/* ---- several processes ------------------------------------------------------------------------------------------- */

#ifndef TT_THREADS_ARE_WATCHED
/* Every file under blobs/ is whole and right at every moment it is seen. */
static void watch_once(st_case *c) {
    char path[4096];
    lb_blob_path(c->lb, c->digest, path);
    if (access(path, F_OK) == 0) expect_bytes(c, path);
}

static void child_fetches(st_case *c) {
    tt_store *s;
    tt_store_model m;
    enum { PATIENT_MS = 30 * 60 * 1000 };
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA, .deadline_ms = PATIENT_MS};
    bool is_good = tt_store_open(&c->options, &s, NULL) == TT_OK &&
                   tt_store_fetch(s, c->pinned, &options, &m, NULL) == TT_OK;
    if (is_good) {
        tt_store_release(s, &m);
        tt_store_close(s);
    }
    _exit(is_good ? 0 : 1);
}

/* 32 MiB, or what TT_STORE_RACE_MB says: a release build can afford more. */
static unsigned long long race(bool no_locks) {
    enum { N = 4, USUAL_MB = 32 };
    const char *mb = getenv("TT_STORE_RACE_MB");
    size_t size = (size_t)(mb ? strtol(mb, NULL, 10) : USUAL_MB) << 20;
    st_case *c = begin_with(dl_serve_well, size);
    pid_t children[N];
    c->options.library.no_locks = no_locks;
    for (int i = 0; i < N; i++)
        if ((children[i] = fork()) == 0) child_fetches(c);
    for (int n_left = N; n_left > 0;) {
        int status;
        watch_once(c);
        if (waitpid(-1, &status, WNOHANG) <= 0) continue;
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        n_left--;
    }
    watch_once(c);
    char folder[64];
    snprintf(folder, sizeof folder, "v1/blobs/sha256/%.2s", c->digest);
    assert_int_equal(lb_count(c->lb, folder), 2);
    assert_int_equal(lb_count(c->lb, "v1/tmp"), 0);
    expect_fetched(c, c->pinned, true);
    unsigned long long sent = c->server->sent / size;
    end(c);
    return sent;
}

static void four_processes_with_locks_fetch_it_once(void **state) {
    (void)state;
    assert_int_equal(race(false), 1);
}

static void four_processes_without_locks_still_get_it_right(void **state) {
    (void)state;
    assert_true(race(true) >= 1);
}

static void forget(st_case *c) {
    char path[4096];
    uint64_t freed;
    tt_reference r = lb_ref(c->pinned);
    tt_library_remove(tt_store_library(c->s), &r, &freed, NULL);
    lb_blob_path(c->lb, c->digest, path);
    unlink(path);
}

/* A process that is killed at any moment leaves nothing that is wrong, and the next one finishes its work. */
static void killed_at_any_moment_nothing_wrong_is_left(void **state) {
    (void)state;
    enum { N = 40, BIG = 3 << 20 };
    st_case *c = begin_with(dl_serve_well, BIG);
    int64_t whole_us = 0;
    for (int i = 0; i < N; i++) {
        int64_t begun = tt_clock_us();
        pid_t child = fork();
        if (child == 0) child_fetches(c);
        if (i > 0) usleep((useconds_t)(whole_us * i / N));
        if (i > 0) kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (i == 0) whole_us = tt_clock_us() - begun;
        watch_once(c);
        tt_reference r = lb_ref(c->pinned);
        tt_library_entry e;
        if (tt_library_find(tt_store_library(c->s), &r, &e, NULL) == TT_OK) expect_bytes(c, e.path);
        if (i % 2 == 0) forget(c); /* from nothing, and from whatever it left */
    }
    forget(c);
    expect_fetched(c, c->pinned, false);
    tt_store_close(c->s);
    char locks[4096];
    lb_path(c->lb, locks, "v1/leases"); /* of the killed: they count for five minutes */
    temp_tree_remove(locks);
    lb_path(c->lb, locks, "v1/locks");
    temp_tree_remove(locks);
    open_store(c);
    end(c);
}
#endif

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* The store's threads touch leases only, every few seconds: what fails here is the caller's. */
static void every_allocation_of_a_lookup_may_fail(void **state) {
    (void)state;
    enum { MOST = 200, ENOUGH = 5 };
    st_case *c = begin();
    bool has_worked = false;
    expect_fetched(c, c->pinned, false);
    for (int n = 0; n < MOST && !has_worked; n++) {
        tt_store_model m;
        tt_fetch_error e;
        tt_store *s = NULL;
        c->options.is_offline = true;
        tt_alloc_fail_after(n);
        bool is_open = tt_store_open(&c->options, &s, NULL) == TT_OK;
        tt_store_fetch_options options = {.kind = TT_MODEL_LORA};
        bool is_fine = is_open && tt_store_fetch(s, c->pinned, &options, &m, &e) == TT_OK;
        tt_alloc_fail_after(-1);
        if (is_fine) expect_bytes(c, m.entry.path);
        if (is_fine) tt_store_release(s, &m);
        tt_store_close(s);
        has_worked = is_fine && n > ENOUGH;
    }
    assert_true(has_worked);
    end(c);
}

/* ---- disks ------------------------------------------------------------------------------------------------------- */

static void a_full_disk_is_told_and_heals(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_close(c->s);
    char path[4096];
    lb_path(c->lb, path, "small");
    assert_int_equal(mkdir(path, 0755), 0);
    if (mount("tmpfs", path, "tmpfs", 0, "size=500k") != 0) {
        open_store(c);
        end(c);
        skip();
        return; /* for analysers */
    }
    c->options.library.root = path;
    open_store(c);
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA};
    tt_store_model m;
    tt_fetch_error e;
    assert_int_equal(tt_store_fetch(c->s, c->pinned, &options, &m, &e), TT_OK);
    change(c, c->server->size - 1);
    promise(c);
    tt_store_model second;
    assert_int_not_equal(tt_store_fetch(c->s, c->pinned, &options, &second, &e), TT_OK);
    assert_int_equal(e.class_, TT_FETCH_DISK); /* the first is in use */
    tt_store_release(c->s, &m);
    tt_store_close(c->s);
    open_store(c);
    assert_int_equal(tt_store_fetch(c->s, c->pinned, &options, &second, &e), TT_OK);
    tt_store_release(c->s, &second);
    assert_int_equal(tt_store_get_counts(c->s).evicted, 1);
    tt_store_close(c->s);
    assert_int_equal(umount(path), 0);
    c->options.library.root = c->lb->root;
    open_store(c);
    end(c);
}

/* In place of the system's, for this program. */
static atomic_int sync_errno; /* 0: works */

static int sync_by(int fd, long number) {
    int fails = atomic_load(&sync_errno);
    if (!fails) return (int)syscall(number, fd);
    errno = fails;
    return -1;
}

int fsync(int fd) {
    return sync_by(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return sync_by(fd, SYS_fdatasync);
}

/* Some FUSE file systems: there is nothing to wait for. An error of the disk is another thing. */
static void a_disk_that_cannot_sync_keeps_models(void **state) {
    (void)state;
    st_case *c = begin();
    tt_store_fetch_options options = {.kind = TT_MODEL_LORA};
    tt_store_model m;
    tt_fetch_error e;
    atomic_store(&sync_errno, EIO);
    assert_int_not_equal(tt_store_fetch(c->s, c->pinned, &options, &m, &e), TT_OK);
    assert_int_equal(e.class_, TT_FETCH_DISK);
    atomic_store(&sync_errno, EINVAL);
    expect_fetched(c, c->pinned, false);
    atomic_store(&sync_errno, 0);
    end(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pinned_url_is_fetched_once),
        cmocka_unit_test(what_is_leased_is_not_evicted),
        cmocka_unit_test(an_alias_is_remembered),
        cmocka_unit_test(the_same_bytes_are_not_fetched_under_another_name),
        cmocka_unit_test(a_file_is_served_where_it_lies),
        cmocka_unit_test(touched_bytes_are_hashed_once),
        cmocka_unit_test(a_url_without_a_digest_needs_a_pin),
        cmocka_unit_test(a_first_word_that_was_trusted_binds),
        cmocka_unit_test(wrong_bytes_never_get_a_name),
        cmocka_unit_test(broken_structure_is_refused_and_remembered),
        cmocka_unit_test(what_is_gone_is_asked_for_once),
        cmocka_unit_test(offline_serves_what_is_here),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_root_that_cannot_be_written_says_so),
        cmocka_unit_test(more_than_may_be_kept_is_refused_before_the_first_byte),
        cmocka_unit_test(the_least_used_makes_room),
        cmocka_unit_test(what_the_disk_spoilt_is_taken_away_and_fetched_again),
        cmocka_unit_test(what_nobody_uses_any_more_makes_room_at_once),
        cmocka_unit_test(callers_at_once_share_one_download),
        cmocka_unit_test(one_who_cancels_does_not_stop_the_others),
        cmocka_unit_test(when_all_leave_the_fetch_ends_and_another_may_come),
        cmocka_unit_test(stopping_ends_every_wait),
        cmocka_unit_test(a_warm_lookup_is_timed),
#ifndef TT_THREADS_ARE_WATCHED
        cmocka_unit_test(four_processes_with_locks_fetch_it_once),
        cmocka_unit_test(four_processes_without_locks_still_get_it_right),
        cmocka_unit_test(killed_at_any_moment_nothing_wrong_is_left),
#endif
        cmocka_unit_test(every_allocation_of_a_lookup_may_fail),
        cmocka_unit_test(a_full_disk_is_told_and_heals),
        cmocka_unit_test(a_disk_that_cannot_sync_keeps_models),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
