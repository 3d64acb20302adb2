/* Whole files: what is left behind when something goes wrong matters as much as the bytes. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "test_file.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    closedir(d);
    return rmdir(folder);
}

static int n_files(void) {
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static const char *in_folder(const char *name) {
    static char path[128];
    assert_int_equal(tt_path_join(path, sizeof path, folder, name, NULL), TT_OK);
    return path;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    enum { SIZE = 300000 }; /* several read chunks */
    char *bytes = tt_alloc(SIZE);
    for (int i = 0; i < SIZE; i++) bytes[i] = (char)(i * 7);
    const char *path = in_folder("data");
    assert_int_equal(tt_file_write(path, bytes, SIZE, NULL), TT_OK);
    tt_buf b;
    tt_buf_init(&b, SIZE); /* exactly as large as the file */
    assert_int_equal(tt_file_read(path, &b, NULL), TT_OK);
    assert_int_equal(b.size, SIZE);
    assert_memory_equal(b.data, bytes, SIZE);
    tt_buf_release(&b);
    tt_free(bytes);
    assert_int_equal(n_files(), 1); /* no temporary name is left */
}

static void a_file_beyond_the_limit_is_refused(void **state) {
    (void)state;
    const char *path = in_folder("data");
    assert_int_equal(tt_file_write(path, "0123456789", 10, NULL), TT_OK);
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, 9);
    assert_int_equal(tt_file_read(path, &b, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "larger than 9 bytes"));
    tt_buf_release(&b);
    tt_buf_init(&b, 1000);
    assert_int_equal(tt_file_read("/dev/zero", &b, &err), TT_E_INVALID); /* endless */
    tt_buf_release(&b);
}

static void an_empty_file_is_empty(void **state) {
    (void)state;
    const char *path = in_folder("empty");
    assert_int_equal(tt_file_write(path, NULL, 0, NULL), TT_OK);
    tt_buf b;
    tt_buf_init(&b, 100);
    assert_int_equal(tt_file_read(path, &b, NULL), TT_OK);
    assert_int_equal(b.size, 0);
    tt_buf_release(&b);
}

static void missing_files_and_directories_are_named(void **state) {
    (void)state;
    tt_buf b;
    tt_err err;
    tt_buf_init(&b, 100);
    assert_int_equal(tt_file_read("no/such/file", &b, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "cannot open no/such/file: No such file or directory");
    assert_int_equal(tt_file_read(folder, &b, &err), TT_E_IO);
    assert_non_null(strstr(err.message, "Is a directory"));
    assert_int_equal(tt_file_write(folder, "x", 1, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "it is a directory"));
    assert_int_equal(tt_file_write("no/such/file", "x", 1, &err), TT_E_NOT_FOUND);
    tt_buf_release(&b);
}

static void an_old_file_is_replaced_whole(void **state) {
    (void)state;
    const char *path = in_folder("data");
    assert_int_equal(tt_file_write(path, "a much longer text", 18, NULL), TT_OK);
    assert_int_equal(tt_file_write(path, "short", 5, NULL), TT_OK);
    tt_buf b;
    tt_buf_init(&b, 100);
    assert_int_equal(tt_file_read(path, &b, NULL), TT_OK);
    assert_string_equal(b.data, "short");
    tt_buf_release(&b);
}

static void leftovers_of_a_crash_do_not_stop_it(void **state) {
    (void)state;
    const char *path = in_folder("data");
    char leftover[160];
    snprintf(leftover, sizeof leftover, "%s.%ld-0.part", path, (long)getpid());
    assert_int_equal(symlink("/dev/full", leftover), 0); /* and nobody's link is followed */
    assert_int_equal(tt_file_write(path, "text", 4, NULL), TT_OK);
    assert_int_equal(n_files(), 2);
}

static void a_full_disk_is_a_sentence(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    tt_err err;
    assert_int_equal(tt_file_write("/dev/full", "x", 1, &err), TT_E_IO);
    assert_string_equal(err.message, "cannot write /dev/full: No space left on device");
}

static void new_files_are_readable_by_others(void **state) {
    (void)state;
    mode_t before = umask(022);
    const char *path = in_folder("data");
    assert_int_equal(tt_file_write(path, "x", 1, NULL), TT_OK);
    umask(before);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    const char *path = in_folder("data");
    assert_int_equal(tt_file_write(path, "x", 1, NULL), TT_OK);
    tt_buf b;
    tt_buf_init(&b, 100);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_file_read(path, &b, NULL), TT_E_NOMEM);
    tt_buf_release(&b);
}

static void paths_join_or_are_refused(void **state) {
    (void)state;
    char out[8];
    assert_int_equal(tt_path_join(out, sizeof out, "abc", "def", NULL), TT_OK);
    assert_string_equal(out, "abc/def");
    assert_int_equal(tt_path_join(out, sizeof out, "abc", "defg", NULL), TT_E_INVALID);
}

static void kinds_of_paths_are_told_apart(void **state) {
    (void)state;
    assert_true(tt_file_is_directory(folder));
    assert_true(tt_file_exists(folder));
    assert_false(tt_file_is_directory("/dev/null"));
    assert_true(tt_file_exists("/dev/null"));
    assert_false(tt_file_exists("no/such/file"));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

/* A pipe is what fsync(2) says EINVAL for. */
static void what_cannot_be_synced_is_no_failure(void **state) {
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_true(tt_file_sync(pipe_fds[1]));
    assert_true(tt_file_sync_data(pipe_fds[1]));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_false(tt_file_sync(pipe_fds[1]));
    assert_false(tt_file_sync_data(pipe_fds[1]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_written_is_read),
        IN_FOLDER(a_file_beyond_the_limit_is_refused),
        IN_FOLDER(an_empty_file_is_empty),
        IN_FOLDER(missing_files_and_directories_are_named),
        IN_FOLDER(an_old_file_is_replaced_whole),
        IN_FOLDER(leftovers_of_a_crash_do_not_stop_it),
        IN_FOLDER(a_full_disk_is_a_sentence),
        IN_FOLDER(new_files_are_readable_by_others),
        IN_FOLDER(out_of_memory_is_reported),
        IN_FOLDER(kinds_of_paths_are_told_apart),
        cmocka_unit_test(paths_join_or_are_refused),
        cmocka_unit_test(what_cannot_be_synced_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
