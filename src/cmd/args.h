/* argv and the environment -> settings. */
#ifndef TT_CMD_ARGS_H
#define TT_CMD_ARGS_H

#include "app/settings.h"

/* --help or -h; with the word "all" behind it. */
typedef enum tt__help_wish { TT__HELP_NONE, TT__HELP_SHORT, TT__HELP_ALL } tt__help_wish;

/* Every option's environment variable that is set and not empty. */
tt_status tt__args_read_environment(tt_settings *s, tt_err *err);

/* --flag value, --flag=value, and switches alone, of the commands (TT_FOR_*). What cannot be understood becomes a problem,
 * with the nearest flag where there is one; *help is what was wished for. */
tt_status tt__args_read(tt_settings *s, int commands, int argc, char **argv, tt__help_wish *help,
                        tt_problems *problems, tt_err *err);

#endif
