/* Counters and histograms of the API, and the text of GET /metrics.
 *
 * All numbers are atomics: counting takes no lock. The text is written as OpenMetrics 1.0 and, for clients that do not ask
 * for that, turned into Prometheus' text format 0.0.4, in which a counter's family is called with its _total. */
#ifndef TT_API_METRICS_H
#define TT_API_METRICS_H

#include "api/parts.h"

typedef enum tt__hook_result { /* of one delivery attempt */
                               TT__HOOK_2XX,
                               TT__HOOK_3XX,
                               TT__HOOK_4XX,
                               TT__HOOK_5XX,
                               TT__HOOK_NO_ANSWER,
                               TT__N_HOOK_RESULTS
} tt__hook_result;

tt_status tt__metrics_new(tt__metrics **out, tt_err *err);
void tt__metrics_free(tt__metrics *m); /* NULL is fine */

/* route NULL: none matched. */
void tt__metrics_http(tt__metrics *m, const tt__route *route, tt__method method, int http,
                      int64_t duration_us);
void tt__metrics_job(tt__metrics *m, const tt_job_view *ended);
void tt__metrics_hook(tt__metrics *m, tt__hook_result result);
void tt__metrics_hook_abandoned(tt__metrics *m);

/* Everything, with "# EOF". */
tt_status tt__metrics_write(tt_api *api, tt_buf *out, tt_err *err);
/* OpenMetrics to the text format 0.0.4. */
tt_status tt__metrics_to_plain(const char *text, size_t size, tt_buf *out, tt_err *err);
/* process.c: memory, processor time and files of this process. */
tt_status tt__metrics_process(tt_buf *out, tt_err *err);

#endif
