/* How many cores this process may really use. */
#ifndef TT_BASE_CPUS_H
#define TT_BASE_CPUS_H

/* At least 1: the cores of the affinity mask, or fewer when a container's CPU quota (cgroup v2 cpu.max, v1
 * cpu.cfs_quota_us) grants less: threads beyond the quota only make each other wait. */
int tt_cpu_count(void);

/* Cores granted by the text of a cpu.max file ("200000 100000", "max 100000"); 0: no limit, or not such a text. Quotas round up. */
int tt_cpus_of_quota(const char *cpu_max);

#endif
