/* File systems that lack a call, or fail in one: what the library needs is done, what is a courtesy may be refused. The system's
 * calls are replaced for this program, and do what they are for unless a test wants them to fail. */
#include "unit/store/library_case.h"

#include <sys/syscall.h>

#include "support/temp_tree.h"

static int fsync_errno, fchmod_errno, link_errno; /* 0: works */

static int do_or_fail(int number, long result) {
    if (number == 0) return (int)result;
    errno = number;
    return -1;
}

int fsync(int fd) {
    return do_or_fail(fsync_errno, fsync_errno ? 0 : syscall(SYS_fsync, fd));
}

int fchmod(int fd, mode_t mode) {
    return do_or_fail(fchmod_errno, fchmod_errno ? 0 : syscall(SYS_fchmod, fd, mode));
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    long result = link_errno ? 0 : syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    return do_or_fail(link_errno, result);
}

static int all_works(void **state) {
    (void)state;
    fsync_errno = fchmod_errno = link_errno = 0;
    return 0;
}

/* Some FUSE file systems: EINVAL, ENOSYS or EOPNOTSUPP, whatever is asked of them. */
static void where_nothing_can_be_synced_models_are_kept(void **state) {
    (void)state;
    static const int numbers[] = {EINVAL, ENOSYS, EOPNOTSUPP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        lb_case *c = lb_begin();
        fsync_errno = numbers[i];
        lb_put(c, "civitai:1", "weights");
        lb_expect(c, "civitai:1", "weights");
        all_works(NULL);
        lb_end(c);
    }
}

static void a_disk_that_fails_to_sync_keeps_nothing(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_entry("civitai:1", "weights");
    fsync_errno = EIO;
    assert_int_equal(lb_try_put(c, &e, "weights"), TT_E_IO);
    lb_expect_miss(c, "civitai:1");
    assert_int_equal(lb_count(c, "v1/tmp"), 0);
    all_works(NULL);
    lb_end(c);
}

/* A volume of another owner, or one without modes: EPERM, ENOSYS. */
static void a_mode_that_cannot_be_set_is_no_reason(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    fchmod_errno = EPERM;
    lb_put(c, "civitai:1", "weights");
    lb_expect(c, "civitai:1", "weights");
    lb_end(c);
}

static void where_links_are_unknown_one_still_holds_the_lock(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_lock *first = NULL, *second = NULL;
    link_errno = EPERM;
    assert_true(tt_library_lock_try(c->l, "civitai:1", &first));
    assert_false(tt_library_lock_try(c->l, "civitai:1", &second));
    tt_library_lock_release(first);
    assert_true(tt_library_lock_try(c->l, "civitai:1", &second));
    tt_library_lock_release(second);
    lb_end(c);
}

/* Not ours, so it is moved and not removed. */
static void a_folder_where_a_file_should_be_makes_way(void **state) {
    (void)state;
    static const char *const ends[] = {"", ".json"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        lb_case *c = lb_begin();
        tt_library_entry e = lb_entry("civitai:1", "weights");
        char path[4096], inside[4200];
        lb_path(c, path, "v1/blobs/sha256/%.2s", e.digest);
        assert_int_equal(mkdir(path, 0755), 0);
        lb_path(c, path, "v1/blobs/sha256/%.2s/%s%s", e.digest, e.digest, ends[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(inside, sizeof inside, "%s/somebody's", path);
        lb_write(inside, "text");
        lb_put(c, "civitai:1", "weights");
        lb_expect(c, "civitai:1", "weights");
        assert_int_equal(lb_count(c, "v1/trash"), 1);
        lb_end(c);
    }
}

static void remove_folder(const lb_case *c, const char *which) {
    char path[4096];
    lb_path(c, path, "%s", which);
    temp_tree_remove(path);
}

/* Somebody empties the volume under a program that runs. */
static void a_root_that_was_taken_away_is_made_again(void **state) {
    (void)state;
    static const char *const taken[] = {"",       "v1",      "v1/blobs", "v1/blobs/sha256",
                                        "v1/tmp", "v1/names"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        lb_case *c = lb_begin();
        lb_put(c, "civitai:1", "weights");
        remove_folder(c, taken[i]);
        if (strcmp(taken[i], "v1/tmp") != 0) lb_expect_miss(c, "civitai:1");
        lb_put(c, "civitai:1", "weights");
        lb_expect(c, "civitai:1", "weights");
        lb_end(c);
    }
}

/* Another volume is mounted there, say. */
static void a_root_that_was_replaced_is_the_one_that_counts(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char from[4096], to[4096];
    lb_put(c, "civitai:1", "weights");
    lb_path(c, from, "v1");
    lb_path(c, to, "elsewhere");
    assert_int_equal(rename(from, to), 0);
    lb_put(c, "civitai:2", "other");
    lb_expect(c, "civitai:2", "other");
    lb_expect_miss(c, "civitai:1");
    assert_int_equal(lb_count(c, "v1/names"), 1);
    assert_int_equal(lb_count(c, "elsewhere/names"), 1);
    lb_end(c);
}

static void a_root_that_cannot_be_made_again_says_so(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_entry("civitai:1", "weights");
    remove_folder(c, "");
    lb_write(c->root, "a file");
    assert_int_equal(lb_try_put(c, &e, "weights"), TT_E_IO);
    assert_non_null(strstr(c->err.message, c->root));
    assert_int_equal(unlink(c->root), 0);
    lb_put(c, "civitai:1", "weights");
    lb_expect(c, "civitai:1", "weights");
    lb_end(c);
}

#define ON_A_DISK(test) cmocka_unit_test_setup_teardown(test, all_works, all_works)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_A_DISK(where_nothing_can_be_synced_models_are_kept),
        ON_A_DISK(a_disk_that_fails_to_sync_keeps_nothing),
        ON_A_DISK(a_mode_that_cannot_be_set_is_no_reason),
        ON_A_DISK(where_links_are_unknown_one_still_holds_the_lock),
        ON_A_DISK(a_folder_where_a_file_should_be_makes_way),
        ON_A_DISK(a_root_that_was_taken_away_is_made_again),
        ON_A_DISK(a_root_that_was_replaced_is_the_one_that_counts),
        ON_A_DISK(a_root_that_cannot_be_made_again_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
