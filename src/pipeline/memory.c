/* Memory, as the kernel counts it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "pipeline/parts.h"

size_t tt__peak_resident_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (size_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}

/* The number after `label` (or at the start, label "") in a short text file; false: not there, or a word ("max"). */
static bool read_number(const char *path, const char *label, uint64_t *out) {
    char line[256];
    bool found = false;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, label, strlen(label)) == 0 &&
                sscanf(line + strlen(label), "%" SCNu64, out) == 1;
    fclose(file);
    return found;
}

size_t tt__available_bytes(void) {
    uint64_t kib, limit, used, least = SIZE_MAX;
    if (read_number("/proc/meminfo", "MemAvailable:", &kib)) least = kib * 1024;
    if (read_number("/sys/fs/cgroup/memory.max", "", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", "", &used)) {
        uint64_t left = used < limit ? limit - used : 0;
        if (left < least) least = left;
    }
    return (size_t)least;
}
