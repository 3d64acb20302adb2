/* Requests that wait: /runsync, /status-sync and /stream?wait=, answered by what comes first. */
#include <sys/resource.h>

#include "unit/api/world.h"

static void runsync_answers_when_the_job_ends(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    raw_client c = raw_connect(w->port);
    send_request(&c, "POST /runsync", "", "{\"input\": 1}");
    int attempt = claim_attempt(w, id);
    assert_int_equal(strncmp(id, "sync-", 5), 0);
    finish(w, id, attempt, "[1, 2]", NULL);
    raw_answer a = raw_read_answer(&c, false);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body.data, "\"status\": \"COMPLETED\""));
    assert_non_null(strstr(a.body.data, "\"output\": [1, 2]}"));
    raw_answer_release(&a);
    send_request(&c, "POST /runsync", "", "{\"input\": 1}"); /* the connection is kept */
    finish(w, id, claim_attempt(w, id), NULL, "\"no\"");
    a = raw_read_answer(&c, false);
    assert_int_equal(a.status, 200); /* a failed job is an answered request */
    assert_non_null(strstr(a.body.data, "\"error\": \"no\"}"));
    raw_answer_release(&a);
    raw_close(&c);
}

static void runsync_gives_up_waiting_and_the_job_goes_on(void **state) {
    world *w = *state;
    char expected[512], id[TT_JOB_ID_BYTES], path[512];
    raw_client c = raw_connect(w->port);
    int64_t started = now_ms();
    send_request(&c, "POST /runsync?wait=1", "", "{\"input\": 1}"); /* moved to 1000 */
    int attempt = claim_attempt(w, id);
    raw_answer a = raw_read_answer(&c, false);
    assert_true(now_ms() - started >= 1000);
    snprintf(expected, sizeof expected, "{\"id\": \"%s\", \"status\": \"IN_PROGRESS\"}", id);
    assert_string_equal(a.body.data, expected);
    raw_answer_release(&a);
    raw_close(&c);
    finish(w, id, attempt, "1", NULL);
    expect_part(w, path_of(path, "GET /status/", id, ""), NULL, 200, "\"output\": 1}");
}

static void wait_must_be_a_number(void **state) {
    world *w = *state;
    expect_part(w, "POST /runsync?wait=long", "{\"input\": 1}", 400,
                "wait: expected milliseconds as a whole number, found long");
    expect_part(w, "POST /runsync?wait=-5", "{\"input\": 1}", 400, "found -5");
    expect_part(w, "GET /requests", NULL, 200, "[]"); /* nothing was submitted */
}

static void a_runsync_client_that_leaves_cancels_its_job(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    raw_client c = raw_connect(w->port);
    send_request(&c, "POST /runsync", "", "{\"input\": 1}");
    claim_attempt(w, id);
    raw_close(&c);
    assert_true(becomes(w, id, TT_JOB_CANCELLED));
}

static void a_status_sync_client_that_leaves_changes_nothing(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    raw_client leaves = raw_connect(w->port), stays = raw_connect(w->port);
    send_request(&leaves, path_of(path, "GET /status-sync/", id, "?wait=20000"), "", NULL);
    send_request(&stays, path, "", NULL);
    raw_close(&leaves);
    int attempt = claim_attempt(w, id);
    while (tt_http_server_connections(w->server) > 1) poll(NULL, 0, 1);
    finish(w, id, attempt, "7", NULL);
    raw_answer a = raw_read_answer(&stays, false);
    assert_non_null(strstr(a.body.data, "\"output\": 7}"));
    raw_answer_release(&a);
    raw_close(&stays);
}

static void status_sync_answers_at_once_or_after_its_wait(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    int attempt = claim_attempt(w, id);
    progress(w, id, attempt, "0.5");
    path_of(path, "POST /status-sync/", id, "?wait=1000");
    expect_part(w, path, NULL, 200, "\"status\": \"IN_PROGRESS\"");
    finish(w, id, attempt, "7", NULL);
    expect_part(w, path, NULL, 200, "\"output\": 7}");
}

static void cancel_and_purge_wake_who_waits(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    for (int purges = 0; purges < 2; purges++) {
        run_job(w, "{\"input\": 1}", id);
        raw_client c = raw_connect(w->port);
        send_request(&c, path_of(path, "GET /status-sync/", id, "?wait=20000"), "", NULL);
        expect(w, purges ? "POST /purge-queue" : path_of(path, "POST /cancel/", id, ""), NULL, 200,
               NULL);
        raw_answer a = raw_read_answer(&c, false);
        assert_int_equal(a.status, purges ? 404 : 200);
        raw_answer_release(&a);
        raw_close(&c);
    }
}

static void stream_drains_chunks_and_says_when_it_is_over(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512], expected[512];
    run_job(w, "{\"input\": 1}", id);
    path_of(path, "GET /stream/", id, "");
    expect_part(w, path, NULL, 200, "\"status\": \"IN_QUEUE\", \"stream\": []}");
    int attempt = claim_attempt(w, id);
    stream_chunk(w, id, attempt, "\"a\"");
    stream_chunk(w, id, attempt, "{\"k\": 1}");
    snprintf(expected, sizeof expected,
             "{\"id\": \"%s\", \"status\": \"IN_PROGRESS\", \"stream\": [{\"output\": \"a\"}, "
             "{\"output\": {\"k\": 1}}]}",
             id);
    expect(w, path, NULL, 200, expected);
    expect_part(w, path_of(path, "POST /stream/", id, ""), NULL, 200, "\"stream\": []}");
    for (int i = 0; i < 100; i++) stream_chunk(w, id, attempt, "3");
    finish(w, id, attempt, "[]", NULL);
    raw_answer a = ask(w, path, NULL);
    json_object *o = parse(&a), *list;
    assert_true(json_object_object_get_ex(o, "stream", &list));
    assert_int_equal(json_object_array_length(list), 100);
    assert_string_equal(string_of(o, "status"), "COMPLETED");
    json_object_put(o);
    raw_answer_release(&a);
    expect_part(w, path, NULL, 200, "\"status\": \"COMPLETED\", \"stream\": []}");
}

