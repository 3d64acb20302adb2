/* Locks, leases, downloads in progress, and what the garbage collection takes and leaves. Time is moved by changing files'
 * times and what the library remembers having seen, never by waiting. */
#include "unit/store/library_case.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "store/library_parts.h"

static tt_library_sweep sweep(lb_case *c, uint64_t need, bool is_rehearsal) {
    tt_library_sweep s;
    if (tt_library_gc(c->l, need, is_rehearsal, &s, &c->err) != TT_OK)
        fail_msg("%s", c->err.message);
    return s;
}

static void reopen(lb_case *c, uint64_t max_bytes) {
    tt_library_close(c->l);
    c->options.max_bytes = max_bytes;
    lb_open(c);
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static void a_lock_is_exclusive(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_lock *one, *two, *other;
    assert_true(tt_library_lock_try(c->l, "civitai:1", &one));
    assert_false(tt_library_lock_try(c->l, "civitai:1", &two));
    assert_null(two);
    assert_true(tt_library_lock_try(c->l, "civitai:2", &other));
    tt_library_lock_release(one);
    assert_true(tt_library_lock_try(c->l, "civitai:1", &two));
    tt_library_lock_release(two);
    tt_library_lock_release(other);
    tt_library_lock_release(NULL);
    tt_library_lock_beat(NULL);
    assert_int_equal(lb_count(c, "v1/locks"), 0);
    lb_end(c);
}

static void without_locks_everybody_may(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_lock *one, *two;
    tt_library_close(c->l);
    c->options.no_locks = true;
    lb_open(c);
    assert_true(tt_library_lock_try(c->l, "civitai:1", &one));
    assert_true(tt_library_lock_try(c->l, "civitai:1", &two));
    tt_library_lock_beat(one);
    tt_library_lock_release(one);
    tt_library_lock_release(two);
    lb_end(c);
}

/* As if a lock had been watched for so long. */
static void look_back(tt_library *l, int64_t ms) {
    for (int i = 0; i < TT__SEEN_LOCKS; i++) l->seen.locks[i].since_ms -= ms;
}

static void a_lock_whose_counter_stands_still_is_taken_over(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library *other;
    tt_library_lock *held, *taken;
    assert_int_equal(tt_library_open(&c->options, &other, &c->err), TT_OK);
    assert_true(tt_library_lock_try(c->l, "civitai:1", &held));
    assert_false(tt_library_lock_try(other, "civitai:1", &taken));
    look_back(other, TT__LOCK_STALE_MS - 5000);
    assert_false(tt_library_lock_try(other, "civitai:1", &taken));
    tt_library_lock_beat(held); /* and the minute begins again */
    look_back(other, TT__LOCK_STALE_MS - 5000);
    assert_false(tt_library_lock_try(other, "civitai:1", &taken));
    look_back(other, TT__LOCK_STALE_MS);
    assert_true(tt_library_lock_try(other, "civitai:1", &taken));
    assert_non_null(taken);
    tt_library_lock_beat(held);    /* not ours any more: changes nothing, */
    tt_library_lock_release(held); /* and takes nothing away */
    assert_false(tt_library_lock_try(c->l, "civitai:1", &held));
    tt_library_lock_release(taken);
    tt_library_close(other);
    lb_end(c);
}

static void the_lock_of_a_dead_process_is_taken_at_once(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_lock *lock;
    pid_t child = fork();
    if (child == 0) {
        tt_library *l;
        bool is_taken = tt_library_open(&c->options, &l, NULL) == TT_OK &&
                        tt_library_lock_try(l, "civitai:1", &lock) && lock;
        _exit(is_taken ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(lb_count(c, "v1/locks"), 1);
    assert_true(tt_library_lock_try(c->l, "civitai:1", &lock));
    assert_non_null(lock);
    tt_library_lock_release(lock);
    lb_end(c);
}

static void nonsense_in_a_lock_is_watched_like_any_other(void **state) {
    (void)state;
    char longer[300];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const char *const TEXTS[] = {
        "", "x", "0 0 0 0 0", "aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb 99999999999999999999 1 1", longer};
    lb_case *c = lb_begin();
    tt_library_lock *lock;
    char path[4096], key[80];
    lb_digest("civitai:1", 9, key);
    lb_path(c, path, "v1/locks/%s", key);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        lb_write(path, TEXTS[i]);
        assert_false(tt_library_lock_try(c->l, "civitai:1", &lock));
        look_back(c->l, TT__LOCK_STALE_MS);
        assert_true(tt_library_lock_try(c->l, "civitai:1", &lock));
        assert_non_null(lock);
        tt_library_lock_release(lock);
    }
    lb_end(c);
}

typedef struct contender {
    tt_library *l;
    atomic_int *n_inside, *n_taken;
    atomic_bool *is_broken;
} contender;

static void *contend(void *context) {
    contender *k = context;
    for (int i = 0; i < 200; i++) {
        tt_library_lock *lock;
        if (!tt_library_lock_try(k->l, "civitai:1", &lock)) continue;
        if (atomic_fetch_add(k->n_inside, 1) != 0) atomic_store(k->is_broken, true);
        tt_library_lock_beat(lock);
        atomic_fetch_add(k->n_taken, 1);
        atomic_fetch_sub(k->n_inside, 1);
        tt_library_lock_release(lock);
    }
    return NULL;
}

static void of_many_threads_one_has_it(void **state) {
    (void)state;
    enum { N = 4 };
    lb_case *c = lb_begin();
    pthread_t threads[N];
    atomic_int n_inside = 0, n_taken = 0;
    atomic_bool is_broken = false;
    contender k = {c->l, &n_inside, &n_taken, &is_broken};
    for (int i = 0; i < N; i++) assert_int_equal(pthread_create(&threads[i], NULL, contend, &k), 0);
    for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
    assert_false(is_broken);
    assert_true(n_taken > 0);
    lb_end(c);
}

static void *commit_much(void *context) {
    lb_case *c = context;
    for (int i = 0; i < 20; i++) {
        tt_library_entry e = lb_entry("civitai:1", "same"), found;
        tt_library_part part;
        tt_reference r = {.type = TT_REF_CIVITAI, .identity = "civitai:1"};
        tt_err err;
        if (tt_library_part_begin(c->l, e.identity, &part, &err) != TT_OK) return "no part";
        lb_write(part.part_path, "same");
        if (tt_library_commit(c->l, &part, &e, &err) != TT_OK) return "no commit";
        if (tt_library_find(c->l, &r, &found, &err) != TT_OK) return "not found";
        tt_library_touch(c->l, e.digest);
    }
    return NULL;
}

static void many_threads_may_commit_the_same(void **state) {
    (void)state;
    enum { N = 4 };
    lb_case *c = lb_begin();
    pthread_t threads[N];
    void *problem;
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, commit_much, c), 0);
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], &problem);
        if (problem) fail_msg("%s", (const char *)problem);
    }
    assert_int_equal(lb_count(c, "v1/names"), 1);
    assert_int_equal(lb_count(c, "v1/tmp"), 0);
    lb_end(c);
}

