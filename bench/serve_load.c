/* What a client of serve mode sees while others wait, as one line of JSON. Used by bench/serve.py.
 *
 *     serve_load PORT PID PARKED [RATE [SECONDS]]
 *         {"parked": 10000, "parked_rss_bytes": ..., "threads": 6, ..., "p99_ms": 1.2, "max_ms": 3.4, "errors": 0, ...}
 *
 * PORT of 127.0.0.1 is a worker in serve mode, the mock worker with HELD slots more than it needs to run no-ops; PID is the
 * process that has the HTTP server. Four acts:
 *
 *   hold    HELD jobs that sleep for longer than the bench lasts, each in a slot of the worker
 *   park    PARKED connections, each with a GET /status-sync for one of these jobs; then RSS and threads of PID are read.
 *           They are parked when the kernel says that the server has read them all, and none has an answer
 *   load    RATE times a second for SECONDS, a POST /run of a no-op, on kept connections that take turns
 *   answer  the parked ones must still be parked; the held jobs are cancelled, and then every one of them must have its answer
 *
 * The load is an open loop: request i is due at i / RATE whatever became of the others, and its latency counts from then, so a
 * server that stalls is charged for all that were due meanwhile. One that finds no free connection waits for one, and that
 * counts too. sent_late_* is the part of it before the first byte was sent: the generator's own lack of a core, or of a
 * connection.
 *
 * Everything ends: the waits of the server do after 300 s, each act here has a deadline. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

enum {
    DEFAULT_RATE = 2000,
    DEFAULT_SECONDS = 10,
    MAX_PARKED = 28 * 1000, /* ports that one address has for one server */
    MAX_RATE = 100 * 1000,
    MAX_SECONDS = 60,  /* with the rest below what a wait lasts */
    HELD = 100,        /* jobs to wait for */
    CONNECTIONS = 200, /* of the load */
    ANSWER_BYTES = 2048,
    EXCHANGE_S = 20,   /* one request outside the load */
    SETTLE_MS = 60000, /* until all are parked, until the last answers have come */
    PAUSE_US = 20 * 1000,
    EVENTS = 256,
    US_PER_MS = 1000,
    US_PER_S = 1000 * 1000,
};

static const char HELD_JOB[] = "{\"input\": {\"mock_delay\": 280}}";
static const char NO_OP_JOB[] = "{\"input\": {\"prompt\": \"a red sailing boat at sunset\"}}";

static _Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("serve_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *need(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

/* ---- sockets ------------------------------------------------------------------------------------------------------ */

static void raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int dial(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = EXCHANGE_S};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s (is RLIMIT_NOFILE too low?)", strerror(errno));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect: %s", strerror(errno));
    return fd;
}

