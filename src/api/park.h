/* Requests that wait for a job: /runsync, /status-sync, /stream?wait=. A parked wait costs its row in the table (waits.h) and
 * the server's connection, no thread. It is answered by what comes first: the job's event (on the thread that caused it),
 * its deadline (on the loop's thread), its client leaving, or the API's close. */
#ifndef TT_API_PARK_H
#define TT_API_PARK_H

#include "api/waits.h"

/* From a handler: answers the call within wait_ms. Ends or parks the exchange. */
void tt__park(const tt__call *call, tt__wait_kind kind, int64_t wait_ms);

/* From the queue's listener. */
void tt__park_job_ended(tt_api *api, const char *id);
void tt__park_job_streamed(tt_api *api, const char *id);

/* On the loop's thread: answers what is due and sets the timer for the next. */
void tt__park_turn(void *api);
void tt__park_close(tt_api *api); /* 503 to all */
/* on_gone of every exchange that waits; the token is the exchange's user pointer. */
void tt__park_gone(void *api, tt_http_exchange *x);

#endif
