/* Is this machine fit to work? The checks of runpod.md 1.13, run once in the handler process after `start`: the user's in
 * order, then memory, disk and, when asked for, network. The first that fails ends it. */
#ifndef TT_WORKER_FITNESS_H
#define TT_WORKER_FITNESS_H

#include "base/log.h"
#include "tintype/worker.h"

typedef struct tt_fitness_options {
    const char *root;      /* before /proc and /sys; NULL: "". For tests */
    const char *disk_path; /* on the disk that must have room; NULL: "/" */
    bool skips_system_checks;
    double min_memory_gb;    /* 0: not asked for */
    double min_disk_percent; /* 0: not asked for */
    bool checks_network;
    bool only_warns; /* the system's checks: a machine of one's own may be small */
} tt_fitness_options;

enum { TT_FITNESS_NAME_BYTES = 128 };

/* The failed check's name and its sentence, else TT_OK. */
tt_status tt_fitness_run(const tt_fitness_options *options, const tt_log *log,
                         const tt_worker_config *config, char failed[TT_FITNESS_NAME_BYTES],
                         tt_err *err);

#endif
