/* The dispatcher with a real handler process behind a real keeper, and a source that writes down what it is told. The outside
 * truth: the error report's form is runpod.md A2's, deaths are the kernel's (signal(7)). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "worker/dispatch.h"
#include "worker/keeper.h"
#include "worker/pool.h"

enum { MAX_JOBS = 64, RESULT_BYTES = 2048 };

typedef struct result {
    bool has_ended, was_stopped, is_stream, stops_pod;
    size_t output_bytes;
    char output[RESULT_BYTES], error[RESULT_BYTES];
    char progress[RESULT_BYTES], chunks[RESULT_BYTES];
} result;

typedef struct fixture {
    tt_source source; /* first */
    tt_worker_config config;
    tt_pool_options pool;
    tt_dispatch_options options;
    tt_loop *loop;
    tt_dispatch *dispatch;
    int keeper;

    const char *const *jobs; /* inputs; NULL-terminated */
    const char *same_job;    /* or this one, n_jobs times */
    int n_jobs, n_given, n_ended, max_free, max_running, deadline_ms, n_ready;
    bool gives_all_at_once; /* whatever the slots say */
    bool runs_on;           /* when all have ended; else drain */
    void (*on_progress)(struct fixture *f, int job);
    void (*on_end)(struct fixture *f, int job);
    result results[MAX_JOBS];
    char unfit[RESULT_BYTES], metrics[RESULT_BYTES];
    struct { /* chunks whose `sent` waits */
        bool waits;
        void (*sent)(void *context);
        void *context;
        int n;
    } chunk;
    int handlers_pid;
} fixture;

/* ---- the source --------------------------------------------------------------------------------------------------- */

static void give(fixture *f) {
    char text[512];
    tt_envelope envelope;
    int n = f->n_given++;
    const char *input = f->same_job ? f->same_job : f->jobs[n];
    int size = snprintf(text, sizeof text, "{\"id\":\"job-%d\",\"input\":%s}", n, input);
    assert_int_equal(tt_envelope_parse(text, (size_t)size, NULL, &envelope, NULL), TT_OK);
    int64_t deadline_ms = f->deadline_ms ? tt_clock_us() / 1000 + f->deadline_ms : INT64_MAX;
    tt_status status =
        tt_dispatch_give(f->dispatch, (uint64_t)n + 1, &envelope, 1, deadline_ms, NULL);
    if (status != TT_OK) tt_envelope_release(&envelope);
    assert_int_equal(status, TT_OK);
}

static void on_slots(tt_source *s, int n_free, int n_running) {
    fixture *f = (fixture *)s;
    if (n_free > f->max_free) f->max_free = n_free;
    if (n_running > f->max_running) f->max_running = n_running;
    if (n_free == 0) return;
    if (f->gives_all_at_once) n_free = f->n_jobs;
    while (n_free-- > 0 && f->n_given < f->n_jobs) give(f);
}

static result *result_of(fixture *f, uint64_t key) {
    static result ignored;
    return key <= MAX_JOBS ? &f->results[key - 1] : &ignored;
}

static void copy(char out[RESULT_BYTES], const tt_blob *blob) {
    if (blob) snprintf(out, RESULT_BYTES, "%.*s", (int)blob->size, blob->data);
}

static void on_progress(tt_source *s, uint64_t key, tt_blob *value) {
    fixture *f = (fixture *)s;
    copy(result_of(f, key)->progress, value);
    if (f->on_progress) f->on_progress(f, (int)key - 1);
}

static void on_stream(tt_source *s, uint64_t key, tt_blob *chunk, void (*sent)(void *context),
                      void *context) {
    fixture *f = (fixture *)s;
    result *r = result_of(f, key);
    size_t used = strlen(r->chunks);
    f->chunk.n++;
    snprintf(r->chunks + used, RESULT_BYTES - used, "%.*s|", (int)chunk->size, chunk->data);
    f->chunk.sent = sent;
    f->chunk.context = context;
    if (!f->chunk.waits) sent(context);
}

