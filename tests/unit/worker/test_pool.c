/* The handler process, driven from the other end of its channel; here it is a thread. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "worker/channel.h"
#include "worker/pool.h"

typedef struct fixture {
    tt_worker_config config;
    tt_pool_options options;
    int fds[2];
    pthread_t thread;
    int result;
    char packet[TT_CHANNEL_PAYLOAD_BYTES];
    tt_packet_header header; /* of the last message */
    tt_buf bytes;
    /* seen by handlers */
    atomic_int n_running, max_running, n_stops;
    pthread_t start_thread;
    atomic_bool ran_on_start_thread;
} fixture;

static void *run(void *context) {
    fixture *f = context;
    f->result = tt_pool_run(&f->options, f->fds[1]);
    close(f->fds[1]);
    return NULL;
}

static void begin(fixture *f, tt_handler handler) {
    *f = (fixture){.config = f->config};
    f->config.handler = handler;
    f->config.context = f;
    f->options = (tt_pool_options){.config = &f->config, .hostname = "h", .worker_id = "w"};
    tt_buf_init(&f->bytes, 64 << 20);
    assert_int_equal(tt_channel_open(f->fds, NULL), TT_OK);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void send_bytes(fixture *f, uint32_t type, uint64_t job, int64_t value, const char *text) {
    tt_packet_header header = {.type = type, .job = job, .value = value};
    if (type == TT_MESSAGE_JOB) header.extra = INT64_MAX;
    assert_int_equal(tt_channel_send(f->fds[0], &header, text, text ? strlen(text) : 0, NULL),
                     TT_OK);
}

/* The next whole message. */
static uint32_t next(fixture *f) {
    size_t size;
    f->bytes.size = 0;
    do {
        assert_int_equal(tt_channel_receive(f->fds[0], &f->header, f->packet, &size, NULL), TT_OK);
        tt_buf_append(&f->bytes, f->packet, size, NULL);
    } while (f->header.flags & TT_MESSAGE_MORE);
    return f->header.type;
}

static void expect(fixture *f, uint32_t type, uint64_t job) {
    assert_int_equal(next(f), type);
    assert_int_equal(f->header.job, job);
}

static void expect_text(fixture *f, uint32_t type, uint64_t job, const char *text) {
    expect(f, type, job);
    assert_int_equal(f->bytes.size, strlen(text));
    assert_string_equal(f->bytes.data, text);
}

static void finish(fixture *f) {
    close(f->fds[0]);
    pthread_join(f->thread, NULL);
    tt_buf_release(&f->bytes);
}

static void quit(fixture *f) {
    send_bytes(f, TT_MESSAGE_QUIT, 0, 0, NULL);
    expect(f, 0, 0);
    finish(f);
    assert_int_equal(f->result, 0);
}

/* ---- handlers ----------------------------------------------------------------------------------------------------- */

static void echo(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    size_t size;
    const char *input = tt_job_input(job, &size);
    tt_reply_json(reply, input, size);
}

/* Runs until it is told to stop, and counts how many do so at once. */
static void wait_for_cancel(const tt_job *job, tt_reply *reply, void *context) {
    fixture *f = context;
    int n = atomic_fetch_add(&f->n_running, 1) + 1, max = atomic_load(&f->max_running);
    while (n > max && !atomic_compare_exchange_weak(&f->max_running, &max, n)) {
    }
    tt_reply_progress(reply, "\"runs\"", 6);
    while (tt_job_sleep_ms(job, 3600 * 1000)) {
    }
    atomic_fetch_sub(&f->n_running, 1);
}

static tt_status note_thread(void *context, tt_err *err) {
    (void)err;
    ((fixture *)context)->start_thread = pthread_self();
    return TT_OK;
}

static void compare_thread(const tt_job *job, tt_reply *reply, void *context) {
    (void)job;
    (void)reply;
    fixture *f = context;
    f->ran_on_start_thread = pthread_equal(f->start_thread, pthread_self()) != 0;
}

static void count_stop(void *context) {
    atomic_fetch_add(&((fixture *)context)->n_stops, 1);
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

static void a_job_is_answered_in_one_packet(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, echo);
    expect(&f, TT_MESSAGE_READY, 0);
    assert_int_equal(f.header.value, getpid());
    for (uint64_t i = 1; i <= 100; i++) {
        send_bytes(&f, TT_MESSAGE_JOB, i, 1, "{\"id\":\"a\",\"input\":{\"k\":\"v\"}}");
        expect_text(&f, TT_MESSAGE_END, i, "{\"k\":\"v\"}");
        assert_int_equal(f.header.value, 0);
    }
    quit(&f);
}

static void a_large_answer_comes_in_packets_that_say_its_size(void **state) {
    (void)state;
    enum { SIZE = 3 << 20 };
    fixture f = {0};
    begin(&f, echo);
    expect(&f, TT_MESSAGE_READY, 0);
    tt_buf job;
    tt_buf_init(&job, SIZE + 100);
    tt_buf_puts(&job, "{\"id\":\"a\",\"input\":\"", NULL);
    tt_buf_reserve(&job, SIZE, NULL);
    memset(job.data + job.size, 'x', SIZE);
    job.size += SIZE;
    tt_buf_puts(&job, "\"}", NULL);
    send_bytes(&f, TT_MESSAGE_JOB, 5, 1, job.data);
    expect(&f, TT_MESSAGE_OUTPUT, 5);
    assert_int_equal(f.header.extra, SIZE + 2);
    assert_int_equal(f.bytes.size, SIZE + 2);
    assert_int_equal(f.bytes.data[0], '"');
    expect_text(&f, TT_MESSAGE_END, 5, "");
    tt_buf_release(&job);
    quit(&f);
}

static void as_many_run_at_once_as_threads_were_asked_for(void **state) {
    (void)state;
    enum { N = 6 };
    fixture f = {0};
    begin(&f, wait_for_cancel);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_RESIZE, 0, N, NULL);
    for (uint64_t i = 1; i <= N; i++)
        send_bytes(&f, TT_MESSAGE_JOB, i, 1, "{\"id\":\"a\",\"input\":1}");
    for (int i = 0; i < N; i++) assert_int_equal(next(&f), TT_MESSAGE_PROGRESS);
    assert_int_equal(atomic_load(&f.max_running), N);
    send_bytes(&f, TT_MESSAGE_RESIZE, 0, 2, NULL); /* running ones stay */
    for (uint64_t i = 1; i <= N; i++) {
        send_bytes(&f, TT_MESSAGE_CANCEL, i, 0, NULL);
        expect_text(&f, TT_MESSAGE_END, i, "null");
        assert_int_equal(f.header.value, TT_END_STOPPED);
    }
    send_bytes(&f, TT_MESSAGE_RESIZE, 0, 4, NULL);
    for (uint64_t i = 1; i <= 4; i++)
        send_bytes(&f, TT_MESSAGE_JOB, i, 1, "{\"id\":\"a\",\"input\":1}");
    for (int i = 0; i < 4; i++) assert_int_equal(next(&f), TT_MESSAGE_PROGRESS);
    for (uint64_t i = 1; i <= 4; i++) {
        send_bytes(&f, TT_MESSAGE_CANCEL, i, 0, NULL);
        expect(&f, TT_MESSAGE_END, i);
    }
    quit(&f);
}

