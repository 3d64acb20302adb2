/* Is the model fit to work with? */
#ifndef TT_APP_MODEL_CHECK_H
#define TT_APP_MODEL_CHECK_H

#include "base/err.h"
#include "tintype/engine.h"

/* The file's first and last bytes can be read (a network volume may be gone), or the folder be listed. */
tt_status tt__model_check_files(const char *path, tt_err *err);

/* Makes a small picture in one step. TT_E_FORMAT when every pixel is the same: what broken weights and numbers beyond a
 * precision's range look like. */
tt_status tt__model_check_render(tt_engine *engine, tt_err *err);

/* Takes the folder of the model's path out of a sentence: clients learn the file's name only. */
void tt__model_hide_folder(const char *model_path, tt_err *err);

#endif
