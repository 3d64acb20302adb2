/* Memory, as the kernel counts it. */
#include <sys/resource.h>

#include "base/memory.h"
#include "pipeline/parts.h"

size_t tt__peak_resident_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (size_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}

size_t tt__available_bytes(void) {
    uint64_t bytes = tt_memory_available_bytes(NULL);
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}
