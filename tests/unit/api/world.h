/* A whole API for a test: the queue in memory, the server on a free port, and this thread as the client and the worker. */
#ifndef TT_TESTS_API_WORLD_H
#define TT_TESTS_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unit/net/raw_http.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/json.h"
#include "job/queue_memory.h"

typedef struct world {
    tt_queue *queue;
    tt_api *api;
    tt_http_server *server;
    tt_log log;
    int port;
    const char *not_ready; /* the reason, or NULL */
    bool refuses_jobs;
} world;

static inline void world_workers(void *context, tt_api_workers *out) {
    (void)context;
    *out = (tt_api_workers){.idle = 1, .ready = 2, .running = 3};
}

static inline bool world_is_ready(void *context, char reason[256]) {
    const world *w = context;
    if (w->not_ready) snprintf(reason, 256, "%s", w->not_ready);
    return !w->not_ready;
}

static inline bool world_takes_jobs(void *context) {
    return !((const world *)context)->refuses_jobs;
}

static inline void world_open_with(world *w, const tt_queue_memory_options *queue,
                                   tt_api_options options) {
    *w = (world){.log = {.level = TT_LOG_NOTSET, .fd = 2}};
    assert_int_equal(tt_queue_memory_new(queue, &w->queue, NULL), TT_OK);
    options.queue = w->queue;
    options.log = &w->log;
    options.context = w;
    options.workers = world_workers;
    options.is_ready = world_is_ready;
    options.takes_jobs = world_takes_jobs;
    tt_err err;
    if (tt_api_new(&options, &w->api, &err) != TT_OK) fail_msg("%s", err.message);
    tt_http_server_options server = {.host = "127.0.0.1",
                                     .log = &w->log,
                                     .context = w->api,
                                     .handle = tt_api_handle,
                                     .max_body_bytes = tt_api_max_body_bytes};
    if (tt_http_server_open(&server, &w->server, &err) != TT_OK) fail_msg("%s", err.message);
    w->port = tt_http_server_port(w->server);
}

static inline void world_open(world *w) {
    world_open_with(w, &(tt_queue_memory_options){0}, (tt_api_options){.title = "Test"});
}

static inline void world_close(world *w) {
    tt_api_close(w->api);
    tt_http_server_close(w->server, 5000);
    tt_api_free(w->api);
    w->queue->free(w->queue);
}

/* A test that finds an open world in *state. */
#define world_test(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

static inline int world_set_up(void **state) {
    static world w;
    world_open(&w);
    *state = &w;
    return 0;
}

static inline int world_tear_down(void **state) {
    world_close(*state);
    return 0;
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

/* "METHOD /path HTTP/1.1" with extra header lines ("" or "Name: value\r\n"...) and a body. */
static inline void send_request(raw_client *c, const char *what, const char *headers,
                                const char *body) {
    char head[2048];
    size_t size = body ? strlen(body) : 0;
    int n =
        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: test\r\n%sContent-Length: %zu\r\n\r\n",
                 what, headers, size);
    assert_true(n > 0 && (size_t)n < sizeof head);
    raw_send(c, head);
    if (size) raw_send(c, body);
}

static inline raw_answer ask_with(world *w, const char *what, const char *headers,
                                  const char *body) {
    raw_client c = raw_connect(w->port);
    send_request(&c, what, headers, body);
    bool has_no_body = strncmp(what, "HEAD", 4) == 0 || strncmp(what, "OPTIONS", 7) == 0;
    raw_answer a = raw_read_answer(&c, has_no_body);
    raw_close(&c);
    return a;
}

static inline raw_answer ask(world *w, const char *what, const char *body) {
    return ask_with(w, what, "", body);
}

static inline void expect(world *w, const char *what, const char *body, int status,
                          const char *answer) {
    raw_answer a = ask(w, what, body);
    if (a.status != status)
        fail_msg("%s: expected %d, found %d: %s", what, status, a.status, a.body.data);
    if (answer) assert_string_equal(a.body.data, answer);
    raw_answer_release(&a);
}

