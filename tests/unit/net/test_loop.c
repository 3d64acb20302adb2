/* The event loop: what runs, in which order, on which thread, and what happens to what is taken back in between. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/loop.h"
#include "net/timers.h"

enum { GIVE_UP_MS = 60 * 1000 }; /* a test that hangs fails instead */

static tt_loop *loop;
static char trace[4096]; /* what ran: one letter each */

static void note(char letter) {
    size_t n = strlen(trace);
    assert_true(n + 1 < sizeof trace);
    trace[n] = letter;
    trace[n + 1] = '\0';
}

static void say(void *letter) {
    note(*(const char *)letter);
}

static void stop(void *unused) {
    (void)unused;
    tt_loop_stop(loop);
}

static void give_up(void *unused) {
    (void)unused;
    note('!');
    tt_loop_stop(loop);
}

static int set_up(void **state) {
    (void)state;
    trace[0] = '\0';
    return tt_loop_new(&loop, NULL) == TT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    tt_loop_free(loop);
    return 0;
}

static tt_timer *after(int64_t delay_ms, tt_loop_fn fn, void *context) {
    tt_timer *timer;
    assert_int_equal(tt_loop_timer(loop, delay_ms, fn, context, &timer, NULL), TT_OK);
    return timer;
}

static void post(tt_loop_fn fn, void *context) {
    assert_int_equal(tt_loop_post(loop, fn, context, NULL), TT_OK);
}

static void run(void) {
    tt_err err;
    tt_timer *limit = after(GIVE_UP_MS, give_up, NULL);
    assert_int_equal(tt_loop_run(loop, &err), TT_OK);
    assert_null(strchr(trace, '!'));
    tt_loop_timer_cancel(loop, limit);
}

/* ---- posts and stops --------------------------------------------------------------------------------------------- */

static void posted_calls_run_in_order(void **state) {
    (void)state;
    post(say, "a");
    post(say, "b");
    post(say, "c");
    post(stop, NULL);
    assert_string_equal(trace, ""); /* not from inside the call */
    run();
    assert_string_equal(trace, "abc");
}

static void post_again(void *context) {
    int *left = context;
    note('p');
    if (--*left > 0) post(post_again, left);
}

static void a_call_that_posts_itself_starves_nobody(void **state) {
    (void)state;
    int left = 1000000;
    post(post_again, &left);
    after(0, say, "t");
    after(0, stop, NULL);
    run();
    assert_non_null(strchr(trace, 't'));
    assert_true(left > 0);
}

static pthread_t loop_thread;

static void stop_if_on_loop_thread(void *unused) {
    (void)unused;
    note(pthread_equal(pthread_self(), loop_thread) ? 'y' : 'n');
    tt_loop_stop(loop);
}

static void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void *post_a_little_later(void *unused) {
    pause_ms(20); /* so that the loop sleeps, most likely; right either way */
    tt_loop_post(loop, stop_if_on_loop_thread, NULL, NULL);
    return unused;
}

static void a_post_from_another_thread_wakes_an_idle_loop(void **state) {
    (void)state;
    pthread_t other;
    loop_thread = pthread_self();
    assert_int_equal(pthread_create(&other, NULL, post_a_little_later, NULL), 0);
    run();
    pthread_join(other, NULL);
    assert_string_equal(trace, "y");
}

enum { N_POSTERS = 4, N_POSTS = 5000 };

static int n_counted;

static void count(void *unused) {
    (void)unused;
    if (++n_counted == N_POSTERS * N_POSTS) tt_loop_stop(loop);
}

static void *post_many(void *unused) {
    for (int i = 0; i < N_POSTS; i++) tt_loop_post(loop, count, NULL, NULL);
    return unused;
}

static void no_post_of_many_threads_is_lost(void **state) {
    (void)state;
    pthread_t threads[N_POSTERS];
    n_counted = 0;
    for (int i = 0; i < N_POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, NULL), 0);
    run();
    for (int i = 0; i < N_POSTERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(n_counted, N_POSTERS * N_POSTS);
}

