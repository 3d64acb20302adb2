/* The spool: what outlives a worker. A kill is played by a child process that ends with SIGKILL, or by a spool that is opened
 * again after its files were damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/temp_tree.h"

#include "base/alloc.h"
#include "base/file.h"
#include "worker/spool.h"

static char folder[] = "/tmp/tt-spool-XXXXXX";
static char name[64], own[128];

/* Each test has a worker id of its own, and so a folder of its own. */
static int begin(void **state) {
    static int n;
    (void)state;
    snprintf(name, sizeof name, "worker-%d", n++);
    snprintf(own, sizeof own, "%s/%s", folder, name);
    return 0;
}

static tt_spool *open_spool(void) {
    tt_spool *s = NULL;
    tt_err err;
    if (tt_spool_open(folder, name, name, NULL, &s, &err) != TT_OK) fail_msg("%s", err.message);
    return s;
}

static tt_spool_entry *put(tt_spool *s, const char *id, const char *text) {
    tt_spool_facts facts = {.is_stream = true};
    tt_blob *blob = NULL;
    tt_wire_body body;
    snprintf(facts.job_id, sizeof facts.job_id, "%s", id);
    snprintf(facts.worker_id, sizeof facts.worker_id, "%s", "pod\"1");
    assert_int_equal(tt_blob_new(text, strlen(text), &blob, NULL), TT_OK);
    tt_wire_whole(&body, blob);
    tt_blob_release(blob);
    tt_spool_entry *e = tt_spool_put(s, &facts, &body);
    tt_wire_release(&body);
    return e;
}

/* Files in the worker's folder whose name ends so; the last one's path in `path` when it is not NULL. */
static int count(const char *end, char *path) {
    DIR *d = opendir(own);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        size_t size = strlen(f->d_name);
        if (size < strlen(end) || strcmp(f->d_name + size - strlen(end), end) != 0) continue;
        if (path) snprintf(path, 512, "%s/%s", own, f->d_name);
        n++;
    }
    closedir(d);
    return n;
}

static void assert_leftover(tt_spool *s, const char *id, const char *text, bool has_mark) {
    tt_spool_leftover left;
    assert_true(tt_spool_next_leftover(s, &left));
    assert_string_equal(left.facts.job_id, id);
    if (text) {
        assert_non_null(left.body);
        assert_string_equal(left.body->data, text);
        assert_string_equal(left.facts.worker_id, "pod\"1");
        assert_true(left.facts.is_stream);
        tt_blob_release(left.body);
        tt_spool_remove(s, left.entry);
    } else {
        assert_null(left.body);
        assert_string_equal(left.facts.worker_id, name);
    }
    assert_int_equal(left.mark >= 0, has_mark);
    tt_spool_unmark(s, left.mark);
}

static void assert_nothing_left(void) {
    tt_spool_leftover left;
    tt_spool *s = open_spool();
    assert_false(tt_spool_next_leftover(s, &left));
    tt_spool_close(s);
    struct stat facts;
    assert_int_equal(stat(own, &facts), -1); /* an empty folder is taken away */
}

static void a_result_that_is_left_is_found_by_the_next_worker(void **state) {
    (void)state;
    tt_spool *s = open_spool();
    assert_true(tt_spool_leave(s, put(s, "b-u1", "{\"output\": 1}")));
    assert_true(tt_spool_leave(s, put(s, "a-u1", "{\"output\":\n2}")));
    tt_spool_close(s);
    assert_int_equal(count(".result", NULL), 2);
    s = open_spool();
    assert_leftover(s, "b-u1", "{\"output\": 1}", false); /* the older first */
    assert_leftover(s, "a-u1", "{\"output\":\n2}", false);
    tt_spool_close(s);
    assert_nothing_left();
}

static void a_delivered_result_leaves_no_file(void **state) {
    (void)state;
    tt_spool *s = open_spool();
    for (int i = 0; i < 200; i++) /* removed while queued, while written, or afterwards */
        tt_spool_remove(s, put(s, "a-u1", "{}"));
    tt_spool_close(s);
    assert_nothing_left();
}