static void on_finish(tt_source *s, uint64_t key, const tt_final *final, bool was_stopped) {
    fixture *f = (fixture *)s;
    result *r = result_of(f, key);
    assert_true(!r->has_ended || f->same_job); /* exactly once */
    *r = (result){.has_ended = true,
                  .was_stopped = was_stopped,
                  .is_stream = final->is_stream,
                  .stops_pod = final->stops_pod,
                  .output_bytes = final->output ? final->output->size : 0};
    copy(r->output, final->output);
    copy(r->error, final->error);
    if (was_stopped) assert_true(!final->output && !final->error);
    f->n_ended++;
    if (f->on_end) f->on_end(f, (int)key - 1);
    if (f->n_ended == f->n_jobs && !f->runs_on) tt_dispatch_drain(f->dispatch);
}

static void drained(void *context) {
    fixture *f = context;
    if (f->n_ended == f->n_given)
        tt_dispatch_source_drained(f->dispatch);
    else
        tt_loop_timer(f->loop, 1, drained, f, NULL, NULL);
}

static void on_drain(tt_source *s) {
    fixture *f = (fixture *)s;
    while (tt_loop_timer(f->loop, 0, drained, f, NULL, NULL) != TT_OK) {
    } /* only the Nth allocation fails */
}

/* ---- handlers ----------------------------------------------------------------------------------------------------- */

/* Does what the input's "do" says; other inputs are echoed. */
static void act(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    const char *what = tt_job_string(job, "do", "");
    int64_t n = tt_job_integer(job, "n", 0);
    char text[64];
    size_t size;
    const char *input = tt_job_input(job, &size);
    if (strcmp(what, "crash") == 0) {
        signal((int)n, SIG_DFL); /* sanitizers catch some */
        raise((int)n);
    } else if (strcmp(what, "exit") == 0) {
        _exit((int)n);
    } else if (strcmp(what, "wait") == 0) {
        tt_reply_progress(reply, "\"waits\"", 7);
        while (tt_job_sleep_ms(job, 3600 * 1000)) {
        }
        tt_reply_string(reply, "too late");
    } else if (strcmp(what, "hang") == 0) {
        tt_reply_progress(reply, "\"hangs\"", 7);
        for (;;) pause();
    } else if (strcmp(what, "sleep") == 0) {
        tt_reply_progress(reply, "\"sleeps\"", 8);
        tt_job_sleep_ms(job, n);
        tt_reply_string(reply, "slept");
    } else if (strcmp(what, "stream") == 0) {
        for (int64_t i = 0; i < n; i++) {
            int length = snprintf(text, sizeof text, "%d", (int)i);
            if (!tt_reply_stream(reply, text, (size_t)length)) return;
        }
        if (tt_job_bool(job, "fail", false)) tt_reply_error(reply, "soft");
    } else if (strcmp(what, "pieces") == 0) {
        tt_reply_append(reply, "\"", 1);
        memset(text, 'x', sizeof text);
        for (int64_t i = 0; i < n; i++) tt_reply_append(reply, text, sizeof text);
        tt_reply_append(reply, "\"", 1);
    } else if (strcmp(what, "error") == 0) {
        tt_reply_error(reply, "bad");
    } else {
        tt_reply_json(reply, input, size);
    }
}

/* ---- the fixture -------------------------------------------------------------------------------------------------- */

static void on_ready(void *context) {
    ((fixture *)context)->n_ready++;
}

static void on_unfit(void *context, const char *check, const char *reason) {
    fixture *f = context;
    snprintf(f->unfit, sizeof f->unfit, "%s: %s", check, reason);
    tt_loop_stop(f->loop);
}

static void on_metrics(void *context, const char *text, size_t size) {
    fixture *f = context;
    snprintf(f->metrics, sizeof f->metrics, "%.*s", (int)size, text);
}

static void begin(fixture *f) {
    tt_err err;
    int fd;
    f->source = (tt_source){on_slots, on_progress, on_stream, on_finish, on_drain};
    if (!f->config.handler) f->config.handler = act;
    f->config.context = f;
    f->pool = (tt_pool_options){.config = &f->config, .worker_id = "pod1", .hostname = "host1"};
    if (f->jobs)
        while (f->jobs[f->n_jobs]) f->n_jobs++;
    assert_int_equal(tt_keeper_start(tt_pool_run, &f->pool, &fd, &f->keeper, &err), TT_OK);
    assert_int_equal(tt_loop_new(&f->loop, &err), TT_OK);
    tt_dispatch_options *o = &f->options;
    o->loop = f->loop;
    o->source = &f->source;
    o->channel_fd = fd;
    if (!o->concurrency) o->concurrency = f->config.concurrency;
    o->is_streaming = f->config.is_streaming;
    o->return_aggregate_stream = f->config.return_aggregate_stream;
    o->refresh_worker = f->config.refresh_worker;
    o->worker_id = "pod1";
    o->hostname = "host1";
    o->context = f;
    o->ready = on_ready;
    o->unfit = on_unfit;
    o->metrics = on_metrics;
    if (!o->restart_ms) o->restart_ms = 1;
    assert_int_equal(tt_dispatch_new(o, &f->dispatch, &err), TT_OK);
}

