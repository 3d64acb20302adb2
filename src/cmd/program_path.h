/* Where the running program is. */
#ifndef TT_CMD_PROGRAM_PATH_H
#define TT_CMD_PROGRAM_PATH_H

#include <limits.h>

/* Its directory, links resolved, without a slash at the end; "." when the system does not tell. */
void tt__program_directory(char out[PATH_MAX]);

#endif
