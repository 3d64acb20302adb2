/* Serve mode from outside: a worker in a process of its own, asked over HTTP. Shapes are runpod.md 4's. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "worker/serve.h"

enum { TEXT_BYTES = 256 * 1024, WAIT_S = 60 };

typedef struct server {
    pid_t pid;
    int log_fd, port;
    char log[TEXT_BYTES];
    size_t log_bytes;
} server;

/* ---- the worker --------------------------------------------------------------------------------------------------- */

static void act(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    const char *what = tt_job_string(job, "do", "");
    int64_t n = tt_job_integer(job, "n", 0);
    if (strcmp(what, "crash") == 0) {
        signal((int)n, SIG_DFL);
        raise((int)n);
    } else if (strcmp(what, "sleep") == 0) {
        tt_reply_progress(reply, "\"sleeping\"", 10);
        if (tt_job_sleep_ms(job, n)) tt_reply_string(reply, "slept");
    } else if (strcmp(what, "stream") == 0) {
        tt_reply_stream(reply, "\"a\"", 3);
        tt_reply_stream(reply, "2", 1);
    } else {
        tt_reply_string(reply, "Hello, %s!", tt_job_string(job, "name", "World"));
    }
}

static size_t metrics(void *context, char *text, size_t size) {
    (void)context;
    return (size_t)snprintf(text, size, "# TYPE mine gauge\nmine 42");
}

static tt_status slow_start(void *context, tt_err *err) {
    (void)context;
    (void)err;
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    return TT_OK;
}

static tt_status failing_start(void *context, tt_err *err) {
    (void)context;
    snprintf(err->message, sizeof err->message, "no model");
    return TT_E_NOT_FOUND;
}

/* ---- running it --------------------------------------------------------------------------------------------------- */

/* Reads the log until it has the text; false at its end. */
static bool log_says(server *s, const char *text) {
    while (!strstr(s->log, text)) {
        ssize_t n = read(s->log_fd, s->log + s->log_bytes, TEXT_BYTES - 1 - s->log_bytes);
        if (n <= 0) return false;
        s->log_bytes += (size_t)n;
    }
    return true;
}

static void wait_for(server *s, const char *text) {
    if (log_says(s, text)) return;
    print_message("expected \"%s\" in:\n%s", text, s->log);
    fail();
}

static void begin_with(server *s, const tt_serve_options *given, tt_worker_config *config) {
    int fds[2];
    *s = (server){.pid = 0};
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    s->pid = fork();
    if (s->pid == 0) {
        alarm(WAIT_S); /* a hanging test ends, and its server with it */
        close(fds[0]);
        tt_serve_options options = *given;
        tt_log log = {TT_LOG_INFO, false, fds[1]};
        if (!config->handler) config->handler = act;
        options.pool = (tt_pool_options){.config = config, .log = &log, .is_local = true};
        options.host = "127.0.0.1";
        options.worker_id = "here";
        options.greeting = "Starting API server.";
        _exit(tt_serve_run(&options));
    }
    close(fds[1]);
    s->log_fd = fds[0];
    wait_for(s, " (Ctrl-C ends)");
    s->port = (int)strtol(strstr(s->log, "127.0.0.1:") + 10, NULL, 10);
    assert_true(s->port > 0);
}

static void begin(server *s, tt_worker_config config) {
    begin_with(s, &(tt_serve_options){.is_isolated = true}, &config);
    wait_for(s, "The worker is ready.");
}