static void end(fixture *f) {
    tt_dispatch_free(f->dispatch);
    tt_loop_free(f->loop);
    tt_keeper_end(f->keeper);
}

static void run(fixture *f) {
    begin(f);
    assert_int_equal(tt_loop_run(f->loop, NULL), TT_OK);
    end(f);
}

static void assert_answer(const result *r, const char *output, const char *error) {
    assert_true(r->has_ended);
    assert_false(r->was_stopped);
    assert_string_equal(r->output, output);
    assert_string_equal(r->error, error);
}

static void assert_crash(const result *r, const char *sentence) {
    json_object *text, *report;
    const char *value = NULL;
    assert_true(r->has_ended);
    assert_string_equal(r->output, "");
    assert_int_equal(tt_json_parse(r->error, strlen(r->error), &text, NULL), TT_OK);
    const char *inner = json_object_get_string(text);
    assert_int_equal(tt_json_parse(inner, strlen(inner), &report, NULL), TT_OK);
    tt_json_get_string(report, "error_type", &value, NULL);
    assert_string_equal(value, "HandlerCrashed");
    tt_json_get_string(report, "error_message", &value, NULL);
    assert_string_equal(value, sentence);
    tt_json_get_string(report, "worker_id", &value, NULL);
    assert_string_equal(value, "pod1");
    json_object_put(report);
    json_object_put(text);
}

/* ---- jobs --------------------------------------------------------------------------------------------------------- */

static void jobs_pass_to_the_handlers_and_back(void **state) {
    (void)state;
    static const char *const JOBS[] = {"1",  "{\"a\": [1]}", "{\"do\":\"error\"}",
                                       "{}", "\"é\"",        NULL};
    for (int concurrency = 1; concurrency <= 4; concurrency += 3) {
        fixture f = {.jobs = JOBS, .config = {.concurrency = concurrency}};
        run(&f);
        assert_answer(&f.results[0], "1", "");
        assert_answer(&f.results[1], "{\"a\": [1]}", "");
        assert_answer(&f.results[2], "", "\"bad\"");
        assert_answer(&f.results[3], "", "");
        assert_answer(&f.results[4], "\"é\"", "");
        assert_int_equal(f.max_free, concurrency);
        assert_int_equal(f.n_ready, 1);
    }
}

static void many_jobs_pass_one_after_the_other(void **state) {
    (void)state;
    enum { N = 10000 }; /* and LeakSanitizer looks on */
    const char *asked = getenv("TT_BENCH_JOBS");
    fixture f = {.same_job = "{}", .n_jobs = asked ? (int)strtol(asked, NULL, 10) : N};
    int64_t start_us = tt_clock_us();
    run(&f);
    double s = (double)(tt_clock_us() - start_us) / 1e6;
    print_message("%d jobs, %.0f per second\n", f.n_jobs, f.n_jobs / s);
    assert_int_equal(f.n_ended, f.n_jobs);
    assert_int_equal(f.max_running, 1);
}

static void more_jobs_than_slots_wait_their_turn(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"sleep\",\"n\":1}",
                 .n_jobs = 40,
                 .gives_all_at_once = true,
                 .config = {.concurrency = 3}};
    run(&f);
    assert_int_equal(f.n_ended, 40);
    for (int i = 0; i < 40; i++) assert_answer(&f.results[i], "\"slept\"", "");
}

static void an_answer_in_pieces_becomes_one(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"pieces\",\"n\":20000}", NULL};
    fixture f = {.jobs = JOBS};
    run(&f);
    assert_int_equal(f.results[0].output_bytes, 20000 * 64 + 2);
}

/* ---- death -------------------------------------------------------------------------------------------------------- */

