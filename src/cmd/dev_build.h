/* Compiling a handler against the SDK. */
#ifndef TT_CMD_DEV_BUILD_H
#define TT_CMD_DEV_BUILD_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

/* Where the SDK was found. */
typedef struct tt__sdk {
    char include[PATH_MAX];
    char library[PATH_MAX]; /* folder of the libraries */
    bool is_build_tree;     /* one library per room instead of libtintype-worker.a */
} tt__sdk;

/* Looks in `folder` if that is not NULL, else beside the program: a build tree has the libraries where the program is and
 * the headers in include/ of the source tree above, an installed one lib/ and include/ beside bin/. */
tt_status tt__sdk_find(const char *folder, tt__sdk *out, tt_err *err);

/* Compiles the sources into `program` with $CC (cc) and $CFLAGS; the compiler's own words go to standard error. True when it
 * succeeded; false also when it could not be started, which is then told. */
bool tt__sdk_compile(const tt__sdk *sdk, char **sources, int n_sources, const char *program);

#endif