/* ---- dying ------------------------------------------------------------------------------------------------------- */

static void commit_and_remove_until_killed(lb_case *c) {
    tt_library *l;
    if (tt_library_open(&c->options, &l, NULL) != TT_OK) _exit(1);
    for (int i = 0;; i = (i + 1) % 4) {
        static const char *const TEXTS[] = {"bytes of one", "bytes of two"};
        char identity[32];
        snprintf(identity, sizeof identity, "civitai:%d", 1 + i % 2);
        tt_library_entry e = lb_entry(identity, TEXTS[i % 2]);
        tt_reference r = lb_ref(identity);
        tt_library_part part;
        uint64_t freed;
        if (tt_library_part_begin(l, identity, &part, NULL) != TT_OK) _exit(1);
        lb_write(part.part_path, TEXTS[i % 2]);
        if (tt_library_commit(l, &part, &e, NULL) != TT_OK) _exit(1);
        if (i == 3) tt_library_remove(l, &r, &freed, NULL);
    }
}

static bool is_right(void *context, const tt_library_entry *e) {
    char bytes[64], digest[80];
    FILE *f = fopen(e->path, "rb");
    (void)context;
    if (!f) fail_msg("%s: %s", e->path, strerror(errno));
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    lb_digest(bytes, n, digest);
    assert_string_equal(digest, e->digest);
    assert_int_equal(n, e->size);
    return true;
}

