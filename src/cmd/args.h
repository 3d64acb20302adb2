/* argv and the environment -> settings. */
#ifndef TT_CMD_ARGS_H
#define TT_CMD_ARGS_H

#include <stdbool.h>

#include "app/settings.h"

/* Every option's environment variable that is set and not empty. */
tt_status tt__args_read_environment(tt_settings *s, tt_err *err);

/* --flag value, --flag=value, and switches alone, of the commands (TT_FOR_*). What cannot be understood becomes a problem,
 * with the nearest flag where there is one; *wants_help is set by --help or -h. */
tt_status tt__args_read(tt_settings *s, int commands, int argc, char **argv, bool *wants_help,
                        tt_problems *problems, tt_err *err);

#endif
