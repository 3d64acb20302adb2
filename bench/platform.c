/* A platform that is faster than any worker: hands out no-op jobs as fast as they are taken and counts what comes back, so
 * that a worker's own speed is what is measured. Used by bench/worker.py.
 *
 *     bench_platform JOBS INPUT_FILE     {"port": 41234}                                    at once
 *                                        {"jobs": 2000, "seconds": 0.71, "bytes": 98000}    when JOBS results have come
 *                                        {"pings_ms": [0, 1000, 2001]}                      when stdin ends; then it ends
 *
 * INPUT_FILE holds the JSON of every job's input. Takes beyond JOBS are parked, as a long poll is. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "net/http_server.h"

enum { MAX_PINGS = 10000, N_THREADS = 1, MAX_BYTES = 64 << 20 };

typedef struct bench {
    int n_jobs;
    tt_buf input;
    struct { /* under the mutex; server threads and main */
        pthread_mutex_t mutex;
        int n_given, n_done, n_pings;
        size_t done_bytes;
        int64_t first_us;
        int64_t pings_us[MAX_PINGS];
    } shared;
} bench;

static void on_gone(void *context, tt_http_exchange *x) {
    (void)context;
    tt_http_drop(x);
}

/* The numbers of the jobs to give: [*first, *first + result). */
static int claim(bench *b, int n_wanted, int *first) {
    pthread_mutex_lock(&b->shared.mutex);
    int n_left = b->n_jobs - b->shared.n_given;
    int n = n_wanted < n_left ? n_wanted : n_left;
    *first = b->shared.n_given;
    if (*first == 0 && n > 0) b->shared.first_us = tt_clock_us();
    b->shared.n_given += n;
    pthread_mutex_unlock(&b->shared.mutex);
    return n;
}

static tt_status write_jobs(const bench *b, int first, int n, bool is_list, tt_buf *out) {
    if (is_list) TT_TRY(tt_buf_puts(out, "[", NULL));
    for (int i = 0; i < n; i++)
        TT_TRY(tt_buf_printf(out, NULL, "%s{\"id\": \"job-%d-u1\", \"input\": %s}", i ? ", " : "",
                             first + i, b->input.data));
    return is_list ? tt_buf_puts(out, "]", NULL) : TT_OK;
}

static void take(bench *b, tt_http_exchange *x) {
    const char *asked = tt_http_query(x, "batch_size");
    int first, n = claim(b, asked ? (int)strtol(asked, NULL, 10) : 1, &first);
    tt_buf jobs;
    if (n == 0) {
        tt_http_park(x, on_gone, NULL);
        return;
    }
    tt_buf_init(&jobs, MAX_BYTES);
    if (write_jobs(b, first, n, asked != NULL, &jobs) == TT_OK)
        tt_http_reply(x, 200, "application/json", jobs.data, jobs.size);
    else
        tt_http_drop(x);
    tt_buf_release(&jobs);
}

static void done(bench *b, size_t body_bytes) {
    pthread_mutex_lock(&b->shared.mutex);
    b->shared.done_bytes += body_bytes;
    bool is_last = ++b->shared.n_done == b->n_jobs;
    if (is_last) {
        double seconds = (double)(tt_clock_us() - b->shared.first_us) / 1e6;
        printf("{\"jobs\": %d, \"seconds\": %.6f, \"bytes\": %zu}\n", b->n_jobs, seconds,
               b->shared.done_bytes);
        fflush(stdout);
    }
    pthread_mutex_unlock(&b->shared.mutex);
}

static void ping(bench *b) {
    pthread_mutex_lock(&b->shared.mutex);
    if (b->shared.n_pings < MAX_PINGS) b->shared.pings_us[b->shared.n_pings++] = tt_clock_us();
    pthread_mutex_unlock(&b->shared.mutex);
}

static void handle(void *context, tt_http_exchange *x) {
    bench *b = context;
    const char *path = tt_http_path(x);
    size_t body_bytes;
    tt_http_body(x, &body_bytes);
    if (strstr(path, "/job-take")) {
        take(b, x);
        return;
    }
    if (strstr(path, "/job-stop/")) {
        tt_http_park(x, on_gone, NULL);
        return;
    }
    if (strstr(path, "/ping/")) ping(b);
    tt_http_reply(x, 200, "application/json", "{}", 2);
    if (strstr(path, "/job-done/")) done(b, body_bytes);
}

static size_t max_body_bytes(void *context, const char *method, const char *path) {
    (void)context, (void)method, (void)path;
    return MAX_BYTES;
}

static void print_pings(const bench *b) {
    printf("{\"pings_ms\": [");
    for (int i = 0; i < b->shared.n_pings; i++)
        printf("%s%.3f", i ? ", " : "",
               (double)(b->shared.pings_us[i] - b->shared.pings_us[0]) / 1000);
    printf("]}\n");
    fflush(stdout);
}

static int run(bench *b) {
    const tt_http_server_options options = {.host = "127.0.0.1",
                                            .n_threads = N_THREADS,
                                            .context = b,
                                            .handle = handle,
                                            .max_body_bytes = max_body_bytes};
    tt_http_server *server;
    tt_err err;
    char bytes[256];
    if (tt_http_server_open(&options, &server, &err) != TT_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("{\"port\": %d}\n", tt_http_server_port(server));
    fflush(stdout);
    while (read(STDIN_FILENO, bytes, sizeof bytes) > 0) continue;
    tt_http_server_close(server, 100);
    print_pings(b);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: bench_platform JOBS INPUT_FILE\n");
        return 2;
    }
    bench *b = tt_alloc(sizeof *b);
    if (!b) return 1;
    b->n_jobs = (int)strtol(argv[1], NULL, 10);
    tt_buf_init(&b->input, MAX_BYTES);
    pthread_mutex_init(&b->shared.mutex, NULL);
    int status = tt_file_read(argv[2], &b->input, NULL) == TT_OK ? run(b) : 1;
    tt_buf_release(&b->input);
    pthread_mutex_destroy(&b->shared.mutex);
    tt_free(b);
    return status;
}