/* Whatever is seen afterwards, by whichever name, is what that name says. */
static void killed_in_a_commit_nothing_wrong_is_seen(void **state) {
    (void)state;
    enum { N = 100, LONGEST_US = 5000 };
    lb_case *c = lb_begin();
    uint32_t random = 1; /* the same moments in every run, as far as a process can have them */
    for (int i = 0; i < N; i++) {
        pid_t child = fork();
        if (child == 0) commit_and_remove_until_killed(c);
        random = random * 1664525u + 1013904223u;
        usleep(500 + (random >> 8) % LONGEST_US);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_int_equal(tt_library_list(c->l, is_right, NULL, &c->err), TT_OK);
        tt_library_verified v;
        assert_int_equal(tt_library_verify(c->l, NULL, NULL, NULL, &v, &c->err), TT_OK);
        assert_int_equal(v.n_bad, 0);
    }
    lb_put(c, "civitai:1", "bytes of one");
    lb_expect(c, "civitai:1", "bytes of one");
    lb_end(c);
}

/* Between its two steps, exactly: bytes that nothing is known about are hashed before they are believed. */
static void bytes_without_facts_are_hashed_before_they_are_believed(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char facts[4200], text[80];
    tt_library_entry e = lb_put(c, "civitai:1", "one"), found;
    snprintf(facts, sizeof facts, "%s.json", e.path);
    assert_int_equal(unlink(facts), 0);
    assert_int_equal(lb_find(c, "civitai:1", &found), TT_E_FORMAT);
    snprintf(text, sizeof text, "sha256:%s", e.digest);
    tt_reference r = lb_ref(text);
    tt_library_verified v;
    assert_int_equal(tt_library_verify(c->l, &r, NULL, NULL, &v, &c->err), TT_OK);
    lb_expect(c, "civitai:1", "one");
    assert_int_equal(unlink(facts), 0);
    lb_put(c, "civitai:1", "one"); /* or replaced by the next commit */
    lb_expect(c, "civitai:1", "one");
    lb_end(c);
}

/* ---- downloads in progress --------------------------------------------------------------------------------------- */

static void a_part_that_was_left_is_taken_over(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_part one, two, three;
    assert_int_equal(tt_library_part_begin(c->l, "civitai:1", &one, &c->err), TT_OK);
    assert_false(one.is_resumed);
    lb_write(one.part_path, "half");
    lb_write(one.journal_path, "journal");
    assert_int_equal(tt_library_part_begin(c->l, "civitai:1", &two, &c->err), TT_OK);
    assert_false(two.is_resumed); /* its process lives */
    tt_library_part_leave(c->l, &one);
    assert_int_equal(tt_library_part_begin(c->l, "civitai:2", &three, &c->err), TT_OK);
    assert_false(three.is_resumed); /* another model */
    assert_int_equal(tt_library_part_begin(c->l, "civitai:1", &three, &c->err), TT_OK);
    assert_true(three.is_resumed);
    assert_true(lb_is_there(three.part_path) && lb_is_there(three.journal_path));
    assert_false(lb_is_there(one.part_path));
    tt_library_part_drop(c->l, &three);
    assert_int_equal(lb_count(c, "v1/tmp"), 0);
    lb_end(c);
}