/* The size of the request, which is sent in one piece. */
static size_t write_request(char *out, size_t room, const char *line, const char *body) {
    int n =
        snprintf(out, room,
                 "%s HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nAuthorization: Bearer 0123456789abcdef\r\n"
                 "User-Agent: serve_load/1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 line, strlen(body), body);
    if (n < 0 || (size_t)n >= room) die("a request does not fit");
    return (size_t)n;
}

/* Small: the socket's buffer takes it. */
static bool send_all(int fd, const char *text, size_t size) {
    return send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static void ask(int fd, const char *line, const char *body) {
    char request[ANSWER_BYTES];
    size_t size = write_request(request, sizeof request, line, body);
    if (!send_all(fd, request, size)) die("%s: cannot send: %s", line, strerror(errno));
}

/* The status of an answer that is whole, 0 while it is not. */
static int status_of(const char *answer, size_t size) {
    static const char LENGTH[] = "\r\nContent-Length:";
    const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, LENGTH);
    if (!end || !length || length > end) return 0;
    size_t whole = (size_t)(end - answer) + 4 + strtoul(length + sizeof LENGTH - 1, NULL, 10);
    return size < whole ? 0 : (int)strtol(answer + strlen("HTTP/1.1 "), NULL, 10);
}

/* One exchange on a connection of its own. */
static void exchange(int port, const char *line, const char *body, char answer[ANSWER_BYTES]) {
    int fd = dial(port);
    size_t size = 0;
    ask(fd, line, body);
    answer[0] = '\0';
    while (status_of(answer, size) == 0) {
        ssize_t n = recv(fd, answer + size, ANSWER_BYTES - 1 - size, 0);
        if (n <= 0) die("%s: no whole answer: %s", line, answer);
        size += (size_t)n;
        answer[size] = '\0';
    }
    close(fd);
    if (status_of(answer, size) != 200) die("%s: %s", line, answer);
}

static long long number_after(const char *text, const char *name) {
    const char *at = strstr(text, name);
    if (!at) die("no %s in %s", name, text);
    return strtoll(at + strlen(name), NULL, 10);
}

/* ---- what the server's process costs ------------------------------------------------------------------------------ */

static void read_file(const char *path, char *out, size_t room) {
    FILE *f = fopen(path, "r");
    if (!f) die("%s: %s", path, strerror(errno));
    out[fread(out, 1, room - 1, f)] = '\0';
    fclose(f);
}

typedef struct cost {
    long long rss_bytes, threads, cpu_ticks;
} cost;

static cost cost_of(int pid) {
    char path[64], text[8192];
    cost c;
    long long user, kernel;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    read_file(path, text, sizeof text);
    c.rss_bytes = 1024 * number_after(text, "VmRSS:");
    c.threads = number_after(text, "Threads:");
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    read_file(path, text, sizeof text);
    const char *behind_name = strrchr(text, ')');
    if (!behind_name ||
        sscanf(behind_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user,
               &kernel) != 2)
        die("%s: not understood", path);
    c.cpu_ticks = user + kernel;
    return c;
}

/* ---- hold and park ------------------------------------------------------------------------------------------------ */

typedef struct bench {
    int port, pid, n_parked, rate, seconds;
    char held[HELD][64]; /* ids */
    int *parked;         /* descriptors */
    cost before, parked_cost, loaded_cost;
    int64_t park_us, answer_us;
    int n_still_parked, n_answered;
} bench;

static void hold(bench *b) {
    static const char ID[] = "\"id\":";
    char answer[ANSWER_BYTES];
    for (int i = 0; i < HELD; i++) {
        exchange(b->port, "POST /run", HELD_JOB, answer);
        const char *id = strstr(answer, ID);
        if (!id || sscanf(id + sizeof ID - 1, " \"%63[^\"]\"", b->held[i]) != 1)
            die("POST /run: no id in %s", answer);
    }
    int64_t deadline_us = tt_clock_us() + (int64_t)SETTLE_MS * US_PER_MS;
    do { /* until each has a slot: the load's jobs must not wait behind them */
        usleep(PAUSE_US);
        if (tt_clock_us() > deadline_us) die("the worker does not run %d jobs at once", HELD);
        exchange(b->port, "GET /health", "", answer);
    } while (number_after(answer, "\"inProgress\":") < HELD);
}

/* Connections of the server with something that it has not read, an accept that it has not done included; *n_open: all. */
static int count_unread(int port, int *n_open) {
    enum { ESTABLISHED = 1 };
    FILE *f = fopen("/proc/net/tcp", "r");
    char line[512];
    unsigned local, remote, state, unread;
    int n_unread = *n_open = 0;
    if (!f) die("/proc/net/tcp: %s", strerror(errno));
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*d: %*x:%x %*x:%x %x %*x:%x", &local, &remote, &state, &unread) != 4 ||
            (int)local != port || state != ESTABLISHED)
            continue;
        ++*n_open;
        if (unread > 0) n_unread++;
    }
    fclose(f);
    return n_unread;
}

