/* RunPod's client API as its clients see it (runpod.md 4): every route, state and error, over a real server and queue. */
#include "unit/api/world.h"

static void run_answers_an_id_and_the_job_reaches_the_worker_as_sent(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], expected[512];
    run_job(w, "{\"input\": {\"n\":  1.50},\n \"s3Config\": {\"a\": 1}, \"odd\": [true]}", id);
    assert_true(tt_job_id_is_valid(id));
    tt_job_claim claim;
    claim_next(w, &claim);
    assert_string_equal(claim.id, id);
    snprintf(
        expected, sizeof expected,
        "{\"id\": \"%s\", \"input\": {\"n\":  1.50},\n \"s3Config\": {\"a\": 1}, \"odd\": [true]}",
        id);
    assert_string_equal(claim.envelope->data, expected);
    tt_blob_release(claim.envelope);
}

static void any_input_and_any_content_type_are_taken(void **state) {
    world *w = *state;
    static const char *const bodies[] = {"{\"input\": null}", "{\"input\": [1]}",
                                         "{\"input\": \"x\"}", "{\"input\": 5}", "{\"input\": {}}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        raw_answer a = ask_with(w, "POST /run",
                                "Content-Type: application/x-www-form-urlencoded\r\n", bodies[i]);
        assert_int_equal(a.status, 200);
        raw_answer_release(&a);
    }
}

static void status_follows_a_job_through_its_life(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    path_of(path, "GET /status/", id, "");
    expect_part(w, path, NULL, 200, "\"status\": \"IN_QUEUE\", \"delayTime\": ");
    int attempt = claim_attempt(w, id);
    expect_part(w, path, NULL, 200, "\"status\": \"IN_PROGRESS\"");
    progress(w, id, attempt, "{\"step\": 3}");
    expect_part(w, path, NULL, 200, "\"output\": {\"step\": 3}}");
    finish(w, id, attempt, "{\"image\": \"abc\"}", NULL);
    raw_answer a = ask(w, path_of(path, "POST /status/", id, ""), "");
    json_object *o = parse(&a), *value;
    assert_string_equal(string_of(o, "id"), id);
    assert_string_equal(string_of(o, "status"), "COMPLETED");
    assert_string_equal(string_of(o, "workerId"), "worker-1");
    static const char *const integers[] = {"delayTime", "executionTime", "retries"};
    for (int i = 0; i < 3; i++) { /* the Go client takes nothing else */
        assert_true(json_object_object_get_ex(o, integers[i], &value));
        assert_true(json_object_is_type(value, json_type_int));
    }
    assert_true(json_object_object_get_ex(o, "output", &value));
    assert_string_equal(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN),
                        "{\"image\":\"abc\"}");
    assert_false(json_object_object_get_ex(o, "error", &value));
    json_object_put(o);
    raw_answer_release(&a);
}

static void output_is_absent_when_there_is_none_and_null_when_it_is_null(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    finish(w, id, claim_attempt(w, id), NULL, NULL);
    raw_answer a = ask(w, path_of(path, "GET /status/", id, ""), NULL);
    assert_null(strstr(a.body.data, "output"));
    raw_answer_release(&a);
    run_job(w, "{\"input\": 1}", id);
    finish(w, id, claim_attempt(w, id), "null", NULL);
    expect_part(w, path_of(path, "GET /status/", id, ""), NULL, 200, "\"output\": null}");
}

static void error_is_always_a_string(void **state) {
    static const struct {
        const char *worker, *client;
    } cases[] = {
        {"\"boom \\u00e9\"", "\"error\": \"boom \\u00e9\"}"},
        {"[\"a\", \"b\"]", "\"error\": \"[\\\"a\\\", \\\"b\\\"]\"}"},
        {" {\"why\": 1}\n", "\"error\": \"{\\\"why\\\": 1}\"}"},
    };
    world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[TT_JOB_ID_BYTES], path[512];
        run_job(w, "{\"input\": 1}", id);
        finish(w, id, claim_attempt(w, id), "{\"half\": 1}", cases[i].worker);
        path_of(path, "GET /status/", id, "");
        expect_part(w, path, NULL, 200, "\"status\": \"FAILED\"");
        expect_part(w, path, NULL, 200, "\"output\": {\"half\": 1}, \"error\"");
        expect_part(w, path, NULL, 200, cases[i].client);
    }
}