static void the_part_of_a_dead_process_is_taken_over(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_part part;
    pid_t child = fork();
    if (child == 0) {
        tt_library *l;
        if (tt_library_open(&c->options, &l, NULL) != TT_OK) _exit(1);
        if (tt_library_part_begin(l, "civitai:1", &part, NULL) != TT_OK) _exit(1);
        lb_write(part.part_path, "half");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    assert_int_equal(lb_count(c, "v1/tmp"), 1);
    assert_int_equal(tt_library_part_begin(c->l, "civitai:1", &part, &c->err), TT_OK);
    assert_true(part.is_resumed);
    lb_end(c);
}

/* On another machine nobody's death can be proved: its bytes are copied, and only once they lay still. */
static void the_part_of_another_machine_is_copied(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_part part;
    char path[4096], journal[4200], key[80], text[16] = "";
    struct stat before, after;
    lb_digest("civitai:1", 9, key);
    lb_path(c, path, "v1/tmp/%s.0123456789abcdef.77.88.fedcba9876543210.part", key);
    snprintf(journal, sizeof journal, "%s.j", path);
    lb_write(path, "half");
    lb_write(journal, "journal");
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(tt_library_part_begin(c->l, "civitai:1", &part, &c->err), TT_OK);
    assert_false(part.is_resumed);
    lb_age(path, 700);
    lb_age(journal, 700);
    int held = open(path, O_RDONLY); /* keeps its inode's number from being used again */
    assert_int_equal(tt_library_part_begin(c->l, "civitai:1", &part, &c->err), TT_OK);
    assert_true(part.is_resumed);
    assert_int_equal(stat(part.part_path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    FILE *f = fopen(part.part_path, "rb");
    assert_int_equal(fread(text, 1, 15, f), 4);
    fclose(f);
    close(held);
    assert_string_equal(text, "half");
    assert_true(lb_is_there(part.journal_path));
    assert_false(lb_is_there(path));
    lb_end(c);
}

/* ---- leases ------------------------------------------------------------------------------------------------------ */

static void lease_path(lb_case *c, char out[4096]) {
    char folder[4096];
    lb_path(c, folder, "v1/leases");
    DIR *d = opendir(folder);
    assert_non_null(d);
    out[0] = '\0';
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') snprintf(out, 4096, "%.3000s/%s", folder, e->d_name);
    closedir(d);
}

static void a_lease_counts_while_it_beats(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096];
    tt_library_lease *lease;
    tt_library_entry e = lb_put(c, "civitai:1", "one");
    reopen(c, 1); /* nothing fits */
    assert_int_equal(tt_library_lease_take(c->l, e.digest, &lease, &c->err), TT_OK);
    assert_int_equal(sweep(c, 0, false).n_evicted, 0);
    lease_path(c, path);
    lb_age(path, TT__LEASE_STALE_S + 10);
    tt_library_lease_beat(lease);
    assert_int_equal(sweep(c, 0, false).n_evicted, 0);
    lb_age(path, TT__LEASE_STALE_S + 10);
    assert_int_equal(sweep(c, 0, false).n_evicted, 1);
    assert_int_equal(lb_count(c, "v1/leases"), 0);
    tt_library_lease_beat(lease); /* a process that was frozen comes back */
    assert_int_equal(lb_count(c, "v1/leases"), 1);
    tt_library_lease_release(lease);
    tt_library_lease_beat(NULL);
    tt_library_lease_release(NULL);
    lb_end(c);
}

/* A crash must not hold what it used for the five minutes that a machine which cannot be asked would. */
static void the_lease_of_a_process_that_died_counts_no_more(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_lease *lease;
    tt_library_entry e = lb_put(c, "civitai:1", "one");
    reopen(c, 1);
    pid_t child = fork();
    if (child == 0) {
        bool is_taken = tt_library_lease_take(c->l, e.digest, &lease, NULL) == TT_OK;
        bool holds = is_taken && sweep(c, 0, false).n_evicted == 0;
        _exit(holds ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(lb_count(c, "v1/leases"), 1);
    assert_int_equal(sweep(c, 0, false).n_evicted, 1);
    assert_int_equal(lb_count(c, "v1/leases"), 0);
    lb_end(c);
}

/* The clock of who keeps the files was put back. Without this a dead one would hold for as long as the clock was wrong. */
static void a_lease_from_the_future_counts_when_it_beats_again(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096];
    tt_library_lease *lease;
    tt_library_entry e = lb_put(c, "civitai:1", "one");
    reopen(c, 1);
    assert_int_equal(tt_library_lease_take(c->l, e.digest, &lease, &c->err), TT_OK);
    lease_path(c, path);
    lb_age(path, -24 * 3600);
    tt_library_lease_beat(lease);
    assert_int_equal(sweep(c, 0, false).n_evicted, 0);
    lb_age(path, -24 * 3600);
    assert_int_equal(sweep(c, 0, false).n_evicted, 1);
    assert_int_equal(lb_count(c, "v1/leases"), 0);
    tt_library_lease_release(lease);
    lb_end(c);
}

static void use_is_written_down_now_and_then(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096];
    struct stat first, second;
    tt_library_entry e = lb_put(c, "civitai:1", "one"), found;
    lb_path(c, path, "v1/used/%s", e.digest);
    tt_library_touch(c->l, e.digest);
    lb_age(path, 100);
    assert_int_equal(stat(path, &first), 0);
    tt_library_touch(c->l, e.digest);
    assert_int_equal(stat(path, &second), 0);
    assert_int_equal(first.st_mtim.tv_sec, second.st_mtim.tv_sec);
    lb_age(path, TT__USED_GRAIN_S);
    tt_library_touch(c->l, e.digest);
    assert_int_equal(stat(path, &second), 0);
    assert_true(second.st_mtim.tv_sec >= first.st_mtim.tv_sec + 90);
    assert_int_equal(lb_find(c, "civitai:1", &found), TT_OK);
    assert_int_equal(found.used_s, second.st_mtim.tv_sec);
    tt_library_touch(c->l, "../../x"); /* no digest: nothing */
    lb_end(c);
}

/* ---- garbage ----------------------------------------------------------------------------------------------------- */

static void the_least_used_goes_first_and_pins_stay(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry pinned = lb_put(c, "civitai:1", "aaaa"), old = lb_put(c, "civitai:2", "bbbb"),
                     newer = lb_put(c, "civitai:3", "cccc");
    tt_library_entry rare = lb_entry("civitai:4", "dddd");
    rare.can_be_fetched_again = false;
    assert_int_equal(lb_try_put(c, &rare, "dddd"), TT_OK);
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_pin(c->l, &r, true, &c->err), TT_OK);
    lb_age_blob(c, pinned.digest, 4000);
    lb_age_blob(c, old.digest, 3000);
    lb_age_blob(c, newer.digest, 2000);
    tt_library_touch(c->l, old.digest); /* used now: goes last */
    char used[4096];
    lb_path(c, used, "v1/used/%s", old.digest);
    lb_age(used, 2500);
    reopen(c, 18);
    tt_library_sweep s = sweep(c, 4, true);
    assert_int_equal(s.n_evicted, 1);
    assert_int_equal(s.evicted_bytes, 4);
    assert_int_equal(s.kept_bytes, 12);
    lb_expect(c, "civitai:2", "bbbb"); /* only rehearsed */
    s = sweep(c, 4, false);
    assert_int_equal(s.n_evicted, 1);
    lb_expect_miss(c, "civitai:2");
    lb_expect(c, "civitai:3", "cccc");
    s = sweep(c, 18, false); /* all that can go */
    assert_int_equal(s.n_evicted, 1);
    assert_int_equal(s.kept_bytes, 8);
    lb_expect(c, "civitai:1", "aaaa");
    lb_expect(c, "civitai:4", "dddd");
    assert_int_equal(lb_count(c, "v1/trash"), 2);
    tt_library_entry recalled; /* what it was stays known */
    assert_int_equal(tt_library_recall(c->l, "civitai:2", &recalled, &c->err), TT_OK);
    lb_end(c);
}

static void trash_goes_after_ten_minutes(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096];
    tt_library_entry e = lb_put(c, "civitai:1", "one");
    reopen(c, 1);
    assert_int_equal(sweep(c, 0, false).n_evicted, 1);
    assert_int_equal(sweep(c, 0, false).n_evicted, 0);
    assert_int_equal(lb_count(c, "v1/trash"), 1);
    lb_path(c, path, "v1/trash/%s.%lld.0123456789abcdef", e.digest, (long long)time(NULL) - 700);
    lb_write(path, "older");
    sweep(c, 0, false);
    assert_int_equal(lb_count(c, "v1/trash"), 1);
    lb_end(c);
}

