/* Memory, processor time and open files of this process, under the names that every Prometheus client library uses. What
 * /proc does not tell is left out. */
#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "api/metrics.h"

static double cpu_seconds(void) {
    struct timespec t = {.tv_sec = 0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Field 2 of /proc/self/statm, in pages; -1: unknown. */
static long long resident_bytes(void) {
    long long total = 0, resident = -1;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return -1;
    if (fscanf(f, "%lld %lld", &total, &resident) != 2) resident = -1;
    fclose(f);
    return resident < 0 ? -1 : resident * sysconf(_SC_PAGESIZE);
}

static int open_files(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d) return -1;
    while (readdir(d)) n++;
    closedir(d);
    return n - 3; /* ".", ".." and the directory itself */
}

tt_status tt__metrics_process(tt_buf *out, tt_err *err) {
    long long resident = resident_bytes();
    int files = open_files();
    TT_TRY(tt_buf_printf(out, err,
                         "# TYPE process_cpu_seconds counter\n"
                         "# HELP process_cpu_seconds Processor time of this process.\n"
                         "process_cpu_seconds_total %.3f\n",
                         cpu_seconds()));
    if (resident >= 0)
        TT_TRY(tt_buf_printf(out, err,
                             "# TYPE process_resident_memory_bytes gauge\n"
                             "# HELP process_resident_memory_bytes Memory of this process in RAM.\n"
                             "process_resident_memory_bytes %lld\n",
                             resident));
    if (files < 0) return TT_OK;
    return tt_buf_printf(out, err,
                         "# TYPE process_open_fds gauge\n"
                         "# HELP process_open_fds Open files and sockets.\n"
                         "process_open_fds %d\n",
                         files);
}
