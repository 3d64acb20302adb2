/* The presets file of the command line: --config, TINTYPE_CONFIG, or tintype.json in the current directory. */
#ifndef TT_CMD_CONFIG_H
#define TT_CMD_CONFIG_H

#include "app/presets.h"

/* The file's path, borrowed from the settings or static; NULL: none was named and none is there. */
const char *tt__config_path(const tt_settings *s, tt_problems *problems);

/* Opens the file, if there is one, and uses the preset that the settings name, or the default one. *out NULL: no file. The
 * caller releases it after the settings. TT_E_INVALID with problems. */
tt_status tt__config_use(tt_settings *s, tt_presets **out, tt_problems *problems, tt_err *err);

#endif