static void a_stop_before_the_run_is_not_lost(void **state) {
    (void)state;
    tt_loop_stop(loop);
    post(say, "a");
    run();
    assert_string_equal(trace, "");
}

static void after_a_stop_nothing_begins_and_the_next_run_goes_on(void **state) {
    (void)state;
    post(say, "a");
    post(stop, NULL);
    post(say, "b");
    after(0, say, "t");
    run();
    assert_string_equal(trace, "a");
    after(0, stop, NULL);
    run();
    assert_string_equal(trace, "abt");
}

static void on_signal(int number) {
    (void)number;
    tt_loop_stop(loop);
}

static void a_signal_handler_may_stop_the_loop(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigaction(SIGALRM, &action, &before);
    alarm(1);
    run();
    sigaction(SIGALRM, &before, NULL);
}

static int64_t cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void an_idle_loop_sleeps(void **state) {
    (void)state;
    int64_t before = cpu_us();
    after(300, stop, NULL);
    run();
    assert_true(cpu_us() - before < 100 * 1000); /* a busy loop would take 300 ms */
}

/* ---- timers ------------------------------------------------------------------------------------------------------ */

static void timers_fire_in_order_of_time(void **state) {
    (void)state;
    after(30, say, "c");
    after(10, say, "a");
    after(40, stop, NULL);
    after(20, say, "b");
    assert_string_equal(trace, "");
    run();
    assert_string_equal(trace, "abc");
}

static void timers_of_one_moment_fire_in_the_order_set(void **state) {
    (void)state;
    static char letters[] = "abcdefghijklmnopqrstuvwxyz";
    for (int i = 0; i < 26; i++) after(0, say, &letters[i]);
    after(0, stop, NULL);
    run();
    assert_string_equal(trace, letters);
}

static void timers_are_never_early(void **state) {
    (void)state;
    for (int64_t ms = 0; ms < 8; ms++) {
        int64_t start_us = tt_clock_us();
        after(ms, stop, NULL);
        run();
        assert_true(tt_clock_us() - start_us >= 1000 * ms);
    }
}

static void set_another(void *context) {
    note('t');
    after(0, set_another, context);
}

static void a_timer_that_sets_itself_starves_nobody(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    after(0, set_another, NULL);
    assert_int_equal(tt_loop_watch(loop, ends[0], stop, NULL, NULL), TT_OK);
    run();
    tt_loop_unwatch(loop, ends[0]);
    close(ends[0]);
    close(ends[1]);
}

static tt_timer *victim;

static void cancel_victim(void *unused) {
    (void)unused;
    note('k');
    tt_loop_timer_cancel(loop, victim);
}

static void a_cancelled_timer_does_not_fire_even_when_due(void **state) {
    (void)state;
    after(0, cancel_victim, NULL);
    victim = after(0, say, "v");
    after(0, say, "w");
    after(0, stop, NULL);
    tt_loop_timer_cancel(loop, NULL);
    run();
    assert_string_equal(trace, "kw");
}

/* The heap against a plain rule: 2000 timers in no order, a third taken back and a third moved, come out by time and, within
 * one time, in the order in which they were set. */
static void many_timers_keep_their_order(void **state) {
    (void)state;
    enum { N = 2000, N_TIMES = 128 };
    tt__timers t = {.heap = NULL};
    tt_timer *all[N];
    uint32_t random = 1;
    for (int i = 0; i < N; i++) {
        random = random * 1664525 + 1013904223;
        assert_int_equal(tt__timers_add(&t, random >> 25, say, NULL, &all[i], NULL), TT_OK);
    }
    for (int i = 0; i + 1 < N; i += 3) {
        tt__timers_remove(&t, all[i]);
        tt__timers_move(&t, all[i + 1], N_TIMES - 1 - all[i + 1]->due_us);
    }
    int64_t time = -1;
    uint64_t order = 0;
    for (tt_timer *first; (first = tt__timers_first(&t)); tt__timers_remove(&t, first)) {
        assert_true(first->due_us > time || (first->due_us == time && first->order > order));
        time = first->due_us;
        order = first->order;
    }
    assert_int_equal(time, N_TIMES - 1);
    tt__timers_release(&t);
}