static void a_crash_costs_one_job_and_says_how_it_died(void **state) {
    (void)state;
    static const char *const JOBS[] = {
        "1", "{\"do\":\"crash\",\"n\":11}", "2", "{\"do\":\"exit\",\"n\":3}",
        "3", "{\"do\":\"exit\",\"n\":0}",   "4", NULL};
    fixture f = {.jobs = JOBS};
    run(&f);
    assert_answer(&f.results[0], "1", "");
    assert_crash(&f.results[1], "the handler process was killed by signal 11 (Segmentation fault)");
    assert_answer(&f.results[2], "2", "");
    assert_crash(&f.results[3], "the handler process ended with status 3");
    assert_crash(&f.results[5], "the handler process ended with status 0");
    assert_answer(&f.results[6], "4", "");
    assert_int_equal(f.n_ready, 4);
    assert_string_equal(f.unfit, "");
}

static void a_crash_ends_what_ran_beside_it_and_spares_what_waits(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"wait\"}", "{\"do\":\"crash\",\"n\":9}", "7", "8",
                                       NULL};
    fixture f = {.jobs = JOBS, .gives_all_at_once = true, .config = {.concurrency = 2}};
    run(&f);
    assert_crash(&f.results[0], "the handler process was killed by signal 9 (Killed)");
    assert_crash(&f.results[1], "the handler process was killed by signal 9 (Killed)");
    assert_answer(&f.results[2], "7", "");
    assert_answer(&f.results[3], "8", "");
}

static void a_handler_that_always_dies_makes_the_worker_unfit(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"exit\",\"n\":1}", .n_jobs = 50};
    run(&f);
    assert_int_equal(f.n_ended, 1 + TT_MAX_HANDLER_RESTARTS);
    assert_string_equal(f.unfit, "handler process: the handler process ended with status 1, after "
                                 "6 deaths in a row");
}

static void when_the_worker_is_unfit_waiting_jobs_end_too(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"exit\",\"n\":1}", .n_jobs = 20, .gives_all_at_once = true};
    run(&f);
    assert_int_equal(f.n_ended, 20);
    for (int i = 0; i < 20; i++) assert_true(strstr(f.results[i].error, "HandlerCrashed"));
}

static tt_status fail_to_start(void *context, tt_err *err) {
    (void)context;
    snprintf(err->message, sizeof err->message, "no model");
    return TT_E_NOT_FOUND;
}

static void a_failed_start_makes_the_worker_unfit(void **state) {
    (void)state;
    fixture f = {.same_job = "1", .n_jobs = 1, .config = {.start = fail_to_start}};
    run(&f);
    assert_string_equal(f.unfit, "start: no model");
    assert_int_equal(f.n_given, 0);
}

static void kill_keeper(fixture *f, int job) {
    (void)job;
    kill(f->keeper, SIGKILL);
}

static void without_a_keeper_the_worker_is_unfit(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"wait\"}", NULL};
    fixture f = {.jobs = JOBS, .on_progress = kill_keeper};
    run(&f);
    assert_string_equal(f.unfit, "handler process: the handler process and its keeper are gone");
    assert_true(strstr(f.results[0].error, "HandlerCrashed"));
}

/* ---- stopping ----------------------------------------------------------------------------------------------------- */

static void cancel_all(fixture *f, int job) {
    (void)job;
    for (int i = f->n_given; i > 0; i--) tt_dispatch_cancel(f->dispatch, (uint64_t)i);
    tt_dispatch_cancel(f->dispatch, 999); /* unknown */
}

static void cancelled_jobs_end_as_stopped_whether_they_ran_or_waited(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"wait\"}",
                 .n_jobs = 4,
                 .gives_all_at_once = true,
                 .on_progress = cancel_all};
    run(&f);
    for (int i = 0; i < 4; i++) assert_true(f.results[i].was_stopped);
    assert_int_equal(f.n_ready, 1);
}

static void a_job_that_saw_its_deadline_is_stopped(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"wait\"}", NULL};
    fixture f = {.jobs = JOBS, .deadline_ms = 1};
    run(&f);
    assert_true(f.results[0].was_stopped);
}

static void a_stopped_job_that_hangs_has_its_process_replaced(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"hang\"}", "5", NULL};
    fixture f = {.jobs = JOBS, .on_progress = cancel_all, .options = {.stop_grace_ms = 10}};
    run(&f);
    assert_true(f.results[0].was_stopped);
    assert_answer(&f.results[1], "5", "");
    assert_int_equal(f.n_ready, 2);
}

