/* Files that stay open between requests, found again by their path for as long as they are the same file. Engine lifetime; one
 * thread.
 *
 * Whatever a request asked for stays open until the next tt__opened_trim, so that it may hold pointers. */
#ifndef TT_PIPELINE_OPENED_H
#define TT_PIPELINE_OPENED_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Equal for the same file unchanged; different after it was written to or replaced. */
typedef struct tt__file_identity {
    uint64_t device, inode, size, modified_ns;
} tt__file_identity;

typedef struct tt__opened_kind {
    const char *what; /* "cannot read <what> <path>: ..." */
    tt_status (*open)(const void *context, const char *path, void **out, tt_err *err);
    void (*close)(void *thing);
    int max_kept;       /* files */
    uint64_t max_bytes; /* of those files together */
} tt__opened_kind;

typedef struct tt__opened_file {
    struct tt__opened_file *next; /* asked for before this one */
    char *path;                   /* owned */
    tt__file_identity identity;
    void *thing; /* owned */
} tt__opened_file;

typedef struct tt__opened {
    const tt__opened_kind *kind;
    tt__opened_file *first; /* owned list, the one asked for last first */
} tt__opened;

/* *out is valid until the next trim. TT_E_NOT_FOUND, TT_E_IO, or what kind->open says. */
tt_status tt__opened_get(tt__opened *o, const void *context, const char *path,
                         const tt__opened_file **out, tt_err *err);
/* Closes those asked for longest ago, beyond the kind's limits. */
void tt__opened_trim(tt__opened *o);
void tt__opened_release(tt__opened *o); /* all zero is fine */

#endif
