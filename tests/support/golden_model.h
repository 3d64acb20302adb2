/* The random test models of tests/golden/data/models, written to disk in both layouts.
 *
 * tools/golden/models.py decides names, shapes and scales (a manifest per model); the values come
 * from the counter generator, so the repository holds no weights. Files are made once per build
 * folder, under $TT_BUILD_DIR/golden (or $TMPDIR, or /tmp), and found again by a hash of the
 * manifest; several test programs may ask at the same time. */
#ifndef TT_SUPPORT_GOLDEN_MODEL_H
#define TT_SUPPORT_GOLDEN_MODEL_H

#include <limits.h>

#include "base/err.h"

typedef enum tt_golden_layout { TT_GOLDEN_LDM, TT_GOLDEN_FOLDER } tt_golden_layout;

typedef struct tt_golden_path {
    char text[PATH_MAX];
} tt_golden_path;

/* The path of model `name` ("kernel", "quirks", "pruned", "vpred") in a layout; makes it when it is
 * not there. */
tt_status tt_golden_model(const char *name, tt_golden_layout layout, tt_golden_path *out,
                          tt_err *err);

/* The same at a path of the caller's choice, which must not exist. */
tt_status tt_golden_model_write(const char *name, tt_golden_layout layout, const char *path,
                                tt_err *err);

#endif
