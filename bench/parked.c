/* What a parked exchange costs, as one line of JSON:
 *
 *     bench_parked [N]        {"parked": 10000, "threads": 1, "server_rss_bytes": ..., "bytes_per_connection": ...,
 *                              "park_ms": ..., "answer_ms": ..., "leave_ms": ...}
 *
 * A child process opens N connections (default 10000) and asks on each for something that waits. bytes_per_connection is how
 * much this process, the server, grew from its first answered request to N parked ones. answer_ms: half of them are answered,
 * until the child has read every answer. leave_ms: the child then closes all, until the server has seen the other half go.
 * Fewer are parked when descriptors do not suffice; "parked" says how many were. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/http_server.h"

enum { DEFAULT_PARKED = 10000, MAX_PARKED = 1000 * 1000, WAIT_S = 120, US_PER_MS = 1000 };

static const char REQUEST[] = "GET /v2/local/status-sync/0123456789?wait=90000 HTTP/1.1\r\n"
                              "Host: 127.0.0.1:8000\r\nAuthorization: Bearer 0123456789abcdef\r\n"
                              "User-Agent: bench_parked/1\r\nAccept: */*\r\n\r\n";

/* ---- the child: the clients -------------------------------------------------------------------------------------- */

static void raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int ask(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(fd, REQUEST, sizeof REQUEST - 1) == sizeof REQUEST - 1)
        return fd;
    close(fd);
    return -1;
}

/* Speaks with the parent in ints: the port comes; how many were asked, goes; how many answers to read, comes; that they were
 * read, goes; the end comes. */
static int be_clients(int from, int to, int wanted) {
    int port, n_answers, n = 0;
    char answer[4096];
    int *fds = tt_alloc((size_t)wanted * sizeof *fds);
    raise_limit();
    if (!fds || read(from, &port, sizeof port) != sizeof port) return 1;
    while (n < wanted && (fds[n] = ask(port)) >= 0) n++;
    if (write(to, &n, sizeof n) != sizeof n) return 1;
    if (read(from, &n_answers, sizeof n_answers) != sizeof n_answers) return 1;
    for (int i = 0; i < n_answers; i++) /* in the order of parking: the first half */
        if (read(fds[i], answer, sizeof answer) <= 0) return 1;
    if (write(to, &n, sizeof n) != sizeof n) return 1;
    if (read(from, &n_answers, sizeof n_answers) != sizeof n_answers) return 1;
    tt_free(fds);
    return 0; /* and every connection closes */
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

typedef struct bench {
    int wanted, n_parked, n_gone;
    tt_http_exchange **parked;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} bench;

static void on_gone(void *context, tt_http_exchange *x) {
    bench *b = context;
    pthread_mutex_lock(&b->mutex);
    b->n_gone++;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    tt_http_drop(x);
}

static void handle(void *context, tt_http_exchange *x) {
    bench *b = context;
    tt_http_park(x, on_gone, b);
    pthread_mutex_lock(&b->mutex);
    b->parked[b->n_parked++] = x;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
}

static void wait_for(bench *b, const int *counter, int n, const char *what) {
    struct timespec deadline;
    int failure = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&b->mutex);
    while (*counter < n && failure == 0)
        failure = pthread_cond_timedwait(&b->changed, &b->mutex, &deadline);
    pthread_mutex_unlock(&b->mutex);
    if (failure == 0) return;
    fprintf(stderr, "bench_parked: only %d of %d %s\n", *counter, n, what);
    exit(1);
}

static long long resident_bytes(void) {
    long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lld %lld", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static void say(int to, int value) {
    if (write(to, &value, sizeof value) == sizeof value) return;
    perror("bench_parked: to the clients");
    exit(1);
}

static int hear(int from) {
    int value;
    if (read(from, &value, sizeof value) == sizeof value) return value;
    fprintf(stderr, "bench_parked: the clients failed\n");
    exit(1);
}

static double ms_since(int64_t start_us) {
    return (double)(tt_clock_us() - start_us) / US_PER_MS;
}

static void measure(bench *b, tt_http_server *server, int from, int to) {
    int first = ask(tt_http_server_port(server));
    wait_for(b, &b->n_parked, 1, "parked");
    long long before = resident_bytes();
    int64_t start_us = tt_clock_us();
    say(to, tt_http_server_port(server));
    int n = hear(from);
    wait_for(b, &b->n_parked, n + 1, "parked");
    double park_ms = ms_since(start_us);
    long long after = resident_bytes();
    start_us = tt_clock_us();
    int n_answers = n / 2;
    for (int i = 1; i <= n_answers; i++) tt_http_reply(b->parked[i], 200, "text/plain", "ok", 2);
    say(to, n_answers);
    hear(from);
    double answer_ms = ms_since(start_us);
    start_us = tt_clock_us();
    say(to, 0);
    wait_for(b, &b->n_gone, n - n_answers, "seen to leave");
    printf("{\"parked\": %d, \"threads\": 1, \"server_rss_bytes\": %lld, "
           "\"bytes_per_connection\": %lld, \"park_ms\": %.1f, \"answer_ms\": %.1f, "
           "\"leave_ms\": %.1f}\n",
           n, after, n > 0 ? (after - before) / n : 0, park_ms, answer_ms, ms_since(start_us));
    close(first);
}

int main(int argc, char **argv) {
    bench b = {.wanted = argc > 1 ? (int)strtol(argv[1], NULL, 10) : DEFAULT_PARKED};
    int down[2], up[2];
    tt_err err;
    tt_http_server *server;
    if (b.wanted < 1 || b.wanted > MAX_PARKED || pipe(down) != 0 || pipe(up) != 0) {
        fprintf(stderr, "usage: bench_parked [N], N from 1 to %d\n", MAX_PARKED);
        return 2;
    }
    pid_t child = fork();
    if (child == 0) return be_clients(down[0], up[1], b.wanted);
    close(down[0]);
    close(up[1]);
    b.parked = tt_alloc(((size_t)b.wanted + 1) * sizeof(tt_http_exchange *));
    pthread_mutex_init(&b.mutex, NULL);
    pthread_cond_init(&b.changed, NULL);
    tt_http_server_options options = {
        .host = "127.0.0.1", .max_connections = b.wanted + 1, .context = &b, .handle = handle};
    if (child < 0 || !b.parked || tt_http_server_open(&options, &server, &err) != TT_OK) {
        fprintf(stderr, "bench_parked: cannot begin: %s\n", err.message);
        return 1;
    }
    measure(&b, server, up[0], down[1]);
    tt_http_server_close(server, 0);
    tt_free(b.parked);
    return waitpid(child, NULL, 0) == child ? 0 : 1;
}
