/* Log lines: both forms as in runpod.md 1.14, what cannot get into them, and that threads never mix them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"

enum { WRITTEN_BYTES = 64 * 1024 };

typedef struct sink { /* a pipe and what came out of it */
    int ends[2];
    char text[WRITTEN_BYTES];
} sink;

static sink s;

static tt_log open_log(tt_log_level level, bool is_json) {
    assert_int_equal(pipe2(s.ends, O_CLOEXEC), 0);
    return (tt_log){.level = level, .is_json = is_json, .fd = s.ends[1]};
}

static const char *written(void) {
    close(s.ends[1]);
    size_t size = 0;
    for (ssize_t n; (n = read(s.ends[0], s.text + size, sizeof s.text - 1 - size)) > 0;)
        size += (size_t)n;
    s.text[size] = '\0';
    close(s.ends[0]);
    return s.text;
}

static void text_lines_have_level_job_and_message(void **state) {
    (void)state;
    tt_log log = open_log(TT_LOG_TRACE, false);
    tt_log_write(&log, TT_LOG_INFO, "local_test", "Started. n=%d", 3);
    tt_log_write(&log, TT_LOG_ERROR, NULL, "no job here");
    assert_string_equal(written(), "INFO   | local_test | Started. n=3\n"
                                   "ERROR  | no job here\n");
}

static void json_lines_have_the_same_in_json(void **state) {
    (void)state;
    tt_log log = open_log(TT_LOG_TRACE, true);
    tt_log_write(&log, TT_LOG_WARN, "job-1-u1", "a \"word\" and a \\");
    tt_log_write(&log, TT_LOG_DEBUG, NULL, "plain");
    assert_string_equal(written(),
                        "{\"requestId\": \"job-1-u1\", \"message\": \"a \\\"word\\\" and a \\\\\", "
                        "\"level\": \"WARN\"}\n"
                        "{\"requestId\": null, \"message\": \"plain\", \"level\": \"DEBUG\"}\n");
}

static void lines_above_the_level_are_dropped(void **state) {
    (void)state;
    static const char *const EXPECTED[] = {"", "1", "12", "123", "1234", "12345"};
    for (int level = TT_LOG_NOTSET; level <= TT_LOG_TRACE; level++) {
        tt_log log = open_log((tt_log_level)level, false);
        for (int i = TT_LOG_NOTSET; i <= TT_LOG_TRACE; i++)
            tt_log_write(&log, (tt_log_level)i, NULL, "%d", i);
        const char *text = written();
        char digits[8];
        size_t n = 0;
        for (; *text; text++)
            if (*text >= '0' && *text <= '9') digits[n++] = *text;
        digits[n] = '\0';
        assert_string_equal(digits, EXPECTED[level]);
    }
    tt_log_write(NULL, TT_LOG_ERROR, NULL, "nobody listens");
}

static void strangers_text_cannot_forge_a_line(void **state) {
    (void)state;
    tt_log log = open_log(TT_LOG_INFO, false);
    tt_log_write(&log, TT_LOG_INFO, "a\nERROR  | b", "x\r\ny\x1b[31m\x7f\xff z\xc2\x85");
    assert_string_equal(written(), "INFO   | a?ERROR  | b | x??y?[31m?? z?\n");
    log = open_log(TT_LOG_INFO, true);
    tt_log_write(&log, TT_LOG_INFO, "a\xff\"", "caf\xc3\xa9 \xf0\x9f\x8c\x85 \xe2\x82");
    json_object *tree;
    const char *text = written();
    assert_int_equal(tt_json_parse(text, strlen(text), &tree, NULL), TT_OK);
    const char *message = NULL, *id = NULL;
    tt_json_get_string(tree, "message", &message, NULL);
    tt_json_get_string(tree, "requestId", &id, NULL);
    assert_string_equal(message, "caf\xc3\xa9 \xf0\x9f\x8c\x85 ??");
    assert_string_equal(id, "a?\"");
    json_object_put(tree);
}

static void a_message_that_just_fits_is_whole(void **state) {
    (void)state;
    char text[TT_MAX_LOG_BYTES + 1];
    memset(text, 'a', TT_MAX_LOG_BYTES);
    text[TT_MAX_LOG_BYTES] = '\0';
    tt_log log = open_log(TT_LOG_INFO, false);
    tt_log_write(&log, TT_LOG_INFO, NULL, "%s", text);
    const char *line = written();
    assert_int_equal(strlen(line), 9 + TT_MAX_LOG_BYTES + 1);
    assert_null(strstr(line, "TRUNCATED"));
}

