/* The model that comes with the program. */
#ifndef TT_CMD_MODEL_PATH_H
#define TT_CMD_MODEL_PATH_H

#include <stddef.h>

#include "base/err.h"

/* The path of the small demonstration model, from where the program itself is, the current
 * directory, or the system. TT_E_NOT_FOUND names every place that was searched. */
tt_status tt__model_path_find(char *out, size_t size, tt_err *err);

#endif
