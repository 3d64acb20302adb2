/* `tintype presets`: what a file of presets holds, and what is wrong with it. argv starts after the command's name; returns the
 * exit code. */
#ifndef TT_CMD_PRESETS_H
#define TT_CMD_PRESETS_H

#include <stdbool.h>

int tt__presets(int argc, char **argv);
int tt__presets_help(bool is_all);

#endif