/* For every offset of a 3-byte character at both cuts. */
static void a_long_message_keeps_its_halves(void **state) {
    (void)state;
    for (int shift = 0; shift < 6; shift++) {
        char text[3 * TT_MAX_LOG_BYTES + 64];
        size_t n = 0;
        while (n < (size_t)shift) text[n++] = 'x';
        while (n < 3 * TT_MAX_LOG_BYTES) memcpy(text + n, "\xe2\x82\xac", 3), n += 3;
        snprintf(text + n, sizeof text - n, "the end");
        tt_log log = open_log(TT_LOG_INFO, true);
        tt_log_write(&log, TT_LOG_INFO, NULL, "%s", text);
        const char *line = written();
        assert_null(strchr(line, '?'));
        assert_non_null(strstr(line, " ...TRUNCATED "));
        assert_non_null(strstr(line, "the end\", \"level\""));
        assert_in_range(strlen(line), TT_MAX_LOG_BYTES, TT_MAX_LOG_BYTES + 200);
        json_object *tree;
        assert_int_equal(tt_json_parse(line, strlen(line), &tree, NULL), TT_OK);
        json_object_put(tree);
    }
}

static void the_worst_message_still_fits_a_line(void **state) {
    (void)state;
    char text[3 * TT_MAX_LOG_BYTES];
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    tt_log log = open_log(TT_LOG_INFO, true);
    tt_log_write(&log, TT_LOG_INFO, text, "%s", text);
    const char *line = written();
    json_object *tree;
    assert_int_equal(tt_json_parse(line, strlen(line), &tree, NULL), TT_OK);
    json_object_put(tree);
}

static void without_memory_the_beginning_is_kept(void **state) {
    (void)state;
    char text[2 * TT_MAX_LOG_BYTES];
    memset(text, 'b', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    tt_log log = open_log(TT_LOG_INFO, false);
    tt_alloc_fail_after(0);
    tt_log_write(&log, TT_LOG_INFO, NULL, "%s", text);
    tt_alloc_fail_after(-1);
    assert_int_equal(strlen(written()), 9 + TT_MAX_LOG_BYTES + 1);
}

static void errno_survives_and_a_bad_descriptor_is_given_up(void **state) {
    (void)state;
    tt_log log = {.level = TT_LOG_INFO, .fd = -1};
    errno = ENOSPC;
    tt_log_write(&log, TT_LOG_INFO, NULL, "to nowhere");
    assert_int_equal(errno, ENOSPC);
}

static void levels_are_read_in_any_case(void **state) {
    (void)state;
    static const struct {
        const char *text;
        tt_log_level level;
    } CASES[] = {{"warn", TT_LOG_WARN},     {"WARNING", TT_LOG_WARN}, {"Info", TT_LOG_INFO},
                 {"NOTSET", TT_LOG_NOTSET}, {"debug", TT_LOG_DEBUG},  {"TRACE", TT_LOG_TRACE},
                 {"Error", TT_LOG_ERROR}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt_log_level level = TT_LOG_NOTSET;
        assert_int_equal(tt_log_level_parse(CASES[i].text, &level, NULL), TT_OK);
        assert_int_equal(level, CASES[i].level);
    }
    tt_log_level level = TT_LOG_INFO;
    tt_err err;
    assert_int_equal(tt_log_level_parse("loud", &level, &err), TT_E_INVALID);
    assert_string_equal(err.message, "log level: expected ERROR, WARN, INFO, DEBUG, TRACE or "
                                     "NOTSET, found \"loud\"");
    assert_int_equal(tt_log_level_parse("", &level, &err), TT_E_INVALID);
    assert_int_equal(level, TT_LOG_INFO);
    assert_string_equal(tt_log_level_name(TT_LOG_WARN), "WARN");
}

enum { N_THREADS = 4, N_LINES = 100 };

static void *write_lines(void *context) {
    for (int i = 0; i < N_LINES; i++)
        tt_log_write(context, TT_LOG_INFO, "job", "................................");
    return NULL;
}

static void threads_never_mix_their_lines(void **state) {
    (void)state;
    tt_log log = open_log(TT_LOG_INFO, false);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &log), 0);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    const char *text = written();
    static const char LINE[] = "INFO   | job | ................................\n";
    for (int i = 0; i < N_THREADS * N_LINES; i++, text += sizeof LINE - 1)
        assert_memory_equal(text, LINE, sizeof LINE - 1);
    assert_string_equal(text, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_have_level_job_and_message),
        cmocka_unit_test(json_lines_have_the_same_in_json),
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(strangers_text_cannot_forge_a_line),
        cmocka_unit_test(a_message_that_just_fits_is_whole),
        cmocka_unit_test(a_long_message_keeps_its_halves),
        cmocka_unit_test(the_worst_message_still_fits_a_line),
        cmocka_unit_test(without_memory_the_beginning_is_kept),
        cmocka_unit_test(errno_survives_and_a_bad_descriptor_is_given_up),
        cmocka_unit_test(levels_are_read_in_any_case),
        cmocka_unit_test(threads_never_mix_their_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
