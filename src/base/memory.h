/* How much memory this process may still use. */
#ifndef TT_BASE_MEMORY_H
#define TT_BASE_MEMORY_H

#include <stdint.h>

#define TT_MEMORY_UNKNOWN UINT64_MAX

/* What the kernel calls available, or less where a cgroup (v2 memory.max, v1 memory.limit_in_bytes) leaves less: its limit -
 * (its usage - its file cache that can be dropped). TT_MEMORY_UNKNOWN where nothing says so. `root` goes before /proc and
 * /sys, for tests; NULL: "". Reads small files, so any thread may ask. */
uint64_t tt_memory_available_bytes(const char *root);

#endif
