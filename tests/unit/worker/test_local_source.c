/* Jobs of a queue in this process: claimed as slots free up, reported, handed back; no job is lost when memory is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "job/queue_memory.h"
#include "worker/dispatch.h"
#include "worker/keeper.h"
#include "worker/local_source.h"
#include "worker/pool.h"

typedef struct fixture {
    tt_worker_config config;
    tt_pool_options pool;
    tt_loop *loop;
    tt_queue *queue;
    tt_local_source *source;
    tt_dispatch *dispatch;
    int keeper, n_ended, n_wanted;
    void (*on_progress)(struct fixture *f, const char *id);
} fixture;

static int64_t now_ms(void) {
    return tt_clock_us() / 1000;
}

static void act(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    if (tt_job_bool(job, "waits", false)) {
        tt_reply_progress(reply, "1", 1);
        while (tt_job_sleep_ms(job, 3600 * 1000)) {
        }
    } else if (tt_job_bool(job, "fails", false)) {
        tt_reply_error(reply, "bad");
    } else {
        tt_reply_string(reply, "done %d", tt_job_attempt(job));
    }
}

static void on_event(void *context, tt_queue_event event, const char *id, const char *worker_id,
                     int attempt) {
    fixture *f = context;
    (void)worker_id;
    (void)attempt;
    if (event == TT_QUEUE_PROGRESS && f->on_progress) f->on_progress(f, id);
    if (event == TT_QUEUE_ENDED && ++f->n_ended == f->n_wanted) tt_dispatch_drain(f->dispatch);
}

static void on_ready(void *context) {
    fixture *f = context;
    tt_local_source_start(f->source, f->dispatch);
}

static void begin(fixture *f, const tt_dispatch_options *given) {
    tt_err err;
    int fd;
    f->config.handler = act;
    f->pool = (tt_pool_options){.config = &f->config};
    assert_int_equal(tt_keeper_start(tt_pool_run, &f->pool, &fd, &f->keeper, &err), TT_OK);
    assert_int_equal(tt_loop_new(&f->loop, &err), TT_OK);
    assert_int_equal(tt_queue_memory_new(&(tt_queue_memory_options){0}, &f->queue, &err), TT_OK);
    assert_int_equal(tt_local_source_new(f->loop, NULL, f->queue, "here", &f->source, &err), TT_OK);
    assert_int_equal(f->queue->listen(f->queue, on_event, f, &err), TT_OK);
    tt_dispatch_options options = *given;
    options.loop = f->loop;
    options.source = tt_local_source_source(f->source);
    options.channel_fd = fd;
    options.context = f;
    options.ready = on_ready;
    options.hands_back = true;
    assert_int_equal(tt_dispatch_new(&options, &f->dispatch, &err), TT_OK);
}

static void submit(fixture *f, const char *id, const char *input) {
    char text[256];
    tt_job_spec spec = {.webhook = NULL};
    int n = snprintf(text, sizeof text, "{\"id\":\"%s\",\"input\":%s}", id, input);
    snprintf(spec.id, sizeof spec.id, "%s", id);
    assert_int_equal(tt_blob_new(text, (size_t)n, &spec.envelope, NULL), TT_OK);
    assert_int_equal(f->queue->submit(f->queue, &spec, now_ms(), NULL), TT_OK);
    tt_blob_release(spec.envelope);
}

static void end(fixture *f) {
    tt_local_source_free(f->source);
    tt_dispatch_free(f->dispatch);
    tt_keeper_end(f->keeper);
    f->queue->free(f->queue);
    tt_loop_free(f->loop);
}

static void run(fixture *f) {
    assert_int_equal(tt_loop_run(f->loop, NULL), TT_OK);
}

static void assert_job(fixture *f, const char *id, tt_job_state state, const char *output,
                       const char *error) {
    tt_job_view view;
    assert_int_equal(f->queue->get(f->queue, id, now_ms(), &view, NULL), TT_OK);
    assert_string_equal(tt_job_state_name(view.state), tt_job_state_name(state));
    if (output) assert_string_equal(view.output->data, output);
    if (error) assert_string_equal(view.error->data, error);
    tt_job_view_release(&view);
}

static void jobs_are_claimed_and_reported(void **state) {
    (void)state;
    fixture f = {.n_wanted = 21};
    char id[32];
    begin(&f, &(tt_dispatch_options){.concurrency = 3});
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "job-%d", i);
        submit(&f, id, "1");
    }
    submit(&f, "bad", "{\"fails\": true}");
    run(&f);
    assert_job(&f, "job-0", TT_JOB_COMPLETED, "\"done 1\"", NULL);
    assert_job(&f, "job-19", TT_JOB_COMPLETED, "\"done 1\"", NULL);
    assert_job(&f, "bad", TT_JOB_FAILED, NULL, "\"bad\"");
    end(&f);
}

static void cancel(fixture *f, const char *id) {
    assert_int_equal(f->queue->cancel(f->queue, id, now_ms(), NULL), TT_OK);
}

static void a_cancelled_job_frees_its_slot(void **state) {
    (void)state;
    fixture f = {.n_wanted = 2, .on_progress = cancel};
    begin(&f, &(tt_dispatch_options){.concurrency = 1});
    submit(&f, "first", "{\"waits\": true}");
    submit(&f, "second", "1");
    run(&f);
    assert_job(&f, "first", TT_JOB_CANCELLED, NULL, NULL);
    assert_job(&f, "second", TT_JOB_COMPLETED, "\"done 1\"", NULL);
    end(&f);
}

static void drain(fixture *f, const char *id) {
    (void)id;
    tt_dispatch_drain(f->dispatch);
}

static void a_job_that_the_end_interrupts_waits_again(void **state) {
    (void)state;
    fixture f = {.on_progress = drain};
    begin(&f, &(tt_dispatch_options){.concurrency = 1, .drain_ms = 1});
    submit(&f, "first", "{\"waits\": true}");
    submit(&f, "second", "1");
    run(&f);
    assert_job(&f, "first", TT_JOB_IN_QUEUE, NULL, NULL);
    assert_job(&f, "second", TT_JOB_IN_QUEUE, NULL, NULL);
    end(&f);
}

static void lost_memory_loses_no_job(void **state) {
    (void)state;
    for (int n = 0; n < 30; n++) {
        fixture f = {.n_wanted = 1};
        begin(&f, &(tt_dispatch_options){.concurrency = 1});
        submit(&f, "job", "1");
        tt_alloc_fail_after(n);
        run(&f);
        tt_alloc_fail_after(-1);
        tt_job_view view;
        assert_int_equal(f.queue->get(f.queue, "job", now_ms(), &view, NULL), TT_OK);
        assert_true(tt_job_state_is_final(view.state));
        if (view.state == TT_JOB_COMPLETED)
            assert_int_equal(strncmp(view.output->data, "\"done ", 6), 0);
        else
            assert_non_null(view.error);
        tt_job_view_release(&view);
        end(&f);
    }
    tt_local_source *source;
    tt_alloc_fail_after(0);
    assert_int_equal(tt_local_source_new(NULL, NULL, NULL, "x", &source, NULL), TT_E_NOMEM);
    tt_alloc_fail_after(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_claimed_and_reported),
        cmocka_unit_test(a_cancelled_job_frees_its_slot),
        cmocka_unit_test(a_job_that_the_end_interrupts_waits_again),
        cmocka_unit_test(lost_memory_loses_no_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