static void every_operation_is_also_below_v2_endpoint(void **state) {
    world *w = *state;
    raw_answer a = ask(w, "POST /v2/any-name/run", "{\"input\": 1}");
    assert_int_equal(a.status, 200);
    json_object *o = parse(&a);
    char id[TT_JOB_ID_BYTES], path[512];
    snprintf(id, sizeof id, "%s", string_of(o, "id"));
    json_object_put(o);
    raw_answer_release(&a);
    expect_part(w, path_of(path, "GET /v2/x/status/", id, ""), NULL, 200, "IN_QUEUE");
    expect_part(w, path_of(path, "POST /v2/x/stream/", id, ""), NULL, 200, "\"stream\": []");
    expect_part(w, "GET /v2/x/health", NULL, 200, "inQueue");
    expect_part(w, "GET /v2/x/requests", NULL, 200, id);
    expect_part(w, path_of(path, "POST /v2/x/cancel/", id, ""), NULL, 200, "CANCELLED");
    expect(w, "POST /v2/x/purge-queue", NULL, 200, "{\"removed\": 0, \"status\": \"completed\"}");
    expect_part(w, "GET /v2/x/docs", NULL, 404, "no such path");
    expect_part(w, "GET /v2//health", NULL, 404, "no such path");
}

static void bad_bodies_are_told_in_one_sentence(void **state) {
    static const struct {
        const char *body, *sentence;
    } cases[] = {
        {"", "the body is empty"},
        {"{", "body: invalid JSON at line 1"},
        {"[1]", "must be a JSON object"},
        {"{\"prompt\": 1}", "no input"},
        {"{\"input\": 1, \"input\": 2}", "invalid JSON"},
        {"{\"input\": 1, \"policy\": 5}", "policy: expected an object, found a number"},
        {"{\"input\": 1, \"policy\": {\"executionTimeout\": 4999}}",
         "policy.executionTimeout: expected whole milliseconds from 5000 to 604800000, found 4999"},
        {"{\"input\": 1, \"policy\": {\"ttl\": 604800001}}",
         "policy.ttl: expected whole milliseconds"},
        {"{\"input\": 1, \"policy\": {\"ttl\": \"1h\"}}", "found \\\"1h\\\""},
        {"{\"input\": 1, \"policy\": {\"lowPriority\": 1}}",
         "policy.lowPriority: expected true or false"},
        {"{\"input\": 1, \"webhook\": 5}", "webhook: expected a URL, found a number"},
        {"{\"input\": 1, \"webhook\": \"ftp://x\"}", "webhook: "},
    };
    world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        raw_answer a = ask(w, i % 2 ? "POST /runsync" : "POST /run", cases[i].body);
        json_object *o = parse(&a);
        assert_int_equal(a.status, 400);
        if (!strstr(a.body.data, cases[i].sentence))
            fail_msg("expected \"%s\" in %s", cases[i].sentence, a.body.data);
        assert_int_equal(json_object_object_length(o), 1);
        string_of(o, "error");
        json_object_put(o);
        raw_answer_release(&a);
    }
}

static void unknown_jobs_paths_and_methods_are_told(void **state) {
    char path[4096];
    world *w = *state;
    static const char *const operations[] = {"GET /status/",  "POST /status/", "GET /status-sync/",
                                             "POST /stream/", "POST /cancel/", "POST /retry/",
                                             "GET /events/"};
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        path_of(path, operations[i], "nobody-u1", "");
        expect(w, path, NULL, 404,
               "{\"error\": \"no such job: nobody-u1 (its result may have expired)\"}");
    }
    memset(path, 'x', 1000);
    memcpy(path, "GET /status/", 12);
    path[1000] = '\0';
    expect_part(w, path, NULL, 404, "no such job");
    expect_part(w, "GET /nothing", NULL, 404, "no such path: /nothing");
    expect_part(w, "GET /status", NULL, 404, "no such path");
    expect_part(w, "GET /status/", NULL, 404, "no such path");
    expect_part(w, "GET /status/a/b", NULL, 404, "no such path");
    expect_part(w, "GET /%22%5C", NULL, 404, "no such path: /\\\"\\\\ (");
    static const struct {
        const char *request, *allow;
    } wrong[] = {{"GET /run", "POST, OPTIONS"},
                 {"DELETE /status/x", "GET, HEAD, POST, OPTIONS"},
                 {"POST /health", "GET, HEAD, OPTIONS"},
                 {"PUT /cancel/x", "POST, OPTIONS"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        raw_answer a = ask(w, wrong[i].request, NULL);
        assert_int_equal(a.status, 405);
        assert_string_equal(raw_header(&a, "Allow"), wrong[i].allow);
        json_object_put(parse(&a));
        raw_answer_release(&a);
    }
}