static void stream_with_wait_answers_at_the_first_chunk_or_the_end(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    int attempt = claim_attempt(w, id);
    path_of(path, "GET /stream/", id, "?wait=20000");
    for (int i = 0; i < 2; i++) {
        raw_client c = raw_connect(w->port);
        send_request(&c, path, "", NULL);
        poll(NULL, 0, 20); /* likely parked by now; right in either case */
        if (i == 0)
            stream_chunk(w, id, attempt, "5");
        else
            finish(w, id, attempt, NULL, NULL);
        raw_answer a = raw_read_answer(&c, false);
        assert_non_null(strstr(a.body.data, i == 0 ? "[{\"output\": 5}]}" : "COMPLETED"));
        raw_answer_release(&a);
        raw_close(&c);
    }
}

static void close_answers_503_to_all_who_wait(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    raw_client c = raw_connect(w->port);
    send_request(&c, "POST /runsync", "", "{\"input\": 1}");
    claim_attempt(w, id);
    tt_api_close(w->api);
    raw_answer a = raw_read_answer(&c, false);
    assert_int_equal(a.status, 503);
    raw_answer_release(&a);
    raw_close(&c);
}

static void a_job_that_times_out_wakes_its_waiter(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "Test", .execution_timeout_ms = 300});
    char id[TT_JOB_ID_BYTES];
    raw_client c = raw_connect(w.port);
    send_request(&c, "POST /runsync", "", "{\"input\": 1}");
    claim_attempt(&w, id);
    raw_answer a = raw_read_answer(&c, false); /* the API sweeps */
    assert_non_null(strstr(a.body.data, "\"status\": \"TIMED_OUT\""));
    assert_non_null(strstr(a.body.data, "\"error\": \"the job ran longer"));
    raw_answer_release(&a);
    raw_close(&c);
    world_close(&w);
}

static void allow_files(rlim_t n) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < n ? limit.rlim_max : n;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void two_thousand_wait_and_only_theirs_wake(void **state) {
    enum { N = 2000, N_JOBS = 20 };
    static raw_client clients[N];
    char ids[N_JOBS][TT_JOB_ID_BYTES], path[512];
    allow_files(2 * N + 100);
    world *w = *state;
    for (int j = 0; j < N_JOBS; j++) run_job(w, "{\"input\": 1}", ids[j]);
    for (int i = 0; i < N; i++) {
        clients[i] = raw_connect(w->port);
        send_request(&clients[i],
                     path_of(path, "GET /status-sync/", ids[i % N_JOBS], "?wait=300000"), "", NULL);
    }
    for (int j = 0; j < N_JOBS; j++) {
        char id[TT_JOB_ID_BYTES], output[32];
        int attempt = claim_attempt(w, id);
        assert_string_equal(id, ids[j]);
        snprintf(output, sizeof output, "\"job %d\"", j);
        finish(w, id, attempt, output, NULL);
        for (int i = j; i < N; i += N_JOBS) {
            raw_answer a = raw_read_answer(&clients[i], false);
            assert_non_null(strstr(a.body.data, output));
            raw_answer_release(&a);
        }
    }
    for (int i = 0; i < N; i++) raw_close(&clients[i]);
}

/* Ends, deadlines, leaving clients and new requests, all at once; every request that stays is answered. */
static void all_races_at_once(void **state) {
    enum { ROUNDS = 40, N = 24 };
    world *w = *state;
    for (int round = 0; round < ROUNDS; round++) {
        raw_client clients[N];
        char id[TT_JOB_ID_BYTES], path[512];
        run_job(w, "{\"input\": 1}", id);
        int attempt = claim_attempt(w, id);
        for (int i = 0; i < N; i++) {
            clients[i] = raw_connect(w->port);
            path_of(path, i % 3 ? "GET /status-sync/" : "GET /stream/", id, "?wait=1000");
            if (i % 5 == 4) path_of(path, "GET /events/", id, "");
            send_request(&clients[i], path, "", NULL);
            if (i % 4 == 1) raw_close(&clients[i]);
            if (i == round % N) stream_chunk(w, id, attempt, "1");
            if (i == (round * 7) % N) progress(w, id, attempt, "2");
            if (i == N - 1) finish(w, id, attempt, "3", NULL);
        }
        for (int i = 0; i < N; i++) {
            if (clients[i].fd < 0) continue;
            raw_answer a = raw_read_answer(&clients[i], false);
            assert_int_equal(a.status, 200);
            assert_true(a.is_whole);
            raw_answer_release(&a);
            raw_close(&clients[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        world_test(runsync_answers_when_the_job_ends),
        world_test(runsync_gives_up_waiting_and_the_job_goes_on),
        world_test(wait_must_be_a_number),
        world_test(a_runsync_client_that_leaves_cancels_its_job),
        world_test(a_status_sync_client_that_leaves_changes_nothing),
        world_test(status_sync_answers_at_once_or_after_its_wait),
        world_test(cancel_and_purge_wake_who_waits),
        world_test(stream_drains_chunks_and_says_when_it_is_over),
        world_test(stream_with_wait_answers_at_the_first_chunk_or_the_end),
        world_test(close_answers_503_to_all_who_wait),
        cmocka_unit_test(a_job_that_times_out_wakes_its_waiter),
        world_test(two_thousand_wait_and_only_theirs_wake),
        world_test(all_races_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
