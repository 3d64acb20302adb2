/* The table of waits: taken once, by job, by deadline or by token; in order; also when memory fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/waits.h"
#include "base/alloc.h"

static tt__waits *new_table(void) {
    tt__waits *w;
    assert_int_equal(tt__waits_new(&w, NULL), TT_OK);
    return w;
}

static tt__wait *put(tt__waits *w, const char *id, tt__wait_kind kind, int64_t deadline_ms,
                     tt__wait_token *token) {
    tt__wait *wait;
    assert_int_equal(tt__waits_reserve(w, &wait, token, NULL), TT_OK);
    snprintf(wait->call.id, sizeof wait->call.id, "%s", id);
    wait->kind = kind;
    wait->deadline_ms = deadline_ms;
    return wait;
}

static tt__wait *put_active(tt__waits *w, const char *id, tt__wait_kind kind, int64_t deadline_ms,
                            tt__wait_token *token) {
    tt__wait *wait = put(w, id, kind, deadline_ms, token);
    assert_int_not_equal(tt__waits_activate(w, wait), TT__NOT_ACTIVE);
    return wait;
}

static int free_list(tt__waits *w, tt__wait *list) {
    int n = 0;
    for (tt__wait *next; list; list = next, n++) {
        next = list->next;
        tt__wait_free(w, list);
    }
    return n;
}

static void a_jobs_waits_are_taken_together_and_once(void **state) {
    (void)state;
    tt__waits *w = new_table();
    tt__wait_token token;
    for (int i = 0; i < 1000; i++) {
        char id[32];
        snprintf(id, sizeof id, "job-%d", i % 10);
        put_active(w, id, i % 3 ? TT__WAIT_STATUS : TT__WAIT_STREAM, 1000 + i, &token);
    }
    assert_int_equal(free_list(w, tt__waits_take_job(w, "job-3", true)), 34);
    assert_int_equal(free_list(w, tt__waits_take_job(w, "job-3", false)), 66);
    assert_null(tt__waits_take_job(w, "job-3", false));
    assert_null(tt__waits_take_job(w, "job-33", false));
    assert_int_equal(free_list(w, tt__waits_take_all(w)), 900);
    assert_int_equal(tt__waits_next_deadline(w), INT64_MAX);
    tt__waits_free(w);
}

static void deadlines_come_in_order(void **state) {
    (void)state;
    tt__waits *w = new_table();
    tt__wait_token token;
    uint32_t random = 1;
    for (int i = 0; i < 2000; i++) {
        random = random * 1664525u + 1013904223u;
        put_active(w, i % 2 ? "a" : "b", TT__WAIT_STATUS, (int64_t)(random >> 20), &token);
    }
    assert_int_equal(free_list(w, tt__waits_take_job(w, "a", false)), 1000);
    int n = 0;
    for (int64_t next; (next = tt__waits_next_deadline(w)) != INT64_MAX;) {
        tt__wait *due = tt__waits_take_due(w, next);
        for (tt__wait *at = due; at; at = at->next) assert_int_equal(at->deadline_ms, next);
        n += free_list(w, due);
        assert_true(tt__waits_next_deadline(w) > next);
    }
    assert_int_equal(n, 1000);
    tt__waits_free(w);
}

static void the_nearest_deadline_is_told(void **state) {
    (void)state;
    tt__waits *w = new_table();
    tt__wait_token token;
    static const int64_t deadlines[] = {500, 600, 400, 400};
    static const tt__activated expected[] = {TT__ACTIVE_FIRST, TT__ACTIVE, TT__ACTIVE_FIRST,
                                             TT__ACTIVE};
    for (int i = 0; i < 4; i++)
        assert_int_equal(tt__waits_activate(w, put(w, "a", TT__WAIT_STATUS, deadlines[i], &token)),
                         expected[i]);
    free_list(w, tt__waits_take_all(w));
    tt__waits_free(w);
}

static void a_token_is_good_once(void **state) {
    (void)state;
    tt__waits *w = new_table();
    tt__wait_token first, second;
    bool has_events;
    put_active(w, "a", TT__WAIT_STATUS, 5, &first);
    assert_int_equal(free_list(w, tt__waits_take_token(w, first)), 1);
    assert_null(tt__waits_take_token(w, first));
    put_active(w, "a", TT__WAIT_STATUS, 5, &second); /* the same slot */
    assert_null(tt__waits_take_token(w, first));
    assert_null(tt__waits_gone(w, first, &has_events));
    assert_int_equal(free_list(w, tt__waits_gone(w, second, &has_events)), 1);
    assert_null(tt__waits_take_token(w, (tt__wait_token)12345678));
    tt__waits_free(w);
}

