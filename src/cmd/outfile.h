/* Where pictures go on disk. */
#ifndef TT_CMD_OUTFILE_H
#define TT_CMD_OUTFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/settings.h"

typedef struct tt__outfile {
    char stem[PATH_MAX]; /* the path up to the seed or the extension */
    char extension[16];  /* with its dot; may be empty */
    bool is_seed_always; /* the name always has the seed: nobody chose one */
} tt__outfile;

/* Reads --out and --format together: the name's extension chooses the format (and is set so in the settings) unless
 * both were said in one place and disagree, which is a problem. *out_path is borrowed from the settings, NULL when
 * nobody named a file. */
void tt__outfile_settle_format(tt_settings *s, const char **out_path, tt_problems *problems);

/* Lays out the name, once the format is known. `out_path` may be NULL (the current directory) or a
 * directory. Fails when files could not be made there, before any work is done. */
tt_status tt__outfile_plan(const char *out_path, const char *format, tt__outfile *out, tt_err *err);

/* The path of the picture with this seed; `n_pictures` of them in all. */
tt_status tt__outfile_path(const tt__outfile *out, int n_pictures, uint64_t seed,
                           char path[PATH_MAX], tt_err *err);

#endif
