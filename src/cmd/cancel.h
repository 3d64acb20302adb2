/* Ctrl-C and kill: the picture in progress ends between two steps and leaves no file. */
#ifndef TT_CMD_CANCEL_H
#define TT_CMD_CANCEL_H

#include <stdbool.h>

/* From here on SIGINT and SIGTERM only ask: the next tt__cancel_is_wanted says so. A second signal
 * of the same kind ends the program at once. Before it, they end the program as usual. */
void tt__cancel_watch(void);
bool tt__cancel_is_wanted(void);
int tt__cancel_exit_code(void); /* 128 + the signal's number: 130 for Ctrl-C */

#endif
