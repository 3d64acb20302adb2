/* Fitness checks: order, names and sentences are runpod.md 1.13's. What memory there is, a folder of the test's own says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/temp_tree.h"

#include "worker/fitness.h"

enum { TEXT_BYTES = 4096 };

static char root[TEMP_TREE_BYTES];

static int make_root(void **state) {
    (void)state;
    return temp_tree_make(root);
}

static int remove_root(void **state) {
    (void)state;
    return temp_tree_remove(root);
}

static void write_file(const char *path, const char *text) {
    temp_tree_write(root, path, text);
}

typedef struct calls {
    char order[64];
} calls;

static tt_status first(void *context, tt_err *err) {
    (void)err;
    snprintf(((calls *)context)->order, 64, "first");
    return TT_OK;
}

static tt_status second(void *context, tt_err *err) {
    (void)context;
    snprintf(err->message, sizeof err->message, "the model is damaged");
    return TT_E_FORMAT;
}

static tt_status silent(void *context, tt_err *err) {
    (void)context;
    (void)err;
    return TT_E_IO;
}

typedef struct outcome {
    tt_status status;
    char failed[TT_FITNESS_NAME_BYTES];
    tt_err err;
    char log[TEXT_BYTES];
} outcome;

/* Runs the checks with a log into a pipe. */
static void run(const tt_fitness_options *options, const tt_worker_config *config, outcome *out) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    tt_log log = {TT_LOG_DEBUG, false, fds[1]};
    *out = (outcome){.status = TT_OK};
    out->status = tt_fitness_run(options, &log, config, out->failed, &out->err);
    close(fds[1]);
    ssize_t n = read(fds[0], out->log, TEXT_BYTES - 1);
    assert_true(n >= 0);
    close(fds[0]);
}

static void the_users_checks_come_first_and_the_first_failure_ends_it(void **state) {
    (void)state;
    static const tt_fitness_check CHECKS[] = {{"a", first}, {"b", second}, {"c", first}};
    calls seen = {""};
    tt_worker_config config = {.checks = CHECKS, .n_checks = 3, .context = &seen};
    tt_fitness_options options = {.root = root};
    outcome out;
    run(&options, &config, &out);
    assert_int_equal(out.status, TT_E_FORMAT);
    assert_string_equal(out.failed, "b");
    assert_string_equal(out.err.message, "the model is damaged");
    assert_non_null(strstr(out.log, "INFO   | Running 6 fitness check(s)...\n"));
    assert_non_null(strstr(out.log, "DEBUG  | Executing fitness check: a\n"));
    assert_non_null(strstr(out.log, "DEBUG  | Fitness check passed: a ("));
    assert_non_null(strstr(out.log, "ERROR  | Fitness check failed: b | the model is damaged\n"));
    assert_null(strstr(out.log, "Executing fitness check: c"));
    assert_string_equal(seen.order, "first");
}

static void a_check_that_gives_no_reason_still_has_a_sentence(void **state) {
    (void)state;
    static const tt_fitness_check CHECKS[] = {{"quiet", silent}};
    tt_worker_config config = {.checks = CHECKS, .n_checks = 1};
    tt_fitness_options options = {.skips_system_checks = true};
    outcome out;
    run(&options, &config, &out);
    assert_string_equal(out.err.message, "it gave no reason");
}

static void without_checks_nothing_is_run(void **state) {
    (void)state;
    tt_worker_config config = {.n_checks = 0};
    tt_fitness_options options = {.skips_system_checks = true, .min_memory_gb = 1e9};
    outcome out;
    run(&options, &config, &out);
    assert_int_equal(out.status, TT_OK);
    assert_string_equal(out.log, "DEBUG  | No fitness checks registered, skipping.\n");
}

static void too_little_memory_and_disk_have_the_references_sentences(void **state) {
    (void)state;
    tt_worker_config config = {.n_checks = 0};
    tt_fitness_options options = {.root = root, .min_memory_gb = 8};
    outcome out;
    write_file("/proc/meminfo", "MemAvailable:    1289748 kB\n");
    run(&options, &config, &out);
    assert_int_equal(out.status, TT_E_NOMEM);
    assert_string_equal(out.failed, "_memory_check");
    assert_string_equal(out.err.message, "Insufficient memory: 1.23GB available, 8.0GB required");

    options = (tt_fitness_options){.root = root, .min_disk_percent = 100.1};
    run(&options, &config, &out);
    assert_string_equal(out.failed, "_disk_check");
    assert_non_null(strstr(out.err.message, "Insufficient disk space: "));
    assert_non_null(strstr(out.err.message, "%), 100.1% required"));

    options.only_warns = true;
    run(&options, &config, &out);
    assert_int_equal(out.status, TT_OK);
    assert_non_null(strstr(out.log, "WARN   | Fitness check failed: _disk_check"));

    options = (tt_fitness_options){.root = root, .min_memory_gb = 1, .min_disk_percent = 1e-9};
    run(&options, &config, &out);
    assert_int_equal(out.status, TT_OK);
    assert_non_null(strstr(out.log, "INFO   | All fitness checks passed. ("));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_users_checks_come_first_and_the_first_failure_ends_it,
                                        make_root, remove_root),
        cmocka_unit_test(a_check_that_gives_no_reason_still_has_a_sentence),
        cmocka_unit_test(without_checks_nothing_is_run),
        cmocka_unit_test_setup_teardown(too_little_memory_and_disk_have_the_references_sentences,
                                        make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
