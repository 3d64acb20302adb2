/* GET /events/{id}: server-sent events (WHATWG HTML, 9.2.6), byte for byte. */
#include "unit/api/world.h"

#include "api/events.h"
#include "api/parts.h"

/* The connection after the answer's head, read chunk by chunk. */
typedef struct follower {
    raw_client c;
    tt_buf text;
} follower;

static follower follow(world *w, const char *id, const char *headers) {
    char path[512];
    raw_answer head = {0};
    follower f = {.c = raw_connect(w->port)};
    send_request(&f.c, path_of(path, "GET /events/", id, ""), headers, NULL);
    tt_buf_init(&f.text, RAW_MAX_BYTES);
    tt_buf_init(&head.head, RAW_MAX_BYTES);
    assert_true(raw_take_through(&f.c, "\r\n\r\n", &head.head));
    assert_int_equal(strncmp(head.head.data, "HTTP/1.1 200", 12), 0);
    assert_string_equal(raw_header(&head, "Content-Type"), "text/event-stream");
    assert_string_equal(raw_header(&head, "Cache-Control"), "no-cache");
    assert_string_equal(raw_header(&head, "X-Accel-Buffering"), "no");
    tt_buf_release(&head.head);
    return f;
}

/* One more chunk of the body; false at its end. */
static bool hear_chunk(follower *f) {
    tt_buf line;
    tt_buf_init(&line, 64);
    assert_true(raw_take_through(&f->c, "\r\n", &line));
    size_t size = strtoul(line.data, NULL, 16);
    tt_buf_release(&line);
    assert_true(raw_take_exactly(&f->c, size, &f->text));
    assert_true(raw_take_exactly(&f->c, 2, NULL));
    return size > 0;
}

/* Reads until the text so far contains `part`. */
static void hear(follower *f, const char *part) {
    while (!f->text.data || !strstr(f->text.data, part))
        if (!hear_chunk(f)) fail_msg("the stream ended without %s: %s", part, f->text.data);
}

static void hear_end(follower *f) {
    while (hear_chunk(f)) continue;
}

static void leave(follower *f) {
    raw_close(&f->c);
    tt_buf_release(&f->text);
}

static void a_jobs_life_is_told_in_order(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES], expected[512];
    run_job(w, "{\"input\": 1}", id);
    follower f = follow(w, id, "");
    snprintf(expected, sizeof expected,
             "event: status\ndata: {\"id\": \"%s\", \"status\": \"IN_QUEUE\", \"delayTime\": ", id);
    hear(&f, expected);
    int attempt = claim_attempt(w, id);
    hear(&f, "\"status\": \"IN_PROGRESS\"");
    progress(w, id, attempt, "{\"step\": 1}");
    hear(&f, "event: progress\nid: 1\ndata: {\"step\": 1}\n\n");
    progress(w, id, attempt, "{\"step\":\n 2,\r\n\"x\": 1}"); /* line breaks cannot end an event */
    hear(&f, "event: progress\nid: 2\ndata: {\"step\":  2,  \"x\": 1}\n\n");
    stream_chunk(w, id, attempt, "1");
    hear(&f, "event: stream\ndata: {\"waiting\": 1}\n\n");
    finish(w, id, attempt, "{\"image\": \"abc\"}", "\"it\\nbroke\"");
    hear_end(&f);
    const char *end = strstr(f.text.data, "event: end\ndata: ");
    assert_non_null(end);
    assert_non_null(strstr(end, "\"status\": \"FAILED\""));
    assert_non_null(strstr(end, "\"executionTime\": "));
    assert_non_null(strstr(end, "\"error\": \"it\\nbroke\"}\n\n"));
    assert_null(strstr(end, "output"));
    leave(&f);
}

static void an_ended_job_is_told_at_once(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    finish(w, id, claim_attempt(w, id), "1", NULL);
    follower f = follow(w, id, "");
    hear_end(&f);
    assert_int_equal(strncmp(f.text.data, "event: end\ndata: {\"id\": ", 24), 0);
    leave(&f);
}