static void a_client_that_leaves_early_keeps_its_wait_out(void **state) {
    (void)state;
    tt__waits *w = new_table();
    tt__wait_token token;
    bool has_events;
    tt__wait *wait = put(w, "a", TT__WAIT_RUNSYNC, 5, &token);
    assert_null(tt__waits_take_token(w, token)); /* not yet active */
    assert_null(tt__waits_gone(w, token, &has_events));
    assert_int_equal(tt__waits_activate(w, wait), TT__NOT_ACTIVE);
    assert_null(tt__waits_take_all(w));
    tt__wait_free(w, wait);
    tt__waits_free(w);
}

static void events_are_marked_and_told_once(void **state) {
    (void)state;
    tt__waits *w = new_table();
    tt__wait_token token;
    bool has_events;
    tt__wait *a = put_active(w, "a", TT__WAIT_EVENTS, INT64_MAX, &token);
    tt__wait *b = put_active(w, "b", TT__WAIT_EVENTS, INT64_MAX, &token);
    assert_null(tt__waits_take_job(w, "a", false));
    assert_null(tt__waits_take_token(w, token));
    assert_false(tt__waits_mark(w, "c"));
    assert_true(tt__waits_mark(w, "a"));
    assert_false(tt__waits_mark(w, "a")); /* the loop knows already */
    assert_ptr_equal(tt__waits_take_dirty(w), a);
    assert_null(a->next);
    assert_null(tt__waits_gone(w, token, &has_events));
    assert_true(has_events);
    assert_true(tt__waits_is_gone(w, b));
    assert_false(tt__waits_await_no_events(w, 1));
    tt__waits_take_events(w, b); /* though it is marked */
    tt__wait_free(w, b);
    assert_null(tt__waits_take_dirty(w));
    tt__waits_take_events(w, a);
    tt__wait_free(w, a);
    assert_true(tt__waits_await_no_events(w, 1));
    tt__waits_free(w);
}

static void a_failed_allocation_leaves_the_table_whole(void **state) {
    (void)state;
    tt__waits *w = NULL;
    tt_alloc_fail_after(0);
    assert_int_equal(tt__waits_new(&w, NULL), TT_E_NOMEM);
    w = new_table();
    int n = 0, n_failed = 0;
    for (int i = 0; i < 200; i++) {
        tt__wait *wait;
        tt__wait_token token;
        if (i == 0 || i == 64 || i == 128) { /* the table grows: three arrays after the wait */
            for (int nth = 0; nth < 4; nth++) {
                tt_alloc_fail_after(nth);
                n_failed += tt__waits_reserve(w, &wait, &token, NULL) == TT_E_NOMEM;
                assert_null(wait);
            }
            tt_alloc_fail_after(-1);
        }
        put_active(w, "a", TT__WAIT_STATUS, i, &token);
        n++;
    }
    assert_int_equal(n_failed, 12);
    assert_int_equal(free_list(w, tt__waits_take_job(w, "a", false)), n);
    tt__waits_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jobs_waits_are_taken_together_and_once),
        cmocka_unit_test(deadlines_come_in_order),
        cmocka_unit_test(the_nearest_deadline_is_told),
        cmocka_unit_test(a_token_is_good_once),
        cmocka_unit_test(a_client_that_leaves_early_keeps_its_wait_out),
        cmocka_unit_test(events_are_marked_and_told_once),
        cmocka_unit_test(a_failed_allocation_leaves_the_table_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
