/* See fitness.h. Better than the reference where that kills healthy workers: memory counts a container's limit, not the
 * host's memory alone; the network is asked for only on wish. */
#include "worker/fitness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

enum { NETWORK_TIMEOUT_S = 5 };
static const double GB = 1024.0 * 1024 * 1024; /* the reference's GB */

/* ---- memory, disk, network ------------------------------------------------------------------------------------------ */

static tt_status check_memory(const tt_fitness_options *o, tt_err *err) {
    if (o->min_memory_gb <= 0) return TT_OK;
    uint64_t bytes = tt_memory_available_bytes(o->root);
    double gb = (double)bytes / GB; /* nothing says how much there is: more than enough */
    if (gb >= o->min_memory_gb) return TT_OK;
    return tt_fail(err, TT_E_NOMEM, "Insufficient memory: %.2fGB available, %.1fGB required", gb,
                   o->min_memory_gb);
}

static tt_status check_disk(const tt_fitness_options *o, tt_err *err) {
    struct statvfs disk;
    if (o->min_disk_percent <= 0) return TT_OK;
    if (statvfs(o->disk_path ? o->disk_path : "/", &disk) != 0 || disk.f_blocks == 0) return TT_OK;
    double percent = 100.0 * (double)disk.f_bavail / (double)disk.f_blocks;
    if (percent >= o->min_disk_percent) return TT_OK;
    return tt_fail(err, TT_E_IO, "Insufficient disk space: %.2fGB free (%.1f%%), %.1f%% required",
                   (double)disk.f_bavail * (double)disk.f_frsize / GB, percent,
                   o->min_disk_percent);
}

static tt_status wait_connected(int fd, tt_err *err) {
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int failure = 0;
    socklen_t size = sizeof failure;
    if (poll(&wait, 1, NETWORK_TIMEOUT_S * 1000) == 0)
        return tt_fail(err, TT_E_IO,
                       "Network connectivity failed: Timeout connecting to 8.8.8.8:53 (%ds)",
                       NETWORK_TIMEOUT_S);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure == 0) return TT_OK;
    return tt_fail(err, TT_E_IO, "Network connectivity failed: %s to 8.8.8.8:53",
                   strerror(failure));
}

static tt_status check_network(const tt_fitness_options *o, tt_err *err) {
    enum { DNS_PORT = 53 };
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
    if (!o->checks_network) return TT_OK;
    inet_pton(AF_INET, "8.8.8.8", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return tt_fail_errno(err, "Network connectivity check failed:", "socket");
    tt_status status = TT_OK;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        status = errno == EINPROGRESS
                     ? wait_connected(fd, err)
                     : tt_fail(err, TT_E_IO, "Network connectivity failed: %s to 8.8.8.8:53",
                               strerror(errno));
    close(fd);
    return status;
}

/* ---- running them ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    tt_status (*check)(const tt_fitness_options *o, tt_err *err);
} SYSTEM_CHECKS[] = {
    {"_memory_check", check_memory},
    {"_disk_check", check_disk},
    {"_network_check", check_network},
};
enum { N_SYSTEM_CHECKS = sizeof SYSTEM_CHECKS / sizeof SYSTEM_CHECKS[0] };

static double ms_since(int64_t start_us) {
    return (double)(tt_clock_us() - start_us) / 1000;
}

static tt_status run_one(const tt_fitness_options *o, const tt_log *log,
                         const tt_worker_config *config, int i, const char *name, tt_err *err) {
    int64_t start_us = tt_clock_us();
    tt_log_write(log, TT_LOG_DEBUG, NULL, "Executing fitness check: %s", name);
    tt_status status = i < config->n_checks ? config->checks[i].check(config->context, err)
                                            : SYSTEM_CHECKS[i - config->n_checks].check(o, err);
    if (status == TT_OK) {
        tt_log_write(log, TT_LOG_DEBUG, NULL, "Fitness check passed: %s (%.2fms)", name,
                     ms_since(start_us));
        return TT_OK;
    }
    bool only_warns = i >= config->n_checks && o->only_warns;
    tt_log_write(log, only_warns ? TT_LOG_WARN : TT_LOG_ERROR, NULL,
                 "Fitness check failed: %s | %s", name, err->message);
    return only_warns ? TT_OK : status;
}

tt_status tt_fitness_run(const tt_fitness_options *options, const tt_log *log,
                         const tt_worker_config *config, char failed[TT_FITNESS_NAME_BYTES],
                         tt_err *err) {
    int64_t start_us = tt_clock_us();
    int n = config->n_checks + (options->skips_system_checks ? 0 : N_SYSTEM_CHECKS);
    if (n == 0) {
        tt_log_write(log, TT_LOG_DEBUG, NULL, "No fitness checks registered, skipping.");
        return TT_OK;
    }
    tt_log_write(log, TT_LOG_INFO, NULL, "Running %d fitness check(s)...", n);
    for (int i = 0; i < n; i++) {
        const char *name = i < config->n_checks ? config->checks[i].name
                                                : SYSTEM_CHECKS[i - config->n_checks].name;
        *err = (tt_err){.code = TT_E_INTERNAL, .position = -1, .message = "it gave no reason"};
        tt_status status = run_one(options, log, config, i, name, err);
        if (status == TT_OK) continue;
        snprintf(failed, TT_FITNESS_NAME_BYTES, "%s", name);
        return status;
    }
    tt_log_write(log, TT_LOG_INFO, NULL, "All fitness checks passed. (%.2fms)", ms_since(start_us));
    return TT_OK;
}