static void last_event_id_resumes_with_newer_progress_only(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    int attempt = claim_attempt(w, id);
    for (int i = 0; i < 3; i++) progress(w, id, attempt, "\"p\"");
    follower fresh = follow(w, id, ""), behind = follow(w, id, "Last-Event-ID: 2\r\n"),
             level = follow(w, id, "Last-Event-ID: 3\r\n"),
             confused = follow(w, id, "Last-Event-ID: x\r\n");
    hear(&fresh, "id: 3\n");
    hear(&behind, "id: 3\n");
    hear(&confused, "id: 3\n");
    hear(&level, "event: status");
    progress(w, id, attempt, "\"q\"");
    hear(&level, "id: 4\ndata: \"q\"\n\n");
    assert_null(strstr(level.text.data, "id: 3"));
    leave(&fresh);
    leave(&behind);
    leave(&confused);
    leave(&level);
}

static void a_retry_is_told_as_a_new_life(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    int attempt = claim_attempt(w, id);
    follower f = follow(w, id, "");
    hear(&f, "IN_PROGRESS");
    assert_int_equal(w->queue->release(w->queue, id, attempt, now_ms(), NULL), TT_OK);
    hear(&f, "IN_QUEUE");
    attempt = claim_attempt(w, id);
    hear(&f, "\"retries\": 1");
    finish(w, id, attempt, "1", NULL);
    hear_end(&f);
    leave(&f);
}

static void a_purged_job_ends_its_events(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    follower f = follow(w, id, "");
    hear(&f, "IN_QUEUE");
    expect(w, "POST /purge-queue", NULL, 200, NULL);
    hear_end(&f);
    assert_non_null(strstr(f.text.data, "event: end"));
    leave(&f);
}

static void huge_progress_is_left_to_status(void **state) {
    enum { SIZE = 700 * 1024 };
    world *w = *state;
    char id[TT_JOB_ID_BYTES], *value = calloc(1, SIZE + 1);
    memset(value, 'x', SIZE);
    value[0] = value[SIZE - 1] = '"';
    run_job(w, "{\"input\": 1}", id);
    int attempt = claim_attempt(w, id);
    follower f = follow(w, id, "");
    hear(&f, "IN_PROGRESS");
    progress(w, id, attempt, value);
    hear(&f, ": progress 1 has 716800 bytes");
    progress(w, id, attempt, "2");
    hear(&f, "id: 2\ndata: 2\n\n");
    leave(&f);
    free(value);
}

/* The connection goes when its client does, though nothing happens to the job. */
static void a_follower_that_leaves_is_let_go(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    follower f = follow(w, id, "");
    hear(&f, "IN_QUEUE");
    leave(&f);
    int64_t end = now_ms() + RAW_WAIT_MS;
    while (tt_http_server_connections(w->server) > 0 && now_ms() < end) poll(NULL, 0, 1);
    assert_int_equal(tt_http_server_connections(w->server), 0);
}

static void beat_now(void *api) {
    tt__events_beat(api);
}

static void a_heartbeat_is_a_comment(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    follower f = follow(w, id, "");
    hear(&f, "IN_QUEUE");
    size_t before = f.text.size; /* instead of 15 s: on the loop's thread, as its timer does */
    assert_int_equal(tt_loop_post(w->api->loop, beat_now, w->api, NULL), TT_OK);
    hear(&f, ": still here\n\n");
    assert_string_equal(f.text.data + before, ": still here\n\n");
    leave(&f);
}

static void close_ends_the_streams(void **state) {
    world *w = *state;
    char id[TT_JOB_ID_BYTES];
    run_job(w, "{\"input\": 1}", id);
    follower f = follow(w, id, "");
    hear(&f, "IN_QUEUE");
    tt_api_close(w->api);
    hear_end(&f);
    leave(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        world_test(a_jobs_life_is_told_in_order),
        world_test(an_ended_job_is_told_at_once),
        world_test(last_event_id_resumes_with_newer_progress_only),
        world_test(a_retry_is_told_as_a_new_life),
        world_test(a_purged_job_ends_its_events),
        world_test(huge_progress_is_left_to_status),
        world_test(a_follower_that_leaves_is_let_go),
        world_test(a_heartbeat_is_a_comment),
        world_test(close_ends_the_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