static void orphans_go_after_an_hour(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096], key[80];
    tt_library_entry e = lb_put(c, "civitai:1", "one");
    lb_digest("civitai:1", 9, key);
    lb_path(c, path, "v1/names/%s.json", key);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sweep(c, 0, false).n_orphans, 0);
    lb_age_blob(c, e.digest, TT__ORPHAN_GRACE_S + 10);
    assert_int_equal(sweep(c, 0, true).n_orphans, 1);
    assert_true(lb_is_there(e.path));
    tt_library_lease *lease;
    assert_int_equal(tt_library_lease_take(c->l, e.digest, &lease, &c->err), TT_OK);
    assert_int_equal(sweep(c, 0, false).n_orphans, 0);
    tt_library_lease_release(lease);
    assert_int_equal(sweep(c, 0, false).n_orphans, 1);
    assert_false(lb_is_there(e.path));
    lb_end(c);
}

static void left_overs_go_in_time(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char part[4096], fresh[4096], lock[4096], record[4096];
    lb_path(c, part, "v1/tmp/old.part");
    lb_path(c, fresh, "v1/tmp/new.part");
    lb_path(c, lock, "v1/locks/.dead.1");
    lb_path(c, record, "v1/names/damaged.json");
    lb_write(part, "x");
    lb_write(fresh, "x");
    lb_write(lock, "x");
    lb_write(record, "{");
    lb_age(part, TT__PART_GRACE_S + 10);
    lb_age(lock, TT__PART_GRACE_S + 10);
    lb_age(record, TT__NAME_GRACE_S + 10);
    tt_library_sweep s = sweep(c, 0, false);
    assert_int_equal(s.n_parts, 1);
    assert_int_equal(s.n_names, 1);
    assert_false(lb_is_there(part) || lb_is_there(lock) || lb_is_there(record));
    assert_true(lb_is_there(fresh));
    lb_end(c);
}

