/* What memory is left, from trees of files as the kernel writes them: proc(5), Documentation/admin-guide/cgroup-v2.rst and
 * cgroup-v1/memory.rst. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/temp_tree.h"

#include "base/alloc.h"
#include "base/memory.h"

enum { KIB = 1024, HOST_KIB = 8000000 };

static char root[TEMP_TREE_BYTES];

static int make_root(void **state) {
    (void)state;
    return temp_tree_make(root);
}

static int remove_root(void **state) {
    (void)state;
    return temp_tree_remove(root);
}

static void write_file(const char *path, const char *text) {
    temp_tree_write(root, path, text);
}

static void write_host(void) {
    write_file("/proc/meminfo",
               "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n");
}

static void expect(uint64_t bytes) {
    assert_true(tt_memory_available_bytes(root) == bytes);
}

static void without_any_file_nothing_is_known(void **state) {
    (void)state;
    expect(TT_MEMORY_UNKNOWN);
    write_file("/proc/meminfo", "MemTotal: 16000000 kB\n"); /* kernels before 3.14 */
    expect(TT_MEMORY_UNKNOWN);
    write_file("/proc/meminfo",
               "MemAvailable: 99999999999999999 kB\n"); /* no memory is that large */
    expect(TT_MEMORY_UNKNOWN);
}

static void this_machine_says_what_it_has(void **state) {
    (void)state;
    uint64_t bytes = tt_memory_available_bytes(NULL);
    assert_true(bytes > 0 && bytes < TT_MEMORY_UNKNOWN);
}

static void cgroup_v2_counts_with_its_cache_given_back(void **state) {
    (void)state;
    write_host();
    expect((uint64_t)HOST_KIB * KIB);
    write_file("/sys/fs/cgroup/memory.max", "max\n"); /* no limit */
    write_file("/sys/fs/cgroup/memory.current", "1000\n");
    expect((uint64_t)HOST_KIB * KIB);
    write_file("/sys/fs/cgroup/memory.max", "1000000\n");
    write_file("/sys/fs/cgroup/memory.current", "700000\n");
    expect(300000);
    write_file("/sys/fs/cgroup/memory.stat", "anon 5\nactive_file 7\ninactive_file 200000\n");
    expect(500000);
    write_file("/sys/fs/cgroup/memory.stat",
               "inactive_file 900000\n"); /* counted later than the usage */
    expect(1000000);
    write_file("/sys/fs/cgroup/memory.current", "2300000\n"); /* beyond the limit, cache and all */
    expect(0);
}

static void cgroup_v1_counts_too(void **state) {
    (void)state;
    write_host();
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n");
    write_file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n");
    write_file("/sys/fs/cgroup/memory/memory.stat",
               "inactive_file 1\ntotal_inactive_file 500000\n");
    expect(3500000);
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    expect((uint64_t)HOST_KIB * KIB);
}

static void a_cgroup_counts_where_the_host_says_nothing(void **state) {
    (void)state;
    write_file("/sys/fs/cgroup/memory.max", "1000000\n");
    write_file("/sys/fs/cgroup/memory.current", "250000\n");
    expect(750000);
}

/* A file that cannot be read says nothing: the answer is one of those that fewer files give. */
static void lost_allocations_only_lose_a_file(void **state) {
    enum { ENOUGH = 16 };
    (void)state;
    write_host();
    write_file("/sys/fs/cgroup/memory.max", "1000000\n");
    write_file("/sys/fs/cgroup/memory.current", "700000\n");
    write_file("/sys/fs/cgroup/memory.stat", "inactive_file 200000\n");
    for (int n = 0; n < ENOUGH; n++) {
        tt_alloc_fail_after(n);
        uint64_t bytes = tt_memory_available_bytes(root);
        tt_alloc_fail_after(-1);
        assert_true(bytes == 500000 || bytes == 300000 || bytes == (uint64_t)HOST_KIB * KIB);
    }
    expect(500000);
}

int main(void) {
#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        WITH_ROOT(without_any_file_nothing_is_known),
        cmocka_unit_test(this_machine_says_what_it_has),
        WITH_ROOT(cgroup_v2_counts_with_its_cache_given_back),
        WITH_ROOT(cgroup_v1_counts_too),
        WITH_ROOT(a_cgroup_counts_where_the_host_says_nothing),
        WITH_ROOT(lost_allocations_only_lose_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
