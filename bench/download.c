/* One download, for bench/download.py: bench_download URL PART CA_FILE SHA256 CONNECTIONS. Prints one line of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "store/download.h"

#define DEADLINE_MS (10 * 60 * 1000)
#define MAX_BYTES   ((uint64_t)16 << 30)

static double cpu_seconds(const struct rusage *u) {
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           1e-6 * (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

/* VmHWM: getrusage's peak begins with that of whoever started this. */
static double peak_mb(void) {
    char line[200];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtol(line + 6, NULL, 10);
    if (f) fclose(f);
    return (double)kib / 1024;
}

static void print(const tt_downloaded *d) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"bytes\": %llu, \"seconds\": %.4f, \"hash_seconds\": %.4f, \"cpu_seconds\": %.4f, "
           "\"peak_mb\": %.1f, \"retries\": %d, \"connections\": %d}\n",
           (unsigned long long)d->size, d->seconds, d->hash_seconds, cpu_seconds(&usage), peak_mb(),
           d->n_retries, d->n_connections);
}

int main(int n, char **args) {
    static tt_source_file file;
    char journal[TT_MODEL_PATH_BYTES];
    tt_downloaded downloaded;
    tt_fetch_error error;
    if (n != 6) {
        fprintf(stderr, "usage: bench_download URL PART CA_FILE SHA256 CONNECTIONS\n");
        return 2;
    }
    const tt_source_services services = {
        .ca_file = args[3], .allow_private = true, .user_agent = "tintype-bench"};
    snprintf(file.url, sizeof file.url, "%s", args[1]);
    snprintf(file.name, sizeof file.name, "bench");
    if (!tt_digest_parse(args[4], strlen(args[4]), file.digest)) {
        fprintf(stderr, "bench_download: \"%s\" is no SHA-256\n", args[4]);
        return 2;
    }
    snprintf(journal, sizeof journal, "%s.j", args[2]);
    const tt_download_options options = {.part_path = args[2],
                                         .journal_path = journal,
                                         .max_bytes = MAX_BYTES,
                                         .n_connections = (int)strtol(args[5], NULL, 10),
                                         .deadline_ms = DEADLINE_MS};
    if (tt_download(&services, &file, &options, &downloaded, &error) != TT_OK) {
        fprintf(stderr, "bench_download: %s\n", error.err.message);
        return 1;
    }
    print(&downloaded);
    return 0;
}