static void cancel_ends_a_job_and_tells_the_truth_of_ended_ones(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512], answer[512];
    run_job(w, "{\"input\": 1}", id); /* waiting */
    snprintf(answer, sizeof answer, "{\"id\": \"%s\", \"status\": \"CANCELLED\"}", id);
    expect(w, path_of(path, "POST /cancel/", id, ""), NULL, 200, answer);
    expect_part(w, path_of(path, "GET /status/", id, ""), NULL, 200, "CANCELLED");
    run_job(w, "{\"input\": 1}", id); /* running */
    claim_attempt(w, id);
    expect_part(w, path_of(path, "POST /cancel/", id, ""), NULL, 200, "CANCELLED");
    run_job(w, "{\"input\": 1}", id); /* ended */
    finish(w, id, claim_attempt(w, id), "1", NULL);
    expect_part(w, path_of(path, "POST /cancel/", id, ""), NULL, 200, "COMPLETED");
}

static void retry_runs_failed_jobs_again_under_their_id(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], again[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    path_of(path, "POST /retry/", id, "");
    expect_part(w, path, NULL, 409, "is IN_QUEUE: only FAILED and TIMED_OUT jobs can be retried");
    finish(w, id, claim_attempt(w, id), "1", "\"no\"");
    expect_part(w, path, NULL, 200, "\"status\": \"IN_QUEUE\"}");
    raw_answer a = ask(w, path_of(path, "GET /status/", id, ""), NULL);
    assert_null(strstr(a.body.data, "output"));
    assert_null(strstr(a.body.data, "error"));
    raw_answer_release(&a);
    finish(w, id, claim_attempt(w, again), "2", NULL);
    assert_string_equal(id, again);
    expect_part(w, path_of(path, "GET /status/", id, ""), NULL, 200, "\"retries\": 1");
    expect_part(w, path_of(path, "POST /retry/", id, ""), NULL, 409, "is COMPLETED");
}

static void purge_removes_waiting_jobs_only(void **state) {
    world *w = *state;
    char running[TT_JOB_ID_BYTES], waiting[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", running);
    claim_attempt(w, running);
    run_job(w, "{\"input\": 1}", waiting);
    run_job(w, "{\"input\": 1}", waiting);
    expect(w, "POST /purge-queue", NULL, 200, "{\"removed\": 2, \"status\": \"completed\"}");
    expect_part(w, path_of(path, "GET /status/", waiting, ""), NULL, 404, "no such job");
    expect_part(w, path_of(path, "GET /status/", running, ""), NULL, 200, "IN_PROGRESS");
}

static void health_has_all_counters(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    finish(w, id, claim_attempt(w, id), "1", NULL);
    run_job(w, "{\"input\": 1}", id);
    claim_attempt(w, id);
    run_job(w, "{\"input\": 1}", id);
    expect(w, "GET /health", NULL, 200,
           "{\"jobs\": {\"completed\": 1, \"failed\": 0, \"inProgress\": 1, \"inQueue\": 1, "
           "\"retried\": 0}, "
           "\"workers\": {\"idle\": 1, \"initializing\": 0, \"ready\": 2, \"running\": 3, "
           "\"throttled\": 0, "
           "\"unhealthy\": 0}}");
}

static void requests_lists_the_newest_first(void **state) {
    world *w = *state;
    char first[TT_JOB_ID_BYTES], last[TT_JOB_ID_BYTES];
    expect(w, "GET /requests", NULL, 200, "{\"requests\": []}");
    run_job(w, "{\"input\": 1}", first);
    for (int i = 0; i < 99; i++) run_job(w, "{\"input\": 1}", last);
    raw_answer a = ask(w, "GET /requests", NULL);
    json_object *o = parse(&a), *list;
    assert_true(json_object_object_get_ex(o, "requests", &list));
    assert_int_equal(json_object_array_length(list), 100);
    assert_string_equal(string_of(json_object_array_get_idx(list, 0), "id"), last);
    assert_string_equal(string_of(json_object_array_get_idx(list, 99), "id"), first);
    json_object_put(o);
    raw_answer_release(&a);
    run_job(w, "{\"input\": 1}", last);
    a = ask(w, "GET /requests", NULL);
    assert_null(strstr(a.body.data, first)); /* the 101st is forgotten */
    raw_answer_release(&a);
}

static void a_full_queue_is_429_with_retry_after(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){.max_waiting = 1},
                    (tt_api_options){.title = "Test"});
    char id[TT_JOB_ID_BYTES];
    run_job(&w, "{\"input\": 1}", id);
    raw_answer a = ask(&w, "POST /run", "{\"input\": 1}");
    assert_int_equal(a.status, 429);
    assert_non_null(raw_header(&a, "Retry-After"));
    json_object_put(parse(&a));
    raw_answer_release(&a);
    world_close(&w);
}