static void fewer_threads_run_fewer_jobs(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, wait_for_cancel);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_RESIZE, 0, 3, NULL);
    send_bytes(&f, TT_MESSAGE_RESIZE, 0, 1, NULL);
    for (uint64_t i = 1; i <= 2; i++)
        send_bytes(&f, TT_MESSAGE_JOB, i, 1, "{\"id\":\"a\",\"input\":1}");
    expect(&f, TT_MESSAGE_PROGRESS, 1);
    send_bytes(&f, TT_MESSAGE_CANCEL, 1, 0, NULL);
    expect(&f, TT_MESSAGE_END, 1);
    expect(&f, TT_MESSAGE_PROGRESS, 2);
    assert_int_equal(atomic_load(&f.max_running), 1);
    send_bytes(&f, TT_MESSAGE_CANCEL, 2, 0, NULL);
    expect(&f, TT_MESSAGE_END, 2);
    quit(&f);
}

static void start_and_the_only_handler_share_a_thread(void **state) {
    (void)state;
    fixture f = {.config = {.start = note_thread, .stop = count_stop}};
    begin(&f, compare_thread);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_JOB, 1, 1, "{\"id\":\"a\",\"input\":1}");
    expect_text(&f, TT_MESSAGE_END, 1, "null");
    quit(&f);
    assert_true(f.ran_on_start_thread);
    assert_int_equal(f.n_stops, 1);
}