static void drain(fixture *f, int job) {
    (void)job;
    tt_dispatch_drain(f->dispatch);
}

static void a_drain_lets_jobs_finish(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"sleep\",\"n\":5}",
                 .n_jobs = 3,
                 .gives_all_at_once = true,
                 .on_progress = drain};
    run(&f);
    for (int i = 0; i < 3; i++) assert_answer(&f.results[i], "\"slept\"", "");
}

static void a_drain_hands_back_what_has_not_started(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"sleep\",\"n\":5}",
                 .n_jobs = 3,
                 .gives_all_at_once = true,
                 .on_progress = drain,
                 .options = {.hands_back = true}};
    run(&f);
    assert_answer(&f.results[0], "\"slept\"", "");
    assert_true(f.results[1].was_stopped);
    assert_true(f.results[2].was_stopped);
}

static void give_up(fixture *f, int job) {
    (void)job;
    tt_dispatch_drain(f->dispatch);
    tt_dispatch_give_up(f->dispatch);
}

static void giving_up_cancels_what_runs(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"wait\"}",
                 .n_jobs = 2,
                 .gives_all_at_once = true,
                 .on_progress = give_up};
    run(&f);
    assert_true(f.results[0].was_stopped);
    assert_true(f.results[1].was_stopped);
}

static void giving_up_does_not_wait_for_a_handler_that_hangs(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"hang\"}",
                 .n_jobs = 1,
                 .on_progress = give_up,
                 .options = {.end_grace_ms = 20}};
    run(&f);
    assert_true(f.results[0].was_stopped);
}

static void a_drain_has_a_limit(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"wait\"}",
                 .n_jobs = 1,
                 .on_progress = drain,
                 .options = {.drain_ms = 5}};
    run(&f);
    assert_true(f.results[0].was_stopped);
}

static tt_status start_for_ever(void *context, tt_err *err) {
    (void)context;
    (void)err;
    while (pause() < 0) {
    }
    return TT_OK;
}

static void drain_now(void *context) {
    tt_dispatch_drain(((fixture *)context)->dispatch);
}

static void a_worker_that_is_still_starting_ends_at_once(void **state) {
    (void)state;
    fixture f = {.same_job = "1", .n_jobs = 1, .config = {.start = start_for_ever}};
    begin(&f);
    tt_loop_timer(f.loop, 1, drain_now, &f, NULL, NULL);
    assert_int_equal(tt_loop_run(f.loop, NULL), TT_OK);
    end(&f);
    assert_int_equal(f.n_given, 0);
}

/* The handler process stands still, large jobs fill the channel, and the loop goes on. */
static void wake_handlers(void *context) {
    fixture *f = context;
    kill(f->handlers_pid, SIGCONT);
}

static size_t write_pid(void *context, char *text, size_t size) {
    (void)context;
    return (size_t)snprintf(text, size, "%d", (int)getpid());
}

static void take_pid(void *context, const char *text, size_t size) {
    (void)size;
    fixture *f = context;
    bool is_first = f->handlers_pid == 0;
    f->handlers_pid = (int)strtol(text, NULL, 10);
    if (!is_first) return;
    kill(f->handlers_pid, SIGSTOP);
    for (f->n_jobs = 0; f->n_jobs < 8; f->n_jobs++) {
        enum { SIZE = 1 << 20 };
        tt_buf text_of_job;
        tt_envelope envelope;
        tt_buf_init(&text_of_job, SIZE + 64);
        tt_buf_puts(&text_of_job, "{\"id\":\"large\",\"input\":\"", NULL);
        tt_buf_reserve(&text_of_job, SIZE, NULL);
        memset(text_of_job.data + text_of_job.size, 'x', SIZE);
        text_of_job.size += SIZE;
        tt_buf_puts(&text_of_job, "\"}", NULL);
        tt_envelope_parse(text_of_job.data, text_of_job.size, NULL, &envelope, NULL);
        tt_buf_release(&text_of_job);
        f->n_given++;
        assert_int_equal(
            tt_dispatch_give(f->dispatch, (uint64_t)f->n_jobs + 1, &envelope, 1, INT64_MAX, NULL),
            TT_OK);
    }
    tt_dispatch_cancel(f->dispatch, 2); /* its text is on the way or waits for it */
    tt_loop_timer(f->loop, 50, wake_handlers, f, NULL, NULL);
}

