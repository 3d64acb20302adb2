/* See cpus.h. Inside a container the cgroup of the process is usually mounted at the root of /sys/fs/cgroup, so
 * only that place is read. */
#include "base/cpus.h"

#include <sched.h>
#include <stdio.h>

#include "base/file.h"

enum { MAX_FILE_BYTES = 128 };

int tt_cpus_of_quota(const char *cpu_max) {
    long long quota, period;
    if (sscanf(cpu_max, "%lld %lld", &quota, &period) != 2) return 0;
    if (quota <= 0 || period <= 0 || quota > period * CPU_SETSIZE) return 0;
    return (int)((quota + period - 1) / period);
}

/* The file's text, or "" where there is none. */
static void read_small(const char *path, char out[MAX_FILE_BYTES]) {
    tt_buf text;
    tt_buf_init(&text, MAX_FILE_BYTES - 1);
    if (tt_file_read(path, &text, NULL) == TT_OK && text.data)
        snprintf(out, MAX_FILE_BYTES, "%s", text.data);
    else
        out[0] = '\0';
    tt_buf_release(&text);
}

static int quota_cpus(void) {
    char quota[MAX_FILE_BYTES], period[MAX_FILE_BYTES], both[2 * MAX_FILE_BYTES + 2];
    read_small("/sys/fs/cgroup/cpu.max", quota);
    if (quota[0]) return tt_cpus_of_quota(quota);
    read_small("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota);
    read_small("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period);
    snprintf(both, sizeof both, "%s %s", quota, period);
    return tt_cpus_of_quota(both);
}

int tt_cpu_count(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int granted = quota_cpus();
    if (granted > 0 && granted < n) n = granted;
    return n < 1 ? 1 : n;
}
