/* Where the job's JSON comes from when it is not all in the flags. */
#ifndef TT_CMD_JOB_SOURCE_H
#define TT_CMD_JOB_SOURCE_H

#include "app/settings.h"

/* Reads --test_input, --input or ./test_input.json, whichever applies, into the settings. Faults in the job's fields
 * become problems; a job that cannot be read at all is a failure. */
tt_status tt__job_source_read(tt_settings *s, tt_problems *problems, tt_err *err);

#endif