static int count_silent(const bench *b) {
    char byte;
    int n = 0;
    for (int i = 0; i < b->n_parked; i++)
        if (recv(b->parked[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) n++;
    return n;
}

static void await_parked(const bench *b) {
    int64_t deadline_us = tt_clock_us() + (int64_t)SETTLE_MS * US_PER_MS;
    char answer[ANSWER_BYTES];
    int n_open, n_unread;
    while ((n_unread = count_unread(b->port, &n_open)) > 0 || n_open < b->n_parked) {
        if (tt_clock_us() > deadline_us)
            die("of %d connections the server has %d, %d unread", b->n_parked, n_open, n_unread);
        usleep(PAUSE_US);
    }
    exchange(b->port, "GET /health", "", answer); /* what was read before it, is handled now */
    if (count_silent(b) != b->n_parked)
        die("only %d of %d are parked", count_silent(b), b->n_parked);
}

static void park(bench *b) {
    char line[128];
    b->before = cost_of(b->pid);
    int64_t start_us = tt_clock_us();
    for (int i = 0; i < b->n_parked; i++) {
        snprintf(line, sizeof line, "GET /status-sync/%s?wait=300000", b->held[i % HELD]);
        b->parked[i] = dial(b->port);
        ask(b->parked[i], line, "");
    }
    await_parked(b);
    b->park_us = tt_clock_us() - start_us;
    b->parked_cost = cost_of(b->pid);
}

/* ---- load --------------------------------------------------------------------------------------------------------- */

enum {
    NO_REQUEST = -1,
    TIMER = CONNECTIONS
}; /* a connection's request; the timer's name in epoll */

typedef struct connection {
    int fd, request; /* the number of the request that waits for its answer */
    size_t size;
    char answer[ANSWER_BYTES];
} connection;

typedef struct load {
    int epoll_fd, timer_fd, rate;
    int n_all, n_sent, n_done, n_errors, n_alive;
    int64_t start_us;
    int64_t *latency_us,
        *late_us; /* by request; latency_us: of the first n_done - n_errors answers */
    char request[ANSWER_BYTES];
    size_t request_size;
    int idle[CONNECTIONS], first_idle, n_idle; /* a ring: connections take turns */
    connection connections[CONNECTIONS];
} load;

static int64_t due_us(const load *l, int request) {
    return l->start_us + (int64_t)request * US_PER_S / l->rate;
}

static void put_idle(load *l, int c) {
    l->idle[(l->first_idle + l->n_idle++) % CONNECTIONS] = c;
}

static void watch(const load *l, int fd, int name) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)name};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll: %s", strerror(errno));
}

static load *open_load(const bench *b) {
    load *l = need(tt_alloc(sizeof *l));
    l->rate = b->rate;
    l->n_all = b->rate * b->seconds;
    l->latency_us = need(tt_alloc((size_t)l->n_all * sizeof(int64_t)));
    l->late_us = need(tt_alloc((size_t)l->n_all * sizeof(int64_t)));
    l->request_size = write_request(l->request, sizeof l->request, "POST /run", NO_OP_JOB);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->epoll_fd < 0 || l->timer_fd < 0) die("epoll: %s", strerror(errno));
    watch(l, l->timer_fd, TIMER);
    for (int c = 0; c < CONNECTIONS; c++) {
        l->connections[c].fd = dial(b->port);
        l->connections[c].request = NO_REQUEST;
        watch(l, l->connections[c].fd, c);
        put_idle(l, c);
    }
    l->n_alive = CONNECTIONS;
    return l;
}

static void close_load(load *l) {
    for (int c = 0; c < CONNECTIONS; c++)
        if (l->connections[c].fd >= 0) close(l->connections[c].fd);
    close(l->epoll_fd);
    close(l->timer_fd);
    tt_free(l->latency_us);
    tt_free(l->late_us);
    tt_free(l);
}

static void fail(load *l, connection *c) {
    if (c->request != NO_REQUEST) {
        l->n_errors++;
        l->n_done++;
    }
    close(c->fd);
    c->fd = -1;
    l->n_alive--;
}

