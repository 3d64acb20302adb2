/* What the reference SDK sends when a handler raised (runpod.md 1.6): a JSON string that holds JSON text. */
#ifndef TT_WORKER_ERROR_REPORT_H
#define TT_WORKER_ERROR_REPORT_H

#include "base/buf.h"

typedef struct tt_error_report {
    const char *type, *message;       /* any bytes: what is not UTF-8 becomes '?' */
    const char *hostname, *worker_id; /* NULL or "": "unknown" */
} tt_error_report;

/* Appends the literal "{\"error_type\": ..., \"error_message\": ..., \"error_traceback\": \"\", \"hostname\": ...,
 * \"worker_id\": ..., \"runpod_version\": ...}", quotes included. */
tt_status tt_error_report_append(tt_buf *out, const tt_error_report *report, tt_err *err);

/* Appends text as a JSON string, whatever bytes it has. */
tt_status tt_error_text_append(tt_buf *out, const char *text, tt_err *err);

#endif