static void a_handler_process_that_stands_still_does_not_block_the_loop(void **state) {
    (void)state;
    fixture f = {.config = {.concurrency = 8, .metrics = write_pid}};
    begin(&f);
    tt_dispatch_free(f.dispatch); /* once more, with another callback */
    tt_keeper_end(f.keeper);
    int fd;
    assert_int_equal(tt_keeper_start(tt_pool_run, &f.pool, &fd, &f.keeper, NULL), TT_OK);
    f.options.channel_fd = fd;
    f.options.metrics = take_pid;
    assert_int_equal(tt_dispatch_new(&f.options, &f.dispatch, NULL), TT_OK);
    assert_int_equal(tt_loop_run(f.loop, NULL), TT_OK);
    end(&f);
    assert_int_equal(f.n_ended, 8);
    assert_true(f.results[1].was_stopped);
    for (int i = 0; i < 8; i++)
        if (i != 1) assert_int_equal(f.results[i].output_bytes, (1 << 20) + 2);
}

/* ---- streams and progress ----------------------------------------------------------------------------------------- */

static void a_stream_arrives_in_order_and_ends_with_an_empty_list(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"stream\",\"n\":20}", "{\"do\":\"stream\"}",
                                       "{\"do\":\"stream\",\"n\":2,\"fail\":true}", NULL};
    fixture f = {.jobs = JOBS, .config = {.is_streaming = true}};
    run(&f);
    assert_answer(&f.results[0], "[]", "");
    assert_answer(&f.results[1], "[]", "");
    assert_answer(&f.results[2], "", "\"soft\"");
    assert_true(f.results[0].is_stream);
    assert_int_equal(f.chunk.n, 22);
}

static void an_aggregated_stream_repeats_all_chunks(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"stream\",\"n\":3}", "{\"do\":\"stream\"}",
                                       "{\"do\":\"stream\",\"n\":2,\"fail\":true}", NULL};
    fixture f = {.jobs = JOBS, .config = {.is_streaming = true, .return_aggregate_stream = true}};
    run(&f);
    assert_answer(&f.results[0], "[0, 1, 2]", "");
    assert_answer(&f.results[1], "[]", "");
    assert_answer(&f.results[2], "", "\"soft\"");
}

static void release_chunk(void *context) {
    fixture *f = context;
    if (f->chunk.sent) f->chunk.sent(f->chunk.context);
    f->chunk.sent = NULL;
    if (f->chunk.n < 8)
        tt_loop_timer(f->loop, 1, release_chunk, f, NULL, NULL);
    else
        tt_dispatch_cancel(f->dispatch, 1);
}

/* Chunks that nobody sends hold the handler up; it is cancelled while it waits; a late `sent` is harmless. */
static void chunks_that_are_not_sent_hold_the_handler_up(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"stream\",\"n\":1000}", NULL};
    fixture f = {.jobs = JOBS, .config = {.is_streaming = true}, .chunk = {.waits = true}};
    begin(&f);
    tt_loop_timer(f.loop, 1, release_chunk, &f, NULL, NULL);
    assert_int_equal(tt_loop_run(f.loop, NULL), TT_OK);
    assert_true(f.chunk.n < 20);
    if (f.chunk.sent) f.chunk.sent(f.chunk.context); /* after the end of its job */
    end(&f);
    assert_true(f.results[0].was_stopped);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

static void refresh_worker_ends_after_the_first_job(void **state) {
    (void)state;
    static const char *const JOBS[] = {"1", "2", NULL};
    fixture f = {.jobs = JOBS, .runs_on = true, .config = {.refresh_worker = true}};
    run(&f);
    assert_answer(&f.results[0], "1", "");
    assert_true(f.results[0].stops_pod);
    assert_int_equal(f.n_given, 1);
}

static void a_job_may_ask_for_a_new_worker(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"refresh_worker\": true, \"x\": 1}", "2", NULL};
    fixture f = {.jobs = JOBS};
    run(&f);
    assert_answer(&f.results[0], "{\"x\": 1}", "");
    assert_true(f.results[0].stops_pod);
    assert_answer(&f.results[1], "2", "");
    assert_false(f.results[1].stops_pod);
}