/* The answer has the status, and its text contains `part`. */
static inline void expect_part(world *w, const char *what, const char *body, int status,
                               const char *part) {
    raw_answer a = ask(w, what, body);
    if (a.status != status || !strstr(a.body.data, part))
        fail_msg("%s: expected %d with %s, found %d: %s", what, status, part, a.status,
                 a.body.data);
    raw_answer_release(&a);
}

static inline json_object *parse(const raw_answer *a) {
    json_object *o = NULL;
    tt_err err;
    if (tt_json_parse(a->body.data, a->body.size, &o, &err) != TT_OK)
        fail_msg("%s in: %s", err.message, a->body.data);
    return o;
}

static inline const char *string_of(json_object *o, const char *name) {
    json_object *value = NULL;
    if (!json_object_object_get_ex(o, name, &value)) return "(absent)";
    assert_true(json_object_is_type(value, json_type_string));
    return json_object_get_string(value);
}

/* POST /run; the job's id. */
static inline void run_job(world *w, const char *body, char id[TT_JOB_ID_BYTES]) {
    raw_answer a = ask(w, "POST /run", body);
    assert_int_equal(a.status, 200);
    json_object *o = parse(&a);
    assert_string_equal(string_of(o, "status"), "IN_QUEUE");
    snprintf(id, TT_JOB_ID_BYTES, "%s", string_of(o, "id"));
    json_object_put(o);
    raw_answer_release(&a);
}

static inline char *path_of(char out[512], const char *before, const char *id, const char *after) {
    snprintf(out, 512, "%s%s%s", before, id, after);
    return out;
}

/* ---- the worker -------------------------------------------------------------------------------------------------- */

static inline int64_t now_ms(void) {
    return tt_clock_us() / 1000;
}

static inline tt_blob *blob_of(const char *text) {
    tt_blob *b = NULL;
    if (text) assert_int_equal(tt_blob_new(text, strlen(text), &b, NULL), TT_OK);
    return b;
}

/* Claims the next job, which may need a moment to arrive; *claim is released by the caller. */
static inline void claim_next(world *w, tt_job_claim *claim) {
    int n = 0;
    *claim = (tt_job_claim){.attempt = 0};
    for (int64_t end = now_ms() + RAW_WAIT_MS; n == 0 && now_ms() < end;) {
        assert_int_equal(w->queue->claim(w->queue, "worker-1", 1, now_ms(), claim, &n, NULL),
                         TT_OK);
        if (n == 0) poll(NULL, 0, 1);
    }
    assert_int_equal(n, 1);
}

static inline int claim_attempt(world *w, char id[TT_JOB_ID_BYTES]) {
    tt_job_claim claim;
    claim_next(w, &claim);
    snprintf(id, TT_JOB_ID_BYTES, "%s", claim.id);
    tt_blob_release(claim.envelope);
    return claim.attempt;
}

static inline void finish(world *w, const char *id, int attempt, const char *output,
                          const char *error) {
    tt_job_outcome outcome = {.state = error ? TT_JOB_FAILED : TT_JOB_COMPLETED,
                              .output = blob_of(output),
                              .error = blob_of(error)};
    assert_int_equal(w->queue->finish(w->queue, id, attempt, &outcome, now_ms(), NULL), TT_OK);
    tt_blob_release(outcome.output);
    tt_blob_release(outcome.error);
}

static inline void progress(world *w, const char *id, int attempt, const char *value) {
    tt_blob *b = blob_of(value);
    assert_int_equal(w->queue->progress(w->queue, id, attempt, b, now_ms(), NULL), TT_OK);
    tt_blob_release(b);
}

static inline void stream_chunk(world *w, const char *id, int attempt, const char *value) {
    tt_blob *b = blob_of(value);
    assert_int_equal(w->queue->stream(w->queue, id, attempt, b, now_ms(), NULL), TT_OK);
    tt_blob_release(b);
}

/* True once the job is in that state; generous time. */
static inline bool becomes(world *w, const char *id, tt_job_state state) {
    for (int64_t end = now_ms() + RAW_WAIT_MS; now_ms() < end; poll(NULL, 0, 1)) {
        tt_job_view view;
        if (w->queue->get(w->queue, id, now_ms(), &view, NULL) != TT_OK) continue;
        bool is_there = view.state == state;
        tt_job_view_release(&view);
        if (is_there) return true;
    }
    return false;
}

#endif