static void names_without_bytes_stay_for_a_season(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096], key[80];
    tt_library_entry e = lb_put(c, "civitai:1", "one");
    snprintf(e.alias, sizeof e.alias, "word");
    assert_int_equal(tt_library_name(c->l, &e, &c->err), TT_OK);
    assert_int_equal(unlink(e.path), 0);
    assert_int_equal(sweep(c, 0, false).n_names, 0);
    assert_int_equal(lb_count(c, "v1/names"), 2);
    lb_digest("civitai:1", 9, key);
    lb_path(c, path, "v1/names/%s.json", key);
    lb_age(path, TT__NAME_GRACE_S + 10);
    assert_int_equal(sweep(c, 0, false).n_names, 1);
    assert_int_equal(lb_count(c, "v1/names"), 0); /* its alias with it */
    lb_end(c);
}

static void one_collects_at_a_time(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char part[4096];
    tt_library_lock *lock;
    lb_path(c, part, "v1/tmp/old.part");
    lb_write(part, "x");
    lb_age(part, TT__PART_GRACE_S + 10);
    assert_true(tt_library_lock_try(c->l, "collecting garbage", &lock));
    assert_int_equal(sweep(c, 0, false).n_parts, 0);
    assert_int_equal(sweep(c, 1, false).n_parts, 0);
    tt_library_lock_release(lock);
    assert_int_equal(sweep(c, 0, false).n_parts, 1);
    lb_end(c);
}

static void a_read_only_mount_serves_and_says_why(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    lb_put(c, "civitai:1", "one");
    tt_library_close(c->l);
    if (mount(c->root, c->root, NULL, MS_BIND, NULL) != 0) {
        lb_open(c);
        lb_end(c);
        skip();
        return; /* for analysers */
    }
    assert_int_equal(mount(NULL, c->root, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    lb_open(c);
    assert_non_null(strstr(tt_library_read_only_reason(c->l), "Read-only file system"));
    lb_expect(c, "civitai:1", "one");
    tt_library_part part;
    tt_library_sweep s;
    assert_int_equal(tt_library_part_begin(c->l, "civitai:2", &part, &c->err), TT_E_IO);
    assert_int_equal(tt_library_gc(c->l, 0, false, &s, &c->err), TT_E_IO);
    tt_library_close(c->l);
    assert_int_equal(umount(c->root), 0);
    lb_open(c);
    lb_end(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_is_exclusive),
        cmocka_unit_test(without_locks_everybody_may),
        cmocka_unit_test(a_lock_whose_counter_stands_still_is_taken_over),
        cmocka_unit_test(the_lock_of_a_dead_process_is_taken_at_once),
        cmocka_unit_test(nonsense_in_a_lock_is_watched_like_any_other),
        cmocka_unit_test(of_many_threads_one_has_it),
        cmocka_unit_test(many_threads_may_commit_the_same),
        cmocka_unit_test(killed_in_a_commit_nothing_wrong_is_seen),
        cmocka_unit_test(bytes_without_facts_are_hashed_before_they_are_believed),
        cmocka_unit_test(a_part_that_was_left_is_taken_over),
        cmocka_unit_test(the_part_of_a_dead_process_is_taken_over),
        cmocka_unit_test(the_part_of_another_machine_is_copied),
        cmocka_unit_test(a_lease_counts_while_it_beats),
        cmocka_unit_test(the_lease_of_a_process_that_died_counts_no_more),
        cmocka_unit_test(a_lease_from_the_future_counts_when_it_beats_again),
        cmocka_unit_test(use_is_written_down_now_and_then),
        cmocka_unit_test(the_least_used_goes_first_and_pins_stay),
        cmocka_unit_test(trash_goes_after_ten_minutes),
        cmocka_unit_test(orphans_go_after_an_hour),
        cmocka_unit_test(left_overs_go_in_time),
        cmocka_unit_test(names_without_bytes_stay_for_a_season),
        cmocka_unit_test(one_collects_at_a_time),
        cmocka_unit_test(a_read_only_mount_serves_and_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