static void send_due(load *l) {
    int64_t now_us = tt_clock_us();
    while (l->n_sent < l->n_all && l->n_idle > 0 && due_us(l, l->n_sent) <= now_us) {
        connection *c = &l->connections[l->idle[l->first_idle]];
        l->first_idle = (l->first_idle + 1) % CONNECTIONS;
        l->n_idle--;
        if (c->fd < 0) continue; /* the server closed it */
        c->request = l->n_sent++;
        c->size = 0;
        l->late_us[c->request] = now_us - due_us(l, c->request);
        if (!send_all(c->fd, l->request, l->request_size)) fail(l, c);
        now_us = tt_clock_us();
    }
}

static void read_answer(load *l, int index) {
    connection *c = &l->connections[index];
    ssize_t n = recv(c->fd, c->answer + c->size, ANSWER_BYTES - 1 - c->size, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || c->request == NO_REQUEST) {
        fail(l, c);
        return;
    }
    c->size += (size_t)n;
    c->answer[c->size] = '\0';
    int status = status_of(c->answer, c->size);
    if (status == 0) return;
    if (status == 200)
        l->latency_us[l->n_done - l->n_errors] = tt_clock_us() - due_us(l, c->request);
    else
        l->n_errors++;
    l->n_done++;
    c->request = NO_REQUEST;
    put_idle(l, index);
}

/* Wakes when the next request is due; not when no connection is free for it, since then an answer wakes. */
static void arm(const load *l) {
    bool has_next = l->n_sent < l->n_all && l->n_idle > 0;
    int64_t at_us = has_next ? due_us(l, l->n_sent) : 0;
    struct itimerspec at = {
        .it_value = {.tv_sec = at_us / US_PER_S, .tv_nsec = at_us % US_PER_S * 1000}};
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL); /* forgets an expiry as well */
}