static void results_and_files_are_private(void **state) {
    (void)state;
    char path[512];
    struct stat facts;
    tt_spool *s = open_spool();
    tt_spool_leave(s, put(s, "a-u1", "{}"));
    tt_spool_close(s);
    assert_int_equal(stat(own, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0700);
    assert_int_equal(count(".result", path), 1);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
}

/* In a child that is killed with everything open. */
static void in_killed_child(void (*body)(tt_spool *s)) {
    pid_t child = fork();
    if (child == 0) {
        tt_spool *s = open_spool();
        body(s);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void take_three(tt_spool *s) {
    tt_spool_mark(s, "running-u1");
    tt_spool_unmark(s, tt_spool_mark(s, "done-u1"));
    tt_spool_mark(s, "ended-u1");
    put(s, "ended-u1", "{\"output\": 5}");
    for (int i = 0; i < 1000 && count(".result", NULL) == 0; i++) usleep(10 * 1000);
}

static void a_killed_worker_leaves_its_running_jobs_and_its_results(void **state) {
    (void)state;
    in_killed_child(take_three);
    tt_spool *s = open_spool();
    assert_leftover(s, "ended-u1", "{\"output\": 5}", true);
    assert_leftover(s, "running-u1", NULL, true);
    tt_spool_close(s);
    assert_nothing_left();
}

static void take_two_of_one_id(tt_spool *s) {
    tt_spool_mark(s, "twin-u1");
    tt_spool_mark(s, "twin-u1");
}

static void marks_that_nobody_answered_stay_for_the_next(void **state) {
    (void)state;
    tt_spool_leftover left;
    in_killed_child(take_two_of_one_id);
    tt_spool *s = open_spool(); /* asks for nothing, and takes a job in the meantime */
    assert_true(tt_spool_mark(s, "new-u1") >= 0);
    tt_spool_close(s);
    s = open_spool();
    assert_true(tt_spool_next_leftover(s, &left));
    assert_string_equal(left.facts.job_id, "twin-u1");
    assert_leftover(s, "twin-u1", NULL, true);
    assert_leftover(s, "new-u1", NULL, true);
    tt_spool_close(s);
}

static void only_one_worker_uses_a_folder(void **state) {
    (void)state;
    tt_spool *s = open_spool(), *other = NULL;
    tt_err err;
    assert_int_equal(tt_spool_open(folder, name, name, NULL, &other, &err), TT_E_IO);
    assert_non_null(strstr(err.message, "another worker"));
    assert_null(other);
    tt_spool_close(s);
}

static void write_text(const char *path, const char *text, size_t size) {
    assert_int_equal(tt_file_write(path, text, size, NULL), TT_OK);
}

/* Each row: a file that is no whole result of ours. */
static void damaged_and_foreign_files_are_dropped(void **state) {
    (void)state;
    static const char *const WRONG[] = {
        "",
        "no line end",
        "{}\nbody",
        "[1]\n",
        "{\"tintype_spool\": 2, \"id\": \"a\", \"worker\": \"w\", \"at_ms\": 9e18, \"body_bytes\": "
        "0}\n",
        "{\"tintype_spool\": 1, \"id\": \"a/b\", \"worker\": \"w\", \"at_ms\": 1, \"body_bytes\": "
        "0}\n",
        "{\"tintype_spool\": 1, \"id\": \"a\", \"worker\": \"w\", \"at_ms\": 1, \"body_bytes\": "
        "2}\n{",
        "{\"tintype_spool\": 1, \"id\": \"a\", \"worker\": \"w\", \"at_ms\": 1, \"body_bytes\": "
        "2}\n{}",
    }; /* the last is more than 24 h old */
    char path[600];
    tt_spool_leftover left;
    assert_int_equal(mkdir(own, 0700), 0);
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        snprintf(path, sizeof path, "%s/%zu.result", own, i);
        write_text(path, WRONG[i], strlen(WRONG[i]));
    }
    snprintf(path, sizeof path, "%s/9.result.part", own);
    write_text(path, "{", 1);
    snprintf(path, sizeof path, "%s/link.result", own);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    tt_spool *s = open_spool();
    assert_false(tt_spool_next_leftover(s, &left));
    unlink(path);
    tt_spool_close(s);
    assert_nothing_left();
}

static void a_damaged_table_counts_as_empty(void **state) {
    (void)state;
    char path[200];
    tt_spool_leftover left;
    in_killed_child(take_two_of_one_id);
    snprintf(path, sizeof path, "%s/running", own);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "garbage", 7, 16), 7); /* over the head's text */
    close(fd);
    tt_spool *s = open_spool();
    assert_false(tt_spool_next_leftover(s, &left));
    tt_spool_close(s);
    in_killed_child(take_two_of_one_id);
    assert_int_equal(truncate(path, 10), 0);
    s = open_spool();
    assert_false(tt_spool_next_leftover(s, &left));
    assert_true(tt_spool_mark(s, "a-u1") >= 0);
    tt_spool_close(s);
}

static void a_full_table_marks_no_more(void **state) {
    (void)state;
    tt_spool *s = open_spool();
    for (int i = 0; i < TT_SPOOL_MARKS; i++) assert_true(tt_spool_mark(s, "a-u1") >= 0);
    assert_int_equal(tt_spool_mark(s, "b-u1"), -1);
    tt_spool_unmark(s, 7);
    assert_int_equal(tt_spool_mark(s, "b-u1"), 7);
    tt_spool_close(s);
}

/* A folder that cannot be written any more: the writer's open fails as it does when the disk is full. */
static void a_disk_that_refuses_costs_the_file_not_the_worker(void **state) {
    (void)state;
    char moved[200];
    tt_spool *s = open_spool();
    snprintf(moved, sizeof moved, "%s-gone", own);
    assert_int_equal(rename(own, moved), 0);
    char path[256];
    for (const char *const *file = (const char *const[]){"lock", "running", NULL}; *file; file++) {
        snprintf(path, sizeof path, "%s/%s", moved, *file);
        unlink(path);
    }
    assert_int_equal(rmdir(moved), 0);
    tt_spool_entry *e = put(s, "a-u1", "{}");
    assert_non_null(e);
    usleep(50 * 1000); /* either order is right; this one meets the failure */
    tt_spool_leave(s, e);
    tt_spool_remove(s, put(s, "b-u1", "{}"));
    tt_spool_close(s);
}

