/* Waiting for a file to be saved. */
#ifndef TT_CMD_DEV_WATCH_H
#define TT_CMD_DEV_WATCH_H

#include <stdbool.h>

#include "base/err.h"

enum { TT__MAX_WATCHED_FOLDERS = 32 };

typedef struct tt__watch {
    int fd; /* inotify's */
} tt__watch;

/* Watches the folders of the files. Whole folders, because editors write a new file and rename it over the old one. */
tt_status tt__watch_open(tt__watch *w, char **files, int n_files, tt_err *err);
void tt__watch_close(tt__watch *w);

typedef enum tt__watch_event {
    TT_WATCH_SAVED,
    TT_WATCH_OTHER,
    TT_WATCH_INTERRUPTED
} tt__watch_event;

/* Until a .c, .h or .json file is saved there and the folder has been quiet for a moment, until other_fd (or -1: none)
 * can be read, or until the program is asked to end (cancel.h). */
tt__watch_event tt__watch_wait(tt__watch *w, int other_fd);

#endif
