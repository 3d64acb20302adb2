/* Test mode as a person sees it: lines and exit statuses are runpod.md 2.2's and Appendix B's, with JSON for Python's repr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "worker/desk.h"

enum { TEXT_BYTES = 64 * 1024, PATH_BYTES = 256 };

static char folder[PATH_BYTES], before[PATH_BYTES];

static int enter_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tt-desk-XXXXXX");
    return getcwd(before, sizeof before) && mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state) {
    (void)state;
    unlink("test_input.json");
    unlink("out.json");
    return chdir(before) == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void act(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    const char *what = tt_job_string(job, "do", "greet");
    if (strcmp(what, "error") == 0)
        tt_reply_error(reply, "no %s", "luck");
    else if (strcmp(what, "exception") == 0)
        tt_reply_exception(reply, "ValueError", "boom");
    else if (strcmp(what, "pieces") == 0) {
        tt_reply_append(reply, "[1,", 3);
        tt_reply_append(reply, "2]", 2);
    } else if (strcmp(what, "broken") == 0)
        tt_reply_append(reply, "[1,", 3);
    else if (strcmp(what, "progress") == 0)
        tt_reply_progress(reply, "0.5", 3);
    else if (strcmp(what, "stream") == 0) {
        tt_reply_stream(reply, "\"a\"", 3);
        tt_reply_stream(reply, "2", 1);
    } else
        tt_reply_string(reply, "Hello, %s!", tt_job_string(job, "name", "World"));
}

static char said[TEXT_BYTES];

static int run(tt_worker_config *config, tt_log_level level, const char *input,
               const char *output) {
    FILE *file = tmpfile();
    assert_non_null(file);
    tt_log log = {level, false, fileno(file)};
    if (!config->handler) config->handler = act;
    tt_desk_options options = {
        .config = config, .log = &log, .test_input = input, .test_output = output};
    int code = tt_desk_run(&options);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    fclose(file);
    return code;
}

static int run_input(const char *input) {
    tt_worker_config config = {.handler = act};
    return run(&config, TT_LOG_INFO, input, NULL);
}

static void assert_says(const char *text) {
    if (strstr(said, text)) return;
    print_message("expected \"%s\" in:\n%s", text, said);
    fail();
}

static void a_job_from_the_file_is_run_and_told_line_by_line(void **state) {
    (void)state;
    static const char JOB[] = "{\"input\": {\"name\": \"John Doe\"}}";
    assert_int_equal(tt_file_write("test_input.json", JOB, strlen(JOB), NULL), TT_OK);
    assert_int_equal(run_input(NULL), 0);
    assert_string_equal(said, "INFO   | Using test_input.json as job input.\n"
                              "INFO   | local_test | Started.\n"
                              "INFO   | Job local_test completed successfully.\n"
                              "INFO   | Job result: {\"output\": \"Hello, John Doe!\"}\n"
                              "INFO   | Local testing complete, exiting.\n");
}

static void without_a_file_there_is_nothing_to_test(void **state) {
    (void)state;
    assert_int_equal(run_input(NULL), 1);
    assert_string_equal(said, "WARN   | test_input.json not found, exiting.\n");
}

static void the_flag_wins_over_the_file_and_may_name_the_job(void **state) {
    (void)state;
    assert_int_equal(tt_file_write("test_input.json", "{", 1, NULL), TT_OK);
    assert_int_equal(run_input("{\"id\": \"mine\", \"input\": {}, \"webhook\": 1}"), 0);
    assert_says("INFO   | test_input set, using test_input as job input.\n");
    assert_says("INFO   | mine | Started.\n");
    assert_says("Job result: {\"output\": \"Hello, World!\"}\n");
}

static void a_job_without_input_is_refused(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{}", "{\"input\": null}", "{\"id\": \"x\"}"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_input(JOBS[i]), 1);
        assert_says("ERROR  | Job has no input parameter. Unable to run.\n");
    }
    assert_int_equal(run_input("[1]"), 1);
    assert_says("ERROR  | --test_input: a job must be a JSON object\n");
    static const char *const FALSY[] = {"{\"input\": {}}", "{\"input\": \"\"}", "{\"input\": 0}",
                                        "{\"input\": false}"};
    for (int i = 0; i < 4; i++) assert_int_equal(run_input(FALSY[i]), 0);
}

static void a_mistake_in_the_json_is_shown_where_it_is(void **state) {
    (void)state;
    static const char JOB[] = "{\n  \"input\": {\n    \"é\": \"b\" \"c\"\n  }\n}\n";
    assert_int_equal(tt_file_write("test_input.json", JOB, strlen(JOB), NULL), TT_OK);
    assert_int_equal(run_input(NULL), 1);
    assert_says("ERROR  | test_input.json: invalid JSON at line 3, column 15: expected ',' or '}'\n"
                "ERROR  |         \"é\": \"b\" \"c\"\n"
                "ERROR  |                  ^\n");
    assert_int_equal(run_input(""), 1);
    assert_says("it ends too early");
}

static void a_failed_job_ends_with_1_and_its_error(void **state) {
    (void)state;
    assert_int_equal(run_input("{\"input\": {\"do\": \"error\"}}"), 1);
    assert_says("ERROR  | Job local_test failed with error: \"no luck\"\n");
    assert_null(strstr(said, "Job result"));
    assert_int_equal(run_input("{\"input\": {\"do\": \"exception\"}}"), 1);
    assert_says("\\\"error_type\\\": \\\"ValueError\\\", \\\"error_message\\\": \\\"boom\\\"");
}

static void pieces_are_put_together_and_checked(void **state) {
    (void)state;
    assert_int_equal(run_input("{\"input\": {\"do\": \"pieces\"}}"), 0);
    assert_says("Job result: {\"output\": [1,2]}\n");
    assert_int_equal(run_input("{\"input\": {\"do\": \"broken\"}}"), 1);
    assert_says("failed with error: the pieces of the handler's output: invalid JSON");
}

static void a_streaming_handler_really_runs(void **state) {
    (void)state;
    tt_worker_config config = {.is_streaming = true};
    assert_int_equal(run(&config, TT_LOG_INFO, "{\"input\": {\"do\": \"stream\"}}", NULL), 0);
    assert_says("INFO   | local_test | Stream: \"a\"\nINFO   | local_test | Stream: 2\n");
    assert_says("Job result: {\"output\": []}\n");
    config.return_aggregate_stream = true;
    assert_int_equal(run(&config, TT_LOG_INFO, "{\"input\": {\"do\": \"stream\"}}", NULL), 0);
    assert_says("Job result: {\"output\": [\"a\", 2]}\n");
}

static void progress_is_told_as_it_comes(void **state) {
    (void)state;
    assert_int_equal(run_input("{\"input\": {\"do\": \"progress\"}}"), 0);
    assert_says("INFO   | local_test | Progress: 0.5\n");
    assert_says("Job result: {\"output\": null}\n");
}

static void the_whole_result_can_be_written_to_a_file(void **state) {
    (void)state;
    tt_worker_config config = {.handler = act};
    tt_buf text;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(run(&config, TT_LOG_NOTSET, "{\"input\": {}}", "out.json"), 0);
    assert_string_equal(said, "");
    assert_int_equal(tt_file_read("out.json", &text, NULL), TT_OK);
    assert_string_equal(text.data, "{\"output\": \"Hello, World!\"}");
    tt_buf_release(&text);
    assert_int_equal(run(&config, TT_LOG_INFO, "{\"input\": {}}", "no/such/folder/x"), 1);
    assert_says("no/such/folder/x");
}

static void answer_long(const tt_job *job, tt_reply *reply, void *context) {
    (void)job;
    (void)context;
    tt_reply_string(reply, "%020000d", 7);
}

static void a_long_result_is_cut_in_its_line(void **state) {
    (void)state;
    tt_worker_config config = {.handler = answer_long};
    assert_int_equal(run(&config, TT_LOG_INFO, "{\"input\": {}}", NULL), 0);
    assert_says("TRUNCATED");
    assert_true(strlen(said) < 6000);
}

static tt_status refuse(void *context, tt_err *err) {
    (void)context;
    snprintf(err->message, sizeof err->message, "no model");
    return TT_E_NOT_FOUND;
}

static void a_worker_that_cannot_start_runs_nothing(void **state) {
    (void)state;
    tt_worker_config config = {.start = refuse};
    assert_int_equal(run(&config, TT_LOG_INFO, "{\"input\": {}}", NULL), 1);
    assert_says("ERROR  | The worker cannot start: no model\n");
    assert_null(strstr(said, "Started."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_from_the_file_is_run_and_told_line_by_line,
                                        enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(without_a_file_there_is_nothing_to_test, enter_folder,
                                        leave_folder),
        cmocka_unit_test_setup_teardown(the_flag_wins_over_the_file_and_may_name_the_job,
                                        enter_folder, leave_folder),
        cmocka_unit_test(a_job_without_input_is_refused),
        cmocka_unit_test_setup_teardown(a_mistake_in_the_json_is_shown_where_it_is, enter_folder,
                                        leave_folder),
        cmocka_unit_test(a_failed_job_ends_with_1_and_its_error),
        cmocka_unit_test(pieces_are_put_together_and_checked),
        cmocka_unit_test(a_streaming_handler_really_runs),
        cmocka_unit_test(progress_is_told_as_it_comes),
        cmocka_unit_test_setup_teardown(the_whole_result_can_be_written_to_a_file, enter_folder,
                                        leave_folder),
        cmocka_unit_test(a_long_result_is_cut_in_its_line),
        cmocka_unit_test(a_worker_that_cannot_start_runs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