static int grow(void *context, int current) {
    (void)context;
    return current < 4 ? 4 : current;
}

static void slots_follow_the_modifier_while_jobs_run(void **state) {
    (void)state;
    fixture f = {.same_job = "{\"do\":\"sleep\",\"n\":40}",
                 .n_jobs = 24,
                 .config = {.concurrency_modifier = grow}};
    run(&f);
    assert_int_equal(f.n_ended, 24);
    assert_int_equal(f.max_running, 4);
}

static void counts_can_be_asked_for_by_any_thread(void **state) {
    (void)state;
    static const char *const JOBS[] = {"1", "{\"do\":\"exit\",\"n\":1}", "2", NULL};
    fixture f = {.jobs = JOBS};
    tt_dispatch_counts counts;
    begin(&f);
    tt_dispatch_get_counts(f.dispatch, &counts);
    assert_false(counts.is_ready);
    assert_int_equal(tt_loop_run(f.loop, NULL), TT_OK);
    tt_dispatch_get_counts(f.dispatch, &counts);
    assert_int_equal(counts.running, 0);
    assert_int_equal(counts.restarts, 1);
    assert_true(counts.crashed_jobs >= 1);
    end(&f);
}

static void lost_memory_loses_no_job(void **state) {
    (void)state;
    static const char *const JOBS[] = {"{\"do\":\"stream\",\"n\":3}", NULL};
    for (int n = 0; n < 40; n++) {
        fixture f = {.jobs = JOBS,
                     .config = {.is_streaming = true, .return_aggregate_stream = true}};
        begin(&f);
        give(&f);
        tt_alloc_fail_after(n);
        assert_int_equal(tt_loop_run(f.loop, NULL), TT_OK);
        tt_alloc_fail_after(-1);
        end(&f);
        assert_true(f.results[0].has_ended);
        if (strcmp(f.results[0].output, "[0, 1, 2]") != 0)
            assert_true(strstr(f.results[0].error, "out of memory") != NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_pass_to_the_handlers_and_back),
        cmocka_unit_test(many_jobs_pass_one_after_the_other),
        cmocka_unit_test(more_jobs_than_slots_wait_their_turn),
        cmocka_unit_test(an_answer_in_pieces_becomes_one),
        cmocka_unit_test(a_crash_costs_one_job_and_says_how_it_died),
        cmocka_unit_test(a_crash_ends_what_ran_beside_it_and_spares_what_waits),
        cmocka_unit_test(a_handler_that_always_dies_makes_the_worker_unfit),
        cmocka_unit_test(when_the_worker_is_unfit_waiting_jobs_end_too),
        cmocka_unit_test(a_failed_start_makes_the_worker_unfit),
        cmocka_unit_test(without_a_keeper_the_worker_is_unfit),
        cmocka_unit_test(cancelled_jobs_end_as_stopped_whether_they_ran_or_waited),
        cmocka_unit_test(a_job_that_saw_its_deadline_is_stopped),
        cmocka_unit_test(a_stopped_job_that_hangs_has_its_process_replaced),
        cmocka_unit_test(a_drain_lets_jobs_finish),
        cmocka_unit_test(a_drain_hands_back_what_has_not_started),
        cmocka_unit_test(giving_up_cancels_what_runs),
        cmocka_unit_test(giving_up_does_not_wait_for_a_handler_that_hangs),
        cmocka_unit_test(a_drain_has_a_limit),
        cmocka_unit_test(a_worker_that_is_still_starting_ends_at_once),
        cmocka_unit_test(a_handler_process_that_stands_still_does_not_block_the_loop),
        cmocka_unit_test(a_stream_arrives_in_order_and_ends_with_an_empty_list),
        cmocka_unit_test(an_aggregated_stream_repeats_all_chunks),
        cmocka_unit_test(chunks_that_are_not_sent_hold_the_handler_up),
        cmocka_unit_test(refresh_worker_ends_after_the_first_job),
        cmocka_unit_test(a_job_may_ask_for_a_new_worker),
        cmocka_unit_test(slots_follow_the_modifier_while_jobs_run),
        cmocka_unit_test(counts_can_be_asked_for_by_any_thread),
        cmocka_unit_test(lost_memory_loses_no_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