static void a_server_that_ends_takes_no_jobs_and_answers_for_those_it_has(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], what[TT_JOB_ID_BYTES + 32];
    run_job(w, "{\"input\": 1}", id);
    w->refuses_jobs = true;
    static const char *const submissions[] = {"POST /run", "POST /runsync"};
    for (size_t i = 0; i < 2; i++) {
        raw_answer a = ask(w, submissions[i], "{\"input\": 1}");
        assert_int_equal(a.status, 503);
        assert_non_null(raw_header(&a, "Retry-After"));
        raw_answer_release(&a);
    }
    snprintf(what, sizeof what, "GET /status/%s", id);
    raw_answer a = ask(w, what, NULL);
    assert_int_equal(a.status, 200);
    raw_answer_release(&a);
}

static void too_large_bodies_are_413(void **state) {
    world *w = *state;
    static const struct {
        const char *what;
        size_t size;
        int status;
    } cases[] = {{"POST /run", 10000001, 413},     {"POST /v2/e/run", 10000001, 413},
                 {"POST /runsync", 20000001, 413}, {"POST /cancel/x", 20000, 413},
                 {"POST /cancel/x", 10000, 404},   {"POST /nothing", 20000, 413}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        raw_client c = raw_connect(w->port);
        char head[256];
        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n",
                 cases[i].what, cases[i].size);
        raw_send(&c, head);
        if (cases[i].status != 413) {
            char *body = calloc(1, cases[i].size);
            raw_send_bytes(&c, body, cases[i].size);
            free(body);
        }
        raw_answer a = raw_read_answer(&c, false);
        assert_int_equal(a.status, cases[i].status);
        assert_non_null(strstr(a.body.data, "\"error\""));
        raw_answer_release(&a);
        raw_close(&c);
    }
}

/* Ten megabytes go in and come out, byte for byte. */
static void large_jobs_and_outputs_pass_whole(void **state) {
    enum { SIZE = 9900000 };
    world *w = *state;
    char *body = calloc(1, SIZE + 64), *output = calloc(1, SIZE + 3);
    char id[TT_JOB_ID_BYTES], path[512];
    snprintf(body, SIZE, "{\"input\": \"");
    memset(body + strlen(body), 'a', SIZE - 20);
    snprintf(body + strlen(body), 8, "\"}");
    output[0] = '"';
    memset(output + 1, 'b', SIZE);
    output[SIZE + 1] = '"';
    run_job(w, body, id);
    tt_job_claim claim;
    claim_next(w, &claim);
    assert_int_equal(claim.envelope->size, strlen(body) + strlen("\"id\": \"\", ") + strlen(id));
    tt_blob_release(claim.envelope);
    finish(w, id, claim.attempt, output, NULL);
    raw_answer a = ask(w, path_of(path, "GET /status/", id, ""), NULL);
    const char *at = strstr(a.body.data, "\"output\": ");
    assert_non_null(at);
    assert_int_equal(strncmp(at + 10, output, SIZE + 2), 0);
    assert_string_equal(at + 10 + SIZE + 2, "}");
    raw_answer_release(&a);
    free(body);
    free(output);
}

