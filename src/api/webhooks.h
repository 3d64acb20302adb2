/* Webhooks: when a job ends, a POST of its /status body to the URL that came with it.
 *
 * One delivery per end of a job (a job that is retried ends again). Headers after Standard Webhooks: webhook-id is "<job
 * id>-<attempt>" and the same on every try, so receivers can tell repeats; webhook-timestamp; webhook-signature when there is a
 * secret. Delivered means 2xx; redirects are not followed. Anything else is tried again, TT__HOOK_TRIES times over up to an
 * hour, but a 4xx that repeating cannot mend (all but 408, 425, 429) is final. Deliveries live in memory: they end with the
 * process, and the result stays at /status.
 *
 * The bodies are the queue's blobs, held. No URL and no body is ever logged. */
#ifndef TT_API_WEBHOOKS_H
#define TT_API_WEBHOOKS_H

#include "api/parts.h"
#include "base/limits.h"

enum {
    TT__HOOK_TRIES = 12,
    TT__HOOK_FIRST_WAIT_MS = 5 * 1000,
    TT__HOOK_LONGEST_WAIT_MS = 10 * 60 * 1000, /* 5 s doubled to 10 min: at most 51 min in all */
    TT__HOOK_TIMEOUT_MS = 30 * 1000,           /* of one try */
    TT__HOOK_MAX_SENDING = 32,   /* tries at once; slow receivers hold sockets, not memory */
    TT__HOOK_MAX_PENDING = 10000 /* deliveries; as many as jobs may wait */
};
/* Of bodies held: what the queue in memory stores by default, since they may outlive their jobs in it. */
#define TT__HOOK_MAX_PENDING_BYTES TT_GIB

tt_status tt__hooks_new(tt_api *api, tt__hooks **out, tt_err *err);
void tt__hooks_free(tt__hooks *h); /* when the loop's thread has ended; NULL is fine */

/* Any thread. Nothing when the job has no webhook. */
void tt__hooks_add(tt__hooks *h, const tt_job_view *ended);
int64_t tt__hooks_pending(tt__hooks *h); /* any thread */
/* Gives every delivery its first try, at most timeout_ms. */
void tt__hooks_await_first_tries(tt__hooks *h, int64_t timeout_ms);

#endif