static void run_load(load *l) {
    struct epoll_event events[EVENTS];
    int64_t last_us = due_us(l, l->n_all) + (int64_t)SETTLE_MS * US_PER_MS;
    while (l->n_done < l->n_all && l->n_alive > 0 && tt_clock_us() < last_us) {
        send_due(l);
        arm(l);
        int n = epoll_wait(l->epoll_fd, events, EVENTS, 1000);
        for (int i = 0; i < n; i++)
            if (events[i].data.u32 != TIMER) read_answer(l, (int)events[i].data.u32);
    }
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The value that `percent` of them do not exceed; they are sorted. */
static double percentile_ms(const int64_t *sorted_us, int n, int percent) {
    if (n == 0) return -1;
    int rank = (int)(((int64_t)n * percent + 99) / 100);
    return (double)sorted_us[rank > 0 ? rank - 1 : 0] / US_PER_MS;
}

static void print_load(const bench *b, load *l, int64_t took_us, long long in_queue) {
    int n = l->n_done - l->n_errors;
    long long ticks = b->loaded_cost.cpu_ticks - b->parked_cost.cpu_ticks;
    qsort(l->latency_us, (size_t)n, sizeof(int64_t), by_value);
    qsort(l->late_us, (size_t)l->n_sent, sizeof(int64_t), by_value);
    printf("\"rate\": %d, \"seconds\": %d, \"connections\": %d, \"asked\": %d, \"answered\": %d, "
           "\"errors\": %d, "
           "\"achieved_per_s\": %.1f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"max_ms\": %.3f, "
           "\"sent_late_p50_ms\": %.3f, \"sent_late_p99_ms\": %.3f, \"left_in_queue\": %lld, "
           "\"cpu_us_per_request\": %.1f, ",
           b->rate, b->seconds, CONNECTIONS, l->n_all, n, l->n_all - n,
           (double)n * US_PER_S / (double)took_us, percentile_ms(l->latency_us, n, 50),
           percentile_ms(l->latency_us, n, 90), percentile_ms(l->latency_us, n, 99),
           percentile_ms(l->latency_us, n, 100), percentile_ms(l->late_us, l->n_sent, 50),
           percentile_ms(l->late_us, l->n_sent, 99), in_queue,
           n > 0 ? (double)ticks * US_PER_S / (double)sysconf(_SC_CLK_TCK) / n : 0.0);
}

static void load_it(bench *b) {
    char answer[ANSWER_BYTES];
    load *l = open_load(b);
    l->start_us = tt_clock_us();
    run_load(l);
    int64_t took_us = tt_clock_us() - l->start_us;
    b->loaded_cost = cost_of(b->pid);
    exchange(b->port, "GET /health", "", answer);
    print_load(b, l, took_us, number_after(answer, "\"inQueue\":"));
    close_load(l);
}

/* ---- answer ------------------------------------------------------------------------------------------------------- */

/* The connection's answer must come whole and say that the job was cancelled. */
static void need_answer(int fd) {
    char answer[ANSWER_BYTES] = "";
    size_t size = 0;
    while (status_of(answer, size) == 0) {
        ssize_t n = recv(fd, answer + size, sizeof answer - 1 - size, 0);
        if (n <= 0)
            die("a wait got no whole answer: %s: \"%s\"", n < 0 ? strerror(errno) : "closed",
                answer);
        size += (size_t)n;
        answer[size] = '\0';
    }
    if (status_of(answer, size) != 200 || !strstr(answer, "CANCELLED"))
        die("a wait got another answer: %s", answer);
}

static void answer_all(bench *b) {
    char line[128], answer[ANSWER_BYTES];
    b->n_still_parked = count_silent(b);
    int64_t start_us = tt_clock_us();
    for (int i = 0; i < HELD; i++) {
        snprintf(line, sizeof line, "POST /cancel/%s", b->held[i]);
        exchange(b->port, line, "", answer);
    }
    for (int i = 0; i < b->n_parked; i++) {
        need_answer(b->parked[i]);
        close(b->parked[i]);
    }
    b->answer_us = tt_clock_us() - start_us;
}

static void print_parked(const bench *b) {
    printf(
        "\"parked\": %d, \"still_parked_after_load\": %d, \"park_ms\": %.1f, \"answer_ms\": %.1f, "
        "\"before_rss_bytes\": %lld, \"parked_rss_bytes\": %lld, \"loaded_rss_bytes\": %lld, "
        "\"before_threads\": %lld, \"threads\": %lld}\n",
        b->n_parked, b->n_still_parked, (double)b->park_us / US_PER_MS,
        (double)b->answer_us / US_PER_MS, b->before.rss_bytes, b->parked_cost.rss_bytes,
        b->loaded_cost.rss_bytes, b->before.threads, b->parked_cost.threads);
}

static int number(const char *text, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < least || value > most)
        die("expected a number from %d to %d, found \"%s\"\n"
            "usage: serve_load PORT PID PARKED [RATE [SECONDS]]",
            least, most, text);
    return (int)value;
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 6) die("usage: serve_load PORT PID PARKED [RATE [SECONDS]]");
    bench *b = need(tt_alloc(sizeof *b));
    b->port = number(argv[1], 1, UINT16_MAX);
    b->pid = number(argv[2], 1, INT32_MAX);
    b->n_parked = number(argv[3], 0, MAX_PARKED);
    b->rate = argc > 4 ? number(argv[4], 1, MAX_RATE) : DEFAULT_RATE;
    b->seconds = argc > 5 ? number(argv[5], 1, MAX_SECONDS) : DEFAULT_SECONDS;
    b->parked = need(tt_alloc(((size_t)b->n_parked + 1) * sizeof(int)));
    raise_limit();
    hold(b);
    park(b);
    printf("{");
    load_it(b);
    answer_all(b);
    print_parked(b);
    tt_free(b->parked);
    tt_free(b);
    return 0;
}