static void folders_of_others_and_files_are_refused(void **state) {
    (void)state;
    tt_spool *s = NULL;
    tt_err err;
    char path[200];
    snprintf(path, sizeof path, "%s/file", folder);
    write_text(path, "x", 1);
    assert_int_equal(tt_spool_open(path, "w", "w", NULL, &s, &err), TT_E_IO);
    assert_non_null(strstr(err.message, "not a folder"));
    assert_int_equal(tt_spool_open("/dev/null/x", "w", "w", NULL, &s, &err), TT_E_IO);
    assert_null(s);
}

static void odd_worker_ids_stay_inside_the_folder(void **state) {
    (void)state;
    char path[200];
    struct stat facts;
    tt_spool *s = NULL;
    assert_int_equal(tt_spool_open(folder, "../a b", "w", NULL, &s, NULL), TT_OK);
    snprintf(path, sizeof path, "%s/_._a_b", folder);
    assert_int_equal(stat(path, &facts), 0);
    tt_spool_close(s);
    char long_id[300];
    memset(long_id, 'a', sizeof long_id);
    long_id[299] = '\0';
    assert_int_equal(tt_spool_open(folder, "w", long_id, NULL, &s, NULL), TT_E_INVALID);
}

static void without_a_spool_nothing_is_kept(void **state) {
    (void)state;
    tt_spool_leftover left;
    assert_int_equal(tt_spool_mark(NULL, "a"), -1);
    tt_spool_unmark(NULL, -1);
    assert_null(put(NULL, "a-u1", "{}"));
    tt_spool_remove(NULL, NULL);
    assert_false(tt_spool_leave(NULL, NULL));
    assert_false(tt_spool_next_leftover(NULL, &left));
    tt_spool_close(NULL);
}

static void each_allocation_of_open_may_fail(void **state) {
    (void)state;
    for (int n = 0;; n++) {
        tt_spool *s = NULL;
        tt_alloc_fail_after(n); /* the writer allocates nothing until something is put */
        tt_status status = tt_spool_open(folder, name, name, NULL, &s, NULL);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) {
            tt_spool_close(s);
            break;
        }
        assert_int_equal(status, TT_E_NOMEM);
        assert_null(s);
        assert_true(n < 20);
    }
}

/* A folder beside ours with one result; `age_h`: when something last happened there. */
static void make_neighbour(const char *neighbour, int age_h, char path[300]) {
    char file[400];
    snprintf(path, 300, "%s/%s", folder, neighbour);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(file, sizeof file, "%s/1-0.result", path);
    write_text(file, "x", 1);
    struct timespec old = {.tv_sec = time(NULL) - (time_t)age_h * 3600};
    struct timespec times[2] = {old, old};
    assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void folders_of_workers_that_never_came_back_are_swept(void **state) {
    (void)state;
    char old[300], young[300], held[300], held_name[80];
    struct stat facts;
    tt_spool *holder = NULL;
    make_neighbour("neighbour-old", 49, old);
    make_neighbour("neighbour-young", 47, young);
    snprintf(held_name, sizeof held_name, "neighbour-held");
    make_neighbour(held_name, 49, held);
    assert_int_equal(tt_spool_open(folder, held_name, "w", NULL, &holder, NULL), TT_OK);
    tt_spool_close(open_spool());
    assert_int_equal(stat(old, &facts), -1);
    assert_int_equal(stat(young, &facts), 0);
    assert_int_equal(stat(held, &facts), 0);
    tt_spool_close(holder);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return temp_tree_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_result_that_is_left_is_found_by_the_next_worker, begin),
        cmocka_unit_test_setup(a_delivered_result_leaves_no_file, begin),
        cmocka_unit_test_setup(results_and_files_are_private, begin),
        cmocka_unit_test_setup(a_killed_worker_leaves_its_running_jobs_and_its_results, begin),
        cmocka_unit_test_setup(marks_that_nobody_answered_stay_for_the_next, begin),
        cmocka_unit_test_setup(only_one_worker_uses_a_folder, begin),
        cmocka_unit_test_setup(damaged_and_foreign_files_are_dropped, begin),
        cmocka_unit_test_setup(a_damaged_table_counts_as_empty, begin),
        cmocka_unit_test_setup(a_full_table_marks_no_more, begin),
        cmocka_unit_test_setup(a_disk_that_refuses_costs_the_file_not_the_worker, begin),
        cmocka_unit_test_setup(folders_of_others_and_files_are_refused, begin),
        cmocka_unit_test_setup(odd_worker_ids_stay_inside_the_folder, begin),
        cmocka_unit_test_setup(folders_of_workers_that_never_came_back_are_swept, begin),
        cmocka_unit_test_setup(without_a_spool_nothing_is_kept, begin),
        cmocka_unit_test_setup(each_allocation_of_open_may_fail, begin),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
