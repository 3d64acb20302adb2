/* Log lines: one call, one line, one write(2). Values, not globals: whoever logs was handed a tt_log.
 *
 * Text form:  "INFO   | job-1-u1 | Started. key=value"   (level padded to 7 characters; runpod.md 1.14)
 * JSON form:  {"requestId": "job-1-u1", "message": "Started. key=value", "level": "INFO"}   (requestId null without a job)
 *
 * Rules: no secret at any level, no prompt at info or above. Control characters and bytes that are not UTF-8 become '?';
 * messages over TT_MAX_LOG_BYTES keep their first and last half. Any thread. */
#ifndef TT_BASE_LOG_H
#define TT_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

typedef enum tt_log_level {
    TT_LOG_NOTSET, /* as a threshold: silence */
    TT_LOG_ERROR,
    TT_LOG_WARN,
    TT_LOG_INFO,
    TT_LOG_DEBUG,
    TT_LOG_TRACE,
} tt_log_level;

typedef struct tt_log {
    tt_log_level level; /* lines above it are dropped */
    bool is_json;
    int fd;
} tt_log;

/* "warn", "WARNING", "Info"... TT_E_INVALID names the known ones. */
tt_status tt_log_level_parse(const char *text, tt_log_level *out, tt_err *err);
const char *tt_log_level_name(tt_log_level level); /* "WARN"; static */

/* `log` NULL: nothing happens. `job_id` may be NULL. */
void tt_log_write(const tt_log *log, tt_log_level level, const char *job_id, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

#endif