static int end(server *s) {
    int status;
    kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    log_says(s, "\n\n"); /* the rest */
    close(s->log_fd);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- asking it ---------------------------------------------------------------------------------------------------- */

static int open_connection(const server *s) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static int send_request(const server *s, const char *line, const char *body) {
    char text[2048];
    int fd = open_connection(s);
    int n = snprintf(text, sizeof text,
                     "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "
                     "k\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     line, strlen(body), body);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* The body; *status may be NULL. */
static const char *receive(int fd, int *status) {
    static char text[TEXT_BYTES];
    size_t size = 0;
    ssize_t n;
    while ((n = recv(fd, text + size, sizeof text - 1 - size, 0)) > 0) size += (size_t)n;
    text[size] = '\0';
    close(fd);
    if (status) *status = (int)strtol(text + strlen("HTTP/1.1 "), NULL, 10);
    const char *body = strstr(text, "\r\n\r\n");
    return body ? body + 4 : "";
}

static const char *ask(const server *s, const char *line, const char *body, int *status) {
    return receive(send_request(s, line, body), status);
}

static json_object *parsed;

/* A member of the answer, as text. */
static const char *member(const char *answer, const char *name) {
    json_object *value = NULL;
    json_object_put(parsed);
    parsed = NULL;
    assert_int_equal(tt_json_parse(answer, strlen(answer), &parsed, NULL), TT_OK);
    json_object_object_get_ex(parsed, name, &value);
    return json_object_get_string(value);
}

static void assert_member(const char *answer, const char *name, const char *expected) {
    const char *value = member(answer, name);
    assert_non_null(value);
    assert_string_equal(value, expected);
}

static int forget_parsed(void **state) {
    (void)state;
    json_object_put(parsed);
    parsed = NULL;
    return 0;
}

static void submit(const server *s, const char *job, char id[128]) {
    snprintf(id, 128, "%s", member(ask(s, "POST /run", job, NULL), "id"));
}

static const char *status_of(const server *s, const char *id) {
    char line[256];
    snprintf(line, sizeof line, "GET /status/%s", id);
    return ask(s, line, "", NULL);
}

/* Asks for the status until it is the expected one. */
static const char *wait_for_status(const server *s, const char *id, const char *expected) {
    for (int i = 0; i < WAIT_S * 100; i++) {
        const char *answer = status_of(s, id);
        if (strcmp(member(answer, "status"), expected) == 0) return answer;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail();
    return "";
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

static void a_job_is_answered(void **state) {
    (void)state;
    for (int is_isolated = 0; is_isolated < 2; is_isolated++) {
        server s;
        tt_worker_config config = {.handler = NULL};
        begin_with(&s, &(tt_serve_options){.is_isolated = is_isolated}, &config);
        for (int i = 0; i < 5; i++) {
            const char *answer = ask(&s, "POST /runsync", "{\"input\": {\"name\": \"Ann\"}}", NULL);
            assert_member(answer, "status", "COMPLETED");
            assert_member(answer, "output", "Hello, Ann!");
            assert_member(answer, "workerId", "here");
        }
        assert_int_equal(end(&s), 0);
    }
}

static void a_crash_fails_its_job_and_the_server_stays(void **state) {
    (void)state;
    server s;
    begin(&s, (tt_worker_config){.handler = NULL});
    const char *answer =
        ask(&s, "POST /runsync", "{\"input\": {\"do\": \"crash\", \"n\": 11}}", NULL);
    assert_member(answer, "status", "FAILED");
    assert_non_null(strstr(member(answer, "error"),
                           "the handler process was killed by signal 11 (Segmentation fault)"));
    answer = ask(&s, "POST /runsync", "{\"input\": {}}", NULL);
    assert_member(answer, "output", "Hello, World!");
    answer = ask(&s, "GET /metrics", "", NULL);
    assert_non_null(strstr(answer, "tintype_handler_restarts_total 1\n"));
    assert_non_null(strstr(answer, "tintype_handler_crashed_jobs_total 1\n"));
    assert_int_equal(end(&s), 0);
}

static void a_cancel_stops_the_handler(void **state) {
    (void)state;
    server s;
    char id[128], line[256];
    begin(&s, (tt_worker_config){.handler = NULL});
    submit(&s, "{\"input\": {\"do\": \"sleep\", \"n\": 3600000}}", id);
    wait_for_status(&s, id, "IN_PROGRESS");
    snprintf(line, sizeof line, "POST /cancel/%s", id);
    assert_member(ask(&s, line, "", NULL), "status", "CANCELLED");
    wait_for(&s, "Job stopped.");
    assert_member(ask(&s, "POST /runsync", "{\"input\": {}}", NULL), "output", "Hello, World!");
    assert_member(status_of(&s, id), "status", "CANCELLED");
    assert_int_equal(end(&s), 0);
}

static void a_time_out_stops_the_handler(void **state) {
    (void)state;
    server s;
    char id[128];
    begin(&s, (tt_worker_config){.handler = NULL});
    submit(&s,
           "{\"input\": {\"do\": \"sleep\", \"n\": 3600000}, \"policy\": {\"executionTimeout\": "
           "5000}}",
           id);
    wait_for_status(&s, id, "TIMED_OUT");
    assert_member(ask(&s, "POST /runsync", "{\"input\": {}}", NULL), "output", "Hello, World!");
    assert_int_equal(end(&s), 0);
}

static void progress_is_seen_while_the_job_runs(void **state) {
    (void)state;
    server s;
    char id[128];
    const char *output = NULL;
    begin(&s, (tt_worker_config){.handler = NULL});
    submit(&s, "{\"input\": {\"do\": \"sleep\", \"n\": 2000}}", id);
    wait_for_status(&s, id, "IN_PROGRESS");
    for (int i = 0; i < 100 && !output; i++) output = member(status_of(&s, id), "output");
    assert_string_equal(output, "sleeping");
    assert_member(wait_for_status(&s, id, "COMPLETED"), "output", "slept");
    assert_int_equal(end(&s), 0);
}

static void chunks_of_a_stream_can_be_taken(void **state) {
    (void)state;
    server s;
    char id[128], line[256];
    begin(&s, (tt_worker_config){.is_streaming = true, .return_aggregate_stream = true});
    submit(&s, "{\"input\": {\"do\": \"stream\"}}", id);
    assert_member(wait_for_status(&s, id, "COMPLETED"), "output", "[ \"a\", 2 ]");
    snprintf(line, sizeof line, "GET /stream/%s", id);
    assert_non_null(strstr(ask(&s, line, "", NULL), "\"a\""));
    assert_int_equal(end(&s), 0);
}

static void slots_run_jobs_side_by_side(void **state) {
    (void)state;
    server s;
    tt_worker_config config = {.concurrency = 1};
    char ids[3][128];
    begin_with(&s, &(tt_serve_options){.is_isolated = true, .concurrency = 3}, &config);
    wait_for(&s, "The worker is ready.");
    for (int i = 0; i < 3; i++) submit(&s, "{\"input\": {\"do\": \"sleep\", \"n\": 2000}}", ids[i]);
    wait_for(&s, "Jobs in progress: 3");
    for (int i = 0; i < 3; i++)
        assert_member(wait_for_status(&s, ids[i], "COMPLETED"), "output", "slept");
    assert_int_equal(end(&s), 0);
}

static void the_server_listens_before_the_worker_is_ready_and_says_so(void **state) {
    (void)state;
    server s;
    int status;
    tt_worker_config config = {.start = slow_start};
    begin_with(&s, &(tt_serve_options){.is_isolated = true}, &config);
    assert_member(ask(&s, "GET /ready", "", &status), "ready", "false");
    assert_int_equal(status, 503);
    assert_member(ask(&s, "POST /runsync", "{\"input\": {}}", NULL), "output", "Hello, World!");
    ask(&s, "GET /ready", "", &status);
    assert_int_equal(status, 200);
    assert_int_equal(end(&s), 0);
}

static void a_worker_that_cannot_start_ends_with_1(void **state) {
    (void)state;
    server s;
    int status;
    tt_worker_config config = {.start = failing_start};
    begin_with(&s, &(tt_serve_options){.is_isolated = true}, &config);
    wait_for(&s, "ERROR  | The worker cannot go on: start: no model");
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    close(s.log_fd);
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void the_handlers_own_metrics_are_served(void **state) {
    (void)state;
    server s;
    const char *found = NULL;
    begin(&s, (tt_worker_config){.metrics = metrics});
    for (int i = 0; i < 500 && !found; i++) { /* it is asked for about once a second */
        found = strstr(ask(&s, "GET /metrics", "", NULL), "\nmine 42\n");
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_non_null(found);
    assert_int_equal(end(&s), 0);
}

static void a_key_is_asked_for(void **state) {
    (void)state;
    server s;
    int status;
    tt_worker_config config = {.handler = NULL};
    begin_with(&s, &(tt_serve_options){.is_isolated = true, .key = "other"}, &config);
    ask(&s, "POST /runsync", "{\"input\": {}}", &status);
    assert_int_equal(status, 401);
    assert_int_equal(end(&s), 0);
    begin_with(&s, &(tt_serve_options){.is_isolated = true, .key = "k"}, &config);
    ask(&s, "POST /runsync", "{\"input\": {}}", &status);
    assert_int_equal(status, 200);
    assert_int_equal(end(&s), 0);
}

static void sigterm_lets_a_running_job_be_answered(void **state) {
    (void)state;
    server s;
    begin(&s, (tt_worker_config){.handler = NULL});
    int fd = send_request(&s, "POST /runsync", "{\"input\": {\"do\": \"sleep\", \"n\": 500}}");
    wait_for(&s, "Started.");
    kill(s.pid, SIGTERM);
    assert_member(receive(fd, NULL), "output", "slept");
    int status;
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    close(s.log_fd);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_second_sigterm_cancels_what_runs(void **state) {
    (void)state;
    server s;
    int status;
    begin(&s, (tt_worker_config){.handler = NULL});
    int fd = send_request(&s, "POST /runsync", "{\"input\": {\"do\": \"sleep\", \"n\": 3600000}}");
    wait_for(&s, "Started.");
    kill(s.pid, SIGTERM);
    wait_for(&s, "Received shutdown signal: 15.");
    kill(s.pid, SIGTERM);
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    receive(fd, NULL);
    close(s.log_fd);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_port_in_use_is_an_error(void **state) {
    (void)state;
    server s;
    begin(&s, (tt_worker_config){.handler = NULL});
    tt_worker_config config = {.handler = act};
    tt_log log = {TT_LOG_NOTSET, false, STDERR_FILENO};
    tt_serve_options second = {.pool = {.config = &config, .log = &log},
                               .is_isolated = true,
                               .host = "127.0.0.1",
                               .port = s.port,
                               .worker_id = "there",
                               .greeting = "x"};
    assert_int_equal(tt_serve_run(&second), 1);
    assert_int_equal(end(&s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_answered),
        cmocka_unit_test(a_crash_fails_its_job_and_the_server_stays),
        cmocka_unit_test(a_cancel_stops_the_handler),
        cmocka_unit_test(a_time_out_stops_the_handler),
        cmocka_unit_test(progress_is_seen_while_the_job_runs),
        cmocka_unit_test(chunks_of_a_stream_can_be_taken),
        cmocka_unit_test(slots_run_jobs_side_by_side),
        cmocka_unit_test(the_server_listens_before_the_worker_is_ready_and_says_so),
        cmocka_unit_test(a_worker_that_cannot_start_ends_with_1),
        cmocka_unit_test(the_handlers_own_metrics_are_served),
        cmocka_unit_test(a_key_is_asked_for),
        cmocka_unit_test(sigterm_lets_a_running_job_be_answered),
        cmocka_unit_test(a_second_sigterm_cancels_what_runs),
        cmocka_unit_test(a_port_in_use_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, forget_parsed);
}
