/* See memory.h. Inside a container the cgroup of the process is usually mounted at the root of /sys/fs/cgroup, so only that
 * place is read. A file that cannot be read, also because memory is out, counts as one that says nothing. */
#include "base/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum {
    MAX_FILE_BYTES = 64 * 1024, /* memory.stat, the longest, has some 2 KiB */
    MAX_PATH_BYTES = 256
};

typedef struct cgroup_files {
    const char *limit, *usage, *stat, *cache_name;
} cgroup_files;

static const cgroup_files GROUPS[] = {
    {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat",
     "inactive_file "},
    {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
     "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file "},
};

static bool read_text(const char *root, const char *path, tt_buf *out) {
    char whole[MAX_PATH_BYTES];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    return tt_file_read(whole, out, NULL) == TT_OK && out->data;
}

/* The number that follows `name` at the beginning of a line of the file ("": of its first); false: none, or a word ("max"). */
static bool read_number(const char *root, const char *path, const char *name, uint64_t *out) {
    tt_buf text;
    bool found = false;
    tt_buf_init(&text, MAX_FILE_BYTES);
    const char *line = read_text(root, path, &text) ? text.data : NULL;
    while (line && !found) {
        found = strncmp(line, name, strlen(name)) == 0 &&
                sscanf(line + strlen(name), "%" SCNu64, out) == 1;
        line = strchr(line, '\n');
        if (line) line++;
    }
    tt_buf_release(&text);
    return found;
}

/* What a cgroup leaves: dropping the cache of files that nobody used lately costs nothing. */
static bool cgroup_leaves(const char *root, const cgroup_files *f, uint64_t *bytes) {
    uint64_t limit, usage, cache = 0;
    if (!read_number(root, f->limit, "", &limit) || !read_number(root, f->usage, "", &usage))
        return false;
    read_number(root, f->stat, f->cache_name, &cache);
    usage -= cache < usage ? cache : usage;
    *bytes = limit > usage ? limit - usage : 0;
    return true;
}

uint64_t tt_memory_available_bytes(const char *root) {
    enum { KIB = 1024 };
    uint64_t kib, left, least = TT_MEMORY_UNKNOWN;
    if (!root) root = "";
    if (read_number(root, "/proc/meminfo", "MemAvailable:", &kib) && kib < least / KIB)
        least = kib * KIB;
    for (size_t i = 0; i < sizeof GROUPS / sizeof GROUPS[0]; i++)
        if (cgroup_leaves(root, &GROUPS[i], &left) && left < least) least = left;
    return least;
}