static void a_key_guards_all_but_health_and_pages(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "Test", .key = "s3cret"});
    static const char *const guarded[] = {"POST /run",         "POST /runsync",     "GET /status/x",
                                          "GET /stream/x",     "POST /cancel/x",    "POST /retry/x",
                                          "POST /purge-queue", "GET /requests",     "GET /events/x",
                                          "GET /metrics",      "GET /status-sync/x"};
    static const char *const wrong[] = {"", "Authorization: Bearer wrong\r\n",
                                        "Authorization: s3cre\r\n", "Authorization: Bearer \r\n",
                                        "Authorization: s3cret2\r\n"};
    for (size_t i = 0; i < sizeof guarded / sizeof *guarded; i++)
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            raw_answer a = ask_with(&w, guarded[i], wrong[j], NULL);
            assert_int_equal(a.status, 401);
            assert_string_equal(raw_header(&a, "WWW-Authenticate"), "Bearer");
            json_object_put(parse(&a));
            raw_answer_release(&a);
        }
    static const char *const right[] = {"Authorization: Bearer s3cret\r\n",
                                        "Authorization: s3cret\r\n",
                                        "authorization: bearer s3cret\r\n"};
    for (size_t j = 0; j < sizeof right / sizeof *right; j++) {
        raw_answer a = ask_with(&w, "GET /requests", right[j], NULL);
        assert_int_equal(a.status, 200);
        raw_answer_release(&a);
    }
    static const char *const open[] = {"GET /health", "GET /ready",        "GET /",
                                       "GET /docs",   "GET /openapi.json", "GET /v2/e/health"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) expect(&w, open[i], NULL, 200, NULL);
    world_close(&w);
}

static void ready_tells_the_reason_when_not(void **state) {
    world *w = *state;
    expect(w, "GET /ready", NULL, 200, "{\"ready\": true}");
    w->not_ready = "the model \"x\" is being read";
    expect(w, "GET /ready", NULL, 503,
           "{\"ready\": false, \"reason\": \"the model \\\"x\\\" is being read\"}");
    w->not_ready = NULL;
}

static void head_and_options_work(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    int attempt = claim_attempt(w, id);
    stream_chunk(w, id, attempt, "1");
    static const char *const paths[] = {"HEAD /status/", "HEAD /status-sync/", "HEAD /stream/",
                                        "HEAD /events/"};
    for (int i = 0; i < 4; i++) {
        raw_answer a = ask(w, path_of(path, paths[i], id, ""), NULL);
        assert_int_equal(a.status, 200);
        raw_answer_release(&a);
    }
    expect_part(w, path_of(path, "GET /stream/", id, ""), NULL, 200,
                "\"stream\": [{\"output\": 1}]"); /* HEAD took nothing */
    raw_answer a = ask(w, "OPTIONS /run", NULL);
    assert_int_equal(a.status, 204);
    assert_string_equal(raw_header(&a, "Allow"), "POST, OPTIONS");
    assert_null(raw_header(&a, "Access-Control-Allow-Origin"));
    raw_answer_release(&a);
}

static void cors_is_for_the_named_origin_only(void **state) {
    (void)state;
    world w;
    world_open_with(
        &w, &(tt_queue_memory_options){0},
        (tt_api_options){.title = "Test", .cors_origin = "https://app.example", .key = "k"});
    raw_answer a = ask_with(&w, "OPTIONS /status/x", "Origin: https://app.example\r\n", NULL);
    assert_int_equal(a.status, 204); /* a preflight carries no key */
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    assert_string_equal(raw_header(&a, "Vary"), "Origin");
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Methods"), "GET, HEAD, POST, OPTIONS");
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Headers"),
                        "Authorization, Content-Type, Last-Event-ID");
    raw_answer_release(&a);
    a = ask(&w, "GET /status/x", NULL); /* errors can be read, too */
    assert_int_equal(a.status, 401);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    raw_answer_release(&a);
    world_close(&w);
}

static void pages_of_other_sites_cannot_submit_jobs_blindly(void **state) {
    (void)state;
    static const struct {
        const char *headers;
        int status;
    } cases[] = {{"", 200},
                 {"Sec-Fetch-Site: same-origin\r\n", 200},
                 {"Sec-Fetch-Site: none\r\n", 200},
                 {"Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n", 403},
                 {"Sec-Fetch-Site: same-site\r\nOrigin: http://localhost:3000\r\n", 403}};
    world w;
    world_open(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        raw_answer a = ask_with(&w, "POST /run", cases[i].headers, "{\"input\": 1}");
        assert_int_equal(a.status, cases[i].status);
        raw_answer_release(&a);
    }
    world_close(&w);
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "Test", .cors_origin = "http://localhost:3000"});
    raw_answer a = ask_with(&w, "POST /run", cases[4].headers, "{\"input\": 1}");
    assert_int_equal(a.status, 200);
    raw_answer_release(&a);
    a = ask_with(&w, "POST /run", cases[3].headers, "{\"input\": 1}");
    assert_int_equal(a.status, 403);
    raw_answer_release(&a);
    world_close(&w);
}