static tt_status refuse(void *context, tt_err *err) {
    (void)context;
    err->code = TT_E_NOT_FOUND;
    snprintf(err->message, sizeof err->message, "no model at x.safetensors");
    return TT_E_NOT_FOUND;
}

static void a_failed_start_is_told_with_its_reason(void **state) {
    (void)state;
    fixture f = {.config = {.start = refuse, .stop = count_stop}};
    begin(&f, echo);
    expect(&f, TT_MESSAGE_UNFIT, 0);
    assert_string_equal(f.bytes.data, "start");
    assert_string_equal(f.bytes.data + 6, "no model at x.safetensors");
    expect(&f, 0, 0);
    finish(&f);
    assert_int_equal(f.result, 1);
    assert_int_equal(f.n_stops, 0);
}

static void a_failed_check_is_told_with_its_name(void **state) {
    (void)state;
    static const tt_fitness_check CHECKS[] = {{"gpu", refuse}};
    fixture f = {.config = {.checks = CHECKS, .n_checks = 1}};
    tt_pool_options with_checks;
    begin(&f, echo); /* not asked for: the job runs */
    expect(&f, TT_MESSAGE_READY, 0);
    quit(&f);
    begin(&f, echo);
    expect(&f, TT_MESSAGE_READY, 0);
    with_checks = f.options;
    with_checks.runs_checks = true;
    with_checks.fitness.skips_system_checks = true;
    int fds[2];
    assert_int_equal(tt_channel_open(fds, NULL), TT_OK);
    assert_int_equal(tt_pool_run(&with_checks, fds[1]), 1);
    size_t size;
    assert_int_equal(tt_channel_receive(fds[0], &f.header, f.packet, &size, NULL), TT_OK);
    assert_int_equal(f.header.type, TT_MESSAGE_UNFIT);
    assert_string_equal(f.packet, "gpu");
    close(fds[0]);
    close(fds[1]);
    quit(&f);
}

enum { N_CHUNKS = 30 };

static void stream_numbers(const tt_job *job, tt_reply *reply, void *context) {
    (void)job;
    fixture *f = context;
    char text[16];
    for (int i = 0; i < N_CHUNKS; i++) {
        int n = snprintf(text, sizeof text, "%d", i);
        if (!tt_reply_stream(reply, text, (size_t)n)) return;
        atomic_fetch_add(&f->n_running, 1);
    }
}

static void a_stream_is_at_most_eight_chunks_ahead(void **state) {
    (void)state;
    fixture f = {.config = {.is_streaming = true}};
    begin(&f, stream_numbers);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_JOB, 1, 1, "{\"id\":\"a\",\"input\":1}");
    for (int i = 0; i < 8; i++) expect(&f, TT_MESSAGE_STREAM, 1);
    size_t size;
    assert_int_equal(tt_channel_try_receive(f.fds[0], &f.header, f.packet, &size), TT_CHANNEL_WAIT);
    for (int i = 8; i < N_CHUNKS; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        send_bytes(&f, TT_MESSAGE_SENT, 1, TT_SENT_CHUNK, NULL);
        expect_text(&f, TT_MESSAGE_STREAM, 1, text);
        assert_true(atomic_load(&f.n_running) <= i + 1);
    }
    expect(&f, TT_MESSAGE_END, 1);
    send_bytes(&f, TT_MESSAGE_JOB, 2, 1, "{\"id\":\"a\",\"input\":1}");
    for (int i = 0; i < 8; i++) expect(&f, TT_MESSAGE_STREAM, 2);
    send_bytes(&f, TT_MESSAGE_CANCEL, 2, 0, NULL); /* a waiting handler is told */
    expect(&f, TT_MESSAGE_END, 2);
    quit(&f);
}

static void report_often(const tt_job *job, tt_reply *reply, void *context) {
    fixture *f = context;
    for (int i = 0; i <= 1000; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d", i);
        tt_reply_progress(reply, text, (size_t)n);
    }
    atomic_store(&f->n_running, 1);
    while (tt_job_sleep_ms(job, 3600 * 1000)) {
    }
}