static void endless_delays_do_not_wrap(void **state) {
    (void)state;
    after(INT64_MAX, say, "x");
    after(INT64_MAX / 1000, say, "x");
    after(-5, say, "a");
    after(1, stop, NULL);
    run();
    assert_string_equal(trace, "a");
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

typedef struct pipe_pair {
    int read, write;
} pipe_pair;

static pipe_pair a, b;

static int set_up_pipes(void **state) {
    int ends[4];
    if (set_up(state) || pipe(ends) || pipe(ends + 2)) return -1;
    a = (pipe_pair){ends[0], ends[1]};
    b = (pipe_pair){ends[2], ends[3]};
    return 0;
}

static int tear_down_pipes(void **state) {
    tear_down(state);
    close(a.read);
    close(b.read);
    if (a.write >= 0) close(a.write);
    close(b.write);
    return 0;
}

static void watch(int fd, tt_loop_fn fn, void *context) {
    tt_err err;
    assert_int_equal(tt_loop_watch(loop, fd, fn, context, &err), TT_OK);
}

static void fill(const pipe_pair *p) {
    assert_int_equal(write(p->write, "x", 1), 1);
}

static void drain_and_stop(void *context) {
    const pipe_pair *p = context;
    char c;
    assert_int_equal(read(p->read, &c, 1), 1);
    note(c);
    tt_loop_stop(loop);
}

static void *fill_a_little_later(void *unused) {
    pause_ms(20);
    ssize_t n = write(a.write, "x", 1);
    (void)n;
    return unused;
}

static void a_descriptor_that_becomes_readable_is_told(void **state) {
    (void)state;
    pthread_t other;
    watch(a.read, drain_and_stop, &a);
    assert_int_equal(pthread_create(&other, NULL, fill_a_little_later, NULL), 0);
    run();
    pthread_join(other, NULL);
    assert_string_equal(trace, "x");
}

static int n_rounds_left;

static void leave_unread(void *unused) {
    (void)unused;
    note('r');
    if (--n_rounds_left == 0) tt_loop_stop(loop);
}

static void what_stays_readable_is_told_again(void **state) {
    (void)state;
    n_rounds_left = 3;
    fill(&a);
    watch(a.read, leave_unread, NULL);
    run();
    assert_string_equal(trace, "rrr");
}

static void a_closed_other_end_is_told(void **state) {
    (void)state;
    n_rounds_left = 1;
    watch(a.read, leave_unread, NULL);
    close(a.write);
    a.write = -1;
    run();
    assert_string_equal(trace, "r");
}

static void unwatch_both(void *unused) {
    (void)unused;
    note('u');
    tt_loop_unwatch(loop, a.read);
    tt_loop_unwatch(loop, b.read);
    after(10, stop, NULL);
}

static void unwatching_inside_a_callback_silences_events_already_fetched(void **state) {
    (void)state;
    fill(&a);
    fill(&b);
    watch(a.read, unwatch_both, NULL);
    watch(b.read, unwatch_both, NULL);
    run();
    assert_string_equal(trace, "u");
}

static void stop_with_s(void *unused) {
    (void)unused;
    note('s');
    tt_loop_stop(loop);
}

/* b's event was fetched together with a's; the new watch on b sees an event of its own. */
static void watch_b_anew(void *unused) {
    (void)unused;
    note('n');
    tt_loop_unwatch(loop, a.read);
    tt_loop_unwatch(loop, b.read);
    watch(b.read, stop_with_s, NULL);
}

static void watching_anew_inside_a_callback_does_not_inherit_events(void **state) {
    (void)state;
    fill(&a);
    fill(&b);
    watch(a.read, watch_b_anew, NULL);
    watch(b.read, watch_b_anew, NULL);
    run();
    assert_string_equal(trace, "ns");
}

static void a_descriptor_is_watched_once(void **state) {
    (void)state;
    tt_err err;
    watch(a.read, say, "a");
    assert_int_equal(tt_loop_watch(loop, a.read, say, "a", &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "watched already"));
    tt_loop_unwatch(loop, a.read);
    tt_loop_unwatch(loop, a.read); /* nothing left to take back */
    watch(a.read, say, "a");
}

static void what_is_no_descriptor_is_refused(void **state) {
    (void)state;
    tt_err err;
    assert_int_equal(tt_loop_watch(loop, -1, say, "a", &err), TT_E_INVALID);
    assert_int_equal(tt_loop_watch(loop, 1000, say, "a", &err), TT_E_IO);
    assert_non_null(strstr(err.message, "Bad file descriptor"));
    tt_loop_unwatch(loop, -1);
    tt_loop_unwatch(loop, 1 << 20);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void what_is_left_is_dropped_with_the_loop(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        after(i, say, "t");
        post(say, "p");
    }
    tt_loop_free(loop);
    assert_string_equal(trace, "");
    tt_loop_free(NULL);
    assert_int_equal(tt_loop_new(&loop, NULL), TT_OK); /* for tear_down */
}

static tt_status use_everything(tt_err *err) {
    tt_loop *mine;
    tt_status status = TT_OK;
    TT_TRY(tt_loop_new(&mine, err));
    TT_TRY_OUT(tt_loop_timer(mine, 0, say, "t", NULL, err));
    TT_TRY_OUT(tt_loop_post(mine, say, "p", err));
    TT_TRY_OUT(tt_loop_watch(mine, a.read, say, "w", err));
out:
    tt_loop_free(mine);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    tt_err err;
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK; n++) {
        tt_alloc_fail_after(n);
        status = use_everything(&err);
        assert_true(status == TT_OK || status == TT_E_NOMEM);
    }
    tt_alloc_fail_after(-1);
    assert_true(n > 4);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_PIPES(name) cmocka_unit_test_setup_teardown(name, set_up_pipes, tear_down_pipes)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(posted_calls_run_in_order),
        TEST(a_call_that_posts_itself_starves_nobody),
        TEST(a_post_from_another_thread_wakes_an_idle_loop),
        TEST(no_post_of_many_threads_is_lost),
        TEST(a_stop_before_the_run_is_not_lost),
        TEST(after_a_stop_nothing_begins_and_the_next_run_goes_on),
        TEST(a_signal_handler_may_stop_the_loop),
        TEST(an_idle_loop_sleeps),
        TEST(timers_fire_in_order_of_time),
        TEST(timers_of_one_moment_fire_in_the_order_set),
        TEST(timers_are_never_early),
        TEST(a_timer_that_sets_itself_starves_nobody),
        TEST(a_cancelled_timer_does_not_fire_even_when_due),
        TEST(many_timers_keep_their_order),
        TEST(endless_delays_do_not_wrap),
        TEST_PIPES(a_descriptor_that_becomes_readable_is_told),
        TEST_PIPES(what_stays_readable_is_told_again),
        TEST_PIPES(a_closed_other_end_is_told),
        TEST_PIPES(unwatching_inside_a_callback_silences_events_already_fetched),
        TEST_PIPES(watching_anew_inside_a_callback_does_not_inherit_events),
        TEST_PIPES(a_descriptor_is_watched_once),
        TEST(what_is_no_descriptor_is_refused),
        TEST(what_is_left_is_dropped_with_the_loop),
        TEST_PIPES(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