static void ttl_of_a_status_changes_the_jobs_life(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], path[512];
    run_job(w, "{\"input\": 1}", id);
    expect_part(w, path_of(path, "GET /status/", id, "?ttl=9999"), NULL, 400,
                "ttl: expected milliseconds from 10000 to 604800000, found 9999");
    expect_part(w, path_of(path, "GET /status/", id, "?ttl=soon"), NULL, 400, "ttl: expected");
    expect_part(w, path_of(path, "GET /status/", id, "?ttl=10000"), NULL, 200, "IN_QUEUE");
    tt_job_view view; /* the queue's clock is the caller's */
    w->queue->sweep(w->queue, now_ms() + 10001);
    assert_int_equal(w->queue->get(w->queue, id, now_ms() + 10001, &view, NULL), TT_OK);
    assert_int_equal(view.state, TT_JOB_TIMED_OUT);
    tt_job_view_release(&view);
    expect_part(w, path_of(path, "GET /status/", id, "?ttl=20000"), NULL, 200, "TIMED_OUT");
}

static void a_policy_reaches_the_queue(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "Test", .execution_timeout_ms = 7000});
    char id[TT_JOB_ID_BYTES];
    tt_job_claim claim;
    run_job(&w, "{\"input\": 1, \"policy\": {\"executionTimeout\": 5000, \"ttl\": 10000}}", id);
    int64_t before = now_ms();
    claim_next(&w, &claim);
    assert_in_range(claim.deadline_ms, before + 5000, now_ms() + 5000);
    tt_blob_release(claim.envelope);
    run_job(&w, "{\"input\": 1, \"policy\": null, \"webhook\": null}", id);
    before = now_ms();
    claim_next(&w, &claim);
    assert_in_range(claim.deadline_ms, before + 7000, now_ms() + 7000); /* the API's own default */
    tt_blob_release(claim.envelope);
    world_close(&w);
}

static void after_close_all_is_503(void **state) {
    world *w = *state;
    tt_api_close(w->api);
    expect_part(w, "POST /run", "{\"input\": 1}", 503, "shutting down");
    expect_part(w, "GET /ready", NULL, 503, "shutting down");
    expect(w, "GET /health", NULL, 200, NULL);
}

static void options_that_make_no_sense_are_refused(void **state) {
    (void)state;
    tt_queue *queue;
    tt_api *api;
    tt_err err;
    assert_int_equal(tt_queue_memory_new(&(tt_queue_memory_options){0}, &queue, NULL), TT_OK);
    static const tt_api_options wrong[] = {
        {.key = ""}, {.input_schema = "[]"}, {.input_schema = "{"}, {.webhook_secret = "secret"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tt_api_options options = wrong[i];
        options.queue = queue;
        assert_int_not_equal(tt_api_new(&options, &api, &err), TT_OK);
        assert_null(api);
    }
    queue->free(queue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        world_test(run_answers_an_id_and_the_job_reaches_the_worker_as_sent),
        world_test(any_input_and_any_content_type_are_taken),
        world_test(status_follows_a_job_through_its_life),
        world_test(output_is_absent_when_there_is_none_and_null_when_it_is_null),
        world_test(error_is_always_a_string),
        world_test(every_operation_is_also_below_v2_endpoint),
        world_test(bad_bodies_are_told_in_one_sentence),
        world_test(unknown_jobs_paths_and_methods_are_told),
        world_test(cancel_ends_a_job_and_tells_the_truth_of_ended_ones),
        world_test(retry_runs_failed_jobs_again_under_their_id),
        world_test(purge_removes_waiting_jobs_only),
        world_test(health_has_all_counters),
        world_test(requests_lists_the_newest_first),
        cmocka_unit_test(a_full_queue_is_429_with_retry_after),
        world_test(a_server_that_ends_takes_no_jobs_and_answers_for_those_it_has),
        world_test(too_large_bodies_are_413),
        world_test(large_jobs_and_outputs_pass_whole),
        cmocka_unit_test(a_key_guards_all_but_health_and_pages),
        world_test(ready_tells_the_reason_when_not),
        world_test(head_and_options_work),
        cmocka_unit_test(cors_is_for_the_named_origin_only),
        cmocka_unit_test(pages_of_other_sites_cannot_submit_jobs_blindly),
        world_test(ttl_of_a_status_changes_the_jobs_life),
        cmocka_unit_test(a_policy_reaches_the_queue),
        world_test(after_close_all_is_503),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
