/* tt_worker_main as a program's main: which mode runs (runpod.md 2.1), flags, exit statuses. Each run is a process of its own,
 * with an environment and an output of its own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tintype/worker.h"
#include "worker/flags.h"

enum { TEXT_BYTES = 64 * 1024, MAX_WORDS = 16, WAIT_S = 60 };

static void hello(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    tt_reply_string(reply, "Hello, %s!", tt_job_string(job, "name", "World"));
}

typedef struct program {
    const char *words[MAX_WORDS];     /* after the program's name; NULL-terminated */
    const char *variables[MAX_WORDS]; /* name, value, ... */
    tt_worker_config config;
    const char *ends_at; /* SIGTERM when it says this */
    char said[TEXT_BYTES];
} program;

static void run_child(program *p, int fd) {
    char *argv[MAX_WORDS + 1] = {(char *)(uintptr_t) "./worker"};
    int argc = 1;
    for (int i = 0; p->words[i]; i++) argv[argc++] = (char *)(uintptr_t)p->words[i];
    clearenv();
    setenv("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "true", 1);
    for (int i = 0; p->variables[i]; i += 2) setenv(p->variables[i], p->variables[i + 1], 1);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    alarm(WAIT_S);
    if (!p->config.handler) p->config.handler = hello;
    exit(tt_worker_main(argc, argv, &p->config));
}

/* The exit status. */
static int run(program *p) {
    int fds[2], status;
    size_t size = 0;
    ssize_t n;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        run_child(p, fds[1]);
    }
    close(fds[1]);
    while ((n = read(fds[0], p->said + size, TEXT_BYTES - 1 - size)) > 0) {
        size += (size_t)n;
        p->said[size] = '\0';
        if (!p->ends_at || !strstr(p->said, p->ends_at)) continue;
        kill(pid, SIGTERM);
        p->ends_at = NULL;
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_says(const program *p, const char *text) {
    if (strstr(p->said, text)) return;
    print_message("expected \"%s\" in:\n%s", text, p->said);
    fail();
}

/* ---- modes -------------------------------------------------------------------------------------------------------- */

static void a_test_job_is_run_without_a_platform(void **state) {
    (void)state;
    program p = {.words = {"--test_input", "{\"input\": {\"name\": \"Ann\"}}"}};
    assert_int_equal(run(&p), 0);
    assert_int_equal(strncmp(p.said, "--- Starting Serverless Worker |  Version ", 42), 0);
    assert_says(&p, "Job result: {\"output\": \"Hello, Ann!\"}");
}

static void a_test_job_wins_over_the_platform(void **state) {
    (void)state;
    program p = {.words = {"--test_input={\"input\": 1}"},
                 .variables = {"RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:9/job-take/$ID?"}};
    assert_int_equal(run(&p), 0);
    assert_says(&p, "test_input set, using test_input as job input.");
}

static void with_a_platform_the_worker_polls_it_until_told_to_end(void **state) {
    (void)state;
    for (int is_isolated = 0; is_isolated < 2; is_isolated++) {
        program p = {.variables = {"RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:9/job-take/$ID?x=1",
                                   "RUNPOD_WEBHOOK_POST_OUTPUT",
                                   "http://127.0.0.1:9/job-done/$ID?x=1", "RUNPOD_AI_API_KEY",
                                   "key", "RUNPOD_POD_ID", "pod", "TINTYPE_ISOLATION",
                                   is_isolated ? "1" : "0"},
                     .ends_at = "Failed to get job"};
        assert_int_equal(run(&p), 0);
        assert_says(&p, "Received shutdown signal: 15.");
    }
}

static void serving_wins_over_everything(void **state) {
    (void)state;
    program p = {.words = {"--test_input", "{}", "--rp_serve_api", "--rp_api_port", "0",
                           "--rp_debugger", "--rp_log_level", "info"},
                 .variables = {"RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:9/job-take/$ID?"},
                 .ends_at = "The worker is ready."};
    assert_int_equal(run(&p), 0);
    assert_says(&p, "INFO   | Log level set to INFO\n");
    assert_says(&p, "INFO   | --rp_debugger adds nothing to results.\n");
    assert_says(&p, "INFO   | Starting API server.\n");
    assert_says(&p, "Serving the API at http://localhost:");
    assert_null(strstr(p.said, "TINTYPE_API_KEY"));
}

static void an_open_address_without_a_key_is_warned_of(void **state) {
    (void)state;
    program p = {.words = {"--rp_serve_api", "--rp_api_port=0", "--rp_api_host=0.0.0.0"},
                 .ends_at = "The worker is ready."};
    assert_int_equal(run(&p), 0);
    assert_says(&p,
                "WARN   | Everybody who reaches this address can run jobs: set TINTYPE_API_KEY.");
    program q = {.words = {"--rp_serve_api", "--rp_api_port=0", "--rp_api_host=0.0.0.0"},
                 .variables = {"TINTYPE_API_KEY", "not-to-be-logged"},
                 .ends_at = "The worker is ready."};
    assert_int_equal(run(&q), 0);
    assert_null(strstr(q.said, "Everybody"));
    assert_null(strstr(q.said, "not-to-be-logged"));
    assert_says(&q, "key=on");
}

static void realtime_mode_serves_on_its_port(void **state) {
    (void)state;
    program p = {.variables = {"RUNPOD_REALTIME_PORT", "1"}, .ends_at = "The worker is ready."};
    run(&p); /* port 1 is refused, or not, by who runs the test */
    assert_says(&p, "INFO   | Starting API server for realtime on port 1.\n");
}

static tt_status failing(void *context, tt_err *err) {
    (void)context;
    snprintf(err->message, sizeof err->message, "the model is damaged");
    return TT_E_FORMAT;
}

static void an_unfit_worker_ends_with_1(void **state) {
    (void)state;
    static const tt_fitness_check CHECKS[] = {{"model", failing}};
    program p = {.config = {.checks = CHECKS, .n_checks = 1},
                 .variables = {"RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:9/job-take/$ID?x=1",
                               "RUNPOD_WEBHOOK_POST_OUTPUT",
                               "http://127.0.0.1:9/job-done/$ID?x=1"}};
    assert_int_equal(run(&p), 1);
    assert_says(&p, "ERROR  | Fitness check failed: model | the model is damaged\n");
    assert_says(&p, "ERROR  | Worker is unhealthy, exiting.\n");
}

/* ---- what is wrong ------------------------------------------------------------------------------------------------ */

static void unknown_flags_end_with_2_and_the_nearest_known(void **state) {
    (void)state;
    program p = {.words = {"--rp_serve_apy"}};
    assert_int_equal(run(&p), 2);
    assert_string_equal(p.said,
                        "./worker: unknown flag --rp_serve_apy, did you mean --rp_serve_api?\n");
    program q = {.words = {"--nothing-like-it-at-all"}};
    assert_int_equal(run(&q), 2);
    assert_string_equal(
        q.said, "./worker: unknown flag --nothing-like-it-at-all; --help lists the known\n");
    program r = {.words = {"stray"}};
    assert_int_equal(run(&r), 2);
    assert_string_equal(r.said, "./worker: unexpected argument \"stray\"\n");
}

static void others_flags_are_ignored_when_the_caller_reads_them(void **state) {
    (void)state;
    program p = {.words = {"--mine", "x", "--test_input", "{\"input\": 1}", "--help"},
                 .config = {.handles_flags = true}};
    assert_int_equal(run(&p), 0);
    assert_says(&p, "Hello, World!");
}

static void values_that_cannot_be_meant_are_refused(void **state) {
    (void)state;
    static const char *const WORDS[][2] = {
        {"--rp_api_port", "70000"}, {"--rp_api_port", "x"},       {"--rp_api_concurrency", "0"},
        {"--rp_log_level", "loud"}, {"--rp_serve_api=yes", NULL}, {"--test_input", NULL}};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        program p = {.words = {WORDS[i][0], WORDS[i][1]}};
        assert_int_equal(run(&p), 2);
    }
    program p = {.variables = {"RUNPOD_REALTIME_PORT", "soon"}};
    assert_int_equal(run(&p), 2);
    assert_says(&p, "RUNPOD_REALTIME_PORT: expected a number from 0 to 65535, found \"soon\"");
}

static void a_configuration_that_cannot_be_meant_is_refused(void **state) {
    (void)state;
    program p = {.config = {.handler = hello, .concurrency = -1}};
    assert_int_equal(run(&p), 1);
    assert_says(&p, "concurrency: expected 1 to 1000, found -1");
}

static void help_names_every_flag(void **state) {
    (void)state;
    static const char *const FLAGS[] = {"--rp_log_level", "--rp_debugger",        "--rp_serve_api",
                                        "--rp_api_port",  "--rp_api_concurrency", "--rp_api_host",
                                        "--test_input",   "--test_output",        "--no-isolation",
                                        "--help"};
    program p = {.words = {"--help"}};
    assert_int_equal(run(&p), 0);
    for (size_t i = 0; i < sizeof FLAGS / sizeof FLAGS[0]; i++) assert_says(&p, FLAGS[i]);
}

static void flags_are_read_in_both_forms(void **state) {
    (void)state;
    char *argv[] = {"w",
                    "--rp_api_port",
                    "81",
                    "--rp_api_host=::1",
                    "--rp_api_concurrency=4",
                    "--no-isolation",
                    "--test_output",
                    "f",
                    NULL};
    tt_flags flags;
    assert_int_equal(tt_flags_read(8, argv, false, &flags, NULL), TT_OK);
    assert_int_equal(flags.api_port, 81);
    assert_string_equal(flags.api_host, "::1");
    assert_int_equal(flags.api_concurrency, 4);
    assert_true(flags.no_isolation);
    assert_string_equal(flags.test_output, "f");
    assert_null(flags.test_input);
    assert_false(flags.serve_api);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_test_job_is_run_without_a_platform),
        cmocka_unit_test(a_test_job_wins_over_the_platform),
        cmocka_unit_test(with_a_platform_the_worker_polls_it_until_told_to_end),
        cmocka_unit_test(serving_wins_over_everything),
        cmocka_unit_test(an_open_address_without_a_key_is_warned_of),
        cmocka_unit_test(realtime_mode_serves_on_its_port),
        cmocka_unit_test(an_unfit_worker_ends_with_1),
        cmocka_unit_test(unknown_flags_end_with_2_and_the_nearest_known),
        cmocka_unit_test(others_flags_are_ignored_when_the_caller_reads_them),
        cmocka_unit_test(values_that_cannot_be_meant_are_refused),
        cmocka_unit_test(a_configuration_that_cannot_be_meant_is_refused),
        cmocka_unit_test(help_names_every_flag),
        cmocka_unit_test(flags_are_read_in_both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