static void the_newest_progress_wins_and_never_more_than_one_is_under_way(void **state) {
    (void)state;
    fixture f = {0};
    size_t size;
    begin(&f, report_often);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_JOB, 1, 1, "{\"id\":\"a\",\"input\":1}");
    expect_text(&f, TT_MESSAGE_PROGRESS, 1, "0");
    while (!atomic_load(&f.n_running)) sched_yield();
    assert_int_equal(tt_channel_try_receive(f.fds[0], &f.header, f.packet, &size), TT_CHANNEL_WAIT);
    send_bytes(&f, TT_MESSAGE_SENT, 1, TT_SENT_PROGRESS, NULL);
    expect_text(&f, TT_MESSAGE_PROGRESS, 1, "1000");
    send_bytes(&f, TT_MESSAGE_CANCEL, 1, 0, NULL);
    expect(&f, TT_MESSAGE_END, 1);
    send_bytes(&f, TT_MESSAGE_SENT, 1, TT_SENT_PROGRESS, NULL); /* of a job that ended */
    send_bytes(&f, TT_MESSAGE_SENT, 1, TT_SENT_CHUNK, NULL);
    send_bytes(&f, TT_MESSAGE_CANCEL, 1, 0, NULL);
    quit(&f);
}

static void the_end_of_the_channel_cancels_what_runs(void **state) {
    (void)state;
    fixture f = {.config = {.stop = count_stop}};
    begin(&f, wait_for_cancel);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_JOB, 1, 1, "{\"id\":\"a\",\"input\":1}");
    send_bytes(&f, TT_MESSAGE_JOB, 2, 1, "{\"id\":\"b\",\"input\":1}"); /* waits, and is dropped */
    expect(&f, TT_MESSAGE_PROGRESS, 1);
    finish(&f);
    assert_int_equal(f.result, 0);
    assert_int_equal(f.n_stops, 1);
}

static void a_job_that_cannot_be_read_is_refused_alone(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, echo);
    expect(&f, TT_MESSAGE_READY, 0);
    send_bytes(&f, TT_MESSAGE_JOB, 1, 1, "{\"id\":\"a\"}");
    expect(&f, TT_MESSAGE_ERROR, 1);
    assert_non_null(strstr(f.bytes.data, "InvalidJob"));
    expect(&f, TT_MESSAGE_END, 1);
    send_bytes(&f, TT_MESSAGE_JOB, 2, 1, "{\"id\":\"a\",\"input\":2}");
    expect_text(&f, TT_MESSAGE_END, 2, "2");
    quit(&f);
}

static int grow(void *context, int current) {
    (void)context;
    return current < 3 ? current + 1 : 0; /* 0: keeps it */
}

static size_t count_metrics(void *context, char *text, size_t size) {
    (void)context;
    return (size_t)snprintf(text, size, "x 1\n");
}

static void the_modifier_and_the_metrics_are_asked_for(void **state) {
    (void)state;
    fixture f = {.config = {.concurrency_modifier = grow, .metrics = count_metrics}};
    int64_t concurrency = 1;
    int n_metrics = 0;
    begin(&f, echo);
    while (concurrency < 3 || n_metrics < 3) {
        uint32_t type = next(&f);
        if (type == TT_MESSAGE_CONCURRENCY) assert_int_equal(f.header.value, ++concurrency);
        if (type == TT_MESSAGE_METRICS) assert_string_equal(f.bytes.data, "x 1\n");
        if (type == TT_MESSAGE_METRICS) n_metrics++;
        if (type == TT_MESSAGE_METRICS || type == TT_MESSAGE_READY) /* each ended job hurries it */
            send_bytes(&f, TT_MESSAGE_JOB, 1, 1, "{\"id\":\"a\",\"input\":2}");
    }
    assert_int_equal(concurrency, 3);
    send_bytes(&f, TT_MESSAGE_QUIT, 0, 0, NULL);
    while (next(&f)) {
    }
    finish(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_answered_in_one_packet),
        cmocka_unit_test(a_large_answer_comes_in_packets_that_say_its_size),
        cmocka_unit_test(as_many_run_at_once_as_threads_were_asked_for),
        cmocka_unit_test(fewer_threads_run_fewer_jobs),
        cmocka_unit_test(start_and_the_only_handler_share_a_thread),
        cmocka_unit_test(a_failed_start_is_told_with_its_reason),
        cmocka_unit_test(a_failed_check_is_told_with_its_name),
        cmocka_unit_test(a_stream_is_at_most_eight_chunks_ahead),
        cmocka_unit_test(the_newest_progress_wins_and_never_more_than_one_is_under_way),
        cmocka_unit_test(the_end_of_the_channel_cancels_what_runs),
        cmocka_unit_test(a_job_that_cannot_be_read_is_refused_alone),
        cmocka_unit_test(the_modifier_and_the_metrics_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
